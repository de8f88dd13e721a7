"""How a camera was held: the orientation in the EXIF data of an image, and turning by it.

Viewers turn an image upright by it, and so does `pictures.decode_picture`; programs that draw masks may or may not.
"""

import numpy as np

from tfseg.pictures import JPEG_SCAN, JPEG_SIGNATURE, PNG_SIGNATURE

UPRIGHT = 1
SIDEWAYS = 5  # from here to 8 height and width change places
_ORIENTATION = 0x0112  # the tag
_SHORT = 3  # its type
_HEAD = b"Exif\0\0"  # begins the segment of a JPEG
_APP1 = 0xE1


def read_orientation(data: bytes) -> int:
    """Reads the orientation of a PNG or JPEG file, 1 to 8; 1, upright, where it says none. Decodes nothing."""
    if data.startswith(PNG_SIGNATURE):
        tags = _png_tags(data)
    elif data.startswith(JPEG_SIGNATURE):
        tags = _jpeg_tags(data)
    else:
        return UPRIGHT
    orientation = _orientation(tags)
    return orientation if orientation in range(1, 9) else UPRIGHT


def turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turns (H, W, ...) pixels as they are stored upright."""
    swapped = (1, 0, *range(2, array.ndim))
    turned = {
        2: lambda: array[:, ::-1],
        3: lambda: array[::-1, ::-1],
        4: lambda: array[::-1],
        5: lambda: array.transpose(swapped),
        6: lambda: np.rot90(array, -1),
        7: lambda: array[::-1, ::-1].transpose(swapped),
        8: lambda: np.rot90(array),
    }
    return np.ascontiguousarray(turned[orientation]()) if orientation in turned else array


def turn_back(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turns (H, W, ...) pixels that `turn` made upright as they were stored."""
    return turn(array, {6: 8, 8: 6}.get(orientation, orientation))


def _png_tags(data: bytes) -> bytes:
    position = len(PNG_SIGNATURE)
    while position + 8 <= len(data):
        length, kind = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
        if kind in (b"IDAT", b"IEND"):
            break
        if kind == b"eXIf":
            return data[position + 8 : position + 8 + length]
        position += 12 + length
    return b""


def _jpeg_tags(data: bytes) -> bytes:
    position = len(JPEG_SIGNATURE)
    while position + 4 <= len(data) and data[position] == 0xFF:
        kind = data[position + 1]
        if kind == 0xFF:  # padding
            position += 1
            continue
        if kind == JPEG_SCAN:
            break
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4])
        if kind == _APP1 and data.startswith(_HEAD, position + 4):
            return data[position + 4 + len(_HEAD) : end]
        position = end
    return b""


def _orientation(tags: bytes) -> int:
    """Looks the orientation up in the first table of EXIF data: 12 bytes a tag, with its number, type and value."""
    order = {b"II": "little", b"MM": "big"}.get(tags[:2])
    if order is None:
        return UPRIGHT
    start = int.from_bytes(tags[4:8], order)
    table = tags[start + 2 : start + 2 + 12 * int.from_bytes(tags[start : start + 2], order)]
    for place in range(0, len(table) - 11, 12):
        tag, kind = (int.from_bytes(table[place + at : place + at + 2], order) for at in (0, 2))
        if (tag, kind) == (_ORIENTATION, _SHORT):
            return int.from_bytes(table[place + 8 : place + 10], order)
    return UPRIGHT
