"""A raw data set on disk -> samples."""

import os
import unicodedata

import numpy as np
import pytest
from helper_layouts import touch

from tfseg.conversion.finding import sources
from tfseg.conversion.reading.samples import Sample
from tfseg.records import labels
from tfseg.records.labels import UNKNOWN

IMAGES = "*.png (or .jpg, .jpeg, .bmp, .tif, .tiff, .webp)"
MASKS = "*.png (or .bmp, .tif, .tiff, .webp)"


def cityscapes(root, split, *ids):
    for id in ids:
        city = id.split("_")[0]
        touch(root, f"leftImg8bit/{split}/{city}/{id}_leftImg8bit.png")
        touch(root, *(f"gtFine/{split}/{city}/{id}_gtFine_{kind}" for kind in ("labelIds.png", "color.png")))


def renamed(root, split, *ids):
    """The files of Cityscapes in the folders images/ and masks/."""
    touch(root, *(f"images/{split}/{id}_leftImg8bit.png" for id in ids))
    touch(root, *(f"masks/{split}/{id}_gtFine_labelIds.png" for id in ids))


def coarse(root, split, *ids):
    for id in ids:
        city = id.split("_")[0]
        touch(root, f"leftImg8bit/{split}/{city}/{id}_leftImg8bit.png")
        touch(root, f"gtCoarse/{split}/{city}/{id}_gtCoarse_labelIds.png")


def folders(root, split, *ids):
    for id in ids:
        touch(root, f"images/{split}/{id}.jpg", f"masks/{split}/{id}.png")


def ids(source):
    return {split: [sample.id for sample in samples] for split, samples in source.splits.items()}


def refused(root, *arguments, **keywords):
    """The message of an error, which must be one line and begin with the path of the data set or a file in it."""
    with pytest.raises((ValueError, OSError)) as raised:
        sources.open_source(root, *arguments, **keywords)
    message = str(raised.value)
    assert message.startswith(str(root)) and "\n" not in message
    return message


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
    assert ids(source) == {"train": ["aachen_000000_000019", "ulm_000001_000019"], "val": ["bonn_000000_000019"]}
    sample = source.splits["val"][0]
    assert sample.image == tmp_path / "leftImg8bit/val/bonn/bonn_000000_000019_leftImg8bit.png"
    assert sample.mask == tmp_path / "gtFine/val/bonn/bonn_000000_000019_gtFine_labelIds.png"
    assert source.label_map.names[7] == "flat" and source.label_map.names[255] == "void"
    assert len(source.label_map.names) == 35


def test_folders(tmp_path, label_map):
    folders(tmp_path, "train", "b", "a")
    touch(tmp_path, "images/val/c.PNG", "masks/val/c.png", "images/val/notes.txt", "images/readme.txt")
    source = sources.open_source(tmp_path, None, label_map)
    assert source.name == "folders"
    assert source.label_map.names == {0: "flat", 3: "sky", 200: "void"}
    lookup = source.label_map.lookup
    assert lookup[[0, 1, 3, 200]].tolist() == [1, UNKNOWN, 5, 0] and lookup.dtype == np.uint8
    assert source.splits == {
        "train": [
            Sample("a", tmp_path / "images/train/a.jpg", tmp_path / "masks/train/a.png"),
            Sample("b", tmp_path / "images/train/b.jpg", tmp_path / "masks/train/b.png"),
        ],
        "val": [Sample("c", tmp_path / "images/val/c.PNG", tmp_path / "masks/val/c.png")],
    }
    assert source.warnings == []


@pytest.mark.parametrize(("image_folder", "city"), [("images", ""), ("images", "ulm/"), ("leftImg8bit", "ulm/")])
@pytest.mark.parametrize("mask_folder", ["masks", "gtFine"])
def test_cityscapes_in_renamed_folders(tmp_path, image_folder, mask_folder, city):
    for split, id in (("train", "ulm_000001_000019"), ("val", "ulm_000002_000019")):
        touch(tmp_path, f"{image_folder}/{split}/{city}{id}_leftImg8bit.PNG")
        touch(
            tmp_path, f"{mask_folder}/{split}/{id}_gtFine_labelIds.png", f"{mask_folder}/{split}/{id}_gtFine_color.png"
        )
    source = sources.open_source(tmp_path)
    assert source.name == "cityscapes" and len(source.label_map.names) == 35
    assert source.splits["val"] == [
        Sample(
            "ulm_000002_000019",
            tmp_path / image_folder / f"val/{city}ulm_000002_000019_leftImg8bit.PNG",
            tmp_path / mask_folder / "val/ulm_000002_000019_gtFine_labelIds.png",
        )
    ]


def test_unpacked_tree_comes_before_copies_in_other_folders(tmp_path, label_map):
    cityscapes(tmp_path, "train", "ulm_000001_000019")
    folders(tmp_path, "train", "ulm_000001_000019")
    assert sources.open_source(tmp_path).splits["train"][0].image.parts[-4] == "leftImg8bit"


def test_renamed_cityscapes_needs_no_label_map(tmp_path):
    renamed(tmp_path, "train", "ulm_000001_000019")
    assert sources.open_source(tmp_path).label_map is labels.CITYSCAPES["categories"]
    assert "no split vall; there is train" in refused(tmp_path, ["vall"])


def test_either_name_tells_cityscapes(tmp_path):
    touch(tmp_path, "a/images/train/ulm.png", "a/masks/train/ulm_gtFine_labelIds.png")
    assert "1 of the masks have no image *_leftImg8bit.png: train/ulm; add" in refused(tmp_path / "a")
    touch(tmp_path, "b/images/train/ulm_leftImg8bit.png", "b/masks/train/ulm.png")
    assert "1 of the images have no mask *_gtFine_labelIds.png: train/ulm; add" in refused(tmp_path / "b")


def test_folders_below_a_plain_split_are_not_looked_into(tmp_path, label_map):
    folders(tmp_path, "train", "a")
    touch(tmp_path, "masks/train/drawn/a.png")
    assert ids(sources.open_source(tmp_path, None, label_map)) == {"train": ["a"]}


def test_coarse_masks(tmp_path):
    cityscapes(tmp_path, "train", "ulm_000001_000019")
    cityscapes(tmp_path, "test", "bonn_000001_000019")
    coarse(tmp_path, "train", "ulm_000001_000019")
    coarse(tmp_path, "train_extra", "bayreuth_000001_000019", "bayreuth_000002_000019")
    fine, rough = sources.open_source(tmp_path), sources.open_source(tmp_path, coarse=True)
    assert ids(fine) == {"test": ["bonn_000001_000019"], "train": ["ulm_000001_000019"]}
    assert fine.splits["train"][0].mask.name == "ulm_000001_000019_gtFine_labelIds.png"
    assert ids(rough) == {
        "train": ["ulm_000001_000019"],
        "train_extra": ["bayreuth_000001_000019", "bayreuth_000002_000019"],
    }
    assert rough.splits["train"][0].mask == tmp_path / "gtCoarse/train/ulm/ulm_000001_000019_gtCoarse_labelIds.png"
    assert rough.name == "cityscapes_coarse" and rough.label_map is fine.label_map
    left_out = "has images in leftImg8bit/ but no masks in {}/; it is left out"
    assert fine.warnings[0] == f"{tmp_path}: split train_extra {left_out.format('gtFine')}"
    assert rough.warnings[0] == f"{tmp_path}: split test {left_out.format('gtCoarse')}"
    assert [warning.split(", ")[-1] for warning in rough.warnings[1:]] == [
        "in Cityscapes it has 2975",
        "in Cityscapes it has 19998",
    ]


def test_tells_that_there_are_no_coarse_masks(tmp_path, label_map):
    cityscapes(tmp_path / "fine", "train", "ulm_000001_000019")
    folders(tmp_path / "plain", "train", "a")
    coarse(tmp_path / "coarse", "train", "ulm_000001_000019")
    expected = "expected leftImg8bit/ and gtCoarse/ or images/ and gtCoarse/ in it, got"
    assert f"{expected} gtFine, leftImg8bit; only Cityscapes has coarse masks" in refused(
        tmp_path / "fine", coarse=True
    )
    assert f"{expected} images, masks; only" in refused(tmp_path / "plain", None, label_map, coarse=True)
    assert "got gtCoarse, leftImg8bit; --coarse takes the masks of gtCoarse/" in refused(tmp_path / "coarse")


def test_takes_only_the_wanted_splits(tmp_path, label_map):
    folders(tmp_path, "train", "a")
    folders(tmp_path, "val", "b")
    touch(tmp_path, "images/broken/c.jpg")
    assert list(sources.open_source(tmp_path, ["val", "val"], label_map).splits) == ["val"]


def test_leaves_out_half_a_split_unless_it_is_wanted(tmp_path, label_map):
    folders(tmp_path, "train", "a")
    touch(tmp_path, "images/test/b.jpg", "masks/val/c.png", "images/val/.DS_Store")
    (tmp_path / "images/spare").mkdir()
    source = sources.open_source(tmp_path, None, label_map)
    assert ids(source) == {"train": ["a"]}
    assert source.warnings == [
        f"{tmp_path}: the split spare is empty; expected files named {IMAGES}; it is left out",
        f"{tmp_path}: split test has images in images/ but no masks in masks/; it is left out",
        f"{tmp_path}: split val has masks in masks/ but no images in images/; it is left out",
    ]
    assert sources.open_source(tmp_path, ["train"], label_map).warnings == []
    for split in ("test", "val", "spare"):
        assert f"split {split} " in refused(tmp_path, ["train", split], label_map)
    (tmp_path / "masks/train/a.png").unlink()
    assert "split test has images in images/ but no masks in masks/; split train has" in refused(
        tmp_path, None, label_map
    )


def test_empty_city_folders_are_no_masks(tmp_path):
    cityscapes(tmp_path, "train", "ulm_000001_000019")
    touch(tmp_path, "leftImg8bit/test/bonn/bonn_000001_000019_leftImg8bit.png", "gtFine/test/bonn/Thumbs.db")
    assert ids(sources.open_source(tmp_path)) == {"train": ["ulm_000001_000019"]}


# ---- the number of images


def test_warns_of_an_odd_number_of_images(tmp_path):
    renamed(tmp_path, "train", *(f"ulm_{index:06d}_000019" for index in range(2974)))
    renamed(tmp_path, "val", *(f"bonn_{index:06d}_000019" for index in range(500)))
    renamed(tmp_path, "extra", "jena_000000_000019")
    assert sources.open_source(tmp_path).warnings == [
        f"{tmp_path}: split train has 2974 images, in Cityscapes it has 2975; "
        "a known accident: one file was lost by an incomplete download or unpacking"
    ]
    assert sources.open_source(tmp_path, ["val"]).warnings == []
    renamed(tmp_path, "train", "ulm_002974_000019")
    renamed(tmp_path, "val", "bonn_000500_000019")
    renamed(tmp_path, "test", "jena_000001_000019")
    assert sources.open_source(tmp_path).warnings == [
        f"{tmp_path}: split test has 1 images, in Cityscapes it has 1525",
        f"{tmp_path}: split val has 501 images, in Cityscapes it has 500",
    ]
    touch(tmp_path, "sample_city.json")
    assert sources.open_source(tmp_path).warnings == []


# ---- what is wrong


def nothing(root):
    root.rmdir()


def images_only(root):
    touch(root, "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png")


def no_splits(root):
    (root / "images").mkdir()
    (root / "masks").mkdir()


def empty_split(root):
    (root / "images/train").mkdir(parents=True)
    (root / "masks/train").mkdir(parents=True)


def no_masks_at_all(root):
    images_only(root)
    (root / "gtFine/train/ulm").mkdir(parents=True)


def wrong_names(root):
    touch(root, "leftImg8bit/train/ulm/ulm_000001_000019.png", "gtFine/train/ulm/ulm_000001_000019_gtFine_color.png")


def lost_on_both_sides(root):
    folders(root, "train", "a")
    folders(root, "val", "b")
    touch(root, *(f"images/train/x{index:02d}.png" for index in range(11)), "images/val/y.png")
    touch(root, "masks/train/z.png", "masks/val/z.png")


def lost_mask_of_cityscapes(root):
    cityscapes(root, "train", "ulm_000001_000019", "ulm_000002_000019")
    for path in (root / "gtFine/train/ulm").glob("ulm_000002*"):
        path.unlink()


def lost_image_of_cityscapes(root):
    cityscapes(root, "train", "ulm_000001_000019", "ulm_000002_000019")
    (root / "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png").unlink()


def same_id_twice(root):
    folders(root, "train", "a")
    touch(root, "images/train/a.png")


def same_city_in_two_splits(root):
    cityscapes(root, "train", "ulm_000001_000019")
    cityscapes(root, "val", "ulm_000001_000019", "ulm_000002_000019")


@pytest.mark.parametrize(
    ("make", "splits", "message"),
    [
        (nothing, None, "raw: no such folder"),
        (lambda root: None, None, "raw: expected leftImg8bit/ and gtFine/ or images/ and masks/ in it, got nothing"),
        (images_only, None, "raw: expected leftImg8bit/ and gtFine/ or images/ and masks/ in it, got leftImg8bit"),
        (no_splits, None, "raw: images/ holds no folder of a split, such as train/"),
        (empty_split, None, f"raw: the split train is empty; expected files named {IMAGES}"),
        (no_masks_at_all, None, "raw: split train has images in leftImg8bit/ but no masks in gtFine/; add what is"),
        (wrong_names, None, "raw: no file of split train is named *_leftImg8bit.png or *_gtFine_labelIds.png"),
        (same_id_twice, ["val", "test"], "raw: no split val, test; there is train"),
        (
            lost_on_both_sides,
            None,
            f"raw: 12 of the images have no mask {MASKS}: train/x00, train/x01, train/x02, train/x03, train/x04, "
            "train/x05, train/x06, train/x07, train/x08, train/x09, ...; "
            f"2 of the masks have no image {IMAGES}: train/z, val/z; add what is missing",
        ),
        (lost_on_both_sides, ["val"], f"raw: 1 of the images have no mask {MASKS}: val/y; 1 of the masks have no"),
        (
            lost_mask_of_cityscapes,
            None,
            "raw: 1 of the images have no mask *_gtFine_labelIds.png: train/ulm_000002_000019; add what is missing",
        ),
        (
            lost_image_of_cityscapes,
            None,
            "raw: 1 of the masks have no image *_leftImg8bit.png: train/ulm_000001_000019; add what is missing",
        ),
        (same_id_twice, None, "raw/images/train/a.png: has the same id, a, as "),
        (same_city_in_two_splits, None, "raw: 1 ids of split val are in split train too: ulm_000001_000019; the names"),
    ],
)
def test_tells_what_is_wrong(tmp_path, label_map, make, splits, message):
    root = tmp_path / "raw"
    root.mkdir()
    make(root)
    assert message in refused(root, splits, None if (root / "gtFine").is_dir() else label_map)


@pytest.mark.parametrize(
    ("kinds", "named", "meaning"),
    [
        (["labelTrainIds.png", "color.png", "polygons.json"], "labelTrainIds", "holds the 19 train ids, from which"),
        (["instanceTrainIds.png"], "instanceTrainIds", "numbers single objects"),
        (["color.png", "instanceIds.png"], "instanceIds", "numbers single objects"),
        (["polygons.json", "color.png"], "color", "holds colours to look at"),
        (["polygons.json"], "polygons", "holds the polygons that masks are drawn from"),
    ],
)
def test_names_the_kind_of_a_wrong_mask(tmp_path, label_map, kinds, named, meaning):
    cityscapes(tmp_path / "a", "train", "ulm_000001_000019")
    touch(tmp_path, "a/leftImg8bit/train/ulm/ulm_000002_000019_leftImg8bit.png")
    touch(tmp_path, *(f"a/gtFine/train/ulm/ulm_000002_000019_gtFine_{kind}" for kind in kinds))
    file = next(kind for kind in kinds if kind.startswith(f"{named}."))
    message = refused(tmp_path / "a")
    assert "1 of the images have no mask *_gtFine_labelIds.png: train/ulm_000002_000019; " in message
    path = tmp_path / "a/gtFine/train/ulm" / f"ulm_000002_000019_gtFine_{file}"
    assert f"{path} is of the kind {named}, which {meaning}" in message
    advice = "are drawn from *_polygons.json by `python -m cityscapesscripts.preparation.json2labelImg`; add"
    assert ("--layout cityscapes_polygons draws them; add" if named == "polygons" else advice) in message
    touch(tmp_path, "b/images/train/a.jpg", *(f"b/masks/train/a_{kind}" for kind in kinds))
    path = tmp_path / "b/masks/train" / f"a_{file}"
    message = refused(tmp_path / "b", None, label_map)
    assert f"{path} is of the kind {named}, which {meaning}" in message
    assert "; move such files out of masks/; add" in message


def test_a_wrong_mask_beside_the_right_one(tmp_path, label_map):
    cityscapes(tmp_path / "a", "train", "ulm_000001_000019")
    for kind in ("instanceIds.png", "labelTrainIds.png", "instanceTrainIds.png", "polygons.json"):
        touch(tmp_path, f"a/gtFine/train/ulm/ulm_000001_000019_gtFine_{kind}")
    assert ids(sources.open_source(tmp_path / "a")) == {"train": ["ulm_000001_000019"]}
    folders(tmp_path / "b", "train", "a")
    touch(tmp_path, "b/masks/train/a_color.png")
    assert "masks/train/a_color.png is of the kind color" in refused(tmp_path / "b", None, label_map)
    folders(tmp_path / "c", "train", "a_color")  # the name of the image too
    assert ids(sources.open_source(tmp_path / "c", None, label_map)) == {"train": ["a_color"]}


def test_all_train_ids_are_no_missing_split(tmp_path):
    touch(tmp_path, "images/train/ulm_000001_000019_leftImg8bit.png")
    touch(tmp_path, "masks/train/ulm_000001_000019_gtFine_labelTrainIds.png")
    assert "labelTrainIds.png is of the kind labelTrainIds, which holds" in refused(tmp_path)


# ---- odd disks


def test_spaces_and_foreign_letters(tmp_path, label_map):
    root = tmp_path / "größere Straße [1]"
    whole, apart = (unicodedata.normalize(form, "Zürich 東京") for form in ("NFC", "NFD"))
    touch(root, f"images/train/{apart}.jpg", f"masks/train/{whole}.png")
    assert ids(sources.open_source(root, None, label_map)) == {"train": [whole]}
    touch(root, f"images/train/{whole}.jpg")
    assert f"has the same id, {whole}, as " in refused(root, None, label_map)


def link(root, place, target):
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).symlink_to(root / target)


@pytest.fixture
def linked(tmp_path):
    """A Cityscapes tree put together of links: the root, a split, a city and a file."""
    cityscapes(tmp_path / "disk", "any", "ulm_000001_000019", "bonn_000001_000019", "jena_000001_000019")
    for folder, ending in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
        link(tmp_path, f"tree/{folder}/val", f"disk/{folder}/any")
        (tmp_path / "disk" / folder / "any/jena").rename(tmp_path / "disk" / folder / "jena")
        link(tmp_path, f"tree/{folder}/train/jena", f"disk/{folder}/jena")
        name = f"ulm_000002_000019_{ending}.png"
        link(tmp_path, f"tree/{folder}/train/ulm/{name}", f"disk/{folder}/any/ulm/{name.replace('_000002', '_000001')}")
    link(tmp_path, "root", "tree")
    return tmp_path / "root"


def test_follows_links(linked):
    source = sources.open_source(linked)
    assert ids(source) == {
        "train": ["jena_000001_000019", "ulm_000002_000019"],
        "val": ["bonn_000001_000019", "ulm_000001_000019"],
    }
    assert source.splits["train"][0].image.is_relative_to(linked)
    assert all(sample.image.is_file() and sample.mask.is_file() for sample in source.splits["train"])


@pytest.mark.parametrize(
    ("target", "broken"),
    [
        ("tree", ""),
        ("disk/gtFine/any", "gtFine/val"),
        ("disk/leftImg8bit/jena", "leftImg8bit/train/jena"),
        (
            "disk/gtFine/any/ulm/ulm_000001_000019_gtFine_labelIds.png",
            "gtFine/train/ulm/ulm_000002_000019_gtFine_labelIds.png",
        ),
    ],
)
def test_refuses_a_link_to_nowhere(linked, target, broken):
    target = linked.parent / target
    target.rename(target.with_name("moved"))
    assert f"{linked / broken}: is a link to {linked.parent}" in refused(linked)


def test_a_link_to_nowhere_that_is_not_needed(linked, label_map):
    folders(linked / "plain", "train", "a")
    link(linked, "plain/images/val", "lost")
    assert ids(sources.open_source(linked / "plain", ["train"], label_map)) == {"train": ["a"]}
    link(linked, "leftImg8bit/demoVideo", "lost")
    link(linked, "gtFine/train/ulm/ulm_000002_000019_gtFine_color.png", "lost")
    assert list(sources.open_source(linked, ["val", "train"]).splits) == ["val", "train"]
    assert "leftImg8bit/demoVideo: is a link to" in refused(linked)
    (linked / "gtFine").rename(linked / "moved")
    link(linked, "gtFine", "lost")
    assert f"{linked / 'gtFine'}: is a link to {linked / 'lost'}, which is not there; mend or" in refused(linked)


def test_refuses_a_closed_folder(tmp_path):
    cityscapes(tmp_path, "train", "ulm_000001_000019", "bonn_000001_000019")
    for folder in ("leftImg8bit", "gtFine"):
        (tmp_path / folder / "train/ulm").chmod(0)
    if os.access(tmp_path / "gtFine/train/ulm", os.R_OK):
        pytest.skip("nothing is closed to this user")
    with pytest.raises(PermissionError, match="leftImg8bit/train/ulm"):
        sources.open_source(tmp_path)


def test_a_store_is_read_as_a_disk_is(tmp_path, label_map):
    upath = pytest.importorskip("upath")
    root = upath.UPath(f"memory://{tmp_path.name} [1]")
    cityscapes(root / "fine", "train", "ulm_000001_000019")
    cityscapes(root / "fine", "train/ulm", "ulm_000009_000019")  # a folder too deep
    renamed(root / "renamed", "val", "ulm_000002_000019")
    coarse(root / "fine", "train_extra", "bayreuth_000001_000019")
    folders(root / "plain", "train", "a")
    fine = sources.open_source(f"{root}/fine")
    assert ids(fine) == {"train": ["ulm_000001_000019"]}
    assert fine.splits["train"][0].mask == root / "fine/gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png"
    assert f"{root}/fine: split train_extra has images" in fine.warnings[0]
    assert ids(sources.open_source(root / "fine", coarse=True)) == {"train_extra": ["bayreuth_000001_000019"]}
    assert ids(sources.open_source(f"{root}/renamed")) == {"val": ["ulm_000002_000019"]}
    assert sources.open_source(f"{root}/plain", None, label_map).splits == {
        "train": [Sample("a", root / "plain/images/train/a.jpg", root / "plain/masks/train/a.png")]
    }
    touch(root, "plain/masks/train/b.png")
    assert "1 of the masks have no image" in refused(root / "plain", None, label_map)
    assert refused(root / "lost").endswith("lost: no such folder")


def test_folders_need_a_label_map(tmp_path):
    folders(tmp_path, "train", "a")
    with pytest.raises(ValueError, match=r"its masks need a label map.* give --label-map"):
        sources.open_source(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"lost\.yaml"):
        sources.open_source(tmp_path, None, tmp_path / "lost.yaml")


def test_classes_of_cityscapes(tmp_path, label_map):
    cityscapes(tmp_path / "city", "train", "ulm_000001_000019")
    folders(tmp_path / "plain", "train", "a")
    assert sources.open_source(tmp_path / "city", None, "train_ids").label_map is labels.CITYSCAPES["train_ids"]
    assert sources.open_source(tmp_path / "city", None, label_map).label_map.names == {0: "flat", 3: "sky", 200: "void"}
    assert "its masks need a label map" in refused(tmp_path / "plain", None, "train_ids")


# ---- what is not taken


def test_folders_below_a_split_that_both_have(tmp_path, label_map):
    for way in ("", "seq/", "seq/0001/"):
        touch(tmp_path, f"images/train/{way}000.jpg", f"masks/train/{way}000.png")
    source = sources.open_source(tmp_path, None, label_map)
    assert ids(source) == {"train": ["000", "seq_000", "seq_0001_000"]}
    assert source.splits["train"][2].mask == tmp_path / "masks/train/seq/0001/000.png"
    assert source.warnings == [] and source.left_out == {}
    touch(tmp_path, "images/train/000.png")
    assert "images/train/000.png: has the same id, 000, as " in refused(tmp_path, None, label_map)


def test_warns_once_a_split_of_what_it_leaves_out(tmp_path, label_map):
    for split in ("train", "val"):
        folders(tmp_path, split, split)
    touch(tmp_path, "images/train/a.gif", "masks/train/a.gif", "images/train/b.JP2", "masks/train/c.jpg")
    touch(tmp_path, "images/train/d.gif", "images/train/raw", "images/train/video.mp4")
    touch(tmp_path, "images/train/night/e.jpg", "masks/train/drawn/e.png", "images/val/README", "masks/val/classes.txt")
    source = sources.open_source(tmp_path, None, label_map)
    assert ids(source) == {"train": ["train"], "val": ["val"]}
    (warning,) = source.warnings
    assert warning.startswith(f"{tmp_path}: split train: left out ") and "\n" not in warning
    expected = {
        "of a kind that is not read (.gif) in images/": 2,
        "of a kind that is not read (.jp2) in images/": 1,
        "of a kind that is not read (.mp4) in images/": 1,
        "of a kind that is not read (without an ending) in images/": 1,
        "of a kind that is not read (.gif) in masks/": 1,
        "of a kind that is not read (.jpg) in masks/": 1,
        "in folders that masks/ does not have, in images/": 1,
        "in folders that images/ does not have, in masks/": 1,
    }
    assert source.left_out == {"train": expected}
    assert all(f"{count} {reason}, such as {tmp_path}" in warning for reason, count in expected.items())


@pytest.mark.parametrize(
    "name",
    ["._a.png", ".ipynb_checkpoints/a.png", "__MACOSX/a.png", "Thumbs.db", "desktop.ini", ".DS_Store", "@eaDir/a.png"],
)
def test_what_systems_leave_is_passed_over(tmp_path, label_map, name):
    folders(tmp_path, "train", "a")
    for place in ("images/train", "masks/train", "images", "masks"):
        touch(tmp_path, f"{place}/{name}")
    source = sources.open_source(tmp_path, None, label_map)
    assert (ids(source), source.warnings) == ({"train": ["a"]}, [])


def test_images_beside_the_splits(tmp_path, label_map):
    folders(tmp_path, "train", "a")
    touch(tmp_path, "images/b.jpg", "images/c.png", "masks/b.png")
    warnings = sources.open_source(tmp_path, None, label_map).warnings
    assert [warning.split(", such")[0].removeprefix(f"{tmp_path}: ") for warning in warnings] == [
        "images/: left out 2 beside the folders of the splits",
        "masks/: left out 1 beside the folders of the splits",
    ]


def test_a_split_of_other_files_says_what_it_holds(tmp_path, label_map):
    touch(tmp_path, "images/train/a.gif", "masks/train/a.gif")
    message = refused(tmp_path, None, label_map)
    assert f"the split train is empty; expected files named {IMAGES}, and holds 1 of a kind that is" in message
    touch(tmp_path, "masks/train/a.png")
    assert "no images in images/, and holds 1 of a kind that is not read (.gif) in images/" in refused(
        tmp_path, None, label_map
    )
    touch(tmp_path, "images/train/b.png", "masks/train/b.png")
    message = refused(tmp_path, None, label_map)
    assert "1 of the masks have no image" in message and "split train holds besides 1 of a kind that is not" in message


def test_own_files_beside_those_of_cityscapes(tmp_path):
    cityscapes(tmp_path, "train", "ulm_000001_000019")
    touch(tmp_path, "leftImg8bit/train/ulm/mine.png", "leftImg8bit/train/mine.png", "gtFine/train/ulm/mine.png")
    touch(tmp_path, "leftImg8bit/train/ulm/ulm_000002_000019_leftimg8bit.png")
    for kind in ("instanceIds.png", "labelTrainIds.png", "polygons.json"):
        touch(tmp_path, f"gtFine/train/ulm/ulm_000001_000019_gtFine_{kind}")
    source = sources.open_source(tmp_path)
    assert ids(source) == {"train": ["ulm_000001_000019"]}
    assert source.left_out == {
        "train": {
            "not named *_leftImg8bit.png (capitals count) in leftImg8bit/": 3,
            "not named *_gtFine_labelIds.png (capitals count) in gtFine/": 1,
        }
    }
    assert len([warning for warning in source.warnings if "left out" in warning]) == 1


@pytest.mark.parametrize("all_of_it", [True, False])
def test_a_doubled_folder(tmp_path, all_of_it):
    cityscapes(tmp_path, "val", "bonn_000001_000019")
    if not all_of_it:
        cityscapes(tmp_path, "train", "ulm_000001_000019")
    deep = [
        f"{folder}/train/train/jena/jena_1_{ending}.png"
        for folder, ending in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds"))
    ]
    touch(tmp_path, *deep)
    (warning,) = [it for it in sources.open_source(tmp_path).warnings if "split train" in it and "Cityscapes" not in it]
    assert f"1 deeper than the folders of the cities in leftImg8bit/, such as {tmp_path / deep[0]}" in warning
    assert warning.endswith("; it is left out") == all_of_it


# ---- names that look alike


def test_capitals_count_in_the_masks_of_cityscapes(tmp_path):
    cityscapes(tmp_path, "train", "ulm_000001_000019")
    touch(tmp_path, "gtFine/train/ulm/ulm_000002_000019_gtFine_LABELIDS.png")
    assert "LABELIDS.png: expected *_gtFine_labelIds.png, in which capitals count" in refused(tmp_path)


def test_a_label_map_decides_on_the_layout(tmp_path, label_map):
    folders(tmp_path, "train", "a", "b", "ulm_leftImg8bit")
    source = sources.open_source(tmp_path, None, label_map)
    assert (source.name, ids(source)) == ("folders", {"train": ["a", "b", "ulm_leftImg8bit"]})
    assert not source.assumed
    renamed(tmp_path / "city", "train", "ulm_000001_000019", "ulm_000002_000019")
    folders(tmp_path / "city", "train", "mine")
    source = sources.open_source(tmp_path / "city", None, label_map)
    assert (source.name, ids(source)) == ("cityscapes", {"train": ["ulm_000001_000019", "ulm_000002_000019"]})
    assert not source.assumed and sources.open_source(tmp_path / "city").assumed


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x1b[2Jb", "a\u2028b"])
def test_refuses_names_that_would_break_a_line(tmp_path, label_map, name):
    folders(tmp_path, "train", name)
    message = refused(tmp_path, None, label_map)
    assert "its name has a line break or another control character; rename it" in message and message.isascii()


def test_refuses_names_that_lead_out_of_a_folder_on_windows(tmp_path, label_map):
    folders(tmp_path, "train", "a\\..\\..\\b")
    message = refused(tmp_path, None, label_map)
    assert message.endswith(
        r"has the id 'a\..\..\b', expected one that is not absolute and has no part that is . or ..; rename it"
    )


@pytest.mark.parametrize(("split", "shown"), [("a\nb", r"a\nb"), ("a\\b", r"a\b"), ("a\x1b[2J", r"a\x1b[2J")])
def test_refuses_splits_that_can_be_no_names_of_files(tmp_path, label_map, split, shown):
    folders(tmp_path, split, "a")
    message = refused(tmp_path, None, label_map)
    assert message.startswith(f"{tmp_path}: has the split '{shown}', expected ")
    assert message.endswith("; rename the folder")


def test_refuses_names_that_are_no_text(tmp_path, label_map):
    folders(tmp_path, "train", "a")
    (tmp_path / "images/train/a.jpg").rename(os.fsdecode(os.fsencode(tmp_path) + b"/images/train/Z\xfcrich.jpg"))
    message = refused(tmp_path, None, label_map)
    assert "its name is not in UTF-8; rename it" in message and message.isascii()


def test_links_that_lead_round_in_a_circle(tmp_path, label_map):
    for kind, ending in (("images", "jpg"), ("masks", "png")):
        for name in "ab":
            touch(tmp_path, f"{kind}/train/{name}/{name}.{ending}")
            for other in ("a", "b", "."):
                link(tmp_path, f"{kind}/train/{name}/to {other}", f"{kind}/train/{other}")
    assert ids(sources.open_source(tmp_path, None, label_map)) == {"train": ["a_a", "a_to b_b", "b_b", "b_to a_a"]}
