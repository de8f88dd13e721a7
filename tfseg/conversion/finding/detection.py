"""Which layout a raw data set has, which splits, and which label map goes with it."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tfseg.conversion.finding.annotation_files import ENDINGS, find_form, form_of_index
from tfseg.conversion.finding.files import (
    UNPAIRED,
    File,
    find_files,
    in_endings,
    in_words,
    is_folder,
    kinds_of,
    list_entries,
    some,
    walk,
)
from tfseg.conversion.finding.known_layouts import KNOWN, Known, find_idd, known_layouts, split_names
from tfseg.conversion.finding.layouts import (
    CITYSCAPES_NAME,
    COARSE_LAYOUTS,
    IMAGE_SUFFIXES,
    LAYOUTS,
    MASK_SUFFIXES,
    SPLIT,
    SPLIT_NAMES,
    Layout,
    Tree,
    id_of,
    make_endings,
)
from tfseg.conversion.reading.samples import NO_LABEL_MAP
from tfseg.conversion.reading.words import TITLES
from tfseg.records import labels
from tfseg.records.label_map_files import PACKAGED, read_label_map

PLAIN = LAYOUTS[-1]
MOST_FOLDERS = 20  # that are looked into for a data set, where there is none


def detect_tree(
    root: Path,
    *,
    splits: Sequence[str] | None = None,
    label_map: str | Path | None = None,
    coarse: bool = False,
    layout: str | None = None,
    mask_suffix: str | None = None,
    without_splits: bool = False,
) -> Tree:
    """Recognises the layout of the data set below one folder.

    Args:
        root: the folder.
        splits, label_map, coarse, layout, mask_suffix: as of `sources.open_source`.
        without_splits: whether folders below images/ that have no name of a split are part of the ids.

    Raises:
        FileNotFoundError: the folder is missing, or a link leads nowhere.
        ValueError: no layout fits, or two do.
    """
    if not is_folder(root):
        raise FileNotFoundError(f"{root}: no such folder")
    roots = (root, root)
    candidates = COARSE_LAYOUTS if coarse else LAYOUTS
    idd = None if coarse or layout not in (None, "idd") else find_idd(root, mask_suffix)
    if idd:
        return Tree(
            idd.layout, root, roots, f"{idd.title}, in {idd.layout.image_folder}/ and {idd.layout.mask_folder}/"
        )
    for candidate in candidates:
        if layout in (None, candidate.name) and _has_halves(root, candidate):
            renamed = candidate.is_cityscapes and (candidate.image_folder, candidate.mask_folder) == ("images", "masks")
            if not renamed or _has_cityscapes_names(Tree(candidate, root, roots), splits, label_map):
                if candidate.is_cityscapes:
                    return Tree(candidate, root, roots)
                return _flatten(Tree(candidate, root, roots), without_splits)
    found = [] if coarse else [known for known in known_layouts(root) if layout in (None, known.layout.name)]
    if found:
        known = _choose(root, found, label_map)
        own = known.layout
        end = "" if own.is_indexed else "/"
        return Tree(own, root, roots, f"{known.title}, in {own.image_folder}/ and {own.mask_folder}{end}")
    wanted = " or ".join(f"{it.image_folder}/ and {it.mask_folder}/" for it in (candidates[0], candidates[-1]))
    got = some(path.name for path in root.iterdir()) or "nothing"
    raise ValueError(f"{root}: expected {wanted} in it, got {got}{_advice(root, coarse, layout)}")


def _advice(root: Path, coarse: bool, layout: str | None) -> str:
    if coarse:
        return "; only Cityscapes has coarse masks: unpack its gtCoarse/ there, or leave --coarse out"
    if is_folder(root / "gtCoarse"):
        return "; --coarse takes the masks of gtCoarse/"
    if layout is not None:
        names = dict.fromkeys([*(it.name for it in LAYOUTS), "idd", *(known.layout.name for known in KNOWN)])
        if layout not in names:
            return f"; --layout {layout}: there is none of that name; layouts are {', '.join(names)}"
        return f"; that is no data set of the layout {layout}"
    for name in sorted(_split_names(root))[:MOST_FOLDERS]:
        inner = root / name
        with suppress(OSError):  # this is advice: what is closed is no place to give
            title = next((known.title for known in known_layouts(inner)), "")
            if title or any(_has_halves(inner, it) for it in LAYOUTS):
                return f"; {inner} looks like {title or 'a data set'}: give it as --root"
    return "; --images and --masks name folders of any other names"


def _has_halves(root: Path, layout: Layout) -> bool:
    return is_folder(root / layout.image_folder) and is_folder(root / layout.mask_folder)


def _choose(root: Path, found: list[Known], label_map: str | Path | None) -> Known:
    """The first layout that fits; where masks of two versions lie beside each other, the one that is asked for.

    Raises:
        ValueError: none is asked for.
    """
    rivals = {known.layout.name: known for known in found if known.layout.images == found[0].layout.images}
    versions = {name: known for name, known in rivals.items() if name.startswith("mapillary")}
    if len(versions) < 2:
        return found[0]
    if str(label_map) in versions:
        return versions[str(label_map)]
    shown = " and ".join(f"{known.layout.mask_folder}/ ({known.title})" for known in versions.values())
    raise ValueError(
        f"{root}: has masks of two versions, {shown}; choose by --layout {' or --layout '.join(sorted(versions))}"
    )


def _flatten(tree: Tree, without_splits: bool) -> Tree:
    """The same without folders of splits, if there are none: images lie in images/ itself."""
    of_images, of_masks = (_split_names(tree.folder(half, "")) for half in (0, 1))
    flat = tree.layout._replace(images=tree.layout.image_folder, masks=tree.layout.mask_folder, any_split=False)
    has_images = any(name.lower().endswith(IMAGE_SUFFIXES) for name, _ in list_entries(tree.folder(0, "")))
    has_splits = any(map(is_split, of_images | of_masks))
    if (has_images and not of_images and not has_splits) or (of_images and without_splits and not has_splits):
        return Tree(flat, tree.place, tree.roots, "images/ and masks/ without folders of splits")
    return tree


def is_split(name: str) -> bool:
    """Whether a folder has the usual name of a split."""
    return name.lower() in SPLIT_NAMES or name.lower() == "train_extra"


def open_halves(images: Path, masks: Path, label_map: str | Path | None) -> Tree:
    """Recognises the layout of images and masks that lie in two folders of any names.

    Folders directly below them are splits if any of them has the usual name of a split, else part of the ids.

    Raises:
        FileNotFoundError: a folder is missing.
    """
    if masks.is_file() and is_folder(images):
        form = form_of_index(masks)
        return Tree(Layout(form, "", "", form=form), images, (images, masks), f"{TITLES[form]}, in {masks}")
    for flag, folder in (("--images", images), ("--masks", masks)):
        if not is_folder(folder):
            raise FileNotFoundError(f"{folder}: no such folder; {flag} names that of all {flag[2:]}")
    names = _split_names(images) | _split_names(masks)
    path = SPLIT if any(map(is_split, names)) else ""
    if path:
        own = LAYOUTS[0]._replace(images=SPLIT, masks=SPLIT)
        tree = Tree(own, images, (images, masks))
        # Those of other kinds of ids, and of other data sets, are named alike: they pair as any names do.
        has_label_ids = any(id_of(file.name, own.mask_endings) for file in walk(masks))
        if has_label_ids and _has_cityscapes_names(tree, None, label_map):
            return tree
    plain = PLAIN._replace(images=path, masks=path, any_split=False, joins_folders=True)
    has_masks = any(file.name.lower().endswith(MASK_SUFFIXES) for file in walk(masks))
    if (images == masks or not has_masks) and (form := find_form(masks)):
        plain = plain._replace(name=form, mask_endings=ENDINGS[form], form=form)
        return Tree(plain, images, (images, masks), f"{TITLES[form]}, in {masks}")
    return Tree(plain, images, (images, masks))


def with_endings(tree: Tree, image_suffix: str | None, mask_suffix: str | None) -> Tree:
    """The same with the endings of names that are asked for.

    Raises:
        ValueError: they can be none, or images and masks lie in one folder and nothing distinguishes them.
    """
    layout = tree.layout
    try:
        if image_suffix is not None:
            layout = layout._replace(image_endings=make_endings(image_suffix, IMAGE_SUFFIXES))
        if mask_suffix is not None:
            if layout.is_indexed:
                raise ValueError(f"{TITLES[layout.form]} of all images are in one file, {tree.words(1)}; leave it out")
            kinds = MASK_SUFFIXES if layout.form == "mask" else kinds_of(layout.mask_endings)
            layout = layout._replace(mask_endings=make_endings(mask_suffix, kinds))
    except ValueError as error:
        raise ValueError(f"--image-suffix, --mask-suffix: {error}") from None
    tree = Tree(layout, tree.place, tree.roots, tree.found)
    if tree.is_shared and layout.mask_endings == MASK_SUFFIXES:
        raise ValueError(
            f"{tree.place}: images and masks lie in one folder; say what the names of the masks end with by "
            "--mask-suffix, such as --mask-suffix _mask"
        )
    return tree


def _has_cityscapes_names(tree: Tree, splits: Sequence[str] | None, label_map: str | Path | None) -> bool:
    """Whether images/ and masks/ hold the files of Cityscapes: by any name, or with a label map by most pairs."""
    wanted = splits or sorted(_split_names(tree.folder(0, "")) | _split_names(tree.folder(1, "")))
    names = [[{file.name for file in walk(tree.folder(half, split))} for split in wanted] for half in (0, 1)]
    if label_map is None or label_map in labels.CITYSCAPES:
        return any(CITYSCAPES_NAME.fullmatch(name) for of_folder in names for found in of_folder for name in found)
    pairs = {}
    for candidate in (tree.layout, PLAIN):
        endings = candidate.image_endings, candidate.mask_endings
        of_images, of_masks = (
            [{id_of(name, own) for name in found} - {None} for found in of_folder]
            for of_folder, own in zip(names, endings, strict=True)
        )
        pairs[candidate.name] = sum(len(images & masks) for images, masks in zip(of_images, of_masks, strict=True))
    return pairs[tree.layout.name] > pairs["folders"]


def choose_splits(tree: Tree, wanted: Sequence[str] | None) -> tuple[dict[str, str], list[str]]:
    """Chooses the splits to take.

    Returns:
        Split -> its folder; and a warning for each that has no images or no masks and is left out.

    Raises:
        FileNotFoundError: a split is missing.
        ValueError: a split that is wanted, or every split, lacks images or masks.
    """
    layout, place = tree.layout, tree.place
    there: dict[str, str] = {}
    for half, path in enumerate((layout.images, layout.masks)):
        for folder in sorted(split_names(tree.roots[half], path, layout)):
            split = folder if layout.any_split else SPLIT_NAMES.get(folder.lower(), folder)
            if there.setdefault(split, folder) != folder:
                raise ValueError(f"{place}: {there[split]}/ and {folder}/ are both the split {split}; rename one")
    if not wanted and not there:
        raise FileNotFoundError(f"{place}: {tree.words(0)}/ holds no folder of a split, such as train/")
    missing = [name for name in wanted or () if name not in there]
    if missing:
        raise FileNotFoundError(
            f"{place}: no split {', '.join(missing)}; there is {', '.join(sorted(there)) or 'none'}"
        )
    lacks = {name: _what_lacks(tree, name, there[name]) for name in wanted or sorted(there)}
    whole = {name: there[name] for name, lack in lacks.items() if not lack}
    halves = [lack for lack in lacks.values() if lack]
    if halves and (wanted or not whole):
        raise ValueError(f"{place}: {'; '.join(halves)}; add what is missing, or choose other splits with --splits")
    return whole, [f"{place}: {lack}; it is left out" for lack in halves]


def _split_names(folder: Path) -> set[str]:
    found = [(folder / name, is_link) for name, is_link in list_entries(folder)]
    return {path.name for path, is_link in found if path.is_dir() or (is_link and not path.exists())}


def _what_lacks(tree: Tree, split: str, folder: str) -> str:
    """Says which half of a split has no file at all; nothing if both have some."""
    images, masks = (any(_could_be(tree, half, file) for file in walk(tree.folder(half, folder))) for half in (0, 1))
    masks = masks or (tree.layout.is_indexed and tree.folder(1, folder).is_file())
    if images and masks:
        return ""
    if images:
        lack = f"split {split} has images in {tree.words(0)}/ but no masks in {tree.words(1)}/"
    elif masks:
        lack = f"split {split} has masks in {tree.words(1)}/ but no images in {tree.words(0)}/"
    else:
        lack = f"the split {split} is empty; expected files named {in_endings(tree.layout.image_endings)}"
    passed = find_files(tree, folder).passed
    others = {reason: files for reason, files in passed.items() if not reason.startswith(UNPAIRED)}
    return f"{lack}, and holds {in_words(others)}" if others else lack


def _could_be(tree: Tree, half: int, file: File) -> bool:
    """Whether a file is where images or masks are looked for, and of a kind that they or their companions have."""
    if tree.is_shared:
        return bool(id_of(file.name, tree.layout.mask_endings)) == bool(half)
    if not file.name.lower().endswith((*IMAGE_SUFFIXES, ".json", *tree.endings[half])):
        return False
    return len(file.way) <= 1 if tree.layout.is_cityscapes else True


def choose_label_map(
    tree: Tree, label_map: str | Path | None, may_lack: bool = False
) -> tuple[labels.LabelMap, str | None]:
    """Chooses the label map: the one that is asked for, or the one of the layout.

    Args:
        tree: the data set.
        label_map: the one that is asked for.
        may_lack: whether to give `samples.NO_LABEL_MAP` where there is neither.

    Returns:
        The label map, and its name if it was chosen by the layout.

    Raises:
        ValueError: the layout has none of its own, or the one that is asked for is of Cityscapes' label ids.
    """
    layout = tree.layout
    if layout.is_cityscapes and label_map is None:
        label_map = "categories"
    if label_map in labels.CITYSCAPES and (layout.is_cityscapes or layout.has_cityscapes_ids):
        return labels.CITYSCAPES[str(label_map)], None
    if label_map is None and layout.label_map and (path := PACKAGED / f"{layout.label_map}.yaml").is_file():
        return read_label_map(path), layout.label_map
    if label_map is None and may_lack:
        return NO_LABEL_MAP, None
    if label_map is None or label_map in labels.CITYSCAPES:
        what = "masks need a label map, a YAML file of `mask value: class` lines"
        if layout.form != "mask":
            what = "labels need a label map, a YAML file of `label: class` lines"
        raise ValueError(f"{tree.place}: its {what}; give --label-map, or have tfseg convert propose one")
    return read_label_map(label_map), None
