"""A raw data set on disk -> samples."""

import re

import numpy as np
import pytest

from tfseg import sources
from tfseg.labels import UNKNOWN


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def cityscapes(root, split, *ids):
    for id in ids:
        city = id.split("_")[0]
        touch(root, f"leftImg8bit/{split}/{city}/{id}_leftImg8bit.png")
        touch(root, *(f"gtFine/{split}/{city}/{id}_gtFine_{kind}" for kind in ("labelIds.png", "color.png")))


def folders(root, split, *ids):
    for id in ids:
        touch(root, f"images/{split}/{id}.jpg", f"masks/{split}/{id}.png")


@pytest.fixture
def label_map(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("0: flat\n3: sky\n200: void\n")
    return path


def test_cityscapes(tmp_path):
    cityscapes(tmp_path, "train", "ulm_000001_000019", "aachen_000000_000019")
    cityscapes(tmp_path, "val", "bonn_000000_000019")
    touch(tmp_path, "leftImg8bit/train/ulm/._ulm_000001_000019_leftImg8bit.png", "gtFine/.DS_Store")
    source = sources.open_source(tmp_path)
    assert source.name == "cityscapes"
    assert {split: [sample.id for sample in samples] for split, samples in source.splits.items()} == {
        "train": ["aachen_000000_000019", "ulm_000001_000019"],
        "val": ["bonn_000000_000019"],
    }
    sample = source.splits["val"][0]
    assert sample.image == tmp_path / "leftImg8bit/val/bonn/bonn_000000_000019_leftImg8bit.png"
    assert sample.mask == tmp_path / "gtFine/val/bonn/bonn_000000_000019_gtFine_labelIds.png"
    assert source.label_map[7] == "flat" and source.label_map[255] == "vehicle" and len(source.label_map) == 35


def test_folders(tmp_path, label_map):
    folders(tmp_path, "train", "b", "a")
    touch(tmp_path, "images/val/c.PNG", "masks/val/c.png", "images/val/notes.txt", "images/readme.txt")
    source = sources.open_source(tmp_path, None, label_map)
    assert source.name == "folders"
    assert source.label_map == {0: "flat", 3: "sky", 200: "void"}
    assert source.lookup[[0, 1, 3, 200]].tolist() == [1, UNKNOWN, 5, 0] and source.lookup.dtype == np.uint8
    assert source.splits == {
        "train": [
            ("a", tmp_path / "images/train/a.jpg", tmp_path / "masks/train/a.png"),
            ("b", tmp_path / "images/train/b.jpg", tmp_path / "masks/train/b.png"),
        ],
        "val": [("c", tmp_path / "images/val/c.PNG", tmp_path / "masks/val/c.png")],
    }


def test_takes_only_the_wanted_splits(tmp_path, label_map):
    folders(tmp_path, "train", "a")
    folders(tmp_path, "val", "b")
    touch(tmp_path, "images/broken/c.jpg")
    assert list(sources.open_source(tmp_path, ["val", "val"], label_map).splits) == ["val"]


def nothing(root):
    root.rmdir()


def pictures_only(root):
    touch(root, "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png")


def no_splits(root):
    (root / "images").mkdir()
    (root / "masks").mkdir()


def empty_split(root):
    (root / "images/train").mkdir(parents=True)
    (root / "masks/train").mkdir(parents=True)


def lost_masks(root):
    folders(root, "train", "a")
    touch(root, *(f"images/train/{id}.png" for id in "fedcb"))


def lost_picture(root):
    folders(root, "train", "a")
    touch(root, "masks/train/b.png")


def lost_mask_of_cityscapes(root):
    cityscapes(root, "train", "ulm_000001_000019", "ulm_000002_000019")
    (root / "gtFine/train/ulm/ulm_000002_000019_gtFine_labelIds.png").unlink()


def same_id_twice(root):
    folders(root, "train", "a")
    touch(root, "images/train/a.png")


def same_id_in_two_splits(root):
    folders(root, "train", "a", "b")
    folders(root, "val", "b", "c")


@pytest.mark.parametrize(
    ("make", "splits", "message"),
    [
        (nothing, None, "raw: no such folder"),
        (lambda root: None, None, "raw: expected leftImg8bit/ and gtFine/ or images/ and masks/ in it, got nothing"),
        (pictures_only, None, "raw: expected leftImg8bit/ and gtFine/ or images/ and masks/ in it, got leftImg8bit"),
        (no_splits, None, "raw: images/ holds no folder of a split, such as train/"),
        (empty_split, None, "raw: the split train is empty; expected files named *.png or *.jpg or *.jpeg"),
        (lost_picture, ["val", "test"], "raw: no split val, test; there is train"),
        (lost_masks, None, "raw: 5 of the pictures in split train have no mask: b, c, d, ...; add what is missing"),
        (lost_picture, None, "raw: 1 of the masks in split train have no picture: b; add what is missing"),
        (lost_mask_of_cityscapes, None, "raw: 1 of the pictures in split train have no mask: ulm_000002_000019; add"),
        (same_id_twice, None, "raw/images/train/a.png: has the same id, a, as "),
        (same_id_in_two_splits, None, "raw: 1 ids of split val are in split train too: b; "),
    ],
)
def test_tells_what_is_wrong(tmp_path, label_map, make, splits, message):
    root = tmp_path / "raw"
    root.mkdir()
    make(root)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)) as raised:
        sources.open_source(root, splits, None if make is lost_mask_of_cityscapes else label_map)
    assert "\n" not in str(raised.value)


def test_folders_need_a_label_map(tmp_path):
    folders(tmp_path, "train", "a")
    with pytest.raises(ValueError, match=r"its masks need a label map.* give --label-map"):
        sources.open_source(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"lost\.yaml"):
        sources.open_source(tmp_path, None, tmp_path / "lost.yaml")


def test_cityscapes_has_its_own_labels(tmp_path, label_map):
    cityscapes(tmp_path, "train", "ulm_000001_000019")
    with pytest.raises(ValueError, match=r"is a Cityscapes tree, whose labels are built in; leave .*map\.yaml out"):
        sources.open_source(tmp_path, None, label_map)
