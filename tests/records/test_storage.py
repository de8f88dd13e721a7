"""Every field of a manifest, with what no reader could use, and by which line each is found."""

import dataclasses
import functools
import json
import os
import shutil

import pytest
from helpers import OTHER, TRAIN, VAL, draw, edit_manifest, write_images, write_records

from tfseg.conversion.reader import open_stored
from tfseg.records import manifest, verifier
from tfseg.records.record_set import open_records

SHARD = "train-00000-of-00002.tfrecord"

# Of each field: a value, how it is found, and whether records are not even opened then.
FIELDS = {
    manifest.Manifest: [
        ("schema_version", True, "has schema version True, this program reads 1 to 3", True),
        ("source", "a\nb", r"has the source 'a\nb', expected the name of a layout", False),
        ("label_map", {"1": "void", "5": "sky"}, "split train has 1,088 pixels of flat, to which no mask value", False),
        ("label_map", {"1": ["flat"]}, "the manifest maps '1' to '['flat']', expected a mask value and a class", True),
        ("label_map", {"1": "flat", "01": "sky"}, "the manifest maps the mask value 1 twice", True),
        ("label_map", {"1" * 20: "flat"}, f"the manifest maps '{'1' * 20}' to 'flat', expected a mask value", True),
        ("label_map", {"256": "flat"}, "maps the mask value 256 to flat, expected 0 to 255 and one of", False),
        ("classes", ["void", *"abcdef", "\x1b[2J"], r"has the class '\x1b[2J', expected no line breaks", True),
        ("classes", [], "has 0 classes, expected 1 to 255", True),
        ("classes", ["void", "flat"], "split train has class_pixels of 8 classes, expected 2", True),
        ("size", [], "has the size [], expected null, or a height and a width of 1 or more, and at most 1,073,7", True),
        ("size", [16], "has the size [16], expected null, or a height", True),
        ("size", [0, 40], "has the size [0, 40], expected null, or a height", True),
        ("size", [2**16, 2**16], "has the size [65536, 65536], expected null, or a height", True),
        ("size", [10**400, 40], f"has the number '1{'0' * 76}...', expected integers of 64 bits", True),
        ("size", None, "has a tile_width, 16, but no size, which tiles take", True),
        ("codec", "webp", "has the codec webp, expected one of jpeg, png, raw", True),
        ("codec", "png", "record 0 (0) is stored as jpeg, the manifest says png", False),
        ("quality", -5, "has the quality -5, expected null or 1 to 100", False),
        ("splits", {}, "has no split", False),
        ("splits", {"../x": {}}, r"has the split '../x', expected a name without / and \ that is not . or ..", True),
        ("mask_resize", "cubic", "has the way to resize masks 'cubic', expected nearest or majority", False),
        ("mask_codec", "junk", "has the mask codec junk, expected one of zlib, png", True),
        ("mask_codec", ..., "record 0 (0) has a mask stored as zlib, the manifest says png", False),
        ("tile_width", 10**18, "has the tile_width 1000000000000000000, expected null, or 1 to 40, the width", True),
        ("tile_width", 0, "has the tile_width 0, expected null, or 1 to 40", True),
        ("tile_width", -16, "has the tile_width -16, expected null, or 1 to 40", True),
        ("tile_width", None, "record 0 (0) has an image in 3 tiles, by the manifest it must have 1", False),
        (
            "tile_width",
            17,
            "has an image in tiles of 16, 16, 8 columns, by the manifest they must have 17, 17, 6",
            False,
        ),
        ("colors", [[0, 0, 256]] * 8, "the manifest has colors [[0, 0, 256], ", True),
        ("colors", [[True] * 3] * 8, "has something else as colors than a list of a list of an integer or null", True),
        ("exif", "mirror", "has the way to take EXIF data 'mirror', expected rotate or ignore", False),
        ("channels", 0, "does not say what its images are: expected channels from 1 to 256, got 0", True),
        ("channels", 4, "has images of 4 channels, which the codec jpeg does not hold", True),
        ("channels", 1, "has other images than 8-bit RGB in schema version 2, which has no others", True),
        (
            "value_range",
            [[5, 1]] * 3,
            "expected a value range of a low and a higher value in 0..65535 for each of",
            True,
        ),
        ("findings", {"turned": "all"}, "has findings with a str as turned, expected a dict", False),
        ("findings", {"left_out": {"a": [[[[]]]]}}, "has findings nested more than 4 deep", False),
    ],
    manifest.Split: [
        ("ids", ["a", "../../x"], "split train has the id '../../x', expected one that is not absolute", True),
        ("ids", ["a", "\ud800"], r"split train has the id '\ud800', which cannot be written in UTF-8", True),
        ("shards", [], "split train has 4 ids, but its shards count 0 records", True),
        (
            "class_pixels",
            [-1] * 8,
            "split train has class_pixels [-1, -1, -1, -1, -1, -1, -1, -1], expected none b",
            True,
        ),
        ("class_pixels", [1.5] * 8, "split train has something else as class_pixels than a list of an integer", True),
        ("channel_mean", ["a"] * 3, "split train has something else as channel_mean than a list of a number", True),
        ("channel_mean", [-5, 0, 1e999], "split train has channel_mean [-5, 0, inf], its images have [", False),
        ("channel_std", [1] * 10**5, "split train has channel_std [1, 1, 1, ", True),
        ("channel_mean", [9], "split train has channel_mean [9], expected a number for each of 3 channels", True),
    ],
    manifest.Shard: [
        ("name", "/etc/passwd", "split train has the shard '/etc/passwd', expected a name without /", True),
        ("name", "../x", "split train has the shard '../x', expected a name without /", True),
        ("count", -1, f"split train has '{SHARD}' of -1 records and", True),
        ("count", 10**18, "split train has 4 ids, but its shards count 1000000000000000002 records", True),
        ("bytes", -1, f"split train has '{SHARD}' of 2 records and -1 bytes", True),
        ("sha256", "x\ny", rf"split train has 'x\ny' as the SHA-256 of {SHARD}", False),
    ],
}


@pytest.fixture(scope="module")
def tiled(tmp_path_factory):
    """Records of 16x40 in tiles of 16."""
    return write_images(tmp_path_factory.mktemp("tiled"), [draw(index, 16, 40) for index in range(4)], "jpeg", 16)


@pytest.fixture
def folder(tiled, tmp_path):
    return shutil.copytree(tiled, tmp_path / "r")


def set_field(kind, field, value, folder):
    """Writes a value in the place of a field, ... takes the field away."""

    def change(entry):
        ways = {manifest.Split: ("splits", "train"), manifest.Shard: ("splits", "train", "shards", 0)}
        entry = functools.reduce(lambda it, key: it[key], ways.get(kind, ()), entry)
        entry[field] = value
        if value is ...:
            del entry[field]

    edit_manifest(folder, change)


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_is_in_the_table(kind):
    assert {field for field, *_ in FIELDS[kind]} == {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, cases in FIELDS.items() for case in cases])
def test_what_no_reader_could_use_is_found(folder, kind, case):
    field, value, line, is_refused = case
    set_field(kind, field, value, folder)
    lines = [str(fault) for fault in verifier.find_faults(folder)]
    assert any(line in found for found in lines), lines
    assert all(len(found) < 1000 and found.isprintable() for found in lines)
    if is_refused:
        with pytest.raises(ValueError) as raised:
            open_records(folder)
        assert str(raised.value).isprintable()
    else:
        open_records(folder)


def test_swapped_classes_are_seen_where_raw_masks_are_kept(tiny_records, tmp_path):
    for number, change in enumerate(
        [
            lambda entry: entry["classes"].insert(1, entry["classes"].pop(5)),
            lambda entry: entry["label_map"].update({"1": "sky", "5": "flat"}),
        ]
    ):
        folder = shutil.copytree(tiny_records, tmp_path / str(number))
        edit_manifest(folder, change)
        lines = [str(fault).removeprefix(f"{folder}/") for fault in verifier.find_faults(folder)]
        assert len(lines) == 5, "one an image of the validation split"
        assert lines[0] == (
            f"{VAL}: record 0 (val-000) has a mask that 672 of 768 pixels of its label ids contradict, by the label map"
        )


def test_more_classes_than_categories_need_colors(tmp_path):
    folder = write_records(tmp_path / "r", {"train": 1}, size=(8, 12), shards=1)

    def change(entry):
        entry["classes"].append("cow")
        entry["splits"]["train"]["class_pixels"].append(0)

    edit_manifest(folder, change)
    assert [fault.message for fault in verifier.find_faults(folder)] == [
        "has 9 classes and no colors, which only the 8 categories do without"
    ]
    with pytest.raises(ValueError, match=r"r: has 9 classes and no colors, which only the 8 categories do without$"):
        open_stored(open_records(folder))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_shards_that_are_no_files(tiny_records, tmp_path):
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    for name in (TRAIN, OTHER, VAL):
        (folder / name).unlink()
    os.mkfifo(folder / TRAIN)
    (folder / OTHER).mkdir()
    (folder / VAL).symlink_to("/dev/zero")
    for quick in (True, False):
        faults = verifier.find_faults(folder, quick)
        assert [(fault.path.name, fault.message) for fault in faults] == [
            (name, "is no file, but a folder, a device or a pipe") for name in (TRAIN, OTHER, VAL)
        ]
    with pytest.raises(ValueError, match="is no file, but a folder, a device or a pipe; copy it again"):
        open_records(folder)


def test_a_shard_may_be_a_link_to_a_file_elsewhere(tiny_records, tmp_path):
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    (folder / VAL).rename(tmp_path / "elsewhere")
    (folder / VAL).symlink_to(tmp_path / "elsewhere")
    assert verifier.find_faults(folder) == []


def test_a_shard_that_is_listed_often_is_read_once(tiny_records, tmp_path, monkeypatch):
    monkeypatch.setattr(verifier, "MOST_LINES", 3)
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    edit_manifest(
        folder, lambda entry: entry["splits"]["val"]["shards"].extend([entry["splits"]["val"]["shards"][0]] * 9)
    )
    assert [str(fault).removeprefix(str(folder)) for fault in verifier.find_faults(folder)] == [
        "/manifest.json: split val has 5 ids, but its shards count 32 records",
        *[f"/manifest.json: split val lists {VAL} twice"] * 2,
        ": has 7 faults more of this kind",
    ]


def test_a_manifest_has_only_so_many_shards(tiny_records, monkeypatch):
    monkeypatch.setattr(manifest, "MOST_SHARDS", 1)
    with pytest.raises(ValueError, match=r"split train has 2 shards, more than the 1 that are read"):
        manifest.parse_manifest((tiny_records / "manifest.json").read_bytes())


def test_a_shard_has_only_so_many_faults(tiny_records, tmp_path, monkeypatch):
    monkeypatch.setattr("tfseg.records.contents.MOST_FAULTS", 4)
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    edit_manifest(folder, lambda entry: entry.update(codec="jpeg"))
    messages = [fault.message for fault in verifier.find_faults(folder) if fault.path.name == TRAIN]
    assert messages == ["has 6 faults more", *["is stored as png, the manifest says jpeg"] * 4]


def test_escapes_in_names_are_shown_as_text(tiny_records, tmp_path):
    folder = shutil.copytree(tiny_records, tmp_path / "r")
    manifest_file = folder / "manifest.json"
    text = manifest_file.read_text().replace('"train-003"', json.dumps("a\u202egnp"))
    manifest_file.write_text(text)
    (fault,) = verifier.find_faults(folder)
    assert str(fault) == rf"{folder}/{TRAIN}: record 3 (train-003) stands where the manifest has a\u202egnp"
