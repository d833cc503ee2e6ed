"""One rule for verdicts: paired by seed, corrected for their number, none below five seeds, and never "equal"."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from inception_lab.common.statistics import holm
from inception_lab.evaluation import compare, together, verdicts


def frame_of(**errors):
    """A frame with these validation errors, an arm a keyword; of None there is no run."""
    rows = [(a, s, 10, 20, e) for a, values in errors.items() for s, e in enumerate(values) if e is not None]
    return pd.DataFrame(rows, columns=["arm", "seed", "parameters", "macs", "val_top1_error"])


FIVE = frame_of(a=[4, 5, 6, 7, 8], b=[2.1, 2.4, 3.1, 3.3, 4.2], c=[4.4, 4.8, 6.1, 7.3, 7.9])


def test_points_are_paired_differences_with_student_s_interval():
    table = compare(FIVE, scale="points")
    a, b = (FIVE.loc[FIVE["arm"] == arm, "val_top1_error"].to_numpy() for arm in "ab")
    expected = ttest_rel(b, a)
    low, high = expected.confidence_interval(0.95)
    row = table.loc["b"]
    assert [row["difference"], row["low"], row["high"], row["p"]] == pytest.approx(
        [(b - a).mean(), low, high, expected.pvalue]
    )
    assert (row["mean"], row["seeds"], row["against"]) == (pytest.approx(b.mean()), 5, "a")
    assert np.isnan(table.loc["a", ["difference", "low", "high", "p", "p_corrected"]].astype(float)).all()
    assert list(table["clear"]) == [False, True, False] and list(table["macs"]) == [20] * 3


def test_a_ratio_is_compared_on_the_logarithm():
    table = compare(frame_of(a=[1, 2, 4, 8, 16], b=[2, 4, 8, 16, 33]))
    ratios = np.array([2, 2, 2, 2, 33 / 16])
    assert table.loc["b", "ratio"] == pytest.approx(np.exp(np.log(ratios).mean()))
    assert table.loc["b", "low"] < 2.02 < table.loc["b", "high"] and table.loc["b", "clear"]
    points = compare(frame_of(a=[1, 2, 4, 8, 16], b=[2, 4, 8, 16, 33]), scale="points")
    assert not points.loc["b", "clear"]  # the same runs, whose differences grow with the error
    swapped = compare(frame_of(a=[1, 2, 4, 8, 16], b=[2, 4, 8, 16, 33]), baseline="b").loc["a"]
    assert swapped["ratio"] == pytest.approx(1 / table.loc["b", "ratio"])
    assert swapped["p"] == pytest.approx(table.loc["b", "p"])


def test_p_is_corrected_by_holm():
    assert holm(np.array([0.03, 0.01, 0.02, 0.9])) == pytest.approx([0.06, 0.04, 0.06, 0.9])
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.5, 0.9])) == pytest.approx([1, 1]) and len(holm(np.array([]))) == 0
    table = compare(FIVE)
    assert table["p_corrected"]["b"] == pytest.approx(2 * table["p"]["b"])
    assert table["p_corrected"]["c"] == pytest.approx(table["p"]["c"])


def test_a_family_is_all_that_is_shown_together():
    one = compare(FIVE, baseline={"b": "a"})
    both = together({"first": one, "again": compare(FIVE, baseline={"c": "a"})})
    assert one["p_corrected"]["b"] == one["p"]["b"]
    assert both["p_corrected"]["first", "b"] == pytest.approx(2 * one["p"]["b"])
    assert 'again "c": ' in verdicts(both)


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_fewer_than_five_seeds_have_no_verdict_however_far_apart(seeds):
    table = compare(frame_of(a=[1.0, 1.1, 1.05, 1.2][:seeds], b=[60, 61, 62, 60.5][:seeds]))
    assert not table.loc["b", "clear"] and np.isnan(table.loc["b", "p_corrected"])
    assert f"no verdict from {seeds} seed" in verdicts(table)
    assert ("interval" in verdicts(table)) == (seeds > 1)


def test_what_has_no_verdict_does_not_count_in_the_family():
    table = compare(frame_of(a=[4, 5, 6, 7, 8], b=[2.1, 2.4, 3.1, 3.3, 4.2], c=[4.4, 4.8, 6.1, None, None]))
    assert table["p_corrected"]["b"] == table["p"]["b"] and np.isnan(table["p_corrected"]["c"])


def test_only_shared_seeds_are_compared():
    table = compare(frame_of(a=[1, 2, 3, None, 5, 6], b=[2, 4, 6, 8, 10, 12.1]))
    assert (table.loc["b", "seeds"], table.loc["b", "mean"]) == (5, pytest.approx(42.1 / 6))
    apart = compare(frame_of(a=[1, None], b=[None, 2]))
    assert apart.loc["b", "seeds"] == 0 and "no verdict from 0 seeds" in verdicts(apart)


def test_equal_runs_are_not_clear_and_a_constant_difference_is():
    table = compare(frame_of(a=[1, 2, 3, 4, 5], b=[1, 2, 3, 4, 5], c=[2, 3, 4, 5, 6]), scale="points")
    assert list(table["p"][1:]) == [1, 0] and list(table["clear"]) == [False, False, True]
    assert list(table.loc["c", ["difference", "low", "high"]]) == [1, 1, 1]


def test_words_give_a_bound_and_never_say_equal():
    told = verdicts(compare(FIVE))
    assert told.splitlines()[0].startswith('"b": 0.50 times "a", 95 % interval 0.4')
    assert re.search(r", corrected p (= 0\.\d+|< 0\.001): clear$", told.splitlines()[0])
    assert re.search(r", corrected p = [\d.]+: not clear$", told.splitlines()[1])
    assert 'points from "a", 95 % interval -' in verdicts(compare(FIVE, scale="points"))
    assert not any(word in told for word in ("equal", "same", "as good"))


def test_wrong_arguments_are_named():
    for options, message in [
        ({"column": "arm"}, "column must be one of 'seed'"),
        ({"baseline": "d"}, "baseline must be one of 'a', 'b', 'c', got 'd'"),
        ({"baseline": {"b": "d"}}, "baseline must be one of 'a', 'b', 'c', got 'd'"),
        ({"scale": "log"}, "scale must be one of 'ratio', 'points', got 'log'"),
    ]:
        with pytest.raises(ValueError, match=message):
            compare(FIVE, **options)
    with pytest.raises(ValueError, match='scale must be "points" where a number is not above 0, as 0 in'):
        compare(frame_of(a=[1, 2], b=[0, 1]))
    with pytest.raises(ValueError, match="a number for every run, which 'val_top1_error' has not"):
        compare(frame_of(a=[1, 2], b=[np.nan, 1]))
