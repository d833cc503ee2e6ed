"""The operations of a fast twin: what several layers of a network become when they are computed at once.

All are for inference alone. Tensors are (N, C, H, W) in the layout channels_last, where the channels of a pixel lie
side by side.
"""

import copy
from itertools import accumulate
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

ONEDNN: Any = torch.ops.mkldnn if torch.backends.mkldnn.is_available() else None
POINTWISE = nn.Conv2d(1, 1, 1, device="meta")  # moves over the map pixel by pixel
SHAPES_KEPT = 4  # for so many shapes of the input a convolution keeps its weights packed


class FusedConv(nn.Module):
    """Convolution with the batch norm folded into it, bias and ReLU as one operation.

    (N, in, H, W) → (N, out, H', W'). On a CPU it is oneDNN's, which wants the weights in an order of its own that
    depends on the shape of the input. PyTorch's conv2d reorders them in each call; here it is done once a shape. It
    moves over the map as the convolution `like` does.
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None = None, like: nn.Conv2d = POINTWISE, *, relu: bool = True
    ):
        super().__init__()
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.stride, self.padding, self.dilation, self.groups = like.stride, like.padding, like.dilation, like.groups
        self.relu = relu
        self.packed: dict[tuple, torch.Tensor] = {}

    @property
    def is_pointwise(self) -> bool:
        """Whether it is a 1×1 convolution that reads each pixel of its input."""
        size = tuple(self.weight.shape[2:])
        return size == self.stride == (1, 1) and self.padding == (0, 0) and self.groups == 1 and self.relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        how = self.padding, self.stride, self.dilation, self.groups
        if not torch.compiler.is_compiling() and for_onednn(x):
            after = "relu" if self.relu else "none"
            weight = self.packed_for(x)
            return ONEDNN._convolution_pointwise(x, weight, self.bias, *how, after, [], "")
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return y.relu_() if self.relu else y

    def packed_for(self, x: torch.Tensor) -> torch.Tensor:
        """The weights in oneDNN's order for this shape, packed anew if somebody has changed them."""
        key = (x.shape, self.weight.data_ptr(), self.weight._version)
        if key not in self.packed:
            if len(self.packed) >= SHAPES_KEPT:
                self.packed.clear()
            how = self.padding, self.stride, self.dilation, self.groups
            self.packed[key] = ONEDNN._reorder_convolution_weight(self.weight, *how, x.shape)
        return self.packed[key]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"packed": {}}  # what is packed is neither copied nor pickled

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, stride={self.stride}, padding={self.padding}, relu={self.relu}"


def for_onednn(x: torch.Tensor) -> bool:
    """Whether oneDNN is there and computes with these numbers on this processor."""
    if ONEDNN is None or x.device.type != "cpu":
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and ONEDNN._is_mkldnn_bf16_supported())


class FusedInception(nn.Module):
    """An Inception module whose 1×1 convolutions of the input are merged into one.

    firsts: for each path the 1×1 convolution that it begins with; None for a path that reads the module's input, such
    as the pool. rests: what comes after. The weights of `merged` are those of `firsts`, one behind the other.
    """

    def __init__(self, firsts: list[FusedConv | None], rests: list[nn.Module]):
        super().__init__()
        convs = [conv for conv in firsts if conv is not None]
        self.widths = [0 if conv is None else len(conv.weight) for conv in firsts]
        self.merged = None
        if convs:
            bias = torch.cat([conv.bias for conv in convs if conv.bias is not None])
            self.merged = FusedConv(torch.cat([conv.weight for conv in convs]), bias)
        self.paths = nn.ModuleList(rests)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        merged = x if self.merged is None else self.merged(x)
        ends = zip(self.widths, accumulate(self.widths), strict=True)
        reads = [merged[:, end - width : end] if width else x for width, end in ends]  # a slice is no copy
        return torch.cat([path(part) for path, part in zip(self.paths, reads, strict=True)], dim=1)


class FusedResponseNorm(nn.Module):
    """Local response normalization, its window over the channels a sum of shifted slices.

    PyTorch makes it a three-dimensional average pool, which takes as long as a third of the network. The power −β is
    computed from square roots for the usual β = 0.75. Computed in float32, whatever the type of `x`.
    """

    def __init__(self, norm: nn.LocalResponseNorm):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = norm.size, norm.alpha, norm.beta, norm.k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels, squares = x.shape[1], x.float().square()
        padded = F.pad(squares, (0, 0, 0, 0, self.size // 2, (self.size - 1) // 2))
        window = padded[:, :channels].clone(memory_format=torch.preserve_format)
        for shift in range(1, self.size):
            window += padded[:, shift : shift + channels]
        scale = window.mul_(self.alpha / self.size).add_(self.k)
        if self.beta == 0.75:
            root = scale.rsqrt_()  # s^-1/2, and s^-3/4 = s^-1/2 · s^-1/4
            return x * (root * root.sqrt()).to(x.dtype)
        return x * scale.pow_(-self.beta).to(x.dtype)


class FusedInput(nn.Module):
    """Images as the twin wants them: in its layout and type and, if scale and shift are given, x · scale + shift."""

    scale: torch.Tensor | None
    shift: torch.Tensor | None

    def __init__(self, dtype: torch.dtype, scale: torch.Tensor | None, shift: torch.Tensor | None):
        super().__init__()
        self.dtype = dtype
        self.register_buffer("scale", None if scale is None else scale.view(-1, 1, 1))
        self.register_buffer("shift", None if shift is None else shift.view(-1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.scale is not None and self.shift is not None:
            x = torch.addcmul(self.shift, x, self.scale)
        return x.to(self.dtype, memory_format=torch.channels_last)


class FusedLinear(nn.Linear):
    """The classifier, in float32: it is small, and bfloat16 would make equals of its logits."""

    def __init__(self, layer: nn.Linear):
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.load_state_dict(copy.deepcopy(layer).float().state_dict(), assign=True)
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.float())
