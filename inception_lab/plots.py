"""The course's figures, in one style. Each function draws what it is given, on the axes it is given.

One colour stands for each path of a module in every figure. The colours are those of Okabe and Ito, which
colour-blind readers can tell apart.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import nn

from inception_lab.blocks import Inception, NaiveInception, check_one_of
from inception_lab.costs import count

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


def draw_module(module: Inception | NaiveInception, in_channels: int, size: int = 28, ax=None):
    """Draw a module from its own layers: a column a path, a box a layer, channels on every box.

    in_channels, size: channels and side of the input map; the box labels come from running the module.
    Returns the axes.
    """
    ax = ax or plt.subplots(figsize=(8, 3.8))[1]
    rows = count(module, (in_channels, size, size)).rows
    layers = rows[rows["operation"].isin(["Conv2d", "MaxPool2d", "AvgPool2d"])]
    paths = [name for name in PATHS if hasattr(module, name)]
    for x, path in enumerate(paths):
        column = layers[layers["name"].str.split(".").str[0] == path]
        y, previous = 1.0, (x, 0.25)
        for layer in column.itertuples():
            kind = "max pool" if layer.operation == "MaxPool2d" else "avg pool" if "Pool" in layer.operation else "conv"
            _box(ax, x, y, f"{layer.kernel} {kind}\n{layer.output[0]} channels", PATHS[path])
            _arrow(ax, previous, (x, y - 0.3))
            previous, y = (x, y + 0.3), y + 1.0
        _arrow(ax, previous, (x, 2.75))
    middle = (len(paths) - 1) / 2
    _bar(ax, middle, 0.0, len(paths), f"input: {in_channels} channels, {size}×{size}")
    _bar(
        ax,
        middle,
        3.0,
        len(paths),
        f"concatenation: {module.out_channels} channels, {layers.iloc[-1].output[1]}×{layers.iloc[-1].output[2]}",
    )
    ax.set(xlim=(-0.6, len(paths) - 0.4), ylim=(-0.4, 3.4))
    ax.axis("off")
    return ax


def draw_network(model: nn.Module, input_size=(3, 224, 224), ax=None):
    """Draw a network from its own layers: a bar a stage, as high as its map's side, striped by path.

    The side is on a logarithmic scale. A stripe's share of the bar is its path's share of the stage's output
    channels; a grey bar has no paths. Stages that change neither map nor channels (normalisation, flattening,
    dropout) are left out. Auxiliary heads are marked above the stage that feeds them. Returns the axes.
    """
    ax = ax or plt.subplots(figsize=(11, 3.8))[1]
    stages = count(model, input_size).by_stage()
    stages = stages[~stages.index.isin(["flatten", "dropout"]) & ~stages.index.str.startswith("norm")]
    for x, (stage, row) in enumerate(stages.iterrows()):
        channels, side = row.output[0], row.output[1] if len(row.output) == 3 else 1
        height, bottom = np.log2(side) + 1, 0.0
        for path, share in _path_shares(getattr(model, stage)).items():
            ax.add_patch(Rectangle((x - 0.4, bottom), 0.8, height * share, color=PATHS.get(path, "#b8b8b8"), lw=0))
            bottom += height * share
        ax.text(x, height + 0.15, f"{channels}\n{side}×{side}", ha="center", va="bottom", fontsize=8)
        ax.text(x, -0.2, stage, ha="right", va="top", rotation=45, fontsize=9, rotation_mode="anchor")
        if stage in getattr(model, "heads", ()):
            arrow = dict(arrowstyle="<-", color=HIGHLIGHT)
            ax.annotate("head", (x, height + 1.1), (x, height + 2.2), ha="center", color=HIGHLIGHT, arrowprops=arrow)
    handles = [Rectangle((0, 0), 1, 1, color=colour) for colour in PATHS.values()]
    ax.legend(handles, PATH_LABELS.values(), title="path", ncols=4, loc="upper right")
    ax.set(xlim=(-0.7, len(stages) - 0.3), ylim=(-3, 9.5), title="Output channels and map size of every stage")
    ax.axis("off")
    return ax


def _path_shares(stage: nn.Module) -> dict[str, float]:
    if not isinstance(stage, Inception):
        return {"": 1.0}
    widths = {}
    for path, module in stage.named_children():
        convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
        widths[path] = convolutions[-1].out_channels if convolutions else stage.out_channels - sum(widths.values())
    return {path: width / stage.out_channels for path, width in widths.items()}


def _box(ax, x, y, text, colour):
    box = FancyBboxPatch(
        (x - 0.36, y - 0.25), 0.72, 0.5, boxstyle="round,pad=0.03", fc=colour + "38", ec=colour, lw=1.5
    )
    ax.add_patch(box)
    ax.text(x, y, text, ha="center", va="center", fontsize=9, color=INK)


def _bar(ax, x, y, width, text):
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2 + 0.1, y - 0.2),
            width - 0.2,
            0.4,
            boxstyle="round,pad=0.03",
            fc="#eeeeee",
            ec=QUIET,
        )
    )
    ax.text(x, y, text, ha="center", va="center", color=INK)


def _arrow(ax, start, end):
    ax.annotate("", end, start, arrowprops=dict(arrowstyle="->", color=QUIET, lw=1.2))


def impulse_responses(responses: dict):
    """Draw what each path makes of a single bright pixel, with the number of pixels it reached.

    responses: path name → (H, W) tensor. Returns the figure.
    """
    figure, axes = plt.subplots(1, len(responses), figsize=(9, 2.6), squeeze=False)
    for ax, (path, response) in zip(axes[0], responses.items(), strict=True):
        reached = np.asarray(response) > 0
        ax.imshow(reached, cmap=_ramp(PATHS[path]), vmin=0, vmax=1)
        ax.set_title(f"{PATH_LABELS[path]}: {reached.sum()} pixel{'s' if reached.sum() > 1 else ''}", loc="center")
        ax.set(xticks=np.arange(-0.5, response.shape[1]), yticks=np.arange(-0.5, response.shape[0]))
        ax.tick_params(length=0, labelbottom=False, labelleft=False)
        ax.grid(color="#dddddd", lw=0.6)
    return figure


def path_images(photograph, responses: dict):
    """Draw a photograph (H, W, 3) and what each path makes of it: path name → (H, W) tensor. Returns the figure."""
    figure, axes = plt.subplots(1, len(responses) + 1, figsize=(11, 2.6))
    axes[0].imshow(photograph)
    axes[0].set_title("photograph", loc="center")
    for ax, (path, response) in zip(axes[1:], responses.items(), strict=True):
        ax.imshow(response)
        ax.set_title(PATH_LABELS[path], loc="center", color=PATHS[path], fontweight="bold")
    for ax in axes:
        ax.axis("off")
    return figure


def cost_by_module(macs):
    """Draw the MACs of successive modules, a line a column of the DataFrame `macs`. Returns the axes."""
    ax = (macs / 1e6).plot(marker="o", xlabel="module", ylabel="million MACs", ylim=(0, None), xticks=macs.index)
    ax.set_title(f"MACs of each of {len(macs)} modules in a row")
    return ax


def _ramp(colour):
    return LinearSegmentedColormap.from_list("ramp", ["#ffffff", colour])


def error_against_cost(ladder):
    """Draw top-5 error against MACs and against parameters, both on logarithmic axes, a colour a test setting.

    ladder: DataFrame with the columns network, setting, MACs, parameters, error; two settings. The first one's
    points are labelled on their left (the costliest network's is not: it is crowded), the second one's on their
    right. Returns the figure.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    crowded = ladder.loc[ladder["MACs"] == ladder["MACs"].max(), "network"].iloc[0]
    for ax, (column, unit, label) in zip(
        axes, [("MACs", 1e9, "billion MACs an image"), ("parameters", 1e6, "million parameters")], strict=True
    ):
        for side, (setting, rows) in zip((-1, 1), ladder.groupby("setting", sort=False), strict=True):
            ax.scatter(rows[column] / unit, rows["error"], label=setting)
            place = dict(ha="left" if side > 0 else "right", va="center", textcoords="offset points", fontsize=8)
            for row in rows.itertuples():
                if side < 0 and row.network == crowded:  # no room between its neighbour and itself
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


def object_and_kernels(photograph, box, kernels: dict):
    """Draw a grey photograph (H, W), a square box (top, left, side) in it, and kernels by size.

    The kernels are to scale among themselves, not with the photograph. Returns the figure.
    """
    top, left, side = box
    sizes = list(kernels)
    figure, axes = plt.subplots(1, len(kernels) + 1, figsize=(9, 3), width_ratios=[1.3 * max(sizes), *sizes])
    axes[0].imshow(photograph)
    axes[0].add_patch(Rectangle((left, top), side, side, fill=False, ec=HIGHLIGHT, lw=2))
    axes[0].set_title(f"the object: {side} pixels wide", loc="center")
    for ax, (size, kernel) in zip(axes[1:], kernels.items(), strict=True):
        ax.imshow(kernel)
        ax.set_title(f"{size}×{size}", loc="center", fontsize=8)
    for ax in axes:
        ax.axis("off")
    return figure


def tuning_curves(scores):
    """Draw the score of fixed kernels against the size of the object: a line a kernel, a filled dot where it is found.

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


def share_of_variance(curves: dict, title: str, ax=None):
    """Draw the share of variance of the n best combinations: name → cumulative shares. Returns the axes."""
    ax = ax or plt.subplots()[1]
    for name, shares in curves.items():
        ax.plot(range(1, len(shares) + 1), 100 * shares, marker=".", label=name)
    ax.axhline(95, color=QUIET, lw=0.8, ls="--")
    ax.set(xscale="log", xlabel="number of combinations", ylabel="share of variance (%)", title=title)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend()
    return ax


def receptive_fields(photograph, fields: dict):
    """Draw receptive fields over a square grey photograph (H, W), each as if its unit stood exactly in the middle.

    fields: stage → side of its field in pixels. On the left those that fit into the photograph, on the right, at
    another scale, those that reach over its edge. Returns the figure.
    """
    side = photograph.shape[0]
    inside = {stage: field for stage, field in fields.items() if field <= side}
    outside = {stage: field for stage, field in fields.items() if field > side}
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.8))
    for ax, group, title in zip(axes, (inside, outside), ("fit into", "exceed"), strict=True):
        ax.imshow(photograph, extent=(-side / 2, side / 2, side / 2, -side / 2))
        edge = max([side, *group.values()]) / 2 * 1.02
        for i, (stage, field) in enumerate(sorted(group.items(), key=lambda item: item[1])):
            colour = (HIGHLIGHT, LIGHT)[i % 2]
            ax.add_patch(Rectangle((-field / 2, -field / 2), field, field, fill=False, ec=colour, lw=1.5))
            right, y = edge * 1.06, edge * (0.95 - 1.9 * (i + 0.5) / len(group))
            ax.annotate(
                f"{stage} {field}", (field / 2, min(max(y, -field / 2), field / 2)), (right, y),
                va="center", fontsize=9, color=INK, arrowprops=dict(arrowstyle="-", color=colour, lw=1),
                annotation_clip=False,
            )  # fmt: skip
        label = "pixels from the centre"
        ax.set(xlim=(-edge, edge), ylim=(edge, -edge), xlabel=label, ylabel=label)
        ax.set_title(f"Fields that {title} {side}×{side} pixels")
    return figure


def path_costs(costs):
    """Draw the MACs of a naive and a reduced module, a bar a module, striped by path. Returns the axes.

    costs: what `widgets.path_costs` gives.
    """
    macs = costs[["reduced MACs", "naive MACs"]].rename(columns=lambda name: name.removesuffix(" MACs")).T / 1e6
    ax = macs.rename(columns=PATH_LABELS).plot.barh(stacked=True, color=list(PATHS.values()), figsize=(8, 2.4))
    ax.set(xlabel="million MACs", title="MACs of one module by path")
    ax.legend(title="path", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def study(frame, column: str = "val_top1_error", label: str | None = None, cost: str | None = None, ax=None):
    """Draw every run of a study as a point, a row an arm, with the mean of the arm as a line. Returns the axes.

    frame: what `studies.read` gives; its first arm is on top. column: what to draw. label: of the axis, by default
    the column's name. cost: "macs" or "parameters", to be told beside each arm. Raises ValueError for a column that
    is not there.
    """
    check_one_of("column", column, list(frame.columns))
    check_one_of("cost", cost, (None, "macs", "parameters"))
    arms = dict(list(frame.groupby("arm", sort=False)))
    ax = ax or plt.subplots(figsize=(8, 0.9 + 0.5 * len(arms)))[1]
    for y, runs in enumerate(arms.values()):
        mean = runs[column].mean()
        ax.plot([mean, mean], [y - 0.3, y + 0.3], color=INK, lw=2)
        ax.plot(runs[column], [y] * len(runs), "o", color=HIGHLIGHT, alpha=0.6, mec="none")
    names = list(arms)
    if cost:
        unit = "million MACs" if cost == "macs" else "million parameters"
        names = [f"{arm}\n{runs[cost].iloc[0] / 1e6:,.1f} {unit}" for arm, runs in arms.items()]
    ax.set(yticks=range(len(arms)), yticklabels=names, ylim=(len(arms) - 0.5, -0.5))
    name = column.replace("val_", "validation ").replace("top1", "top-1").replace("top5", "top-5").replace("_", " ")
    ax.set(xlabel=label or name + (" (%)" if "error" in column else ""))
    ax.set(title="A point a run, a line the mean of an arm")
    ax.grid(axis="y", color=QUIET, alpha=0.3)
    return ax


def run_curves(groups: dict):
    """Draw error by epoch: group → run → history (DataFrame); a panel a group, dashed in training, solid in validation.

    Returns the figure.
    """
    figure, axes = plt.subplots(1, len(groups), figsize=(max(6, 4 * len(groups)), 3.4), squeeze=False)
    for ax, (group, histories) in zip(axes[0], groups.items(), strict=True):
        for history in histories.values():
            ax.plot(history["epoch"], history["train_top1_error"], ls="--", color=QUIET, lw=1)
            ax.plot(history["epoch"], history["val_top1_error"], color=HIGHLIGHT, alpha=0.7)
        epochs = range(1, int(history["epoch"].max()) + 1)
        ax.set(xlabel="epochs", ylabel="top-1 error (%)", ylim=(0, None), xticks=epochs[:: -(-len(epochs) // 6)])
        ax.set_title(f"{group}: {len(histories)} run{'s' if len(histories) > 1 else ''}")
    axes[0, 0].plot([], [], ls="--", color=QUIET, label="training, as it went")
    axes[0, 0].plot([], [], color=HIGHLIGHT, label="validation")
    axes[0, 0].legend(fontsize=8)
    return figure


def confusion(counts, classes: list[str], ax=None):
    """Draw a matrix of counts, right class down and predicted class across, with numbers off the diagonal.

    The colour is the count, and the diagonal has none. Returns the axes.
    """
    counts = np.asarray(counts)
    wrong = counts * (1 - np.eye(len(classes), dtype=counts.dtype))
    ax = ax or plt.subplots(figsize=(1.5 + 0.45 * len(classes), 1 + 0.38 * len(classes)))[1]
    ax.imshow(wrong, cmap=_ramp(HIGHLIGHT), aspect="auto")
    for i, j in zip(*np.nonzero(wrong), strict=True):
        ax.text(j, i, wrong[i, j], ha="center", va="center", fontsize=8, color=INK)
    places = range(len(classes))
    ax.set(xticks=places, yticks=places, yticklabels=classes, xlabel="taken for", ylabel="right class")
    ax.set_title("How often which class was taken for which")
    ax.set_xticks(places, classes, rotation=40, ha="right", rotation_mode="anchor")
    return ax


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


def reliability(bins: dict):
    """Draw accuracy against confidence: name → what `Predictions.calibration` gives. Returns the axes.

    The area of a point is in proportion to the number of images in its bin.
    """
    ax = plt.subplots(figsize=(4.8, 4.4))[1]
    ax.plot([0, 1], [0, 1], color=QUIET, lw=0.8, ls="--")
    for name, rows in bins.items():
        rows = rows[rows["images"] > 0]
        (line,) = ax.plot(rows["confidence"], rows["accuracy"], lw=1, label=name)
        sizes = 400 * rows["images"] / rows["images"].sum() + 6
        ax.scatter(rows["confidence"], rows["accuracy"], s=sizes, color=line.get_color(), alpha=0.6)
    ax.set(xlabel="confidence: the largest probability", ylabel="share of images that are right")
    ax.set(xlim=(0, 1.03), ylim=(0, 1.03), title="Right as often as it is sure?")
    ax.legend(loc="upper left")
    return ax


def crop_boxes(photograph, boxes: dict):
    """Draw boxes (left, top, right, bottom), in pixels, on a photograph (H, W, 3), a panel a title.

    boxes: title → (squares, views): the squares are drawn dashed and wide, the views in a colour. Returns the figure.
    """
    figure, axes = plt.subplots(1, len(boxes), figsize=(11, 2.4))
    for ax, (title, (squares, views)) in zip(axes, boxes.items(), strict=True):
        ax.imshow(photograph, alpha=0.6)
        styles = [(box, dict(ec=INK, ls="--", lw=1.5)) for box in squares]
        styles += [(box, dict(ec=(HIGHLIGHT, "#0072B2")[i % 2], lw=1.5)) for i, box in enumerate(views)]
        for (left, top, right, bottom), style in styles:
            box = Rectangle((left, top), right - left, bottom - top, fill=False, clip_on=False, **style)
            ax.add_patch(box)
        ax.set_title(title, fontsize=9, loc="center")
        ax.axis("off")
    return figure


def crop_ladders(ladders: dict):
    """Draw error against forward passes: title → DataFrame with the columns crops, models, passes, error, a panel each.

    A line a number of models joins its crops. Where there is a column `runs` with the errors of single ensembles,
    each is a small dot. Returns the figure.
    """
    figure, axes = plt.subplots(1, len(ladders), figsize=(5.2 * len(ladders), 3.8), squeeze=False)
    for ax, (title, table) in zip(axes[0], ladders.items(), strict=True):
        for models, rows in table.groupby("models"):
            label = f"{models} model{'s' if models > 1 else ''}"
            (line,) = ax.plot(rows["passes"], rows["error"], marker="o", label=label)
            for row in rows.itertuples() if "runs" in rows else ():
                ax.plot([row.passes] * len(row.runs), row.runs, ".", color=line.get_color(), alpha=0.4, ms=4)
        ax.set(xscale="log", xlabel="forward passes an image", ylabel="error (%)", ylim=(0, None), title=title)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.legend(fontsize=8)
    return figure


def image_grid(images, titles=None, boxes=None, columns: int = 8, side: float = 1.15):
    """Draw images (H, W, 3) in rows of `columns`, each with its title. Returns the figure.

    boxes: for each image, (left, top, right, bottom) in pixels of rectangles to draw on it. side: of an image, in
    inches.
    """
    rows = -(-len(images) // columns)
    high = side + (0.35 if titles else 0.05)
    figure, axes = plt.subplots(rows, columns, figsize=(side * columns, high * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for i, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
        ax.imshow(image)
        for left, top, right, bottom in boxes[i] if boxes else ():
            ax.add_patch(
                Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=HIGHLIGHT, lw=1.2)
            )
        if titles:
            ax.set_title(titles[i], loc="center", fontsize=8)
    return figure


def by_stage(panels: dict, label: str, level: float | None = None):
    """Draw a quantity at every stage of a network: a panel a design, a thin line a run. Returns the axes.

    panels: title → {name of a line → DataFrame with a row a run and a column a stage, in the order of the network}.
    label: of the logarithmic axis that the panels share. level: draw a dotted line at this value.
    """
    axes = plt.subplots(1, len(panels), figsize=(8, 3.4), sharey=True, squeeze=False)[1][0]
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        for (name, runs), colour in zip(lines.items(), (INK, HIGHLIGHT, LIGHT, QUIET), strict=False):
            short = [stage.removeprefix("inception_") for stage in runs.columns]
            drawn = ax.plot(short, runs.to_numpy().T, color=colour, lw=1, alpha=0.8)
            drawn[0].set_label(name)
        if level is not None:
            ax.axhline(level, color=QUIET, ls=":", lw=1)
        ax.set(title=title, yscale="log", xlabel="stage")
        ax.tick_params(axis="x", rotation=90)
    axes[0].set(ylabel=label)
    axes[-1].legend(fontsize=8)
    return axes
