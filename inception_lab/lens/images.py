"""The images of a set, a batch at a time, at a network's size."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch

from inception_lab.common.checks import DataError
from inception_lab.data.pictures import fit
from inception_lab.data.shapes import Shapes
from inception_lab.lens.network import Network, check_pixels


class Images(Protocol):
    """A set of `datasets.load`, whose samples are (image, label), or images as one tensor (N, 3, H, W)."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> Any: ...


def batches(data: Images, network: Network, batch: int) -> Iterator[torch.Tensor]:
    """The images of a set in order, (n, 3, size, size) at the network's size, up to `batch` at once.

    Raises DataError, a ValueError, for a set without images.
    """
    if not len(data):
        raise DataError("data must have at least one image, got none")
    for start in range(0, len(data), batch):
        yield select(data, range(start, min(start + batch, len(data))), network)


def select(data: Images, numbers: range, network: Network) -> torch.Tensor:
    """Successive images of a set at the network's size, (n, 3, size, size); ValueError as `check_pixels`."""
    in_memory = data if isinstance(data, torch.Tensor) else getattr(data, "images", None)
    if in_memory is not None:
        return _fitted(in_memory[numbers.start : numbers.stop], network.size)
    if isinstance(data, Shapes):
        return _fitted(data.batch(numbers)[0], network.size)
    return torch.cat([_fitted(torch.as_tensor(data[i][0])[None], network.size) for i in numbers])


def _fitted(images: torch.Tensor, size: int) -> torch.Tensor:
    check_pixels(images)
    return images if images.shape[-2:] == (size, size) else fit(images, size)
