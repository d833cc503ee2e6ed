"""The colors of the course and its Matplotlib style.

One color stands for each path of a module in every figure. The colors are those of Okabe and Ito, which
color-blind readers can tell apart.
"""

import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap

PATHS = {"one": "#0072B2", "three": "#E69F00", "five": "#009E73", "pool": "#CC79A7"}
PATH_LABELS = {"one": "1×1", "three": "3×3", "five": "5×5", "pool": "pool"}
INK, QUIET, HIGHLIGHT, LIGHT = "#222222", "#9a9a9a", "#D55E00", "#56B4E9"  # for everything that is no path


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


def path_bar(ax, path: str, side: str = "left") -> None:
    """A bar in the color of a path beside an image, at its left or on top; orange letters would be hard to read."""
    place = ([-0.05, -0.05], [0, 1]) if side == "left" else ([0, 1], [1.02, 1.02])
    ax.plot(*place, color=PATHS[path], lw=3, transform=ax.transAxes, clip_on=False)


def ramp(color):
    return LinearSegmentedColormap.from_list("ramp", ["#ffffff", color])
