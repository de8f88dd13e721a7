"""LiteRT files of the float32 one, by Google's quantizer: weights alone in int8, and int8 but where it costs too much.

Some operations bear int8 badly, such as the first of a network, whose rounding all others see. What each costs is found
by rounding it alone: the mean change of the probabilities on images of the training split. The dearest stay in floats,
with weights in float16, until few pixels change their class.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.exporters import litert
from tfseg.inference.runtimes.litert import LiteRT
from tfseg.io.atomic import write_json
from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.io.progress import track

MIXED, WEIGHTS = "model_mixed.tflite", "model_int8_weights.tflite"
REPORT = "mixed_precision.json"
BAR = 0.005  # share of pixels that may change their class
CALIBRATION, MEASURED = 20, 4  # how many images scale activations, and how many tell what an operation costs
WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
_ALL = "*"  # every operation that the quantizer knows
ANSWERS = ("SOFTMAX", "ARG_MAX")  # in floats always, as the answers of the other files are


class Operation(NamedTuple):
    """An operation of a file."""

    kind: str
    name: str  # of its first output, by which the quantizer knows it
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


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
        made = _quantize(content, None, [lambda rules: rules.add_weight_only_config(".*", _ALL, 8)])
    (directory / WEIGHTS).write_bytes(made)
    return {WEIGHTS: litert.describe("float32", size, pixels)}


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
        made, report = choose(content, _spread(images, CALIBRATION))
    (directory / MIXED).write_bytes(made)
    write_json(report, directory / REPORT)
    return {MIXED: litert.describe("float32", size, pixels)}


def choose(content: bytes, images: Sequence[np.ndarray]) -> tuple[bytes, dict]:
    """Finds the fewest groups of operations that have to stay in floats; gives the file, and what was found."""
    operations = read_operations(content)
    groups = group(operations)
    ranges = _find_ranges(content, images)
    few = _spread(images, MEASURED)
    expected = _compute(content, few)
    costs = []
    for members in track(groups, desc="rounding one by one", unit="operation"):
        alone = _quantize(content, ranges, [_in_int8(operations[place]) for place in members])
        costs.append(_find_change(alone, few, lambda found: np.abs(found - expected)))
    order = sorted(range(len(groups)), key=lambda place: -costs[place])
    answers = [_in_floats(operation) for operation in operations if operation.kind in ANSWERS]
    answers.append(lambda rules: rules.update_quantization_recipe(".*", "OUTPUT", algorithm_key="no_quantize"))
    all_expected = _compute(content, images).argmax(axis=-1)
    count = 0
    while True:
        kept = [place for number in order[:count] for place in groups[number]]
        rules = [lambda rules: rules.add_static_config(".*", _ALL, 8, 8), *answers]
        made = _quantize(content, ranges, [*rules, *(_in_floats(operations[place]) for place in kept)])
        changed = _find_change(made, images, lambda found: found.argmax(axis=-1) != all_expected)
        if changed <= BAR or count == len(groups):
            break
        count = min(max(1, 2 * count), len(groups))
    report = {
        "other_class": changed,
        "bar": BAR,
        "images": len(images),
        "in_floats": count,
        "groups": [
            {
                "operations": [f"{operations[place].kind} {operations[place].name}" for place in groups[number]],
                "cost": costs[number],
                "precision": "float16" if rank < count else "int8",
            }
            for rank, number in enumerate(order)
        ],
    }
    return made, report


def read_operations(content: bytes) -> list[Operation]:
    """Lists the operations of a file, in its order."""
    from ai_edge_litert import schema_py_generated as schema  # pyright: ignore[reportMissingImports]  an extra

    kinds = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    model = schema.ModelT.InitFromPackedBuf(content)
    graph, found = model.subgraphs[0], []
    for operation in graph.operators:
        code = model.operatorCodes[operation.opcodeIndex]
        kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
        name = graph.tensors[operation.outputs[0]].name.decode()
        found.append(Operation(kind, name, tuple(map(int, operation.inputs)), tuple(map(int, operation.outputs))))
    return found


def group(operations: Sequence[Operation]) -> list[list[int]]:
    """Groups operations, by their places: each with weights begins one, and what follows without any belongs to it.

    So a file never rounds between a convolution in floats and the activation after it. What comes before all weights
    is a group as well; the answers are in none.
    """
    groups, group_of = [], {}
    for place, operation in enumerate(operations):
        if operation.kind in ANSWERS or any(group_of.get(tensor) == -1 for tensor in operation.inputs):
            group_of |= dict.fromkeys(operation.outputs, -1)
            continue
        before = [group_of[tensor] for tensor in operation.inputs if tensor in group_of]
        if operation.kind in WITH_WEIGHTS or not before:
            groups.append([])
            number = len(groups) - 1
        else:
            number = max(before)
        groups[number].append(place)
        group_of |= dict.fromkeys(operation.outputs, number)
    return groups


def _spread(images: Sequence[np.ndarray], count: int) -> Sequence[np.ndarray]:
    """So many of the images, at most, at even distances."""
    return images[:: max(len(images) // count, 1)][:count]


def _in_int8(operation: Operation):
    return lambda rules: rules.add_static_config(_pattern(operation), _ALL, 8, 8)


def _in_floats(operation: Operation):
    if operation.kind in WITH_WEIGHTS:
        return lambda rules: rules.add_weight_only_config(_pattern(operation), _ALL, 16, algorithm_key="float_casting")
    return lambda rules: rules.update_quantization_recipe(_pattern(operation), _ALL, algorithm_key="no_quantize")


def _pattern(operation: Operation) -> str:
    return f"^{re.escape(operation.name)};?$"


def _find_ranges(content: bytes, images: Sequence[np.ndarray]) -> dict:
    """The smallest and largest value of each tensor on images, as the quantizer has them."""
    with _quiet():
        quantizer = _open(content)
        quantizer.add_static_config(".*", _ALL, 8, 8)
        return quantizer.calibrate({"serving_default": [{"images": image[np.newaxis]} for image in images]})


def _quantize(content: bytes, ranges: dict | None, rules: Iterable) -> bytes:
    """Makes a file by rules, of which a later one counts more."""
    with _quiet():
        quantizer = _open(content)
        for rule in rules:
            rule(quantizer)
        made = quantizer.quantize(ranges, enable_progress_report=False, enable_progress_bar=False)
        return bytes(made.quantized_model)


def _open(content: bytes):
    from litert_quantizer import quantizer  # pyright: ignore[reportMissingImports]  an extra

    return quantizer.Quantizer(content)


def _compute(content: bytes, images: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities of images, float32 (B, H, W, C)."""
    return LiteRT(Path("float32"), images[0].shape[-1], content).network(np.stack(images))


def _find_change(content: bytes, images: Sequence[np.ndarray], measure: Callable) -> float:
    """The mean of what is measured of probabilities, or 1, the largest there is, of a file that cannot be run.

    Such is one with scales that the runtime's kernels in int8 do not take.
    """
    try:
        return float(np.mean(measure(_compute(content, images))))
    except (RuntimeError, ValueError):
        return 1.0


@contextlib.contextmanager
def _quiet():
    """Hides what the quantizer prints."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Warning: Enabling `experimental_preserve_all_tensors`")
        yield


@contextlib.contextmanager
def _as_our_error(format: str):
    try:
        yield
    except Exception as error:  # of many kinds, all of its own
        raise ValueError(f"LiteRT {format}: {' '.join(str(error).split())[:500]}; leave out {format}") from error
