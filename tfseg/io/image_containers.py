"""What TIFF, WebP and BMP files say before their pixels, counted and bounded before a decoder sees the file.

A decoder is given no more than what it needs: a TIFF's directory without the tags that describe how an image was made,
of which there may be thousands. What is gone through here is as long as the number of strips that an image may have.
"""

from typing import Literal, NamedTuple

from tfseg.io.image_headers import (
    DAMAGED,
    DEFLATE_LIMIT,
    EXIF_HEADER,
    MOST_PIXELS,
    MOST_SCANS,
    MOST_SIDE,
    UPRIGHT,
    TooLarge,
    byte_order,
    find_orientation,
)

MOST_TAGS = 500  # of a TIFF directory; cameras write some eighty
MOST_STRIPS = 40_000  # of a TIFF: an A0 sheet at 800 dots per inch, one row a strip
MOST_IMAGES = 1000  # that are counted, where one is expected
MOST_WEBP_CHUNKS = 1000
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of a value
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _STRIPS, _SAMPLES, _TILES = 256, 257, 258, 259, 273, 277, 324
# Tags that say how pixels are stored; all others are left out.
_PIXEL_TAGS = frozenset(
    {*range(254, 260), 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, *range(322, 326), 332, 338, 339, 347}
    | {*range(512, 522), *range(529, 533)}
)
# Compression -> pixels that a byte can stand for; without an entry as many as it likes.
_DENSITIES = {1: 8, 5: 8 * 2048, 7: 4096, 8: 8 * DEFLATE_LIMIT, 32946: 8 * DEFLATE_LIMIT, 32773: 8 * 64}
_JPEG = 7
Order = Literal["little", "big"]
Entries = dict[int, tuple[int, int, bytes]]  # tag -> type, count, and four bytes, the value or its place
_RLE = (1, 2)  # of a BMP
_RLE_DENSITY = 128  # pixels that a byte of a BMP's runs can stand for: 255 in two
MOST_RUNS = 512 * 1024  # bytes of a BMP of runs, which Pillow goes through in Python, a tenth of a second for as many


class Head(NamedTuple):
    """What a file says before its pixels, and what of it a decoder needs."""

    width: int
    height: int
    orientation: int  # EXIF, 1 to 8
    content: bytes


def read_head(data: bytes) -> Head:
    """Reads the head of a TIFF, WebP or BMP file.

    Raises:
        TooLarge: it has more of anything than is gone through.
        ValueError: it is damaged, or holds more than one image.
    """
    read = {b"BM": _read_bmp, b"RI": _read_webp}.get(data[:2], _read_tiff)
    head = read(data)
    if head.width * head.height > MOST_PIXELS or max(head.width, head.height) > MOST_SIDE:
        raise TooLarge(f"has {head.height}x{head.width} pixels; at most {MOST_SIDE:,} a side are decoded")
    if not head.width or not head.height:
        raise ValueError(DAMAGED.format(len(data)))
    return head


def _read_tiff(data: bytes) -> Head:
    order = byte_order(data[:4])
    if order is None:
        raise ValueError(DAMAGED.format(len(data)))
    place = int.from_bytes(data[4:8], order)
    entries = read_directory(data, place, order)
    images = _count_images(data, place, order)
    if images > 1:
        count = f"more than {MOST_IMAGES:,}" if images > MOST_IMAGES else images
        raise ValueError(f"has {count} images in one TIFF file; save the one that is meant by itself")
    _check_entries(data, entries, order)

    def first(tag: int, default: int = 0) -> int:
        """The first value of a tag; of several that do not fit into the entry, as of bits a channel, the default."""
        kind, count, value = entries.get(tag, (0, 0, b""))
        return int.from_bytes(value[: TYPE_SIZES[kind]], order) if count and kind in (1, 3, 4) else default

    width, height, samples = first(_WIDTH), first(_HEIGHT), max(first(_SAMPLES, 1), 1)
    compression = first(_COMPRESSION, 1)
    if width * height * samples > _DENSITIES.get(compression, MOST_PIXELS) * len(data):
        raise ValueError(DAMAGED.format(len(data)))
    if compression == _JPEG and data.count(b"\xff\xda") > max(MOST_SCANS, 4 * _count_strips(entries)):
        raise TooLarge(f"has more than {MOST_SCANS} scans; save it as a plain TIFF first")
    kept = [(tag, entry) for tag, entry in sorted(entries.items()) if tag in _PIXEL_TAGS]
    directory = len(kept).to_bytes(2, order)
    for tag, (kind, count, value) in kept:
        directory += tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(4, order) + value
    padding = b"\0" * (len(data) % 2)  # a directory begins at an even place
    content = data[:4] + (len(data) + len(padding)).to_bytes(4, order) + data[8:] + padding + directory + bytes(4)
    return Head(width, height, find_orientation(data, 0), content)


def read_directory(data: bytes, place: int, order: Order) -> Entries:
    """The entries of a directory of a TIFF."""
    count = int.from_bytes(data[place : place + 2], order)
    end = place + 2 + 12 * count
    if count > MOST_TAGS and end <= len(data):
        raise TooLarge(f"has {count:,} tags, more than {MOST_TAGS}; save it anew")
    if place < 8 or end + 4 > len(data) or not count:
        raise ValueError(DAMAGED.format(len(data)))
    entries = {}
    for start in range(place + 2, end, 12):
        tag, kind = (int.from_bytes(data[at : at + 2], order) for at in (start, start + 2))
        entries[tag] = kind, int.from_bytes(data[start + 4 : start + 8], order), data[start + 8 : start + 12]
    return entries


def _count_images(data: bytes, place: int, order: Order) -> int:
    """Counts the directories of a TIFF, each of which says where the next one is; one that comes again is damage."""
    seen: set[int] = set()
    while place and len(seen) <= MOST_IMAGES:
        end = place + 2 + 12 * int.from_bytes(data[place : place + 2], order)
        if place in seen or end + 4 > len(data):
            raise ValueError(DAMAGED.format(len(data)))
        seen.add(place)
        place = int.from_bytes(data[end : end + 4], order)
    return len(seen)


def _check_entries(data: bytes, entries: Entries, order: Order) -> None:
    """Refuses values that lie beyond the end, or that many tags share, and too many strips."""
    total = 0
    for tag, (kind, count, value) in entries.items():
        size = count * TYPE_SIZES.get(kind, 0)
        total += size
        if tag in _PIXEL_TAGS and size > 4 and int.from_bytes(value, order) + size > len(data):
            raise ValueError(DAMAGED.format(len(data)))
    if _count_strips(entries) > MOST_STRIPS:
        raise TooLarge(f"has more than {MOST_STRIPS:,} strips or tiles; save it anew")
    if total > 2 * len(data):
        raise ValueError(DAMAGED.format(len(data)))


def _count_strips(entries: Entries) -> int:
    return max(entries[tag][1] if tag in entries else 0 for tag in (_STRIPS, _STRIPS + 6, _TILES, _TILES + 1))


def is_lossless_webp(data: bytes) -> bool:
    """Whether a WebP file keeps its pixels exactly; TooLarge or ValueError as of `read_head`."""
    return b"VP8L" in _list_webp_chunks(data)[0]


def _read_webp(data: bytes) -> Head:
    chunks, images = _list_webp_chunks(data)
    if images > 1:
        raise ValueError(f"has {images} images in one WEBP file; save the one that is meant by itself")
    width = height = 0
    orientation = UPRIGHT
    if b"VP8X" in chunks:
        start = chunks[b"VP8X"]
        width, height = (int.from_bytes(data[start + at : start + at + 3], "little") + 1 for at in (4, 7))
        if exif := chunks.get(b"EXIF"):
            exif += len(EXIF_HEADER) if data[exif:].startswith(EXIF_HEADER) else 0
            orientation = find_orientation(data, exif)
    elif b"VP8 " in chunks:
        start = chunks[b"VP8 "]
        width, height = (int.from_bytes(data[start + at : start + at + 2], "little") & 0x3FFF for at in (6, 8))
    elif b"VP8L" in chunks:
        bits = int.from_bytes(data[chunks[b"VP8L"] + 1 : chunks[b"VP8L"] + 5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return Head(width, height, orientation, data)


def _list_webp_chunks(data: bytes) -> tuple[dict[bytes, int], int]:
    """Where the content of the first chunk of each kind begins, and how many frames there are."""
    if data[8:12] != b"WEBP":
        raise ValueError(DAMAGED.format(len(data)))
    chunks, frames, position = {}, 0, 12
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    for count in range(20 * MOST_WEBP_CHUNKS):
        if position + 8 > end:
            return chunks, frames
        kind, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        frames += kind == b"ANMF"
        if count - frames >= MOST_WEBP_CHUNKS:
            break
        chunks.setdefault(kind, position + 8)
        position += 8 + size + size % 2
    raise TooLarge(f"has more than {MOST_WEBP_CHUNKS:,} chunks; save it anew")


def _read_bmp(data: bytes) -> Head:
    header = int.from_bytes(data[14:18], "little")
    if header == 12:  # of OS/2
        width, height, bits = (int.from_bytes(data[at : at + 2], "little") for at in (18, 20, 24))
        compression = 0
    else:
        width, height = (abs(int.from_bytes(data[at : at + 4], "little", signed=True)) for at in (18, 22))
        bits, compression = int.from_bytes(data[28:30], "little"), int.from_bytes(data[30:34], "little")
    is_runs = compression in _RLE
    row = (width * bits + 31) // 32 * 4
    held = _RLE_DENSITY * len(data) >= width * height if is_runs else row * height <= len(data)
    if not held and width * height <= MOST_PIXELS:
        raise ValueError(DAMAGED.format(len(data)))
    if is_runs and len(data) > MOST_RUNS:
        raise TooLarge(f"is a run-length encoded BMP of more than {MOST_RUNS:,} bytes; save it as PNG")
    return Head(width, height, UPRIGHT, data)
