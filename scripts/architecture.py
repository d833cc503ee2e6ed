"""Write the two tables of ARCHITECTURE.md anew: lines by package, and what each notebook imports of the library.

python scripts/architecture.py
"""

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path

import notebooks

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "ARCHITECTURE.md"
LIBRARY = ROOT / "inception_lab"
LESSON = ("models", "costs", "data", "training")
NO_LESSON = ("models/fast_twin.py", "models/fused.py", "costs/operators.py")  # the fast twin and the operator tables


def lines(paths: Iterable[Path]) -> int:
    """Lines of some Python files, docstrings and comments included."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def lines_by_package() -> dict[str, int]:
    """Lines by package; "the lesson" is what a reader has to understand, "in all" the whole library."""
    files = sorted(LIBRARY.rglob("*.py"))
    counts = {f"`{p.parent.name}`": lines(p.parent.glob("*.py")) for p in files if p.parent.parent == LIBRARY}
    counts["`cli`"] = lines([LIBRARY / "cli.py"])
    lesson = [p for p in files if p.relative_to(LIBRARY).parts[0] in LESSON]
    lesson = [p for p in lesson if p.relative_to(LIBRARY).as_posix() not in NO_LESSON]
    return {**counts, "the lesson": lines(lesson), "in all": lines(files)}


def imported_names(notebook: Path) -> dict[str, list[str]]:
    """What the code cells of a notebook import of the library: module → names."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    found: dict[str, set[str]] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            code = re.sub(r"^(\s*)[%!].*$", r"\1pass", "".join(cell["source"]), flags=re.MULTILINE)
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "inception_lab":
                    found.setdefault(str(node.module), set()).update(alias.name for alias in node.names)
    return {module: sorted(names) for module, names in sorted(found.items())}


def lines_table() -> str:
    """A Markdown table of `lines_by_package`."""
    rows = [f"| {name} | {count:,} |" for name, count in lines_by_package().items()]
    return "\n".join(["| package | lines |", "|---|---:|", *rows])


def notebooks_table() -> str:
    """A Markdown table of `imported_names`, one row per notebook."""
    rows = ["| notebook | public names |", "|---|---|"]
    for notebook in notebooks.course(ROOT / "notebooks"):
        modules = imported_names(notebook)
        parts = [
            f"{module.removeprefix('inception_lab.').replace('inception_lab', '')}: {', '.join(names)}".lstrip(": ")
            for module, names in modules.items()
        ]
        rows.append(f"| {notebook.relative_to(ROOT / 'notebooks').with_suffix('')} | {'; '.join(parts)} |")
    return "\n".join(rows)


def with_table(page: str, name: str, table: str) -> str:
    """The page with the table between its two marks made anew; ValueError where a mark is missing."""
    begin, end = f"<!-- {name}: made by scripts/architecture.py -->", f"<!-- end of {name} -->"
    if begin not in page or end not in page:
        raise ValueError(f"page must hold the marks {begin!r} and {end!r}")
    return f"{page.partition(begin)[0]}{begin}\n\n{table}\n\n{end}{page.partition(end)[2]}"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    text = with_table(with_table(text, "lines", lines_table()), "notebooks", notebooks_table())
    PAGE.write_text(text, encoding="utf-8")
