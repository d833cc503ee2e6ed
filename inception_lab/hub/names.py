"""Weights put into our modules by their names alone: what each publisher calls our layers."""

from collections.abc import Mapping

import torch
from torch import nn

from inception_lab.common.checks import DataError

# In the name of one of our parameters, what the publisher's name has in its place.
CAFFE = {
    "conv1.conv": "conv1/7x7_s2",
    "conv2.reduce.conv": "conv2/3x3_reduce",
    "conv2.conv.conv": "conv2/3x3",
    ".one.conv": "/1x1",
    ".three.reduce.conv": "/3x3_reduce",
    ".three.conv.conv": "/3x3",
    ".five.reduce.conv": "/5x5_reduce",
    ".five.conv.conv": "/5x5",
    ".pool.project.conv": "/pool_proj",
    "linear": "loss3/classifier",
    "aux1.conv.conv": "loss1/conv",
    "aux1.fc1": "loss1/fc",
    "aux1.fc2": "loss1/classifier",
    "aux2.conv.conv": "loss2/conv",
    "aux2.fc1": "loss2/fc",
    "aux2.fc2": "loss2/classifier",
}
LUCENT = {
    "conv1.conv": "conv2d0_pre_relu_conv",
    "conv2.reduce.conv": "conv2d1_pre_relu_conv",
    "conv2.conv.conv": "conv2d2_pre_relu_conv",
    "inception_": "mixed",
    ".one.conv": "_1x1_pre_relu_conv",
    ".three.reduce.conv": "_3x3_bottleneck_pre_relu_conv",
    ".three.conv.conv": "_3x3_pre_relu_conv",
    ".five.reduce.conv": "_5x5_bottleneck_pre_relu_conv",
    ".five.conv.conv": "_5x5_pre_relu_conv",
    ".pool.project.conv": "_pool_reduce_pre_relu_conv",
    "linear": "softmax2_pre_activation_matmul",
}


def shapes(model: nn.Module, layers: Mapping[str, str]) -> dict[str, torch.Size]:
    """The shape of each parameter of our model by the publisher's name."""
    found = {}
    for name, parameter in model.named_parameters():
        for ours, theirs in layers.items():
            name = name.replace(ours, theirs)
        found[name] = parameter.shape
    return found


def load(model: nn.Module, tensors: Mapping[str, torch.Tensor], layers: Mapping[str, str]) -> None:
    """Give the model, made on the meta device, the tensors that have the publisher's names of its parameters.

    Old files of Caffe have more sides of 1: (1, 1, 1, 64) for 64 biases. Raises DataError, naming the first tensors
    that do not fit, where some are missing, have another shape or are too many.
    """
    wanted = shapes(model, layers)
    wrong = [
        name for name, shape in wanted.items() if name not in tensors or _long(tensors[name].shape) != _long(shape)
    ]
    wrong += [name for name in tensors if name not in wanted]
    if wrong:
        raise DataError(
            f"{len(wrong)} tensors are missing, have another shape or are too many, such as {', '.join(wrong[:3])}"
        )
    weights = (tensors[name].reshape(shape) for name, shape in wanted.items())
    ours = [name for name, _ in model.named_parameters()]
    model.load_state_dict(dict(zip(ours, weights, strict=True)), assign=True)


def _long(shape: torch.Size) -> list[int]:
    return [side for side in shape if side > 1]
