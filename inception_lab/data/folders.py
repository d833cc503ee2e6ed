"""Images in class folders: which files belong to a split, whether each can be read, and its right RGB pixels."""

import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import PIL
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F
from tqdm.auto import tqdm

from inception_lab.common import files
from inception_lab.common.checks import DataError, RunError, check_one_of
from inception_lab.common.schema import check_type
from inception_lab.data.downloads import read_annotations, read_lines
from inception_lab.data.images import SPLITS, ImageSet, printable
from inception_lab.data.pictures import check_sides, fit, read_rgb, to_rgb

SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
NOT_CLASSES = ("__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
OF_RUNS = ("recipe.json", "metrics.json")  # in a run folder
NOTES = (".csv", ".db", ".html", ".ini", ".json", ".md", ".tsv", ".txt", ".xml", ".yaml")  # passed over in silence
NOT_DECODED = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")  # Pillow knows these, and leaves them to other programs

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Folder(ImageSet):
    """Images of one split of a class-per-folder tree, as uint8 tensors (3, H, W) with the number of their class.

    The tree is read by `find_samples` and every file tried by `find_broken`, unless scan=False. With
    skip_broken=True the files that cannot be read are left out; `broken` lists them. size: scale and crop
    each image to a square, see `fit`. records: a folder in which the result of a scan is remembered.

    Raises DataError, naming the files, where some cannot be read, and where no image is left; also for a sample
    whose file broke later.
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
            names = [f"{path.relative_to(self.root).as_posix()} ({reason})" for path, reason in self.broken.items()]
            raise DataError(
                f"{len(self.broken)} of {len(self.samples)} files of {printable(self.root)} ({split}) cannot be read "
                f"as images: {_listed(names)}. Replace or delete them, or leave them out with skip_broken=True "
                "(--skip-broken in a terminal)"
            )
        self.samples = [(path, label) for path, label in self.samples if path not in self.broken]
        if not self.samples:
            raise DataError(f"{printable(self.root)} has no readable image for the split {split!r}")
        self.classes = read_words(self.root, self.folders)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        path, label = self.samples[i]
        try:
            image = F.pil_to_tensor(read_rgb(path))
        except Exception as error:  # decoders raise many kinds
            raise DataError(f"{printable(path)} cannot be read as an image ({_reason(error, path)})") from error
        return (image if self.size is None else fit(image, self.size)), label

    @property
    def labels(self) -> torch.Tensor:
        """The class of every image, int64 (N,)."""
        return torch.tensor([label for _, label in self.samples])


# --- reading ------------------------------------------------------------------------------------------------


def find_broken(paths: list[Path], records: Path | None = None) -> dict[Path, str]:
    """The files that do not read as images, each with the reason; every file is decoded to its end.

    records: a folder; the result is kept there, and read from there while no file, or file that a link leads to,
    changes its size or time.
    """
    states = repr((PIL.__version__, [_state(path) for path in paths]))
    record = records and Path(records) / f"{hashlib.md5(states.encode()).hexdigest()}.json"
    if record and (known := _read_record(record, paths)) is not None:
        return known
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = tqdm(pool.map(_why_broken, paths), "checking images", len(paths), disable=len(paths) < 1000, leave=False)
        broken = {path: reason for path, reason in zip(paths, work, strict=True) if reason}
    if record:
        with suppress(RunError):  # a scan that cannot be remembered is done again
            files.write(record, json.dumps({str(path): reason for path, reason in broken.items()}).encode())
    return broken


def _state(path: Path) -> tuple[str, int, int]:
    try:
        return str(path), (state := path.stat()).st_size, state.st_mtime_ns
    except OSError:
        return str(path), -1, -1


def _read_record(path: Path, paths: list[Path]) -> dict[Path, str] | None:
    """What an earlier scan found; None where it left no record, or the record is damaged."""
    try:
        record = check_type("record", dict, json.loads(path.read_text(encoding="utf-8")))
        known = {str(path): path for path in paths}
        return {known[name]: check_type(name, str, reason) for name, reason in record.items()}
    except (OSError, ValueError, KeyError, RecursionError):
        return None


def _why_broken(path: Path) -> str:
    try:
        if path.stat().st_size == 0:
            return "empty"
        with Image.open(path) as image:
            check_sides(image)
            image.draft(None, (1, 1))  # a JPEG is read to its end, but only an eighth of its pixels computed
            to_rgb(image)
    except Exception as error:  # decoders raise many kinds
        return _reason(error, path)
    return ""


def _reason(error: Exception, path: Path) -> str:
    return str(error).replace(repr(str(path)), "the file") or type(error).__name__


def _listed(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(printable, names[:most])) + more


# --- finding ------------------------------------------------------------------------------------------------


def find_samples(
    root: Path, split: str, val_share: float = 0.1, seed: int = 0
) -> tuple[list[str], list[tuple[Path, int]]]:
    """The class folders, sorted by name, and the (path, class number) of every image of a split.

    Where `root` has folders train, val or test with class folders in them, those are the splits; they may be
    written in any case, and be called training, valid, validation or testing. Where there is no val, or `root`
    itself holds the class folders, the share `val_share` of each class is val and the rest train: a choice by a hash
    of seed and file name, the same on every machine.

    Every folder there is a class, but hidden folders, folders of the system such as __MACOSX, and what the course
    made itself: run folders, pages of `explore`, its folder of data. An image is a file with a suffix that Pillow
    reads, or any other file that Pillow knows by its first bytes; a warning lists the others, but for `NOTES`.
    Links are followed, but not to folders that they lie in, and each file counts once.

    Raises ValueError for an unknown split or a share out of range; DataError where the split or the classes
    are not there, and for a class without images.
    """
    check_one_of("split", split, SPLITS)
    if not 0 < val_share < 1:
        raise ValueError(f"val_share must be above 0 and below 1, got {val_share}")
    name = printable(root)
    if not root.is_dir():
        raise DataError(f"{name} is not a folder")
    splits = _split_folders(root)
    base = next(iter(splits.values()), root)
    classes = _subfolders(base)
    if not classes:
        raise DataError(
            f"{name} has no class folders: expected {name}/<class>/<image> or {name}/<split>/<class>/<image>"
        )
    if empty := [c for c in classes if not any(_is_image(path) for path, _ in _files(base / c))]:
        raise DataError(
            f"{printable(base)} has no readable image in {_listed(empty)}. Each folder there is a class: fill it, or "
            "move or delete it"
        )
    if split in splits and not (split == "train" and "val" not in splits):
        return classes, _images(splits[split], classes)
    if split == "test" or (splits and "train" not in splits):
        there = _listed([folder.name for folder in splits.values()]) or "class folders"
        raise DataError(f"{name} has no folder for the split {split!r}, only {there}")
    samples = _images(base, classes)
    by_class: dict[int, list[Path]] = {}
    for path, label in samples:
        by_class.setdefault(label, []).append(path)
    in_val = set()
    for paths in by_class.values():
        paths.sort(key=lambda path: hashlib.md5(_place(seed, path.relative_to(base))).digest())
        in_val |= set(paths[: max(1, round(val_share * len(paths)))] if len(paths) > 1 else [])
    return classes, [(path, label) for path, label in samples if (path in in_val) == (split == "val")]


def _place(seed: int, path: Path) -> bytes:
    return f"{seed} {path.as_posix()}".encode(errors="surrogatepass")  # a name need not be UTF-8


def read_words(root: Path, folders: list[str]) -> list[str]:
    """The names of the classes: the first word of each in `words.txt` (WordNet ids), else the folder's name."""
    lines = read_lines(root / "words.txt")
    words = {key: text.split(",")[0] for key, _, text in (line.partition("\t") for line in lines)}
    return [printable(words.get(folder, folder)) for folder in folders]


def _split_folders(root: Path) -> dict[str, Path]:
    """The folders of the splits, train first. Other names than train, val and test count beside a train folder."""
    found: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in _subfolders(root):
        for split in SPLITS:
            if name.lower() in SPLIT_NAMES[split] and _subfolders(root / name):
                found[split].append(name)
    if not found["train"]:  # a class may be called valid
        found = {split: [split] if split in names else [] for split, names in found.items()}
    for split, names in found.items():
        if len(names) > 1:
            raise DataError(f"{printable(root)} has several folders for the split {split!r}: {_listed(names)}")
    return {split: root / names[0] for split, names in found.items() if names}


def _subfolders(folder: Path) -> list[str]:
    """The names of the folders that can be classes or splits, sorted."""
    below = next(os.walk(folder, onerror=_refuse))[1]
    return sorted(name for name in below if not _passed_over(folder / name))


def _refuse(error: OSError) -> None:
    raise DataError(f"{printable(error.filename)} cannot be read ({error.strerror})") from error


def _passed_over(folder: Path) -> bool:
    """Whether a folder is never a class, nor part of one."""
    if folder.name.startswith(".") or folder.name in NOT_CLASSES:
        return True
    return (folder.is_symlink() and _leads_above(folder)) or _is_own(folder)


def _leads_above(link: Path) -> bool:
    target, around = Path(os.path.realpath(link)), (Path(os.path.realpath(link.parent)), link.parent.absolute())
    return any(target in (folder, *folder.parents) for folder in around)


def _is_own(folder: Path) -> bool:
    """Whether the course made this folder, or all that is in it.

    A file beside photographs may be called recipe.json, too: a run folder has no photographs, or environment.json.
    """
    is_page = (folder / "data" / "run.js").is_file()  # made by `explore`
    if is_page or folder.resolve() == files.data_folder().resolve():
        return True
    if any((folder / name).is_file() for name in OF_RUNS):
        others = (path for path, _ in _files(folder) if path.name != "mistakes.webp" and not _is_note(path))
        return (folder / "environment.json").is_file() or not any(map(_is_image, others))
    _, below, names = next(os.walk(folder, onerror=_refuse))
    inside = [folder / name for name in (*below, *names) if not name.startswith(".")]
    return bool(inside) and all(path.name in below and not path.is_symlink() and _is_own(path) for path in inside)


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file of a class, sorted by name, before those of the folders in it; each with its path without links."""
    seen = set()
    for place, below, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(place)
        below[:] = [] if real in seen else sorted(name for name in below if not _passed_over(Path(place, name)))
        for path in (Path(place, name) for name in sorted(names) if real not in seen and not name.startswith(".")):
            yield path, os.path.realpath(path) if path.is_symlink() else os.path.join(real, path.name)
        seen.add(real)


def _is_image(path: Path) -> bool:
    """Whether a file has a suffix that Pillow reads, or else its first bytes are those of an image."""
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind in Image.OPEN and kind not in NOT_DECODED:
        return True
    known = [name for name, (_, knows) in Image.OPEN.items() if knows and name not in NOT_DECODED]
    try:
        if path.is_file():  # a pipe would wait for ever
            Image.open(path, formats=known).close()
            return True
    except Exception:  # readers raise many kinds
        pass
    return False


def _is_note(path: Path) -> bool:
    return path.suffix.lower() in NOTES


def _images(folder: Path, classes: list[str]) -> list[tuple[Path, int]]:
    number = {name: i for i, name in enumerate(classes)}
    annotations = read_annotations(folder)  # Tiny ImageNet's validation images, if nobody has sorted them
    if unknown := sorted(set(annotations.values() if annotations else _subfolders(folder)) - set(number)):
        raise DataError(f"{printable(folder)} has folders for classes that train does not have: {_listed(unknown)}")
    if annotations:
        return sorted((folder / "images" / name, number[label]) for name, label in annotations.items())
    found = [(path, real, name) for name in _subfolders(folder) for path, real in _files(folder / name)]
    images = [file for file in found if _is_image(file[0])]
    if others := [path for path, _, _ in sorted(set(found) - set(images)) if not _is_note(path)]:
        names = [path.relative_to(folder).as_posix() for path in others]
        warnings.warn(f"{printable(folder)}: Pillow reads no image in {_listed(names)}; passed over", stacklevel=2)
    top, once = os.path.realpath(folder), {}
    for path, real, _ in images:  # a file counts where it lies, or else where a link first leads to it
        if real not in once or os.path.join(top, path.relative_to(folder)) == real:
            once[real] = path
    kept = [(path, number[name]) for path, real, name in images if once[real] == path]
    if lost := sorted({name for _, _, name in images} - {classes[label] for _, label in kept}):
        raise DataError(f"{printable(folder)}: {_listed(lost)} has only links to images of other classes")
    return kept
