"""Image files of any number of channels, of 8 or 16 bits -> the bytes that a network sees.

What `images` decodes to RGB stays as it is. Here are the other formats of pixels: grey alone, RGB with a fourth
channel, the bands of a TIFF, and 16 bits a channel. A file that holds something else than the format says is refused.

| the format | takes |
|---|---|
| 1 channel | grey; RGB whose three channels are equal; a further channel of alpha that is opaque is dropped |
| 3 channels of 8 bits | what `images` takes |
| 3 channels of 16 bits | RGB, grey three times; alpha that is opaque is dropped |
| 4 channels | RGBA with any alpha; TIFF of four channels |
| others | TIFF of so many channels |

Of 16 bits, PNG and TIFF are read; more than four channels, of TIFF alone.
"""

from typing import NamedTuple

import cv2
import numpy as np

from tfseg.io import images, tiff_bands
from tfseg.io.image_containers import read_head
from tfseg.io.image_headers import (
    DAMAGED,
    JPEG_SIGNATURE,
    PNG_COLOR_TYPES,
    PNG_SIGNATURE,
    check_png,
    keep_pixels,
    read_jpeg_frame,
    read_orientation,
    read_png_head,
    turn,
)
from tfseg.io.pixel_formats import RGB, PixelFormat, name_channels

_PNG_KINDS = {"grey": (1, 0), "RGB": (3, 0), "palette": (3, 0), "grey with alpha": (1, 1), "RGBA": (3, 1)}
_OPAQUE = "has transparent pixels; save it without an alpha channel"


class Kind(NamedTuple):
    """What an image file holds, by its header."""

    bits: int  # a channel, 8 or 16; of fewer, 8
    colors: int  # 1 of grey, 3 of RGB
    more: int = 0  # channels beyond these
    is_alpha: bool = False  # whether the file says that this is one of alpha

    @property
    def channels(self) -> int:
        """All of them."""
        return self.colors + self.more

    @property
    def are_bands(self) -> bool:
        """Whether no channel is said to be red, or alpha: of several, each is what a sensor measured."""
        return self.colors == 1 and self.more > 0 and not self.is_alpha

    def __str__(self) -> str:
        if self.are_bands:
            return f"{self.bits}-bit {self.channels}-channel"
        color = "grey" if self.colors == 1 else "RGB"
        if self.is_alpha and self.more == 1:
            return f"{self.bits}-bit {color} with alpha"
        beyond = f" and {self.more} channel{'s' if self.more > 1 else ''} more" if self.more else ""
        return f"{self.bits}-bit {color}{beyond}"


def read_kind(data: bytes) -> Kind:
    """Reads what an image file holds; of other files than TIFF, the beginning is enough.

    Raises:
        TooLarge, ValueError: it is damaged, of another format, or of numbers that are no whole ones of 8 or 16 bits.
    """
    if data.startswith(PNG_SIGNATURE):
        if len(data) < 33 or data[25] not in PNG_COLOR_TYPES:
            raise ValueError(DAMAGED.format(len(data)))
        colors, more = _PNG_KINDS[PNG_COLOR_TYPES[data[25]]]
        return Kind(16 if data[24] == 16 else 8, colors, more, more > 0)
    if data.startswith(JPEG_SIGNATURE):
        return Kind(8, 1 if read_jpeg_frame(data)[2] == 1 else 3)
    if images.format_of(data) == "TIFF":
        return _tiff_kind(tiff_bands.read_tiff(data))
    images.read_claimed_size(data)  # its errors
    return Kind(8, 3)


def _tiff_kind(tiff: tiff_bands.Tiff) -> Kind:
    if not tiff_bands.is_exact(tiff):
        if tiff.bits > 8 or tiff.numbers != 1 or tiff.bits == 0:
            kind = {2: "signed numbers", 3: "floats"}.get(tiff.numbers, "unsigned numbers")
            if tiff.numbers == 1 and tiff.bits == 16 and tiff.compression in tiff_bands.BYTEWISE:
                colors = f"photometric interpretation {tiff.photometric}"
                raise ValueError(f"is a 16-bit TIFF of {colors}; convert it to grey or RGB")
            if tiff.numbers == 1 and tiff.bits in (8, 16):
                raise ValueError(f"is a {tiff.bits}-bit TIFF of compression {tiff.compression}; save it without loss")
            raise ValueError(
                f"is a TIFF of {tiff.bits or 'unequal'} bits, {kind}; convert it to 8 or 16 bits, unsigned"
            )
        return Kind(8, 1 if tiff.samples == 1 and tiff.photometric < tiff_bands.COLORED else 3)
    colors = 3 if tiff.photometric == tiff_bands.COLORED and tiff.samples >= 3 else 1
    more = tiff.samples - colors
    # Of a TIFF that does not say what a fourth channel is, the decoder of RGB takes it for alpha.
    is_alpha = more == 1 and (not tiff.extras or tiff.extras[0] in tiff_bands.ALPHA)
    return Kind(tiff.bits, colors, more, is_alpha)


def can_be(kind: Kind, channels: int) -> bool:
    """Whether images of a kind can be taken as so many channels, as far as their headers say."""
    if channels == kind.channels:
        return True
    bare = kind.more == 0 or (kind.is_alpha and kind.more == 1)
    if channels == 3 and kind.bits == 8:
        return kind.more < 2 or kind.colors == 3
    return bare and (channels == 3 or (channels == 1 and (kind.colors == 1 or kind.more == 0)))


def decode_image(data: bytes, pixels: PixelFormat = RGB, upright: bool = True) -> np.ndarray:
    """Decodes an image file to bytes of a format.

    Args:
        data: content of the file.
        pixels: of the data that it belongs to, or of the model that is to see it.
        upright: whether to turn it as its EXIF data say; otherwise it stays as it is stored.

    Returns:
        (H, W, channels) uint8.

    Raises:
        TooLarge: it would take too much to decode.
        ValueError: it is damaged, or holds something else than the format says.
    """
    if pixels.is_rgb and not _holds_bands(data):
        return images.decode_file(data, upright)
    return pixels.to_bytes(decode_values(data, pixels.channels, pixels.bits, upright))


def decode_values(data: bytes, channels: int, bits: int, upright: bool = True) -> np.ndarray:
    """Decodes an image file to its values: (H, W, channels), uint8 or uint16 by the bits; else as `decode_image`."""
    kind = read_kind(data)
    if kind.bits != bits or not can_be(kind, channels):
        raise ValueError(f"is {_with_article(kind)}, expected {bits}-bit {name_channels(channels)}")
    image, orientation = _decode(data, kind, channels)
    image = _choose_channels(image, kind, channels)
    return turn(image, orientation) if upright else np.ascontiguousarray(image)


def _holds_bands(data: bytes) -> bool:
    """Whether a file is a TIFF of three bands of 8 bits or more, which the decoder of RGB would call damaged."""
    if images.format_of(data) != "TIFF":
        return False
    try:
        kind = read_kind(data)
    except ValueError:  # the decoder words it
        return False
    return kind.bits == 8 and kind.are_bands and kind.channels >= RGB.channels


def _with_article(kind: Kind) -> str:
    return f"{'an' if kind.bits == 8 else 'a'} {kind} image"


def _decode(data: bytes, kind: Kind, channels: int) -> tuple[np.ndarray, int]:
    """Decodes a file as it is stored: (H, W, its channels, or 3 where it was decoded to RGB), and its orientation."""
    if images.format_of(data) == "TIFF" and tiff_bands.is_exact(tiff_bands.read_tiff(data)):
        return tiff_bands.decode_tiff(data), read_head(data).orientation
    if data.startswith(PNG_SIGNATURE):
        orientation = read_orientation(data)
        if kind.bits == 16 or channels in (2, 4):
            return _decode_png(data, kind), orientation
        return images.decode_file(data, upright=False), orientation
    orientation = read_head(data).orientation if images.format_of(data) else read_orientation(data)
    return images.decode_file(data, upright=False), orientation


def _decode_png(data: bytes, kind: Kind) -> np.ndarray:
    """Decodes a PNG with its alpha, of 8 or 16 bits."""
    png = read_png_head(data)
    if png.animated:
        raise ValueError("has more than one image in one PNG file; save the one that is meant by itself")
    if png.transparency:
        raise ValueError("has a transparent colour, which is no channel; save it without")
    check_png(data)
    try:
        stored = cv2.imdecode(np.frombuffer(keep_pixels(data), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        stored = None
    if stored is None:
        raise ValueError(DAMAGED.format(len(data)))
    if stored.ndim == 2:
        return stored[..., np.newaxis]
    if kind.colors == 1:  # grey with alpha, which OpenCV gives as four channels
        return stored[..., [0, 3]]
    return stored[..., [2, 1, 0, 3][: stored.shape[2]]]


def _choose_channels(image: np.ndarray, kind: Kind, channels: int) -> np.ndarray:
    """Takes so many channels of what was decoded, if they are all that it shows."""
    if image.shape[2] == channels:
        return image
    if kind.more and image.shape[2] == kind.channels:
        if image[..., -1].min() < np.iinfo(image.dtype).max:
            raise ValueError(_OPAQUE)
        image = image[..., :-1]
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    if not all(np.array_equal(image[..., 0], image[..., other]) for other in (1, 2)):
        raise ValueError("has colours, of which 1 channel would lose all but red; save it as grey")
    return image[..., :1]
