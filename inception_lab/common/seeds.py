"""Random numbers that depend on a place in a run, and on nothing that was drawn before it."""

import hashlib
import random
from typing import Any

import numpy as np
import torch


def seed_of(*place: Any) -> int:
    """A number from 0 to 2⁶³ − 1 that is different for every place in every run."""
    return int.from_bytes(hashlib.blake2b(repr(place).encode(), digest_size=8).digest(), "big") >> 1


def seed_all(seed: int) -> None:
    """Start the random numbers of PyTorch, Python and NumPy anew."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
