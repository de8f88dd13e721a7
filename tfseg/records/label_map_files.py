"""Files of label maps -> `labels.LabelMap`: which mask values, colours and names of labels are of which class.

    classes: {void: [0, 0, 0], road: [128, 64, 128], sky: "#4682b4", thing: null}
    colors: {road: [[128, 64, 255], "#aa66aa"]}   # more colours of a class
    3: road                                        # a mask value, 0 to 65535; -1 stands for 255
    "4, 7-9": thing                                # several, and ranges; as [4, 7-9]: thing too
    "#ff0000": thing                               # a colour
    traffic cone: thing                            # a label of polygons or layers; of Cityscapes' its mask value too,
                                                   # as mask values are labels too: 3 is the label "3"
    ignore: [255, "#ffffff", border]               # the same kinds of keys: they are void
    default: thing                                 # the class of all that has no entry
    overlap: later                                 # of layers that overlap, the later one of `classes` wins

Without `classes`, they are the 8 categories of Cityscapes. `classes` may be a list of names as well: these get colours
that the colour-blind can distinguish.
"""

import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from tfseg.io.escaping import shorten
from tfseg.io.names import check_text
from tfseg.io.yaml_reader import read_yaml
from tfseg.records import labels
from tfseg.records.labels import UNKNOWN, VOID, Color, LabelMap
from tfseg.records.palette import choose_colors

PACKAGED = Path(__file__).parent / "label_maps"
SETTINGS = ("classes", "colors", "default", "ignore", "overlap")  # keys that are not of masks
LARGEST_VALUE = 65535  # of a mask of 16 bits
_ITEM = r"\s*-?\d{1,9}\s*(-\s*\d{1,9}\s*)?"
_VALUES = re.compile(rf"{_ITEM}(,{_ITEM})*")  # "1, 3-5"
_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_LABEL_IDS = {label.name: label.id for label in labels.DRAWN}
Thing = int | Color | str  # what a class is given to: a mask value, a colour, or a label


class Claim(NamedTuple):
    """Who claims a mask value, colour or label for which class."""

    class_id: int
    key: str  # as the file writes it


def packaged_names() -> list[str]:
    """Names of the label maps that come with the package, besides those of `labels.CITYSCAPES`."""
    return sorted(path.stem for path in PACKAGED.glob("*.yaml"))


def read_label_map(path: str | Path) -> LabelMap:
    """Reads a label map: a YAML file as of the head of this module, or one that comes with the package, by its name.

    Void, which counts nowhere, comes first. Where `classes` does not name it, it is put there all the same: no mask
    value is of it then, but what augmentation brings in from outside of an image.

    Args:
        path: of the file; or a name of `labels.CITYSCAPES` or `packaged_names`.

    Raises:
        ValueError: the file is no such mapping; a mask value, a colour or a label is given twice, or cannot be read as
            one; a name is not one of the classes; these are not up to 255 names, void first if at all; besides void
            one is left; or the name of one of the package is that of a file here, too.
        OSError: the file cannot be read.

    Example:
        read_label_map("camvid").names[0]  # "sky"
    """
    if isinstance(path, str) and path in labels.CITYSCAPES:
        return labels.CITYSCAPES[path]
    if isinstance(path, str) and path in packaged_names():
        if Path(path).is_file():
            raise ValueError(
                f"{path}: is both a file here and the name of a label map of the package; the file is ./{path}"
            )
        path = PACKAGED / f"{path}.yaml"
    try:
        return _Reader(path).read()
    except FileNotFoundError:
        names = ", ".join([*labels.CITYSCAPES, *packaged_names()])
        raise FileNotFoundError(f"{path}: no such file, and no label map of the package; these are {names}") from None


class _Reader:
    """Reads one file."""

    def __init__(self, path: str | Path):
        self.path = path
        self.classes: dict[str, Color] = {}
        self.given: dict[str, Color] = {}  # colours that the file gives to its classes
        self.own = False  # whether the classes are the file's
        self.claims: dict[Thing, Claim] = {}
        self.named: set[str] = set()  # classes that something is mapped to

    def read(self) -> LabelMap:
        entries = read_yaml(self.path, list_keys=True)
        if not isinstance(entries, dict) or not entries:
            self._refuse(f"expected lines of `mask value: class`, got {type(entries).__name__}")
        for key in entries:
            if isinstance(key, str) and key not in SETTINGS and key.lower() in SETTINGS:
                self._refuse(f"{shorten(key)}: is written {key.lower()}, in small letters")
        settings = {name: entries.pop(name) for name in SETTINGS if name in entries}
        more_colors = self._read_colors(settings.get("colors", {}))
        self._take_classes(settings, more_colors)
        for key, name in entries.items():
            for thing in self._read_key(key):
                self._claim(thing, self._class_id(name, f"{_kind_of(thing).split()[-1]} {_show(key)}"), _show(key))
        for name, colors in more_colors.items():
            class_id = self._class_id(name, "colors: a line", known_as_key=True)
            for color in colors:
                self._claim(color, class_id, f"colors: {shorten(name)}")
        if "ignore" in settings:
            self._ignore(settings["ignore"])
        default = self._class_id(settings["default"], "default") if "default" in settings else None
        if settings.get("overlap", "error") not in ("error", "later"):
            self._refuse(f"overlap: expected error or later, got {reprlib.repr(settings['overlap'])}")
        # Of classes of its own all that it names: their masks may be in another split. Of the categories those in use.
        learnt = self.classes if self.own else self.named
        if "void" in learnt and (fault := labels.one_class_fault(learnt)):
            self._refuse(fault)
        return self._make(default, settings.get("overlap") == "later")

    # ---- classes

    def _read_colors(self, entry: object) -> dict[object, list[Color]]:
        if not isinstance(entry, dict) or not all(map(_colors_of, entry.values())):
            self._refuse("colors: expected `name: [[red, green, blue], ...]` in 0..255, or colours such as '#804080'")
        return {name: _colors_of(value) for name, value in entry.items()}

    def _take_classes(self, settings: Mapping[str, object], more_colors: Mapping[object, list[Color]]) -> None:
        if "classes" not in settings:
            self.classes = {
                name: (color[0], color[1], color[2])
                for name, color in zip(labels.CATEGORIES, labels.CATEGORY_COLORS.tolist(), strict=True)
            }
            return
        self.own, classes = True, settings["classes"]
        if isinstance(classes, list):
            classes = self._name_list(classes)
        if not isinstance(classes, dict) or not classes:
            self._refuse_classes()
        for name, color in classes.items():
            self.given |= {name: given} if (given := self._color_of_class(name, color)) else {}
        for name in classes:
            if name in more_colors and name not in self.given:
                self.given[name] = more_colors[name][0]
        self._check_void(classes)
        void = {} if "void" in classes else {"void": None}
        self.classes = choose_colors({**void, **{name: self.given.get(name) for name in classes}})
        if not 2 <= len(self.classes) <= UNKNOWN:
            self._refuse_classes(", void counted")

    def _name_list(self, names: list) -> dict[str, None]:
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice or not all(isinstance(name, str) for name in names):
            odd = f"{reprlib.repr(twice[0])} twice" if twice else reprlib.repr(names)
            self._refuse(f"classes: expected a list of names, each once, got {shorten(odd)}")
        return dict.fromkeys(names)

    def _color_of_class(self, name: object, color: object) -> Color | None:
        found = _color_of(color)
        if not isinstance(name, str) or (found is None and color is not None):
            shown = f"{shorten(name)}: {shorten(color if isinstance(color, str) else reprlib.repr(color))}"
            self._refuse(f"classes: expected `name: [red, green, blue]` in 0..255, got `{shown}`")
        self._check_text(name, "class")
        return found

    def _check_void(self, classes: Mapping[str, object]) -> None:
        if "void" in classes and (first := [*classes][VOID]) != "void":
            self._refuse(f"classes: expected void first, which counts nowhere, got {shorten(first)}; or leave void out")
        if odd := [name for name in classes if name != "void" and name.strip().lower() == "void"]:
            self._refuse(f"classes: {odd[0]!r} is not void, which is written in small letters")

    def _class_id(self, name: object, place: str, known_as_key: bool = False) -> int:
        if name not in [*self.classes]:  # a list has no hash
            fault = "names" if known_as_key else "has"
            self._refuse(
                f"{place} {fault} the class {shorten(reprlib.repr(name))}; it must be one of "
                f"{shorten(', '.join(self.classes))}"
            )
        self.named.add(str(name))
        return [*self.classes].index(str(name))

    # ---- keys

    def _read_key(self, key: object) -> Iterator[Thing]:
        """Reads what a key names: mask values, a colour, or a label."""
        if isinstance(key, tuple):
            for item in key:
                if not isinstance(item, int | str) or (isinstance(item, str) and not _VALUES.fullmatch(item)):
                    self._refuse(f"{_show(key)}: expected mask values and ranges such as 3-5, got {_show(item)}")
                yield from self._read_key(item)
        elif isinstance(key, str) and _VALUES.fullmatch(key):
            for item in key.split(","):
                yield from self._read_values(item.strip(), key)
        elif isinstance(key, str) and key.startswith("#"):
            color = _color_of(key)
            if color is None:
                self._refuse(f"{_show(key)} is no colour, expected six digits of 0 to 9 and a to f, such as '#804080'")
            yield color
        elif isinstance(key, str):
            self._check_text(key, "label")
            yield key
        else:
            yield self._check_value(key)

    def _read_values(self, item: str, key: object) -> Iterable[int]:
        if not (match := _RANGE.fullmatch(item)):
            return [self._check_value(int(item))]
        first, last = (self._check_value(int(end)) for end in match.groups())
        if first > last:
            self._refuse(f"{_show(key)}: the range {item} ends before it begins")
        return range(first, last + 1)

    def _check_value(self, value: object) -> int:
        if type(value) is not int or not -1 <= value <= LARGEST_VALUE:
            self._refuse(f"mask value {reprlib.repr(value)} is not an integer in -1..{LARGEST_VALUE}")
        return value

    def _claim(self, thing: Thing, class_id: int, key: str) -> None:
        """Notes that something is of a class; what two keys give is an error, whichever classes they name."""
        if thing == -1:
            thing, key = labels.NO_LABEL, f"{key}, where -1 stands for 255"
        if (other := self.claims.get(thing)) is not None:
            hint = (
                "; a colour is written '#804080'" if isinstance(thing, int) and "[" in key and other.key == key else ""
            )
            twice = f"twice by {key}" if other.key == key else f"by {other.key} and by {key}"
            self._refuse(f"{_kind_of(thing)} {_show(thing)} is given {twice}; name it once{hint}")
        self.claims[thing] = Claim(class_id, key)
        if isinstance(thing, str) and thing in _LABEL_IDS:
            self._claim(_LABEL_IDS[thing], class_id, f"{key}, label {_LABEL_IDS[thing]} of Cityscapes")

    def _ignore(self, listed: object) -> None:
        for item in listed if isinstance(listed, list) else [listed]:
            if isinstance(item, str) and item in self.classes and item != "void":
                self._refuse(f"ignore: {shorten(item)} is one of the classes; leave it out of one of the two")
            color = _color_of(item)
            things = [color] if isinstance(item, list) and color else self._read_key(item)
            for thing in things:
                self._claim(thing, VOID, f"ignore: {_show(item)}")
            self.named.add("void")

    # ---- the label map

    def _make(self, default: int | None, later_wins: bool) -> LabelMap:
        given = self.claims.items()
        values = {thing: claim.class_id for thing, claim in given if isinstance(thing, int)}
        by_color = {thing: claim.class_id for thing, claim in given if isinstance(thing, tuple)}
        by_label = {thing: claim.class_id for thing, claim in given if isinstance(thing, str)}
        wide = np.full(LARGEST_VALUE + 1, UNKNOWN, np.uint8)
        for value, class_id in values.items():
            wide[value] = class_id
        minus_one = self.claims.get(labels.NO_LABEL)
        if minus_one is not None and minus_one.key.endswith("-1 stands for 255") and LARGEST_VALUE not in values:
            wide[LARGEST_VALUE] = minus_one.class_id  # as 16 bits hold it
        ids = {name: place for place, name in enumerate(self.classes)}
        return LabelMap(
            classes=tuple(self.classes),
            colors=np.array([*self.classes.values()], np.uint8),
            lookup=wide[:256].copy(),
            own_colors=self.own and len(self.given) >= len(self.classes) - ("void" not in self.given),
            by_color={**self._colors_of_classes(ids, by_color), **by_color},
            by_label={**ids, **{str(value): place for value, place in values.items() if value < 256}, **by_label},
            default=default,
            wide=wide if max(values, default=0) > 255 else None,
            later_wins=later_wins,
        )

    def _colors_of_classes(self, ids: Mapping[str, int], by_color: Mapping[Color, int]) -> dict[Color, int]:
        """The colours that the file gives to its classes themselves; one that two of them share is of neither."""
        colors = [*self.given.values()]
        for name, color in self.given.items():
            if by_color.get(color, ids[name]) != ids[name] and colors.count(color) == 1:
                key = self.claims[color].key
                self._refuse(f"colour {list(color)} is given by classes: {shorten(name)} and by {key}; name it once")
        return {color: ids[name] for name, color in self.given.items() if colors.count(color) == 1}

    # ---- errors

    def _check_text(self, text: str, kind: str) -> None:
        try:
            check_text(text, kind)
        except ValueError as error:
            self._refuse(str(error))

    def _refuse_classes(self, more: str = "") -> NoReturn:
        self._refuse(f"classes: expected 2 to {UNKNOWN} lines of `name: [red, green, blue]`, or a list of names{more}")

    def _refuse(self, fault: str) -> NoReturn:
        raise ValueError(f"{self.path}: {fault}") from None


def _kind_of(thing: Thing) -> str:
    """The word that errors have for what a key names."""
    if isinstance(thing, str):
        return "label"
    return "mask value" if isinstance(thing, int) else "colour"


def _color_of(value: object) -> Color | None:
    """Reads [red, green, blue] or "#804080"; None if it is neither."""
    if isinstance(value, str) and _HEX.fullmatch(value):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
    if isinstance(value, list) and len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value):
        return value[0], value[1], value[2]
    return None


def _colors_of(value: object) -> list[Color]:
    """Reads one colour or a list of them; empty if one of them is none."""
    if (color := _color_of(value)) is not None:
        return [color]
    found = [_color_of(item) for item in value] if isinstance(value, list) else [None]
    return [color for color in found if color is not None] if None not in found else []


def _show(key: object) -> str:
    """Writes a key as the file has it."""
    return shorten(f"[{', '.join(map(str, key))}]" if isinstance(key, tuple) else key, 60)
