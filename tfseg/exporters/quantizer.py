"""What Google's litert-quantizer does: smaller numbers for some operations of a LiteRT file in float32."""

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from tfseg.exporters.quiet import keep_quiet
from tfseg.io.cores import count_cores
from tfseg.io.progress import track

WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
INT8, INT8_WEIGHTS, FLOAT16, FLOAT32 = "int8", "int8 weights", "float16", "float32"
AT_ONCE = 10  # images between two steps of the progress bar of the calibration
_ALL = "*"  # every operation that the quantizer knows
_RULES: dict[str, Callable] = {
    INT8: lambda rules, pattern: rules.add_static_config(pattern, _ALL, 8, 8),
    INT8_WEIGHTS: lambda rules, pattern: rules.add_weight_only_config(pattern, _ALL, 8),
    FLOAT16: lambda rules, pattern: rules.add_weight_only_config(pattern, _ALL, 16, algorithm_key="float_casting"),
}


class Operation(NamedTuple):
    """An operation of a file."""

    kind: str
    name: str  # by which the quantizer knows it: of all its outputs, with a semicolon behind each
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    has_int8: bool = True  # whether the quantizer has such in int8


def read_operations(content: bytes) -> list[Operation]:
    """Lists the operations of a file, in its order."""
    from ai_edge_litert import schema_py_generated as schema  # pyright: ignore[reportMissingImports]  an extra
    from litert_quantizer import recipe_manager  # pyright: ignore[reportMissingImports]  an extra
    from litert_quantizer.utils import tfl_flatbuffer_utils  # pyright: ignore[reportMissingImports]  an extra

    kinds = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    known, all_in_int8 = tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME, recipe_manager.RecipeManager()
    _RULES[INT8](all_in_int8, ".*")
    model = schema.ModelT.InitFromPackedBuf(content)
    graph, found = model.subgraphs[0], []
    for operation in graph.operators:
        code = model.operatorCodes[operation.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = "".join(f"{graph.tensors[output].name.decode()};" for output in operation.outputs)
        has_int8 = number in known and all_in_int8.get_quantization_configs(known[number], name)[0] != "no_quantize"
        inputs, outputs = tuple(map(int, operation.inputs)), tuple(map(int, operation.outputs))
        found.append(Operation(kinds[number], name, inputs, outputs, has_int8))
    return found


def find_ranges(content: bytes, images: Sequence[np.ndarray]) -> dict:
    """Finds between which numbers each tensor lies: a moving average over images, in which one outlier weighs little.

    Args:
        content: of the file in float32.
        images: uint8 (height, width, channels), of the size that it takes.
    """
    from litert_quantizer import calibrator  # pyright: ignore[reportMissingImports]  an extra

    quantizer, ranges = _open(content), {}
    _RULES[INT8](quantizer, ".*")
    with track(total=len(images), desc="calibrating", unit="image") as progress:
        for start in range(0, len(images), AT_ONCE):
            shown = [{"images": image[np.newaxis]} for image in images[start : start + AT_ONCE]]
            with _quiet():
                ranges = quantizer.calibrate(
                    {"serving_default": shown},
                    ranges,
                    num_threads=count_cores(),
                    mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,  # the same in a third of the time
                )
            progress.update(len(shown))
    return ranges


def quantize(content: bytes, numbers: Mapping[str, Collection[Operation]], ranges: dict | None = None) -> bytes:
    """Makes a file of which some operations compute by smaller numbers.

    Args:
        content: of the file in float32.
        numbers: `INT8`, `INT8_WEIGHTS` or `FLOAT16` -> the operations; what is not named stays as it is.
        ranges: see `find_ranges`; for int8.
    """
    if not any(numbers.values()):
        return content
    quantizer = _open(content)
    for kind, operations in numbers.items():
        if operations:
            _RULES[kind](quantizer, f"^(?:{'|'.join(re.escape(operation.name) for operation in operations)})$")
    with _quiet():
        made = quantizer.quantize(ranges, enable_progress_report=False, enable_progress_bar=False)
    return bytes(made.quantized_model)


def _open(content: bytes):
    from litert_quantizer import quantizer  # pyright: ignore[reportMissingImports]  an extra

    return quantizer.Quantizer(content)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides what the quantizer prints, and its advice."""
    with keep_quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning: Enabling `experimental_preserve_all_tensors`")
        yield
