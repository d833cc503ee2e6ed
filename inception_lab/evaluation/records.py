"""Recorded runs: small copies of finished run folders, which the course keeps in data/runs.

    recorded_run("shapes-laptop")               # its folder; recorded_runs() has all of them
    record("runs/cifar10", "cifar10-0")         # makes data/runs/cifar10-0
    recorded_predictions("data/runs/cifar10-0") # what `inception-lab evaluate runs/cifar10` found: no image is needed

A copy has its weights in half precision and without the auxiliary heads, which evaluation never reads. Of predictions
among many classes it keeps the most probable ones of each image.
"""

import json
from pathlib import Path
from typing import Any

import torch

from inception_lab.common import files
from inception_lab.common.checks import RunError, check_one_of
from inception_lab.data import datasets
from inception_lab.evaluation.predictions import Predictions
from inception_lab.training import tensors as tensor_files
from inception_lab.training.runs import RunFolder
from inception_lab.training.weights import HEADS

FILES = ("recipe.json", "environment.json", "history.csv", "steps.csv", "metrics.json")
MANY, TOP = 20, 5  # of more classes than MANY, the TOP most probable of each image are kept
OVERVIEW = ("run", "network", "data", "device", "date", "epochs", "minutes", "top-1 error", "top-5 error", "weights")
HEAD = """# Recorded runs

Runs that were really made, by the recipe in each folder. This table is made from the folders by
`inception-lab record`, and a test holds it to them.

`cifar10-jpeg` is a JPEG copy of CIFAR-10, whose pixels differ slightly from those of the binary release. Give such a
folder, or the release itself, as `--data` to evaluate a run that was trained on it. Minutes were measured on machines
that had other work to do, and a GPU is named where there was one.

`tiny-imagenet-96` is the recipe `tiny-imagenet-cpu` on a copy of Tiny ImageNet:
`inception-lab train tiny-imagenet-cpu --data FOLDER/tiny-imagenet-200`. Notebook 07 reads it from its command to its
confusions.

"""


def recorded_runs(names: str = "*") -> list[Path]:
    """The folders of all recorded runs, or of those whose names match a pattern such as "shapes-crops-*".

    First come those in data/runs, by name, then those that an installed wheel brought, unless their name is taken.
    """
    return [path.parent for path in files.all_recorded("runs", f"{names}/metrics.json")]


def recorded_run(name: str) -> Path:
    """The folder of a recorded run. Raises ValueError for an unknown name, listing all."""
    check_one_of("name", name, [folder.name for folder in recorded_runs()])
    return files.recorded("runs", name)


def own_folder() -> Path:
    """Where runs are recorded: data/runs."""
    return files.data_folder() / "runs"


def record(
    run: str | Path,
    name: str | None = None,
    *,
    weights: bool = True,
    note: str = "",
    data: str | Path | None = None,
    every_class: bool = False,
    into: str | Path | None = None,
) -> Path:
    """Copy a finished run to `into`/`name`, with half-precision weights, and write the overview anew.

    name: a plain name, by default the run folder's. into: by default data/runs. weights: False leaves model.safetensors
    out, to save space. note: what a reader must know of the data, such as "JPEG copy"; it is kept in note.txt and shown
    in the overview. data: a tier or a folder, from which the pictures of the worst mistakes are taken (see `mistakes`),
    where the run holds predictions.
    every_class: keep the probabilities of all classes, also of many, in half precision: a ladder needs them.

    What `evaluate` has kept in the run folder is copied too. Killed at any moment, there is the whole copy or none.

    Raises RunError for a folder that holds no finished run, or a name that is taken; ValueError for a name that is no
    plain one, and for data that are not there, or not what the run was evaluated on.
    """
    run, into = Path(run), files.check_out(own_folder() if into is None else into, "into", folder=True)
    name = run.resolve().name if name is None else name
    if not name.isprintable() or name.startswith(".") or not name or set(name) & set("/\\:|"):
        raise ValueError(f"name must be a plain name, not begin with a dot and hold none of / \\ : |, got {name!r}")
    if not note.isprintable():
        raise ValueError(f"note must be one line of text, got {note!r}")
    target = into / name
    if not RunFolder(run).metrics:
        raise RunError(f"{run} holds no finished run")
    if target.exists():
        raise RunError(f"{target} is there already: give the copy another name (--name)")
    classes = class_names(run / "model.safetensors")
    pictures = None if data is None else worst(recorded_predictions(run), datasets.load(data, "val"))
    with files.new_folder(target) as copy:
        for file_name in FILES:
            if file_name == "steps.csv" and not RunFolder(run).steps:
                continue  # version 0.2 wrote none
            files.write(copy / file_name, (run / file_name).read_bytes())
        if note:
            files.write(copy / "note.txt", f"{note}\n".encode())
        for path in (run / "predictions").glob("*.safetensors"):
            files.write(copy / "predictions" / path.name, condensed(path, classes, every_class))
        if pictures:
            files.write(copy / "mistakes.safetensors", pictures)
        if weights:
            files.write(copy / "model.safetensors", halved(run / "model.safetensors"))
        # Killed after this, the command can be called again.
        files.write(into / "README.md", (HEAD + overview(into, copy)).encode())
    return target


def class_names(path: Path) -> list[str]:
    """The names of the classes that a file of weights, or of recorded predictions, is about."""
    try:
        return json.loads(tensor_files.read(path)[1]["classes"])
    except (KeyError, ValueError) as error:
        raise RunError(f"{path} does not come from a run of this library: it names no classes") from error


def halved(path: Path) -> bytes:
    """The content of a weights file in float16 and without heads; whole numbers stay as they are."""
    tensors, metadata = tensor_files.read(path)
    halves = {n: t.half() if t.is_floating_point() else t for n, t in tensors.items() if not n.startswith(HEADS)}
    return tensor_files.to_bytes(halves, metadata)


def condensed(path: Path, classes: list[str], every_class: bool = False) -> bytes:
    """The content of a file of predictions as a record keeps it: of many classes, the most probable alone."""
    tensors, _ = tensor_files.read(path)
    if not {"probabilities", "labels"} <= tensors.keys():
        raise RunError(f"{path} holds no predictions: delete it, or evaluate anew")
    tensors["labels"] = tensors["labels"].short()
    if len(classes) > MANY and every_class:
        tensors["probabilities"] = tensors["probabilities"].half()
    elif len(classes) > MANY:
        top = tensors.pop("probabilities").topk(TOP)
        tensors |= {"top_probabilities": top.values, "top_classes": top.indices.short()}
    return tensor_files.to_bytes(tensors, {"classes": json.dumps(classes)})


def recorded_predictions(folder: str | Path, crops: int | None = None, split: str = "val") -> Predictions:
    """The predictions that lie in a recorded run: for whole images, or averaged over 1, 10 or 144 crops.

    Of more than 20 classes the five most probable are known, and what is left of 1 is given to the others in equal
    parts: top-1 to top-5 error, confusion and calibration are exact, while `loss` is an estimate, and so is an
    average over several runs. Raises ValueError where the folder has no such predictions.
    """
    found = sorted((Path(folder) / "predictions").glob(f"{split}-{crops or 'whole'}-*.safetensors"))
    if len(found) != 1:
        raise ValueError(
            f"folder must have one file of predictions for {split}, {crops or 'whole'}; {folder} has "
            f"{', '.join(path.name for path in found) or 'none'}"
        )
    path, (tensors, metadata) = found[0], tensor_files.read(found[0])
    if "labels" not in tensors or not {"probabilities", "top_probabilities"} & tensors.keys():
        raise RunError(f"{path} holds no predictions")
    is_recorded = "classes" in metadata  # else `predict` wrote it
    classes = class_names(path if is_recorded else Path(folder) / "model.safetensors")
    if "top_probabilities" in tensors:
        top, rest = tensors["top_probabilities"], len(classes) - TOP
        left = (1 - top.sum(1, keepdim=True)).clamp(min=0) / rest
        probabilities = left.expand(-1, len(classes)).scatter(1, tensors["top_classes"].long(), top)
    else:
        probabilities = tensors["probabilities"].float()
    data = path.stem.rpartition("-")[2]  # the digest of the images
    return Predictions(probabilities, tensors["labels"].long(), classes, crops, (str(folder),), data)


def worst(p: Predictions, images: Any, count: int = 12) -> bytes:
    """The pictures of the most confident mistakes, at their own size, as a safetensors file.

    Raises ValueError for images that are not those of the predictions.
    """
    if datasets.digest(images.classes, images) != p.data:
        raise ValueError(f"data must be the images that {', '.join(p.models)} was evaluated on")
    numbers = p.mistakes(count)
    pictures = torch.stack([images[i][0] for i in numbers])
    return tensor_files.to_bytes({"images": pictures, "numbers": torch.tensor(numbers)}, {})


def mistakes(folder: str | Path) -> tuple[torch.Tensor, list[int]]:
    """Pictures of the most confident mistakes of a recorded run, uint8 (N, 3, H, W), and their numbers in the set.

    Raises ValueError where the run was recorded without pictures.
    """
    path = Path(folder) / "mistakes.safetensors"
    if not path.is_file():
        raise ValueError(
            f"folder must hold mistakes.safetensors, which a run that was recorded with data= has: {folder}"
        )
    tensors, _ = tensor_files.read(path)
    return tensors["images"], tensors["numbers"].tolist()


def overview(folder: str | Path | None = None, *new: Path) -> str:
    """A Markdown table with one row per recorded run of a folder, by default of data/runs, and of `new` run folders."""
    folder = own_folder() if folder is None else Path(folder)
    recorded = [path.parent for path in folder.glob("*/metrics.json")]
    rows = [overview_row(run) for run in sorted([*recorded, *new], key=lambda run: run.name)]
    lines = [f"| {' | '.join(OVERVIEW)} |", "|" + "---|" * len(OVERVIEW)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def overview_row(folder: Path) -> tuple[str, ...]:
    """The cells of one run in the columns of OVERVIEW. Raises RunError where the folder is no whole recorded run."""
    run = RunFolder(folder)
    recipe, minutes = run.recipe, sum(row.seconds for row in run.history) / 60
    metrics, session = run.read("metrics.json"), run.read("environment.json")["sessions"][-1]
    note, weights = folder / "note.txt", folder / "model.safetensors"
    return (
        folder.name,
        recipe.network,
        recipe.data + (f" ({note.read_text(encoding='utf-8').strip()})" if note.exists() else ""),
        session["device"],
        session["started"][:10],
        str(recipe.epochs),
        f"{minutes:.1f}",
        f"{metrics['val_top1_error']:.2f} %",
        f"{metrics['val_top5_error']:.2f} %",
        f"{weights.stat().st_size / 1e6:.1f} MB" if weights.exists() else "not kept",
    )
