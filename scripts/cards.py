"""How long each notebook of the course is, and the table of them in README.md.

    measure(path).minutes            # words / 200, one for each code cell, and 8 for each exercise
    python scripts/cards.py          # writes the table

Code cells of folded answers, and the one for Colab, are not counted: nobody has to read them.
"""

import re
from pathlib import Path
from typing import NamedTuple

import nbformat

import notebooks
from inception_lab.common import files

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- notebooks: made by scripts/cards.py -->", "<!-- end of notebooks -->"
ROW = re.compile(r"^\|.*\|\n\|[ :|-]+\|\n", re.MULTILINE)  # the head of a table in Markdown
HIDDEN = {"colab", "answer"}


class Size(NamedTuple):
    """What a reader has to go through: words of prose, code cells, tables, and exercises that check themselves."""

    words: int
    cells: int
    tables: int
    exercises: int

    @property
    def minutes(self) -> int:
        return round(self.words / 200 + self.cells + 8 * self.exercises)


def measure(path: Path) -> Size:
    """The size of a notebook. Words are those of Markdown cells, without answers and formulas."""
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    prose = re.sub(r"<details>.*?</details>|\$\$.*?\$\$", "", prose, flags=re.DOTALL)
    code = [c for c in cells if c.cell_type == "code" and not HIDDEN & set(c.metadata.get("tags", []))]
    shown = sum("<table" in o.get("data", {}).get("text/html", "") for cell in code for o in cell.outputs)
    exercises = len(list((ROOT / "exercises" / path.stem).glob("*.md")))
    words = len(re.findall(r"\w+(?:[-'’.,]\w+)*", re.sub(r"\]\([^)]*\)", "]", prose)))
    return Size(words, len(code), shown + len(ROW.findall(prose)), exercises)


def question(path: Path) -> str:
    """The question in the title of a notebook, as in `# 02 · What does one module do?`."""
    title = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
    return title.rpartition("· ")[2]


def overview() -> str:
    """The course as a Markdown table: one row per notebook of the core; those that go deeper follow as a list."""
    lines = ["| notebook | minutes | exercises |", "|---|---:|---:|"]
    deeper = []
    for path in notebooks.course(ROOT / "notebooks"):
        link = path.relative_to(ROOT).as_posix()
        if path.parent.name == "deeper":
            deeper.append(f"[{path.stem.replace('_', ' ')}]({link})")
        else:
            size = measure(path)
            lines.append(f"| {path.stem[:2]} [{question(path)}]({link}) | {size.minutes} | {size.exercises or ''} |")
    return "\n".join([*lines, "", f"Some questions go deeper, one notebook each: {', '.join(deeper)}."]) + "\n"


if __name__ == "__main__":
    files.write(README, files.between(README, BEGIN, END, overview()).encode())
