"""Samples -> shards: what is stored is right, the same each time, and whole or not there."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helper_killed import moments
from PIL import Image

from tfseg import convert
from tfseg.conversion import converter
from tfseg.conversion.finding import sources
from tfseg.conversion.reading import samples
from tfseg.conversion.writing import encoding, journal, plan
from tfseg.io import command as cli
from tfseg.io import locks, removal, staging
from tfseg.records import records
from tfseg.records.labels import CITYSCAPES
from tfseg.records.manifest import read_manifest, shard_name
from tfseg.records.record_set import open_records
from tfseg.runs import run_dir

TOOL = Path(__file__).parents[2] / "tools" / "make_tfrecords.py"
VALUES = [0, 3, 4, 200]  # of the raw masks: void, sky, road, a car
CATEGORY_OF = {0: 0, 3: 5, 4: 1, 200: 7}


def write_sample(root, split, id, seed, size=(12, 16)):
    """Writes an image of noise and a mask of coloured blocks."""
    random = np.random.default_rng(seed)
    for kind in ("images", "masks"):
        (root / kind / split).mkdir(parents=True, exist_ok=True)
    blocks = random.choice(np.array(VALUES, np.uint8), (size[0] // 4, size[1] // 4))
    cv2.imwrite(str(root / f"images/{split}/{id}.png"), random.integers(0, 256, (*size, 3), np.uint8))
    cv2.imwrite(str(root / f"masks/{split}/{id}.png"), blocks.repeat(4, axis=0).repeat(4, axis=1))


@pytest.fixture
def raw(tmp_path):
    """A raw data set: 10 images to train on, 3 to validate with."""
    root = tmp_path / "raw"
    for index in range(10):
        write_sample(root, "train", f"t{index}", index)
    for index in range(3):
        write_sample(root, "val", f"v{index}", 100 + index)
    (root / "map.yaml").write_text("0: void\n3: sky\n4: flat\n200: vehicle\n")
    return root


def open_raw(root, splits=None):
    return sources.open_source(root, splits, root / "map.yaml")


def read_split(folder, split):
    """Every record of a split, parsed, by id in the stored order."""
    tf = pytest.importorskip("tensorflow", reason="reads the records back with TensorFlow")
    from tfseg.records.parsing import parse_example

    manifest = read_manifest(folder)
    data = tf.data.TFRecordDataset([str(folder / shard.name) for shard in manifest.splits[split].shards])
    parsed = [(record, parse_example(record, manifest)) for record in data]
    return {
        example["id"].numpy().decode(): (record, example["image"].numpy(), example["mask"].numpy())
        for record, example in parsed
    }


def read_raw(root, split, id):
    """Image and category ids of a sample, by another way than the converter's."""
    with Image.open(root / f"images/{split}/{id}.png") as image, Image.open(root / f"masks/{split}/{id}.png") as mask:
        return np.array(image), np.vectorize(CATEGORY_OF.get)(np.array(mask)), np.array(mask)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- the whole data set


@pytest.mark.parametrize("codec", ["png", "raw", "jpeg"])
def test_stores_every_image_with_its_mask(raw, tmp_path, codec):
    manifest = converter.convert(open_raw(raw), tmp_path / "out", codec=codec, quality=100)
    for split, count in (("train", 10), ("val", 3)):
        stored = read_split(tmp_path / "out", split)
        assert list(stored) == manifest.splits[split].ids
        assert len(stored) == count
        for id, (_, image, mask) in stored.items():
            raw_image, raw_mask, _ = read_raw(raw, split, id)
            assert np.abs(image.astype(int) - raw_image).max() <= (6 if codec == "jpeg" else 0)
            assert np.array_equal(mask, raw_mask)


@pytest.mark.parametrize("codec", ["png", "raw"])
@pytest.mark.parametrize("size", [(3, 4), (6, 8), (5, 24)])
def test_resizes_to_one_size(raw, tmp_path, codec, size):
    manifest = converter.convert(open_raw(raw, ["val"]), tmp_path / "out", codec=codec, size=size)
    assert manifest.size == list(size)
    for id, (_, image, mask) in read_split(tmp_path / "out", "val").items():
        raw_image, raw_mask, _ = read_raw(raw, "val", id)
        assert image.shape == (*size, 3) and mask.shape == size
        assert set(np.unique(mask)) <= set(np.unique(raw_mask))
        if size == (3, 4):  # each block of 4 x 4 pixels became one
            assert np.array_equal(mask, raw_mask[::4, ::4])
            assert np.abs(image - raw_image.reshape(3, 4, 4, 4, 3).mean(axis=(1, 3))).max() <= 0.5


def test_keeps_label_ids_for_evaluation_alone(raw, tmp_path):
    tf = pytest.importorskip("tensorflow", reason="reads the records back with TensorFlow")

    converter.convert(open_raw(raw), tmp_path / "out", size=(6, 8))
    for id, (record, _, _) in read_split(tmp_path / "out", "val").items():
        assert np.array_equal(records.decode_example(record.numpy()).label_ids, read_raw(raw, "val", id)[2])
    for record, _, _ in read_split(tmp_path / "out", "train").values():
        assert "label_ids/encoded" not in tf.train.Example.FromString(record.numpy()).features.feature


def test_cityscapes_labels_become_categories(tmp_path):
    name = "{}/val/ulm/ulm_000000_000019_{}.png"
    mask = np.array([[0, 7, 8, 9, 11], [17, 21, 23, 24, 255]], np.uint8)
    for folder, kind, array in (("leftImg8bit", "leftImg8bit", mask), ("gtFine", "gtFine_labelIds", mask)):
        path = tmp_path / name.format(folder, kind)
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), array)
    converter.convert(sources.open_source(tmp_path), tmp_path / "out")
    ((record, image, stored),) = read_split(tmp_path / "out", "val").values()
    assert stored.tolist() == [[0, 1, 1, 1, 2], [3, 4, 5, 6, 0]]
    assert np.array_equal(records.decode_example(record.numpy()).label_ids, mask)
    assert image.shape == (2, 5, 3)  # a grey image becomes RGB


def test_the_labels_of_a_category_do_not_split_its_vote():
    """Road, sidewalk, parking against two pixels of building."""
    settings = encoding.Settings(CITYSCAPES["categories"], (1, 1), "png", None, "majority")
    assert encoding.make_mask(np.array([[7, 8, 9, 11, 11]], np.uint8), (1, 1), settings).tolist() == [[1]]


def test_manifest_says_what_is_stored(raw, tmp_path):
    manifest = converter.convert(open_raw(raw), tmp_path / "out", codec="png")
    assert manifest == read_manifest(tmp_path / "out")
    assert manifest.label_map == {0: "void", 3: "sky", 4: "flat", 200: "vehicle"}
    assert (manifest.source, manifest.size, manifest.codec, manifest.quality) == ("folders", None, "png", None)
    split = manifest.splits["train"]
    stored = read_split(tmp_path / "out", "train").values()
    pixels = np.concatenate([image.reshape(-1, 3) for _, image, _ in stored])
    assert split.channel_mean == pytest.approx(pixels.mean(axis=0))
    assert split.channel_std == pytest.approx(pixels.std(axis=0))
    assert split.class_pixels == sum(np.bincount(mask.ravel(), minlength=8) for _, _, mask in stored).tolist()
    assert [shard.name for shard in split.shards] == [shard_name("train", index, 2) for index in range(2)]
    assert [shard.count for shard in split.shards] == [5, 5]
    assert all(shard.sha256 == records.file_sha256(tmp_path / "out" / shard.name) for shard in split.shards)


def test_the_same_bytes_for_any_number_of_workers(raw, tmp_path):
    for workers in (1, 2):
        converter.convert(open_raw(raw), tmp_path / str(workers), size=(6, 8), workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_storage_order_mixes_and_is_fixed():
    pool = [samples.Sample(f"{city}_{index}", None, None) for city in ("aachen", "ulm") for index in range(50)]
    order = plan.storage_order("train", pool)
    assert order == plan.storage_order("train", reversed(pool))
    assert order != plan.storage_order("val", pool)
    assert sorted(order) == sorted(pool)
    assert 15 <= sum(sample.id.startswith("ulm") for sample in order[:50]) <= 35
    assert [sample.id for sample in order[:3]] == ["ulm_34", "ulm_10", "aachen_32"]  # pinned


@pytest.mark.parametrize(("images", "shards"), [(1, 1), (8, 1), (9, 2), (64, 8), (500, 8), (1025, 9), (2975, 24)])
def test_shard_count(images, shards):
    assert plan.shard_count(images) == shards


def test_limit_takes_a_part_of_what_all_are(raw, tmp_path):
    whole = converter.convert(open_raw(raw), tmp_path / "whole")
    part = converter.convert(open_raw(raw), tmp_path / "part", limit=2)
    assert {name: split.count for name, split in part.splits.items()} == {"train": 2, "val": 2}
    assert part.splits["train"].ids == whole.splits["train"].ids[:2]


# ---- the output folder


def test_the_way_to_the_folder_need_not_be_there(raw, tmp_path):
    out = tmp_path / "missing" / ".." / "out"
    records = converter.convert_dataset(raw, out, label_map=raw / "map.yaml", workers=1)
    assert records.path == tmp_path / "out"


def test_a_second_run_changes_nothing(raw, tmp_path, capsys):
    out = tmp_path / "records" / "out"
    first = converter.convert(open_raw(raw), out, workers=1)
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    (out / ".DS_Store").touch()
    assert converter.convert(open_raw(raw), out, workers=2) == first
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert "out: is there already, made with the same settings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (6, 8)}, "size is original, not 6x8"),
        ({"codec": "png"}, "codec is jpeg, not png; quality is 95, not None"),
        ({"quality": 90}, "quality is 95, not 90"),
        ({"mask_resize": "majority"}, "mask_resize is nearest, not majority"),
        ({"limit": 2}, "split train has 10 images, not the same 2; split val has 3 images, not the same 2"),
        ({"splits": ["val"]}, "split train has 10 images, not the same 0"),
        ({"label_map": "0: void\n3: sky\n4: flat\n200: human\n"}, "the label map is another one"),
    ],
)
def test_refuses_to_change_records_that_are_there(raw, tmp_path, change, message):
    converter.convert(open_raw(raw), tmp_path / "out")
    before = contents(tmp_path / "out")
    settings = dict(change)
    (raw / "map.yaml").write_text(settings.pop("label_map", (raw / "map.yaml").read_text()))
    source = open_raw(raw, settings.pop("splits", None))
    with pytest.raises(ValueError, match=re.escape(f"holds other records: {message}; choose another --out, or")):
        converter.convert(source, tmp_path / "out", **settings)
    assert contents(tmp_path / "out") == before
    converter.convert(source, tmp_path / "out", overwrite=True, **settings)
    assert contents(tmp_path / "out") != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]


def test_overwrite_keeps_the_old_records_if_it_fails(raw, tmp_path):
    converter.convert(open_raw(raw), tmp_path / "out")
    before = contents(tmp_path / "out")
    (raw / "images/train/t3.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"t3\.png"):
        converter.convert(open_raw(raw), tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]


def test_damaged_records_are_replaced_on_request_only(raw, tmp_path):
    converter.convert(open_raw(raw), tmp_path / "out")
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "val-00000-of-00001.tfrecord").unlink()
    with pytest.raises(ValueError, match=r"this shard is missing.*--overwrite replaces the damaged folder"):
        converter.convert(open_raw(raw), tmp_path / "out")
    converter.convert(open_raw(raw), tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["thesis.txt", "folder/thesis.txt", "manifest.json/thesis.txt"])
def test_never_touches_a_foreign_folder(raw, tmp_path, name, overwrite):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("years of work")
    with pytest.raises(ValueError, match=f"out: holds other files than records, such as {name.split('/')[0]}; choose"):
        converter.convert(open_raw(raw), tmp_path / "out", overwrite=overwrite)
    assert path.read_text() == "years of work"


def test_refuses_a_file_as_folder(raw, tmp_path):
    (tmp_path / "out").write_text("years of work")
    with pytest.raises(ValueError, match="out: is a file, not a folder"):
        converter.convert(open_raw(raw), tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").read_text() == "years of work"


def test_records_that_a_killed_conversion_had_set_aside_come_back(raw, tmp_path):
    before = converter.convert(open_raw(raw), tmp_path / "out")
    box = tmp_path / ".out.tfseg-incomplete"
    box.mkdir()
    removal.write_mark(box, staging.BOX)
    (tmp_path / "out").rename(box / "replaced")
    bad = raw / "images/train/t0.png"
    bad.write_bytes(bad.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"t0\.png: is cut short"):
        converter.convert(open_raw(raw), tmp_path / "out", overwrite=True)
    assert read_manifest(tmp_path / "out") == before
    assert not (box / "replaced").exists()


@pytest.mark.parametrize(
    "name", [".out.tfseg-incomplete", ".out.tfseg-incomplete/new", ".out.tfseg-incomplete/replaced"]
)
def test_what_no_conversion_left_is_not_cleared_away(raw, tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"\.out\.tfseg-incomplete: was not made by tfseg; move it away"):
        converter.convert(open_raw(raw), tmp_path / "out")
    assert (tmp_path / name / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("name", ["out.incomplete", "out.replaced"])
def test_folders_of_the_names_of_before_are_left_as_they_are(raw, tmp_path, name, capsys):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.tex").write_text("years of work")
    converter.convert(open_raw(raw), tmp_path / "out")
    assert (tmp_path / name / "thesis.tex").read_text() == "years of work"
    assert (
        f"{tmp_path / name}: is left as it is; an earlier version may have left it, or you\n" in capsys.readouterr().err
    )


def test_ones_own_copy_is_neither_deleted_nor_in_the_way(raw, tmp_path):
    converter.convert(open_raw(raw), tmp_path / "out")
    for name in ("out.replaced", "out.incomplete"):
        shutil.copytree(tmp_path / "out", tmp_path / name)
    before = contents(tmp_path / "out")
    for settings in ({}, {"overwrite": True}, {"overwrite": True, "codec": "png"}):
        converter.convert(open_raw(raw), tmp_path / "out", **settings)
        assert contents(tmp_path / "out.replaced") == contents(tmp_path / "out.incomplete") == before


def test_what_an_earlier_version_had_finished_is_taken_over(raw, tmp_path):
    with pytest.raises(ValueError, match=r"t4\.png"):
        (bad := raw / "images/train/t4.png").rename(tmp_path / "t4.png")
        bad.write_bytes(b"")
        converter.convert(open_raw(raw), tmp_path / "out")
    (tmp_path / "t4.png").rename(bad)
    (tmp_path / ".out.tfseg-incomplete/new").rename(tmp_path / "out.incomplete")
    (tmp_path / "out.incomplete/.lock").touch()
    (tmp_path / ".out.tfseg-incomplete/.tfseg.json").unlink()
    (finished,) = (tmp_path / "out.incomplete").glob("*.tfrecord")
    place = finished.stat().st_ino
    converter.convert(open_raw(raw), tmp_path / "out")
    assert (tmp_path / "out" / finished.name).stat().st_ino == place, "taken over as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]


@pytest.mark.parametrize("manifest", [None, "{}", '{"name": "an app", "version": 1}', "half a"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_shards_of_others_are_not_replaced(raw, tmp_path, overwrite, manifest):
    """A name like this has many owners, and so has manifest.json."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/train-00000-of-00002.tfrecord").write_text("of others")
    if manifest is not None:
        (tmp_path / "out/manifest.json").write_text(manifest)
    before = contents(tmp_path / "out")
    message = "is damaged, or none of tfseg's" if manifest else r"holds a file or folder \(train-00000-of-00002"
    with pytest.raises(ValueError, match=message):
        converter.convert(open_raw(raw), tmp_path / "out", overwrite=overwrite)
    assert contents(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]


def test_a_shard_that_our_manifest_does_not_name_is_not_replaced(raw, tmp_path):
    converter.convert(open_raw(raw), tmp_path / "out")
    (tmp_path / "out/train-00000-of-00009.tfrecord").write_text("of others")
    before = contents(tmp_path / "out")
    with pytest.raises(ValueError, match=r"train-00000-of-00009\.tfrecord\), which no manifest\.json there names"):
        converter.convert(open_raw(raw), tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "out") == before


def test_what_systems_leave_is_no_obstacle(raw, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.DS_Store").write_text("of macOS")
    converter.convert(open_raw(raw), tmp_path / "out")
    for name in (".DS_Store", "Thumbs.db", "._manifest.json"):
        (tmp_path / "out" / name).write_text("of a system")
    converter.convert(open_raw(raw), tmp_path / "out")
    converter.convert(open_raw(raw), tmp_path / "out", overwrite=True, codec="png")
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".json", ".jsonl", ".tfrecord"}
    (tmp_path / "out/.thesis").write_text("years of work")
    with pytest.raises(ValueError, match=r"other files than records, such as \.thesis"):
        converter.convert(open_raw(raw), tmp_path / "out", overwrite=True)


@pytest.mark.skipif(locks.fcntl is None, reason="no locks here")
def test_two_conversions_to_one_folder(raw, tmp_path):
    with staging.stage_folder(tmp_path / "out", journal.RECORDS):
        busy = rf"out: another process is writing here \(process {os.getpid()} on \S+\); wait for it"
        with pytest.raises(ValueError, match=busy):
            converter.convert(open_raw(raw), tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_killed_at_any_moment_while_records_are_replaced(raw, tmp_path, monkeypatch):
    (place := tmp_path / "x").mkdir()
    converter.convert(open_raw(raw, ["val"]), place / "old", limit=1)
    converter.convert(open_raw(raw, ["val"]), place / "new", limit=1, codec="png")
    old, new = contents(place / "old"), contents(place / "new")

    def prepare():
        shutil.rmtree(place)
        place.mkdir()
        converter.convert(open_raw(raw, ["val"]), place / "out", limit=1)

    def replace():
        converter.convert(open_raw(raw, ["val"]), place / "out", limit=1, codec="png", overwrite=True)

    found = []
    for moment in moments(monkeypatch, prepare, replace):
        there = place / "out" if (place / "out").exists() else place / ".out.tfseg-incomplete/replaced"
        of_conversions = (".tfrecord.jsonl", "journal.json")  # removed last
        found.append({name: data for name, data in contents(there).items() if not name.endswith(of_conversions)})
        assert found[-1] in (old, new), moment
        replace()
        assert contents(place / "out") == new, moment
        assert [path.name for path in place.iterdir()] == ["out"], moment
    assert old in found and found[-1] == new


@pytest.mark.skipif(locks.fcntl is None, reason="no locks here")
def test_records_that_a_training_reads_are_not_replaced(raw, tmp_path):
    converter.convert(open_raw(raw), tmp_path / "out")
    before = contents(tmp_path / "out")
    with run_dir.hold_records(tmp_path / "out"), run_dir.hold_records(tmp_path / "out"):
        with pytest.raises(ValueError, match="out: a training reads these records; wait until it ends, or choose"):
            converter.convert(open_raw(raw), tmp_path / "out", overwrite=True)
        converter.convert(open_raw(raw), tmp_path / "out")  # which changes nothing
    assert contents(tmp_path / "out") == before
    converter.convert(open_raw(raw), tmp_path / "out", overwrite=True, codec="png")


def test_the_working_directory_is_not_replaced(raw, tmp_path, monkeypatch):
    converter.convert(open_raw(raw), tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(ValueError, match="out: is the working directory, which is never removed"):
        converter.convert(open_raw(raw), ".", overwrite=True)


def test_a_link_to_records_is_not_followed_to_replace_them(raw, tmp_path):
    converter.convert(open_raw(raw), tmp_path / "out")
    (tmp_path / "link").symlink_to("out")
    converter.convert(open_raw(raw), tmp_path / "link")
    with pytest.raises(ValueError, match="link: is a symbolic link to out; name that folder itself"):
        converter.convert(open_raw(raw), tmp_path / "link", overwrite=True)


def test_shards_of_others_in_a_store_are_kept(raw):
    upath = pytest.importorskip("upath")
    out = upath.UPath("memory://others/out")
    (out / "train-00000-of-00002.tfrecord").write_bytes(b"of others")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"which no manifest\.json there names; choose another --out"):
            converter.convert(open_raw(raw), "memory://others/out", overwrite=overwrite)
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [
        ("train-00000-of-00002.tfrecord", b"of others")
    ]


def test_an_empty_folder_will_do(raw, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("out")
    converter.convert(open_raw(raw, ["val"]), tmp_path / "link", limit=1)
    assert read_manifest(tmp_path / "out").splits["val"].count == 1
    assert (tmp_path / "link").is_symlink()


# ---- what is refused


def cut_image(root):
    path = root / "images/train/t4.png"
    path.write_bytes(path.read_bytes()[:-20])


def cut_mask(root):
    path = root / "masks/train/t4.png"
    path.write_bytes(path.read_bytes()[:60])


def not_a_image(root):
    (root / "images/train/t4.png").write_text("<html>404</html>")


def colour_mask(root):
    cv2.imwrite(str(root / "masks/train/t4.png"), np.full((12, 16, 3), (1, 2, 3), np.uint8))


def other_size(root):
    cv2.imwrite(str(root / "masks/train/t4.png"), np.zeros((12, 15), np.uint8))


def unknown_value(root):
    cv2.imwrite(str(root / "masks/train/t4.png"), np.full((12, 16), 99, np.uint8))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_image, r"images/train/t4\.png: is cut short or damaged \(\d+ bytes\); copy it again$"),
        (cut_mask, r"masks/train/t4\.png: is cut short or damaged \(60 bytes\); copy it again$"),
        (not_a_image, r"images/train/t4\.png: is no PNG, JPEG, BMP, TIFF or WebP image \(16 bytes\)$"),
        (colour_mask, r"masks/train/t4\.png: is RGB in colours, of which the label map names none; give its"),
        (other_size, r"images/train/t4\.png: is 12x16, but its mask .*masks/train/t4\.png is 12x15; make them agree$"),
        (
            unknown_value,
            r"masks/train/t4\.png: mask values \[99\] are not in the label map, which knows \[0, 3, 4, 200\]$",
        ),
    ],
)
def test_refuses_a_bad_file_and_leaves_nothing(raw, tmp_path, damage, message):
    damage(raw)
    with pytest.raises(ValueError, match=message) as raised:
        converter.convert(open_raw(raw), tmp_path / "out")
    assert "\n" not in str(raised.value)
    # The other shard was finished before.
    assert not (tmp_path / "out").exists()
    kept = {path.name for path in (tmp_path / ".out.tfseg-incomplete/new").iterdir()}
    assert kept == {"journal.json", "train-00000-of-00002.tfrecord", "train-00000-of-00002.tfrecord.jsonl"}


def test_a_bad_file_in_the_first_shard_leaves_nothing(raw, tmp_path):
    (raw / "images/train/t5.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"t5\.png: is no PNG"):
        converter.convert(open_raw(raw), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_worker_tells_of_a_bad_file_too(raw, tmp_path):
    cut_image(raw)
    with pytest.raises(ValueError, match=r"images/train/t4\.png: is cut short or damaged"):
        converter.convert(open_raw(raw), tmp_path / "out", workers=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"size": (0, 8)}, "expected a height and width of at least 1 pixel, got (0, 8)"),
        ({"codec": "webp"}, "expected a codec of jpeg, png, raw, got 'webp'"),
        ({"quality": 0}, "expected a JPEG quality in 1..100, got 0"),
        ({"workers": 0}, "expected at least 1 worker, got 0"),
        ({"mask_resize": "area"}, "expected a way to resize masks of nearest, majority, got 'area'"),
        ({"limit": 0}, "expected a limit of at least 1 image, got 0"),
    ],
)
def test_refuses_a_bad_argument(raw, tmp_path, argument, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        converter.convert(open_raw(raw), tmp_path / "out", **argument)


# ---- the function and the command


def test_a_data_set_is_converted_in_one_call(raw, tmp_path):
    (raw / "images/val/readme.gif").write_bytes(b"")
    warnings = []
    settings = {"label_map": raw / "map.yaml", "size": (6, 8), "codec": "png", "warn": warnings.append}
    found = converter.convert_dataset(raw, tmp_path / "out", **settings)
    assert found == open_records(tmp_path / "out") and found.size == (6, 8)
    assert len(warnings) == 1 and "readme.gif" in warnings[0]
    assert converter.convert_dataset(raw, tmp_path / "out", **settings) == found  # is there already


def test_warns_of_a_split_without_truth(raw, tmp_path):
    for id in ("v0", "v1", "v2"):
        cv2.imwrite(str(raw / f"masks/val/{id}.png"), np.zeros((12, 16), np.uint8))
    table = convert.make_table(converter.convert(open_raw(raw), tmp_path / "out")).splitlines()
    assert " ".join(table[0].split()).startswith("split images shards MB void % flat % construction % object %")
    assert table[2].split()[:3] == ["val", "3", "1"] and table[2].split()[4:] == ["100.00"] + ["0.00"] * 7
    assert len({len(line) for line in table[:3]}) == 1
    assert table[3].startswith("warning: split val has no ground truth")


def command(*arguments):
    """Runs the tool in this process, as its last two lines do."""
    main = runpy.run_path(str(TOOL))["main"]
    cli.run(lambda: main([str(argument) for argument in arguments]))


def test_command(raw, tmp_path, capsys):
    arguments = ["--root", raw, "--label-map", raw / "map.yaml", "--out", tmp_path / "out"]
    command(*arguments, "--size", "6x8", "--codec", "raw", "--splits", "val", "--workers", 1, "--limit", 2)
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.size, manifest.codec) == ([6, 8], "raw")
    assert {name: split.count for name, split in manifest.splits.items()} == {"val": 2}
    assert "split  images" in capsys.readouterr().out
    with pytest.raises(SystemExit) as raised:
        command(*arguments, "--splits", "val")
    assert "size is 6x8, not original; codec is raw, not jpeg" in raised.value.code
    command(*arguments, "--splits", "val", "--workers", 1, "--overwrite")
    assert read_manifest(tmp_path / "out").codec == "jpeg"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--root", "lost"], "lost: no such folder"),
        (["--size", "512"], "expected a size as HEIGHTxWIDTH, such as 512x1024, got '512'"),
        (["--splits", "test"], "no split test; there is train, val"),
        (["--label-map", "lost.yaml"], "lost.yaml"),
    ],
)
def test_command_ends_with_one_line(raw, tmp_path, arguments, message):
    defaults = ["--root", raw, "--label-map", raw / "map.yaml", "--out", tmp_path / "out"]
    with pytest.raises(SystemExit) as raised:
        command(*defaults, *arguments)
    assert message in raised.value.code and "\n" not in raised.value.code


def test_command_answers_without_tensorflow(tmp_path):
    """From another folder, with a TensorFlow that cannot be imported: help, and an error with its exit code."""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('imported TensorFlow')")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(TOOL.parents[1])])}

    def run(*arguments):
        command = [sys.executable, str(TOOL), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    answer = run("--help")
    assert answer.returncode == 0 and "--label-map" in answer.stdout
    answer = run("--root", "lost", "--out", "out")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == "make_tfrecords: error: lost: no such folder\n"
