"""Shapes and textures drawn by code: a set of images in which class, box and scale of the object are known.

    data = Shapes("train", size=64)
    image, label = data[0]  # uint8 (3, 64, 64), a number from 0 to 9
    data.classes[label], data.box(0), data.scale(0)

Sample i is a function of seed, split and i alone. Its random numbers are integers hashed from the three, and
its pixels come from them by arithmetic that IEEE 754 rounds exactly, so that every machine draws the same image.
Other sizes show the same scene in other resolution, with other noise. A mirrored image keeps its class.
"""

from collections.abc import Iterable
from operator import index as whole_number
from typing import NamedTuple

import numpy as np
import torch

from inception_lab.common.checks import check_one_of, check_whole
from inception_lab.data.images import SPLITS, ImageSet

SOLIDS = ("disc", "square", "triangle", "ring", "plus", "cross")
TEXTURES = ("horizontal bars", "vertical bars", "checkerboard", "dots")
CLASSES = SOLIDS + TEXTURES
LARGEST = 2**32  # samples in a split, so that no two of them, in whatever split, share a random number
GRID = 3  # knots of the uneven background, along each side


class Scenes(NamedTuple):
    """What N images show, without their pixels; lengths and positions are fractions of the image's side."""

    label: np.ndarray  # (N,) class
    scale: np.ndarray  # (N,) side of the object's box, uniform in log from 1/8 to 1
    left: np.ndarray  # (N,) of the box, uniform where the box fits
    top: np.ndarray  # (N,)
    cells: np.ndarray  # (N,) bars of a texture, or dots in a row: 2 to 5, fewer in small boxes
    color: np.ndarray  # (N, 3) of the object; differs from `background` by 0.3 to 0.7 in each channel
    background: np.ndarray  # (N, 3)
    uneven: np.ndarray  # (N, 3, GRID, GRID) added to the background, interpolated between the knots
    noise: np.ndarray  # (N,) standard deviation, 0 to 0.08 of full intensity
    key: np.ndarray  # (N,) uint64, from which the noise of the pixels is hashed


class Shapes(ImageSet):
    """The images of one split, as uint8 tensors (3, size, size) with their class, a number from 0 to 9.

    split: "train", "val" or "test", which share no sample. size: pixels along a side. length: number of
    images. seed: another seed, another set. `mean` and `std` (of each channel, images from 0 to 1) are what
    to normalize with. Raises ValueError for an unknown split, a size below 8, and a length or seed out of
    range; IndexError for a sample that is not there.
    """

    mean, std = (0.5, 0.5, 0.5), (0.29, 0.29, 0.29)

    def __init__(self, split: str = "train", *, size: int = 64, length: int = 10_000, seed: int = 0):
        check_one_of("split", split, SPLITS)
        self.split, self.classes = split, list(CLASSES)
        self.size = check_whole("size", size, 8, 4096)
        self.length = check_whole("length", length, 1, LARGEST)
        self.seed = check_whole("seed", seed, 0, 2**63 - 1)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        images, labels = self.batch([i])
        return images[0], int(labels[0])

    def batch(self, indices: Iterable[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The samples of these indices at once: uint8 (N, 3, size, size) and int64 (N,)."""
        scenes = self.scenes(indices)
        images = np.empty((len(scenes.label), 3, self.size, self.size), np.uint8)
        step = max(1, 2**20 // self.size**2)  # as many images at once as memory caches like
        for start in range(0, len(images), step):
            images[start : start + step] = draw(Scenes(*(a[start : start + step] for a in scenes)), self.size)
        return torch.from_numpy(images), torch.from_numpy(scenes.label)

    def scenes(self, indices: Iterable[int]) -> Scenes:
        """What the samples of these indices show: class, place, colors, noise."""
        numbers = []
        for i in map(whole_number, indices):
            if not -self.length <= i < self.length:
                raise IndexError(f"sample {i} of a set of {self.length}")
            numbers.append(i % self.length)
        return make_scenes(self.seed, np.array(numbers, np.uint64) + np.uint64(SPLITS.index(self.split) * LARGEST))

    def box(self, i: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the object in pixels; the image spans 0 to `size`."""
        s = self.scenes([i])
        left, top, side = (float(a[0]) * self.size for a in (s.left, s.top, s.scale))
        return left, top, left + side, top + side

    def scale(self, i: int) -> float:
        """Side of the object's box as a fraction of the image's, 1/8 to 1."""
        return float(self.scenes([i]).scale[0])

    def mask(self, i: int) -> torch.Tensor:
        """How much of each pixel the object covers, float32 (size, size) from 0 to 1."""
        return torch.from_numpy(coverage(self.scenes([i]), self.size)[0])


# --- what is drawn, and how ---------------------------------------------------------------------------------


def make_scenes(seed: int, numbers: np.ndarray) -> Scenes:
    """The scenes of these sample numbers, uint64 (N,). Nothing but the label depends on the class."""
    key = _hash(_hash(np.array(seed, np.uint64)) + numbers * STEP)
    u = _uniform(key, 13 + 3 * GRID * GRID)
    label = np.minimum(u[:, 0] * len(CLASSES), len(CLASSES) - 1).astype(np.int64)
    scale = np.round(np.power(8.0, -u[:, 1]) * 4096) / 4096  # rounded, as powers differ in the last bit
    fewest = np.where(scale < 1 / 4, 2, 3)
    most = np.where(scale < 1 / 2, fewest, 5)
    return Scenes(
        label=label,
        scale=scale,
        left=u[:, 2] * (1 - scale),
        top=u[:, 3] * (1 - scale),
        cells=fewest + np.floor(u[:, 4] * (most - fewest + 1)),
        background=u[:, 5:8],
        color=np.mod(u[:, 5:8] + 0.3 + 0.4 * u[:, 8:11], 1),
        uneven=(u[:, 11, None] * 0.4 * (u[:, 13:] - 0.5)).reshape(-1, 3, GRID, GRID),
        noise=0.08 * u[:, 12],
        key=key,
    )


def draw(scenes: Scenes, size: int) -> np.ndarray:
    """The images of the scenes, uint8 (N, 3, size, size)."""
    knots = [np.float32(1) - abs(np.arange(size, dtype=np.float32) * (GRID - 1) / (size - 1) - g) for g in range(GRID)]
    rows, columns = ([np.maximum(k, 0)[shape] for k in knots] for shape in (np.s_[:, None], np.s_[None, :]))
    uneven = scenes.uneven.astype(np.float32)[..., None, None]
    image: np.ndarray = scenes.background.astype(np.float32)[:, :, None, None]
    for x in range(GRID):
        image = image + columns[x] * sum(rows[y] * uneven[:, :, y, x] for y in range(GRID))
    color = scenes.color.astype(np.float32)[:, :, None, None]
    image += coverage(scenes, size)[:, None] * (color - image)
    image += _noise(scenes.key, image.shape[1:]) * scenes.noise.astype(np.float32)[:, None, None, None]
    return (np.clip(image, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)


def coverage(scenes: Scenes, size: int) -> np.ndarray:
    """How much of each pixel the object covers, from the distance of its edge: float32 (N, size, size), 0 to 1."""
    half = (scenes.scale * size / 2).astype(np.float32)[:, None, None]
    centers = np.arange(size, dtype=np.float32) + np.float32(0.5)
    x = centers[None, None, :] - (scenes.left * size).astype(np.float32)[:, None, None] - half
    y = centers[None, :, None] - (scenes.top * size).astype(np.float32)[:, None, None] - half
    cells = scenes.cells.astype(np.float32)[:, None, None]
    covered = np.empty((len(half), size, size), np.float32)
    for number, shape in enumerate(CLASSES):
        of = scenes.label == number
        covered[of] = np.clip(np.float32(0.5) - distance(shape, x[of], y[of], half[of], cells[of]), 0, 1)
    return covered


def distance(shape: str, x: np.ndarray, y: np.ndarray, half: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """How far points lie from the edge of a shape, in pixels, negative inside.

    x, y: pixels from the center of the shape's box, y downwards. half: half the side of the box, in pixels. cells: how
    many bars a texture has, or dots in a row.
    """
    match shape:
        case "disc":
            return np.sqrt(x * x + y * y) - half
        case "square":
            return np.maximum(abs(x), abs(y)) - half
        case "triangle":
            return np.maximum(y - half, (2 * abs(x) - y - half) * np.float32(5**-0.5))
        case "ring":
            return abs(distance("disc", x, y, half * np.float32(0.75), cells)) - half * np.float32(0.25)
        case "plus":
            arms = np.minimum(abs(x), abs(y)) - half * np.float32(0.3)
            return np.maximum(arms, distance("square", x, y, half, cells))
        case "cross":
            arms = abs(abs(x) - abs(y)) * np.float32(0.5**0.5) - half * np.float32(0.3)
            return np.maximum(arms, distance("square", x, y, half, cells))
        case "horizontal bars":
            width = 2 * half / (2 * cells - 1)
            bars = abs(_to_nearest(y, width / 2 - half, 2 * width, cells)) - width / 2
            return np.maximum(bars, abs(x) - half)
        case "vertical bars":
            return distance("horizontal bars", y, x, half, cells)
        case "checkerboard":
            width = half / (cells - 1)
            fields = []
            for first in (width / 2 - half, 3 * width / 2 - half):
                across, down = (_to_nearest(z, first, 2 * width, cells - 1) for z in (x, y))
                fields.append(distance("square", across, down, width / 2, cells))
            return np.minimum(*fields)
        case "dots":
            radius = 2 * half / (3 * cells - 1)  # the gaps are as wide as the radius
            across, down = (_to_nearest(z, radius - half, 3 * radius, cells) for z in (x, y))
            return distance("disc", across, down, radius, cells)
    raise ValueError(f"shape must be one of {CLASSES}, got {shape!r}")


def _to_nearest(x: np.ndarray, first: np.ndarray, step: np.ndarray, count: np.ndarray) -> np.ndarray:
    """How far x lies from the nearest of `count` places, `step` apart, beginning at `first`."""
    x = x - first
    return x - step * np.clip(np.round(x / step), 0, count - 1)


# --- random numbers -----------------------------------------------------------------------------------------

STEP = np.uint64(0x9E3779B97F4A7C15)


def _hash(x: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014): a one-to-one map of 64-bit numbers that looks random."""
    with np.errstate(over="ignore"):
        x = x + STEP
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _words(key: np.ndarray, count: int) -> np.ndarray:
    """`count` random 64-bit words for each key: (N,) → (N, count)."""
    return _hash(key[:, None] + np.arange(1, count + 1, dtype=np.uint64) * STEP)


def _uniform(key: np.ndarray, count: int) -> np.ndarray:
    """Numbers from 0 to below 1 in steps of 2⁻⁵³: (N,) → (N, count)."""
    return (_words(key, count) >> np.uint64(11)) * 2.0**-53


def _noise(key: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Nearly normal noise of variance 1, float32 (N, *shape): sums of four random bytes, twice a word."""
    values = int(np.prod(shape))
    words = _words(_hash(key ^ STEP), -(-values // 2)).astype("<u8", copy=False)
    total = words.view(np.uint8).reshape(len(key), -1, 4).sum(axis=2, dtype=np.int32)[:, :values]
    return ((total - 510) * np.float32((12 / 4 / (256**2 - 1)) ** 0.5)).reshape(-1, *shape)
