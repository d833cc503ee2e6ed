"""What the runs of a study say: the mean of each arm, and whether it differs from a baseline's by more than chance.

One rule for every verdict of the course (deeper/does_the_mix_win states it for readers):

1. The scale is fixed before the runs are seen. What has a natural zero (an error, a loss, a time) is compared as a
   ratio, by its logarithm, as its spread between runs grows with its size; what may be negative (a gap between two
   errors) as a difference in points.
2. Runs of one seed share their images' order, and arms of one architecture their first weights: runs are paired.
3. p is corrected over all comparisons that are shown together (Holm).
4. A verdict takes at least 5 seeds. Below that there is none, however far apart the arms are.
5. What is not clear is told as a bound: how large the difference may still be. It is never called equal.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from inception_lab.common.checks import check_one_of
from inception_lab.common.statistics import LEVEL, SMALLEST_SAMPLE, holm

SCALES = ("ratio", "points")


@dataclass(frozen=True)
class ArmComparison:
    """One row of `compare`: an arm, and how a column of its runs differs from that of another arm's."""

    arm: str
    parameters: int
    macs: int
    mean: float  # this and the deviation: over all runs of the arm
    sd: float  # of single runs, with n − 1
    against: str  # the other arm; empty for what is only compared with
    seeds: int  # that both arms have; its own where it is not compared
    effect: float  # in the table `ratio` or `difference`: the mean over these seeds of arm : other or arm − other
    low: float  # this and `high`: its 95 % interval, for this row alone; NaN for a single seed
    high: float
    p: float  # of this row alone: how often equal arms would differ as much


def compare(
    frame: pd.DataFrame,
    column: str = "val_top1_error",
    baseline: str | dict[str, str] | None = None,
    scale: str = "ratio",
) -> pd.DataFrame:
    """Compare the arms of a study by the rule above: a DataFrame with one row per arm.

    frame: what `read_study` gives. column: what to compare. baseline: the arm that all others are compared with, by
    default the first; or a dictionary from each arm to the one that it is compared with. scale: "ratio" or "points".
    The columns are those of ArmComparison, with `ratio` (a geometric mean) or `difference` for its effect, then
    `p_corrected` (by Holm over the table) and `clear`: at least SMALLEST_SAMPLE seeds, and p_corrected below LEVEL.

    The interval and p are those of Student's t for paired values. A clear difference would most likely have the same
    sign with other seeds. It need not be large, nor be there with another recipe, budget or other validation images,
    which all runs share.

    Raises ValueError for an unknown column, arm or scale, for a column without a number for every run, and for a
    ratio of numbers that are not above 0.
    """
    check_one_of("column", column, list(frame.select_dtypes("number")))
    check_one_of("scale", scale, SCALES)
    if frame[column].isna().any():
        raise ValueError(f"column must have a number for every run, which {column!r} has not")
    if scale == "ratio" and (frame[column] <= 0).any():
        raise ValueError(
            f'scale must be "points" where a number is not above 0, as {frame[column].min():g} in {column!r}'
        )
    arms = {str(arm): rows.set_index("seed") for arm, rows in frame.groupby("arm", sort=False)}
    baseline = next(iter(arms)) if baseline is None else baseline
    others = baseline if isinstance(baseline, dict) else {arm: baseline for arm in arms if arm != baseline}
    for arm in [*others, *others.values(), *([baseline] if isinstance(baseline, str) else [])]:
        check_one_of("baseline", arm, arms)
    table = []
    for arm, rows in arms.items():
        values, other = rows[column], others.get(arm, "")
        theirs = arms[other][column] if other else values.iloc[:0]
        shared = values.index.intersection(theirs.index)
        effect, low, high, p = paired(values[shared].to_numpy(), theirs[shared].to_numpy(), scale)
        row = ArmComparison(
            arm=arm,
            parameters=rows["parameters"].iloc[0],
            macs=rows["macs"].iloc[0],
            mean=values.mean(),
            sd=values.std(),
            against=other,
            seeds=len(shared) if other else len(values),
            effect=effect,
            low=low,
            high=high,
            p=p,
        )
        table.append(row)
    name = "ratio" if scale == "ratio" else "difference"
    return with_verdict(pd.DataFrame(table).set_index("arm").rename(columns={"effect": name}))


def paired(values: np.ndarray, theirs: np.ndarray, scale: str) -> tuple[float, float, float, float]:
    """The mean ratio or difference of paired values, the ends of its 95 % interval, and p; NaN where it takes more."""
    differences = np.log(values) - np.log(theirs) if scale == "ratio" else values - theirs
    mean = float(differences.mean()) if len(differences) else np.nan
    low = high = p = np.nan
    if len(differences) > 1 and np.ptp(differences) == 0:  # no spread to divide by
        low, high, p = mean, mean, float(mean == 0)
    elif len(differences) > 1:
        test = ttest_1samp(differences, 0)
        interval, p = test.confidence_interval(0.95), float(test.pvalue)
        low, high = float(interval.low), float(interval.high)
    if scale == "ratio":
        mean, low, high = map(float, np.exp([mean, low, high]))
    return mean, low, high, p


def together(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of `compare` that are shown together, as one family of comparisons: name → table.

    The names become the first level of the index, and p_corrected and clear are of the whole family. A comparison
    without a verdict does not count in it.
    """
    return with_verdict(pd.concat(tables))


def with_verdict(table: pd.DataFrame) -> pd.DataFrame:
    """The table with p_corrected over its rows, NaN where there is no verdict, and clear: whether it is below LEVEL."""
    tested = ((table["seeds"] >= SMALLEST_SAMPLE) & table["p"].notna()).to_numpy()
    corrected = np.full(len(table), np.nan)
    corrected[tested] = holm(table["p"].to_numpy()[tested])
    return table.assign(p_corrected=corrected, clear=corrected < LEVEL)


def verdicts(table: pd.DataFrame) -> str:
    """A table of `compare` or `together` in words: one line per comparison, with its interval; none is called equal."""
    lines = []
    for name, row in table[table["against"] != ""].iterrows():
        if "difference" in row and not np.isnan(row["difference"]):
            effect, bound = f"{row['difference']:+.2f} points from", f"{row['low']:+.2f} to {row['high']:+.2f}"
        else:
            effect, bound = f"{row['ratio']:.2f} times", f"{row['low']:.2f} to {row['high']:.2f}"
        p = row["p_corrected"]
        verdict = f"corrected p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}: {'clear' if row['clear'] else 'not clear'}"
        if np.isnan(p):
            verdict = f"no verdict from {row['seeds']} seed{'s' if row['seeds'] != 1 else ''}"
        family, arm = name if isinstance(name, tuple) else ("", name)
        bound = "" if np.isnan(row["low"]) else f", 95 % interval {bound}"
        lines.append(f'{family} "{arm}": {effect} "{row["against"]}"{bound}, {verdict}'.strip())
    return "\n".join(lines)
