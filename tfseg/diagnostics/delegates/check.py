"""Which operators of a .tflite file would leave an accelerator, found without it.

Each delegate has a table beside this module: operators, the limits on each, by the names in `limits` and `shapes`, and
where they were published. What a table does not say, a delegate may still do: compilers and drivers leave out more.
"""

import functools
import json
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from tfseg.diagnostics.delegates import shapes  # noqa: F401  its limits are found by their names, too
from tfseg.diagnostics.delegates.limits import find_fault
from tfseg.diagnostics.delegates.partitions import keep, part
from tfseg.diagnostics.delegates.tflite import Operator, Tensor, read_operators

TARGETS = ("edgetpu", "nnapi", "coreml", "gpu", "hexagon")
OLDEST_API = 27  # of Android, the first with NNAPI


class Placed(NamedTuple):
    """An operator and where it runs."""

    operator: Operator
    reason: str | None
    """Why it runs on the processor; None: the accelerator takes it."""
    multiply_adds: int | None
    """Of one run; None: not counted, or not known."""


@dataclass(frozen=True)
class Report:
    """Where the operators of a model would run.

    Attributes:
        target: of `TARGETS`.
        placed: the operators, in the order in which they run.
        parts: how many parts of the graph run on the accelerator.
        api: of Android, that these operators want; None of another target.
        dynamic: how many tensors have a side that is known only at run time; they are judged with 1 in its place.
    """

    target: str
    placed: list[Placed]
    parts: int
    api: int | None
    dynamic: int

    @property
    def passes(self) -> bool:
        """Whether nothing leaves the accelerator."""
        return all(placed.reason is None for placed in self.placed)

    @property
    def kept(self) -> int:
        """How many operators stay."""
        return sum(placed.reason is None for placed in self.placed)

    def multiply_adds(self, kept: bool = False) -> int:
        """Those of all operators, or of those that stay; of convolutions and dense layers."""
        return sum(placed.multiply_adds or 0 for placed in self.placed if not kept or placed.reason is None)

    def rows(self) -> list[tuple[str, str, str]]:
        """Rows of a table, its head first: where operators run and why, their name, and how many they are."""
        counts: dict[tuple[str, str], int] = {}
        for operator, reason, _ in self.placed:
            key = f"leaves: {reason}" if reason else "stays", operator.name
            counts[key] = counts.get(key, 0) + 1
        # Those that leave come last, where a reader looks.
        ordered = sorted(counts.items(), key=lambda item: (item[0][0] != "stays", -item[1]))
        return [("where", "operator", "count"), *((*key, f"{count:,}") for key, count in ordered)]

    def lines(self) -> list[str]:
        """Words what the table does not say."""
        table = read_table(self.target)
        count, all_of_them = len(self.placed), self.multiply_adds()
        lines = [
            f"{table['title']}: {self.kept:,} of {count:,} operators stay, in {self.parts} "
            f"part{'' if self.parts == 1 else 's'} of the graph"
        ]
        if all_of_them:
            share = 100 * self.multiply_adds(kept=True) / all_of_them
            lines[0] += f", with {share:.1f} % of {all_of_them / 1e6:,.1f} million multiply-adds"
        if self.api:
            lines.append(f"the operators are known from Android API {self.api} on; types and options, from 30 on")
        if self.dynamic:
            lines.append(f"{self.dynamic:,} tensors have a dynamic shape, and are judged with 1 for what is not known")
        if not self.passes:
            lines.append(table["parts"]["words"])
        leaving = count - self.kept
        verdict = f"fails: {leaving:,} operator{' leaves' if leaving == 1 else 's leave'}" if leaving else "passes"
        return [*lines, *table["gaps"], verdict]

    def to_dict(self) -> dict:
        """Gives the same as JSON takes it."""
        return {
            "target": self.target,
            "passes": self.passes,
            "operators": [
                {
                    "operator": operator.name,
                    "version": operator.version,
                    "reason": reason,
                    "multiply_adds": multiply_adds,
                }
                for operator, reason, multiply_adds in self.placed
            ],
            "parts": self.parts,
            "api": self.api,
            "dynamic_tensors": self.dynamic,
            "sources": read_table(self.target)["sources"],
        }


@functools.cache
def read_table(target: str) -> dict:
    """Reads the table of a delegate.

    It holds its `title`; `sources`; `gaps`, what was not published or is not judged; `parts`, see `partitions.keep`;
    `float16_weights`, whether it takes weights of float16 as they are; `every`, limits on all operators; and
    `operators`, name -> limits, which take the place of those of the same name.
    """
    return json.loads(
        resources.files("tfseg.diagnostics.delegates").joinpath(f"{target}.json").read_text(encoding="utf-8")
    )


def check_delegate(path: Path, target: str) -> Report:
    """Places the operators of a model.

    Args:
        path: of a .tflite file.
        target: of `TARGETS`.

    Raises:
        ValueError: there is no such target; or the file is none that can be judged, see `tflite.read_operators`.
        OSError: it cannot be read.
    """
    if target not in TARGETS:
        raise ValueError(f"target: expected one of {', '.join(TARGETS)}, got {target!r}")
    return place(read_operators(path), target)


def place(operators: list[Operator], target: str) -> Report:
    """Places operators, in the order in which they run."""
    table = read_table(target)
    unpacked = find_unpacked(operators) if table.get("float16_weights") else {}
    computed = [operator for operator in operators if not any(made.number in unpacked for made in operator.outputs)]
    seen = [take_halves(operator, unpacked) for operator in computed]
    reasons = [judge(operator, table) for operator in seen]
    parts = keep(part(computed, [reason is None for reason in reasons]), table["parts"])
    kept = {number for numbers in parts for number in numbers}
    reasons = [
        reason or (None if number in kept else explain_part(parts, table)) for number, reason in enumerate(reasons)
    ]
    found = {id(operator): reason for operator, reason in zip(computed, reasons, strict=True)}
    for operator in operators:
        if id(operator) not in found:
            found[id(operator)] = explain_unpacking(operator, computed, found)
    limits = [table["operators"].get(operator.name, {}) for operator in operators if found[id(operator)] is None]
    return Report(
        target,
        [Placed(operator, found[id(operator)], count_multiply_adds(operator)) for operator in operators],
        len(parts),
        max((found.get("api", OLDEST_API) for found in limits), default=None) if target == "nnapi" else None,
        len({tensor.number for tensor in all_tensors(operators) if tensor.dynamic}),
    )


def judge(operator: Operator, table: dict) -> str | None:
    """Says why a delegate does not take an operator, by its table; None: it takes it."""
    name = operator.name
    if name.startswith("CUSTOM Flex"):
        return f"an operator of TensorFlow itself (Flex), which {table['title']} has none of"
    if name.startswith("CUSTOM "):
        return "a custom operator"
    if not operator.known:
        return "newer than the schema that is known here"
    if name not in table["operators"]:
        return f"not in the table of {table['title']}"
    if not operator.inputs or not operator.outputs:
        return "without inputs or outputs"
    limits = {key: value for key, value in table["operators"][name].items() if key != "api"}
    limits |= {key: value for key, value in table["every"].items() if key not in limits}
    # Types first: a user can mend those by another file of the same export.
    return find_fault(operator, dict(sorted(limits.items(), key=lambda item: "types" not in item[0])))


def find_unpacked(operators: list[Operator]) -> dict[int, Tensor]:
    """Finds weights of float16 that an operator makes float32: number of what it makes -> the weights."""
    return {
        operator.outputs[0].number: operator.inputs[0]
        for operator in operators
        if operator.name == "DEQUANTIZE"
        and len(operator.inputs) == len(operator.outputs) == 1
        and operator.inputs[0] is not None
        and operator.inputs[0].constant
        and operator.inputs[0].type == "FLOAT16"
    }


def take_halves(operator: Operator, unpacked: dict[int, Tensor]) -> Operator:
    """Gives an operator as one that takes weights of float16 sees it."""
    inputs = tuple(unpacked.get(tensor.number, tensor) if tensor is not None else None for tensor in operator.inputs)
    return Operator(operator.name, operator.version, inputs, operator.outputs, operator.options)


def explain_part(parts: list[list[int]], table: dict) -> str:
    """Words why an operator leaves that by itself could stay."""
    if table["parts"]["keep"] == "first":
        return "comes after one that leaves"
    return "in a part of the graph that is too small" if parts else "alone in its part of the graph"


def explain_unpacking(operator: Operator, computed: list[Operator], found: dict[int, str | None]) -> str | None:
    """Weights of float16 are made float32 on the processor if what takes them runs there."""
    made = operator.outputs[0].number
    for other in computed:
        if found[id(other)] and any(tensor is not None and tensor.number == made for tensor in other.inputs):
            return "makes weights for operators that leave"
    return None


def all_tensors(operators: list[Operator]) -> list[Tensor]:
    """Gives the tensors of operators, some of them several times."""
    return [tensor for operator in operators for tensor in (*operator.inputs, *operator.outputs) if tensor is not None]


def count_multiply_adds(operator: Operator) -> int | None:
    """Counts the multiply-adds of a convolution or a dense layer; None: it is neither, or shapes are dynamic."""
    inputs = [tensor for tensor in operator.inputs[:3] if tensor is not None]
    if len(inputs) < 2 or not operator.outputs or any(tensor.dynamic for tensor in (*inputs, operator.outputs[0])):
        return None
    weights, after = inputs[1], operator.outputs[0]
    if operator.name == "CONV_2D":  # weights: (out, height, width, in)
        return after.elements * math.prod(weights.shape[1:])
    if operator.name == "DEPTHWISE_CONV_2D":  # (1, height, width, out)
        return after.elements * math.prod(weights.shape[1:3])
    if operator.name == "FULLY_CONNECTED":  # (out, in)
        return after.elements * math.prod(weights.shape[-1:])
    if operator.name == "TRANSPOSE_CONV" and len(inputs) > 2:  # each of (out, height, width, in) once for each pixel
        return math.prod(inputs[2].shape[:-1]) * weights.elements
    return None
