"""ARCHITECTURE.md says what the library is: its tables are the code's, and the lesson stays short."""

import architecture
import pytest

import notebooks

PAGE = architecture.PAGE.read_text(encoding="utf-8")


def rows(name: str) -> dict[str, str]:
    """The rows of a marked table of the page: first cell → second cell."""
    table = PAGE.partition(f"<!-- {name}: made by scripts/architecture.py -->")[2].partition("<!-- end of")[0]
    cells = [line.strip("|").split("|") for line in table.strip().splitlines()[2:]]
    return {first.strip(): second.strip() for first, second in cells}


def test_the_stated_lines_are_the_codes_within_3_percent():
    stated, counted = rows("lines"), architecture.lines_by_package()
    assert stated.keys() == counted.keys()
    for name, lines in counted.items():
        assert int(stated[name].replace(",", "")) == pytest.approx(lines, rel=0.03), (
            "run python scripts/architecture.py"
        )


def test_every_package_is_drawn_and_described():
    packages = {path.parent.name for path in architecture.LIBRARY.glob("*/__init__.py")}
    drawing = PAGE.partition("```\n")[2].partition("```")[0]
    assert all(package in drawing for package in packages)


def test_what_notebooks_import_is_stated_and_public():
    assert architecture.notebooks_table() in PAGE, "run python scripts/architecture.py"
    for notebook in notebooks.course():
        for module in architecture.imported_names(notebook):
            assert module.count(".") <= 1, f"{notebook.stem} imports from {module}, which is no package"


def test_the_library_does_not_grow():
    """The aim is thinner: 9,500 lines in all, and 4,300 for the lesson. These are the lines of today."""
    lines = architecture.lines_by_package()
    assert lines["in all"] <= 13_875
    assert lines["the lesson"] <= 6_323
