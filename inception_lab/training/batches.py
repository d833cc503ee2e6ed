"""From a recipe to batches: which images, in which order, on which process, and made ready how.

Every choice by chance is a function of the recipe's seed and the place in the run (epoch, step, image), never of what
was drawn before it. That is why a run can be resumed at any step, with any number of worker processes. What of the
images' augmentation is drawn does not depend on the number of processes either; dropout's masks do.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, Subset

from inception_lab.common.seeds import seed_all, seed_of
from inception_lab.data import Augmentation, datasets
from inception_lab.data.images import ImageSet
from inception_lab.data.pictures import fit, normalize
from inception_lab.training.recipes import Recipe
from inception_lab.training.weights import complete

Batch = tuple[torch.Tensor, torch.Tensor]  # images (N, 3, H, W), their classes (N,)


class Data(NamedTuple):
    """What a run trains on. Sets give uint8 (3, H, W) and a class; those with `images` and `labels` lie in memory.

    augment: a function of a uint8 batch (N, 3, H, W) on the device, or None. mean, std: of each channel, for images
    from 0 to 1. Where a set or `augment` gives floats instead of uint8, they have been normalized already.
    """

    train: Any  # an ImageSet, or anything with a length and such samples
    val: Any
    classes: list[str]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Callable[[torch.Tensor], torch.Tensor] | None = None


def open_data(recipe: Recipe, source: str | Path | None = None, skip_broken: bool = False) -> Data:
    """The data of a recipe, with fewer training images than it asks for where there are fewer.

    source: a folder to read it from. skip_broken: leave out the files that are no whole images, instead of refusing.
    Raises ValueError where they cannot be had.
    """
    recipe = complete(recipe)
    source, size, length = recipe.data if source is None else source, recipe.image_size, recipe.train_images or None
    crops, held = recipe.augmentation in ("crop", "paper"), recipe.memory_size or size
    train_size = held if recipe.in_memory or not crops else None
    drawn = length if source == "shapes" else None  # shapes are as many as one wants
    train: ImageSet = datasets.load(source, "train", size=train_size, length=drawn, skip_broken=skip_broken)
    train = datasets.choose(train, length)
    val: ImageSet = datasets.load(source, "val", size=held, skip_broken=skip_broken)
    mean, std = (tuple(recipe.mean), tuple(recipe.std)) if recipe.mean else (train.mean, train.std)
    augment = Augmentation(
        size,
        scale=(recipe.smallest_crop, 1.0) if crops else (1.0, 1.0),
        ratio=(3 / 4, 4 / 3) if crops else (1.0, 1.0),
        photometric=0.5 if recipe.augmentation == "paper" else 0.0,
        shift=held // 8 if recipe.augmentation == "shift" else 0,
        cutout=recipe.cutout,
        mean=mean,
        std=std,
    )
    if recipe.in_memory:
        check_memory(len(train) + len(val), held)
        train, val = datasets.in_memory(train, recipe.workers), datasets.in_memory(val, recipe.workers)
    elif recipe.augmentation != "none":
        train = datasets.Part(train, transform=augment.transform())
    on_device: Callable | None = augment if recipe.in_memory and recipe.augmentation != "none" else None
    if on_device is None and held != size:
        on_device = partial(fit, size=size)
    return Data(train, val, val.classes, mean, std, on_device)


def check_memory(images: int, size: int, limit: float = 16e9) -> None:
    """Raise ValueError where so many RGB images of that size are more than `limit` bytes."""
    if images * 3 * size**2 > limit:
        wanted = f"{images:,} images of {size}×{size} pixels are {images * 3 * size**2 / 1e9:.0f} GB"
        raise ValueError(f"in_memory must be false for these data: {wanted}, over the {limit / 1e9:.0f} GB allowed")


class Batches:
    """The training batches of one process: its share of every batch of the recipe, in parts for accumulation.

    `steps` is how many batches an epoch has; the last images, which do not fill one, are left out.
    Raises ValueError for a batch that is larger than the set, or does not divide among the processes.
    """

    def __init__(self, recipe: Recipe, data: Data, device: torch.device, rank: int = 0, processes: int = 1):
        parts, size = recipe.accumulation * processes, len(data.train)
        if recipe.batch % parts:
            raise ValueError(f"batch must be a multiple of {parts} (processes × accumulation), got {recipe.batch}")
        if recipe.batch > size:
            raise ValueError(f"batch must be at most the {size} images that there are, got {recipe.batch}")
        self.recipe, self.data, self.device, self.rank, self.processes = recipe, data, device, rank, processes
        self.steps = size // recipe.batch
        self.memory: Batch | None = None
        if hasattr(data.train, "images"):
            self.memory = data.train.images.to(device), data.train.labels.to(device)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The parts of an epoch from a step on, as they were read; `to_device` makes them ready for the network.

        The random numbers of PyTorch, Python and NumPy start anew with each part. So do augmentation's and dropout's.
        """
        order, parts = self.order(epoch, start), self.recipe.accumulation
        for number, part in enumerate(self.read(order, epoch), start * parts):
            step, self.part = divmod(number, parts)
            self.seed = seed_of(self.recipe.seed, "part", epoch, step, 0)  # of the whole batch
            is_whole = parts == self.processes == 1
            seed_all(self.seed if is_whole else seed_of(self.recipe.seed, "share", epoch, number, self.rank))
            yield part

    def order(self, epoch: int, start: int = 0) -> list[torch.Tensor]:
        """The numbers of the images of each part that this process computes, from a step on."""
        generator = torch.Generator().manual_seed(seed_of(self.recipe.seed, "order", epoch))
        images = torch.randperm(len(self.data.train), generator=generator)
        part = self.recipe.batch // self.recipe.accumulation // self.processes
        parts = images[: self.steps * self.recipe.batch].split(part)
        return list(parts[self.rank :: self.processes][start * self.recipe.accumulation :])

    def read(self, order: list[torch.Tensor], epoch: int) -> Iterator[Batch]:
        """The images and classes of these parts, from memory or by the worker processes."""
        if self.memory:
            images, labels = self.memory
            for part in order:
                part = part.to(self.device)
                yield images[part], labels[part]
        else:
            seeded = [[(i, seed_of(self.recipe.seed, "image", epoch, i)) for i in part.tolist()] for part in order]
            yield from loader(Seeded(self.data.train), self.recipe, self.device, batch_sampler=seeded)

    def to_device(self, images: torch.Tensor, labels: torch.Tensor) -> Batch:
        """A part as the network sees it, (N, 3, H, W) augmented and normalized, and its classes, on the device."""
        images, labels = images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
        images = self.augment(images)
        return normalize(images, self.data.mean, self.data.std, channels_last=self.recipe.channels_last), labels

    def augment(self, images: torch.Tensor) -> torch.Tensor:
        """This part of the batch, augmented: by an `Augmentation` as if one process had drawn for the whole batch.

        Another function draws for the part alone.
        """
        augment, size, whole = self.data.augment, len(images), self.recipe.batch
        if augment is None or size == whole or not isinstance(augment, Augmentation):
            return augment(images) if augment else images
        first = (self.part * self.processes + self.rank) * size
        generator = torch.Generator().manual_seed(self.seed)
        height, width = images.shape[2:]
        draws = augment.draw(whole, height, width, generator)
        return augment.apply(images, draws.part(slice(first, first + size)))


def in_order(data: Data, recipe: Recipe, device: torch.device, rank: int = 0, processes: int = 1) -> Iterator[Batch]:
    """This process's share of the validation images once, in order, as the network sees them, and their classes."""
    size = recipe.batch // recipe.accumulation
    batches: Any
    if hasattr(data.val, "images"):  # in memory: slices are faster than samples
        batches = zip(*(t[rank::processes].split(size) for t in (data.val.images, data.val.labels)), strict=True)
    else:
        batches = loader(Subset(data.val, range(rank, len(data.val), processes)), recipe, device, batch_size=size)
    for images, labels in batches:
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        if images.shape[-1] == recipe.memory_size != recipe.image_size:
            images = fit(images, recipe.image_size)
        yield normalize(images, data.mean, data.std, channels_last=recipe.channels_last), labels


def loader(dataset: Dataset, recipe: Recipe, device: torch.device, **options: Any) -> DataLoader:
    """Batches of a set, read by the recipe's worker processes."""
    return DataLoader(dataset, num_workers=recipe.workers, pin_memory=device.type == "cuda", **options)


class Seeded(Dataset):
    """A set whose samples are asked for with a seed, so that what a transform draws depends on nothing else."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __getitem__(self, place: tuple[int, int]) -> tuple[torch.Tensor, int]:
        i, seed = place
        seed_all(seed)
        return self.dataset[i]
