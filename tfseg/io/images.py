"""Bytes of images and masks <-> arrays.

A training run cannot tell a damaged image from a dark one, and who gets a mask cannot see what the network was shown.
So one decoder reads images for conversion and for every way of prediction; `encoded` follows its rules inside a
SavedModel. What a decoder would mend in silence is refused: a file cut short, sixteen bits squeezed into eight, ink
taken for light, a mask whose values would become colours. Errors say what is wrong and leave it to the caller to say
where: in which file, in which record.

| an image file | becomes |
|---|---|
| PNG, JPEG, BMP, TIFF, WebP, and HEIC with its extra, of 8 bits or less a channel: RGB, grey, palette | RGB |
| EXIF orientation 1 to 8 (of a JPEG, a PNG's eXIf chunk, TIFF, WebP) | turned upright |
| an alpha channel or a transparent colour that no pixel shows | dropped |
| transparent pixels | refused: they stand for no colour |
| 16 bits a channel, or floats | refused: the curve that makes them 8 is unknown |
| CMYK, or other than 1 or 3 colours | refused: it takes a colour profile |
| more than one image (animations, pages) | refused: which one? |
| cut short, a wrong checksum, over 2**30 pixels, over 100 scans, 20,000 chunks, 10,000 segments | refused |

Colour profiles and gamma are not applied, and XMP is not looked at.
"""

import functools
import io
import math
import warnings
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import kornia_rs.io
import numpy as np
from PIL import Image, ImageOps

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
DEFLATE_LIMIT = 1032  # bytes that one byte of PNG's compression can stand for
PNG_END = bytes.fromhex("0000000049454e44ae426082")  # the last chunk, the same in every file
JPEG_SIGNATURE = b"\xff\xd8"
JPEG_SCAN, JPEG_END, JPEG_APP1 = 0xDA, b"\xff\xd9", 0xE1
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # segments that tell the size; the three are tables
EXIF_HEADER = b"Exif\0\0"  # before a TIFF header, in a JPEG
ORIENTATION = 0x0112  # the tag
UPRIGHT = 1  # its value; from SIDEWAYS to 8, height and width change places
SIDEWAYS = 5
MOST_SCANS = 100  # of a progressive JPEG, which has about ten; each is a walk over all pixels, however few its bytes
MOST_CHUNKS = 20_000  # of a PNG: 160 MB in pieces of 8 KiB, as most writers cut them
MOST_SEGMENTS = 10_000  # of a JPEG before its pixels, and bytes of padding: 640 MB in segments of the largest size
MOST_PIXELS = 2**30  # that OpenCV decodes
HEIF_BRANDS = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1", b"ftyphevc")  # bytes 4 to 12 of a HEIC file
# Formats that Pillow reads, by how their files begin.
PILLOW_FORMATS = {"BMP": (b"BM",), "TIFF": (b"II*\0", b"MM\0*"), "WEBP": (b"RIFF",)}
FORMATS = ("PNG", "JPEG", *PILLOW_FORMATS)  # as Pillow calls them
PILLOW_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX")  # of 8 bits a channel or less
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

LONGEST_SIDE = {".jpg": 65_500, ".png": 1_000_000}  # of the files that can be written

_DAMAGED = "is cut short or damaged ({} bytes); copy it again"
_TRANSPARENT = "has transparent pixels, which stand for no colour; save it without an alpha channel"


class TooLarge(ValueError):
    """An image that would take too much to decode."""


class _Png(NamedTuple):
    """What the chunks of a PNG say."""

    width: int
    height: int
    depth: int  # bits a channel
    color: str  # one of PNG_COLOR_TYPES
    plain: bool  # rows in order, no transparency, no orientation: nothing that a simple decoder would overlook
    transparency: bool  # whether a colour is transparent (tRNS)
    exif: int | None  # where the data of eXIf begin
    animated: bool  # whether there are more images (fdAT) than the one that is shown where they cannot move


# ---- source files


def decode_picture(data: bytes, upright: bool = True) -> np.ndarray:
    """Decodes an image file by the rules of this module.

    Args:
        data: content of the file.
        upright: whether to turn it as its EXIF data say; otherwise it stays as it is stored.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        TooLarge: it would take too much to decode.
        ValueError: it is damaged, cut short, of another format, or of a kind with no one right way to 8-bit RGB.
    """
    if data.startswith(PNG_SIGNATURE):
        return _decode_png(data, upright)
    if data.startswith(JPEG_SIGNATURE):
        _check_jpeg(data)
        image = _decode_with_opencv(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        return turn(image, read_orientation(data)) if upright else image
    for name, signatures in PILLOW_FORMATS.items():
        if data.startswith(signatures):
            return _decode_other(data, name, upright)
    if data[4:12] in HEIF_BRANDS and register_heif():
        return _decode_other(data, "HEIF", upright)
    raise ValueError(f"is no PNG, JPEG, BMP, TIFF or WebP image ({len(data)} bytes)")


@functools.cache
def register_heif() -> bool:
    """Lets Pillow read HEIC, if the extra that can is installed; tells whether it is."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def read_orientation(data: bytes) -> int:
    """Reads how a PNG or JPEG file is to be turned: the EXIF orientation, 1 to 8; 1 (as it is) if it has none.

    Raises:
        ValueError: the file is damaged before its pixels.
    """
    start = None
    if data.startswith(PNG_SIGNATURE):
        start = _read_png_head(data).exif
    elif data.startswith(JPEG_SIGNATURE):
        segments = (place + 10 for kind, place in _jpeg_segments(data) if _is_exif(data, kind, place))
        start = next(segments, None)
    if start is None:
        return UPRIGHT
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(data[start : start + 4])
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


def _decode_png(data: bytes, upright: bool) -> np.ndarray:
    png = _read_png_head(data)
    if png.depth == 16:
        raise ValueError(f"is a 16-bit {png.color} image; convert it to 8 bits a channel, as it should look")
    if png.animated:
        raise ValueError("has more than one image in one PNG file; save the one that is meant by itself")
    if png.color == "RGB" and png.plain and data.endswith(PNG_END):
        _check_png(data, but=b"IDAT")  # whose checksums fail where it is decoded
        return _decode_plain_png(data, png)
    _check_png(data)
    if png.transparency:  # which OpenCV overlooks in grey images
        try:
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                opaque = image.convert("RGBA").getextrema()[3][0] == 255
        except (OSError, SyntaxError, ValueError):
            raise ValueError(_DAMAGED.format(len(data))) from None
    else:
        pixels = _decode_with_opencv(data, cv2.IMREAD_UNCHANGED)
        opaque = pixels.ndim == 2 or pixels[..., 3:].min(initial=255) == 255
    if not opaque:
        raise ValueError(_TRANSPARENT)
    image = _decode_with_opencv(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)  # grey and palette as RGB
    return turn(image, read_orientation(data)) if upright and png.exif is not None else image


def _decode_other(data: bytes, kind: str, upright: bool) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            _check_pillow(image, kind)
            image.load()
            image = (ImageOps.exif_transpose(image) if upright else image) or image
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                if image.getextrema()[3][0] < 255:
                    raise ValueError(_TRANSPARENT)
            return np.array(image.convert("RGB"))
    except ValueError as error:
        if str(error).startswith(("has ", "is ")):  # ours
            raise
        raise ValueError(_DAMAGED.format(len(data))) from None
    except Image.DecompressionBombError:
        raise TooLarge("has more pixels than are decoded; make it smaller first") from None
    except Exception:  # whatever Pillow's decoders raise: OSError, SyntaxError, struct.error ...
        raise ValueError(_DAMAGED.format(len(data))) from None


def _check_pillow(image: Image.Image, kind: str) -> None:
    """Refuses what Pillow would make 8-bit RGB of without a word."""
    bits = image.tag_v2.get(258, (1,)) if kind == "TIFF" else (8,)  # BitsPerSample; Pillow cuts 16 down to 8
    if max(bits if isinstance(bits, tuple) else (bits,)) > 8 or image.mode.startswith(("I", "F")):
        raise ValueError(f"is a {kind} image of more than 8 bits a channel; convert it to 8 bits, as it should look")
    if getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"has {image.n_frames} images in one {kind} file; save the one that is meant by itself")
    if image.mode not in PILLOW_MODES:
        raise ValueError(f"is a {image.mode} image; convert it to RGB with its colour profile")


class Mask(NamedTuple):
    """What a file of a mask holds."""

    values: np.ndarray  # (H, W) uint8, the raw values
    kind: str  # of MASK_KINDS
    colors: dict[int, tuple[int, int, int]]  # RGB of the entries of a palette that pixels have
    palette: bytes = b""  # all of its entries, three bytes each
    greys: np.ndarray | None = None  # (H, W) uint8, the other reading of a palette of which only greys are used


GREY, GREYS, COLORS = MASK_KINDS = ("grey", "palette of greys", "palette of colours")


def decode_mask(data: bytes) -> np.ndarray:
    """Decodes a grey or palette PNG file as (H, W) uint8 raw values; see `read_mask`.

    Raises:
        ValueError: it is damaged, cut short, no PNG, or of a kind whose values are not those of a mask.
    """
    return read_mask(data).values


def read_mask(data: bytes) -> Mask:
    """Decodes a grey or palette PNG file of a mask.

    The values of a palette of nothing but greys are the greys: any program that makes files smaller writes a grey
    picture so, and numbers the greys as it likes. Greys of 1, 2 or 4 bits are read as all programs show them: the
    white of 1 bit is 255. Of a palette with colours the values are the indexes.

    Raises:
        ValueError: it is damaged, cut short, no PNG, or of a kind whose values are not those of a mask.
    """
    if not data.startswith(PNG_SIGNATURE):
        raise ValueError(f"is no PNG file ({len(data)} bytes); a mask must be one, since JPEG changes its values")
    png = _read_png_head(data)
    if (png.depth, png.color) == (8, "grey") and png.plain and data.endswith(PNG_END):
        return Mask(_decode_plain_png(data, png), GREY, {})
    if png.color != "palette" and (png.color != "grey" or png.depth > 8):
        hint = {"16-bit grey": ", perhaps an *_instanceIds.png", "8-bit RGBA": ", perhaps a *_color.png"}
        kind = f"{png.depth}-bit {png.color}"
        raise ValueError(f"is {kind}{hint.get(kind, '')}; a mask must be an 8-bit grey or palette PNG")
    _check_png(data)
    values, palette = _decode_indexes(data, png)
    return Mask(values, GREY, {}) if png.color != "palette" else _read_palette(values, palette)


def _decode_indexes(data: bytes, png: _Png) -> tuple[np.ndarray, bytes]:
    """Values and palette; Pillow, because OpenCV would turn a palette's indexes into colours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large size, which was held against the file's, or an odd chunk
            with Image.open(io.BytesIO(data)) as image:
                values = np.array(image if png.color == "palette" else image.convert("L"))
                return values, bytes(image.getpalette("RGB") or b"")
    except Image.DecompressionBombError:
        most = 2 * Image.MAX_IMAGE_PIXELS
        raise ValueError(
            f"is a palette PNG of {png.height}x{png.width}, more than the {most:,} pixels that can be read of one; "
            "save it as an 8-bit grey PNG of the same values, or cut it into parts"
        ) from None
    except MemoryError:
        raise
    except Exception:  # of many kinds, by what in the file is broken
        raise ValueError(_DAMAGED.format(len(data))) from None


def _read_palette(indexes: np.ndarray, palette: bytes) -> Mask:
    table = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)
    used = np.flatnonzero(count_values(indexes))
    there = used[used < len(table)]  # a palette of the classes alone may well end before 255, which stands for void
    colors = {int(index): tuple(table[index].tolist()) for index in there}
    are_grey = (table == table[:, :1]).all(axis=1)
    if not are_grey[there].all():
        return Mask(indexes, COLORS, colors, palette)
    greys = None
    if len(there) == len(used):
        greys = cv2.LUT(indexes, np.resize(table[:, 0], 256))
    elif len(table) and not are_grey.all():
        return Mask(indexes, COLORS, colors, palette)
    elif not len(there) or (table[there, 0] != there).any():
        raise ValueError(
            f"has pixels of entry {used[-1]} of its palette of greys, which has {len(table)} entries; save it anew"
        )
    else:
        greys = indexes  # each grey stands at its own index
    return Mask(greys, GREYS, colors, palette) if are_grey.all() else Mask(indexes, COLORS, colors, palette, greys)


def _decode_plain_png(data: bytes, png: _Png) -> np.ndarray:
    """Decodes the common kind of PNG twice as fast as OpenCV; what is damaged fails its checksums here too."""
    try:
        mode = "rgb" if png.color == "RGB" else "mono"
        pixels = kornia_rs.io.decode_image_png_u8(data, (png.height, png.width), mode)
    except Exception:  # it raises plain `Exception`
        raise ValueError(_DAMAGED.format(len(data))) from None
    return pixels if mode == "rgb" else pixels[..., 0]


def _decode_with_opencv(data: bytes, mode: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(_DAMAGED.format(len(data)))
    return image


def _read_png_head(data: bytes) -> _Png:
    if data[12:16] != b"IHDR" or len(data) < 33:  # the header, always first
        raise ValueError(_DAMAGED.format(len(data)))
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    depth, color, interlaced = data[24], PNG_COLOR_TYPES.get(data[25], "unknown"), data[28]
    if width * height * depth > 8 * DEFLATE_LIMIT * len(data):  # decoders would ask for that much memory first
        raise ValueError(_DAMAGED.format(len(data)))
    if width * height > MOST_PIXELS:
        raise TooLarge(f"has {height}x{width} pixels; more than {MOST_PIXELS:,} are not decoded")
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
    return _Png(width, height, depth, color, plain, transparency, exif, b"fdAT" in chunks)


def _check_png(data: bytes, but: bytes | None = None) -> None:
    """Refuses what is cut short or fails a checksum, which decoders would fill with grey; `but` are passed over."""
    view, position, kind = memoryview(data), len(PNG_SIGNATURE), b""
    while kind != b"IEND":  # a chunk: length of its data, four letters, data, checksum of letters and data
        end = position + 12 + int.from_bytes(view[position : position + 4])
        kind = bytes(view[position + 4 : position + 8])
        fails = kind != but and zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end])
        if end > len(view) or fails:
            raise ValueError(_DAMAGED.format(len(data)))
        position = end


def _jpeg_segments(data: bytes):
    """Gives the kind and the place of each segment of a JPEG, the first scan at last; ValueError if it is damaged."""
    position, kind, steps = len(JPEG_SIGNATURE), None, 0
    while kind != JPEG_SCAN:  # a segment: 0xFF, its kind, length of the rest; a preview inside one is skipped with it
        steps += 1
        if steps > MOST_SEGMENTS:
            raise TooLarge(f"has more than {MOST_SEGMENTS:,} segments or bytes of padding; save it anew")
        if position + 4 > len(data) or data[position] != 0xFF:
            raise ValueError(_DAMAGED.format(len(data)))
        kind = data[position + 1]
        if kind == 0xFF:  # which may be repeated as padding before a kind
            position += 1
            continue
        yield kind, position
        position += 2 + int.from_bytes(data[position + 2 : position + 4])


def _is_exif(data: bytes, kind: int, place: int) -> bool:
    return kind == JPEG_APP1 and data[place + 4 : place + 10] == EXIF_HEADER


def _check_jpeg(data: bytes) -> None:
    """Refuses what is cut short, which decoders would fill with grey, what is meant for print, and endless scans."""
    for kind, place in _jpeg_segments(data):
        if kind in JPEG_FRAMES:
            height, width, colors = data[place + 5 : place + 7], data[place + 7 : place + 9], data[place + 9]
            if colors not in (1, 3):
                kinds = {4: "CMYK image, for print"}.get(colors, f"JPEG of {colors} colours")
                raise ValueError(f"is a {kinds}; convert it to RGB with its colour profile")
            if int.from_bytes(height) * int.from_bytes(width) > MOST_PIXELS:
                raise TooLarge(f"has more than {MOST_PIXELS:,} pixels; make it smaller first")
    if JPEG_END not in data[place:]:
        raise ValueError(_DAMAGED.format(len(data)))
    if data.count(bytes([0xFF, JPEG_SCAN])) > MOST_SCANS:
        raise TooLarge(f"has more than {MOST_SCANS} scans; save it as a plain JPEG first")


# ---- sizes of masks; `resizing` has those of images


def resize_nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Squashes a mask (H, W) uint8 to (height, width): of each cell the value in its middle."""
    # The exact kind of nearest: the plain one is off by half a pixel against the picture.
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def resize_majority(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Squashes a mask (H, W) uint8 to (height, width): of each cell the value that covers most of it.

    Of two that cover the same, the lower value. A mask that grows in a direction is resized by `resize_nearest`.
    """
    height, width = size
    if height > mask.shape[0] or width > mask.shape[1]:
        return resize_nearest(mask, size)
    result, most = np.zeros(size, np.uint8), np.full(size, -1, np.int16)
    for value in np.unique(mask):
        present = cv2.compare(mask, float(value), cv2.CMP_EQ)  # 255 where it is, else 0
        area = cv2.resize(present, (width, height), interpolation=cv2.INTER_AREA)
        result[area > most] = value
        most = np.maximum(most, area)
    return result


# ---- as they are stored


def encode_image(image: np.ndarray, codec: str, quality: int | None) -> bytes:
    """Encodes (H, W, 3) uint8 RGB as "jpeg" of a quality in 1..100, as "png", or as "raw", its plain bytes.

    Raises:
        ValueError: it is larger than such a file can be.
    """
    if codec == "raw":
        return image.tobytes()
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if codec == "png":
        return _encode(".png", bgr)
    # Colour at full resolution (4:4:4): the usual half blurs it across the thin poles and signs.
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return _encode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])


def _encode(ending: str, array: np.ndarray, options: Sequence[int] = ()) -> bytes:
    if max(array.shape[:2]) > LONGEST_SIDE[ending]:  # OpenCV would write lines of its own about it
        kind, size = {".jpg": "JPEG", ".png": "PNG"}[ending], "x".join(map(str, array.shape[:2]))
        advice = "take --codec png, or a smaller --size" if ending == ".jpg" else "take a smaller --size"
        raise ValueError(f"is {size}, and a {kind} file has at most {LONGEST_SIDE[ending]:,} pixels a side; {advice}")
    return cv2.imencode(ending, array, [*options])[1].tobytes()


def encode_mask(mask: np.ndarray) -> bytes:
    """Encodes (H, W) uint8 as a grey PNG."""
    # A mask is areas of one value: each row less the one above is nearly all zero, and runs of zeros pack best. Of all
    # filters and strategies of PNG this is the smallest, and a fifth slower than the fastest.
    filtering = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
    packing = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
    return _encode(".png", mask, [*filtering, *packing])


def pack_mask(mask: np.ndarray) -> bytes:
    """Packs (H, W) uint8 for training: zlib, which TensorFlow unpacks in half of the time that a PNG takes."""
    # Of all levels this one is the fastest both ways; the smallest, 9, saves half of 5 % of a record for 15 times the
    # work.
    return zlib.compress(mask.tobytes(), 3)


def unpack_mask(data: bytes | memoryview, height: int) -> np.ndarray:
    """Unpacks what `pack_mask` made of a mask of a height, or decodes a PNG, as (height, W) uint8.

    Raises:
        ValueError: the data are damaged, or do not fill rows.
    """
    if data[: len(PNG_SIGNATURE)] == PNG_SIGNATURE:
        return decode_mask(bytes(data))
    try:
        return as_rows(zlib.decompress(data), height)
    except zlib.error:
        raise ValueError(f"has a mask that is cut short or damaged ({len(data)} bytes)") from None


def as_rows(data: bytes | memoryview, height: int, *channels: int) -> np.ndarray:
    """Takes plain bytes as (height, W, *channels) uint8, without a copy.

    Raises:
        ValueError: they do not fill rows.
    """
    row = height * math.prod(channels)
    if not row or len(data) % row:
        raise ValueError(f"has {len(data)} raw bytes, which do not fill {height} rows")
    return np.frombuffer(data, np.uint8).reshape(height, -1, *channels)


def cut_tiles(array: np.ndarray, width: int | None, pad: bool = False) -> list[np.ndarray]:
    """Cuts (H, W, ...) into tiles of a width, from left to right; None: one tile.

    The last is as wide as it comes, or is padded with zeros.
    """
    if width is None:
        return [array]
    if pad:
        missing = -array.shape[1] % width
        array = np.pad(array, [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2))
    return [np.ascontiguousarray(array[:, left : left + width]) for left in range(0, array.shape[1], width)]


def as_grey_png(mask: np.ndarray, file: bytes) -> bytes:
    """Gives the file that a mask was decoded from, if it is a plain 8-bit grey PNG, or encodes the mask as one."""
    png = _read_png_head(file)
    return file if (png.depth, png.color) == (8, "grey") and png.plain else encode_mask(mask)


def decode_image(data: bytes, codec: str, height: int) -> np.ndarray:
    """Decodes what `encode_image` made of a picture of a height, as (height, W, 3) uint8 RGB.

    Raises:
        ValueError: the data are damaged, or for "raw" do not fill rows.
    """
    return as_rows(data, height, 3) if codec == "raw" else decode_picture(data)


def count_values(mask: np.ndarray) -> np.ndarray:
    """Counts the values of a mask (H, W) uint8: (256,) int64."""
    if mask.size > 2**24:  # OpenCV counts in float32
        return np.bincount(mask.ravel(), minlength=256)
    return cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel().astype(np.int64)


def channel_sums(image: np.ndarray) -> tuple[list[int], list[int]]:
    """Sums the values and their squares in each channel of a picture (H, W, 3) uint8, exactly."""
    pixels = image.shape[0] * image.shape[1]
    mean, deviation = (array[:, 0] for array in cv2.meanStdDev(image))
    # OpenCV makes its means of whole numbers, in float64, which holds these sums to far below 1.
    return [round(value) for value in mean * pixels], [round(value) for value in (deviation**2 + mean**2) * pixels]
