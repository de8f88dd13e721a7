"""Checks of settings: errors that name the key, what was wanted and what was got."""

import json
import math

from tfseg.io.command import parse_size
from tfseg.io.escaping import shorten


def as_yaml(value: object) -> str:
    """A value as its user writes it, in one line."""
    return json.dumps(value, ensure_ascii=False, default=str)


def show(value: object) -> str:
    """What an error repeats of a value: as its user writes it, cut short, and fit for a terminal."""
    return shorten(as_yaml(value))


def check(correct: bool, key: str, got: object, wanted: str) -> None:
    if not correct:
        raise ValueError(f"{key}: expected {wanted}, got {show(got)}")


def check_size(key: str, text: str) -> None:
    try:
        parse_size(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def check_factors(key: str, factors: tuple[float, float]) -> None:
    ordered = len(factors) == 2 and 0 < factors[0] <= factors[1] < math.inf
    check(ordered, key, factors, "two numbers above 0, the lower one first")
