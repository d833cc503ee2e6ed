"""Recorded runs: small copies of finished run folders that the repository keeps in data/runs.

    record("runs/cifar10", "cifar10-0")      # data/runs/cifar10-0
    print(overview())                        # the table in data/runs/README.md
    p = predictions(PLACE / "cifar10-0")     # what `inception-lab evaluate runs/cifar10` found: no image is needed

A copy has its weights in half precision and without the auxiliary heads, which evaluation never reads. Of predictions
among many classes it keeps the most probable ones of each image.
"""

import csv
import json
import shutil
from contextlib import suppress
from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open

from inception_lab.common import files
from inception_lab.common.checks import RunError
from inception_lab.data import datasets
from inception_lab.evaluation.predictions import Predictions
from inception_lab.training.recipes import Recipe
from inception_lab.training.runs import RunFolder
from inception_lab.training.weights import HEADS

PLACE = files.recorded("runs")
FILES = ("recipe.json", "environment.json", "history.csv", "metrics.json")
MANY, TOP = 20, 5  # of more classes than MANY, the TOP most probable of each image are kept
HEAD = """# Recorded runs

Runs that were really made, by the recipe in each folder. This table is made from the folders by
`inception-lab record`, and a test holds it to them.

`cifar10-jpeg` is a JPEG copy of CIFAR-10, whose pixels differ slightly from those of the binary release. Give such a
folder, or the release itself, as `--data` to evaluate a run that was trained on it. Minutes were measured on machines
that had other work to do, and a GPU is named where there was one.

"""


def record(
    run: str | Path,
    name: str | None = None,
    *,
    weights: bool = True,
    note: str = "",
    data: str | Path | None = None,
    every_class: bool = False,
    place: Path = PLACE,
) -> Path:
    """Copy a finished run to `place`/`name`, with half-precision weights, and write the overview anew.

    name: by default the run folder's. weights: False leaves model.safetensors out, to save space. note: what a reader
    must know of the data, such as "JPEG copy"; it is kept in note.txt and shown in the overview. data: a tier or a
    folder, from which the pictures of the worst mistakes are taken (see `mistakes`), where the run holds predictions.
    every_class: keep the probabilities of all classes, also of many, in half precision: a ladder needs them.

    What `evaluate` has kept in the run folder is copied too. Raises RunError for a folder that holds no finished run,
    or a name that is taken; ValueError for data that are not there, or not what the run was evaluated on.
    """
    source = RunFolder(run)
    target = Path(place) / (name or source.path.name)
    if not source.metrics:
        raise RunError(f"{source.path} holds no finished run")
    if target.exists():
        raise RunError(f"{target} is there already: give the copy another name (--name)")
    with safe_open(source.path / "model.safetensors", framework="pt") as file:
        classes = json.loads(file.metadata()["classes"])
    pictures = None if data is None else worst(predictions(source.path), datasets.load(data, "val"))
    (target / "predictions").mkdir(parents=True)
    for file in FILES:
        shutil.copyfile(source.path / file, target / file)
    if note:
        files.write(target / "note.txt", f"{note}\n".encode())
    for file in (source.path / "predictions").glob("*.safetensors"):
        files.write(target / "predictions" / file.name, condensed(file, classes, every_class))
    if pictures:
        files.write(target / "mistakes.safetensors", pictures)
    with suppress(OSError):
        (target / "predictions").rmdir()  # there were none
    if weights:
        content = halved(source.path / "model.safetensors")
        files.write(target / "model.safetensors", content)
    write_overview(place)
    return target


def write_overview(place: Path = PLACE) -> None:
    """Write README.md of the recorded runs anew, such as after a folder has been deleted."""
    files.write(Path(place) / "README.md", (HEAD + overview(place)).encode())


def halved(path: Path) -> bytes:
    """The content of a weights file in float16 and without heads; whole numbers stay as they are."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = {name: t for name, t in safetensors.torch.load_file(path).items() if not name.startswith(HEADS)}
    halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    return safetensors.torch.save(halves, metadata)


def condensed(path: Path, classes: list[str], every_class: bool = False) -> bytes:
    """The content of a file of predictions as a record keeps it: of many classes, the most probable alone."""
    tensors = safetensors.torch.load_file(path)
    if len(classes) > MANY and every_class:
        tensors["probabilities"] = tensors["probabilities"].half()
    elif len(classes) > MANY:
        top = tensors.pop("probabilities").topk(TOP)
        tensors |= {"top_probabilities": top.values, "top_classes": top.indices.short()}
        tensors["labels"] = tensors["labels"].short()
    return safetensors.torch.save(tensors, {"classes": json.dumps(classes)})


def predictions(folder: str | Path, crops: int | None = None, split: str = "val") -> Predictions:
    """The kept predictions of a recorded run: for whole images, or averaged over 1, 10 or 144 crops.

    Of more than 20 classes the five most probable are known, and what is left of 1 is given to the others in equal
    parts: top-1 to top-5 error, confusion and calibration are exact, while `loss` is an estimate, and so is an
    average over several runs. Raises ValueError where the folder has no such predictions.
    """
    found = sorted((Path(folder) / "predictions").glob(f"{split}-{crops or 'whole'}-*.safetensors"))
    if len(found) != 1:
        raise ValueError(
            f"folder must have one file of predictions for {split}, {crops or 'whole'}; {folder} has {found}"
        )
    with safe_open(found[0], framework="pt") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if "classes" not in about:  # a file that `predict` wrote
        with safe_open(Path(folder) / "model.safetensors", framework="pt") as file:
            about = file.metadata()
    classes, labels = json.loads(about["classes"]), tensors["labels"].long()
    if "probabilities" not in tensors:
        top, rest = tensors["top_probabilities"], len(classes) - TOP
        left = (1 - top.sum(1, keepdim=True)).clamp(min=0) / rest
        filled = left.expand(-1, len(classes)).scatter(1, tensors["top_classes"].long(), top)
        tensors["probabilities"] = filled
    digest = found[0].stem.rpartition("-")[2]
    return Predictions(tensors["probabilities"].float(), labels, classes, crops, (str(folder),), digest)


def worst(p: Predictions, images, count: int = 12) -> bytes:
    """The pictures of the most confident mistakes, at their own size, as a safetensors file.

    Raises ValueError for images that are not those of the predictions.
    """
    if datasets.digest(images.classes, images) != p.data:
        raise ValueError(f"data must be the images that {', '.join(p.models)} was evaluated on")
    numbers = p.mistakes(count)
    pictures = torch.stack([images[i][0] for i in numbers])
    return safetensors.torch.save({"images": pictures, "numbers": torch.tensor(numbers)})


def mistakes(folder: str | Path) -> tuple[torch.Tensor, list[int]]:
    """Pictures of the most confident mistakes of a recorded run, uint8 (N, 3, H, W), and their numbers in the set.

    Raises ValueError where the run was recorded without pictures.
    """
    path = Path(folder) / "mistakes.safetensors"
    if not path.is_file():
        raise ValueError(
            f"folder must hold mistakes.safetensors, which a run that was recorded with data= has: {folder}"
        )
    tensors = safetensors.torch.load_file(path)
    return tensors["images"], tensors["numbers"].tolist()


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
    note = folder / "note.txt"
    note = f" ({note.read_text(encoding='utf-8').strip()})" if note.exists() else ""
    weights = folder / "model.safetensors"
    size = f"{weights.stat().st_size / 1e6:.1f} MB" if weights.exists() else "not kept"
    cells = (
        folder.name,
        recipe.network,
        recipe.data + note,
        sessions[-1]["device"],
        sessions[-1]["started"][:10],
        recipe.epochs,
        f"{minutes:.1f}",
        f"{metrics['val_top1_error']:.2f} %",
        f"{metrics['val_top5_error']:.2f} %",
        size,
    )
    return f"| {' | '.join(map(str, cells))} |"
