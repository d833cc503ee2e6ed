"""Networks as data: building blocks, the published designs, and every network that the course compares.

model = build("googlenet")            # or "vgg16", "inception-v3", ...: `zoo.names()` lists them
module = Inception(192, TABLE_1[4].widths)
"""

from inception_lab.models import variants, zoo
from inception_lab.models.blocks import (
    AuxiliaryHead,
    ConvUnit,
    Inception,
    NaiveInception,
    ResidualInception,
    Widths,
    chain,
)
from inception_lab.models.designs import DESIGNS, TABLE_1, Design, Row, change
from inception_lab.models.fast_twin import fast, merge_ones
from inception_lab.models.googlenet import GoogLeNet, Outputs
from inception_lab.models.torchvision_weights import from_torchvision
from inception_lab.models.zoo import build

__all__ = [
    "DESIGNS",
    "TABLE_1",
    "AuxiliaryHead",
    "ConvUnit",
    "Design",
    "GoogLeNet",
    "Inception",
    "NaiveInception",
    "Outputs",
    "ResidualInception",
    "Row",
    "Widths",
    "build",
    "chain",
    "change",
    "fast",
    "from_torchvision",
    "merge_ones",
    "variants",
    "zoo",
]
