"""What the modules of this package agree on: the splits, a set of images, and a batch of images."""

from pathlib import Path

import torch
from torch.utils.data import Dataset

SPLITS = ("train", "val", "test")

RGB = tuple[float, float, float]  # a number for each channel


class ImageSet(Dataset[tuple[torch.Tensor, int]]):
    """What every set of images has: `len`, samples, the names of the classes, and what to normalize with.

    A sample is an image, uint8 (3, H, W), and the number of its class. mean, std: of each channel, for images from 0
    to 1. Sets in memory also have all `images`, uint8 (N, 3, H, W), and all `labels`, int64 (N,).
    """

    classes: list[str]
    mean: RGB
    std: RGB

    def __len__(self) -> int:
        raise NotImplementedError


def check_images(images: torch.Tensor, dtype: torch.dtype | None = torch.uint8) -> None:
    """Raise ValueError unless `images` is a batch (N, 3, H, W), and of that type if one is given."""
    shape = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
    if not isinstance(images, torch.Tensor) or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ValueError(f"images must be a batch (N, 3, H, W), got {shape}")
    if dtype is not None and images.dtype != dtype:
        raise ValueError(f"images must be {dtype}, got {images.dtype}")


def printable(name: str | Path) -> str:
    """The name of a file or class, with escapes for newlines, control characters and bytes that are not UTF-8."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(name))
