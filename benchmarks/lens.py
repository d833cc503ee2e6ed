"""Seconds to visualize a unit, alone and in a batch of 16, and to find the top patches of 10,000 images; on two cores.

"Alone" is `visualize` called once for each unit, "batch" one call for all of them: the same units, steps and size. The
units are spread over the paths of the modules named. Rounds alternate, and the first call of each, which traces the
network, is not counted.

    python benchmarks/lens.py [--run RUN | --network googlenet-bn] [--size 128] [--steps 256] [--data FOLDER]
"""

import argparse
import os
import statistics
import sys
import time

import torch

from inception_lab import lens
from inception_lab.common import console
from inception_lab.common.checks import check_whole
from inception_lab.data import datasets
from inception_lab.models import zoo

CORES, BATCH = 2, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", help="a run folder (default: the best recorded one)")
    parser.add_argument("--network", help="a network of the zoo with new weights, in place of a run")
    parser.add_argument("--modules", nargs="+", default=["3b", "4a", "4c", "4e", "5b"], help="whose units to visualize")
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--steps", type=int, default=256, help="steps of the optimization")
    parser.add_argument("--rounds", type=int, default=3, help="units alone, and batches, that are measured")
    parser.add_argument("--data", help="a data tier or folder: find the top patches of its val split")
    args = parser.parse_args()
    for name in ("size", "steps", "rounds"):
        check_whole(name, getattr(args, name))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    torch.set_num_threads(CORES)
    network = lens.Network(zoo.build(args.network)) if args.network else lens.open_run(args.run)
    for module in args.modules if not args.data else []:
        visualizing(network, f"inception_{module}", args)
    if args.data:
        patches(network, datasets.load(args.data, "val", size=network.size))


def visualizing(network, module: str, args) -> None:
    units = [lens.channel(f"{path}:{c}") for c in range(BATCH) for path in lens.paths(network) if module in path][
        :BATCH
    ]
    how = dict(size=args.size, progress=False)
    seconds = {"alone": [], "batch": []}
    for number in range(-1, args.rounds):
        steps = args.steps if number >= 0 else 2
        for name, chosen in {"alone": units[number : number + 1] or units[-1:], "batch": units}.items():
            start = time.perf_counter()
            lens.visualize(network, chosen, steps=steps, **how)
            if number >= 0:
                seconds[name].append((time.perf_counter() - start) / len(chosen))
    alone, batch = (statistics.median(seconds[name]) for name in ("alone", "batch"))
    print(
        f"{module}: alone {alone:.2f} s, in a batch of {BATCH} {batch:.2f} s a unit: {alone / batch:.2f} times cheaper"
    )


def patches(network, data) -> None:
    start = time.perf_counter()
    lens.top_patches(network, data, progress=False)
    units = sum(lens.paths(network).values())
    print(f"top patches of {units:,} units over {len(data):,} images: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    sys.exit(console.run("lens.py", main))
