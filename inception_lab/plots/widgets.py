"""What readers move and click in a notebook: sliders for what a module costs, and a button for a photograph."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image, UnidentifiedImageError

from inception_lab.common.checks import check_one_of
from inception_lab.models.blocks import Widths
from inception_lab.models.designs import TABLE_1, walk
from inception_lab.plots.style import PATH_LABELS, PATHS

if TYPE_CHECKING:
    import ipywidgets

OWN = "widths of my own"
SLIDERS = {  # description: (smallest, largest, step), in the order of a preset
    "input channels": (8, 1024, 8),
    "map size (pixels)": (1, 56, 1),
    "#1×1": (0, 512, 8),
    "#3×3 reduce": (8, 512, 8),
    "#3×3": (0, 512, 8),
    "#5×5 reduce": (8, 512, 8),
    "#5×5": (0, 512, 8),
    "pool proj": (0, 512, 8),
}


def presets() -> dict[str, tuple[int | None, ...]]:
    """The nine modules of Table 1: stage → (input channels, side of the map of a 224×224 image, the six widths)."""
    return {
        row.stage: (channels, 224 // total_stride, *row.widths)
        for row, channels, _, total_stride in walk(TABLE_1)
        if row.type == "inception"
    }


def costs_by_path(in_channels: int, widths: Widths, size: int) -> pd.DataFrame:
    """What each path costs in a naive module (Figure 2a) and in one with reductions (Figure 2b).

    size: side of the map in pixels. Rows are the four paths; the columns "naive MACs", "reduced MACs", "naive
    parameters" and "reduced parameters" take biases as parameters. A path of width 0 costs nothing.
    """
    w = Widths(*widths)
    one, pool = [(1, in_channels, w.one)], [(1, in_channels, w.pool_proj or 0)]  # kernel, channels in, channels out
    three = [(1, in_channels, w.three_reduce), (3, w.three_reduce, w.three)] if w.three else []
    five = [(1, in_channels, w.five_reduce), (5, w.five_reduce, w.five)] if w.five else []
    naive = [one, [(3, in_channels, w.three)], [(5, in_channels, w.five)], []]
    costs: dict[str, list[int]] = {}
    for module, paths in {"naive": naive, "reduced": [one, three, five, pool]}.items():
        costs[f"{module} MACs"] = [sum(k * k * c * n for k, c, n in path) * size * size for path in paths]
        costs[f"{module} parameters"] = [sum(k * k * c * n + n for k, c, n in path) for path in paths]
    return pd.DataFrame(costs, index=pd.Index(PATHS, name="path"))


def cost_html(in_channels: int, size: int, *widths: int) -> str:
    """The costs of a module as HTML: a bar for each module, striped by path, and the numbers in a table."""
    w = Widths(*widths)
    costs = costs_by_path(in_channels, w, size)
    total, bars, rows = costs.sum(), "", ""
    longest = max(total["naive MACs"], total["reduced MACs"], 1)
    for module in ("naive", "reduced"):
        bars += f'{module}<div style="display:flex; height:22px; margin-bottom:6px">'
        for path, macs in zip(PATHS, costs[f"{module} MACs"], strict=True):
            bars += f'<div style="width:{100 * macs / longest:.2f}%; background:{PATHS[path]}"></div>'
        bars += "</div>"
    for path, naive, reduced in zip(PATHS, costs["naive MACs"], costs["reduced MACs"], strict=True):
        label = f'<span style="background:{PATHS[path]}">&emsp;</span> {PATH_LABELS[path]}, MACs'
        rows += _row(label, naive, reduced)
    for kind in ("MACs", "parameters"):
        rows += _row(f"<b>all {kind}</b>", total[f"naive {kind}"], total[f"reduced {kind}"])
    rows += _row("output channels", w.one + w.three + w.five + in_channels, w.out_channels(in_channels))
    table = f"<table><tr><th></th><th>naive</th><th>reduced</th></tr>{rows}</table>"
    return f'<div style="max-width:640px">{bars}{table}{_verdict(total, w)}</div>'


def _row(label: str, *numbers: int) -> str:
    cells = (f'<td style="text-align:right; padding-left:2em">{n:,}</td>' for n in numbers)
    return f"<tr><td>{label}</td>{''.join(cells)}</tr>"


def _verdict(total: pd.Series, w: Widths) -> str:
    empty = [PATH_LABELS[path] for path in PATHS if not (w.pool_proj if path == "pool" else getattr(w, path))]
    if len(empty) == len(PATHS):
        return "The reduced module has no path left: give at least one of the four a width."
    ratio = total["naive MACs"] / total["reduced MACs"]
    text = f"The naive module needs <b>{ratio:.2f}</b> times the reduced one's MACs."
    return text + (f" Width 0 leaves a path out: {', '.join(empty)}. (The naive pool stays.)" if empty else "")


def module_cost(stage: str = "inception_3a") -> "ipywidgets.VBox":
    """Sliders for a module's input, map size and six widths, above its cost, which follows them.

    stage: the module of GoogLeNet to start from. The naive module has the same #1×1, #3×3 and #5×5, no
    reductions, and a pool that passes all its input on. Raises ValueError for an unknown stage.
    """
    import ipywidgets  # here, because only notebooks need it

    modules, view = presets(), ipywidgets.HTML()
    loading: list[bool] = []  # not empty while a preset moves the sliders
    check_one_of("stage", stage, modules)
    wide = {"description_width": "9em"}
    preset = ipywidgets.Dropdown(options=[*modules, OWN], value=stage, description="module", style=wide)
    sliders = [ipywidgets.IntSlider(0, *SLIDERS[name], description=name, style=wide) for name in SLIDERS]

    def redraw(change: dict[str, Any] | None = None) -> None:
        if not loading:
            values = tuple(slider.value for slider in sliders)
            view.value = cost_html(*values)
            preset.value = next((name for name, known in modules.items() if known == values), OWN)

    def load(change: dict[str, Any]) -> None:
        if change["new"] != OWN:
            loading.append(True)  # eight sliders move, and the picture is drawn once
            for slider, value in zip(sliders, modules[change["new"]], strict=True):
                slider.value = value
            loading.clear()
            redraw()

    load({"new": stage})
    preset.observe(load, "value")
    for slider in sliders:
        slider.observe(redraw, "value")
    grid = ipywidgets.GridBox(
        sliders, layout={"grid_template_columns": "repeat(auto-fill, minmax(310px, 1fr))", "max_width": "720px"}
    )
    return ipywidgets.VBox([preset, grid, view])


def upload(look: Callable[[Image.Image], Any]) -> "ipywidgets.VBox":
    """A button for a photograph of the reader's, and below it whatever `look` prints or draws for that photograph."""
    import ipywidgets  # as above
    import matplotlib.pyplot as plt

    button = ipywidgets.FileUpload(accept="image/*", description="a photograph of mine", layout={"width": "16em"})
    view = ipywidgets.Output()

    def redraw(change: dict[str, Any]) -> None:
        view.clear_output()
        with view:
            for file in change["new"]:
                try:
                    look(Image.open(io.BytesIO(file["content"])))
                except (UnidentifiedImageError, ValueError) as error:
                    print(f"{file['name']}: {error}")
            plt.show()

    button.observe(redraw, "value")
    return ipywidgets.VBox([button, view])
