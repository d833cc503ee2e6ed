"""Run folders: what a training run leaves behind, and what it is resumed from.

    runs/NAME/recipe.json         what was asked for           environment.json  what it ran on, and the data
              history.csv         one row per epoch            metrics.json      the result; written last
              model.safetensors   the weights, averaged where the recipe says so

and, while the run is not finished, its checkpoints (see `checkpoints`). Every file is replaced as a whole.
"""

import csv
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from inception_lab.common.checks import RunError
from inception_lab.common.files import write
from inception_lab.training import checkpoints
from inception_lab.training.recipes import Recipe


@dataclass
class Epoch:
    """One row of history.csv. Errors are in per cent."""

    epoch: int
    step: int  # steps done at its end
    learning_rate: float  # of its last step
    train_loss: float  # this and the error: as it went, while the weights changed
    train_top1_error: float
    val_loss: float
    val_top1_error: float
    val_top5_error: float
    seconds: float  # of the training loop
    images_per_second: float
    waiting_percent: float  # of the seconds, waited for data
    watt_hours: float | None = None  # where the devices tell


@dataclass
class Metrics:
    """metrics.json: the result of a finished run. Errors are in per cent."""

    val_loss: float  # this and the errors: of the weights that are kept
    val_top1_error: float
    val_top5_error: float
    averaged: bool  # whether these weights are averages
    parameters: int
    epochs: int
    steps: int
    seconds: float  # of the training loop
    images_per_second: float
    waiting_percent: float
    watt_hours: float | None = None
    peak_memory_gb: float | None = None  # of a GPU


def known(row: Epoch | Metrics) -> dict[str, Any]:
    """The fields of a row as a dict, without those that are not known."""
    return {name: value for name, value in asdict(row).items() if value is not None}


class RunFolder:
    """The files of one run."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def prepare(self, recipe: Recipe, environment: dict, resume: bool) -> None:
        """Make the folder for a new run, or see that the run in it is the one to resume, and note the environment.

        Raises RunError where the folder holds another run, a run though resume is False, or other files.
        """
        if not (self.path / "recipe.json").exists():
            self._make(recipe)
        elif not resume:
            raise RunError(f"{self.path} holds a run already: resume it, or choose another folder for a new one")
        self._check_recipe(recipe)
        path, sessions = self.path / "environment.json", []
        if path.exists():
            sessions = self._read(path)["sessions"]
            old, new = sessions[0]["data"], environment["data"]
            if old != new:
                raise RunError(f"{self.path} belongs to other data: it was {old}, and is now {new}")
        if self.metrics:
            checkpoints.delete(self.path)  # killed while it cleaned up
        else:
            self._write_json("environment.json", {"sessions": [*sessions, environment]})

    def _make(self, recipe: Recipe) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            others = [entry.name for entry in self.path.iterdir() if entry.name != "recipe.json.tmp"]
        except OSError as error:
            raise RunError(f"{self.path} cannot be made a run folder ({error.strerror})") from error
        if others:
            raise RunError(f"{self.path} is not a run folder, and not empty: it holds {', '.join(sorted(others)[:3])}")
        write(self.path / "recipe.json", recipe.to_json().encode())

    def _check_recipe(self, recipe: Recipe) -> None:
        try:
            own = Recipe.from_json((self.path / "recipe.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{self.path / 'recipe.json'} cannot be read: {error}") from error
        if differences := recipe.differences(own):
            raise RunError(f"{self.path} belongs to another recipe: {'; '.join(differences)}")

    @property
    def metrics(self) -> dict | None:
        """The result of a finished run, see `Metrics`; None where it is not finished."""
        path = self.path / "metrics.json"
        return self._read(path) if path.exists() else None

    def _read(self, path: Path) -> dict:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path} cannot be read: {error}") from error

    def _write_json(self, name: str, content: dict) -> None:
        write(self.path / name, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())

    def write_history(self, epochs: list[Epoch]) -> None:
        """Write history.csv, one row per epoch."""
        rows, text = [known(epoch) for epoch in epochs], io.StringIO()
        columns = dict.fromkeys(name for row in rows for name in row)  # an epoch on another machine may know less
        table = csv.DictWriter(text, list(columns), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write(self.path / "history.csv", text.getvalue().encode())

    def finish(self, model: nn.Module, recipe: Recipe, labels: dict, metrics: dict) -> None:
        """Write the weights and, last, the result; then delete the checkpoints, which nobody needs any more.

        labels: the class names, mean and std that somebody who uses the weights needs.
        """
        tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
        about = {"recipe": recipe.to_json(), **{key: json.dumps(value) for key, value in labels.items()}}
        write(self.path / "model.safetensors", safetensors.torch.save(tensors, about))
        self._write_json("metrics.json", metrics)
        checkpoints.delete(self.path)
