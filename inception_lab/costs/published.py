"""The figures that papers, tools and people state, read from `data/reference`, each with its source.

One fact per row and a `source` in each: `data/reference/README.md` explains every file and column.
"""

import ast
import csv
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inception_lab.common import files

if TYPE_CHECKING:
    import pandas as pd  # slow to import

# How a cell of these columns is read, whichever table it stands in; every other column is text.
# fmt: off
WHOLE = [
    "patch_size", "stride", "output_height", "output_width", "output_channels", "depth", "one",
    "three_reduce", "three", "five_reduce", "five", "pool_proj",
    "year", "place", "models", "crops", "cost", "count", "input_size_pixels",
]
DECIMAL = ["top1_error_percent", "top5_error_percent", "compared_to_base_points", "number"]
# fmt: on


def read_options(text: str) -> dict:
    """Keyword arguments written as "aux=False, num_classes=10", as a dictionary; "" gives an empty one.

    Raises ValueError for any other text.
    """
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, AttributeError):
        raise ValueError(f'options must read like "aux=False, num_classes=10", got {text!r}') from None


READERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(WHOLE, int),
    **dict.fromkeys(DECIMAL, float),
    "options": read_options,
}


def find_folder(folder: str | Path | None = None) -> Path:
    """The folder with the tables: `folder` if given, else the one that came with this package.

    Raises ValueError if there is no such folder.
    """
    place = files.recorded("reference") if folder is None else Path(folder)
    if not place.is_dir():
        raise ValueError(f"folder must be a folder of CSV files, got {str(place)!r}")
    return place


def names(folder: str | Path | None = None) -> list[str]:
    """The names of the tables that `table` reads, in alphabetical order. Raises as `find_folder`."""
    return sorted(path.stem for path in find_folder(folder).glob("*.csv"))


def table(name: str, folder: str | Path | None = None) -> "pd.DataFrame":
    """One file of `data/reference` as a pandas DataFrame, one row per fact, in the file's order.

    name: "table1", "table2", "table3" (Szegedy et al. 2014, arXiv:1409.4842), "parameter_counts", "networks",
    "quotes" or "claims". Sizes, widths and counts are whole numbers, with <NA> where the source leaves a cell empty;
    columns in `_percent` and `_points` are decimal; `options` is a dictionary of keyword arguments for
    `inception_lab.build`; the rest is text, "" where empty. `source` is never empty.

    folder: read from there instead. Raises ValueError for an unknown name, offering the closest first, and
    for a broken row, naming file and line: wrong number of fields, no source, a cell that does not read.
    """
    import pandas as pd  # here, so that importing the library stays fast

    allowed = names(folder)
    if name not in allowed:
        closest = sorted(allowed, key=lambda other: -difflib.SequenceMatcher(None, str(name), other).ratio())
        raise ValueError(f"name must be one of {', '.join(map(repr, closest))}, got {name!r}")
    header, rows = read_rows(find_folder(folder) / f"{name}.csv")
    kinds = {column: "Int64" for column in header if column in WHOLE}
    kinds |= {column: "float64" for column in header if column in DECIMAL}
    return pd.DataFrame(rows, columns=header).astype(kinds)


def read_rows(path: Path) -> tuple[list[str], list[list]]:
    """Header and rows of a CSV file, each cell read by its column's entry in READERS.

    An empty number is None. Raises ValueError, naming file and line, for whatever `table` refuses.
    """
    with open(path, newline="", encoding="utf-8") as file:
        lines, rows = csv.reader(file, strict=True), []
        try:
            header = next(lines, [])
            if "source" not in header or len(set(header)) < len(header):
                raise ValueError(f"the header needs a column 'source' and no column twice, got {header}")
            for cells in lines:
                if len(cells) != len(header):
                    raise ValueError(f"{len(cells)} fields where the header has {len(header)}")
                if not cells[header.index("source")].strip():
                    raise ValueError("source is empty")
                rows.append([read_cell(column, cell) for column, cell in zip(header, cells, strict=True)])
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {max(1, lines.line_num)}: {error}") from None
    return header, rows


def read_cell(column: str, cell: str) -> Any:
    """A cell of a named column as number, dictionary or text; an empty number is None."""
    reader = READERS.get(column, str)
    if cell == "" and reader in (int, float):
        return None
    try:
        return reader(cell)
    except ValueError as error:
        raise ValueError(f"{column} is {cell!r}, which is no {reader.__name__}: {error}") from None
