"""No number is pasted: one of three or more digits in prose also stands in an output or in `data/reference`."""

import csv
import re
from pathlib import Path

import nbformat
import pytest

import notebooks

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = notebooks.course()

# What is no statement of a quantity: code, formulas, link targets, tags of HTML, arXiv identifiers.
NO_PROSE = re.compile(
    r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\]\([^)]*\)|https?://\S+|<[^>]*>|arXiv:\S+", re.DOTALL
)
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")


def numbers(text):
    """The numbers of three or more digits in a text, without thousands separators."""
    found = (token.rstrip(",").replace(",", "") for token in NUMBER.findall(text))
    return {token for token in found if sum(c.isdigit() for c in token) >= 3}


def stated(notebook):
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return numbers(NO_PROSE.sub(" ", prose))


def shown(notebook):
    return numbers(printed(notebook))


def printed(notebook):
    """The text of all outputs."""
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    texts = [o.get("text", "") for o in outputs]
    texts += [
        o["data"][kind] for o in outputs if "data" in o for kind in ("text/plain", "text/html") if kind in o["data"]
    ]
    return "\n".join(texts)


def referenced():
    cells = set()
    for path in (ROOT / "data" / "reference").glob("*.csv"):
        with open(path, newline="", encoding="utf-8") as file:
            cells.update(cell for row in csv.reader(file) for cell in row)
    return numbers("\n".join(cells))


def pasted(notebook):
    return sorted(stated(notebook) - shown(notebook) - referenced())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_numbers_in_prose_are_computed_or_referenced(path):
    assert pasted(nbformat.read(path, as_version=4)) == []


def test_neighboring_cells_of_a_table_are_two_numbers():
    assert {"10.07", "6998552"} <= referenced() and not any(number.startswith("22440") for number in referenced())


def test_a_pasted_number_is_found():
    def notebook(prose, output):
        code = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text=output)])
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(prose), code])

    assert pasted(notebook("It has 6,998,553 weights and 12.34 more.", "6,998,552\n12.34")) == ["6998553"]
    assert pasted(notebook("It has 6,998,552 weights, or 12.34 %, or 98765.", "6998552 and 12.34%\n98,765")) == []
    assert pasted(notebook("See `x = 98765`, $98765$ and [there](98765.html), or 28 · 28.", "")) == []
