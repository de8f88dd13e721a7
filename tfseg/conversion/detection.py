"""Which layout a raw data set has, which splits, and which label map goes with it."""

from collections.abc import Sequence
from pathlib import Path

from tfseg.conversion.files import UNPAIRED, File, find_files, in_words, is_folder, list_entries, some, walk
from tfseg.conversion.layouts import CITYSCAPES_NAME, COARSE_LAYOUTS, IMAGE_SUFFIXES, LAYOUTS, Layout, id_of
from tfseg.records import labels


def detect_layout(root: Path, splits: Sequence[str] | None, coarse: bool, label_map: str | Path | None) -> Layout:
    if not is_folder(root):
        raise FileNotFoundError(f"{root}: no such folder")
    layouts = COARSE_LAYOUTS if coarse else LAYOUTS
    for layout in layouts:
        if is_folder(root / layout.image_folder) and is_folder(root / layout.mask_folder):
            renamed = layout.is_cityscapes and (layout.image_folder, layout.mask_folder) == ("images", "masks")
            if not renamed or _has_cityscapes_names(layout, root, splits, label_map):
                return layout
    wanted = " or ".join(f"{it.image_folder}/ and {it.mask_folder}/" for it in (layouts[0], layouts[-1]))
    got = some(path.name for path in root.iterdir()) or "nothing"
    advice = "; only Cityscapes has coarse masks: unpack its gtCoarse/ there, or leave --coarse out" if coarse else ""
    if not coarse and is_folder(root / "gtCoarse"):
        advice = "; --coarse takes the masks of gtCoarse/"
    raise ValueError(f"{root}: expected {wanted} in it, got {got}{advice}")


def _has_cityscapes_names(
    layout: Layout, root: Path, splits: Sequence[str] | None, label_map: str | Path | None
) -> bool:
    """Whether images/ and masks/ hold the files of Cityscapes: by any name, or with a label map by most pairs."""
    folders = [root / layout.image_folder, root / layout.mask_folder]
    wanted = splits or sorted(_split_names(folders[0]) | _split_names(folders[1]))
    names = [[{file.name for file in walk(folder / split)} for split in wanted] for folder in folders]
    if label_map is None or label_map in labels.CITYSCAPES:
        return any(CITYSCAPES_NAME.fullmatch(name) for of_folder in names for found in of_folder for name in found)
    pairs = {}
    for candidate in (layout, LAYOUTS[-1]):
        endings = candidate.image_endings, (candidate.mask_ending,)
        of_images, of_masks = (
            [{id_of(name, own) for name in found} - {None} for found in of_folder]
            for of_folder, own in zip(names, endings, strict=True)
        )
        pairs[candidate.name] = sum(len(images & masks) for images, masks in zip(of_images, of_masks, strict=True))
    return pairs[layout.name] > pairs["folders"]


def choose_splits(layout: Layout, root: Path, wanted: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Names of the splits to take, and a warning for each that has no images or no masks and is left out."""
    there = _split_names(root / layout.image_folder) | _split_names(root / layout.mask_folder)
    if not wanted and not there:
        raise FileNotFoundError(f"{root}: {layout.image_folder}/ holds no folder of a split, such as train/")
    missing = [name for name in wanted or () if name not in there]
    if missing:
        raise FileNotFoundError(f"{root}: no split {', '.join(missing)}; there is {', '.join(sorted(there)) or 'none'}")
    lacks = {name: _what_lacks(layout, root, name) for name in wanted or sorted(there)}
    whole = [name for name, lack in lacks.items() if not lack]
    halves = [lack for lack in lacks.values() if lack]
    if halves and (wanted or not whole):
        raise ValueError(f"{root}: {'; '.join(halves)}; add what is missing, or choose other splits with --splits")
    return whole, [f"{root}: {lack}; it is left out" for lack in halves]


def _split_names(folder: Path) -> set[str]:
    found = [(folder / name, is_link) for name, is_link in list_entries(folder)]
    return {path.name for path, is_link in found if path.is_dir() or (is_link and not path.exists())}


def _what_lacks(layout: Layout, root: Path, split: str) -> str:
    """Says which half of a split has no file at all; nothing if both have some."""
    folders = (root / layout.image_folder / split, root / layout.mask_folder / split)
    images, masks = (any(_could_be(layout, file) for file in walk(folder)) for folder in folders)
    if images and masks:
        return ""
    if images:
        lack = f"split {split} has images in {layout.image_folder}/ but no masks in {layout.mask_folder}/"
    elif masks:
        lack = f"split {split} has masks in {layout.mask_folder}/ but no images in {layout.image_folder}/"
    else:
        lack = f"the split {split} is empty; expected files named *{' or *'.join(layout.image_endings)}"
    passed = find_files(layout, root, split).passed
    others = {reason: files for reason, files in passed.items() if not reason.startswith(UNPAIRED)}
    return f"{lack}, and holds {in_words(others)}" if others else lack


def _could_be(layout: Layout, file: File) -> bool:
    """Whether a file is where images and masks are looked for, and of a kind that they or their companions have."""
    if not file.name.lower().endswith((*IMAGE_SUFFIXES, ".json")):
        return False
    return len(file.way) <= 1 if layout.is_cityscapes else True


def choose_label_map(layout: Layout, root: Path, label_map: str | Path | None) -> labels.LabelMap:
    if layout.is_cityscapes:
        if label_map is None:
            label_map = "categories"
        if label_map in labels.CITYSCAPES:
            return labels.CITYSCAPES[label_map]
    elif label_map is None or label_map in labels.CITYSCAPES:
        raise ValueError(
            f"{root}: its masks need a label map, a YAML file of `mask value: class` lines; give --label-map"
        )
    return labels.read_label_map(label_map)
