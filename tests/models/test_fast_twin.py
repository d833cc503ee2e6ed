"""A fast twin computes what its model computes, and whoever cannot have a twin is told why."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch
import torchvision
from materials import some
from tiny import NETWORKS, PLAIN
from torch import nn

from inception_lab import build, count
from inception_lab.data.datasets import in_memory, load
from inception_lab.evaluation.records import recorded_run
from inception_lab.models import zoo
from inception_lab.models.blocks import ConvUnit
from inception_lab.models.designs import Row
from inception_lab.models.fast_twin import PIXELS_AT_ONCE, MergedInception, Twin, fast, merge_ones
from inception_lab.models.fused import ONEDNN, SHAPES_KEPT, FusedConv, FusedResponseNorm
from inception_lab.models.googlenet import GoogLeNet
from inception_lab.training.weights import load_model


def randomize(model, seed=0):
    """Random weights, and batch norms that have seen something: none is near the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.3, 3, generator=generator)
            module.weight.data.uniform_(0.3, 2, generator=generator)
            module.bias.data.normal_(generator=generator)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.normal_(0, 0.3, generator=generator)
    return model.eval()


@torch.no_grad()
def difference(twin, model, images):
    """The largest difference of two logits, relative to the spread of the model's."""
    expected = model(images)
    return ((twin(images) - expected).abs().max() / expected.std()).item()


def folded_params(model):
    """Weights and a bias for each filter of every convolution that evaluation runs, and the linear layer."""
    total = sum(p.numel() for p in model.linear.parameters())
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and not name.startswith("aux"):
            total += module.weight.numel() + (0 if name.endswith("depthwise") else module.out_channels)
    return total


@pytest.mark.parametrize("name", zoo.GOOGLENETS)
def test_every_googlenet_of_the_zoo_has_a_twin_that_costs_the_folded_arithmetic(name):
    model = randomize(build(name))
    twin = fast(model)
    side = min(zoo.entry(name).input_size, 96)
    assert difference(twin, model, torch.randn(2, 3, side, side)) < 1e-4
    slow, quick = count(model, side), count(twin, side)
    assert quick.macs == slow.macs and quick.params == folded_params(model)
    assert list(quick.by_stage().index) == ["input", *slow.by_stage().index]
    assert quick.rows["receptive_field"].iloc[-1] == slow.rows["receptive_field"].iloc[-1]


def random_network(seed):
    """A small GoogLeNet whose widths, norms, kernels, pools and strides are drawn."""
    rng = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return int(torch.randint(low, high + 1, (1,), generator=rng))

    def pick(*options):
        return options[draw(0, len(options) - 1)]

    rows = [Row("conv1", "convolution", pick(3, 7), pick(1, 2), 1, draw(4, 12), depth_multiplier=pick(0, 0, 2))]
    rows += [Row("pool1", "max pool", pick(2, 3), 2, 0)]
    rows += [Row("conv2", "convolution", 3, 1, 2, three_reduce=draw(3, 9), three=draw(4, 12))]
    for stage in ("inception_3a", "inception_3b", "inception_4a"):
        if pick(False, False, True):
            widths = (0, draw(1, 9), draw(1, 9), draw(1, 9), draw(1, 9), None)
            rows.append(Row(stage, "inception", 0, 2, 3, 0, *widths))
        else:
            pool_proj, one = pick(0, None, draw(1, 9)), draw(1, 9)
            three, five = pick((0, 0), (draw(1, 9), draw(1, 20))), pick((0, 0), (draw(1, 9), draw(1, 9)))
            rows.append(Row(stage, "inception", 0, 1, 2, 0, one, *three, *five, pool_proj, pool=pick("max", "avg")))
    norm, in_channels = pick("lrn", "batch", "none"), pick(1, 3, 4)
    design = replace(PLAIN, table=tuple(rows), norm=norm, bias=norm != "batch" or pick(True, False))
    design = replace(design, five_by_five=pick("5x5", "3x3", "two 3x3", "1x1"), pool_rounding=pick("up", "padded"))
    design = replace(design, transform_input=in_channels == 3 and pick(True, False), batch_norm_eps=pick(1e-5, 1e-2))
    model = GoogLeNet(design, draw(2, 9), in_channels=in_channels)
    shape = (draw(1, 5), in_channels, draw(21, 40), draw(21, 40))
    return randomize(model, seed), torch.randn(shape, generator=rng)


@pytest.mark.parametrize("seed", range(40))
def test_random_designs_widths_and_sizes_give_the_same_logits(seed):
    model, images = random_network(seed)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert difference(fast(model), model, images) < 1e-4
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_the_paths_without_onednn_and_with_images_in_the_default_layout_agree(monkeypatch):
    model, images = random_network(7)
    twin = fast(model)
    assert difference(twin, model, images.contiguous(memory_format=torch.channels_last)) < 1e-4
    monkeypatch.setattr("inception_lab.models.fused.ONEDNN", None)
    assert difference(twin, model, images) < 1e-4


@pytest.mark.parametrize("design", ["googlenet", "googlenet-torchvision"])
def test_the_paper_s_size(design):
    model = randomize(build(design, aux=False))
    assert difference(fast(model), model, torch.randn(1, 3, 224, 224)) < 1e-4


def test_bfloat16_finds_the_same_class():
    model, about = load_model(recorded_run("shapes-laptop"))
    images = in_memory(load("shapes", "val", size=64, length=200)).images
    images = (images / 255 - torch.tensor(about["mean"]).view(-1, 1, 1)) / torch.tensor(about["std"]).view(-1, 1, 1)
    with torch.no_grad():
        expected, found = model(images), fast(model, dtype=torch.bfloat16)(images)
    assert found.dtype == torch.float32
    assert (found.argmax(1) == expected.argmax(1)).float().mean() >= 0.99
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_bfloat16_also_of_response_norm():
    model, images = random_network(0)
    lrn = randomize(GoogLeNet(replace(model.design, norm="lrn", bias=True), 5, in_channels=images.shape[1]))
    assert difference(fast(lrn, dtype=torch.bfloat16), lrn, images) < 0.1


@pytest.mark.parametrize("size, beta", [(5, 0.75), (3, 0.75), (4, 0.5)])
def test_response_norm_is_pytorch_s(size, beta):
    norm = nn.LocalResponseNorm(size, alpha=0.3, beta=beta, k=1.5)
    x = torch.randn(2, 7, 3, 4)
    torch.testing.assert_close(FusedResponseNorm(norm)(x), norm(x))


def test_a_large_batch_is_computed_in_parts(monkeypatch):
    model, images = random_network(2)
    images = images[:1] * torch.rand(7, 1, 1, 1)
    twin, parts = fast(model), []
    whole = twin(images)
    twin.conv1.register_forward_pre_hook(lambda module, inputs: parts.append(len(inputs[0])))
    monkeypatch.setattr("inception_lab.models.fast_twin.PIXELS_AT_ONCE", 3 * images[0, 0].numel())
    torch.testing.assert_close(twin(images), whole)
    assert parts == [3, 3, 1]
    assert PIXELS_AT_ONCE // 224**2 * 64 * 112**2 * 4 < 32 * 2**20  # what the comment there says


def test_weights_are_packed_once_a_shape_and_anew_when_they_change():
    model, images = random_network(3)
    twin = fast(model)
    conv = next(module for module in twin.modules() if isinstance(module, FusedConv))
    twin(images), twin(images)
    assert len(conv.packed) == 1
    for side in range(30, 30 + 2 * SHAPES_KEPT):
        assert difference(twin, model, torch.randn(1, images.shape[1], side, side)) < 1e-4
    assert len(conv.packed) <= SHAPES_KEPT
    other = randomize(GoogLeNet(model.design, model.linear.out_features, in_channels=model.in_channels), 99)
    assert difference(twin, other, images) > 1e-2
    twin.load_state_dict(fast(other).state_dict())
    assert difference(twin, other, images) < 1e-4


def test_a_twin_can_be_copied_and_pickled():
    model, images = random_network(4)
    twin = fast(model)
    twin(images)
    for again in (copy.deepcopy(twin), pickle.loads(pickle.dumps(twin))):
        assert difference(again, model, images) < 1e-4


def test_a_twin_can_be_made_and_used_in_inference_mode():
    model, images = random_network(5)
    with torch.inference_mode():
        assert difference(fast(model), model, images) < 1e-4


@pytest.fixture(scope="module")
def compiled():
    """A model and its compiled twin; what is compiled for a size is kept."""
    model = randomize(GoogLeNet(NETWORKS["tiny-lrn"]))
    return model, fast(model, compile=True)


@pytest.mark.slow
def test_compiled_it_is_the_same_function(compiled):
    model, twin = compiled
    assert difference(twin, model, torch.randn(2, 3, 16, 16)) < 1e-4
    assert count(twin, 16).macs == count(model, 16).macs


@pytest.mark.slow
def test_compiled_twins_of_one_design_have_each_their_own_weights_type_and_size(compiled):
    model, twin = compiled
    other = randomize(GoogLeNet(NETWORKS["tiny-lrn"]), 1)
    images = torch.randn(2, 3, 16, 16)
    assert difference(twin, model, images) < 1e-4
    for what in some(("weights", "type", "size"), 1):
        if what == "weights":
            assert difference(fast(other, compile=True), other, images) < 1e-4
            assert difference(twin, model, images) < 1e-4 < difference(twin, other, images)
        if what == "type":
            assert 1e-4 < difference(fast(model, dtype=torch.bfloat16, compile=True), model, images) < 0.1
        if what == "size":
            assert difference(twin, model, torch.randn(2, 3, 20, 20)) < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(ONEDNN is None, reason="packed weights are oneDNN's")
def test_the_compiler_packs_the_weights_and_computes_relu_with_the_convolution():
    from torch._inductor.utils import run_and_get_code

    twin = fast(randomize(GoogLeNet(NETWORKS["tiny-lrn"])), compile=True)
    _, (code,) = run_and_get_code(twin, torch.randn(2, 3, 16, 16))
    convolutions = [line for line in code.splitlines() if "= torch.ops.mkldnn._convolution_pointwise" in line]
    assert len(convolutions) == sum(isinstance(module, FusedConv) for module in twin.modules())
    assert all("_frozen_param" in line and "'relu'" in line for line in convolutions)
    assert "extern_kernels.convolution" not in code


# --- what is refused


class Doubled(ConvUnit):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked(model):
    model.inception_3a.three.register_forward_hook(lambda module, inputs, output: 2 * output)


def forward_replaced(model):
    model.inception_3a.forward = lambda x: x


def subclassed(model):
    model.inception_3a.three.conv = Doubled(4, 8, 3)


def another_activation(model):
    model.conv1.relu = nn.GELU()


def another_layer(model):
    model.inception_3a.three.conv = nn.Sequential(ConvUnit(4, 8, 3), nn.Sigmoid())


def without_statistics(model):
    model.conv1.bn = nn.BatchNorm2d(8, track_running_stats=False)


def reflecting(model):
    model.conv1.conv.padding_mode = "reflect"


def another_child(model):
    model.attention = nn.Conv2d(3, 3, 1)


def more_in_a_unit(model):
    model.conv1.add_module("scale", nn.Conv2d(8, 8, 1))


@pytest.mark.parametrize(
    "change, name",
    [
        (hooked, "inception_3a.three is a Sequential, with hooks"),
        (forward_replaced, "inception_3a is a Inception, with a forward"),
        (subclassed, "inception_3a.three.conv is a Doubled"),
        (another_activation, "conv1 is a ConvUnit"),
        (another_layer, "inception_3a.three.conv.1 is a Sigmoid"),
        (without_statistics, "conv1 is a ConvUnit"),
        (reflecting, "conv1 is a ConvUnit"),
        (another_child, "attention is a Conv2d"),
        (more_in_a_unit, "conv1 is a ConvUnit"),
    ],
)
def test_what_is_not_recognized_is_named_and_refused(change, name):
    model = GoogLeNet(NETWORKS["tiny-bn"])
    change(model)
    with pytest.raises(ValueError, match=name):
        fast(model)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: torchvision.models.googlenet(init_weights=False), "got GoogLeNet; from_torchvision"),
        (lambda: build("alexnet-2012"), "got Sequential"),
        (lambda: "googlenet", "got str"),
        (lambda: type("Own", (GoogLeNet,), {})(PLAIN), "got Own"),
    ],
)
def test_other_models_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        fast(make())


def test_wrong_arguments_are_refused():
    model = GoogLeNet(PLAIN)
    with pytest.raises(ValueError, match="dtype must be one of torch.float32, torch.bfloat16, got torch.float16"):
        fast(model, dtype=torch.float16)
    with pytest.raises(ValueError, match="for inference"):
        fast(model).train()
    with pytest.raises(ValueError, match=r"shape \(N, 3, H, W\)"):
        fast(model)(torch.zeros(1, 4, 20, 20))


def test_a_twin_gives_no_gradients():
    model, images = random_network(6)
    assert not fast(model)(images.requires_grad_()).requires_grad
    assert isinstance(fast(model), Twin)


def test_a_model_with_merged_ones_has_a_twin_a_copy_and_a_pickle():
    model = randomize(build("googlenet-laptop", 5))
    names = list(model.state_dict())
    images = torch.randn(2, 3, 64, 64)
    expected = model(images)
    merge_ones(model)
    assert type(model.inception_3a) is MergedInception and list(model.state_dict()) == names
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(again.inception_3a) is MergedInception
        torch.testing.assert_close(again(images), expected)
    assert difference(fast(model), model, images) < 1e-4
