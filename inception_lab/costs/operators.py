"""What one PyTorch operator costs, and what it sees of the image: one small rule for each operator.

PyTorch runs every layer as a few of these operators, whatever the layer is called. The names are those of
`torch.ops.aten`; the arguments are those of the operator's schema.
"""

from math import prod
from typing import NamedTuple

import torch

aten = torch.ops.aten

# --- multiply-accumulates


def convolution_macs(output, x, weight, bias, stride, padding, dilation, transposed, *_):
    """Each weight is used once at each position: of the output, or of the input where it is transposed."""
    positions = (x if transposed else output).shape
    return weight.numel() * positions[0] * prod(positions[2:])


def mm_macs(output, a, b):
    """(m, k) @ (k, n): m · k · n."""
    return a.shape[0] * a.shape[1] * b.shape[1]


def addmm_macs(output, bias, a, b):
    """bias + (m, k) @ (k, n): adding the bias is no multiply-accumulate."""
    return mm_macs(output, a, b)


def bmm_macs(output, a, b):
    """(batch, m, k) @ (batch, k, n): batch · m · k · n."""
    return a.shape[0] * mm_macs(output, a[0], b[0])


def baddbmm_macs(output, bias, a, b):
    return bmm_macs(output, a, b)


def attention_macs(output, query, key, value, *_):
    """Scaled dot-product attention: every query with every key, then weights with every value."""
    *batch, queries, depth = query.shape
    keys, width = value.shape[-2:]
    return prod(batch) * queries * keys * (depth + width)


MACS = {
    aten.convolution: convolution_macs,
    aten.mm: mm_macs,
    aten.addmm: addmm_macs,
    aten.bmm: bmm_macs,
    aten.baddbmm: baddbmm_macs,
    aten._scaled_dot_product_flash_attention: attention_macs,
    aten._scaled_dot_product_flash_attention_for_cpu: attention_macs,
    aten._scaled_dot_product_efficient_attention: attention_macs,
    aten._scaled_dot_product_cudnn_attention: attention_macs,
}

# Operators that multiply no matrices, beyond those that PyTorch itself marks as elementwise or as views. By this
# course's convention (and torch's, and fvcore's) the arithmetic of pools, norms and interpolation is no MAC.
POOLS = "max_pool2d_with_indices avg_pool2d avg_pool3d _adaptive_avg_pool2d adaptive_max_pool2d mean"
NORMS = """native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm
    native_layer_norm native_group_norm linalg_vector_norm _weight_norm_interface"""
REDUCTIONS = "sum max amax argmax all any var_mean topk sort cumsum"
ACTIVATIONS = """_softmax _log_softmax _safe_softmax hardswish hardswish_ hardsigmoid hardsigmoid_ hardtanh hardtanh_
    _prelu_kernel glu native_dropout bernoulli bernoulli_"""
MOVES = """cat stack constant_pad_nd roll flip index index_select index_put_ gather embedding im2col pixel_shuffle
    pixel_unshuffle channel_shuffle clone copy copy_ _to_copy lift_fresh lift_fresh_copy _unsafe_view unsafe_split"""
RESIZES = "upsample_nearest2d upsample_bilinear2d upsample_bicubic2d"
NEW = """empty empty_strided empty_like zeros zeros_like ones ones_like full full_like arange scalar_tensor new_zeros
    new_ones new_empty new_full fill fill_ zero_"""
NO_MACS = {
    getattr(aten, name)
    for names in (POOLS, NORMS, REDUCTIONS, ACTIVATIONS, MOVES, RESIZES, NEW)
    for name in names.split()
}


def has_no_macs(operator) -> bool:
    """Whether the operator is known to multiply no matrices: elementwise, a view, or one of NO_MACS."""
    return (
        operator._overloadpacket in NO_MACS
        or torch.Tag.pointwise in operator.tags
        or torch.Tag.inplace_view in operator.tags
        or operator.is_view
    )


# --- receptive fields


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


INPUT_FIELD = Field(0, 0, 1), Field(0, 0, 1)


def union(fields):
    """The fields of a map that is computed from several maps: along each axis the hull of theirs."""
    return tuple(
        Field(min(f.low for f in axis), max(f.high for f in axis), min(f.step for f in axis))
        for axis in zip(*fields, strict=True)
    )


def output_fields(operator, inputs, output, args):
    """The (vertical, horizontal) fields of an operator's output, or None where a field has no meaning.

    inputs: the fields of the tensor arguments that come from the image, None for one whose field was lost.
    Followed are windows, pooling over the whole map, padding, cropping, elementwise operators, concatenation
    and linear layers on flattened maps.
    """
    packet, x = operator._overloadpacket, args[0]
    if None in inputs or (packet is aten.convolution and args[6]):  # a transposed convolution spreads units out
        return None
    fields = union(inputs)
    if packet in WINDOWS:
        kernel, stride, padding, dilation = WINDOWS[packet](*args)
        return tuple(
            f.window(*w) for f, w in zip(fields, zip(kernel, stride, padding, dilation, strict=True), strict=True)
        )
    if packet in (aten.mean, aten._adaptive_avg_pool2d) and x.ndim == 4:
        height, width = output.shape[2:] if output.ndim == 4 else (1, 1)
        return tuple(f.window(-(-n // m), n // m) for f, n, m in zip(fields, x.shape[2:], (height, width), strict=True))
    if packet is aten.constant_pad_nd:
        left, _, top, *_ = [*args[1], 0, 0, 0, 0]
        return fields[0].shifted(-top), fields[1].shifted(-left)
    if packet is aten.slice and x.ndim == 4:
        return _cropped_fields(fields, *args)
    if operator.is_view or packet is aten._unsafe_view:
        return _viewed_fields(packet, fields, x, output, args)
    if packet in NEITHER_WINDOW_NOR_MIXING or torch.Tag.pointwise in operator.tags:
        return fields
    return None


def _cropped_fields(fields, x, dim=0, start=None, end=None, step=1):
    start = 0 if start is None else start % x.shape[dim]
    vertical, horizontal = fields
    if dim % 4 == 2:
        vertical = vertical.shifted(start).window(1, step)
    elif dim % 4 == 3:
        horizontal = horizontal.shifted(start).window(1, step)
    return vertical, horizontal


def _viewed_fields(packet, fields, x, output, args):
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


def _convolution_window(x, weight, bias, stride, padding, dilation, transposed, *_):
    return tuple(weight.shape[-2:]), _pair(stride), _pair(padding), _pair(dilation)


def _pool_window(x, kernel, stride=(), padding=(0, 0), dilation=(1, 1), *_):
    kernel, dilation = _pair(kernel), _pair(dilation if isinstance(dilation, list | tuple) else 1)
    return kernel, _pair(stride) if stride else kernel, _pair(padding), dilation


def _pair(value):
    """The last two of the numbers, which are the map's axes; one number stands for both."""
    value = (value,) if isinstance(value, int) else tuple(value)
    return value[-2:] if len(value) > 1 else value * 2


WINDOWS = {
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
