"""The accuracy-cost plane, and figures that say more about a point when the mouse is on it."""

import base64
import html
import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from inception_lab.plots.costs import COSTS
from inception_lab.plots.style import HIGHLIGHT, INK, LIGHT, QUIET


def frontier(points: pd.DataFrame, cost: str, error: str = "error") -> pd.DataFrame:
    """The rows that no other row beats: none is at most as costly and at most as wrong, and better in one of the two.

    points: DataFrame with both columns, lower is better in both. The cheapest comes first.
    """
    ordered = points.sort_values([cost, error])
    return ordered[ordered[error] < ordered[error].astype(float).cummin().shift(fill_value=float("inf"))]


def accuracy_cost(points: pd.DataFrame, error: str = "top-5 error (%)") -> Figure:
    """Draw error against MACs and against parameters, each with its frontier; returns a figure for `with_notes`.

    points: DataFrame with the columns network, MACs, parameters, error, and setting: a color each. The label of a
    point is left out where `label` is "". A point's gid is "MACs-0", "parameters-0" and so on, in the order of the
    rows.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    colors = dict(zip(points["setting"].unique(), (HIGHLIGHT, INK, LIGHT, QUIET), strict=False))
    for ax, (cost, (unit, label)) in zip(axes, COSTS.items(), strict=True):
        best = frontier(points, cost)
        ax.step(best[cost] / unit, best["error"], where="post", color=QUIET, lw=1, ls="--", label="frontier")
        for i, row in enumerate(points.itertuples()):
            x = getattr(row, cost) / unit
            ax.plot(x, row.error, "o", ms=8, color=colors[row.setting], alpha=0.8, gid=f"{cost}-{i}")
            ax.annotate(row.label, (x, row.error), (6, 4), textcoords="offset points", fontsize=8)
        ax.set(xscale="log", xlabel=label, title=f"Error against {cost}")
        ax.xaxis.set_major_formatter("{x:g}")
    for setting, color in colors.items():
        axes[0].plot([], [], "o", color=color, label=setting)
    axes[0].set(ylabel=error)
    axes[0].legend(fontsize=8)
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
