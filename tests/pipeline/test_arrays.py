"""Raw records where they lie: what they hold in the order of a seed, and what is damaged is named."""

import dataclasses

import numpy as np
import pytest
from helper_pipeline import train_batches
from helpers import TRAIN, draw, flip, write_images

from tfseg.pipeline.arrays import Mapped, can_be_mapped
from tfseg.pipeline.damage import explain_read_errors
from tfseg.pipeline.order import Share
from tfseg.records import records
from tfseg.records.record_set import open_records

SIZE, COUNT = (24, 40), 7
IMAGES = [draw(index, *SIZE) for index in range(COUNT)]


@pytest.fixture(params=[None, 16], ids=["one piece", "tiles of 16"])
def folder(request, tmp_path):
    """Two shards of 3 and 4 raw images; the last tile is half empty."""
    return write_images(tmp_path, IMAGES, "raw", request.param)


def open_mapped(folder):
    return Mapped(open_records(folder), "train")


def read(folder, batches, **settings):
    stream = train_batches(folder, "train", batch_size=2, **{"size": SIZE, "seed": 3, **settings})
    return [
        image.tobytes() + mask.tobytes()
        for batch in stream.take(batches).as_numpy_iterator()
        for image, mask in zip(batch["image"], batch["mask"], strict=True)
    ]


def test_crops_are_what_lies_there(folder):
    mapped = open_mapped(folder)
    for place, (image, mask) in enumerate(IMAGES):
        np.testing.assert_array_equal(mapped.image(place), image)
        np.testing.assert_array_equal(mapped.mask(place), mask)
        for top, left, height, width in ([0, 0, 24, 40], [3, 5, 17, 30], [23, 39, 1, 1], [8, 16, 9, 16], [0, 31, 9, 2]):
            there = slice(top, top + height), slice(left, left + width)
            np.testing.assert_array_equal(mapped.image(place, (top, left, height, width)), image[there])
            np.testing.assert_array_equal(mapped.mask(place, (top, left, height, width)), mask[there])


@pytest.mark.parametrize("settings", [{}, {"fit": "crop", "size": (20, 32)}])
def test_a_training_takes_them_in_the_order_of_a_cache(folder, settings):
    """Each of 7 images once a pass, in the crop that the pass gives it, from anywhere on, shared or not."""
    whole = read(folder, 14, **settings)
    assert len({*whole[:7]}) == len({*whole[7:14]}) == 7
    assert whole == read(folder, 14, cache="ram", **settings)
    assert read(folder, 4, epoch=2, step=1, **settings) == whole[14:22]
    parts = [read(folder, 3, share=Share(index, 2), **settings) for index in (0, 1)]
    assert {*parts[0][:4]} | {*parts[1][:3]} == {*whole[:7]}


def test_others_are_not_mapped(folder, tiny_records):
    pytest.importorskip("upath")
    records = open_records(folder)
    assert can_be_mapped(records)
    assert not can_be_mapped(dataclasses.replace(records, folder="memory://records"))
    assert not can_be_mapped(open_records(tiny_records))


def test_a_changed_pixel_stops_a_training(folder):
    path = folder / TRAIN
    flip(path, path.read_bytes().index(IMAGES[1][0][5, :4].tobytes()))
    with (
        pytest.raises(ValueError, match=rf"^{path}: record 0 \(0\) is damaged: its checksum fails"),
        explain_read_errors(open_records(folder)),
    ):
        read(folder, 7)


def test_records_that_are_not_what_the_manifest_says(folder):
    stored = open_records(folder)
    manifest = stored.manifest
    (first, second), path = manifest.splits["train"].shards, folder / TRAIN
    examples = list(records.read_shard(path))

    def opened(*examples: bytes):
        shard = records.write_shard(path, examples)
        split = dataclasses.replace(manifest.splits["train"], shards=[dataclasses.replace(shard, count=3), second])
        return Mapped(
            dataclasses.replace(stored, manifest=dataclasses.replace(manifest, splits={"train": split})), "train"
        )

    with pytest.raises(ValueError, match=rf"^{path}: has 2 records, the manifest says 3; see .*tfseg.verify"):
        opened(*examples[:2])
    small = records.encode_example(id="a", image=b"abc", codec="raw", height=1, width=1, mask=b"")
    with pytest.raises(ValueError, match=rf"^{path}: has a record that is not of 24x40, as the manifest says; see"):
        opened(*examples[:2], small)
    path.write_bytes(b"no record at all")
    with pytest.raises(ValueError, match=rf"^{path}: record 0 has a damaged length; see"):
        Mapped(stored, "train")
    assert first.count == 3
