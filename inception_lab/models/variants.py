"""Designs for experiments: a published design with one thing changed.

    vary(DESIGNS["googlenet-laptop"], norm="none", bias=True)
    vary(DESIGNS["googlenet-laptop"], modules="3x3 alone")
    vary(DESIGNS["googlenet-laptop"], modules="3x3 for 5x5")

`zoo.build("googlenet-laptop", modules="3x3 alone")` does the same, and so do a recipe's options.
"""

import random
from dataclasses import replace
from functools import partial
from math import sqrt

from inception_lab.common.checks import check_one_of
from inception_lab.models.blocks import Widths
from inception_lab.models.designs import Design, Row
from inception_lab.models.equal_cost import macs_a_position, times, with_macs_of

KERNELS = (1, 3, 5, 7)


def vary(design: Design, modules: str = "inception", **fields) -> Design:
    """The design with some fields replaced (see `Design`) and its modules changed as `MODULES` says.

    Raises ValueError for an unknown field or value. The number of classes and the table are not varied here.
    """
    allowed = sorted(Design.__dataclass_fields__.keys() - {"table", "num_classes"})
    for name in fields:
        check_one_of("option", name, [*allowed, "aux", "in_channels", "modules", "num_classes"])
    check_one_of("modules", modules, MODULES)
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}  # from JSON
    return MODULES[modules](replace(design, **fields))


def one_kernel(design: Design, kernel: int) -> Design:
    """Each module as a single path, 1×1 then `kernel`×`kernel`, with the module's own MACs.

    A module of M MACs a position and c input channels becomes a reduction to r = ρ·C channels and a convolution to C,
    where ρ is the reduction of the module's own 3×3 path. C solves M = c·ρ·C + kernel²·ρ·C², so that a larger kernel
    makes a narrower network. What rounding leaves over is given to the next module, so that the totals agree.
    """
    rows, was, channels, area, rest = [], 0, 0, 1.0, 0.0  # was: the channels in the design itself
    for row in design.table:
        if row.type == "inception":
            wanted = macs_a_position(row, was, design) + rest / area
            share = row.three_reduce / row.three
            linear, square = channels * share, kernel**2 * share
            width = max(1, round((sqrt(linear**2 + 4 * square * wanted) - linear) / (2 * square)))
            reduce = max(1, round(share * width))
            rest = (wanted - channels * reduce - kernel**2 * reduce * width) * area
            was, channels = row.widths.out_channels(was), width
            row = row._replace(one=0, three_reduce=0, three=0, five_reduce=reduce, five=width, pool_proj=0)
        else:
            if row.type == "convolution":
                was = channels = row.three or row.channels
            area /= row.stride**2
        rows.append(row)
    return replace(design, table=tuple(rows), five_by_five=f"{kernel}x{kernel}")


def naive(design: Design) -> Design:
    """Each module without reductions (Figure 2a), with the module's own MACs.

    Its three kernels share the MACs as the module's own widths would: all are times s, where for c input channels
    M = c·s·(one + 9·three + 25·five). The pool passes the c channels on, so that c grows from module to module, and s
    gets smaller. What rounding leaves over is given to the next module. Raises ValueError for a design without 5×5
    kernels.
    """
    check_one_of("five_by_five", design.five_by_five, ("5x5",))
    rows, was, channels, area, rest = [], 0, 0, 1.0, 0.0  # was: the channels in the design itself
    for row in design.table:
        if row.type == "inception":
            wanted = macs_a_position(row, was, design) + rest / area
            share = wanted / (channels * (row.one + 9 * row.three + 25 * row.five))
            one, three, five = (max(1, round(share * width)) for width in (row.one, row.three, row.five))
            rest = (wanted - channels * (one + 9 * three + 25 * five)) * area
            was, channels = row.widths.out_channels(was), channels + one + three + five
            row = row._replace(type="naive", one=one, three=three, five=five)
            row = row._replace(three_reduce=0, five_reduce=0, pool_proj=None)
        else:
            if row.type == "convolution":
                was = channels = row.three or row.channels
            area /= row.stride**2
        rows.append(row)
    return replace(design, table=tuple(rows))


def three_for_five(design: Design) -> Design:
    """Each module with a 3×3 kernel in its 5×5 path, at the module's own MACs and output width; the rest stays.

    For c input channels, a path of r·(c + 25·w) MACs a position, with r channels in its reduction and w in its
    output, becomes one of r'·(c + 9·w): the work that the smaller kernel saves goes into the reduction. What rounding
    leaves over is given to the next module. Raises ValueError for a design that has no 5×5 kernels.
    """
    check_one_of("five_by_five", design.five_by_five, ("5x5",))
    rows, channels, area, rest = [], 0, 1.0, 0.0
    for row in design.table:
        if row.type == "inception":
            wanted = row.five_reduce * (channels + 25 * row.five) + rest / area
            cost = channels + 9 * row.five  # of a channel of the reduction
            reduce = max(1, round(wanted / cost))
            rest = (wanted - reduce * cost) * area
            channels = row.widths.out_channels(channels)
            row = row._replace(five_reduce=reduce)
        else:
            if row.type == "convolution":
                channels = row.three or row.channels
            area /= row.stride**2
        rows.append(row)
    return replace(design, table=tuple(rows), five_by_five="3x3")


def without_path(design: Design, *columns: str) -> Design:
    """Each module without the path of these columns of Table 1. It costs less, and its output is narrower."""
    none = dict.fromkeys(columns, 0)
    rows = (row._replace(**none) if row.type == "inception" else row for row in design.table)
    return replace(design, table=tuple(rows))


def times_share(design: Design, share: float) -> Design:
    """All widths of the modules times `share`: another cost, about its square."""
    return replace(design, table=times(design.table, share))


def with_widths(design: Design, rearrange) -> Design:
    """Each module with the widths that `rearrange` gives it from the list of all, at equal MACs."""
    widths = iter(rearrange([row.widths for row in design.table if row.type == "inception"]))
    rows = (row._replace(**next(widths)._asdict()) if row.type == "inception" else row for row in design.table)
    return with_macs_of(design, replace(design, table=tuple(rows)))


def shuffled(widths: list) -> list:
    """The same widths in an order drawn once, which is the same in every run."""
    return random.Random(0).sample(widths, len(widths))


def uniform(widths: list) -> list:
    """The mean of each column of Table 1, for every module."""
    means = (round(sum(column) / len(widths)) for column in zip(*widths, strict=True))
    return [Widths(*means)] * len(widths)


def deeper(design: Design, copies: int) -> Design:
    """Each module `copies` times in a row, at equal MACs; with 0 copies, only the last module before each pool."""
    rows, kept = [], design.table
    if copies == 0:
        following = [*design.table[1:], Row("end", "max pool", 0, 0, 0)]
        pairs = zip(design.table, following, strict=True)
        kept = [row for row, after in pairs if row.type != "inception" or after.type != "inception"]
    for row in kept:
        rows.append(row)
        if row.type == "inception":
            rows += [row._replace(stage=f"{row.stage}_{n}") for n in range(2, copies + 1)]
    heads = tuple(stage for stage in design.aux_after if stage in [row.stage for row in rows])
    return with_macs_of(design, replace(design, table=tuple(rows), aux_after=heads))


def grid_reduction(design: Design) -> Design:
    """Strided modules in place of the pools between modules (Inception-v3, Figure 10), at equal MACs.

    Convolutions with stride 2 stand beside the pool, with the widths of the module before it, so that no map is
    narrowed before its width has grown.
    """
    rows = []
    for row in design.table:
        if row.type == "max pool" and rows[-1].type == "inception":
            before = rows[-1]
            stage = before.stage[:-1] + chr(ord(before.stage[-1]) + 1)  # after 3b comes 3c
            row = before._replace(stage=stage, stride=2, one=0, pool_proj=None)
        rows.append(row)
    return with_macs_of(design, replace(design, table=tuple(rows)))


def with_fields(design: Design, **fields) -> Design:
    """Some fields of the design replaced, at equal MACs."""
    return with_macs_of(design, replace(design, **fields))


MODULES = {
    "inception": lambda design: design,
    **{f"{k}x{k} alone": partial(one_kernel, kernel=k) for k in KERNELS},
    "naive": naive,
    "3x3 for 5x5": three_for_five,
    "without 1x1": lambda design: without_path(design, "one"),
    "without 3x3": lambda design: without_path(design, "three_reduce", "three"),
    "without 5x5": lambda design: without_path(design, "five_reduce", "five"),
    "without pool": lambda design: without_path(design, "pool_proj"),
    # Notebook 11. What was wrong: are the widths and the depth the best ones?
    "widths × 3/4": partial(times_share, share=3 / 4),
    "widths shuffled": partial(with_widths, rearrange=shuffled),
    "widths uniform": partial(with_widths, rearrange=uniform),
    "3 modules": partial(deeper, copies=0),
    "18 modules": partial(deeper, copies=2),
    # And what came next.
    "two 3x3": partial(with_fields, five_by_five="two 3x3"),
    "1xn nx1": partial(with_fields, three_by_three="1x3 3x1", five_by_five="1x5 5x1"),
    "grid reduction": grid_reduction,
    "residual": partial(with_fields, residual=True),
    "separable": partial(with_fields, separable=True),
}
