"""Image files of other pixels than 8-bit RGB: which are taken as how many channels, and what they become."""

import io

import cv2
import numpy as np
import pytest
from helper_tiff import encode_png, encode_tiff
from PIL import Image

from tfseg.io import codecs
from tfseg.io.channels import Kind, decode_image, read_kind
from tfseg.io.pixel_formats import RGB, PixelFormat

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (6, 9, 6), np.uint8)
VALUES = RANDOM.integers(0, 65536, (6, 9, 6), np.uint16)
OPAQUE = np.dstack([BYTES[..., :3], np.full((6, 9), 255, np.uint8)])


def pillow(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


FILES = {
    "grey PNG": (encode_png(BYTES[..., :1]), Kind(8, 1), {1, 3}),
    "grey JPEG": (pillow(BYTES[..., 0], "JPEG"), Kind(8, 1), {1, 3}),
    "grey TIFF": (encode_tiff(BYTES[..., :1]), Kind(8, 1), {1, 3}),
    "RGB PNG": (encode_png(BYTES[..., :3]), Kind(8, 3), {3}),
    "RGB PNG of greys": (encode_png(BYTES[..., [0, 0, 0]]), Kind(8, 3), {1, 3}),
    "RGB JPEG": (pillow(BYTES[..., :3], "JPEG"), Kind(8, 3), {3}),
    "RGBA PNG": (encode_png(BYTES[..., :4]), Kind(8, 3, 1, True), {4}),
    "RGBA PNG, opaque": (encode_png(OPAQUE), Kind(8, 3, 1, True), {3, 4}),
    "grey PNG with alpha": (pillow(BYTES[..., :2], "PNG"), Kind(8, 1, 1, True), {2}),
    "TIFF, RGB with alpha": (encode_tiff(BYTES[..., :4], photometric=2, extras=[2]), Kind(8, 3, 1, True), {4}),
    "TIFF, RGB with near infrared": (encode_tiff(BYTES[..., :4], photometric=2), Kind(8, 3, 1), {3, 4}),
    "TIFF of 3 bands": (encode_tiff(BYTES[..., :3]), Kind(8, 1, 2), {3}),
    "TIFF of 4 bands": (encode_tiff(BYTES[..., :4]), Kind(8, 1, 3), {4}),
    "TIFF of 6 bands": (encode_tiff(BYTES), Kind(8, 1, 5), {6}),
}
WIDE_FILES = {
    "grey PNG": (encode_png(VALUES[..., :1]), Kind(16, 1), {1, 3}),
    "RGB PNG": (encode_png(VALUES[..., :3]), Kind(16, 3), {3}),
    "RGBA PNG": (encode_png(VALUES[..., :4]), Kind(16, 3, 1, True), {4}),
    "grey TIFF": (encode_tiff(VALUES[..., :1]), Kind(16, 1), {1, 3}),
    "RGB TIFF": (encode_tiff(VALUES[..., :3], photometric=2), Kind(16, 3), {3}),
    "TIFF of 6 bands": (encode_tiff(VALUES), Kind(16, 1, 5), {6}),
}


def channels_taken(data, bits):
    """As how many channels a file is taken."""
    taken = set()
    for channels in (1, 2, 3, 4, 5, 6):
        try:
            image = decode_image(data, PixelFormat(channels, None if bits == 8 else ((0, 65535),) * channels))
        except ValueError:
            continue
        assert image.shape == (6, 9, channels) and image.dtype == np.uint8
        taken.add(channels)
    return taken


@pytest.mark.parametrize("name", FILES)
def test_files_of_8_bits(name):
    data, kind, channels = FILES[name]
    assert read_kind(data) == kind and channels_taken(data, 8) == channels and channels_taken(data, 16) == set()


@pytest.mark.parametrize("name", WIDE_FILES)
def test_files_of_16_bits(name):
    data, kind, channels = WIDE_FILES[name]
    assert read_kind(data) == kind and channels_taken(data, 16) == channels and channels_taken(data, 8) == set()


def test_pixels_are_those_of_the_file():
    for channels, data in ((1, FILES["grey PNG"][0]), (4, FILES["RGBA PNG"][0]), (6, FILES["TIFF of 6 bands"][0])):
        np.testing.assert_array_equal(decode_image(data, PixelFormat(channels)), BYTES[..., :channels])
    np.testing.assert_array_equal(decode_image(FILES["TIFF of 3 bands"][0]), BYTES[..., :3])
    np.testing.assert_array_equal(decode_image(FILES["grey PNG with alpha"][0], PixelFormat(2)), BYTES[..., :2])
    bands = PixelFormat(6, tuple((1000 * channel, 60000) for channel in range(6)))
    found = decode_image(WIDE_FILES["TIFF of 6 bands"][0], bands)
    low = 1000 * np.arange(6)
    expected = np.floor((VALUES.clip(low, 60000) - low) * 255 / (60000 - low) + 0.5)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        decode_image(WIDE_FILES["RGB PNG"][0], PixelFormat(3, ((0, 65535),) * 3)),
        decode_image(WIDE_FILES["RGB TIFF"][0], PixelFormat(3, ((0, 65535),) * 3)),
    )


@pytest.mark.parametrize(
    ("data", "pixels", "message"),
    [
        (WIDE_FILES["grey PNG"][0], PixelFormat(1), "is a 16-bit grey image, expected 8-bit grey"),
        (FILES["grey PNG"][0], PixelFormat(1, ((0, 9),)), "is an 8-bit grey image, expected 16-bit grey"),
        (FILES["RGB PNG"][0], PixelFormat(4), "is an 8-bit RGB image, expected 8-bit 4-channel"),
        (FILES["RGB PNG"][0], PixelFormat(1), "has colours, of which 1 channel would lose all but red; save it as"),
        (FILES["TIFF of 4 bands"][0], RGB, "is an 8-bit 4-channel image, expected 8-bit RGB"),
        (FILES["RGBA PNG"][0], RGB, "has transparent pixels, which stand for no colour"),
        (WIDE_FILES["RGBA PNG"][0], PixelFormat(3, ((0, 9),) * 3), "has transparent pixels; save it without an alpha"),
        (encode_tiff(VALUES, numbers=3), PixelFormat(6, ((0, 9),) * 6), "is a TIFF of 16 bits, floats; convert it to"),
        (
            encode_tiff(VALUES[..., :2], extras=[2]),
            PixelFormat(1, ((0, 9),)),
            "has transparent pixels; save it without an alpha channel$",
        ),
        (
            encode_tiff(VALUES[..., :4], photometric=5, extras=[]),
            PixelFormat(4, ((0, 9),) * 4),
            "16-bit TIFF of photo",
        ),
        (b"GIF89a", PixelFormat(1), "is no PNG, JPEG, BMP, TIFF or WebP image"),
        (WIDE_FILES["grey PNG"][0][:-20], PixelFormat(1, ((0, 9),)), "is cut short or damaged"),
    ],
)
def test_what_is_refused(data, pixels, message):
    with pytest.raises(ValueError, match=message):
        decode_image(data, pixels)


def test_images_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = pillow(BYTES[..., 0], "PNG", exif=exif)
    turned = decode_image(data, PixelFormat(1))
    np.testing.assert_array_equal(turned[..., 0], np.rot90(BYTES[..., 0], -1))
    np.testing.assert_array_equal(decode_image(data, PixelFormat(1), upright=False), BYTES[..., :1])


@pytest.mark.parametrize(("codec", "channels"), [("png", 1), ("png", 3), ("png", 4), ("raw", 1), ("raw", 6)])
def test_exact_codecs_keep_every_channel(codec, channels):
    image = BYTES[..., :channels]
    stored = codecs.encode_image(image, codec, None)
    np.testing.assert_array_equal(codecs.decode_stored_image(stored, codec, 6, 9, channels), image)


def test_jpeg_holds_grey_and_rgb_alone():
    smooth = cv2.resize(BYTES[:2, :2, 0], (32, 32))[..., np.newaxis]
    stored = codecs.encode_image(smooth, "jpeg", 95)
    assert read_kind(stored) == Kind(8, 1)
    found = codecs.decode_stored_image(stored, "jpeg", 32, 32, 1)
    assert found.shape == smooth.shape and np.abs(found.astype(int) - smooth).max() < 8
    with pytest.raises(ValueError, match="has 4 channels, which jpeg does not hold; take --codec raw"):
        codecs.encode_image(BYTES[..., :4], "jpeg", 95)
    with pytest.raises(ValueError, match="has an image that is 8-bit grey, expected 8-bit 4-channel"):
        codecs.decode_stored_image(codecs.encode_image(BYTES[..., :1], "png", None), "png", 6, 9, 4)


def test_sums_of_many_channels_are_exact():
    sums, squares = codecs.channel_sums(BYTES)
    whole = BYTES.reshape(-1, 6).astype(np.int64)
    assert sums == whole.sum(axis=0).tolist() and squares == (whole**2).sum(axis=0).tolist()
