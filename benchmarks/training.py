"""Training steps per second of a recipe, against the same network in plain eager PyTorch with the default layout.

Both train on the same images, which lie in memory, with the recipe's optimizer and batch, on the same two cores. One
is the library's loop as `inception-lab train` runs it, augmentation, metrics and checks included. The other is the
shortest loop that trains the network: slice the images, normalize, forward, loss, backward, step, in float32 and
NCHW. Rounds of some steps alternate, and who goes first changes; the first round is not counted.

    python benchmarks/training.py [--recipe shapes-laptop] [--set KEY=VALUE] [--rounds 7] [--steps 20]
"""

import argparse
import os
import statistics
import sys
import tempfile
import time

import torch

from inception_lab.common import console
from inception_lab.common.checks import check_whole
from inception_lab.models import zoo
from inception_lab.training import recipes
from inception_lab.training.batches import open_data
from inception_lab.training.devices import make_fabric
from inception_lab.training.optimization import build_optimizer
from inception_lab.training.trainer import Trainer, loss

CORES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="shapes-laptop", help="a recipe of the library")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a part of the recipe")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of each loop")
    parser.add_argument("--steps", type=int, default=20, help="steps per round")
    args = parser.parse_args()
    for name in ("rounds", "steps"):
        check_whole(name, getattr(args, name))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    torch.set_num_threads(CORES)

    recipe = recipes.find(args.recipe).with_settings(args.set)
    # An epoch of the library's loop is a round.
    recipe = recipe.with_settings([f"train_images={args.steps * recipe.batch}", f"epochs={args.rounds + 1}"])
    data = open_data(recipe)
    with tempfile.TemporaryDirectory() as folder:
        run = Trainer(recipe, data, make_fabric(recipe, "cpu", 1), folder, progress=False)
        loops = {"plain": plain(recipe, data), "library": run.train_epoch}
        rates = {name: [] for name in loops}
        for number in range(args.rounds + 1):
            for name in list(loops)[:: 1 if number % 2 else -1]:
                start = time.perf_counter()
                loops[name]()
                if number:
                    rates[name].append(args.steps / (time.perf_counter() - start))
    for name, values in rates.items():
        print(f"{name:8} median {statistics.median(values):6.2f} steps/s, {min(values):.2f} to {max(values):.2f}")
    ratios = [b / a for a, b in zip(*rates.values(), strict=True)]
    print(f"library / plain, round by round: median {statistics.median(ratios):.2f}", end="")
    print(f", {min(ratios):.2f} to {max(ratios):.2f}")


def plain(recipe, data):
    """A function that trains for one pass, in as few lines as it takes."""
    model = zoo.build(recipe.network, len(data.classes), **recipe.options)
    optimizer = build_optimizer(recipe, model)
    images, labels = data.train.images, data.train.labels
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))

    def one_pass():
        for chosen in torch.randperm(len(images)).split(recipe.batch):
            outputs = model((images[chosen] / 255 - mean) / std)
            total = loss(outputs, labels[chosen], recipe.aux_weight)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

    return one_pass


if __name__ == "__main__":
    sys.exit(console.run("training.py", main))
