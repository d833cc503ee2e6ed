"""Records what fine-tuning gains over training from scratch, with few images: data/finetuning/runs.csv.

    python scripts/record_finetuning.py /my/cifar10-jpeg

CIFAR-10 at 112 pixels with 10, 100 and 500 images per class. All arms share one recipe, the learning rate of new
weights included; what was loaded learns at a tenth of it. A seed chooses the training images, their order and the new
weights, so that the arms of one seed are pairs. The 2,000 test images, 200 of each class, are the same for all, and are
looked at once, after the last epoch. A finished run is one row; killed at any moment and called again, it goes on.
data/finetuning/README.md says what the columns are.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

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

TABLE = files.data_folder() / "finetuning" / "runs.csv"
SEEDS, TEST_IMAGES = 5, 200  # per class
EPOCHS = {10: 10, 100: 3, 500: 1}  # by images per class
# The rates are those of Caffe's example of fine-tuning, on photographs by style.
RECIPE = Recipe(
    "finetuning", "", {"aux": False}, "cifar10-jpeg", 112, init="published", loaded_rate=0.1, memory_size=32,
    augmentation="crop", smallest_crop=0.5, learning_rate=0.01, batch=10, weight_decay=5e-4, decay_all=False,
    channels_last=True,
)  # fmt: skip
WAYS = {
    # Without batch norm, a network that was not loaded hardly learns in so few steps.
    "from scratch": ["init=", "loaded_rate=1", "network=googlenet-bn"],
    "linear": ["freeze=inception_5b"],
    "fine-tuned": [],
    "from Tiny ImageNet": ["init=tiny-imagenet-96"],
}
FROZEN = ("conv2", "inception_3b", "inception_4b", "inception_4e")  # nothing, and all, are among the ways


def arms(images: int, ways: dict[str, list[str]]) -> dict[str, list[str]]:
    """Arms with so many images per class: name -> the settings in which they differ."""
    schedule = [f"epochs={EPOCHS[images]}", f"warmup_epochs={EPOCHS[images] / 10}"]
    return {f"{way}, {images} per class": [*settings, *schedule] for way, settings in ways.items()}


SWEEP = arms(100, {f"frozen to {stage}": [f"freeze={stage}"] for stage in FROZEN})
GROUPS = (arms(10, WAYS), arms(100, WAYS), SWEEP, arms(500, WAYS))  # in the order in which they are trained
ARMS = {name: settings for group in GROUPS for name, settings in group.items()}
STUDY = Study("finetuning", "With few images: is it better to begin with trained weights?", RECIPE, ARMS, SEEDS)


class EvaluatedOnce(Trainer):
    """A run that is evaluated after its last epoch alone, by the fast twin: else that would take most of the time."""

    def evaluate(self) -> dict[str, float]:
        if self.epoch == self.recipe.epochs:
            batches = in_order(self.data, self.recipe, self.fabric.device)
            return evaluate(self.fabric, fast(self.final_model), batches, len(self.data.classes))
        return dict.fromkeys(("val_loss", "val_top1_error", "val_top5_error"), float("nan"))


def per_class(arm: str) -> int:
    """The training images per class of an arm, which its name ends with."""
    return int(arm.split()[-3])


def balanced(data: datasets.InMemory, count: int, seed: int) -> datasets.InMemory:
    """So many images of each class, chosen by a seed. Of one seed the larger choices hold the smaller ones."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed_of(seed, "subset")))
    chosen = torch.cat([order[data.labels[order] == c][:count] for c in range(len(data.classes))])
    return datasets.InMemory(data.images[chosen], data.labels[chosen], data.classes, data.mean, data.std)


def run(name: str, seed: int, opened: Data, folder: Path, table: Path) -> None:
    """Train one arm with one seed, and write its row."""
    recipe = complete(STUDY.recipe_of(name, seed))
    place = folder / recipe.name
    mean, std = tuple(recipe.mean) or opened.mean, tuple(recipe.std) or opened.std
    train, test = balanced(opened.train, per_class(name), seed), balanced(opened.val, TEST_IMAGES, 0)
    data = Data(train, test, opened.classes, mean, std, replace(opened.augment, mean=mean, std=std))
    fabric = make_fabric(recipe, "cpu", 1)
    EvaluatedOnce(recipe, data, fabric, place, progress=False).fit(resume=True)
    add_row(STUDY, table, name, place, fabric.device)
    shutil.rmtree(place)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="CIFAR-10 as JPEG files, class folders below train and val")
    parser.add_argument("--out", type=Path, default=TABLE, metavar="CSV", help="(default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs/studies/finetuning"), help="(default: %(default)s)")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), metavar="ARM", help="(default: all)")
    args = parser.parse_args(arguments)
    files.check_out(args.out)
    known = rows_of(STUDY, args.out)
    finished = set(zip(known["arm"], known["seed"], strict=True))
    wanted = [(name, seed) for group in GROUPS for seed in range(SEEDS) for name in group if name in args.arms]
    missing = [run for run in wanted if run not in finished]
    if missing:
        opened = open_data(STUDY.recipe_of("from scratch, 10 per class", 0), args.data)
    for name, seed in missing:
        run(name, seed, opened, args.runs, args.out)
        print(name, seed, flush=True)


if __name__ == "__main__":
    main()
