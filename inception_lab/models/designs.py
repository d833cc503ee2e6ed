"""Table 1 of the paper as data, and every published departure from it.

Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from inception_lab.common.checks import check_one_of, check_whole
from inception_lab.common.schema import check_type
from inception_lab.models.blocks import FIVE_BY_FIVE, THREE_BY_THREE, Widths
from inception_lab.models.initialization import INITIALIZATIONS


class Row(NamedTuple):
    """One row of Table 1, in the paper's columns; `stage` is the name of the module built from it.

    `channels` is the width of a convolution without a reduction; the others have theirs in the paper's six last
    columns. The type "naive" is the module of Figure 2a, which has no reductions. `depth_multiplier` and `pool` are
    departures: a separable first convolution, and the average pools of Inception-v2.
    """

    stage: str
    type: str
    patch: int
    stride: int
    depth: int
    channels: int = 0
    one: int = 0
    three_reduce: int = 0
    three: int = 0
    five_reduce: int = 0
    five: int = 0
    pool_proj: int | None = 0
    depth_multiplier: int = 0
    pool: str = "max"

    @property
    def widths(self) -> Widths:
        """The six widths of a module, in the order of the paper's columns."""
        return Widths(self.one, self.three_reduce, self.three, self.five_reduce, self.five, self.pool_proj)

    def with_widths(self, widths: Widths) -> "Row":
        """The row with these six widths in place of its own."""
        return self._replace(**widths._asdict())

    def out_channels(self, in_channels: int) -> int:
        """The channels that the row makes of `in_channels`."""
        if self.type == "max pool":
            return in_channels
        return (self.three or self.channels) if self.type == "convolution" else self.widths.out_channels(in_channels)


class Step(NamedTuple):
    """A row of a table and what an image has become when it gets there, see `walk`.

    in_channels, out_channels: of the row. total_stride: the product of the strides before the row, so that its input is
    a map of 1 / total_stride times the image's side.
    """

    row: Row
    in_channels: int
    out_channels: int
    total_stride: int


def walk(table: tuple[Row, ...], in_channels: int = 3) -> Iterator[Step]:
    """The rows of a table in the order in which an image of `in_channels` channels passes them.

    Maps are taken to shrink by exactly the strides, which they do for sides that are powers of two and for 224.
    """
    total_stride = 1
    for row in table:
        out_channels = row.out_channels(in_channels)
        yield Step(row, in_channels, out_channels, total_stride)
        in_channels, total_stride = out_channels, total_stride * row.stride


# fmt: off
TABLE_1 = (
    #   stage           type          patch stride depth channels 1×1  3×3r 3×3  5×5r 5×5  pool proj
    Row("conv1",        "convolution",  7,  2,     1,    64),
    Row("pool1",        "max pool",     3,  2,     0),
    Row("conv2",        "convolution",  3,  1,     2,    0,       0,   64,  192),
    Row("pool2",        "max pool",     3,  2,     0),
    Row("inception_3a", "inception",    0,  1,     2,    0,       64,  96,  128, 16,  32,  32),
    Row("inception_3b", "inception",    0,  1,     2,    0,       128, 128, 192, 32,  96,  64),
    Row("pool3",        "max pool",     3,  2,     0),
    Row("inception_4a", "inception",    0,  1,     2,    0,       192, 96,  208, 16,  48,  64),
    Row("inception_4b", "inception",    0,  1,     2,    0,       160, 112, 224, 24,  64,  64),
    Row("inception_4c", "inception",    0,  1,     2,    0,       128, 128, 256, 24,  64,  64),
    Row("inception_4d", "inception",    0,  1,     2,    0,       112, 144, 288, 32,  64,  64),
    Row("inception_4e", "inception",    0,  1,     2,    0,       256, 160, 320, 32,  128, 128),
    Row("pool4",        "max pool",     3,  2,     0),
    Row("inception_5a", "inception",    0,  1,     2,    0,       256, 160, 320, 32,  128, 128),
    Row("inception_5b", "inception",    0,  1,     2,    0,       384, 192, 384, 48,  128, 128),
)  # then: average pool, dropout 40 %, linear, softmax, which every design shares

UVA_TABLE = (
    Row("conv1",        "convolution",  3,  1,     1,    64),
    Row("inception_3a", "inception",    0,  1,     2,    0,       16,  32,  32,  16,  8,   8),
    Row("inception_3b", "inception",    0,  1,     2,    0,       24,  32,  48,  16,  12,  12),
    Row("pool3",        "max pool",     3,  2,     0),
    Row("inception_4a", "inception",    0,  1,     2,    0,       24,  32,  48,  16,  12,  12),
    Row("inception_4b", "inception",    0,  1,     2,    0,       16,  32,  48,  16,  16,  16),
    Row("inception_4c", "inception",    0,  1,     2,    0,       16,  32,  48,  16,  16,  16),
    Row("inception_4d", "inception",    0,  1,     2,    0,       32,  32,  48,  16,  24,  24),
    Row("pool4",        "max pool",     3,  2,     0),
    Row("inception_5a", "inception",    0,  1,     2,    0,       32,  48,  64,  16,  16,  16),
    Row("inception_5b", "inception",    0,  1,     2,    0,       32,  48,  64,  16,  16,  16),
)

# Ioffe & Szegedy 2015, arXiv:1502.03167, Figure 5; "double 3×3" stands in the 5×5 columns. The widths are the printed
# ones. In (4c) and (4d) they sum to 608 channels where the printed output says 576.
INCEPTION_V2_TABLE = (
    Row("conv1",        "convolution",  7,  2,     1,    64, depth_multiplier=8),
    Row("pool1",        "max pool",     3,  2,     0),
    Row("conv2",        "convolution",  3,  1,     1,    0,       0,   64,  192),
    Row("pool2",        "max pool",     3,  2,     0),
    Row("inception_3a", "inception",    0,  1,     3,    0,       64,  64,  64,  64,  96,  32,  pool="avg"),
    Row("inception_3b", "inception",    0,  1,     3,    0,       64,  64,  96,  64,  96,  64,  pool="avg"),
    Row("inception_3c", "inception",    0,  2,     3,    0,       0,   128, 160, 64,  96,  None),
    Row("inception_4a", "inception",    0,  1,     3,    0,       224, 64,  96,  96,  128, 128, pool="avg"),
    Row("inception_4b", "inception",    0,  1,     3,    0,       192, 96,  128, 96,  128, 128, pool="avg"),
    Row("inception_4c", "inception",    0,  1,     3,    0,       160, 128, 160, 128, 160, 128, pool="avg"),
    Row("inception_4d", "inception",    0,  1,     3,    0,       96,  128, 192, 160, 192, 128, pool="avg"),
    Row("inception_4e", "inception",    0,  2,     3,    0,       0,   128, 192, 192, 256, None),
    Row("inception_5a", "inception",    0,  1,     3,    0,       352, 192, 320, 160, 224, 128, pool="avg"),
    Row("inception_5b", "inception",    0,  1,     3,    0,       352, 192, 320, 192, 224, 128),
)
# fmt: on


MODULES = ("inception", "naive")
ROW_TYPES = ("convolution", "max pool", *MODULES)
NORMS = ("lrn", "batch", "none")


def change(table: tuple[Row, ...], stage: str, **columns: Any) -> tuple[Row, ...]:
    """The table with the named columns of one row replaced; ValueError for a stage that it does not have."""
    check_one_of("stage", stage, [row.stage for row in table])
    return tuple(row._replace(**columns) if row.stage == stage else row for row in table)


def without(table: tuple[Row, ...], *stages: str) -> tuple[Row, ...]:
    """The table without the rows of these stages; ValueError for a stage that it does not have."""
    for stage in stages:
        check_one_of("stage", stage, [row.stage for row in table])
    return tuple(row for row in table if row.stage not in stages)


@dataclass(frozen=True)
class Design:
    """How a published network departs from the paper; the defaults are the paper's own choices.

    norm: "lrn" (local response normalization around conv2, Figure 3), "batch" (batch normalization in
        every convolution unit, Ioffe & Szegedy 2015) or "none".
    bias: whether convolutions have a bias.
    three_by_three, five_by_five, separable: what the 3×3 and the 5×5 path hold, see `Inception`.
    residual: whether modules of stride 1 add to their input, see `ResidualInception`.
    pool_rounding: "up" (ceil mode: 112 → 56 → 28 → 14 → 7 without padding) or "padded" (padding 1).
    final_map: side of the map that the classifier reads: 1 is the paper's average pool over the whole map (7×7 or
        another size); more keeps where things are, as the fully connected layers of AlexNet and VGG do.
    hidden: units of a fully connected layer before the classifier; 0 for none.
    dropout, aux_dropout: share of units dropped before the last linear layer, and in the heads.
    aux_after: the stages whose output feeds an auxiliary head; empty for none.
    aux_pool: "5x5/3" (the paper) or "adaptive" (torchvision; takes any image size).
    initialization: a key of INITIALIZATIONS. The paper states none; BVLC's Caffe reproduction uses Xavier's
        rule and starts hidden biases at 0.2, which is `initial_bias` here.
    transform_input: turn images normalized with ImageNet's mean and deviation into the −1 to 1 range that
        torchvision's released weights, converted from TensorFlow, were trained on.
    num_classes: classes of the publisher's network.

    Raises ValueError for an unknown choice, a table without rows, or heads on stages that are no modules.
    """

    table: tuple[Row, ...] = TABLE_1
    norm: str = "lrn"
    bias: bool = True
    batch_norm_eps: float = 1e-5
    three_by_three: str = "3x3"
    five_by_five: str = "5x5"
    separable: bool = False
    residual: bool = False
    pool_rounding: str = "up"
    final_map: int = 1
    hidden: int = 0
    dropout: float = 0.4
    aux_after: tuple[str, ...] = ("inception_4a", "inception_4d")
    aux_pool: str = "5x5/3"
    aux_dropout: float = 0.7
    initialization: str = "xavier"
    initial_bias: float = 0.2
    transform_input: bool = False
    num_classes: int = 1000

    def __post_init__(self) -> None:
        if not self.table:
            raise ValueError("table must have at least one row, got none")
        for row in self.table:
            check_one_of(f"type of row {row.stage}", row.type, ROW_TYPES)
            if row.type == "convolution" and not (row.three or row.channels):
                raise ValueError(f"row {row.stage} must have channels, got {row}")
        for name in ("bias", "separable", "residual", "transform_input"):
            object.__setattr__(self, name, check_type(name, bool, getattr(self, name)))
        check_one_of("norm", self.norm, NORMS)
        check_one_of("three_by_three", self.three_by_three, THREE_BY_THREE)
        check_one_of("five_by_five", self.five_by_five, FIVE_BY_FIVE)
        check_one_of("pool_rounding", self.pool_rounding, ["up", "padded"])
        check_one_of("aux_pool", self.aux_pool, ["5x5/3", "adaptive"])
        check_one_of("initialization", self.initialization, INITIALIZATIONS)
        check_whole("final_map", self.final_map)
        check_whole("hidden", self.hidden, 0)
        if len(self.aux_after) > 2:
            raise ValueError(f"aux_after must name at most two stages, got {self.aux_after}")
        for stage in self.aux_after:
            check_one_of("aux_after", stage, [row.stage for row in self.table if row.type in MODULES])


def smallest_input(design: Design) -> int:
    """The side in pixels of the smallest square image that leaves every stage at least one pixel."""
    size = 1
    for row in reversed(design.table):  # from the size that a row must make to the one that it needs
        if row.type == "max pool" and design.pool_rounding == "up":
            size = (size - 2) * row.stride + row.patch + 1  # the last window may reach over the edge
        else:  # the padding is half the kernel, so that an odd one needs one pixel and an even one none
            size = (size - 1) * row.stride + (1 if row.type in MODULES else row.patch % 2)
        size = max(size, 1)
    return size


def small_images(design: Design, size: int) -> Design:
    """The design with a stem for images of 32×32 or 64×64 pixels.

    The paper's stem makes a 224-pixel image an 28×28 map. Here conv1 is 3×3, with stride 1 for 32 and 2 for
    64 pixels, and the first two pools go, so that the modules see maps of 32, 16 and 8 pixels where the
    paper's see 28, 14 and 7.
    """
    check_one_of("size", size, [32, 64])
    table = change(without(design.table, "pool1", "pool2"), "conv1", patch=3, stride=size // 32)
    return replace(design, table=table)


def narrow(table: tuple[Row, ...], share: float) -> tuple[Row, ...]:
    """The table with every width times `share`, rounded to a multiple of 8 channels, and 8 at least."""
    columns = ("channels", "one", "three_reduce", "three", "five_reduce", "five", "pool_proj")
    return tuple(
        row._replace(**{c: max(8, round(getattr(row, c) * share / 8) * 8) for c in columns if getattr(row, c)})
        for row in table
    )


RELEASED_TABLE = change(TABLE_1, "conv1", depth_multiplier=8)
RELEASED_TABLE = change(RELEASED_TABLE, "inception_4a", three=204)
RELEASED_TABLE = change(RELEASED_TABLE, "inception_5a", five_reduce=48)

CIFAR_TABLE = change(without(TABLE_1, "pool1", "conv2", "pool2"), "conv1", patch=3, stride=1, channels=192)

# The networks of three tutorials: no heads, no dropout, padded pools.
for_ten_classes = partial(Design, pool_rounding="padded", dropout=0.0, aux_after=(), num_classes=10)

DESIGNS = {
    # The paper as printed.
    "googlenet": Design(),
    # Channels of the network released for DeepDream ("inception5h"), with a separable first convolution, which fits
    # the paper's 2.7K parameters and 34M operations. The released graph itself has a plain 7×7 there.
    "googlenet-released": Design(table=RELEASED_TABLE),
    # The paper's network with batch normalization in place of biases and local response normalization.
    "googlenet-bn": Design(norm="batch", bias=False, aux_pool="adaptive"),
    # torchvision/models/googlenet.py: a 3×3 kernel in the 5×5 path (pytorch/vision issue 906).
    "googlenet-torchvision": Design(
        table=change(TABLE_1, "pool4", patch=2),
        norm="batch",
        bias=False,
        batch_norm_eps=0.001,
        five_by_five="3x3",
        dropout=0.2,
        aux_pool="adaptive",
        initialization="truncated normal",
    ),
    # kuangliu/pytorch-cifar, models/googlenet.py: for 32×32 images; two 3×3 in the 5×5 path, biases and batch norm.
    "googlenet-pytorch-cifar": for_ten_classes(
        table=CIFAR_TABLE, norm="batch", five_by_five="two 3x3", initialization="pytorch"
    ),
    # Dive into Deep Learning, section 8.4: no normalization.
    "googlenet-d2l": for_ten_classes(norm="none", initial_bias=0.0),
    # UvA Deep Learning tutorial 5: eight narrow modules for 32×32 images.
    "googlenet-uva": for_ten_classes(table=UVA_TABLE, norm="batch", initialization="kaiming"),
    # Inception-v2 (Ioffe & Szegedy 2015): batch norm, two 3×3 for the 5×5, strided modules, no heads, no dropout.
    "inception-v2": Design(
        table=INCEPTION_V2_TABLE,
        norm="batch",
        bias=False,
        five_by_five="two 3x3",
        dropout=0.0,
        aux_after=(),
    ),
}
# Ours, to be trained on two cores in about a minute: all stages, a quarter of the width, for images of 64×64 pixels.
# Without pool2, the modules see maps of 16, 8 and 4 pixels.
DESIGNS["googlenet-laptop"] = replace(DESIGNS["googlenet-bn"], table=narrow(without(TABLE_1, "pool2"), 1 / 4))
DESIGNS |= {
    f"{name}-{size}": small_images(DESIGNS[name], size) for name in ("googlenet", "googlenet-bn") for size in (32, 64)
}
