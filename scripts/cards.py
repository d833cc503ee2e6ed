"""How long each notebook of the course is, and the pages that are made from the notebooks.

    measure(path).minutes            # words / 200, one for each code cell, and 8 for each exercise
    python scripts/cards.py          # writes the table of README.md and docs/index.md, and docs/summary.md

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
    """The size of a notebook. Words are those of Markdown cells, without answers, formulas and alt texts."""
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    prose = re.sub(r"<details>.*?</details>|\$\$.*?\$\$|!\[[^\]]*\]\([^)]*\)", "", prose, flags=re.DOTALL)
    code = [c for c in cells if c.cell_type == "code" and not HIDDEN & set(c.metadata.get("tags", []))]
    tables = (o.get("data", {}).get("text/html", "") for cell in code for o in cell.outputs)
    shown = sum("<table" in table and "data-figure" not in table for table in tables)  # living figures are no tables
    exercises = len(list((ROOT / "exercises" / path.stem).glob("*.md")))
    words = len(re.findall(r"\w+(?:[-'’.,]\w+)*", re.sub(r"\]\([^)]*\)", "]", prose)))
    return Size(words, len(code), shown + len(ROW.findall(prose)), exercises)


def question(path: Path) -> str:
    """The question in the title of a notebook, as in `# 02 · What does one module do?`."""
    title = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
    return title.rpartition("· ")[2]


def answer(path: Path) -> str:
    """The sentences in which a notebook answers its question: the quotation under the heading "The answer"."""
    for cell in nbformat.read(path, as_version=4).cells:
        found = re.search(r"^## The answer\n+((?:>.*\n?)+)", cell.source, re.MULTILINE)
        if found:
            return re.sub(r"^> ?", "", found[1], flags=re.MULTILINE).strip()
    raise ValueError(f"{path} must have a quotation under a heading 'The answer'")


def summary() -> str:
    """The question and the answer of each notebook of the core, in Markdown."""
    parts = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        parts.append(f"**[{question(path)}](../notebooks/{path.name})** {answer(path)}")
    return "\n\n".join(parts) + "\n"


def overview(above: str = "") -> str:
    """The course as a Markdown table: one row per notebook of the core; those that go deeper follow as a list.

    above: the way from the page with the table to the top, such as "../".
    """
    lines = ["| notebook | minutes | exercises |", "|---|---:|---:|"]
    deeper = []
    for path in notebooks.course(ROOT / "notebooks"):
        link = above + path.relative_to(ROOT).as_posix()
        if path.parent.name == "deeper":
            name = question(path) if above else path.stem.replace("_", " ")  # the README must be short
            deeper.append(f"[{name}]({link})")
        else:
            size = measure(path)
            lines.append(f"| {path.stem[:2]} [{question(path)}]({link}) | {size.minutes} | {size.exercises or ''} |")
    listed = "\n".join(["", *(f"- {name}" for name in deeper)]) if above else f" {', '.join(deeper)}."
    return "\n".join([*lines, "", f"Some questions go deeper, one notebook each:{listed}"]) + "\n"


def pages() -> dict[Path, str]:
    """The pages that show what is made here, with it made anew."""
    docs = ROOT / "docs"
    made = {README: overview(), docs / "index.md": overview("../"), docs / "summary.md": summary()}
    return {path: files.between(path, BEGIN, END, text) for path, text in made.items()}


if __name__ == "__main__":
    for path, text in pages().items():
        files.write(path, text.encode())
