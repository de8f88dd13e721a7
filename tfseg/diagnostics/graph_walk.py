"""The operations of a TensorFlow graph and of the functions that it calls, as TensorFlow places them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import tensorflow as tf


class Node(NamedTuple):
    """An operation, of the graph itself or of a function in it.

    Attributes:
        operation: of TensorFlow.
        sources: of each input, the tensors that it can be; none of them is made by a call of a function.
    """

    operation: "tf.Operation"
    sources: "list[list[tf.Tensor]]"


def walk(graph: "tf.Graph") -> list[Node]:
    """Lists the operations of a graph and of the functions that it calls, and those that they call.

    TensorFlow takes such calls apart and places each operation on its own, so that a function's arguments and results
    are nothing but other names for tensors. A function that is called twice is listed twice.
    """
    nodes, _ = _walk(graph, {}, [])
    return nodes


def _walk(graph: "tf.Graph", given: Mapping[str, list], outer: list) -> tuple[list[Node], list[list]]:
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


def _enter(
    operation: "tf.Operation", functions: list, find: Callable, outer: list
) -> tuple[list[Node], list[list], list[list]]:
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


def find_functions(operation: "tf.Operation") -> list[str]:
    """Names the functions that an operation calls, such as the branches of a condition."""
    attributes = operation.node_def.attr
    names = []
    for argument in sorted(attributes, key=lambda name: (name not in ("cond", "then_branch"), name)):
        value = attributes[argument]
        names += [value.func.name] * value.HasField("func") + [function.name for function in value.list.func]
    return names


def find_graph(name: str, graphs: list):
    """Finds the graph of a function by its name in graphs that lie within each other, the innermost last."""
    return next(function.graph for graph in reversed(graphs) if (function := graph._get_function(name)) is not None)


def key_of(operation: "tf.Operation") -> tuple[int, str]:
    """Gives what sets an operation apart from others, of other functions as well."""
    return id(operation.graph), operation.name
