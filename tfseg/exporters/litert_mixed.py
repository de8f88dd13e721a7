"""LiteRT files of the float32 one, by Google's quantizer: weights alone in int8, and int8 but where it costs too much.

Some operations bear int8 badly, such as the first of a network, whose rounding all others see. What each costs is found
by rounding it alone: the mean change of the probabilities on images of the training split. The dearest stay in floats,
with weights in float16, until few pixels change their class. One more in floats can make it worse, since errors can
cancel, so that nothing but this bar ends the search.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.exporters import litert
from tfseg.exporters.quantizer import (
    FLOAT16,
    FLOAT32,
    INT8,
    INT8_WEIGHTS,
    WITH_WEIGHTS,
    Operation,
    find_ranges,
    quantize,
    read_operations,
)
from tfseg.exporters.samples import spread
from tfseg.inference.runtimes.litert import LiteRT
from tfseg.io.atomic import write_json
from tfseg.io.json_reader import read_json
from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.io.progress import track

MIXED, WEIGHTS = "model_mixed.tflite", "model_int8_weights.tflite"
REPORT = "mixed_precision.json"
BAR = 0.0025  # share of pixels that may change their class
MEASURED, COMPARED = 2, 8  # how many images tell what an operation costs, and whether a file meets the bar
ANSWERS = ("SOFTMAX", "ARG_MAX")  # in floats always, as the answers of the other files are


@dataclass
class Group:
    """Operations that are all in int8 or all in floats."""

    operations: list[Operation]
    cost: float = math.nan
    """Mean absolute change of the probabilities where this alone is in int8."""


class Step(NamedTuple):
    """A file that was tried."""

    in_floats: int  # how many groups, of those that cost most
    other_class: float  # share of pixels that have another class than by the float32 file


def write_weights(content: bytes, size: tuple[int, int], directory: Path, pixels: PixelFormat = RGB) -> dict[str, str]:
    """Writes `WEIGHTS`, which computes in floats.

    Args:
        content: of the file in float32.
        size: (height, width) of the images that it takes.
        directory: folder, which is there.
        pixels: what the images are.

    Returns:
        File name -> what goes in and comes out.

    Raises:
        ValueError: the quantizer lacks an operation.
        OSError: the disk does not take it.
    """
    with _as_our_error("weight_only"):
        weighted = [operation for operation in read_operations(content) if operation.kind in WITH_WEIGHTS]
        made = quantize(content, {INT8_WEIGHTS: weighted})
    (directory / WEIGHTS).write_bytes(made)
    return {WEIGHTS: f"{litert.describe('float32', size, pixels)}; weights in int8"}


def write_mixed(
    content: bytes, size: tuple[int, int], images: Iterable[np.ndarray], directory: Path, pixels: PixelFormat = RGB
) -> dict[str, str]:
    """Writes `MIXED`, and in `REPORT` what each operation costs and what it computes in.

    Args:
        content, size, directory, pixels: as of `write_weights`.
        images: uint8 (height, width, channels) of that size, of the data that the network was trained on.

    Returns:
        File name -> what goes in and comes out.

    Raises:
        ValueError: there are no images, or the quantizer lacks an operation.
        OSError: the disk does not take it.
    """
    images = [*images]
    if not images:
        raise ValueError("LiteRT mixed is scaled by images of the training split, and there are none")
    with _as_our_error("mixed"):
        made, report = choose(content, images)
    (directory / MIXED).write_bytes(made)
    write_json(report, directory / REPORT)
    return {MIXED: f"{litert.describe('float32', size, pixels)}; {word(report)}"}


def choose(content: bytes, images: Sequence[np.ndarray]) -> tuple[bytes, dict]:
    """Finds few groups of operations that have to stay in floats; gives the file, and what was found."""
    ranges = find_ranges(content, images)
    shown = spread(images, COMPARED)
    groups = find_costs(content, ranges, group(read_operations(content)), spread(shown, MEASURED))
    tried = try_out(content, ranges, groups, shown)
    made = quantize(content, plan(groups, tried[-1].in_floats), ranges)
    return made, make_report(groups, tried)


def group(operations: Sequence[Operation]) -> list[Group]:
    """Groups operations: each with weights begins a group, and what follows without any belongs to it.

    So a file never rounds between a convolution in floats and the activation after it. What comes before all weights
    is a group as well; the answers, and what the quantizer lacks in int8, are in none.
    """
    groups: list[list[Operation]] = []
    group_of: dict[int, int] = {}  # tensor -> number of the group that gives it; -1: of the answers
    for operation in operations:
        before = [group_of[tensor] for tensor in operation.inputs if tensor in group_of]
        if operation.kind in ANSWERS or -1 in before:
            group_of |= dict.fromkeys(operation.outputs, -1)
            continue
        if operation.kind in WITH_WEIGHTS or not before:
            groups.append([])
            number = len(groups) - 1
        else:
            number = max(before)
        groups[number].extend([operation] if operation.has_int8 else [])
        group_of |= dict.fromkeys(operation.outputs, number)
    return [Group(members) for members in groups if members]


def find_costs(content: bytes, ranges: dict, groups: Iterable[Group], images: Sequence[np.ndarray]) -> list[Group]:
    """Sets what each group costs; gives them with the dearest first. Other arguments as of `quantize`."""
    expected = [found["probabilities"] for found in _compute(content, images)]
    for each in track(groups, desc="rounding one by one", unit="group"):
        alone = quantize(content, {INT8: each.operations}, ranges)
        each.cost = _find_change(alone, images, "probabilities", expected, lambda found, other: np.abs(found - other))
    return sorted(groups, key=lambda each: each.cost, reverse=True)


def try_out(content: bytes, ranges: dict, groups: Sequence[Group], images: Sequence[np.ndarray]) -> list[Step]:
    """Makes files with ever more groups in floats until one meets the bar. Other arguments as of `quantize`."""
    expected, tried = [found["classes"] for found in _compute(content, images)], []
    for count in track(grow(len(groups)), desc="choosing", unit="file"):
        made = quantize(content, plan(groups, count), ranges)
        tried.append(Step(count, _find_change(made, images, "classes", expected, np.not_equal)))
        if tried[-1].other_class <= BAR:
            break
    return tried


def grow(groups: int) -> list[int]:
    """Lists how many groups to keep in floats, one try after the other: a third more each time, up to all."""
    counts = [0]
    while counts[-1] < groups:
        counts.append(min(groups, counts[-1] + max(1, counts[-1] // 3)))
    return counts


def plan(groups: Sequence[Group], in_floats: int) -> dict[str, list[Operation]]:
    """What `quantize` is to do where so many of the first groups stay in floats."""
    kept, rounded = groups[:in_floats], groups[in_floats:]
    return {
        INT8: [operation for each in rounded for operation in each.operations],
        FLOAT16: [operation for each in kept for operation in each.operations if operation.kind in WITH_WEIGHTS],
    }


def make_report(groups: Sequence[Group], tried: Sequence[Step]) -> dict:
    """Makes the content of `REPORT`: what was tried, and each operation that can be in int8, the dearest first."""
    listed = []
    for number, each in enumerate(groups):
        for operation in each.operations:
            in_floats = FLOAT16 if operation.kind in WITH_WEIGHTS else FLOAT32
            precision = in_floats if number < tried[-1].in_floats else INT8
            names = {"operation": operation.kind, "name": operation.name.removesuffix(";")}
            listed.append({**names, "group": number, "cost": each.cost, "precision": precision})
    return {
        "other_class": tried[-1].other_class,
        "bar": BAR,
        "tried": [step._asdict() for step in tried],
        "operations": listed,
    }


def read_report(directory: Path) -> dict | None:
    """Reads `REPORT` of an export; None where it has none."""
    path = directory / REPORT
    return read_json(path) if path.is_file() else None


def word(report: dict) -> str:
    """Words how many operations are not in int8, of those that could be."""
    kept = sum(operation["precision"] != INT8 for operation in report["operations"])
    return f"{kept} of {len(report['operations'])} operations stay in floats, see {REPORT}"


def _compute(content: bytes, images: Sequence[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """What a file gives of each image, `classes` and `probabilities`: one after the other, to hold few of them."""
    model = LiteRT(Path("float32"), images[0].shape[-1], content)
    return (model.run(images=image[np.newaxis]) for image in images)


def _find_change(
    content: bytes, images: Sequence[np.ndarray], key: str, expected: Sequence[np.ndarray], measure: Callable
) -> float:
    """The mean of what is measured of answers, or 1, the largest there is, of a file that cannot be run.

    Such is one with scales that the runtime's kernels in int8 do not take.
    """
    try:
        pairs = zip(_compute(content, images), expected, strict=True)
        return float(np.mean([measure(found[key], other).mean() for found, other in pairs]))
    except (RuntimeError, ValueError):
        return 1.0


@contextlib.contextmanager
def _as_our_error(format: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of many kinds, all of its own
        raise ValueError(f"LiteRT {format}: {' '.join(str(error).split())[:500]}; leave out {format}") from error
