"""Which size of object each unit answers to, and whether larger kernels prefer larger objects.

    curves = tuning(network)                     # on `shapes`, where the size is known
    curves.responses["inception_4a.five"]        # (C, S): channels by scales
    curves.preferred("inception_4a.five")        # (C,): each unit's preferred scale
    table = path_scales(network)                 # one row per path of a module
    verdict(rows)                                # the test, over seeds, from rows of several networks
    verdicts({"trained": differences(rows), "new": differences(others)})     # several tests that are shown together

The paper's modules have kernels of three sizes because "visual information should be processed at various scales and
then aggregated" (Szegedy et al. 2014, arXiv:1409.4842, Section 4). A unit's preference is the center of its tuning
curve, see `Tuning.preferred`.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import ttest_1samp
from tqdm.auto import tqdm

from inception_lab.common.checks import check_whole
from inception_lab.common.statistics import LEVEL, SMALLEST_SAMPLE, holm
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


# --- do larger kernels prefer larger objects? ----------------------------------------------------------------

ALL = "all modules"
PAIRS = (("five", "one"), ("three", "one"), ("five", "three"))  # larger kernel, smaller kernel


class PathScale(NamedTuple):
    """The scale that the units of a path prefer."""

    module: str
    path: str
    units: int
    silent: int  # units whose curve is flat
    octaves: float  # mean over the units of log₂ of the scale: 0 for objects as large as the image, −3 for an eighth


class Verdict(NamedTuple):
    """Whether one path prefers larger objects than another."""

    networks: int
    octaves: float  # mean difference
    low: float  # its 95 % interval by Student's t, for this row alone
    high: float
    p: float  # two-sided, corrected
    clear: bool  # p below LEVEL, and at least SMALLEST_SAMPLE networks


def path_scales(network: Network, images: int = 256, progress: bool = True) -> pd.DataFrame:
    """The scales that a network's paths prefer: one row (`PathScale`) per path of each module."""
    curves, rows = tuning(network, images=images, progress=progress), []
    for name in curves.responses:
        module, _, path = name.partition(".")
        if path:
            octaves = curves.preferred(name).log2()
            heard = octaves[~octaves.isnan()]
            mean = round(heard.mean().item(), 5)
            rows.append(PathScale(module, path, len(octaves), len(octaves) - len(heard), mean))
    return pd.DataFrame(rows)


def differences(rows: pd.DataFrame, larger: str = "five", smaller: str = "one") -> pd.DataFrame:
    """How many octaves larger the objects are that one path prefers: one row per seed, one column per module.

    rows: of `path_scales` with a column seed.
    """
    table = rows.pivot_table(index=["seed", "module"], columns="path", values="octaves")
    return (table[larger] - table[smaller]).unstack("module")


def verdict(rows: pd.DataFrame, larger: str = "five", smaller: str = "one") -> pd.DataFrame:
    """Whether the larger kernel's path prefers larger objects: see `verdicts`. rows: as `differences` takes them."""
    return verdicts({"": differences(rows, larger, smaller)}).droplevel("group")


def verdicts(groups: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Whether differences are clear: one row (`Verdict`) per group and module, and one for the mean of its modules.

    groups: by name, what `differences` gives, or the change from one to another. Each network (seed) counts once, as
    units of one network are not independent. p is corrected (Holm 1979) over all tests that are shown together: those
    of the modules of all groups, and those of the groups' means. Raises ValueError for fewer than three seeds.
    """
    found = {}
    if not groups:
        raise ValueError("groups must be at least one table, got none")
    for name, table in groups.items():
        if len(table) < 3:
            raise ValueError(f"rows must be of at least 3 seeds, got {len(table)}")
        for module, values in table.assign(**{ALL: table.mean(axis=1)}).items():
            test = ttest_1samp(values, 0)
            low, high = test.confidence_interval(0.95)
            found[name, module] = Verdict(
                len(values), values.mean(), float(low), float(high), float(test.pvalue), False
            )
    rows = pd.DataFrame(found.values(), index=pd.MultiIndex.from_tuples(found, names=["group", "module"]))
    means = rows.index.get_level_values("module") == ALL
    for family in (means, ~means):
        rows.loc[family, "p"] = holm(rows.loc[family, "p"].to_numpy())
    rows["clear"] = (rows["p"] < LEVEL) & (rows["networks"] >= SMALLEST_SAMPLE)
    return rows
