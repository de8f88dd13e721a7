"""Bytes from outside -> an image that the network may see, or a reason why not, with its status of HTTP.

An image is decoded only when its header says that it is within the limits. Nothing is written to disk.
"""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData, State

from tfseg.inference.reading import decode_image
from tfseg.io.image_headers import TooLarge
from tfseg.io.images import PILLOW_FORMATS, read_claimed_size
from tfseg.io.pixel_formats import RGB, PixelFormat

FIELD = "image"
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", *(magic for magics in PILLOW_FORMATS.values() for magic in magics))
MOST_PARTS = 20  # of a form
MOST_TEXT = 64 * 1024  # bytes of a form's text, and of what is before a part, its headers among it
CHUNK = 64 * 1024


class Refused(Exception):
    """A request that gets no answer, why, and with which status."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Limits:
    """What a request may hold at most."""

    body: int = 8 * 2**20
    """Bytes."""
    pixels: int = 1024 * 2048
    """Of the image."""
    side: int = 4096
    """Pixels of its height and of its width."""


def read_body(read: Callable[[int], bytes], declared: int | None, most: int, deadline: float) -> bytes:
    """Reads a body whole.

    Args:
        read: gives up to so many bytes, none at the end.
        declared: how many there should be; None if the client did not say.
        most: how many there may be.
        deadline: by `time.monotonic`.

    Raises:
        Refused: there are more bytes than there may, others than declared, none at all, or they do not come in time.
    """
    too_large = Refused(413, f"the body has more than {most:,} bytes")
    if declared is not None and declared > most:
        raise too_large
    chunks, size = [], 0
    try:
        while chunk := read(most + 1 - size):
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                raise too_large
            if time.monotonic() > deadline:
                raise TimeoutError
    except Refused:
        raise
    except TimeoutError:
        raise Refused(408, "the body did not come in time") from None
    except Exception:  # whatever a server raises for chunks without an end, without a length ...
        raise Refused(400, "the body is not what its headers say") from None
    if declared is not None and size != declared:
        raise Refused(400, f"the body ended after {size:,} of {declared:,} bytes")
    if not size:
        raise Refused(400, "the body is empty; expected an image")
    return b"".join(chunks)


def image_file(body: bytes, content_type: str) -> bytes:
    """Gives the file in the field `image` of multipart/form-data; any other body is an image itself.

    Raises:
        Refused: the form is damaged, or has not one such file.
    """
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data":
        return body
    try:
        files, fields = read_form(body, options.get("boundary", "").encode("ascii", "replace"))
    except UnicodeError:
        raise Refused(400, "names in the form are no UTF-8; curl -F 'image=@FILE;filename=a' gives another") from None
    except ValueError:
        raise Refused(400, "the body is no whole multipart/form-data") from None
    if len(files) != 1:
        names = ", ".join(sorted(fields))[:200] or "none"
        raise Refused(400, f"expected one file in the field {FIELD!r}, got {len(files)}; fields: {names}")
    return files[0]


def read_form(body: bytes, boundary: bytes) -> tuple[list[bytes], set[str]]:
    """Reads multipart/form-data.

    Werkzeug's own reader of forms bounds what it holds of a file by the size that text may have, and refuses one file
    in two of some hundred kilobytes; its decoder is given bytes here as long as what is no file keeps within bounds.

    Args:
        body: the form.
        boundary: that stands between its parts.

    Returns:
        The files in the field `image`, and the names of all fields.

    Raises:
        Refused: it has more parts, or more text in them or before them, than it may.
        ValueError: it is damaged, or ends too early.
    """
    if not boundary:
        raise ValueError("no boundary")
    form, decoder = Form(), MultipartDecoder(boundary)
    for start in range(0, len(body) + CHUNK, CHUNK):
        decoder.receive_data(body[start : start + CHUNK] or None)  # None: it ends
        while not isinstance(event := decoder.next_event(), (NeedData, Epilogue)):
            if isinstance(event, (Field, File)):
                form.begin(event)
            elif isinstance(event, Data):
                form.add(event)
        if decoder.state in (State.PREAMBLE, State.PART) and len(decoder.buffer) > MOST_TEXT:
            raise Refused(413, f"the form has more than {MOST_TEXT:,} bytes before a part")
        if isinstance(event, Epilogue) or decoder.state is State.EPILOGUE:
            break  # what comes after the last part means nothing
    return form.files, form.fields


class Form:
    """What has been read of a form.

    Attributes:
        files: content of those in the field `image`.
        fields: names of all fields.
    """

    def __init__(self):
        self.files: list[bytes] = []
        self.fields: set[str] = set()
        self._part: Field | File | None = None
        self._content = io.BytesIO()
        self._parts = self._text = 0

    def begin(self, part: Field | File) -> None:
        """Begins the next part; raises `Refused` if there are too many."""
        self._part, self._content = part, io.BytesIO()
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise Refused(413, f"the form has more than {MOST_PARTS} parts")
        self.fields.add(str(part.name))

    def add(self, data: Data) -> None:
        """Adds data to the part; raises `Refused` if that is too much text."""
        part = self._part
        is_ours = part is not None and part.name == FIELD
        if isinstance(part, Field):
            self._text += len(data.data)
        if self._text > MOST_TEXT:
            hint = f"; a file is sent as by curl -F {FIELD}=@FILE" if is_ours else ""
            raise Refused(413, f"the form has more than {MOST_TEXT:,} bytes of text{hint}")
        if isinstance(part, File) and is_ours:
            self._content.write(data.data)
            if not data.more_data:
                self.files.append(self._content.getvalue())


def read_upload(content: bytes, limits: Limits, pixels: PixelFormat = RGB, before: int = 0) -> np.ndarray:
    """Decodes an image as `inference.reading.read_image` does.

    Args:
        content: the file's.
        limits: of what is taken.
        pixels: what the model takes.
        before: pixels of the images that came before it in the same request.

    Returns:
        (H, W, channels) uint8, of the format.

    Raises:
        Refused: it is of another format, is refused by the rules of `io.channels`, or is larger than it may.
    """
    if not content.startswith(MAGIC):
        raise Refused(415, "the file is no PNG, JPEG, BMP, TIFF or WebP image")
    try:
        height, width = read_claimed_size(content)
    except TooLarge as error:
        raise Refused(413, f"the file {error}") from None
    except ValueError as error:
        is_whole = "cut short" not in str(error)
        raise Refused(400, f"the file {'' if is_whole else 'is no whole image: it '}{error}") from None
    check_size(height, width, limits, before)
    try:
        return decode_image(content, "the file", pixels)
    except TooLarge as error:
        raise Refused(413, str(error)) from None
    except ValueError as error:
        whole = "the file is no whole image: it is cut short"
        raise Refused(400, str(error).replace("the file is cut short", whole)) from None


def check_pixels(image: np.ndarray, limits: Limits, pixels: PixelFormat, before: int = 0) -> np.ndarray:
    """Gives pixels back that are sent without a file: bytes of so many channels as the network sees.

    Raises:
        Refused: they are something else, or more than they may be.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != pixels.channels or not image.size:
        shape, wanted = list(image.shape), f"uint8 [height, width, {pixels.channels}]"
        raise Refused(400, f"expected the pixels of an image as {wanted}, got {image.dtype} {shape}")
    check_size(image.shape[0], image.shape[1], limits, before)
    return image


def check_size(height: int, width: int, limits: Limits, before: int) -> None:
    """Raises `Refused` for an image that is larger than it may be, alone or with those before it in a request."""
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise Refused(
            413,
            f"the image is {height}x{width}; at most {limits.pixels:,} pixels, and {limits.side:,} a side, are taken",
        )
    if before + width * height > limits.pixels:
        raise Refused(413, f"the images of a request may have {limits.pixels:,} pixels together; these have more")
