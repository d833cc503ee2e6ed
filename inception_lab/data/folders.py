"""Images in class folders: which files belong to a split, whether each can be read, and its right RGB pixels."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import torch
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional as F
from tqdm.auto import tqdm

from inception_lab.common.checks import DataError, check_one_of
from inception_lab.data.downloads import read_annotations
from inception_lab.data.images import ImageSet
from inception_lab.data.pictures import fit, read_rgb, to_rgb
from inception_lab.data.shapes import SPLITS

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Folder(ImageSet):
    """Images of one split of a class-per-folder tree, as uint8 tensors (3, H, W) with the number of their class.

    The tree is read by `find_samples` and every file tried by `find_broken`, unless scan=False. With
    skip_broken=True the files that cannot be read are left out; `broken` lists them. size: scale and crop
    each image to a square, see `fit`. records: a folder in which the result of a scan is remembered.

    Raises DataError, naming the files, where some cannot be read, and where no image is left.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        size: int | None = None,
        val_share: float = 0.1,
        seed: int = 0,
        scan: bool = True,
        skip_broken: bool = False,
        records: Path | None = None,
    ):
        self.root, self.split, self.size = Path(root), split, size
        self.folders, self.samples = find_samples(self.root, split, val_share, seed)
        self.broken = find_broken([path for path, _ in self.samples], records) if scan else {}
        if self.broken and not skip_broken:
            raise DataError(
                f"{len(self.broken)} of {len(self.samples)} files of {self.root} ({split}) cannot be read as images: "
                f"{_listed(self.broken, self.root)}. Replace or delete them, or leave them out with skip_broken=True "
                "(--skip-broken in a terminal)"
            )
        self.samples = [(path, label) for path, label in self.samples if path not in self.broken]
        if not self.samples:
            raise DataError(f"{self.root} has no readable image for the split {split!r}")
        self.classes = read_words(self.root, self.folders)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        path, label = self.samples[i]
        image = F.pil_to_tensor(read_rgb(path))
        return (image if self.size is None else fit(image, self.size)), label

    @property
    def labels(self) -> torch.Tensor:
        """The class of every image, int64 (N,)."""
        return torch.tensor([label for _, label in self.samples])


# --- reading ------------------------------------------------------------------------------------------------


def find_broken(paths: list[Path], records: Path | None = None) -> dict[Path, str]:
    """The files that do not read as images, each with the reason; every file is decoded to its end.

    records: a folder; the result is kept there, and read from there while no file changes its size or time.
    """
    stats = [(str(path), (s := os.lstat(path)).st_size, s.st_mtime_ns) for path in paths]
    record = records and Path(records) / f"{hashlib.md5(repr(stats).encode()).hexdigest()}.json"
    if record and record.is_file():
        return {Path(path): reason for path, reason in json.loads(record.read_text(encoding="utf-8")).items()}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = tqdm(pool.map(_why_broken, paths), "checking images", len(paths), disable=len(paths) < 1000, leave=False)
        broken = {path: reason for path, reason in zip(paths, work, strict=True) if reason}
    if record:
        with suppress(OSError):  # a scan that cannot be remembered is done again
            record.parent.mkdir(parents=True, exist_ok=True)
            partial = record.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps({str(path): reason for path, reason in broken.items()}), encoding="utf-8")
            partial.replace(record)
    return broken


def _why_broken(path: Path) -> str:
    try:
        if path.stat().st_size == 0:
            return "empty"
        with Image.open(path) as image:
            image.draft(None, (1, 1))  # a JPEG is read to its end, but only an eighth of its pixels computed
            to_rgb(image)
    except Exception as error:  # decoders raise many kinds
        return str(error).replace(repr(str(path)), "the file") or type(error).__name__
    return ""


def _listed(broken: dict[Path, str], root: Path, most: int = 10) -> str:
    names = [f"{path.relative_to(root).as_posix()} ({reason})" for path, reason in broken.items()]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# --- finding ------------------------------------------------------------------------------------------------


def find_samples(
    root: Path, split: str, val_share: float = 0.1, seed: int = 0
) -> tuple[list[str], list[tuple[Path, int]]]:
    """The class folders, sorted by name, and the (path, class number) of every image of a split.

    Where `root` has folders train, val or test with class folders in them, those are the splits. Where there
    is no val, or `root` itself holds the class folders, the share `val_share` of each class is val and the
    rest train: a choice by a hash of seed and file name, the same on every machine.

    Raises ValueError for an unknown split or a share out of range; DataError where the split or the classes
    are not there.
    """
    check_one_of("split", split, SPLITS)
    if not 0 < val_share < 1:
        raise ValueError(f"val_share must be above 0 and below 1, got {val_share}")
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    splits = [name for name in SPLITS if _subfolders(root / name)]
    base = root / splits[0] if splits else root
    classes = _subfolders(base)
    if not classes:
        raise DataError(
            f"{root} has no class folders: expected {root}/<class>/<image> or {root}/<split>/<class>/<image>"
        )
    if split in splits and not (split == "train" and "val" not in splits):
        return classes, _images(root / split, classes)
    if split == "test" or (splits and "train" not in splits):
        raise DataError(f"{root} has no folder for the split {split!r}, only {', '.join(splits) or 'class folders'}")
    samples = _images(base, classes)
    by_class = [[path for path, label in samples if label == number] for number in range(len(classes))]
    in_val = set()
    for paths in by_class:
        paths.sort(key=lambda path: hashlib.md5(f"{seed} {path.relative_to(base).as_posix()}".encode()).digest())
        in_val |= set(paths[: max(1, round(val_share * len(paths)))] if len(paths) > 1 else [])
    return classes, [(path, label) for path, label in samples if (path in in_val) == (split == "val")]


def read_words(root: Path, folders: list[str]) -> list[str]:
    """The names of the classes: the first word of each in `words.txt` (WordNet ids), else the folder's name."""
    path = root / "words.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    words = {key: text.split(",")[0] for key, _, text in (line.partition("\t") for line in lines)}
    return [words.get(folder, folder) for folder in folders]


def _subfolders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.glob("*") if p.is_dir() and not p.name.startswith("."))


def _images(folder: Path, classes: list[str]) -> list[tuple[Path, int]]:
    number = {name: i for i, name in enumerate(classes)}
    annotations = read_annotations(folder)  # Tiny ImageNet's validation images, if nobody has sorted them
    if unknown := sorted(set(annotations.values() if annotations else _subfolders(folder)) - set(number)):
        raise DataError(f"{folder} has folders for classes that train does not have: {', '.join(unknown[:10])}")
    found = sorted((folder / "images" / name, number[label]) for name, label in annotations.items())
    for name in [] if annotations else _subfolders(folder):
        for place, below, files in os.walk(folder / name, followlinks=True):
            below.sort()
            images = [f for f in sorted(files) if f.lower().endswith(IMG_EXTENSIONS) and not f.startswith(".")]
            found += [(Path(place) / file, number[name]) for file in images]
    return found
