"""Records as `import tfseg` gives them: finite datasets for `fit`, single images, and what a notebook shows."""

import keras
import numpy as np
import pytest
from helpers import draw, flip, write_records

import tfseg


@pytest.fixture(scope="module")
def records(tiny_records):
    return tfseg.open_records(tiny_records)


def masks_of(dataset):
    return [mask.tobytes() for _, masks in dataset.as_numpy_iterator() for mask in masks]


def test_an_epoch_is_finite_and_each_has_another_order(records):
    train = records.train_dataset(batch_size=5, seed=3)
    first, second = masks_of(train), masks_of(train)
    assert len(train) == 4 and len(first) == 20
    assert first != second and sorted(first) == sorted(second) == sorted(
        draw(i, 24, 32)[1].tobytes() for i in range(20)
    )


@pytest.mark.long
def test_the_order_is_a_function_of_seed_and_epoch(records):
    train = records.train_dataset(batch_size=5, seed=3)
    epochs = [masks_of(train) for _ in range(3)]
    assert masks_of(records.train_dataset(batch_size=5, seed=3)) == epochs[0]
    assert masks_of(records.train_dataset(batch_size=5, seed=3, epoch=2)) == epochs[2]
    assert masks_of(records.train_dataset(batch_size=5, seed=4)) != epochs[0]


@pytest.mark.long
@pytest.mark.parametrize("cache", [None, "ram"])
def test_crops_are_a_function_of_seed_and_epoch_too(records, cache):
    def read(epoch):
        crop = tfseg.RandomCrop(scale=(0.8, 2.0), rare_class_sampling=0.5)
        data = records.train_dataset(image_size=(12, 12), batch_size=4, crop=crop, seed=1, epoch=epoch, cache=cache)
        return [(image.tobytes(), mask.tobytes()) for image, mask in data.as_numpy_iterator()]

    assert read(0) == read(0) != read(1)


@pytest.mark.long
def test_what_fills_no_batch_is_left_out_or_not(records):
    assert len(records.train_dataset(batch_size=8, seed=0)) == 2
    one = records.train_dataset(batch_size=32, seed=0, drop_remainder=False)
    assert len(one) == 1 and [len(mask) for _, mask in one] == [20]
    whole = records.train_dataset(batch_size=8, seed=0, drop_remainder=False)
    assert len(whole) == 3 and [len(mask) for _, mask in whole] == [8, 8, 4]
    dropped = [set(masks_of(data)) for data in [records.train_dataset(batch_size=8, seed=0)] for _ in range(2)]
    assert dropped[0] != dropped[1], "other images in each epoch"


def test_evaluation_is_in_the_order_of_the_ids(records):
    val = records.eval_dataset(batch_size=2)
    assert len(val) == 3 and [len(mask) for _, mask in val] == [2, 2, 1]
    assert masks_of(val) == [draw(index, 24, 32)[1].tobytes() for index in range(5)]
    image, mask = next(iter(records.eval_dataset(image_size=(12, 16), batch_size=5)))
    assert image.shape == (5, 12, 16, 3) and mask.shape == (5, 12, 16) and image.dtype == mask.dtype == "uint8"


@pytest.mark.long
def test_plain_keras_fits_on_them(records):
    pixels = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(8, 1)(keras.layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, logits)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
    model.compile(keras.optimizers.Adam(0.1), loss, jit_compile=False)
    train, val = records.train_dataset(batch_size=5, seed=0), records.eval_dataset(batch_size=5)
    history = model.fit(train, validation_data=val, epochs=6, shuffle=False, verbose=0).history
    assert history["val_loss"][-1] < 0.7 * history["val_loss"][0]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"split": "trian"}, "has no split 'trian', it has train, val"),
        ({"batch_size": 0}, "batch_size: expected a whole number, 1 or more, got 0"),
        ({"batch_size": 2.0}, "batch_size: expected a whole number, 1 or more, got 2.0"),
        ({"batch_size": 21}, "has 20 images, fewer than"),
        ({"image_size": "16x16"}, r"image_size: expected \(height, width\), got '16x16'"),
        ({"image_size": (16, 16, 3)}, r"image_size: expected \(height, width\), got"),
        ({"image_size": (0, 16)}, "image_size: expected a whole number, 1 or more, got 0"),
        ({"epoch": -1}, "epoch: expected a whole number, 0 or more, got -1"),
        ({"cache": "disc"}, 'cache: expected "ram", "disk" or None, got \'disc\''),
        ({"ram_budget": 0}, "does not go in"),
        ({"image_size": (side for side in (16, 16, 3))}, r"image_size: expected \(height, width\), got"),
        ({"ram_budget": "1 GiB"}, "ram_budget: expected a whole number, 0 or more, got '1 GiB'"),
        ({"shuffle_buffer": 0}, "shuffle_buffer: expected a whole number, 1 or more, got 0"),
        ({"seed": -1}, "seed: expected a whole number, 0 or more, got -1"),
        ({"seed": "0"}, "seed: expected a whole number, 0 or more, got '0'"),
        ({"seed": 2**32}, "seed: expected a whole number, 4294967295 at most, got 4294967296"),
    ],
)
def test_what_cannot_be_read_is_refused(records, options, error):
    with pytest.raises(ValueError, match=error):
        records.train_dataset(**{"batch_size": 4, **options})


def test_numbers_of_numpy_and_lists_are_taken(records):
    crop = tfseg.RandomCrop(scale=np.array([1.0, 1.0]))
    train = records.train_dataset(batch_size=np.uint8(4), image_size=np.array([8, 8]), seed=np.int32(2), crop=crop)
    assert next(iter(train))[0].shape == (4, 8, 8, 3)
    with pytest.raises(TypeError, match=r"crop: expected tfseg.RandomCrop\(...\) or None, got \(0.5, 2\)"):
        records.train_dataset(batch_size=4, crop=(0.5, 2))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"scale": (2.0, 0.5)}, "scale: expected two numbers above 0, the lower one first"),
        ({"scale": (0, 1)}, "scale: expected two numbers above 0"),
        ({"scale": 2.0}, "scale: expected two numbers above 0, the lower one first, got 2.0"),
        ({"scale": "12"}, "scale: expected two numbers above 0, the lower one first, got '12'"),
        ({"scale": None}, "scale: expected two numbers above 0, the lower one first, got None"),
        ({"cat_max_ratio": 0}, "cat_max_ratio: expected a share above 0"),
        ({"rare_class_sampling": 2}, "rare_class_sampling: expected a probability in 0..1, got 2"),
    ],
)
def test_crops_that_cannot_be_are_refused(options, error):
    with pytest.raises(ValueError, match=error):
        tfseg.RandomCrop(**options)


def test_one_image(records):
    for index, expected in ((0, 0), (3, 3), (-1, 4)):
        image, mask, id = records.example("val", index)
        wanted = draw(expected, 24, 32)
        np.testing.assert_array_equal(image, wanted[0])
        np.testing.assert_array_equal(mask, wanted[1])
        assert id == f"val-{expected:03d}"
    with pytest.raises(IndexError, match="split 'val' has 5 images, from 0 on; got index 5"):
        records.example("val", 5)
    with pytest.raises(TypeError, match="'float' object"):
        records.example("val", 1.5)


def test_verify(records, tmp_path):
    records.verify(workers=1)
    folder = write_records(tmp_path / "damaged", {"train": 3, "val": 1})
    flip(folder / "train-00000-of-00002.tfrecord", 40)
    with pytest.raises(ValueError, match=r"train-00000-of-00002\.tfrecord"):
        tfseg.open_records(folder).verify(workers=1)


def test_a_notebook_shows_shares_of_the_classes(records):
    assert repr(records).endswith("/records', 8 classes; train: 20 images, val: 5 images)")
    html = records._repr_html_()
    assert "<th>train, 20 images</th>" in html and html.count("<tr>") == 9
    assert "vehicle</th><td>8.33%</td>" in html


def test_open_records_takes_what_was_opened(records, tiny_records):
    assert tfseg.open_records(records) is records
    from tfseg.records.record_set import open_records

    assert isinstance(tfseg.open_records(open_records(tiny_records)), tfseg.RecordSet)
