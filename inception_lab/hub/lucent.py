"""The InceptionV1 that Google released for DeepDream, in the layout that Lucent gave to its weights."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from inception_lab.hub import names
from inception_lab.models import DESIGNS, GoogLeNet, change


def from_lucent(state_dict: Mapping[str, torch.Tensor]) -> GoogLeNet:
    """The released InceptionV1 with these weights, in evaluation mode: (N, 3, H, W) → logits (N, 1008).

    Images are RGB, 0 to 255 minus 117, and their sides multiples of 32, such as 224. It is GoogLeNet without heads and
    with three departures in width (4a has 508 channels, 5a reduces to 48 before its 5×5, 1,008 classes), and it
    normalizes over 9 channels. TensorFlow pads the stem's plain 7×7 convolution by 2 pixels before and 3 after.

    state_dict: of Lucent's `InceptionV1` (greentfrapp/lucent, lucent/modelzoo/inceptionv1). Raises DataError, naming
    tensors, for any other.
    """
    design = DESIGNS["googlenet-released"]
    design = replace(design, table=change(design.table, "conv1", depth_multiplier=0), num_classes=1008)
    with torch.device("meta"):
        model = GoogLeNet(design, aux=False)
        model.conv1 = nn.Sequential(
            OrderedDict(pad=nn.ZeroPad2d((2, 3, 2, 3)), conv=nn.Conv2d(3, 64, 7, stride=2), relu=nn.ReLU(inplace=True))
        )
    model.norm1 = model.norm2 = nn.LocalResponseNorm(9, alpha=1e-4, beta=0.5, k=1.0)
    names.load(model, state_dict, names.LUCENT)
    return model.eval()
