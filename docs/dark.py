"""Figures as a dark page shows them: what is drawn has its lightness turned over, and photographs stay as they are."""

import numpy as np
from PIL import Image

BLOCK = 8  # pixels along one side of the squares that are looked at
COLORS = 8  # a square of so many colors and hardly any white belongs to a photograph: letters and lines stand on white
DARK = np.array([18.0, 22.0, 30.0])  # the color of a dark page, which white becomes
SIDE = 4  # squares; less high or wide than that are letters in a box, or what JPEG leaves around a line
FLAT = 4  # colors that fill half of what is not white make a drawing, also where it is full of letters
PLAIN = 0.35  # of a figure, or more, is plain white paper; a picture with less is shown as it is


def variant(picture: Image.Image) -> Image.Image | None:
    """The figure in light letters on dark paper, or None for a picture that is not drawn on white paper."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float64)
    if (pixels.min(axis=2) > 250).mean() < PLAIN:
        return None
    # Turned over along the grays: black and white change places, and each color keeps its hue.
    lightness = (pixels.max(axis=2, keepdims=True) + pixels.min(axis=2, keepdims=True)) / 2
    paper = (255 - lightness) / 255
    turned = np.clip(pixels - lightness + DARK + (235 - DARK) * paper, 0, 255)
    kept = photographs(pixels)
    turned[kept] = pixels[kept]
    return Image.fromarray(turned.astype(np.uint8))


def codes_of(pixels: np.ndarray) -> np.ndarray:
    """One number for each color of (..., 3)."""
    return pixels.astype(int) @ [65536, 256, 1]


def photographs(pixels: np.ndarray) -> np.ndarray:
    """Which pixels of (height, width, 3) lie in squares of many colors, or between such squares: (height, width)."""
    from scipy import ndimage

    height, width = (size // BLOCK for size in pixels.shape[:2])
    codes = codes_of(pixels[: height * BLOCK, : width * BLOCK])
    squares = codes.reshape(height, BLOCK, width, BLOCK).swapaxes(1, 2).reshape(height, width, -1)
    white = (squares == 0xFFFFFF).mean(axis=-1)
    many = ((np.diff(np.sort(squares), axis=-1) > 0).sum(axis=-1) >= COLORS) & (white < 0.05)
    found = np.zeros(pixels.shape[:2], dtype=bool)
    inked = pixels.min(axis=2) < 250
    regions, _ = ndimage.label(ndimage.binary_closing(many) | many)
    for rows, columns in ndimage.find_objects(regions):
        if min(rows.stop - rows.start, columns.stop - columns.start) < SIDE:
            continue
        top, bottom = max(rows.start - 1, 0) * BLOCK, (rows.stop + 1) * BLOCK
        left, right = max(columns.start - 1, 0) * BLOCK, (columns.stop + 1) * BLOCK
        part = inked[top:bottom, left:right]
        flat = np.unique(codes_of(pixels[top:bottom, left:right][part] // 8), return_counts=True)[1]
        if np.sort(flat)[-FLAT:].sum() > 0.5 * flat.sum():
            continue
        ys, xs = np.flatnonzero(part.mean(axis=1) > 0.5), np.flatnonzero(part.mean(axis=0) > 0.5)
        if len(ys) and len(xs):
            found[top + ys[0] : top + ys[-1] + 1, left + xs[0] : left + xs[-1] + 1] = True
    return found
