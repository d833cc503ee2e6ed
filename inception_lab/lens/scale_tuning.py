"""Which size of object each unit answers to: tuning curves over scale, on `shapes`, where the size is known.

curves = tuning(network)
curves.responses["inception_4a.five"]      # (C, S): channels by scales
curves.preferred("inception_4a.five")      # (C,): each unit's preferred scale
"""

from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from inception_lab.data.shapes import Scenes, Shapes, draw
from inception_lab.lens.network import Network
from inception_lab.lens.units import check_names, paths

SCALES = tuple(2.0 ** (-3 + i / 4) for i in range(13))  # from 1/8 to 1 of the image's side, four an octave


class Tuning(NamedTuple):
    """The mean answer of every unit to objects of each scale, a fraction of the image's side."""

    scales: torch.Tensor  # float32 (S,)
    responses: dict[str, torch.Tensor]  # path → float32 (C, S)

    def preferred(self, path: str) -> torch.Tensor:
        """The center of each unit's tuning curve, as a scale: float32 (C,); NaN for a unit whose curve is flat.

        It is the mean of log₂ scale, weighted by how far the answer lies above the curve's lowest.
        """
        above = self.responses[path] - self.responses[path].amin(1, keepdim=True)
        weights = above / above.sum(1, keepdim=True)  # 0 / 0 for a flat curve
        return torch.exp2((weights * self.scales.log2()).sum(1))


@torch.no_grad()
def tuning(
    network: Network,
    names=None,
    *,
    images: int = 256,
    scales=SCALES,
    seed: int = 0,
    batch: int = 128,
    progress: bool = True,
) -> Tuning:
    """The mean activation of every channel by the scale of the object, on `shapes`.

    names: paths, by default all. images: scenes; each is drawn once at every scale, alike in everything else: class,
    colors, noise, number of bars or dots, and the object's center, as far as it fits into the image. The answer of a
    unit to an image is its largest activation over the positions of its map, so that a large object has no advantage
    by covering more of it. Raises ValueError for an unknown name, offering the closest, and for scales out of range.
    """
    names = list(paths(network)) if names is None else check_names(network, names)
    if not isinstance(images, int) or images < 1:
        raise ValueError(f"images must be a whole number of at least 1, got {images!r}")
    if not len(scales) or not all(0 < scale <= 1 for scale in scales):
        raise ValueError(f"scales must be above 0 and at most 1, got {list(scales)}")
    scenes = Shapes("test", size=network.size, length=images, seed=seed).scenes(range(images))
    responses = {name: [] for name in names}
    for scale in tqdm(scales, "tuning", unit=" scales", disable=not progress):
        drawn = torch.from_numpy(draw(rescaled(scenes, scale), network.size))
        peaks = {name: [] for name in names}
        for some in drawn.split(batch):
            for name, values in network.extract(some, names).items():
                peaks[name].append(values.flatten(2).amax(2).float().cpu())
        for name in names:
            responses[name].append(torch.cat(peaks[name]).mean(0))
    return Tuning(torch.tensor(scales), {name: torch.stack(rows, dim=1) for name, rows in responses.items()})


def rescaled(scenes: Scenes, scale: float) -> Scenes:
    """The scenes with every object at one scale, its center where it was, or as near as it fits into the image.

    Textures have two cells, so that they too only grow.
    """

    def moved(corner):
        return np.clip(corner + (scenes.scale - scale) / 2, 0, 1 - scale)

    same = np.full_like(scenes.scale, scale)
    return scenes._replace(
        scale=same, left=moved(scenes.left), top=moved(scenes.top), cells=np.full_like(scenes.cells, 2)
    )
