"""Run folders: what a training run leaves behind, and what it is resumed from.

    runs/NAME/recipe.json         what was asked for           environment.json  what it ran on, and the data
              history.csv         one row per epoch            steps.csv         loss and learning rate by step
              model.safetensors   the weights, averaged where the recipe says so
              metrics.json        the result; written last

and, while the run is not finished, its checkpoints (see `checkpoints`); while a process trains, its lock. Every file is
replaced as a whole, and what is read is checked against `state`.
"""

import csv
import io
import json
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from torch import nn

from inception_lab.common.checks import RunError
from inception_lab.common.files import all_recorded, write
from inception_lab.common.schema import from_dict
from inception_lab.training import checkpoints, tensors
from inception_lab.training.recipes import Recipe
from inception_lab.training.state import Epoch, Metrics, Sessions, Step, known

T = TypeVar("T")
SCHEMAS = {"metrics.json": Metrics, "environment.json": Sessions}
LOCK = "training.lock"


def find_run(run: Any, argument: str = "run", *others: str) -> Path:
    """A run folder, or that of the recorded run of this name. Raises ValueError for anything else.

    argument, others: what an error calls it, and what else it may be.
    """
    recorded = {path.parent.name: path.parent for path in all_recorded("runs", "*/model.safetensors")}
    folder = recorded.get(str(run), Path(run).expanduser()) if isinstance(run, str | Path) else None
    if folder is None or not folder.is_dir():
        names = ", ".join(map(repr, (*others, *recorded)))
        raise ValueError(f"{argument} must be one of {names} or a run folder, got {run!r}")
    return folder


class RunFolder:
    """The files of one run."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.lock = FileLock(self.path / LOCK, timeout=0)

    def prepare(self, recipe: Recipe, data: dict, resume: bool) -> None:
        """Make the folder for a new run, or see that the run in it is the one to resume; nobody else may train there.

        data: see `state.DataState`. Raises RunError where the folder holds another run, a run though resume is False,
        other files, or files that are damaged, and where another process trains in it.
        """
        is_new = not (self.path / "recipe.json").exists()
        if is_new:
            self._make()
        if is_new or not (resume and self.metrics):  # a finished run is only read
            self._hold()
        if is_new:
            write(self.path / "recipe.json", recipe.to_json().encode())
        elif not resume:
            raise RunError(f"{self.path} holds a run already: resume it, or choose another folder for a new one")
        if differences := recipe.differences(self.recipe):
            raise RunError(f"{self.path} belongs to another recipe: {'; '.join(differences)}")
        for session in self.sessions[:1]:
            if any(session["data"][key] != data[key] for key in data.keys() - {"name"}):  # the recipe has the name
                raise RunError(f"{self.path} belongs to other data: it was {session['data']}, and is now {data}")
        if self.metrics:
            self._clean_up(self.metrics, recipe)

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            others = [entry.name for entry in self.path.iterdir() if entry.name not in ("recipe.json.tmp", LOCK)]
        except OSError as error:
            raise RunError(f"{self.path} cannot be made a run folder ({error.strerror})") from error
        if others:
            raise RunError(f"{self.path} is not a run folder, and not empty: it holds {', '.join(sorted(others)[:3])}")

    def _hold(self) -> None:
        try:
            self.lock.acquire()
        except Timeout as error:
            raise RunError(f"another process trains in {self.path}: wait for it, or choose another folder") from error
        except OSError as error:
            raise RunError(f"{self.path} cannot be written to ({error.strerror})") from error

    def _clean_up(self, metrics: dict, recipe: Recipe) -> None:
        """Delete what a run that was killed at its very end left behind, if the result is really there."""
        if metrics["epochs"] != recipe.epochs:
            path, epochs = self.path / "metrics.json", metrics["epochs"]
            raise RunError(f"{path} is of another run: it tells of {epochs} epochs, and the recipe has {recipe.epochs}")
        if any((self.path / name).exists() for name in (checkpoints.NEWEST, checkpoints.BEFORE)):
            tensors.read(self.path / "model.safetensors", "holds no weights")
        checkpoints.delete(self.path)
        (self.path / LOCK).unlink(missing_ok=True)

    def release(self) -> None:
        """Let other processes train in the folder."""
        if self.lock.is_locked:
            with suppress(OSError):  # the drive may be gone
                (self.path / LOCK).unlink(missing_ok=True)
            self.lock.release()

    # --- what is read ---------------------------------------------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Whether there are weights to go on from: those of a checkpoint, or the result."""
        return any((self.path / name).exists() for name in (checkpoints.NEWEST, checkpoints.BEFORE, "metrics.json"))

    @property
    def recipe(self) -> Recipe:
        """What was asked for."""
        return self._read("recipe.json", Recipe.from_json)

    @property
    def metrics(self) -> dict | None:
        """The result of a finished run, see `Metrics`; None where it is not finished."""
        return self.read("metrics.json") if (self.path / "metrics.json").exists() else None

    @property
    def sessions(self) -> list[dict]:
        """What the run was begun on and resumed on, see `Session`; none where it was killed before it began."""
        return self.read("environment.json")["sessions"] if (self.path / "environment.json").exists() else []

    @property
    def history(self) -> list[Epoch]:
        """The rows of history.csv."""
        return self._read("history.csv", partial(_rows, Epoch))

    @property
    def steps(self) -> list[Step]:
        """The rows of steps.csv, see `progress.Steps`; none in a folder of version 0.2 or before."""
        return self._read("steps.csv", partial(_rows, Step)) if (self.path / "steps.csv").exists() else []

    def read(self, name: str) -> dict:
        """metrics.json or environment.json. Raises RunError where it is not there, or not what its schema says."""

        def whole(text: str) -> dict:
            values = json.loads(text)
            from_dict(SCHEMAS[name], values, "it")
            return values

        return self._read(name, whole)

    def _read(self, name: str, parse: Any) -> Any:
        path = self.path / name
        try:
            return parse(path.read_text(encoding="utf-8"))
        except (ValueError, csv.Error, RecursionError) as error:
            raise RunError(f"{path} cannot be read: {error}") from error
        except OSError as error:
            raise RunError(f"{path} cannot be read ({error.strerror})") from error

    # --- what is written ------------------------------------------------------------------------------------

    def _check_there(self) -> None:
        """Raise RunError where the folder has vanished, instead of beginning another one in its place."""
        if not os.path.isfile(self.path / "recipe.json"):
            advice = "if it is on a drive, connect that again, and go on from the last checkpoint with resume"
            raise RunError(f"{self.path} has vanished while the run was training: {advice}")

    def _write_json(self, name: str, content: dict) -> None:
        write(self.path / name, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())

    def add_session(self, session: dict) -> None:
        """Note in environment.json what the run goes on with, see `Session`."""
        self._write_json("environment.json", {"sessions": [*self.sessions, session]})

    def write_tables(self, epochs: list[Epoch], steps: list[Step]) -> None:
        """Write history.csv, one row per epoch, and steps.csv. Before the first epoch there is no history."""
        self._check_there()
        for name, rows in (("history.csv", [known(epoch) for epoch in epochs]), ("steps.csv", [*map(vars, steps)])):
            columns = dict.fromkeys(name for row in rows for name in row)  # an epoch on another machine may know less
            text = io.StringIO()
            table = csv.DictWriter(text, list(columns), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
            if rows:
                write(self.path / name, text.getvalue().encode())

    def finish(self, model: nn.Module, recipe: Recipe, labels: dict, metrics: Metrics) -> None:
        """Write the weights and, last, the result; then delete the checkpoints, which nobody needs any more.

        labels: the class names, mean and std that somebody who uses the weights needs, see `state.Labels`.
        """
        self._check_there()
        about = {"recipe": recipe.to_json(), **{key: json.dumps(value) for key, value in labels.items()}}
        write(self.path / "model.safetensors", tensors.to_bytes(model.state_dict(), about))
        self._write_json("metrics.json", known(metrics))
        checkpoints.delete(self.path)


def _rows(kind: type[T], text: str) -> list[T]:
    """A table as dataclasses; ValueError for one that does not have their fields."""
    table = list(csv.DictReader(io.StringIO(text), strict=True))
    if not table or None in table[-1]:
        raise ValueError("it must have rows with as many cells as its head")
    return [from_dict(kind, {key: _number(cell) for key, cell in row.items()}, "a row") for row in table]


def _number(cell: str | None) -> int | float | None:
    if not cell:
        return None
    try:
        return int(cell)
    except ValueError:
        return float(cell)
