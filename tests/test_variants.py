"""Designs for experiments: equal cost where it is promised, one thing changed and nothing else."""

import pytest
import torch

from inception_lab import build, count
from inception_lab.designs import DESIGNS, TABLE_1, narrow
from inception_lab.variants import KERNELS, MODULES, macs_a_position, vary

DESIGN = DESIGNS["googlenet-laptop"]


def modules_of(name, modules):
    with torch.device("meta"):
        model = build(name, 10, aux=False, modules=modules)
    return [module for stage, module in model.named_children() if stage.startswith("inception")]


@pytest.mark.parametrize("name", ["googlenet-laptop", "googlenet-bn-32", "googlenet-uva"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_one_kernel_keeps_cost_and_depth(name, kernel):
    whole, alone = (modules_of(name, modules) for modules in ("inception", f"{kernel}x{kernel} alone"))
    assert len(alone) == len(whole)
    for one, module in zip(alone, whole, strict=True):
        reduce, conv = (m for m in one.modules() if isinstance(m, torch.nn.Conv2d))
        assert (reduce.kernel_size, conv.kernel_size) == ((1, 1), (kernel, kernel))
        share = module.three.reduce.conv.out_channels / module.three.conv.conv.out_channels
        assert abs(reduce.out_channels - share * conv.out_channels) <= 0.5
    costs = [count(name, num_classes=10, modules=m) for m in ("inception", f"{kernel}x{kernel} alone")]
    assert costs[1].macs == pytest.approx(costs[0].macs, rel=0.01)


@pytest.mark.parametrize("name", ["googlenet-laptop", "googlenet-bn-32", "googlenet-uva", "googlenet"])
def test_naive_modules_have_no_reductions_and_the_same_cost(name):
    shares = []
    for naive, module in zip(*(modules_of(name, modules) for modules in ("naive", "inception")), strict=True):
        convolutions = [m for m in naive.modules() if isinstance(m, torch.nn.Conv2d)]
        assert [m.kernel_size[0] for m in convolutions] == [1, 3, 5]
        in_channels = {m.in_channels for m in convolutions}
        assert len(in_channels) == 1  # of the module itself: nothing is reduced
        assert naive.out_channels == in_channels.pop() + sum(m.out_channels for m in convolutions)
        shares.append(naive.three[0].out_channels / module.three.conv[0].out_channels)
    assert shares[-1] < shares[0] < 1  # the channels that the pool passes on have to be paid for
    costs = [count(name, num_classes=10, modules=m).macs for m in ("inception", "naive")]
    assert costs[1] == pytest.approx(costs[0], rel=0.01)


def test_naive_modules_need_a_design_with_5x5_kernels():
    with pytest.raises(ValueError, match="five_by_five must be one of '5x5', got 'two 3x3'"):
        build("googlenet-pytorch-cifar", modules="naive")


@pytest.mark.parametrize("name", ["googlenet-laptop", "googlenet-bn-32", "googlenet-uva"])
def test_three_for_five_changes_one_path_at_equal_cost(name):
    for control, module in zip(*(modules_of(name, m) for m in ("3x3 for 5x5", "inception")), strict=True):
        reduce, conv = (m for m in control.five.modules() if isinstance(m, torch.nn.Conv2d))
        assert conv.kernel_size == (3, 3) and reduce.out_channels > module.five.reduce.conv.out_channels
        assert conv.out_channels == module.five.conv.conv.out_channels
        for path in ("one", "three", "pool"):
            assert str(getattr(control, path)) == str(getattr(module, path))
    costs = [count(name, num_classes=10, modules=m) for m in ("inception", "3x3 for 5x5")]
    assert costs[1].macs == pytest.approx(costs[0].macs, rel=0.002)
    with pytest.raises(ValueError, match="five_by_five must be one of '5x5', got '3x3'"):
        build(name, modules="3x3 for 5x5", five_by_five="3x3")


@pytest.mark.parametrize("five_by_five", ["5x5", "3x3", "two 3x3"])
def test_the_formula_for_a_modules_macs_is_what_the_counter_finds(five_by_five):
    costs = count("googlenet", modules="inception", five_by_five=five_by_five).by_stage()["macs"]
    positions = {"3": 28**2, "4": 14**2, "5": 7**2}
    channels = 192
    for row in (row for row in TABLE_1 if row.type == "inception"):
        found = macs_a_position(row, channels, five_by_five) * positions[row.stage[-2]]
        assert found == costs[row.stage]
        channels = row.widths.out_channels(channels)


@pytest.mark.parametrize(
    "path, left", [("1x1", "three five pool"), ("3x3", "one five pool"), ("5x5", "one three pool")]
)
def test_a_path_is_left_out_of_every_module(path, left):
    for module in modules_of("googlenet-laptop", f"without {path}"):
        assert [name for name, _ in module.named_children()] == left.split()


def test_a_network_without_the_pool_path_still_classifies():
    model = build("googlenet-laptop", 10, modules="without pool", aux=False).eval()
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 10)
    assert all(not hasattr(module, "pool") for module in modules_of("googlenet-laptop", "without pool"))


def test_fields_are_replaced_and_nothing_else():
    changed = vary(DESIGN, norm="lrn", bias=True, aux_after=["inception_4a"])
    assert (changed.norm, changed.bias, changed.aux_after) == ("lrn", True, ("inception_4a",))
    assert (changed.table, changed.dropout, changed.aux_pool) == (DESIGN.table, DESIGN.dropout, DESIGN.aux_pool)
    assert vary(DESIGN) == DESIGN


def test_a_narrow_table_has_a_share_of_every_width_in_eighths():
    quarter = {row.stage: row for row in narrow(TABLE_1, 1 / 4)}
    assert quarter["conv1"].channels == 16 and quarter["inception_4e"].widths == (64, 40, 80, 8, 32, 32)
    for whole, row in zip(TABLE_1, quarter.values(), strict=True):
        assert (row.patch, row.stride, row.type) == (whole.patch, whole.stride, whole.type)
        assert all((a == 0) == (b == 0) for a, b in zip(whole.widths, row.widths, strict=True))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"modules": "9x9 alone"}, "modules must be one of 'inception', '1x1 alone'"),
        ({"norms": "lrn"}, "option must be one of .*'norm'.*, got 'norms'"),
        ({"table": ()}, "option must be one of .*, got 'table'"),
        ({"norm": "layer"}, "norm must be one of"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        build("googlenet-laptop", **options)


def test_every_kind_of_module_can_be_built():
    for modules in MODULES:
        assert len(modules_of("googlenet-laptop", modules)) == 9
