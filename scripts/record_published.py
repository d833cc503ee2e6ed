"""Records how the published GoogLeNet answers a thousand photographs, in data/published-network: see the README there.

    python scripts/record_published.py FOLDER              # everything; stopped and called again, it goes on
    python scripts/record_published.py FOLDER paths sizes  # some of it

FOLDER is the `val` of a tree of ILSVRC, one folder per class (WordNet ids), of which it takes one photograph each, in
an order drawn once: what is there of a record that was stopped is a random sample. The network needs its weights:
`inception-lab pretrained googlenet`.

It computes in float32 with the library's fast twin, whose logits differ from the network's by less than 0.0001; on a
processor without bf16 arithmetic nothing else was faster. One thread takes 45 ms for a photograph of 224 pixels.
"""

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.v2 import functional as F
from tqdm.auto import tqdm

from inception_lab import lens
from inception_lab.common import files
from inception_lab.common.checks import DataError
from inception_lab.data.crops import center_view, evaluation_crops
from inception_lab.data.pictures import read_rgb
from inception_lab.lens.network import Network
from inception_lab.models import fast

SEED, BLOCK = 0, 10
SIZES = (32, 48, 64, 96, 128, 160, 192, 224, 256, 288, 320)
FIVE = ("top left", "top right", "bottom left", "bottom right", "center")
Probabilities = Iterator[tuple[str, torch.Tensor]]  # of a setting, (N, 1000)


class Lab:
    """The network as stages that can be gone through one by one, and what its modules say on average."""

    def __init__(self, network: Network):
        self.network = network
        self.stages: dict[str, nn.Module] = dict(fast(network.model).named_children())
        self.paths: dict[str, dict[str, slice]] = {}  # module → path → its channels in the module's output
        for row in network.model.design.table:
            if row.type == "inception":
                widths = {"one": row.one, "three": row.three, "five": row.five, "pool": row.pool_proj}
                ends = np.cumsum(list(widths.values())).tolist()
                self.paths[row.stage] = {
                    path: slice(end - width, end) for (path, width), end in zip(widths.items(), ends, strict=True)
                }

    def from_stage(self, first: int, x: torch.Tensor) -> torch.Tensor:
        """Probabilities from what stage number `first` takes."""
        for stage in list(self.stages.values())[first:]:
            x = stage(x)
        return x.softmax(1)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.from_stage(0, self.network.normalize(some)) for some in images.split(32)])

    def outputs(self, images: torch.Tensor) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        """Of each stage: its name, what it takes, what it gives."""
        x = self.network.normalize(images)
        for name, stage in self.stages.items():
            y = stage(x.clone())  # some write into what they are given
            yield name, x, y
            x = y


def views(photographs: Sequence[Path]) -> torch.Tensor:
    return torch.cat([center_view(path) for path in photographs])


# --- what is asked --------------------------------------------------------------------------------------------


def paths(lab: Lab, photographs: Sequence[Path], means: dict[str, torch.Tensor]) -> Probabilities:
    """Each path of each module switched off: its channels at 0, or each at its mean over photographs and positions."""
    for number, (name, _, y) in enumerate(lab.outputs(views(photographs)), 1):
        for path, channels in lab.paths.get(name, {}).items():
            for how, value in (("zero", torch.zeros(())), ("mean", means[name][channels, None, None])):
                changed = y.clone()
                changed[:, channels] = value
                yield f"{name}.{path} {how}", lab.from_stage(number, changed)
    yield "whole", y.softmax(1)


def norms(lab: Lab, photographs: Sequence[Path], means: dict[str, torch.Tensor]) -> Probabilities:
    """Local response normalization left out, or replaced by one factor per channel, its mean over photographs."""
    for off in (["norm1"], ["norm2"], ["norm1", "norm2"]):
        for how in ("left out", "factor"):
            x = lab.network.normalize(views(photographs))
            for name, stage in lab.stages.items():
                if name not in off:
                    x = stage(x)
                elif how == "factor":
                    x = x * means[name][:, None, None]
            yield f"{' and '.join(off)} {how}", x.softmax(1)


def crops(lab: Lab, photographs: Sequence[Path], _: dict) -> Probabilities:
    """One crop, ten, each of the ten, some of them together, and the photograph squeezed to a square."""
    cut = torch.stack([evaluation_crops(whole(path), 10)[0] for path in photographs])
    each = lab.probabilities(cut.flatten(0, 1)).unflatten(0, cut.shape[:2])
    yield "1", lab.probabilities(torch.cat([evaluation_crops(whole(path), 1)[0] for path in photographs]))
    yield "10", each.mean(1)
    for number in range(10):
        yield f"{FIVE[number // 2]}{', mirrored' if number % 2 else ''}", each[:, number]
    yield "center and its mirror image", each[:, 8:].mean(1)
    yield "four corners and their mirror images", each[:, :8].mean(1)
    yield "five, none mirrored", each[:, ::2].mean(1)
    for number, place in enumerate(FIVE):
        kept = [i for i in range(10) if i // 2 != number]
        yield f"10 without {place}", each[:, kept].mean(1)
    yield "squeezed", lab.probabilities(torch.cat([squeezed(path) for path in photographs]))


def crops144(lab: Lab, photographs: Sequence[Path], _: dict) -> Probabilities:
    """144 crops; of a square photograph the 48 that differ, which have the same mean."""
    found = []
    for path in photographs:
        image = whole(path)
        cut = evaluation_crops(image, 144)[0]
        if image.shape[2] == image.shape[3]:
            cut = cut.unflatten(0, (4, 3, 12))[:, 0].flatten(0, 1)
        found.append(lab.probabilities(cut).mean(0))
    yield "144", torch.stack(found)


def sizes(lab: Lab, photographs: Sequence[Path], _: dict) -> Probabilities:
    """The same center at other numbers of pixels; above 224 these photographs hold no more detail."""
    for size in SIZES:
        yield str(size), lab.probabilities(torch.cat([center_view(path, size) for path in photographs]))


def whole(path: Path) -> torch.Tensor:
    """A photograph as uint8 (1, 3, H, W)."""
    return F.pil_to_tensor(read_rgb(path))[None]


def squeezed(path: Path) -> torch.Tensor:
    """The center of a photograph that was made 256×256, whatever its shape."""
    image = read_rgb(path).resize((256, 256), Image.Resampling.BICUBIC)
    return F.center_crop(F.pil_to_tensor(image), [224, 224])[None] / 255


QUESTIONS: dict[str, Callable[..., Probabilities]] = {
    "paths": paths,
    "crops": crops,
    "sizes": sizes,
    "norms": norms,
    "crops144": crops144,
}


def answer(name: str, lab: Lab, photographs: list[Path], means: dict[str, torch.Tensor], out: Path) -> None:
    """Add the answers to a question about the photographs that its record does not have yet, a block at a time."""
    place, size = out / f"{name}.npz", 2 if name == "crops144" else BLOCK
    known: dict[str, np.ndarray] = {}
    if place.is_file():
        with np.load(place) as arrays:
            known = dict(arrays)
    with tqdm(total=len(photographs), initial=len(known.get("images", [])), desc=name) as bar:
        while bar.n < len(photographs):
            block = photographs[bar.n : bar.n + size]
            found = answers(dict(QUESTIONS[name](lab, block, means)), block)
            known = {key: np.concatenate([known[key], new]) if known else new for key, new in found.items()} | {
                "settings": found["settings"]
            }
            stream = io.BytesIO()
            np.savez_compressed(stream, **known)
            files.write(place, stream.getvalue())
            bar.update(len(block))


def answers(probabilities: dict[str, torch.Tensor], photographs: Sequence[Path]) -> dict[str, np.ndarray]:
    """What is kept of the probabilities (N, 1000) in each setting S: see `evaluation.Answers`; tables are (N, S)."""
    p = torch.stack(list(probabilities.values()), dim=1)
    labels = torch.tensor([CLASSES[path.parent.name] for path in photographs])
    right = p.gather(2, labels[:, None, None].expand(*p.shape[:2], 1))
    loss = -right.squeeze(2).clamp(min=torch.finfo(torch.float32).tiny).log()
    return {
        "images": np.array([path.parent.name for path in photographs]),
        "settings": np.array(list(probabilities)),
        "rank": ((p > right).sum(2) + 1).numpy().astype(np.int16),
        "guess": p.argmax(2).numpy().astype(np.int16),
        "loss": loss.numpy().astype(np.float16),
    }


def mean_activations(lab: Lab, photographs: list[Path], place: Path) -> dict[str, torch.Tensor]:
    """Of each module the mean of its channels, and of each normalization the factor of each channel."""
    if not place.is_file():
        sums: dict[str, torch.Tensor] = {}
        for start in tqdm(range(0, len(photographs), BLOCK), desc="means"):
            for name, x, y in lab.outputs(views(photographs[start : start + BLOCK])):
                if name in lab.paths or name.startswith("norm"):
                    sums[name] = sums.get(name, 0) + y.double().mean((2, 3)).sum(0)
                    sums[f"into {name}"] = sums.get(f"into {name}", 0) + x.double().mean((2, 3)).sum(0)
        place.parent.mkdir(parents=True, exist_ok=True)
        torch.save(sums, place)
    sums = torch.load(place)
    means = {name: (sums[name] / len(photographs)).float() for name in lab.paths}
    return means | {name: (sums[name] / sums[f"into {name}"]).float() for name in ("norm1", "norm2")}


# --- the photographs ------------------------------------------------------------------------------------------


def find_photographs(folder: Path) -> list[Path]:
    """One photograph of each class, in an order drawn once."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(classes) != 1000:
        raise DataError(f"{folder} must hold the 1,000 classes of ILSVRC as folders, and holds {len(classes)}")
    CLASSES.update({path.name: number for number, path in enumerate(classes)})
    first = [min(path.iterdir()) for path in classes]
    return [first[i] for i in np.random.default_rng(SEED).permutation(len(first))]


CLASSES: dict[str, int] = {}  # BVLC's classes are in the order of their WordNet ids


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(QUESTIONS)} (default: all)")
    parser.add_argument("--out", type=Path, help="(default: data/published-network)")
    parser.add_argument("--cache", type=Path, default=Path("build/published"), help="for mean activations")
    parser.add_argument("--first", type=int, default=1000, metavar="N", help="of the photographs (default: all)")
    args = parser.parse_intermixed_args(arguments)
    network = lens.open("googlenet")
    if not network.published:
        raise DataError("the published GoogLeNet is not here: inception-lab pretrained googlenet")
    photographs = find_photographs(args.folder)
    out = args.out or files.data_folder() / "published-network"
    with torch.inference_mode():
        lab = Lab(network)
        means = mean_activations(lab, photographs, args.cache / "means.pt")
        for name in args.names or QUESTIONS:
            answer(name, lab, photographs[: args.first], means, out)


if __name__ == "__main__":
    main()
