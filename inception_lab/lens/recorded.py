"""The two tables of data/lens that notebook 09 reads, because they take too long to compute in it.

scales        the scale that each path prefers, see `scales`: networks of several seeds, trained and new
attributions  how well attributions find objects, see `scores`: one trained network, and the same shuffled
"""

import pandas as pd

from inception_lab.common import files


def read(name: str) -> pd.DataFrame:
    """A recorded table by its name, "scales" or "attributions"; ValueError where it has not been made."""
    path = files.recorded("lens", f"{name}.csv")
    if not path.is_file():
        raise ValueError(f"there is no {path}: `python scripts/record_lens.py` makes it")
    return pd.read_csv(path)
