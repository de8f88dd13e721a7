"""An audit of records: everything that is likely to be wrong in them, in one ranked list."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfseg.auditing.coverage import FEW_IMAGES, find_constant, find_gaps, find_odd
from tfseg.auditing.duplicates import find_duplicates
from tfseg.auditing.features import Features, measure_shard
from tfseg.auditing.findings import KINDS, LIKELY, Finding, rank
from tfseg.auditing.judging import ClassSums, Judgement, Model, judge_images, open_model
from tfseg.auditing.label_errors import find_label_errors
from tfseg.auditing.reading import ShardJob, list_jobs, read_images
from tfseg.auditing.shifted import find_shifted
from tfseg.io.flags_in_python import note_arguments
from tfseg.io.pixel_formats import RGB
from tfseg.io.progress import show_progress, track
from tfseg.io.workers import open_pool
from tfseg.records.record_set import RecordSet, open_records

CONFIRMED, REFUTED = 0.97, 0.3  # what a model makes of the score of a shifted mask: at least, and times
MODEL_NOTE = (
    "a model contradicts few label errors of the images that it was trained on, since it has learnt them; the other "
    "splits are what it judges best"
)


@dataclass(frozen=True)
class Audit:
    """What an audit found in records, see `audit_records`.

    Attributes:
        records: that were looked at.
        model: which looked, or None.
        splits: that were looked at.
        findings: the most suspicious first.
        notes: what a reader of them must know, a line each.
        places: (split, id) -> place in the split.
    """

    records: RecordSet
    model: Model | None
    splits: list[str]
    findings: list[Finding]
    notes: list[str]
    places: dict[tuple[str, str], int] = field(repr=False)

    def count(self, kinds: Iterable[str]) -> int:
        """Counts the findings of some kinds that are likely faults, of the score `LIKELY` or more."""
        kinds = set(kinds)
        return sum(finding.kind in kinds and finding.score >= LIKELY for finding in self.findings)


@note_arguments()
def audit_records(
    records: RecordSet | str | Path,
    model: Model | str | Path | None = None,
    *,
    splits: Sequence[str] | None = None,
    few_images: int = FEW_IMAGES,
    workers: int = 1,
    progress: bool = True,
) -> Audit:
    """Finds what is likely to be wrong in records.

    Without a model, TensorFlow is not loaded, and label errors are not looked for. Images are read one at a time; of
    each, some 2 KB are kept, and with a model its most contradicted regions, some 6 KB at most.

    Args:
        records: folder of shards and manifest.json, or what was opened of it.
        model: folder of a run or a SavedModel of the records' classes, or what was opened of it; or None.
        splits: names of those to look at; None: all.
        few_images: images of a class in a split below which that is reported.
        workers: processes that decode and measure; a model sees the images in this one.
        progress: whether a terminal shows how far it is.

    Raises:
        ValueError: an argument is bad, a record is damaged, the images have other channels than three, or the model
            predicts other classes, or was trained on other images.
        OSError: records or model cannot be read.

    Example:
        >>> import tfseg
        >>> audit = tfseg.audit_records("records")
        >>> audit.splits, audit.count(["leakage"])
        (['train', 'val'], 0)
    """
    records = open_records(records)
    names = list(records.splits if splits is None else dict.fromkeys(splits))
    if not sum(records.split(name).count for name in names):
        raise ValueError(f"{records}: holds no images in {', '.join(names) or 'any split'}")
    if few_images < 1:
        raise ValueError(f"few_images: expected 1 or more, got {few_images}")
    if records.manifest.channels != RGB.channels:
        found = records.manifest.pixels.describe()
        raise ValueError(f"{records}: holds {found}, and an audit looks at images of {RGB.channels} channels alone")
    if isinstance(model, str | Path):
        model = open_model(model, records)
    jobs = list_jobs(records, names)
    with show_progress(progress):
        features = _measure(jobs, workers)
    findings = [
        *find_duplicates(features),
        *find_gaps(features, records.classes, few_images),
        *find_constant(features, records.classes),
        *find_odd(features, records.classes),
    ]
    shifted = find_shifted(features)
    notes = []
    if model is None:
        notes.append("without --model, label errors are not looked for")
    else:
        sums = ClassSums(len(records.classes))
        with show_progress(progress):
            judgements = _judge(model, jobs, features, sums)
        shifted = weigh_shifts(shifted, judgements)
        errors = find_label_errors(judgements, sums.thresholds, records.classes)
        findings += leave_out_explained(errors, [*findings, *shifted])
        notes.append(MODEL_NOTE)
    places = {(one.split, one.id): one.place for one in features}
    return Audit(records, model, names, rank([*findings, *shifted]), notes, places)


def _measure(jobs: Sequence[ShardJob], workers: int) -> list[Features]:
    features = []
    with (
        open_pool(min(workers, max(len(jobs), 1))) as mapper,
        track(total=sum(job.count for job in jobs), desc="reading", unit="image") as bar,
    ):
        for measured in mapper(measure_shard, jobs):
            features += measured
            bar.update(len(measured))
    return features


def _judge(model: Model, jobs: Sequence[ShardJob], features: Sequence[Features], sums: ClassSums) -> list[Judgement]:
    shifts = {(one.split, one.id): one.shift for one in features if one.shift is not None and one.shift.measure}
    images = (image for job in jobs for image in read_images(job))
    judged = judge_images(model, images, shifts, sums)
    return list(track(judged, total=len(features), desc="judging", unit="image"))


def weigh_shifts(shifted: Sequence[Finding], judgements: Sequence[Judgement]) -> list[Finding]:
    """Weighs each shifted mask by whether it agrees better with the model's prediction once it is moved back."""
    agreements = {(one.split, one.id): one.agreement for one in judgements}
    weighed = []
    for finding in shifted:
        before, after = agreements.get((finding.split, finding.id)) or (0.0, 0.0)
        score = max(finding.score, CONFIRMED) if after > before else REFUTED * finding.score
        details = finding.details | {"agreement": round(before, 4), "agreement_moved": round(after, 4)}
        weighed.append(replace(finding, score=score, details=details))
    return weighed


def leave_out_explained(errors: Sequence[Finding], others: Sequence[Finding]) -> list[Finding]:
    """Leaves out label errors that would show a fault once more that is found already.

    They are those in masks that are likely shifted, whose every border is wrong, and those in copies of images of
    another split, which are reported where the original is.
    """
    explained = {
        (one.split, one.id)
        for one in others
        if one.score >= LIKELY
        and (one.kind == "shifted_masks" or (one.kind == "duplicates" and one.details.get("other_split")))
    }
    return [finding for finding in errors if (finding.split, finding.id) not in explained]


def parse_kinds(text: str) -> list[str]:
    """Reads names of kinds, such as "duplicates,leakage".

    Raises:
        ValueError: one is no kind; the message lists those that there are.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in KINDS:
            raise ValueError(f"--fail-on: expected kinds of {', '.join(KINDS)}, with commas, got {name!r}")
    return names
