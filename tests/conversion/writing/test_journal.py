"""A conversion that is killed, interrupted or out of space resumes where it stopped, to the same bytes."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tfseg.conversion import converter
from tfseg.conversion.finding import sources
from tfseg.conversion.writing import encoding, journal, shards
from tfseg.io import removal, staging
from tfseg.io.atomic import UNFINISHED
from tfseg.records.ledger import LEDGER_NAME
from tfseg.records.manifest import read_manifest
from tfseg.records.records import file_sha256

TOOL = Path(__file__).parents[3] / "tools" / "make_tfrecords.py"


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A raw data set of 8 + 2 shards: images of noise, masks of one value."""
    root = tmp_path_factory.mktemp("raw")
    noise = np.random.default_rng(0).integers(0, 256, (160, 64, 96, 3), np.uint8)
    for index, image in enumerate(noise):
        split = "train" if index < 144 else "val"
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / f"images/{split}/{index:03d}.png"), image)
        cv2.imwrite(str(root / f"masks/{split}/{index:03d}.png"), np.full((64, 96), index % 3, np.uint8))
    (root / "map.yaml").write_text("0: void\n1: sky\n2: flat\n")
    return root


def run(raw, out, *arguments, workers=1, **kwargs):
    """Starts the command in a process group of its own."""
    command = [sys.executable, str(TOOL), "--root", str(raw), "--label-map", str(raw / "map.yaml"), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--workers", str(workers), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A job in the background may have been set to ignore Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **kwargs,
    )


def convert_raw(raw, out, **settings):
    return converter.convert(sources.open_source(raw, None, raw / "map.yaml"), out, **settings)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def without_ledger(files):
    return {name: data for name, data in files.items() if name != LEDGER_NAME}


@pytest.fixture(scope="module")
def whole(raw, tmp_path_factory):
    """The bytes of an uninterrupted conversion."""
    out = tmp_path_factory.mktemp("whole") / "out"
    convert_raw(raw, out)
    return contents(out)


def group_is_empty(group):
    """Waits a little for the last process of a group to end."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


# ---- ended from outside


@pytest.mark.long
@pytest.mark.parametrize("wanted", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_any_moment(raw, whole, tmp_path, wanted):
    """Conversions with 1, 2 and 3 workers by turns, each killed unless it comes through before."""
    out, kills, kept, chance = tmp_path / "out", 0, set(), random.Random(0)
    start = time.monotonic()
    run(raw, out).communicate(timeout=60)
    duration = time.monotonic() - start
    while kills < wanted or (not any(kept) and kills < 10 * wanted):  # none was late, on a busy machine
        shutil.rmtree(out, ignore_errors=True)
        process = run(raw, out, workers=1 + kills % 3)
        try:
            process.communicate(timeout=chance.uniform(0.2, 0.9) * duration)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            assert group_is_empty(process.pid)  # no worker outlives its parent
            assert not out.exists() or contents(out).keys() >= whole.keys()
            kept.add(len(list((tmp_path / ".out.tfseg-incomplete/new").glob("*.tfrecord"))))
        else:
            assert process.returncode == 0 and contents(out) == whole
    assert any(kept)  # not always before the first shard
    convert_raw(raw, out, workers=2)
    assert contents(out) == whole
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(raw, whole, tmp_path, number):
    out = tmp_path / "out"
    for _ in range(20):
        process = run(raw, out, workers=2)
        while not list(tmp_path.glob("**/*.tfrecord")):
            time.sleep(0.001)
        os.killpg(process.pid, number)  # as a terminal does
        _, errors = process.communicate(timeout=20)
        if process.returncode:
            break
        shutil.rmtree(out)  # it was done before
    assert process.returncode in (130, 143)
    assert group_is_empty(process.pid) and not out.exists()
    assert "Traceback" not in errors
    convert_raw(raw, out)
    assert contents(out) == whole


def test_two_conversions_to_one_folder(raw, whole, tmp_path):
    out = tmp_path / "out"
    for _ in range(20):
        first = run(raw, out)
        while not list(tmp_path.glob("**/*.tfrecord")):
            time.sleep(0.001)
        os.kill(first.pid, signal.SIGSTOP)
        if not out.exists():
            break
        os.kill(first.pid, signal.SIGCONT)  # it was done before it could be stopped
        first.communicate(timeout=20)
        shutil.rmtree(out)
    second = run(raw, out)
    _, errors = second.communicate(timeout=20)
    assert second.returncode == 1
    busy = (
        rf"make_tfrecords: error: {out}: another process is writing here \(process {first.pid} on \S+\); wait for it\n"
    )
    assert re.fullmatch(busy, errors)
    os.kill(first.pid, signal.SIGCONT)
    _, errors = first.communicate(timeout=20)
    assert (first.returncode, contents(out)) == (0, whole), errors


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MiB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.long
def test_full_disk(raw, whole, small_disk):
    out, ballast = small_disk / "out", small_disk / "ballast"
    ballast.write_bytes(bytes(3_000_000))
    _, errors = (process := run(raw, out, workers=2)).communicate(timeout=20)
    assert process.returncode == 1
    assert (
        f"{small_disk}/.out.tfseg-incomplete/new: keeps the finished shards; the same command resumes from them\n"
        in errors
    )
    assert errors.endswith("tfrecord: cannot be written: No space left on device\n") and "Traceback" not in errors
    assert not out.exists()
    ballast.unlink()
    shards = len(list((small_disk / ".out.tfseg-incomplete/new").glob("*.tfrecord")))
    answer, _ = run(raw, out).communicate(timeout=20)
    assert 1 <= shards < 10 and f"resuming, {shards} of 10 shards are finished" in answer
    assert contents(out) == whole


def test_read_only_disk(raw, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    _, errors = (process := run(raw, small_disk / "out")).communicate(timeout=20)
    assert process.returncode == 1
    assert errors == f"make_tfrecords: error: [Errno 30] Read-only file system: '{small_disk}/.out.tfseg-incomplete'\n"


# ---- what is kept, and what is not


@pytest.fixture
def half(raw, tmp_path, monkeypatch):
    """An output folder whose conversion broke off before its manifest, all shards finished."""

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(converter, "write_manifest", interrupt)
        convert_raw(raw, tmp_path / "out")
    return tmp_path / "out"


def count_encoded(monkeypatch):
    """Notes the id of every sample that is encoded from now on."""
    encoded, encode = [], encoding.encode_sample

    def note(item, settings):
        encoded.append(item[1].id)
        return encode(item, settings)

    monkeypatch.setattr(encoding, "encode_sample", note)
    return encoded


def incomplete(out):
    return out.with_name(".out.tfseg-incomplete") / "new"


def nothing(out, raw):
    pass


def flip_a_byte(out, raw):
    path = incomplete(out) / "train-00003-of-00008.tfrecord"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)


def cut_a_shard(out, raw):
    path = incomplete(out) / "val-00001-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])


def lose_a_shard(out, raw):
    (incomplete(out) / "train-00000-of-00008.tfrecord").unlink()


def tear_the_journal(out, raw):
    path = incomplete(out) / journal.JOURNAL_NAME
    path.write_bytes(path.read_bytes()[:-50])


def lose_the_journal(out, raw):
    (incomplete(out) / journal.JOURNAL_NAME).unlink()


def add_half_a_shard(out, raw):
    (incomplete(out) / "val-00007-of-00009.tfrecord").write_bytes(b"half")
    (incomplete(out) / f"{UNFINISHED}manifest.json").write_bytes(b"{")
    (incomplete(out) / "manifest.json.tmp").write_bytes(b"{")  # of version 0.1.0


def touch_a_image(out, raw):
    os.utime(raw / "images/train/007.png", ns=(1, 1))


@pytest.mark.parametrize(
    ("change", "encoded"),
    [
        (nothing, 0),
        (flip_a_byte, 18),
        (cut_a_shard, 8),
        (lose_a_shard, 18),
        (tear_the_journal, 160),
        (lose_the_journal, 160),
        (add_half_a_shard, 0),
        (touch_a_image, 18),
    ],
)
def test_only_what_is_not_finished_is_done_again(half, raw, whole, monkeypatch, change, encoded):
    touched = (raw / "images/train/007.png").stat()
    change(half, raw)
    again = count_encoded(monkeypatch)
    convert_raw(raw, half)
    os.utime(raw / "images/train/007.png", ns=(touched.st_atime_ns, touched.st_mtime_ns))
    assert len(again) == encoded
    found = contents(half)
    assert without_ledger(found) == without_ledger(whole)
    assert (found == whole) == (change is not touch_a_image)  # the ledger has the new time
    assert {path.name for path in half.parent.iterdir()} == {"out"}


@pytest.mark.long
@pytest.mark.parametrize(
    "settings", [{"size": (32, 48)}, {"limit": 100}, {"codec": "png"}, {"mask_resize": "majority"}]
)
def test_other_settings_begin_anew(half, raw, tmp_path, monkeypatch, settings):
    again = count_encoded(monkeypatch)
    manifest = convert_raw(raw, half, **settings)
    assert len(again) == sum(split.count for split in manifest.splits.values())
    convert_raw(raw, tmp_path / "fresh", **settings)
    assert contents(half) == contents(tmp_path / "fresh")


def test_an_overwriting_conversion_goes_on_too(half, raw, tmp_path, monkeypatch):
    convert_raw(raw, tmp_path / "other", limit=1)
    (tmp_path / "other").rename(half)
    again = count_encoded(monkeypatch)
    convert_raw(raw, half, overwrite=True)
    assert not again and len(read_manifest(half).splits["train"].ids) == 144


def test_records_that_came_meanwhile_are_not_replaced(raw, whole, tmp_path):
    convert_raw(raw, tmp_path / "out")
    with (
        pytest.raises(ValueError, match="another conversion has just made it"),
        journal.open_folder(tmp_path / "out", False),
    ):
        pass
    assert contents(tmp_path / "out") == whole and not incomplete(tmp_path / "out").exists()


def test_the_journal_says_what_is_finished(half, raw):
    noted = json.loads((incomplete(half) / journal.JOURNAL_NAME).read_text())
    assert len(noted["shards"]) == 10 and noted["settings"]["codec"] == "jpeg"
    shard = noted["shards"]["val-00000-of-00002.tfrecord"]["shard"]
    path = incomplete(half) / "val-00000-of-00002.tfrecord"
    assert (shard["bytes"], shard["sha256"]) == (path.stat().st_size, file_sha256(path))


@pytest.mark.parametrize("overwrite", [True, False])
def test_killed_between_the_two_renames(half, raw, whole, tmp_path, overwrite):
    """The old records are set aside, the new ones finished but not yet in their place."""
    convert_raw(raw, tmp_path / "old", limit=1)
    (tmp_path / "old").rename(tmp_path / ".out.tfseg-incomplete/replaced")
    convert_raw(raw, half, overwrite=overwrite)
    assert contents(half) == whole
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_the_old_records_come_back_if_the_new_cannot_take_their_place(raw, tmp_path, monkeypatch):
    convert_raw(raw, tmp_path / "out", limit=1)
    before, rename = contents(tmp_path / "out"), Path.rename

    def refuse(path, target):
        if path.name == "new":
            raise PermissionError(13, "Permission denied", str(path))
        return rename(path, target)

    with monkeypatch.context() as patch, pytest.raises(PermissionError):
        patch.setattr(Path, "rename", refuse)
        convert_raw(raw, tmp_path / "out", limit=2, overwrite=True)
    assert contents(tmp_path / "out") == before


def test_what_a_conversion_killed_in_its_last_moment_leaves_is_cleared(raw, whole, tmp_path):
    convert_raw(raw, tmp_path / "out")
    (tmp_path / "out" / journal.JOURNAL_NAME).write_text("{}")
    (tmp_path / "out" / journal.LOCK).touch()
    box = tmp_path / ".out.tfseg-incomplete"
    shutil.copytree(tmp_path / "out", box / "replaced")
    removal.write_mark(box, staging.BOX)
    convert_raw(raw, tmp_path / "out")
    assert contents(tmp_path / "out") == whole
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_converts_to_and_from_a_store(raw, whole, monkeypatch):
    upath = pytest.importorskip("upath")
    store = upath.UPath("memory://bucket")
    for path in raw.rglob("*.*"):
        (store / "raw" / path.relative_to(raw).as_posix()).write_bytes(path.read_bytes())
    source = sources.open_source("memory://bucket/raw", None, raw / "map.yaml")

    def break_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(converter, "write_manifest", break_off)
        converter.convert(source, "memory://bucket/out")
    (store / "out" / "val-00001-of-00002.tfrecord").write_bytes(b"half")
    again = count_encoded(monkeypatch)
    manifest = converter.convert(source, "memory://bucket/out")
    assert len(again) == 8
    found = {path.name: path.read_bytes() for path in (store / "out").iterdir()}
    assert found.keys() == whole.keys()
    assert without_ledger(found) == without_ledger(whole)  # which has the times of the source's files
    assert read_manifest("memory://bucket/out") == manifest
    assert converter.convert(source, "memory://bucket/out") == manifest and len(again) == 8
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards, "write_part", break_off)
        converter.convert(source, "memory://bucket/out", limit=1, overwrite=True)
    with pytest.raises(FileNotFoundError, match=r"out: has no manifest\.json"):  # but a journal
        read_manifest("memory://bucket/out")


def test_the_journal_is_written_less_often_the_more_shards_there_are(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(journal, "write_entries", lambda folder, settings, entries: written.append(len(entries)))
    entries = {}
    with pytest.raises(KeyboardInterrupt), journal.keep(tmp_path, {}, entries) as note:
        for index in range(105):
            entries[f"{index}"] = None
            note()
        raise KeyboardInterrupt
    assert written == [*range(1, 21), *range(22, 41, 2), *range(43, 62, 3), *range(65, 82, 4), *range(86, 102, 5), 105]
