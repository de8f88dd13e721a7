"""The scores in metrics.json and scores-SPLIT.json, checked before they are shown: these files can be anybody's."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tfseg.io.escaping import printable, shorten
from tfseg.io.json_reader import read_json

MOST_CLASSES = 256
MEANS = ("mean_iou", "mean_f1", "mean_iou_with_void", "mean_f1_with_void")  # which all scores have
SHOWN = ("classes", "iou", "f1", "support", *MEANS)  # what a table of scores takes
_NUMBERS = ("pixel_accuracy", "calibration_error", "mean_boundary_iou", "batch_mean_iou_with_void")
_NUMBERS = (*MEANS, *_NUMBERS, "batch_mean_f1_with_void", "epoch")


def read_scores(path: Path, required: Iterable[str] = ()) -> dict:
    """Reads a file of scores, of which all that is shown has the right kind.

    Args:
        path: of the file.
        required: names that must be in it.

    Raises:
        ValueError: it holds something else, or a value of another kind; in one line, with the path.
        OSError: it cannot be read.
    """
    content = read_json(path)
    try:
        scores = check_scores(content)
        check_there(scores, required)
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from None
    return scores


def check_there(scores: dict, required: Iterable[str]) -> None:
    """Raises ValueError if scores lack one of some names."""
    if missing := sorted({*required} - scores.keys()):
        raise ValueError(f"has no {', '.join(missing)}")


def check_scores(scores: object) -> dict:
    """Gives scores back that can be shown.

    Raises:
        ValueError: they cannot; it names the key.
    """
    if not isinstance(scores, dict):
        raise ValueError(f"expected scores by their names, got {type(scores).__name__}")
    for key in ("split", "records"):
        _check(key not in scores or isinstance(scores[key], str), key, "text", scores)
    if "classes" in scores:
        _check_classes(scores)
    for key in _NUMBERS:
        _check(key not in scores or is_score(scores[key]), key, "a number or null", scores)
    _check(isinstance(scores.get("learn_void", False), bool), "learn_void", "true or false", scores)
    _check(_are_sizes(scores.get("resize", [])), "resize", "a list of [height, width]", scores)
    for key in ("device", "versions"):
        _check(_is_table(scores.get(key, {}), lambda value: isinstance(value, str)), key, "names with text", scores)
    _check_official(scores.get("official", {}))
    _check_validation(scores)
    return scores


def _check_classes(scores: dict) -> None:
    classes = scores["classes"]
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    _check(named and 0 < len(classes) <= MOST_CLASSES, "classes", f"1 to {MOST_CLASSES} names", scores)
    for key in ("iou", "f1", "support", "boundary_iou"):
        _check(
            key not in scores or _are_all(scores.get(key), len(classes), is_score),
            key,
            f"{len(classes)} numbers, one a class",
            scores,
        )
    counts = [count for count in scores.get("support", []) if count is None or not count >= 0 or math.isinf(count)]
    _check(not counts, "support", "numbers of pixels", scores)
    if "confusion_matrix" in scores:
        rows = scores["confusion_matrix"]
        whole = _are_all(rows, len(classes), lambda row: _are_all(row, len(classes), _is_count))
        _check(whole, "confusion_matrix", f"{len(classes)} rows of {len(classes)} whole numbers", scores)


def _check_official(official: object) -> None:
    """Checks the official score: means are numbers, and by class or category names with numbers."""
    if not isinstance(official, dict):
        raise ValueError(f"official: expected scores by their names, got {shorten(repr(official), 60)}")
    for kind in ("category", "class"):
        for column in ("iou", "iiou"):
            key = f"{kind}_{column}"
            if key in official:
                _check(_is_table(official[key], is_score), f"official.{key}", "names with numbers", {})
                _check(is_score(official.get(f"mean_{key}", "")), f"official.mean_{key}", "a number or null", {})
    for key in ("mean_category_iou", "mean_class_iou"):
        _check(is_score(official.get(key)), f"official.{key}", "a number or null", {})


def _check_validation(scores: dict) -> None:
    """Checks what a training says of the validation that chose its epoch, where it does."""
    validation = scores.get("validation", {"size": "", "mean_iou": None})
    wanted = "a size as text, and a mean_iou"
    whole = isinstance(validation, dict) and isinstance(validation.get("size"), str)
    _check(whole and is_score(validation.get("mean_iou", "")), "validation", wanted, scores)


def is_score(value: object) -> bool:
    """Whether a value is a number that Python can compute with, or null."""
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and (value != value or abs(value) < 2**63)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _are_all(values: object, count: int, fits: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and len(values) == count and all(map(fits, values))


def _are_sizes(sizes: object) -> bool:
    return isinstance(sizes, list) and all(
        _are_all(size, 2, lambda side: _is_count(side) and 0 < side < 2**20) for size in sizes
    )


def _is_table(entries: object, fits: Callable[[Any], bool]) -> bool:
    return isinstance(entries, dict) and len(entries) <= 10 * MOST_CLASSES and all(map(fits, entries.values()))


def _check(correct: bool, key: str, wanted: str, scores: dict) -> None:
    if not correct:
        got = f", got {shorten(repr(scores[key]), 60)}" if key in scores else ""
        raise ValueError(f"{key}: expected {wanted}{got}")
