"""Sprites: many small pictures in one file, so that a page with thousands of them loads a few files, when needed."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inception_lab.common import files

QUALITY = 85  # of lossy WebP, from 0 to 100


def sheet(pictures: torch.Tensor, columns: int) -> torch.Tensor:
    """Pictures of one size in rows of `columns`: uint8 (N, 3, S, S) → (3, rows · S, columns · S), the rest black."""
    count, _, side, _ = pictures.shape
    rows = -(-count // columns)
    cells = pictures.new_zeros(rows * columns, 3, side, side)
    cells[:count] = pictures
    return cells.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).reshape(3, rows * side, columns * side)


def write(path: Path, pictures: torch.Tensor, columns: int) -> None:
    """Write a sheet of the pictures as one WebP file, as a whole or not at all."""
    content = io.BytesIO()
    image = Image.fromarray(sheet(pictures, columns).permute(1, 2, 0).numpy())
    image.save(content, "webp", quality=QUALITY, method=4)
    files.write(path, content.getvalue())


def read(path: Path, side: int, count: int) -> torch.Tensor:
    """The first `count` pictures of a sheet again, uint8 (count, 3, side, side), as far as WebP kept them."""
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB")))
    height, width, _ = pixels.shape
    cells = pixels.view(height // side, side, width // side, side, 3).permute(0, 2, 4, 1, 3)
    return cells.flatten(0, 1)[:count].contiguous()
