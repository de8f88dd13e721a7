"""The check of records: each kind of damage is named by file and record, and no byte can change unseen."""

import io
import random
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import OTHER, TRAIN, VAL, change_record, draw, edit_manifest, encode_bgr, flip, rewrite, write_records
from PIL import Image

from tfseg import verify as verify_tfrecords
from tfseg.io import tfrecord
from tfseg.records import contents, records, verifier


@pytest.fixture
def folder(tiny_records, tmp_path):
    """A copy to damage: train has 10 and 10 records, val 3 and 2."""
    return shutil.copytree(tiny_records, tmp_path / "r")


def faults_of(folder: Path, quick: bool = False) -> list[str]:
    """The lines, without the folder that each begins with."""
    lines = [str(fault) for fault in verifier.find_faults(folder, quick)]
    assert all(line.startswith(f"{folder}/") and "\n" not in line for line in lines)
    return [line.removeprefix(f"{folder}/") for line in lines]


def frames(path: Path) -> list[bytes]:
    """The records of a shard, framed."""
    return list(map(tfrecord.frame, records.read_shard(path)))


# ---- sound records


def palette_png() -> bytes:
    """The mask of the second record of "val", as a palette whose greys are other than its indexes."""
    image, file = Image.fromarray(draw(1, 24, 32)[1]), io.BytesIO()
    image.putpalette([value for index in range(256) for value in [index, index, index + 1 & 255]])
    image.save(file, "png")
    return file.getvalue()


def test_sound_records_have_no_faults(tiny_records, capsys):
    assert verifier.find_faults(tiny_records) == verifier.find_faults(str(tiny_records), quick=True) == []
    verify_tfrecords.main([str(tiny_records), "--workers", "1"])
    verify_tfrecords.main([str(tiny_records), "--quick"])
    assert capsys.readouterr().out.splitlines() == [
        f"{tiny_records}: 25 images in 4 shards, all as the manifest says",
        f"{tiny_records}: 25 images in 4 shards, names and sizes as the manifest says",
    ]


def test_any_number_of_workers_finds_the_same(folder):
    flip(folder / TRAIN, 500)
    flip(folder / VAL, 500)
    (folder / OTHER).unlink()
    assert verifier.find_faults(folder, workers=2) == verifier.find_faults(folder, workers=1)
    with pytest.raises(ValueError, match="expected at least 1 worker, got 0"):
        verifier.find_faults(folder, workers=0)


def test_jpeg_may_move_the_channels_a_little(folder):
    """They are measured before the images are encoded."""

    def change(manifest):
        manifest["codec"] = "jpeg"
        manifest["splits"]["train"]["channel_mean"][0] += 2
        manifest["splits"]["val"]["channel_std"][2] += 6

    edit_manifest(folder, change)
    assert [line for line in faults_of(folder) if "record" not in line] == [
        "manifest.json: split val has channel_std [46.360299, 58.608103, 47.32228], "
        "its images have [46.360299, 58.608103, 41.32228]"
    ]


# ---- bytes


def test_a_changed_byte_of_a_image(folder):
    flip(folder / TRAIN, len(b"".join(frames(folder / TRAIN)[:3])) + 200)
    assert faults_of(folder) == [f"{TRAIN}: record 3 (train-003) is damaged: its checksum fails"]
    assert faults_of(folder, quick=True) == []


def test_every_damaged_record_is_told(folder):
    starts = np.cumsum([0, *map(len, frames(folder / TRAIN))])
    for index in (0, 4, 5, 9):
        flip(folder / TRAIN, starts[index] + 100)
    assert faults_of(folder) == [
        f"{TRAIN}: record {index} (train-00{index}) is damaged: its checksum fails" for index in (0, 4, 5, 9)
    ]


@pytest.mark.parametrize(
    ("index", "rest"),
    [
        (0, ", so the 9 records after it cannot be checked"),
        (8, ", so the 1 record after it cannot be checked"),
        (9, ""),
    ],
)
def test_a_changed_length(folder, index, rest):
    flip(folder / TRAIN, len(b"".join(frames(folder / TRAIN)[:index])))
    assert faults_of(folder) == [f"{TRAIN}: record {index} (train-00{index}) has a damaged length{rest}"]


def test_a_shard_cut_within_a_record(folder):
    whole = (folder / TRAIN).stat().st_size
    size = len(b"".join(frames(folder / TRAIN)[:7])) - 30
    (folder / TRAIN).write_bytes((folder / TRAIN).read_bytes()[:size])
    assert faults_of(folder) == [
        f"{TRAIN}: has {size} bytes, the manifest says {whole}",
        f"{TRAIN}: record 6 (train-006) is cut short, so the 3 records after it cannot be checked",
    ]
    assert faults_of(folder, quick=True) == [f"{TRAIN}: has {size} bytes, the manifest says {whole}"]


def test_a_shard_cut_between_records(folder):
    whole = (folder / TRAIN).stat().st_size
    kept = b"".join(frames(folder / TRAIN)[:6])
    (folder / TRAIN).write_bytes(kept)
    assert faults_of(folder) == [
        f"{TRAIN}: has {len(kept)} bytes, the manifest says {whole}",
        f"{TRAIN}: has 6 records, the manifest says 10; it lacks train-006, train-007, train-008, ...",
    ]


def test_a_record_lost_and_one_too_many(folder):
    kept = frames(folder / TRAIN)
    before, after = len(b"".join(kept)), len(b"".join([*kept[:3], *kept[4:], *kept[:2]]))
    (folder / TRAIN).write_bytes(b"".join([*kept[:3], *kept[4:], *kept[:2]]))
    assert faults_of(folder) == [
        f"{TRAIN}: has {after} bytes, the manifest says {before}",
        f"{TRAIN}: has 11 records, the manifest says 10; it lacks train-003; it has train-000, train-001 besides",
    ]


def test_a_record_lost_and_one_damaged(folder):
    whole = (folder / TRAIN).stat().st_size
    kept = b"".join(frames(folder / TRAIN)[1:])
    (folder / TRAIN).write_bytes(kept)
    flip(folder / TRAIN, len(kept) - 50)
    assert faults_of(folder) == [
        f"{TRAIN}: has {len(kept)} bytes, the manifest says {whole}",
        f"{TRAIN}: has 9 records, the manifest says 10",
        f"{TRAIN}: record 8 (train-008) is damaged: its checksum fails",
    ]


def test_bytes_after_the_last_record(folder):
    whole = (folder / TRAIN).stat().st_size
    with (folder / TRAIN).open("ab") as file:
        file.write(b"trailing spaces    ")
    assert faults_of(folder) == [
        f"{TRAIN}: has {whole + 19} bytes, the manifest says {whole}",
        f"{TRAIN}: has 19 bytes after its last record",
    ]


def test_an_empty_shard(folder):
    whole = (folder / VAL).stat().st_size
    (folder / VAL).write_bytes(b"")
    assert faults_of(folder) == [
        f"{VAL}: has 0 bytes, the manifest says {whole}",
        f"{VAL}: has 0 records, the manifest says 3; it lacks val-000, val-001, val-002",
    ]


def test_no_byte_changes_unseen(tmp_path):
    folder = write_records(tmp_path / "r", {"val": 4}, size=(4, 16), shards=1)
    path = folder / "val-00000-of-00001.tfrecord"
    data, ends = path.read_bytes(), np.cumsum([*map(len, frames(path))])
    generator = random.Random(0)
    for place in generator.sample(range(len(data)), 100):
        changed = bytearray(data)
        changed[place] ^= generator.randrange(1, 256)
        path.write_bytes(changed)
        index = int(np.searchsorted(ends, place, side="right"))
        (fault,) = verifier.find_faults(folder)
        assert fault[:3] == (path, index, f"val-{index:03d}")
        assert fault.message.startswith(("is damaged: its checksum fails", "has a damaged length"))


def test_a_file_that_cannot_be_read(folder, monkeypatch):
    def fail(self, *arguments):
        raise OSError(5, "Input/output error", str(self.file.name))

    monkeypatch.setattr(contents._HashingReader, "read", fail)
    assert faults_of(folder)[0] == f"{TRAIN}: cannot be read: Input/output error"


# ---- whole shards


def test_a_missing_shard(folder):
    (folder / OTHER).unlink()
    assert faults_of(folder) == faults_of(folder, quick=True) == [f"{OTHER}: this shard is missing"]


def test_swapped_shards(folder):
    (folder / TRAIN).rename(folder / "aside")
    (folder / VAL).rename(folder / TRAIN)
    (folder / "aside").rename(folder / VAL)
    assert faults_of(folder) == [
        f"{TRAIN}: holds the content of {VAL}, by its SHA-256; the two are swapped",
        f"{VAL}: holds the content of {TRAIN}, by its SHA-256; the two are swapped",
    ]
    assert [line.partition(" has ")[0] for line in faults_of(folder, quick=True)] == [f"{TRAIN}:", f"{VAL}:"]


def test_a_shard_copied_over_another(folder):
    shutil.copy(folder / TRAIN, folder / OTHER)
    assert faults_of(folder) == [f"{OTHER}: holds the content of {TRAIN}, by its SHA-256"]


@pytest.mark.parametrize("name", ["train-00002-of-00003.tfrecord", "other.tfrecord"])
def test_a_stray_shard(folder, name):
    shutil.copy(folder / TRAIN, folder / name)
    assert faults_of(folder) == faults_of(folder, quick=True) == [f"{name}: is not in the manifest"]


def test_a_shard_lost_with_its_entry(folder):
    def change(manifest):
        del manifest["splits"]["train"]["shards"][0]
        manifest["splits"]["train"]["ids"] = manifest["splits"]["train"]["ids"][10:]

    edit_manifest(folder, change)
    (folder / TRAIN).unlink()
    line = f"manifest.json: split train lists no {TRAIN}, though its shards are numbered 0 to 1 of 2"
    assert faults_of(folder, quick=True) == [line]
    assert faults_of(folder) == [  # the other half of these images happens to have the same mean and deviation
        line,
        "manifest.json: split train has class_pixels [640, 6720, 0, 0, 0, 6720, 0, 1280], "
        "its masks have [320, 3360, 0, 0, 0, 3360, 0, 640]",
    ]


def test_an_entry_lost(folder):
    edit_manifest(folder, lambda manifest: manifest["splits"]["train"]["shards"].pop(1))
    lines = [
        "manifest.json: split train has 20 ids, but its shards count 10 records",
        f"manifest.json: split train lists no {OTHER}, though its shards are numbered 0 to 1 of 2",
        f"{OTHER}: is not in the manifest",
    ]
    assert faults_of(folder) == faults_of(folder, quick=True) == lines


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (["a-00000-of-00002.tfrecord", "a-00001-of-00002.tfrecord"], []),
        (["a-00001-of-00002.tfrecord", "a-00000-of-00002.tfrecord"], []),
        ([], []),
        (
            ["a.tfrecord", "b-00000-of-00001.tfrecord"],
            ["a.tfrecord, which is not a shard name such as a-00000-of-00016.tfrecord"],
        ),
        (
            ["a-00000-of-00002.tfrecord", "a-00000-of-00002.tfrecord"],
            [
                "a-00000-of-00002.tfrecord twice",
                "no a-00001-of-00002.tfrecord, though its shards are numbered 0 to 1 of 2",
            ],
        ),
        (
            ["a-00000-of-00002.tfrecord", "b-00001-of-00002.tfrecord", "a-00001-of-00002.tfrecord"],
            ["b-00001-of-00002.tfrecord, though its shards are numbered 0 to 1 of 2"],
        ),
        (
            ["a-00000-of-00001.tfrecord", "a-00001-of-00001.tfrecord"],
            ["a-00001-of-00001.tfrecord, though its shards are numbered 0 to 0 of 1"],
        ),
        (
            ["a-00000-of-00002.tfrecord", "a-00001-of-00002.tfrecord", "a-00002-of-00003.tfrecord"],
            ["a-00002-of-00003.tfrecord, though its shards are numbered 0 to 1 of 2"],
        ),
        (
            ["a-00001-of-9000000000.tfrecord"],  # is not counted through
            [
                "no a-00000-of-9000000000.tfrecord, a-00002-of-9000000000.tfrecord, a-00003-of-9000000000.tfrecord, "
                "..., though its shards are numbered 0 to 8999999999 of 9000000000"
            ],
        ),
    ],
)
def test_names_make_a_row(names, lines):
    assert list(verifier.name_faults("a", names)) == lines


# ---- the manifest


def set_at(*keys, to):
    """Sets an entry of the manifest."""

    def change(manifest):
        *parents, last = keys
        for key in parents:
            manifest = manifest[key]
        manifest[last] = to

    return change


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (set_at("schema_version", to=7), ["manifest.json: has schema version 7, this program reads 1 to 3"]),
        (
            set_at("classes", to=["sky", "flat", "construction", "object", "nature", "void", "human", "vehicle"]),
            [
                "manifest.json: has the classes sky, flat, construction, object, nature, void, human, vehicle, "
                "expected void first, and each once"
            ],
        ),
        (
            set_at("colors", to=[[0, 0, 0]] * 7),
            ["manifest.json: the manifest has colors other than 3 numbers for each of 8 classes"],
        ),
        (
            set_at("colors", to=[[0, 0, 256]] * 8),
            [f"manifest.json: the manifest has colors {[[0, 0, 256]] * 8}, expected numbers in 0..255"],
        ),
        (
            set_at("splits", "val", "class_pixels", to=[0] * 7),
            ["manifest.json: split val has class_pixels of 7 classes, expected 8"],
        ),
        (set_at("codec", to="webp"), ["manifest.json: has the codec webp, expected one of jpeg, png, raw"]),
        (
            set_at("label_map", "7", to="cars"),
            ["manifest.json: maps the mask value 7 to cars, expected 0 to 255 and one of the classes"],
        ),
        (
            set_at("label_map", "-1", to="void"),
            ["manifest.json: maps the mask value -1 to void, expected 0 to 255 and one of the classes"],
        ),
        (
            set_at("splits", "train", "ids", 12, to="train-003"),
            [f"{OTHER}: record 2 (train-003) is there twice: record 3 of {TRAIN} has the same id"],
        ),
        (
            set_at("splits", "val", "ids", 0, to="train-003"),
            [f"{VAL}: record 0 (train-003) is in split train too: record 3 of {TRAIN} has the same id"],
        ),
        (
            set_at("splits", "val", "ids", to=["val-000", "val-000"]),
            [
                "manifest.json: split val has 2 ids, but its shards count 5 records",
                f"{VAL}: record 1 (val-000) is there twice: record 0 of {VAL} has the same id",
            ],
        ),
        (
            set_at("splits", "val", "ids", to=["val-000", "val-001", "val-002", "val-003", "val-004", "val-000"]),
            [
                "manifest.json: split val has 6 ids, but its shards count 5 records",
                f"manifest.json: (val-000) is there twice: record 0 of {VAL} has the same id",
            ],
        ),
        (
            set_at("splits", "val", "ids", to=None),
            ["manifest.json: split val has something else as ids than a list of text"],
        ),
        (
            set_at("splits", "val", "channel_std", to=[]),
            ["manifest.json: split val has channel_std [], expected a number for each of 3 channels"],
        ),
    ],
)
def test_a_wrong_manifest(folder, change, lines):
    edit_manifest(folder, change)
    assert faults_of(folder, quick=True) == lines


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            set_at("splits", "val", "class_pixels", to=[1] * 8),
            "manifest.json: split val has class_pixels [1, 1, 1, 1, 1, 1, 1, 1], "
            "its masks have [160, 1680, 0, 0, 0, 1680, 0, 320]",
        ),
        (
            set_at("splits", "val", "channel_mean", to=[0.5, 0.25, float("nan")]),
            "manifest.json: split val has channel_mean [0.5, 0.25, nan], "
            "its images have [130.1875, 135.41667, 87.270833]",
        ),
        (
            set_at("splits", "val", "channel_mean", 2, to=87.271),
            "manifest.json: split val has channel_mean [130.1875, 135.41667, 87.271], "
            "its images have [130.1875, 135.41667, 87.270833]",
        ),
        (
            set_at("splits", "val", "ids", 1, to="other"),
            f"{VAL}: record 1 (val-001) stands where the manifest has other",
        ),
    ],
)
def test_a_manifest_that_the_records_belie(folder, change, line):
    assert faults_of(folder) == []
    edit_manifest(folder, change)
    assert faults_of(folder) == [line]
    quick = faults_of(folder, quick=True)
    absurd = "nan" in line  # so that the manifest alone shows it
    assert quick == ([line.partition(", its")[0] + ", expected 3 numbers in 0..255"] if absurd else [])


def test_faults_come_shard_by_shard_and_record_by_record(folder):
    edit_manifest(folder, set_at("splits", "train", "ids", 12, to="train-003"))
    flip(folder / VAL, 100)
    flip(folder / TRAIN, 100)
    assert faults_of(folder) == [
        f"{TRAIN}: record 0 (train-000) is damaged: its checksum fails",
        f"{OTHER}: record 2 (train-012) stands where the manifest has train-003",
        f"{OTHER}: record 2 (train-003) is there twice: record 3 of {TRAIN} has the same id",
        f"{VAL}: record 0 (val-000) is damaged: its checksum fails",
    ]


def test_a_wrong_count(folder):
    edit_manifest(folder, set_at("splits", "val", "shards", 0, "count", to=4))
    assert faults_of(folder) == [
        "manifest.json: split val has 5 ids, but its shards count 6 records",
        f"{VAL}: has 3 records, the manifest says 4",
    ]


def test_counts_that_only_the_shards_belie(folder):
    edit_manifest(folder, set_at("splits", "val", "shards", 0, "count", to=4))
    edit_manifest(folder, set_at("splits", "val", "shards", 1, "count", to=1))
    assert faults_of(folder) == [
        f"{VAL}: has 3 records, the manifest says 4; it lacks val-003",
        "val-00001-of-00002.tfrecord: has 2 records, the manifest says 1; it has val-003 besides",
    ]


def test_a_wrong_size_in_bytes(folder):
    size = (folder / VAL).stat().st_size
    edit_manifest(folder, set_at("splits", "val", "shards", 0, "bytes", to=5))
    assert faults_of(folder) == faults_of(folder, quick=True) == [f"{VAL}: has {size} bytes, the manifest says 5"]


def test_a_wrong_hash(folder):
    found = records.file_sha256(folder / VAL)
    edit_manifest(folder, set_at("splits", "val", "shards", 0, "sha256", to="0123456789abcdef" * 4))
    assert faults_of(folder) == [
        f"{VAL}: content differs from the manifest (SHA-256), though every record reads: "
        f"it is {found[:12]}..., not 0123456789ab..."
    ]


def test_a_broken_manifest(folder):
    (folder / "manifest.json").write_text('{"codec": ')
    assert faults_of(folder) == ["manifest.json: is no JSON: Expecting value: line 1 column 11 (char 10)"]


def test_no_records(folder):
    (folder / "manifest.json").unlink()
    assert list(map(str, verifier.find_faults(folder))) == [f"{folder}: has no manifest.json"]
    assert list(map(str, verifier.find_faults(folder / "lost"))) == [f"{folder / 'lost'}: no such folder of records"]


# ---- single records


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"mask__encoded": encode_bgr(np.full((24, 32), 9, np.uint8))},
            "has a mask with the values [9], expected 0 to 7",
        ),
        (
            {"image__encoded": encode_bgr(np.zeros((24, 30, 3), np.uint8))},
            "has an image of 24x30 and a mask of 24x32, but says 24x32",
        ),
        ({"image__format": b"jpeg"}, "is stored as jpeg, the manifest says png"),
        (
            {"image__encoded": cv2.imencode(".jpg", np.zeros((24, 32, 3), np.uint8))[1].tobytes()},
            "says that its image is stored as png, which it is not",
        ),
        (
            {"image__encoded": encode_bgr(np.zeros((24, 32, 3), np.uint8))[:-20]},
            "is cut short or damaged ({} bytes); copy it again",
        ),
        ({"id": None, "image__format": None}, "lacks id, image/format"),
        ({"label_ids__encoded": []}, "has a value of the wrong kind as label_ids/encoded"),
        ({"mask__encoded": palette_png()}, "has a mask stored as 8-bit palette, expected 8-bit grey"),
        ({"id": b"\x1b[2J"}, r"has the id '\x1b[2J', expected no line breaks and no other control characters"),
        ({"id": b"\xff"}, "has something else than text as id"),
        ({"id": 3, "mask__encoded": 4}, "has a value of the wrong kind as id, mask/encoded"),
        ({"label_ids__encoded": None}, "lacks label_ids/encoded, which split val must have"),
        (
            {"label_ids__encoded": encode_bgr(np.array([[7, 40, 41]], np.uint8))},
            "has label ids with the values [40, 41], which the label map lacks",
        ),
        ({"id": b"val-009"}, "stands where the manifest has val-001"),
    ],
)
def test_a_wrong_record(folder, features, message):
    change_record(folder, VAL, 1, **features)
    id = "val-009" if features.get("id") == b"val-009" else "val-001"
    message = message.format(len(features.get("image__encoded", b"")))
    *sums, line = faults_of(folder)
    assert line == f"{VAL}: record 1 ({id}) {message}"
    assert all(line.startswith("manifest.json: split val has channel_") for line in sums)  # a black image changes them


def test_another_way_to_store_than_the_manifest_says(folder):
    edit_manifest(folder, lambda manifest: manifest.update(tile_width=16, mask_codec="zlib"))
    lines = faults_of(folder)
    assert len(lines) == 3 * 25
    assert lines[-3:] == [
        f"val-00001-of-00002.tfrecord: record 1 (val-004) {fault}"
        for fault in (
            "has a mask stored as png, the manifest says zlib",
            "has an image in 1 tiles, by the manifest it must have 2",
            "has a mask in 1 tiles, by the manifest it must have 2",
        )
    ]


def test_all_faults_of_a_record(folder):
    small = {"image__encoded": encode_bgr(np.zeros((8, 9, 3), np.uint8)), "image__height": 8, "image__width": 9}
    change_record(folder, VAL, 2, id=b"a", mask__encoded=encode_bgr(np.full((8, 9), 8, np.uint8)), **small)
    assert faults_of(folder) == [
        f"{VAL}: record 2 (a) is 8x9, the manifest says 24x32",
        f"{VAL}: record 2 (a) has a mask with the values [8], expected 0 to 7",
        f"{VAL}: record 2 (a) stands where the manifest has val-002",
    ]


def test_label_ids_in_the_training_split(folder):
    change_record(folder, OTHER, 7, label_ids__encoded=encode_bgr(np.zeros((4, 4), np.uint8)))
    assert faults_of(folder) == [
        f"{OTHER}: record 7 (train-017) has label_ids/encoded, which split train must not have"
    ]


def test_what_is_no_example(folder):
    rewrite(folder, VAL, [*list(records.read_shard(folder / VAL))[:2], b"<html>404</html>"])
    assert faults_of(folder) == [f"{VAL}: record 2 (val-002) is no tf.train.Example"]


# ---- the command


def run(capsys, *arguments) -> list[str]:
    with pytest.raises(SystemExit) as exit:
        verify_tfrecords.main([*map(str, arguments), "--workers", "1"])
    assert exit.value.code == 1
    return capsys.readouterr().out.splitlines()


def test_command_ends_with_a_summary(folder, capsys):
    flip(folder / TRAIN, 100)
    flip(folder / VAL, 100)
    flip(folder / VAL, (folder / VAL).stat().st_size - 50)
    shutil.copy(folder / TRAIN, folder / "stray.tfrecord")
    edit_manifest(
        folder, set_at("classes", to=["sky", "flat", "construction", "object", "nature", "void", "human", "vehicle"])
    )
    advice = "; copy what is damaged again, or convert again with: python -m tfseg.convert ... --overwrite"
    assert run(capsys, folder) == [
        f"{folder}/manifest.json: has the classes sky, flat, construction, object, nature, void, human, vehicle, "
        "expected void first, and each once",
        f"{folder}/{TRAIN}: record 0 (train-000) is damaged: its checksum fails",
        f"{folder}/{VAL}: record 0 (val-000) is damaged: its checksum fails",
        f"{folder}/{VAL}: record 2 (val-002) is damaged: its checksum fails",
        f"{folder}/stray.tfrecord: is not in the manifest",
        f"5 faults in manifest.json and 2 of 4 shards and 1 other file{advice}",
    ]
    (folder / "manifest.json").unlink()
    assert run(capsys, folder, "--quick") == [f"{folder}: has no manifest.json", f"1 fault{advice}"]


def test_command_needs_no_tensorflow(tiny_records):
    """In a process of its own: this one has loaded it."""
    code = (
        f"import sys; from tfseg import verify; verify.main([{str(tiny_records)!r}, '--workers', '1']); "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
