"""Image files -> pixels inside a graph, by the rules of `io.images`: a SavedModel answers files as all other ways do.

Only PNG and JPEG, which are all that TensorFlow decodes alike; other formats are refused. What the decoders would pass
over (EXIF orientation, transparency, a JPEG for print, an end that is missing) is read from the bytes here.
"""

import tensorflow as tf

from tfseg.io.image_headers import (
    EXIF_HEADER,
    JPEG_APP1,
    JPEG_FRAMES,
    JPEG_SCAN,
    JPEG_SIGNATURE,
    MOST_CHUNKS,
    MOST_SCANS,
    MOST_SEGMENTS,
    ORIENTATION,
    PNG_SIGNATURE,
)
from tfseg.io.pixel_formats import RGB, PixelFormat

CUT = "the file is cut short or damaged; copy it again"


def decode(content, pixels: PixelFormat = RGB):
    """Decodes an image file.

    Args:
        content: string scalar, the content of a PNG or JPEG file.
        pixels: what it is to be, of 1, 3 or 4 channels; see `io.channels`, whose rules these are.

    Returns:
        uint8 (H, W, channels), turned upright.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, for what `io.images` refuses, and other formats.
    """
    content = tf.convert_to_tensor(content)
    is_png = tf.strings.substr(content, 0, len(PNG_SIGNATURE)) == PNG_SIGNATURE
    is_jpeg = tf.strings.substr(content, 0, len(JPEG_SIGNATURE)) == JPEG_SIGNATURE
    takes_jpeg = pixels.bits == 8 and pixels.channels in (1, 3)
    known = (is_png | is_jpeg, "PNG or JPEG") if takes_jpeg else (is_png, "PNG")
    with _refuse_unless(known[0], f"the file is no {known[1]} image"):
        data = tf.cast(tf.io.decode_raw(content, tf.uint8), tf.int32)
    if not takes_jpeg:
        image, orientation = _decode_png(content, data, pixels)
    else:
        image, orientation = tf.cond(
            is_png, lambda: _decode_png(content, data, pixels), lambda: _decode_jpeg(content, data)
        )
    image = turn(_to_bytes(_choose_channels(image, pixels.channels), pixels), orientation)
    return tf.ensure_shape(image, (None, None, pixels.channels))


def _choose_channels(image, channels: int):
    """Takes of RGB one channel, if all three are equal."""
    if channels != 1:
        return image
    equal = tf.reduce_all(image[..., :1] == image)
    with _refuse_unless(equal, "the file has colours, of which 1 channel would lose all but red; save it as grey"):
        return image[..., :1]


def _to_bytes(image, pixels: PixelFormat):
    """Brings values of 16 bits to 0..255 by the range of each channel."""
    if pixels.value_range is None:
        return image
    values = tf.cast(image, tf.int32)
    planes = [tf.gather(table, values[..., channel]) for channel, table in enumerate(pixels.tables())]
    return tf.stack(planes, axis=-1)


def _decode_png(content, data, wanted: PixelFormat):
    length = tf.size(data)
    with _refuse_unless((length >= 33) & (_number(data, 12, 4) == int.from_bytes(b"IHDR")), CUT):
        depth, color = data[24], data[25]
    if wanted.bits == 8:
        sound, reason = depth < 16, "the file is a 16-bit image; convert it to 8 bits a channel, as it should look"
    else:
        sound, reason = depth == 16, f"the file is no 16-bit image; expected {wanted}"
    if wanted.channels == 4:
        sound, reason = sound & (color == 6), f"the file is no image of 4 channels; expected {wanted}"
    with _refuse_unless(sound, reason):
        start = tf.constant(len(PNG_SIGNATURE))

    def step(count, place, exif, transparent, animated, ended):
        size, kind = _number(data, place, 4), _number(data, place + 4, 4)
        exif = tf.where((kind == int.from_bytes(b"eXIf")) & (exif < 0), place + 8, exif)
        transparent |= kind == int.from_bytes(b"tRNS")
        animated |= kind == int.from_bytes(b"fdAT")
        end = place + 12 + tf.maximum(size, 0)
        ended = (kind == int.from_bytes(b"IEND")) & (end <= length) & (size == 0)
        return count + 1, end, exif, transparent, animated, ended

    def continues(count, place, exif, transparent, animated, ended):
        return ~ended & (place + 12 <= length) & (place > 0) & (count < MOST_CHUNKS)

    start = (tf.constant(0), start, tf.constant(-1), tf.constant(False), tf.constant(False), tf.constant(False))
    count, _, exif, transparent, animated, ended = tf.while_loop(continues, step, start)
    with _refuse_unless(count < MOST_CHUNKS, f"the file has more than {MOST_CHUNKS:,} chunks; save it anew"):
        count = tf.identity(count)
    with tf.control_dependencies([count]), _refuse_unless(ended, CUT):
        animated = tf.identity(animated)
    reason = "the file has more than one image in one PNG file; save the one that is meant by itself"
    with _refuse_unless(~animated, reason):
        pixels = tf.io.decode_png(content, channels=4, dtype=tf.uint8 if wanted.bits == 8 else tf.uint16)
    if wanted.channels == 4:
        with _refuse_unless(~transparent, "the file has a transparent colour, which is no channel; save it without"):
            return pixels, _orientation(data, exif)
    most = 2**wanted.bits - 1
    lowest = tf.reduce_min(tf.cast(pixels[..., 3], tf.int32))
    opaque = ~(transparent | (color >= 4)) | (lowest == most)  # grey with alpha, RGBA
    with _refuse_unless(opaque, "the file has transparent pixels, which stand for no colour; save it without alpha"):
        return pixels[..., :3], _orientation(data, exif)


def _decode_jpeg(content, data):
    length = tf.size(data)

    def step(count, place, kind, exif, colors, sound):
        sound = data[place] == 0xFF
        kind = data[place + 1]
        is_padding = kind == 0xFF
        size = _number(data, place + 2, 2)
        is_exif = (kind == JPEG_APP1) & (place + 10 <= length) & _equals(data, place + 4, EXIF_HEADER)
        exif = tf.where(is_exif & (exif < 0), place + 10, exif)
        is_frame = tf.reduce_any(kind == tf.constant(sorted(JPEG_FRAMES)))
        colors = tf.where(is_frame, data[tf.minimum(place + 9, length - 1)], colors)
        return count + 1, place + tf.where(is_padding, 1, 2 + size), kind, exif, colors, sound

    def continues(count, place, kind, exif, colors, sound):
        return sound & (kind != JPEG_SCAN) & (place + 4 <= length) & (count < MOST_SEGMENTS)

    start = (tf.constant(0), tf.constant(2), tf.constant(0), tf.constant(-1), tf.constant(0), tf.constant(True))
    count, place, kind, exif, colors, sound = tf.while_loop(continues, step, start)
    reason = f"the file has more than {MOST_SEGMENTS:,} segments or bytes of padding; save it anew"
    with _refuse_unless((count < MOST_SEGMENTS) | (kind == JPEG_SCAN), reason):
        kind = tf.identity(kind)
    follows = data[:-1] == 0xFF
    ends = tf.reduce_any((follows & (data[1:] == 0xD9))[tf.maximum(place, 0) :])
    scans = tf.math.count_nonzero(follows & (data[1:] == JPEG_SCAN))
    with _refuse_unless(sound & (kind == JPEG_SCAN) & ends, CUT):
        colors = tf.identity(colors)
    reason = "the file is a CMYK image, or of other than 1 or 3 colours; convert it to RGB with its colour profile"
    with _refuse_unless((colors == 1) | (colors == 3), reason):
        scans = tf.identity(scans)
    with _refuse_unless(scans <= MOST_SCANS, f"the file has more than {MOST_SCANS} scans; save it as a plain JPEG"):
        # The default transform is a fast one, up to 14 grey levels off all other decoders.
        image = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        return image, _orientation(data, exif)


def _orientation(data, exif):
    """Reads the EXIF orientation of bytes, int32 (N,), of which the TIFF header begins at `exif`; 1 without one."""
    length = tf.size(data)
    little = _equals(data, exif, b"II*\0")
    known = (exif >= 0) & (exif + 8 <= length) & (little | _equals(data, exif, b"MM\0*"))

    def number(place, size):
        return tf.where(little, _number(data, exif + place, size, little=True), _number(data, exif + place, size))

    def find():
        directory = number(4, 4)
        first = directory + 2
        count = tf.minimum(number(directory, 2), (length - exif - first) // 12)
        entries = first + 12 * tf.range(tf.maximum(count, 0))
        fits = (number(entries, 2) == ORIENTATION) & (number(entries + 2, 2) == 3)  # a SHORT
        found = entries[fits][:1]  # or nothing: a directory may be empty, or lie beyond the end
        value = tf.reduce_sum(number(found + 8, 2))
        return tf.where((directory >= 0) & (value >= 1) & (value <= 8), value, 1)

    return tf.cond(known, find, lambda: tf.constant(1))


def turn(image, orientation):
    """Turns an image (H, W, channels) upright that is stored in an EXIF orientation, an int32 scalar of 1 to 8."""

    def among(*orientations):
        return tf.reduce_any(orientation == tf.constant(orientations))

    image = tf.cond(among(5, 6, 7, 8), lambda: tf.transpose(image, [1, 0, 2]), lambda: tf.identity(image))
    image = tf.cond(among(3, 4, 7, 8), lambda: image[::-1], lambda: tf.identity(image))
    image = tf.cond(among(2, 3, 6, 7), lambda: image[:, ::-1], lambda: tf.identity(image))
    return image


def _number(data, place, size: int, little: bool = False):
    """Reads whole numbers of so many bytes at places, any shape; what lies outside of the data counts as 0."""
    powers = [256**power for power in range(size)]
    # The sum of four bytes may pass int32's end, and comes out negative.
    return tf.reduce_sum(_bytes(data, place, size) * tf.constant(powers if little else powers[::-1]), axis=-1)


def _equals(data, place, expected: bytes):
    """Whether bytes stand at a place, a scalar."""
    return tf.reduce_all(_bytes(data, place, len(expected)) == tf.constant([*expected]))


def _bytes(data, place, count: int):
    at = tf.expand_dims(place, -1) + tf.range(count)
    last = tf.size(data) - 1
    return tf.where((at >= 0) & (at <= last), tf.gather(data, tf.clip_by_value(at, 0, last)), 0)


def _refuse_unless(condition, reason: str):
    return tf.control_dependencies([tf.debugging.Assert(condition, [reason])])
