"""What the building blocks do: sizes, what each path sees, and what they refuse."""

import copy

import pytest
import torch
from torch import nn

from inception_lab import build
from inception_lab.common.checks import check_one_of
from inception_lab.models.blocks import (
    AuxiliaryHead,
    ConvUnit,
    Inception,
    NaiveInception,
    ResidualInception,
    Widths,
    chain,
)
from inception_lab.models.fast_twin import merge_ones

WIDTHS_3A = Widths(64, 96, 128, 16, 32, 32)


def with_unit_weights(module):
    """Every weight 1 and every bias 0, so that no two contributions cancel."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module.eval()


def lit_side(response):
    """The side of the square of positive values in an (H, W) map, after checking that it is a full square."""
    rows, columns = response.gt(0).nonzero(as_tuple=True)
    side = int(rows.max() - rows.min()) + 1
    assert side == int(columns.max() - columns.min()) + 1
    assert len(rows) == side * side
    return side


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("kind, side", [("5x5", 5), ("3x3", 3), ("two 3x3", 5), ("1x5 5x1", 5)])
def test_an_impulse_lights_exactly_the_kernel_of_each_path(kind, side, batch_norm):
    def unit(*args):
        return ConvUnit(*args, batch_norm=batch_norm)

    module = with_unit_weights(Inception(1, Widths(1, 1, 1, 1, 1, 1), five_by_five=kind, unit=unit))
    impulse = torch.zeros(1, 1, 15, 15)
    impulse[0, 0, 7, 7] = 1
    assert [lit_side(channel) for channel in module(impulse)[0]] == [1, 3, side, 3]


@pytest.mark.parametrize("options", [{"three_by_three": "1x3 3x1"}, {"separable": True}])
def test_a_factorized_or_separable_path_sees_as_far_as_its_kernel(options):
    module = with_unit_weights(Inception(1, Widths(1, 1, 1, 1, 1, 1), **options))
    impulse = torch.zeros(1, 1, 15, 15)
    impulse[0, 0, 7, 7] = 1
    assert [lit_side(channel) for channel in module(impulse)[0]] == [1, 3, 5, 3]


def test_the_first_half_of_a_pair_keeps_the_reduction_s_width_and_two_squares_do_not():
    assert chain(((1, 5), (5, 1)), 16, 32) == [((1, 5), 16, 16), ((5, 1), 16, 32)]
    assert chain((3, 3), 16, 32) == [(3, 16, 32), (3, 32, 32)]
    module = Inception(8, Widths(1, 2, 3, 4, 6, 1), three_by_three="1x3 3x1", five_by_five="1x5 5x1")
    shapes = [tuple(p.shape) for p in [*module.three.parameters(), *module.five.parameters()] if p.ndim == 4]
    assert shapes == [(2, 8, 1, 1), (2, 2, 1, 3), (3, 2, 3, 1), (4, 8, 1, 1), (4, 4, 1, 5), (6, 4, 5, 1)]


def test_a_separable_module_has_one_filter_a_channel():
    module = Inception(8, Widths(1, 2, 3, 4, 6, 1), separable=True)
    shapes = [tuple(p.shape) for p in module.five.parameters() if p.ndim == 4]
    assert shapes == [(4, 8, 1, 1), (4, 1, 5, 5), (6, 4, 1, 1)]
    assert module.five.conv.depthwise.groups == 4


def test_a_residual_module_adds_the_mixed_paths_to_its_input():
    module, x = ResidualInception(8, Widths(2, 1, 4, 1, 2, 3)), torch.randn(2, 8, 6, 6)
    nn.init.zeros_(module.expand.weight)
    wide = module(x)
    assert module.out_channels == 11 and torch.equal(wide[:, :8], x.relu()) and not wide[:, 8:].any()
    nn.init.eye_(module.expand.weight.data.view(11, 11))
    torch.testing.assert_close(module(x)[:, 8:], module.paths(x)[:, 8:])
    torch.testing.assert_close(module(x)[:, :8], (x + module.paths(x)[:, :8]).relu())
    narrow = ResidualInception(8, Widths(2, 0, 0, 0, 0, 3))
    nn.init.zeros_(narrow.expand.weight)
    assert torch.equal(narrow(x), x[:, :5].relu())


def test_an_impulse_at_a_corner_meets_zero_padding():
    module = with_unit_weights(Inception(1, Widths(1, 1, 1, 1, 1, 1)))
    impulse = torch.zeros(1, 1, 9, 9)
    impulse[0, 0, 0, 0] = 1
    assert [lit_side(channel) for channel in module(impulse)[0]] == [1, 2, 3, 2]


def test_the_reduced_module_has_the_sum_of_its_path_widths():
    module = Inception(192, WIDTHS_3A)
    assert module(torch.randn(2, 192, 28, 28)).shape == (2, 64 + 128 + 32 + 32, 28, 28)
    assert module.out_channels == 256


def test_the_naive_module_adds_its_input_channels():
    module = NaiveInception(192, 64, 128, 32)
    x = torch.randn(2, 192, 9, 9)
    assert module(x).shape == (2, 64 + 128 + 32 + 192, 9, 9)
    pooled = nn.functional.max_pool2d(x, 3, 1, 1)
    assert torch.equal(module(x)[:, -192:], pooled)


def test_paths_are_stacked_in_the_order_of_the_paper():
    module = Inception(8, Widths(1, 2, 3, 4, 5, 6))
    x = torch.randn(1, 8, 6, 6)
    one, three, five, pool = module(x).split([1, 3, 5, 6], dim=1)
    torch.testing.assert_close(one, module.one(x))
    torch.testing.assert_close(three, module.three(x))
    torch.testing.assert_close(five, module.five(x))
    torch.testing.assert_close(pool, module.pool(x))


def test_a_path_of_width_zero_is_left_out():
    module = Inception(8, Widths(4, 0, 0, 2, 3, 0))
    assert [name for name, _ in module.named_children()] == ["one", "five"]
    assert module(torch.randn(1, 8, 5, 5)).shape == (1, 7, 5, 5)


def test_a_strided_module_halves_the_map_and_passes_the_pool_through():
    module = Inception(320, Widths(0, 128, 160, 64, 96, None), five_by_five="two 3x3", stride=2)
    x = torch.randn(1, 320, 28, 28)
    assert module(x).shape == (1, 160 + 96 + 320, 14, 14)
    assert torch.equal(module(x)[:, -320:], nn.functional.max_pool2d(x, 3, 2, 1))


def test_a_separable_unit_is_the_product_of_its_two_convolutions():
    unit = ConvUnit(3, 64, 7, 2, depth_multiplier=8, bias=False)
    assert sum(p.numel() for p in unit.parameters()) == 7 * 7 * 3 * 8 + 24 * 64 == 2712
    assert unit(torch.randn(1, 3, 224, 224)).shape == (1, 64, 112, 112)


def test_the_auxiliary_head_has_the_sizes_of_the_paper():
    head = AuxiliaryHead(512, 1000)
    assert head.pool(torch.zeros(1, 512, 14, 14)).shape == (1, 512, 4, 4)
    assert head(torch.randn(2, 512, 14, 14)).shape == (2, 1000)
    assert sum(p.numel() for p in head.parameters()) == 65_664 + 2_098_176 + 1_025_000


@pytest.mark.parametrize("size, fits", [(4, False), (13, False), (14, True), (16, True), (17, False)])
def test_the_papers_head_takes_maps_of_14_to_16_pixels(size, fits):
    head, x = AuxiliaryHead(4, 10), torch.randn(1, 4, size, size)
    if fits:
        assert head(x).shape == (1, 10)
    else:
        with pytest.raises(ValueError, match=rf"14×14 to 16×16.*got {size}×{size}.*adaptive"):
            head(x)
    assert AuxiliaryHead(4, 10, adaptive=True)(x).shape == (1, 10)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"widths": (1, 2, 3)}, r"widths must be six numbers .*got 3"),
        ({"widths": (-1, 1, 1, 1, 1, 1)}, r"one must be a whole number of at least 0, got -1"),
        ({"widths": (1, 0, 1, 1, 1, 1)}, r"three_reduce must be at least 1 where three is 1, got 0"),
        ({"widths": (0, 0, 0, 0, 0, 0)}, r"at least one path"),
        ({"in_channels": 0}, r"in_channels must be a whole number of at least 1, got 0"),
        ({"five_by_five": "9x9"}, r"five_by_five must be one of '5x5', '3x3', .*, got '9x9'"),
        ({"three_by_three": "5x5"}, r"three_by_three must be one of '3x3', '1x3 3x1', got '5x5'"),
        ({"pool": "median"}, r"pool must be one of 'max', 'avg', got 'median'"),
        ({"stride": 2}, r"stride 2 needs one=0"),
        ({"stride": 0}, r"stride must be a whole number of at least 1, got 0"),
        ({"widths": (None, 1, 1, 1, 1, 1)}, r"one must be a whole number of at least 0, got None"),
        ({"widths": (1.0, 1, 1, 1, 1, 1)}, r"one must be a whole number of at least 0, got 1.0"),
    ],
)
def test_a_wrong_argument_is_named(change, message):
    arguments = {"in_channels": 4, "widths": (1, 1, 1, 1, 1, 1)} | change
    with pytest.raises(ValueError, match=message):
        Inception(**arguments)


def test_the_naive_module_names_a_wrong_width():
    with pytest.raises(ValueError, match="five must be a whole number of at least 1, got 0"):
        NaiveInception(3, 1, 1, 0)


def test_an_even_kernel_is_refused_because_no_padding_keeps_the_map():
    with pytest.raises(ValueError, match="kernel_size must be odd, got 4"):
        ConvUnit(3, 4, 4)
    with pytest.raises(ValueError, match=r"kernel_size must be odd, got \(1, 4\)"):
        ConvUnit(3, 4, (1, 4))


@pytest.mark.parametrize("name", ["googlenet-laptop", "googlenet-uva", "inception-v2", "googlenet-d2l"])
def test_merged_ones_are_exact_in_training(name):
    model = build(name, dropout=0.0).double()
    merged = merge_ones(copy.deepcopy(model))
    side = 224 if model.heads and model.design.aux_pool == "5x5/3" else 64
    images = torch.randn(2, 3, side, side).double()
    for network in (model, merged):
        torch.manual_seed(0)  # the heads drop units
        outputs = network(images)
        sum(part.square().sum() for part in (outputs if isinstance(outputs, tuple) else [outputs])).backward()
    for (key, ours), theirs in zip(model.state_dict().items(), merged.state_dict().values(), strict=True):
        torch.testing.assert_close(theirs, ours, msg=key)  # running statistics too
    for ours, theirs in zip(model.parameters(), merged.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad, ours.grad, rtol=1e-7, atol=1e-7)
    assert merge_ones(merged, on=False) is merged and type(merged.inception_3a) is Inception


def test_only_inception_modules_can_be_merged():
    with pytest.raises(ValueError, match="must have Inception modules"):
        merge_ones(ConvUnit(3, 4, 3))


def test_a_refused_choice_comes_with_what_is_allowed_and_the_nearest_if_one_is_near():
    with pytest.raises(ValueError, match="pool must be one of") as near:
        check_one_of("pool", "maxx", ("max", "average"))
    assert str(near.value) == "pool must be one of 'max', 'average', got 'maxx'; did you mean 'max'?"
    for far, allowed in (("none", ("max", "average")), (7, (None, 3))):
        with pytest.raises(ValueError, match="got (7|'none')$"):
            check_one_of("pool", far, allowed)
