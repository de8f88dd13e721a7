import io
import zlib

import numpy as np
import pytest
from helper_annotations import as_text, parse, png, rows, supervisely_text
from PIL import Image

from tfseg.annotations.bitmaps import Bitmap, decode_bitmap

RING = parse("111 101 111")


@pytest.mark.parametrize(
    "text",
    [
        as_text(png(RING)),
        as_text(png(RING, "L")),
        supervisely_text(RING),
        as_text(zlib.compress(png(RING))),
        as_text(png(RING, "P", transparency=0)),
        # From the documentation of Supervisely's Bitmap.
        "eJzrDPBz5+WS4mJgYOD19HAJAtLMIMwIInOeqf8BUmwBPiGuQPr///9Lb86/C2QxlgT5BTM4PLuRBuTwebo4hlTMSa44sKHhISMDuxpTYrr0"
        "3F6gDIOnq5/LOqeEJgDM5ht6",
        "\n".join(as_text(png(RING))[start : start + 20] for start in range(0, 200, 20)),
    ],
)
def test_what_it_reads(text):
    assert rows(decode_bitmap(text, (8, 8))) == ["111", "101", "111"]


def test_black_pixels_that_are_not_transparent():
    """Packed, as Supervisely writes them, alpha counts alone; unpacked, its tool takes any channel."""
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, 0, 3] = pixels[0, 1, 0] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    data = file.getvalue()
    assert rows(decode_bitmap(as_text(zlib.compress(data)), (8, 8))) == ["100"]
    assert rows(decode_bitmap(as_text(data), (8, 8))) == ["110"]


GOOD = png(RING)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not base64!", "has a bitmap that is no base64 (11 letters)"),
        ("ä", "has a bitmap that is no base64 (1 letters)"),
        ("", "has a bitmap that is cut short (0 bytes)"),
        (as_text(b"GIF89a"), "has a bitmap that is neither a PNG nor zlib (6 bytes)"),
        (as_text(zlib.compress(b"GIF89a")), "has a bitmap that is no PNG (6 bytes)"),
        (as_text(zlib.compress(zlib.compress(GOOD))), "has a bitmap that is no PNG"),
        (as_text(zlib.compress(GOOD)[:-5]), "has a bitmap that is cut short ("),
        (as_text(zlib.compress(bytes(10**6))), "has a bitmap that unpacks to more than an image of 8x8 takes"),
        (as_text(GOOD[:-20]), f"has a bitmap that is cut short or damaged ({len(GOOD) - 20} bytes)"),
        (as_text(GOOD[:20]), "has a bitmap that is cut short or damaged (20 bytes)"),
        (as_text(png(np.ones((17, 2)))), "has a bitmap that is 17x2, in an image of 8x8"),
        (as_text(png(RING, "RGB")), "has a bitmap that is 8-bit RGB without transparency"),
        (as_text(png(RING, "P")), "has a bitmap that is 1-bit palette without transparency"),
    ],
)
def test_what_it_refuses(text, message):
    with pytest.raises(ValueError) as raised:
        decode_bitmap(text, (8, 8))
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("left", "top", "expected"),
    [
        (1, 0, ["0777", "0707", "0777"]),
        (-1, 0, ["7700", "0700", "7700"]),
        (3, -2, ["0007", "0000", "0000"]),
        (2, 2, ["0000", "0000", "0077"]),
        (9, 0, ["0000", "0000", "0000"]),
        (0, -9, ["0000", "0000", "0000"]),
    ],
)
def test_where_it_lies(left, top, expected):
    mask = np.zeros((3, 4), np.uint8)
    Bitmap(as_text(GOOD), left, top, may_reach_out=True).paint(mask, 7)
    assert rows(mask) == expected
    is_inside = 0 <= left <= 1 and top == 0
    if not is_inside:
        with pytest.raises(
            ValueError, match=r"which reach out of an image of 3x4; was it annotated on another image\?$"
        ):
            Bitmap(as_text(GOOD), left, top, may_reach_out=False).paint(mask, 7)
