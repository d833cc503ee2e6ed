"""The building blocks of GoogLeNet: convolution unit, Inception module, naive module, auxiliary head.

Tensors are (N, C, H, W). Sections and figures cited are those of Szegedy et al. 2014, arXiv:1409.4842.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from inception_lab.common.checks import check_one_of, check_whole
from inception_lab.common.schema import check_type

Kernel = int | tuple[int, int]  # a side, or (height, width)
MakeUnit = Callable[..., nn.Module]  # makes a `ConvUnit` or what a design puts in its place

# What may stand in a path, as the kernels of its convolutions.
THREE_BY_THREE: dict[str, tuple[Kernel, ...]] = {"3x3": (3,), "1x3 3x1": ((1, 3), (3, 1))}
FIVE_BY_FIVE: dict[str, tuple[Kernel, ...]] = {
    "5x5": (5,),
    "3x3": (3,),
    "two 3x3": (3, 3),
    "1x5 5x1": ((1, 5), (5, 1)),
    "1x1": (1,),
    "7x7": (7,),
}


class Widths(NamedTuple):
    """Output channels of a module's six convolutions, in the order of the paper's Table 1.

    A path whose width is 0 is left out. `pool_proj=None` means that the pooled channels pass through
    with no 1×1 projection, as in the strided modules of Inception-v2.
    """

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool_proj: int | None

    def out_channels(self, in_channels: int) -> int:
        """Channels after the concatenation; `in_channels` matters only where the pool passes through."""
        return self.one + self.three + self.five + (in_channels if self.pool_proj is None else self.pool_proj)


def chain(kernels: Sequence[Kernel], reduce: int, width: int) -> list[tuple[Kernel, int, int]]:
    """The convolutions that follow a path's reduction to `reduce` channels, as (kernel, channels in, channels out).

    They end at `width` channels. A square kernel goes there at once, so that the second of two works on `width`
    channels (Inception-v2). The first half of a pair 1×n, n×1 stays at `reduce` (Inception-v3).
    """
    convolutions = []
    for i, kernel in enumerate(kernels):
        out = width if isinstance(kernel, int) or i == len(kernels) - 1 else reduce
        convolutions.append((kernel, reduce, out))
        reduce = out
    return convolutions


class ConvUnit(nn.Sequential):
    """Convolution, optional batch normalization, ReLU: (N, in, H, W) → (N, out, ⌈H/stride⌉, ⌈W/stride⌉).

    `kernel_size` is a side or (height, width), of odd numbers; the padding is half of it, so that stride 1 keeps the
    size of the map. With `depth_multiplier` the convolution is separable: that many filters of this size on each
    input channel, without bias, then a 1×1 convolution. Raises ValueError for an even kernel, and for a
    `bias` or `batch_norm` that is not True or False.
    """

    conv: nn.Conv2d
    bn: nn.BatchNorm2d  # with `batch_norm` alone

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Kernel,
        stride: int = 1,
        *,
        bias: bool = True,
        batch_norm: bool = False,
        eps: float = 1e-5,
        depth_multiplier: int = 0,
    ):
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        if not height % 2 or not width % 2:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        bias, batch_norm = check_type("bias", bool, bias), check_type("batch_norm", bool, batch_norm)
        kernel, padding = (height, width), (height // 2, width // 2)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if depth_multiplier:
            spread = in_channels * depth_multiplier
            parts["depthwise"] = nn.Conv2d(in_channels, spread, kernel, stride, padding, groups=in_channels, bias=False)
            parts["conv"] = nn.Conv2d(spread, out_channels, 1, bias=bias)
        else:
            parts["conv"] = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=bias)
        if batch_norm:
            parts["bn"] = nn.BatchNorm2d(out_channels, eps=eps)
        parts["relu"] = nn.ReLU(inplace=True)
        super().__init__(parts)


class Inception(nn.Module):
    """The Inception module with dimension reductions (Figure 2b): four paths, one concatenation.

    (N, in_channels, H, W) → (N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉).

    `widths` are six numbers, see `Widths`. `five_by_five` says what stands in the 5×5 path: "5x5" (the paper), "3x3"
    (torchvision), "two 3x3" (pytorch-cifar, Inception-v2), "1x5 5x1" (as Inception-v3 factorizes) or, for experiments,
    "1x1" and "7x7"; `three_by_three` in the 3×3 path: "3x3" or "1x3 3x1". With `separable` these kernels are depthwise
    convolutions, each followed by a 1×1 (Xception). `pool` is "max" or "avg". `unit` makes a convolution unit; the
    designs pass one with batch normalization.

    Raises ValueError for an unknown option, a width that is negative, or a path with half its widths.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Widths,
        *,
        three_by_three: str = "3x3",
        five_by_five: str = "5x5",
        separable: bool = False,
        pool: str = "max",
        stride: int = 1,
        unit: MakeUnit = ConvUnit,
    ):
        w = _checked(in_channels, widths)
        check_one_of("three_by_three", three_by_three, THREE_BY_THREE)
        check_one_of("five_by_five", five_by_five, FIVE_BY_FIVE)
        check_one_of("pool", pool, POOLS)
        separable = check_type("separable", bool, separable)
        stride = check_whole("stride", stride)
        if stride > 1 and (w.one or w.pool_proj):
            raise ValueError(f"stride {stride} needs one=0 and pool_proj=None or 0: a 1×1 path cannot skip pixels")
        super().__init__()
        self.out_channels = w.out_channels(in_channels)
        if w.one:
            self.one = unit(in_channels, w.one, 1)
        make_path = partial(_path, in_channels, stride=stride, unit=unit, separable=separable)
        if w.three:
            self.three = make_path(THREE_BY_THREE[three_by_three], w.three_reduce, w.three)
        if w.five:
            self.five = make_path(FIVE_BY_FIVE[five_by_five], w.five_reduce, w.five)
        if w.pool_proj != 0:
            self.pool = named(pool=POOLS[pool](3, stride, padding=1))
            if w.pool_proj:
                self.pool.add_module("project", unit(in_channels, w.pool_proj, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([path(x) for path in self.children()], dim=1)


def _path(
    in_channels: int,
    kernels: Sequence[Kernel],
    reduce: int,
    width: int,
    *,
    stride: int,
    unit: MakeUnit,
    separable: bool,
) -> nn.Sequential:
    """A 1×1 reduction and the convolutions of `chain`; the last one has the stride."""
    path = named(reduce=unit(in_channels, reduce, 1))
    convolutions = chain(kernels, reduce, width)
    for i, (kernel, c_in, c_out) in enumerate(convolutions, 1):
        spread = dict(depth_multiplier=1) if separable else {}
        conv = unit(c_in, c_out, kernel, stride if i == len(convolutions) else 1, **spread)
        path.add_module("conv" if i == 1 else f"conv{i}", conv)
    return path


class ResidualInception(nn.Module):
    """An Inception module that adds to its input (Inception-ResNet, Szegedy et al. 2016, arXiv:1602.07261).

    (N, in_channels, H, W) → (N, out_channels, H, W). `expand`, a 1×1 convolution without bias and ReLU, mixes the
    concatenated paths before they are added; a ReLU follows the sum. Where the output has more channels than the input,
    the input is filled up with zeros (He et al. 2015, arXiv:1512.03385, option A), where it has fewer, the input's last
    ones are left out: neither costs anything.

    `widths` and options are those of `Inception`, without the stride; ValueError is raised as there.
    """

    def __init__(self, in_channels: int, widths: Widths, **options: Any):
        super().__init__()
        self.paths = Inception(in_channels, widths, **options)
        self.out_channels = self.paths.out_channels
        self.expand = nn.Conv2d(self.out_channels, self.out_channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        change = self.expand(self.paths(x))
        missing = change.shape[1] - x.shape[1]
        return nn.functional.relu(nn.functional.pad(x, (0, 0, 0, 0, 0, missing)) + change)


class NaiveInception(nn.Module):
    """The naive module (Figure 2a): 1×1, 3×3, 5×5 and a 3×3 max pool of the same input, concatenated.

    (N, in_channels, H, W) → (N, one + three + five + in_channels, H, W): the pool passes all its input
    on, so that each module has more channels than the one before. Raises ValueError for a width below 1.
    """

    def __init__(self, in_channels: int, one: int, three: int, five: int, *, unit: MakeUnit = ConvUnit):
        for name, value in dict(in_channels=in_channels, one=one, three=three, five=five).items():
            check_whole(name, value)
        super().__init__()
        self.out_channels = one + three + five + in_channels
        self.one = unit(in_channels, one, 1)
        self.three = unit(in_channels, three, 3)
        self.five = unit(in_channels, five, 5)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([path(x) for path in self.children()], dim=1)


class AuxiliaryHead(nn.Module):
    """A classifier on an intermediate map, used in training only (Section 5).

    (N, in_channels, H, W) → (N, num_classes): average pool 5×5 with stride 3, 1×1 convolution with 128
    filters, fully connected 1024, dropout 70 %, linear. The fully connected layer wants a 4×4 map, which
    the pool gives for maps of 14×14 to 16×16; `adaptive=True` (torchvision's choice) takes any size.

    Raises ValueError from `forward` for a map of another size.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        dropout: float = 0.7,
        adaptive: bool = False,
        unit: MakeUnit = ConvUnit,
    ):
        super().__init__()
        self.adaptive = check_type("adaptive", bool, adaptive)
        self.pool = nn.AdaptiveAvgPool2d(4) if self.adaptive else nn.AvgPool2d(5, stride=3)
        self.conv = unit(in_channels, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.adaptive:
            check_head_map(x)
        x = self.conv(self.pool(x)).flatten(1)
        x = self.dropout(self.relu(self.fc1(x)))
        return self.fc2(x)


def check_head_map(x: torch.Tensor) -> None:
    """Raise ValueError unless a 5×5 pool with stride 3 makes a 4×4 map of `x`."""
    if not all(14 <= side <= 16 for side in x.shape[-2:]):
        raise ValueError(
            f"the auxiliary head takes maps of 14×14 to 16×16 (images of about 224 to 256 pixels), got {x.shape[-2]}×"
            f"{x.shape[-1]}: its 5×5 pool with stride 3 must give 4×4. For another size use aux=False or a design with "
            "aux_pool='adaptive'"
        )


torch.fx.wrap("check_head_map")  # a check on sizes must not be traced when features are extracted

POOLS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


def named(**modules: nn.Module) -> nn.Sequential:
    """Modules one after the other, by their names."""
    return nn.Sequential(OrderedDict(modules))


def _checked(in_channels: int, widths: Iterable[int | None]) -> Widths:
    check_whole("in_channels", in_channels)
    numbers = list(widths)
    if len(numbers) != len(Widths._fields):
        raise ValueError(f"widths must be six numbers ({', '.join(Widths._fields)}), got {len(numbers)}")
    for name, value in zip(Widths._fields, numbers, strict=True):
        if not (name == "pool_proj" and value is None):
            check_whole(name, value, 0)
    w = Widths._make(numbers)
    for path in ("three", "five"):
        reduce, width = getattr(w, f"{path}_reduce"), getattr(w, path)
        if width and not reduce:
            raise ValueError(f"{path}_reduce must be at least 1 where {path} is {width}, got {reduce}")
    if w.out_channels(in_channels) == 0:
        raise ValueError(f"widths must leave at least one path, got {w}")
    return w
