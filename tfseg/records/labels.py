"""The class table: Cityscapes labels -> the classes that a network learns: 8 categories, 19 train ids, or a file's.

One aligned row a label, values as in the official ``cityscapesscripts/helpers/labels.py``; the label maps of Cityscapes
are derived from it. A class id is the value of a stored mask, and the place of a logit and a score.
"""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.io.escaping import shorten
from tfseg.io.names import check_text


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


@dataclass(frozen=True)
class LabelMap:
    """What becomes of a raw mask: the classes that are distinguished, and of which of them each of its values is."""

    classes: tuple[str, ...]  # names in the order of the class ids; the first is void, which counts nowhere
    colors: np.ndarray  # (C, 3) uint8 RGB, of the classes
    lookup: np.ndarray  # (256,) uint8, value of a raw mask -> class id, or `UNKNOWN`
    own_colors: bool = False  # the colours are of the masks' makers, not the categories' for want of others

    @property
    def names(self) -> dict[int, str]:
        """Value of a raw mask -> class, for reading; `lookup` holds the same for work."""
        return {int(value): self.classes[self.lookup[value]] for value in np.flatnonzero(self.lookup != UNKNOWN)}


def make_label_map(
    classes: Mapping[str, Sequence[int]], names: Mapping[int, str], own_colors: bool = False
) -> LabelMap:
    """Makes a label map.

    Args:
        classes: name -> RGB colour in 0..255, in the order of the class ids.
        names: value of a raw mask in 0..255 -> name of its class.
        own_colors: see `LabelMap`.
    """
    colors = np.array(list(classes.values()), np.uint8)
    return LabelMap(tuple(classes), colors, make_lookup([*classes], names), own_colors)


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


CATEGORIES = tuple(dict.fromkeys(label.category for label in LABELS))
VOID = CATEGORIES.index("void")  # of every label map
# The 19 classes of the benchmark, which alone count in the official score.
BY_TRAIN_ID = sorted((label for label in LABELS if not label.ignore_in_eval), key=lambda label: label.train_id)

DRAWN = [label for label in LABELS if label.id >= 0]

# One colour a category: that of its most common label.
_COMMON = ("unlabeled", "road", "building", "pole", "vegetation", "sky", "person", "car")
CITYSCAPES = {  # the label maps of Cityscapes, by their names
    "categories": make_label_map(
        dict(zip(CATEGORIES, map(_color_of, _COMMON), strict=True)),
        {label.id: label.category for label in DRAWN} | {NO_LABEL: "void"},
        own_colors=True,
    ),
    "train_ids": make_label_map(  # class id = train id + 1
        {"void": _color_of("unlabeled")} | {label.name: label.color for label in BY_TRAIN_ID},
        {label.id: "void" if label.ignore_in_eval else label.name for label in DRAWN} | {NO_LABEL: "void"},
        own_colors=True,
    ),
}
CATEGORY_COLORS = CITYSCAPES["categories"].colors
CITYSCAPES_LOOKUP = CITYSCAPES["categories"].lookup


def read_label_map(path: str | Path) -> LabelMap:
    """Reads a YAML file of `mask value: class` lines.

    The classes are the 8 categories of Cityscapes, unless an entry `classes` gives the names and colours of others, in
    the order of their ids:

        classes: {void: [0, 0, 0], sky: [128, 128, 128], building: [128, 0, 0]}
        0: sky
        1: building
        11: void

    Void, which counts nowhere, comes first. Where `classes` does not name it, it is put there all the same: no mask
    value is of it then, but what augmentation brings in from outside of an image.

    Raises:
        ValueError: the file is no such mapping or has a key twice, a value is not in 0..255, a name is not one of the
            classes, these are not up to 255 names with an RGB colour each, void first if at all, or besides void one is
            left.
        OSError: the file cannot be read.
    """
    entries = _read_entries(path)
    classes, own = dict(zip(CATEGORIES, CATEGORY_COLORS.tolist(), strict=True)), False
    if "classes" in entries:
        classes, own = _with_void(path, entries.pop("classes")), True
    for value, name in entries.items():
        if type(value) is not int or not 0 <= value <= 255:
            raise ValueError(f"{path}: mask value {reprlib.repr(value)} is not an integer in 0..255")
        if name not in [*classes]:  # a list has no hash
            raise ValueError(
                f"{path}: value {value} has the class {reprlib.repr(name)}; it must be one of "
                f"{shorten(', '.join(classes))}"
            )
    # Of classes of its own all that it names: their masks may be in another split. Of the categories those in use.
    learnt = classes if own else {*entries.values()}
    if "void" in learnt and (fault := one_class_fault(learnt)):
        raise ValueError(f"{path}: {fault}")
    return make_label_map(classes, entries, own)


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


def _read_entries(path: str | Path) -> dict:
    from tfseg.io.yaml_reader import read_yaml

    entries = read_yaml(path)
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{path}: expected lines of `mask value: class`, got {type(entries).__name__}")
    return entries


def _with_void(path: str | Path, classes: object) -> dict[str, list[int]]:
    """Checks the entry `classes`, and puts void before them if it is not there."""
    if not isinstance(classes, dict) or not classes:
        raise ValueError(f"{path}: classes: expected 2 to {UNKNOWN} lines of `name: [red, green, blue]`")
    for name, color in classes.items():
        is_color = isinstance(color, list) and len(color) == 3 and all(type(part) is int for part in color)
        if not isinstance(name, str) or not is_color or not 0 <= min(color) <= max(color) <= 255:
            shown = f"{shorten(name)}: {shorten(color if isinstance(color, str) else reprlib.repr(color))}"
            raise ValueError(f"{path}: classes: expected `name: [red, green, blue]` in 0..255, got `{shown}`")
        try:
            check_text(name, "class")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if "void" in classes and (first := [*classes][VOID]) != "void":
        raise ValueError(
            f"{path}: classes: expected void first, which counts nowhere, got {shorten(first)}; or leave void out"
        )
    if odd := [name for name in classes if name != "void" and name.strip().lower() == "void"]:
        raise ValueError(f"{path}: classes: {odd[0]!r} is not void, which is written in small letters")
    if "void" not in classes:
        greys = [[0, 0, 0], [255, 255, 255], *([level] * 3 for level in range(254, 0, -1))]
        classes = {"void": next(color for color in greys if color not in [*classes.values()])} | classes
    if not 2 <= len(classes) <= UNKNOWN:
        raise ValueError(f"{path}: classes: expected 2 to {UNKNOWN} lines of `name: [red, green, blue]`, void counted")
    return classes


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
