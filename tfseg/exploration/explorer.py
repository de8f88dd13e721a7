"""A look at a data set before a training: what is in it, and a page that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Unpack

from tfseg.conversion.finding.sources import Source, SourceOptions, open_source
from tfseg.conversion.flags import source_words
from tfseg.conversion.proposing.proposal import Proposal, propose_label_map
from tfseg.conversion.proposing.proposed_file import read_proposal
from tfseg.conversion.reader import open_stored, read_source
from tfseg.exploration import page
from tfseg.exploration.preview import Preview, preview_conversion, preview_lines
from tfseg.exploration.survey import Survey, spread, survey_data_set
from tfseg.io.flags_in_python import note_arguments
from tfseg.io.progress import show_progress
from tfseg.records.record_set import RecordSet, open_records


@dataclass(frozen=True)
class Exploration:
    """What was found in a data set, and where it was written.

    Attributes:
        survey: counts of images, pixels and classes in each split.
        files: that were written, index.html first.
        conversion: of a raw data set, what a conversion would do; None of records.
    """

    survey: Survey = field(repr=False)
    files: list[Path]
    conversion: Preview | None = None

    @property
    def summary(self) -> str:
        """A short table of the splits, as text."""
        return page.make_summary(self.survey)

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers must know, a line each."""
        return page.notes(self.survey)

    @property
    def preview(self) -> list[str]:
        """What a conversion would do, as lines of text; none for records."""
        return [] if self.conversion is None else preview_lines(self.conversion)


@note_arguments(SourceOptions, split="split_lists")
def explore_dataset(
    root: str | Path | None,
    out: str | Path,
    *,
    records: RecordSet | str | Path | None = None,
    label_map: str | Path | None = None,
    coarse: bool = False,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    workers: int = 1,
    mask_values: str = "auto",
    color_tolerance: int = 0,
    progress: bool = True,
    **where: Unpack[SourceOptions],
) -> Exploration:
    """Counts what is in a data set, and writes a page, its figures and all numbers, as `tfseg explore` does.

    Of a raw data set, the page also says what a conversion would do: bad files are listed and not refused, and a label
    map is proposed where one is needed and none is given.

    Args:
        root: folder of a raw data set; None where `images` and `masks` name two folders, or there are records.
        out: folder to write into; files of an earlier call are replaced, others are left alone.
        records: of a data set, in place of a raw one.
        label_map: of `root`: "categories", "train_ids" or a YAML file.
        coarse: of `root`: whether to look at Cityscapes' coarse masks.
        splits: names of the splits to look at; None: all that are there.
        limit: at most so many images of each split, evenly spread; None: all.
        workers: processes that decode and count.
        mask_values, color_tolerance: of raw masks, as the flags of `tfseg convert`.
        progress: whether a terminal shows how far it is.
        where: where things lie and which split they are of, as of `convert_dataset`.

    Raises:
        ValueError: an argument or a record is bad, or all images of a split are; or `out` holds files of those names
            that are not ours.
        OSError: a file cannot be read or written.
    """
    is_raw = root is not None or where.get("images") is not None
    if is_raw == (records is not None):
        raise ValueError("expected either root, a raw data set, or records; or images and masks of a raw data set")
    with show_progress(progress):
        if records is not None:
            data_set = open_stored(open_records(records), splits)
            page.check_out(out)
            survey = survey_data_set(data_set, limit, workers)
            return Exploration(survey, page.write(survey, out))
        source = open_source(root, splits, label_map, coarse, may_lack_label_map=True, skip_bad=True, **where)
        page.check_out(out)
        source, proposal = _with_label_map(source, limit, workers, mask_values)
        data_set = read_source(source, root, mask_values, color_tolerance)
        survey = survey_data_set(data_set, limit, workers)
    words = source_words(root, label_map, coarse, splits, where)
    words += [] if mask_values == "auto" else ["--mask-values", mask_values]
    words += ["--color-tolerance", str(color_tolerance)] if color_tolerance else []
    assert data_set.settings is not None
    preview = preview_conversion(source, data_set.settings, survey, proposal, words)
    return Exploration(survey, page.write(survey, out, preview), preview)


def _with_label_map(
    source: Source, limit: int | None, workers: int, mask_values: str
) -> tuple[Source, Proposal | None]:
    """Gives a data set that lacks a label map the one that `convert` would propose by the images that are counted."""
    if not source.lacks_label_map:
        return source, None
    counted = {
        split: [members[place] for place in spread([sample.id for sample in members], limit)]
        for split, members in source.splits.items()
    }
    proposal = propose_label_map(replace(source, splits=counted), workers, mask_values, skip_bad=True)
    return replace(source, label_map=read_proposal(proposal)), proposal
