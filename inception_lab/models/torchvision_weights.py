"""The weights of torchvision's GoogLeNet in a model of this library."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
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
NESTED = ("state_dict", "model")  # where training scripts put it in what they save
WRAPPERS = {"module", "_orig_mod", "model"}  # modules that hold a network: DataParallel, torch.compile, Lightning


def from_torchvision(state_dict: Mapping[str, Any], *, transform_input: bool = False) -> GoogLeNet:
    """The torchvision design with the weights of torchvision's `googlenet`, and so with its logits.

    state_dict: of `torchvision.models.googlenet`, with or without auxiliary heads, for any number of classes; PyTorch's
        tensors or NumPy's arrays. It may lie in a dict under "state_dict" or "model", and its names may begin with
        `module.` or `_orig_mod.`, as DataParallel and torch.compile have them.
    transform_input: what the torchvision model has under that name. torchvision sets it for its released
        ImageNet weights, so set it with those; a state dict does not hold it.

    Returns the model in training mode, as PyTorch constructs modules. Raises ValueError for a state dict that
    is not torchvision's GoogLeNet, naming the first tensors that do not fit, in this library's names.
    """
    weights = {library_name(name): as_tensor(name, value) for name, value in unnested(state_dict).items()}
    for name, axes in (("conv1.conv.weight", 4), ("linear.weight", 2)):
        if name not in weights or weights[name].ndim != axes or not weights[name].is_floating_point():
            raise ValueError(f"state_dict is not torchvision's googlenet: it has nothing for {name}")
    classes = len(weights["linear.weight"])
    for name in ("aux1.fc2.weight", "aux2.fc2.weight"):
        if name in weights and weights[name].ndim == 2 and len(weights[name]) != classes:
            raise ValueError(
                f"state_dict must have as many classes in its auxiliary heads as in fc, got {len(weights[name])} in "
                f"{name} and {classes} in fc: leave out what begins with aux, or give the heads a new fc2 as well"
            )
    model = GoogLeNet(
        replace(DESIGNS["googlenet-torchvision"], transform_input=transform_input, initialization="pytorch"),
        num_classes=classes,
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


def unnested(state_dict: Any) -> Mapping[str, Any]:
    """A state dict, also where it is one thing among others that a training script has saved."""
    for name in NESTED:
        if isinstance(state_dict, Mapping) and name in state_dict:
            return unnested(state_dict[name])
    if not isinstance(state_dict, Mapping):
        kind = type(state_dict).__name__
        raise ValueError(f"state_dict must be what a model's state_dict() returns, got {kind}")
    return state_dict


def as_tensor(name: str, value: Any) -> torch.Tensor:
    """A tensor or NumPy array as a tensor. Raises ValueError, naming it, for anything else."""
    try:
        return value if isinstance(value, torch.Tensor) else torch.tensor(np.asarray(value))
    except TypeError as error:
        raise ValueError(f"state_dict must hold tensors, got {type(value).__name__} for {name!r}") from error


def library_name(name: str) -> str:
    """The name in this library of a parameter of torchvision's GoogLeNet, also of one within a wrapper."""
    name = ".".join(part for part in str(name).split(".") if part not in WRAPPERS)
    for pattern, replacement in NAMES:
        name, changed = re.subn(pattern, replacement, name)
        if changed and name.startswith("conv2.reduce."):
            break  # torchvision's conv2 is conv2.reduce here, and its conv3 is conv2.conv
    return name
