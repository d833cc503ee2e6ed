"""Run folders: what a training run leaves behind, and what it is resumed from.

    runs/NAME/recipe.json         what was asked for           environment.json  what it ran on, and the data
              history.csv         a row an epoch               metrics.json      the result; written last
              model.safetensors   the weights, averaged where the recipe says so

and, while the run is not finished, checkpoint.safetensors and the one before it.
"""

import datetime
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from inception_lab.common import files
from inception_lab.common.checks import RunError
from inception_lab.training import checkpoints
from inception_lab.training.recipes import Recipe

PACKAGES = ("inception-lab", "torch", "torchvision", "lightning-fabric", "torchmetrics", "safetensors", "numpy")


class RunFolder:
    """The files of one run. Every file is replaced as a whole, never changed in place."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.safetensors"
        self.previous = self.path / "checkpoint-before.safetensors"

    def open(self, recipe: Recipe, environment: dict, resume: bool) -> None:
        """Make the folder, or take up the run that it holds.

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
            self.clean()  # killed while it cleaned up
        else:
            self.write_json("environment.json", {"sessions": [*sessions, environment]})

    def _make(self, recipe: Recipe) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            others = [entry.name for entry in self.path.iterdir() if entry.name != "recipe.json.tmp"]
        except OSError as error:
            raise RunError(f"{self.path} cannot be made a run folder ({error.strerror})") from error
        if others:
            raise RunError(f"{self.path} is not a run folder, and not empty: it holds {', '.join(sorted(others)[:3])}")
        files.write(self.path / "recipe.json", recipe.to_json().encode())

    def _check_recipe(self, recipe: Recipe) -> None:
        try:
            own = Recipe.from_json((self.path / "recipe.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{self.path / 'recipe.json'} cannot be read: {error}") from error
        if differences := recipe.differences(own):
            raise RunError(f"{self.path} belongs to another recipe: {'; '.join(differences)}")

    @property
    def metrics(self) -> dict | None:
        """The result of a finished run; None where it is not finished."""
        path = self.path / "metrics.json"
        return self._read(path) if path.exists() else None

    def _read(self, path: Path) -> dict:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path} cannot be read: {error}") from error

    def write_json(self, name: str, content: dict) -> None:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        files.write(self.path / name, text.encode())

    def write_history(self, rows: list[dict]) -> None:
        columns = dict.fromkeys(name for row in rows for name in row)  # an epoch on another machine may know less
        lines = [",".join(columns), *(",".join(str(row.get(name, "")) for name in columns) for row in rows)]
        files.write(self.path / "history.csv", ("\n".join(lines) + "\n").encode())

    def save(self, recipe: Recipe, tensors: dict[str, torch.Tensor], state: dict) -> None:
        """Write the training state, and keep the one before."""
        checkpoints.save(self.checkpoint, tensors, {"recipe": recipe.to_json(), **state}, self.previous)

    def load(self, recipe: Recipe) -> tuple[dict[str, torch.Tensor], dict] | None:
        """The newest training state; None where there is none yet.

        Raises RunError for a file that is truncated or foreign, saying whether the one before it is whole.
        """
        # Killed between two renames, a run has no checkpoint, but the one before.
        path = next((p for p in (self.checkpoint, self.previous) if p.exists()), None)
        if path is None:
            return None
        try:
            return self._load(path, recipe)
        except RunError as error:
            raise RunError(f"{error}. {self._advice(path, recipe)}") from error

    def _load(self, path: Path, recipe: Recipe) -> tuple[dict[str, torch.Tensor], dict]:
        tensors, state = checkpoints.load(path)
        if differences := recipe.differences(Recipe.from_json(state["recipe"])):
            raise RunError(f"{path} belongs to another recipe: {'; '.join(differences)}")
        return tensors, state

    def _advice(self, path: Path, recipe: Recipe) -> str:
        if path == self.checkpoint and self.previous.exists():
            try:
                _, state = self._load(self.previous, recipe)
            except RunError:
                return f"{self.previous.name} cannot be used either; start again in another folder"
            return f"{self.previous.name} is whole (step {state['step']}): delete {path.name} to go on from there"
        return f"There is none before it: delete {path.name} to start again"

    def finish(self, model: nn.Module, recipe: Recipe, labels: dict, metrics: dict) -> None:
        """Write the weights and, last, the result; then delete the training state, which nobody needs any more.

        labels: the class names, mean and std that somebody who uses the weights needs.
        """
        tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
        metadata = {"recipe": recipe.to_json(), **{key: json.dumps(value) for key, value in labels.items()}}
        files.write(self.path / "model.safetensors", safetensors.torch.save(tensors, metadata))
        self.write_json("metrics.json", metrics)
        self.clean()

    def clean(self) -> None:
        for path in (self.checkpoint, self.previous, *self.path.glob("*.tmp")):
            path.unlink(missing_ok=True)


def environment(device: torch.device, processes: int, data: dict) -> dict:
    """What a run depends on beside its recipe: versions, machine, git commit, data."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "system": platform.system(),
        "device": f"{device.type}, {name}",
        "processes": processes,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "git_commit": git_commit(),
        "data": data,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit of the checkout that this library lies in, with "+" if files differ from it; None without git."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        ask = ["git", "-C", str(root)]
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*ask, "diff", "--quiet", "HEAD"], capture_output=True).returncode
        return commit + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
