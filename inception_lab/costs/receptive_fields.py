"""Which pixels of the image the output of an operator depends on.

The names are those of `torch.ops.aten`; the arguments are those of the operator's schema.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

aten = torch.ops.aten


class Field(NamedTuple):
    """The input pixels along one axis that a map depends on: unit i sees pixels low + i·step to high + i·step."""

    low: int
    high: int
    step: int

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    def window(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "Field":
        """After a window of `kernel` units that moves by `stride`: (kernel − 1) steps more, and a longer step."""
        low = self.low - padding * self.step
        high = self.high + (dilation * (kernel - 1) - padding) * self.step
        return Field(low, high, self.step * stride)

    def shifted(self, units: int) -> "Field":
        """After `units` units were cut off at the near edge (or padded there, if negative)."""
        return Field(self.low + units * self.step, self.high + units * self.step, self.step)


Fields = tuple[Field, ...]  # (vertical, horizontal)
Window = tuple[tuple[int, ...], ...]  # kernel, stride, padding and dilation, each (vertical, horizontal)
INPUT_FIELD: Fields = (Field(0, 0, 1), Field(0, 0, 1))


def union(fields: Sequence[Fields]) -> Fields:
    """The fields of a map that is computed from several maps: along each axis the hull of theirs."""
    return tuple(
        Field(min(f.low for f in axis), max(f.high for f in axis), min(f.step for f in axis))
        for axis in zip(*fields, strict=True)
    )


def output_fields(operator: Any, inputs: Sequence[Fields | None], output: Tensor, args: Any) -> Fields | None:
    """The (vertical, horizontal) fields of an operator's output, or None where a field has no meaning.

    inputs: the fields of the tensor arguments that come from the image, None for one whose field was lost.
    Followed are windows, pooling over the whole map, padding, cropping, elementwise operators, concatenation
    and linear layers on flattened maps.
    """
    packet, x = operator._overloadpacket, args[0]
    known = [fields for fields in inputs if fields is not None]
    is_transposed = packet is aten.convolution and args[6]
    if len(known) < len(inputs) or is_transposed:  # a transposed convolution spreads units out
        return None
    fields = union(known)
    if packet in WINDOWS:
        kernel, stride, padding, dilation = WINDOWS[packet](*args)
        return tuple(
            f.window(k, s, p, d) for f, k, s, p, d in zip(fields, kernel, stride, padding, dilation, strict=True)
        )
    if packet in (aten.mean, aten._adaptive_avg_pool2d) and x.ndim == 4:
        height, width = output.shape[2:] if output.ndim == 4 else (1, 1)
        sides = zip(fields, x.shape[2:], (height, width), strict=True)
        return tuple(f.window(-(-n // m), n // m) for f, n, m in sides)
    if packet is aten.constant_pad_nd:
        left, _, top = ([*args[1]] + [0, 0, 0])[:3]
        return fields[0].shifted(-top), fields[1].shifted(-left)
    if packet is aten.slice and x.ndim == 4:
        return _cropped_fields(fields, *args)
    if operator.is_view or packet is aten._unsafe_view:
        return _viewed_fields(packet, fields, x, output, args)
    if packet in NEITHER_WINDOW_NOR_MIXING or torch.Tag.pointwise in operator.tags:
        return fields
    return None


def _cropped_fields(
    fields: Fields, x: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Fields:
    start = 0 if start is None else start % x.shape[dim]
    vertical, horizontal = fields
    if dim % 4 == 2:
        vertical = vertical.shifted(start).window(1, step)
    elif dim % 4 == 3:
        horizontal = horizontal.shifted(start).window(1, step)
    return vertical, horizontal


def _viewed_fields(packet: Any, fields: Fields, x: Tensor, output: Tensor, args: Any) -> Fields | None:
    if x.ndim == 4 and output.ndim == 2:  # flattened: a linear layer sees every unit of the map
        return tuple(f.window(n, n) for f, n in zip(fields, x.shape[2:], strict=True))
    if x.ndim == output.ndim == 2:
        return fields
    vertical, horizontal = x.ndim - 2, x.ndim - 1
    if packet is aten.transpose:
        keeps_map = not {axis % x.ndim for axis in args[1:3]} & {vertical, horizontal}
    elif packet is aten.permute:
        keeps_map = [axis % x.ndim for axis in args[1]][-2:] == [vertical, horizontal]
    else:  # a view that groups channels, as channel shuffling and normalization over channels do
        keeps_map = x.ndim >= 4 and output.ndim >= 4 and x.shape[-2:] == output.shape[-2:]
    return fields if keeps_map else None


def _convolution_window(
    x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, *_: Any
) -> Window:
    return tuple(weight.shape[-2:]), _pair(stride), _pair(padding), _pair(dilation)


def _pool_window(
    x: Tensor, kernel: Any, stride: Any = (), padding: Any = (0, 0), dilation: Any = (1, 1), *_: Any
) -> Window:
    kernel, dilation = _pair(kernel), _pair(dilation if isinstance(dilation, list | tuple) else 1)
    return kernel, _pair(stride) if stride else kernel, _pair(padding), dilation


def _pair(value: int | Sequence[int]) -> tuple[int, ...]:
    """The last two of the numbers, which are the map's axes; one number stands for both."""
    value = (value,) if isinstance(value, int) else tuple(value)
    return value[-2:] if len(value) > 1 else value * 2


WINDOWS: dict[Any, Callable[..., Window]] = {
    aten.convolution: _convolution_window,
    aten.max_pool2d_with_indices: _pool_window,
    aten.avg_pool2d: _pool_window,
    aten.avg_pool3d: _pool_window,  # local response normalization pools over channels
}


NEITHER_WINDOW_NOR_MIXING = {
    *(aten.cat, aten.addmm, aten.mm, aten.clone, aten.native_dropout, aten._to_copy, aten.detach),
    *(aten.native_batch_norm, aten._native_batch_norm_legit, aten._native_batch_norm_legit_no_training),
    *(aten.cudnn_batch_norm, aten.channel_shuffle),
}
