"""The class table: Cityscapes labels -> the classes that a network learns: 8 categories, 19 train ids, or a file's.

Files of label maps are read by `label_map_files`.

One aligned row a label, values as in the official ``cityscapesscripts/helpers/labels.py``; the label maps of Cityscapes
are derived from it. A class id is the value of a stored mask, and the place of a logit and a score.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np


class Label(NamedTuple):
    """One Cityscapes label."""

    name: str
    id: int  # value of a pixel in *_labelIds.png; -1 is drawn by nobody
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

# In a lookup array this stands for "no such value"; it is no class.
UNKNOWN = 255
# No official mask of Cityscapes holds it; tools that make masks of their own write it for void.
NO_LABEL = 255


Color = tuple[int, int, int]  # red, green, blue in 0..255


@dataclass(frozen=True)
class LabelMap:
    """What becomes of ground truth: the classes that are distinguished, and what in a mask or polygon is of which.

    Example:
        label_map = read_label_map("map.yaml")  # classes: {road: [128, 64, 128], sky: [70, 130, 180]}, 3: road
        label_map.classes                       # ("void", "road", "sky")
        label_map.lookup[3]                     # 1, the class id of road
        label_map.by_color[(70, 130, 180)]      # 2, the class id of sky
    """

    classes: tuple[str, ...]  # names in the order of the class ids; the first is void, which counts nowhere
    colors: np.ndarray  # (C, 3) uint8 RGB, of the classes
    lookup: np.ndarray  # (256,) uint8, value of a raw mask -> class id, or `UNKNOWN`; see `filled`
    own_colors: bool = False  # the colours are of the masks' makers, not the categories' for want of others
    by_color: dict[Color, int] = field(default_factory=dict)  # RGB of a mask in colours -> class id
    by_label: dict[str, int] = field(default_factory=dict)  # label of a polygon or layer -> class id
    default: int | None = None  # class id of what has no entry; None: that is an error
    wide: np.ndarray | None = None  # (65536,) uint8, as `lookup`; None: no value above 255 has an entry
    later_wins: bool = False  # of layers that overlap, the one whose class id is higher; otherwise they are refused

    @property
    def names(self) -> dict[int, str]:
        """Value of a raw mask -> class, for reading; `lookup` holds the same for work."""
        return {int(value): self.classes[self.lookup[value]] for value in np.flatnonzero(self.lookup != UNKNOWN)}

    @property
    def uncovered(self) -> int:
        """Class id of pixels that no polygon or layer covers: the default, else a class named background, else void."""
        if self.default is not None:
            return self.default
        return self.classes.index(BACKGROUND) if BACKGROUND in self.classes else VOID

    def filled(self) -> "LabelMap":
        """The same with the default, if there is one, for all values that have no entry."""
        if self.default is None:
            return self
        lookup = np.where(self.lookup == UNKNOWN, self.default, self.lookup).astype(np.uint8)
        wide = None if self.wide is None else np.where(self.wide == UNKNOWN, self.default, self.wide).astype(np.uint8)
        return replace(self, lookup=lookup, wide=wide)

    def of_class_ids(self) -> "LabelMap":
        """The label map of masks that hold class ids: each is of itself."""
        lookup = np.full(256, UNKNOWN, np.uint8)
        lookup[: len(self.classes)] = np.arange(len(self.classes))
        return replace(self, lookup=lookup, wide=None)


def make_label_map(
    classes: Mapping[str, Sequence[int]], names: Mapping[int, str], own_colors: bool = False
) -> LabelMap:
    """Makes a label map of mask values alone.

    Args:
        classes: name -> RGB colour in 0..255, in the order of the class ids.
        names: value of a raw mask in 0..255 -> name of its class.
        own_colors: see `LabelMap`.
    """
    colors = np.array(list(classes.values()), np.uint8)
    return LabelMap(tuple(classes), colors, make_lookup([*classes], names), own_colors)


def _make_cityscapes(classes: Mapping[str, Color], class_of: Mapping[str, str]) -> LabelMap:
    """Makes a label map of Cityscapes, by label ids, names and colours.

    Args:
        classes: as of `make_label_map`.
        class_of: name of a label -> name of its class.
    """
    names = {label.id: class_of[label.name] for label in DRAWN} | {NO_LABEL: "void"}
    ids = {name: place for place, name in enumerate(classes)}
    # Pole and polegroup have one colour: which only their ids distinguish, they are poles where that is read.
    first_of_color = {label.color: label.name for label in reversed(DRAWN)}
    return replace(
        make_label_map(classes, names, own_colors=True),
        by_color={color: ids[class_of[name]] for color, name in first_of_color.items()},
        by_label=ids | {name: ids[its_class] for name, its_class in class_of.items()},
    )


def make_lookup(classes: Sequence[str], names: Mapping[int, str]) -> np.ndarray:
    """Makes the lookup of a `LabelMap`, (256,) uint8.

    Args:
        classes: in the order of the class ids.
        names: value of a raw mask -> name of its class.

    Raises:
        ValueError: a value is not in 0..255, or a name is none of the classes.
    """
    lookup = np.full(256, UNKNOWN, np.uint8)
    for value, name in names.items():
        if name not in classes or not 0 <= value <= 255:
            raise ValueError(f"maps the mask value {value} to {name}, expected 0 to 255 and one of the classes")
        lookup[value] = classes.index(name)
    return lookup


def _color_of(name: str) -> tuple[int, int, int]:
    return next(label.color for label in LABELS if label.name == name)


BACKGROUND = "background"  # a class of this name takes what no polygon or layer covers
CATEGORIES = tuple(dict.fromkeys(label.category for label in LABELS))
VOID = CATEGORIES.index("void")  # of every label map
# The 19 classes of the benchmark, which alone count in the official score.
BY_TRAIN_ID = sorted((label for label in LABELS if not label.ignore_in_eval), key=lambda label: label.train_id)

DRAWN = [label for label in LABELS if label.id >= 0]

# One colour a category: that of its most common label.
_COMMON = ("unlabeled", "road", "building", "pole", "vegetation", "sky", "person", "car")
CITYSCAPES = {  # the label maps of Cityscapes, by their names
    "categories": _make_cityscapes(
        dict(zip(CATEGORIES, map(_color_of, _COMMON), strict=True)),
        {label.name: label.category for label in LABELS},
    ),
    "train_ids": _make_cityscapes(  # class id = train id + 1
        {"void": _color_of("unlabeled")} | {label.name: label.color for label in BY_TRAIN_ID},
        {label.name: "void" if label.ignore_in_eval else label.name for label in LABELS},
    ),
}
CATEGORY_COLORS = CITYSCAPES["categories"].colors
CITYSCAPES_LOOKUP = CITYSCAPES["categories"].lookup


def one_class_fault(names: Iterable[str]) -> str | None:
    """Says that the classes of masks leave nothing to learn: a network that calls all one thing would be right."""
    learnt = sorted({*names} - {"void"})
    if len(learnt) > 1:
        return None
    if not learnt:
        return "no class is left to learn, since void counts nowhere; name at least two classes besides it"
    return (
        f"one class is left to learn, {learnt[0]}, since void counts nowhere; name the background as a class, such as "
        f"`classes: {{background: [0, 0, 0], {learnt[0]}: [255, 0, 0]}}`"
    )


def remap(mask: np.ndarray, lookup: np.ndarray = CITYSCAPES_LOOKUP) -> np.ndarray:
    """Turns a raw mask into class ids.

    Args:
        mask: (...) uint8, the raw values (for Cityscapes: label ids).
        lookup: (256,) uint8, see `LabelMap`.

    Returns:
        uint8 of the same shape, class ids.

    Raises:
        ValueError: the mask holds a value that the lookup does not know.
    """
    check_known(mask, lookup)
    # A table over bytes is four times faster than indexing with them, which makes 64-bit integers of them first.
    return np.frombuffer(mask.tobytes().translate(lookup.tobytes()), np.uint8).reshape(mask.shape)


def remap_counts(counts: np.ndarray, lookup: np.ndarray = CITYSCAPES_LOOKUP) -> np.ndarray:
    """Turns the pixels of each raw value, (256,) int64, into those of each class id, (256,) int64, as `remap` would."""
    classes = np.zeros(256, np.int64)
    np.add.at(classes, lookup, counts)
    return classes


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
