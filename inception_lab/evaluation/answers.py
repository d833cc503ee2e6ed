"""What the published GoogLeNet answered to a thousand photographs in many settings, recorded: data/published-network.

answers = recorded_answers("paths")                        # each of its paths switched off in turn
wrong = answers.rank > 5                                   # one row per photograph, one column per setting
paired(wrong["whole"], wrong["inception_5b.five zero"])    # what the one setting gets wrong, and the other does not
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from inception_lab.common import files


class Answers(NamedTuple):
    """Three tables, each with one row per photograph (named by its class, a WordNet id) and one column per setting."""

    rank: pd.DataFrame  # of the right class, 1 for the most probable
    guess: pd.DataFrame  # the number of the most probable class
    loss: pd.DataFrame  # −log of the right class's probability


def recorded_answers(name: str) -> Answers:
    """The recorded answers to one question, see data/published-network/README.md.

    Where not all photographs have been asked yet, those that have are a random sample of them. Raises ValueError where
    there are none.
    """
    path = files.recorded("published-network", f"{name}.npz")
    if not path.is_file():
        raise ValueError(f"there is no {path}: `python scripts/record_published.py` makes it")
    with np.load(path) as arrays:
        index, columns = arrays["images"], arrays["settings"]
        return Answers(*(pd.DataFrame(arrays[table], index, columns) for table in Answers._fields))
