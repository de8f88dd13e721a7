import dataclasses
import errno
import os
import re
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
from helper_pipeline import train_batches
from helpers import write_records

from tfseg.io import locks
from tfseg.pipeline import cache
from tfseg.pipeline.crops import RandomCrop
from tfseg.pipeline.order import Share
from tfseg.records.manifest import read_manifest
from tfseg.records.parsing import parse_example
from tfseg.records.record_set import open_records
from tfseg.records.records import read_shard


@pytest.fixture
def folder(tmp_path):
    return write_records(tmp_path / "records", {"train": 7})


def open_cache(folder, place="disk", allowed=7 * 24 * 32 * 4):
    return cache.open_cache(open_records(folder), "train", place, allowed)


def files(folder):
    return sorted(path.name for path in folder.with_name("records.cache").glob("*.pixels"))


def read(records, batches, **settings):
    """Images with their masks, as bytes, of so many batches of 2."""
    stream = train_batches(records, "train", batch_size=2, seed=3, **{"size": (24, 32), **settings})
    return [
        image.tobytes() + mask.tobytes()
        for batch in stream.take(batches).as_numpy_iterator()
        for image, mask in zip(batch["image"], batch["mask"], strict=True)
    ]


@pytest.mark.parametrize("place", ["ram", "disk"])
def test_pixels_are_those_of_the_records(folder, place):
    pixels, manifest = open_cache(folder, place), read_manifest(folder)
    examples = [
        parse_example(data, manifest)
        for shard in manifest.splits["train"].shards
        for data in read_shard(folder / shard.name)
    ]
    assert len(examples) == len(pixels.images) == 7
    for place, example in enumerate(examples):
        np.testing.assert_array_equal(pixels.image(place), example["image"])
        np.testing.assert_array_equal(pixels.mask(place, (2, 3, 8, 9)), example["mask"][2:10, 3:12])
        np.testing.assert_array_equal(pixels.image(place, (2, 3, 8, 9)), example["image"][2:10, 3:12])


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"size": (16, 16)},
        {"fit": "crop", "size": (8, 8)},
        {"fit": "crop", "size": (8, 8), "crop": RandomCrop((0.5, 2.0), 0.6, 0.5)},
    ],
)
def test_batches_hold_what_they_would_hold_without(tiny_records, tmp_path, settings):
    """Each of 20 images once a pass, in the crop that the pass gives it; only the order is another."""
    folder = shutil.copytree(tiny_records, tmp_path / "records")
    plain, cached = read(folder, 20, **settings), read(folder, 20, cache="disk", **settings)
    for passed in (slice(20), slice(20, 40)):
        assert sorted(plain[passed]) == sorted(cached[passed])
    assert plain != cached
    assert read(folder, 7, cache="ram", epoch=1, step=3, **settings) == cached[26:]


def test_shares_are_parts_of_it(folder):
    """Of 7 images two readers have 4 and 3, and the next time 3 and 4, so that none comes more often."""
    first, second = (read(folder, 7, cache="disk", share=Share(index, 2)) for index in range(2))
    every = set(read(folder, 7, cache="disk"))
    assert len(first) == len(second) == 14, "two in a batch"
    assert sorted(first[:4] + second[:3]) == sorted(first[4:7] + second[3:7]) == sorted(every)
    assert sorted(first + second) == sorted(4 * [*every])


def test_a_whole_file_needs_nothing_written_beside_it(folder, monkeypatch):
    """As where it is mounted to be read alone."""
    open_cache(folder)
    monkeypatch.setattr(locks, "open_lock", None)
    assert len(open_cache(folder).images) == 7


def test_a_file_is_written_once(folder, capsys):
    open_cache(folder)
    said = capsys.readouterr().err
    assert re.match(r"cache: 7 images of 24x32 take 0.0 GiB decoded, [\d.]+ GiB are free; writing \S+train-", said)
    (name,) = files(folder)
    path = folder.with_name("records.cache") / name
    before = path.stat()
    open_cache(folder)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert before.st_size == 7 * 24 * 32 * 4
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(locks.fcntl is None, reason="no locks here")
def test_a_file_system_without_locks_has_one_too(folder, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    assert len(open_cache(folder).images) == 7
    assert "records.cache: No locks available; see to it" in capsys.readouterr().err


def test_other_shards_replace_it(folder, tmp_path):
    open_cache(folder)
    (old,) = files(folder)
    (folder.with_name("records.cache") / "incomplete-train-0123.pixels").touch()  # of a run that was killed
    (folder.with_name("records.cache") / "val-0123.pixels").touch()
    shutil.rmtree(folder)
    write_records(folder, {"train": 6})
    assert len(open_cache(folder).images) == 6
    new, other = files(folder)
    assert new != old and other == "val-0123.pixels"


def test_only_pixels_of_this_split_are_replaced(folder):
    cache_folder = folder.with_name("records.cache")
    cache_folder.mkdir()
    others = [
        "train-night-0123456789abcdef.pixels",
        "train-notes.txt",
        "incomplete-train-notes.txt",
        "train-0123.pixels.bak",
    ]
    for name in others:
        (cache_folder / name).write_text("years of work")
    (cache_folder / "train-0123456789abcdef.pixels").write_text("of other shards")
    open_cache(folder)
    found = {path.name for path in cache_folder.iterdir()}
    assert found >= {*others} and "train-0123456789abcdef.pixels" not in found


@pytest.mark.parametrize("years", [-30, 30])
def test_no_clock_decides_what_it_holds(folder, years, capsys):
    open_cache(folder)
    capsys.readouterr()
    then = time.time() + years * 365 * 24 * 3600
    for path in (*folder.iterdir(), *folder.with_name("records.cache").iterdir()):
        os.utime(path, (then, then))
    open_cache(folder)
    assert capsys.readouterr().err == ""


def test_a_file_that_was_cut_is_written_anew(folder):
    expected = open_cache(folder).images.copy()
    (path,) = folder.with_name("records.cache").glob("*.pixels")
    path.write_bytes(path.read_bytes()[:-1])
    np.testing.assert_array_equal(open_cache(folder).images, expected)


def test_no_room_on_the_disk(folder, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=21503))
    with pytest.raises(OSError, match=r"7 images of 24x32 take 0\.0 GiB decoded, 0\.0 GiB are free; make room"):
        open_cache(folder)
    assert files(folder) == []


def test_a_damaged_record_leaves_nothing(folder):
    shard = folder / read_manifest(folder).splits["train"].shards[1].name
    data = bytearray(shard.read_bytes())
    data[60] ^= 1
    shard.write_bytes(data)
    with pytest.raises(Exception, match="corrupted"):
        open_cache(folder)
    assert files(folder) == []


def test_too_large_for_the_memory(folder):
    with pytest.raises(ValueError, match=r"decoded; raise data.ram_budget by 1 MiB or set data.cache to disk"):
        open_cache(folder, "ram", allowed=7 * 24 * 32 * 4 - 1)


def test_images_of_several_sizes(folder):
    records = open_records(folder)
    records = dataclasses.replace(records, manifest=dataclasses.replace(records.manifest, size=None))
    with pytest.raises(ValueError, match="needs images of one size; convert them with --size"):
        cache.open_cache(records, "train", "ram", 1)
