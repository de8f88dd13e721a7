"""How raw data sets are laid out: the folders and the names of their files."""

import re
from typing import NamedTuple


class Layout(NamedTuple):
    """Where a data set keeps its images and masks; a name less its ending is the id."""

    name: str
    image_folder: str
    mask_folder: str
    image_endings: tuple[str, ...]
    mask_ending: str
    counts: dict[str, int]  # images a split has when nothing is lost

    @property
    def is_cityscapes(self) -> bool:
        return self.name != "folders"


_IMAGE = ("_leftImg8bit.png",)
_FINE = ("_gtFine_labelIds.png", {"train": 2975, "val": 500, "test": 1525})
_COARSE = ("_gtCoarse_labelIds.png", {"train": 2975, "train_extra": 19998, "val": 500})

LAYOUTS = (  # the first that fits is taken
    Layout("cityscapes", "leftImg8bit", "gtFine", _IMAGE, *_FINE),
    Layout("cityscapes", "leftImg8bit", "masks", _IMAGE, *_FINE),
    Layout("cityscapes", "images", "gtFine", _IMAGE, *_FINE),
    Layout("cityscapes", "images", "masks", _IMAGE, *_FINE),
    Layout("folders", "images", "masks", (".png", ".jpg", ".jpeg"), ".png", {}),
)
COARSE_LAYOUTS = (
    Layout("cityscapes_coarse", "leftImg8bit", "gtCoarse", _IMAGE, *_COARSE),
    Layout("cityscapes_coarse", "images", "gtCoarse", _IMAGE, *_COARSE),
)
SAMPLE_CITY = "sample_city.json"  # marks the generated data set, which has the files of Cityscapes but not their number

CITYSCAPES_NAME = re.compile(r".+_(leftImg8bit\.(?i:png)|gtFine_\w+\.(?i:png|json))")
IDD = "_gtFine_labelids.png"  # ends a mask of the India Driving Dataset, which has other ids
# What lies beside the masks in Cityscapes, or is made of them, the likeliest mistake first.
OTHER_KINDS = {
    "labelTrainIds": "holds the 19 train ids, from which the categories cannot be had again",
    "instanceTrainIds": "numbers single objects",
    "instanceIds": "numbers single objects",
    "color": "holds colours to look at",
    "polygons": "holds the polygons that masks are drawn from",
}
OTHER_KIND = re.compile(rf"(?P<stem>(?P<id>.+?)(_gtFine|_gtCoarse)?_(?P<kind>{'|'.join(OTHER_KINDS)}))\.(png|json)")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
# Images of other kinds, and masks.
UNREAD_SUFFIXES = (
    *(".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".jfif", ".jpe", ".ppm", ".pgm", ".pnm", ".heic", ".heif"),
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
