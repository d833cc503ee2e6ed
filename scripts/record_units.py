"""Records how units of the published GoogLeNet answer a thousand photographs: tables in data/published-network.

    python scripts/record_units.py FOLDER       # as for record_published.py; about 15 minutes on one thread

together.csv       how the units of a module are correlated, within paths and between them
correlations.npz   the correlations of one module, in whole per cent
zoom.csv.gz        at which size of the photograph each unit answers most
"""

import argparse
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from record_published import SEED, Lab, find_photographs, views
from torchvision.transforms.v2 import functional as F
from tqdm.auto import tqdm

from inception_lab import lens
from inception_lab.common import files
from inception_lab.common.checks import DataError
from inception_lab.data.pictures import read_rgb

MODULES = (
    "inception_4a",
    "inception_4b",
    "inception_4c",
    "inception_4d",
    "inception_4e",
    "inception_5a",
    "inception_5b",
)
KEPT = "inception_4c"  # whose correlations are kept
POSITIONS = 4  # of each photograph, at random
RESAMPLES = 50  # of the photographs, for intervals
STRONG = 0.01  # the share of a module's pairs that is called strongly correlated
ZOOMS = [2 ** (half / 2) for half in range(-4, 3)]  # from a quarter to twice the usual size
ZOOMED, EXCITING = 150, 10  # photographs that are zoomed, and of these the most exciting for each unit


def names(paths: dict[str, slice]) -> np.ndarray:
    """The path of each unit of a module."""
    return np.concatenate([[path] * (channels.stop - channels.start) for path, channels in paths.items()])


# --- units together -------------------------------------------------------------------------------------------


def answers(lab: Lab, photographs: Sequence[Path]) -> dict[tuple[str, str], np.ndarray]:
    """The units of each module, (values, units): on average over a photograph, and at some positions of it."""
    rng = np.random.default_rng(SEED)
    found: dict[tuple[str, str], list[torch.Tensor]] = {}
    for start in tqdm(range(0, len(photographs), 10), "answers"):
        for name, _, y in lab.outputs(views(photographs[start : start + 10])):
            if name in MODULES:
                found.setdefault((name, "photographs"), []).append(y.mean((2, 3)))
                places = torch.from_numpy(rng.random((len(y), y.shape[2] * y.shape[3])).argsort(1)[:, None, :POSITIONS])
                some = y.flatten(2).gather(2, places.expand(-1, y.shape[1], -1))
                found.setdefault((name, "positions"), []).append(some.transpose(1, 2).flatten(0, 1))
    return {key: torch.cat(parts).numpy() for key, parts in found.items()}


def correlations(values: np.ndarray) -> np.ndarray:
    """Of units (values, units): (units, units), 0 with a unit that never changes."""
    centered = values - values.mean(0)
    size = np.sqrt((centered**2).sum(0))
    normed = centered / np.where(size > 0, size, np.inf)
    return normed.T @ normed


def rotated(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many random mixtures of the units: what varies with what stays, but no unit has a direction of its own."""
    scaled = (values - values.mean(0)) / np.where(values.std(0) > 0, values.std(0), np.inf)
    turn, _ = np.linalg.qr(rng.standard_normal((values.shape[1],) * 2))
    return scaled @ turn.astype(np.float32)


def shuffled(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each unit's values in an order of their own: no unit has to do with another."""
    return rng.permuted(values, axis=0)


def structure(r: np.ndarray, path: np.ndarray) -> dict[str, float]:
    """What correlations (units, units) say of groups. path: of each unit, its name.

    within, between: mean |r| of two units of one path, and of two. strong: the least |r| of the strongest pairs (the
    share STRONG of all). triangles: of two strong partners of one unit, how many are strong partners themselves;
    without groups it is about STRONG. same_path: how many units have their strongest partner in their own path.
    """
    size, off = np.abs(r), ~np.eye(len(r), dtype=bool)
    same = path[:, None] == path[None, :]
    strong = np.quantile(size[off], 1 - STRONG)
    linked = ((size >= strong) & off).astype(np.float32)
    ways = linked @ linked  # from a unit over a partner to a third one
    best = np.where(off, size, -1).argmax(1)
    return {
        "within": size[same & off].mean(),
        "between": size[~same].mean(),
        "strong": strong,
        "triangles": (ways * linked).sum() / ways[off].sum(),
        "same_path": (path[best] == path).mean(),
    }


def together(lab: Lab, values: dict[tuple[str, str], np.ndarray]) -> pd.DataFrame:
    """One row per module, kind of values and control, with the fields of `structure`.

    chance: of a partner in the same path, if partners were drawn. low, high: between them lie 95 % of within − between,
    over photographs drawn with replacement. That adds noise to each |r|, and so shifts both: it is their distance that
    says how sure the difference is.
    """
    rows = []
    for (module, over), of_module in tqdm(values.items(), "together"):
        path = names(lab.paths[module])
        counts, rng = np.unique(path, return_counts=True)[1], np.random.default_rng(SEED)
        chance = (counts * (counts - 1)).sum() / (len(path) * (len(path) - 1))
        for network, some in {
            "as it is": of_module,
            "rotated": rotated(of_module, rng),
            "shuffled": shuffled(of_module, rng),
        }.items():
            row = {"module": module, "over": over, "units": network, **structure(correlations(some), path)}
            if network == "as it is":
                row |= dict(zip(("low", "high"), interval(some, path, rng), strict=True))
            rows.append(row | {"chance": chance})
    return pd.DataFrame(rows).round(4)


def interval(values: np.ndarray, path: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The 2.5 and 97.5 % quantiles of mean |r| within paths minus that between, over photographs drawn anew."""
    same, off = path[:, None] == path[None, :], ~np.eye(len(path), dtype=bool)
    photographs = values.reshape(1000, -1, values.shape[1])  # positions of one are drawn together
    differences = []
    for _ in range(RESAMPLES):
        size = np.abs(correlations(photographs[rng.integers(0, 1000, 1000)].reshape(values.shape)))
        differences.append(size[same & off].mean() - size[~same].mean())
    return np.quantile(differences, [0.025, 0.975])


# --- the size that a unit answers to --------------------------------------------------------------------------


def zoomed(path: Path, zoom: float, lab: Lab) -> torch.Tensor:
    """The middle of a photograph whose short side is zoom · 256 pixels; where it ends before 224, in the mean color."""
    image = read_rgb(path)
    side = zoom * 256 / min(image.size)
    image = image.resize([round(side * length) for length in image.size], Image.Resampling.BICUBIC)
    pixels = F.center_crop(F.pil_to_tensor(image)[None] / 255 - lab.network.mean, [224, 224])  # filled up with 0
    return pixels + lab.network.mean


def middle(y: torch.Tensor) -> torch.Tensor:
    """The mean over the middle position, or the four around the middle: (N, C, H, W) → (N, C)."""
    low, high = (y.shape[2] - 1) // 2, y.shape[2] // 2 + 1
    return y[:, :, low:high, low:high].mean((2, 3))


def curves(lab: Lab, photographs: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Of each module what its middle says to each photograph at each zoom: (photographs, zooms, units)."""
    found: dict[str, list[torch.Tensor]] = {}
    for path in tqdm(photographs, "zooms"):
        for name, _, y in lab.outputs(torch.cat([zoomed(path, zoom, lab) for zoom in ZOOMS])):
            if name in lab.paths:
                found.setdefault(name, []).append(middle(y))
    return {name: torch.stack(parts) for name, parts in found.items()}


def preferred(answers: torch.Tensor) -> np.ndarray:
    """The zoom that each unit prefers, in octaves: the center of its mean curve over its most exciting photographs.

    answers: (photographs, zooms, units). NaN for a flat curve, as `tuning.Tuning.preferred` has it.
    """
    best = answers.amax(1).topk(EXCITING, dim=0).indices  # (EXCITING, units)
    curve = answers.gather(0, best[:, None].expand(-1, answers.shape[1], -1)).mean(0)
    above = curve - curve.amin(0)
    octaves = torch.tensor(ZOOMS).log2()
    return ((above * octaves[:, None]).sum(0) / above.sum(0)).numpy()


def zooms(lab: Lab, shuffled_lab: Lab, photographs: Sequence[Path]) -> pd.DataFrame:
    """One row per unit: the zoom that it prefers in octaves, also by each half of the photographs.

    shuffled: that of the unit at its place in the same network with each layer's weights in random order.
    """
    rows = []
    own, control = curves(lab, photographs), curves(shuffled_lab, photographs)
    for module, paths in lab.paths.items():
        columns = {
            "octaves": preferred(own[module]),
            "first_half": preferred(own[module][::2]),
            "second_half": preferred(own[module][1::2]),
            "shuffled": preferred(control[module]),
        }
        rows.append(pd.DataFrame({"module": module, "path": names(paths), **columns}))
    return pd.concat(rows).round(3)


def shuffled_weights(lab: Lab) -> Lab:
    """The same network with the entries of each weight tensor in random order."""
    network = lens.open("googlenet")
    generator = torch.Generator().manual_seed(SEED)
    for weights in network.model.parameters():
        if weights.ndim > 1:
            weights.copy_(weights.flatten()[torch.randperm(weights.numel(), generator=generator)].view_as(weights))
    return Lab(network)


def write(table: pd.DataFrame, place: Path) -> None:
    text = table.to_csv(index=False, lineterminator="\n").encode()
    files.write(place, gzip.compress(text, 9, mtime=0) if place.suffix == ".gz" else text)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="(default: data/published-network)")
    args = parser.parse_args(arguments)
    out = args.out or files.data_folder() / "published-network"
    network = lens.open("googlenet")
    if not network.published:
        raise DataError("the published GoogLeNet is not here: inception-lab pretrained googlenet")
    photographs = find_photographs(args.folder)
    with torch.inference_mode():
        lab = Lab(network)
        if not (out / "together.csv").is_file():
            values = answers(lab, photographs)
            kept = np.rint(100 * correlations(values[KEPT, "positions"])).astype(np.int8)
            stream = io.BytesIO()
            np.savez_compressed(
                stream, r=kept, path=np.array([p for p, c in lab.paths[KEPT].items() for _ in range(c.start, c.stop)])
            )
            files.write(out / "correlations.npz", stream.getvalue())
            write(together(lab, values), out / "together.csv")
        if not (out / "zoom.csv.gz").is_file():
            write(zooms(lab, shuffled_weights(lab), photographs[:ZOOMED]), out / "zoom.csv.gz")


if __name__ == "__main__":
    main()
