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
    text = str(name) if number is None else f"{name}:{number}"
    path, _, digits = text.rpartition(":")
    if not path or not digits.isdecimal():
        raise ValueError(f"a unit must be a name and a channel, such as 'inception_4a.five:12', got {text!r}")
    return Term(kind, path, int(digits))


class BatchObjective:
    """The objectives of the images of a batch, made ready for one network: images → (N,), one value for each image.

    Terms of one kind that read the same node are computed together. Raises ValueError for a name, channel or class
    that the network does not have.
    """

    def __init__(self, network: Network, objectives: list[Objective]):
        found: dict[tuple[str, str], list[tuple[int, int, float]]] = {}
        for i, objective in enumerate(objectives):
            if not isinstance(objective, Objective):
                raise ValueError(f"objectives must be made of unit, channel, path, logit, diversity, got {objective!r}")
            for term in objective.terms:
                node, number = resolve(network, term)
                found.setdefault((term.kind, node), []).append((i, number, term.weight))
        # (kind, node) → images, channels and weights of the terms
        self.groups = {key: [torch.tensor(c) for c in zip(*terms, strict=True)] for key, terms in found.items()}
        self.nodes = tuple(dict.fromkeys(node for _, node in found))
        self.network, self.count = network, len(objectives)
        equal = torch.tensor([[a == b for b in objectives] for a in objectives]) & ~torch.eye(self.count).bool()
        self.alike = equal.float() / equal.sum(1, keepdim=True).clamp(min=1)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return self.of(self.network.extract(images, self.nodes))

    def of(self, values: dict[str, torch.Tensor]) -> torch.Tensor:
        """The same from the values of the nodes that the objectives read."""
        total = torch.zeros(())
        for (kind, node), (images, channels, weights) in self.groups.items():
            value = _value(kind, values[node], images, channels, self.alike)
            sums = torch.zeros(self.count).to(value)
            total = total.to(value) + sums.index_add(0, images.to(value.device), value * weights.to(value))
        return total


def resolve(network: Network, term: Term) -> tuple[str, int]:
    """The node of the graph that a term reads, and the channel in it."""
    if term.kind == "logit":
        return "linear", int(network.class_numbers(term.name, 1)[0])
    if term.channel < 0:
        return check_names(network, str(term.name), term.kind)[0], -1
    found = find_unit(network, (str(term.name), term.channel))
    return before_relu(network, found.path), found.channel


def _value(
    kind: str, values: torch.Tensor, images: torch.Tensor, channels: torch.Tensor, alike: torch.Tensor
) -> torch.Tensor:
    """What terms of one kind are, (n,), from the values of their node: of these images and, but for two, channels."""
    match kind:
        case "unit":
            return values[images, channels, values.shape[2] // 2, values.shape[3] // 2]
        case "channel":
            return values[images, channels].mean((1, 2))
        case "logit":
            return values[images, channels]
        case "path":
            return values[images].square().flatten(1).mean(1)
    flat = values.flatten(2)  # diversity
    gram = torch.nn.functional.normalize((flat @ flat.mT).flatten(1), dim=1)
    return -(alike.to(gram) * (gram @ gram.T)).sum(1)[images]
