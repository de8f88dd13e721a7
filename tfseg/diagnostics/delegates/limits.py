"""The limits that the tables of delegates name: each says of an operator why a delegate does not take it, or None."""

from collections.abc import Callable, Sequence
from typing import Any

from tfseg.diagnostics.delegates.tflite import Operator, Tensor, read_schema

GROUPS = {"8-bit": ("INT8", "UINT8"), "float": ("FLOAT32", "FLOAT16")}
ACTIVATION = "fused_activation_function"
LIMITS: dict[str, Callable[[Operator, Any], str | None]] = {}


def limit(function: Callable) -> Callable:
    """Puts a limit under its name."""
    LIMITS[function.__name__] = function
    return function


def find_fault(operator: Operator, limits: dict) -> str | None:
    """Finds the first of some limits that an operator does not keep, and words it.

    Args:
        operator: of a model.
        limits: name of a limit -> its argument.
    """
    for name, argument in limits.items():
        if fault := LIMITS[name](operator, argument):
            return fault
    return None


def expand(types: Sequence[str] | str) -> tuple[str, ...]:
    """Gives the types that a group or a list of types and groups stands for."""
    names = [types] if isinstance(types, str) else types
    return tuple(kind for name in names for kind in GROUPS.get(name, (name,)))


def check_type(tensor: Tensor | None, types: Sequence[str] | str, what: str) -> str | None:
    """Words it if a tensor is of another type."""
    wanted = expand(types)
    if tensor is None or tensor.type in wanted:
        return None
    return f"{tensor.type.lower()} {what}; {either(wanted).lower()} is taken"


def either(names: Sequence) -> str:
    """Words a choice: a, b or c."""
    words = [*map(str, names)]
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def get(operator: Operator, place: int) -> Tensor | None:
    """An input; None: it is left out."""
    return operator.inputs[place] if place < len(operator.inputs) else None


@limit
def most_version(operator: Operator, most: int) -> str | None:
    if operator.version > most:
        return f"version {operator.version} of the operator; up to {most} is taken"
    return None


@limit
def least_version(operator: Operator, least: int) -> str | None:
    return f"version {operator.version} of the operator; {least} is taken" if operator.version < least else None


@limit
def runtime_types(operator: Operator, types: Sequence[str] | str) -> str | None:
    """Of inputs that are not constant, and of outputs."""
    faults = [check_type(tensor, types, "input") for tensor in operator.runtime_inputs]
    faults += [check_type(tensor, types, "output") for tensor in operator.outputs]
    return next(filter(None, faults), None)


@limit
def constant_types(operator: Operator, types: Sequence[str] | str) -> str | None:
    constants = [tensor for tensor in operator.inputs if tensor is not None and tensor.constant]
    return next(filter(None, (check_type(tensor, types, "constant") for tensor in constants)), None)


@limit
def input_types(operator: Operator, types: Sequence) -> str | None:
    """Of all inputs, one by one, and of how many there are."""
    if len(operator.inputs) != len(types):
        return f"{len(operator.inputs)} inputs; {len(types)} are taken"
    pairs = enumerate(zip(operator.inputs, types, strict=True))
    return next(filter(None, (check_type(tensor, kinds, f"input {place}") for place, (tensor, kinds) in pairs)), None)


@limit
def all_input_types(operator: Operator, types: Sequence[str] | str) -> str | None:
    return next(filter(None, (check_type(tensor, types, "input") for tensor in operator.inputs)), None)


@limit
def some_input_types(operator: Operator, types: dict) -> str | None:
    """Of inputs by their place."""
    faults = (check_type(get(operator, int(place)), kinds, f"input {place}") for place, kinds in types.items())
    return next(filter(None, faults), None)


@limit
def output_types(operator: Operator, types: Sequence[str] | str) -> str | None:
    return next(filter(None, (check_type(tensor, types, "output") for tensor in operator.outputs)), None)


@limit
def input_counts(operator: Operator, counts: Sequence[int]) -> str | None:
    if len(operator.inputs) not in counts:
        return f"{len(operator.inputs)} inputs; {either(counts)} are taken"
    return None


@limit
def runtime_input_counts(operator: Operator, counts: Sequence[int]) -> str | None:
    found = len(operator.runtime_inputs)
    if found not in counts:
        return f"{found} inputs that are not constant; {either(counts)} are taken"
    return None


@limit
def constant_inputs(operator: Operator, places: Sequence[int]) -> str | None:
    for place in places:
        tensor = get(operator, place)
        if tensor is not None and not tensor.constant:
            return f"input {place} is not constant"
    return None


@limit
def activations(operator: Operator, names: Sequence[str]) -> str | None:
    """Of fused activations."""
    known = read_schema()["activations"]
    number = operator.options.get(ACTIVATION, 0)
    name = known[number] if 0 <= number < len(known) else str(number)
    return None if name in names else f"fused {name}; {either(names)} is taken"


@limit
def options(operator: Operator, wanted: dict) -> str | None:
    """Of options that must have one of some values."""
    for name, values in wanted.items():
        if operator.options.get(name) not in values:
            return f"{name} is {operator.options.get(name)}; {either(values)} is taken"
    return None


@limit
def most_options(operator: Operator, most: dict) -> str | None:
    for name, value in most.items():
        if operator.options.get(name, 0) > value:
            return f"{name} is {operator.options[name]}; up to {value} is taken"
    return None


@limit
def type_pairs(operator: Operator, pairs: Sequence[Sequence[str]]) -> str | None:
    """Of CAST: from which type to which."""
    before, after = operator.inputs[0], operator.outputs[0]
    found = [before.type if before is not None else "", after.type]
    return None if found in [*map(list, pairs)] else f"from {found[0].lower()} to {found[1].lower()}"


@limit
def never(_operator: Operator, reason: str) -> str | None:
    return reason
