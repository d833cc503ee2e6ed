"""What is said about a unit's strongest inputs is what the network does where its ReLUs pass."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from inception_lab import build
from inception_lab.lens.connections import expanded_kernel, stage_kernels, strongest
from inception_lab.models.blocks import ConvUnit, Inception, Widths

WIDTHS = Widths(3, 4, 5, 2, 6, 4)


def settled(module: nn.Module, shift: float) -> nn.Module:
    """In evaluation, with batch normalization that has seen something, and a shift that makes every ReLU pass."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values, low, high in ((layer.weight, -1, 1), (layer.running_mean, -1, 1), (layer.running_var, 0.2, 3)):
                values.data.uniform_(low, high, generator=generator)
            layer.bias.data.fill_(shift)
        elif isinstance(layer, nn.Conv2d) and layer.bias is not None:
            layer.bias.data.fill_(shift)
            layer.weight.data.abs_()  # so that the shift of the layer before cannot be taken away
    return module.double().eval()


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("five_by_five", ["5x5", "3x3", "two 3x3", "1x1", "7x7", "1x5 5x1"])
def test_where_the_relus_pass_a_path_is_a_convolution_with_its_expanded_kernel(batch_norm, five_by_five):
    unit = partial(ConvUnit, batch_norm=batch_norm, bias=not batch_norm)
    module = settled(Inception(7, WIDTHS, five_by_five=five_by_five, unit=unit), shift=1000)
    x, change = torch.randn(2, 7, 15, 15), torch.randn(2, 7, 15, 15)
    for name, path in module.named_children():
        if name == "pool":  # a max pool is linear only for maps that are the same everywhere
            change, x = change.mean((2, 3), keepdim=True).expand(x.shape), torch.zeros(x.shape)
        kernel = expanded_kernel(path, 7)
        expected = F.conv2d(change, kernel, padding=kernel.shape[-1] // 2)
        inside = (..., slice(4, -4), slice(4, -4))
        torch.testing.assert_close((path(x + change) - path(x))[inside], expected[inside])


def test_kernels_are_not_mirrored():
    unit = ConvUnit(1, 1, 3)
    unit.conv.weight.data = torch.arange(9.0).view(1, 1, 3, 3)
    assert torch.equal(expanded_kernel(unit, 1), unit.conv.weight)


@pytest.mark.parametrize("name", ["googlenet-released", "inception-v2"])  # with a separable convolution, average pools
def test_the_first_convolution_and_average_pools(name):
    model = settled(build(name, 4), shift=1000)
    change = torch.randn(1, 3, 32, 32)
    kernel = expanded_kernel(model.conv1, 3)
    expected = F.conv2d(change, kernel, padding=3, stride=2)
    torch.testing.assert_close(model.conv1(change) - model.conv1(0 * change), expected)
    if name == "inception-v2":
        change = torch.randn(1, 192, 9, 9)
        path = model.inception_3a.pool
        expected = F.conv2d(change, expanded_kernel(path, 192), padding=1)
        inside = (..., slice(1, -1), slice(1, -1))
        torch.testing.assert_close((path(change) - path(0 * change))[inside], expected[inside])
        passed = expanded_kernel(model.inception_3c.pool, 320)
        assert torch.equal(passed, torch.eye(320)[:, :, None, None])


def test_strength_is_the_sum_of_weights_times_the_deviation_of_the_input():
    kernel = torch.tensor([[[[1.0, -2.0]], [[0.5, 0.5]], [[9.0, 9.0]]], [[[0.0, 0.0]], [[0.0, -1.0]], [[3.0, 0.0]]]])
    inputs = strongest(kernel, torch.tensor([2.0, 10.0, 0.0]), k=2)  # the third input never changes
    assert inputs.channels.tolist() == [[1, 0], [1, 0]]
    assert inputs.excites.tolist() == [[10, 2], [0, 0]] and inputs.inhibits.tolist() == [[0, 4], [10, 0]]
    assert torch.equal(inputs.kernels[0], kernel[0, [1, 0]])


def test_every_unit_of_a_module_has_inputs_and_all_of_them_where_there_are_few():
    module = settled(Inception(7, WIDTHS, unit=partial(ConvUnit, batch_norm=True)), shift=0)
    by_path = [strongest(kernel, torch.ones(7), k=10) for kernel in stage_kernels(module, 7)]
    assert [part.kernels.shape for part in by_path] == [(3, 7, 1, 1), (5, 7, 3, 3), (6, 7, 5, 5), (4, 7, 1, 1)]
    for part in by_path:
        strength = part.excites + part.inhibits
        torch.testing.assert_close(strength, part.kernels.abs().sum((-1, -2)))
        assert (strength.diff(dim=1) <= 0).all()
        assert all(sorted(row) == list(range(7)) for row in part.channels.tolist())


def test_classes_read_the_last_module_by_their_weights():
    linear = nn.Linear(6, 4)
    assert torch.equal(expanded_kernel(linear, 6)[:, :, 0, 0], linear.weight)


def test_an_unknown_layer_and_a_wrong_number_of_deviations_are_refused():
    with pytest.raises(ValueError, match="chain must be convolutions.*Sigmoid"):
        expanded_kernel(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sigmoid()), 3)
    with pytest.raises(ValueError, match=r"one for each of 3 inputs, got \(4,\)"):
        strongest(torch.zeros(2, 3, 1, 1), torch.ones(4))
