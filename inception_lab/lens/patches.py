"""The patches of a data set that excite each unit most, cut out by the unit's true receptive field.

found = top_patches(network, data, ["inception_4a.five"], k=9)   # one pass over the set, for all units at once
found["inception_4a.five"].values[12]                            # the nine strongest answers of channel 12
patches = crops(network, data, found["inception_4a.five"], 12)
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch.nn import functional
from tqdm.auto import tqdm

from inception_lab.common.checks import check_whole
from inception_lab.lens.images import Images, batches, select
from inception_lab.lens.network import Network, check_pixels, geometry, instrument
from inception_lab.lens.units import check_names, paths


class TopPatches(NamedTuple):
    """For each channel C of a path the k images that excite it most, best first, each at its best position.

    A channel that fewer than k images excite has 0 in `values` and −1 in `images` for the rest.
    """

    path: str
    values: torch.Tensor  # float32 (C, k): activations
    images: torch.Tensor  # int64 (C, k): numbers in the set
    rows: torch.Tensor  # int64 (C, k): positions in the map
    columns: torch.Tensor  # int64 (C, k)

    @property
    def dead(self) -> torch.Tensor:
        """Which channels no image of the set excites, bool (C,)."""
        return self.images[:, 0] < 0


@instrument
@torch.no_grad()
def top_patches(
    network: Network,
    data: Images,
    names: str | Iterable[str] | None = None,
    k: int = 9,
    *,
    batch: int = 100,
    progress: bool = True,
) -> dict[str, TopPatches]:
    """The k images that excite each channel most, and where: {name: TopPatches}, in one pass over the set.

    data: a set of `datasets.load`, or uint8 images (N, 3, H, W); they are scaled to the network's size. names: paths,
    by default all. batch: images at once. Of an image counts the position with the largest activation, so that the k
    patches come from k images. Raises ValueError for an unknown name, offering the closest, for k below 1, and for a
    set without images.
    """
    names = list(paths(network)) if names is None else check_names(network, names)
    k, batch = check_whole("k", k), check_whole("batch", batch)
    best: dict[str, tuple[torch.Tensor, ...]] = {}
    seen = 0
    with tqdm(total=len(data), desc="top patches", unit=" images", disable=not progress) as bar:
        for images in batches(data, network, batch):
            numbers = torch.arange(seen, seen + len(images))
            for name, values in network.extract(images, names).items():
                found = _find_peaks(values, numbers)
                if name in best:
                    found = tuple(torch.cat(pair, dim=1) for pair in zip(best[name], found, strict=True))
                order = found[0].topk(min(k, found[0].shape[1]), dim=1).indices
                best[name] = tuple(part.gather(1, order) for part in found)
            seen += len(images)
            bar.update(len(images))
    return {name: _finish(name, k, *best[name]) for name in names}


def _find_peaks(values: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The largest activation of each channel C in each of n images, the image, row and column: (C, n) each."""
    peak, place = (part.T.cpu() for part in values.flatten(2).float().max(2))
    return peak, numbers.expand(len(peak), -1), *torch.unravel_index(place, values.shape[2:])


def _finish(
    name: str, k: int, values: torch.Tensor, images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> TopPatches:
    images, values = images.masked_fill(values <= 0, -1), values.clamp(min=0)
    missing = (0, k - values.shape[1])  # a set of fewer than k images
    values, rows, columns = (functional.pad(part, missing) for part in (values, rows, columns))
    return TopPatches(name, values, functional.pad(images, missing, value=-1), rows, columns)


def receptive_field(network: Network, path: str, row: int, column: int) -> tuple[int, int, int, int]:
    """What a unit at a position of its map sees of an image of the network's size: (left, top, right, bottom).

    In pixels, right and bottom excluded. It reaches over the edges of the image where the unit sees padding. Raises
    ValueError for an unknown path, offering the closest, and for one whose units have no place in the image.
    """
    check_names(network, path, "path")
    fields = geometry(network, network.size).fields
    field = [field for name, field in fields.items() if f"{name}.".startswith(f"{path}.")][-1]
    if field is None:
        raise ValueError(f"path must be one whose units see a window of the image, got {path!r}")
    vertical, horizontal = field
    left, top = horizontal.low + column * horizontal.step, vertical.low + row * vertical.step
    return left, top, left + horizontal.high - horizontal.low + 1, top + vertical.high - vertical.low + 1


def crop(network: Network, pixels: torch.Tensor, box: tuple[int, int, int, int]) -> torch.Tensor:
    """A box of an image (3, H, W) as floats from 0 to 1, the size of the box, but no larger than the image.

    What lies outside the image has the network's mean color, which is what its padding is to the network. A side of
    the box that is longer than the image's becomes the whole side of the image. Raises ValueError for an image that
    the network does not take.
    """
    check_pixels(pixels[None] if isinstance(pixels, torch.Tensor) else pixels)
    pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
    height, width = pixels.shape[1:]
    left, top, right, bottom = box
    left, right = (left, right) if right - left <= width else (0, width)
    top, bottom = (top, bottom) if bottom - top <= height else (0, height)
    canvas = network.mean[0].cpu().float().expand(3, bottom - top, right - left).clone()
    y, x = max(top, 0), max(left, 0)
    inside = pixels[:, y:bottom, x:right]
    canvas[:, y - top : y - top + inside.shape[1], x - left : x - left + inside.shape[2]] = inside
    return canvas


def crops(network: Network, data: Images, found: TopPatches, channel: int) -> torch.Tensor:
    """The patches of one channel, best first: floats from 0 to 1, (n, 3, h, w), where n ≤ k and is 0 for a dead one.

    data: the set that they were found in. Each is the receptive field, cut as `crop` says.
    """
    channel = check_whole("channel", channel, 0, len(found.images) - 1)
    places = zip(*(t[channel].tolist() for t in (found.images, found.rows, found.columns)), strict=True)
    cut = []
    for number, row, column in places:
        if number >= 0:
            (pixels,) = select(data, range(number, number + 1), network)
            cut.append(crop(network, pixels, receptive_field(network, found.path, row, column)))
    return torch.stack(cut) if cut else torch.empty(0, 3, 1, 1)
