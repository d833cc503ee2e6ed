"""Do larger kernels prefer larger objects? The scale that each path's units prefer, over networks of several seeds.

    table = path_scales(network)                 # one row per path of a module
    verdict(rows)                                # the test, over seeds, from rows of several networks
    verdicts({"trained": differences(rows), "new": differences(others)})     # several tests that are shown together

The paper's modules have kernels of three sizes because "visual information should be processed at various scales and
then aggregated" (Szegedy et al. 2014, arXiv:1409.4842, Section 4). A unit's preference is the center of its tuning
curve, see `tuning.Tuning.preferred`.
"""

from typing import NamedTuple

import pandas as pd
from scipy.stats import ttest_1samp

from inception_lab.common.statistics import LEVEL, SMALLEST_SAMPLE, holm
from inception_lab.lens.network import Network
from inception_lab.lens.scale_tuning import tuning

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
