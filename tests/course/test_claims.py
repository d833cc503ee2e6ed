"""The ledger of claims: each verdict's figure is what the named cell prints, and two pages show the ledger."""

import re
from pathlib import Path

import claims
import nbformat
import pytest

from inception_lab.common import files
from inception_lab.costs import published

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
LEDGER = published.table("claims")


@pytest.mark.parametrize("row", list(LEDGER.itertuples()), ids=lambda row: row.id)
def test_the_figure_of_a_claim_is_what_its_cell_prints(row):
    assert claims.problems(row, NOTEBOOKS) == []


def test_every_claim_has_a_name_of_its_own_and_all_verdicts_occur():
    assert LEDGER["id"].is_unique and LEDGER["claim"].is_unique
    assert set(LEDGER["verdict"]) == set(claims.VERDICTS)


def test_the_pages_show_the_ledger():
    shown = claims.pages()
    for path, text in shown.items():
        assert path.read_text(encoding="utf-8") == text, "run python scripts/claims.py"
    readme, page = shown[ROOT / "README.md"], shown[ROOT / "docs" / "claims.md"]
    assert [row.claim in page for row in LEDGER.itertuples()].count(False) == 0
    assert [claim for claim in LEDGER["claim"] if claim in readme] == [
        row.claim for row in LEDGER.itertuples() if row.id in claims.STRIKING
    ]


def test_the_table_has_a_row_a_claim():
    rows = claims.overview(LEDGER).splitlines()[2:]
    assert len(rows) == len(LEDGER)
    for row, claim in zip(rows, LEDGER.itertuples(), strict=True):
        figure = claim.figure.replace("-", "−").replace("%", " %")
        assert row.startswith(f"| {claim.claim} | {claim.verdict} | {figure} | ") and row.count("|") == 6


def test_a_row_names_its_notebook_also_in_a_folder():
    table = LEDGER.iloc[:2].assign(notebook=["04_of_the_course", "deeper/one_question"])
    first, second = claims.overview(table).splitlines()[2:]
    assert first.endswith("| [04](notebooks/04_of_the_course.ipynb) |")
    assert second.endswith("| [one question](notebooks/deeper/one_question.ipynb) |")


def test_a_page_without_the_marks_is_refused(tmp_path):
    page = tmp_path / "page.md"
    for text in ("# A course\n", claims.BEGIN, f"{claims.END} {claims.BEGIN}"):
        page.write_text(text)
        with pytest.raises(ValueError, match=r"page\.md must hold the marks"):
            files.between(page, claims.BEGIN, claims.END, "a table")


# --- what would be found ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    def code(name, text, *tags):
        cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text=text)])
        cell.id, cell.metadata["tags"] = name, list(tags)
        return cell

    cells = [code("sure", "8.71 times, 12,345"), code("unsure", "8.71", "nbval-ignore-output")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "00_made.ipynb")
    return tmp_path


RIGHT = {"verdict": "contradicted", "condition": "why", "figure": "8.71", "notebook": "00_made", "cell": "sure"}


def row(**changes):
    made = LEDGER.iloc[:1].assign(**(RIGHT | changes))
    return next(made.itertuples())


def test_a_right_row_has_no_problem(folder):
    assert claims.problems(row(), folder) == []
    assert claims.problems(row(figure="12,345"), folder) == []
    assert claims.problems(row(verdict="cannot be tested here", figure="", notebook="", cell=""), folder) == []


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"figure": "8.72"}, "does not print '8.72'; cells that print '8.72': none"),
        ({"figure": "8.7"}, "does not print '8.7'"),
        ({"figure": "2,345"}, "does not print '2,345'"),
        ({"figure": "12"}, "does not print '12'"),
        ({"cell": "unsure"}, "is not compared"),
        ({"cell": "gone"}, "has no code cell 'gone'; cells that print '8.71': sure, unsure"),
        ({"notebook": "99_none"}, "there is no notebook 99_none"),
        ({"verdict": "true"}, "verdict must be one of 'confirmed', .*got 'true'"),
        ({"condition": ""}, "needs a condition"),
        ({"figure": ""}, "figure, notebook and cell must be given"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(changes, problem, folder):
    (found,) = claims.problems(row(**changes), folder)
    assert re.search(problem, found)
