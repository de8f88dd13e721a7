"""Do the records hold what their manifest says? Every byte, record, image and sum of a folder of shards is checked.

Each thing that is wrong is a `Fault`, one line that names file and record. A shard is read once, by one worker process,
a record at a time; what can be seen without reading any is a check of its own, which answers at once. The memory that
this takes, whatever the files hold, is in the head of verify.py.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tfseg.io import command
from tfseg.io.escaping import shorten
from tfseg.io.json_reader import read_bounded
from tfseg.io.names import has_control, quote
from tfseg.io.paths import open_path
from tfseg.io.words import count_of
from tfseg.records import labels, storage
from tfseg.records.contents import Content, Fault, read_contents, some
from tfseg.records.ledger import LEDGER_NAME, ledger_fault
from tfseg.records.manifest import (
    MANIFEST_NAME,
    Manifest,
    Shard,
    Split,
    count_fault,
    folder_fault,
    parse_manifest,
    parse_shard_name,
    shard_fault,
    shard_name,
)

ADVICE = f"copy what is damaged again, or convert again with: {command.program('convert')} ... --overwrite"

# Mean and deviation of a channel are measured before JPEG, which moves them by up to 2 of 255 at the lowest quality.
JPEG_TOLERANCE = 5.0

MOST_LINES = 10_000  # of one kind of fault; more are counted
LONGEST = 255  # characters of a list or a name in a line


def find_faults(directory: str | Path, quick: bool = False, workers: int = 1) -> list[Fault]:
    """Checks a folder of records.

    Args:
        directory: folder of shards and manifest.json.
        quick: leave out what needs the shards to be read.
        workers: processes that read shards; with 1 this process does it.

    Returns:
        All that is wrong: of the manifest first, then shard by shard and record by record, then of other files. The
        sums of a split (class_pixels, channel_mean, channel_std) are compared where all of its records can be decoded.
    """
    directory = open_path(directory)
    path = directory / MANIFEST_NAME
    if fault := folder_fault(directory):
        return [Fault(directory, None, None, fault)]
    try:
        manifest = parse_manifest(read_bounded(path))
    except ValueError as error:
        return [Fault(path, None, None, str(error))]
    contents = {} if quick else read_contents(directory, manifest, workers)
    messages = itertools.chain(manifest_faults(manifest), sum_faults(manifest, contents))
    faults = _some(directory, (Fault(path, None, None, message) for message in messages))
    faults += _some(directory, shard_faults(directory, manifest, contents))
    faults += _some(directory, id_faults(directory, manifest))
    order = {name: place for place, name in enumerate([MANIFEST_NAME, *_shards(manifest)])}
    strays = sorted(file for file in directory.glob("*.tfrecord") if file.name not in order)
    faults += _some(directory, (Fault(file, None, None, "is not in the manifest") for file in strays))
    are_counted = not any(count_fault(name, split) for name, split in manifest.splits.items())
    if are_counted and (fault := ledger_fault(directory, manifest)):
        advice = "no training needs it, and `convert --update` makes it anew"
        faults.append(Fault(directory / LEDGER_NAME, None, None, f"{fault}; {advice}"))
    return sorted(
        faults, key=lambda fault: (order.get(fault.path.name, len(order)), -1 if fault.index is None else fault.index)
    )


def _some(directory: Path, faults: Iterable[Fault]) -> list[Fault]:
    """Takes the first of many faults, and counts the others."""
    faults = iter(faults)
    first = list(itertools.islice(faults, MOST_LINES))
    more = sum(1 for _ in faults)
    return first + ([Fault(directory, None, None, f"has {more:,} faults more of this kind")] if more else [])


# ---- what needs no reading of shards


def manifest_faults(manifest: Manifest) -> Iterator[str]:
    """Says where a manifest disagrees with itself or with this program."""
    if len({*manifest.classes}) < len(manifest.classes) or manifest.classes[labels.VOID : labels.VOID + 1] != ["void"]:
        yield f"has the classes {', '.join(manifest.classes[:LONGEST])}, expected void first, and each once"
    yield from storage.faults(manifest)
    yield from _value_faults(manifest)
    yield from _label_map_faults(manifest)
    if not manifest.splits:
        yield "has no split"
    for name, split in manifest.splits.items():
        if fault := count_fault(name, split):
            yield fault
        for shard in split.shards:
            if not re.fullmatch("[0-9a-f]{64}", shard.sha256):
                yield f"split {name} has {quote(shard.sha256)} as the SHA-256 of {shard.name}"
        for fault in name_faults(name, [shard.name for shard in split.shards]):
            yield f"split {name} lists {fault}"


def _value_faults(manifest: Manifest) -> Iterator[str]:
    """Says which fields have values that this program does not write."""
    for key, value, known in (
        ("way to resize masks", manifest.mask_resize, storage.MASK_RESIZES),
        ("way to take EXIF data", manifest.exif, storage.EXIF_MODES),
    ):
        if value not in known:
            yield f"has the {key} {quote(value)}, expected {' or '.join(known)}"
    if manifest.quality is not None and not 1 <= manifest.quality <= 100:
        yield f"has the quality {manifest.quality}, expected null or 1 to 100"
    if not manifest.source or len(manifest.source) > LONGEST or has_control(manifest.source):
        yield f"has the source {quote(manifest.source)}, expected the name of a layout"
    if fault := storage.color_fault(manifest):
        yield fault
    if manifest.findings is not None:
        yield from storage.findings_faults(manifest.findings)


def _label_map_faults(manifest: Manifest) -> Iterator[str]:
    """Says where the label map names what cannot be, or cannot have made the masks."""
    known, used = {*manifest.classes}, {*manifest.label_map.values()}
    odd = [(value, name) for value, name in manifest.label_map.items() if name not in known or not 0 <= value <= 255]
    for value, name in odd:
        yield f"maps the mask value {value} to {shorten(name)}, expected 0 to 255 and one of the classes"
    if odd:
        return
    for name, split in manifest.splits.items():
        for cls, pixels in zip(manifest.classes, split.class_pixels, strict=False):
            if pixels > 0 and cls not in used:
                yield f"split {name} has {pixels:,} pixels of {cls}, to which no mask value is mapped"


def name_faults(split: str, names: list[str]) -> Iterator[str]:
    """Says where the names of a split's shards do not make a row without gaps, such as 0 to 15 of 16."""
    numbers = {}
    for name in names:
        if name in numbers:
            yield f"{name} twice"
        try:
            numbers[name] = parse_shard_name(name)
        except ValueError:
            yield f"{name}, which is not a shard name such as {shard_name(split, 0, 16)}"
    counts = Counter(count for named, _, count in numbers.values() if named == split)
    if not counts:
        return
    total = counts.most_common(1)[0][0]
    row = f"though its shards are numbered 0 to {total - 1} of {total}"
    for name, (_, index, _) in numbers.items():
        if index >= total or name != shard_name(split, index, total):
            yield f"{name}, {row}"
    whole = (shard_name(split, index, total) for index in range(total))
    if lacking := some(name for name in whole if name not in numbers):
        yield f"no {lacking}, {row}"


def id_faults(directory: Path, manifest: Manifest) -> Iterator[Fault]:
    """Finds ids that the manifest has twice, in one split or in two."""
    first: dict[str, tuple[str, Path, int | None]] = {}
    for name, split in manifest.splits.items():
        for id, (path, index) in zip(split.ids, _places(directory, split), strict=False):
            if id not in first:
                first[id] = name, path, index
                continue
            other, file, number = first[id]
            place = file.name if number is None else f"record {number} of {file.name}"
            twice = "is there twice" if other == name else f"is in split {other} too"
            yield Fault(path, index, id, f"{twice}: {place} has the same id")


def _places(directory: Path, split: Split) -> Iterator[tuple[Path, int | None]]:
    """File and index of the record of each id, without an end: ids that no shard counts are the manifest's alone."""
    for shard in split.shards:
        yield from ((directory / shard.name, index) for index in range(shard.count))
    yield from itertools.repeat((directory / MANIFEST_NAME, None))


# ---- what was read against the manifest


def shard_faults(directory: Path, manifest: Manifest, contents: dict[str, Content]) -> Iterator[Fault]:
    """Says what is wrong with each shard; where `contents` lacks it, as far as can be seen without reading it."""
    owners = {shard.sha256: name for name, shard in _shards(manifest).items()}
    held = {name: owners.get(content.sha256 or "") for name, content in contents.items()}  # whose content each has
    for name, shard in _shards(manifest).items():
        path, content = directory / name, contents.get(name, Content(shard.sha256))
        owner = held.get(name)
        if owner is not None and content.sha256 != shard.sha256:
            swapped = "; the two are swapped" if held.get(owner) == name else ""
            yield Fault(path, None, None, f"holds the content of {owner}, by its SHA-256{swapped}")
            continue
        if fault := shard_fault(path, shard):
            yield Fault(path, None, None, fault)
        yield from content.faults
        if content.sha256 is not None and content.sha256 != shard.sha256 and not content.faults:
            hashes = f"it is {content.sha256[:12]}..., not {shard.sha256[:12]}..."
            yield Fault(
                path, None, None, f"content differs from the manifest (SHA-256), though every record reads: {hashes}"
            )


def sum_faults(manifest: Manifest, contents: dict[str, Content]) -> Iterator[str]:
    """Compares what was measured on each split; one that is not there in full cannot agree, and is passed over."""
    for name, split in manifest.splits.items():
        own = [contents[shard.name] for shard in split.shards if shard.name in contents]
        ids = [id for content in own for id in content.ids if id is not None]
        whole = len(ids) == sum(len(content.ids) for content in own)
        if not ids or not whole or sorted(ids) != sorted(split.ids):
            yield from _statistics_faults(name, split, manifest.channels)
            continue
        masks = np.sum([content.mask_values for content in own], axis=0)
        mean, mean_square = np.sum([content.channel_sums for content in own], axis=0) / masks.sum()
        class_pixels = masks[: len(manifest.classes)].tolist()
        if class_pixels != split.class_pixels and sum(class_pixels) == masks.sum():
            there = shorten(split.class_pixels, LONGEST)
            yield f"split {name} has class_pixels {there}, its masks have {class_pixels}"
        statistics = {
            "channel_mean": (split.channel_mean, mean),
            "channel_std": (split.channel_std, np.sqrt((mean_square - mean**2).clip(0))),
        }
        for key, (there, found) in statistics.items():
            if len(there) == len(found) and not _agree(there, found, manifest.codec):  # else see `storage.faults`
                yield f"split {name} has {key} {_numbers(there)}, its images have {_numbers(found)}"


def _statistics_faults(name: str, split: Split, channels: int) -> Iterator[str]:
    """Says which statistics can be of no images, where those of the images are not known."""
    for key, values in (("channel_mean", split.channel_mean), ("channel_std", split.channel_std)):
        if len(values) == channels and not all(0 <= value <= 255 for value in values):  # nan is not
            yield f"split {name} has {key} {_numbers(values)}, expected {channels} numbers in 0..255"


def _agree(there: list[float], found: np.ndarray, codec: str) -> bool:
    tolerance = JPEG_TOLERANCE if codec == "jpeg" else 1e-5  # what rounding makes of a deviation of 0
    return np.allclose(there, found, rtol=1e-6, atol=tolerance)


# ---- words


def summarise_faults(directory: str | Path, faults: list[Fault], quick: bool = False) -> str:
    """Makes one line: how many faults in how many shards and what to do, or that all is well.

    Args:
        directory: folder of shards and manifest.json.
        faults: what `find_faults` found.
        quick: as of `find_faults`.
    """
    number = count_of(len(faults), "fault")
    try:
        splits = parse_manifest(read_bounded(open_path(directory) / MANIFEST_NAME)).splits.values()
    except (ValueError, OSError):
        return f"{number}; {ADVICE}"
    shards = {shard.name for split in splits for shard in split.shards}
    if not faults:
        images = count_of(sum(len(split.ids) for split in splits), "image")
        sound = "names and sizes" if quick else "all"
        return f"{directory}: {images} in {count_of(len(shards), 'shard')}, {sound} as the manifest says"
    names = {fault.path.name for fault in faults}
    places = []
    if MANIFEST_NAME in names:
        places.append(MANIFEST_NAME)
    if names & shards:
        places.append(f"{len(names & shards)} of {count_of(len(shards), 'shard')}")
    if others := names - shards - {MANIFEST_NAME}:
        places.append(count_of(len(others), "other file"))
    return f"{number} in {' and '.join(places)}; {ADVICE}"


def _shards(manifest: Manifest) -> dict[str, Shard]:
    return {shard.name: shard for split in manifest.splits.values() for shard in split.shards}


def _numbers(values: Iterable[float]) -> str:
    return shorten(f"[{', '.join(f'{value:.8g}' for value in itertools.islice(values, LONGEST))}]", LONGEST)
