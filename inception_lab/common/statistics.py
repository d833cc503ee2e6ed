"""What every verdict of the course shares: see the rule in `evaluation.comparison`."""

import numpy as np

SMALLEST_SAMPLE = 5  # networks or seeds, below which there is no verdict
LEVEL = 0.05  # of p, corrected


def holm(p: np.ndarray) -> np.ndarray:
    """p of n tests, corrected for their number (Holm 1979): the smallest times n, the next times n − 1, … ."""
    order, corrected = np.argsort(p), np.empty(len(p))
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return corrected
