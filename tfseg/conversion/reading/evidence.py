"""What the files of a data set turn out to be, where they can be read in more ways than one.

The converter decides by the files: which kind of masks they are, whether one palette goes through all of them, whether
their values can be the label ids of Cityscapes. What each worker sees is summed up here, shard by shard, and refused
where it contradicts itself.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tfseg.conversion.reading.readings import Rule
from tfseg.conversion.reading.samples import Traits
from tfseg.io import image_headers, masks
from tfseg.records import labels

Color = tuple[int, ...]  # red, green, blue


@dataclass(frozen=True)
class Evidence:
    """What was seen in some samples; plain values, for the journal is JSON."""

    kinds: dict[str, int] = field(default_factory=dict)  # of masks.MASK_KINDS, or of readings -> masks
    # Palette of colours in hexadecimal -> entry that pixels have -> the first mask with them.
    palettes: dict[str, dict[str, str]] = field(default_factory=dict)
    greys: list[str] = field(default_factory=list)  # the first mask with a palette of greys in another order, if any
    holders: list[int] = field(default_factory=lambda: [0] * 256)  # masks that hold each raw value
    turned: dict[str, int] = field(default_factory=dict)  # orientation by EXIF data, if not 1 -> images
    undecided: dict[str, int] = field(default_factory=dict)  # the same of those whose masks fit turned or not
    sizes: dict[str, int] = field(default_factory=dict)  # "HEIGHTxWIDTH" -> images
    bare: int = 0  # masks that can be no label ids of a street by themselves, see `is_no_cityscapes`
    first_bare: str = ""  # the first of them


def of_sample(mask_path: Path, traits: Traits, raw_values: Iterable[int]) -> Evidence:
    """Sums up one sample."""
    mask, holders = traits.mask, np.zeros(256, np.int64)
    holders[[*raw_values]] = 1
    bare = is_no_cityscapes(np.flatnonzero(holders).tolist())
    turned = {} if traits.orientation == image_headers.UPRIGHT else {str(traits.orientation): 1}
    # Files of YOLO hold shares of the image's sides, and fit any.
    fits_both_ways = traits.orientation < image_headers.SIDEWAYS or traits.size[0] == traits.size[1]
    fits_both_ways = fits_both_ways or mask.kind == "yolo"
    in_order = all(color[0] == entry for entry, color in mask.colors.items())
    return Evidence(
        {mask.kind: 1},
        {mask.palette.hex(): {str(entry): str(mask_path) for entry in mask.colors}}
        if mask.kind == masks.COLORS
        else {},
        [str(mask_path)] if mask.kind == masks.GREYS and not in_order else [],
        holders.tolist(),
        turned,
        turned if fits_both_ways else {},
        {"x".join(map(str, traits.size)): 1},
        int(bare),
        str(mask_path) if bare else "",
    )


def merge(parts: Iterable[Evidence]) -> Evidence:
    """Sums up, the first files being those of the first part."""
    total = Evidence()
    holders, bare, first_bare = np.zeros(256, np.int64), 0, ""
    for part in parts:
        for name in ("kinds", "turned", "undecided", "sizes"):
            sums = getattr(total, name)
            for key, count in getattr(part, name).items():
                sums[key] = sums.get(key, 0) + count
        for palette, entries in part.palettes.items():
            known = total.palettes.setdefault(palette, {})
            known |= {entry: path for entry, path in entries.items() if entry not in known}
        total.greys.extend(part.greys[: 1 - len(total.greys)])
        holders += part.holders
        bare, first_bare = bare + part.bare, first_bare or part.first_bare
    total.holders[:] = holders.tolist()
    return replace(total, bare=bare, first_bare=first_bare)


# ---- palettes


class Palettes:
    """Holds the palettes of masks against each other and against the label map, one after another."""

    def __init__(self, label_map: labels.LabelMap):
        self.label_map = label_map
        self.palettes: dict[str, dict[str, str]] = {}
        self.by_entry: dict[int, tuple[Color, str]] = {}  # -> its colour, and the first mask with it
        self.by_color: dict[Color, dict[int, tuple[str, str]]] = {}  # -> entry -> the palette and the first mask
        self.refused: dict[tuple[str, int], str] = {}  # palette, entry -> what is wrong with it
        self.greys = ""  # the first mask with a palette of greys in another order

    def add(self, evidence: Evidence) -> str | None:
        """Takes more masks in; says of the first that contradicts those before it how it does."""
        for palette, entries in evidence.palettes.items():
            known = self.palettes.setdefault(palette, {})
            for entry, path in sorted(entries.items(), key=lambda item: int(item[0])):
                if entry not in known:
                    known[entry] = path
                    if fault := self._add_entry(palette, int(entry), path):
                        self.refused[palette, int(entry)] = fault
                if (palette, int(entry)) in self.refused:
                    return f"{path}: {self.refused[palette, int(entry)]}"
        self.greys = self.greys or "".join(evidence.greys)
        if self.greys and self.by_entry:
            _, (_, other) = min(self.by_entry.items())
            here, there = (other, self.greys) if evidence.palettes and not evidence.greys else (self.greys, other)
            kinds = {self.greys: "greys, whose values count", other: "colours, whose indexes count"}
            return (
                f"{here}: has a palette of {kinds[here]}, but {there} has one of {kinds[there]}; "
                "save all masks in one way, best as 8-bit grey PNGs of the mask values"
            )
        return None

    def _add_entry(self, palette: str, entry: int, path: str) -> str | None:
        color = color_of(palette, entry)
        first, other = self.by_entry.setdefault(entry, (color, path))
        if first != color:
            return f"has {_rgb(color)} at index {entry} of its palette, where {other} has {_rgb(first)}; {_ADVICE}"
        for place, (its_palette, its_path) in self.by_color.setdefault(color, {}).items():
            # One palette may well have a colour twice.
            if color not in (color_of(palette, place), color_of(its_palette, entry)):
                return (
                    f"has {_rgb(color)} at index {entry} of its palette, {its_path} has that colour at index "
                    f"{place}; {_ADVICE}"
                )
        self.by_color[color].setdefault(entry, (palette, path))
        return self._class_fault(entry, color, path)

    def _class_fault(self, entry: int, color: Color, path: str) -> str | None:
        """Says that a colour is that of a class, but at an index that the label map gives to another."""
        label_map = self.label_map
        if not label_map.own_colors or label_map.lookup[entry] == labels.UNKNOWN:
            return None
        named = [
            name
            for place, name in enumerate(label_map.classes)
            if place != labels.VOID and tuple(label_map.colors[place].tolist()) == color
        ]
        here = label_map.classes[label_map.lookup[entry]]
        if not named or here in named:
            return None
        return (
            f"has at index {entry} of its palette {_rgb(color)}, the colour of {named[0]}, but by the label "
            f"map the mask value {entry} is {here}; give each class the index or the colour that the masks have"
        )


_ADVICE = "one palette must go through all masks, since their indexes are read; save them as 8-bit grey PNGs"


def color_of(palette: str, entry: int) -> Color:
    """The colour of an entry of a palette in hexadecimal; empty if it has not so many."""
    return tuple(bytes.fromhex(palette[6 * entry : 6 * entry + 6]))


def _rgb(color: Color) -> str:
    return f"({', '.join(map(str, color))})"


# ---- the label ids of Cityscapes

MOST_STRETCH = 1.05  # of the aspect, that nobody minds
OBJECTS = range(19, 34)  # from traffic light to bicycle: no photo of a street is without any of them
FRAME = {*range(4)}  # all that the masks of the test split hold: nothing, and the edges of the camera's image


def is_no_cityscapes(values: Iterable[int]) -> bool:
    """Whether the raw values of all masks of a split are none of label ids of streets; nor those of a test split."""
    there = {*values}
    return there.isdisjoint(OBJECTS) and not is_without_truth(there)


def is_without_truth(values: set[int]) -> bool:
    """Whether masks hold nothing that is of a class by the label ids of Cityscapes, as those of its test split."""
    return values <= FRAME or values == {labels.NO_LABEL}


def cityscapes_fault(split: str, masks: int, values: Sequence[int], path: Path | str) -> str:
    """Says why masks named as those of Cityscapes are none."""
    return (
        f"{path}: this and all {masks} masks of split {split} hold none of the label ids {OBJECTS[0]} to {OBJECTS[-1]} "
        f"(from traffic light over vegetation, sky and car to bicycle), only {_ranges(values)}: these look like train "
        "ids or ids of another data set under the names of Cityscapes' label ids; --label-map FILE says what each is, "
        "and --label-map categories takes them for label ids all the same"
    )


def _ranges(values: Iterable[int]) -> str:
    """Writes 0, 1, 2, 3, 7 as "0 to 3, 7"."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


# ---- what was decided, for the manifest

READING = ("mask_values", "color_tolerance", "entries_read")  # what `describe_reading` notes among the findings


def findings(
    total: Evidence,
    folders: tuple[str, str],
    assumed: bool,
    left_out: dict[str, dict[str, int]],
    size: tuple[int, int] | None,
) -> dict:
    """What the manifest keeps of how the files were read.

    Args:
        total: of all splits.
        folders: of images and masks.
        assumed: see `sources.Source`.
        left_out: likewise.
        size: height and width that images were brought to, or None.
    """
    stretched = {"aspect": 0, "enlarged": 0}
    for text, count in total.sizes.items():
        height, width = map(int, text.split("x"))
        if size is not None:
            ratio = size[1] / size[0] / (width / height)
            stretched["aspect"] += count * (max(ratio, 1 / ratio) > MOST_STRETCH)
            stretched["enlarged"] += count * (size[0] > height or size[1] > width)
    common = sorted(total.sizes.items(), key=lambda item: (-item[1], item[0]))
    return {
        "folders": list(folders),
        "assumed": assumed,
        "mask_kinds": dict(sorted(total.kinds.items())),
        "masks_with_255": total.holders[labels.NO_LABEL],
        "bare_masks": [total.bare, total.first_bare],
        "turned": dict(sorted(total.turned.items())),
        "undecided": sum(total.undecided.values()),
        "sizes": len(common),
        "commonest_size": list(common[0]) if common else None,
        **stretched,
        "left_out": left_out,
    }


def describe_reading(rule: Rule) -> dict:
    """Notes what makes raw values of ground truth, where these are class ids; empty where they are those of the files.

    Two conversions of which this differs make other records, though their label maps of raw values are the same.
    """
    label_map = rule.label_map
    if not rule.gives_class_ids:
        return {} if rule.values == "index" else {"mask_values": rule.values}
    entries: dict[str, str] = {}
    if label_map.default is not None:
        entries["default"] = label_map.classes[label_map.default]
    if rule.values == "color":
        entries |= {f"#{bytes(color).hex()}": label_map.classes[place] for color, place in label_map.by_color.items()}
    else:
        lookup = label_map.lookup if label_map.wide is None else label_map.wide
        digest = hashlib.sha256(lookup.tobytes()).hexdigest()
        entries["values"] = digest
    if rule.uses_labels:
        entries |= {f"label {name}": label_map.classes[place] for name, place in label_map.by_label.items()}
        entries["overlap"] = "later" if label_map.later_wins else "error"
    found = {"mask_values": rule.values, "entries_read": entries}
    return found | ({"color_tolerance": rule.tolerance} if rule.tolerance else {})


def reading_of(findings: dict | None) -> dict:
    """What `describe_reading` noted among the findings of a manifest."""
    return {key: value for key, value in (findings or {}).items() if key in READING}
