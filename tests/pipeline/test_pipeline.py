import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from helper_pipeline import train_batches
from helpers import CLASS_COLORS, TRAIN, VAL, change_record, flip, write_images

from tfseg.config.parse import parse_config
from tfseg.pipeline.crops import RandomCrop
from tfseg.pipeline.damage import explain_read_errors
from tfseg.pipeline.examples import read_examples, read_places, spread
from tfseg.pipeline.fitting import choose_shrink, resize
from tfseg.pipeline.order import Share, share_out
from tfseg.pipeline.pipeline import make_eval_batches
from tfseg.pipeline.settings import TrainSettings, plan_buffers
from tfseg.records.manifest import read_manifest, write_manifest
from tfseg.records.parsing import parse_features, parse_image
from tfseg.records.record_set import open_records
from tfseg.records.records import read_shard
from tfseg.training.loop import train_run


def arrays(batches):
    return [(batch["image"], batch["mask"]) for batch in batches.as_numpy_iterator()]


def positions(batches):
    """The left edge of the vehicle distinguishes the images, but for the last four of 20."""
    return [int(np.flatnonzero((mask == 7).any(axis=0))[0]) for _, masks in arrays(batches) for mask in masks]


def equal(batches, others):
    return len(batches) == len(others) and all(
        np.array_equal(array, other)
        for pair, pair_of_others in zip(batches, others, strict=True)
        for array, other in zip(pair, pair_of_others, strict=True)
    )


EVERYONE = sorted(2 + index % 16 for index in range(20))
CROPS = {"size": (12, 12), "batch_size": 4, "fit": "crop", "crop": RandomCrop(scale=(1.0, 2.0))}
WHOLE = {"size": (24, 32), "batch_size": 4}


def test_training_batches(tiny_records):
    batches = train_batches(tiny_records, "train", size=(24, 32), batch_size=8, seed=0)
    assert batches.cardinality() == tf.data.INFINITE_CARDINALITY
    assert batches.element_spec == {
        "image": tf.TensorSpec((8, 24, 32, 3), tf.uint8),
        "mask": tf.TensorSpec((8, 24, 32), tf.uint8),
    }
    for images, masks in arrays(batches.take(3)):
        np.testing.assert_array_equal(images, CLASS_COLORS[masks])


def test_steps_of_an_epoch(tiny_records):
    records = open_records(tiny_records)
    assert [records.count_steps("train", batch_size) for batch_size in (1, 3, 8, 20)] == [20, 6, 2, 1]


@pytest.mark.parametrize("seed", [0, None])
def test_an_epoch_shows_each_image_once_in_another_order(tiny_records, seed):
    seen = positions(train_batches(tiny_records, "train", size=(24, 32), batch_size=5, seed=seed).take(8))
    first, second = seen[:20], seen[20:]
    assert sorted(first) == sorted(second) == EVERYONE
    assert first != second
    assert first != [2 + index % 16 for index in range(20)]


def test_what_an_epoch_leaves_over_comes_first_in_the_next(tiny_records):
    """Batches of 8 cut 20 images across the seams; each pass over all is whole nevertheless."""
    seen = positions(train_batches(tiny_records, "train", size=(24, 32), batch_size=8, seed=0).take(5))
    assert sorted(seen[:20]) == sorted(seen[20:]) == EVERYONE


@pytest.mark.long
@pytest.mark.parametrize("settings", [WHOLE, CROPS])
def test_a_seed_makes_batches_the_same(tiny_records, settings):
    one, same, other = (
        arrays(train_batches(tiny_records, "train", **settings, seed=seed).take(10)) for seed in (3, 3, 4)
    )
    assert equal(one, same)
    assert not equal(one, other)


def test_the_seed_of_the_program_changes_nothing(tiny_records):
    tf.random.set_seed(1)
    one = arrays(train_batches(tiny_records, "train", **CROPS, seed=3).take(10))
    tf.random.set_seed(2)
    assert equal(one, arrays(train_batches(tiny_records, "train", **CROPS, seed=3).take(10)))


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "epoch", "step"),
    [(WHOLE, 0, 1), (WHOLE, 1, 5), (CROPS, 0, 0), (CROPS, 1, 0), (CROPS, 2, 1), ({**CROPS, "batch_size": 7}, 1, 1)],
)
def test_the_stream_can_begin_anywhere(tiny_records, settings, epoch, step):
    steps = open_records(tiny_records).count_steps("train", settings["batch_size"])
    start = epoch * steps + step
    whole = arrays(train_batches(tiny_records, "train", **settings, seed=5).take(start + 4))
    rest = train_batches(tiny_records, "train", **settings, seed=5, epoch=epoch, step=step)
    assert equal(arrays(rest.take(4)), whole[start:])


@pytest.mark.long
def test_what_is_passed_over_is_not_decoded(tiny_records, tmp_path):
    """Record 0 is no image. Whoever decodes it stops there."""
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    change_record(folder, TRAIN, 0, image__encoded=b"no image")
    settings = {**WHOLE, "batch_size": 1, "seed": 0}
    batches = train_batches(folder, "train", **settings).as_numpy_iterator()
    with pytest.raises(tf.errors.InvalidArgumentError):
        for step in range(20):  # noqa: B007
            next(batches)
    rest = train_batches(folder, "train", **settings, step=step + 1)
    assert len(arrays(rest.take(19 - step))) == 19 - step


@pytest.mark.long
def test_crops_do_not_depend_on_the_order(tiny_records):
    """Another buffer, another order: each image's crop stays."""
    one, other = (
        arrays(train_batches(tiny_records, "train", **{**CROPS, "batch_size": 1}, shuffle_buffer=n, seed=3).take(20))
        for n in (1, 20)
    )
    assert not equal(one, other)
    assert sorted(image.tobytes() for image, _ in one) == sorted(image.tobytes() for image, _ in other)


def test_crops_change_from_epoch_to_epoch(tiny_records):
    crops = arrays(train_batches(tiny_records, "train", **{**CROPS, "batch_size": 20}, seed=3).take(2))
    first, second = ({image.tobytes() for image in images} for images, _ in crops)
    assert len(first & second) < 5


# ---- records are opened once


@pytest.mark.parametrize("settings", [WHOLE, CROPS, {**WHOLE, "cache": "ram"}, {**WHOLE, "cache": "disk"}])
def test_an_open_record_set_is_not_opened_again(tiny_records, tmp_path, monkeypatch, settings):
    records = open_records(shutil.copytree(tiny_records, tmp_path / "records"))
    opened, looked_at = [], []
    open_file, look = Path.open, Path.stat

    def count_open(path, *args, **kwargs):
        opened.append(path.name)
        return open_file(path, *args, **kwargs)

    def count_stat(path, **kwargs):
        looked_at.append(path.name)
        return look(path, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", count_open)
        patch.setattr(Path, "stat", count_stat)
        train_batches(records, "train", **settings)
        make_eval_batches(records, "val", size=None, batch_size=2)
    assert "manifest.json" not in opened + looked_at
    assert not [name for name in looked_at if name.endswith(".tfrecord")]


# ---- readers


def test_shards_are_shared_out_whole_where_they_can_be():
    assert share_out(["a", "b", "c", "d"], [5, 5, 6, 6], Share(1, 2)) == [("b", 5, 5, 0, 1), ("d", 6, 16, 0, 1)]
    shared = share_out(["a", "b"], [5, 6], Share(1, 3))
    assert shared == [("a", 5, 0, 1, 3), ("b", 6, 5, 2, 3)]
    assert [file.count for file in shared] == [2, 2]


def test_equal_shares_stay_the_readers_own(tiny_records):
    """2 shards of 10: two readers take one each."""
    seen = []
    for index in range(2):
        batches = train_batches(tiny_records, "train", **{**WHOLE, "batch_size": 1}, seed=0, share=Share(index, 2))
        twice = positions(batches.take(20))
        assert sorted(twice[:10]) == sorted(twice[10:])
        seen += twice[:10]
    assert sorted(seen) == EVERYONE


@pytest.mark.long
@pytest.mark.parametrize("cache", [None, "ram"])
def test_ids_are_those_of_the_batches(tiny_records, cache):
    stream = {"size": (24, 32), "batch_size": 4, "seed": 3, "epoch": 1, "step": 2, "cache": cache}
    batches, ids = (train_batches(tiny_records, "train", **stream, only_ids=only) for only in (False, True))
    masks = {
        example["id"]: example["mask"]
        for example in read_examples(open_records(tiny_records), "train", count=20, size=None)
    }
    for batch, named in zip(batches.take(6).as_numpy_iterator(), ids.take(6).as_numpy_iterator(), strict=True):
        for mask, id in zip(batch["mask"], named, strict=True):
            np.testing.assert_array_equal(mask, masks[id])


@pytest.mark.long
def test_a_share_can_begin_anywhere(tiny_records):
    for share in (Share(1, 2), Share(2, 3)):
        whole = arrays(train_batches(tiny_records, "train", **CROPS, seed=1, share=share).take(9))
        rest = train_batches(tiny_records, "train", **CROPS, seed=1, share=share, epoch=3, step=1)
        start = 3 * (20 // (4 * share.count)) + 1
        assert equal(arrays(rest.take(9 - start)), whole[start:])


# ---- single images


@pytest.mark.parametrize(
    ("count", "places"), [(1, [0]), (2, [0, 4]), (3, [0, 2, 4]), (5, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])]
)
def test_examples_are_spread_over_the_shards(tiny_records, count, places):
    assert spread(5, count) == places and spread(0, count) == []
    examples = list(read_examples(open_records(tiny_records), "val", count=count, size=None))
    assert [example["id"] for example in examples] == [b"val-%03d" % place for place in places]


def test_places_are_read_in_their_order(tiny_records):
    examples = list(read_places(open_records(tiny_records), "val", [4, 1], size=(6, 8)))
    assert [example["id"] for example in examples] == [b"val-001", b"val-004"]
    assert [example[key].shape for example in examples for key in ("image", "mask")] == [(6, 8, 3), (6, 8)] * 2


# ---- memory


def test_buffers_keep_to_their_budget(tiny_records):
    record = sum(path.stat().st_size for path in tiny_records.glob("train-*")) / 20

    def plan(ram_budget):
        return plan_buffers(open_records(tiny_records), "train", TrainSettings((256, 256), 4, ram_budget=ram_budget))

    for ram_budget in (5, 8, 100):
        buffers = plan(ram_budget=ram_budget)
        assert buffers.records * record + (buffers.batches + 3) * 2**20 <= ram_budget * 2**20
    assert buffers == (2000, 8)
    assert plan(ram_budget=8).batches == 2
    with pytest.raises(ValueError, match=r"does not go in data.ram_budget 2; it takes 5 MiB or more"):
        plan(ram_budget=2)


# ---- crops


def test_crops_lie_in_the_image_and_on_their_mask(tiny_records):
    batches = train_batches(tiny_records, "train", size=(10, 14), batch_size=4, fit="crop", seed=0)
    seen = arrays(batches.take(15))
    for images, masks in seen:
        np.testing.assert_array_equal(images, CLASS_COLORS[masks])  # scale 1: no pixel is mixed
    assert {0, 1, 5, 7} == set(np.unique([masks for _, masks in seen]))


@pytest.mark.long
def test_rare_classes_and_shares_are_asked_for(tiny_records):
    def shares(crop):
        batches = train_batches(tiny_records, "train", size=(8, 8), batch_size=10, fit="crop", crop=crop, seed=0)
        masks = np.concatenate([masks for _, masks in arrays(batches.take(10))])
        counts = np.stack([(masks == c).sum(axis=(1, 2)) for c in range(1, 8)], axis=1)
        return counts / counts.sum(axis=1, keepdims=True).clip(1)

    plain, mixed, rare = (shares(RandomCrop(**kw)) for kw in ({}, {"cat_max_ratio": 0.7}, {"rare_class_sampling": 1.0}))
    assert (plain.max(axis=1) > 0.7).mean() > 2 * (mixed.max(axis=1) > 0.7).mean()
    assert rare[:, 6].mean() > 1.5 * plain[:, 6].mean()  # vehicles


def test_evaluation_sees_every_image_once_in_order(tiny_records):
    batches = make_eval_batches(open_records(tiny_records), "val", size=None, batch_size=2)
    assert len(batches) == 3
    assert [len(masks) for _, masks in arrays(batches)] == [2, 2, 1]
    assert positions(batches) == [2, 3, 4, 5, 6]


def test_resize_averages_far_and_near():
    """Linear interpolation between two pixels is their average; from further off all are averaged."""
    ramp = np.arange(0, 256, 2, np.uint8)[None, :, None].repeat(128, axis=0).repeat(3, axis=-1)
    for width in (64, 32, 16):
        small = resize({"image": ramp, "mask": ramp[..., 0]}, (width, width))["image"].numpy()[0, :, 0]
        np.testing.assert_allclose(small[2:-2], ramp[0, :, 0].reshape(width, -1).mean(axis=1)[2:-2], atol=1)


@pytest.mark.parametrize("tile_width", [None, 16])
def test_a_jpeg_shrinks_while_it_is_decoded(tmp_path, tile_width):
    """64x88 to 20x24: decoded at 32x44, which is as good as the average over four pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 88, 3), np.uint8)
    images = [cv2.GaussianBlur(image, (0, 0), 2) for image in noise]
    masks = [np.full((64, 88), index, np.uint8) for index in range(4)]
    folder = write_images(tmp_path, list(zip(images, masks, strict=True)), "jpeg", tile_width)
    manifest = read_manifest(folder)
    batches = train_batches(folder, "train", size=(20, 24), batch_size=4, seed=0)
    ((shrunk, masks),) = arrays(batches.take(1))
    for image, mask in zip(shrunk, masks, strict=True):
        assert (mask == mask[0, 0]).all()
        example = {"image": images[mask[0, 0]], "mask": mask}
        exact = cv2.resize(example["image"], (44, 32), interpolation=cv2.INTER_AREA)
        wanted = resize({"image": exact, "mask": mask}, (20, 24))["image"].numpy()
        assert np.abs(image.astype(int) - wanted).max() <= 4
    sizes = [(64, 88), (32, 45), (32, 44), (16, 44), (16, 22), (9, 11), (8, 11), (100, 11)]
    assert [choose_shrink(manifest, size) for size in sizes] == [1, 1, 2, 2, 4, 4, 8, 1]
    whole = parse_features(next(read_shard(folder / manifest.splits["train"].shards[0].name)))
    assert parse_image(whole, manifest, shrink=8).shape == (8, 11, 3)


def test_resize_averages_the_image_and_keeps_mask_values():
    checkers = (np.indices((16, 16)).sum(axis=0) % 2 * 255).astype(np.uint8)
    example = {"image": checkers[..., None].repeat(3, axis=-1), "mask": (checkers > 0) * np.uint8(7)}
    small = resize(example, (4, 4))
    assert np.abs(small["image"].numpy().astype(int) - 128)[1:-1, 1:-1].max() < 8
    assert set(np.unique(small["mask"])) <= {0, 7}


def test_wrong_requests_are_named(tiny_records, tmp_path):
    with pytest.raises(ValueError, match=r"has no split 'test', it has train, val"):
        make_eval_batches(open_records(tiny_records), "test", size=None, batch_size=2)
    with pytest.raises(ValueError, match=r"split 'val' has 5 images, fewer than train.batch_size 6"):
        train_batches(tiny_records, "val", size=(8, 8), batch_size=6)
    service = {"size": (8, 8), "batch_size": 2, "service": "grpc://localhost:5050"}
    with pytest.raises(ValueError, match="no shares and no place to resume at"):
        train_batches(tiny_records, "val", step=1, **service)
    with pytest.raises(ValueError, match=r"of a tf\.data service has no cache"):
        train_batches(tiny_records, "val", cache="ram", **service)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train_batches(tmp_path / "nowhere", "train", size=(8, 8), batch_size=6)


# ---- damaged records


def read_through(folder, split):
    with explain_read_errors(open_records(folder)):
        for _ in train_batches(folder, split, size=(24, 32), batch_size=2).take(10):
            pass


def test_damage_is_named_by_file_and_record(tiny_records, tmp_path):
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    flip(folder / TRAIN, 100)
    advice = "copy what is damaged again, or convert again with: python -m tfseg.convert ... --overwrite"
    with pytest.raises(ValueError) as raised:
        read_through(folder, "train")
    assert str(raised.value) == f"{folder}/{TRAIN}: record 0 (train-000) is damaged: its checksum fails; {advice}"
    flip(folder / VAL, 100)
    shutil.copy(folder / TRAIN, folder / "stray.tfrecord")
    with pytest.raises(ValueError) as raised:
        read_through(folder, "train")
    assert str(raised.value) == (
        f"{folder}/{TRAIN}: record 0 (train-000) is damaged: its checksum fails; "
        f"2 more: python -m tfseg.verify {folder} lists all"
    )


def test_a_record_of_the_wrong_size_is_named(tiny_records, tmp_path):
    """Its checksum is right; TensorFlow stops where it makes a batch."""
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    small = {"image__encoded": np.zeros((8, 9, 3), np.uint8), "mask__encoded": np.zeros((8, 9), np.uint8)}
    small = {key: cv2.imencode(".png", array)[1].tobytes() for key, array in small.items()}
    change_record(folder, VAL, 1, image__height=8, image__width=9, **small)
    with (
        pytest.raises(ValueError, match=r"record 1 \(val-001\) is 8x9, the manifest says 24x32"),
        explain_read_errors(open_records(folder)),
    ):
        list(make_eval_batches(open_records(folder), "val", size=None, batch_size=3))


@pytest.mark.parametrize("kind", [tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError])
def test_other_errors_pass_through_sound_records(tiny_records, kind):
    error = kind(None, None, "of the network")
    with pytest.raises(kind) as raised, explain_read_errors(open_records(tiny_records)):
        raise error
    assert raised.value is error


def test_no_memory_is_not_the_damage(tiny_records, tmp_path):
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    flip(folder / TRAIN, 100)
    with pytest.raises(tf.errors.ResourceExhaustedError), explain_read_errors(open_records(folder)):
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")


@pytest.mark.long
@pytest.mark.tensorflow
def test_the_next_batch_is_sent_ahead_as_bytes(tiny_records):
    """To another of two processors, in a process of its own, since devices are made before anything else."""
    program = f"""
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfseg.pipeline.pipeline import TrainStream, make_eval_batches
from tfseg.pipeline.settings import TrainSettings
from tfseg.pipeline.transfer import to_device
from tfseg.augmentation.augmenter import Augmenter
from tfseg.training.learner import Learner
from tfseg.losses.segmentation_loss import SegmentationLoss
from tfseg.metrics.confusion import Scorer, score
from tfseg.records.record_set import open_records
records = open_records({str(tiny_records)!r})
made = TrainStream(records, "train", TrainSettings(size=(24, 32), batch_size=4, seed=0)).batches()
sent = to_device(made, signed=True, ahead=True, device="/CPU:1")
for plain, batch in zip(made.take(3), iter(sent)):
    for key in ("image", "mask"):
        assert batch[key].dtype == tf.int8 and batch[key].device.endswith("CPU:1"), (key, batch[key].device)
        np.testing.assert_array_equal(batch[key].numpy().view(np.uint8), plain[key])
pixels = keras.Input((None, None, 3))
network = keras.Model(pixels, keras.layers.Conv2D(8, 1)(keras.layers.Rescaling(1 / 255)(pixels)))
places = set()
class Watcher(Learner):
    def call(self, batch, training=False):
        places.add(batch["image"].device[-5:])
        return super().call(batch, training)
learner = Watcher(network, SegmentationLoss(0.0, 1.0), Augmenter())
learner.compile(keras.optimizers.Adam(0.01))
tf.config.run_functions_eagerly(True)
history = learner.fit(sent, epochs=2, steps_per_epoch=5, verbose=0, shuffle=False).history["loss"]
assert history[1] < history[0] and int(learner.steps) == 10, (history, learner.steps)
assert places == {{"CPU:1"}}, places
val = make_eval_batches(records, "val", size=(24, 32), batch_size=4)
scorer = Scorer(network, SegmentationLoss(0.0, 1.0))
assert score(scorer, to_device(val, True, True, "/CPU:1"))["confusion_matrix"] == score(scorer, val)["confusion_matrix"]
print("sent")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.stdout == "sent\n", result.stderr[-2000:]


# ---- what can be learnt


def with_pixels(folder, classes=None, **pixels):
    """Gives splits of records other counts of pixels, and the records other classes."""
    manifest = read_manifest(folder)
    splits = {
        name: dataclasses.replace(split, class_pixels=pixels.get(name, split.class_pixels))
        for name, split in manifest.splits.items()
    }
    changed = {"classes": classes, "colors": [[0, 0, place] for place, _ in enumerate(classes)]} if classes else {}
    write_manifest(folder, dataclasses.replace(manifest, splits=splits, **changed))
    return folder


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (
            {"train": [9, 0, 0, 0, 0, 0, 0, 0]},
            "split 'train' holds nothing but void, so there is nothing to learn from",
        ),
        (
            {"train": [9, 0, 0, 4, 0, 0, 0, 0]},
            "split 'train' has pixels of one class alone, object: one class is left to l",
        ),
        ({"val": [9, 0, 0, 0, 0, 0, 0, 0]}, "split 'val' holds nothing but void, so there is nothing to score against"),
    ],
)
def test_refuses_what_nothing_can_be_learnt_from(tiny_records, tmp_path, pixels, message):
    folder = with_pixels(shutil.copytree(tiny_records, tmp_path / "r"), **pixels)
    with pytest.raises(ValueError, match=f"^{folder}: {message}"):
        open_records(folder).check_learnable("train", "val")
    open_records(tiny_records).check_learnable("train", "val")


def test_records_of_void_and_a_thing(tiny_records, tmp_path):
    """As they were made before void could be left out of a label map."""
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    with_pixels(folder, ["void", "thing"], train=[900, 60], val=[90, 6])
    with pytest.raises(ValueError, match=r"one class is left to learn, thing, .* name the background as a class"):
        open_records(folder).check_learnable("train", "val")
    open_records(folder).check_learnable("train", "val", ignore_class=None)


def test_a_training_that_can_measure_nothing_does_not_begin(tiny_records, tmp_path):
    folder = with_pixels(shutil.copytree(tiny_records, tmp_path / "r"), train=[9, 0, 0, 0, 0, 0, 0, 0])
    config = parse_config(
        ["--data.records", str(folder), "--run_dir", str(tmp_path / "run"), "--model.weights", "null"]
    )
    with pytest.raises(ValueError, match="nothing to learn from"):
        train_run(config)
    assert not (tmp_path / "run").exists()
