"""TIFF files of any number of channels: what is stored comes out, value by value."""

import itertools

import numpy as np
import pytest
from helper_tiff import encode_tiff

from tfseg.io import tiff_bands
from tfseg.io.tiff_bands import decode_tiff, is_exact, read_tiff

VALUES = np.random.default_rng(0).integers(0, 65536, (37, 50, 5), np.uint16)


@pytest.mark.parametrize("pixels", [VALUES, (VALUES >> 8).astype(np.uint8)], ids=["16", "8"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_values_come_out_as_they_went_in(pixels, order):
    for packed, planar, tiled, differences in itertools.product((False, True), repeat=4):
        found = decode_tiff(encode_tiff(pixels, order, packed, planar, tiled, differences))
        assert found.dtype == pixels.dtype
        np.testing.assert_array_equal(found, pixels, err_msg=f"{packed=} {planar=} {tiled=} {differences=}")


def test_pieces_are_unpacked_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(tiff_bands, "PIECE", 1)
    for tiled in (False, True):
        np.testing.assert_array_equal(decode_tiff(encode_tiff(VALUES, packed=True, tiled=tiled)), VALUES)


def test_white_may_be_zero():
    pixels = np.array([[[0], [1], [255]]], np.uint8)
    assert decode_tiff(encode_tiff(pixels, photometric=0)).ravel().tolist() == [255, 254, 0]


def test_floats_signed_numbers_and_lossy_files_are_not_read():
    assert is_exact(read_tiff(encode_tiff(VALUES)))
    for numbers in (2, 3):
        assert not is_exact(read_tiff(encode_tiff(VALUES, numbers=numbers)))
    assert not is_exact(read_tiff(encode_tiff(VALUES))._replace(compression=7))
    assert not is_exact(read_tiff(encode_tiff(VALUES))._replace(photometric=5)), "CMYK"


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_cut_short_or_damaged_is_refused(packed):
    data = bytearray(encode_tiff(VALUES, packed=packed))
    with pytest.raises(ValueError, match="is cut short or damaged"):
        decode_tiff(bytes(data[:-8]))
    place = data.index((279).to_bytes(2, "little") + (4).to_bytes(2, "little"))
    sizes = int.from_bytes(data[place + 8 : place + 12], "little")
    data[sizes : sizes + 4] = (2**31).to_bytes(4, "little")  # the bytes of the first strip
    with pytest.raises(ValueError, match="is cut short or damaged"):
        decode_tiff(bytes(data))
    data[sizes : sizes + 4] = (7).to_bytes(4, "little")
    with pytest.raises(ValueError, match="is cut short or damaged"):
        decode_tiff(bytes(data))
