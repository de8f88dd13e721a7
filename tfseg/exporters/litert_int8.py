"""int8 of a LiteRT file, by TensorFlow's quantizer, with ranges and biases of our own.

The range of each activation is the mean of its ranges on single images: one image out of the ordinary does not coarsen
the steps of all others, as it would if steps spanned the smallest and the largest number of all images.

Rounding shifts means, since many a channel has most of its values between the same two steps, and what one convolution
shifts all others see. So each convolution, the first one first, gets the bias by which its channels have the means on
images that they have in floats (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", section 4.2).
"""

import copy
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfseg.exporters.samples import spread
from tfseg.inference.runtimes.litert import make_interpreter, without_deprecation
from tfseg.io.progress import track

COMPARED = 4  # images by which biases are corrected
PASSES = 40  # how often they are computed at most, from the first convolution on
HELD = 64 * 2**20  # numbers of what convolutions give, that one pass may hold
BIASES = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "TRANSPOSE_CONV": 3}  # operation -> which input its bias is


class Convolution(NamedTuple):
    """One of a model."""

    position: int  # among its operations
    output: int  # a tensor, as the bias is
    bias: int  # -1: it has none
    size: int  # how many numbers it gives


def quantize(calibrated: bytes, images: Sequence[np.ndarray]) -> bytes:
    """Makes the content of a file in int8, which takes bytes and gives them.

    Args:
        calibrated: content of the file in float32, which has a range for each of its activations, as
            `tf.lite.TFLiteConverter` makes it for calibration alone. It takes `images`, float32 (1, height, width,
            channels) in 0..255.
        images: uint8 (height, width, channels), at least one.

    Raises:
        Exception: of many kinds, TensorFlow's own among them: the quantizer lacks an operation.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    ranged = set_ranges(calibrated, find_ranges(calibrated, images))
    content = mlir_quantize(ranged, input_data_type=tf.uint8, output_data_type=tf.uint8)
    return correct_biases(content, calibrated, spread(images, COMPARED))


def find_ranges(calibrated: bytes, images: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over images of the smallest and the largest number of each tensor: (tensors, 2), NaN of constants."""
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    total = 0
    for image in track(images, desc="calibrating", unit="image"):
        fed = {"images": image[np.newaxis].astype(np.float32)}
        with without_deprecation():
            total += read_ranges(Calibrator(calibrated).calibrate(lambda fed=fed: iter([fed])))
    return np.asarray(total / len(images))


def read_ranges(content: bytes) -> np.ndarray:
    """The range of each tensor, (tensors, 2)."""
    from tensorflow.lite.python import schema_py_generated as schema

    graph = schema.Model.GetRootAsModel(content, 0).Subgraphs(0)
    found = [graph.Tensors(index).Quantization() for index in range(graph.TensorsLength())]
    return np.array([(each.Min(0), each.Max(0)) if each and each.MinLength() else (np.nan, np.nan) for each in found])


def set_ranges(content: bytes, ranges: np.ndarray) -> bytes:
    """Gives tensors other ranges, but pixels 0..255: then their scale is 1, and what goes in are plain bytes."""
    model = _unpack(content)
    graph = model.subgraphs[0]
    for tensor, (smallest, largest) in zip(graph.tensors, ranges, strict=True):
        if not np.isnan(smallest):
            tensor.quantization.min, tensor.quantization.max = [float(smallest)], [float(largest)]
    for index in graph.inputs:
        graph.tensors[index].quantization.min, graph.tensors[index].quantization.max = [0.0], [255.0]
    return _pack(model)


def correct_biases(content: bytes, exact: bytes, images: Sequence[np.ndarray]) -> bytes:
    """Changes the biases of a file in int8 so that convolutions give the means that they give in floats.

    Args:
        content: of the file in int8. Of a convolution without a bias, nothing is changed.
        exact: of that in float32, which has the same convolutions.
        images: uint8 (height, width, channels), of the size that both take.
    """
    model, exact_model = _unpack(content), _unpack(exact)
    _part_biases(model)
    pairs = [*zip(_list_convolutions(model), _list_convolutions(exact_model), strict=True)]
    biased = [(ours, theirs) for ours, theirs in pairs if ours.bias >= 0]
    wanted = []
    for group in _split([theirs for _, theirs in biased]):
        wanted += find_means(exact_model, group, images)
    length = max(1, -(-len(biased) // PASSES))
    for start in track(range(0, len(biased), length), desc="correcting biases", unit="pass"):
        group = [ours for ours, _ in biased[start : start + length]]
        for convolution, mean, expected in zip(group, find_means(model, group, images), wanted[start:], strict=False):
            _add_to_bias(model, convolution.bias, expected - mean)
    return _pack(model)


def find_means(model, convolutions: Sequence[Convolution], images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The mean of each channel of what convolutions of a model give, over images; it computes no more than those."""
    graph, last = model.subgraphs[0], convolutions[-1]
    signatures, gives, operators = model.signatureDefs, graph.outputs, graph.operators
    model.signatureDefs, graph.outputs = None, [each.output for each in convolutions]
    graph.operators = operators[: last.position + 1]
    try:
        interpreter = make_interpreter(_pack(model), own_kernels=True)
    finally:
        model.signatureDefs, graph.outputs, graph.operators = signatures, gives, operators
    interpreter.allocate_tensors()
    (taken,), given = interpreter.get_input_details(), interpreter.get_output_details()
    sums = [np.zeros(detail["shape"][-1]) for detail in given]
    for image in images:
        interpreter.set_tensor(taken["index"], image[np.newaxis].astype(taken["dtype"]))
        interpreter.invoke()
        for total, detail in zip(sums, given, strict=True):
            values = interpreter.get_tensor(detail["index"])
            scale, zero_point = detail["quantization"]  # 0 and 0 of floats
            total += (scale or 1) * (values.mean(axis=(0, 1, 2), dtype=np.float64) - zero_point)
    return [total / len(images) for total in sums]


def _list_convolutions(model) -> Iterator[Convolution]:
    from tensorflow.lite.python import schema_py_generated as schema

    places = {getattr(schema.BuiltinOperator, kind): place for kind, place in BIASES.items()}
    graph = model.subgraphs[0]
    for position, operator in enumerate(graph.operators):
        code = model.operatorCodes[operator.opcodeIndex]
        place = places.get(max(code.builtinCode, code.deprecatedBuiltinCode))
        if place is not None:
            output, bias = operator.outputs[0], [*operator.inputs, -1][place]
            yield Convolution(position, output, bias, int(np.prod(graph.tensors[output].shape)))


def _part_biases(model) -> None:
    """Gives each convolution a bias of its own; those with the same numbers may share one in a file."""
    graph = model.subgraphs[0]
    readers = Counter(index for operator in graph.operators for index in operator.inputs)
    holders = Counter(tensor.buffer for tensor in graph.tensors)
    for convolution in _list_convolutions(model):
        bias, operator = convolution.bias, graph.operators[convolution.position]
        if bias < 0 or readers[bias] == holders[graph.tensors[bias].buffer] == 1:
            continue
        tensor = copy.deepcopy(graph.tensors[bias])
        model.buffers.append(copy.deepcopy(model.buffers[tensor.buffer]))
        tensor.buffer = len(model.buffers) - 1
        operator.inputs = [len(graph.tensors) if index == bias else index for index in operator.inputs]
        graph.tensors.append(tensor)


def _add_to_bias(model, index: int, numbers: np.ndarray) -> None:
    tensor = model.subgraphs[0].tensors[index]
    buffer, limits = model.buffers[tensor.buffer], np.iinfo(np.int32)
    steps = np.frombuffer(bytes(buffer.data), np.int32) + np.round(numbers / tensor.quantization.scale)
    buffer.data = np.frombuffer(np.clip(steps, limits.min, limits.max).astype(np.int32).tobytes(), np.uint8)


def _split(convolutions: Sequence[Convolution]) -> Iterator[list[Convolution]]:
    """Groups convolutions so that what each group gives is `HELD` numbers or little more."""
    totals = itertools.accumulate(each.size for each in convolutions)
    for _, group in itertools.groupby(zip(totals, convolutions, strict=True), key=lambda pair: pair[0] // HELD):
        yield [convolution for _, convolution in group]


def _unpack(content: bytes):
    from tensorflow.lite.python import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(content)


def _pack(model) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
