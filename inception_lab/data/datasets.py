"""The data tiers, by one name or path.

data = load("shapes")                         # drawn by code, nothing needed
data = load("cifar10", "val")                 # downloaded to data/cache once
data = load("tiny-imagenet", size=32)
data = load("/my/photographs", "train")       # any class-per-folder tree
image, label = data[0]                        # uint8 (3, H, W) and a number
data.classes[label], data.mean, data.std      # its name; what to normalize with, for images from 0 to 1
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10

from inception_lab.common import files
from inception_lab.common.checks import DataError, check_one_of, check_whole, closest
from inception_lab.common.seeds import seed_all
from inception_lab.data.downloads import ARCHIVES, fetch
from inception_lab.data.folders import Folder
from inception_lab.data.images import RGB, ImageSet
from inception_lab.data.pictures import fit
from inception_lab.data.shapes import SPLITS, Shapes

NAMES = ("shapes", *ARCHIVES)
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class InMemory(ImageSet):
    """Images of one size held as one uint8 tensor (N, 3, H, W), with labels int64 (N,)."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, classes: list[str], mean: RGB, std: RGB):
        self.images, self.labels, self.classes, self.mean, self.std = images, labels, classes, mean, std

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.images[i], int(self.labels[i])


class Part(ImageSet):
    """Some images of another set, in the order of `indices`, or all of them with a transform of the image."""

    def __init__(
        self,
        data: ImageSet,
        indices: Sequence[int] | None = None,
        transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ):
        self.data, self.transform = data, transform
        self.indices = range(len(data)) if indices is None else indices
        self.classes, self.mean, self.std = data.classes, data.mean, data.std

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image, label = self.data[self.indices[i]]
        return (self.transform(image) if self.transform else image), label


def load(
    name_or_path: str | Path,
    split: str = "train",
    *,
    size: int | None = None,
    length: int | None = None,
    seed: int = 0,
    val_share: float = 0.1,
    root: str | Path | None = None,
    download: bool = True,
    skip_broken: bool = False,
) -> ImageSet:
    """The images of one split of a data tier, each a uint8 tensor (3, H, W) with the number of its class.

    name_or_path: "shapes", "cifar10", "tiny-imagenet" or a folder. A folder holds class folders, perhaps in
    folders train, val and test (see `folders.find_samples`), or CIFAR-10 as torchvision unpacks it.
    split: "train", "val" or "test". For CIFAR-10, val and test are both the 10,000 test images, as is usual
    for it; Tiny ImageNet's test images have no labels, so that only train and val can be had.
    size: pixels along a side: shapes are drawn at it (default 64), other images are scaled and cropped to it
    (default: as they are). length: shapes: how many to draw (default 10,000, and 2,000 for val and test);
    others: how many to choose at random (default all). seed: of the shapes, of that choice, and of the split
    of a tree that has none, of which `val_share` becomes val.
    root: where downloads are kept and looked for (default data/cache); download=False never uses the network.
    skip_broken: leave out the files of a folder that cannot be read, instead of refusing it.

    Raises ValueError for a wrong argument; DataError, which is one, where images are missing or broken.
    """
    check_one_of("split", split, SPLITS)
    size = size if size is None else check_whole("size", size)
    length = length if length is None else check_whole("length", length)
    root = files.cache() if root is None else Path(root)
    if name_or_path == "shapes":
        default = 10_000 if split == "train" else 2_000
        return Shapes(split, size=64 if size is None else size, length=default if length is None else length, seed=seed)
    data: ImageSet
    if name_or_path == "cifar10":
        data = _cifar10(fetch("cifar10", root, download).parent, split, size)
    elif name_or_path == "tiny-imagenet":
        if split == "test":
            raise DataError("tiny-imagenet has no labels for its test images: split must be 'train' or 'val'")
        data = Folder(fetch("tiny-imagenet", root, download), split, size=size, scan=False)  # its checksum was right
    else:
        folder = _folder(name_or_path)
        if (folder / CIFAR10.base_folder).is_dir():
            data = _cifar10(folder, split, size)
        else:
            options: dict[str, Any] = dict(val_share=val_share, seed=seed, skip_broken=skip_broken)
            data = Folder(folder, split, size=size, records=root / "scans", **options)
    if length is not None and length > len(data):
        raise ValueError(
            f"length must be at most {len(data)}, which is what {name_or_path} has for {split}, got {length}"
        )
    return choose(data, length, seed)


def choose(data: ImageSet, length: int | None, seed: int = 0) -> ImageSet:
    """So many images of a set, chosen at random, in their order; the set itself where it has no more, or for None."""
    if length is None or length >= len(data):
        return data
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:length]
    return Part(data, chosen.sort().values.tolist())


def stored_name(source: str | Path) -> str:
    """What a recipe calls its data: a tier by its name, a folder by its own, as a path belongs to one machine.

    A folder named as a tier gets a slash at its end, so that it is not taken for the tier.
    """
    if source in NAMES:
        return str(source)
    name = Path(source).expanduser().resolve().name or "root"
    return f"{name}/" if name in NAMES else name


def in_memory(data: ImageSet, workers: int = 0) -> InMemory:
    """All images of a set in one tensor, for the batched augmentation. They need one size: `load(..., size=64)`.

    workers: processes that read. Raises DataError where two images differ in size.
    """
    if isinstance(data, InMemory):
        return data
    if isinstance(data, Shapes):
        images, labels = data.batch(range(len(data)))
        return InMemory(images, labels, data.classes, data.mean, data.std)
    images, labels, done = torch.empty(0), torch.empty(len(data), dtype=torch.int64), 0
    for batch in DataLoader(data, batch_size=64, num_workers=workers, collate_fn=_together):
        for image, label in zip(*batch, strict=True):
            if not done:
                images = torch.empty(len(data), *image.shape, dtype=torch.uint8)
            if image.shape != images.shape[1:]:
                one, other = ("×".join(map(str, s[-2:])) for s in (images.shape, image.shape))
                raise DataError(f"the images differ in size ({one} and {other} pixels): pass size= to load")
            images[done], labels[done] = image, label
            done += 1
    return InMemory(images, labels, data.classes, data.mean, data.std)


def digest(classes: Sequence[str], *sets: Any) -> str:
    """A short name for the content of some sets, from their classes, lengths and 64 samples of each."""
    content = hashlib.sha256(repr((list(classes), *map(len, sets))).encode())
    for data in sets:
        for i in np.linspace(0, len(data) - 1, 64).astype(int).tolist():
            seed_all(i)  # a set that augments what it gives
            image, label = data[i]
            content.update(image.numpy().tobytes() + repr((tuple(image.shape), int(label))).encode())
    return content.hexdigest()[:16]


def _together(samples: list[tuple[torch.Tensor, int]]) -> tuple[Any, tuple[int, ...]]:
    """The images and labels of some samples; images of one size as one tensor, which a worker hands on as one file."""
    images, labels = zip(*samples, strict=True)
    return (torch.stack(images) if len({image.shape for image in images}) == 1 else images), labels


def _cifar10(root: Path, split: str, size: int | None) -> InMemory:
    try:
        data = CIFAR10(root, train=split == "train")
    except RuntimeError as error:
        folder = root / CIFAR10.base_folder
        raise DataError(
            f"{folder} is not the CIFAR-10 that torchvision expects: delete it to fetch it again"
        ) from error
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    images = images if size is None else fit(images, size)
    return InMemory(images, torch.tensor(data.targets), data.classes, CIFAR10_MEAN, CIFAR10_STD)


def _folder(name_or_path: str | Path) -> Path:
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    names, given = ", ".join(map(repr, NAMES)), str(name_or_path)
    raise ValueError(f"name_or_path must be one of {names} or an existing folder, got {given!r}{closest(given, NAMES)}")
