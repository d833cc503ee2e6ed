"""The gallery of the published GoogLeNet: an image for every unit of its nine modules, and what is known of it.

python scripts/gallery.py optimize WORK            hours; killed and called again, it goes on
python scripts/gallery.py measure WORK PHOTOGRAPHS minutes: what each unit reads, feeds and answers to
python scripts/gallery.py pack WORK                data/gallery, of what there is so far

WORK is a folder outside the checkout. It gets a file PATH-FIRST.npz for each CHUNK units of a path, written as a whole
or not at all; the first of every path come first, so that a gallery that is half made has units of every path.
PHOTOGRAPHS is a folder of class folders. None of their pixels is kept: only the names of their classes.
"""

import argparse
import bz2
import io
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from inception_lab import lens
from inception_lab.common import console, files
from inception_lab.common.checks import DataError
from inception_lab.data import datasets
from inception_lab.explorer import page
from inception_lab.explorer.exploration import Entry, State
from inception_lab.explorer.measure import strengths
from inception_lab.explorer.stages import CLASSES, Stage, find_stages
from inception_lab.lens.images import batches
from inception_lab.lens.network import Network
from inception_lab.lens.units import modules
from inception_lab.models.fused import FusedResponseNorm

CHUNK = 16  # units of one path that are optimized as one batch
SIZE, STEPS, LEARNING_RATE = 80, 64, 0.1
WIRES, CLASS_COUNT, PHOTOGRAPHS = 6, 5, 9  # of each unit: inputs and outputs, classes, photographs
QUALITY = 12  # of lossy WebP, from 0 to 100: the gallery of all units then takes 6.4 MB


class Chunk(NamedTuple):
    """Successive units of a path."""

    path: str
    units: range

    def file(self, work: Path) -> Path:
        return work / f"{self.path}-{self.units.start}.npz"


def chunks(network: Network) -> list[Chunk]:
    """All units of the modules: the first CHUNK of every path, then the second of every path, and so on."""
    widths = {path: width for path, width in lens.paths(network).items() if "." in path}
    found = [Chunk(p, range(s, min(s + CHUNK, n))) for p, n in widths.items() for s in range(0, n, CHUNK)]
    return sorted(found, key=lambda chunk: chunk.units.start)  # the sort is stable: paths keep their order


def quick(network: Network) -> Network:
    """The network with response normalizations as sums of slices: as PyTorch has them they take half of the time."""
    for name, module in list(network.model.named_children()):
        if isinstance(module, torch.nn.LocalResponseNorm):
            setattr(network.model, name, FusedResponseNorm(module))
    return network


def optimize(network: Network, work: Path, steps: int = STEPS, size: int = SIZE, most: int | None = None) -> int:
    """Optimize the images that are missing, at most so many chunks. Returns how many units are done in all."""
    done, todo = 0, []
    wanted = chunks(network)
    network = quick(network)
    for chunk in wanted:
        if chunk.file(work).is_file():
            done += len(chunk.units)
        else:
            todo.append(chunk)
    for chunk in todo[:most]:
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the table says which units stay silent
            seen = lens.visualize(
                network,
                [lens.channel(chunk.path, c) for c in chunk.units],
                size=size,
                steps=steps,
                learning_rate=LEARNING_RATE,
                progress=False,
            )
        content = io.BytesIO()
        np.savez(
            content,
            images=(seen.images * 255 + 0.5).to(torch.uint8).numpy(),
            history=seen.history.numpy(),
            reached=seen.excitation.numpy(),
        )
        files.write(chunk.file(work), content.getvalue())
        done += len(chunk.units)
        seconds = (time.process_time() - start) / len(chunk.units)
        print(f"{done:5} units, {chunk.path}:{chunk.units.start}, {seconds:.2f} s of a core each", flush=True)
    return done


# --- what is known of each unit ------------------------------------------------------------------------------


@torch.no_grad()
def answers(network: Network, images: datasets.InMemory, stages: list[Stage]) -> tuple[dict, dict, torch.Tensor]:
    """What the units of stages answer to images, in one pass: peaks, means and the logits.

    Returns {stage: (peak, mean), each (N, units)} over the map of each image, {node: deviation of each of its channels
    over images and positions} of what the stages read, and the logits (N, classes).
    """
    read = list(dict.fromkeys(stage.source for stage in stages))
    nodes = list(dict.fromkeys([*read, *(stage.name for stage in stages)]))
    found: dict[str, list] = {name: [] for name in nodes}
    moments = {name: torch.zeros(()) for name in read}
    done = 0
    for some in batches(images, network, 50):
        for name, values in network.extract(some, nodes).items():
            flat = values.flatten(2).float() if values.ndim == 4 else values[..., None].float()
            found[name].append(torch.stack([flat.amax(2), flat.mean(2)]))
            if name in moments:
                moments[name] = moments[name] + torch.stack([flat.mean((0, 2)), flat.square().mean((0, 2))]) * len(some)
        done += len(some)
        print(f"{done:5} photographs", flush=True)
    seen = {name: torch.cat(parts, 1) for name, parts in found.items()}
    deviations = {}
    for name, (mean, square) in moments.items():
        deviations[name] = (square / done - (mean / done).square()).clamp(min=0).sqrt()
    return {name: tuple(values) for name, values in seen.items()}, deviations, seen[CLASSES][0]


def correlations(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Pearson's r of each column of (N, a) with each of (N, b): (a, b); 0 for a column that never changes."""
    one, other = (values - values.mean(0) for values in (one, other))
    one, other = (values / values.norm(dim=0).clamp(min=1e-20) for values in (one, other))
    return one.T @ other


def listed(numbers: torch.Tensor, *values: torch.Tensor) -> list[str]:
    """One text per row, "7:0.31 12:0.2": a number and what belongs to it, the row's first entries first."""
    columns = [part.tolist() for part in (numbers, *values)]
    rows = (zip(*(column[i] for column in columns), strict=True) for i in range(len(numbers)))
    return [" ".join(":".join([str(n), *(f"{v:.3g}" for v in rest)]) for n, *rest in row) for row in rows]


def measure(network: Network, images: datasets.InMemory, work: Path) -> pd.DataFrame:
    """Write units.csv: one row per unit of the modules, see data/gallery/README.md."""
    stages = [stage for stage in find_stages(network) if stage.name in (*modules(network), CLASSES)]
    seen, deviations, logits = answers(quick(network), images, stages)
    tables = []
    wired = {s.name: strengths(network, s, deviations[s.source]) for s in stages}
    for stage, after in pairwise(stages):
        peak, mean = seen[stage.name]
        speaks = correlations(mean, logits).topk(min(CLASS_COUNT, logits.shape[1]))
        best = peak.T.topk(min(PHOTOGRAPHS, len(peak)))
        labels = images.labels[best.indices]
        labels = labels.masked_fill(best.values <= 0, -1)
        tables.append(
            pd.DataFrame(
                {
                    "module": stage.name,
                    "path": [path.partition(".")[2] for path, width in stage.paths.items() for _ in range(width)],
                    "channel": [channel for width in stage.paths.values() for channel in range(width)],
                    "inputs": wired_to(*wired[stage.name]),
                    "outputs": wired_to(*(part.T for part in wired[after.name])),
                    "speaks": listed(speaks.indices, speaks.values),
                    "photographs": [" ".join(str(c) for c in row if c >= 0) for row in labels.tolist()],
                    "peak": best.values[:, 0].tolist(),
                    "images": len(images),
                }
            )
        )
    table = pd.concat(tables)
    files.write(work / "units.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.5g").encode())
    return table


def wired_to(excites: torch.Tensor, inhibits: torch.Tensor) -> list[str]:
    """The strongest partners of each row, "channel:excites:inhibits", of strengths (units, partners)."""
    most = (excites + inhibits).topk(min(WIRES, excites.shape[1])).indices
    return listed(most, excites.gather(1, most), inhibits.gather(1, most))


# --- the recorded gallery -------------------------------------------------------------------------------------


def pack(network: Network, work: Path, out: Path) -> int:
    """Write the gallery of what there is: sheets, table and the state of the page. Returns its size in bytes."""
    table = pd.read_csv(work / "units.csv", keep_default_na=False)
    settings, optimized = {}, []
    images = {}
    for chunk in chunks(network):
        if chunk.file(work).is_file():
            with np.load(chunk.file(work)) as arrays:
                steps, side = len(arrays["history"]), arrays["images"].shape[-1]
                settings = {"steps": steps, "size": side}
                for i, unit in enumerate(chunk.units):
                    images[chunk.path, unit] = arrays["images"][i]
                    start, end = arrays["history"][[0, -1], i]
                    optimized.append((*chunk.path.split("."), unit, arrays["reached"][i], start, end))
    if not optimized:
        raise DataError(f"{work} has no image yet: run `gallery.py optimize {work}` first")
    if len(sides := {image.shape[-1] for image in images.values()}) > 1:
        raise DataError(f"{work} must hold images of one size, got {sorted(sides)} pixels: give all the same --size")
    made = pd.DataFrame(optimized, columns=["module", "path", "channel", "reached", "start", "end"])
    table = table.merge(made, how="left", on=["module", "path", "channel"])
    for sheet in out.glob("*.webp"):
        sheet.unlink()
    blank = np.zeros_like(next(iter(images.values())))
    entries = []
    for stage in find_stages(network):
        rows = table[table["module"] == stage.name]
        if not len(rows):
            continue
        units = [(f"{row.module}.{row.path}", row.channel) for row in rows.itertuples()]
        for first in range(0, len(units), page.CHUNK):
            some = np.stack([images.get(unit, blank) for unit in units[first : first + page.CHUNK]])
            sheet = out / f"{stage.name}-optimized-{first // page.CHUNK}.webp"
            page.write_sheet(sheet, torch.from_numpy(some), page.ACROSS, QUALITY)
        best = rows["speaks"].astype(str).str.partition(":")[0]
        entries.append(
            Entry(
                stage.name,
                kind="stage",
                units=len(rows),
                paths=[
                    (path.partition(".")[2], width, field)
                    for (path, width), field in zip(stage.paths.items(), stage.fields, strict=True)
                ],
                previous=stage.previous,
                map=stage.map,
                dead=[i for i, names in enumerate(rows["photographs"].astype(str)) if not names],
                classes=[int(number) for number in best],
                reached=[None if np.isnan(value) else page.shortened(value) for value in rows["reached"]],
            )
        )
    state = State(
        made_from={"network": network.name, "images": "ILSVRC-2012 sample", **settings},
        network="the published GoogLeNet (BVLC)" if network.published else network.name,
        trained="ILSVRC-2012" if network.published else "another set",
        data="an ILSVRC-2012 sample",
        images=int(table["images"].iloc[0]),
        size=network.size,
        steps=settings["steps"],
        chunk=page.CHUNK,
        small=False,
        says="speaks for",
        classes=network.classes,
        outputs=network.classes,
        paths=page.path_styles(network.model.design),
        stages=entries,
    )
    page.write_script(out / "run.js", "run", state)
    text = table.to_csv(index=False, lineterminator="\n", float_format="%.5g").encode()
    files.write(out / "units.csv.bz2", bz2.compress(text))
    return sum(path.stat().st_size for path in out.iterdir())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("optimize", "measure", "pack"))
    parser.add_argument("work", type=Path, metavar="WORK", help="a folder outside the checkout")
    parser.add_argument("photographs", type=Path, nargs="?", help="a folder of class folders, for measure")
    parser.add_argument("--network", default="googlenet", help="see lens.open (default: googlenet)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder of the gallery (default: data/gallery)")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--size", type=int, default=SIZE)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    network = lens.open(args.network)
    out = files.data_folder() / "gallery" if args.out is None else args.out
    if args.what == "optimize":
        optimize(network, args.work, args.steps, args.size)
    elif args.what == "measure":
        if args.photographs is None:
            raise ValueError("measure needs PHOTOGRAPHS, a folder of class folders")
        images = datasets.load(args.photographs, "val", size=network.size)
        if len(images.classes) != len(network.classes):
            raise DataError(f"photographs must be of the {len(network.classes)} classes, got {len(images.classes)}")
        measure(network, datasets.in_memory(images), args.work)
    else:
        print(f"{out}: {pack(network, args.work, out) / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(console.run("gallery.py", main))
