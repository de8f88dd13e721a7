"""JSON files too large to be held at once -> what they hold, entry by entry, within bounds.

The annotations of a data set are one object with a few long lists (COCO), or one long list (Label Studio): a file of
gigabytes whose entries are small. Each entry is parsed by itself, by the rules of `json_reader`.
"""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tfseg.io.escaping import printable, shorten
from tfseg.io.json_reader import MOST_VALUES, make_decoder
from tfseg.io.names import quote
from tfseg.io.paths import is_local
from tfseg.io.regular_files import check_regular

MOST_FILE_BYTES = 8 * 2**30  # of a file; COCO's largest, of 118,000 images, has 0.5
MOST_ENTRY = 64 * 2**20  # letters of one entry
CHUNK = 2**20  # bytes that are read at a time
_BLANKS = " \t\n\r"
_AFTER = tuple(",]}:" + _BLANKS)  # what a value may be followed by
_WHOLE = 4 * CHUNK  # letters from which on the values of an entry are counted before it is parsed


class Entry(NamedTuple):
    """A part of a file."""

    key: str  # of the outermost object; "" in an outermost list
    index: int | None  # in the list that this key has, or in the outermost list; None: this is the whole value
    value: Any

    @property
    def place(self) -> str:
        """Names the entry for an error, such as annotations[12]."""
        return name_entry(self.key, self.index)


def name_entry(key: str, index: int | None) -> str:
    """Names an entry for an error: annotations[12], or entry 12 of an outermost list, counted from 0."""
    if index is None:
        return shorten(key)
    return f"{shorten(key)}[{index}]" if key else f"entry {index}"


def iterate_json(path: Path) -> Iterator[Entry]:
    """Reads a file of JSON whose outermost value is an object or a list.

    Args:
        path: of the file, in UTF-8.

    Yields:
        The values of an object in the order of the file; of those that are lists each element by itself, and an empty
        list as it is. Of an outermost list its elements.

    Raises:
        ValueError: it is no such file, is broken, has a key twice, or is larger than what is read; with the path, and
            with the entry that it happens in.
        OSError: it cannot be read.

    Example:
        >>> _ = Path("a.json").write_text('{"images": [{"id": 1}, {"id": 2}], "version": 3}')
        >>> [(entry.key, entry.index, entry.value) for entry in iterate_json(Path("a.json"))]
        [('images', 0, {'id': 1}), ('images', 1, {'id': 2}), ('version', None, 3)]
    """
    if is_local(path):
        check_regular(path)
    try:
        with path.open("rb") as file:
            yield from _Reader(file).read()
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from None


class _Reader:
    """The text of a file, of which no more is held than the entry that is being read."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.parser = make_decoder()
        self.text, self.place = "", 0
        self.read_bytes, self.ended = 0, False

    def read(self) -> Iterator[Entry]:
        first = self._look()
        if first == "[":
            yield from self._read_list("")
        elif first == "{":
            yield from self._read_object()
        else:
            raise ValueError(f"is no JSON of an object or a list, it begins with {quote(first)}")
        if after := self._look():
            raise ValueError(f"is no JSON: after its end stands {quote(after)}")

    def _read_object(self) -> Iterator[Entry]:
        keys: set[str] = set()
        self._expect("{")
        while self._look() != "}":
            if keys:
                self._expect(",")
            key = self._parse("a key")
            if not isinstance(key, str):
                raise ValueError(f"is no JSON: expected a key in quotes, got {quote(key)}")
            if key in keys:
                raise ValueError(f"has the key {quote(key)} twice")
            keys.add(key)
            self._expect(":")
            if self._look() == "[":
                yield from self._read_list(key)
            else:
                yield Entry(key, None, self._parse(name_entry(key, None)))
        self._expect("}")

    def _read_list(self, key: str) -> Iterator[Entry]:
        self._expect("[")
        index = 0
        while self._look() != "]":
            if index:
                self._expect(",")
            yield Entry(key, index, self._parse(name_entry(key, index)))
            index += 1
        self._expect("]")
        if not index and key:
            yield Entry(key, None, [])

    def _look(self) -> str:
        """The next letter that is no blank; "" at the end of the file."""
        while True:
            while self.place < len(self.text):
                if self.text[self.place] not in _BLANKS:
                    return self.text[self.place]
                self.place += 1
            if not self._grow(CHUNK):
                return ""

    def _expect(self, letter: str) -> None:
        found = self._look()
        if found != letter:
            raise ValueError(
                f"is no JSON: expected {letter} but got {quote(found) if found else 'the end of the file'}"
            )
        self.place += 1

    def _parse(self, name: str) -> Any:
        """Parses the next value, for which as much is read as it takes; `name` stands in errors."""
        self._look()
        while True:
            fault = ""
            try:
                value, end = self.parser.raw_decode(self.text, self.place)
            except RecursionError:
                raise ValueError(f"{name}: is nested too deep") from None
            except json.JSONDecodeError as error:
                fault = error.msg
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            else:
                # What ends the text may be half a number, as the 1 of 1.5 and of 1e+5.
                if self.ended or len(self.text) - end > 2 or self.text[end : end + 1] in _AFTER:
                    self.place = end
                    return value
            is_last = self.ended or not self._grow(max(CHUNK, len(self.text) - self.place), name)
            if is_last and fault:
                raise ValueError(f"{name}: is no JSON, or cut short: {shorten(fault)}")

    def _grow(self, count: int, name: str = "") -> bool:
        """Reads so many more bytes, and forgets what was parsed; False at the end of the file."""
        self.text, self.place = self.text[self.place :], 0
        if len(self.text) > MOST_ENTRY:
            raise ValueError(f"{name}: has more than {MOST_ENTRY:,} letters, which are not read, or is no JSON")
        data = self.file.read(count)
        self.ended = not data
        self.read_bytes += len(data)
        if self.read_bytes > MOST_FILE_BYTES:
            raise ValueError(f"has more than {MOST_FILE_BYTES:,} bytes, which are not read")
        try:
            self.text += self.decoder.decode(data, final=self.ended)
        except UnicodeDecodeError as error:
            raise ValueError(f"is no text in UTF-8: {error.reason}; save it as UTF-8") from None
        if len(self.text) > _WHOLE and name:  # up to one half of it may be of entries that follow
            marks = sum(self.text.count(mark) for mark in ",[{:")
            if marks > 2 * MOST_VALUES:
                raise ValueError(f"{name}: has more than {MOST_VALUES:,} values, which are not read, or is no JSON")
        return bool(data)
