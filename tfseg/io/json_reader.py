"""JSON files that strangers may have written: read within bounds, and only if they say one thing.

Python's own reader takes as much memory as a file asks for, dies of deep nesting, and lets the later of two equal keys
win without a warning.
"""

import json
from pathlib import Path
from typing import Any

from tfseg.io.escaping import printable, shorten
from tfseg.io.names import quote
from tfseg.io.regular_files import read_file, read_past

MOST_BYTES = 128 * 2**20  # of a file: a manifest of some 2.5 million images
MOST_RUN_BYTES = 64 * 2**20  # of a file of a run or a model; the scores of a split take some ten thousand
MOST_VALUES = 4_000_000  # in a file; each takes up to 120 bytes beside its text
MOST_DIGITS = 19  # of an integer of 64 bits


def read_json(path: Path, most: int = MOST_RUN_BYTES) -> Any:
    """Reads a file of JSON.

    Raises:
        ValueError: it is no regular file, has more bytes, or as of `parse_json`; in one line, with the path.
        OSError: it cannot be read.
    """
    data = read_file(path, most)
    try:
        return parse_json(data)
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from None


def read_bounded(path: Path, most: int = MOST_BYTES) -> bytes:
    """Reads a file that may have so many bytes.

    Raises:
        ValueError: it has more; the message leaves it to the caller to name the file.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = read_past(file, most)
    if len(data) > most:
        raise ValueError(f"has more than {most:,} bytes, which are not read")
    return data


def parse_json(data: bytes, most: int | None = None, check_integers: bool = True) -> Any:
    """Parses JSON, of at most so many values; 4,000,000 take up to some 500 MB beside their text.

    Args:
        data: the text, in UTF-8.
        most: values that it may have; None: `MOST_VALUES`.
        check_integers: whether to refuse integers of more than 64 bits, which takes three times as long where there are
            hundreds of thousands of them; Python itself refuses more than 4,300 digits.

    Raises:
        ValueError: it is broken or not in UTF-8, nested too deep, too large, has a key twice or an integer that is too
            long; the message leaves it to the caller to name the file.
    """
    most = MOST_VALUES if most is None else most
    if count_marks(data) > most:
        raise ValueError(f"has more than {most:,} values, which are not read")
    decoder = make_decoder() if check_integers else json.JSONDecoder(object_pairs_hook=_read_object)
    try:
        return decoder.decode(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"is no JSON: {shorten(error)}") from None


def count_marks(data: bytes) -> int:
    """Counts what stands between values of JSON: one a value at least, and nothing is parsed for it."""
    return sum(data.count(mark) for mark in (b",", b"[", b"{", b":"))


def make_decoder() -> json.JSONDecoder:
    """Makes what decodes text of JSON; it raises ValueError for a key twice and an integer of more than 64 bits."""
    return json.JSONDecoder(parse_int=_read_integer, object_pairs_hook=_read_object)


def _read_integer(text: str) -> int:
    if len(text.lstrip("-")) > MOST_DIGITS or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"has the number {quote(text)}, expected integers of 64 bits")
    return int(text)


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"has the key {quote(twice)} twice")
    return entries
