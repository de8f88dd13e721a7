"""What is bad in a data set and left out, if that is asked for, and the list of it beside the records.

The list, tfseg-skipped.jsonl, is a file of JSON lines, one for each image, mask or entry:

    {"split": "train", "id": "0007", "image": "images/train/0007.jpg", "mask": "masks/train/0007.png",
     "fault": "images/train/0007.jpg: is cut short", "advice": "..."}

No list is believed: a conversion that resumes or updates reads again what an earlier one has listed, so that what was
mended comes in. The list only spares it to find out among all images.
"""

import dataclasses
import functools
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfseg.conversion.finding.sources import Source
from tfseg.conversion.reading.faults import BadFilesError, Fault, Skipped
from tfseg.conversion.writing import encoding
from tfseg.conversion.writing.encoding import Settings
from tfseg.conversion.writing.image_formats import find_mixture
from tfseg.conversion.writing.ownership import SKIPPED_NAME
from tfseg.conversion.writing.plan import Part, limit_source
from tfseg.io import atomic, removal
from tfseg.io.json_reader import parse_json
from tfseg.io.workers import open_pool

ADVICE = "mend or remove it, then convert with --update"  # where a fault says no more than what is wrong


# ---- which samples


def recall_bad(source: Source, limit: int | None, settings: Settings, folders: Iterable[Path], workers: int) -> Source:
    """Leaves out what lists of earlier conversions name and is still bad.

    Args:
        source: the data set.
        limit: at most so many images of each split are converted, bad ones among them.
        settings: of the conversion.
        folders: that may hold a list.
        workers: processes that read.

    Raises:
        ValueError: nothing is left of a split, or images are of several kinds.
        OSError: something else than a file of the data set cannot be read.
    """
    source = limit_source(source, limit)
    named = {name for folder in folders for name in _read_names(folder)}
    jobs = [
        (split, sample, True)
        for split, members in source.splits.items()
        for sample in members
        if (split, sample.id) in named
    ]
    if not jobs:
        return source
    with open_pool(min(workers, len(jobs))) as mapper:
        outcomes = zip(jobs, mapper(functools.partial(encoding.attempt, settings=settings), jobs), strict=True)
        found = [(sample, outcome) for (_, sample, _), outcome in outcomes if isinstance(outcome, Fault)]
    samples = [sample for members in source.splits.values() for sample in members]
    if settings.pixels.is_rgb and (mixture := find_mixture(samples, [bad for bad, _ in found], workers)):
        raise ValueError(mixture)
    return leave_out(source, [fault for _, fault in found])


def leave_out(source: Source, faults: Sequence[Fault]) -> Source:
    """Leaves out samples that are bad.

    Raises:
        BadFilesError: some faults are none of single samples: files contradict each other.
        ValueError: nothing is left of a split.
    """
    if contradictions := [fault for fault in faults if not fault.id]:
        raise BadFilesError(contradictions)
    messages = {(fault.split, fault.id): fault.message for fault in faults}
    splits, skipped = {}, [*source.skipped]
    for split, members in source.splits.items():
        splits[split] = [sample for sample in members if (split, sample.id) not in messages]
        skipped += [
            Skipped(split, sample.id, str(sample.image), str(sample.mask), messages[split, sample.id])
            for sample in members
            if (split, sample.id) in messages
        ]
        if members and not splits[split]:
            raise ValueError(
                f"{source.root}: all {len(members)} images of split {split} are bad, so that --skip-bad would leave "
                f"nothing of it; the first: {messages[split, members[0].id]}"
            )
    return dataclasses.replace(source, splits=splits, skipped=sorted(skipped))


def go_on_without(source: Source, faults: Sequence[Fault], folder: Path) -> Source:
    """Does what `leave_out` does, and lists it in the folder that is being made, for a conversion that resumes."""
    try:
        source = leave_out(source, faults)
    except ValueError:
        write_skipped(folder, [])  # nothing of use is left
        raise
    write_skipped(folder, source.skipped)
    return source


# ---- the list


def skipped_text(skipped: Iterable[Skipped]) -> bytes:
    """Writes the list: plain ASCII, whatever the names are."""
    return b"".join(_line(one) for one in skipped)


def write_skipped(folder: Path, skipped: Sequence[Skipped]) -> None:
    """Writes the list into a folder, whole or not at all; where nothing is skipped, an old one is removed."""
    if skipped:
        atomic.write_bytes(skipped_text(skipped), folder / SKIPPED_NAME)
    else:
        removal.remove_files(folder, re.escape(SKIPPED_NAME))


def is_listed(folder: Path, skipped: Sequence[Skipped]) -> bool:
    """Whether the list of a folder says just this; where nothing is skipped, whether it has none."""
    path = folder / SKIPPED_NAME
    return path.read_bytes() == skipped_text(skipped) if path.is_file() else not skipped


def count_by_split(skipped: Iterable[Skipped]) -> dict[str, int]:
    """How many samples of each split are skipped; "" stands for no split.

    An image and a mask that are listed each by itself, since the other is missing, are one sample.
    """
    return dict(sorted(Counter(split for split, _ in {(one.split, one.id) for one in skipped}).items()))


def summarise_skipped(source: Source, parts: Iterable[Part]) -> list[str]:
    """Makes a line of how much was left out, with the name of the list, and one of the commonest fault.

    There is none if nothing was left out. By the second, a label map that lacks a value of most masks shows, too.
    """
    if not source.skipped:
        return []
    converted = sum(len(part.samples) for part in parts)
    bad = sum(count_by_split(source.skipped).values())
    kinds: dict[str, list[str]] = {}
    for one in source.skipped:
        kinds.setdefault(name_kind(one), []).append(one.fault)
    commonest = max(kinds.values(), key=len)
    return [
        f"left out {bad} bad of {bad + converted} samples; {SKIPPED_NAME} there says which and why",
        f"the commonest fault, {len(commonest)} of {len(source.skipped)}: {commonest[0]}",
    ]


def name_kind(one: Skipped) -> str:
    """What is wrong with a sample, without names of files and numbers, so that faults of one kind are equal."""
    kind = split_fault(one)[0]
    for path in filter(None, (one.image, one.mask)):
        kind = kind.replace(path, "...")
    return re.sub(r"\d+", "#", kind)


def split_fault(one: Skipped) -> tuple[str, str]:
    """Parts what is wrong from what to do, which follows the first semicolon after the name of the file."""
    start = next((path for path in (one.image, one.mask) if path and one.fault.startswith(f"{path}: ")), "")
    fault, _, advice = one.fault[len(start) :].partition("; ")
    return start + fault, advice or ADVICE


def _line(one: Skipped) -> bytes:
    fault, advice = split_fault(one)
    names = {"split": one.split, "id": one.id, "image": one.image, "mask": one.mask}
    line = {name: text or None for name, text in names.items()} | {"fault": fault, "advice": advice}
    return json.dumps(line).encode() + b"\n"


def _read_names(folder: Path) -> list[tuple[str, str]]:
    """Split and id of what a list names; nothing of one that is missing or damaged."""
    try:
        lines = [parse_json(line) for line in (folder / SKIPPED_NAME).read_bytes().splitlines()]
        return [(str(line["split"]), str(line["id"])) for line in lines]
    except (OSError, ValueError, LookupError, TypeError):
        return []
