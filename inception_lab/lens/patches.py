"""The patches of a data set that excite each unit most, cut out by the unit's true receptive field.

found = top_patches(network, data, ["inception_4a.five"], k=9)   # one pass over the set, for all units at once
found["inception_4a.five"].values[12]                            # the nine strongest answers of channel 12
patches = crops(network, data, found["inception_4a.five"], 12)
"""

from typing import NamedTuple

import torch
from torch.nn import functional
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from inception_lab.lens.images import batches, image
from inception_lab.lens.network import Network, geometry
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


@torch.no_grad()
def top_patches(
    network: Network,
    data: Dataset | torch.Tensor,
    names=None,
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
    for name, value in {"k": k, "batch": batch}.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    best, widths, seen = {}, {}, 0
    with tqdm(total=len(data), desc="top patches", unit=" images", disable=not progress) as bar:
        for images in batches(data, network, batch):
            numbers = torch.arange(seen, seen + len(images))
            for name, values in network.extract(images, names).items():
                widths[name] = values.shape[-1]
                best[name] = _merge(best.get(name), _peaks(values, numbers), k)
            seen += len(images)
            bar.update(len(images))
    return {name: _finish(name, best[name], widths[name], k) for name in names}


def _peaks(values: torch.Tensor, numbers: torch.Tensor):
    """The largest activation of each image and channel: values, image numbers and places, (C, N) each."""
    peak, place = values.flatten(2).float().max(2)
    return peak.T.cpu(), numbers.expand(peak.shape[1], -1), place.T.cpu()


def _merge(best, new, k: int):
    if best is not None:
        new = tuple(torch.cat(pair, dim=1) for pair in zip(best, new, strict=True))
    order = new[0].topk(min(k, new[0].shape[1]), dim=1).indices
    return tuple(part.gather(1, order) for part in new)


def _finish(name: str, best, width: int, k: int) -> TopPatches:
    values, images, places = best
    silent = values <= 0
    images, values = images.masked_fill(silent, -1), values.masked_fill(silent, 0)
    missing = (0, k - values.shape[1])  # a set of fewer than k images
    values, places = (functional.pad(t, missing) for t in (values, places))
    return TopPatches(name, values, functional.pad(images, missing, value=-1), places // width, places % width)


def receptive_field(network: Network, path: str, row: int, column: int) -> tuple[int, int, int, int]:
    """What a unit at a position of its map sees of an image of the network's size: (left, top, right, bottom).

    In pixels, right and bottom excluded. It reaches over the edges of the image where the unit sees padding. Raises
    ValueError for an unknown path, offering the closest.
    """
    check_names(network, path, "path")
    fields = geometry(network, network.size).fields
    vertical, horizontal = [field for name, field in fields.items() if f"{name}.".startswith(f"{path}.")][-1]
    spans = [(f.low + i * f.step, f.high + i * f.step + 1) for f, i in ((horizontal, column), (vertical, row))]
    (left, right), (top, bottom) = spans
    return left, top, right, bottom


def crop(network: Network, pixels: torch.Tensor, box: tuple[int, int, int, int]) -> torch.Tensor:
    """A box of an image (3, H, W) as floats from 0 to 1, the size of the box, but no larger than the image.

    What lies outside the image has the network's mean color, which is what its padding is to the network. A side of
    the box that is longer than the image's becomes the whole side of the image.
    """
    pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
    height, width = pixels.shape[1:]
    left, top, right, bottom = box
    left, right = (left, right) if right - left <= width else (0, width)
    top, bottom = (top, bottom) if bottom - top <= height else (0, height)
    canvas = network.mean[0].cpu().float().expand(3, bottom - top, right - left).clone()
    inner = (slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width)))
    rows = slice(inner[0].start - top, inner[0].stop - top)
    columns = slice(inner[1].start - left, inner[1].stop - left)
    canvas[:, rows, columns] = pixels[:, inner[0], inner[1]]
    return canvas


def crops(network: Network, data: Dataset | torch.Tensor, found: TopPatches, channel: int) -> torch.Tensor:
    """The patches of one channel, best first: floats from 0 to 1, (n, 3, h, w), where n ≤ k and is 0 for a dead one.

    data: the set that they were found in. Each is the receptive field, cut as `crop` says.
    """
    if not 0 <= channel < len(found.images):
        raise ValueError(f"channel must be from 0 to {len(found.images) - 1}, got {channel!r}")
    places = zip(*(t[channel].tolist() for t in (found.images, found.rows, found.columns)), strict=True)
    cut = [
        crop(network, image(data, number, network), receptive_field(network, found.path, row, column))
        for number, row, column in places
        if number >= 0
    ]
    return torch.stack(cut) if cut else torch.empty(0, 3, 1, 1)
