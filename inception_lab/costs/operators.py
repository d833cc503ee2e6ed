"""What one PyTorch operator costs: one small rule for each operator.

PyTorch runs every layer as a few of these operators, whatever the layer is called. The names are those of
`torch.ops.aten`; the arguments are those of the operator's schema.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

# --- multiply-accumulates


def convolution_macs(
    output: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    *_: Any,
) -> int:
    """Each weight is used once at each position: of the output, or of the input where it is transposed."""
    positions = (x if transposed else output).shape
    return weight.numel() * positions[0] * prod(positions[2:])


def mm_macs(output: Tensor, a: Tensor, b: Tensor) -> int:
    """(m, k) @ (k, n): m · k · n."""
    return a.shape[0] * a.shape[1] * b.shape[1]


def addmm_macs(output: Tensor, bias: Tensor, a: Tensor, b: Tensor) -> int:
    """bias + (m, k) @ (k, n): adding the bias is no multiply-accumulate."""
    return mm_macs(output, a, b)


def bmm_macs(output: Tensor, a: Tensor, b: Tensor) -> int:
    """(batch, m, k) @ (batch, k, n): batch · m · k · n."""
    return a.shape[0] * mm_macs(output, a[0], b[0])


def baddbmm_macs(output: Tensor, bias: Tensor, a: Tensor, b: Tensor) -> int:
    """bias + (batch, m, k) @ (batch, k, n), as addmm for each of the batch."""
    return bmm_macs(output, a, b)


def attention_macs(output: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> int:
    """Scaled dot-product attention: every query with every key, then weights with every value."""
    *batch, queries, depth = query.shape
    keys, width = value.shape[-2:]
    return prod(batch) * queries * keys * (depth + width)


MACS: dict[Any, Callable[..., int]] = {
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


def has_no_macs(operator: Any) -> bool:
    """Whether the operator is known to multiply no matrices: elementwise, a view, or one of NO_MACS."""
    return (
        operator._overloadpacket in NO_MACS
        or torch.Tag.pointwise in operator.tags
        or torch.Tag.inplace_view in operator.tags
        or operator.is_view
    )
