"""The sizes of the notebooks: what is counted, the table of the README, and the limits of the core."""

from pathlib import Path

import cards
import nbformat
import pytest
from nbformat import v4

import notebooks

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIMITS = {"words": 2000, "cells": 25, "tables": 6, "minutes": 75}


def test_the_pages_show_the_table_and_the_answers():
    for path, text in cards.pages().items():
        assert path.read_text(encoding="utf-8") == text, "run python scripts/cards.py"
    made = cards.overview()
    assert all(f"{path.stem[:2]} [{cards.question(path)}](" in made for path in CORE)
    assert all(f"]({path.relative_to(ROOT).as_posix()})" in made for path in notebooks.course())
    assert all(cards.answer(path) in cards.summary() and len(cards.answer(path)) > 100 for path in CORE)


@pytest.mark.parametrize("path", notebooks.course(), ids=lambda path: path.stem)
def test_each_title_is_a_question(path):
    assert cards.question(path).endswith("?")


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_a_notebook_of_the_core_is_short(path):
    size = cards.measure(path)
    above = {name: getattr(size, name) for name, limit in LIMITS.items() if getattr(size, name) > limit}
    assert not above, f"at most {LIMITS}"


def test_what_is_counted(tmp_path):
    table = v4.new_output("display_data", data={"text/html": "<div><table></table></div>"})
    cells = [
        v4.new_markdown_cell("# 1 · Is it 1.5?\n\nThree more words: [a link](to/some-where.ipynb)."),
        v4.new_markdown_cell("| a | b |\n|---|---:|\n| c | d |\n\n$$x + y$$\n\n<details>an answer</details>"),
        v4.new_code_cell("1", outputs=[table]),
        v4.new_code_cell("2", outputs=[table], metadata={"tags": ["answer"]}),
        v4.new_code_cell("3", metadata={"tags": ["colab"]}),
        v4.new_code_cell("4"),
    ]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    assert cards.measure(tmp_path / "a.ipynb") == (4 + 5 + 4, 2, 2, 0)
    assert cards.Size(words=1000, cells=10, tables=0, exercises=5).minutes == 5 + 10 + 40
