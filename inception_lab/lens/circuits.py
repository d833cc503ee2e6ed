"""Circuits: what a unit is made of, a network in which some units are silent, and what answers where in an image.

    found = inputs(network, images, "inception_4b.three:5")     # its strongest inputs: who excites and who inhibits it
    quiet = without(network, found["unit"])                     # the test of that story: take them away
    units = dictionary(network, image, "inception_4d")          # at each position the units that answer most

After Olah et al. 2020, "Zoom In: An Introduction to Circuits", doi:10.23915/distill.00024.001, and Olah et al. 2018,
"The Building Blocks of Interpretability", doi:10.23915/distill.00010 (their semantic dictionary).
"""

import copy
from collections.abc import Iterable

import pandas as pd
import torch
from torch import nn

from inception_lab.common.checks import check_whole
from inception_lab.lens.connections import expanded_kernel, strongest
from inception_lab.lens.network import Network, instrument
from inception_lab.lens.units import activations, check_names, find_unit, paths


@instrument
def inputs(network: Network, images: torch.Tensor, unit: str | tuple[str, int], k: int = 6) -> pd.DataFrame:
    """The k strongest inputs of a unit of a module, one row each, strongest first: unit, excites, inhibits.

    Strengths are those of `connections`, on these images, in units of the unit's sum before its ReLU. Raises ValueError
    for an unknown unit, and for one that reads no units.
    """
    path, channel = find_unit(network, unit)
    source, before = reads(network, path.partition(".")[0])
    values = activations(network, images, source)[source]
    chain = copy.deepcopy(network.model.get_submodule(path)).cpu().float()
    kernel = expanded_kernel(chain, values.shape[1])[channel : channel + 1]
    found = strongest(kernel, values.float().transpose(0, 1).flatten(1).std(1), check_whole("k", k))
    units = [find_unit(network, (before, number)) for number in found.channels[0].tolist()]
    columns = {"excites": found.excites[0], "inhibits": found.inhibits[0]}
    return pd.DataFrame({"unit": [str(one) for one in units]} | {name: c.numpy() for name, c in columns.items()})


def reads(network: Network, stage: str) -> tuple[str, str]:
    """The stage whose output a stage reads, and the stage before that has the units in it."""
    stages = list(network.model.stages)
    earlier = stages[: stages.index(stage)]
    units = [name for name in earlier if any(path.partition(".")[0] == name for path in paths(network))]
    if not units:
        raise ValueError(f"unit must be one that reads units, and those of {stage} read pixels")
    return earlier[-1], units[-1]


@torch.inference_mode(False)
def without(network: Network, units: str | Iterable[str]) -> Network:
    """A copy of the network in which these units are silent: 0 for every image. ValueError for an unknown unit."""
    found = [find_unit(network, unit) for unit in ([units] if isinstance(units, str) else units)]
    quiet = copy.deepcopy(network)
    for path, channel in found:
        layers = [layer for layer in quiet.model.get_submodule(path).modules() if isinstance(layer, nn.Conv2d)]
        if not layers:
            raise ValueError(f"units must be made by a convolution, and {path} passes on what it reads")
        layers[-1].weight.data[channel] = 0
        if layers[-1].bias is not None:
            layers[-1].bias.data[channel] = 0
    return quiet


@instrument
def dictionary(network: Network, image: torch.Tensor, layer: str, k: int = 3) -> tuple[list, torch.Tensor]:
    """At each position of a layer's map the k units that answer most: names [h][w][k], and values (h, w, k).

    image: (1, 3, H, W). Raises ValueError for an unknown layer, and for several images.
    """
    if len(image) != 1:
        raise ValueError(f"image must be one, (1, 3, H, W), got {tuple(image.shape)}")
    (layer,) = check_names(network, layer, "layer")
    best = activations(network, image, layer)[layer][0].permute(1, 2, 0).topk(check_whole("k", k), dim=2)
    names = [[[str(find_unit(network, (layer, c))) for c in cell] for cell in row] for row in best.indices.tolist()]
    return names, best.values
