"""How many training patches per second the two augmentation engines make on the same two cores.

Both take 64×64 uint8 images that lie in memory, draw the paper's patches (8 to 100 % of the area, mirrored or not,
photometric distortions) and end with a normalized float32 batch (128, 3, 224, 224) in this process. One is
torchvision v2 in a DataLoader with two workers that stay alive between rounds; the other is the batched engine with
two threads and no worker. Nothing else runs meanwhile: no network is trained. Rounds alternate between the engines,
and who goes first changes; the first round is not counted. Needs nothing but the library.

    python benchmarks/augmentation.py [--rounds 7] [--images 2048] [--csv FILE]
"""

import argparse
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import pandas as pd
import torch
import torchvision
from torch.utils.data import DataLoader

from inception_lab.common import console, files
from inception_lab.common.checks import check_whole
from inception_lab.data.augment import Augmentation
from inception_lab.data.datasets import Part, in_memory, load

CORES, BATCH, SIZE = 2, 128, 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of each engine")
    parser.add_argument("--images", type=int, default=2048, help="images per round")
    parser.add_argument("--csv", help="write every round here (default: standard output)")
    args = parser.parse_args()
    check_whole("rounds", args.rounds)
    check_whole("images", args.images)
    if args.csv:
        files.check_out(args.csv, "csv")
    if hasattr(os, "sched_setaffinity"):  # workers inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    torch.set_num_threads(CORES)

    data = in_memory(load("shapes", size=64, length=args.images))
    augmentation = Augmentation(SIZE, mean=data.mean, std=data.std)
    engines = {"torchvision": by_torchvision(data, augmentation), "batched": by_batch(data, augmentation)}
    rates = {name: [] for name in engines}
    for number in range(args.rounds + 1):
        for name in list(engines)[:: 1 if number % 2 else -1]:
            rate = measure(engines[name], args.images)
            if number:
                rates[name].append(rate)
    write(rates, args.csv)
    for name, values in rates.items():
        line = f"{name:12} median {statistics.median(values):7,.0f} images/s, {min(values):,.0f} to {max(values):,.0f}"
        print(line, file=sys.stderr)
    ratios = [b / t for t, b in zip(*rates.values(), strict=True)]
    line = f"batched / torchvision, round by round: median {statistics.median(ratios):.2f}"
    print(f"{line}, {min(ratios):.2f} to {max(ratios):.2f}", file=sys.stderr)


def by_torchvision(data, augmentation):
    """Batches from a DataLoader whose workers transform image by image."""
    images = Part(data, transform=augmentation.transform())
    options = dict(batch_size=BATCH, shuffle=True, num_workers=CORES, persistent_workers=True)
    return DataLoader(images, **options)


def by_batch(data, augmentation):
    """Batches from the engine that transforms a whole batch at once."""

    class Batches:
        def __iter__(self):
            for chosen in torch.randperm(len(data)).split(BATCH):
                yield augmentation(data.images[chosen]), data.labels[chosen]

    return Batches()


def measure(batches, images: int) -> float:
    """Images a second over one pass."""
    start, seen = time.perf_counter(), 0
    for patches, _ in batches:
        assert patches.shape[1:] == (3, SIZE, SIZE) and patches.dtype == torch.float32
        seen += len(patches)
    assert seen == images
    return images / (time.perf_counter() - start)


def write(rates: dict, path: str | None) -> None:
    """One row per round and engine, with what it ran on."""
    place = dict(cores=CORES, machine=platform.machine(), torch=torch.__version__, torchvision=torchvision.__version__)
    rows = [
        {"engine": name, "round": number, "images_per_second": f"{rate:.1f}", **place}
        for name, values in rates.items()
        for number, rate in enumerate(values, 1)
    ]
    text = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
    if path:
        files.write(Path(path), text.encode())
    else:
        print(text, end="")


if __name__ == "__main__":
    sys.exit(console.run("augmentation.py", main))
