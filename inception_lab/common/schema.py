"""Values of the types that annotations state: for a dataclass's own arguments, and for what was read from a file."""

import math
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from inception_lab.common.checks import check_one_of

T = TypeVar("T")
KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
KINDS |= {dict: "an object", list: "a list"}


def check_type(name: str, hint: Any, value: Any) -> Any:
    """The value if it is what the annotation says, else ValueError, naming it.

    hint: str, int, float, bool, dict or list; list[T]; T | None; a Literal; a dataclass, for a dict with its fields; or
    Annotated[T, low, high], for a finite number from low to high. A whole number may stand for a float, and NumPy's
    numbers for Python's.
    """
    value = value.item() if isinstance(value, np.generic) else value
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return from_dict(hint, value, name)
    if kind is Literal:
        check_one_of(name, value, parts)
        return value
    if kind in (Union, UnionType):
        return None if value is None else check_type(name, parts[0], value)
    kind, *limits = parts if kind is Annotated else (kind,)
    value = float(value) if kind is float and type(value) is int else value
    if type(value) is not kind or (limits and not math.isfinite(value)):
        raise ValueError(
            f"{name} must be {'a finite number' if limits and kind is float else KINDS[kind]}, got {value!r}"
        )
    if limits and not limits[0] <= value <= limits[1]:
        raise ValueError(f"{name} must be from {limits[0]} to {limits[1]}, got {value}")
    if kind is list and parts:
        return [check_type(f"{name}[{i}]", parts[0], part) for i, part in enumerate(value)]
    return value


def from_dict(cls: type[T], values: Any, name: str = "it") -> T:
    """A dataclass from a dict, such as JSON has it; keys that it does not have are passed over.

    Raises ValueError for a field that is missing or of another type, naming it.
    """
    check_type(name, dict, values)
    hints, known = get_type_hints(cls, include_extras=True), {}
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name in values:
            known[field.name] = check_type(field.name, hints[field.name], values[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{field.name} is missing")
    return cls(**known)


def yes_or_no(text: str) -> Any:
    """True or False for a word that says so, in any case, such as "yes", "off" or "0"; another text as it is."""
    word = text.strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    return False if word in ("false", "no", "off", "0") else text
