"""Which mask belongs to which image, by their names: what all names of a data set have in common is taken off.

    images/0001.jpg               masks/0001_mask.png                   all masks end with _mask
    images/a_leftImg8bit.png      masks/a_gtFine_labelTrainIds.png      the images have an ending of their own, too
    images/0001.jpg               masks/gt_0001.png                     all masks begin with gt_

An ending begins at a mark such as _ or at a letter behind a digit, and only what all images or all masks share counts.
Of all affixes that could be, those are taken by which most masks have an image; names that are the same come first.
"""

import itertools
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

Key = tuple[str, ...]  # folders and name: what images and masks are paired by

# Endings that masks may share and that are not taken off unless asked for: such files hold no class of each pixel.
NO_CLASSES = ("instanceTrainIds", "instanceIds", "instances", "color", "colors", "overlay")
_SUFFIX_START = re.compile(r"(?=[^0-9A-Za-z])|(?<=[0-9])(?=[A-Za-z])")
_PREFIX_END = re.compile(r"(?<=[^0-9A-Za-z])|(?<=[A-Za-z])(?=[0-9])")


class Affix(NamedTuple):
    """What is taken off a name, at one of its ends."""

    prefix: str = ""
    suffix: str = ""

    def strip(self, key: Key) -> Key:
        """Takes it off the name that all keys have it in."""
        return (*key[:-1], key[-1][len(self.prefix) : len(key[-1]) - len(self.suffix)])


class Affixes(NamedTuple):
    """What is taken off the names of images and of masks before they are the same."""

    image: Affix = Affix()
    mask: Affix = Affix()


def find_affixes(
    images: Collection[Key], masks: Collection[Key], is_given: tuple[bool, bool] = (False, False)
) -> Affixes:
    """Finds what is to be taken off the names of images and masks, so that they pair.

    Args:
        images: keys of all images of a data set.
        masks: keys of all its masks.
        is_given: whether the endings of images and of masks are known, so that nothing more is taken off.

    Returns:
        The affixes by which most masks have an image; none, so that names are the same, if no affixes pair any.

    Raises:
        ValueError: affixes of two kinds pair equally many, and one image with different masks.

    Example:
        >>> find_affixes([("a",), ("b",)], [("a_mask",), ("b_mask",)]).mask
        Affix(prefix='', suffix='_mask')
    """
    whole, best, most = {*masks}, [Affixes()], 0
    if whole == {*images}:
        return Affixes()
    mask_affixes = [Affix()] if is_given[1] else _affixes(masks)
    # Of a single image and a single mask, everything is what all have in common.
    for image_affix in [Affix()] if is_given[0] or len(whole) < 2 else _affixes(images):
        there = {image_affix.strip(key) for key in images}
        for mask_affix in mask_affixes:
            count = sum(mask_affix.strip(key) in there for key in whole)
            if count > most:
                best, most = [], count
            if count and count == most:
                best.append(Affixes(image_affix, mask_affix))
    _refuse_ambiguity(best, images, masks)
    return best[0]


def _affixes(keys: Collection[Key]) -> list[Affix]:
    """All that names have in common at their beginning or end, nothing first and then the shortest."""
    names = sorted({key[-1] for key in keys})
    suffix = _common_beginning([name[::-1] for name in names])[::-1]
    prefix = _common_beginning(names)
    shortest = min(map(len, names), default=0)
    suffixes = [suffix[start:] for start in range(len(suffix)) if _all_part(names, _SUFFIX_START, start - len(suffix))]
    prefixes = [prefix[:end] for end in range(1, len(prefix) + 1) if _all_part(names, _PREFIX_END, end)]
    of_no_class = tuple(f"{mark}{kind}" for kind in NO_CLASSES for mark in "_-.")
    return [
        Affix(),
        *(Affix(suffix=it) for it in _likely(suffixes, shortest) if not it.endswith(of_no_class)),
        *(Affix(prefix=it) for it in _likely(prefixes, shortest)),
    ]


def _common_beginning(names: list[str]) -> str:
    """What all names begin with: what the first and the last of them in order do."""
    first, last = min(names, default=""), max(names, default="")
    equal = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return first[: len([*equal])]


def _all_part(names: list[str], pattern: re.Pattern[str], place: int) -> bool:
    """Whether every name may be parted at a place, counted from its end if that is below 0."""
    return all(pattern.match(name, place if place >= 0 else max(0, len(name) + place)) for name in names)


def _likely(parts: list[str], shortest: int) -> list[str]:
    """Those that leave something of every name and are no mere number, the shortest first."""
    kept = [part for part in parts if len(part) < shortest and any(map(str.isalpha, part))]
    return sorted(kept, key=len)


def _refuse_ambiguity(found: list[Affixes], images: Collection[Key], masks: Collection[Key]) -> None:
    """Refuses affixes that are equally good and give an image two masks."""
    if len(found) < 2:
        return
    image_of = [{affixes.image.strip(key): key for key in images} for affixes in found]
    mask_of: dict[Key, Key] = {}
    for key in masks:
        for affixes, known in zip(found, image_of, strict=True):
            image = known.get(affixes.mask.strip(key))
            if image is not None and mask_of.setdefault(image, key) != key:
                names = " and ".join("/".join(it) for it in sorted((mask_of[image], key)))
                raise ValueError(
                    f"the masks {names} could both be that of the image {'/'.join(image)}, by what is taken off their "
                    "names; give --mask-suffix"
                )


def find_rivals(images: Collection[Key], masks: Collection[Key]) -> Iterator[tuple[Key, Key, Key]]:
    """Finds masks without an image whose name begins with that of an image that has a mask already.

    Yields:
        The image, its mask and the other one.
    """
    there, known = {*images}, {*masks}
    for key in sorted(known - there):
        *way, name = key
        for match in _SUFFIX_START.finditer(name):
            image = (*way, name[: match.start()])
            if image in there and image in known:
                yield image, image, key
                break
