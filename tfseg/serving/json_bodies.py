"""Images in the JSON of other servers' clients, as base64 or as numbers, and class ids as JSON."""

import base64
import binascii
from typing import Any

import numpy as np

from tfseg.io.json_reader import parse_json
from tfseg.io.names import quote
from tfseg.serving.uploads import Refused

MOST_VALUES = 1_000_000  # of a body: an RGB image of 499x499, a list for each pixel; no other thread runs meanwhile
_CELLS = np.array([list(f"{id:3d},".encode()) for id in range(256)], np.uint8)


def parse_object(body: bytes) -> dict[str, Any]:
    """Parses a body that is one object.

    Raises:
        Refused: it is none, or has too many values.
    """
    try:
        found = parse_json(body, MOST_VALUES, check_integers=False)
    except ValueError as error:
        if "more than" in str(error):
            raise Refused(413, f"the JSON {error}; send images as files, or in binary form") from None
        reason = "has a number of thousands of digits" if str(error).startswith("Exceeds") else str(error)
        raise Refused(400, f"the JSON {reason}") from None
    if not isinstance(found, dict):
        raise Refused(400, f"expected a JSON object, got {name_kind(found)}")
    return found


def decode_base64(text: object, where: str) -> bytes:
    """Decodes standard base64; raises `Refused`, with the place in the JSON, for anything else."""
    if not isinstance(text, str):
        raise Refused(400, f"{where}: expected a string of base64, got {name_kind(text)}")
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise Refused(400, f"{where}: this is no base64 ({str(error)[:100]})") from None


def to_bytes(numbers: object, where: str) -> np.ndarray:
    """Makes uint8 of nested lists of whole numbers in 0..255; raises `Refused` for anything else."""
    wanted = f"{where}: expected whole numbers in 0..255, in nested lists of equal lengths"
    found = np.array(numbers, object)  # of references: else each number takes as much memory as the longest string
    kinds = {*map(type, found.ravel())}
    if others := sorted({_name_content(kind) for kind in kinds - {int}}):
        raise Refused(400, f"{wanted}, got {' and '.join(others)}")
    if not found.size:
        raise Refused(400, f"{wanted}, got none")
    try:
        values = found.astype(np.int64)
    except OverflowError:  # there is one of more than 64 bits
        values = found
    smallest, largest = values.min(), values.max()
    if smallest < 0 or largest > 255:
        raise Refused(400, f"{wanted}, got {quote(smallest if smallest < 0 else largest)}")
    return values.astype(np.uint8)


def _name_content(kind: type) -> str:
    """What stands where a whole number should; lists do where lengths differ."""
    named = {dict: "objects", list: "lists of several lengths or too deep", str: "strings", bool: "true or false"}
    return named.get(kind, "null" if kind is type(None) else "fractions")


def write_numbers(ids: np.ndarray) -> str:
    """Writes uint8 as nested lists of JSON: what `json.dumps` makes of them but for blanks, in a tenth of its time."""
    if ids.ndim > 1:
        return f"[{','.join(map(write_numbers, ids))}]"
    return f"[{_CELLS[ids].tobytes()[:-1].decode()}]"  # the last comma is left out


def name_kind(value: object) -> str:
    """What JSON calls a value."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
