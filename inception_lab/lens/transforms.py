"""What happens to an image before the network sees it, drawn anew in each step, so that what is found survives it.

    transforms = [jitter(8), affine(scales=(0.9, 1.1), degrees=10), jitter(4)]
    transforms = []                        # none: the network is attacked, not asked

A transform is a function of images (N, 3, H, W) and a `random.Random`, and gives images of the same size. All images
of a batch are moved alike, so that what comes out for an image does not depend on its company.
"""

import math
import random
from collections.abc import Callable

import torch
from torch.nn import functional

Transform = Callable[[torch.Tensor, random.Random], torch.Tensor]


def jitter(pixels: int) -> Transform:
    """Shift by up to so many pixels in each direction; what comes in at the edge is a reflection."""

    def shift(images: torch.Tensor, rng: random.Random) -> torch.Tensor:
        height, width = images.shape[2:]
        d = min(pixels, height - 1, width - 1)
        top, left = rng.randint(0, 2 * d), rng.randint(0, 2 * d)
        return functional.pad(images, (d, d, d, d), mode="reflect")[:, :, top : top + height, left : left + width]

    return shift


def affine(scales: tuple[float, float] = (1.0, 1.0), degrees: float = 0.0) -> Transform:
    """Scale by a factor between two, and turn by up to so many degrees, around the center."""

    def turn(images: torch.Tensor, rng: random.Random) -> torch.Tensor:
        factor, angle = rng.uniform(*scales), math.radians(rng.uniform(-degrees, degrees))
        c, s = math.cos(angle) / factor, math.sin(angle) / factor
        matrix = images.new_tensor([[c, -s, 0], [s, c, 0]])
        grid = functional.affine_grid(matrix[None], [1, *images.shape[1:]], align_corners=False)
        grid = grid.expand(len(images), -1, -1, -1)
        return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    return turn


def standard(size: int) -> list[Transform]:
    """Lucid's usual transforms, their shifts in proportion to the image: 8 and 4 pixels at 128."""
    return [jitter(max(1, size // 16)), affine((0.9, 1.1), 10), jitter(max(1, size // 32))]
