"""Batches of images of any number of channels: as many as the manifest says, whatever they are read from."""

import numpy as np
import pytest
from helper_pipeline import train_batches
from helpers import write_images

from tfseg.pipeline.pipeline import make_eval_batches
from tfseg.records.record_set import open_records

CHANNELS = {"png": (1, 4), "raw": (1, 6)}
RANDOM = np.random.default_rng(0)


@pytest.fixture(params=[(codec, count) for codec, counts in CHANNELS.items() for count in counts])
def stored(request, tmp_path):
    """Records of eight images of 16x40, in tiles or not, and the images."""
    codec, channels = request.param
    pairs = [
        (RANDOM.integers(0, 256, (16, 40, channels), np.uint8), np.full((16, 40), index, np.uint8))
        for index in range(8)
    ]
    (tmp_path / "records").mkdir()
    folder = write_images(tmp_path / "records", pairs, codec, tile_width=16)
    return folder, np.array([image for image, _ in pairs])


def windows(image, size):
    """All crops of a size."""
    view = np.lib.stride_tricks.sliding_window_view(image, size, axis=(0, 1))
    return np.moveaxis(view, 2, -1).reshape(-1, *size, image.shape[-1])


@pytest.mark.long
@pytest.mark.parametrize("cache", [None, "ram", "disk"])
def test_training_sees_every_channel(stored, cache):
    folder, images = stored
    settings = {"batch_size": 4, "seed": 0, "cache": cache}
    for batch in train_batches(folder, "train", size=(16, 40), **settings).take(2).as_numpy_iterator():
        assert batch["image"].dtype == np.uint8
        np.testing.assert_array_equal(batch["image"], images[batch["mask"][:, 0, 0]])
    batches = train_batches(folder, "train", size=(9, 20), fit="crop", **settings)
    assert batches.element_spec["image"].shape[1:] == (9, 20, images.shape[-1])
    for batch in batches.take(2).as_numpy_iterator():
        for image, mask in zip(batch["image"], batch["mask"], strict=True):
            crops = windows(images[mask[0, 0]], (9, 20))
            assert (crops == image).all(axis=(1, 2, 3)).any()


@pytest.mark.long
def test_validation_sees_every_channel(stored):
    folder, images = stored
    batches = make_eval_batches(open_records(folder), "train", size=None, batch_size=3)
    found = np.concatenate([batch["image"] for batch in batches.as_numpy_iterator()])
    np.testing.assert_array_equal(found, images)
    smaller = make_eval_batches(open_records(folder), "train", size=(8, 20), batch_size=3)
    assert smaller.element_spec["image"].shape[1:] == (8, 20, images.shape[-1])
    means = images.reshape(8, 8, 2, 20, 2, -1).mean(axis=(2, 4))
    found = np.concatenate([batch["image"] for batch in smaller.as_numpy_iterator()])
    np.testing.assert_array_equal(found, np.floor(means + 0.5))
