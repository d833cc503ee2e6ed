"""What one PyTorch operator costs: one small rule for each operator that multiplies, by `rule`.

PyTorch runs every layer as a few of these operators, whatever the layer is called. The names are those of
`torch.ops.aten`; the arguments of a rule are the operator's output and those of the operator's schema.
"""

from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor

aten = torch.ops.aten
Rule = TypeVar("Rule", bound=Callable[..., int])
MACS: dict[Any, Callable[..., int]] = {}


def rule(*operators: Any) -> Callable[[Rule], Rule]:
    """A decorator: the function says how many MACs these operators do, from the output and the arguments.

    operators: such as `torch.ops.aten.mm`, or of a library of your own. A later rule replaces an earlier one.

        @rule(torch.ops.aten._fft_r2c)
        def fft_macs(output, x, dim, *_):
            return 0

    Raises ValueError for what is no operator, such as the function `torch.mm`.
    """
    for operator in operators:
        if not hasattr(operator, "overloads") and not hasattr(operator, "_overloadpacket"):
            raise ValueError(f"operator must be one of torch.ops, such as torch.ops.aten.mm, got {operator!r}")

    def add(macs: Rule) -> Rule:
        MACS.update({getattr(operator, "_overloadpacket", operator): macs for operator in operators})
        return macs

    return add


# --- multiply-accumulates


@rule(aten.convolution)
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


@rule(aten.mm, aten._int_mm, aten._scaled_mm, aten.bmm, aten.mv, aten.dot, aten.vdot)
def product_macs(output: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    """(batch, m, k) @ (batch, k, n): batch · m · k · n. Without a batch, m or n it is 1."""
    return a.numel() * (b.shape[-1] if b.ndim > 1 else 1)


@rule(aten.addmm, aten._addmm_activation, aten.baddbmm, aten.addbmm, aten.addmv)
def product_with_bias_macs(output: Tensor, bias: Tensor, a: Tensor, b: Tensor, **_: Any) -> int:
    """bias + a @ b: adding the bias is no multiply-accumulate, nor is adding up the products of a batch (addbmm)."""
    return product_macs(output, a, b)


@rule(aten.addr)
def addr_macs(output: Tensor, bias: Tensor, a: Tensor, b: Tensor, **_: Any) -> int:
    """bias + the outer product of (m) and (n): m · n."""
    return a.numel() * b.numel()


@rule(aten._trilinear)
def trilinear_macs(output: Tensor, a: Tensor, weight: Tensor, b: Tensor, *_: Any) -> int:
    """A bilinear layer, x₁ᵀ W x₂ for each output: each weight once for each row of the inputs."""
    return weight.numel() * a.shape[0]


@rule(aten._cdist_forward, aten._euclidean_dist)
def distance_macs(output: Tensor, a: Tensor, *_: Any) -> int:
    """Distances of all pairs: each number of a pair is squared and added."""
    return output.numel() * a.shape[-1]


@rule(aten.affine_grid_generator)
def affine_grid_macs(output: Tensor, theta: Tensor, *_: Any) -> int:
    """Each coordinate of each position is a row of the matrix times the position."""
    return output.numel() * theta.shape[-1]


@rule(
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_flash_attention_for_cpu,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_cudnn_attention,
)
def attention_macs(output: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Scaled dot-product attention: every query with every key, then weights with every value."""
    *batch, queries, depth = query.shape
    keys, width = value.shape[-2:]
    return prod(batch) * queries * keys * (depth + width)


# Operators that multiply no matrices, beyond those that PyTorch marks as elementwise, as reductions or as views.
# By this course's convention (and torch's, and fvcore's) the arithmetic of pools, norms and interpolation is no MAC.
PARTS_OF_NAMES = """
    pool norm upsample grid_sampler _pad softmax loss cross_entropy scatter gather index embedding fake_quantize shuffle
    sort cum new_ _like
"""
NAMES = """
    glu hardswish hardsigmoid hardtanh _prelu_kernel rrelu_with_noise log_sigmoid_forward floor_divide complex polar
    linalg_cross native_dropout
    masked_fill histc isin bucketize searchsorted topk kthvalue median nanmedian mode trace dist equal _aminmax
    sum mean std std_mean var var_mean prod max amax argmax min amin argmin all any logsumexp
    cat stack roll flip rot90 im2col col2im clone copy _to_copy lift lift_fresh lift_fresh_copy _unsafe_view
    unsafe_split unsafe_split_with_sizes repeat repeat_interleave tril triu diag_embed block_diag take put resize set
    fill zero bernoulli uniform exponential geometric random cauchy multinomial poisson binomial
"""
NO_MACS = {torch.Tag.pointwise, torch.Tag.view_copy, torch.Tag.inplace_view}
NO_MACS |= {tag for name, tag in torch.Tag.__members__.items() if name == "reduction"}  # since PyTorch 2.12 or so


def macs(operator: Any, output: Tensor, args: tuple, kwargs: dict) -> int | None:
    """The MACs of one call of an operator, or None where neither a rule nor a mark says how many."""
    packet = operator._overloadpacket
    is_in_place = packet.__name__.endswith("_") and hasattr(aten, packet.__name__[:-1])
    plain = getattr(aten, packet.__name__[:-1]) if is_in_place else packet
    found = MACS.get(packet, MACS.get(plain))
    if found is not None:
        return found(output, *args, **kwargs)
    return 0 if _has_no_macs(operator, plain) else None


def _has_no_macs(operator: Any, packet: Any) -> bool:
    marks = set(operator.tags) | {tag for overload in packet.overloads() for tag in getattr(packet, overload).tags}
    makes_new = not any("Tensor" in str(argument.type) for argument in operator._schema.arguments)
    if operator.is_view or makes_new or marks & NO_MACS:
        return True
    name = packet.__name__
    return operator.namespace == "aten" and (
        name in NAMES.split() or any(part in name for part in PARTS_OF_NAMES.split())
    )
