"""The weights of torchvision's GoogLeNet in a model of this library."""

import re
from collections.abc import Mapping
from dataclasses import replace

import torch

from inception_lab.models.designs import DESIGNS
from inception_lab.models.googlenet import GoogLeNet

NAMES = [  # a pattern in torchvision's name, and what stands for it in this library
    (r"^conv2\.", "conv2.reduce."),
    (r"^conv3\.", "conv2.conv."),
    (r"^inception(\d\w)\.", r"inception_\1."),
    (r"\.branch1\.", ".one."),
    (r"\.branch2\.0\.", ".three.reduce."),
    (r"\.branch2\.1\.", ".three.conv."),
    (r"\.branch3\.0\.", ".five.reduce."),
    (r"\.branch3\.1\.", ".five.conv."),
    (r"\.branch4\.1\.", ".pool.project."),
    (r"^fc\.", "linear."),
]


def from_torchvision(state_dict: Mapping[str, torch.Tensor], *, transform_input: bool = False) -> GoogLeNet:
    """The torchvision design with the weights of torchvision's `googlenet`, and so with its logits.

    state_dict: of `torchvision.models.googlenet`, with or without auxiliary heads, for any number of classes.
    transform_input: what the torchvision model has under that name. torchvision sets it for its released
        ImageNet weights, so set it with those; a state dict does not hold it.

    Returns the model in training mode, as PyTorch constructs modules. Raises ValueError for a state dict that
    is not torchvision's GoogLeNet, naming the first tensors that do not fit, in this library's names.
    """
    if not isinstance(state_dict, Mapping):
        kind = type(state_dict).__name__
        raise ValueError(f"state_dict must be what a model's state_dict() returns, got {kind}")
    weights = {library_name(name): tensor for name, tensor in state_dict.items()}
    for name in ("conv1.conv.weight", "linear.weight"):
        if name not in weights:
            raise ValueError(f"state_dict is not torchvision's googlenet: it has nothing for {name}")
    model = GoogLeNet(
        replace(DESIGNS["googlenet-torchvision"], transform_input=transform_input, initialization="pytorch"),
        num_classes=weights["linear.weight"].shape[0],
        in_channels=weights["conv1.conv.weight"].shape[1],
        aux="aux1.fc1.weight" in weights,
    )
    wrong = [name for name, t in model.state_dict().items() if name not in weights or weights[name].shape != t.shape]
    wrong += [name for name in weights if name not in model.state_dict()]
    if wrong:
        first = ", ".join(wrong[:3])
        raise ValueError(
            f"state_dict is not torchvision's googlenet: {len(wrong)} tensors are missing, have another shape or are "
            f"too many, the first of them {first}"
        )
    model.to(weights["linear.weight"].dtype).load_state_dict(weights)
    return model


def library_name(name: str) -> str:
    """The name in this library of a parameter of torchvision's GoogLeNet."""
    for pattern, replacement in NAMES:
        name, changed = re.subn(pattern, replacement, name)
        if changed and name.startswith("conv2.reduce."):
            break  # torchvision's conv2 is conv2.reduce here, and its conv3 is conv2.conv
    return name
