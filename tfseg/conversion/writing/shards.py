"""Encoded samples -> shards, in the order of the plan, noted in the journal when they are finished.

After the first bad file nothing is encoded any more: the files that are left are only read, so that all bad ones are
named at once.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tfseg.conversion.reading.evidence import Evidence, Palettes
from tfseg.conversion.reading.faults import BadFilesError, Fault
from tfseg.conversion.reading.samples import Sample
from tfseg.conversion.writing import encoding, journal, updates
from tfseg.conversion.writing.encoding import Encoded, Settings
from tfseg.conversion.writing.fingerprints import Sources, fingerprint_part
from tfseg.conversion.writing.journal import Entry
from tfseg.conversion.writing.plan import Part
from tfseg.conversion.writing.rows import Rows
from tfseg.conversion.writing.updates import Kept, Old, Outcome
from tfseg.io.escaping import printable
from tfseg.io.progress import track
from tfseg.io.workers import open_pool
from tfseg.records import labels, records


class Task(NamedTuple):
    """A shard to write."""

    part: Part
    sources: Sources
    kept: list[Kept | None]  # of each sample, where its record lies already


def write_parts(
    parts: Sequence[Part],
    folder: Path,
    settings: Settings,
    journal_settings: dict,
    workers: int,
    old: Old | None = None,
) -> dict[str, Entry]:
    """Writes the shards that are not finished yet with processes of this machine, noting each in the journal."""
    entries, tasks = find_tasks(parts, folder, journal_settings, old)
    total = sum(len(part.samples) for part in parts)
    remaining = sum(len(task.part.samples) for task in tasks)
    inspection = Inspection(settings.label_map, (entries[part.name].evidence for part in parts if part.name in entries))
    # One stream over all shards, so that no worker waits for the end of one; a job is made when there is room for it.
    jobs = (job for task in tasks for job in list_jobs(task, inspection))
    with open_pool(workers) as mapper:
        outcomes = iter(mapper(functools.partial(encoding.attempt, settings=settings), jobs))
        if old is not None:
            outcomes = _merge_all(tasks, outcomes, old, settings)
        outcomes = iter(track(outcomes, total=total, initial=total - remaining, unit="image"))
        with journal.keep(folder, journal_settings, entries) as note:
            for part, sources, _ in tasks:
                encoded = inspection.take(part.samples, outcomes)
                if inspection.faults:
                    inspection.drain(encoded)
                    continue
                try:
                    entries[part.name] = write_part(part, folder, encoded, sources)
                except BadFilesError:
                    continue
                note()
    inspection.conclude()
    return entries


def _merge_all(tasks: Sequence[Task], encoded: Iterator[Outcome], old: Old, settings: Settings) -> Iterator[Outcome]:
    for task in tasks:
        yield from updates.merge_kept(task.part, task.kept, encoded, old, settings)


class Inspection:
    """Passes on what becomes of samples, and keeps what is wrong with some of them.

    Args:
        label_map: of the conversion.
        seen: of the shards that are finished.
    """

    def __init__(self, label_map: labels.LabelMap, seen: Iterable[Evidence] = ()):
        self.palettes = Palettes(label_map)
        self.faults: list[Fault] = []
        for finished in seen:
            if fault := self.palettes.add(finished):
                self.faults.append(Fault(fault))

    def take(self, samples: Sequence[Sample], outcomes: Iterator[Outcome]) -> Iterator[Encoded]:
        """Yields what is to be stored of the samples of a shard; looks through them to the end if one is bad.

        Raises:
            BadFilesError: one is bad, or one before was.
        """
        for _, outcome in zip(samples, outcomes, strict=False):
            if isinstance(outcome, Fault):
                self.faults.append(outcome)
            elif fault := self.palettes.add(outcome.evidence if isinstance(outcome, Encoded) else outcome):
                self.faults.append(Fault(fault))
            elif isinstance(outcome, Encoded) and not self.faults:
                yield outcome
        self.conclude()

    def drain(self, encoded: Iterator[Encoded]) -> None:
        """Looks through the samples of a shard that will not be written."""
        try:
            for _ in encoded:
                pass
        except BadFilesError:
            pass

    def conclude(self) -> None:
        """Raises BadFilesError if any sample was bad."""
        if self.faults:
            raise BadFilesError(self.faults)


def find_tasks(
    parts: Sequence[Part], folder: Path, journal_settings: dict, old: Old | None = None
) -> tuple[dict[str, Entry], list[Task]]:
    """Finds what an earlier conversion has finished, and what is left to do.

    Args:
        parts: of the plan.
        folder: from `journal.open_folder`.
        journal_settings: of this conversion.
        old: records that are brought up to date; those of their shards that stay as they are count as finished.
    """
    sources = {part.name: fingerprint_part(part) for part in parts} if old is None else old.sources
    entries = journal.read_entries(folder, journal_settings, {name: found.whole for name, found in sources.items()})
    if entries:
        print(f"{printable(folder)}: resuming, {len(entries)} of {len(parts)} shards are finished")
    if old is not None:
        entries = updates.adopt_shards(old, parts, folder, journal_settings, entries)
    return entries, [
        Task(part, sources[part.name], [None] * len(part.samples) if old is None else old.kept[part.name])
        for part in parts
        if part.name not in entries
    ]


def list_jobs(task: Task, inspection: Inspection) -> Iterator[tuple[str, Sample, bool]]:
    """Yields jobs of `encoding.attempt` for a shard: to encode; once a file was bad, to look at."""
    for sample, kept in zip(task.part.samples, task.kept, strict=True):
        if kept is None:
            yield task.part.split, sample, not inspection.faults


def write_part(part: Part, folder: Path, encoded: Iterable[Encoded], sources: Sources) -> Entry:
    """Writes one shard of what `encode_sample` made of its samples, and its rows for the ledger."""
    rows = Rows(part, sources)

    def note(sample: Encoded) -> bytes:
        rows.add(sample)
        return sample.example

    shard = records.write_shard(folder / part.name, map(note, encoded))
    return rows.write(folder, shard)
