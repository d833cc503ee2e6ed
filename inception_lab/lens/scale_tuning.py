"""Which size of object each unit answers to: tuning curves over scale, on `shapes`, where the size is known.

curves = tuning(network)
curves.responses["inception_4a.five"]      # (C, S): channels by scales
curves.preferred("inception_4a.five")      # (C,): each unit's preferred scale
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from inception_lab.common.checks import check_whole
from inception_lab.data.shapes import Scenes, Shapes, draw
from inception_lab.lens.network import Network, instrument
from inception_lab.lens.units import check_names, paths, peaks

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


@instrument
@torch.no_grad()
def tuning(
    network: Network,
    names: str | Iterable[str] | None = None,
    *,
    images: int = 256,
    scales: Sequence[float] = SCALES,
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
    images, batch = check_whole("images", images), check_whole("batch", batch)
    if not len(scales) or not all(0 < scale <= 1 for scale in scales):
        raise ValueError(f"scales must be above 0 and at most 1, got {list(scales)}")
    scenes = Shapes("test", size=network.size, length=images, seed=seed).scenes(range(images))
    responses: dict[str, list[torch.Tensor]] = {name: [] for name in names}  # one entry per scale
    for scale in tqdm(scales, "tuning", unit=" scales", disable=not progress):
        drawn = torch.from_numpy(draw(rescaled(scenes, scale), network.size))
        found = [network.extract(some, names) for some in drawn.split(batch)]
        for name in names:
            responses[name].append(torch.cat([peaks(values[name]) for values in found]).mean(0))
    return Tuning(
        torch.tensor(scales, dtype=torch.float32),
        {name: torch.stack(curves, dim=1) for name, curves in responses.items()},
    )


def rescaled(scenes: Scenes, scale: float) -> Scenes:
    """The scenes with every object at one scale, its center where it was, or as near as it fits into the image.

    Textures have two cells, so that they too only grow.
    """
    shift = (scenes.scale - scale) / 2
    left, top = (np.clip(corner + shift, 0, 1 - scale) for corner in (scenes.left, scenes.top))
    scales, cells = np.full_like(scenes.scale, scale), np.full_like(scenes.cells, 2)
    return scenes._replace(scale=scales, left=left, top=top, cells=cells)
