"""The orientation in EXIF data, and turning by it: as the decoder of images does."""

import io
from contextlib import suppress

import cv2
import numpy as np
import pytest
from PIL import Image

from tfseg.io import images

PHOTO = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)


def encode(kind, orientation):
    data, file = Image.Exif(), io.BytesIO()
    data[0x010F] = "a camera"
    data[0x0112] = orientation
    Image.fromarray(PHOTO).save(file, kind, exif=data)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize("orientation", range(10))
def test_turns_as_the_decoder_does(kind, orientation):
    data = encode(kind, orientation)
    assert images.read_orientation(data) == (orientation if 1 <= orientation <= 8 else 1)
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    upright = images.turn(stored, images.read_orientation(data))
    assert np.array_equal(upright, images.decode_image(data))
    assert np.array_equal(images.decode_image(data, upright=False), stored)
    assert np.array_equal(images.turn(stored[..., 0], images.read_orientation(data)), upright[..., 0])


@pytest.mark.parametrize("order", ["big", "little"])
def test_reads_both_orders_of_bytes(order):
    def number(value, size=2):
        return value.to_bytes(size, order)

    tags = {"big": b"MM", "little": b"II"}[order] + number(42) + number(8, 4) + number(1)
    tags += number(0x0112) + number(3) + number(1, 4) + number(6) + number(0) + number(0, 4)
    segment = b"Exif\0\0" + tags
    data = encode("jpeg", 3)
    data = data[:2] + b"\xff\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + data[2:]  # the first one counts
    assert images.read_orientation(data) == 6


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_damaged_data_are_refused_or_say_nothing(kind):
    data = encode(kind, 6)
    damaged = [data[:length] for length in range(140)]
    damaged += [data[:place] + bytes([byte]) + data[place + 1 :] for place in range(2, 140) for byte in (0, 0x7F, 0xFF)]
    for content in damaged:
        with suppress(ValueError):
            assert images.read_orientation(content) in range(1, 9)
    assert images.read_orientation(b"") == images.read_orientation(b"GIF89a") == 1
