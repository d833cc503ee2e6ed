"""The ledger of claims: what is said about GoogLeNet and its descendants, and what this course found.

    table = published.table("claims")       # one row per claim, from data/reference/claims.csv
    python scripts/claims.py                # writes its table into docs/claims.md, and STRIKING rows into README.md
    problems(row, notebooks_folder)         # what is wrong with a row: a test expects nothing

A row names a cell of a notebook by its id, and its `figure` stands in the cell's stored output, which `make test`
compares with a new one.
"""

import re
from pathlib import Path

import nbformat

from inception_lab.common import files
from inception_lab.costs import published

VERDICTS = (
    "confirmed",
    "confirmed with a condition",
    "not seen here",
    "contradicted",
    "cannot be tested here",
)
NO_CELL = "cannot be tested here"  # the only verdict that may do without a figure and a cell
BEGIN, END = "<!-- claims: made by scripts/claims.py -->", "<!-- end of claims -->"
STRIKING = ["twelve-times", "conv1-params", "conv2-reduction", "trained-reductions", "squeezed"]
ROOT = Path(__file__).resolve().parent.parent


def problems(row, folder: str | Path) -> list[str]:
    """What is wrong with a row of the ledger, in words; an empty list if nothing is.

    row: a row of `published.table("claims")`. folder: where the notebooks are.
    """
    found = []
    if row.verdict not in VERDICTS:
        found.append(f"verdict must be one of {', '.join(map(repr, VERDICTS))}, got {row.verdict!r}")
    if row.verdict != "confirmed" and not row.condition:
        found.append(f"the verdict {row.verdict!r} needs a condition: what holds, or why")
    if not (row.figure and row.notebook and row.cell):
        return found + ([] if row.verdict == NO_CELL else ["figure, notebook and cell must be given"])
    path = Path(folder) / f"{row.notebook}.ipynb"
    if not path.is_file():
        return [*found, f"there is no notebook {row.notebook}"]
    cells = {cell.id: cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"}
    if row.cell not in cells:
        return [*found, f"{row.notebook} has no code cell {row.cell!r}; {_printed_by(cells, row.figure)}"]
    cell = cells[row.cell]
    if "nbval-ignore-output" in cell.metadata.get("tags", []) or "NBVAL_IGNORE_OUTPUT" in cell.source:
        found.append(f"the output of {row.notebook}, {row.cell} is not compared, so that it decides nothing")
    if not stands_in(row.figure, output(cell)):
        found.append(f"{row.notebook}, {row.cell} does not print {row.figure!r}; {_printed_by(cells, row.figure)}")
    return found


def output(cell) -> str:
    """The text that a code cell has stored as its output."""
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
    return "\n".join(texts)


def stands_in(figure: str, text: str) -> bool:
    """Whether a figure stands in a text by itself, and not as a part of a longer number or word."""
    return re.search(rf"(?<![\w.,−-]){re.escape(figure)}(?![\w]|[.,]\d)", text) is not None


def _printed_by(cells: dict, figure: str) -> str:
    printing = [name for name, cell in cells.items() if stands_in(figure, output(cell))]
    return f"cells that print {figure!r}: {', '.join(printing) or 'none'}"


def overview(table, notebooks: str = "notebooks") -> str:
    """Rows of the ledger as a Markdown table: each with its verdict, its figure, and where it is computed.

    notebooks: the folder of the notebooks, as the page that shows the table links to it.
    """
    lines = ["| claim | verdict | figure | what it is, and the condition | notebook |", "|---|---|---|---|---|"]
    for row in table.itertuples():
        said = f"{row.meaning}; {row.condition}" if row.condition and row.meaning else row.meaning or row.condition
        name = row.notebook.removeprefix("deeper/")
        label = name[:2] if name == row.notebook else name.replace("_", " ")
        link = f"[{label}]({notebooks}/{row.notebook}.ipynb)" if row.notebook else ""
        figure = re.sub(r"(?<=\d)%", " %", row.figure.replace("-", "−"))  # as prose has it, not as Python prints it
        cells = (row.claim, row.verdict, figure, said, link)
        lines.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """The pages that show the ledger, with their tables made anew: all of it in docs/claims.md, a few in README.md."""
    table = published.table("claims")
    few = table.set_index("id", drop=False).loc[STRIKING]
    tables = {ROOT / "docs" / "claims.md": overview(table, "../notebooks"), ROOT / "README.md": overview(few)}
    return {path: files.between(path, BEGIN, END, text) for path, text in tables.items()}


if __name__ == "__main__":
    for path, text in pages().items():
        files.write(path, text.encode())
