"""A look at a data set before a training: what is in it, and a page that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from tfseg.conversion.finding.sources import SourceOptions
from tfseg.conversion.reader import open_raw, open_stored
from tfseg.exploration import page
from tfseg.exploration.survey import Survey, survey_data_set
from tfseg.records.record_set import RecordSet, open_records


@dataclass(frozen=True)
class Exploration:
    """What was found, and where it was written."""

    survey: Survey
    files: list[Path]  # index.html first

    @property
    def summary(self) -> str:
        """A short table of the splits, as text."""
        return page.make_summary(self.survey)

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers must know, a line each."""
        return page.notes(self.survey)


def explore_dataset(
    out: str | Path,
    *,
    root: str | Path | None = None,
    records: RecordSet | str | Path | None = None,
    label_map: str | Path | None = None,
    coarse: bool = False,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    workers: int = 1,
    mask_values: str = "auto",
    color_tolerance: int = 0,
    **where: Unpack[SourceOptions],
) -> Exploration:
    """Counts what is in a data set, and writes a page, its figures and all numbers.

    Args:
        out: folder to write into; files of an earlier call are replaced, others are left alone.
        root: folder of a raw data set; or ...
        records: ... records of one; or ...
        label_map: of `root`: "categories", "train_ids" or a YAML file.
        coarse: of `root`: whether to look at Cityscapes' coarse masks.
        splits: names of the splits to look at; None: all that are there.
        limit: at most so many images of each split, evenly spread; None: all.
        workers: processes that decode and count.
        mask_values, color_tolerance: of raw masks, as of `converter.convert`.
        where: ... images and masks, two folders of a raw data set; and how files are named and split, as of
            `sources.open_source`.

    Raises:
        ValueError: an argument or a file is bad, or `out` holds files of those names that are not ours.
        OSError: a file cannot be read or written.
    """
    is_raw = root is not None or where.get("images") is not None
    if is_raw == (records is not None):
        raise ValueError("expected either root, a raw data set, or records; or images and masks of a raw data set")
    if records is not None:
        data_set = open_stored(open_records(records), splits)
    else:
        data_set = open_raw(root, splits, label_map, coarse, mask_values, color_tolerance, **where)
    page.check_out(out)
    survey = survey_data_set(data_set, limit, workers)
    return Exploration(survey, page.write(survey, out))
