"""Photographs of any kind as tensors, and sets of images a batch at a time."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from inception_lab.common.checks import DataError
from inception_lab.data.pictures import fit
from inception_lab.data.shapes import Shapes
from inception_lab.lens.network import Network


def batches(data: Dataset | torch.Tensor, network: Network, batch: int) -> Iterator[torch.Tensor]:
    """The images of a set in order, (n, 3, size, size) at the network's size, up to `batch` at once.

    data: a set of `datasets.load`, or images (N, 3, H, W). Raises DataError, a ValueError, for a set without images.
    """
    if not len(data):
        raise DataError("data must have at least one image, got none")
    images = data if isinstance(data, torch.Tensor) else getattr(data, "images", None)
    if images is not None:
        for some in images.split(batch):
            yield _fitted(some, network.size)
    elif isinstance(data, Shapes):
        for start in range(0, len(data), batch):
            yield _fitted(data.batch(range(start, min(start + batch, len(data))))[0], network.size)
    else:
        for samples in DataLoader(data, batch, collate_fn=list):
            yield torch.stack([_fitted(image, network.size) for image, _ in samples])


def image(data: Dataset | torch.Tensor, i: int, network: Network) -> torch.Tensor:
    """One image of a set at the network's size, uint8 or float (3, size, size)."""
    return _fitted(data[i] if isinstance(data, torch.Tensor) else data[i][0], network.size)


def _fitted(images: torch.Tensor, size: int) -> torch.Tensor:
    return images if images.shape[-2:] == (size, size) else fit(images, size)
