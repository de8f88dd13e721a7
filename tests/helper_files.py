"""Image files, good and bad, and the pixels that they hold."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image


def image_of_reds(*reds):
    """One row of pixels, one for each red."""
    return np.array([[[red, 7, 9] for red in reds]], np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def file_of(pixels, kind="PNG"):
    """The image file of pixels, as bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind)
    return file.getvalue()


def pixels_of(content):
    """The pixels of an image file, given as bytes."""
    return np.asarray(Image.open(io.BytesIO(content)))


def bomb(width, height):
    """A PNG of a few bytes whose header promises many pixels."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


PIXELS = np.array([[[0, 9, 9], [64, 9, 9], [128, 9, 9]], [[192, 9, 9], [0, 9, 9], [0, 9, 9]]], np.uint8)
MASK = [[0, 1, 2], [3, 0, 0]]  # their classes, red // 64
PNG = file_of(PIXELS)
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
BAD_FILES = {  # name -> content, what the page says
    "empty.png": (b"", "is empty; choose an image"),
    "notes.png": (
        b"a letter, not an image",
        "is no PNG, JPEG, BMP, TIFF or WebP image; choose one with 8 bits a channel",
    ),
    "photo.heic": (b"\0\0\0\x18ftypheic", "is a HEIC image; pip install 'tf-segmentation[heic]' lets them be read"),
    "moving.png": (
        file_of(NOISE, "GIF"),
        "is no PNG, JPEG, BMP, TIFF or WebP image; choose one with 8 bits a channel",
    ),
    "cut.jpg": (file_of(NOISE, "JPEG")[:1500], "is cut short or damaged"),
    "deep.png": (cv2.imencode(".png", np.full((2, 2), 9, np.uint16))[1].tobytes(), "is a 16-bit grey image"),
    "large.png": (bomb(10_000, 5_001), "is too large for this page, which takes 50 million pixels and 20 MB"),
    "bomb.png": (bomb(60_000, 60_000), "is too large for this page, which takes 50 million pixels and 20 MB"),
}
