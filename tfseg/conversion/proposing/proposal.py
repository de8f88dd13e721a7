"""A label map for a data set that brings none: what its ground truth holds, and which class each of it could be.

Names come from files beside the masks, see `name_files`, or from the labels of polygons and layers; what nobody names
becomes class_7 or color_804080. `proposed_file` writes it as a file that a person can edit.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfseg.annotations.coco import read_categories
from tfseg.conversion.finding.sources import Source
from tfseg.conversion.proposing.census import MOST_CLASSES, Census, Counts, take_census
from tfseg.conversion.proposing.name_files import Names, find_names
from tfseg.conversion.reading import readings
from tfseg.conversion.reading.samples import Sample
from tfseg.conversion.reading.words import COLOR_READINGS, LABEL_READINGS, VALUE_READINGS
from tfseg.io import masks
from tfseg.io.names import quote
from tfseg.records import labels
from tfseg.records.label_map_files import Thing
from tfseg.records.labels import BACKGROUND, Color

THING = "thing"  # the class of masks that tell one thing from the background
VOID_NAMES = ("void", "unlabeled", "unlabelled", "ignore", "ignored")  # what makers of masks call it
NO_VALUES = (labels.NO_LABEL, 65535)  # what tools write for void, in 8 and in 16 bits
BLACK = (0, 0, 0)
_PLAIN = (masks.GREY, readings.WIDE, readings.FEW_BITS)  # kinds of masks that have values alone
_THINGS = {"labels": "labels", "color": "colours"}  # what a reading counts, if not values


@dataclass(frozen=True)
class Row:
    """A mask value, colour or label, and the class that it could be."""

    thing: Thing
    name: str  # of the class
    label: str  # what a file of names calls it; empty: none does
    color: Color | None
    count: int  # pixels; of polygons shapes
    images: int  # that have it


@dataclass(frozen=True)
class Proposal:
    """A label map that could be, and what speaks for it."""

    place: Path  # of the data set
    reading: str  # "index", "color", a channel, or "labels"
    heading: str  # how the ground truth was read
    rows: list[Row]
    classes: Mapping[str, Color | None]  # in the order of the class ids
    images: int
    pixels: int  # of all masks; 0: shapes were counted
    notes: list[str] = field(default_factory=list)  # a line each, of what was decided
    unused: list[tuple[Thing, str]] = field(default_factory=list)  # what has a name, but is in no mask
    is_numbered: bool = False  # labels are numbers of classes, as in YOLO's files


def propose_label_map(source: Source, workers: int = 1, mask_values: str = "auto", skip_bad: bool = False) -> Proposal:
    """Looks at all ground truth of a data set and proposes a label map.

    Args:
        source: from `sources.open_source` with `may_lack_label_map`.
        workers: processes that read.
        mask_values, skip_bad: as of `converter.convert`.

    Raises:
        BadFilesError: files are damaged, or are no masks of classes.
        ValueError: masks contradict each other, or hold too many values, or a single one.
        OSError: a file cannot be read.

    Example:
        >>> proposal = propose_label_map(open_source("data/mine", may_lack_label_map=True))
        >>> [(row.thing, row.name) for row in proposal.rows]
        [(0, 'background'), (255, 'thing')]
    """
    samples = [sample for members in source.splits.values() for sample in members]
    census = take_census(samples, workers, mask_values, skip_bad)
    found, notes = find_names(source)
    if census.bad:
        notes.append(f"{census.bad} of {len(samples)} masks are bad and not counted")
    is_numbered = bool(samples) and samples[0].form == "yolo"
    reading = "labels" if samples and samples[0].form != "mask" else _choose_reading(source.root, census, mask_values)
    counts = _take_counts(source.root, census, reading)
    chosen, named, more = _choose_names(found, counts.total, census.of_entries, reading, is_numbered)
    notes += more
    names, more = _name_all([*counts.total], named, reading, is_numbered)
    notes += more
    colors = _find_colors(counts.total, named, found, census.of_entries)
    rows = [
        Row(thing, names[thing], named.get(thing, ""), colors[thing], counts.total[thing], counts.images[thing])
        for thing in _sort(counts.total, chosen, is_numbered)
    ]
    if reading == "labels" and BACKGROUND not in names.values() and (census.uncovered or not census.pixels):
        names = {"": BACKGROUND, **names}
        what = "layer" if census.pixels else "polygon"
        notes.append(
            f"what no {what} covers becomes {BACKGROUND}; without that class it would be void, which counts nowhere"
        )
    if fault := labels.one_class_fault(names.values()):
        shown = ", ".join(write_thing(thing) for thing in counts.total) or "nothing"
        raise ValueError(f"{source.root}: its masks hold {shown} alone: {fault}")
    if not named and _is_voc(census.of_entries) and reading == "index":
        notes.append("the palette is that of Pascal VOC, which other tools use too: --label-map voc if it is VOC's own")
    return Proposal(
        source.root,
        reading,
        _head(census, reading, mask_values),
        rows,
        _list_classes(names.values(), rows),
        census.images,
        census.pixels,
        notes,
        _find_unused(chosen, named, names, reading) if chosen else _unused_categories(samples, counts.total),
        is_numbered,
    )


def write_thing(thing: Thing) -> str:
    """Writes 7, #804080, or 'traffic cone'."""
    if isinstance(thing, tuple):
        return f"#{bytes(thing).hex()}"
    return quote(thing) if isinstance(thing, str) else str(thing)


# ---- what is read


def _choose_reading(place: Path, census: Census, mask_values: str) -> str:
    """Chooses whether values or colours are read, as `checks.choose_rule` does once there is a label map.

    Raises:
        ValueError: some masks can be read by their values alone, others by colours alone.
    """
    if mask_values != "auto":
        if mask_values == "index" and (colored := census.first.get(readings.RGB_COLORS)):
            raise ValueError(f"{colored}: is RGB in colours, but --mask-values index reads values")
        return mask_values
    colored = census.first.get(readings.RGB_COLORS)
    grey = next((census.first[kind] for kind in _PLAIN if kind in census.first), None)
    if not colored and not census.palette_fault:
        return "index"
    if grey and colored:
        raise ValueError(
            f"{colored}: is RGB in colours, but {grey} is grey, whose values would be read; save all masks of "
            f"{place} in one way, or --mask-values color reads greys as colours too"
        )
    if grey:
        raise ValueError(census.palette_fault)
    return "color"


def _take_counts(place: Path, census: Census, reading: str) -> Counts:
    """The counts of what is read; ValueError if it is too much for a label map."""
    counts = {"labels": census.labels, "color": census.colors}.get(reading) or _merge_values(census)
    if len(counts.total) > MOST_CLASSES:
        raise ValueError(
            f"{place}: its masks hold {len(counts.total):,} {_THINGS.get(reading, 'values')}, a label map has at most "
            f"{MOST_CLASSES} classes; they seem to be instance maps, which number objects, or images"
        )
    return counts


def _merge_values(census: Census) -> Counts:
    """Joins the values of files of few bits, which may be the greys that they show or their numbers, with the others.

    Greys in steps of 17 or 85 are numbers of 4 or 2 bits. The white of 1 bit is 255, as all programs show it, unless
    the other masks have 1 and no 255.

    Raises:
        ValueError: the other masks leave it open.
    """
    merged = Counts(census.values.total.copy(), census.values.images.copy())
    plain = {*census.values.total}
    for step, counts in census.few_bits.items():
        are_numbers = step < 255 or (1 in plain and 255 not in plain)
        if are_numbers and (doubtful := sorted({*counts.total} - {0} & plain)):
            raise ValueError(
                f"{census.first[readings.FEW_BITS]}: is grey of few bits, where {doubtful[0]} could be "
                f"{doubtful[0] // step} or the {doubtful[0]} of other masks; save all masks in 8 bits"
            )
        for own, total in ((counts.total, merged.total), (counts.images, merged.images)):
            for grey, count in own.items():
                total[grey // step if are_numbers else grey] += count
    return merged


def _head(census: Census, reading: str, mask_values: str) -> str:
    words = LABEL_READINGS if reading == "labels" else COLOR_READINGS if reading == "color" else VALUE_READINGS
    of_colors = {
        masks.GREYS: readings.PALETTE_COLORS,
        masks.COLORS: readings.PALETTE_COLORS,
        readings.RGB_GREYS: readings.RGB_COLORS,
    }
    kinds = [of_colors.get(kind, kind) if reading == "color" else kind for kind in census.first]
    text = f"{census.images} masks, read by " + ", ".join(dict.fromkeys(words.get(kind, kind) for kind in kinds))
    if mask_values == "auto" and masks.COLORS in census.first:
        if reading == "index":
            return f"{text}; all palettes agree, so that indexes are read; --mask-values color reads colours"
        if census.palette_fault:
            return f"{text}; indexes contradict each other from the palette of {census.odd_palette} on"
    return text


# ---- names


def _choose_names(
    found: list[Names], things: Iterable[Thing], of_entries: Mapping[int, Color], reading: str, is_numbered: bool
) -> tuple[Names | None, dict[Thing, str], list[str]]:
    """Takes the file that names most of what is there; of two that name as much the first.

    Returns:
        What it says; mask value, colour or label -> what it calls that; and notes.
    """
    if reading == "labels" and not is_numbered:
        return None, {}, []
    best: dict[Thing, str] = {}
    chosen, others = None, []
    for names in found:
        named = {thing: name for thing in things if (name := _find_name(names, thing, of_entries, reading))}
        if len(named) > len(best):
            others += [chosen.path] if chosen else []
            best, chosen = named, names
        elif named:
            others.append(names.path)
    if chosen is None:
        return None, {}, []
    more = f"; {', '.join(map(str, others))}, which names no more of them, is not used" if others else ""
    notes = [f"names are those of {chosen.path}{more}"]
    for color in sorted(chosen.shared):
        both = [name for name, own in chosen.colors.items() if own == color]
        notes.append(
            f"{chosen.path} gives {write_thing(color)} to both {both[0]} and {both[-1]}, so that it names neither"
        )
    return chosen, best, notes


def _find_name(names: Names, thing: Thing, of_entries: Mapping[int, Color], reading: str) -> str | None:
    if isinstance(thing, tuple):
        return names.by_color.get(thing)
    if isinstance(thing, str):
        return names.by_value.get(int(thing)) if thing.isdecimal() else None
    color = of_entries.get(thing) if reading == "index" else None
    return names.by_value.get(thing) or (names.by_color.get(color) if color else None)


def _name_all(
    things: list[Thing], named: Mapping[Thing, str], reading: str, is_numbered: bool
) -> tuple[dict[Thing, str], list[str]]:
    """Names the class of each mask value, colour or label; and says of what is void."""
    names: dict[Thing, str] = {}
    notes = []
    for thing in things:
        label = named.get(thing) or (thing if isinstance(thing, str) and not is_numbered else "")
        if label.strip().lower() in VOID_NAMES:
            names[thing] = "void"
            notes.append(f"{label} is taken for void, which counts nowhere")
        elif reading == "labels" and label.strip().lower().strip("_") == BACKGROUND:
            names[thing] = BACKGROUND
        elif label:
            names[thing] = label
    rest = [thing for thing in things if thing not in names]
    if not names and len(rest) == 2 and ({*rest} in ({0, 1}, {0, 255}) or (reading == "color" and BLACK in rest)):
        first, second = sorted(rest, key=lambda thing: thing not in (0, BLACK))
        return {first: BACKGROUND, second: THING}, notes
    for thing in rest:
        if reason := _why_no_value(thing, things, named):
            names[thing] = "void"
            notes.append(f"{thing} is taken for void, which counts nowhere: {reason}")
            continue
        name = f"color_{bytes(thing).hex()}" if isinstance(thing, tuple) else f"class_{thing}"
        while name in names.values():  # a file may call another thing so
            name += "_"
        names[thing] = name
    return names, notes


def _why_no_value(value: Thing, things: Iterable[Thing], named: Mapping[Thing, str]) -> str:
    """Why 255 or 65535 stands for void; empty if it does not, or is another value."""
    others = [thing for thing in things if isinstance(thing, int) and thing not in NO_VALUES]
    if value not in NO_VALUES or len(others) < 2:
        return ""
    if all(thing in named for thing in others):
        return "it alone has no name"
    # Values are numbered from 0 on, and a few may be in no mask of a small data set; greys lie further apart.
    return "the other values are small" if max(others) < 4 * len(others) else ""


def _find_unused(
    chosen: Names, named: Mapping[Thing, str], names: Mapping[Thing, str], reading: str
) -> list[tuple[Thing, str]]:
    """What a file of names names besides."""
    taken = {*named.values(), *names.values()}
    by: list[tuple[Thing, str]] = [*(chosen.by_color if reading == "color" else chosen.by_value).items()]
    return [(thing, name) for thing, name in by if name not in taken]


def _unused_categories(samples: Iterable[Sample], there: Container[Thing]) -> list[tuple[Thing, str]]:
    """The categories of COCO's files that no annotation has, in the order of the files."""
    paths = dict.fromkeys(sample.mask for sample in samples if sample.form == "coco")
    names = dict.fromkeys(name for path in paths for name in read_categories(path))
    return [(name, name) for name in names if name not in there]


# ---- classes


def _sort(things: Iterable[Thing], chosen: Names | None, is_numbered: bool) -> list[Thing]:
    """Values and numbers by size, colours as the file of names has them, then by their own; labels by the alphabet."""
    order = {color: place for place, color in enumerate(chosen.by_color if chosen else ())}

    def key(thing: Thing) -> tuple:
        if isinstance(thing, tuple):
            return (order.get(thing, len(order)), thing)
        if isinstance(thing, str):
            return (int(thing) if is_numbered else 0, thing.casefold(), thing)
        return (thing,)

    return sorted(things, key=key)


def _find_colors(
    things: Iterable[Thing], named: Mapping[Thing, str], found: list[Names], of_entries: Mapping[int, Color]
) -> dict[Thing, Color | None]:
    """The colour of each thing: its own, that of the palette, or that of its name in any file."""
    of_names = {name: color for names in reversed(found) for name, color in names.colors.items()}
    colors: dict[Thing, Color | None] = {}
    for thing in things:
        if isinstance(thing, tuple):
            colors[thing] = thing
        else:
            by_entry = of_entries.get(thing) if isinstance(thing, int) else None
            colors[thing] = by_entry or of_names.get(named.get(thing, str(thing)))
    return colors


def _list_classes(names: Iterable[str], rows: list[Row]) -> dict[str, Color | None]:
    """The classes in the order of the rows, void first, then the background that no row is of."""
    there = {*names}
    order = [name for name in ("void",) if name in there]
    order += [BACKGROUND] if BACKGROUND in there and all(row.name != BACKGROUND for row in rows) else []
    classes: dict[str, Color | None] = dict.fromkeys([*order, *(row.name for row in rows)])
    for row in rows:
        classes[row.name] = classes[row.name] or row.color
    return classes


def _is_voc(of_entries: Mapping[int, Color]) -> bool:
    """Whether the entries of a palette are those of Pascal VOC: bits of the index, the lowest three first."""

    def color_of(index: int) -> Color:
        parts = [
            sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(8) if 3 * bit + channel < 8)
            for channel in range(3)
        ]
        return parts[0], parts[1], parts[2]

    return len(of_entries) > 2 and all(color_of(index) == color for index, color in of_entries.items())
