"""What PNG and JPEG files say before their pixels: sizes, kinds, orientation; and whether they are whole."""

import re
import zlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
DEFLATE_LIMIT = 1032  # bytes that one byte of PNG's compression can stand for
PNG_END = bytes.fromhex("0000000049454e44ae426082")  # the last chunk, the same in every file
JPEG_SIGNATURE = b"\xff\xd8"
JPEG_SCAN, JPEG_END, JPEG_APP1 = 0xDA, b"\xff\xd9", 0xE1
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # segments that hold the size; the three are tables
_BYTE_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}  # of a TIFF header
EXIF_HEADER = b"Exif\0\0"  # before a TIFF header, in a JPEG
ORIENTATION = 0x0112  # the tag
UPRIGHT = 1  # its value; from SIDEWAYS to 8, height and width change places
SIDEWAYS = 5
MOST_SCANS = 100  # of a progressive JPEG, which has about ten; each is a walk over all pixels, however few its bytes
MOST_CHUNKS = 20_000  # of a PNG: 160 MB in pieces of 8 KiB, as most writers cut them
MOST_SEGMENTS = 10_000  # of a JPEG before its pixels, and bytes of padding: 640 MB in segments of the largest size
MOST_PIXELS = 2**30  # that OpenCV decodes
MOST_SIDE = 100_000  # pixels; rows of few pixels take as long as others
JPEG_LIMIT = 1024  # pixels that one byte of a JPEG can stand for: a bit for a block of 64, and some
USUAL_SCANS, MOST_SCANNED = 20, 2**31  # pixels that may be gone through in more scans than programs write
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # the chunks that pixels come of
# What has a length, and the end. The others decoders skip: padding, restarts, and 0xFF of compressed pixels.
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
DAMAGED = "is cut short or damaged ({} bytes); copy it again"


class TooLarge(ValueError):
    """An image that would take too much to decode."""


class PngHead(NamedTuple):
    """What the chunks of a PNG say."""

    width: int
    height: int
    depth: int  # bits a channel
    color: str  # one of PNG_COLOR_TYPES
    plain: bool  # rows in order, no transparency, no orientation: nothing that a simple decoder would overlook
    transparency: bool  # whether a colour is transparent (tRNS)
    exif: int | None  # where the data of eXIf begin
    animated: bool  # whether there are more images (fdAT) than the one that is shown where they cannot move


def read_orientation(data: bytes) -> int:
    """Reads how a PNG or JPEG file is to be turned: the EXIF orientation, 1 to 8; 1 (as it is) if it has none.

    Raises:
        ValueError: the file is damaged before its pixels.
    """
    start = None
    if data.startswith(PNG_SIGNATURE):
        start = read_png_head(data).exif
    elif data.startswith(JPEG_SIGNATURE):
        segments = (place + 10 for kind, place in jpeg_segments(data) if _is_exif(data, kind, place))
        start = next(segments, None)
    return UPRIGHT if start is None else find_orientation(data, start)


def byte_order(signature: bytes) -> Literal["little", "big"] | None:
    """The order of bytes that a TIFF header's first four say; None if they begin no such header."""
    return _BYTE_ORDERS.get(signature)


def find_orientation(data: bytes, start: int) -> int:
    """Reads the orientation, 1 to 8, from a TIFF header at a place; 1 if it says none."""
    order = byte_order(data[start : start + 4])
    if order is None:
        return UPRIGHT

    def number(place: int, length: int) -> int:
        return int.from_bytes(data[start + place : start + place + length], order)

    directory = number(4, 4)
    for entry in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if start + entry + 12 > len(data):
            break
        if number(entry, 2) == ORIENTATION and number(entry + 2, 2) == 3:  # a SHORT
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns an image (H, W, ...) upright that is stored in an EXIF orientation, 1 to 8."""
    if orientation >= SIDEWAYS:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def read_png_size(data: bytes) -> tuple[int, int]:
    """Reads the (height, width) that a PNG claims to have; ValueError if it has no header."""
    if data[12:16] != b"IHDR" or len(data) < 33:  # the header, always first
        raise ValueError(DAMAGED.format(len(data)))
    return int.from_bytes(data[20:24]), int.from_bytes(data[16:20])


def read_png_head(data: bytes) -> PngHead:
    """Reads what the chunks of a PNG say; TooLarge or ValueError for what is not decoded by that."""
    height, width = read_png_size(data)
    depth, color, interlaced = data[24], PNG_COLOR_TYPES.get(data[25], "unknown"), data[28]
    if width * height * depth > 8 * DEFLATE_LIMIT * len(data):  # decoders would ask for that much memory first
        raise ValueError(DAMAGED.format(len(data)))
    if width * height > MOST_PIXELS:
        raise TooLarge(f"has {height}x{width} pixels; more than {MOST_PIXELS:,} are not decoded")
    if max(width, height) > MOST_SIDE:
        raise TooLarge(f"has {height}x{width} pixels; at most {MOST_SIDE:,} a side are decoded")
    chunks, position = {}, len(PNG_SIGNATURE)
    for _ in range(MOST_CHUNKS):
        kind = data[position + 4 : position + 8]
        chunks.setdefault(kind, position)
        position += 12 + int.from_bytes(data[position : position + 4])
        if kind == b"IEND" or position >= len(data):
            break
    else:
        raise TooLarge(f"has more than {MOST_CHUNKS:,} chunks; save it anew")
    exif = chunks[b"eXIf"] + 8 if b"eXIf" in chunks else None
    transparency = b"tRNS" in chunks
    plain = not interlaced and not transparency and exif is None
    return PngHead(width, height, depth, color, plain, transparency, exif, b"fdAT" in chunks)


def check_png(data: bytes, but: bytes | None = None) -> None:
    """Refuses what is cut short or fails a checksum, which decoders would fill with grey; `but` are passed over."""
    view, position, kind = memoryview(data), len(PNG_SIGNATURE), b""
    while kind != b"IEND":  # a chunk: length of its data, four letters, data, checksum of letters and data
        end = position + 12 + int.from_bytes(view[position : position + 4])
        kind = bytes(view[position + 4 : position + 8])
        fails = kind != but and zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end])
        # Of an unknown kind that is not marked as one that may be passed over, some decoders make nothing at all.
        odd = (kind not in PNG_PIXELS and not kind[:1].islower()) or (kind == b"IHDR" and position > len(PNG_SIGNATURE))
        if end > len(view) or fails or odd or (kind == b"IEND" and end != position + 12):
            raise ValueError(DAMAGED.format(len(data)))
        position = end


def keep_pixels(data: bytes) -> bytes:
    """Leaves out of a PNG, which `check_png` has found whole, what its pixels do not come of: texts, profiles, times.

    Decoders unpack them all, and a few bytes may unpack to gigabytes.
    """
    view, position, kind, parts = memoryview(data), len(PNG_SIGNATURE), b"", [memoryview(PNG_SIGNATURE)]
    while kind != b"IEND":
        end = position + 12 + int.from_bytes(view[position : position + 4])
        kind = bytes(view[position + 4 : position + 8])
        if kind in PNG_PIXELS:
            parts.append(view[position:end])
        position = end
    return b"".join(parts)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Gives the kind and the place of each segment of a JPEG, the first scan at last; ValueError if it is damaged."""
    position, kind, steps = len(JPEG_SIGNATURE), None, 0
    while kind != JPEG_SCAN:  # a segment: 0xFF, its kind, length of the rest; a preview inside one is skipped with it
        steps += 1
        if steps > MOST_SEGMENTS:
            raise TooLarge(f"has more than {MOST_SEGMENTS:,} segments or bytes of padding; save it anew")
        if position + 4 > len(data) or data[position] != 0xFF:
            raise ValueError(DAMAGED.format(len(data)))
        kind = data[position + 1]
        if kind == 0xFF:  # which may be repeated as padding before a kind
            position += 1
            continue
        yield kind, position
        position += 2 + int.from_bytes(data[position + 2 : position + 4])


def _is_exif(data: bytes, kind: int, place: int) -> bool:
    return kind == JPEG_APP1 and data[place + 4 : place + 10] == EXIF_HEADER


def read_jpeg_frame(data: bytes) -> tuple[int, int, int]:
    """Reads height, width and number of colours of a JPEG; ValueError if it is damaged before its pixels."""
    frame = None
    for kind, place in jpeg_segments(data):
        if kind in JPEG_FRAMES:
            height, width, colors = (
                data[place + 5 : place + 7],
                data[place + 7 : place + 9],
                data[place + 9 : place + 10],
            )
            frame = frame or (int.from_bytes(height), int.from_bytes(width), int.from_bytes(colors))
    if frame is None:
        raise ValueError(DAMAGED.format(len(data)))
    return frame


def _count_scans(data: bytes, place: int) -> int:
    """Counts the scans of a JPEG from the first on, up to its end: videos and depth maps of phones may follow that."""
    scans = 0
    for _ in range(MOST_SEGMENTS):
        is_scan = data[place + 1] == JPEG_SCAN
        scans += is_scan
        place += 2 if is_scan else 2 + max(int.from_bytes(data[place + 2 : place + 4]), 2)
        marker = _JPEG_MARKER.search(data, place)  # compressed pixels have none
        if marker is None or marker[0] == JPEG_END:
            return scans
        place = marker.start()
    raise TooLarge(f"has more than {MOST_SEGMENTS:,} segments; save it anew")


def check_jpeg(data: bytes) -> None:
    """Refuses what is cut short, which decoders would fill with grey, what is meant for print, and endless scans."""
    height, width, colors = read_jpeg_frame(data)
    if colors not in (1, 3):
        kinds = {4: "CMYK image, for print"}.get(colors, f"JPEG of {colors} colours")
        raise ValueError(f"is a {kinds}; convert it to RGB with its colour profile")
    if height * width > MOST_PIXELS:
        raise TooLarge(f"has more than {MOST_PIXELS:,} pixels; make it smaller first")
    *_, (_, place) = jpeg_segments(data)
    if data.find(JPEG_END, place) < 0 or height * width > JPEG_LIMIT * len(data):
        raise ValueError(DAMAGED.format(len(data)))
    scans = _count_scans(data, place)
    if scans > MOST_SCANS or (scans > USUAL_SCANS and scans * height * width > MOST_SCANNED):
        most = MOST_SCANS if scans > MOST_SCANS else USUAL_SCANS
        raise TooLarge(f"has more than {most} scans; save it as a plain JPEG first")
