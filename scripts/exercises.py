"""Build the exercises from their sources, and check a notebook of a student.

python scripts/exercises.py students                        write the notebooks in exercises/ that students open, but
                                                            none that somebody has worked in, unless with --overwrite
python scripts/exercises.py course build/course             write a course folder for nbgrader, with its sources
python scripts/exercises.py check exercises/02_inception_module.ipynb    grade a notebook and print the feedback
python scripts/exercises.py report submitted                grade the notebooks of a class, to build/report

A source is a Markdown file: a title, the task, blocks of Python marked `given`, `answer` and `test`, then headings
"Wrong: ..." with wrong answers. What students must not see stands between nbgrader's marks. See exercises/README.md.
"""

import argparse
import csv
import html
import io
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import grading
import nbformat
from nbformat import v4

from inception_lab.common import console, files
from inception_lab.exercises import NOBODY

ROOT = Path(__file__).resolve().parent.parent
EXERCISES, NOTEBOOKS, WORK = ROOT / "exercises", ROOT / "notebooks", ROOT / "work"
BLOCK = re.compile(r"^```python(?: (given|answer|test))?\n(.*?)^```\n?", re.DOTALL | re.MULTILINE)
INTRODUCTION = """\
# Exercises {title}

These go with [notebook {name}](../notebooks/{name}.ipynb). Write your name into `STUDENT`: the numbers of some
exercises depend on it. Then replace each `raise NotImplementedError()` by your answer, and run the two cells below it.

The first of them checks the form alone. The second, `check(...)`, grades your answer and says what went wrong. To grade
the whole notebook, save it, and in a terminal, in the folder of the course:

```sh
make check NOTEBOOK=exercises/{name}.ipynb
```

or, where there is no make, `inception-lab check exercises/{name}.ipynb`."""
FIRST = f"""\
import math

import torch
from torch import nn

from inception_lab.exercises import check, draw, expect

{NOBODY}
_ = torch.manual_seed(0)"""


@dataclass(frozen=True)
class Exercise:
    """One source. wrong: the misconception → an answer that has it; `answer` and `test` hold nbgrader's marks."""

    name: str
    title: str
    task: str
    given: str
    answer: str
    test: str
    wrong: dict[str, str]
    points: int = 2


def read(path: Path) -> Exercise:
    """Parse a source. Raises ValueError, naming the file, for one that lacks a part."""
    text, *wrong = re.split(r"^## Wrong: ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    parts = {kind: code.strip() for kind, code in BLOCK.findall(text) if kind}
    title = re.match(r"# (.+)\n", text)
    if not title or not {"answer", "test"} <= parts.keys():
        raise ValueError(f"{path} needs a title and two blocks of Python, `answer` and `test`")
    task = BLOCK.sub(lambda block: "" if block[1] else block[0], text[title.end() :]).strip()
    answers = {}
    for part in wrong:
        misconception, _, rest = part.partition("\n")
        answers[misconception.strip()] = BLOCK.search(rest)[2].strip()
    return Exercise(path.stem, title[1], task, parts.get("given", ""), parts["answer"], parts["test"], answers)


def assignments() -> dict[str, list[Exercise]]:
    """The exercises of each notebook that has some, in order."""
    folders = [EXERCISES / path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    return {folder.name: [read(path) for path in sorted(folder.glob("*.md"))] for folder in folders if folder.is_dir()}


def source_notebook(name: str, exercises: list[Exercise]):
    """The notebook that nbgrader calls the source: with the answers and all tests."""
    lesson = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    title = lesson[0].source.splitlines()[0].removeprefix("# ")
    notebook = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}})
    notebook.metadata["kernelspec"]["language"] = "python"
    cells = [v4.new_markdown_cell(INTRODUCTION.format(name=name, title=title), id="introduction")]
    cells += [
        v4.new_code_cell(cell.source, id="colab", metadata=cell.metadata) for cell in lesson if _is_for_colab(cell)
    ]
    cells.append(v4.new_code_cell(FIRST, id="first"))
    for number, e in enumerate(exercises, 1):
        points = f"*{e.points} point{'s' if e.points > 1 else ''}*"
        cells.append(v4.new_markdown_cell(f"## {number}. {e.title}\n\n{e.task}\n\n{points}", id=f"{e.name}-task"))
        if e.given:
            cells.append(_cell(f"{e.name}-given", e.given, locked=True))
        cells.append(_cell(e.name, e.answer, solution=True))
        cells.append(_cell(f"{e.name}-test", e.test, grade=True, locked=True, points=e.points))
        cells.append(v4.new_code_cell(f'check("{name}/{e.name}")', id=f"{e.name}-check"))
    notebook.cells = cells
    return notebook


def _is_for_colab(cell) -> bool:
    return "colab" in cell.metadata.get("tags", [])


def _is_of_the_course(cell) -> bool:
    """Whether a cell that nbgrader does not know was made here, and is not the student's own."""
    return _is_for_colab(cell) or cell.source.startswith("check(")


def _grade_id(cell) -> str | None:
    """The name that nbgrader knows a cell by, None for a cell that it does not know."""
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def cells_of(path: Path) -> list:
    """The cells of a notebook. Raises ValueError, naming the file, for one that is damaged, or no notebook."""
    try:
        cells = [nbformat.from_dict(cell) for cell in json.loads(path.read_bytes())["cells"]]
        for cell in cells:
            cell.source = "".join(cell.source)
            _ = cell.cell_type, hash(_grade_id(cell)), _is_for_colab(cell)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no notebook, or a damaged one: it is no JSON ({error})") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no notebook, or a damaged one: it holds no list of whole cells") from error
    return cells


def _cell(name: str, code: str, **role):
    settings = {"schema_version": 3, "grade_id": name, "grade": False, "solution": False, "locked": False} | role
    return v4.new_code_cell(code, id=name, metadata={"nbgrader": settings | {"task": False}})


def write_course(place: Path, names=None) -> list[str]:
    """Write a course folder for nbgrader: a configuration and the source of each assignment. Returns their names."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "nbgrader_config.py").write_text(
        'c = get_config()\nc.CourseDirectory.course_id = "inception-lab"\nc.ExecutePreprocessor.timeout = 300\n'
    )
    found = {name: exercises for name, exercises in assignments().items() if names is None or name in names}
    for name, exercises in found.items():
        target = place / "source" / name / f"{name}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(source_notebook(name, exercises), target)
    return list(found)


def generate(place: Path, names: list[str]) -> dict[str, Path]:
    """Let nbgrader make the students' notebooks of a course folder. Returns the path of each."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    api = NbGraderAPI(config=Config({"CourseDirectory": {"root": str(place)}}))
    for name in names:
        result = api.generate_assignment(name)
        if not result["success"]:
            raise RuntimeError(f"nbgrader could not generate {name}: {result.get('error') or result.get('log')}")
    return {name: place / "release" / name / f"{name}.ipynb" for name in names}


def write_students(place: Path = EXERCISES, overwrite: bool = False) -> int:
    """Write the students' notebooks. Returns how many are left as they were, because somebody has worked in them."""
    left = 0
    with tempfile.TemporaryDirectory() as folder:
        names = write_course(Path(folder))
        for name, path in generate(Path(folder), names).items():
            target = place / f"{name}.ipynb"
            if not overwrite and target.exists() and worked_in(target):
                left += 1
                print(f"exercises/{target.name} is left as it is: somebody has worked in it", file=sys.stderr)
            else:
                target.write_bytes(path.read_bytes())
                print(f"exercises/{name}.ipynb")
    if left:
        print("make exercises OVERWRITE=1 writes these anew, too: answers in them are lost", file=sys.stderr)
    return left


def worked_in(path: Path) -> bool:
    """Whether a students' notebook holds an answer, a name or a cell that was not there when it was made."""
    try:
        return any(_worked_in(cell) for cell in cells_of(path))
    except (ValueError, KeyError):  # damaged, as by the marks of a merge: who knows
        return True


def _worked_in(cell) -> bool:
    from nbgrader.utils import compute_checksum

    settings, name = cell.metadata.get("nbgrader", {}), cell.get("id", "")
    if settings.get("solution") and compute_checksum(cell) != settings.get("checksum"):
        return True  # nbgrader has noted the checksum of what it made, whatever the source says by now
    if "STUDENT =" in cell.source and cell.source != FIRST:
        return True
    return not settings and not (name in ("introduction", "colab", "first") or name.endswith(("-task", "-check")))


def grade(exercise: Exercise, answer: str, first: str = FIRST) -> str | None:
    """Run an answer and all its tests in this process. Returns the feedback, or None if it is right."""
    return grading.grade([first, exercise.given], answer, exercise.test)


def attempt(cells: list, exercise: Exercise) -> tuple[list[str], str, str]:
    """What is run of a student's notebook for one exercise: the cells before the answer, the answer, and all tests.

    The cells before it are the given one and the student's own, the one with the name among them. Where the answer was
    copied or split into several cells, it is the last of them, and the others are run before it.
    """
    before, last = [], max(i for i, cell in enumerate(cells) if _grade_id(cell) == exercise.name)
    for cell in cells[:last]:
        if _grade_id(cell) == f"{exercise.name}-given":
            before.append(exercise.given)
        elif cell.cell_type == "code" and _grade_id(cell) in (None, exercise.name) and not _is_of_the_course(cell):
            before.append(cell.source)
    if not any("STUDENT =" in code for code in before):
        before.insert(0, FIRST)
    if exercise.given not in before:
        before.append(exercise.given)
    return before, cells[last].source, exercise.test


def results(path: Path) -> Iterator[tuple[int, Exercise, int, str | None]]:
    """Grade the notebook of a student: number, exercise, cells that hold its answer, and feedback, None if it is right.

    Raises ValueError for what is no notebook of exercises of this course.
    """
    if not path.is_file():
        raise ValueError(f"There is no notebook {path}.\n{usage()}")
    cells = cells_of(path)
    found = Counter(map(_grade_id, cells))
    exercises = max(assignments().values(), key=lambda some: sum(found[e.name] + found[f"{e.name}-test"] for e in some))
    if not any(found[e.name] + found[f"{e.name}-test"] for e in exercises):
        raise ValueError(f"{path} is no notebook of exercises of this course.\n{usage()}")
    if any(NOBODY in cell.source for cell in cells):
        print('STUDENT is still "your name": the numbers of some exercises depend on it')
    feedbacks = grading.grade_all([attempt(cells, exercise) for exercise in exercises if found[exercise.name]])
    for number, exercise in enumerate(exercises, 1):
        copies = found[exercise.name]
        feedback = next(feedbacks) if copies else "its answer cell is gone: undo that, or copy it from a new notebook"
        yield number, exercise, copies, feedback


def check(path: Path) -> int:
    """Grade the notebook of a student and print the feedback. Returns how many exercises are not right yet."""
    missing = 0
    for number, exercise, copies, feedback in results(path):
        missing += feedback is not None
        several = f" ({copies} cells hold this answer, and the last counts: keep one)" if copies > 1 else ""
        print(f"{number}. {exercise.title}: {feedback or 'right'}{several}", flush=True)
    print(f"{number - missing} of {number} right")
    return missing


def check_all(paths: list[Path]) -> int:
    """`check` for each notebook. Returns the exit status: 1 if an answer is not right yet, 2 if one is no notebook."""
    if not paths:
        print(usage(), file=sys.stderr)
        return 2
    status = 0
    for path in paths:
        if len(paths) > 1:
            print(path, flush=True)
        try:
            status = max(status, min(check(path), 1))
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            status = 2
    return status


def report(folder: Path, place: Path) -> int:
    """Grade the notebooks of a class, and write what came out to `place`. Returns how many notebooks could be graded.

    folder: one folder per student, as nbgrader collects them, or one notebook per student. In `place`: results.csv, one
    row per exercise; misconceptions.csv, how many students have each; a page with the feedback for each student.
    """
    rows, misconceptions, paths = [], Counter(), sorted(folder.rglob("*.ipynb"))
    for path in [path for path in paths if ".ipynb_checkpoints" not in path.parts]:
        student = path.relative_to(folder).parts[0].removesuffix(".ipynb")
        try:
            graded = [(exercise, feedback) for _, exercise, _, feedback in results(path)]
        except (OSError, ValueError) as error:
            print(str(error).splitlines()[0], file=sys.stderr)
            continue
        print(
            f"{student}, {path.stem}: {sum(not feedback for _, feedback in graded)} of {len(graded)} right", flush=True
        )
        for exercise, feedback in graded:
            rows.append((student, path.stem, exercise.title, "no" if feedback else "yes", feedback or ""))
            misconceptions.update((exercise.title, wrong) for wrong in exercise.wrong if feedback and wrong in feedback)
    if not rows:
        raise ValueError(f"FOLDER must hold notebooks with exercises of this course, got {folder}")
    write_csv(place / "results.csv", ["student", "notebook", "exercise", "right", "feedback"], rows)
    counted = [(*of_exercise, number) for of_exercise, number in misconceptions.most_common()]
    write_csv(place / "misconceptions.csv", ["exercise", "misconception", "students"], counted)
    for student, own in groupby(rows, key=lambda row: row[0]):
        files.write(place / f"{student}.html", page(student, list(own)).encode())
    return len({row[:2] for row in rows})


def write_csv(path: Path, columns: list[str], rows: list[tuple]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    files.write(path, text.getvalue().encode())


def page(student: str, rows: list[tuple]) -> str:
    """The page of a student: each exercise with its feedback, and nothing of the tests."""
    name = html.escape(student)
    lines = [f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title><h1>{name}</h1>']
    for notebook, own in groupby(rows, key=lambda row: row[1]):
        lines.append(f"<h2>{html.escape(notebook)}</h2><ol>")
        told = [(exercise, feedback or "right") for _, _, exercise, _, feedback in own]
        lines += [f"<li>{html.escape(exercise)}: {html.escape(feedback)}</li>" for exercise, feedback in told]
        lines.append("</ol>")
    return "\n".join(lines) + "\n"


def usage() -> str:
    paths = sorted(WORK.glob("*_exercises.ipynb")) or sorted(EXERCISES.glob("*.ipynb"))
    lines = [f"  make check NOTEBOOK={path.parent.name}/{path.name}" for path in paths]
    lines.append(
        "Without make, the first is: " + lines[0].strip().replace("make check NOTEBOOK=", "inception-lab check ")
    )
    return "\n".join(["To grade the answers in a notebook, call one of these in the folder of the course:", *lines])


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    students = commands.add_parser("students", help="write the notebooks that students open")
    students.add_argument("--overwrite", action="store_true", help="also those that somebody has worked in")
    commands.add_parser("course", help="write a course folder for nbgrader").add_argument("place", type=Path)
    commands.add_parser("check", help="grade notebooks").add_argument("notebooks", type=Path, nargs="*")
    class_report = commands.add_parser("report", help="grade the notebooks of a class, and write tables and pages")
    class_report.add_argument("folder", type=Path)
    class_report.add_argument("place", type=Path, nargs="?", default=ROOT / "build" / "report")
    options = parser.parse_args(arguments)
    if options.command == "report":
        files.check_out(options.place, "place", folder=True)
        print(f"{report(options.folder, options.place)} notebooks: {options.place / 'results.csv'}")
        return 0
    if options.command == "students":
        return min(write_students(overwrite=options.overwrite), 1)
    if options.command == "course":
        print(f"{len(write_course(options.place))} assignments in {options.place}/source")
        return 0
    return check_all(options.notebooks)


if __name__ == "__main__":
    sys.exit(console.run("exercises.py", main))
