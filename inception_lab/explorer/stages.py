"""The rows of the page: the stages of a network that have units of their own, and the classes."""

from typing import NamedTuple

from inception_lab import lens
from inception_lab.lens.network import Network, geometry

CLASSES = "linear"  # the stage whose units are the classes: they have a logit and no map


class Stage(NamedTuple):
    """A stage, its paths in the order of its channels, and what it reads."""

    name: str
    paths: dict[str, int]  # as `lens` names them, "inception_4a.five", with their channels
    previous: str  # the stage before that has units, or "image"
    source: str  # the node of the network whose channels the stage reads, or "image"
    map: int  # pixels along a side of its map, 0 for the classes
    fields: list[int]  # of each path: side of the receptive field in pixels, 0 for the classes

    @property
    def units(self) -> int:
        return sum(self.paths.values())


def find_stages(network: Network) -> list[Stage]:
    """The stages of a network in the order that an image passes them, the classes last."""
    by_stage: dict[str, dict[str, int]] = {}
    for path, width in lens.paths(network).items():
        by_stage.setdefault(path.partition(".")[0], {})[path] = width
    sizes = {layer.name.partition(".")[0]: layer.output for layer in geometry(network, network.size).layers}
    found, previous = [], "image"
    for name, paths in by_stage.items():
        if name == CLASSES:
            continue
        boxes = [lens.receptive_field(network, path, 0, 0) for path in paths]
        fields = [right - left for left, _, right, _ in boxes]
        found.append(Stage(name, paths, previous, previous, sizes[name][-1], fields))
        previous = name
    found.append(Stage(CLASSES, {CLASSES: len(network.classes)}, previous, "avg_pool", 0, [0]))
    return found
