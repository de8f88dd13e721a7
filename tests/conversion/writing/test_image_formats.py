"""What the images of a data set are: found by their files, one for all, or refused with the kinds and their numbers."""

from pathlib import Path

import numpy as np
import pytest
from helper_tiff import encode_png, encode_tiff

from tfseg.conversion.flags import parse_range
from tfseg.conversion.reading.samples import Sample
from tfseg.conversion.writing import image_formats
from tfseg.conversion.writing.encoding import Settings
from tfseg.conversion.writing.image_formats import choose_format, find_range, with_format
from tfseg.conversion.writing.plan import Part
from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.records.labels import CITYSCAPES

BYTES = np.random.default_rng(0).integers(0, 256, (4, 5, 6), np.uint8)
VALUES = np.random.default_rng(1).integers(0, 65536, (4, 5, 6), np.uint16)
GREY, COLOR, ALPHA = (encode_png(BYTES[..., :count]) for count in (1, 3, 4))
WIDE, WIDE_COLOR, BANDS = encode_png(VALUES[..., :1]), encode_png(VALUES[..., :3]), encode_tiff(VALUES)
NEAR_INFRARED = encode_tiff(BYTES[..., :4], photometric=2)


def plan(folder: Path, *files: bytes, split="train") -> list[Part]:
    paths = []
    for index, data in enumerate(files):
        paths.append(folder / f"{split}{index}")
        paths[-1].write_bytes(data)
    return [Part("shard", split, [Sample(path.name, path, path) for path in paths])]


def choose(parts, channels=None):
    bits = 8 if parts[0].samples[0].image.read_bytes() in (GREY, COLOR, ALPHA, NEAR_INFRARED) else 16
    return choose_format(parts, channels, "percentiles" if bits == 8 else "full", workers=1)


@pytest.mark.parametrize(
    ("files", "channels", "found"),
    [
        ([COLOR, GREY, COLOR], None, RGB),
        ([GREY, GREY], None, RGB),
        ([ALPHA], None, RGB),
        ([NEAR_INFRARED, COLOR], None, RGB),
        ([WIDE, WIDE], None, PixelFormat(1, ((0, 65535),))),
        ([WIDE_COLOR], None, PixelFormat(3, ((0, 65535),) * 3)),
        ([BANDS], None, PixelFormat(6, ((0, 65535),) * 6)),
        ([WIDE, WIDE_COLOR], 3, PixelFormat(3, ((0, 65535),) * 3)),
    ],
)
def test_one_format_is_found(tmp_path, files, channels, found):
    assert choose(plan(tmp_path, *files), channels)[0] == found


@pytest.mark.parametrize(
    ("files", "channels"), [([GREY], 1), ([GREY, COLOR], 1), ([ALPHA], 4), ([NEAR_INFRARED, ALPHA], 4)]
)
def test_channels_that_are_asked_for(tmp_path, files, channels):
    assert choose_format(plan(tmp_path, *files), channels, "percentiles", 1)[0] == PixelFormat(channels)


@pytest.mark.parametrize(
    ("files", "channels", "message"),
    [
        (
            [WIDE, COLOR, WIDE],
            None,
            "several kinds: 16-bit grey in 2 .*train0.*, 8-bit RGB in 1 .*train1.*; convert them",
        ),
        ([WIDE, WIDE_COLOR], None, "several kinds: .*; convert them to one kind of image, or give --channels 3$"),
        ([BANDS, WIDE], None, "several kinds: .*; convert them to one kind of image$"),
        ([COLOR, ALPHA], 4, "the images are not all 4-channel: 8-bit RGB in 1 .*, or give --channels 3$"),
        ([COLOR], 0, "--channels: expected 1 to 256, got 0"),
    ],
)
def test_kinds_that_do_not_agree_are_named_with_their_numbers(tmp_path, files, channels, message):
    with pytest.raises(ValueError, match=message):
        choose_format(plan(tmp_path, *files), channels, "percentiles", workers=1)


def test_what_could_be_meant_otherwise_is_said(tmp_path):
    _, notes, warnings = choose(plan(tmp_path, GREY, GREY))
    assert notes == ["images: 8-bit grey in 2, stored as RGB; --channels 1 stores one channel"] and not warnings
    _, notes, [warning] = choose(plan(tmp_path, NEAR_INFRARED, COLOR))
    assert "beside grey or RGB are left out: 8-bit RGB and 1 channel more in 1 " in warning and not notes
    assert warning.endswith("; --channels 4 takes all of them")
    found, notes, [warning] = choose_format(plan(tmp_path, encode_tiff(BYTES[..., :2])), None, "percentiles", 1)
    assert found == RGB and "are left out: 8-bit 2-channel in 1 " in warning and "--channels 2 takes" in warning
    assert choose(plan(tmp_path, COLOR, GREY))[1:] == ([], [])


def test_a_few_images_are_looked_at_where_they_are_rgb(tmp_path, monkeypatch):
    seen = []
    find = image_formats._find_kind
    monkeypatch.setattr(image_formats, "_find_kind", lambda path: seen.append(path.name) or find(path))
    assert choose(plan(tmp_path, *[COLOR] * 30))[0] == RGB
    assert len(seen) == image_formats.FEW_IMAGES and {"train0", "train29"} <= {*seen}


def test_a_range_is_of_the_training_split_and_leaves_out_a_thousandth(tmp_path):
    counts = np.zeros(65536, np.int64)
    counts[[3, 10, 4000, 65535]] = 1, 999, 8999, 1
    assert find_range(counts) == [10, 4000]
    assert find_range(np.eye(1, 65536, 7, dtype=np.int64)[0] + np.eye(1, 65536, 9, dtype=np.int64)[0]) == [7, 9]
    with pytest.raises(ValueError, match="all pixels of a channel have the value 5 in the training images"):
        find_range(np.eye(1, 65536, 5, dtype=np.int64)[0])
    cut = choose_format(plan(tmp_path, WIDE[:60]), None, "percentiles", 1)[0]
    assert cut == PixelFormat(1, ((0, 65535),)), "the file is reported when it is converted"
    parts = plan(tmp_path, WIDE_COLOR) + plan(tmp_path, encode_png(0 * VALUES[..., :3]), split="val")
    found = choose_format(parts, None, "percentiles", 1)[0].value_range
    assert found == ((int(VALUES[..., :3].min()), int(VALUES[..., :3].max())),) * 3, "one for all colours"
    found = choose_format(plan(tmp_path, BANDS), None, "percentiles", 1)[0].value_range
    assert found == tuple(zip(VALUES.min(axis=(0, 1)).tolist(), VALUES.max(axis=(0, 1)).tolist(), strict=True))


def test_ranges_that_are_given(tmp_path):
    bands = plan(tmp_path, BANDS)
    assert choose_format(bands, None, [[5, 10]], 1)[0].value_range == ((5, 10),) * 6
    assert choose_format(bands, None, [[place, 10] for place in range(6)], 1)[0].value_range[2] == (2, 10)
    with pytest.raises(ValueError, match=r"expected one LOW,HIGH, or 6, got 2"):
        choose_format(bands, None, [[0, 1], [0, 1]], 1)
    with pytest.raises(ValueError, match=r"expected a value range of a low and a higher value in 0..65535"):
        choose_format(bands, None, [[9, 9]], 1)
    with pytest.raises(
        ValueError, match=r"--value-range is of images of 16 bits, but here are 8-bit RGB .such as .*leave it"
    ):
        choose_format(plan(tmp_path, COLOR), 3, "full", 1)
    assert parse_range(["full"]) == "full" and parse_range(["0,4095", "1,9"]) == [[0, 4095], [1, 9]]
    for words in (["0"], ["a,b"], ["full", "full"]):
        with pytest.raises(ValueError, match="--value-range: expected percentiles, full or LOW,HIGH, got"):
            parse_range(words)


def test_the_codec_follows_the_channels():
    settings = Settings(CITYSCAPES["categories"], None, "jpeg", 90, "nearest")
    chosen = [with_format(settings, PixelFormat(count), None, 90) for count in (1, 2, 3, 4, 6)]
    assert [one.codec for one in chosen] == ["jpeg", "raw", "jpeg", "png", "raw"]
    assert [one.quality for one in chosen] == [90, None, 90, None, None]
    with pytest.raises(
        ValueError, match=r"--codec jpeg holds 1 or 3 channels, and these images have 4; take png or raw"
    ):
        with_format(settings, PixelFormat(4), "jpeg", 90)
