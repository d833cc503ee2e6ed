"""Trees of ImageNet, whose classes are WordNet ids, for networks with published weights."""

from typing import Any

import torch

from inception_lab.data import Folder, datasets


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
