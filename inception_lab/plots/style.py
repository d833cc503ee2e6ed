"""The colors of the course and its Matplotlib style.

One color stands for each path of a module in every figure. The colors are those of Okabe and Ito, which
color-blind readers can tell apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from inception_lab.models.designs import Design

Array = np.ndarray | torch.Tensor
Content = TypeVar("Content")

PATHS = {"one": "#0072B2", "three": "#E69F00", "five": "#009E73", "pool": "#CC79A7"}
PATH_LABELS = {"one": "1×1", "three": "3×3", "five": "5×5", "pool": "pool"}
KERNELS = {PATH_LABELS[path]: color for path, color in PATHS.items()}  # a kernel size has the color of its path
INK, QUIET, HIGHLIGHT, LIGHT = "#222222", "#9a9a9a", "#D55E00", "#56B4E9"  # for everything that is no path


def path_labels(design: Design) -> dict[str, str]:
    """PATH_LABELS as a design has its paths: torchvision's 5×5 path holds 3×3 kernels, and its label says so."""
    three, five = design.three_by_three.replace("x", "×"), design.five_by_five.replace("x", "×")
    return PATH_LABELS | {"three": three, "five": five if five == "5×5" else f"{five} (for 5×5)"}


def use_style() -> None:
    """Set the course's Matplotlib style: call once at the top of a notebook."""
    plt.rcParams.update(
        {
            "figure.figsize": (8, 3.6),
            "figure.dpi": 90,
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.prop_cycle": plt.cycler(color=[HIGHLIGHT, INK, LIGHT, QUIET, "#8C6D1F"]),
            "axes.edgecolor": QUIET,
            "axes.labelcolor": INK,
            "image.cmap": "gray",
            "legend.frameon": False,
        }
    )


def path_bar(ax: Axes, path: str, side: str = "left") -> None:
    """A bar in the color of a path beside an image, at its left or on top; orange letters would be hard to read."""
    place = ([-0.05, -0.05], [0, 1]) if side == "left" else ([0, 1], [1.02, 1.02])
    ax.plot(*place, color=PATHS[path], lw=3, transform=ax.transAxes, clip_on=False)


def ramp(color: str) -> LinearSegmentedColormap:
    """A color map from white to a color."""
    return LinearSegmentedColormap.from_list("ramp", ["#ffffff", color])


def image_axes(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure of so many inches, and its axes (rows, columns), without frames, for images."""
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    return figure, axes


def show(ax: Axes, image: Array, title: str | None = None) -> None:
    """Draw an image (3, H, W), with a small title."""
    ax.imshow(np.asarray(image).transpose(1, 2, 0))
    ax.set_title(title or "", fontsize=8, loc="center")


def panels(
    contents: Mapping[str, Content], width: float, height: float, rows: int = 1, **how: Any
) -> tuple[Figure, list[tuple[Axes, str, Content]]]:
    """A figure of so many inches with panels in rows: each one's axes, title and content. how: for `subplots`."""
    figure, axes = plt.subplots(rows, -(-len(contents) // rows), figsize=(width, height), squeeze=False, **how)
    for ax in axes.flat[len(contents) :]:
        ax.remove()
    return figure, [(ax, *item) for ax, item in zip(axes.flat, contents.items(), strict=False)]


def draw_box(ax: Axes, box: Sequence[float] | Array, **style: Any) -> None:
    """Draw the outline of a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    ax.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **style))
