"""What the published GoogLeNet answered to photographs is recorded, and read as tables."""

import numpy as np
import pytest

from inception_lab.common import files
from inception_lab.evaluation import recorded_answers


def test_the_records_are_of_the_same_photographs_and_agree_where_they_ask_the_same():
    kept = {path.stem for path in files.recorded("published-network").glob("*.npz")}
    names = sorted(kept - {"correlations"})  # these are of units, and no answers
    assert {"paths", "crops", "crops144", "sizes", "norms"} == set(names)
    plain = {"paths": "whole", "crops": "1", "sizes": "224"}
    answers = {name: recorded_answers(name) for name in names}
    first = answers["paths"].rank["whole"]
    for name, found in answers.items():
        rank, guess, loss = found
        assert rank.shape == guess.shape == loss.shape and rank.index.is_unique and rank.columns.is_unique
        assert rank.min().min() >= 1 and rank.max().max() <= 1000 and np.isfinite(loss.to_numpy(float)).all()
        count = min(len(rank), len(first))
        assert list(rank.index[:count]) == list(first.index[:count])
        if name in plain:
            assert (rank[plain[name]].iloc[:count] == first.iloc[:count]).mean() > 0.97


def test_what_was_not_recorded_is_told():
    with pytest.raises(ValueError, match=r"there is no .*nothing.npz: `python scripts/record_published.py` makes it"):
        recorded_answers("nothing")
