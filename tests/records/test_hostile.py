"""Manifests and records that someone made to break their readers: each fault is a line, and nothing else happens."""

import functools
import json
import resource
import shutil
import struct
import tempfile
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from helper_files import bomb
from helpers import draw, rewrite, write_images, write_records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfseg.io import tfrecord
from tfseg.records import records, verifier
from tfseg.records.class_weights import class_weights
from tfseg.records.parsing import parse_example, parse_label_ids
from tfseg.records.record_set import open_records

ONCE = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
CASES = 5000  # of manifests, and of records, in the slow tests
MOST_SECONDS = 1  # a case
MOST_MEMORY = 300 * 2**20  # bytes that all cases together may add to this process

NAMES = st.sampled_from(
    ["", ".", "..", "../x", "/etc/passwd", "a/../b", "C:\\x", "a\nb", "\x1b[2J", "a\u202eb", "\0", "x" * 300, "\ud800"]
)
NUMBERS = st.sampled_from([0, 1, 2, -1, 255, 256, 2**31, 2**40, 2**63, -(2**63), 10**30, 10**400])
SIMPLE = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.integers(-5, 40), st.floats(), NAMES, st.text(max_size=6), st.just([])
)
VALUES = st.recursive(
    SIMPLE,
    lambda of: st.lists(of, max_size=4) | st.dictionaries(NAMES | st.text(max_size=3), of, max_size=3),
    max_leaves=6,
)


@functools.cache
def sound() -> dict[str, Path]:
    """Folders of sound records: PNG in one piece of schema version 1, JPEG and raw in tiles of version 2."""
    folder = Path(tempfile.mkdtemp(prefix="tfseg-hostile-"))
    folders = {"png": write_records(folder / "png", {"train": 2, "val": 2}, size=(8, 12), shards=1)}
    for codec in ("jpeg", "raw"):
        (folder / codec).mkdir()
        folders[codec] = write_images(folder / codec, [draw(index, 16, 40) for index in range(4)], codec, 16)
    return folders


@pytest.fixture(scope="module", autouse=True)
def _remove_sound():
    yield
    shutil.rmtree(sound()["png"].parent)
    sound.cache_clear()


def places(value, way=()):
    """The ways to all values in a JSON document."""
    yield way
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in entries:
        yield from places(held, (*way, key))


@st.composite
def manifests(draw):
    """A kind of records, and what manifest.json says there."""
    kind = draw(st.sampled_from(["png", "jpeg", "raw"]))
    text = (sound()[kind] / "manifest.json").read_text()
    if draw(st.integers(0, 9)) == 0:
        data = bytearray(text.encode())
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(data) - 1))
            data[at : at + draw(st.integers(0, 9))] = draw(st.binary(max_size=9))
        return kind, bytes(data)
    manifest = json.loads(text)
    for _ in range(draw(st.integers(1, 2))):
        ways = [*places(manifest)]
        *parents, last = draw(st.sampled_from(ways[1:])) if len(ways) > 1 else (None,)
        entry = functools.reduce(lambda value, key: value[key], parents, manifest)
        what = draw(st.integers(0, 4))
        if last is None:
            manifest = draw(VALUES)
        elif what == 0:
            del entry[last]
        elif what == 1 and isinstance(entry, dict):
            entry[draw(NAMES)] = entry.pop(last)
        else:
            entry[last] = draw(VALUES)
    return kind, json.dumps(manifest).encode()


def jpeg_of(height: int, width: int) -> bytes:
    """A JPEG whose header promises many pixels."""
    data = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([bomb(60000, 60000), jpeg_of(60000, 60000), jpeg_of(32000, 32000), zlib.compress(bytes(2**20))]),
    st.sampled_from([b"png", b"jpeg", b"raw", b"\xff", b"../x", b"\x1b[2J", zlib.compress(bytes(16 * 16)), bytes(768)]),
)


@st.composite
def examples(draw):
    """A kind of records, and a serialised Example to put in the place of one."""
    kind = draw(st.sampled_from(["png", "jpeg", "raw"]))
    first = next(sound()[kind].glob("*.tfrecord"))
    data = draw(st.sampled_from([*records.read_shard(first)]))
    if draw(st.booleans()):
        data = bytearray(data)
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(data) - 1))
            data[at : at + draw(st.integers(0, 5))] = draw(st.binary(max_size=5) | st.just(b"\xff" * 12))
        return kind, bytes(data)
    features = tfrecord.decode_example(data)
    for _ in range(draw(st.integers(1, 2))):
        key = draw(st.sampled_from(sorted(features)) | st.just("label_ids/encoded"))
        found = features.get(key, b"")
        if found and isinstance(found, bytes | list) and draw(st.booleans()):  # change a byte, or cut
            tiles = [bytearray(tile) for tile in (found if isinstance(found, list) else [found])]
            tile = tiles[draw(st.integers(0, len(tiles) - 1))]
            at = draw(st.integers(0, max(len(tile) - 1, 0)))
            tile[at : at + draw(st.sampled_from([1, 10**6]))] = draw(st.binary(max_size=1))
            features[key] = [bytes(tile) for tile in tiles]
        else:
            numbers = st.sampled_from([0, 1, 2**31, 2**62, 2**64 - 1]) | st.integers(0, 50)
            features[key] = draw(CONTENTS | numbers | st.lists(CONTENTS, max_size=4))
    return kind, tfrecord.encode_example(features)


def check_folder(folder: Path) -> None:
    """Verifies and opens records: all that is wrong is a line of printable letters."""
    faults = verifier.find_faults(folder)
    lines = [*map(str, faults), verifier.summarise_faults(folder, faults)]
    try:
        opened = open_records(folder)
    except (ValueError, OSError) as error:
        assert faults, error
        lines.append(str(error))
    else:
        if not faults:
            read_as_training_does(opened)
    assert all("\n" not in line and "\x1b" not in line and len(line) < 3000 for line in lines)


def read_as_training_does(opened) -> None:
    """What verification found nothing wrong with must be read without an error."""
    for name, split in opened.splits.items():
        assert np.isfinite(class_weights(split)).all() and len(opened.palette) == len(opened.classes)
        for path in opened.shard_paths(name):
            for data in records.read_shard(Path(path)):
                read, record = parse_example(data, opened.manifest), records.decode_example(data)
                assert np.array_equal(read["mask"], record.mask) and read["image"].shape == record.image.shape
                if parse_label_ids(data).numpy():
                    records.find_truth(opened.manifest, record.mask, record.label_ids)


def check_manifest(case) -> None:
    kind, data = case
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(sound()[kind], folder, dirs_exist_ok=True)
        Path(folder, "manifest.json").write_bytes(data)
        check_folder(Path(folder))


def check_record(case) -> None:
    kind, data = case
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(sound()[kind], folder, dirs_exist_ok=True)
        name = min(path.name for path in Path(folder).glob("*.tfrecord"))
        rewrite(Path(folder), name, [data, *[*records.read_shard(Path(folder, name))][1:]])
        check_folder(Path(folder))


@pytest.mark.parametrize("kind", ["png", "jpeg", "raw"])
def test_what_is_sound_has_no_faults(kind):
    assert verifier.find_faults(sound()[kind]) == []
    read_as_training_does(open_records(sound()[kind]))


@given(manifests())
@settings(ONCE, max_examples=150)
def test_manifests(case):
    check_manifest(case)


@given(examples())
@settings(ONCE, max_examples=150)
def test_records(case):
    check_record(case)


@pytest.mark.slow
@pytest.mark.parametrize(("cases", "check"), [(manifests, check_manifest), (examples, check_record)])
def test_many_within_a_second_and_little_memory(cases, check):
    seconds = []

    @given(cases())
    @settings(ONCE, derandomize=False, max_examples=CASES)
    def run(case):
        start = time.process_time()  # of this process: others may have the machine
        check(case)
        seconds.append(time.process_time() - start)

    check(("png", b"{}"))  # what is loaded once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    print(f"{len(seconds)} cases, the longest {max(seconds):.2f} s, {grown / 2**20:.0f} MiB more")
    assert len(seconds) >= CASES and max(seconds) < MOST_SECONDS and grown < MOST_MEMORY
