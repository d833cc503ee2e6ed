"""Do larger kernels prefer larger objects? The scale that each path's units prefer, over networks of several seeds.

    table = path_scales(network)                 # one row per path of a module
    verdict(rows)                                # the test, over seeds, from rows of several networks

The paper's modules have kernels of three sizes because "visual information should be processed at various scales and
then aggregated" (Szegedy et al. 2014, arXiv:1409.4842, Section 4). A unit's preference is the center of its tuning
curve, see `tuning.Tuning.preferred`.
"""

from typing import NamedTuple

import pandas as pd
from scipy.stats import ttest_1samp

from inception_lab.lens.network import Network
from inception_lab.lens.scale_tuning import tuning

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
    low: float  # its 95 % interval by Student's t
    high: float
    p: float  # two-sided
    clear: bool  # whether p is below 0.05


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
    """Whether the larger kernel's path prefers larger objects: one row (`Verdict`) per module, one for their mean.

    Each network (seed) counts once, as units of one network are not independent. The p of a module is multiplied by
    their number, as that many are tested (Bonferroni). Raises ValueError for fewer than three seeds.
    """
    table = differences(rows, larger, smaller)
    if len(table) < 3:
        raise ValueError(f"rows must be of at least 3 seeds, got {len(table)}")
    modules = len(table.columns)
    table["all modules"] = table.mean(axis=1)
    found = {}
    for name, values in table.items():
        test = ttest_1samp(values, 0)
        low, high = test.confidence_interval(0.95)
        p = min(1.0, float(test.pvalue) * (1 if name == "all modules" else modules))
        found[name] = Verdict(len(values), values.mean(), float(low), float(high), p, p < 0.05)
    return pd.DataFrame(found.values(), index=pd.Index(found, name="module"))
