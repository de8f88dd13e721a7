"""The table of a proposed label map, and its file: what a person looks at and edits, and what reads back."""

import json
import shlex
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfseg import convert
from tfseg.conversion.converter import convert_dataset
from tfseg.conversion.finding.sources import open_source
from tfseg.conversion.proposing.proposal import Proposal, Row
from tfseg.conversion.proposing.proposed_file import (
    place_proposal,
    proposal_lines,
    proposal_notes,
    proposal_rows,
    quote_yaml,
    write_proposal,
)
from tfseg.io.names import has_control
from tfseg.io.yaml_reader import parse_yaml
from tfseg.records.label_map_files import read_label_map
from tfseg.records.record_set import open_records

BY_VALUE = Proposal(
    Path("data/mine"),
    "index",
    "4 masks, read by grey values",
    [
        Row(0, "sky", "sky", (70, 130, 180), 1000, 4),
        Row(1, "road: wet", "road: wet", None, 500, 3),
        Row(2, "class_2", "", None, 0, 1),
        Row(255, "void", "", None, 500, 2),
    ],
    {"void": None, "sky": (70, 130, 180), "road: wet": None, "class_2": None},
    images=4,
    pixels=2000,
    notes=["255 is taken for void"],
    unused=[(3, "no")],
)
BY_COLOR = Proposal(
    Path("data/mine"),
    "color",
    "2 masks, read by colours",
    [Row((0, 0, 0), "background", "", (0, 0, 0), 3, 2), Row((128, 64, 128), "thing", "", (128, 64, 128), 1, 1)],
    {"background": (0, 0, 0), "thing": (128, 64, 128)},
    images=2,
    pixels=4,
)
BY_LABEL = Proposal(
    Path("data/mine"),
    "labels",
    "2 masks, read by COCO's annotations",
    [
        Row("3", "3", "", None, 1, 1),
        Row("default", "default", "", None, 1, 1),
        Row("Void", "void", "", None, 1, 1),
        Row("yes", "yes", "", None, 12, 2),
    ],
    {"void": None, "background": None, "3": None, "default": None, "yes": None},
    images=2,
    pixels=0,
)


def test_tables():
    assert proposal_rows(BY_VALUE) == [
        ["value", "colour", "named", "pixels %", "images", "class"],
        ["0", "#4682b4", "sky", "50.00", "4", "sky"],
        ["1", "-", "road: wet", "25.00", "3", "road: wet"],
        ["2", "-", "-", "0.00", "1", "class_2"],
        ["255", "-", "-", "25.00", "2", "void"],
    ]
    assert proposal_notes(BY_VALUE) == ["255 is taken for void", "named, but in no mask, and no classes therefore: no"]
    assert proposal_rows(BY_COLOR) == [
        ["colour", "pixels %", "images", "class"],
        ["#000000", "75.00", "2", "background"],
        ["#804080", "25.00", "1", "thing"],
    ]
    assert proposal_rows(BY_LABEL)[0] == ["label", "shapes", "images", "class"]
    assert proposal_rows(BY_LABEL)[-1] == ["yes", "12", "2", "yes"]


def test_a_file(tmp_path):
    path = write_proposal(BY_VALUE, tmp_path / "new/out.label_map.yaml")
    assert path.read_text() == (
        "# Proposed by tfseg convert for data/mine:\n"
        "# 4 masks, read by grey values.\n"
        "# 255 is taken for void\n"
        "#\n"
        "# Edit the names and their order, which is that of the class ids; give several lines one class; void counts\n"
        "# nowhere. Every class of a line must stand under classes.\n"
        "classes:\n"
        "  void: null\n"
        "  sky: [70, 130, 180]\n"
        '  "road: wet": null\n'
        "  class_2: null\n"
        "0: sky          # 50.00 % of the pixels, in 4 of 4\n"
        '1: "road: wet"  # 25.00 % of the pixels, in 3 of 4\n'
        "2: class_2      # 0.00 % of the pixels, in 1 of 4\n"
        "255: void       # 25.00 % of the pixels, in 2 of 4\n"
        "# Named, but in no mask:\n"
        '# 3: "no"\n'
    )
    label_map = read_label_map(path)
    assert label_map.classes == ("void", "sky", "road: wet", "class_2")
    assert label_map.names == {0: "sky", 1: "road: wet", 2: "class_2", 255: "void"}
    assert [entry.name for entry in tmp_path.glob("new/*")] == ["out.label_map.yaml"]


def test_a_file_of_colours(tmp_path):
    assert [*proposal_lines(BY_COLOR)][-2:] == [
        "'#000000': background  # 75.00 % of the pixels, in 2 of 2",
        "'#804080': thing       # 25.00 % of the pixels, in 1 of 2",
    ]
    label_map = read_label_map(write_proposal(BY_COLOR, tmp_path / "a.yaml"))
    assert label_map.by_color == {(0, 0, 0): 1, (128, 64, 128): 2}


def test_a_file_of_labels(tmp_path):
    assert [*proposal_lines(BY_LABEL)][-4:] == [
        "# the label 3  # 1 shape, in 1 of 2",
        "# the label default  # 1 shape, in 1 of 2",
        "Void: void    # 1 shape, in 1 of 2",
        '"yes": "yes"  # 12 shapes, in 2 of 2',
    ]
    label_map = read_label_map(write_proposal(BY_LABEL, tmp_path / "a.yaml"))
    assert {label: label_map.by_label[label] for label in ("Void", "3", "default", "yes")} == {
        **{"Void": 0, "3": 2, "default": 3, "yes": 4}
    }


def test_two_colours_of_a_class(tmp_path):
    rows = [Row((0, 0, 0), "void", "Void", (0, 0, 0), 3, 2), Row((1, 1, 1), "void", "ignore", (1, 1, 1), 1, 1)]
    rows += [Row((place, 0, 0), "ab"[place // 8], "", (place, 0, 0), 1, 1) for place in (7, 8, 9)]
    classes = {"void": (0, 0, 0), "a": (7, 0, 0), "b": (8, 0, 0)}
    proposal = Proposal(Path("data"), "color", "", rows, classes, images=2, pixels=9)
    label_map = read_label_map(write_proposal(proposal, tmp_path / "a.yaml"))
    assert label_map.by_color == {(0, 0, 0): 0, (1, 1, 1): 0, (7, 0, 0): 1, (8, 0, 0): 2, (9, 0, 0): 2}


def test_a_file_in_a_store(tmp_path):
    upath = pytest.importorskip("upath")
    path = upath.UPath(f"memory://{tmp_path.name}/mine.label_map.yaml")
    assert place_proposal(f"memory://{tmp_path.name}/mine") == path
    for _ in range(2):
        assert read_label_map(write_proposal(BY_COLOR, path)).classes == ("void", "background", "thing")
    with pytest.raises(ValueError, match="is there already"):
        write_proposal(BY_VALUE, path)


def test_a_file_that_is_there(tmp_path):
    path = write_proposal(BY_VALUE, tmp_path / "a.yaml")
    before = path.stat().st_mtime_ns
    assert write_proposal(BY_VALUE, path).stat().st_mtime_ns == before
    path.write_text(path.read_text().replace("class_2", "car"))
    edited = path.read_text()
    with pytest.raises(ValueError, match=r"a\.yaml: is there already and says something else .* --label-map, or move"):
        write_proposal(BY_VALUE, path)
    assert path.read_text() == edited


def test_a_link_to_nowhere_stays(tmp_path):
    (tmp_path / "a.yaml").symlink_to(tmp_path / "lost")
    with pytest.raises(ValueError, match="is there already"):
        write_proposal(BY_VALUE, tmp_path / "a.yaml")
    assert not (tmp_path / "lost").exists()


def test_what_makes_no_label_map_is_not_written(tmp_path):
    proposal = Proposal(
        Path("data"),
        "labels",
        "",
        [Row("70000", "class_70000", "", None, 1, 1)],
        {"background": None, "class_70000": None},
        images=1,
        pixels=0,
        is_numbered=True,
    )
    with pytest.raises(ValueError, match=r"^data: no label map can be made .*: mask value 70000 is not an integer in"):
        write_proposal(proposal, tmp_path / "a.yaml")
    assert [*tmp_path.iterdir()] == []


def test_the_place_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place_proposal("records/mine/") == place_proposal(tmp_path / "records/mine")
    assert str(place_proposal("records/mine/")) == "records/mine.label_map.yaml"
    assert place_proposal(".") == tmp_path.with_name(f"{tmp_path.name}.label_map.yaml")


# fmt: off
HOSTILE = [
    *("no", "1", "1.0", "a: b", "#x", "- a", "'", '"', "\\", " ", " a", "a ", "~", "null", "=", "<<", "0x10", "1_000"),
    *("2024-01-01", "1e3", ".inf", "1:30", "[a]", "{a: b}", "&a", "*a", "!a", "%a", "@a", "`a", "? a", "a #b", "---"),
    *("...", "ümlaut", "\u202eabc", "\ufeffabc", "\uffff", "\U000e0001", "\U0001f697", "classes", "y", "a-b"),
]
# fmt: on
LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])  # which `check_text` lets pass
NAMES = st.text(LETTERS, min_size=1, max_size=60) | st.sampled_from(HOSTILE)


@settings(derandomize=True, deadline=None, database=None)
@given(NAMES)
def test_names_in_yaml(name):
    assert parse_yaml(f"{quote_yaml(name)}: {quote_yaml(name)}  # a comment", "text") == {name: name}


@settings(derandomize=True, deadline=None, database=None, max_examples=50)
@given(
    st.lists(
        NAMES.filter(lambda name: len(name.encode()) <= 255 and name.strip().lower() != "void"),
        unique=True,
        min_size=2,
        max_size=5,
    )
)
def test_hostile_names_read_back(tmp_path_factory, names):
    assert not any(map(has_control, names))
    rows = [Row(value, name, name, None, 1, 1) for value, name in enumerate(names)]
    classes = dict.fromkeys(names)
    proposal = Proposal(Path("data"), "index", "", rows, classes, 1, 9, unused=[(9, names[0])])
    path = write_proposal(proposal, tmp_path_factory.mktemp("map") / "a.yaml")
    assert read_label_map(path).names == dict(enumerate(names))
    rows = [Row(name, name, "", None, 1, 1) for name in names]
    proposal = Proposal(Path("data"), "labels", "", rows, classes, 1, 0)
    by_label = read_label_map(write_proposal(proposal, path.with_name("b.yaml"))).by_label
    assert {name: by_label[name] for name in names} == {name: place for place, name in enumerate(names, 1)}


# ---- the command


@pytest.fixture
def raw(tmp_path):
    for split in ("train", "val"):
        for folder, pixels in (("images", np.zeros((2, 4, 3))), ("masks", [[0, 1, 1, 255], [0, 0, 1, 2]])):
            path = tmp_path / "raw" / folder / split / f"{split}.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.array(pixels, np.uint8)).save(path)
    (tmp_path / "raw/classes.txt").write_text("sky\na: b\n")
    return ["--root", str(tmp_path / "raw"), "--out", str(tmp_path / "records/mine"), "--workers", "1"]


def test_convert_stops_with_the_next_command(raw, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        convert.main(raw)
    file = tmp_path / "records/mine.label_map.yaml"
    printed = capsys.readouterr().out.splitlines()
    assert stop.value.code == 3
    assert [path.name for path in (tmp_path / "records").iterdir()] == [file.name]
    assert printed == [
        "2 masks, read by grey values",
        "value  named  pixels %  images    class",
        "    0    sky     37.50       2      sky",
        "    1   a: b     37.50       2     a: b",
        "    2      -     12.50       2  class_2",
        "  255      -     12.50       2     void",
        f"names are those of {tmp_path / 'raw/classes.txt'}",
        "255 is taken for void, which counts nowhere: the other values are small",
        f"label map {file}",
        f"look at it and edit it, then: python -m tfseg.convert {shlex.join(raw)} --label-map {file}",
    ]
    convert.main(shlex.split(printed[-1])[-len(raw) - 2 :])
    assert open_records(tmp_path / "records/mine").manifest.classes == ["void", "sky", "a: b", "class_2"]


def test_convert_with_yes(raw, tmp_path, capsys):
    convert.main([*raw, "--yes"])
    manifest = open_records(tmp_path / "records/mine").manifest
    assert manifest.classes == ["void", "sky", "a: b", "class_2"]
    assert manifest.splits["train"].class_pixels == [1, 3, 3, 1]
    before = {path: path.read_bytes() for path in (tmp_path / "records").rglob("*") if path.is_file()}
    convert.main([*raw, "--yes"])
    assert "is there already, made with the same settings" in capsys.readouterr().out
    convert.main([*raw, "--label-map", str(tmp_path / "records/mine.label_map.yaml")])
    assert {path: path.read_bytes() for path in (tmp_path / "records").rglob("*") if path.is_file()} == before


def test_convert_overwrites_the_records_and_keeps_the_label_map(raw, tmp_path):
    convert.main([*raw, "--yes"])
    file = tmp_path / "records/mine.label_map.yaml"
    file.write_text(file.read_text().replace("class_2", "car"))
    with pytest.raises(ValueError, match=r"mine\.label_map\.yaml: is there already and says something else"):
        convert.main([*raw, "--yes", "--overwrite"])
    convert.main([*raw, "--overwrite", "--label-map", str(file)])
    assert "car" in file.read_text() and "car" in open_records(tmp_path / "records/mine").manifest.classes


def test_bad_files_are_all_named_and_nothing_is_written(raw, tmp_path, capsys):
    for split in ("train", "val"):
        (tmp_path / f"raw/masks/{split}/{split}.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="2 files cannot be converted, named above"):
        convert.main(raw)
    assert [line.count("/masks/") for line in capsys.readouterr().err.splitlines() if "no PNG" in line] == [1, 1]
    assert not (tmp_path / "records").exists()


def test_without_a_look_it_is_refused_as_ever(raw, tmp_path):
    with pytest.raises(ValueError, match="its masks need a label map"):
        open_source(tmp_path / "raw")


def four_bit_png(values):
    """A grey PNG of 4 bits of values (H, W) in 0..15, W even."""
    height, width = values.shape
    head = struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(row[::2] << 4 | row[1::2]) for row in values)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize("kind", ["palettes", "RGB", "16 bits", "4 bits", "channel", "layers", "coco", "yolo"])
def test_each_kind_converts_with_its_proposal(tmp_path, kind):
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    photos.mkdir()
    masks.mkdir()
    indexes = np.array([[0, 1, 1, 2]] * 4, np.uint8)
    table = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8)
    arguments = ["--images", str(photos), "--masks", str(masks), "--out", str(tmp_path / "out"), "--workers", "1"]
    for number, name in enumerate("ab"):
        Image.new("RGB", (4, 4)).save(photos / f"{name}.png")
        if kind == "palettes":  # in another order each
            image = Image.fromarray(np.array([0, 1, 2] if number else [2, 1, 0], np.uint8)[indexes], "P")
            image.putpalette(bytes(table if number else table[::-1].copy()))
            image.save(masks / f"{name}.png")
        elif kind in ("RGB", "channel"):
            Image.fromarray(table[indexes]).save(masks / f"{name}.png")
        elif kind == "16 bits":
            Image.fromarray(indexes.astype(np.uint16) * 300).save(masks / f"{name}.png")
        elif kind == "4 bits":
            (masks / f"{name}.png").write_bytes(four_bit_png(indexes))
        elif kind == "layers":
            for place in (1, 2):
                (masks / name).mkdir(exist_ok=True)
                Image.fromarray(np.uint8(indexes == place)).save(masks / f"{name}/class_{place}.png")
        elif kind == "yolo":
            (masks / f"{name}.txt").write_text("1 0.25 0 0.75 0 0.75 1 0.25 1\n2 0.75 0 1 0 1 1 0.75 1\n")
    if kind == "coco":
        arguments[3] += "/coco.json"
        boxes = {1: [1, 0, 3, 0, 3, 4, 1, 4], 2: [3, 0, 4, 0, 4, 4, 3, 4]}
        document = {
            "images": [{"id": place, "file_name": f"{'ab'[place]}.png", "height": 4, "width": 4} for place in (0, 1)],
            "categories": [{"id": place, "name": f"class_{place}"} for place in (1, 2)],
            "annotations": [
                {"id": 2 * image + place, "image_id": image, "category_id": place, "segmentation": [boxes[place]]}
                for image in (0, 1)
                for place in (1, 2)
            ],
        }
        (masks / "coco.json").write_text(json.dumps(document))
    arguments += ["--mask-values", "red"] if kind == "channel" else []
    convert.main([*arguments, "--val-share", "0", "--yes"])
    manifest = open_records(tmp_path / "out").manifest
    expected = [0, 16, 16] if kind == "channel" else [0, 8, 16, 8]
    if kind in ("palettes", "RGB"):
        expected = [0, 8, 8, 16]  # black, blue, red
    assert manifest.splits["train"].class_pixels == expected


def test_a_label_that_is_in_no_mask_stays_in_its_comment():
    proposal = Proposal(Path("data"), "labels", "", [], {"background": None}, 1, 0, unused=[("a\nb: c", "a\nb: c")])
    assert [*proposal_lines(proposal)][-1] == '# "a\\x0ab: c": "a\\x0ab: c"'


def test_a_limit_looks_at_so_many_masks(tmp_path):
    for index in range(20):
        for kind, pixels in (("images", np.zeros((2, 2, 3), np.uint8)), ("masks", np.array([[0, 1]], np.uint8))):
            path = tmp_path / f"raw/{kind}/train/{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels if kind == "images" else np.repeat(pixels, 2, 0)).save(path)
    shown = []
    convert_dataset(
        tmp_path / "raw", tmp_path / "out", limit=3, on_proposal=lambda proposal, path: shown.append(proposal)
    )
    assert shown[0].images == 3 and shown[0].rows[0].count == 6
    assert shown[0].notes[0] == "only 3 of 20 masks were looked at, by --limit: the others may hold more"
