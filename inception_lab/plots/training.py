"""Figures of runs, studies and evaluations."""

import time
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import t as student_t

from inception_lab.common.checks import check_one_of
from inception_lab.plots.style import HIGHLIGHT, INK, KERNELS, LIGHT, QUIET, Array, panels, ramp

Rows = pd.DataFrame | Sequence  # or dataclasses


def study(
    frame: pd.DataFrame,
    column: str = "val_top1_error",
    label: str | None = None,
    cost: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw every run of a study as a point, one row per arm, with the mean of the arm as a line. Returns the axes.

    frame: what `read_study` gives; its first arm is on top. column: what to draw. label: of the axis, by default
    the column's name. cost: "macs" or "parameters", to be told beside each arm. Raises ValueError for a column that
    is not there.
    """
    check_one_of("column", column, list(frame.columns))
    check_one_of("cost", cost, (None, "macs", "parameters"))
    arms = dict(list(frame.groupby("arm", sort=False)))
    ax = ax or plt.subplots(figsize=(8, 0.9 + 0.5 * len(arms)))[1]
    for y, (arm, runs) in enumerate(arms.items()):
        color = KERNELS.get(str(arm).replace("x", "×").removesuffix(" alone"), HIGHLIGHT)
        mean = runs[column].mean()
        ax.plot([mean, mean], [y - 0.3, y + 0.3], color=INK, lw=2)
        ax.plot(runs[column], [y] * len(runs), "o", color=color, alpha=0.6, mec="none")
    names = list(map(str, arms))
    if cost:
        unit = "million MACs" if cost == "macs" else "million parameters"
        names = [f"{arm!s}\n{runs[cost].iloc[0] / 1e6:,.1f} {unit}" for arm, runs in arms.items()]
    ax.set(yticks=range(len(arms)), yticklabels=names, ylim=(len(arms) - 0.5, -0.5))
    name = column.replace("val_", "validation ").replace("top1", "top-1").replace("top5", "top-5").replace("_", " ")
    ax.set(xlabel=label or name + (" (%)" if "error" in column else ""))
    ax.set(title="One point per run; the vertical bar is the mean")
    ax.grid(axis="y", color=QUIET, alpha=0.3)
    return ax


def by_images(frame: pd.DataFrame, column: str = "val_top1_error") -> Axes:
    """Draw an error against the training images per class, both logarithmic. Returns the axes.

    frame: what `read_study` gives, whose arms are named as "WAY, N per class". A way is a line through the geometric
    means of its runs, with their 95 % intervals (Student's t on the log scale), and each run is a small dot. A way with
    one run for some N has no interval there.
    """
    ax = plt.subplots(figsize=(7, 4))[1]
    ways = frame["arm"].str.rpartition(", ")[0]
    images = frame["train_images"] // frame["classes"]
    for number, (way, rows) in enumerate(frame.groupby(ways, sort=False)):
        logs = np.log(rows[column]).groupby(images)
        mean, half = logs.mean(), student_t.ppf(0.975, logs.count() - 1) * logs.sem()
        x = mean.index * 1.04 ** (number - (ways.nunique() - 1) / 2)  # beside each other
        ends = np.exp(mean) - np.exp(mean - half), np.exp(mean + half) - np.exp(mean)
        bars = ax.errorbar(x, np.exp(mean), np.nan_to_num(ends), marker="o", capsize=3, label=way)
        dots = x.to_numpy()[mean.index.searchsorted(images[rows.index])]
        ax.plot(dots, rows[column], ".", color=bars.lines[0].get_color(), alpha=0.4, ms=4)
    ax.set(xscale="log", yscale="log", xlabel="training images per class", ylabel="top-1 error (%)")
    ax.set(title="Means of the runs, with 95 % intervals, shifted sideways")
    for axis, ticks in ((ax.xaxis, sorted(images.unique())), (ax.yaxis, (5, 10, 20, 30, 40, 60, 80))):
        axis.set_ticks(ticks, labels=map(str, ticks))
        axis.set_minor_formatter("")
    ax.set_ylim(frame[column].min() / 1.1, frame[column].max() * 1.1)  # the ticks would widen it
    ax.legend(fontsize=8)
    return ax


def run_curves(groups: dict[str, dict[str, pd.DataFrame]]) -> Figure:
    """Draw errors by epoch, dashed in training: group → run → history, one panel per group. Returns the figure."""
    rows = 1 + (len(groups) > 2)  # a page is as wide as two panels
    figure, drawn = panels(groups, 6 if len(groups) == 1 else 9, 3.2 * rows, rows, sharey=True)
    for ax, group, histories in drawn:
        for history in histories.values():
            ax.plot(history["epoch"], history["train_top1_error"], ls="--", color=QUIET, lw=1)
            ax.plot(history["epoch"], history["val_top1_error"], color=HIGHLIGHT, alpha=0.7)
        epochs = range(1, int(history["epoch"].max()) + 1)
        ax.set(xlabel="epoch", xticks=epochs[:: -(-len(epochs) // 8)])
        ax.set_title(f"{group}: {len(histories)} run{'s' if len(histories) > 1 else ''}")
    figure.supylabel("top-1 error (%)", fontsize=10)
    (first := drawn[0][0]).set(ylim=(0, None))  # of all panels
    first.plot([], [], ls="--", color=QUIET, label="training, as it went")
    first.plot([], [], color=HIGHLIGHT, label="validation")
    first.legend(fontsize=8)
    return figure


def run_log(steps: Rows, history: Rows) -> Figure:
    """Draw a run by its log: loss and learning rate by step at the left, error by epoch at the right.

    steps, history: the rows of steps.csv and history.csv, as `RunFolder` or `pandas.read_csv` gives them; the second
    may be empty. The thick line is the loss averaged over about a fiftieth of the run. Returns the figure.
    """
    steps, history = pd.DataFrame(steps), pd.DataFrame(history)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    left.plot(steps["step"], steps["loss"], color=LIGHT, lw=0.6, alpha=0.7)
    smooth = steps["loss"].ewm(span=max(1, len(steps) / 50)).mean()
    left.plot(steps["step"], smooth, color=HIGHLIGHT)
    rate = left.twinx()
    rate.plot(steps["step"], steps["learning_rate"], color=QUIET, ls=":")
    rate.set(ylim=(0, None), ylabel="learning rate (dotted)")
    rate.spines["right"].set_visible(True)
    left.set(
        xlabel="step", ylabel="training loss", title=f"step {steps['step'].iloc[-1]:,}: loss {smooth.iloc[-1]:.3g}"
    )
    right.set(xlabel="epoch", ylabel="top-1 error (%)", title="no epoch is done yet")
    if len(history):
        for column, color, label in (("train", QUIET, "training, as it went"), ("val", HIGHLIGHT, "validation")):
            right.plot(history["epoch"], history[f"{column}_top1_error"], "o-", ms=3, color=color, label=label)
        right.set(ylim=(0, None), title=f"validation: {history['val_top1_error'].iloc[-1]:.1f} %")
        right.xaxis.get_major_locator().set_params(integer=True)
        right.legend(fontsize=8)
    return figure


class LivePlot:
    """Draw a run while it trains, in one figure that changes in place: `train(..., watch=plots.LivePlot())`.

    It draws in a notebook, and elsewhere does nothing. Each drawing is followed by a pause of 20 times as long, so that
    training slows down by at most a twentieth; the end of an epoch is always drawn.
    """

    def __init__(self) -> None:
        self.shown: Any = None  # what replaces the figure
        self.epochs, self.pause_ends = 0, 0.0

    def __call__(self, steps: Rows, history: Rows) -> None:
        """Draw `run_log` of the rows so far, or not yet."""
        start = time.perf_counter()
        if not in_notebook() or (len(history) == self.epochs and start < self.pause_ends):
            return
        figure = run_log(steps, history)
        plt.close(figure)  # else the notebook would show it once more, below the cell
        if self.shown is None:
            self.shown = display(figure, display_id=True)
        else:
            self.shown.update(figure)
        end = time.perf_counter()
        self.epochs, self.pause_ends = len(history), end + 20 * (end - start)


def in_notebook() -> bool:
    """Whether this program is the kernel of a notebook."""
    return hasattr(get_ipython(), "kernel")


def lr_range(frame: pd.DataFrame, suggestion: float | None = None) -> Axes:
    """Draw a learning-rate range test: the loss and, thick, the smoothed loss over the logarithm of the rate.

    frame: with the columns learning_rate, loss and smoothed, as `training.lr_range` gives it. suggestion: a rate to
    mark. Returns the axes.
    """
    ax = plt.subplots(figsize=(6, 3.4))[1]
    ax.plot(frame["learning_rate"], frame["loss"], color=LIGHT, lw=0.6, alpha=0.7)
    ax.plot(frame["learning_rate"], frame["smoothed"], color=HIGHLIGHT)
    if suggestion is not None:
        ax.axvline(suggestion, color=INK, ls=":")
        ax.set_title(f"suggestion (dotted): {suggestion:.2g}")
    lowest, first = frame["smoothed"].min(), frame["smoothed"].iloc[0]
    margin = max(first - lowest, 0.05 * abs(first))
    ax.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(lowest - margin / 2, first + margin))
    return ax


def step_time(profiles: dict[str, pd.Series]) -> Axes:
    """Draw where the time of a step goes: title → part → seconds, as `training.profile` gives them, one bar for each.

    Parts of less than 4 % of the longest bar have no label. Returns the axes.
    """
    table = 1000 * pd.DataFrame(profiles)
    ax = plt.subplots(figsize=(9, 1.2 + 0.6 * len(profiles)))[1]
    left, longest = np.zeros(len(profiles)), table.sum().max()
    for number, (part, row) in enumerate(table.iterrows()):
        color = plt.get_cmap("cividis")(number / (len(table) - 1))
        bars = ax.barh(list(profiles), row, left=left, color=color, label=part, ec="white", lw=0.5)
        labels = [f"{value:.3g}" if value > 0.04 * longest else "" for value in row]
        ax.bar_label(bars, labels, label_type="center", fontsize=8, color="white" if number < 4 else "black")
        left = left + row.to_numpy()
    ax.set(xlabel="milliseconds per step")
    ax.invert_yaxis()
    ax.legend(fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def by_stage(groups: dict[str, dict[str, pd.DataFrame]], label: str, level: float | None = None) -> np.ndarray:
    """Draw a quantity at every stage of a network: one panel per design, a thin line for each run. Returns the axes.

    groups: title → {name of a line → DataFrame with one row per run, one column per stage, in the network's order}.
    label: of the logarithmic axis that the panels share. level: draw a dotted line at this value.
    """
    figure, drawn = panels(groups, 8, 3.4, sharey=True)
    for ax, title, lines in drawn:
        for (name, runs), color in zip(lines.items(), (INK, HIGHLIGHT, LIGHT, QUIET), strict=False):
            short = [stage.removeprefix("inception_") for stage in runs.columns]
            curves = ax.plot(short, runs.to_numpy().T, color=color, lw=1, alpha=0.8)
            curves[0].set_label(name)
        if level is not None:
            ax.axhline(level, color=QUIET, ls=":", lw=1)
        ax.set(title=title, yscale="log", xlabel="stage")
        ax.tick_params(axis="x", rotation=90)
    drawn[0][0].set(ylabel=label)
    drawn[-1][0].legend(fontsize=8)
    return np.array(figure.axes)


def confusion(counts: Array, classes: list[str]) -> Axes:
    """Draw a matrix of counts, right class down and predicted class across, with numbers off the diagonal.

    The color is the count, and the diagonal has none. Returns the axes.
    """
    counts = np.asarray(counts)
    wrong = counts * (1 - np.eye(len(classes), dtype=counts.dtype))
    ax = plt.subplots(figsize=(1.5 + 0.45 * len(classes), 1 + 0.38 * len(classes)))[1]
    ax.imshow(wrong, cmap=ramp(HIGHLIGHT), aspect="auto")
    for i, j in zip(*np.nonzero(wrong), strict=True):
        ax.text(j, i, wrong[i, j], ha="center", va="center", fontsize=8, color="black")
    places = range(len(classes))
    ax.set(xticks=places, yticks=places, yticklabels=classes, xlabel="taken for", ylabel="right class")
    ax.set_title("Images of a class (row) taken for another (column)")
    ax.set_xticks(places, classes, rotation=40, ha="right", rotation_mode="anchor")
    return ax


def reliability(bins: dict[str, pd.DataFrame]) -> Axes:
    """Draw accuracy against confidence: name → what `Predictions.calibration` gives. Returns the axes.

    The area of a point is in proportion to the number of images in its bin.
    """
    ax = plt.subplots(figsize=(4.8, 4.4))[1]
    ax.plot([0, 1], [0, 1], color=QUIET, lw=0.8, ls="--", label="perfectly calibrated")
    for name, rows in bins.items():
        rows = rows[rows["images"] > 0]
        (line,) = ax.plot(rows["confidence"], rows["accuracy"], lw=1, label=name)
        sizes = 400 * rows["images"] / rows["images"].sum() + 6
        ax.scatter(rows["confidence"], rows["accuracy"], s=sizes, color=line.get_color(), alpha=0.6)
    ax.set(xlabel="confidence (largest probability)", ylabel="share of images that are right")
    ax.set(xlim=(0, 1.05), ylim=(0, 1.08), title="Is its confidence justified?")
    ax.legend(loc="upper left")
    return ax


def crop_ladders(ladders: dict[str, pd.DataFrame]) -> Figure:
    """Draw error against forward passes, one panel per title: title → DataFrame with crops, models, passes and error.

    The line of a number of models joins its crops; a number has one color in all panels. Where there is a column `runs`
    with the errors of single ensembles, each is a small dot. Returns the figure.
    """
    figure, drawn = panels(ladders, 5.2 * len(ladders), 3.8)
    numbers = sorted({n for table in ladders.values() for n in table["models"]})
    colors = dict(zip(numbers, plt.rcParams["axes.prop_cycle"].by_key()["color"], strict=False))
    for ax, title, table in drawn:
        for models, rows in table.groupby("models"):
            label, color = f"{models!s} model{'s' if models != 1 else ''}", colors.get(models)
            ax.plot(rows["passes"], rows["error"], marker="o", label=label, color=color)
            for row in rows.to_dict("records") if "runs" in rows else ():
                ax.plot([row["passes"]] * len(row["runs"]), row["runs"], ".", color=color, alpha=0.4, ms=4)
        ax.set(xscale="log", xlabel="forward passes per image", ylabel=f"{title} error (%)", ylim=(0, None))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.legend(fontsize=8)
    return figure
