"""What readers move and click: five living figures, and a button for a photograph.

A living figure is a JavaScript module of the folder living, which writes out the formula that it shows; the numbers in
it come from here. JupyterLab runs it by anywidget. A page holds it too, as those of the course site do, and needs no
kernel. Where no script runs, a table stands in its place.
"""

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, UnidentifiedImageError
from torch import nn

from inception_lab.common.checks import check_one_of
from inception_lab.costs.counting import count
from inception_lab.data.crops import SCALES
from inception_lab.models.blocks import Widths
from inception_lab.models.designs import TABLE_1, walk
from inception_lab.plots.style import PATH_LABELS, PATHS

LADDER = ("alexnet-2012", "zfnet", "nin", "vgg11", "vgg13", "vgg16", "vgg19", "googlenet")
LIVING = Path(__file__).with_name("living")
COLORS = {"colors": PATHS, "labels": PATH_LABELS}
STILL = "<p><em>Controls stand here where scripts run.</em></p>"


def presets() -> dict[str, dict[str, int]]:
    """The nine modules of Table 1, stage → input channels, side of the map of a 224×224 image and the six widths."""
    return {
        row.stage: {"channels": channels, "size": 224 // total_stride, **row.widths._asdict()}
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


def module_cost(stage: str = "inception_3a") -> Any:
    """Sliders for a module's six widths, its input and its map, and what the module costs, naive and reduced.

    stage: the module of GoogLeNet to start from. The naive module has the same #1×1, #3×3 and #5×5, no
    reductions, and a pool that passes all its input on. Raises ValueError for an unknown stage.
    """
    modules = presets()
    check_one_of("stage", stage, modules)
    values = {"module": stage, **modules[stage]}
    return _figure("module_cost", {"modules": modules, **COLORS}, values, pd.DataFrame(modules).T)


def living(name: str) -> Any:
    """One of the living figures: module_cost, receptive_field (by depth), crops, naive_growth, cost_ladder.

    Its `values` follow the controls, and can be set. Raises ValueError for another name.
    """
    check_one_of("name", name, FIGURES)
    return FIGURES[name]()


def _receptive_field() -> Any:
    chain = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1) for _ in range(112)])
    rows = {name: count(name).rows for name in ("alexnet-2012", "vgg16", "googlenet")}
    rows["3×3 layers alone"] = count(chain, (1, 224, 224)).rows
    windows = {name: table[table["kernel"] != ""] for name, table in rows.items()}
    networks = {name: table[["name", "kernel", "stride"]].to_numpy().tolist() for name, table in windows.items()}
    seen = pd.DataFrame({name: {"pixels seen": table["receptive_field"].max()} for name, table in windows.items()})
    inputs = {"networks": networks, "side": 224, **COLORS, **_photograph()}
    return _figure("receptive_field", inputs, {"network": "googlenet", "depth": 7}, seen)


def _crops() -> Any:
    table = pd.DataFrame({"crops": [1, 10, 144], "scales": [1, 1, 4], "squares": [1, 1, 3], "views": [1, 5, 6]})
    values = {"crops": "144", "crop": 1, "width": 451, "height": 300}
    return _figure("crops", {"size": 224, "sevenths": SCALES, **_photograph()}, values, table)


def _naive_growth() -> Any:
    module = presets()["inception_3a"]
    start = {"modules": 9} | {name: module[name] for name in ("channels", "one", "three", "five")}
    return _figure("naive_growth", {"start": start, "reduced": module, **COLORS}, start, pd.DataFrame([start]))


def _cost_ladder() -> Any:
    counts = {name: count(name) for name in LADDER}
    layers = {name: c.rows.loc[c.rows["params"] > 0, ["params", "output"]] for name, c in counts.items()}
    networks = {name: table.to_numpy().tolist() for name, table in layers.items()}
    table = pd.DataFrame({name: {"MACs": c.macs, "parameters": c.params} for name, c in counts.items()})
    return _figure("cost_ladder", {"networks": networks}, {"network": "vgg16", "layers": 16}, table)


FUNCTIONS = (module_cost, _receptive_field, _crops, _naive_growth, _cost_ladder)
FIGURES = {function.__name__.removeprefix("_"): function for function in FUNCTIONS}


def _photograph() -> dict[str, str]:
    from skimage import data  # a cat, as a page holds it

    buffer = io.BytesIO()
    Image.fromarray(data.chelsea()).save(buffer, "jpeg", quality=60)
    return {"photograph": "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()}


def _figure(name: str, inputs: dict[str, Any], values: dict[str, Any], table: pd.DataFrame) -> Any:
    """A living figure as a widget, and as a page that needs no kernel: its script in one piece."""
    parts, figure, style = ((LIVING / f).read_text("utf-8") for f in ("parts.js", f"{name}.js", "living.css"))
    script = re.sub("^export ", "", parts, flags=re.MULTILINE) + re.sub("^import .*", "", figure, flags=re.MULTILINE)
    state = json.dumps({"inputs": inputs, "values": values}, ensure_ascii=False).replace("<", "\\u003c")
    page = f"""<div data-figure="{name}">{STILL}{table.to_html(border=0)}</div><style>{style}</style>
<script type="module">{script}mount("{name}", figure, {state});</script>"""
    import anywidget  # here, because only notebooks need them
    import traitlets

    class LivingFigure(anywidget.AnyWidget):
        _esm, _css = script, style
        inputs = traitlets.Dict().tag(sync=True)
        values = traitlets.Dict().tag(sync=True)

        def __repr__(self) -> str:
            return f"a living figure: {name}"

        def _repr_html_(self) -> str:
            return page

    return LivingFigure(inputs=inputs, values=values)


def upload(look: Callable[[Image.Image], Any]) -> Any:
    """A button for a photograph of the reader's, and below it whatever `look` prints or draws for that photograph."""
    import ipywidgets  # here, because only notebooks need it
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
