"""The layouts of public data sets and of what annotation tools export, each recognised by its folders and file names.

To add one, add a row to `KNOWN`, where necessary with a function that says what else must be there. Rows are asked from
the first to the last.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tfseg.conversion.finding.annotation_files import ENDINGS, has_form
from tfseg.conversion.finding.files import is_folder, list_entries, walk
from tfseg.conversion.finding.layouts import (
    IDD_NAME,
    IMAGE_SUFFIXES,
    SPLIT,
    SPLIT_NAMES,
    Layout,
    make_endings,
)
from tfseg.conversion.reading.words import TITLES


class Known(NamedTuple):
    """A layout, what it is called, and what must be there besides its folders."""

    title: str
    layout: Layout
    is_it: Callable[[Path, Layout], bool] = lambda root, layout: True


# ---- what must be there besides


def _has_names_of_makers(root: Path, layout: Layout) -> bool:
    """ADE20K and Mapillary call their splits training and validation."""
    return bool({"training", "validation"} & split_folders(root, layout))


def _has_years(root: Path, layout: Layout) -> bool:
    """COCO calls its splits train2017 and val2017."""
    return any(name[-4:].isdigit() for name in split_folders(root, layout))


def _has_masks(root: Path, layout: Layout) -> bool:
    """Other tools put text files into folders of the same names."""
    return any(
        file.name.lower().endswith(layout.mask_endings)
        for split in sorted(split_folders(root, layout))
        for file in walk(root / layout.masks.replace(SPLIT, split))
    )


def _has_masks_of_makers(root: Path, layout: Layout) -> bool:
    return _has_names_of_makers(root, layout) and _has_masks(root, layout)


def _has_color_list(root: Path, layout: Layout) -> bool:
    return (root / "labelmap.txt").is_file()  # by CVAT


_VOC = Layout("voc", "JPEGImages", "SegmentationClass", label_map="voc", lists="ImageSets/Segmentation")
_BDD_MASKS = make_endings("_train_id", (".png",))
_CAMVID_MASKS = make_endings("_L", (".png",))
_BESIDE = make_endings("_mask", (".png",))

_STREETS = tuple(f"_leftImg8bit{suffix}" for suffix in (".png", ".jpg", ".jpeg"))


def _annotated(form: str, images: str, annotations: str, **settings) -> Known:
    """A layout with polygons or the like in the place of masks."""
    layout = Layout(form, images, annotations, mask_endings=ENDINGS.get(form, (".json",)), form=form, **settings)
    return Known(TITLES[form], layout, _has_annotations)


def _has_annotations(root: Path, layout: Layout) -> bool:
    if layout.is_indexed:
        return True
    splits = split_folders(root, layout) if layout.has_splits else set()
    return has_form(layout.form, root, layout, splits)


KNOWN = (
    Known("CVAT's segmentation masks", _VOC._replace(name="cvat", label_map=None), _has_color_list),
    Known("Pascal VOC", _VOC),
    Known("BDD100K", Layout("bdd100k", "images/10k/{split}", "labels/sem_seg/masks/{split}", label_map="bdd100k")),
    Known(
        "BDD100K, older",
        Layout("bdd100k", "seg/images/{split}", "seg/labels/{split}", IMAGE_SUFFIXES, _BDD_MASKS, label_map="bdd100k"),
    ),
    Known(
        "KITTI",
        Layout("kitti", "{split}/image_2", "{split}/semantic", label_map="kitti", has_cityscapes_ids=True),
    ),
    Known(
        "Mapillary Vistas 2.0",
        Layout("mapillary_v2.0", "{split}/images", "{split}/v2.0/labels", label_map="mapillary_v2.0"),
    ),
    Known(
        "Mapillary Vistas 1.2",
        Layout("mapillary_v1.2", "{split}/images", "{split}/v1.2/labels", label_map="mapillary_v1.2"),
    ),
    Known(
        "Mapillary Vistas 1.2",
        Layout("mapillary_v1.2", "{split}/images", "{split}/labels", label_map="mapillary_v1.2"),
        _has_masks_of_makers,
    ),
    Known("CamVid of the SegNet tutorial", Layout("camvid", "{split}", "{split}annot", label_map="camvid")),
    Known(
        "CamVid, all of it",
        Layout("camvid_colors", "701_StillsRaw_full", "LabeledApproved_full", IMAGE_SUFFIXES, _CAMVID_MASKS),
    ),
    Known("mmsegmentation's folders", Layout("mmsegmentation", "img_dir/{split}", "ann_dir/{split}")),
    Known("COCO-Stuff", Layout("coco_stuff", "images/{split}", "stuffthingmaps/{split}")),
    Known("COCO-Stuff", Layout("coco_stuff", "images/{split}", "annotations/{split}"), _has_years),
    Known(
        "ADE20K", Layout("ade20k", "images/{split}", "annotations/{split}", label_map="ade20k"), _has_names_of_makers
    ),
    Known("Supervisely's masks", Layout("supervisely", "{split}/img", "{split}/masks_machine", joins_folders=True)),
    Known("Roboflow's masks", Layout("roboflow", "{split}", "{split}", IMAGE_SUFFIXES, _BESIDE), _has_masks),
    Known("images and annotations", Layout("folders", "images/{split}", "annotations/{split}"), _has_masks),
    Known("images and labels", Layout("folders", "images/{split}", "labels/{split}"), _has_masks),
    Known("images and labels", Layout("folders", "{split}/images", "{split}/labels"), _has_masks),
    Known("images and masks", Layout("folders", "{split}/images", "{split}/masks"), _has_masks),
    # Cityscapes is taken for its masks, unless its polygons are asked for by their name.
    _annotated("cityscapes_polygons", "leftImg8bit/{split}", "gtFine/{split}", image_endings=_STREETS, any_split=True),
    _annotated("supervisely", "{split}/img", "{split}/ann", joins_folders=True),
    _annotated("coco", "{split}", "{split}/_annotations.coco.json"),
    _annotated("coco", "{split}", "annotations/instances_{split}.json"),
    _annotated("coco", "images/{split}", "annotations/instances_{split}.json"),
    _annotated("coco", "images", "annotations/instances_default.json"),
    _annotated("coco", "images", "result.json"),  # as Label Studio exports it
    *(_annotated("yolo", f"images{split}", f"labels{split}") for split in ("/{split}", "")),
    _annotated("yolo", "{split}/images", "{split}/labels"),
    *(
        _annotated("labelme", f"images{split}", f"{folder}{split}")
        for split in ("/{split}", "")
        for folder in ("annotations", "labels", "json")
    ),
    _annotated("labelme", "{split}", "{split}"),
)


def known_layouts(root: Path) -> Iterator[Known]:
    """The known layouts that a data set could have, the likeliest first."""
    for known in KNOWN:
        if _has_folders(root, known.layout) and known.is_it(root, known.layout):
            yield known


def _has_folders(root: Path, layout: Layout) -> bool:
    if layout.has_splits:
        return bool(split_folders(root, layout))
    masks = root / layout.masks
    return is_folder(root / layout.images) and (masks.is_file() if layout.is_indexed else is_folder(masks))


def split_folders(root: Path, layout: Layout) -> set[str]:
    """Names of the folders of splits that have both images and masks."""
    return split_names(root, layout.images, layout) & split_names(root, layout.masks, layout)


def split_names(root: Path, path: str, layout: Layout) -> set[str]:
    """Names of folders that stand for a split in the path of images or of masks, as they are written.

    Args:
        root: what the path is below of.
        path: with SPLIT in it: "{split}annot" finds train in the folder trainannot/.
        layout: says which names count.
    """
    head, _, tail = path.partition(SPLIT)
    ending, _, below = tail.partition("/")
    head, _, start = head.rpartition("/")
    folder = root / head if head else root
    if not is_folder(folder):
        return set()
    found = set()
    for name, is_link in list_entries(folder):
        split = name.removeprefix(start).removesuffix(ending)
        counts = layout.any_split or layout.joins_folders or split.lower() in SPLIT_NAMES
        if not (split and name.startswith(start) and name.endswith(ending) and counts):
            continue
        place = folder / name / below if below else folder / name
        is_it = place.is_file() if place.name.endswith(".json") else place.is_dir()
        if is_it or (is_link and not place.exists()):
            found.add(split)
    return found


# ---- the India Driving Dataset, which has the folders of Cityscapes

_IDD_IMAGES = ("_leftImg8bit.png", "_leftImg8bit.jpg", "_image.jpg", "_image.png")


def find_idd(root: Path, mask_suffix: str | None) -> Known | None:
    """Recognises the India Driving Dataset by the names of its masks, which end differently for each kind of ids.

    Raises:
        ValueError: there are masks of several kinds of ids, and none is asked for.
    """
    if not (is_folder(root / "leftImg8bit") and is_folder(root / "gtFine")):
        return None
    names = (file.name for file in walk(root / "gtFine") if "_gtFine_label" in file.name)
    kinds: dict[str, int] = {}
    for name in names:
        if not IDD_NAME.fullmatch(name):
            return None  # Cityscapes, or something named like it
        kinds[kind] = kinds.get(kind := "_gtFine_" + name.rpartition("_gtFine_")[2], 0) + 1
    if not kinds:
        return None
    if mask_suffix is None and len(kinds) > 1:
        shown = ", ".join(f"{count} *{kind}" for kind, count in sorted(kinds.items()))
        raise ValueError(
            f"{root}: has masks of several kinds of ids of the India Driving Dataset (IDD): {shown}; choose by "
            f"--mask-suffix, such as --mask-suffix {max(kinds)}"
        )
    ending = min(kinds) if mask_suffix is None else make_endings(mask_suffix, (".png",))[0]
    ready = {"_gtFine_labellevel3Ids.png": "idd_level3", "_gtFine_labellevel1Ids.png": "idd_level1"}.get(ending)
    layout = Layout(
        "idd", "leftImg8bit/{split}", "gtFine/{split}", _IDD_IMAGES, (ending,), any_split=True, label_map=ready
    )
    return Known(f"the India Driving Dataset (IDD), masks *{ending}", layout)
