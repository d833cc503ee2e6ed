"""Records what fine-tuning gains over training from scratch, with few images: data/finetuning/runs.csv.

    python scripts/record_finetuning.py /my/cifar10-jpeg

CIFAR-10 at 112 pixels with 10, 100 and 500 images per class. All arms share one recipe but for the learning rates:
those of each way are the best of a few, tried before the study on training images that are held out (`--rates` tries
them, and writes data/finetuning/rates.csv). A seed chooses the training images, their order and the new weights, so
that the arms of one seed are pairs. The 2,000 test images, 200 of each class, are the same for all, and are looked at
once, after the last epoch. A finished run is one row; killed at any moment and called again, it goes on.
data/finetuning/README.md says what the columns are.
"""

import argparse
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from inception_lab.common import files
from inception_lab.common.seeds import seed_of
from inception_lab.data import datasets
from inception_lab.evaluation import Study
from inception_lab.evaluation.study_table import add_row, rows_of
from inception_lab.models import fast
from inception_lab.training import Data, Recipe, Trainer, evaluate, make_fabric, open_data
from inception_lab.training.batches import in_order
from inception_lab.training.weights import complete

SEEDS, TEST_IMAGES = 5, 200  # per class
EPOCHS = {10: 10, 100: 3, 500: 1}  # by images per class


def rates(new: float, loaded: float) -> list[str]:
    """The settings for a learning rate of new weights, and that of loaded ones as a share of it."""
    return [f"learning_rate={new:g}", f"loaded_rate={loaded:g}"]


RECIPE = Recipe(
    "finetuning", "", {"aux": False}, "cifar10-jpeg", 112, init="published", loaded_rate=0.01, memory_size=32,
    augmentation="crop", smallest_crop=0.5, learning_rate=0.003, batch=10, weight_decay=5e-4, decay_all=False,
    channels_last=True,
)  # fmt: skip
WAYS = {
    # Without batch norm, a network that was not loaded hardly learns in so few steps.
    "from scratch": ["init=", "network=googlenet-bn", *rates(0.01, 1)],
    "linear": ["freeze=inception_5b", *rates(0.003, 0.01)],
    "fine-tuned": rates(0.003, 0.01),
    "from Tiny ImageNet": ["init=tiny-imagenet-96", *rates(0.01, 0.1)],
}
# The learning rates of new weights, and of loaded ones as shares of these, that were tried for each way.
TRIED = {
    "from scratch": [(0.01, 1), (0.03, 1)],
    "linear": [(0.001, 0.01), (0.003, 0.01)],
    "fine-tuned": [(0.01, 0.1), (0.003, 0.1), (0.003, 0.03), (0.003, 0.01)],  # first those of Caffe's example
    "from Tiny ImageNet": [(0.003, 0.1), (0.01, 0.1), (0.03, 0.1)],
}
SEED_OF_RATES, HELD_OUT = 7, 100  # no seed of the study; training images per class that judge the rates
FROZEN = ("conv2", "inception_3b", "inception_4b", "inception_4e")  # nothing, and all, are among the ways


def arms(images: int, ways: dict[str, list[str]]) -> dict[str, list[str]]:
    """Arms with so many images per class: name -> the settings in which they differ."""
    schedule = [f"epochs={EPOCHS[images]}", f"warmup_epochs={EPOCHS[images] / 10}"]
    return {f"{way}, {images} per class": [*settings, *schedule] for way, settings in ways.items()}


SWEEP = arms(100, {f"frozen to {stage}": [f"freeze={stage}"] for stage in FROZEN})
GROUPS = (arms(10, WAYS), arms(100, WAYS), SWEEP, arms(500, WAYS))  # in the order in which they are trained
ARMS = {name: settings for group in GROUPS for name, settings in group.items()}
STUDY = Study("finetuning", "With few images: is it better to begin with trained weights?", RECIPE, ARMS, SEEDS)
RATES = Study(
    "finetuning-rates",
    "Which learning rates?",
    RECIPE,
    {
        f"{arm}, {new:g} × {loaded:g}": [*settings, *rates(new, loaded)]
        for images in (10, 100)
        for way in WAYS
        for arm, settings in arms(images, {way: WAYS[way]}).items()
        for new, loaded in TRIED[way]
    },
    seeds=1,
)


class EvaluatedOnce(Trainer):
    """A run that is evaluated after its last epoch alone, by the fast twin: else that would take most of the time."""

    def evaluate(self) -> dict[str, float]:
        if self.epoch == self.recipe.epochs:
            batches = in_order(self.data, self.recipe, self.fabric.device)
            return evaluate(self.fabric, fast(self.final_model), batches, len(self.data.classes))
        return dict.fromkeys(("val_loss", "val_top1_error", "val_top5_error"), float("nan"))


def per_class(arm: str) -> int:
    """The training images per class of an arm, which its name says."""
    return int(re.findall(r"(\d+) per class", arm)[0])


def subset(data: datasets.InMemory, chosen: torch.Tensor) -> datasets.InMemory:
    """The images with these numbers."""
    return datasets.InMemory(data.images[chosen], data.labels[chosen], data.classes, data.mean, data.std)


def chosen(data: datasets.InMemory, count: int, seed: int) -> torch.Tensor:
    """The numbers of so many images of each class, by a seed. Of one seed the larger choices hold the smaller ones."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed_of(seed, "subset")))
    return torch.cat([order[data.labels[order] == c][:count] for c in range(len(data.classes))])


def hold_out(opened: Data) -> Data:
    """The training images alone, some of them as those of the test: what learning rates are chosen with."""
    held = chosen(opened.train, HELD_OUT, SEED_OF_RATES)
    rest = torch.ones(len(opened.train), dtype=torch.bool).index_fill(0, held, False).nonzero().flatten()
    return opened._replace(train=subset(opened.train, rest), val=subset(opened.train, held))


def table_of_rates(rows: pd.DataFrame) -> str:
    """The errors with each pair of rates as a table in Markdown: in per cent, by images per class, and their mean."""
    errors = rows["val_top1_error"].set_axis(pd.MultiIndex.from_tuples(rows["arm"].str.split(", ").map(tuple)))
    table = errors.unstack(1)[["10 per class", "100 per class"]]
    table["mean"] = table.mean(axis=1)
    lines = ["| way | rates | 10 per class | 100 per class | mean |", "|---|---|---:|---:|---:|"]
    for way in WAYS:
        best = table.loc[way, "mean"].min()
        for pair, values in table.loc[way].iterrows():
            pair = f"**{pair}**" if values["mean"] == best else pair
            lines.append(f"| {way} | {pair} | {values.iloc[0]:.1f} | {values.iloc[1]:.1f} | {values['mean']:.1f} |")
    return "\n".join(lines)


def run(study: Study, name: str, seed: int, opened: Data, folder: Path, table: Path) -> None:
    """Train one arm with one seed, and write its row."""
    recipe = complete(study.recipe_of(name, seed))
    place = folder / recipe.name
    mean, std = tuple(recipe.mean) or opened.mean, tuple(recipe.std) or opened.std
    train = subset(opened.train, chosen(opened.train, per_class(name), seed))
    test = subset(opened.val, chosen(opened.val, TEST_IMAGES, 0))
    data = Data(train, test, opened.classes, mean, std, replace(opened.augment, mean=mean, std=std))
    fabric = make_fabric(recipe, "cpu", 1)
    EvaluatedOnce(recipe, data, fabric, place, progress=False).fit(resume=True)
    add_row(study, table, name, place, fabric.device)
    shutil.rmtree(place)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="CIFAR-10 as JPEG files, class folders below train and val")
    parser.add_argument("--out", type=Path, metavar="CSV", help="(default: data/finetuning/runs.csv, or rates.csv)")
    parser.add_argument("--runs", type=Path, default=Path("runs/studies/finetuning"), help="(default: %(default)s)")
    parser.add_argument("--rates", action="store_true", help="try learning rates on training images that are held out")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="(default: all)")
    args = parser.parse_args(arguments)
    study = RATES if args.rates else STUDY
    table = args.out or files.data_folder() / "finetuning" / ("rates.csv" if args.rates else "runs.csv")
    files.check_out(table)
    known = rows_of(study, table)
    finished = set(zip(known["arm"], known["seed"], strict=True))
    if args.rates:
        wanted = [(name, SEED_OF_RATES) for name in RATES.arms]
    else:
        wanted = [(name, seed) for group in GROUPS for seed in range(SEEDS) for name in group]
    missing = [run for run in wanted if run not in finished and run[0] in (args.arms or study.arms)]
    if missing:
        # By a recipe that begins with no weights, so that mean and standard deviation are those of the images.
        opened = open_data(STUDY.recipe_of("from scratch, 10 per class", 0), args.data)
        opened = hold_out(opened) if args.rates else opened
    for name, seed in missing:
        run(study, name, seed, opened, args.runs, table)
        print(name, seed, flush=True)


if __name__ == "__main__":
    main()
