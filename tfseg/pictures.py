"""Files of pictures and masks <-> arrays.

A training run cannot tell a damaged picture from a dark one. What a decoder would mend in silence is refused here by
the name of the file: one that was cut short, a mask whose values would become colours or be squeezed into eight bits.
"""

import io
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
JPEG_SIGNATURE = b"\xff\xd8"
JPEG_SCAN, JPEG_END = 0xDA, b"\xff\xd9"


def read_image(path: Path) -> np.ndarray:
    """Reads a PNG or JPEG file as (H, W, 3) uint8 RGB, turned upright if its EXIF data say so."""
    data = path.read_bytes()
    check_whole(path, data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(f"{path}: the picture is damaged; copy it again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_mask(path: Path) -> np.ndarray:
    """Reads a grey or palette PNG file as (H, W) uint8 raw values; of a palette the indexes, not the colours."""
    data = path.read_bytes()
    check_whole(path, data)
    if not data.startswith(PNG_SIGNATURE):
        raise ValueError(f"{path}: a mask must be a PNG file, since JPEG changes its values")
    depth, color = data[24], PNG_COLOR_TYPES.get(data[25], "unknown")
    if color != "palette" and (depth, color) != (8, "grey"):
        raise ValueError(f"{path}: a mask must be an 8-bit grey or palette PNG, this one is {depth}-bit {color}")
    try:
        # Pillow, because OpenCV would turn a palette's indexes into colours.
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's SyntaxError: a broken PNG header
        raise ValueError(f"{path}: the mask is damaged ({error}); copy it again") from None


def check_whole(path: Path, data: bytes) -> None:
    """Refuses a file that was cut short, which decoders would fill with grey.

    Raises:
        ValueError: the data are no PNG or JPEG file, end too early, or fail PNG's checksums.
    """
    if data.startswith(PNG_SIGNATURE):
        whole = _is_whole_png(memoryview(data))
    elif data.startswith(JPEG_SIGNATURE):
        whole = _is_whole_jpeg(data)
    else:
        raise ValueError(f"{path}: is neither a PNG nor a JPEG file ({len(data)} bytes)")
    if not whole:
        raise ValueError(f"{path}: is cut short or damaged ({len(data)} bytes); copy it again")


def _is_whole_png(data: memoryview) -> bool:
    position, kind = len(PNG_SIGNATURE), b""
    if data[12:16] != b"IHDR":  # the header, always first
        return False
    while kind != b"IEND":  # a chunk: length of its data, four letters, data, checksum of letters and data
        end = position + 12 + int.from_bytes(data[position : position + 4])
        kind = bytes(data[position + 4 : position + 8])
        if end > len(data) or zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return False
        position = end
    return True


def _is_whole_jpeg(data: bytes) -> bool:
    position, kind = len(JPEG_SIGNATURE), None
    while kind != JPEG_SCAN:  # a segment: 0xFF, its kind, length of the rest; a preview inside one is skipped with it
        if position + 4 > len(data) or data[position] != 0xFF:
            return False
        kind = data[position + 1]
        # 0xFF may be repeated as padding before a kind.
        position += 1 if kind == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4])
    return JPEG_END in data[position:]


def resize(image: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Squashes a picture and its mask to (height, width); the values of the mask stay what they are."""
    height, width = size
    if mask.shape == (height, width):
        return image, mask
    shrinks = height <= mask.shape[0] and width <= mask.shape[1]
    # The area filter averages every pixel, where the linear one would skip most of them. For the mask the exact kind
    # of nearest: the plain one is off by half a pixel against the picture.
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return image, cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def encode_image(image: np.ndarray, codec: str, quality: int | None) -> bytes:
    """Encodes (H, W, 3) uint8 RGB as "jpeg" of a quality in 1..100, as "png", or as "raw", its plain bytes."""
    if codec == "raw":
        return image.tobytes()
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if codec == "png":
        return cv2.imencode(".png", bgr)[1].tobytes()
    # Colour at full resolution (4:4:4): the usual half blurs it across the thin poles and signs.
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])[1].tobytes()


def encode_mask(mask: np.ndarray) -> bytes:
    """Encodes (H, W) uint8 as a grey PNG."""
    return cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_COMPRESSION, 6])[1].tobytes()
