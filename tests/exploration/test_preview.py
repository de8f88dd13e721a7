"""What a conversion would do is told before it is done, in words, as a table and on the page."""

import json
import shlex

import numpy as np
import pytest
from helper_pages import Page
from PIL import Image

from tfseg import convert
from tfseg import explore as tool
from tfseg.conversion.reading.faults import Skipped
from tfseg.exploration.explorer import explore_dataset
from tfseg.exploration.preview import BadKind, group_faults
from tfseg.records.manifest import read_manifest

EVIL = "<script>alert(1)</script>"


def write_pair(root, split, id, mask, image=None):
    for kind, pixels in (("images", np.full((2, 4, 3), 90, np.uint8) if image is None else image), ("masks", mask)):
        path = root / kind / split / f"{id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels, np.uint8))).save(path)


@pytest.fixture
def root(tmp_path):
    """Three images in train and one in val, whose masks hold 0, 1 and 2."""
    root = tmp_path / "raw"
    for id, mask in (("a", [[0] * 4, [1] * 4]), ("b", [[1] * 4, [1] * 4]), ("c", [[1] * 4, [2] * 4])):
        write_pair(root, "train", id, mask)
    write_pair(root, "val", "v", [[1] * 4, [0] * 4])
    (root / "map.yaml").write_text("0: void\n1: sky\n2: flat\n")
    return root


def look(root, **options):
    return explore_dataset(root, root.parent / "look", **options)


def page(root):
    return Page((root.parent / "look/index.html").read_text())


def test_what_would_go_through(root):
    found = look(root, label_map=root / "map.yaml")
    preview = found.conversion
    assert preview.decided == {
        "layout": "images and masks of the same names, in images/ and masks/",
        "splits": "train 3 in 1 shard, val 1 in 1 shard; by their folders",
        "masks": "grey values in 4; values are of the label map given",
        "images": "8-bit RGB, stored as jpeg of quality 95",
        "void": "train 16.67%, val 50.00%",
        "size": "2x4 in 4; stored as they came",
    }
    assert preview.label_rows == [
        ["value", "name", "class", "pixels %", "images"],
        ["0", "void", "void", "25.00", "2"],
        ["1", "sky", "sky", "62.50", "4"],
        ["2", "flat", "flat", "12.50", "1"],
    ]
    assert (preview.verdict, preview.bad, preview.refused) == ("would go through", [], [])
    assert preview.command.endswith(f"convert --root {root} --label-map {root}/map.yaml --out OUT")
    assert {("layout", preview.decided["layout"]), ("2", "flat", "flat", "12.50", "1")} <= {
        *map(tuple, page(root).rows)
    }


def test_its_words_are_those_of_the_conversion(root, capsys):
    preview = look(root, label_map=root / "map.yaml").conversion
    convert.main(["--root", str(root), "--label-map", str(root / "map.yaml"), "--out", str(root.parent / "out")])
    printed = capsys.readouterr().out
    for name in ("layout", "masks", "void", "size"):
        assert f"{name.ljust(6)}  {preview.decided[name]}" in printed.splitlines()
    splits = read_manifest(root.parent / "out").splits
    assert preview.decided["splits"].startswith(f"train {splits['train'].count} in {len(splits['train'].shards)} shard")


@pytest.mark.long
def test_a_proposed_label_map(root, capsys):
    (root / "classes.txt").write_text(f"void\n{EVIL}\nroad\n")
    tool.main(["--root", str(root), "--out", str(root.parent / "look"), "--workers", "1"])
    printed = capsys.readouterr().out
    assert "tfseg convert would propose a label map, and go through with it" in printed
    assert ["1", EVIL, "62.50", "4", EVIL] in page(root).rows and "script" not in page(root).tags
    assert "void is taken for void, which counts nowhere" in printed
    assert "to convert: " in printed and "--label-map" not in printed
    assert sorted(path.name for path in root.parent.iterdir()) == ["look", "raw"]  # nothing is written beside


@pytest.mark.long
def test_a_proposal_by_a_limit_looks_at_so_many_masks(root):
    preview = look(root, limit=1).conversion
    assert [row[0] for row in preview.label_rows] == ["value", "0", "1"] and preview.limit == 1
    assert "by at most 1 images of each split" in page(root).text


@pytest.mark.long
def test_bad_files_are_counted_by_kind(root, capsys):
    for id in ("x", "y"):
        write_pair(root, "train", id, [[9] * 4, [1] * 4])
    write_pair(root, "train", "z", [[0] * 4] * 2, np.zeros((3, 4, 3)))
    (root / "masks/val/w.png").write_bytes((root / "masks/val/v.png").read_bytes())
    found = look(root, label_map=root / "map.yaml")
    lacks = "mask values [9] are not in the label map, which knows [0, 1, 2]"
    assert [(kind.fault, kind.count, kind.examples) for kind in found.conversion.bad] == [
        (lacks, 2, [f"{root}/masks/train/x.png", f"{root}/masks/train/y.png"]),
        ("has no image", 1, [f"{root}/masks/val/w.png"]),
        (f"is 3x4, but its mask {root}/masks/train/z.png is 2x4", 1, [f"{root}/images/train/z.png"]),
    ]
    assert found.conversion.verdict == "would refuse 4 bad files; with --skip-bad it leaves them out"
    assert "splits  train 3 in 1 shard, val 1 in 1 shard; by their folders" in found.preview
    assert "size    2x4 in 4; stored as they came" in found.preview, "as by the conversion, which leaves x and y out"
    command = shlex.split(found.conversion.command.replace("OUT", str(root.parent / "out")))
    convert.main(command[command.index("--root") :])
    assert "bad     train 3, val 1, left out" in capsys.readouterr().out
    assert len((root.parent / "out/tfseg-skipped.jsonl").read_text().splitlines()) == 4
    statistics = json.loads((root.parent / "look/statistics.json").read_text())["conversion"]
    assert statistics["bad"][0]["count"] == 2 and statistics["verdict"] == found.conversion.verdict


def test_faults_that_differ_by_names_and_numbers_are_one_kind():
    bad = [
        Skipped("train", "a", "a.png", "m/a.png", "a.png: is 3x4, but its mask m/a.png is 2x4; make them agree"),
        Skipped("train", "b", "b.png", "m/b.png", "b.png: is 5x4, but its mask m/b.png is 6x4; make them agree"),
    ]
    assert group_faults(bad) == [
        BadKind("is 3x4, but its mask m/a.png is 2x4", "make them agree", 2, ["a.png", "b.png"])
    ]


def test_what_is_refused_in_any_case(root):
    for id, colors in (("a", (0, 0, 0, 9, 9, 9, 9, 0, 0)), ("b", (0, 0, 0, 7, 7, 7, 9, 0, 0))):
        mask = Image.fromarray(np.array([[1] * 4, [1, 1, 1, 2]], np.uint8)).convert("P")
        mask.putpalette(colors)
        write_pair(root, "train", id, mask)
    found = look(root, label_map=root / "map.yaml")
    assert found.conversion.verdict.startswith("would refuse this data set, with --skip-bad, too")
    assert "of its palette, where" in found.conversion.refused[0] and "--skip-bad" not in found.conversion.command
    assert "Refused: " in page(root).text


def test_a_split_of_which_nothing_would_be_left(root):
    write_pair(root, "val", "v", [[9] * 4, [0] * 4])
    found = look(root, label_map=root / "map.yaml").conversion
    [fault] = found.refused
    assert fault == "all 1 images of split val are bad, so that --skip-bad would leave nothing of it"
    assert found.verdict == "would refuse this data set, with --skip-bad, too" and "--skip-bad" not in found.command
    assert found.bad[0].advice == "mend or remove it"


def test_images_of_several_kinds(root):
    for index in range(30):
        write_pair(root, "train", f"x{index:02d}", [[0] * 4, [1] * 4])
    order = sorted(path.stem for path in (root / "images/train").iterdir())
    Image.fromarray(np.full((2, 4), 900, np.uint16)).save(root / f"images/train/{order[3]}.png")
    found = look(root, label_map=root / "map.yaml").conversion
    assert "the images are of several kinds: 8-bit RGB in 33" in found.refused[0]
    assert f"16-bit grey in 1 (such as {root}/images/train/{order[3]}.png)" in found.refused[0]


def test_what_is_said_of_grey_images(root):
    for path in root.glob("images/*/*.png"):
        Image.open(path).convert("L").save(path)
    [note] = look(root, label_map=root / "map.yaml").conversion.notes
    assert note == "images: 8-bit grey in 4, stored as RGB; --channels 1 stores one channel"


def test_names_of_cityscapes_with_values_of_another(tmp_path):
    root = tmp_path / "raw"
    for kind, ending, pixels in (
        ("leftImg8bit", "leftImg8bit", np.full((2, 4, 3), 9, np.uint8)),
        ("gtFine", "gtFine_labelIds", np.full((2, 4), 7, np.uint8)),
    ):
        (root / kind / "val/x").mkdir(parents=True)
        Image.fromarray(pixels).save(root / f"{kind}/val/x/x_0_{ending}.png")
    found = look(root)
    assert "hold none of the label ids 19 to 33" in found.conversion.refused[0]
    assert found.conversion.decided["layout"] == "cityscapes, by the names, in leftImg8bit/ and gtFine/"


def test_colours_and_labels(root):
    for id, color in (("a", (1, 2, 3)), ("b", (7, 8, 9)), ("c", (7, 8, 9))):
        write_pair(root, "train", id, np.full((2, 4, 3), color))
    write_pair(root, "val", "v", np.full((2, 4, 3), (7, 8, 9)))
    (root / "map.yaml").write_text("classes: {tree: [1, 2, 3], sky: [7, 8, 9]}\n")
    preview = look(root, label_map=root / "map.yaml").conversion
    assert preview.label_rows == [
        ["colour", "class", "pixels % of the class"],
        ["#010203", "tree", "25.00"],
        ["#070809", "sky", "75.00"],
    ]
    assert preview.decided["reading"] == f"by their colours, as {root}/masks/train/a.png shows"
    labels = root / "labels.json"
    image = {"id": 1, "file_name": "a.png", "width": 4, "height": 2}
    shape = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}
    labels.write_text(
        json.dumps({"images": [image], "annotations": [shape], "categories": [{"id": 1, "name": "tree"}]})
    )
    where = {"images": root / "images/train", "masks": labels, "label_map": root / "map.yaml", "val_share": 0}
    preview = explore_dataset(None, root.parent / "look", **where).conversion
    assert ["tree", "tree", "50.00"] in preview.label_rows
    assert preview.command.endswith(f"--images {root}/images/train --masks {labels} --val-share 0 --out OUT")


def test_records_have_no_preview(tiny_records, tmp_path):
    found = explore_dataset(None, tmp_path, records=tiny_records)
    assert repr(found).startswith("Exploration(files=["), "and not all the numbers"
    assert found.conversion is None and found.preview == []
