"""How raw data sets are laid out: the folders and the names of their files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tfseg.io.images import IMAGE_SUFFIXES

SPLIT = "{split}"  # in the path of a layout: stands for the folder of each split

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp")


class Layout(NamedTuple):
    """Where a data set keeps its images and masks, and how their files are named.

    A name less its ending is the stem by which images and masks are paired. Where the endings are no more than kinds of
    files, such as .png, what all stems have in common is taken off too, see `pairing`.
    """

    name: str
    images: str  # path below the root; the data set has no folders of splits if SPLIT is not in it
    masks: str
    image_endings: tuple[str, ...] = IMAGE_SUFFIXES
    mask_endings: tuple[str, ...] = MASK_SUFFIXES
    counts: Mapping[str, int] = MappingProxyType({})  # images a split has when nothing is lost
    any_split: bool = False  # a folder of any name is a split, under that name; else see SPLIT_NAMES
    label_map: str | None = None  # the ready label map of the values that the makers of the data set have laid down
    has_cityscapes_ids: bool = False  # under other names than those of Cityscapes
    lists: str = ""  # folder with a list of ids, SPLIT.txt, for each split; images in none are no part of the data set
    joins_folders: bool = False  # a folder of any name is looked into; if none is a split's, it is part of the id
    form: str = "mask"  # of `samples.FORMS`

    @property
    def is_cityscapes(self) -> bool:
        return self.name.startswith("cityscapes")

    @property
    def is_indexed(self) -> bool:
        """Whether one file says what is on many images; `masks` is its path."""
        return self.form in ("coco", "label_studio")

    @property
    def has_splits(self) -> bool:
        return SPLIT in self.images

    @property
    def image_folder(self) -> str:
        return _in_words(self.images)

    @property
    def mask_folder(self) -> str:
        return _in_words(self.masks)


def _in_words(path: str) -> str:
    return path.removesuffix(f"/{SPLIT}").replace(SPLIT, "SPLIT")


@dataclass(frozen=True)
class Tree:
    """A data set on disk of which the layout is known."""

    layout: Layout
    place: Path  # that errors begin with
    roots: tuple[Path, Path]  # that the folders of images and of masks are below of: twice the root, or two folders
    found: str = ""  # what was recognised, in words; nothing for the trees that need none

    def folder(self, half: int, split: str) -> Path:
        """Where images (half 0) or masks (half 1) of a split lie."""
        path = (self.layout.images, self.layout.masks)[half].replace(SPLIT, split).strip("/")
        return self.roots[half] / path if path else self.roots[half]

    def words(self, half: int) -> str:
        """What the folder of images (half 0) or masks (half 1) is called in errors."""
        if self.layout.images in ("", SPLIT) and (not self.layout.images or self.roots[0] != self.roots[1]):
            return str(self.roots[half])
        return (self.layout.image_folder, self.layout.mask_folder)[half]

    @property
    def endings(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.layout.image_endings, self.layout.mask_endings

    @property
    def is_shared(self) -> bool:
        """Whether images and masks lie in the same folders."""
        return self.roots[0] == self.roots[1] and self.layout.images == self.layout.masks


# What folders of splits are called, in small letters -> the split.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "train2017", "train2014"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val2017", "val2014"), "val"),
    **dict.fromkeys(("test", "testing", "test2017", "test2014"), "test"),
}

_IMAGE = tuple(f"_leftImg8bit{suffix}" for suffix in (".png", ".jpg", ".jpeg"))
_FINE = (("_gtFine_labelIds.png",), {"train": 2975, "val": 500, "test": 1525}, True)
_COARSE = (("_gtCoarse_labelIds.png",), {"train": 2975, "train_extra": 19998, "val": 500}, True)
_PLAIN = (IMAGE_SUFFIXES, MASK_SUFFIXES, MappingProxyType({}), True)

LAYOUTS = (  # the first that fits is taken
    Layout("cityscapes", "leftImg8bit/{split}", "gtFine/{split}", _IMAGE, *_FINE),
    Layout("cityscapes", "leftImg8bit/{split}", "masks/{split}", _IMAGE, *_FINE),
    Layout("cityscapes", "images/{split}", "gtFine/{split}", _IMAGE, *_FINE),
    Layout("cityscapes", "images/{split}", "masks/{split}", _IMAGE, *_FINE),
    Layout("folders", "images/{split}", "masks/{split}", *_PLAIN),
)
COARSE_LAYOUTS = (
    Layout("cityscapes_coarse", "leftImg8bit/{split}", "gtCoarse/{split}", _IMAGE, *_COARSE),
    Layout("cityscapes_coarse", "images/{split}", "gtCoarse/{split}", _IMAGE, *_COARSE),
)
SAMPLE_CITY = "sample_city.json"  # marks the generated data set, which has the files of Cityscapes but not their number

CITYSCAPES_NAME = re.compile(r".+_(leftImg8bit\.(?i:png|jpe?g)|gtFine_\w+\.(?i:png|json))")
IDD_NAME = re.compile(r".+_gtFine_label(ids|csIds|csTrainIds|level\dIds)\.png")  # of the India Driving Dataset
# What lies beside the masks in Cityscapes, or is made of them, the likeliest mistake first.
OTHER_KINDS = {
    "labelTrainIds": "holds the 19 train ids, from which the categories cannot be had again",
    "instanceTrainIds": "numbers single objects",
    "instanceIds": "numbers single objects",
    "color": "holds colours to look at",
    "polygons": "holds the polygons that masks are drawn from",
}
OTHER_KIND = re.compile(rf"(?P<stem>(?P<id>.+?)(_gtFine|_gtCoarse)?_(?P<kind>{'|'.join(OTHER_KINDS)}))\.(png|json)")
# What the tools of Cityscapes and IDD make beside the masks, and no label map can make classes of.
MADE_BESIDE = re.compile(r".+_gt(Fine|Coarse)_(color|instance\w*)\.png")
# Images of other kinds, and masks.
UNREAD_SUFFIXES = (
    *(".gif", ".jp2", ".jfif", ".jpe", ".ppm", ".pgm", ".pnm", ".heic", ".heif"),
    *(".avif", ".exr", ".tga", ".dng", ".cr2", ".nef", ".arw", ".npy", ".npz", ".mat", ".svg"),
)
NOTE_SUFFIXES = (".json", ".txt", ".md", ".xml", ".csv", ".yaml", ".yml", ".html", ".pdf", ".log", ".py", ".sh")
# No look at such a file itself, which is slow on a network disk.
FILE_SUFFIXES = (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES, *NOTE_SUFFIXES)
DEEPEST = 16  # folders in folders that are looked into


def id_of(name: str, endings: tuple[str, ...]) -> str | None:
    """A name less its ending, of which capitals count up to the last dot; None if it has none of the endings."""
    for ending in endings:
        kind, _, suffix = ending.rpartition(".")
        if name.lower().endswith(f".{suffix}") and name[: -len(suffix) - 1].endswith(kind) and len(name) > len(ending):
            return name[: -len(ending)]
    return None


def make_endings(suffix: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Makes endings of what a user wrote: "_mask.png" is one, "_mask" stands for one of each kind of files.

    Raises:
        ValueError: nothing is left of it, or it has separators of folders.

    Example:
        >>> make_endings("_L", (".png", ".bmp"))
        ('_L.png', '_L.bmp')
    """
    if not suffix.strip() or "/" in suffix or "\\" in suffix:
        raise ValueError(f"expected the ending of the names of files, such as _mask or _mask.png, got {suffix!r}")
    if suffix.lower().endswith(kinds):
        return (suffix,)
    if suffix.lower().endswith((*IMAGE_SUFFIXES, *UNREAD_SUFFIXES)):
        raise ValueError(f"expected an ending of files of the kind {', '.join(kinds)}, got {suffix!r}")
    return tuple(f"{suffix}{kind}" for kind in kinds)
