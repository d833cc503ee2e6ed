"""Figures of networks and modules, drawn from the model that they are about."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle
from torch import nn

from inception_lab.costs.counting import count
from inception_lab.models.blocks import Inception, NaiveInception
from inception_lab.models.googlenet import GoogLeNet
from inception_lab.plots.style import HIGHLIGHT, INK, PATH_LABELS, PATHS, QUIET, Array, panels, path_labels, ramp


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
        for layer in column.to_dict("records"):
            kind = {"Conv2d": "conv", "MaxPool2d": "max pool", "AvgPool2d": "avg pool"}[layer["operation"]]
            label = f"{layer['kernel']} {kind}\n{layer['output'][0]} channels"
            _box(ax, x, y, 0.72, 0.5, label, 9, fc=PATHS[path] + "38", ec=PATHS[path], lw=1.5)
            _arrow(ax, previous, (x, y - 0.3))
            previous, y = (x, y + 0.3), y + 1.0
        _arrow(ax, previous, (x, 2.75))
    _, height, width = layers.iloc[-1].output
    middle, wide = (len(paths) - 1) / 2, len(paths) - 0.2
    gray: Any = dict(fc="#eeeeee", ec=QUIET)
    _box(ax, middle, 0, wide, 0.4, f"input: {in_channels} channels, {size}×{size}", 10, **gray)
    _box(ax, middle, 3, wide, 0.4, f"concatenation: {module.out_channels} channels, {height}×{width}", 10, **gray)
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
    largest, right = max(side for _, side in shapes.values()), 0.0
    for stage, (channels, side) in shapes.items():
        height = 112 * side / largest
        depth, top = 0.4 * height, 1.4 * height + 4
        center = right + max(channels / 13 + depth, 50) / 2  # room for a block, or for the label above it
        x = end = center - (channels / 13 + depth) / 2
        for path, width in _path_widths(getattr(model, stage), channels).items():
            _block(ax, end, width / 13, height, depth, PATHS.get(path, "#b8b8b8"))
            end += width / 13
        ax.text(center, top, f"{channels:,}\n{side}×{side}", ha="center", fontsize=9)
        label = stage.removeprefix("inception_")
        ax.text((x + end) / 2, -6, label, ha="right", va="top", rotation=45, fontsize=11, rotation_mode="anchor")
        if stage in getattr(model, "heads", ()):
            arrow = dict(arrowstyle="<-", color=HIGHLIGHT)
            ax.annotate("head", (center, top + 32), (center, top + 60), ha="center", color=HIGHLIGHT, arrowprops=arrow)
        right = max(end + depth, center + 25) + 10
    handles = [Rectangle((0, 0), 1, 1, color=color) for color in PATHS.values()]
    labels = path_labels(model.design) if isinstance(model, GoogLeNet) else PATH_LABELS
    ax.legend(handles, labels.values(), title="path", ncols=4, loc="upper right")
    ax.set(xlim=(-30, right), ylim=(-70, 205), aspect="equal", title="The output of every stage: channels and map size")
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
            ax.add_patch(Rectangle((-field / 2, -field / 2), field, field, fill=False, ec=HIGHLIGHT, lw=1.5))
            right, y = edge * 1.06, edge * (0.95 - 1.9 * (i + 0.5) / len(group))
            label, edge_y = f"{stage.removeprefix('inception_')}: {field}", min(max(y, -field / 2), field / 2)
            how: Any = dict(arrowprops=dict(arrowstyle="-", color=HIGHLIGHT, lw=1), annotation_clip=False)
            ax.annotate(label, (field / 2, edge_y), (right, y), va="center", fontsize=9, color=INK, **how)
        ax.set(xlim=(-edge, edge), ylim=(edge, -edge), title=f"Fields that {title} {side}×{side} pixels")
        ax.set(xlabel="pixels from the center", ylabel="pixels from the center")
    return figure
