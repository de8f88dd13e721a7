"""How LiteRT parts a graph between a delegate and the processor.

The parts are those of `PartitionGraphIntoIndependentNodeSubsets` in tensorflow/lite/graph_info.cc: a part takes every
operator of its side whose inputs are there, in the order of the file, until none is left; then a part of the other
side begins. So neighbours in the file may be of different parts, and far ones of the same.
"""

from collections.abc import Sequence

from tfseg.diagnostics.delegates.tflite import Operator


def part(operators: Sequence[Operator], taken: Sequence[bool]) -> list[list[int]]:
    """Parts a graph.

    Args:
        operators: in the order in which they run.
        taken: of each, whether the delegate takes it.

    Returns:
        The delegate's parts in the order in which they run, each the places of its operators.
    """
    made = {tensor.number for operator in operators for tensor in operator.outputs}
    waiting, parts = list(range(len(operators))), []
    while waiting:
        chosen: list[int] = []
        grown = True
        while grown:
            grown, left = False, []
            for place in waiting:
                needed = (tensor.number for tensor in operators[place].inputs if tensor is not None)
                fits = not chosen or taken[place] == taken[chosen[0]]
                if fits and not any(number in made for number in needed):
                    chosen.append(place)
                    made -= {tensor.number for tensor in operators[place].outputs}
                    grown = True
                else:
                    left.append(place)
            waiting = left
        if not chosen:  # operators that wait for each other, as no converter writes them
            break
        if taken[chosen[0]]:
            parts.append(chosen)
    return parts


def keep(parts: Sequence[list[int]], rule: dict) -> list[list[int]]:
    """Gives the parts that a delegate keeps, in the order in which they run.

    Args:
        parts: see `part`.
        rule: of a table: keep, "first" or "largest"; most, parts, or None for all; least, operators of a part.
    """
    large = [numbers for numbers in parts if len(numbers) >= rule["least"]]
    if rule["keep"] == "largest":
        large = sorted(large, key=len, reverse=True)
    return sorted(large[: rule["most"]], key=parts.index)
