"""Recorded runs: small copies of finished run folders that the repository keeps in data/runs.

    record("runs/cifar10", "cifar10-0")      # data/runs/cifar10-0
    print(overview())                        # the table in data/runs/README.md

A copy has its weights in half precision and without the auxiliary heads, which evaluation never reads.
"""

import csv
import json
import shutil
from pathlib import Path

import safetensors.torch
from safetensors import safe_open

from inception_lab import checkpoints
from inception_lab.checkpoints import RunError
from inception_lab.datasets import CHECKOUT
from inception_lab.recipes import Recipe
from inception_lab.runs import HEADS, RunFolder

PLACE = CHECKOUT / "data" / "runs"
FILES = ("recipe.json", "environment.json", "history.csv", "metrics.json")
HEAD = """# Recorded runs

Runs that were really made, by the recipe in each folder. This table is made from the folders by
`inception-lab record`, and a test holds it to them.

`cifar10-jpeg` is a JPEG copy of CIFAR-10, whose pixels differ slightly from those of the binary release. Give such a
folder, or the release itself, as `--data` to evaluate a run that was trained on it. Minutes were measured on machines
that had other work to do, and a GPU is named where there was one.

"""


def record(run: str | Path, name: str | None = None, *, weights: bool = True, place: Path = PLACE) -> Path:
    """Copy a finished run to `place`/`name`, with half-precision weights, and write the overview anew.

    name: by default the run folder's. weights: False leaves model.safetensors out, to save space. Raises RunError
    for a folder that holds no finished run, or a name that is taken.
    """
    source = RunFolder(run)
    target = Path(place) / (name or source.path.name)
    if not source.metrics:
        raise RunError(f"{source.path} holds no finished run")
    if target.exists():
        raise RunError(f"{target} is there already: choose another name, or delete it")
    target.mkdir(parents=True)
    for file in FILES:
        shutil.copyfile(source.path / file, target / file)
    if weights:
        content = halved(source.path / "model.safetensors")
        checkpoints.write(target / "model.safetensors", content)
    checkpoints.write(Path(place) / "README.md", (HEAD + overview(place)).encode())
    return target


def halved(path: Path) -> bytes:
    """The content of a weights file in float16 and without heads; whole numbers stay as they are."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = {name: t for name, t in safetensors.torch.load_file(path).items() if not name.startswith(HEADS)}
    halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    return safetensors.torch.save(halves, metadata)


def overview(place: Path = PLACE) -> str:
    """A Markdown table, a row a recorded run: network, data, device, date, minutes, validation errors, weights."""
    head = "| run | network | data | device | date | epochs | minutes | top-1 error | top-5 error | weights |"
    rows = [head, "|" + "---|" * (head.count("|") - 1)]
    rows += [_row(folder) for folder in sorted(Path(place).iterdir()) if (folder / "metrics.json").exists()]
    return "\n".join(rows) + "\n"


def _row(folder: Path) -> str:
    recipe = Recipe.from_json((folder / "recipe.json").read_text(encoding="utf-8"))
    metrics, sessions = RunFolder(folder).metrics, json.loads((folder / "environment.json").read_text())["sessions"]
    with open(folder / "history.csv", newline="") as file:
        minutes = sum(float(row["seconds"]) for row in csv.DictReader(file)) / 60
    weights = folder / "model.safetensors"
    size = f"{weights.stat().st_size / 1e6:.1f} MB" if weights.exists() else "not kept"
    cells = (
        folder.name,
        recipe.network,
        recipe.data,
        sessions[-1]["device"],
        sessions[-1]["started"][:10],
        recipe.epochs,
        f"{minutes:.1f}",
        f"{metrics['val_top1_error']:.2f} %",
        f"{metrics['val_top5_error']:.2f} %",
        size,
    )
    return f"| {' | '.join(map(str, cells))} |"
