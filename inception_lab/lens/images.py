"""Photographs of any kind as tensors, and sets of images a batch at a time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as F

from inception_lab.common.checks import DataError
from inception_lab.data.folders import _to_rgb, fit
from inception_lab.data.shapes import Shapes
from inception_lab.lens.network import Network


def photograph(source, size: int | None = None, longest: int | None = None) -> torch.Tensor:
    """A photograph of any mode and size as float32 (1, 3, H, W) from 0 to 1.

    source: a file, a PIL image, or an array or tensor of 8-bit values or of floats from 0 to 1, (H, W), (H, W, 1), (H,
    W, 3) or with a fourth channel for opacity; also (3, H, W) if it is a tensor. What is transparent shows white.
    size: scale its shorter side to so many pixels and cut the center square. longest: scale it down until no side has
    more pixels. Raises ValueError for anything else, and for a file that is no image.
    """
    image = F.pil_to_tensor(_open(source))[None].float() / 255
    if size is not None:
        return fit(image, size).clamp(0, 1)
    if longest is not None and max(image.shape[-2:]) > longest:
        share = longest / max(image.shape[-2:])
        sides = [max(1, round(side * share)) for side in image.shape[-2:]]
        image = F.resize(image, sides, antialias=True).clamp(0, 1)
    return image


def _open(source) -> Image.Image:
    if isinstance(source, str | Path):
        if Path(source).is_dir():
            raise ValueError(f"source must be an image file, and {source} is a folder: datasets.load reads folders")
        try:
            with Image.open(source) as image:
                return _to_rgb(image)
        except (OSError, ValueError) as error:
            raise ValueError(f"source must be an image file, and {source} cannot be read as one ({error})") from error
    if isinstance(source, Image.Image):
        return _to_rgb(source)
    if isinstance(source, torch.Tensor):
        source = source.squeeze(0) if source.ndim == 4 else source
        source = source.permute(1, 2, 0) if source.ndim == 3 and source.shape[0] in (1, 3, 4) else source
        source = source.detach().cpu().numpy()
    pixels = np.asarray(source)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype.kind == "f" and pixels.size and pixels.min() >= 0 and pixels.max() <= 1:
        pixels = (pixels * 255 + 0.5).astype(np.uint8)
    layout = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if not layout or not pixels.size or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            "source must be an image file, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of 8-bit values or "
            f"of floats from 0 to 1, got {pixels.dtype} {pixels.shape}"
        )
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.int64) + 128) // 257).astype(np.uint8)
    return _to_rgb(Image.fromarray(pixels))


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
