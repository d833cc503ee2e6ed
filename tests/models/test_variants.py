"""Designs for experiments: equal cost where it is promised, one thing changed and nothing else."""

import hashlib
from functools import cache

import pytest
import torch

from inception_lab import build, count
from inception_lab.models.designs import DESIGNS, TABLE_1, narrow
from inception_lab.models.variants import (
    KERNELS,
    MODULES,
    macs_per_position,
    module_macs,
    shuffled,
    times,
    vary,
    with_macs_of,
)

DESIGN = DESIGNS["googlenet-laptop"]


@cache
def macs(name, modules, classes=10):
    """Of the network with its heads. Most tests compare with the same whole one."""
    return count(name, num_classes=classes, modules=modules).macs


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
    assert macs(name, f"{kernel}x{kernel} alone") == pytest.approx(macs(name, "inception"), rel=0.01)


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
    assert macs(name, "naive") == pytest.approx(macs(name, "inception"), rel=0.01)


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
    assert macs(name, "3x3 for 5x5") == pytest.approx(macs(name, "inception"), rel=0.002)
    with pytest.raises(ValueError, match="five_by_five must be one of '5x5', got '3x3'"):
        build(name, modules="3x3 for 5x5", five_by_five="3x3")


CHANGED = [{"five_by_five": kind} for kind in ("5x5", "3x3", "two 3x3", "1x5 5x1")]
CHANGED += [{"three_by_three": "1x3 3x1"}, {"separable": True}, {"residual": True}]


@pytest.mark.parametrize("fields", CHANGED, ids=str)
def test_the_formula_for_a_modules_macs_is_what_the_counter_finds(fields):
    costs = count("googlenet", **fields).by_stage()["macs"]
    design, positions, channels = vary(DESIGNS["googlenet"], **fields), {"3": 28**2, "4": 14**2, "5": 7**2}, 192
    for row in (row for row in TABLE_1 if row.type == "inception"):
        found = macs_per_position(row, channels, design) * positions[row.stage[-2]]
        assert found == costs[row.stage]
        channels = row.widths.out_channels(channels)
    modules = [stage for stage in costs.index if stage.startswith("inception")]
    assert module_macs(design) * 224**2 == pytest.approx(costs[modules].sum())


def test_the_formula_holds_for_strided_modules():
    design = DESIGNS["inception-v2"]
    costs = count("inception-v2").by_stage()["macs"]
    modules = [stage for stage in costs.index if stage.startswith("inception")]
    assert module_macs(design) * 224**2 == pytest.approx(costs[modules].sum())


EQUAL = ["widths shuffled", "widths uniform", "3 modules", "18 modules"]
EQUAL += ["two 3x3", "1xn nx1", "grid reduction", "residual", "separable"]


@pytest.mark.parametrize("modules", EQUAL)
@pytest.mark.parametrize("name, classes", [("googlenet-laptop", 10), ("googlenet", 1000)])
def test_changed_modules_cost_what_the_design_s_own_do(name, classes, modules):
    assert macs(name, modules, classes) == pytest.approx(macs(name, "inception", classes), rel=0.001)


def test_a_share_changes_sums_of_widths_and_no_column_that_is_empty():
    for share in (0.3, 0.75, 1, 4 / 3):
        rows = [(a.widths, b.widths) for a, b in zip(TABLE_1, times(TABLE_1, share), strict=True)]
        assert all((a > 0) == (b > 0) for old, new in rows for a, b in zip(old, new, strict=True))
        old, new = (sum(sum(widths) for widths in side) for side in zip(*rows[4:], strict=True))
        assert abs(new - share * old) <= 1
    assert times(TABLE_1, 1) == TABLE_1


def test_a_design_of_the_wanted_cost_is_left_as_it_is():
    assert module_macs(with_macs_of(DESIGN, DESIGN)) == pytest.approx(module_macs(DESIGN), rel=1e-3)


def test_rearranged_widths_are_those_of_table_1_times_one_share():
    own = [row.widths for row in TABLE_1 if row.type == "inception"]
    means = [sum(column) / 9 for column in zip(*own, strict=True)]
    wanted = {"shuffled": shuffled(own), "uniform": [means] * 9}
    assert sorted(wanted["shuffled"]) == sorted(own) and wanted["shuffled"] != own
    for how, widths in wanted.items():
        table = vary(DESIGNS["googlenet"], modules=f"widths {how}").table
        found = [row.widths for row in table if row.type == "inception"]
        share = sum(map(sum, found)) / sum(map(sum, widths))
        for mine, theirs in zip(found, widths, strict=True):
            assert all(abs(a - share * b) <= 1 for a, b in zip(mine, theirs, strict=True)), how


@pytest.mark.parametrize("modules, number", [("3 modules", 3), ("18 modules", 18), ("grid reduction", 11)])
def test_depth_is_changed_by_whole_modules(modules, number):
    built = modules_of("googlenet-laptop", modules)
    assert len(built) == number
    if modules == "grid reduction":
        assert [hasattr(m, "one") for m in built] == [True, True, False, *[True] * 5, False, True, True]
        x = build("googlenet-laptop", 10, modules=modules, aux=False).eval()
        assert x.stages.count("pool3") == 0 and x(torch.randn(1, 3, 64, 64)).shape == (1, 10)


def test_heads_stay_where_their_module_does():
    assert vary(DESIGN, modules="3 modules").aux_after == ()
    assert vary(DESIGN, modules="18 modules").aux_after == DESIGN.aux_after


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


def test_every_kind_of_module_can_be_built_and_run():
    for modules in MODULES:
        model = build("googlenet-laptop", 10, modules=modules, aux=False).eval()
        assert model(torch.randn(1, 3, 64, 64)).shape == (1, 10), modules


# What the variants of published designs were when every stored study was run. A table that changes silently would
# change what a study's row means.
DIGESTS = {
    "googlenet": "a861f25e77296cf8",
    "googlenet-laptop": "57a9cf7623eb9436",
    "googlenet-bn-32": "219d59b0e8d22f82",
    "googlenet-uva": "e88e831f8a2a38d5",
    "inception-v2": "16fc23fcecf0dfa2",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_every_variant_is_the_design_that_it_always_was(name):
    found = hashlib.sha256()
    for modules in MODULES:
        try:
            design = vary(DESIGNS[name], modules)
        except (TypeError, ValueError):  # not every kind of module goes with every design
            continue
        found.update(repr((modules, design.table, design.three_by_three, design.five_by_five)).encode())
        found.update(repr((design.separable, design.residual, design.aux_after)).encode())
    assert found.hexdigest()[:16] == DIGESTS[name]


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_kernel_costs_the_same_where_modules_have_a_stride(kernel):
    """Inception-v2 has two: their positions, and those after them, are fewer."""
    usual = count("inception-v2").macs
    assert count("inception-v2", modules=f"{kernel}x{kernel} alone").macs == pytest.approx(usual, rel=1e-3)
