"""What the page says about the units of some stages: the patches that excite them, their tuning, their inputs."""

import copy
from dataclasses import dataclass
from functools import cache
from typing import TypedDict

import torch
from torch.nn import functional

from inception_lab import lens
from inception_lab.data.datasets import InMemory
from inception_lab.explorer.page import shortened
from inception_lab.explorer.stages import CLASSES, Stage
from inception_lab.lens import connections
from inception_lab.lens.connections import stage_kernels
from inception_lab.lens.images import batches
from inception_lab.lens.network import Network
from inception_lab.lens.patches import TopPatches
from inception_lab.lens.units import before_relu, peaks

PATCHES, LEAST, INPUTS = 9, 3, 8  # of each unit; as many outputs as inputs
Patch = TypedDict("Patch", {"image": int, "class": int, "value": float, "box": tuple[int, int, int, int]})


@dataclass
class Wire:
    """One of a unit's strongest inputs, and the expanded kernel that reads it; or an output, without a kernel."""

    channel: int
    excites: float
    inhibits: float
    kernel: list[int]


@torch.no_grad()
def deviations(network: Network, data: InMemory, sources: list[str], batch: int = 100) -> dict[str, torch.Tensor]:
    """The standard deviation of every channel of some nodes over images and positions: {source: (C,)}.

    "image" is the normalized image.
    """
    nodes = [source for source in sources if source != "image"]
    moments = dict.fromkeys(sources, torch.zeros(()))  # how many values, their sum, the sum of their squares
    for images in batches(data, network, batch):
        values = network.extract(images, nodes) if nodes else {}
        if "image" in sources:
            values["image"] = network.normalize(images)
        for source, value in values.items():
            value = value.flatten(2).cpu().double()
            powers = [value.new_ones(()).expand_as(value), value, value.square()]
            moments[source] = moments[source] + torch.stack([power.sum((0, 2)) for power in powers])
    variances = {source: squares / n - (total / n) ** 2 for source, (n, total, squares) in moments.items()}
    return {source: variance.clamp(min=0).sqrt().float() for source, variance in variances.items()}


def top_images(network: Network, data: InMemory, k: int = PATCHES) -> TopPatches:
    """The images with the largest logit of each class: patches that are the whole image."""
    return _whole_images(lens.activations(network, data.images, CLASSES)[CLASSES], k, largest=True)


@torch.no_grad()
def least_images(network: Network, data: InMemory, names: list[str], k: int = LEAST) -> dict[str, TopPatches]:
    """The k images that excite each unit of some paths least: the largest value before the ReLU is the smallest.

    After it, most images would share the place, with 0.
    """
    nodes = {name: before_relu(network, name) for name in names}
    found: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    for images in batches(data, network, 100):
        values = network.extract(images, dict.fromkeys(nodes.values()))
        for name, node in nodes.items():
            found[name].append(peaks(values[node]))
    return {name: _whole_images(torch.cat(parts), k, largest=False) for name, parts in found.items()}


def _whole_images(answers: torch.Tensor, k: int, largest: bool) -> TopPatches:
    """The k images with the largest or smallest answers, (N, units), as patches that are the whole image."""
    values, images = answers.T.cpu().topk(min(k, len(answers)), largest=largest)
    return TopPatches(CLASSES, values, images, torch.zeros_like(images), torch.zeros_like(images))


def kernels(network: Network, stage: Stage, deviation: torch.Tensor) -> list[torch.Tensor]:
    """The expanded kernels of each path of a stage, on the CPU. deviation: of each input of the stage."""
    return stage_kernels(copy.deepcopy(network.model.get_submodule(stage.name)).cpu(), len(deviation))


def strengths(network: Network, stage: Stage, deviation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How strongly each input excites and inhibits each unit of a stage: two of (units, inputs), see `connections`."""
    paths = [connections.strengths(kernel, deviation) for kernel in kernels(network, stage, deviation)]
    excites, inhibits = (torch.cat(parts) for parts in zip(*paths, strict=True))
    return excites, inhibits


# --- as the page takes it -----------------------------------------------------------------------------------


def describe_patches(network: Network, data: InMemory, found: TopPatches) -> list[list[Patch]]:
    """The patches of every channel, strongest first: which image of what class, which box of it, what activation.

    A box is (left, top, right, bottom) in pixels, and reaches over the image's edge where the unit sees padding.
    """
    whole = (0, 0, network.size, network.size)
    field = cache(lambda *place: whole if found.path == CLASSES else lens.receptive_field(network, found.path, *place))
    classes = data.labels.tolist()

    def patch(image: int, value: float, row: int, column: int) -> Patch:
        return {"image": image, "class": classes[image], "value": shortened(value), "box": field(row, column)}

    columns = (found.images, found.values, found.rows, found.columns)
    units = zip(*(column.tolist() for column in columns), strict=True)
    return [[patch(*place) for place in zip(*unit, strict=True) if place[0] >= 0] for unit in units]


def cut_patches(network: Network, data: InMemory, row: list[Patch], side: int, count: int = PATCHES) -> torch.Tensor:
    """The patches of a unit in one size, uint8 (count, 3, side, side); black where there are fewer."""
    made = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    if row:
        cut = [lens.crop(network, data.images[patch["image"]], patch["box"]) for patch in row]
        made[: len(cut)] = to_size(torch.stack(cut), side)
    return made


def to_size(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images from 0 to 1 at another size, uint8: small ones show their pixels, large ones are averaged."""
    if images.shape[-1] <= side:
        scaled = functional.interpolate(images, size=(side, side), mode="nearest-exact")
    else:
        scaled = functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    return (scaled.clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def describe_inputs(network: Network, stage: Stage, deviation: torch.Tensor) -> list[list[Wire]]:
    """The strongest inputs of every unit of a stage; kernels as whole numbers, 100 for the largest weight shown."""
    rows: list[list[Wire]] = []
    for kernel in kernels(network, stage, deviation):
        channels, excites, inhibits, shown = connections.strongest(kernel, deviation, INPUTS)
        largest = shown.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-20)
        rows += _wires(channels, excites, inhibits, (100 * shown / largest).round().int().flatten(2))
    return rows


def describe_outputs(network: Network, reader: Stage, deviation: torch.Tensor) -> list[list[Wire]]:
    """The strongest outputs of every unit of the stage that `reader` reads."""
    excites, inhibits = (part.T for part in strengths(network, reader, deviation))
    units = (excites + inhibits).topk(min(INPUTS, excites.shape[1])).indices
    return _wires(units, excites.gather(1, units), inhibits.gather(1, units), units.new_empty(*units.shape, 0))


def _wires(*columns: torch.Tensor) -> list[list[Wire]]:
    """The wires of every unit that have a strength, from the columns of `Wire`: (units, wires) each."""
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        [Wire(c, shortened(e), shortened(i), kernel) for c, e, i, kernel in zip(*row, strict=True) if e + i > 0]
        for row in rows
    ]
