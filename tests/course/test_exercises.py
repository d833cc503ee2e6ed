"""Every exercise: its hidden tests pass the worked solution, and tell each kept wrong answer what is wrong with it."""

import ast
import copy
import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import colab
import colab_install
import nbformat
import pytest
import torch
from materials import some
from nbgrader.api import Gradebook
from nbgrader.utils import compute_checksum

import notebooks
from inception_lab.exercises import draw, expect

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))  # for `grading`, here and in the processes that it starts
spec = importlib.util.spec_from_file_location("exercises_script", ROOT / "scripts" / "exercises.py")
script = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = script
spec.loader.exec_module(script)
grading = script.grading

ALL = script.assignments()
EXERCISES = {f"{name}/{e.name}": e for name, exercises in ALL.items() for e in exercises}
STUDENTS = ("your name", "Ada", "Emmy")
MARKED = re.compile(r"^ *### BEGIN (SOLUTION|HIDDEN TESTS)\n.*?^ *### END \1\n?", re.DOTALL | re.MULTILINE)


def first(student):
    return script.FIRST.replace("your name", student)


@pytest.fixture(params=EXERCISES)
def exercise(request):
    return EXERCISES[request.param]


def test_the_worked_solution_passes_for_every_student(exercise):
    draws = "draw(" in exercise.given
    for student in STUDENTS if draws else STUDENTS[:1]:
        assert script.grade(exercise, exercise.answer, first(student)) is None


def test_the_mean_of_the_walk_is_nearer_than_its_last_point_for_every_student():
    exercise, times = EXERCISES["06_training/5_average_of_weights"], []
    for number in range(1000):
        names = {"torch": torch, "STUDENT": "Ada", "draw": lambda *_, drawn=number: drawn}
        exec(exercise.given, names)
        times.append((names["walk"][-1].norm() / names["walk"][100:].mean(0).norm()).item())
    assert f"nearer in each, {min(times):.0f} to {max(times):.0f} times" in exercise.answer


def test_each_wrong_answer_is_told_its_misconception(exercise):
    assert len(exercise.wrong) >= 3
    for misconception, answer in exercise.wrong.items():
        feedback = script.grade(exercise, answer)
        assert feedback is not None, f"passes: {misconception}"
        assert misconception in feedback


def test_an_empty_answer_is_not_right(exercise):
    assert script.grade(exercise, MARKED.sub("raise NotImplementedError()\n", exercise.answer)) == "not answered yet"


# --- nbgrader -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course folder in which nbgrader has made the students' notebooks of every assignment."""
    place = tmp_path_factory.mktemp("course")
    script.generate(place, script.write_course(place))
    return place


def submit(course, student, name, answers):
    """Hand in the student's notebook with answers in it: name of the exercise → code."""
    notebook = nbformat.read(course / "release" / name / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.id == "first":
            cell.source = first(student)
        if (grade_id := cell.metadata.get("nbgrader", {}).get("grade_id")) in answers:
            cell.source = answers[grade_id]
    target = course / "submitted" / student / name / f"{name}.ipynb"
    target.parent.mkdir(parents=True)
    nbformat.write(notebook, target)


def autograde(course, name):
    """What `nbgrader autograde` gives: student → name of the test → (points, points that were possible)."""
    command = [sys.executable, "-m", "nbgrader", "autograde", name, f"--CourseDirectory.root={course}"]
    done = subprocess.run(command, cwd=course, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {
            s.student.id: {g.name: (g.auto_score, g.max_score) for n in s.notebooks for g in n.grades}
            for s in book.assignment_submissions(name)
        }


@pytest.mark.parametrize("name", ALL)
def test_the_students_notebooks_are_those_that_nbgrader_makes(course, name):
    made = (course / "release" / name / f"{name}.ipynb").read_text(encoding="utf-8")
    assert "BEGIN" not in made and "expect(" not in made  # no solution, and no hidden test
    stored = ROOT / "exercises" / f"{name}.ipynb"
    assert stored.read_text(encoding="utf-8") == made, "run `make exercises`"


@pytest.mark.slow
def test_nbgrader_gives_right_answers_all_points_and_wrong_ones_none(course):
    """And the feedback to wrong ones is in the notebook that comes back."""
    wrong_too = "02_inception_module"
    for name in [wrong_too, *some([name for name in ALL if name != wrong_too], 1)]:
        submit(course, "Emmy", name, {e.name: e.answer for e in ALL[name]})
        if name == wrong_too:
            submit(course, "Ada", name, {e.name: next(iter(e.wrong.values())) for e in ALL[name]})
        graded = autograde(course, name)
        assert graded["Emmy"] == {f"{e.name}-test": (e.points, e.points) for e in ALL[name]}
        if name == wrong_too:
            assert graded["Ada"] == {f"{e.name}-test": (0, e.points) for e in ALL[name]}
            back = (course / "autograded" / "Ada" / name / f"{name}.ipynb").read_text(encoding="utf-8")
            assert all(next(iter(e.wrong)) in back for e in ALL[name])


# --- a student alone ----------------------------------------------------------------------------------------


def test_a_student_alone_gets_feedback_on_every_exercise(course, tmp_path, capsys):
    name = "02_inception_module"
    right, *others = ALL[name]
    answers = {right.name: right.answer} | {e.name: next(iter(e.wrong.values())) for e in others[1:]}
    submit(course, "Alone", name, answers)  # the second is not answered
    assert script.main(["check", str(course / "submitted" / "Alone" / name / f"{name}.ipynb")]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match(r"\d\. ", line)]
    assert script.main(["check", str(tmp_path / "nothing.ipynb")]) == 2
    assert lines[0].endswith(": right") and lines[1].endswith(": not answered yet")
    assert all(next(iter(e.wrong)) in line for e, line in zip(others[1:], lines[2:], strict=True))


def filled(name, answers=None, own=None):
    """The cells of a student's notebook. own: name of an exercise → a cell of the student's above its answer."""
    cells = []
    for cell in nbformat.read(ROOT / "exercises" / f"{name}.ipynb", as_version=4).cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = (answers or {}).get(grade_id, cell.source)
        cells += [nbformat.v4.new_code_cell(own[grade_id])] if grade_id in (own or {}) else []
        cells.append(cell)
    return cells


def told(name, exercise, answers=None, own=None):
    return grading.grade(*script.attempt(filled(name, answers, own), EXERCISES[f"{name}/{exercise}"]))


MODULE = ("02_inception_module", "4_reach_of_an_impulse")
CALLS_A_HELPER = "def reached(kernels):\n    return side(kernels) ** 2"
HELPER = "%matplotlib inline\ndef side(kernels):\n    return 1 + sum(k - 1 for k in kernels)"


def test_a_cell_of_ones_own_above_an_answer_is_run_too():
    answers = {MODULE[1]: CALLS_A_HELPER}
    assert told(*MODULE, answers).startswith("NameError: name 'side' is not defined (line 2 of your answer)")
    for above in ("1_output_channels", MODULE[1]):
        assert told(*MODULE, answers, {above: HELPER}) is None
    assert told(*MODULE, answers, {"5_lost_in_the_reduction": HELPER}).startswith("NameError")  # below the answer


def test_a_cell_of_ones_own_that_fails_is_named_if_the_answer_needs_it():
    answers = {MODULE[1]: CALLS_A_HELPER}
    feedback = told(*MODULE, answers, {MODULE[1]: "helped = 0\n1 / helped\n" + HELPER})
    assert feedback == (
        "NameError: name 'side' is not defined (line 2 of your answer); "
        "before it, ZeroDivisionError: division by zero (line 2 of the cell 'helped = 0')"
    )
    answers[MODULE[1]] = EXERCISES["/".join(MODULE)].answer
    assert told(*MODULE, answers, {MODULE[1]: "four_paths(1, 2)"}) is None  # as a try of another answer


def test_the_students_first_cell_and_the_given_one_run_in_their_order():
    name, exercise = "02_inception_module", "1_output_channels"
    answers = {exercise: "reduced, naive = one + three + five + pool_proj, one + three + five + in_channels"}
    assert told(name, exercise, answers, {f"{exercise}-given": "one = 'scratch'"}) is None
    cells = [c for c in filled(name, answers) if c.id not in ("first", f"{exercise}-given")]
    assert grading.grade(*script.attempt(cells, EXERCISES[f"{name}/{exercise}"])) is None  # if they are lost, ours


def test_the_cell_for_colab_is_not_run():
    before, *_ = script.attempt(filled("02_inception_module"), EXERCISES["/".join(MODULE)])
    assert before[0] == script.FIRST and not any("colab" in code for code in before)


def test_lines_are_those_of_the_students_code():
    in_a_library = "def reached(kernels):\n    return torch.zeros(2).reshape(3)"
    assert re.fullmatch(r"RuntimeError: .* \(line 2 of your answer\)", told(*MODULE, {MODULE[1]: in_a_library}))
    no_colon = "import math\ndef reached(kernels)\n    return 1"
    assert told(*MODULE, {MODULE[1]: no_colon}) == "SyntaxError: expected ':' (line 2 of your answer)"
    assert told(*MODULE, {MODULE[1]: "kernels = 3"}) == "NameError: name 'reached' is not defined"  # in the test
    own_assertion = "def reached(kernels):\n    assert kernels == 3, 'three'"
    assert told(*MODULE, {MODULE[1]: own_assertion}) == "AssertionError: three (line 2 of your answer)"
    assert told(*MODULE, {MODULE[1]: "import sys\nsys.exit(3)"}) == "SystemExit: 3 (line 2 of your answer)"


def test_a_failed_assertion_that_students_see_is_quoted():
    assert told(*MODULE, {MODULE[1]: "def reached(kernels): return 3"}) == (
        "a test that you see fails: assert reached([3]) == 9"
    )
    over_lines = "assert (\n    1 ==\n    2\n)"
    assert grading.grade([], "", over_lines) == "a test that you see fails: assert ( 1 == 2 )"


def test_hidden_assertions_have_a_message_of_their_own(exercise):
    hidden = MARKED.search(exercise.test)
    first_line = exercise.test[: hidden.start()].count("\n") + 1
    for node in ast.walk(ast.parse(exercise.test)):
        assert not isinstance(node, ast.Assert) or node.msg or node.lineno < first_line


@pytest.mark.slow
def test_an_answer_that_does_not_end_is_stopped_and_the_next_is_graded():
    endless = "while True:\n    try:\n        pass\n    except:\n        pass"
    attempts = [([], code, "assert done") for code in (endless, "import os; os._exit(0)", "done = input", "done = 1")]
    attempts.insert(1, (["import itertools", "sum(itertools.repeat(0))"], "", ""))  # in C, and above the answer
    assert list(grading.grade_all(attempts, limit=0.5)) == [
        "does not end within 0.5 seconds",
        "does not end within 0.5 seconds",
        "ends Python itself: no test could run",
        None,
        None,
    ]


def test_who_has_not_given_a_name_is_told_so_once(tmp_path, capsys):
    path = tmp_path / "02_inception_module.ipynb"
    notebook = nbformat.read(ROOT / "exercises" / path.name, as_version=4)
    lines = []
    for _ in range(2):
        nbformat.write(notebook, path)
        assert script.check(path) == 5
        lines.append(capsys.readouterr().out.splitlines())
        notebook.cells[2].source = first("Ada")
    assert lines[0] == ['STUDENT is still "your name": the numbers of some exercises depend on it', *lines[1]]


def checked(tmp_path, capsys, notebook):
    """Status, lines and errors of the check of a notebook, a dictionary as it is on disk, or bytes."""
    path = tmp_path / "a.ipynb"
    path.write_bytes(notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode())
    status = script.main(["check", str(path)])
    out, err = capsys.readouterr()
    return status, [line for line in out.splitlines() if re.match(r"\d\. ", line)], err


@pytest.fixture
def answered_first():
    """A notebook on disk whose first exercise is answered; the others are not. And the number of this cell."""
    name, first_one = "02_inception_module", ALL["02_inception_module"][0]
    notebook = json.loads((ROOT / "exercises" / f"{name}.ipynb").read_text(encoding="utf-8"))
    ids = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in notebook["cells"]]
    place = ids.index(first_one.name)
    notebook["cells"][place]["source"] = solution(first_one)
    return notebook, place


def test_a_deleted_answer_cell_is_told_and_the_others_are_graded(tmp_path, capsys, answered_first):
    notebook, place = answered_first
    del notebook["cells"][place]
    status, lines, error = checked(tmp_path, capsys, notebook)
    assert status == 1 and error == "" and "its answer cell is gone" in lines[0]
    assert len(lines) == 5 and all(line.endswith("not answered yet") for line in lines[1:])
    notebook["cells"] = [cell for cell in notebook["cells"] if not cell["metadata"].get("nbgrader", {}).get("solution")]
    status, lines, error = checked(tmp_path, capsys, notebook)
    assert status == 1 and all("its answer cell is gone" in line for line in lines) and len(lines) == 5


@pytest.mark.parametrize("of_copy, ends", [(None, ": right"), ("raise NotImplementedError()", ": not answered yet")])
def test_of_a_pasted_answer_cell_the_last_counts(tmp_path, capsys, answered_first, of_copy, ends):
    notebook, place = answered_first
    copied = copy.deepcopy(notebook["cells"][place])
    copied["source"] = of_copy or copied["source"]
    notebook["cells"].insert(place + 1, copied)
    _, lines, error = checked(tmp_path, capsys, notebook)
    assert lines[0].endswith(f"{ends} (2 cells hold this answer, and the last counts: keep one)") and error == ""
    notebook["cells"][place], notebook["cells"][place + 1] = copied, notebook["cells"][place]
    assert ": right (2 cells" in checked(tmp_path, capsys, notebook)[1][0]


def test_a_split_answer_cell_is_run_as_a_whole(tmp_path, capsys, answered_first):
    notebook, place = answered_first
    second = copy.deepcopy(notebook["cells"][place])
    notebook["cells"][place]["source"] = "import math\nwidth = math.prod([1])"
    second["source"] = "_ = width, math.pi\n" + second["source"]
    notebook["cells"].insert(place + 1, second)
    assert ": right (2 cells" in checked(tmp_path, capsys, notebook)[1][0]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"[]",
        b"[1, 2]",
        b"3",
        b"null",
        b'"text"',
        b"{}",
        b"<<<<<<< HEAD",
        b"\xff\xfe\x00broken",
        b"[" * 100_000,
        b'{"cells": 3}',
        b'{"cells": null}',
        b'{"cells": [1]}',
        b'{"cells": [{}]}',
        b'{"cells": ["text"]}',
        b'{"cells": [{"cell_type": "code", "metadata": null, "source": ""}]}',
        b'{"cells": [{"cell_type": "code", "metadata": [], "source": ""}]}',
        b'{"cells": [{"cell_type": "code", "metadata": {}, "source": 3}]}',
        b'{"cells": [{"cell_type": "code", "metadata": {}, "source": [3]}]}',
        b'{"cells": [{"cell_type": "code", "metadata": {"nbgrader": 3}, "source": ""}]}',
        b'{"cells": [{"cell_type": "code", "metadata": {"nbgrader": {"grade_id": []}}, "source": ""}]}',
        b'{"cells": [{"cell_type": "code", "metadata": {"tags": null}, "source": ""}]}',
    ],
)
def test_what_is_no_notebook_is_told_in_one_line(tmp_path, capsys, broken):
    status, lines, error = checked(tmp_path, capsys, broken)
    assert status == 2 and lines == [] and error.count("\n") == 1
    assert f"{tmp_path / 'a.ipynb'} is no notebook, or a damaged one: it " in error
    assert script.worked_in(tmp_path / "a.ipynb")


def test_a_damaged_notebook_does_not_keep_the_next_from_being_checked(tmp_path, capsys):
    (tmp_path / "a.ipynb").write_text("[]")
    exercises = ROOT / "exercises" / "02_inception_module.ipynb"
    assert script.main(["check", str(tmp_path / "a.ipynb"), str(exercises)]) == 2
    assert "0 of 5 right" in capsys.readouterr().out


def test_a_notebook_of_an_older_jupyter_is_checked(tmp_path, capsys, answered_first):
    notebook, _ = answered_first
    for cell in notebook["cells"]:
        cell.pop("id")
    notebook["nbformat_minor"] = 4
    assert checked(tmp_path, capsys, notebook)[1][0].endswith(": right")
    assert script.worked_in(tmp_path / "a.ipynb")


def test_another_notebook_is_not_checked():
    with pytest.raises(ValueError, match="no notebook of exercises"):
        script.check(ROOT / "notebooks" / "00_welcome.ipynb")


@pytest.mark.parametrize(
    "arguments, told", [([], ""), (["exercises/nothing.ipynb"], "There is no notebook exercises/")]
)
def test_without_a_notebook_or_with_a_wrong_path_those_to_choose_from_are_listed(
    arguments, told, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr(script, "WORK", tmp_path / "work")
    assert script.main(["check", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith(told) and "usage:" not in message and "Errno" not in message
    assert all(f"make check NOTEBOOK=exercises/{name}.ipynb" in message for name in ALL)
    script.WORK.mkdir()
    (script.WORK / "02_inception_module_exercises.ipynb").write_text("")
    assert script.main(["check", *arguments]) == 2  # now those of the reader's own copy
    message = capsys.readouterr().err
    assert "make check NOTEBOOK=work/02_inception_module_exercises.ipynb" in message
    assert "NOTEBOOK=exercises" not in message


def test_several_notebooks_are_checked_one_after_the_other(monkeypatch, capsys):
    missing = {"a.ipynb": 0, "b.ipynb": 3}
    monkeypatch.setattr(script, "check", lambda path: missing[str(path)])
    assert script.main(["check", "a.ipynb"]) == 0
    assert script.main(["check", "b.ipynb", "a.ipynb"]) == 1
    assert capsys.readouterr().out == "b.ipynb\na.ipynb\n"


@pytest.mark.parametrize("variable", ["NOTEBOOK", "NOTEBOOKS"])
def test_make_passes_the_notebook_on(variable):
    command = ["make", "-n", "-o", ".venv/.installed", "check", f"{variable}=exercises/a.ipynb"]
    printed = subprocess.check_output(command, cwd=ROOT, text=True)
    assert "inception_lab.cli check exercises/a.ipynb" in " ".join(printed.split())


# --- a student's work is kept -------------------------------------------------------------------------------


def cell(notebook, name):
    return next(cell for cell in notebook.cells if cell.id == name)


def answered(notebook):
    cell(notebook, MODULE[1]).source = "def reached(kernels):\n    return 9"


def named(notebook):
    cell(notebook, "first").source = first("Ada")


def noted(notebook):
    notebook.cells.append(nbformat.v4.new_markdown_cell("A note of my own."))


def run(notebook):
    cell(notebook, "first").update(execution_count=1, outputs=[nbformat.v4.new_output("stream", text="done")])


def of_an_older_source(notebook):
    """A source had another task and another answer when the notebook was made."""
    cell(notebook, f"{MODULE[1]}-task").source = "An older task."
    cell(notebook, MODULE[1]).source = "def older(kernels):\n    raise NotImplementedError()"
    cell(notebook, MODULE[1]).metadata["nbgrader"]["checksum"] = compute_checksum(cell(notebook, MODULE[1]))


@pytest.fixture
def written(course, tmp_path, monkeypatch):
    """Let `make exercises` write 01 and 02, over what `change` makes of 02. Returns how many are left as they were."""
    names = ["01_why_go_deeper", MODULE[0]]
    made = {name: course / "release" / name / f"{name}.ipynb" for name in names}
    monkeypatch.setattr(script, "write_course", lambda place: names)
    monkeypatch.setattr(script, "generate", lambda place, names: made)
    path = tmp_path / f"{MODULE[0]}.ipynb"

    def write(change, overwrite=False):
        notebook = nbformat.read(made[MODULE[0]], as_version=4)
        change(notebook)
        nbformat.write(notebook, path)
        before = path.read_bytes()
        left = script.write_students(tmp_path, overwrite)
        assert (tmp_path / "01_why_go_deeper.ipynb").read_bytes() == made["01_why_go_deeper"].read_bytes()
        assert path.read_bytes() == (before if left else made[MODULE[0]].read_bytes())
        return left

    return write


@pytest.mark.parametrize("change", [answered, named, noted])
def test_a_notebook_that_somebody_has_worked_in_is_left_and_named(written, change, capsys):
    assert written(change) == 1
    told = capsys.readouterr()
    assert f"{MODULE[0]}.ipynb is left as it is" in told.err and MODULE[0] not in told.out
    assert written(change, overwrite=True) == 0


@pytest.mark.parametrize("change", [run, of_an_older_source])
def test_a_notebook_without_work_in_it_is_written_anew(written, change):
    assert written(change) == 0


def test_a_notebook_that_cannot_be_read_is_left(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text("<<<<<<< HEAD")
    assert script.worked_in(path)


def test_the_command_fails_if_a_notebook_is_left(monkeypatch):
    monkeypatch.setattr(script, "write_students", lambda overwrite: 0 if overwrite else 2)
    assert script.main(["students"]) == 1
    assert script.main(["students", "--overwrite"]) == 0


# --- one home -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_four_to_six_exercises_a_notebook(name):
    assert 4 <= len(ALL[name]) <= 6


@pytest.mark.parametrize("name", ALL)
def test_the_notebook_links_to_its_exercises_and_keeps_no_answer_of_theirs(name):
    text = "\n".join(c.source for c in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells)
    assert f"](../exercises/{name}.ipynb)" in text.partition("\n## Exercises\n")[2]
    solutions = [line.strip() for e in ALL[name] for line in solution(e).splitlines()]
    assert [line for line in solutions if len(line) > 45 and line in text] == []


def solution(exercise):
    return "\n".join(found[0] for found in MARKED.finditer(exercise.answer))


def test_a_source_without_an_answer_is_refused(tmp_path):
    path = tmp_path / "1_empty.md"
    path.write_text("# Title\n\nTask\n\n```python test\nassert True\n```\n")
    with pytest.raises(ValueError, match="1_empty.md needs a title and two blocks"):
        script.read(path)


def test_the_code_of_the_sources_uses_no_name_that_is_not_there(course):
    command = [sys.executable, "-m", "ruff", "check", "--select", "F821,F823,E9", course / "source"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# --- the comparisons of the tests ---------------------------------------------------------------------------


def test_one_student_always_draws_the_same():
    drawn = {draw(f"student {i}", "exercise", range(10)) for i in range(100)}
    assert drawn == set(range(10))
    assert draw("Ada", "a", range(1000)) == draw(" ada ", "a", range(1000)) != draw("Ada", "b", range(1000))
    with pytest.raises(ValueError, match="choices"):
        draw("Ada", "a", [])


@pytest.mark.parametrize("got, right", [(2, 2.0), ((1, 2.0), [1, 2]), ("a", "a"), (torch.tensor(3), 3), (True, True)])
def test_equal_answers_are_accepted(got, right):
    expect(got, right)


@pytest.mark.parametrize(
    "got, right",
    [(None, 1), (..., 1), (2, 1), ("1", 1), ((1,), (1, 2)), (1, (1,)), (1, "1"), (torch.ones(2), 1), (10**400, 1)],
)
def test_other_answers_are_not(got, right):
    with pytest.raises(AssertionError, match="not right|not there yet"):
        expect(got, right)


def test_a_slip_is_told():
    with pytest.raises(AssertionError, match="width is 3. Off by one."):
        expect(3, 4, {3: "Off by one."}, what="width")


# --- Colab --------------------------------------------------------------------------------------------------

NOTEBOOKS = notebooks.course()
IN_COLAB = "import sys\nsys.modules['google.colab'] = sys\n"


def test_each_notebook_opens_with_the_cell_for_colab_with_one_address():
    addresses = set()
    for path in [*NOTEBOOKS, *(ROOT / "exercises").glob("*.ipynb")]:
        cell = nbformat.read(path, as_version=4).cells[1]
        folder = path.parent.relative_to(ROOT).as_posix() if path in NOTEBOOKS else "notebooks"
        address = re.search(r'REPOSITORY = "(.*)"', cell.source)[1]
        assert cell.source == colab.cell(folder, address), f"{path.name}: run scripts/colab.py, then make exercises"
        assert "colab" in cell.metadata["tags"]
        addresses.add(address)
    assert len(addresses) == 1


def test_no_cell_waits_for_input():
    """It would stop "Run all", in Colab and elsewhere."""
    paths = [*NOTEBOOKS, *(ROOT / "exercises").glob("*.ipynb")]
    cells = {path.name: [c.source for c in nbformat.read(path, as_version=4).cells] for path in paths}
    assert not [name for name, sources in cells.items() if any(re.search(r"(?<!\w)input\(", s) for s in sources)]


def test_outside_colab_its_cell_does_nothing(tmp_path):
    assert run_in_ipython(tmp_path, colab.cell("notebooks")) == []


def test_in_colab_the_course_is_fetched_and_installed(tmp_path):
    clone, install = run_in_ipython(tmp_path, IN_COLAB + colab.cell("notebooks", "https://a.example/course"))
    assert clone == "git clone -q --depth 1 https://a.example/course /content/course"
    assert install == "python /content/course/scripts/colab_install.py"


def test_in_colab_pytorch_stays_as_it_is_and_jupyterlab_is_left_out(tmp_path):
    kept = {name: f"{name}=={metadata.version(name)}" for name in ("torch", "torchvision")}
    asked = colab_install.packages()
    assert set(kept.values()) <= set(asked) and not [line for line in asked if line.startswith("jupyterlab")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rest = [line for line in project["dependencies"] if re.match(r"[\w.-]+", line)[0] not in [*kept, "jupyterlab"]]
    assert set(asked) - set(kept.values()) == set(rest)
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = ['torch>=2']")
    assert colab_install.packages(tmp_path) == [kept["torch"]]


@pytest.mark.parametrize("missing", ["torch", None])
def test_in_colab_the_weights_come_last_and_may_be_missing(missing, monkeypatch):
    calls = []

    def run(command, **_):
        calls.append(command)
        return subprocess.CompletedProcess(command, returncode=int("pretrained" in command))

    monkeypatch.setattr(colab_install.subprocess, "run", run)
    monkeypatch.setattr(colab_install, "is_here", lambda name: name != missing)
    assert colab_install.main() == 0
    packages, course, weights = calls
    assert ("torch>=2.11" in packages) == (missing == "torch")
    assert course[-3:] == ["--no-deps", "-e", ROOT] and weights[-2:] == ["pretrained", "googlenet"]


def test_in_colab_what_installs_needs_no_package():
    source = ast.parse((ROOT / "scripts" / "colab_install.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(source) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(source) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_in_colab_a_copy_without_an_address_says_what_to_do(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run_in_ipython(tmp_path, IN_COLAB + colab.cell("notebooks"))
    assert b"put the web address of the course's git repository between the quotes" in failed.value.stderr


def test_a_copy_gives_its_address_to_all_notebooks_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "course", lambda: [tmp_path / "notebooks" / "deeper" / "a.ipynb"])
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    (path,) = notebooks.course()
    path.parent.mkdir(parents=True)
    tagged = nbformat.v4.new_code_cell("old", metadata={"tags": ["colab"]})
    first, last = nbformat.v4.new_markdown_cell("# Título"), nbformat.v4.new_code_cell("1")
    nbformat.write(nbformat.v4.new_notebook(cells=[first, tagged, last]), path)
    assert colab.main(["https://a.example/course"]) == 0
    sources = [cell.source for cell in nbformat.read(path, as_version=4).cells]
    assert sources == ["# Título", colab.cell("notebooks/deeper", "https://a.example/course"), "1"]
    nbformat.write(nbformat.v4.new_notebook(cells=[first, last]), path)
    with pytest.raises(ValueError, match="must have the tag 'colab'"):
        colab.main([])


def run_in_ipython(place, code):
    """Run a cell with stand-ins for git and Python, and return how they were called."""
    for name in ("git", "python"):
        (place / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {place}/called\n')
        (place / name).chmod(0o755)
    script_ = "from IPython.core.interactiveshell import InteractiveShell\n"
    script_ += f"InteractiveShell.instance().run_cell({code!r}).raise_error()"
    environment = os.environ | {"PATH": f"{place}:{os.environ['PATH']}", "IPYTHONDIR": str(place)}
    subprocess.run([sys.executable, "-c", script_], check=True, env=environment, cwd=place, capture_output=True)
    return (place / "called").read_text().splitlines() if (place / "called").exists() else []


# --- a class ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reported(course, tmp_path_factory):
    """The report on a class: Zoe is right, Ada and Max have the first misconception, Eve handed in something else."""
    name, place = "02_inception_module", tmp_path_factory.mktemp("class")
    right = {e.name: e.answer for e in ALL[name]}
    wrong = {e.name: next(iter(e.wrong.values())) for e in ALL[name]}
    for student, answers in {"Zoe": right, "Ada": wrong, "Max <b>": wrong}.items():
        target = place / "submitted" / student / name / f"{name}.ipynb"
        target.parent.mkdir(parents=True)
        nbformat.write(nbformat.v4.new_notebook(cells=filled(name, answers)), target)
    (place / "submitted" / "Eve.ipynb").write_text("{}")
    assert script.report(place / "submitted", place / "report") == 3
    return place / "report"


def test_a_report_has_a_row_for_each_answer_and_counts_misconceptions(reported):
    rows = list(csv.DictReader((reported / "results.csv").open()))
    exercises = ALL["02_inception_module"]
    assert [(row["student"], row["exercise"]) for row in rows] == [
        (student, e.title) for student in ("Ada", "Max <b>", "Zoe") for e in exercises
    ]
    assert all((row["right"] == "yes") == (row["student"] == "Zoe") for row in rows)
    assert all(next(iter(e.wrong)) in row["feedback"] for e, row in zip(exercises, rows, strict=False))
    counted = list(csv.DictReader((reported / "misconceptions.csv").open()))
    assert {(row["exercise"], row["misconception"]): row["students"] for row in counted} == {
        (e.title, next(iter(e.wrong))): "2" for e in exercises
    }


def test_each_student_has_a_page_without_tests_or_tracebacks(reported):
    assert {path.name for path in reported.glob("*.html")} == {"Ada.html", "Max <b>.html", "Zoe.html"}
    for path in reported.glob("*.html"):
        text = path.read_text()
        assert "Traceback" not in text and "assert" not in text and "expect(" not in text
        assert text.count("<li>") == len(ALL["02_inception_module"]) and "<b>" not in text.replace("&lt;b&gt;", "")
    assert (reported / "Zoe.html").read_text().count(": right</li>") == len(ALL["02_inception_module"])


def test_a_folder_without_notebooks_is_told(tmp_path, capsys):
    with pytest.raises(ValueError, match="FOLDER must hold notebooks with exercises of this course, got "):
        script.report(tmp_path, tmp_path / "report")
    assert not (tmp_path / "report").exists()
