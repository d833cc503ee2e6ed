"""Figures of what is inside a network, and of what its paths make of an image."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from inception_lab.plots.style import (
    HIGHLIGHT,
    INK,
    LIGHT,
    PATH_LABELS,
    PATHS,
    QUIET,
    Array,
    draw_box,
    image_axes,
    panels,
    path_bar,
    ramp,
    show,
)


def filters(rows: dict[str, Array]) -> Figure:
    """Draw the filters of a first layer, one row per network: title → weights (C, 3, k, k). Returns the figure.

    Gray is 0, and each filter is scaled to its own largest weight.
    """
    count = max(len(weights) for weights in rows.values())
    figure, axes = image_axes(len(rows), count, 0.62 * count, 0.85 * len(rows))
    for line, (title, weights) in zip(axes, rows.items(), strict=True):
        for ax, kernel in zip(line, np.asarray(weights), strict=False):
            show(ax, kernel / abs(kernel).max() / 2 + 0.5)
        line[0].set_title(" ", fontsize=8)  # leaves a line free; the long title would leave a gap beside its filter
        line[0].text(0, 1.12, title, fontsize=8, transform=line[0].transAxes).set_in_layout(False)
    return figure


def path_maps(
    photograph: Array, maps: dict[str, Array], labels: Mapping[str, str], titles: Sequence[str] = ()
) -> Figure:
    """Draw a photograph (H, W, 3) and, one row per path, some of its maps: path → (n, h, w). Returns the figure.

    labels: what each path is called, `Network.path_labels`. titles: of the columns of maps.
    """
    count = max(len(values) for values in maps.values())
    figure, axes = image_axes(len(maps), count + 1, 1.05 * (count + 1), 1.1 * len(maps))
    for line, (path, values) in zip(axes, maps.items(), strict=True):
        line[0].imshow(photograph)
        line[0].set_title(labels[path], color=INK, fontsize=9)
        path_bar(line[0], path)
        for ax, value in zip(line[1:], np.asarray(values), strict=False):
            ax.imshow(value, cmap=ramp(PATHS[path]))
    for ax, title in zip(axes[0][1:], titles, strict=False):
        ax.set_title(title, fontsize=8, loc="center")
    return figure


def picture_rows(rows: dict[str, Array], titles: list[str] | None = None, side: float = 1.1) -> Figure:
    """Draw rows of images (N, 3, H, W) from 0 to 1, each row with its name on the left. Returns the figure.

    A row of weights (N, h, w) is drawn on a red-blue scale around 0, with a key. A row whose name ends in a path
    ("inception_4a.five") has a bar in its color; one named "five" says "5×5".
    """
    count = max(len(images) for images in rows.values())
    figure, axes = image_axes(len(rows), count, side * count + 1.3, side * len(rows) + 0.25)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        text = PATH_LABELS.get(name, name)
        line[0].text(-0.12, 0.5, text, ha="right", va="center", transform=line[0].transAxes, color=INK, fontsize=9)
        if (path := name.rpartition(".")[2]) in PATHS:
            path_bar(line[0], path)
        if images[0].ndim == 2:
            limit = max(float(abs(weights).max()) for weights in images)
            for ax, weights in zip(line, images, strict=False):
                drawn = ax.imshow(np.asarray(weights), cmap="RdBu_r", vmin=-limit, vmax=limit)
            key = figure.colorbar(drawn, ax=line[-1], shrink=0.9, ticks=[-limit, 0, limit])
            key.ax.set_yticklabels(["inhibits", "0", "excites"], fontsize=8)
            continue
        for ax, image in zip(line, images, strict=False):
            show(ax, image)
    for ax, title in zip(axes[0], titles or [], strict=False):
        ax.set_title(title, fontsize=8, loc="center")
    return figure


def tuning_by_path(groups: dict[str, tuple[Array, dict[str, Array]]], labels: Mapping[str, str]) -> Figure:
    """Draw tuning curves over the object's scale, one panel per title: title → (scales (S,), {path → curves (C, S)}).

    A thin line for each unit and a thick one for their mean, each unit divided by its largest response. labels: as
    `path_maps`. Returns the figure.
    """
    figure, drawn = panels(groups, 4.6 * len(groups), 3.4, sharey=True)
    for ax, title, (scales, curves) in drawn:
        for path, answers in curves.items():
            units = np.asarray(answers)
            units = units[units.max(1) > 0] / units[units.max(1) > 0].max(1, keepdims=True)
            ax.plot(scales, units.T, color=PATHS[path], lw=0.5, alpha=0.25)
            ax.plot(scales, units.mean(0), color=PATHS[path], lw=2.5, label=labels[path])
        ax.set(xscale="log", xlabel="object size / image size", title=title, ylim=(0, 1.03))
        ax.set_xticks([1 / 8, 1 / 4, 1 / 2, 1], ["1/8", "1/4", "1/2", "1"])
        ax.minorticks_off()
    drawn[0][0].set(ylabel="response / maximum response")
    drawn[0][0].legend(title="path", fontsize=8)
    return figure


def preferred_scales(groups: dict[str, tuple[pd.DataFrame, pd.DataFrame]]) -> Figure:
    """Draw how much larger the objects are that one path prefers to another's, one panel per title.

    title → (differences: DataFrame in octaves, one row per network, one column per module; verdict of `lens.scales`).
    A dot is a network, a line the mean with its 95 % interval, in color where it is clear. Returns the figure.
    """
    figure, drawn = panels(groups, 4.6 * len(groups), 3.6, sharex=True, sharey=True)
    for ax, title, (differences, verdict) in drawn:
        for y, (module, row) in enumerate(verdict.iterrows()):
            values = differences[module] if module in differences.columns else differences.mean(axis=1)
            color = HIGHLIGHT if row["clear"] else INK
            ax.plot(values, [y] * len(values), ".", color=QUIET, ms=5)
            low, high = row["octaves"] - row["low"], row["high"] - row["octaves"]
            ax.errorbar(row["octaves"], y, xerr=[[low], [high]], fmt="o", ms=4, color=color, capsize=3)
        ax.axvline(0, color=QUIET, lw=0.8)
        names = [module.removeprefix("inception_") for module in verdict.index]
        ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), title=title)
        ax.set(xlabel="difference (octaves; 1: twice as large)")
    return figure


def attributions(
    images: Array,
    maps: dict[str, Array],
    boxes: Sequence[Sequence[float]] | Array | None = None,
    titles: list[str] | None = None,
) -> Figure:
    """Draw images (N, 3, H, W) and their maps (N, H, W) by method, on a red-blue scale around 0.

    The maps of an image lie below it, or beside it where there are more methods than images. boxes: (left, top, right,
    bottom) in pixels of the object in each image. Returns the figure.
    """
    names, titles = ["image", *maps], titles or [""] * len(images)
    beside = len(maps) > len(images)
    left, top = (titles, names) if beside else (names, titles)
    figure, grid = image_axes(len(left), len(top), 1.25 * len(top) + 0.9, 1.3 * len(left))
    for column, line in enumerate(grid if beside else grid.T):
        show(line[0], images[column])
        for ax, values in zip(line[1:], maps.values(), strict=True):
            value = np.asarray(values[column])
            ax.imshow(value, cmap="RdBu_r", vmin=-abs(value).max(), vmax=abs(value).max())
        if boxes is not None:
            for ax in line:
                draw_box(ax, np.asarray(boxes[column]) - 0.5, ec=INK, lw=1)
    for ax, title in zip(grid[0], top, strict=True):
        ax.set_title(title, fontsize=8, loc="center")
    for ax, name in zip(grid[:, 0], left, strict=True):
        ax.text(-0.1, 0.5, name, ha="right", va="center", transform=ax.transAxes, fontsize=9)
    return figure


def scores(table: pd.DataFrame) -> Figure:
    """Draw scores of attributions, one panel per score, with a black tick at chance. Returns the figure.

    table: network, method and, for pointing and overlap, the mean, the standard error and the chance in per cent.
    """
    networks = list(dict.fromkeys(table["network"]))
    methods = list(dict.fromkeys(table["method"]))
    labels = {
        "pointing": dict(xlabel="largest pixel inside the object's box (%)", title="Pointing game"),
        "overlap": dict(xlabel="intersection over union of the boxes (%)", title="Box overlap"),
    }
    figure, drawn = panels(labels, 9.5, 0.7 + 0.75 * len(methods), sharey=True)
    for ax, score, label in drawn:
        for i, network in enumerate(networks):
            rows = table[table["network"] == network].set_index("method").loc[methods]
            y = np.arange(len(methods)) + (i - (len(networks) - 1) / 2) * 0.25
            color = HIGHLIGHT if i == 0 else QUIET
            ax.errorbar(rows[score], y, xerr=2 * rows[f"{score}_error"], fmt="o", color=color, capsize=2, label=network)
            ax.plot(rows[f"{score}_chance"], y, "|", color=INK, ms=11, label="chance" if i == 0 else None)
        ax.set(yticks=range(len(methods)), yticklabels=methods, ylim=(len(methods) - 0.5, -0.5), xlim=(0, 100), **label)
    drawn[0][0].legend(fontsize=8)
    return figure


def guesses(photographs: Sequence[Array], found: Sequence[Sequence[tuple[str, float]]], columns: int = 4) -> Figure:
    """Draw photographs (3, H, W) from 0 to 1, and below each what a network takes it for. Returns the figure.

    found: for each photograph, names of classes and their probabilities, the most probable first.
    """
    rows = -(-len(photographs) // columns)
    figure = plt.figure(figsize=(2.6 * columns, 4 * rows), layout="constrained")
    axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[2, 1] * rows)
    for ax in axes.flat:
        ax.axis("off")
    for place, (photograph, guess) in enumerate(zip(photographs, found, strict=True)):
        row, column = 2 * (place // columns), place % columns
        show(axes[row, column], photograph)
        bars = axes[row + 1, column]
        bars.barh(range(len(guess)), [p for _, p in guess], color=LIGHT, height=0.16)
        for y, (name, p) in enumerate(guess):
            bars.text(0, y - 0.25, f"{name}, {_percent(p)}", fontsize=9, color=INK)  # above its bar
        bars.set(xlim=(0, 1), ylim=(len(guess) - 0.85, -0.95))
    return figure


def _percent(share: float) -> str:
    """A share in whole per cent, but neither 0 nor 100 for what is only near them."""
    return "over 99 %" if share > 0.99 else "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def impulse_responses(responses: dict[str, Array]) -> Figure:
    """Draw what each path makes of a single bright pixel, with the number of pixels it reached.

    responses: path name → (H, W) tensor. Returns the figure.
    """
    figure, drawn = panels(responses, 9, 2.6)
    for ax, path, response in drawn:
        reached = np.asarray(response) > 0
        ax.imshow(reached, cmap=ramp(PATHS[path]), vmin=0, vmax=1)
        ax.set_title(f"{PATH_LABELS[path]}: {reached.sum()} pixel{'s' if reached.sum() > 1 else ''}", loc="center")
        ax.set(xticks=np.arange(-0.5, response.shape[1]), yticks=np.arange(-0.5, response.shape[0]))
        ax.tick_params(length=0, labelbottom=False, labelleft=False)
        ax.grid(color="#dddddd", lw=0.6)
    return figure


def path_images(photograph: Array, responses: dict[str, Array]) -> Figure:
    """Draw a photograph (H, W, 3) and what each path makes of it: path name → (H, W) tensor. Returns the figure."""
    figure, drawn = panels({"photograph": photograph, **responses}, 11, 2.6)
    for ax, name, image in drawn:
        ax.imshow(image)
        ax.axis("off")
        ax.set_title(PATH_LABELS.get(name, name), loc="center", fontweight="bold" if name in PATHS else "normal")
        if name in PATHS:
            path_bar(ax, name, "top")
    return figure
