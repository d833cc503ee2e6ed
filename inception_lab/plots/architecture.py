"""Figures of networks and modules, drawn from the model that they are about."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle
from torch import nn

from inception_lab.costs.counting import count
from inception_lab.models.blocks import Inception, NaiveInception
from inception_lab.models.googlenet import GoogLeNet
from inception_lab.plots.style import (
    HIGHLIGHT,
    INK,
    LIGHT,
    PATH_LABELS,
    PATHS,
    QUIET,
    Array,
    panels,
    path_bar,
    path_labels,
    ramp,
)


def draw_module(module: Inception | NaiveInception, in_channels: int, size: int = 28) -> Axes:
    """Draw a module from its own layers: one column per path, one box per layer, channels on every box.

    in_channels, size: channels and side of the input map; the box labels come from running the module.
    Returns the axes.
    """
    ax = plt.subplots(figsize=(8, 3.8))[1]
    rows = count(module, (in_channels, size, size)).rows
    layers = rows[rows["operation"].isin(["Conv2d", "MaxPool2d", "AvgPool2d"])]
    paths = [name for name in PATHS if hasattr(module, name)]
    for x, path in enumerate(paths):
        column = layers[layers["name"].str.split(".").str[0] == path]
        y, previous = 1.0, (x, 0.25)
        layer: Any
        for layer in column.itertuples():
            kind = "max pool" if layer.operation == "MaxPool2d" else "avg pool" if "Pool" in layer.operation else "conv"
            label = f"{layer.kernel} {kind}\n{layer.output[0]} channels"
            _box(ax, x, y, 0.72, 0.5, label, 9, fc=PATHS[path] + "38", ec=PATHS[path], lw=1.5)
            _arrow(ax, previous, (x, y - 0.3))
            previous, y = (x, y + 0.3), y + 1.0
        _arrow(ax, previous, (x, 2.75))
    _, height, width = layers.iloc[-1].output
    ends = {
        0: f"input: {in_channels} channels, {size}×{size}",
        3: f"concatenation: {module.out_channels} channels, {height}×{width}",
    }
    for y, label in ends.items():
        _box(ax, (len(paths) - 1) / 2, y, len(paths) - 0.2, 0.4, label, 10, fc="#eeeeee", ec=QUIET)
    ax.set(xlim=(-0.6, len(paths) - 0.4), ylim=(-0.4, 3.4))
    ax.axis("off")
    return ax


def draw_network(model: nn.Module, input_size: tuple[int, int, int] = (3, 224, 224)) -> Axes:
    """Draw a network from its own layers: one volume per stage, as high and deep as its map, as long as its channels.

    Both scales are linear. A stage's paths follow each other along its channels, each in its color; what has no paths
    is gray. Stages that change neither map nor channels (normalization, flattening, dropout) are left out. Auxiliary
    heads are marked above the stage that feeds them. Returns the axes.
    """
    ax = plt.subplots(figsize=(11, 3.2))[1]
    stages = count(model, input_size).by_stage()
    stages = stages[~stages.index.isin(["flatten", "dropout"]) & ~stages.index.str.startswith("norm")]
    shapes = {str(name): (*row.output, 1)[:2] for name, row in stages.iterrows()}  # channels and side
    largest, x = max(side for _, side in shapes.values()), 0.0
    for stage, (channels, side) in shapes.items():
        height = 112 * side / largest
        depth, end = 0.4 * height, x
        for path, width in _path_widths(getattr(model, stage), channels).items():
            _block(ax, end, width / 13, height, depth, PATHS.get(path, "#b8b8b8"))
            end += width / 13
        center, top = (x + end + depth) / 2, height + depth + 4
        ax.text(center, top, f"{channels}\n{side}×{side}", ha="center", fontsize=8)
        ax.text((x + end) / 2, -6, stage, ha="right", va="top", rotation=45, fontsize=9, rotation_mode="anchor")
        if stage in getattr(model, "heads", ()):
            arrow = dict(arrowstyle="<-", color=HIGHLIGHT)
            ax.annotate("head", (center, top + 24), (center, top + 52), ha="center", color=HIGHLIGHT, arrowprops=arrow)
        x = max(end + depth + 10, x + 48)  # room for the label
    handles = [Rectangle((0, 0), 1, 1, color=color) for color in PATHS.values()]
    labels = path_labels(model.design) if isinstance(model, GoogLeNet) else PATH_LABELS
    ax.legend(handles, labels.values(), title="path", ncols=4, loc="upper right")
    ax.set(
        xlim=(-30, x), ylim=(-70, 190), aspect="equal", title="The output of every stage: channels, and side of the map"
    )
    ax.axis("off")
    return ax


def _path_widths(stage: nn.Module, channels: int) -> dict[str, int]:
    """How many of a stage's channels each path gives; a stage without paths is one path without a name."""
    if not isinstance(stage, Inception):
        return {"": channels}
    widths: dict[str, int] = {}
    for path, module in stage.named_children():
        convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
        widths[path] = convolutions[-1].out_channels if convolutions else channels - sum(widths.values())
    return widths


def _block(ax: Axes, x: float, width: float, height: float, depth: float, color: str) -> None:
    """A cuboid with its front's lower left corner at (x, 0): the front, and lighter its top and its right side."""
    end, back = x + width, height + depth
    ax.add_patch(Polygon([(x, height), (end, height), (end + depth, back), (x + depth, back)], fc=ramp(color)(0.6)))
    ax.add_patch(Polygon([(end, 0), (end + depth, depth), (end + depth, back), (end, height)], fc=ramp(color)(0.4)))
    ax.add_patch(Rectangle((x, 0), width, height, color=color, lw=0.5))


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str, size: float, **style: Any) -> None:
    """A rounded box around a center, with text of so many points in it."""
    ax.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0.03", **style))
    ax.text(x, y, text, ha="center", va="center", fontsize=size, color=INK)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops=dict(arrowstyle="->", color=QUIET, lw=1.2))


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


def receptive_fields(photograph: Array, fields: dict[str, int]) -> Figure:
    """Draw receptive fields over a square gray photograph (H, W), each as if its unit stood exactly in the middle.

    fields: stage → side of its field in pixels. On the left those that fit into the photograph, on the right, at
    another scale, those that reach over its edge. Returns the figure.
    """
    side = photograph.shape[0]
    groups = {
        "fit into": {stage: field for stage, field in fields.items() if field <= side},
        "exceed": {stage: field for stage, field in fields.items() if field > side},
    }
    figure, drawn = panels(groups, 9.5, 4.8)
    for ax, title, group in drawn:
        ax.imshow(photograph, extent=(-side / 2, side / 2, side / 2, -side / 2))
        edge = max([side, *group.values()]) / 2 * 1.02
        for i, (stage, field) in enumerate(sorted(group.items(), key=lambda item: item[1])):
            color = (HIGHLIGHT, LIGHT)[i % 2]
            ax.add_patch(Rectangle((-field / 2, -field / 2), field, field, fill=False, ec=color, lw=1.5))
            right, y = edge * 1.06, edge * (0.95 - 1.9 * (i + 0.5) / len(group))
            ax.annotate(
                f"{stage} {field}", (field / 2, min(max(y, -field / 2), field / 2)), (right, y),
                va="center", fontsize=9, color=INK, arrowprops=dict(arrowstyle="-", color=color, lw=1),
                annotation_clip=False,
            )  # fmt: skip
        label = "pixels from the center"
        ax.set(xlim=(-edge, edge), ylim=(edge, -edge), xlabel=label, ylabel=label)
        ax.set_title(f"Fields that {title} {side}×{side} pixels")
    return figure
