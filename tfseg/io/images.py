"""Image files -> arrays.

A training cannot distinguish a damaged image from a dark one, and who gets a mask cannot see what the network saw.
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
| cut short, a wrong checksum, more pixels than so many bytes can stand for | refused |
| over 2**30 pixels, 100,000 a side, 100 scans, 20,000 chunks, 10,000 segments, 500 tags, 40,000 strips | refused |

All that is counted before a decoder sees the file, and of a PNG or TIFF it sees only what the pixels come of.

Colour profiles and gamma are not applied, and XMP is not looked at.
"""

import functools
import io

import cv2
import kornia_rs.io  # pyright: ignore[reportMissingModuleSource]  compiled
import numpy as np
from PIL import Image

from tfseg.io.image_containers import read_head
from tfseg.io.image_headers import (
    DAMAGED,
    JPEG_SIGNATURE,
    PNG_END,
    PNG_SIGNATURE,
    SIDEWAYS,
    PngHead,
    TooLarge,
    check_jpeg,
    check_png,
    keep_pixels,
    read_jpeg_frame,
    read_orientation,
    read_png_head,
    read_png_size,
    turn,
)

HEIF_BRANDS = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1", b"ftyphevc")  # bytes 4 to 12 of a HEIC file
# Formats that Pillow reads, by how their files begin.
PILLOW_FORMATS = {"BMP": (b"BM",), "TIFF": (b"II*\0", b"MM\0*"), "WEBP": (b"RIFF",)}
FORMATS = ("PNG", "JPEG", *PILLOW_FORMATS)  # as Pillow calls them
PILLOW_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX")  # of 8 bits a channel or less
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_TRANSPARENT = "has transparent pixels, which stand for no colour; save it without an alpha channel"


def decode_file(data: bytes, upright: bool = True) -> np.ndarray:
    """Decodes an image file by the rules of this module; one that is to be other than 8-bit RGB, see `channels`.

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
        check_jpeg(data)
        image = _decode_with_opencv(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        return turn(image, read_orientation(data)) if upright else image
    if kind := format_of(data):
        head = read_head(data)
        image = _decode_other(head.content, kind, len(data))
        return turn(image, head.orientation) if upright else image
    if data[4:12] in HEIF_BRANDS and register_heif():
        return _decode_other(data, "HEIF", len(data))
    raise ValueError(f"is no PNG, JPEG, BMP, TIFF or WebP image ({len(data)} bytes)")


def format_of(data: bytes) -> str | None:
    """Names the format of a file that Pillow decodes, as Pillow calls it, by how it begins."""
    return next((name for name, signatures in PILLOW_FORMATS.items() if data.startswith(signatures)), None)


def read_claimed_size(data: bytes) -> tuple[int, int]:
    """Reads (height, width) as stored from the head of a file, in a moment; whether the pixels are there shows later.

    Raises:
        TooLarge, ValueError: the head is refused, see `decode_file`.
    """
    if data.startswith(PNG_SIGNATURE):
        return read_png_size(data)
    if data.startswith(JPEG_SIGNATURE):
        height, width, _ = read_jpeg_frame(data)
        return height, width
    if format_of(data):
        head = read_head(data)
        return head.height, head.width
    if data[4:12] in HEIF_BRANDS and register_heif():
        with Image.open(io.BytesIO(data), formats=("HEIF",)) as image:
            return image.height, image.width
    raise ValueError(f"is no PNG, JPEG, BMP, TIFF or WebP image ({len(data)} bytes)")


def read_upright_size(data: bytes) -> tuple[int, int]:
    """Reads (height, width) of the image when it is turned upright; errors as of `read_claimed_size`."""
    size = read_claimed_size(data)
    orientation = read_head(data).orientation if format_of(data) else read_orientation(data)
    return (size[1], size[0]) if orientation >= SIDEWAYS else size


@functools.cache
def register_heif() -> bool:
    """Lets Pillow read HEIC, if the extra that can is installed; returns whether it is."""
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]  an extra
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _decode_png(data: bytes, upright: bool) -> np.ndarray:
    png = read_png_head(data)
    if png.depth == 16:
        raise ValueError(f"is a 16-bit {png.color} image; convert it to 8 bits a channel, as it should look")
    if png.animated:
        raise ValueError("has more than one image in one PNG file; save the one that is meant by itself")
    if png.color == "RGB" and png.plain and data.endswith(PNG_END):
        check_png(data, but=b"IDAT")  # whose checksums fail where it is decoded
        return decode_plain_png(data, png)
    check_png(data)
    pixels_only = keep_pixels(data)
    if png.transparency:  # which OpenCV overlooks in grey images
        try:
            with Image.open(io.BytesIO(pixels_only), formats=("PNG",)) as image:
                opaque = _is_opaque(image)
        except (OSError, SyntaxError, ValueError):
            raise ValueError(DAMAGED.format(len(data))) from None
    else:
        pixels = _decode_with_opencv(pixels_only, cv2.IMREAD_UNCHANGED)
        opaque = pixels.ndim == 2 or pixels[..., 3:].min(initial=255) == 255
    if not opaque:
        raise ValueError(_TRANSPARENT)
    image = _decode_with_opencv(pixels_only, cv2.IMREAD_COLOR_RGB)  # grey and palette as RGB
    return turn(image, read_orientation(data)) if upright and png.exif is not None else image


def _decode_other(content: bytes, kind: str, size: int) -> np.ndarray:
    """Decodes what Pillow can; `size` is the file's, in bytes, for errors."""
    try:
        with Image.open(io.BytesIO(content), formats=(kind,)) as image:
            _check_pillow(image, kind)
            image.load()
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                if not _is_opaque(image):
                    raise ValueError(_TRANSPARENT)
            return np.array(image.convert("RGB"))
    except ValueError as error:
        if str(error).startswith(("has ", "is ")):  # ours
            raise
        raise ValueError(DAMAGED.format(size)) from None
    except Image.DecompressionBombError:
        raise TooLarge("has more pixels than are decoded; make it smaller first") from None
    except Exception:  # whatever Pillow's decoders raise: OSError, SyntaxError, struct.error ...
        raise ValueError(DAMAGED.format(size)) from None


def _is_opaque(image: Image.Image) -> bool:
    return int(np.asarray(image.convert("RGBA").getchannel("A")).min()) == 255


def _check_pillow(image: Image.Image, kind: str) -> None:
    """Refuses what Pillow would make 8-bit RGB of without a word."""
    # BitsPerSample; Pillow cuts 16 down to 8.
    bits = getattr(image, "tag_v2", {}).get(258, (1,)) if kind == "TIFF" else (8,)
    if max(bits if isinstance(bits, tuple) else (bits,)) > 8 or image.mode.startswith(("I", "F")):
        raise ValueError(f"is a {kind} image of more than 8 bits a channel; convert it to 8 bits, as it should look")
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise ValueError(f"has {frames} images in one {kind} file; save the one that is meant by itself")
    if image.mode not in PILLOW_MODES:
        raise ValueError(f"is a {image.mode} image; convert it to RGB with its colour profile")


def decode_plain_png(data: bytes, png: PngHead) -> np.ndarray:
    """Decodes the common kind of PNG twice as fast as OpenCV; what is damaged fails its checksums here too."""
    try:
        mode = "rgb" if png.color == "RGB" else "mono"
        pixels = kornia_rs.io.decode_image_png_u8(data, (png.height, png.width), mode)
    except Exception:  # it raises plain `Exception`
        raise ValueError(DAMAGED.format(len(data))) from None
    return pixels if mode == "rgb" else pixels[..., 0]


def _decode_with_opencv(data: bytes, mode: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(DAMAGED.format(len(data)))
    return image
