"""Samples whose files are no files."""

import os

import cv2
import numpy as np
import pytest

from tfseg.conversion.proposing.census import look_at
from tfseg.conversion.reading.samples import Sample, read_sample, read_traits
from tfseg.io.pixel_formats import PixelFormat


@pytest.mark.parametrize("part", ["image", "mask"])
def test_a_pipe_is_refused_by_name_and_not_waited_for(tmp_path, part):
    sample = Sample("a", tmp_path / "image\n.png", tmp_path / "mask\n.png")
    for path in (sample.image, sample.mask):
        cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))
    assert read_sample(sample).image.shape == (4, 4, 3)
    getattr(sample, part).unlink()
    os.mkfifo(getattr(sample, part))
    with pytest.raises(ValueError, match=rf"/{part}\\n\.png: is a named pipe \(FIFO\), expected a file$"):
        read_sample(sample)


@pytest.mark.parametrize("read", [read_sample, look_at])
def test_a_pipe_among_annotations_is_named_once(tmp_path, read):
    sample = Sample("a", tmp_path / "a.png", tmp_path / "a.json", "labelme")
    cv2.imwrite(str(sample.image), np.zeros((4, 4), np.uint8))
    os.mkfifo(sample.mask)
    with pytest.raises(ValueError) as raised:
        read(sample)
    assert str(raised.value) == f"{sample.mask}: is a named pipe (FIFO), expected a file"


def test_transparent_pixels_may_be_a_channel(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((2, 3), np.uint8))
    wide = PixelFormat(3, ((0, 65535),) * 3)
    for name, dtype, options in (("a.png", np.uint8, {}), ("b.png", np.uint16, {"pixels": wide})):
        cv2.imwrite(str(tmp_path / name), np.full((2, 3, 4), 9, dtype))
        message = rf"{name}: has transparent pixels.*, or give --channels 4, which takes it as a channel$"
        with pytest.raises(ValueError, match=message):
            read_traits(Sample("a", tmp_path / name, tmp_path / "grey.png"), **options)
