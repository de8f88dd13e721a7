"""The class table: Cityscapes labels -> 8 categories, names, colours and lookup arrays.

One aligned row a label, values as in the official ``cityscapesscripts/helpers/labels.py``; everything else here is
derived from it. Networks learn the 8 categories, so a category id is also the class id of a mask, a logit and a score.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Label(NamedTuple):
    """One Cityscapes label."""

    name: str
    id: int  # value of a pixel in *_labelIds.png; -1 is drawn by nobody, or stored as 255
    train_id: int  # class index of the 19-class benchmark; 255 (and -1) are left out of it
    category: str
    category_id: int
    has_instances: bool
    ignore_in_eval: bool  # ground truth pixels of it are left out of the official score
    color: tuple[int, int, int]  # RGB


LABELS = (
    #     name                    id  train_id  category     category_id  has_instances  ignore_in_eval  color
    Label("unlabeled",             0,      255, "void",                0, False,         True,  (  0,   0,   0)),
    Label("ego vehicle",           1,      255, "void",                0, False,         True,  (  0,   0,   0)),
    Label("rectification border",  2,      255, "void",                0, False,         True,  (  0,   0,   0)),
    Label("out of roi",            3,      255, "void",                0, False,         True,  (  0,   0,   0)),
    Label("static",                4,      255, "void",                0, False,         True,  (  0,   0,   0)),
    Label("dynamic",               5,      255, "void",                0, False,         True,  (111,  74,   0)),
    Label("ground",                6,      255, "void",                0, False,         True,  ( 81,   0,  81)),
    Label("road",                  7,        0, "flat",                1, False,         False, (128,  64, 128)),
    Label("sidewalk",              8,        1, "flat",                1, False,         False, (244,  35, 232)),
    Label("parking",               9,      255, "flat",                1, False,         True,  (250, 170, 160)),
    Label("rail track",           10,      255, "flat",                1, False,         True,  (230, 150, 140)),
    Label("building",             11,        2, "construction",        2, False,         False, ( 70,  70,  70)),
    Label("wall",                 12,        3, "construction",        2, False,         False, (102, 102, 156)),
    Label("fence",                13,        4, "construction",        2, False,         False, (190, 153, 153)),
    Label("guard rail",           14,      255, "construction",        2, False,         True,  (180, 165, 180)),
    Label("bridge",               15,      255, "construction",        2, False,         True,  (150, 100, 100)),
    Label("tunnel",               16,      255, "construction",        2, False,         True,  (150, 120,  90)),
    Label("pole",                 17,        5, "object",              3, False,         False, (153, 153, 153)),
    Label("polegroup",            18,      255, "object",              3, False,         True,  (153, 153, 153)),
    Label("traffic light",        19,        6, "object",              3, False,         False, (250, 170,  30)),
    Label("traffic sign",         20,        7, "object",              3, False,         False, (220, 220,   0)),
    Label("vegetation",           21,        8, "nature",              4, False,         False, (107, 142,  35)),
    Label("terrain",              22,        9, "nature",              4, False,         False, (152, 251, 152)),
    Label("sky",                  23,       10, "sky",                 5, False,         False, ( 70, 130, 180)),
    Label("person",               24,       11, "human",               6, True,          False, (220,  20,  60)),
    Label("rider",                25,       12, "human",               6, True,          False, (255,   0,   0)),
    Label("car",                  26,       13, "vehicle",             7, True,          False, (  0,   0, 142)),
    Label("truck",                27,       14, "vehicle",             7, True,          False, (  0,   0,  70)),
    Label("bus",                  28,       15, "vehicle",             7, True,          False, (  0,  60, 100)),
    Label("caravan",              29,      255, "vehicle",             7, True,          True,  (  0,   0,  90)),
    Label("trailer",              30,      255, "vehicle",             7, True,          True,  (  0,   0, 110)),
    Label("train",                31,       16, "vehicle",             7, True,          False, (  0,  80, 100)),
    Label("motorcycle",           32,       17, "vehicle",             7, True,          False, (  0,   0, 230)),
    Label("bicycle",              33,       18, "vehicle",             7, True,          False, (119,  11,  32)),
    Label("license plate",        -1,       -1, "vehicle",             7, False,         True,  (  0,   0, 142)),
)  # fmt: skip

CATEGORIES = tuple(dict.fromkeys(label.category for label in LABELS))
VOID = CATEGORIES.index("void")

# One colour a category: that of its most common label.
CATEGORY_COLORS = np.array(
    [
        next(label.color for label in LABELS if label.name == name)
        for name in ("unlabeled", "road", "building", "pole", "vegetation", "sky", "person", "car")
    ],
    np.uint8,
)

# In a lookup array this stands for "no such value"; it is no category.
UNKNOWN = 255


def _lookup(categories_by_value: Mapping[int, int]) -> np.ndarray:
    lookup = np.full(256, UNKNOWN, np.uint8)
    for value, category in categories_by_value.items():
        lookup[value] = category  # -1, the license plate, is 255 in a uint8 picture: the last place of the array
    return lookup


# (256,) uint8: label id of a pixel -> category id. Ids that the table lacks give UNKNOWN.
CITYSCAPES_LOOKUP = _lookup({label.id: label.category_id for label in LABELS})


def read_label_map(path: str | Path) -> np.ndarray:
    """Reads a YAML file of `mask value: category name` lines, for a data set other than Cityscapes.

    Returns:
        (256,) uint8, mask value -> category id; values that the file does not name give `UNKNOWN`.

    Raises:
        ValueError: the file is no such mapping, a value is not in 0..255, or a name is not one of `CATEGORIES`.
        OSError: the file cannot be read.
    """
    import yaml

    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{path}: expected lines of `mask value: category name`, got {type(entries).__name__}")
    for value, name in entries.items():
        if type(value) is not int or not 0 <= value <= 255:
            raise ValueError(f"{path}: mask value {value!r} is not an integer in 0..255")
        if name not in CATEGORIES:
            raise ValueError(
                f"{path}: value {value} has the category {name!r}; it must be one of {', '.join(CATEGORIES)}"
            )
    return _lookup({value: CATEGORIES.index(name) for value, name in entries.items()})


def remap(mask: np.ndarray, lookup: np.ndarray = CITYSCAPES_LOOKUP) -> np.ndarray:
    """Turns a raw mask into category ids.

    Args:
        mask: (...) uint8, the raw values (for Cityscapes: label ids).
        lookup: (256,) uint8, see `CITYSCAPES_LOOKUP` and `read_label_map`.

    Returns:
        uint8 of the same shape, values 0..7.

    Raises:
        ValueError: the mask holds a value that the lookup does not know.
    """
    check_known(mask, lookup)
    # A table over bytes is four times faster than indexing with them, which makes 64-bit integers of them first.
    return np.frombuffer(mask.tobytes().translate(lookup.tobytes()), np.uint8).reshape(mask.shape)


def check_known(mask: np.ndarray, lookup: np.ndarray = CITYSCAPES_LOOKUP) -> None:
    """Refuses a raw mask, (...) uint8, with a value that the lookup does not know.

    Raises:
        ValueError: it has one; the message names all of them.
    """
    if (lookup[: int(mask.max(initial=0)) + 1] != UNKNOWN).all():  # the common case, without counting the values
        return
    unknown = [value for value in np.unique(mask).tolist() if lookup[value] == UNKNOWN]
    if unknown:
        known = np.flatnonzero(lookup != UNKNOWN).tolist()
        raise ValueError(f"mask values {unknown} are not in the label map, which knows {known}")
