"""GoogLeNet, built row by row from a design.

Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842. Tensors are (N, C, H, W).
"""

from collections import OrderedDict
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from inception_lab.common.checks import check_one_of, check_whole
from inception_lab.common.schema import check_type
from inception_lab.models.blocks import AuxiliaryHead, ConvUnit, Inception, MakeUnit, NaiveInception, ResidualInception
from inception_lab.models.designs import Design, Row, smallest_input, walk
from inception_lab.models.initialization import INITIALIZATIONS


class Outputs(NamedTuple):
    """What a network with auxiliary heads returns in training: three (N, num_classes) tensors of logits."""

    logits: torch.Tensor
    aux1: torch.Tensor | None = None
    aux2: torch.Tensor | None = None


class GoogLeNet(nn.Module):
    """GoogLeNet, built row by row from `design.table`.

    (N, in_channels, H, W) → logits (N, num_classes); in training, with auxiliary heads, the named tuple
    `(logits, aux1, aux2)`. Each row is a submodule with the name of its stage: `model.inception_4a`.

    design: by default the paper's. aux: whether to build the heads; by default, if the design has them.
    Raises ValueError for an unknown option, an image that is too small or has other channels.
    """

    def __init__(
        self,
        design: Design | None = None,
        num_classes: int | None = None,
        *,
        in_channels: int = 3,
        aux: bool | None = None,
    ):
        design = Design() if design is None else design
        if not isinstance(design, Design):
            raise ValueError(f"design must be a Design, got {design!r}; inception_lab.build takes a name")
        num_classes = design.num_classes if num_classes is None else num_classes
        num_classes, in_channels = check_whole("num_classes", num_classes), check_whole("in_channels", in_channels)
        aux = check_type("aux", bool | None, aux)
        if aux and not design.aux_after:
            raise ValueError("aux=True, but this design has no auxiliary heads (aux_after is empty)")
        if design.transform_input and in_channels != 3:
            raise ValueError(f"in_channels must be 3 where transform_input is set, got {in_channels}")
        super().__init__()
        self.design, self.in_channels = design, in_channels
        self.smallest_input = smallest_input(design)
        aux = bool(design.aux_after) if aux is None else aux
        unit = partial(ConvUnit, bias=design.bias, batch_norm=design.norm == "batch", eps=design.batch_norm_eps)

        self.stages: list[str] = []  # the names of the submodules that an image passes, in order
        self.frozen: list[str] = []  # those that stay as they are, see `freeze`
        self.heads: dict[str, str] = {}  # stage → the auxiliary head that reads its output
        for row, channels, out_channels, _ in walk(design.table, in_channels):
            lrn = design.norm == "lrn" and row.stage == "conv2"
            if lrn:
                self._add("norm1", local_response_norm())
            self._add(row.stage, build_stage(row, channels, design, unit))
            if lrn:
                self._add("norm2", local_response_norm())
            if aux and row.stage in design.aux_after:
                self.heads[row.stage] = f"aux{len(self.heads) + 1}"
                adaptive = design.aux_pool == "adaptive"
                head = AuxiliaryHead(
                    out_channels, num_classes, dropout=design.aux_dropout, adaptive=adaptive, unit=unit
                )
                self.add_module(self.heads[row.stage], head)
        # The paper's 7×7 average pool, for a map of any size.
        self._add("avg_pool", nn.AdaptiveAvgPool2d(design.final_map))
        self._add("flatten", nn.Flatten())
        channels = out_channels * design.final_map**2
        if design.hidden:
            self._add("fc", nn.Sequential(OrderedDict(linear=nn.Linear(channels, design.hidden), relu=nn.ReLU())))
            channels = design.hidden
        self._add("dropout", nn.Dropout(design.dropout))
        self._add("linear", nn.Linear(channels, num_classes))
        INITIALIZATIONS[design.initialization](self, design.initial_bias)

    def _add(self, stage: str, module: nn.Module) -> None:
        self.stages.append(stage)
        self.add_module(stage, module)

    def freeze(self, last: str) -> None:
        """Let all stages up to this one stay as they are: without gradients, and in evaluation mode in training too.

        So the running statistics of batch norm stand still. Raises ValueError for a stage that does not come before
        the average pool.
        """
        stages = self.stages[: self.stages.index("avg_pool")]
        check_one_of("freeze", last, stages)
        self.frozen = stages[: stages.index(last) + 1]
        for stage in self.frozen:
            self.get_submodule(stage).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "GoogLeNet":
        super().train(mode)
        for stage in self.frozen:
            self.get_submodule(stage).eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor | Outputs:
        check_images(x, self.in_channels, self.smallest_input)
        if self.design.transform_input:
            x = imagenet_to_tensorflow(x)
        auxiliary = {}
        for stage in self.stages:
            x = getattr(self, stage)(x)
            if self.training and stage in self.heads:
                head = self.heads[stage]
                auxiliary[head] = getattr(self, head)(x)
        return Outputs(x, **auxiliary) if auxiliary else x


def build_stage(row: Row, in_channels: int, design: Design, unit: MakeUnit) -> nn.Module:
    """The module that a row of the table describes; it has `row.out_channels(in_channels)` channels."""
    if row.type == "max pool":
        padding = row.patch // 2 if design.pool_rounding == "padded" else 0
        return nn.MaxPool2d(row.patch, row.stride, padding, ceil_mode=design.pool_rounding == "up")
    if row.type == "naive":
        return NaiveInception(in_channels, row.one, row.three, row.five, unit=unit)
    if row.type == "inception":
        is_residual = design.residual and row.stride == 1
        make = ResidualInception if is_residual else partial(Inception, stride=row.stride)
        return make(
            in_channels,
            row.widths,
            three_by_three=design.three_by_three,
            five_by_five=design.five_by_five,
            separable=design.separable,
            pool=row.pool,
            unit=unit,
        )
    width = row.three or row.channels
    conv = unit(row.three_reduce or in_channels, width, row.patch, row.stride, depth_multiplier=row.depth_multiplier)
    if not row.three_reduce:
        return conv
    return nn.Sequential(OrderedDict(reduce=unit(in_channels, row.three_reduce, 1), conv=conv))


def local_response_norm() -> nn.LocalResponseNorm:
    """Local response normalization over 5 channels, with the constants of BVLC's Caffe reproduction."""
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


def check_images(x: torch.Tensor, channels: int, smallest: int) -> None:
    """Raise ValueError unless `x` is a batch of images with these channels and at least this side."""
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"x must be images of shape (N, {channels}, H, W), got {tuple(x.shape)}")
    if min(x.shape[-2:]) < smallest:
        raise ValueError(
            f"x must be at least {smallest}×{smallest} pixels for this network, got {x.shape[-2]}×{x.shape[-1]}"
        )


torch.fx.wrap("check_images")  # a check on sizes must not be traced when features are extracted


def imagenet_to_tensorflow(x: torch.Tensor) -> torch.Tensor:
    """Images normalized with ImageNet's mean and deviation → the same images in the range −1 to 1."""
    mean = x.new_tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = x.new_tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (x * deviation + mean - 0.5) / 0.5
