"""What the tests of the exercises use: a student's own numbers, and comparisons that say what went wrong."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

Choice = TypeVar("Choice")


def draw(student: str, exercise: str, choices: Iterable[Choice]) -> Choice:
    """One of `choices`, always the same for one student and one exercise.

    student: any name. choices: a sequence that is not empty. Spaces around the name and capitals do not matter.
    """
    listed = list(choices)
    if not listed:
        raise ValueError("choices must not be empty")
    digest = hashlib.sha256(f"{exercise}\n{student.strip().lower()}".encode()).digest()
    return listed[int.from_bytes(digest[:8]) % len(listed)]


def expect(
    got: object,
    right: object,
    slips: Mapping[object, str] | None = None,
    *,
    what: str = "The answer",
    within: float = 1e-9,
) -> None:
    """Raise AssertionError, with the reason if it is known, unless `got` is `right`.

    got, right: a number, a text, or tuples of them. slips: a wrong value → the mistake that leads to it. what: how the
    message calls the answer. within: the relative difference that numbers may have.
    """
    if got is None or got is Ellipsis:
        raise AssertionError(f"{what} is not there yet.")
    if same(got, right, within):
        return
    for value, reason in (slips or {}).items():
        if same(got, value, within):
            raise AssertionError(f"{what} is {got}. {reason}")
    raise AssertionError(f"{what} is {got}, which is not right.")


def same(one: object, other: object, within: float = 1e-9) -> bool:
    """Whether two numbers, texts or sequences of them are equal, numbers up to a relative difference."""
    if isinstance(other, tuple | list):
        if not isinstance(one, tuple | list) or len(one) != len(other):
            return False
        return all(same(a, b, within) for a, b in zip(one, other, strict=True))
    if isinstance(other, str | bool) or other is None:
        return type(one) is type(other) and one == other
    try:
        return math.isclose(one, other, rel_tol=within, abs_tol=within)  # type: ignore[arg-type]  # that is the question
    except (TypeError, ValueError, OverflowError, RuntimeError):  # no number, several, or one too large for a float
        return False
