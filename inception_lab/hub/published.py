"""The published GoogLeNet: our modules with BVLC's weights, and what belongs to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from inception_lab.common.checks import DataError, check_one_of, check_whole
from inception_lab.hub import names, sources
from inception_lab.models import DESIGNS, GoogLeNet, build, zoo

if TYPE_CHECKING:
    import pandas as pd

    from inception_lab.data.pictures import Source

# `inception_lab.data`, torchvision and pandas take seconds to import. What needs them imports them itself.


class Accuracy(NamedTuple):
    """What the publisher states, in per cent, and for which images."""

    top1: float
    top5: float
    images: str


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A published network with what belongs to it.

    network: in evaluation mode; what `preprocess` gives → logits (N, 1000). categories: the classes' names. source: who
    published it, and where the weights lie. mean, std: of each channel, red first, for images from 0 to 1.
    """

    network: GoogLeNet
    categories: list[str]
    source: str
    accuracy: Accuracy
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: int = 224

    def preprocess(self, photograph: "Source") -> torch.Tensor:
        """A photograph as the network takes it, normalized, (1, 3, size, size): see `data.crops.center_view`."""
        from inception_lab.data import crops, pictures

        return pictures.standardize(crops.center_view(photograph, self.size), self.mean, self.std)

    @torch.no_grad()
    def guess(self, photograph: "Source", top: int = 5) -> list[tuple[str, float]]:
        """The most probable categories of a photograph, each with its probability, the most probable first.

        Raises ValueError for a `top` that is not from 1 to the number of categories.
        """
        return most_probable(self.network(self.preprocess(photograph)), self.categories, top)


def most_probable(logits: torch.Tensor, categories: Sequence[str], top: int = 5) -> list[tuple[str, float]]:
    """The most probable categories by the logits of one image, (1, C), each with its probability, in their order."""
    top = check_whole("top", top, 1, len(categories))
    best = logits.softmax(1)[0].topk(top)
    return [(categories[i], p) for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]


def pretrained(name: str = "googlenet", *, download: bool = False, heads: bool = False) -> Pretrained:
    """The published GoogLeNet (BVLC), which S. Guadarrama trained on ILSVRC-2012: every channel of Table 1 as printed.

    download: fetch the weights if they are not here; see `sources`. heads: with both auxiliary heads, which only the
    original .caffemodel has. Raises DataError where the weights are not here, or not whole.

    Caffe's networks take blue first, from 0 to 255. Here, once and for all, conv1's input channels are turned around
    and the scale goes to `std`, so that whatever comes after knows red, green and blue from 0 to 1.
    """
    check_one_of("name", name, ["googlenet"])
    from torchvision.models import GoogLeNet_Weights  # BVLC's classes are in its order

    place = sources.fetch() if download else sources.where()
    if place is None:
        raise DataError(
            "the weights of the published GoogLeNet are not here: `inception-lab pretrained googlenet` fetches them "
            "(28 MB), and so does pretrained('googlenet', download=True)"
        )
    tensors = sources.read(place)
    if not heads:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(sources.HEADS)}
    elif not any(name.startswith(sources.HEADS) for name in tensors):
        raise DataError(f"{place} has no heads: docs/weights.md says how to get the original, which has them")
    tensors["conv1/7x7_s2.weight"] = tensors["conv1/7x7_s2.weight"].flip(1)
    with torch.device("meta"):
        network = GoogLeNet(DESIGNS["googlenet"], aux=heads)
    names.load(network, tensors, names.CAFFE)
    return Pretrained(
        network.eval(),
        GoogLeNet_Weights.IMAGENET1K_V1.meta["categories"],
        f"BVLC GoogLeNet (S. Guadarrama), trained on ILSVRC-2012, {place}",
        Accuracy(68.7, 88.9, "ILSVRC-2012 validation, center crop"),
        mean=(123 / 255, 117 / 255, 104 / 255),
        std=(1 / 255, 1 / 255, 1 / 255),
    )


def overview() -> "pd.DataFrame":
    """One row per network with published weights: who hands them out, how large they are, and where they are."""
    import pandas as pd
    from torchvision.models import get_model_weights

    rows = [("googlenet", "BVLC", "28 MB", sources.where())]
    for name, (publisher, model) in zoo.PUBLISHERS.items():
        with torch.device("meta"):
            megabytes = sum(4 * tensor.numel() for tensor in build(name).state_dict().values()) / 1e6
        place = Path()
        if publisher == "torchvision":
            url = get_model_weights(model)["IMAGENET1K_V1"].url
            place = sources.cached().parent / Path(url).name
        rows.append((name, publisher, f"{megabytes:.0f} MB", place if place.is_file() else None))
    return pd.DataFrame(rows, columns=["network", "publisher", "size", "where"])
