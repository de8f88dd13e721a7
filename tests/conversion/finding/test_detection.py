"""Images and masks in two folders of any names, data sets without splits, endings that are asked for."""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pytest
from helper_files import save
from helper_layouts import touch
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg import convert, explore
from tfseg.conversion import converter, flags
from tfseg.conversion.finding import sources
from tfseg.conversion.reading.samples import Sample
from tfseg.records.record_set import open_records


@pytest.fixture
def label_map(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("0: flat\n3: sky\n200: void\n")
    return path


@pytest.fixture
def open_two(tmp_path, label_map):
    """Opens photos/ and labels/ as the folders of images and masks."""
    return lambda splits=None, **options: sources.open_source(
        None, splits, label_map, images=tmp_path / "photos", masks=tmp_path / "labels", **options
    )


def ids(source):
    return {split: [sample.id for sample in samples] for split, samples in source.splits.items()}


def refused(open_it, *arguments, **keywords):
    with pytest.raises((ValueError, OSError)) as raised:
        open_it(*arguments, **keywords)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# ---- two folders


def test_two_folders_of_any_depth(tmp_path, open_two):
    touch(tmp_path, "photos/drive1/left/1.jpg", "labels/drive1/left/1_mask.png", "photos/drive2/1.jpeg")
    touch(tmp_path, "labels/drive2/1_mask.png", "photos/2.tif", "labels/2_mask.png")
    source = open_two(val_share=0)
    assert source.splits == {
        "train": [
            Sample("2", tmp_path / "photos/2.tif", tmp_path / "labels/2_mask.png"),
            Sample("drive1_left_1", tmp_path / "photos/drive1/left/1.jpg", tmp_path / "labels/drive1/left/1_mask.png"),
            Sample("drive2_1", tmp_path / "photos/drive2/1.jpeg", tmp_path / "labels/drive2/1_mask.png"),
        ]
    }
    assert (source.name, source.root) == ("folders", tmp_path / "photos")
    assert source.folders == (str(tmp_path / "photos"), str(tmp_path / "labels"))
    assert source.notes == [
        f"{tmp_path}/photos: all masks are named *_mask, which is taken off to pair them",
        f"{tmp_path}/photos: all 3 images are train",
    ]


def test_two_folders_with_splits(tmp_path, open_two):
    touch(tmp_path, "photos/training/a/1.jpg", "labels/training/a/1.png", "photos/Validation/2.jpg")
    touch(tmp_path, "labels/Validation/2.png", "photos/night/3.jpg", "labels/night/3.png", "photos/test/4.jpg")
    source = open_two()
    assert ids(source) == {"night": ["3"], "train": ["a_1"], "val": ["2"]}
    assert source.warnings == [
        f"{tmp_path}/photos: split test has images in {tmp_path}/photos/ but no masks in {tmp_path}/labels/; "
        "it is left out"
    ]
    assert ids(open_two(["val"])) == {"val": ["2"]}
    assert "no split dusk; there is night, test, train, val" in refused(open_two, ["dusk"])


def test_a_split_without_masks_is_a_split_all_the_same(tmp_path, open_two):
    touch(tmp_path, "photos/train/1.jpg", "photos/night/2.jpg", "labels/night/2.png")
    assert ids(open_two()) == {"night": ["2"]}


def test_two_folders_in_a_store(tmp_path, label_map):
    upath = pytest.importorskip("upath")
    root = upath.UPath(f"memory://{tmp_path.name}")
    touch(root, "photos/d/1.jpg", "labels/d/1_mask.png", "photos/d/2.jpg", "labels/d/2_mask.png")
    (root / "train.txt").write_text("d/1\n")
    folders = {"images": f"{root}/photos", "masks": f"{root}/labels"}
    source = sources.open_source(None, None, label_map, **folders, split_lists={"train": f"{root}/train.txt"})
    assert source.splits == {"train": [Sample("d_1", root / "photos/d/1.jpg", root / "labels/d/1_mask.png")]}
    assert source.folders == (f"{root}/photos", f"{root}/labels")


def test_two_folders_of_cityscapes(tmp_path):
    touch(tmp_path, "left/train/ulm/ulm_1_leftImg8bit.png", "fine/train/ulm/ulm_1_gtFine_labelIds.png")
    touch(tmp_path, "fine/train/ulm/ulm_1_gtFine_color.png")
    source = sources.open_source(images=tmp_path / "left", masks=tmp_path / "fine")
    assert (source.name, source.assumed, ids(source)) == ("cityscapes", True, {"train": ["ulm_1"]})


def test_two_folders_of_names_like_those_of_cityscapes(tmp_path, open_two):
    """Of IDD, or with the train ids: no label ids of Cityscapes."""
    for name in ("0/7", "1/8"):
        touch(tmp_path, f"photos/train/{name}_leftImg8bit.png", f"labels/train/{name}_gtFine_labellevel3Ids.png")
    source = open_two()
    assert (source.name, source.assumed, ids(source)) == ("folders", False, {"train": ["0_7", "1_8"]})
    for name in ("0/7", "1/8"):
        touch(tmp_path, f"labels/train/{name}_gtFine_labelcsTrainIds.png")
    message = refused(open_two)
    assert "2 of the images have no mask" in message and "4 of the masks have no image" in message
    assert "say what their names end with by --image-suffix and --mask-suffix, if these differ" in message
    source = open_two(mask_suffix="_gtFine_labelcsTrainIds.png")
    assert [sample.mask.name for sample in source.splits["train"]] == [
        "7_gtFine_labelcsTrainIds.png",
        "8_gtFine_labelcsTrainIds.png",
    ]


def test_one_folder_for_both(tmp_path, label_map):
    touch(tmp_path, "all/a.png", "all/a_seg.png", "all/d/b.jpg", "all/d/b_seg.png")
    folders = {"images": tmp_path / "all", "masks": tmp_path / "all", "val_share": 0}
    message = refused(sources.open_source, None, None, label_map, **folders)
    assert "images and masks lie in one folder; say what the names of the masks end with by --mask-suffix" in message
    source = sources.open_source(None, None, label_map, **folders, mask_suffix="_seg")
    assert [(it.id, it.mask.name) for it in source.splits["train"]] == [("a", "a_seg.png"), ("d_b", "b_seg.png")]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({}, "expected either --root, or both --images and --masks"),
        ({"images": "photos"}, "expected either --root, or both --images and --masks"),
        ({"root": ".", "images": "photos", "masks": "labels"}, "expected either --root, or both"),
        ({"images": "lost", "masks": "labels"}, "lost: no such folder; --images names that of all images"),
        ({"images": "photos", "masks": "lost"}, "lost: no such folder; --masks names that of all masks"),
        ({"images": "photos", "masks": "labels", "coarse": True}, "--coarse is for --root; --masks names"),
        ({"images": "photos", "masks": "labels", "layout": "voc"}, "--layout is for --root; --masks names"),
        ({"images": "photos", "masks": "labels", "val_share": 0}, "photos: no file is named *.png (or .jpg"),
    ],
)
def test_folders_that_cannot_be(tmp_path, monkeypatch, label_map, folders, message):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "photos/readme.txt", "labels/readme.txt")
    assert message in refused(sources.open_source, label_map=label_map, **folders)


# ---- pairs


def test_what_lacks_its_partner_is_named_with_its_ending(tmp_path, open_two):
    touch(tmp_path, *(f"photos/{name}.jpg" for name in "abc"), *(f"labels/{name}_L.png" for name in "abd"))
    message = refused(open_two, val_share=0)
    assert (
        "1 of the images have no mask *_L.png (or .bmp, .tif, .tiff, .webp): c; 1 of the masks have no image" in message
    )


def test_two_masks_of_one_image(tmp_path, open_two):
    touch(tmp_path, "photos/a.jpg", "labels/a.png", "labels/a_mask.png")
    message = refused(open_two, val_share=0)
    both = f"{tmp_path}/labels/a.png and {tmp_path}/labels/a_mask.png could both be the mask of {tmp_path}/photos/a.jpg"
    assert f"{both}, --mask-suffix chooses" in message
    source = open_two(val_share=0, mask_suffix="_mask")
    assert source.splits["train"][0].mask.name == "a_mask.png"
    assert source.warnings == [
        f"{tmp_path}/photos: left out 1 not named *_mask.png in {tmp_path}/labels/, such as {tmp_path}/labels/a.png"
    ]
    touch(tmp_path, "labels/a.tif")
    assert "labels/a.tif: has the same id, a, as " in refused(open_two, val_share=0)
    assert open_two(val_share=0, mask_suffix=".tif").splits["train"][0].mask.name == "a.tif"


def test_endings_that_are_asked_for(tmp_path, open_two):
    touch(tmp_path, "photos/a_rgb.png", "photos/a_depth.png", "labels/a_class.png", "labels/a_instance.png")
    assert "2 of the images have no mask" in refused(open_two, val_share=0)
    source = open_two(val_share=0, image_suffix="_rgb.png", mask_suffix="_class")
    assert [(it.id, it.image.name, it.mask.name) for it in source.splits["train"]] == [
        ("a", "a_rgb.png", "a_class.png")
    ]
    assert "--mask-suffix: expected an ending of files of the kind .png, .bmp" in refused(open_two, mask_suffix="a.jpg")
    assert "expected the ending of the names of files" in refused(open_two, image_suffix="d/a")


NAMES = st.tuples(st.sampled_from(["", "d/", "d/e/", "d_e/"]), st.sampled_from(["a", "b", "e_a", "a_m", "b_m"]))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.sets(NAMES, min_size=1, max_size=5), st.sets(NAMES, min_size=1, max_size=5), st.sampled_from(["", "_L"]))
def test_every_file_is_taken_left_out_or_refused(images, masks, ending):
    """Whatever lies there: nothing is lost without a word, no file is taken twice, and no two images have one id."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        touch(root, *(f"photos/{way}{name}.jpg" for way, name in images))
        touch(root, *(f"labels/{way}{name}{ending}.png" for way, name in masks))
        (root / "map.yaml").write_text("0: flat\n1: sky\n")
        try:
            folders = {"images": root / "photos", "masks": root / "labels"}
            source = sources.open_source(None, None, root / "map.yaml", **folders, val_share=0)
        except ValueError as error:
            assert str(error).startswith(str(root)) and "\n" not in str(error)
            return
        samples = source.splits["train"]
        left_out = source.left_out.get("", {})
        for half, files in (("photos", {sample.image for sample in samples}), ("labels", {it.mask for it in samples})):
            passed = sum(count for reason, count in left_out.items() if reason.endswith(f"{half}/"))
            assert len(files) == len(samples) and len(files) + passed == len(images if half == "photos" else masks)
        assert len({sample.id for sample in samples}) == len(samples)
        for sample in samples:
            image = sample.image.relative_to(root / "photos").with_suffix("")
            mask = sample.mask.relative_to(root / "labels").with_suffix("")
            assert image.parent == mask.parent and (
                mask.name.startswith(image.name) or mask.name.removesuffix("_L").endswith(image.name)
            )


# ---- which split


def test_nothing_says_which_split(tmp_path, label_map, open_two):
    touch(tmp_path, "photos/a.jpg", "labels/a.png", "raw/images/a.jpg", "raw/masks/a.png")
    photos, labels = tmp_path / "photos", tmp_path / "labels"
    assert refused(open_two) == (
        f"{photos}: nothing says which split its 1 images belong to; part them by --val-share 0.1 (or 0: all become "
        "train), or name them in lists by --split train=train.txt --split val=val.txt, or move them into folders: "
        f"mkdir {photos}/train {photos}/val {labels}/train {labels}/val"
    )
    message = refused(sources.open_source, tmp_path / "raw", None, label_map)
    assert message.endswith("mkdir images/train images/val masks/train masks/val")


def test_folders_are_splits_unless_they_are_parted(tmp_path, label_map):
    for drive in ("drive1", "drive2"):
        touch(tmp_path, f"images/{drive}/a.jpg", f"masks/{drive}/a.png", f"images/{drive}/b_{drive}.jpg")
        touch(tmp_path, f"masks/{drive}/b_{drive}.png")
    source = sources.open_source(tmp_path, None, label_map)
    assert ids(source) == {
        "drive1": ["drive1/a", "drive1/b_drive1"],
        "drive2": ["drive2/a", "drive2/b_drive2"],
    }
    (warning,) = source.warnings
    assert "1 names are those of several images, such as a: the ids of all are their paths; look whether" in warning
    assert ids(sources.open_source(tmp_path, ["drive1"], label_map)) == {"drive1": ["a", "b_drive1"]}
    source = sources.open_source(tmp_path, None, label_map, val_share=0)
    assert ids(source) == {"train": ["drive1_a", "drive1_b_drive1", "drive2_a", "drive2_b_drive2"]}
    assert source.warnings == []


def test_shares_of_a_data_set_with_splits(tmp_path, label_map):
    touch(tmp_path, *(f"{kind}/train/{number:03d}.png" for kind in ("images", "masks") for number in range(40)))
    source = sources.open_source(tmp_path, None, label_map, val_share=0.2)
    assert {split: len(samples) for split, samples in source.splits.items()} == {"train": 31, "val": 9}
    assert ids(sources.open_source(tmp_path, ["val"], label_map, val_share=0.2)) == {"val": ids(source)["val"]}
    message = refused(sources.open_source, tmp_path, ["test"], label_map, val_share=0.2)
    assert "no split test; there is train, val" in message
    touch(tmp_path, "images/val/a.png", "masks/val/a.png")
    message = refused(sources.open_source, tmp_path, None, label_map, val_share=0.2)
    assert "has the splits train, val; --val-share parts images without folders of splits" in message


def test_lists_come_before_folders(tmp_path, label_map):
    touch(tmp_path, *(f"{kind}/{name}.png" for kind in ("images", "masks") for name in ("train/a", "train/b", "val/a")))
    (tmp_path / "mine.txt").write_text("train/a\nval/a\nlost\n")
    source = sources.open_source(tmp_path, None, label_map, split_lists={"mine": tmp_path / "mine.txt"})
    assert ids(source) == {"mine": ["train/a", "val/a"]}
    assert source.warnings[:2] == [
        f"{tmp_path}/mine.txt: 1 of the 3 lines are no image with a mask: lost",
        f"{tmp_path}: 1 of 3 images are in no list: train/b; they are left out",
    ]


def test_additions_move_no_image_though_its_id_changes(tmp_path, open_two):
    touch(tmp_path, *(f"{kind}/a_b/{number}.png" for kind in ("photos", "labels") for number in range(20)))
    before = {sample.image: split for split, own in open_two(val_share=0.5).splits.items() for sample in own}
    touch(tmp_path, *(f"{kind}/a/b_{number}.png" for kind in ("photos", "labels") for number in range(20)))
    source = open_two(val_share=0.5)
    after = {sample.image: split for split, own in source.splits.items() for sample in own}
    assert after.items() > before.items()
    assert {sample.id for own in source.splits.values() for sample in own} >= {"a_b/0", "a/b_0"}


# ---- the commands


@pytest.fixture
def written(tmp_path):
    """Photos of 3 drives with masks, 4 of each."""
    for drive in range(3):
        for number in range(4):
            save(tmp_path / f"photos/d{drive}/{number}.png", np.full((2, 4, 3), 40 * drive, np.uint8))
            save(tmp_path / f"labels/d{drive}/{number}_L.png", np.full((2, 4), (0, 3, 3, 200), np.uint8))
    return tmp_path


def flags_of(root):
    return ["--images", str(root / "photos"), "--masks", str(root / "labels"), "--label-map", str(root / "map.yaml")]


def test_convert(written, label_map, capsys):
    options = [
        "--val-share",
        "0.4",
        "--group-by",
        "^[^/]+",
        "--seed",
        "1",
        "--workers",
        "1",
        "--out",
        str(written / "out"),
    ]
    convert.main([*flags_of(written), *options])
    records = open_records(written / "out")
    drives = {split: {id.split("_")[0] for id in own.ids} for split, own in records.manifest.splits.items()}
    assert drives == {"train": {"d0", "d2"}, "val": {"d1"}}
    printed = capsys.readouterr().out
    assert "photos: all masks are named *_L, which is taken off to pair them" in printed
    assert "photos: 8 train, 4 val of 3 groups, by a hash of the group and seed 1" in printed


def test_convert_by_lists(written, label_map):
    (written / "a.txt").write_text("d0/0.png\nd1/0\n")
    (written / "b.txt").write_text("d2_3\n")
    lists = ["--split", f"train={written / 'a.txt'}", "--split", f"val={written / 'b.txt'}"]
    convert.main([*flags_of(written), *lists, "--workers", "1", "--out", str(written / "out")])
    splits = open_records(written / "out").manifest.splits
    assert {split: sorted(own.ids) for split, own in splits.items()} == {"train": ["d0_0", "d1_0"], "val": ["d2_3"]}


def test_ids_that_are_paths_are_stored(written, label_map):
    for number in range(4):
        (written / f"photos/d0/{number}.png").rename(written / f"photos/d1/0_{number}.png")
        (written / f"labels/d0/{number}_L.png").rename(written / f"labels/d1/0_{number}_L.png")
    save(written / "photos/d1_0/1.png", np.zeros((2, 4, 3), np.uint8))
    save(written / "labels/d1_0/1_L.png", np.zeros((2, 4), np.uint8))
    records = converter.convert_dataset(
        None,
        written / "out",
        images=written / "photos",
        masks=written / "labels",
        label_map=label_map,
        val_share=0,
        warn=lambda text: None,
    )
    assert {"d1_0/1", "d1/0_1", "d2/3"} < {*records.manifest.splits["train"].ids}


def test_explore(written, label_map, capsys):
    explore.main([*flags_of(written), "--val-share", "0", "--workers", "1", "--out", str(written / "look")])
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()][1] == ["train", "12"]


@pytest.mark.parametrize("verb", [convert, explore])
def test_a_data_set_must_be_named(verb, capsys):
    with pytest.raises(SystemExit):
        verb.main(["--out", "out"])
    assert "--root" in capsys.readouterr().err


def test_records_hold_their_splits(capsys):
    with pytest.raises(SystemExit):
        explore.main(["--records", "a", "--out", "b", "--val-share", "0"])
    assert "is not asked of records, which hold their splits" in capsys.readouterr().err


def test_flags_of_lists():
    parser = argparse.ArgumentParser()
    flags.add_source_flags(parser)
    options = parser.parse_args(["--split", "train=a=b.txt", "--split", "val=c"])
    assert flags.read_source_flags(options)["split_lists"] == {"train": "a=b.txt", "val": "c"}
    options = parser.parse_args(["--split", "train=a", "--split", "train=b"])
    with pytest.raises(ValueError, match="--split: train has two lists, a and b; put them into one file"):
        flags.read_source_flags(options)
    with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=FILE"):
        flags.parse_list("train")


def test_a_layout_that_there_is_not(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match=r"--layout labelm: there is none of that name; layouts are .*, labelme"):
        sources.open_source(tmp_path, None, "camvid", layout="labelm")
