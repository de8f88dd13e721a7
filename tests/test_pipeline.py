import shutil

import cv2
import numpy as np
import pytest
import tensorflow as tf
from conftest import COLORS
from test_verify import TRAIN, VAL, change_record, flip

from tfseg.pipeline import draw_window, make_eval_batches, make_train_batches, resize, told_damage


def arrays(batches):
    return [(batch["image"], batch["mask"]) for batch in batches.as_numpy_iterator()]


def positions(batches):
    """The left edge of the vehicle tells the pictures apart."""
    return [int(np.flatnonzero((mask == 7).any(axis=0))[0]) for _, masks in arrays(batches) for mask in masks]


def test_training_batches(tiny_records):
    batches = make_train_batches(tiny_records, "train", size=(24, 32), batch_size=8, seed=0)
    assert len(batches) == 2
    assert batches.element_spec == {
        "image": tf.TensorSpec((8, 24, 32, 3), tf.uint8),
        "mask": tf.TensorSpec((8, 24, 32), tf.uint8),
    }
    for images, masks in arrays(batches):
        np.testing.assert_array_equal(images, COLORS[masks])


def test_an_epoch_shows_each_picture_once_in_another_order(tiny_records):
    batches = make_train_batches(tiny_records, "train", size=(24, 32), batch_size=5, seed=0)
    first, second = positions(batches), positions(batches)
    everyone = sorted(2 + index % 16 for index in range(20))
    assert sorted(first) == sorted(second) == everyone
    assert first != second
    assert first != [2 + index % 16 for index in range(20)]


@pytest.mark.parametrize("fit", ["resize", "crop"])
def test_a_seed_makes_epochs_the_same(tiny_records, fit):
    def two_epochs(seed):
        scale = (1.0, 2.0) if fit == "crop" else (1.0, 1.0)
        batches = make_train_batches(
            tiny_records, "train", size=(12, 12), batch_size=4, fit=fit, scale=scale, seed=seed
        )
        return [array for _ in range(2) for pair in arrays(batches) for array in pair]

    one, other, third = two_epochs(3), two_epochs(3), two_epochs(4)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, third, strict=True))


def test_windows_lie_in_the_picture_and_on_their_mask(tiny_records):
    batches = make_train_batches(tiny_records, "train", size=(10, 14), batch_size=4, fit="crop", seed=0)
    seen = arrays(batches.repeat(3))
    for images, masks in seen:
        np.testing.assert_array_equal(images, COLORS[masks])  # scale 1: no pixel is mixed
    assert {0, 1, 5, 7} == set(np.unique([masks for _, masks in seen]))


def window_of(height, width, size, scale, seed=(0, 0)):
    scale = scale if isinstance(scale, tuple) else (scale, scale)
    return draw_window(height, width, size=size, scale=scale, seed=tf.constant(seed, tf.int64)).numpy().tolist()


def test_a_window_lies_in_the_picture_and_keeps_its_shape():
    for seed in range(50):
        top, left, height, width = window_of(24, 32, (12, 8), (0.5, 2.0), (seed, 0))
        assert 0 <= top <= top + height <= 24 and 0 <= left <= left + width <= 32
        assert height == pytest.approx(1.5 * width, abs=1.3)  # both are rounded
    # Not enlarged as little as asked for, but no wider than the picture is high.
    assert {tuple(window_of(24, 32, (48, 48), (0.1, 0.2), (seed, 1))[2:]) for seed in range(20)} == {(24, 24)}


def test_enlargement_makes_the_window_smaller():
    assert [window_of(64, 64, (32, 32), scale)[2:] for scale in (1.0, 2.0, 0.5)] == [[32, 32], [16, 16], [64, 64]]


def test_windows_reach_every_edge():
    windows = [window_of(4, 5, (3, 3), 1.0, (seed, 0)) for seed in range(60)]
    assert {(top, left) for top, left, _, _ in windows} == {(top, left) for top in range(2) for left in range(3)}


def test_evaluation_sees_every_picture_once_in_order(tiny_records):
    batches = make_eval_batches(tiny_records, "val", size=None, batch_size=2)
    assert len(batches) == 3
    assert [len(masks) for _, masks in arrays(batches)] == [2, 2, 1]
    assert positions(batches) == [2, 3, 4, 5, 6]


def test_resize_averages_the_picture_and_keeps_mask_values():
    checkers = (np.indices((16, 16)).sum(axis=0) % 2 * 255).astype(np.uint8)
    example = {"image": checkers[..., None].repeat(3, axis=-1), "mask": (checkers > 0) * np.uint8(7)}
    small = resize(example, (4, 4))
    assert np.abs(small["image"].numpy().astype(int) - 128)[1:-1, 1:-1].max() < 8
    assert set(np.unique(small["mask"])) <= {0, 7}


def test_wrong_requests_are_named(tiny_records, tmp_path):
    with pytest.raises(ValueError, match=r"has no split 'test', it has train, val"):
        make_eval_batches(tiny_records, "test", size=None, batch_size=2)
    with pytest.raises(ValueError, match=r"split 'val' has 5 pictures, fewer than train.batch_size 6"):
        make_train_batches(tiny_records, "val", size=(8, 8), batch_size=6)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make_train_batches(tmp_path / "nowhere", "train", size=(8, 8), batch_size=6)


# ---- damaged records


def read_through(folder, split):
    with told_damage(folder):
        for _ in make_train_batches(folder, split, size=(24, 32), batch_size=2):
            pass


def test_damage_is_told_by_file_and_record(tiny_records, tmp_path):
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    flip(folder / TRAIN, 100)
    advice = "copy what is damaged again, or convert again with: python tools/make_tfrecords.py ... --overwrite"
    with pytest.raises(ValueError) as raised:
        read_through(folder, "train")
    assert str(raised.value) == f"{folder}/{TRAIN}: record 0 (train-000) is damaged: its checksum fails; {advice}"
    flip(folder / VAL, 100)
    shutil.copy(folder / TRAIN, folder / "stray.tfrecord")
    with pytest.raises(ValueError) as raised:
        read_through(folder, "train")
    assert str(raised.value) == (
        f"{folder}/{TRAIN}: record 0 (train-000) is damaged: its checksum fails; "
        f"2 more: python tools/verify_tfrecords.py {folder} lists all"
    )


def test_a_record_of_the_wrong_size_is_told(tiny_records, tmp_path):
    """Its checksum is right; TensorFlow stops where it makes a batch."""
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    small = {"image__encoded": np.zeros((8, 9, 3), np.uint8), "mask__encoded": np.zeros((8, 9), np.uint8)}
    small = {key: cv2.imencode(".png", array)[1].tobytes() for key, array in small.items()}
    change_record(folder, VAL, 1, image__height=8, image__width=9, **small)
    with pytest.raises(ValueError, match=r"record 1 \(val-001\) is 8x9, the manifest says 24x32"), told_damage(folder):
        list(make_eval_batches(folder, "val", size=None, batch_size=3))


@pytest.mark.parametrize("kind", [tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError])
def test_other_errors_pass_through_sound_records(tiny_records, kind):
    error = kind(None, None, "of the network")
    with pytest.raises(kind) as raised, told_damage(tiny_records):
        raise error
    assert raised.value is error


def test_no_memory_is_not_the_damage(tiny_records, tmp_path):
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    flip(folder / TRAIN, 100)
    with pytest.raises(tf.errors.ResourceExhaustedError), told_damage(folder):
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
