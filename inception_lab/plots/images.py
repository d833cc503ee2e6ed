"""Images in rows, with titles and boxes."""

from collections.abc import Sequence
from itertools import product
from math import dist

import numpy as np
from matplotlib.figure import Figure

from inception_lab.plots.style import HIGHLIGHT, INK, Array, draw_box, image_axes, show

Boxes = Sequence[Sequence[float]] | np.ndarray  # (left, top, right, bottom) each


def titled_images(images: Array, titles: list[str], columns: int = 6) -> Figure:
    """Draw images, uint8 (N, 3, H, W), with a title each, so many in a row. Returns the figure."""
    rows = -(-len(titles) // columns)
    figure, axes = image_axes(rows, columns, 1.75 * columns, 2.15 * rows)
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        show(ax, image, title)
    return figure


def image_grid(
    images: Sequence[Array] | Array,
    titles: Sequence[str] | None = None,
    boxes: Sequence[Boxes] | None = None,
    columns: int = 8,
    side: float = 1.15,
) -> Figure:
    """Draw images (H, W, 3) in rows of `columns`, each with its title. Returns the figure.

    boxes: for each image, (left, top, right, bottom) in pixels of rectangles to draw on it, numbered if there are
    several. side: of an image, in inches.
    """
    rows = -(-len(images) // columns)
    high = side + (0.35 if titles else 0.05)
    figure, axes = image_axes(rows, columns, side * columns, high * rows)
    for i, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
        ax.imshow(image)
        places: list[tuple[float, float]] = []  # of the numbers: each in the corner that is farthest from the others
        inset = 0.04 * len(image)
        for left, top, right, bottom in boxes[i] if boxes else ():
            draw_box(ax, (left - 0.5, top - 0.5, right - 0.5, bottom - 0.5), ec=HIGHLIGHT, lw=1.2)
            corners = product((left + inset, right - inset), (top + inset, bottom - inset))
            places.append(max((min([dist(c, p) for p in places], default=0), c) for c in corners)[1])
        for number, place in enumerate(places if len(places) > 1 else (), 1):
            frame = dict(boxstyle="square,pad=0.1", fc="white", ec="none", alpha=0.8)
            ax.text(*place, str(number), ha="center", va="center", fontsize=6, color=INK, bbox=frame)
        if titles:
            ax.set_title(titles[i], loc="center", fontsize=8)
    return figure
