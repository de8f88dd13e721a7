"""Small data sets in the layouts of public ones and of annotation tools, made up, with their pairs written down."""

from typing import NamedTuple

import numpy as np
from PIL import Image


def write(root, *names):
    """Writes images and masks of 2x3 pixels, of the kind that a name ends with; text files hold their lines."""
    for name, *lines in (it if isinstance(it, tuple) else (it,) for it in names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".txt", ".csv", ".json"):
            path.write_text("\n".join(lines))
        elif path.suffix in (".jpg", ".jpeg"):
            Image.fromarray(np.full((2, 3, 3), 90, np.uint8)).save(path)
        else:
            Image.fromarray(np.zeros((2, 3), np.uint8)).save(path)


def touch(root, *names):
    """Makes empty files, for tests that look at no more than names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


class Tree(NamedTuple):
    """Files, and the samples that are found in them."""

    name: str
    files: list
    expected: dict
    options: dict = {}  # noqa: RUF012  nobody changes it


TREES = {
    "cityscapes": Tree(
        "cityscapes",
        [
            "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png",
            "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png",
            "gtFine/train/ulm/ulm_000001_000019_gtFine_color.png",
        ],
        {
            "train": [
                (
                    "ulm_000001_000019",
                    "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png",
                    "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png",
                )
            ]
        },
    ),
    "cityscapes, JPEG": Tree(
        "cityscapes",
        ["images/val/ulm_1_leftImg8bit.jpg", "masks/val/ulm_1_gtFine_labelIds.png"],
        {"val": [("ulm_1", "images/val/ulm_1_leftImg8bit.jpg", "masks/val/ulm_1_gtFine_labelIds.png")]},
    ),
    "mmsegmentation": Tree(
        "mmsegmentation",
        ["img_dir/train/a.jpg", "ann_dir/train/a.png", "img_dir/val/b.jpg", "ann_dir/val/b.png", "img_dir/test/c.jpg"],
        {
            "train": [("a", "img_dir/train/a.jpg", "ann_dir/train/a.png")],
            "val": [("b", "img_dir/val/b.jpg", "ann_dir/val/b.png")],
        },
    ),
    "mmsegmentation, names of Cityscapes": Tree(
        "mmsegmentation",
        [
            *(f"img_dir/train/ulm/{id}_leftImg8bit.png" for id in ("u_1", "u_2")),
            *(f"ann_dir/train/ulm/{id}_gtFine_labelTrainIds.png" for id in ("u_1", "u_2")),
            *(
                f"ann_dir/train/ulm/{id}_gtFine_{kind}.png"
                for id in ("u_1", "u_2")
                for kind in ("color", "instanceIds")
            ),
        ],
        {
            "train": [
                (
                    f"ulm_{id}",
                    f"img_dir/train/ulm/{id}_leftImg8bit.png",
                    f"ann_dir/train/ulm/{id}_gtFine_labelTrainIds.png",
                )
                for id in ("u_1", "u_2")
            ]
        },
    ),
    "ADE20K": Tree(
        "ade20k",
        [
            *("images/training/ADE_train_00000001.jpg", "annotations/training/ADE_train_00000001.png"),
            *("images/validation/ADE_val_00000001.jpg", "annotations/validation/ADE_val_00000001.png"),
        ],
        {
            "train": [
                (
                    "ADE_train_00000001",
                    "images/training/ADE_train_00000001.jpg",
                    "annotations/training/ADE_train_00000001.png",
                )
            ],
            "val": [
                (
                    "ADE_val_00000001",
                    "images/validation/ADE_val_00000001.jpg",
                    "annotations/validation/ADE_val_00000001.png",
                )
            ],
        },
    ),
    "CamVid of the SegNet tutorial": Tree(
        "camvid",
        [
            *("train/0001TP_006690.png", "trainannot/0001TP_006690.png", "val/0016E5_07959.png"),
            *("valannot/0016E5_07959.png", "test/0001TP_008550.png", "testannot/0001TP_008550.png"),
        ],
        {
            "test": [("0001TP_008550", "test/0001TP_008550.png", "testannot/0001TP_008550.png")],
            "train": [("0001TP_006690", "train/0001TP_006690.png", "trainannot/0001TP_006690.png")],
            "val": [("0016E5_07959", "val/0016E5_07959.png", "valannot/0016E5_07959.png")],
        },
    ),
    "CamVid, all of it": Tree(
        "camvid_colors",
        ["701_StillsRaw_full/0001TP_006690.png", "LabeledApproved_full/0001TP_006690_L.png"],
        {
            "train": [
                ("0001TP_006690", "701_StillsRaw_full/0001TP_006690.png", "LabeledApproved_full/0001TP_006690_L.png")
            ]
        },
        {"val_share": 0},
    ),
    "Pascal VOC": Tree(
        "voc",
        [
            *(f"JPEGImages/2007_00000{number}.jpg" for number in (1, 2, 3, 4)),
            *(f"SegmentationClass/2007_00000{number}.png" for number in (1, 2, 3)),
            ("ImageSets/Segmentation/train.txt", "2007_000001"),
            ("ImageSets/Segmentation/val.txt", "2007_000002", ""),
            ("ImageSets/Segmentation/trainval.txt", "2007_000001", "2007_000002"),
            ("ImageSets/Main/train.txt", "2007_000003"),
        ],
        {
            "train": [("2007_000001", "JPEGImages/2007_000001.jpg", "SegmentationClass/2007_000001.png")],
            "val": [("2007_000002", "JPEGImages/2007_000002.jpg", "SegmentationClass/2007_000002.png")],
        },
    ),
    "CVAT": Tree(
        "cvat",
        [
            *("JPEGImages/street/a.jpg", "SegmentationClass/street/a.png", "SegmentationObject/street/a.png"),
            ("labelmap.txt", "# label:color_rgb:parts:actions", "sky:0,0,255::"),
            ("ImageSets/Segmentation/default.txt", "street/a"),
        ],
        {"train": [("street_a", "JPEGImages/street/a.jpg", "SegmentationClass/street/a.png")]},
        {"val_share": 0.0},
    ),
    "BDD100K": Tree(
        "bdd100k",
        [
            *("images/10k/train/0a-1.jpg", "labels/sem_seg/masks/train/0a-1.png", "images/10k/val/0b-2.jpg"),
            *("labels/sem_seg/masks/val/0b-2.png", "labels/sem_seg/colormaps/val/0b-2.png", "images/10k/test/0c.jpg"),
        ],
        {
            "train": [("0a-1", "images/10k/train/0a-1.jpg", "labels/sem_seg/masks/train/0a-1.png")],
            "val": [("0b-2", "images/10k/val/0b-2.jpg", "labels/sem_seg/masks/val/0b-2.png")],
        },
    ),
    "BDD100K, older": Tree(
        "bdd100k",
        ["seg/images/val/0b-2.jpg", "seg/labels/val/0b-2_train_id.png", "seg/color_labels/val/0b-2_train_color.png"],
        {"val": [("0b-2", "seg/images/val/0b-2.jpg", "seg/labels/val/0b-2_train_id.png")]},
    ),
    "KITTI": Tree(
        "kitti",
        [
            *(
                "training/image_2/000000_10.png",
                "training/semantic/000000_10.png",
                "training/semantic_rgb/000000_10.png",
            ),
            *("training/instance/000000_10.png", "testing/image_2/000000_10.png"),
        ],
        {"train": [("000000_10", "training/image_2/000000_10.png", "training/semantic/000000_10.png")]},
    ),
    "IDD": Tree(
        "idd",
        [
            *("leftImg8bit/train/0/7_leftImg8bit.png", "gtFine/train/0/7_gtFine_labellevel3Ids.png"),
            *("leftImg8bit/train/1/7_image.jpg", "gtFine/train/1/7_gtFine_labellevel3Ids.png"),
            *("leftImg8bit/val/2/7_leftImg8bit.png", "gtFine/val/2/7_gtFine_labellevel3Ids.png"),
            ("gtFine/val/2/7_gtFine_polygons.json", "{}"),
        ],
        {
            "train": [
                ("0_7", "leftImg8bit/train/0/7_leftImg8bit.png", "gtFine/train/0/7_gtFine_labellevel3Ids.png"),
                ("1_7", "leftImg8bit/train/1/7_image.jpg", "gtFine/train/1/7_gtFine_labellevel3Ids.png"),
            ],
            "val": [("2_7", "leftImg8bit/val/2/7_leftImg8bit.png", "gtFine/val/2/7_gtFine_labellevel3Ids.png")],
        },
    ),
    "Mapillary Vistas 1.2": Tree(
        "mapillary_v1.2",
        ["training/images/x.jpg", "training/labels/x.png", "training/instances/x.png", "testing/images/z.jpg"],
        {"train": [("x", "training/images/x.jpg", "training/labels/x.png")]},
    ),
    "Mapillary Vistas 2.0": Tree(
        "mapillary_v2.0",
        [
            *("training/images/x.jpg", "training/v1.2/labels/x.png", "training/v2.0/labels/x.png"),
            *("validation/images/y.jpg", "validation/v1.2/labels/y.png", "validation/v2.0/labels/y.png"),
        ],
        {
            "train": [("x", "training/images/x.jpg", "training/v2.0/labels/x.png")],
            "val": [("y", "validation/images/y.jpg", "validation/v2.0/labels/y.png")],
        },
        {"layout": "mapillary_v2.0"},
    ),
    "COCO-Stuff": Tree(
        "coco_stuff",
        [
            *("images/train2017/000000000009.jpg", "annotations/train2017/000000000009.png"),
            *("images/val2017/000000000139.jpg", "annotations/val2017/000000000139.png"),
            ("annotations/instances_val2017.json", "{}"),
        ],
        {
            "train": [("000000000009", "images/train2017/000000000009.jpg", "annotations/train2017/000000000009.png")],
            "val": [("000000000139", "images/val2017/000000000139.jpg", "annotations/val2017/000000000139.png")],
        },
    ),
    "COCO-Stuff, its own folder": Tree(
        "coco_stuff",
        ["images/val2017/000000000139.jpg", "stuffthingmaps/val2017/000000000139.png"],
        {"val": [("000000000139", "images/val2017/000000000139.jpg", "stuffthingmaps/val2017/000000000139.png")]},
    ),
    "Roboflow": Tree(
        "roboflow",
        [
            *("train/a_jpg.rf.1f.jpg", "train/a_jpg.rf.1f_mask.png", "valid/b_jpg.rf.2e.jpg"),
            "valid/b_jpg.rf.2e_mask.png",
            ("train/_classes.csv", "Pixel Value, Class", "0, background"),
        ],
        {
            "train": [("a_jpg.rf.1f", "train/a_jpg.rf.1f.jpg", "train/a_jpg.rf.1f_mask.png")],
            "val": [("b_jpg.rf.2e", "valid/b_jpg.rf.2e.jpg", "valid/b_jpg.rf.2e_mask.png")],
        },
    ),
    "Supervisely, data sets that are splits": Tree(
        "supervisely",
        [
            *("train/img/a.jpg", "train/masks_machine/a.png", "train/masks_human/a.png", "val/img/b.jpg"),
            *("val/masks_machine/b.png", ("meta.json", "{}"), ("train/ann/a.jpg.json", "{}")),
        ],
        {
            "train": [("a", "train/img/a.jpg", "train/masks_machine/a.png")],
            "val": [("b", "val/img/b.jpg", "val/masks_machine/b.png")],
        },
    ),
    "Supervisely, other data sets": Tree(
        "supervisely",
        ["ds0/img/a.jpg", "ds0/masks_machine/a.png", "ds1/img/a.jpg", "ds1/masks_machine/a.png"],
        {
            "train": [
                ("ds0_a", "ds0/img/a.jpg", "ds0/masks_machine/a.png"),
                ("ds1_a", "ds1/img/a.jpg", "ds1/masks_machine/a.png"),
            ]
        },
        {"val_share": 0},
    ),
    "images and masks without splits": Tree(
        "folders",
        ["images/a.jpg", "images/b.webp", "images/c.bmp", "masks/a.png", "masks/b.png", "masks/c.png"],
        {
            "train": [
                ("a", "images/a.jpg", "masks/a.png"),
                ("b", "images/b.webp", "masks/b.png"),
                ("c", "images/c.bmp", "masks/c.png"),
            ]
        },
        {"val_share": 0},
    ),
    "images and masks": Tree(
        "folders",
        ["images/train/a.jpg", "masks/train/a.png"],
        {"train": [("a", "images/train/a.jpg", "masks/train/a.png")]},
    ),
    "images and labels in the folders of the splits": Tree(
        "folders",
        ["train/images/a.jpg", "train/labels/a.png", "valid/images/b.jpg", "valid/labels/b.png"],
        {
            "train": [("a", "train/images/a.jpg", "train/labels/a.png")],
            "val": [("b", "valid/images/b.jpg", "valid/labels/b.png")],
        },
    ),
}
