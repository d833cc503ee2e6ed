"""Checks of arguments, made before any work, and the errors that name what was wrong."""

import difflib
from collections.abc import Iterable
from numbers import Integral
from typing import Any


class DataError(ValueError):
    """A set of images is not there, not whole or not usable; the message says what to do."""

    def __init__(self, message: str):  # a DataLoader's worker hands it on at the end of a whole traceback
        super().__init__(message.rpartition(f"{__name__}.DataError: ")[2].rstrip())


class RunError(RuntimeError):
    """A training run cannot go on: what stopped it, and what is there to go on from."""


def closest(value: Any, names: Iterable[Any], *, most: int = 1) -> str:
    """The end of an error message that offers the names closest to a wrong one; "" where none is close."""
    known = {name.lower().replace("_", "-"): name for name in names if isinstance(name, str)}
    found = difflib.get_close_matches(str(value).lower().replace("_", "-"), known, n=most)
    return f"; did you mean {' or '.join(repr(known[key]) for key in found)}?" if found else ""


def check_one_of(name: str, value: Any, allowed: Iterable[Any]) -> None:
    """Raise ValueError, naming the argument, what is allowed and what is close, unless `value` is among `allowed`."""
    allowed = list(allowed)
    if value not in allowed:
        listed = ", ".join(map(repr, allowed))
        raise ValueError(f"{name} must be one of {listed}, got {value!r}{closest(value, allowed)}")


def check_whole(name: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """The value as an int, also where NumPy made it; ValueError, naming the argument, unless it is from low to high."""
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be a whole number {allowed}, got {value!r}")
    return int(value)
