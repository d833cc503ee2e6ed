"""What the tests of the exercises use: a student's own numbers, and comparisons that say what went wrong."""

import hashlib
import math


def draw(student: str, exercise: str, choices):
    """One of `choices`, always the same for one student and one exercise.

    student: any name. choices: a sequence that is not empty. Spaces around the name and capitals do not matter.
    """
    choices = list(choices)
    if not choices:
        raise ValueError("choices must not be empty")
    digest = hashlib.sha256(f"{exercise}\n{student.strip().lower()}".encode()).digest()
    return choices[int.from_bytes(digest[:8]) % len(choices)]


def expect(got, right, slips=None, *, what: str = "The answer", within: float = 1e-9) -> None:
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


def same(one, other, within: float = 1e-9) -> bool:
    """Whether two numbers, texts or sequences of them are equal, numbers up to a relative difference."""
    if isinstance(other, tuple | list):
        pairs_up = isinstance(one, tuple | list) and len(one) == len(other)
        return pairs_up and all(same(a, b, within) for a, b in zip(one, other, strict=True))
    if isinstance(other, str | bool) or other is None:
        return type(one) is type(other) and one == other
    try:
        return math.isclose(one, other, rel_tol=within, abs_tol=within)
    except TypeError:  # not a number
        return False
