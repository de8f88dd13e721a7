"""Whatever happens to the bytes of an image: it is decoded, or refused by a ValueError in one line."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tfseg.io import image_headers, images, masks, rasters

PIXELS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8))
QUICK = {"suppress_health_check": [*HealthCheck], "deadline": None, "database": None, "derandomize": True}


def save(kind, image=PIXELS, **options):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    image.save(file, kind, **({} if kind == "bmp" else {"exif": exif}), **options)
    return file.getvalue()


FILES = [save(kind) for kind in ("png", "jpeg", "tiff", "webp", "bmp")]
FILES += [save("png", PIXELS.convert(mode)) for mode in ("L", "P", "RGBA", "1")]
FILES += [save("jpeg", progressive=True), save("tiff", compression="tiff_lzw"), save("tiff", compression="jpeg")]
FILES += [save("webp", lossless=True), save("bmp", PIXELS.convert("P"))]
FILES += [save("tiff", PIXELS.convert(mode)) for mode in ("L", "P", "RGBA", "1", "I;16")]


@st.composite
def damaged(draw):
    """A file with some bytes changed, most of them in its head, a part left out, or one that comes again."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, 120) | st.integers(0, len(data) - 1)) % len(data)
        data[place] = draw(st.sampled_from([0, 1, 0x7F, 0xFF]) | st.integers(0, 255))
    start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
    how = draw(st.sampled_from(["", "", "cut", "drop", "double"]))
    if how == "cut":
        return bytes(data[:end])
    return bytes(data[:start] + data[end:] if how == "drop" else data[:end] + data[start:] if how else data)


def read_in_every_way(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reads = (images.decode_file, images.read_claimed_size, images.read_upright_size, masks.read_mask)
        reads = (*reads, rasters.read_raster, rasters.read_any_orientation)
        for read in (*reads, masks.decode_instances, image_headers.read_orientation):
            try:
                read(data)
            except ValueError as error:
                assert "\n" not in str(error) and len(str(error)) < 300


@settings(max_examples=150, **QUICK)
@given(damaged())
def test_damage_is_refused_or_decoded(data):
    read_in_every_way(data)


@pytest.mark.slow
@settings(max_examples=10_000, **(QUICK | {"derandomize": False}))
@given(damaged())
def test_ten_thousand_damages_are_refused_or_decoded(data):
    read_in_every_way(data)
