"""Masks written down as digits, and small bitmaps as annotation tools write them."""

import base64
import io
import zlib

import numpy as np
from PIL import Image


def rows(mask):
    """A mask (H, W) as one text of digits a row."""
    return ["".join(map(str, row)) for row in np.asarray(mask).astype(int).tolist()]


def png(mask, mode="1", **options):
    """Bytes of a PNG of a mask (H, W) of 0 and 1: grey, or as a palette, of which 0 is transparent."""
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(mask, np.uint8) * (255 if mode in ("1", "L") else 1))
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])
    else:
        image = image.convert(mode)
    image.save(file, "PNG", **options)
    return file.getvalue()


def as_text(data):
    return base64.b64encode(data).decode()


def supervisely_text(mask):
    """A bitmap as Supervisely writes it."""
    return as_text(zlib.compress(png(mask, "P", transparency=0)))


def parse(text):
    """Rows of digits as a mask of 0 and 1."""
    return np.array([[int(digit) for digit in row] for row in text.split()], np.uint8)
