"""Checks of single settings, whose errors repeat a value as its user writes it."""

import json
import math
from numbers import Integral

from tfseg.io.command import parse_size
from tfseg.io.escaping import shorten

MOST = 2**32 - 1  # of what is counted, and of seeds


def as_yaml(value: object) -> str:
    """A value as its user writes it, in one line."""
    return json.dumps(value, ensure_ascii=False, default=str)


def show(value: object) -> str:
    """What an error repeats of a value: as its user writes it, cut short, and fit for a terminal."""
    return shorten(as_yaml(value))


def check(correct: bool, key: str, got: object, wanted: str) -> None:
    """Raises ValueError unless a setting, by its dotted key, is correct; it says what was got, and what is wanted."""
    if not correct:
        raise ValueError(f"{key}: expected {wanted}, got {show(got)}")


def check_count(key: str, number: object, least: int = 1, most: int = MOST) -> int:
    """Returns a whole number, NumPy's too, or raises ValueError unless it is one between two, both included."""
    whole = int(number) if isinstance(number, Integral) and not isinstance(number, bool) else None
    if whole is None or whole < least:
        raise ValueError(f"{key}: expected a whole number, {least} or more, got {number!r}")
    if whole > most:
        raise ValueError(f"{key}: expected a whole number, {most} at most, got {number!r}")
    return whole


def check_size(key: str, text: str) -> None:
    """Raises ValueError unless a setting is a size as HEIGHTxWIDTH."""
    try:
        parse_size(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def check_factors(key: str, factors: tuple[float, float]) -> None:
    """Raises ValueError unless a setting is a range of two factors above 0."""
    ordered = len(factors) == 2 and 0 < factors[0] <= factors[1] < math.inf
    check(ordered, key, factors, "two numbers above 0, the lower one first")
