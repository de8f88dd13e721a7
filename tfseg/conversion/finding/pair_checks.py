"""Whether every image of a data set has a mask and every mask an image; if not, what lies in their place."""

import unicodedata
from collections.abc import Iterator

from tfseg.conversion.finding.files import Passed, in_endings, in_words, some, walk
from tfseg.conversion.finding.layouts import OTHER_KIND, OTHER_KINDS, Tree
from tfseg.conversion.finding.members import Files
from tfseg.conversion.finding.pairing import Affixes, find_rivals
from tfseg.conversion.reading.faults import Skipped


def check_pairs(tree: Tree, images: Files, masks: Files, affixes: Affixes, passed: dict[str, Passed]) -> None:
    """Refuses images without a mask and masks without an image, those of all splits in one message.

    Args:
        tree: the data set.
        images, masks: by split and by what they are paired by.
        affixes: what was taken off their names.
        passed: files of each split that are neither.

    Raises:
        ValueError: one lacks its partner, or a split has no file at all.
    """
    image_names, mask_names = (in_endings(own, *affix) for own, affix in zip(tree.endings, affixes, strict=True))
    besides = [f"{f'split {split} ' if split else ''}holds besides {in_words(it)}" for split, it in passed.items()]
    for split in images:
        if not images[split] and not masks[split]:
            text = f"no file {f'of split {split} ' if split else ''}is named {image_names} or {mask_names}"
            raise ValueError(f"{tree.place}: {'; '.join([text, *besides])}")
    unmasked = {(split, *key) for split in images for key in images[split].keys() - masks[split].keys()}
    imageless = {(split, *key) for split in images for key in masks[split].keys() - images[split].keys()}
    complaints = []
    if unmasked:
        complaints.append(f"{len(unmasked)} of the images have no mask {mask_names}: {_some_keys(unmasked)}")
    if imageless:
        complaints.append(f"{len(imageless)} of the masks have no image {image_names}: {_some_keys(imageless)}")
    if complaints:
        hints = [*_rivals(images, masks), *_other_kind(tree, unmasked, imageless)]
        if not (
            hints or tree.layout.is_cityscapes or any(images[split].keys() & masks[split].keys() for split in images)
        ):
            hints = ["say what their names end with by --image-suffix and --mask-suffix, if these differ"]
        if tree.layout.form == "yolo" and unmasked:
            hints.append("an empty file says that there is nothing on an image")
        complaints += hints
        advice = "add what is missing, or choose other splits with --splits"
        if any(images[split].keys() & masks[split].keys() for split in images):
            advice += ", or have tfseg convert leave it out by --skip-bad"
        complaints += [advice, *besides]
        raise ValueError(f"{tree.place}: {'; '.join(complaints)}")


def leave_out_unpaired(images: Files, masks: Files) -> list[Skipped]:
    """Takes out images without a mask and masks without an image, and lists them.

    Splits without a single pair stay as they are, and all splits where an image could have two masks: `check_pairs`
    refuses these.

    Args:
        images, masks: by split and by what they are paired by; changed in place.
    """
    if any(True for _ in _rivals(images, masks)):
        return []
    skipped = []
    for split in images:
        pairs = images[split].keys() & masks[split].keys()
        for key in sorted(images[split].keys() - pairs) if pairs else ():
            path = images[split].pop(key)
            fault = f"{path}: has no mask; add it, or remove the image"
            skipped.append(Skipped(split, "_".join(key), str(path), "", fault))
        for key in sorted(masks[split].keys() - pairs) if pairs else ():
            path = masks[split].pop(key)
            fault = f"{path}: has no image; add it, or remove the mask"
            skipped.append(Skipped(split, "_".join(key), "", str(path), fault))
    return skipped


def _some_keys(keys: set[tuple[str, ...]]) -> str:
    return some(("/".join(filter(None, key)) for key in keys), 10)


def _rivals(images: Files, masks: Files) -> Iterator[str]:
    """Says which masks could be a second one of an image."""
    for split in images:
        for key, _, other in find_rivals(images[split], masks[split]):
            yield (
                f"{masks[split][key]} and {masks[split][other]} could both be the mask of {images[split][key]}, "
                "--mask-suffix chooses"
            )
            return


def _other_kind(tree: Tree, unmasked: set[tuple[str, ...]], imageless: set[tuple[str, ...]]) -> Iterator[str]:
    """Says what lies in the place of the masks, where that is another kind of Cityscapes' files."""
    kinds = list(OTHER_KINDS)
    others = []
    lacking = {(key[0], key[-1]) for key in unmasked}
    alone = {(key[0], key[-1]) for key in imageless}
    for split in {key[0] for key in unmasked | imageless}:
        for file in walk(tree.folder(1, split)):
            match = OTHER_KIND.fullmatch(unicodedata.normalize("NFC", file.name))
            if match and ((split, match["id"]) in lacking or (split, match["stem"]) in alone):
                others.append((kinds.index(match["kind"]), file.path))
    if others:
        kind, path = min(others)
        advice = f"move such files out of {tree.words(1)}/"
        if tree.layout.is_cityscapes:
            advice = "labelIds come with the download, or are drawn from *_polygons.json by "
            advice += "`python -m cityscapesscripts.preparation.json2labelImg`"
            if kinds[kind] == "polygons":
                advice = "--layout cityscapes_polygons draws them"
        yield f"{path} is of the kind {kinds[kind]}, which {OTHER_KINDS[kinds[kind]]}; {advice}"
