"""Studies: networks or recipes compared over several seeds, in runs too long for a notebook.

    run(STUDIES["schedules"])                           # hours; killed and called again, it goes on
    compare(read("schedules"))                          # a row an arm, from data/studies/schedules.csv
    live = STUDIES["schedules"].with_settings(["epochs=2", "train_images=500"])
    run(live, seeds=1, arms=["cosine"], out="live.csv")  # the same code in about a minute

What is compared is stated as data, in STUDIES. Every finished run is a row of a CSV file.
"""

import csv
import json
import re
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from scipy.stats import ttest_ind

from inception_lab import costs
from inception_lab.common import files
from inception_lab.common.checks import RunError, check_one_of
from inception_lab.data import datasets
from inception_lab.training.batches import Data, in_order, open_data
from inception_lab.training.devices import make_fabric, on_rank_zero
from inception_lab.training.recipes import RECIPES, Recipe
from inception_lab.training.runs import RunFolder
from inception_lab.training.trainer import train
from inception_lab.training.weights import load_model


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it.

    recipe: what the arms share. arms: name → the settings in which the arm differs, as `Recipe.with_settings` takes
    them. seeds: how many runs an arm; they have the seeds 0, 1, 2, ..., also for their first weights.

    Raises ValueError for arms whose run folders would have one name.
    """

    name: str
    question: str
    recipe: Recipe
    arms: dict[str, list[str]]
    seeds: int = 3

    def __post_init__(self):
        folders = [_folder(arm) for arm in self.arms]
        if not folders or len(set(folders)) < len(folders):
            raise ValueError(f"arms must be one or more, with names that differ in a letter or digit, got {folders}")

    def recipe_of(self, arm: str, seed: int) -> Recipe:
        """The recipe of one run, named after its arm and seed; ValueError for an unknown arm or setting."""
        check_one_of("arm", arm, self.arms)
        try:
            recipe = self.recipe.with_settings(self.arms[arm])
            return replace(recipe, name=f"{_folder(arm)}-{seed}", seed=seed, weights_seed=seed)
        except ValueError as error:
            raise ValueError(f"arm {arm!r}: {error}") from error

    def with_settings(self, settings: list[str]) -> "Study":
        """The study with these settings in all arms, after their own: to try it at small scale, for example."""
        return replace(self, arms={arm: [*own, *settings] for arm, own in self.arms.items()})


def _folder(arm: str) -> str:
    return re.sub(r"\W+", "-", arm).strip("-")


LRN = ["options.norm=lrn", "options.bias=true"]
ZERO_BIAS = ["options.initial_bias=0"]
HEADS = ["options.aux=true"]
# For comparisons on one GPU, in about a minute a run: AdamW at the usual rate, at which local response normalization
# trains too, and nothing that a small effect could hide behind (smoothing, averaged weights, cutout).
CIFAR10 = RECIPES["cifar10-fast"].with_settings(
    ["options.dropout=0.4", "optimizer=adamw", "nesterov=false", "learning_rate=0.001", "schedule=one-cycle"]
    + ["warmup_epochs=2", "epochs=10", "batch=256", "label_smoothing=0", "averaging=none", "cutout=0", "compile=false"]
)
STUDIES = {
    study.name: study
    for study in (
        Study(
            "kernels",
            "At equal MACs and depth: kernels of one size, or a mix of sizes?",
            RECIPES["shapes-laptop"],
            {
                "inception": [],
                **{f"{k}x{k} alone": [f"options.modules={k}x{k} alone"] for k in (1, 3, 5)},
                "inception, 3x3 for 5x5": ["options.modules=3x3 for 5x5"],  # the control: one path changed, not all
            },
        ),
        # Few images, so that there is over-fitting, and a rate at which local response normalization can be trained.
        Study(
            "heads",
            "Do the auxiliary heads help to train, and do they regularize?",
            RECIPES["shapes-laptop"].with_settings(["train_images=3000", "epochs=10", "learning_rate=0.002"]),
            {
                "batch norm": [],
                "batch norm, heads": [*HEADS],
                "LRN, biases 0": [*LRN, *ZERO_BIAS],
                "LRN, biases 0, heads": [*LRN, *ZERO_BIAS, *HEADS],
                "LRN, biases 0.2": [*LRN],
                "LRN, biases 0.2, heads": [*LRN, *HEADS],
            },
        ),
        # Bias 0 for LRN: the study of heads found that with 0.2 it hardly trains in so few steps.
        Study(
            "ablations",
            "What does each choice in GoogLeNet's design bring on CIFAR-10?",
            CIFAR10,
            {
                "batch norm": [],
                "batch norm, heads": [*HEADS],
                "LRN": [*LRN, *ZERO_BIAS],
                "LRN, heads": [*LRN, *ZERO_BIAS, *HEADS],
                "two 3x3 for 5x5": ["options.five_by_five=two 3x3"],
                "one 3x3 for 5x5": ["options.five_by_five=3x3"],
                **{f"without {path}": [f"options.modules=without {path}"] for path in ("1x1", "3x3", "5x5", "pool")},
                **{f"{k}x{k} alone": [f"options.modules={k}x{k} alone"] for k in (1, 3, 5)},
                "naive modules": ["options.modules=naive"],
                "fully connected": ["options.final_map=8"],
                "fully connected, 1024 hidden": ["options.final_map=8", "options.hidden=1024"],
                "dropout 0": ["options.dropout=0"],
            },
        ),
        # The paper's 4 % less every 8 epochs has no arm: over the 4 epochs of this recipe it is the constant rate.
        Study(
            "schedules",
            "How much do the schedule of the learning rate and averaged weights matter, at equal cost?",
            RECIPES["shapes-laptop"],
            {
                "one-cycle": [],
                "cosine": ["schedule=cosine"],
                "constant": ["schedule=constant"],
                "constant, Polyak average": ["schedule=constant", "averaging=polyak", "average_from=2"],
            },
        ),
        Study(
            "limits",
            "At equal MACs: are the widths, the depth and the average pool of Table 1 better than others?",
            RECIPES["shapes-laptop"],
            {
                "as in Table 1": [],
                **{f"widths {how}": [f"options.modules=widths {how}"] for how in ("shuffled", "uniform", "× 3/4")},
                **{f"{n} modules": [f"options.modules={n} modules"] for n in (3, 18)},
                "no average pooling": ["options.final_map=4"],  # the side of the last map
            },
        ),
        # So few images that the network can learn them by heart, and long enough for it to do so.
        Study(
            "overfitting",
            "With few images: do the average pool and dropout keep the network from learning them by heart?",
            RECIPES["shapes-laptop"].with_settings(["train_images=1000", "epochs=32", "options.dropout=0.0"]),
            {
                "average pool": [],
                "average pool, dropout 40 %": ["options.dropout=0.4"],
                "fully connected": ["options.final_map=4"],  # the side of the last map
                "fully connected, dropout 40 %": ["options.final_map=4", "options.dropout=0.4"],
            },
        ),
        Study(
            "descendants",
            "At equal MACs: which idea that came after GoogLeNet makes it better?",
            RECIPES["shapes-laptop"],
            {
                "GoogLeNet": [],
                "5×5 → two 3×3": ["options.modules=two 3x3"],
                "n×n → 1×n, n×1": ["options.modules=1xn nx1"],
                "grid reduction": ["options.modules=grid reduction"],
                "label smoothing": ["label_smoothing=0.1"],
                "residual": ["options.modules=residual"],
                "separable": ["options.modules=separable"],
            },
        ),
    )
}

# Objects of `shapes` by the side of their box, at most this fraction of the image's side; the smallest have 1/8.
# Scales are uniform in log, so that each bin has about a third of the images.
SCALES = {"small": 1 / 4, "medium": 1 / 2, "large": 1.0}

COLUMNS = {  # of a study's file, with their types; where a float is not known, the cell is empty
    "arm": str,
    "seed": int,
    "parameters": int,  # this and MACs: of one image in evaluation mode
    "macs": int,
    "val_top1_error": float,  # errors in per cent
    "val_top5_error": float,
    "val_loss": float,
    "train_top1_error": float,  # of the last epoch, while the weights changed
    "train_loss": float,
    **{f"val_top1_error_{name}": float for name in SCALES},  # by scale of the object; data "shapes" only
    "epochs": int,
    "steps": int,
    "train_images": int,  # in the training set
    "classes": int,
    "seconds": float,  # of the training loop, without evaluation
    "images_per_second": float,
    "device": str,  # this and what follows: where and when the run was begun
    "torch": str,
    "git_commit": str,
    "started": str,
    "recipe": str,  # the whole recipe as JSON, so that no later default can change what the row says
}


def find(name: str) -> Study:
    """The study of that name; ValueError for an unknown one, listing all with their questions."""
    if name not in STUDIES:
        raise ValueError(f"study {name!r} is not known. There are:\n{overview()}")
    return STUDIES[name]


def overview() -> str:
    """A line a study: its name and its question."""
    width = max(map(len, STUDIES))
    return "\n".join(f"{name:{width}}  {study.question}" for name, study in STUDIES.items())


def path_of(name: str) -> Path:
    """Where the record of a study lies: data/studies/NAME.csv, in the checkout or the wheel."""
    return files.recorded("studies", f"{name}.csv")


def run(
    study: Study,
    seeds: int | None = None,
    arms: list[str] | None = None,
    *,
    out: str | Path | None = None,
    runs: str | Path | None = None,
    data: Data | str | Path | None = None,
    progress: bool = True,
    accelerator: str = "auto",
    devices: int | str = 1,
) -> pd.DataFrame:
    """Train what of a study has not been trained yet, and write a row a run; returns `read(out)`.

    seeds, arms: how many and which, by default all. All arms of one seed are trained before the next seed.
    out: the file, by default data/studies/NAME.csv. runs: the folder of the run folders, by default
    runs/studies/NAME; with `out`, what `out` is without its suffix. data: the sets in place of the recipe's, or
    another tier or folder, whose name the rows then have.
    progress: show each run. accelerator, devices: as `train` takes them.

    It can be killed at any moment and called again. A run that has its row is not trained again, even where its
    folder is gone; a finished run folder is only read. So several processes may train different arms side by side.
    Of the processes of one run (see `train`), the first alone writes.

    Raises ValueError for a wrong argument; RunError where the file has a row that the study, as it is now, would not
    write (nothing is changed then), and as `train`.
    """
    seeds, arms = study.seeds if seeds is None else seeds, list(study.arms) if arms is None else arms
    if not isinstance(seeds, int) or seeds < 1:
        raise ValueError(f"seeds must be a whole number of at least 1, got {seeds!r}")
    for arm in arms:
        check_one_of("arms", arm, study.arms)
    if out is None and STUDIES.get(study.name) != study:
        raise ValueError(f"out must be given: {path_of(study.name)} is for the study as STUDIES has it")
    if isinstance(data, str | Path):
        study = replace(study, recipe=replace(study.recipe, data=Path(data).name))
    wanted = [(arm, study.recipe_of(arm, seed)) for seed in range(seeds) for arm in arms]
    path = path_of(study.name) if out is None else Path(out)
    if path.suffix != ".csv":
        raise ValueError(f"out must end in .csv, got {str(out)!r}")
    folders = Path("runs", "studies", study.name) if out is None else path.with_suffix("")
    folders = folders if runs is None else Path(runs)
    where = dict(accelerator=accelerator, devices=devices)
    fabric = make_fabric(study.recipe, **where)
    fabric.launch()
    opened = {}
    done = set(on_rank_zero(fabric, recorded, study, path)[["arm", "seed"]].itertuples(index=False, name=None))
    for number, (arm, recipe) in enumerate(wanted, 1):
        if (arm, recipe.seed) in done:
            continue
        if progress and fabric.is_global_zero:
            print(f"{study.name}, run {number} of {len(wanted)}: {arm}, seed {recipe.seed}", flush=True)
        sets = data if isinstance(data, Data) else _open(fabric, recipe, data, opened)
        train(recipe, folders / recipe.name, data=sets, resume=True, progress=progress, **where)
        on_rank_zero(fabric, record, study, path, arm, folders / recipe.name, fabric.device)
    return on_rank_zero(fabric, read, path)


# What open_data looks at. Runs that agree in it have the same sets, which are then read once.
OF_DATA = ("data", "image_size", "memory_size", "train_images", "in_memory", "augmentation", "smallest_crop", "cutout")


def _open(fabric, recipe: Recipe, source: str | Path | None, opened: dict) -> Data:
    """The sets of a run, from `opened` if those of the run before were the same."""
    key = tuple(getattr(recipe, name) for name in OF_DATA)
    if key not in opened:
        opened.clear()  # no two sets in memory
        with fabric.rank_zero_first():
            opened[key] = open_data(recipe, source)
    return opened[key]


def recorded(study: Study, path: Path) -> pd.DataFrame:
    """The rows of a study's file, none where there is no file. Raises RunError for a row that is not the study's."""
    rows, wrong = read(path) if path.exists() else pd.DataFrame(columns=list(COLUMNS)), []
    for row in rows.itertuples():
        differences = ["the study has no such arm"]
        if row.arm in study.arms:
            differences = study.recipe_of(row.arm, row.seed).differences(Recipe.from_json(row.recipe))
        if differences:
            wrong.append(f"arm {row.arm!r}, seed {row.seed}: {'; '.join(differences)}")
    if wrong:
        raise RunError(
            f"{path} has rows that the study {study.name!r} would not write as it is now. Delete them and their run "
            "folders, or choose another file (--out). What it says now:\n" + "\n".join(wrong)
        )
    return rows


def record(study: Study, path: Path, arm: str, folder: Path, device: torch.device) -> None:
    """Write the row of a finished run folder into a study's file, in the order of arms and seeds."""
    new = pd.DataFrame([row_of(folder, arm, device)])
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # no other process adds a row between our reading and our writing
        old = recorded(study, path)
        old = old[(old["arm"] != arm) | (old["seed"] != new.loc[0, "seed"])]
        rows = pd.concat([old, new]) if len(old) else new
        rows = rows.sort_values("seed").sort_values("arm", key=lambda a: a.map(list(study.arms).index), kind="stable")
        files.write(path, rows.to_csv(index=False, lineterminator="\n").encode())


def row_of(folder: Path, arm: str, device: torch.device) -> dict:
    """What a finished run folder comes to: a value a column of COLUMNS."""
    about = load_model(folder)[1]
    recipe, classes = about["recipe"], len(about["classes"])
    cost = costs.count(recipe.network, recipe.image_size, num_classes=classes, **recipe.options)
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))["sessions"][0]
    with open(folder / "history.csv", newline="", encoding="utf-8") as file:
        last = {column: float(value) for column, value in list(csv.DictReader(file))[-1].items()}
    known = last | RunFolder(folder).metrics | environment | environment["data"]
    known |= {"parameters": cost.params, "macs": cost.macs, "classes": classes}
    known |= {"arm": arm, "seed": recipe.seed, "recipe": json.dumps(asdict(recipe), ensure_ascii=False)}
    known |= {"torch": environment["packages"]["torch"]}
    if recipe.data == "shapes":
        known |= {f"val_top1_error_{scale}": error for scale, error in error_by_scale(folder, device).items()}
    return {column: known.get(column) for column in COLUMNS}


@torch.no_grad()
def error_by_scale(folder: str | Path, device: torch.device | str = "cpu") -> dict[str, float]:
    """The top-1 error (per cent) of a finished run on `shapes`, in the bins of SCALES: scale of the object → error.

    It is that of the 2,000 validation images. Raises RunError for a folder without finished weights, ValueError for
    a run on other data.
    """
    model, about = load_model(folder)
    recipe, device = about["recipe"], torch.device(device)
    check_one_of("data", recipe.data, ("shapes",))
    shapes = datasets.load("shapes", "val", size=recipe.image_size)
    data, wrong = Data(None, datasets.in_memory(shapes), shapes.classes, shapes.mean, shapes.std), []
    model.to(device)
    for images, labels in in_order(data, recipe, device):
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16-mixed"):
            wrong.append(model(images).argmax(1) != labels)
    wrong = torch.cat(wrong).cpu().numpy()
    scales = shapes.scenes(range(len(shapes))).scale
    bins = np.searchsorted(list(SCALES.values()), scales)  # the first bin whose limit is not below the scale
    return {name: round(100 * float(wrong[bins == i].mean()), 4) for i, name in enumerate(SCALES)}


def read(name_or_path: str | Path) -> pd.DataFrame:
    """The record of a study, a row a run, with the columns and types of COLUMNS.

    name_or_path: of STUDIES, or a CSV file that `run` wrote. Raises ValueError where there is no such file, RunError
    where it is broken or of another kind.
    """
    path = path_of(name_or_path) if name_or_path in STUDIES else Path(name_or_path)
    if not path.is_file():
        names = ", ".join(map(repr, STUDIES))
        raise ValueError(f"name_or_path must be one of {names} once it has been run, or a file; there is no {path}")
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)  # an arm may be called "None"
        if list(rows.columns) != list(COLUMNS):
            raise ValueError(f"its columns differ in {sorted(set(rows) ^ set(COLUMNS)) or 'their order'}")
        floats = [column for column, kind in COLUMNS.items() if kind is float]
        rows = rows.replace(dict.fromkeys(floats, {"": "nan"})).astype(COLUMNS)
        for text in rows["recipe"]:
            Recipe.from_json(text)
    except ValueError as error:
        raise RunError(f"{path} is not the record of a study: {error}") from error
    if rows.duplicated(["arm", "seed"]).any():
        raise RunError(f"{path} has two rows of one arm and seed: delete one of them")
    return rows


def compare(frame: pd.DataFrame, column: str = "val_top1_error", baseline: str | None = None) -> pd.DataFrame:
    """A DataFrame with a row an arm: the mean of a column over its seeds, and how it differs from a baseline's.

    frame: what `read` gives. baseline: an arm, by default the first. The columns are parameters and macs (of the
    arm), seeds (how many), mean, sd (of single runs, with n − 1), difference (mean − the baseline's mean), low and
    high (its 95 % interval by Welch's t, as the arms' spreads may differ), and clear.

    clear: both arms have at least 3 seeds, and the interval does not hold 0. With other seeds the difference would
    then most likely have the same sign. It does not say that the difference is large, nor that it would be there
    with another recipe, budget or other validation images, which all runs share. Each interval stands for itself: of
    20 comparisons between equal arms, one is expected to come out clear. Not clear does not mean equal: three seeds
    see only differences that are several times the spread. And t takes the errors of runs to be normally
    distributed, which so few runs cannot show.

    Runs of one seed share the order of the images, and arms of one architecture their first weights. The interval
    is unpaired all the same: pairs would leave n − 1 degrees of freedom instead of up to 2 (n − 1), which for
    3 seeds widens the interval more than a weak common part of the runs narrows it. If runs of one seed do err
    together, it is wider than need be.

    Raises ValueError for an unknown column or arm, and for a column without a number for every run.
    """
    numbers = [name for name in frame.columns if name in COLUMNS and COLUMNS[name] is not str]
    check_one_of("column", column, numbers)
    if frame[column].isna().any():
        raise ValueError(f"column must have a number for every run, which {column!r} has not")
    values = {arm: rows[column] for arm, rows in frame.groupby("arm", sort=False)}
    baseline = next(iter(values)) if baseline is None else baseline
    check_one_of("baseline", baseline, values)
    other, table = values[baseline], {}
    for arm, mine in values.items():
        low = high = np.nan
        if arm != baseline and min(len(mine), len(other)) > 1:
            with warnings.catch_warnings(action="ignore"):  # runs that are all equal have no spread to divide by
                low, high = ttest_ind(mine, other, equal_var=False).confidence_interval(0.95)
        row = {"seeds": len(mine), "mean": mine.mean(), "sd": mine.std(), "difference": mine.mean() - other.mean()}
        row |= {"low": low, "high": high}
        table[arm] = row | {"clear": bool(min(len(mine), len(other)) >= 3 and (low > 0 or high < 0))}
    cost = frame.groupby("arm", sort=False)[["parameters", "macs"]].first()
    return cost.join(pd.DataFrame.from_dict(table, orient="index")).rename_axis("arm")
