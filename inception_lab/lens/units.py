"""Names of what is inside a network, and its activations.

    paths(network)                       # {"conv1": 16, "conv2": 48, "inception_3a.one": 16, ...}: channels, in order
    find_unit(network, "inception_4a.five:12")
    activations(network, images, ["inception_4a.five", "inception_4a"])

A unit is one channel of a path. The same unit looks at every position of the map.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from inception_lab.common.checks import check_whole, closest
from inception_lab.lens.images import Images, batches
from inception_lab.lens.network import Network, check_pixels, geometry, instrument
from inception_lab.models.blocks import Inception, NaiveInception


class Unit(NamedTuple):
    """One channel of one path; as text, "inception_4a.five:12"."""

    path: str
    channel: int

    def __str__(self) -> str:
        return f"{self.path}:{self.channel}"


def paths(network: Network) -> dict[str, int]:
    """Every path of the network in the order of the pass, with its channels: each unit is in exactly one.

    The paths of a module have names such as "inception_4a.five"; "conv1" and "conv2" are one path each.
    """
    found, widths = [], channels(network)
    for stage in network.model.stages:
        module = getattr(network.model, stage)
        if isinstance(module, Inception | NaiveInception):
            found += [f"{stage}.{name}" for name, _ in module.named_children()]
        elif any(isinstance(part, nn.Conv2d) for part in module.modules()):
            found.append(stage)
    return {name: widths[name] for name in found}


def modules(network: Network) -> list[str]:
    """The stages that are Inception modules, in the order of the pass."""
    return [stage for stage in network.model.stages if stage.startswith("inception")]


@instrument
def channels(network: Network) -> dict[str, int]:
    """Every name whose activations can be asked for, with its channels: stages, paths, layers inside them, logits."""
    found: dict[str, int] = {}
    for layer in geometry(network, network.size).layers:
        parts = layer.name.split(".")
        for depth in range(1, len(parts) + 1):
            name = ".".join(parts[:depth])
            found.pop(name, None)  # the last layer of a stage says what comes out of it
            found[name] = layer.output[0]
    return found


def check_names(network: Network, names: str | Iterable[str], argument: str = "names") -> list[str]:
    """The names as a list; ValueError for one that is not there, offering the closest."""
    names = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    known = channels(network)
    if not names:
        raise ValueError(f"{argument} must name at least one path, got none")
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"{argument} must be a name such as 'inception_4a.five', got {name!r}")
        if name not in known:
            hint = closest(name, known, most=3) or "."
            raise ValueError(f"{argument}: {name!r} is not in this network{hint} Paths: {', '.join(paths(network))}")
    return names


def find_unit(network: Network, text: str | tuple[str, int]) -> Unit:
    """The unit that "inception_4a.five:12" or ("inception_4a.five", 12) names; "inception_4a:70" lies in a path.

    Raises ValueError for a name that is not there, offering the closest, and for a channel that it does not have.
    """
    if isinstance(text, tuple) and len(text) == 2:
        path, number = text[0], str(text[1])
    elif isinstance(text, str):
        path, _, number = text.partition(":")
    else:
        raise ValueError(f"unit must be a name and a channel, such as 'inception_4a.five:12', got {text!r}")
    check_names(network, path, "unit")
    count = channels(network)[path]
    if not number.isdecimal() or int(number) >= count:
        raise ValueError(f"unit must be {path}:0 to {path}:{count - 1}, got {text!r}")
    channel = int(number)
    for part, width in paths(network).items():
        if part.startswith(f"{path}."):  # path is a module: its paths lie one behind the other
            if channel < width:
                return Unit(part, channel)
            channel -= width
    return Unit(path, channel)


@instrument
@torch.no_grad()
def activations(
    network: Network, images: torch.Tensor, names: str | Iterable[str], *, batch: int = 64
) -> dict[str, torch.Tensor]:
    """What parts of the network answer to images: {name: (N, C, H, W)}, and (N, C) for "linear", the logits.

    images: uint8, or floats from 0 to 1, (N, 3, H, W). names: paths, stages or layers in them (see `channels`), one or
    several. batch: images that are computed at once. Raises ValueError for a name that is not there, offering the
    closest, and for other images.
    """
    names = check_names(network, names)
    check_pixels(images)
    found = [network.extract(some, names) for some in images.split(check_whole("batch", batch))]
    return {name: torch.cat([values[name].cpu() for values in found]) for name in names}


@instrument
@torch.no_grad()
def features(network: Network, images: Images, stage: str = "inception_5b", *, batch: int = 64) -> np.ndarray:
    """What a stage answers to images, averaged over the map: float32 (N, C), one row per image, as scikit-learn wants.

    images: a set of `datasets.load`, or images as one tensor (see `activations`); they are scaled to the network's
    size. stage: or a path, see `channels`; a vector, such as "linear", stays as it is. batch: images that are computed
    at once. Raises ValueError for a name that is not there, offering the closest, and for a set without images.
    """
    (name,) = check_names(network, stage, "stage")
    found = []
    for some in batches(images, network, check_whole("batch", batch)):
        values = network.extract(some, [name])[name]
        found.append(values.reshape(*values.shape[:2], -1).mean(2).float().cpu())
    return torch.cat(found).numpy()


def peaks(values: torch.Tensor) -> torch.Tensor:
    """The largest activation of each image and channel over the map, if it has one: float32 (N, C), on the CPU."""
    return values.reshape(*values.shape[:2], -1).amax(2).float().cpu()


def before_relu(network: Network, name: str) -> str:
    """The node whose ReLU is the output of a path; the name itself where no ReLU comes last.

    A ReLU that is off passes no gradient back, so that what is optimized is the value before it.
    """
    node, module = name, network.model.get_submodule(name)
    while isinstance(module, nn.Sequential) and len(module):
        *before, (last, module) = module.named_children()
        if isinstance(module, nn.ReLU):
            return f"{node}.{before[-1][0]}"
        node = f"{node}.{last}"
    return name
