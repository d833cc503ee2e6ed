"""Records what notebooks 09 and 10 read because it takes too long to compute in them: tables and pictures in data/lens.

    python scripts/record_lens.py                      # computes what is missing; stopped and called again, it goes on
    python scripts/record_lens.py pictures settings    # only these
    python scripts/record_lens.py scales --renew new   # the new networks again: half a minute each, no training

scales        the scale that each path prefers, see `scales`: networks of several seeds, trained and new
attributions  how well attributions find objects, see `scores`: the network of data/runs/shapes-laptop, trained, and
              shuffled three times
pictures      optimized images of units of the published GoogLeNet, with a file each
settings      what steps, canvas, transforms and parametrization change in such images, one thing at a time
"""

import argparse
import io
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import skimage.data
import torch
from PIL import Image

from inception_lab import lens
from inception_lab.common import files
from inception_lab.lens.controls import shuffled, untrained
from inception_lab.lens.network import open_run
from inception_lab.lens.scales import path_scales
from inception_lab.lens.scores import METHODS, score
from inception_lab.training.recipes import RECIPES, Recipe

WHAT = ("scales", "attributions", "pictures", "settings")
RUN, CROPS = "shapes-laptop", ("shapes-crops-0", "shapes-crops-1", "shapes-crops-2")
SHUFFLES = 3


def recipe_of_seed(seed: int) -> Recipe:
    """The recipe with a seed, also of its first weights."""
    return replace(RECIPES[RUN], seed=seed, weights_seed=seed)


def run_of_seed(seed: int, folder: Path, recorded: Path) -> Path:
    """The finished run of the recipe with a seed; trained if it is not there yet."""
    if seed == 0:
        return recorded / RUN
    from inception_lab.training.trainer import train  # here, because it takes seconds to import

    run = folder / f"seed-{seed}"
    if not (run / "metrics.json").exists():
        train(recipe_of_seed(seed), run, resume=True)
    return run


def record_scales(seeds: int, folder: Path, recorded: Path, out: Path) -> None:
    """Add the rows of every network that scales.csv does not have yet."""
    networks = {
        "trained": lambda seed: open_run(run_of_seed(seed, folder, recorded)),
        "new": lambda seed: untrained(recipe_of_seed(seed)),
        "crops": lambda seed: open_run(recorded / CROPS[seed]),
    }
    wanted = [(RUN, seed, weights, weights) for seed in range(seeds) for weights in ("trained", "new")]
    wanted += [("shapes-crops", seed, "trained", "crops") for seed in range(len(CROPS))]
    for recipe, seed, weights, which in wanted:
        key = {"recipe": recipe, "seed": seed, "weights": weights}
        add(out, key, lambda seed=seed, which=which: path_scales(networks[which](seed), progress=False))


def record_attributions(images: int, recorded: Path, out: Path) -> None:
    """Add the rows of every network and method that attributions.csv does not have yet."""
    for seed in range(-1, SHUFFLES):
        for method, attribute in METHODS.items():
            key = {"network": "trained" if seed < 0 else f"shuffled {seed}", "method": method}

            def rows(seed=seed, method=method, attribute=attribute):
                network = open_run(recorded / RUN) if seed < 0 else shuffled(recorded / RUN, seed)
                table = score({"": network}, {method: attribute}, images=images, progress=False)
                return table[table["network"] == ""].drop(columns=["network", "method"]).round(4)

            add(out, key, rows)


# --- pictures -----------------------------------------------------------------------------------------------

UNIT = 5  # the channel of each path that has a picture: fixed beforehand, none was chosen for its looks
CLASSES = ("goldfish", "monarch", "school bus")  # classes that the run JUDGE knows too
JUDGE = "tiny-imagenet-96"
CIRCUIT = f"inception_4c.three:{UNIT}"  # its strongest inputs have pictures too
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "camera", "coins", "hubble_deep_field", "retina")
SIZE, AT_ONCE = 128, 4

Wanted = list[tuple[str, lens.Objective]]  # a picture's name and what it is optimized for


def wanted_pictures(network: lens.Network) -> Iterator[Wanted]:
    """The pictures, a few at a time: what one unit reads, and a unit of each path of each module."""
    photographs = torch.cat([network.view(getattr(skimage.data, name)()) for name in PHOTOGRAPHS])
    units = list(lens.circuits.inputs(network, photographs, CIRCUIT)["unit"])
    units += [f"{path}:{UNIT}" for path in lens.paths(network) if "." in path]
    for start in range(0, len(units), AT_ONCE):
        yield [(unit, lens.channel(unit)) for unit in units[start : start + AT_ONCE]]


def record_pictures(out: Path) -> None:
    """Add every picture that pictures.csv does not have yet: its name, its file and what it reaches."""
    network = lens.open("googlenet", device="cpu")
    if not network.published:
        raise SystemExit("pictures are of the published GoogLeNet, which is not on this machine")
    known = set(pd.read_csv(out / "pictures.csv")["name"]) if (out / "pictures.csv").is_file() else set()
    for some in wanted_pictures(network):
        some = [(name, objective) for name, objective in some if name not in known]
        if some:
            names, objectives = zip(*some, strict=True)
            seen = lens.visualize(network, list(objectives), size=SIZE)
            for name, image, values in zip(names, seen.images, seen.history.T, strict=True):
                file = save(image, out / "pictures" / (re.sub(r"[^\w.]+", "-", name) + ".webp"))
                row = {"file": file, "start": values[0].item(), "end": values[-16:].mean().item()}
                add(out / "pictures.csv", {"name": name}, lambda row=row: pd.DataFrame([row]).round(3))


def save(image: torch.Tensor, path: Path) -> str:
    """Write an image (3, H, W) from 0 to 1 as WebP; returns the file's name."""
    content = io.BytesIO()
    pixels = (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(content, "webp", quality=80, method=6)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, content.getvalue())
    return path.name


PIXELS, WAVES = lens.Pixels(decorrelate=False), lens.Fourier(decorrelate=False)
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "pixels only": {"parametrization": PIXELS, "transforms": []},
    "pixels + transforms": {"parametrization": PIXELS},
    "no colors": {"parametrization": WAVES},
    "no transforms": {"transforms": []},
    "64 pixels": {"size": 64},
    "32 steps": {"steps": 32},
    "no Fourier": {"parametrization": lens.Pixels()},
}
STEPS = 128  # of the settings that change something else
TRIED = [f"inception_{path}:{UNIT}" for path in ("3b.three", "4a.five", "4c.three")]


def record_settings(out: Path) -> None:
    """Add the rows of every setting that settings.csv does not have yet: one row per unit or class."""
    network, judge = lens.open("googlenet", device="cpu"), lens.open(JUDGE, device="cpu")
    objectives = [lens.channel(unit) for unit in TRIED] + [lens.logit(name) for name in CLASSES]
    for setting, changed in SETTINGS.items():

        def rows(setting=setting, changed=changed):
            how = {"size": SIZE, "steps": STEPS} | changed
            images = lens.visualize(network, objectives, **how).images
            strip = torch.cat(list(torch.nn.functional.interpolate(images, (SIZE, SIZE))), dim=2)
            save(strip, out / "settings" / f"{setting.replace(' ', '-')}.webp")
            return measured(network, judge, images)

        add(out / "settings.csv", {"setting": setting}, rows)


def measured(network: lens.Network, judge: lens.Network, images: torch.Tensor) -> pd.DataFrame:
    """What the images of TRIED and CLASSES are like: one row for each.

    reached: the largest activation of the unit, or the logit of the class. moved: the mean of the same after eight
    small moves. fine: the share of variance in waves shorter than four pixels, color: that which is not gray, in per
    cent. judge: the probability of the class, in per cent, by a network that had no part in it.
    """
    rng, rows = random.Random(0), []
    moves = [lens.jitter(images.shape[-1] // 16), lens.affine((0.95, 1.05), 8)]
    moved = [reached(network, moves[1](moves[0](images, rng), rng)) for _ in range(8)]
    fine, color = variance_shares(images)
    for i, name in enumerate([*TRIED, *CLASSES]):
        row = {"objective": name, "reached": reached(network, images)[i].item()}
        row |= {"moved": torch.stack(moved).mean(0)[i].item(), "fine": fine[i].item(), "color": color[i].item()}
        if name in CLASSES:
            row["judge"] = 100 * dict(judge.guess(images[i], len(judge.classes)))[name]
        rows.append(row)
    return pd.DataFrame(rows).round(3)


def reached(network: lens.Network, images: torch.Tensor) -> torch.Tensor:
    units = lens.excitation(network, images[: len(TRIED)], [lens.channel(unit) for unit in TRIED])
    logits = lens.activations(network, images[len(TRIED) :], "linear")["linear"]
    return torch.cat([units, logits[range(len(CLASSES)), network.class_numbers(list(CLASSES), len(CLASSES))]])


def variance_shares(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The per cent of variance in waves shorter than four pixels, and in color: (N, 3, H, W) → (N,) each."""
    centered = images - images.mean((2, 3), keepdim=True)
    power, frequency = torch.fft.fft2(centered).abs().square(), torch.fft.fftfreq(images.shape[-1])
    fine = (frequency[:, None].square() + frequency.square()).sqrt() > 1 / 4
    gray = 3 * centered.mean(1).square().sum((1, 2)) / centered.square().sum((1, 2, 3))
    return 100 * power[:, :, fine].sum((1, 2)) / power.sum((1, 2, 3)), 100 * (1 - gray)


# --- tables -------------------------------------------------------------------------------------------------


def forget(path: Path, weights: str) -> None:
    """Take the rows of networks with these weights out of a table, so that they are computed again."""
    table = pd.read_csv(path)
    files.write(path, table[table["weights"] != weights].to_csv(index=False, lineterminator="\n").encode())


def add(path: Path, key: dict, make) -> None:
    """Add what `make` computes to a table, behind the columns of `key`, unless rows with this key are there."""
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=list(key))
    if (table[list(key)] == pd.Series(key)).all(axis=1).any():
        return
    print(f"{path.stem}: {', '.join(map(str, key.values()))}", flush=True)
    new = make()
    for number, (column, value) in enumerate(key.items()):
        new.insert(number, column, value)
    table = pd.concat([table, new]) if len(table) else new
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, table.to_csv(index=False, lineterminator="\n").encode())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[*WHAT, []], help="by default all")
    parser.add_argument(
        "--seeds", type=int, default=6, metavar="N", help="networks of the recipe, the recorded one too"
    )
    parser.add_argument("--images", type=int, default=200, metavar="N", help="to score attributions on")
    parser.add_argument("--renew", choices=("trained", "new"), help="measure these networks of scales.csv again")
    parser.add_argument("--runs", default="runs/lens", metavar="DIR", help="the folder of the run folders")
    parser.add_argument("--out", metavar="DIR", help="the folder of what is recorded (default: data/lens)")
    args = parser.parse_args(arguments)
    out = files.data_folder() / "lens" if args.out is None else Path(args.out)
    recorded = files.recorded("runs")
    what = args.what or WHAT
    if args.renew and (out / "scales.csv").is_file():
        forget(out / "scales.csv", args.renew)
    if "scales" in what:
        record_scales(args.seeds, Path(args.runs), recorded, out / "scales.csv")
    if "attributions" in what:
        record_attributions(args.images, recorded, out / "attributions.csv")
    if "pictures" in what:
        record_pictures(out)
    if "settings" in what:
        record_settings(out)


if __name__ == "__main__":
    main()
