"""What an image is to be optimized for: objectives that add and subtract.

    channel("inception_4a.five:12")                       # the mean of a unit over the whole map
    unit("inception_4a.five:12")                          # its value at the center of the map
    channel("inception_4a.five:12") - 0.5 * path("inception_3a.one")
    logit("ring") + 10 * diversity("inception_4a")        # several images of one objective, unlike each other

The pattern, objectives as sums of terms, is that of Lucid (tensorflow/lucid, lucid/optvis/objectives.py).
"""

from dataclasses import dataclass, replace

import torch

from inception_lab.lens.network import Network
from inception_lab.lens.units import before_relu, check_names, find_unit


@dataclass(frozen=True)
class Term:
    """A weight and what it multiplies: a kind, the name of a path or class, and a channel where the kind has one."""

    kind: str
    name: str | int
    channel: int = -1
    weight: float = 1.0

    def __str__(self) -> str:
        inside = self.name if self.channel < 0 else f"{self.name}:{self.channel}"
        return f"{self.kind}({inside})" if self.weight == 1 else f"{self.weight:g} · {self.kind}({inside})"


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms, to be made as large as possible. Objectives add, subtract and take factors."""

    terms: tuple[Term, ...]

    def __add__(self, other: "Objective") -> "Objective":
        return Objective(self.terms + other.terms) if isinstance(other, Objective) else NotImplemented

    def __mul__(self, factor: float) -> "Objective":
        if not isinstance(factor, int | float):
            return NotImplemented
        return Objective(tuple(replace(term, weight=term.weight * factor) for term in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> "Objective":
        return self * -1

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -other if isinstance(other, Objective) else NotImplemented

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))


def unit(name: str, channel: int | None = None) -> Objective:
    """The value of a unit at the center of its map, before the ReLU: `unit("inception_4a.five:12")`."""
    return Objective((_of_channel("unit", name, channel),))


def channel(name: str, channel: int | None = None) -> Objective:
    """The mean of a unit over its map, before the ReLU: `channel("inception_4a.five", 12)`."""
    return Objective((_of_channel("channel", name, channel),))


def path(name: str) -> Objective:
    """The mean square of all activations of a path or stage: what DeepDream makes larger."""
    return Objective((Term("path", name),))


def logit(target: str | int) -> Objective:
    """The logit of a class, by name or number."""
    return Objective((Term("logit", target),))


def diversity(name: str) -> Objective:
    """How unlike the images of this same objective are, in the Gram matrix of a path or stage.

    Minus the mean cosine between an image's Gram matrix and those of the other images in the batch whose objective
    is equal; 0 where there is no other (Olah et al. 2017, "Feature Visualization", doi:10.23915/distill.00007).
    """
    return Objective((Term("diversity", name),))


def _of_channel(kind: str, name: str, number: int | None) -> Term:
    if number is None:
        name, _, number = str(name).partition(":")
        if not number.isdecimal():
            raise ValueError(f"a unit must be a name and a channel, such as 'inception_4a.five:12', got {name!r}")
    return Term(kind, name, int(number))


class Batch:
    """The objectives of the images of a batch, made ready for one network: {node: value} → (N,), one for each image.

    Terms of one kind that read the same node are computed together. Raises ValueError for a name, channel or class
    that the network does not have.
    """

    def __init__(self, network: Network, objectives: list[Objective]):
        self.count, self.groups = len(objectives), {}
        for i, objective in enumerate(objectives):
            if not isinstance(objective, Objective):
                raise ValueError(f"objectives must be made of unit, channel, path, logit, diversity, got {objective!r}")
            for term in objective.terms:
                node, number = resolve(network, term)
                self.groups.setdefault((term.kind, node), []).append((i, number, term.weight))
        self.groups = {key: [torch.tensor(c) for c in zip(*rows, strict=True)] for key, rows in self.groups.items()}
        self.nodes = list(dict.fromkeys(node for _, node in self.groups))
        equal = torch.tensor([[a == b for b in objectives] for a in objectives]) & ~torch.eye(self.count, dtype=bool)
        self.alike = equal.float() / equal.sum(1, keepdim=True).clamp(min=1)

    def __call__(self, values: dict[str, torch.Tensor]) -> torch.Tensor:
        total = 0
        for (kind, node), (images, channels, weights) in self.groups.items():
            value = KINDS[kind](values[node], images, channels, self.alike)
            images = images.to(value.device)
            total = total + torch.zeros(self.count).to(value).index_add(0, images, value * weights.to(value))
        return total


def resolve(network: Network, term: Term) -> tuple[str, int]:
    """The node of the graph that a term reads, and the channel in it."""
    if term.kind == "logit":
        return "linear", int(network.class_numbers(term.name, 1)[0])
    if term.channel < 0:
        return check_names(network, term.name, term.kind)[0], -1
    found = find_unit(network, (term.name, term.channel))
    return before_relu(network, found.path), found.channel


def _unit(values, images, channels, alike):
    return values[images, channels, values.shape[2] // 2, values.shape[3] // 2]


def _channel(values, images, channels, alike):
    return values[images, channels].mean((1, 2))


def _path(values, images, channels, alike):
    return values[images].square().flatten(1).mean(1)


def _logit(values, images, channels, alike):
    return values[images, channels]


def _diversity(values, images, channels, alike):
    flat = values.flatten(2)
    gram = torch.nn.functional.normalize((flat @ flat.mT).flatten(1), dim=1)
    return -(alike.to(gram) * (gram @ gram.T)).sum(1)[images]


KINDS = {"unit": _unit, "channel": _channel, "path": _path, "logit": _logit, "diversity": _diversity}
