"""Designs for experiments: a published design with one thing changed.

    vary(DESIGNS["googlenet-laptop"], norm="none", bias=True)
    vary(DESIGNS["googlenet-laptop"], modules="3x3 alone")
    vary(DESIGNS["googlenet-laptop"], modules="3x3 for 5x5")

`zoo.build("googlenet-laptop", modules="3x3 alone")` does the same, and so do a recipe's options.
"""

from dataclasses import replace
from functools import partial
from math import sqrt

from inception_lab.blocks import FIVE_BY_FIVE, check_one_of
from inception_lab.designs import Design, Row

KERNELS = (1, 3, 5, 7)


def vary(design: Design, modules: str = "inception", **fields) -> Design:
    """The design with some fields replaced (see `Design`) and its modules changed as `MODULES` says.

    Raises ValueError for an unknown field or value. The number of classes and the table are not varied here.
    """
    allowed = sorted(Design.__dataclass_fields__.keys() - {"table", "num_classes"})
    for name in fields:
        check_one_of("option", name, [*allowed, "aux", "in_channels", "modules"])
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
            wanted = macs_a_position(row, was, design.five_by_five) + rest / area
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
            wanted = macs_a_position(row, was, design.five_by_five) + rest / area
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


def macs_a_position(row: Row, channels: int, five_by_five: str) -> int:
    """The multiply-accumulates of an Inception module at one position of its output, for stride 1."""
    w = row.widths
    kernels = FIVE_BY_FIVE[five_by_five]
    inner = [w.five_reduce] + [w.five] * (len(kernels) - 1)
    five = sum(k * k * c * w.five for k, c in zip(kernels, inner, strict=True))
    return (
        channels * (w.one + w.three_reduce + w.five_reduce + (w.pool_proj or 0)) + 9 * w.three_reduce * w.three + five
    )


def without_path(design: Design, *columns: str) -> Design:
    """Each module without the path of these columns of Table 1. It costs less, and its output is narrower."""
    none = dict.fromkeys(columns, 0)
    rows = (row._replace(**none) if row.type == "inception" else row for row in design.table)
    return replace(design, table=tuple(rows))


MODULES = {
    "inception": lambda design: design,
    **{f"{k}x{k} alone": partial(one_kernel, kernel=k) for k in KERNELS},
    "naive": naive,
    "3x3 for 5x5": three_for_five,
    "without 1x1": lambda design: without_path(design, "one"),
    "without 3x3": lambda design: without_path(design, "three_reduce", "three"),
    "without 5x5": lambda design: without_path(design, "five_reduce", "five"),
    "without pool": lambda design: without_path(design, "pool_proj"),
}
