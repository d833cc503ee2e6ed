"""The recorded gallery of the published GoogLeNet as a page: every unit of its nine modules, from data/gallery.

gallery("units")                     # then open units/index.html

scripts/gallery.py made it. Neither the network's weights nor a photograph is needed to open it.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from inception_lab.common import files
from inception_lab.common.checks import DataError, RunError
from inception_lab.explorer import page

TITLE = "The units of the published GoogLeNet"
DETAILS = {  # columns of units.csv.bz2 that a click shows: what their numbers are called
    "inputs": ("channel", "excites", "inhibits"),
    "outputs": ("channel", "excites", "inhibits"),
    "speaks": ("class", "r"),
    "photographs": ("class",),
}


def gallery(out: str | Path, recorded: Path | None = None) -> Path:
    """Make the page of the gallery in a folder. Returns the file to open.

    recorded: the folder of the gallery, by default data/gallery. Raises ValueError for an `out` that is no folder,
    RunError for one that holds something else, DataError where the gallery has not been made.
    """
    out = files.check_out(out, folder=True)
    recorded = files.recorded("gallery") if recorded is None else recorded
    if not (recorded / "run.js").is_file():
        raise DataError(f"there is no {recorded / 'run.js'}: scripts/gallery.py makes it")
    state, kept = (page.read_script(folder / "run.js") for folder in (recorded, out / "data"))
    if page.foreign_files(out) or (kept and kept["made_from"] != state["made_from"]):
        raise RunError(f"{out} is not empty, and holds no gallery: choose another folder")
    page.write_page(out, TITLE)
    for sheet in recorded.glob("*.webp"):
        files.write(out / "images" / sheet.name, sheet.read_bytes())
    table = pd.read_csv(recorded / "units.csv.bz2", keep_default_na=False)
    stages = {stage["name"]: stage for stage in state["stages"]}
    for module, rows in table.groupby("module", sort=False):
        details: dict[str, Any] = {name: [entries(text, keys) for text in rows[name]] for name, keys in DETAILS.items()}
        page.write_script(out / "data" / f"{module}.js", "stage", module, details | {"peak": rows["peak"].tolist()})
        stages[module]["speaks"] = [[spoken["class"] for spoken in unit] for unit in details["speaks"]]
    page.write_script(out / "data" / "run.js", "run", state)  # last: with it the page is whole
    return out / "index.html"


def entries(text: str, keys: tuple[str, ...]) -> list[dict[str, float]]:
    """The entries of a cell of the table, "7:0.31:0.2 12:0.1:0.4": {key: number} of each, whole for the first key."""
    rows = [part.split(":") for part in str(text).split()]
    return [dict(zip(keys, [int(row[0]), *map(float, row[1:])], strict=True)) for row in rows]
