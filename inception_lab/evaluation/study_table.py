"""The record of a study: a CSV file with one row per finished run, and how rows are made, written and read."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pandas as pd
import torch
from filelock import FileLock

from inception_lab import costs
from inception_lab.common import files
from inception_lab.common.checks import RunError, check_one_of
from inception_lab.data import Shapes, datasets
from inception_lab.evaluation.studies import STUDIES, Study
from inception_lab.training.batches import Data, in_order
from inception_lab.training.recipes import Recipe
from inception_lab.training.runs import RunFolder
from inception_lab.training.weights import load_model

# Objects of `shapes` by the side of their box, at most this fraction of the image's side; the smallest have 1/8.
# Scales are uniform in log, so that each bin has about a third of the images.
OBJECT_SCALES = {"small": 1 / 4, "medium": 1 / 2, "large": 1.0}
UNKNOWN = float("nan")  # an empty cell of the file


@dataclass(frozen=True)
class StudyRow:
    """One row of a study's file: one finished run. Errors are in per cent."""

    arm: str
    seed: int
    parameters: int  # this and MACs: of one image in evaluation mode
    macs: int
    val_top1_error: float
    val_top5_error: float
    val_loss: float
    train_top1_error: float  # this and the loss: of the last epoch, while the weights changed
    train_loss: float
    train_eval_top1_error: float  # of the final weights on the training images as they are; known for data "shapes"
    val_top1_error_small: float  # this and the next two: by scale of the object; only known for data "shapes"
    val_top1_error_medium: float
    val_top1_error_large: float
    epochs: int
    steps: int
    train_images: int  # in the training set
    classes: int
    seconds: float  # of the training loop, without evaluation
    images_per_second: float
    threads: float  # of each process, as they change the weights' last bits; NaN in the first records
    device: str  # this and what follows: where and when the run was begun
    torch: str
    git_commit: str  # empty where it is not known
    started: str
    recipe: str  # the whole recipe as JSON, so that no later default can change what the row says


COLUMNS: dict[str, type] = get_type_hints(StudyRow)
LATER = ("threads", "train_eval_top1_error")  # columns that the first records do not have: empty there


def shipped_file(name: str) -> Path:
    """Where the record of a study is read: `own_file`, or what an installed wheel holds as long as there is none."""
    return files.recorded("studies", f"{name}.csv")


def own_file(name: str) -> Path:
    """Where the record of a study is written: data/studies/NAME.csv."""
    return files.data_folder() / "studies" / f"{name}.csv"


def read_study(name_or_path: str | Path) -> pd.DataFrame:
    """The record of a study, one row per run, with the columns and types of StudyRow.

    name_or_path: of STUDIES, or a CSV file that `run_study` wrote. Raises ValueError where there is no such file,
    RunError where it is broken or of another kind.
    """
    path = shipped_file(str(name_or_path)) if name_or_path in STUDIES else Path(name_or_path)
    if not path.is_file():
        names = ", ".join(map(repr, STUDIES))
        raise ValueError(f"name_or_path must be one of {names} once it has been run, or a file; there is no {path}")
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)  # an arm may be called "None"
        absent = [name for name in LATER if name not in rows]
        if list(rows.columns) != [name for name in COLUMNS if name not in absent]:
            raise ValueError(f"its columns differ in {sorted(set(map(str, rows)) ^ set(COLUMNS)) or 'their order'}")
        rows = rows.assign(**dict.fromkeys(absent, ""))[list(COLUMNS)]
        floats = [column for column, kind in COLUMNS.items() if kind is float]
        rows = rows.replace({column: {"": "nan"} for column in floats}).astype(COLUMNS)
        for text in rows["recipe"]:
            Recipe.from_json(text)
    except ValueError as error:
        raise RunError(f"{path} is not the record of a study: {error}") from error
    if rows.duplicated(["arm", "seed"]).any():
        raise RunError(f"{path} has two rows of one arm and seed: delete one of them")
    return rows


def rows_of(study: Study, path: Path) -> pd.DataFrame:
    """The rows of a study's file, none where there is no file. Raises RunError for a row that is not the study's."""
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS))
    rows, wrong = read_study(path), []
    for arm, seed, recipe in zip(rows["arm"], rows["seed"], rows["recipe"], strict=True):
        differences = ["the study has no such arm"]
        if arm in study.arms:
            differences = study.recipe_of(arm, seed).differences(Recipe.from_json(recipe))
        if differences:
            wrong.append(f"arm {arm!r}, seed {seed}: {'; '.join(differences)}")
    if wrong:
        raise RunError(
            f"{path} has rows that the study {study.name!r} would not write as it is now. Delete them and their run "
            "folders, or choose another file (--out). What it says now:\n" + "\n".join(wrong)
        )
    return rows


def add_row(study: Study, path: Path, arm: str, folder: Path, device: torch.device) -> None:
    """Write the row of a finished run folder into a study's file, in the order of arms and seeds."""
    row = row_of(folder, arm, device)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # no other process adds a row between our reading and our writing
        old = rows_of(study, path)
        others = old[(old["arm"] != arm) | (old["seed"] != row.seed)]
        rows = pd.DataFrame([*others.to_dict("records"), asdict(row)])
        rows = rows.sort_values("seed").sort_values("arm", key=lambda a: a.map(list(study.arms).index), kind="stable")
        files.write(path, rows.to_csv(index=False, lineterminator="\n").encode())


def row_of(folder: Path, arm: str, device: torch.device) -> StudyRow:
    """What a finished run folder comes to."""
    _, about = load_model(folder)
    recipe, classes = about["recipe"], len(about["classes"])
    cost = costs.count(recipe.network, recipe.image_size, num_classes=classes, **recipe.options)
    run = RunFolder(folder)
    metrics, session = run.read("metrics.json"), run.read("environment.json")["sessions"][0]
    last_epoch = run.history[-1]
    same = ("val_top1_error", "val_top5_error", "val_loss", "epochs", "steps", "seconds", "images_per_second")
    is_drawn = recipe.data == "shapes"
    by_scale = error_by_scale(folder, device) if is_drawn else {}
    train_eval = 100 * float(mistakes(folder, "train", device)[0].mean()) if is_drawn else UNKNOWN
    return StudyRow(
        arm=arm,
        seed=recipe.seed,
        parameters=cost.params,
        macs=cost.macs,
        **{name: metrics[name] for name in same},
        train_top1_error=last_epoch.train_top1_error,
        train_loss=last_epoch.train_loss,
        train_eval_top1_error=round(train_eval, 4),
        val_top1_error_small=by_scale.get("small", UNKNOWN),
        val_top1_error_medium=by_scale.get("medium", UNKNOWN),
        val_top1_error_large=by_scale.get("large", UNKNOWN),
        train_images=session["data"]["train_images"],
        classes=classes,
        threads=session.get("threads") or UNKNOWN,
        device=session["device"],
        torch=session["packages"].get("torch") or "",
        git_commit=session.get("git_commit") or "",
        started=session["started"],
        recipe=json.dumps(asdict(recipe), ensure_ascii=False),
    )


def error_by_scale(folder: str | Path, device: torch.device | str = "cpu") -> dict[str, float]:
    """The top-1 error (per cent) of a finished run on `shapes`, in the bins of OBJECT_SCALES: scale → error.

    It is that of the 2,000 validation images. Raises as `mistakes` does.
    """
    is_wrong, shapes = mistakes(folder, "val", device)
    scales = shapes.scenes(range(len(shapes))).scale
    bins = np.searchsorted(list(OBJECT_SCALES.values()), scales)  # the first bin whose limit is not below the scale
    return {name: round(100 * float(is_wrong[bins == i].mean()), 4) for i, name in enumerate(OBJECT_SCALES)}


@torch.no_grad()
def mistakes(folder: str | Path, split: str, device: torch.device | str = "cpu") -> tuple[np.ndarray, Shapes]:
    """Which images a finished run on `shapes` gets wrong, in evaluation mode: bool (N,), and the images.

    split: "val", the 2,000 validation images, or "train", those that it was trained on, without augmentation.
    Raises RunError for a folder without finished weights, ValueError for a run on other data.
    """
    model, about = load_model(folder)
    recipe, device = about["recipe"], torch.device(device)
    check_one_of("data", recipe.data, ("shapes",))
    shapes = Shapes(split, size=recipe.image_size, length=(recipe.train_images or 10_000) if split == "train" else 2000)
    images_in_memory = datasets.in_memory(shapes)
    data = Data(images_in_memory, images_in_memory, shapes.classes, shapes.mean, shapes.std)
    model.to(device)
    wrong = []
    for images, labels in in_order(data, recipe, device):
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16-mixed"):
            wrong.append(model(images).argmax(1) != labels)
    return torch.cat(wrong).cpu().numpy(), shapes
