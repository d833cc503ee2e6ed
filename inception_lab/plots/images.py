"""Images in rows, with titles, boxes and crops."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from inception_lab.plots.style import HIGHLIGHT, INK, LIGHT


def titled_images(images, titles: list[str], columns: int = 6):
    """Draw images, uint8 (N, 3, H, W), with a title each, so many in a row. Returns the figure."""
    rows = -(-len(titles) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.75 * columns, 2.15 * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        ax.imshow(np.asarray(image).transpose(1, 2, 0))
        ax.set_title(title, fontsize=8, loc="center")
    return figure


def image_grid(images, titles=None, boxes=None, columns: int = 8, side: float = 1.15):
    """Draw images (H, W, 3) in rows of `columns`, each with its title. Returns the figure.

    boxes: for each image, (left, top, right, bottom) in pixels of rectangles to draw on it, numbered if there are
    several. side: of an image, in inches.
    """
    rows = -(-len(images) // columns)
    high = side + (0.35 if titles else 0.05)
    figure, axes = plt.subplots(rows, columns, figsize=(side * columns, high * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for i, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
        ax.imshow(image)
        for number, (left, top, right, bottom) in enumerate(boxes[i] if boxes else (), 1):
            corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
            ax.add_patch(Rectangle(corner, *size, fill=False, ec=HIGHLIGHT, lw=1.2))
            if len(boxes[i]) > 1:
                box = dict(boxstyle="square,pad=0.1", fc="white", ec="none", alpha=0.8)
                ax.text(left + 1, top + 1, number, ha="left", va="top", fontsize=6, color=INK, bbox=box)
        if titles:
            ax.set_title(titles[i], loc="center", fontsize=8)
    return figure


def crop_boxes(photograph, boxes: dict):
    """Draw boxes (left, top, right, bottom), in pixels, on a photograph (H, W, 3), a panel a title.

    boxes: title → (squares, views): the squares are drawn dashed, each a little smaller than the one before, so that
    edges in one place can be told apart; the views in light blue, and the last of them in orange. Returns the figure.
    """
    figure, axes = plt.subplots(1, len(boxes), figsize=(11, 2.7))
    for ax, (title, (squares, views)) in zip(axes, boxes.items(), strict=True):
        ax.imshow(photograph, alpha=0.6)
        inset = [(box + 4 * i * np.array([1, 1, -1, -1])) for i, box in enumerate(np.asarray(squares))]
        styles = [(box, dict(ec=INK, ls="--", lw=1.2)) for box in inset]
        colors = [LIGHT] * (len(views) - 1) + [HIGHLIGHT]
        styles += [(box, dict(ec=color, lw=1.5)) for box, color in zip(views, colors, strict=True)]
        for (left, top, right, bottom), style in styles:
            box = Rectangle((left, top), right - left, bottom - top, fill=False, clip_on=False, **style)
            ax.add_patch(box)
        ax.set_title(title, fontsize=9, loc="center")
        ax.axis("off")
    return figure
