"""Networks with published weights, as `predict` takes a run: on a tree of ImageNet, whose classes are WordNet ids."""

from typing import Any

import torch
from torch import nn

from inception_lab import hub
from inception_lab.data import Folder, datasets
from inception_lab.data.folders import IMAGENET_MEAN, IMAGENET_STD
from inception_lab.models import zoo
from inception_lab.training.recipes import Recipe


def load_published(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """The network and what `training.load_model` gives with one; DataError where its weights cannot be got.

    Images are normalized as its publisher does, and cut to the size that it was published for.
    """
    from torchvision.models import GoogLeNet_Weights

    model: nn.Module
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if name == "googlenet":
        found = hub.pretrained(name)
        model, mean, std = found.network, found.mean, found.std
    else:
        model = zoo.build(name, weights="imagenet")
        theirs = getattr(model, "pretrained_cfg", {})  # timm's
        mean, std = theirs.get("mean", mean), theirs.get("std", std)
    recipe = Recipe(name, name, data="ILSVRC-2012", image_size=zoo.entry(name).input_size)
    classes = GoogLeNet_Weights.IMAGENET1K_V1.meta["categories"]
    return model.eval(), {"recipe": recipe, "classes": classes, "mean": mean, "std": std}


def wordnet_numbers(images: Any) -> torch.Tensor:
    """The number, from 0 to 999, of each class of a tree of ImageNet: of all of it, or of some classes.

    Raises ValueError for images that are in no such tree.
    """
    from timm.data import ImageNetInfo

    while isinstance(images, datasets.Part):
        images = images.data
    ids = {wordnet_id: number for number, wordnet_id in enumerate(ImageNetInfo().label_names())}
    names = images.folders if isinstance(images, Folder) else images.classes
    for name in names:
        if name not in ids:
            raise ValueError(
                "data must have folders named by WordNet ids of ILSVRC-2012, such as n01440764, for a published "
                f"network, got {name!r}"
            )
    return torch.tensor([ids[name] for name in names])
