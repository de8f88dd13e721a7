"""The pickles in files of PyTorch, read without running anything: numbers, texts, lists, dicts and tensors.

A pickle is a program, and Python's own reader runs it: one that strangers wrote can call any function. Here its
instructions are followed one by one, those alone that PyTorch needs for a dict of tensors, and no name that it asks for
is ever imported. A tensor is only described: which storage, and which numbers of it.
"""

import io
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

from tfseg.io.escaping import shorten

MOST_STEPS = 4_000_000  # of a pickle, each of which makes up to some 200 bytes; a dict of a tensor takes about 40
MOST_DIMENSIONS = 64  # of a tensor, as in PyTorch
MOST_KEY = 2**31  # integers that are keys of dicts lie below, and so do not collide

DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_STORAGES = {f"torch {name}" for name in DTYPES}
_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_KNOWN = {_DICT, _TENSOR, _PARAMETER, *_STORAGES}


class Storage(NamedTuple):
    """Numbers in a row, kept elsewhere in the file."""

    key: str
    dtype: str  # one of the values of `DTYPES`
    count: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count numbers, not bytes, and nothing is checked yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Name(NamedTuple):
    """A known name that a pickle asks for; nothing stands behind it."""

    text: str


def follow_pickle(file: io.BytesIO, storages: dict[str, Storage] | None = None) -> Any:
    """Follows the pickle that begins where a file stands, and leaves the file behind its end.

    Args:
        file: that holds it.
        storages: where all that it names are put, by their keys.

    Returns:
        What it makes: None, bool, int, float, str, bytes, tuple, list, dict, `Storage`, `Tensor` and `Name`, nested in
        any way. A list or dict may hold itself.

    Raises:
        ValueError: it is broken or too long, or asks for anything that makes no tensor; the message leaves it to the
            caller to name the file.
    """
    machine = _Machine({} if storages is None else storages)
    try:
        for _ in range(MOST_STEPS):
            opcode = _OPCODES[file.read(1).decode("latin-1")]
            if opcode.name == "STOP":
                return machine.stack.pop()
            if opcode.name not in _STEPS:
                raise _Refused(f"has the instruction {opcode.name} in its pickle, which no dict of tensors needs")
            _STEPS[opcode.name](machine, _read_argument(file, opcode))
        raise _Refused(f"has a pickle of more than {MOST_STEPS:,} steps, which is not read")
    except _Refused:
        raise
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise ValueError(f"has a broken pickle ({shorten(error)})") from None


def _read_argument(file: io.BytesIO, opcode: pickletools.OpcodeInfo) -> Any:
    if opcode.name == "GLOBAL":  # of which pickletools warns, where a name has backslashes
        module, name = (file.readline().removesuffix(b"\n").decode("utf-8", "backslashreplace") for _ in range(2))
        return f"{module} {name}"
    return opcode.arg.reader(file) if opcode.arg else None


class _Refused(ValueError):
    """What a pickle is refused for, in words for its user."""


class _Machine:
    """The stack of a pickle, those that marks set aside, and what it remembers by number."""

    def __init__(self, storages: dict[str, Storage]):
        self.storages = storages
        self.stack: list = []
        self.aside: list[list] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.aside.append(self.stack)
        self.stack = []

    def take_marked(self) -> list:
        """Takes what was pushed since the last mark."""
        items, self.stack = self.stack, self.aside.pop()
        return items

    def take(self, count: int) -> tuple:
        """Takes the last so many values, in the order in which they were pushed."""
        return tuple(reversed([self.stack.pop() for _ in range(count)]))

    def remember(self, number: int | None) -> None:
        self.memo[len(self.memo) if number is None else number] = self.stack[-1]

    def extend(self, items: list) -> None:
        top = self.stack[-1]
        if type(top) is not list:
            raise TypeError("appends to what is no list")
        top.extend(items)

    def set_items(self, items: list) -> None:
        top = self.stack[-1]
        if type(top) is not dict or len(items) % 2:
            raise TypeError("sets items of what is no dict")
        for key in items[::2]:
            # Hashes of nested tuples, and of integers that were chosen for it, take as long as their maker likes.
            if not (isinstance(key, str | None) or (isinstance(key, int) and -MOST_KEY <= key < MOST_KEY)):
                raise _Refused(f"has a dict in its pickle with a key of the kind {type(key).__name__}")
        top.update(zip(items[::2], items[1::2], strict=True))

    def ask(self, name: Any) -> None:
        if name not in _KNOWN:
            raise _Refused(
                f"asks for {shorten(str(name).replace(' ', '.'))} in its pickle, which is not run; only plain values "
                "and tensors are read: save the weights alone, with torch.save(model.state_dict(), PATH)"
            )
        self.push(Name(name))

    def ask_for_pair(self) -> None:
        module, name = self.take(2)
        if type(module) is not str or type(name) is not str:
            raise TypeError("asks for what is no name")
        self.ask(f"{module} {name}")

    def find_storage(self) -> None:
        key = self.stack.pop()
        if type(key) is not tuple or not (len(key) == 5 or (len(key) == 6 and key[5] is None)):
            raise TypeError("has a storage of an unknown kind")
        _, kind, name, _, count = key[:5]
        if type(kind) is not Name or kind.text not in _STORAGES or type(name) is not str or type(count) is not int:
            raise TypeError("has a storage of an unknown kind")
        storage = Storage(name, DTYPES[kind.text.partition(" ")[2]], count)
        if self.storages.setdefault(name, storage) != storage:
            raise TypeError("has two storages of one key")
        self.push(storage)

    def call(self) -> None:
        name, arguments = self.take(2)
        if type(name) is not Name or type(arguments) is not tuple:
            raise _Refused("calls what it did not ask for by name in its pickle, which is not run")
        if name.text == _DICT and not arguments:
            self.push({})
        elif name.text == _TENSOR and len(arguments) in (6, 7):
            self.push(_describe_tensor(*arguments[:4]))
        elif name.text == _PARAMETER and len(arguments) == 3 and type(arguments[0]) is Tensor:
            self.push(arguments[0])
        else:
            raise _Refused(f"calls {name.text.replace(' ', '.')} in its pickle as PyTorch does not")

    def pass_over_attributes(self) -> None:
        """Drops attributes of a dict: PyTorch keeps the version of each module in them."""
        self.stack.pop()
        if type(self.stack[-1]) is not dict:
            raise _Refused("sets attributes of what is no dict in its pickle")


def _describe_tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    known = type(storage) is Storage and type(shape) is type(strides) is tuple
    # A pickle can make a long tuple once, and then name it for each of a million tensors.
    if not known or max(len(shape), len(strides)) > MOST_DIMENSIONS:
        raise TypeError("has a tensor of an unknown kind")
    if any(type(number) is not int for number in (offset, *shape, *strides)):
        raise TypeError("has a tensor of an unknown kind")
    return Tensor(storage, offset, shape, strides)


def _take_tuple(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(machine.take(count))


def _push(value: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(value())


_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_VALUES = (
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
)
_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, _: None),
    **dict.fromkeys(_VALUES, _Machine.push),
    "NONE": _push(lambda: None),
    "NEWTRUE": _push(lambda: True),
    "NEWFALSE": _push(lambda: False),
    "EMPTY_DICT": _push(dict),
    "EMPTY_LIST": _push(list),
    "EMPTY_TUPLE": _push(tuple),
    "TUPLE1": _take_tuple(1),
    "TUPLE2": _take_tuple(2),
    "TUPLE3": _take_tuple(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.take_marked())),
    "MARK": lambda machine, _: machine.mark(),
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.take_marked(),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.take_marked()),
    "SETITEM": lambda machine, _: machine.set_items([*machine.take(2)]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.take_marked()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, number: machine.push(machine.memo[number])),
    "GLOBAL": _Machine.ask,
    "STACK_GLOBAL": lambda machine, _: machine.ask_for_pair(),
    "BINPERSID": lambda machine, _: machine.find_storage(),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.pass_over_attributes(),
}
