"""Files of masks -> their pixels as they are stored: values, indexes of a palette, or colours.

What the pixels mean is for others to say. Files whose pixels were changed by compressing them are refused.
"""

import io
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfseg.io import images
from tfseg.io.image_containers import is_lossless_webp, read_head
from tfseg.io.image_headers import (
    DAMAGED,
    JPEG_SIGNATURE,
    PNG_END,
    PNG_SIGNATURE,
    PngHead,
    TooLarge,
    check_png,
    keep_pixels,
    read_orientation,
    read_png_head,
)

# Values of TIFF's tag of compression that keep pixels: none, of fax machines, LZW, Deflate, PackBits, LZMA, Zstandard.
_LOSSLESS = frozenset({1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000})
_COMPRESSION, _BITS = 259, 258
_WIDE = ("I;16", "I;16B", "I;16L")  # how Pillow calls grey of 16 bits
WANTED = "a mask must be a grey, palette or RGB image of 8 bits, or a grey one of 16"


class Raster(NamedTuple):
    """The pixels of a file."""

    pixels: np.ndarray  # (H, W) uint8 or uint16, values or indexes; or (H, W, 3) uint8, colours
    palette: bytes | None = None  # red, green and blue of each index; None: pixels are no indexes
    step: int = 1  # between two greys of a file of less than 8 bits: 255, 85 or 17

    @property
    def is_colored(self) -> bool:
        """Whether pixels are colours, some of which are not grey."""
        if self.pixels.ndim == 2:
            return False
        red, green, blue = (self.pixels[..., channel] for channel in range(3))
        return not (np.array_equal(red, green) and np.array_equal(red, blue))


def read_raster(data: bytes) -> Raster:
    """Decodes a PNG, BMP, TIFF or WebP file of a mask; nothing is turned by its EXIF data.

    Greys of 1, 2 or 4 bits are read as all programs show them: the white of 1 bit is 255.

    Raises:
        ValueError: it is damaged, of another format, of more than 8 bits a colour, or has lost its exact pixels.

    Example:
        read_raster(Path("mask.png").read_bytes()).pixels  # (1024, 2048) uint8
    """
    if data.startswith(PNG_SIGNATURE):
        return _read_png(data)
    kind = images.format_of(data)
    if data.startswith(JPEG_SIGNATURE):
        raise ValueError(f"is no PNG file ({len(data)} bytes); a mask must be one, since JPEG changes its values")
    if kind not in images.PILLOW_FORMATS:
        raise ValueError(f"is no PNG, BMP, TIFF or WebP file ({len(data)} bytes), as a mask must be")
    if kind == "WEBP" and not is_lossless_webp(data):
        raise ValueError("is a lossy WebP file, which changes the values of a mask; save it as PNG from its origin")
    return _read_other(read_head(data).content, kind, len(data))


def read_any_orientation(data: bytes) -> int:
    """Reads how an image file is to be turned: the EXIF orientation, 1 to 8; errors as of `images.decode_file`."""
    return read_head(data).orientation if images.format_of(data) in images.PILLOW_FORMATS else read_orientation(data)


def _read_png(data: bytes) -> Raster:
    png = read_png_head(data)
    if (png.depth, png.color) == (8, "grey") and png.plain and data.endswith(PNG_END):
        check_png(data, but=b"IDAT")  # whose checksums fail where it is decoded
        return Raster(images.decode_plain_png(data, png))
    if png.depth == 16 and png.color != "grey":
        raise ValueError(f"is {png.depth}-bit {png.color}; {WANTED}")
    if png.color not in ("grey", "palette"):
        return Raster(images.decode_file(data, upright=False))
    check_png(data)
    values, palette = decode_indexes(data, png, keep=png.depth == 16)
    if png.color == "palette":
        return Raster(values, palette)
    return Raster(values.astype(np.uint16)) if png.depth == 16 else Raster(values, step=255 // (2**png.depth - 1))


def decode_indexes(data: bytes, png: PngHead, keep: bool = False) -> tuple[np.ndarray, bytes]:
    """Values, of 8 bits unless they are to be kept, and palette; OpenCV would turn indexes into colours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large size, which was held against the file's, or an odd chunk
            with Image.open(io.BytesIO(keep_pixels(data)), formats=("PNG",)) as image:
                values = np.array(image if keep or png.color == "palette" else image.convert("L"))
                return values, bytes(image.getpalette("RGB") or b"")
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(
            f"is a palette PNG of {png.height}x{png.width}, more than the {most:,} pixels that can be read of one; "
            "save it as an 8-bit grey PNG of the same values, or cut it into parts"
        ) from None
    except MemoryError:
        raise
    except Exception:  # of many kinds, by what in the file is broken
        raise ValueError(DAMAGED.format(len(data))) from None


def _read_other(content: bytes, kind: str, size: int) -> Raster:
    """Decodes what Pillow can; `size` is the file's, in bytes, for errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large size, which was held against the file's, or an odd tag
            with Image.open(io.BytesIO(content), formats=(kind,)) as image:
                _check_mode(image, kind)
                image.load()
                return _take_pixels(image)
    except ValueError as error:
        if str(error).startswith(("has ", "is ")):  # ours
            raise
        raise ValueError(DAMAGED.format(size)) from None
    except Image.DecompressionBombError:
        raise TooLarge("has more pixels than are decoded; cut it into parts") from None
    except MemoryError:
        raise
    except Exception:  # of many kinds, by what in the file is broken
        raise ValueError(DAMAGED.format(size)) from None


def _check_mode(image: Image.Image, kind: str) -> None:
    tags = getattr(image, "tag_v2", {}) if kind == "TIFF" else {}
    if (compression := tags.get(_COMPRESSION, 1)) not in _LOSSLESS:
        raise ValueError(
            f"is a TIFF file of compression {compression}, which may change the values of a mask; save it as PNG"
        )
    bits = tags.get(_BITS, (1,))
    deepest = max(bits if isinstance(bits, tuple) else (bits,))
    if image.mode not in (*images.PILLOW_MODES, *_WIDE) or (deepest > 8 and image.mode not in _WIDE):
        raise ValueError(f"is a {kind} image of the mode {image.mode}, {deepest} bits a channel; {WANTED}")


def _take_pixels(image: Image.Image) -> Raster:
    if image.mode in _WIDE:
        return Raster(np.array(image).astype(np.uint16))
    if image.mode in ("1", "L"):
        return Raster(np.array(image.convert("L")), step=255 if image.mode == "1" else 1)
    if image.mode == "P":
        return Raster(np.array(image), bytes(image.getpalette("RGB") or b""))
    if image.mode not in ("RGB", "RGBX"):
        image = image.convert("RGBA")
        if int(np.asarray(image.getchannel("A")).min()) < 255:
            raise ValueError("has transparent pixels, which stand for no colour; save it without an alpha channel")
    return Raster(np.array(image.convert("RGB")))
