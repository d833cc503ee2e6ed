"""How well an attribution finds an object whose place is known: pointing game and box overlap, on `shapes`.

    table = score({"trained": network, "shuffled": shuffled(run)}, METHODS, images=100)

A score says little by itself. Each has its chance, and a network with shuffled weights, which knows nothing, beside it.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torchvision.ops import box_iou
from tqdm.auto import tqdm

from inception_lab.common.checks import check_whole
from inception_lab.data.shapes import Shapes
from inception_lab.lens.attribution import cam, edges, grad_cam, gradient, integrated_gradients, occlusion
from inception_lab.lens.network import Network

THRESHOLDS = np.linspace(0.05, 0.95, 19)  # shares of a map's largest value
Method = Callable[[Network, torch.Tensor, torch.Tensor], torch.Tensor]  # network, images and classes → maps (N, H, W)


class Scores(NamedTuple):
    """How well maps find objects: means over the images in per cent, and their standard errors.

    Chance is what the same maps score with the boxes of all the other images.
    """

    pointing: float
    pointing_error: float
    pointing_chance: float
    overlap: float
    overlap_error: float
    overlap_chance: float
    threshold: float = np.nan  # of the boxes that the maps draw


def blurred(method: Method) -> Method:
    """The method with its maps blurred, by a deviation of 1/32 of the image: pixels are too fine for a box."""

    def maps(network: Network, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        found = method(network, images, targets).numpy()
        return torch.from_numpy(ndimage.gaussian_filter(found, (0, *[side / 32 for side in found.shape[1:]])))

    return maps


METHODS: dict[str, Method] = {
    "CAM": cam,
    "Grad-CAM": grad_cam,
    "occlusion": occlusion,
    "integrated gradients": blurred(partial(integrated_gradients, signed=False)),
    "signed integrated gradients": blurred(integrated_gradients),
    "|gradient|": blurred(gradient),
    "edge filter": blurred(edges),
}


def boxes_of(data: Shapes, indices: Iterable[int]) -> torch.Tensor:
    """The objects' boxes, float32 (N, 4): left, top, right and bottom in pixels."""
    return torch.tensor([data.box(i) for i in indices])


def points(maps: torch.Tensor) -> torch.Tensor:
    """The center of the largest pixel of each map: (N, 2), x and y in pixels."""
    rows, columns = torch.unravel_index(maps.flatten(1).argmax(1), maps.shape[1:])
    return torch.stack([columns, rows], dim=1) + 0.5


def hits(at: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """The pointing game: whether each point (N, 2) lies in each box (M, 4), bool (N, M).

    Zhang et al. 2016, arXiv:1608.00507, Section 4.1, without their tolerance of 15 pixels.
    """
    return ((boxes[None, :, :2] <= at[:, None]) & (at[:, None] <= boxes[None, :, 2:])).all(2)


def found_boxes(maps: torch.Tensor, share: float) -> torch.Tensor:
    """The box around the largest connected region above `share` of a map's largest value: float32 (N, 4).

    As Zhou et al. 2016, arXiv:1512.04150, Section 3.2, do with 20 %.
    """
    found = []
    for values in maps.cpu().numpy():
        most = values.max()
        regions, _ = ndimage.label(values >= min(most, share * most))  # of a map without a positive value, its largest
        rows, columns = ndimage.find_objects(regions)[np.bincount(regions.ravel())[1:].argmax()]
        found.append((columns.start, rows.start, columns.stop, rows.stop))
    return torch.tensor(found, dtype=torch.float32)


def score(
    networks: dict[str, Network],
    methods: dict[str, Method] | None = None,
    *,
    images: int = 100,
    seed: int = 0,
    batch: int = 50,
    progress: bool = True,
) -> pd.DataFrame:
    """How well attributions of the right class find the objects of `shapes`: one row per network and method.

    networks, methods: by name. images: of the test split, never trained on. The box that a map draws depends on a
    threshold: the best one is chosen for each network and method on as many images of the validation split, so that no
    method suffers from a wrong one. Columns: network, method, and the fields of `Scores`. A method that always says
    "the center" or "the whole image" is scored too: the row "none" of the network "none".
    """
    methods = METHODS if methods is None else methods
    for argument, given in {"networks": networks, "methods": methods}.items():
        if not isinstance(given, Mapping) or not given:
            raise ValueError(f"{argument} must be at least one, by name, as a dictionary, got {given!r}")
    images, batch = check_whole("images", images, 2), check_whole("batch", batch)
    rows = []
    with torch.device("cpu"), tqdm(total=2 * len(networks) * len(methods), desc="scoring", disable=not progress) as bar:
        for name, network in networks.items():
            sets = [Shapes(split, size=network.size, length=images, seed=seed) for split in ("val", "test")]
            for method, attribute in methods.items():
                seen = []
                for data in sets:
                    seen.append((_maps(network, data, attribute, batch), boxes_of(data, range(images))))
                    bar.update()
                rows.append({"network": name, "method": method, **compare(*seen[0], *seen[1])._asdict()})
        side, boxes = network.size, boxes_of(sets[1], range(images))
        blind = (torch.tensor([[0.0, 0, side, side]]).expand(images, 4), torch.full((images, 2), side / 2))
        rows.append({"network": "none", "method": "none", **_scores(*blind, boxes)._asdict()})
    return pd.DataFrame(rows)


def compare(tuning_maps: torch.Tensor, tuning_boxes: torch.Tensor, maps: torch.Tensor, boxes: torch.Tensor) -> Scores:
    """The scores of maps (N, H, W) against boxes (N, 4), with the threshold that suits other maps and boxes best.

    Raises ValueError for maps that are not finite, or of another shape.
    """
    for name, some in {"tuning_maps": tuning_maps, "maps": maps}.items():
        if some.ndim != 3 or not some.isfinite().all():
            raise ValueError(f"{name} must be finite numbers (N, H, W), got {tuple(some.shape)} {some.dtype}")
    means = [box_iou(found_boxes(tuning_maps, t), tuning_boxes).diagonal().mean().item() for t in THRESHOLDS]
    threshold = float(THRESHOLDS[int(np.argmax(means))])
    return _scores(found_boxes(maps, threshold), points(maps), boxes, threshold)


def _scores(found: torch.Tensor, at: torch.Tensor, boxes: torch.Tensor, threshold: float = np.nan) -> Scores:
    return Scores(*_statistics(hits(at, boxes).float()), *_statistics(box_iou(found, boxes)), threshold)


def _statistics(table: torch.Tensor) -> tuple[float, float, float]:
    """The mean of maps with their own boxes in per cent, its standard error, and the mean with all other boxes."""
    own, count = 100 * table.diagonal(), len(table)
    chance = (100 * table.sum() - own.sum()).item() / (count * (count - 1))
    return own.mean().item(), own.std().item() / count**0.5, chance


def _maps(network: Network, data: Shapes, attribute: Method, batch: int) -> torch.Tensor:
    images, labels = data.batch(range(len(data)))
    pairs = zip(images.split(batch), labels.split(batch), strict=True)
    return torch.cat([attribute(network, some, classes).cpu() for some, classes in pairs])
