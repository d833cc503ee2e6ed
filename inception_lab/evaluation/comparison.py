"""What the runs of a study say: the mean of each arm, and whether it differs from a baseline's by more than chance."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind

from inception_lab.common.checks import check_one_of
from inception_lab.evaluation.study_table import COLUMNS

SMALLEST_SAMPLE = 3  # seeds of both arms, below which no difference is called clear


@dataclass(frozen=True)
class ArmComparison:
    """One row of `compare`: an arm, and how the mean of a column over its seeds differs from the baseline's."""

    arm: str
    parameters: int
    macs: int
    seeds: int  # how many
    mean: float
    sd: float  # of single runs, with n − 1
    difference: float  # mean − the baseline's mean
    low: float  # this and `high`: its 95 % interval; NaN for the baseline, and for a single seed
    high: float
    clear: bool  # SMALLEST_SAMPLE seeds or more of both arms, and the interval does not hold 0


def compare(frame: pd.DataFrame, column: str = "val_top1_error", baseline: str | None = None) -> pd.DataFrame:
    """Compare the arms of a study: a DataFrame with one row per arm and the columns of ArmComparison.

    frame: what `read_study` gives. column: what to compare. baseline: an arm, by default the first. The interval is
    Welch's, by Student's t, as the arms' spreads may differ.

    clear: with other seeds the difference would most likely have the same sign. It does not say that the difference is
    large, nor that it would be there with another recipe, budget or other validation images, which all runs share.
    Each interval stands for itself: of 20 comparisons between equal arms, one is expected to come out clear. Not clear
    does not mean equal: three seeds see only differences that are several times the spread. And t takes the errors of
    runs to be normally distributed, which so few runs cannot show.

    Runs of one seed share the order of the images, and arms of one architecture their first weights. The interval
    is unpaired all the same: pairs would leave n − 1 degrees of freedom instead of up to 2 (n − 1), which for
    3 seeds widens the interval more than a weak common part of the runs narrows it. If runs of one seed do err
    together, it is wider than need be.

    Raises ValueError for an unknown column or arm, and for a column without a number for every run.
    """
    check_one_of("column", column, [name for name in frame.columns if COLUMNS.get(name) in (int, float)])
    if frame[column].isna().any():
        raise ValueError(f"column must have a number for every run, which {column!r} has not")
    arms = {str(arm): rows for arm, rows in frame.groupby("arm", sort=False)}
    baseline = next(iter(arms)) if baseline is None else baseline
    check_one_of("baseline", baseline, arms)
    theirs = arms[baseline][column]
    table = []
    for arm, rows in arms.items():
        values = rows[column]
        low, high = (np.nan, np.nan) if arm == baseline else welch_interval(values, theirs)
        row = ArmComparison(
            arm=arm,
            parameters=rows["parameters"].iloc[0],
            macs=rows["macs"].iloc[0],
            seeds=len(values),
            mean=values.mean(),
            sd=values.std(),
            difference=values.mean() - theirs.mean(),
            low=low,
            high=high,
            clear=min(len(values), len(theirs)) >= SMALLEST_SAMPLE and bool(low > 0 or high < 0),
        )
        table.append(row)
    return pd.DataFrame(table).set_index("arm")


def welch_interval(values: pd.Series, theirs: pd.Series) -> tuple[float, float]:
    """The 95 % interval of the difference of two means by Welch's t; NaN where one of them is of a single value."""
    if min(len(values), len(theirs)) < 2:
        return np.nan, np.nan
    with warnings.catch_warnings(action="ignore"):  # runs that are all equal have no spread to divide by
        interval = ttest_ind(values, theirs, equal_var=False).confidence_interval(0.95)
    return interval.low, interval.high
