"""Figures of costs, sizes, scales and seconds."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inception_lab.plots.style import HIGHLIGHT, INK, PATH_LABELS, PATHS, QUIET, Array, draw_box

COSTS = {"MACs": (1e9, "billion MACs per image"), "parameters": (1e6, "million parameters")}  # unit and label


def cost_by_module(macs: pd.DataFrame) -> Axes:
    """Draw the MACs of successive modules, one line per column of `macs`. Returns the axes."""
    ax = (macs / 1e6).plot(marker="o", xlabel="module", ylabel="million MACs", xticks=list(macs.index))
    ax.set_ylim(0, None)
    ax.set_title(f"MACs of each of {len(macs)} modules in a row")
    return ax


def path_costs(costs: pd.DataFrame) -> Axes:
    """Draw the MACs of a naive and a reduced module, one bar each, striped by path. Returns the axes.

    costs: what `costs_by_path` gives.
    """
    macs = costs[["reduced MACs", "naive MACs"]].rename(columns=lambda name: name.removesuffix(" MACs")).T / 1e6
    ax = macs.rename(columns=PATH_LABELS).plot.barh(stacked=True, color=list(PATHS.values()), figsize=(8, 2.4))
    ax.set(xlabel="million MACs", title="MACs of one module by path")
    ax.legend(title="path", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def error_against_cost(ladder: pd.DataFrame) -> Figure:
    """Draw top-5 error against MACs and against parameters, on logarithmic axes, one color per test setting.

    ladder: DataFrame with the columns network, setting, MACs, parameters, error; two settings. The first one's
    points are labeled on their left (the costliest network's is not: it is crowded), the second one's on their
    right. Returns the figure.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    crowded = ladder.loc[ladder["MACs"] == ladder["MACs"].max(), "network"].iloc[0]
    for ax, (column, (unit, label)) in zip(axes, COSTS.items(), strict=True):
        for side, (setting, rows) in zip((-1, 1), ladder.groupby("setting", sort=False), strict=True):
            ax.scatter(rows[column] / unit, rows["error"], label=setting)
            place = dict(ha="left" if side > 0 else "right", va="center", textcoords="offset points", fontsize=8)
            for row in rows.itertuples():
                if side < 0 and row.network == crowded:  # no room between its neighbor and itself
                    continue
                ax.annotate(row.network, (getattr(row, column) / unit, row.error), (8 * side, 0), **place)
        ax.set(xscale="log", yscale="log", xlabel=label, yticks=[8, 10, 12, 15, 20], ylim=(7.5, 24))
        ax.margins(x=0.3)
        ax.minorticks_off()
        ax.xaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_major_formatter("{x:g}")
    axes[0].set(ylabel="top-5 error (%)", title="Error against work")
    axes[1].set_title("Error against size")
    axes[0].legend(fontsize=8)
    return figure


def object_and_kernels(photograph: Array, box: Sequence[int], kernels: Mapping[int, Array]) -> Figure:
    """Draw a gray photograph (H, W), a square box (top, left, side) in it, and kernels by size.

    The kernels are to scale among themselves, not with the photograph. Returns the figure.
    """
    top, left, side = box
    sizes = list(kernels)
    figure, axes = plt.subplots(1, len(kernels) + 1, figsize=(9, 3), width_ratios=[1.3 * max(sizes), *sizes])
    axes[0].imshow(photograph)
    draw_box(axes[0], (left, top, left + side, top + side), ec=HIGHLIGHT, lw=2)
    axes[0].set_title(f"the object: {side} pixels wide", loc="center")
    for ax, (size, kernel) in zip(axes[1:], kernels.items(), strict=True):
        ax.imshow(kernel)
        ax.set_title(f"{size}×{size}", loc="center", fontsize=8)
    for ax in axes:
        ax.axis("off")
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
    ticks = sorted(scores["size"].unique())[::2]
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
    """Each layer's speed against its work per byte, under the two limits of the machine.

    layers: macs, bytes, seconds and kernel, one row per layer. peak: multiply-accumulates a
    second. bandwidth: bytes per second. Returns the axes.
    """
    intensity, speed = layers["macs"] / layers["bytes"], layers["macs"] / layers["seconds"] / 1e9
    reach = np.geomspace(min(intensity.min(), peak / bandwidth) / 2, intensity.max() * 2, 100)
    ax.plot(reach, np.minimum(peak, reach * bandwidth) / 1e9, color=INK)
    colors = dict(zip(sorted(layers["kernel"].unique()), (QUIET, HIGHLIGHT, "#8C6D1F", "#3B6EA8"), strict=False))
    for kernel, color in colors.items():
        chosen = layers["kernel"] == kernel
        ax.scatter(intensity[chosen], speed[chosen], color=color, label=f"{kernel} convolution", s=24)
    ax.set(xscale="log", yscale="log", xlabel="MACs per byte that has to move", ylabel="billion MACs per second")
    ax.legend()
    return ax
