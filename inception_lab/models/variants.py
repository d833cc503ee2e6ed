"""Designs for experiments: a published design with one thing changed.

    vary(DESIGNS["googlenet-laptop"], norm="none", bias=True)
    vary(DESIGNS["googlenet-laptop"], modules="3x3 alone")
    vary(DESIGNS["googlenet-laptop"], modules="3x3 for 5x5")

`zoo.build("googlenet-laptop", modules="3x3 alone")` does the same, and so do a recipe's options.

A comparison of two kinds of module is fair only at one price. So a kind of module that costs more or less gets other
widths: each module those that its own multiply-accumulates pay for (`module_by_module`), or all modules of the design
their widths times one share (`with_macs_of`).
"""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from math import sqrt
from typing import Any

from inception_lab.common.checks import check_one_of
from inception_lab.models.blocks import FIVE_BY_FIVE, THREE_BY_THREE, Widths, chain
from inception_lab.models.designs import Design, Row, walk

KERNELS = (1, 3, 5, 7)


def vary(design: Design, modules: str = "inception", **fields: Any) -> Design:
    """The design with some fields replaced (see `Design`) and its modules changed as `MODULES` says.

    Raises ValueError for an unknown field or value. The number of classes and the table are not varied here.
    """
    allowed = sorted(Design.__dataclass_fields__.keys() - {"table", "num_classes"})
    for name in fields:
        check_one_of("option", name, [*allowed, "aux", "in_channels", "modules", "num_classes"])
    check_one_of("modules", modules, MODULES)
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}  # from JSON
    return MODULES[modules](replace(design, **fields))


# --- what modules cost


def macs_per_position(row: Row, in_channels: int, design: Design) -> float:
    """The multiply-accumulates of an Inception module at one position of its input, which has `in_channels` channels.

    A stride thins out the positions of the last convolution of a path.
    """
    w = row.widths
    total = float(in_channels * (w.one + w.three_reduce + w.five_reduce + (w.pool_proj or 0)))
    paths = (THREE_BY_THREE[design.three_by_three], w.three_reduce, w.three)
    for kernels, reduce, width in (paths, (FIVE_BY_FIVE[design.five_by_five], w.five_reduce, w.five)):
        convolutions = chain(kernels, reduce, width)
        for i, (kernel, c_in, c_out) in enumerate(convolutions, 1):
            taps = kernel**2 if isinstance(kernel, int) else kernel[0] * kernel[1]
            macs = taps * c_in + c_in * c_out if design.separable else taps * c_in * c_out
            total += macs / row.stride**2 if i == len(convolutions) else macs
    if design.residual and row.stride == 1:
        total += w.out_channels(in_channels) ** 2
    return total


def module_macs(design: Design) -> float:
    """The multiply-accumulates of all modules, for each pixel of the image."""
    return sum(
        macs_per_position(row, in_channels, design) / total_stride**2
        for row, in_channels, _, total_stride in walk(design.table)
        if row.type == "inception"
    )


# --- each module at its own cost


def module_by_module(design: Design, remake: Callable[[Row, int, float], tuple[Row, float]]) -> tuple[Row, ...]:
    """The table with each module remade for the multiply-accumulates that the design's own module takes.

    remake: from a row, the channels that it reads in the new table, and the MACs that it may take at each position, to
        the new row and the MACs that it takes. What rounding leaves over is given to the next module, so that the
        totals agree.
    """
    rows, channels, left = [], 3, 0.0  # left: for each pixel of the image
    for row, own_channels, _, total_stride in walk(design.table):
        if row.type == "inception":
            wanted = macs_per_position(row, own_channels, design) + left * total_stride**2
            row, taken = remake(row, channels, wanted)
            left = (wanted - taken) / total_stride**2
        channels = row.out_channels(channels)
        rows.append(row)
    return tuple(rows)


def one_kernel(design: Design, kernel: int) -> Design:
    """Each module as a single path, 1×1 then `kernel`×`kernel`, with the module's own MACs.

    A module of M MACs at each position and c input channels becomes a reduction to r = ρ·C channels and a convolution
    to C, where ρ is the reduction of the module's own 3×3 path. C solves M = c·ρ·C + kernel²·ρ·C² / stride², so that a
    larger kernel makes a narrower network.
    """

    def remake(row: Row, channels: int, macs: float) -> tuple[Row, float]:
        share = row.three_reduce / row.three
        taps = kernel**2 / row.stride**2
        linear, square = channels * share, taps * share
        width = max(1, round((sqrt(linear**2 + 4 * square * macs) - linear) / (2 * square)))
        reduce = max(1, round(share * width))
        return row.with_widths(Widths(0, 0, 0, reduce, width, 0)), channels * reduce + taps * reduce * width

    return replace(design, table=module_by_module(design, remake), five_by_five=f"{kernel}x{kernel}")


def naive(design: Design) -> Design:
    """Each module without reductions (Figure 2a), with the module's own MACs.

    Its three kernels share the MACs as the module's own widths would: all are times s, where for c input channels
    M = c·s·(one + 9·three + 25·five). The pool passes the c channels on, so that c grows from module to module, and s
    gets smaller. Raises ValueError for a design without 5×5 kernels.
    """
    check_one_of("five_by_five", design.five_by_five, ("5x5",))

    def remake(row: Row, channels: int, macs: float) -> tuple[Row, float]:
        share = macs / (channels * (row.one + 9 * row.three + 25 * row.five))
        one, three, five = (max(1, round(share * width)) for width in (row.one, row.three, row.five))
        row = row.with_widths(Widths(one, 0, three, 0, five, None))._replace(type="naive")
        return row, channels * (one + 9 * three + 25 * five)

    return replace(design, table=module_by_module(design, remake))


def three_for_five(design: Design) -> Design:
    """Each module with a 3×3 kernel in its 5×5 path, at the module's own MACs and output width; the rest stays.

    For c input channels, a path of r·(c + 25·w) MACs at each position, with r channels in its reduction and w in its
    output, becomes one of r'·(c + 9·w): the work that the smaller kernel saves goes into the reduction. Raises
    ValueError for a design that has no 5×5 kernels.
    """
    check_one_of("five_by_five", design.five_by_five, ("5x5",))

    def remake(row: Row, channels: int, macs: float) -> tuple[Row, float]:
        other_paths = macs_per_position(row, channels, design) - row.five_reduce * (channels + 25 * row.five)
        each = channels + 9 * row.five  # the MACs of one channel of the reduction
        reduce = max(1, round((macs - other_paths) / each))
        return row._replace(five_reduce=reduce), other_paths + reduce * each

    return replace(design, table=module_by_module(design, remake), five_by_five="3x3")


# --- all modules at the cost of the whole design


def times(table: tuple[Row, ...], share: float) -> tuple[Row, ...]:
    """The table with all widths of its modules times `share`, and 1 at least.

    Sums of widths from the start on are rounded, not single ones, so that equal widths are not all rounded one way.
    """
    rows, before = [], 0.0
    for row in table:
        if row.type == "inception":
            widths = row.widths._asdict()
            for name, width in widths.items():
                if width:
                    after = before + width * share
                    widths[name], before = max(1, round(after) - round(before)), after
            row = row._replace(**widths)
        rows.append(row)
    return tuple(rows)


def with_macs_of(original: Design, changed: Design) -> Design:
    """The changed design with all widths of its modules times one share, so that they cost what the original's do."""
    wanted = module_macs(original)

    def excess(share: float) -> float:
        return module_macs(replace(changed, table=times(changed.table, share))) - wanted

    low, high = 0.0, 16.0
    while high - low > 1e-4:
        share = (low + high) / 2
        low, high = (share, high) if excess(share) <= 0 else (low, share)
    # Rounding makes the cost rise in uneven steps: the closest one lies nearby.
    share = min((low * (1 + i / 10_000) for i in range(-100, 101)), key=lambda share: abs(excess(share)))
    return replace(changed, table=times(changed.table, share))


def with_widths(design: Design, rearrange: Callable[[list[Widths]], list[Widths]]) -> Design:
    """Each module with the widths that `rearrange` gives it from the list of all, at equal MACs."""
    widths = iter(rearrange([row.widths for row in design.table if row.type == "inception"]))
    rows = (row.with_widths(next(widths)) if row.type == "inception" else row for row in design.table)
    return with_fields(design, table=tuple(rows))


def shuffled(widths: list[Widths]) -> list[Widths]:
    """The same widths in an order drawn once, which is the same in every run."""
    return random.Random(0).sample(widths, len(widths))


def uniform(widths: list[Widths]) -> list[Widths]:
    """The mean of each column of Table 1, for every module; ValueError where a pool passes its input through."""
    if any(w.pool_proj is None for w in widths):
        raise ValueError('modules must not be "widths uniform" for a design in which a pool has no projection')
    means = (round(sum(column) / len(widths)) for column in zip(*widths, strict=True))
    return [Widths(*means)] * len(widths)


def deeper(design: Design, copies: int) -> Design:
    """Each module `copies` times in a row, at equal MACs; with 0 copies, only the last module before each pool."""
    rows: list[Row] = []
    for row, after in zip_longest(design.table, design.table[1:]):
        is_kept = copies > 0 or after is None or not row.type == after.type == "inception"
        rows += [row] if is_kept else []
        if row.type == "inception":
            rows += [row._replace(stage=f"{row.stage}_{n}") for n in range(2, copies + 1)]
    heads = tuple(stage for stage in design.aux_after if stage in [row.stage for row in rows])
    return with_fields(design, table=tuple(rows), aux_after=heads)


def grid_reduction(design: Design) -> Design:
    """Strided modules in place of the pools between modules (Inception-v3, Figure 10), at equal MACs.

    Convolutions with stride 2 stand beside the pool, with the widths of the module before it, so that no map is
    narrowed before its width has grown.
    """
    rows: list[Row] = []
    for row in design.table:
        if row.type == "max pool" and rows[-1].type == "inception":
            before = rows[-1]
            stage = before.stage[:-1] + chr(ord(before.stage[-1]) + 1)  # after 3b comes 3c
            row = before._replace(stage=stage, stride=2, one=0, pool_proj=None)
        rows.append(row)
    return with_fields(design, table=tuple(rows))


def with_fields(design: Design, **fields: Any) -> Design:
    """Some fields of the design replaced, at equal MACs."""
    return with_macs_of(design, replace(design, **fields))


# --- at another cost


def without_path(design: Design, *columns: str) -> Design:
    """Each module without the path of these columns of Table 1. It costs less, and its output is narrower."""
    none: dict[str, Any] = dict.fromkeys(columns, 0)
    rows = (row._replace(**none) if row.type == "inception" else row for row in design.table)
    return replace(design, table=tuple(rows))


MODULES: dict[str, Callable[[Design], Design]] = {
    "inception": lambda design: design,
    **{f"{k}x{k} alone": partial(one_kernel, kernel=k) for k in KERNELS},
    "naive": naive,
    "3x3 for 5x5": three_for_five,
    "without 1x1": lambda design: without_path(design, "one"),
    "without 3x3": lambda design: without_path(design, "three_reduce", "three"),
    "without 5x5": lambda design: without_path(design, "five_reduce", "five"),
    "without pool": lambda design: without_path(design, "pool_proj"),
    # Notebook 11. What was wrong: are the widths and the depth the best ones?
    "widths × 3/4": lambda design: replace(design, table=times(design.table, 3 / 4)),  # about (3/4)² of the cost
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
