"""Which operations of a train step would leave the GPU of Apple Silicon, found without a Mac.

The very step that a training with a config runs is traced: augmentation, network, loss, gradients, optimizer. By
TensorFlow's rule an operation runs on the GPU if a kernel for its types is registered there, else on the processor.
metal_kernels.json holds those of tensorflow-metal 1.2.0 with TensorFlow 2.18.1; metal_plugin_kernels.json, which
tools/record_kernels.py writes, those that tensorflow-metal-plugin lists. Functions are looked into, such as the
branches of conditions, all of which count, and the bodies of loops, each of which counts once. Nothing is said of
speed, nor of what a kernel computes.
"""

import collections
import contextlib
import dataclasses
import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tfseg.config.schema import Config
from tfseg.diagnostics.graph_walk import find_functions, key_of, walk
from tfseg.io import command

if TYPE_CHECKING:
    import tensorflow as tf

    from tfseg.training.learner import Learner

APPLE = "tensorflow-metal"
KERNELS = {APPLE: "metal_kernels.json", "tensorflow-metal-plugin": "metal_plugin_kernels.json"}  # beside this module
PRECISIONS = {APPLE: "mixed_bfloat16", "tensorflow-metal-plugin": "float32"}  # that a training takes by itself
LARGE = 4096  # elements of a tensor: no single number, nor a few per image
LIMIT = 100_000  # bytes per step that may cross besides the batch
ANYWHERE = {"Const", "NoOp"}  # TensorFlow puts these where they are needed


class Crossing(NamedTuple):
    """A tensor that goes from one memory to the other."""

    tensor: str
    bytes: int | None  # None: its shape is not known before it is there
    to_gpu: bool


@dataclass(frozen=True)
class Report:
    """What a graph would do on Metal.

    Attributes:
        nodes: how many operations it has.
        left: operations on the processor that have a large tensor.
        crossings: tensors that go from one memory to the other, besides the batch.
    """

    nodes: int
    left: "list[tf.Operation]"
    crossings: list[Crossing]

    def bytes(self, to_gpu: bool) -> int:
        """Bytes that cross in a direction, where they are known."""
        return sum(crossing.bytes or 0 for crossing in self.crossings if crossing.to_gpu == to_gpu)

    @property
    def passes(self) -> bool:
        """Whether nothing large leaves the GPU and little crosses."""
        known = all(crossing.bytes is not None for crossing in self.crossings)
        return not self.left and known and self.bytes(True) + self.bytes(False) <= LIMIT


@functools.cache
def read_kernels(plugin: str) -> dict:
    """Reads a plugin's table: operation -> kernels, {"types": attribute -> dtypes, "host": names of arguments}."""
    text = resources.files("tfseg.diagnostics").joinpath(KERNELS[plugin]).read_text(encoding="utf-8")
    return json.loads(text)["kernels"]


def find_kernel(operation: "tf.Operation", plugin: str = APPLE) -> dict | None:
    """Finds the kernel that a plugin has for an operation of a graph; None: it runs on the processor."""
    for kernel in read_kernels(plugin).get(operation.type, []):
        if all(operation.get_attr(name).name in allowed for name, allowed in kernel["types"].items()):
            return kernel
    return None


def memories(operation: "tf.Operation", plugin: str = APPLE) -> tuple[list[bool], list[bool]]:
    """Says of each input and each output of an operation whether it lies in the GPU's memory."""
    kernel = find_kernel(operation, plugin)
    if kernel is None:
        return [False] * len(operation.inputs), [False] * len(operation.outputs)
    host = kernel.get("host", [])
    inputs, outputs = (
        [argument.name not in host for argument in arguments for _ in range(count_tensors(operation, argument))]
        for arguments in (operation.op_def.input_arg, operation.op_def.output_arg)
    )
    return inputs, outputs


def count_tensors(operation: "tf.Operation", argument) -> int:
    """Counts the tensors that an operation has for an argument of its definition."""
    if argument.number_attr:
        return operation.get_attr(argument.number_attr)
    return len(operation.get_attr(argument.type_list_attr)) if argument.type_list_attr else 1


def check_config(config: Config, plugin: str = APPLE) -> Report:
    """Checks the train step of a config; weights are random and those of classes are 1, since nothing depends on them.

    Args:
        config: settings of a training.
        plugin: one of `KERNELS`, by which TensorFlow has the GPU.

    Raises:
        ValueError: a setting is wrong, or cannot be had on Metal; or Keras runs on another backend than TensorFlow.
        OSError: the records that the config names cannot be read.
    """
    import keras  # here: --help answers without it

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            f"TensorFlow's graph is what is checked for Metal, but Keras runs on {backend}; set the environment "
            "variable KERAS_BACKEND=tensorflow"
        )
    learner = build(config, plugin)
    return examine(trace(learner, command.parse_size(config.data.size), config.train.batch_size), plugin)


def examine(graph: "tf.Graph", plugin: str = APPLE) -> Report:
    """Places every operation of a graph; what is fed comes from the processor and is not counted."""
    nodes = walk(graph)
    places = {key_of(node.operation): memories(node.operation, plugin) for node in nodes}
    crossings, left = {}, []
    for operation, inputs in nodes:
        if leaves(operation, plugin):
            left.append(operation)
        if operation.type == "Identity" and not operation.outputs[0].consumers():
            continue  # what the graph returns
        for index, tensor in ((index, tensor) for index, sources in enumerate(inputs) for tensor in sources):
            if not has_place(tensor):
                continue
            # What decides on a branch, or on another turn, is read by the processor.
            to_gpu = places[key_of(operation)][0][index] and not find_functions(operation)
            from_gpu = places[key_of(tensor.op)][1][tensor.value_index]
            if to_gpu != from_gpu:
                key = (*key_of(tensor.op), tensor.value_index, to_gpu)
                crossings[key] = Crossing(f"{tensor.op.type} {tensor.dtype.name}", count_bytes(tensor), to_gpu)
    return Report(len(nodes), left, list(crossings.values()))


def leaves(operation: "tf.Operation", plugin: str) -> bool:
    """Whether an operation with a large tensor runs on the processor."""
    placed = operation.type not in {*ANYWHERE, "Placeholder"} and not find_functions(operation)
    return (
        placed
        and find_kernel(operation, plugin) is None
        and any(map(is_large, [*operation.inputs, *operation.outputs]))
    )


def has_place(tensor: "tf.Tensor") -> bool:
    """Whether a tensor lies in one memory or the other, and not where it is needed."""
    fed = tensor.op.type in ANYWHERE or tensor.op.type == "Placeholder"
    return not fed and tensor.dtype.name not in ("resource", "variant")


def count_bytes(tensor: "tf.Tensor") -> int | None:
    """Counts the bytes of a tensor; None: its shape is not known before it is there."""
    count = tensor.shape.num_elements()
    return None if count is None else count * tensor.dtype.size


def is_large(tensor: "tf.Tensor") -> bool:
    """Whether a tensor has images or weights in it; one whose shape is not known may have."""
    if tensor.dtype.name in ("resource", "variant", "string"):
        return False
    count = tensor.shape.num_elements()
    return count is None or count >= LARGE


def source_line(operation: "tf.Operation") -> str:
    """Names the line of tfseg, or else of Keras, that made an operation."""
    frames = [frame for frame in operation.traceback if "tfseg" in Path(frame.filename).parts]
    frames = frames or [frame for frame in operation.traceback if "keras" in Path(frame.filename).parts]
    if not frames:
        return "?"
    path = Path(frames[-1].filename)
    package = max(place for place, name in enumerate(path.parts) if name in ("tfseg", "keras"))
    return f"{'/'.join(path.parts[package:])}:{frames[-1].lineno}"


@contextlib.contextmanager
def as_on_metal() -> Iterator[None]:
    """Leaves XLA out, which Metal has none of."""
    from tfseg import backend

    jit, backend.jit = backend.jit, lambda function: function
    try:
        yield
    finally:
        backend.jit = jit


def trace(learner: "Learner", size: tuple[int, int], batch_size: int) -> "tf.Graph":
    """Traces the train step of a compiled learner for a batch as it comes on Metal."""
    import tensorflow as tf

    shape = (batch_size, *size)
    channels = learner.network.input_shape[-1]
    batch = {"image": tf.TensorSpec((*shape, channels), tf.int8), "mask": tf.TensorSpec(shape, tf.int8)}
    with as_on_metal():
        return tf.function(learner.train_step).get_concrete_function(batch).graph


def build(config: Config, plugin: str = APPLE) -> "Learner":
    """Builds the learner of a config as a training on Metal has it."""
    import keras

    from tfseg.device import BatchOptions, Choice, NetworkOptions
    from tfseg.training.assembly import build_learner, count_classes

    precision = PRECISIONS[plugin] if config.accelerator.precision == "auto" else config.accelerator.precision
    fused = config.accelerator.fused
    network = NetworkOptions(tanh=precision != "float32", cpu=False, fused=fused)
    batches = BatchOptions(signed=True, ahead=True)
    device = Choice("metal", precision, xla=False, network=network, batches=batches, reasons={}, fused=fused)
    model, loss = dataclasses.replace(config.model, weights=None), dataclasses.replace(config.loss, class_weights=None)
    config = dataclasses.replace(config, model=model, loss=loss)
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(precision)
    try:
        learner = build_learner(config, device, steps=100, num_classes=count_classes(config))
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    return learner


def describe(report: Report) -> Iterator[str]:
    """Yields the lines of a report."""
    yield (
        f"{report.nodes:,} nodes; {report.bytes(False) / 1e6:.3f} MB per step from the GPU, "
        f"{report.bytes(True) / 1e6:.3f} MB to it, besides the batch"
    )
    groups = collections.defaultdict(list)
    for operation in report.left:
        types = sorted({tensor.dtype.name for tensor in [*operation.inputs, *operation.outputs]})
        groups[operation.type, ", ".join(types), source_line(operation)].append(operation)
    for (kind, types, line), operations in sorted(groups.items(), key=lambda item: -len(item[1])):
        yield f"leaves the GPU: {kind} ({types}), {len(operations)} times, made by {line}"
    sizes = collections.defaultdict(float)
    for crossing in report.crossings:
        sizes[crossing.tensor, crossing.to_gpu] += math.inf if crossing.bytes is None else crossing.bytes
    for (tensor, to_gpu), size in sorted(sizes.items(), key=lambda item: -item[1])[:8]:
        if size > LIMIT / 100:
            known = "of unknown size" if size == math.inf else f"{size / 1e6:.3f} MB"
            yield f"crosses: {tensor}, {known}, {'to' if to_gpu else 'from'} the GPU"
    yield "passes" if report.passes else f"fails: nothing large may leave the GPU, and {LIMIT / 1e6} MB may cross"
