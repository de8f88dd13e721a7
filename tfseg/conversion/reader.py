"""A data set on disk, raw or as records, read image by image as arrays: for looking at it, without TensorFlow."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, Unpack

import numpy as np

from tfseg.conversion.checks import choose_reading
from tfseg.conversion.finding import sources
from tfseg.conversion.reading import evidence
from tfseg.conversion.reading.evidence import Evidence
from tfseg.conversion.reading.faults import Fault
from tfseg.conversion.reading.samples import Sample, named, read_traits
from tfseg.conversion.writing import encoding
from tfseg.conversion.writing.encoding import Settings, make_settings
from tfseg.conversion.writing.image_formats import is_of_rgb
from tfseg.io import image_headers, images, masks
from tfseg.records import labels, storage
from tfseg.records.class_weights import class_weights
from tfseg.records.manifest import Split
from tfseg.records.record_set import RecordSet
from tfseg.records.records import decode_example, read_shard


class Pair(NamedTuple):
    """One image with its ground truth, decoded."""

    id: str
    image: np.ndarray  # (H, W, channels) uint8
    mask: np.ndarray  # (H, W) uint8, class ids; pixels whose value the label map lacks have one more than the last
    label_ids: np.ndarray | None  # (H0, W0) uint8, the raw mask; None where records do not keep it
    image_kind: str  # such as "PNG, 8-bit RGB"
    mask_kind: str
    seen: Evidence | None = None  # in the files of a raw data set
    fault: str = ""  # why a conversion would refuse it all the same


class Stored(NamedTuple):
    """One record, not yet decoded."""

    place: str  # file and index
    data: bytes


Item = TypeVar("Item", Sample, Stored)


@dataclass(frozen=True)
class DataSet(Generic[Item]):
    """A data set on disk, to be read image by image."""

    place: str
    kind: str  # "raw data set" or "records"
    layout: str  # see `sources.Source.name`; only the labels of Cityscapes have names
    label_map: labels.LabelMap
    ids: dict[str, list[str]]  # of each split, in the order in which its images lie
    read: Callable[[str, Sequence[int]], Iterator[Item]]  # (split, ascending places in its ids) -> items
    load: Callable[[Item], Pair]  # in a worker
    shards: dict[str, int] = field(default_factory=dict)  # of each split of records
    weights: dict[str, list[float]] = field(default_factory=dict)  # that the manifest gives
    warnings: list[str] = field(default_factory=list)
    source: sources.Source | None = None  # of a raw data set
    settings: Settings | None = None  # of a conversion of it, as far as they say how masks are read


# ---- opening


def open_raw(
    root: str | Path | None,
    splits: Sequence[str] | None = None,
    label_map: str | Path | None = None,
    coarse: bool = False,
    mask_values: str = "auto",
    color_tolerance: int = 0,
    **where: Unpack[sources.SourceOptions],
) -> DataSet[Sample]:
    """Opens a raw data set; arguments and errors as of `sources.open_source` and, of masks, `checks.choose_rule`."""
    source = sources.open_source(root, splits, label_map, coarse, **where)
    return read_source(source, root, mask_values, color_tolerance)


def read_source(
    source: sources.Source, root: str | Path | None = None, mask_values: str = "auto", color_tolerance: int = 0
) -> DataSet[Sample]:
    """Lets a raw data set be read that is open already; `root` is the name that it is to be shown under."""
    if other := is_of_rgb([sample for samples in source.splits.values() for sample in samples]):
        raise ValueError(
            f"{source.root if root is None else root}: its images are {other}, and of raw data only 8-bit grey and RGB "
            "are shown; convert them, and give the records"
        )
    settings = make_settings(source, None, "jpeg", 95, "nearest", "rotate", mask_values, color_tolerance)
    settings = choose_reading(source, settings)
    rule = settings.rule
    return DataSet(
        place=str(source.root if root is None else root),
        kind="raw data set",
        layout="folders" if rule.gives_class_ids else source.name,
        label_map=rule.stored_map,
        ids={name: [sample.id for sample in samples] for name, samples in source.splits.items()},
        read=lambda split, places: (source.splits[split][place] for place in places),
        load=functools.partial(load_sample, settings=settings),
        warnings=[*source.notes, *source.warnings],
        source=source,
        settings=settings,
    )


def open_stored(records: RecordSet, splits: Sequence[str] | None = None) -> DataSet[Stored]:
    """Opens some splits of records, or all.

    Raises:
        FileNotFoundError: a split is missing.
        ValueError: the classes have no colours.
    """
    manifest = records.manifest
    missing = [name for name in splits or () if name not in manifest.splits]
    if missing:
        there = ", ".join(manifest.splits) or "none"
        raise FileNotFoundError(f"{records}: no split {', '.join(missing)}; there is {there}")
    if fault := storage.color_fault(manifest):
        raise ValueError(f"{records}: {fault}")
    chosen = {name: manifest.splits[name] for name in splits or manifest.splits}
    label_map = labels.make_label_map(
        dict(zip(manifest.classes, manifest.palette.tolist(), strict=True)), manifest.label_map
    )
    codec = manifest.codec + (f", quality {manifest.quality}" if manifest.quality else "")
    return DataSet(
        place=str(records),
        kind="records",
        layout=manifest.source,
        label_map=label_map,
        ids={name: split.ids for name, split in chosen.items()},
        read=lambda split, places: read_records(records.path, chosen[split], places),
        load=functools.partial(
            load_record, unknown=len(manifest.classes), image_kind=codec, channels=manifest.channels
        ),
        shards={name: len(split.shards) for name, split in chosen.items()},
        weights={name: class_weights(split) for name, split in chosen.items()},
    )


# ---- reading: load_sample and load_record run in the workers


def read_records(directory: Path, split: Split, places: Sequence[int]) -> Iterator[Stored]:
    """Reads the records at some places of a split, ascending; a shard without any of them is not opened.

    Raises:
        ValueError: a shard is damaged, or holds fewer records than the manifest says.
    """
    start = 0
    for shard in split.shards:
        wanted = {place - start for place in places if start <= place < start + shard.count}
        if wanted:
            yield from _read_shard(directory / shard.name, wanted)
        start += shard.count


def _read_shard(path: Path, wanted: set[int]) -> Iterator[Stored]:
    last = max(wanted)
    for index, data in enumerate(read_shard(path)):
        if index in wanted:
            yield Stored(f"{path}: record {index}", data)
        if index == last:
            return
    raise ValueError(f"{path}: has no record {last}, which the manifest counts; make the records again")


def try_to_load(item: Item, load: Callable[[Item], Pair], split: str) -> Pair | Fault:
    """Decodes an image and its mask; of a raw data set, says why that cannot be.

    Raises:
        ValueError: a record is damaged.
        OSError: something else than a file of a sample cannot be read.
    """
    return encoding.guard(split, item, lambda: load(item)) if isinstance(item, Sample) else load(item)


def load_sample(sample: Sample, settings: Settings) -> Pair:
    """Decodes an image and its mask.

    Raises:
        ValueError: one is damaged, or their sizes differ; the message begins with the path.
        OSError: one cannot be read.
    """
    (image, label_ids, *files), traits = read_traits(sample, settings.exif, settings.rule)
    label_map, fault = settings.rule.stored_map, ""
    try:
        with named(sample.mask):
            encoding.check_known(label_ids, traits, settings)
    except ValueError as error:
        fault = str(error)
    seen = evidence.of_sample(sample.mask, traits, np.flatnonzero(masks.count_values(label_ids)).tolist())
    mask = np.minimum(label_map.lookup[label_ids], len(label_map.classes))
    image_kind, mask_kind = map(file_kind, files)
    return Pair(sample.id, image, mask, label_ids, image_kind, mask_kind, seen, fault)


def load_record(stored: Stored, unknown: int, image_kind: str, channels: int = 3) -> Pair:
    """Decodes a record; what is `unknown` or more in its mask is of no class.

    Raises:
        ValueError: it is damaged; the message begins with its file and index.
    """
    try:
        record = decode_example(stored.data, channels)
    except ValueError as error:
        raise ValueError(f"{stored.place}: {error}") from None
    return Pair(record.id, record.image, np.minimum(record.mask, unknown), record.label_ids, image_kind, "png")


def file_kind(data: bytes) -> str:
    """Names depth and colours of an image file: "PNG, 8-bit RGB"; decodes nothing."""
    if data.startswith(image_headers.PNG_SIGNATURE):
        return f"PNG, {data[24]}-bit {image_headers.PNG_COLOR_TYPES[data[25]]}"
    if data.startswith(image_headers.JPEG_SIGNATURE):
        return f"JPEG, 8-bit {'grey' if image_headers.read_jpeg_frame(data)[2] == 1 else 'RGB'}"
    return images.format_of(data) or "HEIF"
