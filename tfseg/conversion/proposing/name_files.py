"""Files beside masks that name their classes, as their makers write them.

| file | by | what it holds |
|---|---|---|
| label_colors.txt | CamVid | lines of `R G B name` |
| labelmap.txt | CVAT | lines of `name:R,G,B:parts:actions` |
| class_dict.csv | Kaggle's CamVid and others | `name,r,g,b`, with that head |
| _classes.csv | Roboflow | `Pixel Value, Class`, with that head |
| config.json, config_v*.json | Mapillary | `labels` of `name`, `readable`, `color`; the first has the value 0 |
| meta.json | Supervisely | `classes` of `title`, `color` |
| classes.txt, labels.txt, obj.names | YOLO and others | a name a line; the first has the value 0 |
| data.yaml, dataset.yaml | YOLO | `names`, a list or by number |

A file of such a name that holds something else is passed over with a note: it need not be about the masks.
"""

import csv
import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfseg.annotations.yolo import read_class_names
from tfseg.conversion.finding.files import is_folder, list_entries
from tfseg.conversion.finding.sources import Source
from tfseg.io.escaping import printable
from tfseg.io.json_reader import read_json
from tfseg.io.names import check_text, quote
from tfseg.io.regular_files import read_file
from tfseg.records.labels import Color

MOST_BYTES = 4 * 2**20  # of a file of names
MOST_FOLDERS = 20  # of masks that are looked into
_CAMVID = re.compile(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(.+)")
_CVAT = re.compile(r"(.+):(\d{1,3}),(\d{1,3}),(\d{1,3}):[^:]*:[^:]*")
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass
class Names:
    """What a file says of classes."""

    path: Path
    by_value: dict[int, str] = field(default_factory=dict)  # mask value, or number of a class -> name
    by_color: dict[Color, str] = field(default_factory=dict)  # RGB -> name
    colors: dict[str, Color] = field(default_factory=dict)  # name -> RGB
    shared: set[Color] = field(default_factory=set)  # colours of two names, which name neither

    def add(self, name: object, value: int | None = None, color: object = None) -> None:
        """Takes in a class.

        Args:
            name: of it.
            value: that it has in masks, or its number.
            color: red, green and blue in 0..255, a list.

        Raises:
            ValueError: it has no name that stays in its line, or one of these is not what it should be, or another
                class has the value.
        """
        if not isinstance(name, str):
            raise ValueError(f"expected names of classes, got {quote(name)}")
        name = check_text(name.strip(), "class")
        if value is not None and self.by_value.setdefault(value, name) != name:
            raise ValueError(f"gives the value {value} to both {quote(self.by_value[value])} and {quote(name)}")
        if color is not None:
            rgb = _as_color(color, name)
            self.colors.setdefault(name, rgb)
            if self.by_color.setdefault(rgb, name) != name:
                self.shared.add(rgb)


def find_names(source: Source) -> tuple[list[Names], list[str]]:
    """Reads all files of names in the root of a data set, and beside and in the folders of its masks.

    Returns:
        What they say, in a stable order; and a line on each file that was not understood.

    Raises:
        OSError: a folder cannot be read.

    Example:
        names, notes = find_names(source)
        names[0].by_color[(64, 128, 64)]  # "Animal"
    """
    found, notes = [], []
    for path, read in _find_files(list_places(source)):
        names = Names(path)
        try:
            read(path, names)
        except (ValueError, OSError) as error:
            reason = str(error).removeprefix(f"{printable(path)}: ")
            notes.append(f"{path}: is not taken for names of classes: {reason}")
            continue
        for color in names.shared:
            names.by_color.pop(color)
        if names.by_value or names.colors:
            found.append(names)
    return found, notes


def list_places(source: Source) -> list[Path]:
    """Folders that files of names may lie in: the root, that of the masks, what that lies in, and those of splits."""
    masks = source.root / source.folders[1]
    own = {sample.mask.parent for samples in source.splits.values() for sample in samples[:1]}
    own |= {folder.parent for folder in own}
    folders = [source.root, masks, masks.parent, *sorted(own, key=str)[:MOST_FOLDERS]]
    return [folder for folder in dict.fromkeys(folders) if is_folder(folder)]


def _find_files(folders: Iterable[Path]) -> list[tuple[Path, Callable[[Path, Names], None]]]:
    found = []
    for folder in folders:
        names = sorted(name for name, _ in list_entries(folder))
        found += [
            (folder / name, read)
            for pattern, read in READERS.items()
            for name in names
            if fnmatch.fnmatchcase(name.lower(), pattern) and (folder / name).is_file()
        ]
    return found


# ---- the readers


def _read_lines(path: Path) -> list[str]:
    """The lines of a text that are neither empty nor comments."""
    try:
        text = read_file(path, MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is no text in UTF-8") from None
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _read_camvid(path: Path, names: Names) -> None:
    for line in _read_lines(path):
        if not (match := _CAMVID.fullmatch(line)):
            raise ValueError(f"expected lines of `R G B name`, got {quote(line)}")
        names.add(match[4], color=[int(match[place]) for place in (1, 2, 3)])


def _read_cvat(path: Path, names: Names) -> None:
    for line in _read_lines(path):
        if not (match := _CVAT.fullmatch(line)):
            raise ValueError(f"expected lines of `name:R,G,B:parts:actions`, got {quote(line)}")
        names.add(match[1], color=[int(match[place]) for place in (2, 3, 4)])


def _read_class_dict(path: Path, names: Names) -> None:
    for name, *color in _read_table(path, ("name", "r", "g", "b")):
        names.add(name, color=[_as_integer(part) for part in color])


def _read_roboflow(path: Path, names: Names) -> None:
    for value, name in _read_table(path, ("pixel value", "class")):
        names.add(name, value=_as_integer(value))


def _read_table(path: Path, head: Sequence[str]) -> list[list[str]]:
    """The cells of a CSV file below its head."""
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(_read_lines(path), skipinitialspace=True)]
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if not rows or [cell.lower() for cell in rows[0]] != [*head]:
        raise ValueError(f"expected the head {','.join(head)}, got {quote(','.join(rows[0]) if rows else '')}")
    if odd := [row for row in rows if len(row) != len(head)]:
        raise ValueError(f"expected {len(head)} cells a line, got {quote(','.join(odd[0]))}")
    return rows[1:]


def _read_mapillary(path: Path, names: Names) -> None:
    entries = _list_entries(path, "labels")
    # Names to be read are shorter; what two classes share names neither.
    readable = [entry.get("readable") for entry in entries]
    key = "readable" if len({*map(str, readable)}) == len(entries) and all(readable) else "name"
    for value, entry in enumerate(entries):
        names.add(entry.get(key), value=value, color=entry.get("color"))


def _read_supervisely(path: Path, names: Names) -> None:
    for entry in _list_entries(path, "classes"):
        color = entry.get("color")
        if isinstance(color, str) and _HEX.fullmatch(color):
            color = [int(color[start : start + 2], 16) for start in (1, 3, 5)]
        names.add(entry.get("title"), color=color)


def _list_entries(path: Path, key: str) -> list[dict[str, Any]]:
    document = read_json(path, MOST_BYTES)
    entries = document.get(key) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"expected a list of classes under {quote(key)}")
    return entries


def _read_yolo(path: Path, names: Names) -> None:
    for value, name in read_class_names(path).items():
        names.add(name, value=value)


def _as_integer(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text):
        raise ValueError(f"expected an integer, got {quote(text)}")
    return int(text)


def _as_color(color: object, name: str) -> Color:
    if isinstance(color, list) and len(color) == 3 and all(type(part) is int and 0 <= part <= 255 for part in color):
        return color[0], color[1], color[2]
    raise ValueError(f"expected red, green and blue of {quote(name)} in 0..255, got {quote(color)}")


# Pattern of names, in small letters -> what reads such a file.
READERS: dict[str, Callable[[Path, Names], None]] = {
    "label_colors.txt": _read_camvid,
    "labelmap.txt": _read_cvat,
    "class_dict.csv": _read_class_dict,
    "_classes.csv": _read_roboflow,
    "config_v*.json": _read_mapillary,
    "config.json": _read_mapillary,
    "meta.json": _read_supervisely,
    "data.yaml": _read_yolo,
    "data.yml": _read_yolo,
    "dataset.yaml": _read_yolo,
    "classes.txt": _read_yolo,
    "labels.txt": _read_yolo,
    "obj.names": _read_yolo,
}
