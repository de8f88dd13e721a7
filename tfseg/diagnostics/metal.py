"""Says which operations of a train step would leave the GPU of Apple Silicon, without a Mac.

    python -m tfseg.check_metal --config configs/cityscapes.yaml
    python -m tfseg.check_metal --config configs/cityscapes.yaml --accelerator.precision float32

Traces the very step that a training with the config runs: augmentation, network, loss, gradients, optimizer. By
TensorFlow's rule an operation runs on the GPU if a kernel for its types is registered there, else on the processor.
metal_kernels.json holds those of tensorflow-metal 1.2.0 with TensorFlow 2.18.1. Ends with 1 if an operation on
pictures or weights leaves the GPU, or more than 0.1 MB a step cross besides the batch. It looks into functions, such as
the branches of conditions, all of which count, and the bodies of loops, each of which counts once. Says nothing of
speed, nor of what a kernel computes. Takes every setting of a training; weights are random and those of classes are 1,
since nothing depends on them.
"""

import argparse
import collections
import contextlib
import dataclasses
import functools
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from tfseg.config.parse import parse_config
from tfseg.config.schema import Config
from tfseg.io import command

KERNELS = Path(__file__).parent / "metal_kernels.json"
LARGE = 4096  # elements of a tensor: no single number, nor a few a picture
LIMIT = 100_000  # bytes a step that may cross besides the batch
ANYWHERE = {"Const", "NoOp"}  # TensorFlow puts these where they are needed


class Crossing(NamedTuple):
    """A tensor that goes from one memory to the other."""

    tensor: str
    bytes: int | None  # None: its shape is not known before it is there
    to_gpu: bool


class Node(NamedTuple):
    """An operation, of the graph itself or of a function in it."""

    operation: object
    sources: list[list]  # of each input: the tensors that it can be, none of which is made by a call of a function


class Report(NamedTuple):
    """What a graph would do on Metal."""

    nodes: int
    left: list  # operations on the processor that have a large tensor
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
def read_kernels() -> dict:
    """Reads the table: operation -> kernels, {"types": attribute -> dtypes, "host": names of arguments}."""
    return json.loads(KERNELS.read_text(encoding="utf-8"))["kernels"]


def find_kernel(operation) -> dict | None:
    """Finds the kernel on Metal's GPU for an operation of a graph; None: it runs on the processor."""
    for kernel in read_kernels().get(operation.type, []):
        if all(operation.get_attr(name).name in allowed for name, allowed in kernel["types"].items()):
            return kernel
    return None


def memories(operation) -> tuple[list[bool], list[bool]]:
    """Of each input and each output of an operation, whether it lies in the GPU's memory."""
    kernel = find_kernel(operation)
    if kernel is None:
        return [False] * len(operation.inputs), [False] * len(operation.outputs)
    host = kernel.get("host", [])
    sides = []
    for arguments in (operation.op_def.input_arg, operation.op_def.output_arg):
        side = []
        for argument in arguments:
            count = 1
            if argument.number_attr:
                count = operation.get_attr(argument.number_attr)
            elif argument.type_list_attr:
                count = len(operation.get_attr(argument.type_list_attr))
            side += [argument.name not in host] * count
        sides.append(side)
    return tuple(sides)


def examine(graph) -> Report:
    """Places every operation of a graph; what is fed comes from the processor and is not counted."""
    nodes = walk(graph)
    where = {key_of(node.operation): memories(node.operation) for node in nodes}
    crossings, left = {}, []
    for operation, inputs in nodes:
        tensors = [*operation.inputs, *operation.outputs]
        placed = operation.type not in {*ANYWHERE, "Placeholder"} and not find_functions(operation)
        if placed and find_kernel(operation) is None and any(is_large(tensor) for tensor in tensors):
            left.append(operation)
        if operation.type == "Identity" and not operation.outputs[0].consumers():
            continue  # what the graph returns
        for place, tensor in ((place, tensor) for place, sources in enumerate(inputs) for tensor in sources):
            source = tensor.op
            if source.type in ANYWHERE or source.type == "Placeholder" or tensor.dtype.name in ("resource", "variant"):
                continue
            # What decides on a branch, or on another turn, is read by the processor.
            to_gpu = where[key_of(operation)][0][place] and not find_functions(operation)
            from_gpu = where[key_of(source)][1][tensor.value_index]
            if to_gpu != from_gpu:
                count = tensor.shape.num_elements()
                size = None if count is None else count * tensor.dtype.size
                key = (*key_of(source), tensor.value_index, to_gpu)
                crossings[key] = Crossing(f"{source.type} {tensor.dtype.name}", size, to_gpu)
    return Report(len(nodes), left, list(crossings.values()))


def walk(graph) -> list[Node]:
    """Lists the operations of a graph and of the functions that it calls, and those that they call.

    TensorFlow takes such calls apart and places each operation on its own, so that a function's arguments and results
    are nothing but other names for tensors. A function that is called twice is listed twice.
    """
    nodes, _ = _walk(graph, {}, [])
    return nodes


def _walk(graph, given: dict[str, list], outer: list) -> tuple[list[Node], list[list]]:
    """Lists operations, and what the graph returns.

    Args:
        graph: of the whole, or of a function.
        given: of a function: name of an argument -> the tensors that it can be.
        outer: the graphs that this one is called in, the innermost last.
    """
    nodes, known = [], dict(given)

    def find(tensor) -> list:
        return known.get(tensor.name, [tensor])

    for operation in graph.get_operations():
        functions = [find_graph(name, [*outer, graph]) for name in find_functions(operation)]
        if functions:
            inside, results, decides = _enter(operation, functions, find, [*outer, graph])
            nodes += [*inside, Node(operation, decides)]
            known |= {tensor.name: sources for tensor, sources in zip(operation.outputs, results, strict=True)}
        elif outer and operation.type == "Identity" and not operation.outputs[0].consumers():
            known[operation.outputs[0].name] = find(operation.inputs[0])  # what a function returns
        elif not (outer and operation.type == "Placeholder"):
            nodes.append(Node(operation, [find(tensor) for tensor in operation.inputs]))
    return nodes, [find(tensor) for tensor in getattr(graph, "outputs", [])]


def _enter(operation, functions: list, find, outer: list) -> tuple[list[Node], list[list], list[list]]:
    """Lists the operations of the functions that an operation calls; what it gives; and what decides on its way."""
    inputs = [find(tensor) for tensor in operation.inputs]
    count = len(functions[0].inputs)
    decides, passed = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    loops = operation.type in ("While", "StatelessWhile")
    if loops:  # what a turn gives comes to the next one
        _, turned = _walk(functions[-1], _name(functions[-1], passed), outer)
        passed = [[*first, *again] for first, again in zip(passed, turned, strict=True)]
    nodes, results = [], [[] for _ in operation.outputs]
    for function in functions:
        inside, given = _walk(function, _name(function, passed), outer)
        nodes += inside
        if loops and function is functions[0]:
            decides = given
        elif len(given) == len(results):
            results = [[*before, *more] for before, more in zip(results, given, strict=True)]
    return nodes, [passed[place] if loops else found for place, found in enumerate(results)], decides


def _name(function, passed: list[list]) -> dict[str, list]:
    return {tensor.name: sources for tensor, sources in zip(function.inputs, passed, strict=True)}


def find_functions(operation) -> list[str]:
    """The names of the functions that an operation calls, such as the branches of a condition."""
    attributes = operation.node_def.attr
    names = []
    for argument in sorted(attributes, key=lambda name: (name not in ("cond", "then_branch"), name)):
        value = attributes[argument]
        names += [value.func.name] * value.HasField("func") + [function.name for function in value.list.func]
    return names


def find_graph(name: str, graphs: list):
    """The graph of a function by its name, known to one of graphs that lie within each other, the innermost last."""
    return next(function.graph for graph in reversed(graphs) if (function := graph._get_function(name)) is not None)


def key_of(operation) -> tuple[int, str]:
    """What tells an operation from others, of other functions as well."""
    return id(operation.graph), operation.name


def is_large(tensor) -> bool:
    """Whether a tensor has pictures or weights in it; one whose shape is not known may have."""
    if tensor.dtype.name in ("resource", "variant", "string"):
        return False
    count = tensor.shape.num_elements()
    return count is None or count >= LARGE


def source_line(operation) -> str:
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


def trace(learner, size: tuple[int, int], batch_size: int):
    """Traces the train step of a compiled learner for a batch as it comes on Metal."""
    import tensorflow as tf

    shape = (batch_size, *size)
    batch = {"image": tf.TensorSpec((*shape, 3), tf.int8), "mask": tf.TensorSpec(shape, tf.int8)}
    with as_on_metal():
        return tf.function(learner.train_step).get_concrete_function(batch).graph


def build(config: Config):
    """Builds the learner of a config as a training on Metal has it."""
    import keras

    from tfseg.device import Choice
    from tfseg.training.assembly import build_learner, count_classes

    precision = "mixed_bfloat16" if config.accelerator.precision == "auto" else config.accelerator.precision
    network, batches = {"tanh": precision != "float32", "cpu": False}, {"signed": True, "ahead": True}
    device = Choice("metal", precision, xla=False, network=network, batches=batches, reasons={})
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
    """Lines of what was found."""
    yield (
        f"{report.nodes:,} nodes; {report.bytes(False) / 1e6:.3f} MB a step from the GPU, "
        f"{report.bytes(True) / 1e6:.3f} MB to it, besides the batch"
    )
    groups = collections.defaultdict(list)
    for operation in report.left:
        types = sorted({tensor.dtype.name for tensor in [*operation.inputs, *operation.outputs]})
        groups[operation.type, ", ".join(types), source_line(operation)].append(operation)
    for (kind, types, line), operations in sorted(groups.items(), key=lambda item: -len(item[1])):
        yield f"leaves the GPU: {kind} ({types}), {len(operations)} times, made by {line}"
    sizes = collections.Counter()
    for crossing in report.crossings:
        sizes[crossing.tensor, crossing.to_gpu] += math.inf if crossing.bytes is None else crossing.bytes
    for (tensor, to_gpu), size in sizes.most_common(8):
        if size > LIMIT / 100:
            known = "of unknown size" if size == math.inf else f"{size / 1e6:.3f} MB"
            yield f"crosses: {tensor}, {known}, {'to' if to_gpu else 'from'} the GPU"
    yield "passes" if report.passes else f"fails: nothing large may leave the GPU, and {LIMIT / 1e6} MB may cross"


def main() -> None:
    """Checks the config that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", metavar="FILE.yaml", help="settings of a training; any of them can follow")
    options, settings = parser.parse_known_args()
    settings += ["--config", options.config] if options.config else []
    config = parse_config(["--run_dir", "none", *settings], program="python -m tfseg.check_metal")
    report = examine(trace(build(config), command.parse_size(config.data.size), config.train.batch_size))
    print("\n".join(describe(report)))
    sys.exit(0 if report.passes else 1)


if __name__ == "__main__":
    command.run(main)
