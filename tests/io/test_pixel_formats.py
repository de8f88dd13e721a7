"""Channels and values of images: what becomes of 16 bits, what is shown, what is no format."""

import numpy as np
import pytest

from tfseg.io.pixel_formats import RGB, PixelFormat, as_rgb, describe_shown, format_fault, make_format


def test_values_of_16_bits_become_bytes_by_their_range():
    pixels = np.array([[[99], [100], [101], [200], [610], [65535]]], np.uint16)
    low_to_high = PixelFormat(1, ((100, 610),)).to_bytes(pixels)
    assert low_to_high.dtype == np.uint8
    assert low_to_high.ravel().tolist() == [0, 0, 1, 50, 255, 255], "1 / 510 of 255 is a half, which is rounded up"
    whole = PixelFormat(1, ((0, 65535),)).to_bytes(np.array([[[0], [128], [129], [32768], [65535]]], np.uint16))
    assert whole.ravel().tolist() == [0, 0, 1, 128, 255]


def test_each_channel_has_its_own_range():
    pixels = np.full((2, 3, 2), 100, np.uint16)
    assert PixelFormat(2, ((0, 255), (100, 200))).to_bytes(pixels)[1, 2].tolist() == [100, 0]


def test_json_of_rgb_is_empty_as_in_files_of_before():
    assert RGB.to_json() == {} and RGB.is_rgb
    bands = PixelFormat(2, ((0, 9), (1, 8)))
    assert bands.to_json() == {"channels": 2, "value_range": [[0, 9], [1, 8]]}
    assert make_format(**bands.to_json()) == bands
    assert (str(RGB), str(bands), str(PixelFormat(1))) == ("8-bit RGB", "16-bit 2-channel", "8-bit grey")


@pytest.mark.parametrize(
    ("channels", "value_range"),
    [
        *((0, None), (257, None), (True, None), ("3", None), (1, []), (1, [[0, 1], [0, 1]]), (1, [[5, 5]])),
        *((1, [[-1, 5]]), (1, [[0, 65536]]), (1, [[0.0, 5]]), (1, [5]), (1, "full")),
    ],
)
def test_what_is_no_format(channels, value_range):
    assert format_fault(channels, value_range).startswith("expected ")
    with pytest.raises(ValueError, match="expected "):
        make_format(channels, value_range)


def test_what_is_shown_of_channels():
    pixels = np.arange(5, dtype=np.uint8).reshape(1, 1, 5)
    assert as_rgb(pixels).tolist() == [[[0, 1, 2]]]
    assert as_rgb(pixels[..., 2:3]).tolist() == as_rgb(pixels[..., 2:4]).tolist() == [[[2, 2, 2]]]
    assert as_rgb(rgb := pixels[..., :3]) is rgb
    assert [describe_shown(count) for count in (1, 2, 3, 5)] == [
        *("as grey", "the first of 2 channels", "", "the first three of 5 channels")
    ]
