"""The rows of a ledger in the making: what was counted and seen in each image, and the sums of a shard.

A worker leaves the rows of a shard beside it. When all shards are finished, their rows become the ledger.
"""

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseg.conversion.reading import evidence
from tfseg.conversion.reading.evidence import Evidence
from tfseg.conversion.reading.samples import Sample
from tfseg.conversion.writing import journal
from tfseg.conversion.writing.encoding import Encoded
from tfseg.conversion.writing.fingerprints import Sources
from tfseg.conversion.writing.journal import Entry
from tfseg.conversion.writing.plan import Part
from tfseg.io import atomic
from tfseg.io.names import quote
from tfseg.records.ledger import Row, Section, row_line, write_ledger
from tfseg.records.manifest import Shard

_MASK = "*"  # stands for the path of the mask, which is another wherever the data set lies


class Rows:
    """Rows of one shard, record by record.

    Args:
        part: what becomes the shard.
        sources: of it.
    """

    def __init__(self, part: Part, sources: Sources):
        self.part, self.sources = part, sources
        self.palettes: list[str] = []
        self.lines: list[bytes] = []
        self.numbers: list[tuple[list[int], list[int], list[int]]] = []
        self.seen: list[Evidence] = []

    def add(self, encoded: Encoded, size: int | None = None, sha256: str = "") -> None:
        """Adds the next record.

        Args:
            encoded: what was made of the sample.
            size: of the record in bytes, where `encoded` lacks it.
            sha256: likewise.
        """
        sample, files = self.part.samples[len(self.lines)], self.sources.images[len(self.lines)]
        numbers = encoded.class_pixels, encoded.channel_sums, encoded.channel_squares
        if size is None:
            size, sha256 = len(encoded.example), hashlib.sha256(encoded.example).hexdigest()
        seen = pack_evidence(encoded.evidence, sample, self.palettes)
        self.lines.append(row_line(Row(sample.id, files, size, sha256, *numbers, seen)))
        self.numbers.append(numbers)
        self.seen.append(encoded.evidence)

    def entry(self, shard: Shard) -> Entry:
        """Sums up, for a shard that is written."""
        pixels, sums, squares = (np.sum(numbers, axis=0).tolist() for numbers in zip(*self.numbers, strict=True))
        digest = hashlib.sha256(b"".join(self.lines)).hexdigest()
        return Entry(shard, self.sources.whole, pixels, sums, squares, evidence.merge(self.seen), digest)

    def write(self, folder: Path, shard: Shard) -> Entry:
        """Writes the rows beside their shard, and sums up."""
        atomic.write_bytes(b"".join(self.lines), folder / journal.rows_name(shard.name))
        return self.entry(shard)


def gather_rows(folder: Path, parts: Sequence[Part], entries: dict[str, Entry]) -> None:
    """Writes the ledger of a folder, of the rows of all shards."""

    def sections():
        for part in parts:
            entry = entries[part.name]
            shard = entry.shard
            section = Section(shard.name, shard.count, shard.sha256, list(entry.evidence.palettes))
            yield section, (folder / journal.rows_name(part.name)).read_bytes()

    write_ledger(folder, sections())


# ---- what was seen in one image, as a row has it


def pack_evidence(seen: Evidence, sample: Sample, palettes: list[str]) -> dict:
    """Makes a short JSON object of what was seen in one sample, without the path of its mask.

    Args:
        seen: in the sample alone.
        sample: the files.
        palettes: of the samples before it in its shard; those that are new are added.
    """
    mask, packed = str(sample.mask), {}
    for field in dataclasses.fields(Evidence):
        value = getattr(seen, field.name)
        if value == getattr(Evidence(), field.name):
            continue
        if field.name == "palettes":
            palettes += [palette for palette in value if palette not in palettes]
            value = {str(palettes.index(palette)): [*map(int, entries)] for palette, entries in value.items()}
        elif field.name == "holders":
            value = np.flatnonzero(value).tolist()
        elif isinstance(value, list):
            value = [_MASK if item == mask else item for item in value]
        elif value == mask:
            value = _MASK
        packed[field.name] = value
    return packed


def unpack_evidence(packed: dict, sample: Sample, palettes: Sequence[str]) -> Evidence:
    """Makes of it what was seen in the sample, where its mask lies now.

    Raises:
        ValueError: it is not what `pack_evidence` makes.
    """
    mask, fields = str(sample.mask), {}
    try:
        for name, value in packed.items():
            if name == "palettes":
                value = {palettes[int(key)]: {str(entry): mask for entry in entries} for key, entries in value.items()}
            elif name == "holders":
                holders = np.zeros(len(Evidence().holders), np.int64)
                holders[value] = 1
                value = holders.tolist()
            elif isinstance(value, list):
                value = [mask if item == _MASK else item for item in value]
            elif value == _MASK:
                value = mask
            fields[name] = value
        seen = Evidence(**fields)
        _check_types(seen)
        return seen
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ValueError(f"has an entry `seen` that no conversion wrote: {error}") from None


def _check_types(seen: Evidence) -> None:
    """Raises ValueError for values that nobody could sum up."""
    counts = [*seen.kinds.values(), *seen.turned.values(), *seen.undecided.values(), *seen.sizes.values(), seen.bare]
    texts = [*seen.greys, seen.first_bare]
    if not all(type(count) is int for count in counts) or not all(isinstance(text, str) for text in texts):
        raise ValueError("expected whole numbers and texts")
    if wrong := [size for size in seen.sizes if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*", size)]:
        raise ValueError(f"expected sizes as HEIGHTxWIDTH, got {quote(wrong[0])}")
    for palette, entries in seen.palettes.items():
        bytes.fromhex(palette)
        for entry in entries:
            int(entry)
