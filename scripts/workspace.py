"""Make the reader's own copy of the course: the folder work, which git ignores. `make lab` opens it.

python scripts/workspace.py

In work/ the exercises lie beside their lesson. The outputs that follow a *Predict* are gone, and what resolves it is
folded, so that nobody sees an answer before the question. What somebody has worked in is never overwritten: a newer
lesson arrives beside it.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

import nbformat
from nbformat.sign import NotebookNotary

import notebooks
from inception_lab.common import console, files

ROOT = Path(__file__).resolve().parent.parent
WORK, RECORD = "work", ".made.json"  # the record: name in work → digest of the notebook that was put there last


def lessons(root: Path = ROOT) -> dict[str, str]:
    """What belongs into work: the name of each notebook, and its text."""
    made = {}
    for path in notebooks.course(root / "notebooks"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebooks.answers_to_predictions(notebook.cells):
            cell.outputs, cell.execution_count = [], None
        notebooks.fold_resolutions(notebook.cells)
        made[path.relative_to(root / "notebooks").as_posix()] = linked(nbformat.writes(notebook))
    for path in sorted((root / "exercises").glob("*.ipynb")):
        made[f"{path.stem}_exercises.ipynb"] = linked(path.read_text(encoding="utf-8"))
    return made


def linked(text: str) -> str:
    """The text of a notebook with its links as they are in work, where lessons and exercises lie beside each other."""
    text = graded_in_work(text.replace("](../notebooks/", "]("))
    return re.sub(r"(?:\.\./)?((?:\.\./)*)exercises/(\w+)\.ipynb", r"\1\2_exercises.ipynb", text)


def graded_in_work(text: str) -> str:
    """A text in which `make check` grades the reader's copy of an exercise, in work."""
    return re.sub(r"(NOTEBOOK=|lab check )exercises/(\w+)\.ipynb", rf"\1{WORK}/\2_exercises.ipynb", text)


def update(root: Path = ROOT) -> list[str]:
    """Put into work what is not there yet, and what is newer; returns the names of newer lessons beside older ones."""
    work = root / WORK
    files.check_out(work, "work", folder=True)
    record, beside = read_record(work / RECORD), []
    for name, text in lessons(root).items():
        new = digest(text)
        if record.get(name) == new and (work / name).exists():
            continue
        target, number = work / name, 1
        while is_the_readers(target, (new, record.get(key(work, target)))):
            number += 1
            target = (work / name).with_suffix(f".{number}.ipynb")
        if target != work / name:
            beside.append(key(work, target))
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write(target, text.encode())
        NotebookNotary().sign(nbformat.reads(text, as_version=4))  # trusted: its sliders show at once
        record |= {name: new, key(work, target): new}
        files.write(work / RECORD, json.dumps(record, indent=1).encode())  # now: killed here, nothing is taken for work
    return beside


def is_the_readers(path: Path, made: tuple[str | None, ...]) -> bool:
    """Whether there is a notebook that differs from those that were put there."""
    return path.exists() and digest(path.read_text(encoding="utf-8")) not in made


def key(work: Path, path: Path) -> str:
    return path.relative_to(work).as_posix()


def read_record(path: Path) -> dict[str, str]:
    """What was put into work. Without a record, or with a damaged one, all that is there is taken for the reader's."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    for name in update():
        print(f"{WORK}/{name} is a newer lesson; the one that you worked in is left as it is")


if __name__ == "__main__":
    sys.exit(console.run("workspace.py", main))
