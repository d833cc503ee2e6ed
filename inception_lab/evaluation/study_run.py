"""Running a study: what of it has not been trained yet is trained, and each finished run becomes a row of its file."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from filelock import FileLock
from lightning_fabric import Fabric

from inception_lab.common import files
from inception_lab.common.checks import check_one_of, check_whole
from inception_lab.data import datasets
from inception_lab.evaluation.studies import STUDIES, Study
from inception_lab.evaluation.study_table import add_row, own_file, read_study, rows_of, shipped_file
from inception_lab.training.batches import Data, open_data
from inception_lab.training.devices import make_fabric, on_rank_zero, rank_zero_first
from inception_lab.training.recipes import Recipe
from inception_lab.training.trainer import train


def run_study(
    study: Study,
    seeds: int | None = None,
    arms: Iterable[str] | None = None,
    *,
    out: str | Path | None = None,
    runs: str | Path | None = None,
    data: Data | str | Path | None = None,
    progress: bool = True,
    accelerator: str = "auto",
    devices: int | str = 1,
) -> pd.DataFrame:
    """Train what of a study has not been trained yet, and write one row per run; returns `read_study(out)`.

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
    seeds = check_whole("seeds", study.seeds if seeds is None else seeds)
    arms = list(study.arms if arms is None else arms)
    for arm in arms:
        check_one_of("arms", arm, study.arms)
    if out is None and STUDIES.get(study.name) != study:
        raise ValueError(f"out must be given: {own_file(study.name)} is for the study as STUDIES has it")
    path = own_file(study.name) if out is None else Path(out)
    if path.suffix != ".csv":
        raise ValueError(f"out must end in .csv, got {str(out)!r}")
    if runs is None:
        runs = Path("runs", "studies", study.name) if out is None else path.with_suffix("")
    if isinstance(data, str | Path):
        study = replace(study, recipe=replace(study.recipe, data=datasets.stored_name(data)))
    wanted = [(arm, study.recipe_of(arm, seed)) for seed in range(seeds) for arm in arms]
    fabric = make_fabric(study.recipe, accelerator, devices)
    fabric.launch()
    kept = shipped_file(study.name) if out is None else path
    rows = on_rank_zero(fabric, rows_of, study, kept)
    finished = set(zip(rows["arm"], rows["seed"], strict=True))
    missing = {number: run for number, run in enumerate(wanted, 1) if (run[0], run[1].seed) not in finished}
    if not missing:
        return on_rank_zero(fabric, read_study, kept)
    files.check_out(path)
    files.check_out(runs, "runs", folder=True)
    if out is None:
        on_rank_zero(fabric, start_file, study.name)
    opened: dict[tuple, Data] = {}
    for number, (arm, recipe) in missing.items():
        if progress and fabric.is_global_zero:
            print(f"{study.name}, run {number} of {len(wanted)}: {arm}, seed {recipe.seed}", flush=True)
        sets = data if isinstance(data, Data) else open_once(fabric, recipe, data, opened)
        folder = Path(runs) / recipe.name
        train(recipe, folder, data=sets, resume=True, progress=progress, accelerator=accelerator, devices=devices)
        on_rank_zero(fabric, add_row, study, path, arm, folder, fabric.device)
    return on_rank_zero(fabric, read_study, path)


def start_file(name: str) -> None:
    """Let one's own record of a study begin with the rows that came with an installed wheel."""
    own = own_file(name)
    own.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(own.with_suffix(".lock")):  # no other process begins it and adds a row meanwhile
        if not own.exists() and shipped_file(name).is_file():
            files.write(own, shipped_file(name).read_bytes())


# What open_data looks at. Runs that agree in it have the same sets, which are then read once.
OF_DATA = (
    *("data", "image_size", "memory_size", "train_images", "in_memory", "augmentation", "smallest_crop", "cutout"),
    *("mean", "std", "init"),
)


def open_once(fabric: Fabric, recipe: Recipe, source: str | Path | None, opened: dict[tuple, Data]) -> Data:
    """The sets of a run, from `opened` if those of the run before were the same."""
    key = tuple(str(getattr(recipe, name)) for name in OF_DATA)
    if key not in opened:
        opened.clear()  # no two sets in memory
        opened[key] = rank_zero_first(fabric, open_data, recipe, source)
    return opened[key]
