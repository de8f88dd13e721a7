"""The layouts of public data sets and of annotation tools: each a small tree, made up, with its pairs written down."""

import pytest
from helper_layouts import TREES, write

from tfseg.conversion import converter
from tfseg.conversion.finding import detection, known_layouts, sources
from tfseg.conversion.finding.layouts import Layout, Tree
from tfseg.conversion.reading.samples import Sample


def found(source, root):
    """Split -> (id, image, mask) of each sample, the paths below the root."""
    return {
        split: [(it.id, str(it.image.relative_to(root)), str(it.mask.relative_to(root))) for it in samples]
        for split, samples in source.splits.items()
    }


@pytest.fixture
def label_map(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("0: flat\n3: sky\n")
    return path


@pytest.mark.parametrize("name", TREES)
def test_layout(tmp_path, label_map, name):
    tree, root = TREES[name], tmp_path / "raw"
    write(root, *tree.files)
    source = sources.open_source(root, None, label_map, **tree.options)
    assert (source.name, found(source, root)) == (tree.name, tree.expected)
    records = converter.convert_dataset(root, tmp_path / "out", label_map=label_map, warn=print, **tree.options)
    assert {split: sorted(own.ids) for split, own in records.manifest.splits.items()} == {
        split: [id for id, _, _ in samples] for split, samples in tree.expected.items()
    }
    assert records.manifest.source == tree.name


def test_what_was_recognised_is_said(tmp_path, label_map, capsys):
    write(tmp_path / "raw", *TREES["CamVid of the SegNet tutorial"].files)
    converter.convert_dataset(tmp_path / "raw", tmp_path / "out", label_map=label_map)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path / 'raw'}: read as CamVid of the SegNet tutorial, in SPLIT/ and SPLITannot/"
    write(tmp_path / "plain", *TREES["images and masks"].files)
    assert sources.open_source(tmp_path / "plain", None, label_map).notes == []


def test_a_layout_brings_its_label_map(tmp_path, label_map):
    write(tmp_path / "raw", *TREES["Pascal VOC"].files)
    source = sources.open_source(tmp_path / "raw")
    assert source.label_map.names[15] == "person" and not source.assumed
    assert (
        source.notes[1]
        == f"{tmp_path / 'raw'}: label map voc, of the values that the makers of the data set have laid down"
    )
    assert sources.open_source(tmp_path / "raw", None, label_map).label_map.names == {0: "flat", 3: "sky"}
    write(tmp_path / "cvat", *TREES["CVAT"].files)  # the folders of VOC, other values
    with pytest.raises(ValueError, match="its masks need a label map"):
        sources.open_source(tmp_path / "cvat", val_share=0)


def test_kitti_has_the_label_ids_of_cityscapes(tmp_path):
    write(tmp_path, *TREES["KITTI"].files)
    source = sources.open_source(tmp_path, None, "train_ids")
    assert source.label_map.names[26] == "car" and not source.assumed
    assert source.warnings == [
        f"{tmp_path}: split test has images in SPLIT/image_2/ but no masks in SPLIT/semantic/; it is left out"
    ]


def test_a_layout_is_one_row(tmp_path, label_map, monkeypatch):
    write(tmp_path, "pictures/a.jpg", "pictures/b.png", ("drawn/a.jpg.json", "{}"), ("drawn/b.png.json", "{}"))
    endings = tuple(f"{kind}.json" for kind in (".jpg", ".png"))
    row = known_layouts.Known("A tool", Layout("tool", "pictures", "drawn", mask_endings=endings, form="labelme"))
    monkeypatch.setattr(known_layouts, "KNOWN", (*known_layouts.KNOWN, row))
    assert sources.open_source(tmp_path, None, label_map, val_share=0).splits == {
        "train": [
            Sample("a", tmp_path / "pictures/a.jpg", tmp_path / "drawn/a.jpg.json", "labelme"),
            Sample("b", tmp_path / "pictures/b.png", tmp_path / "drawn/b.png.json", "labelme"),
        ]
    }


# ---- Pascal VOC


def test_voc_leaves_out_what_is_in_no_list_or_not_segmented(tmp_path, label_map):
    write(tmp_path, *TREES["Pascal VOC"].files)
    source = sources.open_source(tmp_path, None, label_map)
    assert source.warnings == []
    assert source.notes[1:] == [
        f"{tmp_path}: 1 of 3 images are in no list: 2007_000003",
        f"{tmp_path}: splits by the lists train {tmp_path}/ImageSets/Segmentation/train.txt, "
        f"val {tmp_path}/ImageSets/Segmentation/val.txt",
        f"{tmp_path}: 1 images have no mask and are no part of it",
    ]
    write(tmp_path, ("ImageSets/Segmentation/val.txt", "2007_000002", "2007_000004"))
    with pytest.raises(ValueError, match=r"val\.txt: 1 of the 2 lines are no image with a mask: 2007_000004"):
        sources.open_source(tmp_path, None, label_map)


def test_shares_come_before_the_lists_of_voc(tmp_path, label_map):
    write(tmp_path, *TREES["Pascal VOC"].files)
    source = sources.open_source(tmp_path, None, label_map, val_share=0)
    assert [sample.id for sample in source.splits["train"]] == ["2007_000001", "2007_000002", "2007_000003"]


# ---- IDD and Mapillary Vistas: several kinds of masks


def test_idd_with_masks_of_two_kinds(tmp_path, label_map):
    write(
        tmp_path,
        *TREES["IDD"].files,
        *(f"gtFine/{way}/7_gtFine_labelids.png" for way in ("train/0", "train/1", "val/2")),
    )
    with pytest.raises(
        ValueError, match=r"3 \*_gtFine_labelids\.png, 3 \*_gtFine_labellevel3Ids\.png; choose by --mask-"
    ):
        sources.open_source(tmp_path, None, label_map)
    source = sources.open_source(tmp_path, None, label_map, mask_suffix="_gtFine_labelids.png")
    assert source.splits["val"] == [
        Sample("2_7", tmp_path / "leftImg8bit/val/2/7_leftImg8bit.png", tmp_path / "gtFine/val/2/7_gtFine_labelids.png")
    ]
    with pytest.raises(ValueError, match="its masks need a label map"):
        sources.open_source(tmp_path, None, "categories", mask_suffix="_gtFine_labelids.png")


def test_mapillary_with_masks_of_two_versions(tmp_path, label_map):
    write(tmp_path, *TREES["Mapillary Vistas 2.0"].files)
    with pytest.raises(
        ValueError, match=r"two versions, SPLIT/v2\.0/labels/ .* choose by --layout mapillary_v1\.2 or --la"
    ):
        sources.open_source(tmp_path, None, label_map)
    source = sources.open_source(tmp_path, None, label_map, layout="mapillary_v1.2")
    assert found(source, tmp_path)["val"] == [("y", "validation/images/y.jpg", "validation/v1.2/labels/y.png")]
    assert detection.detect_tree(tmp_path, label_map="mapillary_v1.2").layout.name == "mapillary_v1.2"
    with pytest.raises(ValueError, match="that is no data set of the layout voc"):
        sources.open_source(tmp_path, None, label_map, layout="voc")


# ---- what is not recognised


def test_two_folders_of_one_split(tmp_path, label_map):
    write(tmp_path, *(f"{kind}/{split}/a.png" for kind in ("img_dir", "ann_dir") for split in ("val", "valid")))
    with pytest.raises(ValueError, match="val/ and valid/ are both the split val; rename one"):
        sources.open_source(tmp_path, None, label_map)


def test_a_data_set_one_folder_below(tmp_path, label_map):
    write(tmp_path / "a", *(f"VOC2012/{name}" for name in ("JPEGImages/a.jpg", "SegmentationClass/a.png")))
    with pytest.raises(ValueError, match="a/VOC2012 looks like Pascal VOC: give it as --root"):
        sources.open_source(tmp_path / "a", None, label_map)
    write(tmp_path / "b", "mine/images/train/a.jpg", "mine/masks/train/a.png")
    with pytest.raises(ValueError, match="b/mine looks like a data set: give it as --root"):
        sources.open_source(tmp_path / "b", None, label_map)


def test_folders_without_a_split_stay_below_the_root(tmp_path):
    tree = Tree(Layout("yolo", "{split}/images", "{split}/labels"), tmp_path, (tmp_path, tmp_path))
    assert tree.folder(1, "train") == tmp_path / "train/labels"
    assert tree.folder(1, "") == tmp_path / "labels"
