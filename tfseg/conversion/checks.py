"""Whether masks can be what their names say: label ids of Cityscapes, with one palette through all of them."""

from collections.abc import Iterable, Sequence

import numpy as np

from tfseg.conversion import evidence
from tfseg.conversion.evidence import Palettes
from tfseg.conversion.journal import Entry
from tfseg.conversion.plan import Part, samples_by_split
from tfseg.conversion.samples import Sample
from tfseg.conversion.shards import BadFilesError
from tfseg.conversion.sources import Source
from tfseg.io import masks
from tfseg.io.regular_files import read_file

FEW_MASKS = 8  # that show in nearly every case whether masks are of Cityscapes


def look_at_ids(source: Source, parts: Sequence[Part]) -> None:
    """Looks into a few masks, before all the work, whether they can be of Cityscapes; see `check_evidence`.

    Nearly every true mask shows it. Where none of the first does, all are looked at until one does; a file that cannot
    be read is reported later, with all the others.

    Raises:
        ValueError: no mask of a split can be.
    """
    if not source.assumed:
        return
    for split, samples in samples_by_split(parts).items():
        values: set[int] = set()
        for number, sample in enumerate(samples):
            try:
                mask = masks.decode_mask(read_file(sample.mask))
            except (ValueError, OSError):
                break
            values |= {*np.flatnonzero(masks.count_values(mask)).tolist()}
            if number + 1 >= FEW_MASKS and evidence.is_without_truth(values):
                break
            if not values.isdisjoint(evidence.OBJECTS):
                break
        else:
            _refuse_other_ids(split, samples, values)


def check_evidence(source: Source, parts: Sequence[Part], entries: dict[str, Entry]) -> None:
    """Refuses masks that contradict each other over shards, or cannot be what their names say.

    Raises:
        BadFilesError: a palette differs from that of other masks.
        ValueError: masks are named as those of Cityscapes, and no mask of a split has a value that streets have.
    """
    palettes = Palettes(source.label_map)
    for part in parts:
        if fault := palettes.add(entries[part.name].evidence):
            raise BadFilesError([fault])
    if source.assumed:
        for split, samples in samples_by_split(parts).items():
            total = evidence.merge(entries[part.name].evidence for part in parts if part.split == split)
            _refuse_other_ids(split, samples, np.flatnonzero(total.holders).tolist())


def _refuse_other_ids(split: str, samples: Sequence[Sample], values: Iterable[int]) -> None:
    if evidence.is_no_cityscapes(values):
        raise ValueError(evidence.cityscapes_fault(split, len(samples), sorted(values), samples[0].mask))
