"""Figures of costs, sizes, scales and seconds, and how a point says more when the mouse is on it."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from inception_lab.plots.style import HIGHLIGHT, INK, KERNELS, LIGHT, QUIET, Array, draw_box, panels

COSTS = {"MACs": (1e9, "billion MACs per image"), "parameters": (1e6, "million parameters")}  # unit and label


def cost_by_module(macs: pd.DataFrame) -> Axes:
    """Draw the MACs of successive modules, one line per column of `macs`. Returns the axes."""
    ax = (macs / 1e6).plot(marker="o", xlabel="module", ylabel="million MACs", xticks=list(macs.index))
    ax.set(ylim=(0, None), title=f"MACs of each of {len(macs)} modules in a row")
    return ax


def error_against_cost(ladder: pd.DataFrame) -> Figure:
    """Draw top-5 error against MACs and against parameters, on logarithmic axes, one color per test setting.

    ladder: DataFrame with the columns network, setting (one of two), MACs, parameters, error. Names stand to the left
    of the first setting's rings (below the costliest, for room), to the right of the second's dots. Returns the figure.
    """
    figure, drawn = panels(COSTS, 11, 4.4, sharey=True)
    crowded = ladder.loc[ladder["MACs"] == ladder["MACs"].max(), "network"].iloc[0]
    for ax, column, (unit, label) in drawn:
        sides = zip((-1, 1), (HIGHLIGHT, INK), ladder.groupby("setting", sort=False), strict=True)
        for side, color, (setting, rows) in sides:
            inside = "none" if side < 0 else color  # rings around dots: none hides another
            ax.plot(rows[column] / unit, rows["error"], "o", color=color, mfc=inside, ms=7 - 2 * side, label=setting)
            for name, cost, error in zip(rows["network"], rows[column] / unit, rows["error"], strict=True):
                below = side < 0 and name == crowded
                place: Any = dict(ha="left" if side > 0 or below else "right", va="top" if below else "center")
                offset = (4, -6) if below else (8 * side, 0)
                ax.annotate(name, (cost, error), offset, textcoords="offset points", fontsize=9, color=color, **place)
        ax.set(xscale="log", yscale="log", xlabel=label, yticks=[8, 10, 12, 15, 20], ylim=(7.5, 24))
        ax.margins(x=0.3)
        ax.minorticks_off()
        ax.xaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_major_formatter("{x:g}")
    figure.axes[0].set(ylabel="top-5 error (%)", title="Error against work (logarithmic axes)")
    figure.axes[1].set(title="Error against size (logarithmic axes)")
    figure.axes[0].legend(fontsize=8)
    return figure


def frontier(points: pd.DataFrame, cost: str, error: str = "error") -> pd.DataFrame:
    """The rows that no other row beats: none is at most as costly and at most as wrong, and better in one of the two.

    points: DataFrame with both columns, lower is better in both. The cheapest comes first.
    """
    ordered = points.sort_values([cost, error])
    return ordered[ordered[error] < ordered[error].astype(float).cummin().shift(fill_value=float("inf"))]


def accuracy_cost(points: pd.DataFrame) -> Figure:
    """Draw error against MACs and against parameters, each with its frontier; returns a figure for `with_notes`.

    points: DataFrame with the columns network, MACs, parameters, error, and setting: a color each. The label of a
    point is left out where `label` is "", and to its left where `left` is true. A point's gid is "MACs-0",
    "parameters-0" and so on, in the order of the rows.
    """
    figure, drawn = panels(COSTS, 11, 4.6, sharey=True)
    colors = dict(zip(points["setting"].unique(), (HIGHLIGHT, INK, LIGHT, QUIET), strict=False))
    for ax, cost, (unit, label) in drawn:
        best = frontier(points, cost)
        ax.step(best[cost] / unit, best["error"], where="post", color=QUIET, lw=1, ls="--", label="frontier")
        row: Any
        for i, row in enumerate(points.itertuples()):
            x = getattr(row, cost) / unit
            ax.plot(x, row.error, "o", ms=8, color=colors[row.setting], alpha=0.8, gid=f"{cost}-{i}")
            place: Any = dict(xytext=(-7, -3), ha="right") if getattr(row, "left", False) else dict(xytext=(6, 5))
            ax.annotate(row.label, (x, row.error), textcoords="offset points", fontsize=8, **place)
        ax.set(xscale="log", xmargin=0.26, xlabel=label, title=f"Error against {cost}")
        ax.xaxis.set_major_formatter("{x:g}")
    for setting, color in colors.items():
        figure.axes[0].plot([], [], "o", color=color, label=setting)
    figure.axes[0].set(ylabel="top-5 error (%)")
    figure.axes[0].legend(fontsize=8)
    return figure


def with_notes(figure: Figure, notes: dict[str, str], alt: str) -> HTML:
    """The figure as an image in which the points of these gids show a note under the mouse; closes the figure.

    The notes are the titles of invisible elements above the points. There is no script in it, so that it works offline,
    in a notebook that has not been run yet, and in a page made from one. alt: what the figure shows, in words. Raises
    ValueError for a gid that no line of the figure has.
    """
    figure.canvas.draw()
    lines = {line.get_gid(): (ax, line) for ax in figure.axes for line in ax.lines}
    spots = []
    for gid, note in notes.items():
        if gid not in lines:
            raise ValueError(f"notes must be for points of the figure, which has none with gid {gid!r}")
        ax, line = lines[gid]
        x, y = ax.transData.transform(np.asarray(line.get_xydata())[0]) / figure.bbox.size
        place = f"position: absolute; left: {100 * x - 0.6:.2f}%; top: {98.6 - 100 * y:.2f}%; width: 1.2%; height: 2.8%"
        spots.append(f'<span title="{html.escape(note)}" style="{place}"></span>')
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figure.dpi, metadata={"Software": None})
    width = round(figure.bbox.width)
    plt.close(figure)
    image = f'<img src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}" alt="{html.escape(alt)}"'
    box = f'<div style="position: relative; width: 100%; max-width: {width}px">'
    return HTML(box + image + ' style="display: block; width: 100%">' + "".join(spots) + "</div>")


def object_and_kernels(photograph: Array, box: Sequence[int], kernels: Mapping[int, Array]) -> Figure:
    """Draw a gray photograph (H, W), a square box (top, left, side) in it, and kernels by size.

    The kernels are to scale among themselves, not with the photograph. Returns the figure.
    """
    top, left, side = box
    images = {f"the object: {side} pixels wide": photograph} | {f"{size}×{size}": k for size, k in kernels.items()}
    figure, drawn = panels(images, 9, 2.6, width_ratios=[2, *(1 for _ in kernels)])
    for ax, title, image in drawn:
        ax.imshow(image)
        ax.set_title(title, loc="center", fontsize=9)
        ax.axis("off")
        near, far = (len(image) - max(kernels)) / 2, (len(image) + max(kernels)) / 2  # the room of the largest kernel
        if image is not photograph:
            ax.set(xlim=(near, far), ylim=(far, near))
    draw_box(figure.axes[0], (left, top, left + side, top + side), ec=HIGHLIGHT, lw=2)
    return figure


def tuning_curves(scores: pd.DataFrame) -> Axes:
    """Draw the score of fixed kernels against the size of the object: one line per kernel, filled where it is found.

    scores: DataFrame with the columns kernel, size (pixels), on (best score on the object), elsewhere.
    Returns the axes.
    """
    ax = plt.subplots(figsize=(9, 3.8))[1]
    for kernel, rows in scores.groupby("kernel"):
        (line,) = ax.plot(rows["size"], rows["on"], label=f"{kernel}×{kernel}")
        found = rows["on"] > rows["elsewhere"]
        ax.scatter(rows["size"], rows["on"], color=np.where(found, line.get_color(), "white"), ec=line.get_color())
    ticks = sorted(scores["size"].unique())
    ax.set(xscale="log", xticks=ticks, xticklabels=ticks, ylim=(None, 1.05))
    ax.minorticks_off()
    ax.set(xlabel="width of the object in the image (pixels)", ylabel="correlation at the object")
    ax.set_title("Each kernel is tuned to one size (filled: the best match in the image is on the object)")
    ax.legend(title="kernel", ncols=2)
    return ax


def share_of_variance(curves: dict[str, Array], title: str, ax: Axes | None = None) -> Axes:
    """Draw the share of variance of the n best combinations: name → cumulative shares. Returns the axes."""
    ax = ax or plt.subplots()[1]
    for name, shares in curves.items():
        ax.plot(range(1, len(shares) + 1), 100 * shares, marker=".", label=name)
    ax.axhline(95, color=QUIET, lw=0.8, ls="--")
    ax.set(xscale="log", xlabel="number of combinations", ylabel="share of variance (%)", title=title)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend()
    return ax


def roofline(ax: Axes, layers: pd.DataFrame, peak: float, bandwidth: float) -> Axes:
    """Each layer's speed against its work per byte, under the two limits of the machine. Returns the axes.

    layers: macs, bytes, seconds and kernel, one row per layer. peak: MACs per second. bandwidth: bytes per second.
    """
    intensity, speed = layers["macs"] / layers["bytes"], layers["macs"] / layers["seconds"] / 1e9
    ridge = peak / bandwidth  # where the two straight parts meet
    reach = np.array([min(intensity.min(), ridge) / 2, ridge, 2 * max(intensity.max(), ridge)])
    ax.plot(reach, np.minimum(peak, reach * bandwidth) / 1e9, color=INK, label="limits of the machine")
    for kernel, chosen in layers.groupby("kernel").groups.items():
        color = KERNELS.get(str(kernel), QUIET)
        ax.scatter(intensity[chosen], speed[chosen], color=color, label=f"{kernel} convolution", s=24)
    ax.set(xscale="log", yscale="log", xlabel="MACs per byte that has to move", ylabel="billion MACs per second")
    ax.set_title("Speed of each convolution under the limits of the machine")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        axis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))  # points may lie anywhere under the limits
    return ax
