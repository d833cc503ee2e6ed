"""How well an attribution finds an object whose place is known: pointing game and box overlap, on `shapes`.

    table = score({"trained": network, "shuffled": shuffled(run)}, METHODS, images=100)

A score says little by itself. Each has its chance, and a network with shuffled weights, which knows nothing, beside it.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from tqdm.auto import tqdm

from inception_lab.data.shapes import Shapes
from inception_lab.lens.attribution import grad_cam, integrated_gradients, occlusion
from inception_lab.lens.network import Network

THRESHOLDS = np.linspace(0.05, 0.95, 19)  # shares of a map's largest value


def smoothed_gradients(network: Network, images: torch.Tensor, targets) -> torch.Tensor:
    """The size of the integrated gradients, whatever their sign, blurred with a deviation of 1/32 of the image."""
    sizes = integrated_gradients(network, images, targets).abs().cpu().numpy()
    return torch.from_numpy(ndimage.gaussian_filter(sizes, (0, *[side / 32 for side in sizes.shape[1:]])))


METHODS = {"Grad-CAM": grad_cam, "occlusion": occlusion, "integrated gradients": smoothed_gradients}


def boxes_of(data: Shapes, indices) -> torch.Tensor:
    """The objects' boxes, float32 (N, 4): left, top, right and bottom in pixels."""
    return torch.tensor([data.box(i) for i in indices])


def points(maps: torch.Tensor) -> torch.Tensor:
    """The center of the largest pixel of each map: (N, 2), x and y in pixels."""
    place = maps.flatten(1).argmax(1)
    width = maps.shape[2]
    return torch.stack([place % width + 0.5, place // width + 0.5], dim=1)


def hits(maps: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """The pointing game: whether the largest pixel of a map lies in the box, bool (N,).

    Zhang et al. 2016, arXiv:1608.00507, Section 4.1, without their tolerance of 15 pixels. maps: (N, H, W). boxes: (N,
    4), left, top, right, bottom.
    """
    x, y = points(maps).T
    left, top, right, bottom = boxes.T
    return (left <= x) & (x <= right) & (top <= y) & (y <= bottom)


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


def overlaps(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Intersection over union of each box with each: (N, 4) and (M, 4) → (N, M), from 0 to 1."""
    low = torch.maximum(one[:, None, :2], other[None, :, :2])
    high = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    both = (high - low).clamp(min=0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (one, other)]
    return both / (areas[0][:, None] + areas[1][None] - both)


def score(
    networks: dict[str, Network],
    methods: dict[str, Callable] | None = None,
    *,
    images: int = 100,
    seed: int = 0,
    batch: int = 50,
    progress: bool = True,
) -> pd.DataFrame:
    """How well attributions of the right class find the objects of `shapes`: a row a network and method.

    networks, methods: by name; a method takes a network, images and classes, and gives maps (N, H, W). images: of the
    test split, never trained on. The box that a map draws depends on a threshold: the best one is chosen for each
    network and method on as many images of the validation split, so that no method suffers from a wrong one.

    Columns: network, method; pointing and overlap, means in per cent; pointing_error and overlap_error, their standard
    errors; pointing_chance and overlap_chance, the same maps scored with the boxes of all the other images; threshold.
    A method that always says "the center" or "the whole image" is scored too: the row "none" of the network "none".
    """
    methods = METHODS if methods is None else methods
    if not isinstance(images, int) or images < 2:
        raise ValueError(f"images must be a whole number of at least 2, got {images!r}")
    rows = []
    with tqdm(total=2 * len(networks) * len(methods), desc="scoring", disable=not progress) as bar:
        for name, network in networks.items():
            sets = [Shapes(split, size=network.size, length=images, seed=seed) for split in ("val", "test")]
            for method, attribute in methods.items():
                seen = []
                for data in sets:
                    seen.append((_maps(network, data, attribute, batch), boxes_of(data, range(images))))
                    bar.update()
                rows.append({"network": name, "method": method, **compare(*seen[0], *seen[1])})
    side, boxes = network.size, boxes_of(sets[1], range(images))
    blind = (torch.tensor([[0.0, 0, side, side]]).expand(images, 4), torch.full((images, 2), side / 2))
    rows.append({"network": "none", "method": "none", **_scores(*blind, boxes), "threshold": np.nan})
    return pd.DataFrame(rows)


def compare(tuning_maps, tuning_boxes, maps, boxes) -> dict[str, float]:
    """The scores of maps (N, H, W) against boxes (N, 4), with the threshold that suits other maps and boxes best."""
    means = [overlaps(found_boxes(tuning_maps, t), tuning_boxes).diagonal().mean().item() for t in THRESHOLDS]
    threshold = float(THRESHOLDS[int(np.argmax(means))])
    return {**_scores(found_boxes(maps, threshold), points(maps), boxes), "threshold": threshold}


def _scores(found: torch.Tensor, at: torch.Tensor, boxes: torch.Tensor) -> dict[str, float]:
    inside = (boxes[None, :, :2] <= at[:, None]) & (at[:, None] <= boxes[None, :, 2:])
    scores = {}
    for name, table in {"pointing": inside.all(2).float(), "overlap": overlaps(found, boxes)}.items():
        own = 100 * table.diagonal()
        scores[name], scores[f"{name}_error"] = own.mean().item(), own.std().item() / len(own) ** 0.5
        scores[f"{name}_chance"] = (100 * table.sum() - own.sum()).item() / (len(own) * (len(own) - 1))
    return scores


def _maps(network: Network, data: Shapes, attribute: Callable, batch: int) -> torch.Tensor:
    images, labels = data.batch(range(len(data)))
    pairs = zip(images.split(batch), labels.split(batch), strict=True)
    return torch.cat([attribute(network, some, classes).cpu() for some, classes in pairs])
