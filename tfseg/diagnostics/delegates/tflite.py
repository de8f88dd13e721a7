"""What a .tflite file computes: its operators with tensors, versions and options, read without TensorFlow."""

import functools
import json
import math
import struct
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tfseg.diagnostics.delegates.flatbuffer import Buffer, Damaged, Table
from tfseg.io.escaping import printable, shorten
from tfseg.io.regular_files import read_file

IDENTIFIER = b"TFL3"  # of the schema's version 3, the only one that LiteRT reads
MOST_RANK = 8  # that LiteRT's kernels take
MOST_BYTES = 1024  # of `Tensor.values`
INTEGERS = {"INT32": "i", "INT64": "q", "INT8": "b", "UINT8": "B"}
NUMBERS = {**INTEGERS, "INT16": "h", "FLOAT16": "e", "FLOAT32": "f"}
COMPILED = "edgetpu-custom-op"


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a model.

    Attributes:
        number: its place in the list of tensors.
        type: a name of the schema, such as "INT8".
        shape: as the file says, in which a side that is known only at run time is 1.
        dynamic: whether there is such a side.
        constant: whether the file holds its values.
        values: of a constant of whole numbers, the first up to 1,024 bytes of them; empty of others.
        scales, zero_points: of its quantization; empty: it has none.
        content: all bytes of a constant; empty also if they lie outside of the tables, as in files beyond 2 GB.
    """

    number: int
    type: str
    shape: tuple[int, ...]
    dynamic: bool
    constant: bool
    values: tuple[int, ...]
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    content: bytes | memoryview = b""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def is_zero(self) -> bool:
        """Whether all values of a constant are 0, or its quantization's zero point."""
        kind = NUMBERS.get(self.type)
        try:
            zero = struct.pack(f"<{kind}", (self.zero_points or (0,))[0]) if kind else b""
        except struct.error:  # it is none that the type can hold
            return False
        return len(self.content) == len(zero) * self.elements > 0 and self.content == zero * self.elements


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator of a model.

    Attributes:
        name: of the schema, such as "CONV_2D"; "CUSTOM NAME", or "OPERATOR 300" of one that is newer than the schema.
        version: of the operator.
        inputs: its tensors; None stands for one that is left out.
        outputs: likewise, without None.
        options: by the schema's name, those that matter to a delegate.
    """

    name: str
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: dict[str, Any]

    @property
    def known(self) -> bool:
        """Whether it is an operator of the schema."""
        return self.name in read_schema()["operators"]

    @property
    def runtime_inputs(self) -> list[Tensor]:
        """Inputs that are not constant."""
        return [tensor for tensor in self.inputs if tensor is not None and not tensor.constant]


@functools.cache
def read_schema() -> dict:
    """Reads schema.json, see there."""
    return json.loads(
        resources.files("tfseg.diagnostics.delegates").joinpath("schema.json").read_text(encoding="utf-8")
    )


def read_operators(path: Path) -> list[Operator]:
    """Reads the operators of a model in the order in which they run.

    Raises:
        ValueError: the file is no .tflite file, damaged, without operators, already compiled for the Edge TPU, or of
            several subgraphs, such as those of loops; in one line, with the path.
        OSError: it cannot be read.
    """
    data = read_file(path)
    name = printable(path)
    if data[4:8] != IDENTIFIER:
        raise ValueError(f"{name} is no .tflite file: expected TFL3 in bytes 4 to 7, got {data[4:8]!r}")
    try:
        operators = parse(Buffer(data))
    except Damaged as error:
        raise ValueError(f"{name} is cut short or damaged: {error}; export it again") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return operators


def parse(buffer: Buffer) -> list[Operator]:
    """Parses a model; raises `Damaged`, and ValueError as of `read_operators`."""
    model = buffer.root()
    subgraphs = model.tables(2)
    if len(subgraphs) != 1:
        raise ValueError(
            f"expected a model of one subgraph, got {len(subgraphs)}, such as several signatures or the bodies of IF "
            "and WHILE; export each on its own"
        )
    codes = [parse_code(table) for table in model.tables(1)]
    buffers = model.tables(4)
    graph = subgraphs[0]
    tensors = [parse_tensor(number, table, buffers) for number, table in enumerate(graph.tables(0))]
    operators = [parse_operator(table, codes, tensors) for table in graph.tables(3)]
    if not operators:
        raise ValueError("expected a model with operators, got none")
    if any(operator.name == f"CUSTOM {COMPILED}" for operator in operators):
        raise ValueError("is compiled for the Edge TPU already; give the file that it was made of")
    return operators


def parse_code(table: Table) -> tuple[str, int]:
    """Gives name and version of a kind of operator."""
    # The number was one byte at first; files say it in both places, and the larger counts.
    number = max(table.number(0, "b"), table.number(3, "i"))
    names = read_schema()["operators"]
    if number < 0:
        raise Damaged(f"it has an operator of number {number}")
    name = names[number] if number < len(names) else f"OPERATOR {number}"
    if name == "CUSTOM":
        name = f"CUSTOM {shorten(printable(table.text(1)))}"
    return name, table.number(2, "i", 1)


def parse_tensor(number: int, table: Table, buffers: list[Table]) -> Tensor:
    """Reads a tensor."""
    types = read_schema()["types"]
    code, place = table.number(1, "b"), table.number(2, "I")
    if not 0 <= code < len(types):
        raise Damaged(f"tensor {number} has a type of number {code}")
    shape = table.numbers(0, "i")
    if len(shape) > MOST_RANK or any(side < 0 for side in shape):
        raise Damaged(f"tensor {number} has the shape {shorten(shape)}")
    if place >= len(buffers):
        raise Damaged(f"tensor {number} lies in buffer {place} of {len(buffers)}")
    buffer, quantization = buffers[place], table.table(4)
    content = buffer.view(0)
    kind = INTEGERS.get(types[code], "")
    count = min(len(content), MOST_BYTES) // struct.calcsize(f"<{kind}") if kind else 0
    return Tensor(
        number,
        types[code],
        shape,
        dynamic=any(side < 0 for side in table.numbers(7, "i")),
        # Of a file beyond 2 GB, buffers lie after the tables: place and size instead of bytes.
        constant=len(content) > 0 or buffer.number(1, "Q") > 1 or bool(table.number(10, "I")),
        values=struct.unpack_from(f"<{count}{kind}", content) if count else (),
        scales=quantization.numbers(2, "f") if quantization else (),
        zero_points=quantization.numbers(3, "q") if quantization else (),
        content=content,
    )


def parse_operator(table: Table, codes: list[tuple[str, int]], tensors: list[Tensor]) -> Operator:
    """Reads an operator."""
    code = table.number(0, "I")
    if code >= len(codes):
        raise Damaged(f"an operator is of kind {code} of {len(codes)}")
    inputs, outputs = table.numbers(1, "i"), table.numbers(2, "i")
    if any(not -1 <= number < len(tensors) for number in inputs) or any(
        not 0 <= number < len(tensors) for number in outputs
    ):
        raise Damaged(f"{codes[code][0]} takes or makes a tensor beyond the {len(tensors)} that there are")
    name, version = codes[code]
    return Operator(
        name,
        version,
        tuple(tensors[number] if number >= 0 else None for number in inputs),
        tuple(tensors[number] for number in outputs),
        parse_options(name, table),
    )


def parse_options(name: str, table: Table) -> dict[str, Any]:
    """Reads the options of an operator; those that are left out have the schema's defaults."""
    form = read_schema()["options"].get(name)
    if form is None:
        return {}
    options = table.table(4) if table.number(3, "B") == form["union"] else None
    return {option: options.number(*place) if options else place[2] for option, place in form["fields"].items()}
