"""Do larger kernels prefer larger objects? The scale that each path's units prefer, over networks of several seeds.

    table = path_scales(network)                 # a row a path of a module
    verdict(rows)                                # the test, over seeds, from rows of several networks

The paper's modules have kernels of three sizes because "visual information should be processed at various scales and
then aggregated" (Szegedy et al. 2014, arXiv:1409.4842, Section 4). A unit's preference is the center of its tuning
curve, see `tuning.Tuning.preferred`.
"""

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from inception_lab.lens.network import Network
from inception_lab.lens.scale_tuning import tuning

PAIRS = (("five", "one"), ("three", "one"), ("five", "three"))  # larger kernel, smaller kernel


def path_scales(network: Network, images: int = 256, progress: bool = True) -> pd.DataFrame:
    """A row a path of each module: module, path, units, silent (units whose curve is flat) and octaves.

    octaves: the mean over the path's units of log₂ of the preferred scale, 0 for objects as large as the image and −3
    for an eighth of it.
    """
    curves, rows = tuning(network, images=images, progress=progress), []
    for name in curves.responses:
        module, _, path = name.partition(".")
        if path:
            octaves = curves.preferred(name).log2()
            heard = ~octaves.isnan()
            mean = octaves[heard].mean().item()
            rows.append((module, path, len(octaves), int((~heard).sum()), round(mean, 5)))
    return pd.DataFrame(rows, columns=["module", "path", "units", "silent", "octaves"])


def differences(rows: pd.DataFrame, larger: str = "five", smaller: str = "one") -> pd.DataFrame:
    """How many octaves larger the objects are that one path prefers to another: a row a seed, a column a module.

    rows: of `path_scales` with a column seed.
    """
    table = rows.pivot_table(index=["seed", "module"], columns="path", values="octaves")
    return (table[larger] - table[smaller]).unstack("module")


def verdict(rows: pd.DataFrame, larger: str = "five", smaller: str = "one") -> pd.DataFrame:
    """Whether the larger kernel's path prefers larger objects, a row a module and one for the mean of all modules.

    Each network (seed) counts once, as units of one network are not independent. Columns: networks, octaves (mean
    difference), low and high (its 95 % interval by Student's t), p (two-sided, multiplied by the number of modules
    in their rows, as that many are tested: Bonferroni) and clear (p below 0.05). Raises ValueError for fewer than three
    seeds.
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
        p = min(1.0, test.pvalue * (1 if name == "all modules" else modules))
        found[name] = (len(values), values.mean(), low, high, p, bool(p < 0.05))
    columns = ["networks", "octaves", "low", "high", "p", "clear"]
    return pd.DataFrame.from_dict(found, orient="index", columns=columns).rename_axis("module")


def spread(rows: pd.DataFrame) -> float:
    """The standard deviation of a path's octaves over the seeds, on average over the paths: the noise of a row."""
    return float(np.mean(rows.groupby(["module", "path"])["octaves"].std()))
