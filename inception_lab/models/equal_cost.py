"""Tables of equal cost: what the modules of a design cost, and the same design with as many MACs as another.

A comparison of two kinds of module is fair only at one price. So a changed design gets all widths of its modules times
one share, which `with_macs_of` finds.
"""

from dataclasses import replace

from inception_lab.models.blocks import FIVE_BY_FIVE, THREE_BY_THREE, chain
from inception_lab.models.designs import Design, Row


def macs_a_position(row: Row, channels: int, design: Design) -> float:
    """The multiply-accumulates of an Inception module at one position of its input, which has `channels` channels.

    A stride thins out the positions of the last convolution of a path.
    """
    w = row.widths
    total = float(channels * (w.one + w.three_reduce + w.five_reduce + (w.pool_proj or 0)))
    paths = (THREE_BY_THREE[design.three_by_three], w.three_reduce, w.three)
    for kernels, reduce, width in (paths, (FIVE_BY_FIVE[design.five_by_five], w.five_reduce, w.five)):
        convolutions = chain(kernels, reduce, width)
        for i, (kernel, c_in, c_out) in enumerate(convolutions, 1):
            taps = kernel**2 if isinstance(kernel, int) else kernel[0] * kernel[1]
            macs = taps * c_in + c_in * c_out if design.separable else taps * c_in * c_out
            total += macs / row.stride**2 if i == len(convolutions) else macs
    if design.residual and row.stride == 1:
        total += w.out_channels(channels) ** 2
    return total


def module_macs(design: Design) -> float:
    """The multiply-accumulates of all modules, for each pixel of the image.

    Maps are taken to shrink by exactly the strides, which they do for sides that are powers of two and for 224.
    """
    total, channels, area = 0.0, 0, 1.0
    for row in design.table:
        if row.type == "inception":
            total += macs_a_position(row, channels, design) * area
            channels = row.widths.out_channels(channels)
        elif row.type == "convolution":
            channels = row.three or row.channels
        area /= row.stride**2
    return total


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

    def excess(share):
        return module_macs(replace(changed, table=times(changed.table, share))) - wanted

    low, high = 0.0, 16.0
    while high - low > 1e-4:
        share = (low + high) / 2
        low, high = (share, high) if excess(share) <= 0 else (low, share)
    # Rounding makes the cost rise in uneven steps: the closest one lies nearby.
    share = min((low * (1 + i / 10_000) for i in range(-100, 101)), key=lambda share: abs(excess(share)))
    return replace(changed, table=times(changed.table, share))
