"""The reader's own copy of the course: no answer before its question, and nothing of the reader's is lost."""

import re
from pathlib import Path

import lab
import nbformat
import pytest
import workspace
from nbformat import v4
from nbformat.sign import NotebookNotary

import notebooks

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def signatures(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))


@pytest.fixture
def root(tmp_path):
    """A course of two lessons and one notebook of exercises."""
    place = tmp_path / "course"
    (place / "notebooks" / "deeper").mkdir(parents=True)
    (place / "exercises").mkdir()
    for name in ("01_first", "deeper/more"):
        write(place / "notebooks" / f"{name}.ipynb", f"lesson {name}")
    write(place / "exercises" / "01_first.ipynb", "exercises")
    return place


def write(path, text):
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell(text, id="a"), v4.new_code_cell("1", id="b")])
    path.write_text(nbformat.writes(notebook))


def texts(root):
    """What the first cell of each notebook in work says."""
    work = root / "work"
    return {
        path.relative_to(work).as_posix(): nbformat.read(path, as_version=4).cells[0].source
        for path in work.rglob("*.ipynb")
    }


FIRST = {
    "01_first.ipynb": "lesson 01_first",
    "01_first_exercises.ipynb": "exercises",
    "deeper/more.ipynb": "lesson deeper/more",
}


def test_lessons_and_exercises_lie_beside_each_other_and_are_trusted(root):
    assert workspace.update(root) == [] and texts(root) == FIRST
    for path in (root / "work").rglob("*.ipynb"):
        assert NotebookNotary().check_signature(nbformat.read(path, as_version=4))
    before = {path: path.stat().st_mtime_ns for path in (root / "work").rglob("*")}
    assert workspace.update(root) == []
    assert before == {path: path.stat().st_mtime_ns for path in (root / "work").rglob("*")}


def test_a_newer_lesson_replaces_one_that_nobody_has_worked_in(root):
    workspace.update(root)
    write(root / "notebooks" / "01_first.ipynb", "newer")
    assert workspace.update(root) == []
    assert texts(root) == FIRST | {"01_first.ipynb": "newer"}


def test_a_newer_lesson_arrives_beside_the_readers(root, capsys, monkeypatch):
    workspace.update(root)
    write(root / "work" / "01_first.ipynb", "mine")
    assert workspace.update(root) == []  # nothing is newer
    for number, text in enumerate(["second", "third"], 2):
        write(root / "notebooks" / "01_first.ipynb", text)
        assert workspace.update(root) == ["01_first.2.ipynb"]  # of which nobody has changed the one before
        assert workspace.update(root) == []
        assert texts(root) == FIRST | {"01_first.ipynb": "mine", "01_first.2.ipynb": text}, number
    write(root / "work" / "01_first.2.ipynb", "mine too")
    write(root / "notebooks" / "01_first.ipynb", "fourth")
    assert workspace.update(root) == ["01_first.3.ipynb"]
    mine = {"01_first.ipynb": "mine", "01_first.2.ipynb": "mine too", "01_first.3.ipynb": "fourth"}
    assert texts(root) == FIRST | mine


@pytest.mark.parametrize("record", [None, "", "[]", "{"])
def test_without_a_record_nothing_is_overwritten(root, record):
    workspace.update(root)
    write(root / "work" / "01_first.ipynb", "mine")
    file = root / "work" / workspace.RECORD
    file.unlink() if record is None else file.write_text(record)
    write(root / "notebooks" / "01_first.ipynb", "newer")
    assert workspace.update(root) == ["01_first.2.ipynb"]
    assert texts(root) == FIRST | {"01_first.ipynb": "mine", "01_first.2.ipynb": "newer"}


def test_a_deleted_notebook_comes_back(root):
    workspace.update(root)
    (root / "work" / "01_first.ipynb").unlink()
    workspace.update(root)
    assert texts(root) == FIRST


def test_a_file_in_its_place_is_told(root):
    (root / "work").write_text("")
    with pytest.raises(ValueError, match="work must be a folder"):
        workspace.update(root)


def test_no_answer_is_shown_before_its_question_and_every_link_holds(tmp_path):
    for name in ("notebooks", "exercises", "docs", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("README.md", "tests", "inception_lab", "scripts", "benchmarks", "CHANGELOG.md", "LICENSE"):
        (tmp_path / name).symlink_to(ROOT / name)
    workspace.update(tmp_path)
    made = sorted((tmp_path / "work").rglob("*.ipynb"))
    assert len(made) == len(notebooks.course()) + len(list((ROOT / "exercises").glob("*.ipynb")))
    cleared, shown = 0, 0
    for path in made:
        cells = nbformat.read(path, as_version=4).cells
        answers = list(notebooks.answers_to_predictions(cells))
        assert all(cell.outputs == [] for cell in answers), path
        cleared += len(answers)
        shown += sum(bool(cell.get("outputs")) for cell in cells)
        for cell in cells:
            if cell.cell_type == "markdown":
                for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", cell.source):
                    assert (path.parent / link).exists(), (path.name, link)
                assert "exercises/" not in re.sub(r"\]\([^)]*\)", "", cell.source), path
    assert cleared > 80 and shown > 80


@pytest.mark.parametrize("path", notebooks.course(), ids=lambda path: path.stem)
def test_answers_to_predictions_are_folded_in_the_stored_notebooks(path):
    """So that Colab and JupyterLab show them when the cell is run or the reader asks."""
    for cell in notebooks.answers_to_predictions(nbformat.read(path, as_version=4).cells):
        assert cell.metadata["jupyter"]["outputs_hidden"] and cell.metadata["collapsed"]


def test_the_folder_is_ignored_and_opened_by_make_lab():
    assert f"/{workspace.WORK}/" in (ROOT / ".gitignore").read_text().split()
    assert f"/lab/tree/{workspace.WORK}/00_welcome.ipynb" == lab.FIRST
