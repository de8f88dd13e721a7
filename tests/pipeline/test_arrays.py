"""Raw records where they lie: what they hold in the order of a seed, and what is damaged is named."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from helper_pipeline import train_batches
from helpers import TRAIN, draw, flip, write_images

from tfseg.pipeline import pipeline, readers
from tfseg.pipeline.arrays import ALIGNMENT, Decoded, Mapped, as_tensor, can_be_mapped, keep_uncopied, map_memory
from tfseg.pipeline.crops import RandomCrop
from tfseg.pipeline.order import Share
from tfseg.pipeline.settings import TrainSettings
from tfseg.records import records
from tfseg.records.record_set import open_records

SIZE, COUNT = (24, 40), 7
BY_CLASSES = RandomCrop((0.5, 2.0), 0.6, 0.5)
IMAGES = [draw(index, *SIZE) for index in range(COUNT)]


@pytest.fixture(params=[None, 16], ids=["one piece", "tiles of 16"])
def folder(request, tmp_path):
    """Two shards of 3 and 4 raw images; the last tile is half empty."""
    return write_images(tmp_path, IMAGES, "raw", request.param)


def open_mapped(folder, allowed=0):
    return Mapped(open_records(folder), "train", allowed)


def read(folder, batches, **settings):
    stream = train_batches(folder, "train", batch_size=2, **{"size": SIZE, "seed": 3, **settings})
    return [
        image.tobytes() + mask.tobytes()
        for batch in stream.take(batches).as_numpy_iterator()
        for image, mask in zip(batch["image"], batch["mask"], strict=True)
    ]


@pytest.mark.parametrize(("allowed", "kind"), [(COUNT * 24 * 40 - 1, tf.string), (COUNT * 24 * 40, tf.uint8)])
def test_crops_are_what_lies_there(folder, allowed, kind):
    mapped = open_mapped(folder, allowed)
    assert mapped.masks.dtype == kind  # packed, where memory has no room for them
    for place, (image, mask) in enumerate(IMAGES):
        np.testing.assert_array_equal(mapped.image(place), image)
        np.testing.assert_array_equal(mapped.mask(place), mask)
        for top, left, height, width in ([0, 0, 24, 40], [3, 5, 17, 30], [23, 39, 1, 1], [8, 16, 9, 16], [0, 31, 9, 2]):
            there = slice(top, top + height), slice(left, left + width)
            np.testing.assert_array_equal(mapped.image(place, (top, left, height, width)), image[there])
            np.testing.assert_array_equal(mapped.mask(place, (top, left, height, width)), mask[there])


@pytest.mark.long
@pytest.mark.parametrize("settings", [{}, {"fit": "crop", "size": (20, 32)}])
def test_a_training_takes_them_in_the_order_of_a_cache(folder, settings):
    """Each of 7 images once a pass, in the crop that the pass gives it, from anywhere on, shared or not."""
    whole = read(folder, 14, **settings)
    assert len({*whole[:7]}) == len({*whole[7:14]}) == 7
    assert whole == read(folder, 14, cache="ram", **settings)
    assert read(folder, 4, epoch=2, step=1, **settings) == whole[14:22]
    parts = [read(folder, 3, share=Share(index, 2), **settings) for index in (0, 1)]
    assert {*parts[0][:4]} | {*parts[1][:3]} == {*whole[:7]}


@pytest.mark.long
@pytest.mark.parametrize("settings", [{}, {"cache": "ram"}])
def test_batches_made_at_once_are_those_made_image_by_image(folder, settings, monkeypatch):
    settings = {"fit": "crop", "size": (20, 32), **settings}
    at_once = read(folder, 14, **settings)
    monkeypatch.setattr(readers.NumberedReader, "only_copies", False)
    assert at_once == read(folder, 14, **settings)


def test_others_are_not_mapped(folder, tiny_records):
    pytest.importorskip("upath")
    records = open_records(folder)
    assert can_be_mapped(records)
    assert not can_be_mapped(dataclasses.replace(records, folder="memory://records"))
    assert not can_be_mapped(open_records(tiny_records))


def test_memory_is_not_copied():
    """Neither into a tensor nor into a data set, which TensorFlow does to rewrite it: both see what changes later."""
    buffer = map_memory(Decoded.count_bytes(2, (5, 7), 3))
    assert len(buffer) == 256 + 70 and buffer.ctypes.data % ALIGNMENT == 0
    pixels = Decoded(2, (5, 7), buffer)
    data = keep_uncopied(tf.data.Dataset.range(2)).map(lambda place: (pixels.image(place), pixels.mask(place)))
    iterator = data.batch(2).as_numpy_iterator()
    pixels.images[1, 4, 6, 2], pixels.masks[1, 4, 6] = 9, 8
    images, masks = next(iterator)
    assert images.sum() == images[1, 4, 6, 2] == 9 and masks.sum() == masks[1, 4, 6] == 8
    buffer[0] = 7
    assert as_tensor(buffer)[0] == 7


@pytest.mark.long
@pytest.mark.parametrize("settings", [{"cache": "ram"}, {"cache": "disk"}, {}])
@pytest.mark.parametrize("seed", [3, None])
@pytest.mark.parametrize("fit", [{"fit": "resize"}, {"fit": "crop", "size": (8, 8), "crop": BY_CLASSES}])
def test_no_python_runs_in_a_training_chain(settings, seed, fit, folder, tiny_records):
    for stored in (folder, tiny_records):
        stream = train_batches(stored, "train", **{"size": (24, 40), "batch_size": 2, "seed": seed, **settings, **fit})
        assert not {"PyFunc", "PyFuncStateless", "EagerPyFunc"} & list_operations(stream)
        is_mapped = bool(settings) or stored is folder
        assert (stream.options().experimental_optimization.apply_default_optimizations is False) == is_mapped
    assert "PyFunc" in list_operations(stream.map(lambda batch: tf.numpy_function(len, [batch["mask"]], tf.int64)))


def list_operations(data: tf.data.Dataset) -> set[str]:
    """Names the operations of a data set and of the functions in it."""
    graph = tf.compat.v1.GraphDef.FromString(data._as_serialized_graph().numpy())
    functions = [node.op for function in graph.library.function for node in function.node_def]
    return {*functions, *(node.op for node in graph.node)}


@pytest.mark.long
@pytest.mark.parametrize("settings", [{}, {"cache": "ram"}])
def test_streams_of_one_training_read_the_records_once(folder, settings, monkeypatch):
    opened = []
    for name, make in (("Mapped", readers.Mapped), ("open_cache", readers.open_cache)):
        monkeypatch.setattr(readers, name, lambda *args, make=make: opened.append(make) or make(*args))
    stream = pipeline.TrainStream(open_records(folder), "train", TrainSettings(SIZE, 2, seed=3, **settings))
    whole, rest = (
        [batch["mask"] for batch in stream.batches(step=step).take(6 - step).as_numpy_iterator()] for step in (0, 4)
    )
    np.testing.assert_array_equal(whole[4:], rest)
    assert len(opened) == 1


def test_a_changed_pixel_stops_a_training(folder):
    path = folder / TRAIN
    flip(path, path.read_bytes().index(IMAGES[1][0][5, :4].tobytes()))
    with pytest.raises(ValueError, match=rf"^{path}: record 0 \(0\) is damaged: its checksum fails"):
        read(folder, 0)


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
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"^{path}: cannot mmap an empty file; see"):
        Mapped(stored, "train")
    assert first.count == 3
