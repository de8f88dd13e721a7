"""What is in a data set: sizes, colours, labels and classes, counted image by image and summed over each split.

Worker processes decode and count; only their counts come back, so a data set may be of any size. `page` shows the
result.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np

from tfseg.conversion.reader import DataSet, Item, Pair, try_to_load
from tfseg.conversion.reading.evidence import Evidence, Palettes, merge
from tfseg.conversion.reading.faults import MOST_NAMED, BadFilesError, Fault
from tfseg.io import workers
from tfseg.io.progress import track
from tfseg.records import labels
from tfseg.records.class_weights import balance_classes

MOST_PARTS = 256  # images whose evidence is kept apart
BANDS = 64  # of equal height, from the top of an image to its bottom
UNKNOWN = "unknown"  # the class of pixels whose value the label map lacks, one more than the last
UNKNOWN_COLOR = (255, 0, 255)  # like no label of Cityscapes


@dataclass(frozen=True)
class Count:
    """How much of a split is of one label or class."""

    value: int  # of a pixel
    name: str
    class_name: str
    color: tuple[int, int, int]  # RGB
    pixels: int
    share: float  # of the split's pixels, in 0..1
    images: int  # that contain it


@dataclass(frozen=True)
class Split:
    """What is in one split."""

    images: int  # counted
    total: int  # that there are
    shards: int | None  # None for a raw data set
    sizes: list[dict[str, int]]  # height, width, images; the most frequent first
    image_kinds: dict[str, int]  # kind -> images
    mask_kinds: dict[str, int]
    channel_mean: list[float]  # of each channel, in 0..255
    channel_std: list[float]
    channel_min: list[int]
    channel_max: list[int]
    has_truth: bool  # whether any pixel has a class other than void
    classes: list[Count]  # all, then unknown if there is any
    labels: list[Count]  # all that the label map knows, then those it lacks; empty if no label ids are kept
    class_weights: list[float]  # of each class, see `class_weights`
    band_pixels: list[list[int]]  # (BANDS, C + 1): pixels of each class, and unknown ones, from top to bottom


@dataclass(frozen=True)
class Survey:
    """What is in a data set."""

    place: str
    kind: str
    layout: str
    limit: int | None  # at most so many images of each split were counted; None: all
    warnings: list[str]
    splits: dict[str, Split]
    classes: list[str]  # names, then unknown
    colors: list[list[int]]  # RGB, of these
    example: Pair  # of those with label ids, the one with the most classes
    example_split: str
    faults: list[Fault] = field(default_factory=list)  # of raw samples that a conversion would refuse
    seen: Evidence | None = None  # in the files of a raw data set
    contradictions: list[str] = field(default_factory=list)  # between the palettes of masks


# ---- counting


@dataclass
class Counts:
    """Counts over one image or many; all are whole numbers, so that sums are exact."""

    images: int
    sizes: Counter[tuple[int, int]]  # height, width
    image_kinds: Counter[str]
    mask_kinds: Counter[str]
    levels: np.ndarray  # (channels, 256): how often each value occurs in each
    label_pixels: np.ndarray  # (256,) by value of the raw mask
    label_images: np.ndarray  # (256,) that contain it
    class_images: np.ndarray  # (C + 1,)
    band_pixels: np.ndarray  # (BANDS, C + 1)

    def add(self, other: "Counts") -> None:
        """Adds the counts over other images."""
        for entry in fields(self):
            mine, others = getattr(self, entry.name), getattr(other, entry.name)
            if isinstance(mine, Counter):
                mine.update(others)
            else:
                setattr(self, entry.name, mine + others)


def count(pair: Pair, classes: int) -> Counts:
    """Counts one image; unknown is one of the classes."""
    height = len(pair.mask)
    bands = (np.arange(height) * BANDS // height).astype(np.uint16)
    cells = bands[:, np.newaxis] * np.uint16(classes) + pair.mask
    band_pixels = np.bincount(cells.ravel(), minlength=BANDS * classes).reshape(BANDS, classes)
    label_ids = np.empty(0, np.uint8) if pair.label_ids is None else pair.label_ids
    label_pixels = np.bincount(label_ids.ravel(), minlength=256)
    return Counts(
        images=1,
        sizes=Counter([pair.image.shape[:2]]),
        image_kinds=Counter([pair.image_kind]),
        mask_kinds=Counter([pair.mask_kind]),
        levels=np.stack([np.bincount(plane.ravel(), minlength=256) for plane in np.moveaxis(pair.image, -1, 0)]),
        label_pixels=label_pixels,
        label_images=(label_pixels > 0).astype(np.int64),
        class_images=(band_pixels.sum(axis=0) > 0).astype(np.int64),
        band_pixels=band_pixels,
    )


class _Look(NamedTuple):
    """What was counted and seen in one image."""

    counts: Counts
    seen: Evidence | None
    fault: Fault | None  # why a conversion would refuse it all the same


def _look(item: Item, load: Callable[[Item], Pair], classes: int, split: str) -> _Look | Fault:
    pair = try_to_load(item, load, split)
    if isinstance(pair, Fault):
        return pair
    return _Look(count(pair, classes), pair.seen, Fault(pair.fault, split, pair.id) if pair.fault else None)


class _Seen:
    """Sums up what is seen in the files of raw samples, and keeps what is wrong with them."""

    def __init__(self, data_set: DataSet):
        self.palettes = Palettes(data_set.settings.label_map if data_set.settings else data_set.label_map)
        self.parts: list[Evidence] = []  # joined now and then, for an image alone takes kilobytes
        self.faults: list[Fault] = []
        self.contradictions: list[str] = []

    def add(self, look: _Look | Fault) -> None:
        if isinstance(look, Fault):
            self.faults.append(look)
            return
        if look.fault:
            self.faults.append(look.fault)
        elif look.seen is not None:
            self.parts.append(look.seen)
            if len(self.parts) == MOST_PARTS:
                self.parts = [merge(self.parts)]
            if len(self.contradictions) < MOST_NAMED and (fault := self.palettes.add(look.seen)):
                self.contradictions.append(fault)


def spread(ids: Sequence[str], limit: int | None) -> list[int]:
    """Chooses the places of at most `limit` ids, evenly over the sorted ids, and so the same each time; ascending."""
    order = sorted(range(len(ids)), key=ids.__getitem__)
    chosen = len(ids) if limit is None else min(limit, len(ids))
    return sorted(order[index * len(ids) // chosen] for index in range(chosen))


class _Candidate(NamedTuple):
    """An image that may become the example."""

    merit: tuple[bool, int]  # whether it has label ids with a class, how many classes
    split: str
    place: int


def survey_data_set(data_set: DataSet, limit: int | None = None, processes: int = 1) -> Survey:
    """Counts what is in each split of a data set.

    Args:
        data_set: from `reader.open_raw` or `reader.open_stored`.
        limit: at most so many images of each split, see `spread`; None: all.
        processes: that decode and count; with 1 this process does it.

    Raises:
        ValueError: an argument or a record is bad, or there is no image, or all of a split are bad; it names the file.
        OSError: a file cannot be read.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"expected a limit of at least 1 image, got {limit}")
    empty = [name for name, ids in data_set.ids.items() if not ids]
    if empty or not data_set.ids:
        raise ValueError(f"{data_set.place}: holds no images" + (f" in split {', '.join(empty)}" if empty else ""))
    splits, candidates, seen = {}, [], _Seen(data_set)
    with workers.open_pool(processes) as mapper:
        for name in sorted(data_set.ids, key=_split_order):
            counts, candidate = _count_split(data_set, name, spread(data_set.ids[name], limit), mapper, seen)
            splits[name] = summarise(counts, data_set, name)
            candidates.append(candidate)
    best = max(candidates, key=lambda candidate: candidate.merit)  # the first of equals
    (item,) = data_set.read(best.split, [best.place])
    return Survey(
        place=data_set.place,
        kind=data_set.kind,
        layout=data_set.layout,
        limit=limit,
        warnings=data_set.warnings + [line for name, split in splits.items() for line in remarks(name, split)],
        splits=splits,
        classes=[*data_set.label_map.classes, UNKNOWN],
        colors=[*data_set.label_map.colors.tolist(), list(UNKNOWN_COLOR)],
        example=data_set.load(item),
        example_split=best.split,
        faults=seen.faults,
        seen=merge(seen.parts) if data_set.source else None,
        contradictions=seen.contradictions,
    )


def _split_order(name: str) -> tuple[int, str]:
    usual = ("train", "val", "test")
    return usual.index(name) if name in usual else len(usual), name


def _count_split(
    data_set: DataSet, name: str, places: Sequence[int], mapper: workers.Mapper, seen: _Seen
) -> tuple[Counts, _Candidate]:
    total: Counts | None = None
    best = _Candidate((False, -1), name, 0)
    classes = len(data_set.label_map.classes) + 1
    look_at = functools.partial(_look, load=data_set.load, classes=classes, split=name)
    looks = mapper(look_at, data_set.read(name, places))
    progress = track(looks, desc=name, total=len(places), unit="image")
    for look, place in zip(progress, places, strict=True):
        seen.add(look)
        if isinstance(look, Fault):
            continue
        counts = look.counts
        shown = int(counts.class_images[1:-1].sum())
        merit = bool(shown and counts.label_pixels.any()), shown
        if merit > best.merit:
            best = _Candidate(merit, name, place)
        if total is None:
            total = counts
        else:
            total.add(counts)
    if total is None:
        raise BadFilesError([fault for fault in seen.faults if fault.split == name])
    return total, best


# ---- from counts to what is shown


def summarise(counts: Counts, data_set: DataSet, name: str) -> Split:
    """Makes shares, means and lists of the counts over a split."""
    class_pixels = counts.band_pixels.sum(axis=0)
    mean, deviation = channel_moments(counts.levels)
    present = [np.flatnonzero(levels) for levels in counts.levels]
    shards = data_set.shards.get(name)
    return Split(
        images=counts.images,
        total=len(data_set.ids[name]),
        shards=shards,
        sizes=[
            {"height": height, "width": width, "images": found} for (height, width), found in counts.sizes.most_common()
        ],
        image_kinds=dict(counts.image_kinds.most_common()),
        mask_kinds=dict(counts.mask_kinds.most_common()),
        channel_mean=mean,
        channel_std=deviation,
        channel_min=[int(values[0]) for values in present],
        channel_max=[int(values[-1]) for values in present],
        has_truth=bool(class_pixels[labels.VOID + 1 :].any()),
        classes=_count_classes(class_pixels, counts.class_images, data_set.label_map),
        labels=_count_labels(counts, label_table(data_set.layout, data_set.label_map)),
        class_weights=data_set.weights.get(name) or balance_classes(class_pixels[:-1].tolist()),
        band_pixels=counts.band_pixels.tolist(),
    )


def channel_moments(levels: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation, in 0..255, of channels of which (channels, 256) counts each value."""
    values, pixels = np.arange(256), levels.sum(axis=1)
    mean = levels @ values / pixels
    variance = levels @ values**2 / pixels - mean**2
    return mean.tolist(), np.sqrt(variance.clip(0)).tolist()  # rounding may leave -1e-12


def label_table(layout: str, label_map: labels.LabelMap) -> dict[int, tuple[str, str, tuple[int, int, int]]]:
    """Name, class and RGB colour of each value that a raw mask may have; only Cityscapes' have their own names."""
    names = label_map.names
    if layout.startswith("cityscapes"):
        known = {label.id: (label.name, label.color) for label in labels.DRAWN}
        known[labels.NO_LABEL] = "no label", (0, 0, 0)
        if names.get(labels.NO_LABEL) != "void":  # records made before 255 was void
            known[labels.NO_LABEL] = next((label.name, label.color) for label in labels.LABELS if label.id < 0)
        return {value: (name, names[value], color) for value, (name, color) in known.items() if value in names}
    colors = dict(zip(label_map.classes, map(tuple, label_map.colors.tolist()), strict=True))
    return {value: (name, name, colors[name]) for value, name in names.items()}


def _count_classes(class_pixels: np.ndarray, images: np.ndarray, label_map: labels.LabelMap) -> list[Count]:
    total = int(class_pixels.sum())
    names, colors = [*label_map.classes, UNKNOWN], [*map(tuple, label_map.colors.tolist()), UNKNOWN_COLOR]
    counts = [
        Count(value, name, name, color, pixels, pixels / total, found)
        for value, (name, color, pixels, found) in enumerate(
            zip(names, colors, class_pixels.tolist(), images.tolist(), strict=True)
        )
    ]
    return counts if counts[-1].pixels else counts[:-1]


def _count_labels(counts: Counts, table: dict[int, tuple]) -> list[Count]:
    total = int(counts.label_pixels.sum())
    if not total:
        return []
    unknown = [value for value in np.flatnonzero(counts.label_pixels).tolist() if value not in table]
    entries = table | dict.fromkeys(unknown, (UNKNOWN, UNKNOWN, UNKNOWN_COLOR))
    pixels, images = counts.label_pixels.tolist(), counts.label_images.tolist()
    return [
        Count(value, label, name, color, pixels[value], pixels[value] / total, images[value])
        for value, (label, name, color) in entries.items()
    ]


def remarks(name: str, split: Split) -> list[str]:
    """Says what is odd about a split, a line each."""
    lines = []
    if not split.has_truth:
        lines.append(f"split {name} has no ground truth: all its pixels are void")
    unknown = [label for label in split.labels if label.name == UNKNOWN]
    if unknown:
        values, share = ", ".join(str(label.value) for label in unknown), sum(label.share for label in unknown)
        lines.append(f"split {name} has mask values that the label map lacks: {values} ({share:.2%} of the pixels)")
    elif split.classes[-1].name == UNKNOWN:
        lines.append(f"split {name} has {split.classes[-1].share:.2%} of pixels that are of no class")
    return lines
