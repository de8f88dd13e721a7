"""What a conversion of a raw data set would do: in the words that `convert` prints, before it is done."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tfseg.conversion.finding.sources import Source
from tfseg.conversion.flags import conversion_words
from tfseg.conversion.proposing.proposal import Proposal, write_thing
from tfseg.conversion.proposing.proposed_file import proposal_notes, proposal_rows
from tfseg.conversion.reading import evidence
from tfseg.conversion.reading.faults import MOST_NAMED, Skipped
from tfseg.conversion.reading.samples import Sample
from tfseg.conversion.summary import in_words
from tfseg.conversion.writing.encoding import Settings
from tfseg.conversion.writing.image_formats import choose_format, find_mixture
from tfseg.conversion.writing.manifests import blank_manifest
from tfseg.conversion.writing.plan import plan_parts, shard_count
from tfseg.conversion.writing.skipping import name_kind, split_fault
from tfseg.exploration.survey import Survey
from tfseg.io.escaping import printable
from tfseg.records import manifest as manifests
from tfseg.visualization.tables import plain_table

MOST_EXAMPLES = 3  # names of bad files of one kind


@dataclass(frozen=True)
class BadKind:
    """Files that are bad in the same way."""

    fault: str
    advice: str
    count: int
    examples: list[str]  # the first of them


@dataclass(frozen=True)
class Preview:
    """What a conversion would do."""

    decided: dict[str, str]  # head -> words
    label_rows: list[list[str]]  # a table, its head first: what is in masks, its class, how much of it
    is_proposed: bool  # the label map is
    command: str
    notes: list[str] = field(default_factory=list)  # on the proposal, and on images that are not all stored as they are
    bad: list[BadKind] = field(default_factory=list)  # what --skip-bad would leave out, the commonest first
    refused: list[str] = field(default_factory=list)  # what would be refused in any case
    limit: int | None = None  # at most so many images of each split were looked at; None: all

    @property
    def verdict(self) -> str:
        """One line on what comes of it."""
        bad = sum(kind.count for kind in self.bad)
        if self.refused:
            return "would refuse this data set, with --skip-bad, too"
        if bad:
            return f"would refuse {bad} bad {'file' if bad == 1 else 'files'}; with --skip-bad it leaves them out"
        return "would propose a label map, and go through with it" if self.is_proposed else "would go through"


def preview_conversion(
    source: Source, settings: Settings, survey: Survey, proposal: Proposal | None, words: Sequence[str]
) -> Preview:
    """Says what a conversion would do.

    Args:
        source: the data set, opened with `skip_bad`; with the label map that is proposed, if it has none.
        settings: how masks are read.
        survey: of the data set.
        proposal: of the label map, if that is proposed.
        words: that say to `tfseg convert` where the data lie and how they are read.
    """
    bad = [*source.skipped]
    samples = {(split, sample.id): sample for split, members in source.splits.items() for sample in members}
    for fault in survey.faults:
        sample = samples[fault.split, fault.id]
        bad.append(Skipped(fault.split, fault.id, str(sample.image), str(sample.mask), fault.message))
    bad_samples = [samples[fault.split, fault.id] for fault in survey.faults]
    image_notes, mixture = _look_at_images(source, survey.limit, bad_samples)
    refused = [*dict.fromkeys(survey.contradictions), *_odd_names(source, survey), *_lost_splits(source, survey)]
    refused = [*mixture, *refused][:MOST_NAMED]
    sampled = [split.total for split in survey.splits.values() if survey.limit and split.total > survey.limit]
    return Preview(
        decided=_decide(source, settings, survey, proposal is not None),
        label_rows=proposal_rows(proposal) if proposal else _label_rows(settings, survey),
        is_proposed=proposal is not None,
        command=conversion_words([*words, *(["--skip-bad"] if bad and not refused else [])]),
        notes=[*(proposal_notes(proposal) if proposal else []), *image_notes],
        bad=group_faults(bad),
        refused=refused,
        limit=survey.limit if sampled else None,
    )


def preview_lines(preview: Preview) -> list[str]:
    """Writes a preview as lines of plain text."""
    width = max(map(len, preview.decided), default=0)
    lines = ["", f"tfseg convert {preview.verdict}{sample_note(preview)}"]
    lines += [f"{name.ljust(width)}  {text}" for name, text in preview.decided.items()]
    lines += ["proposed label map" if preview.is_proposed else "label map", *plain_table(preview.label_rows)]
    lines += preview.notes
    for kind in preview.bad:
        lines.append(f"bad: {kind.fault}; in {kind.count}, such as {', '.join(kind.examples)}; {kind.advice}")
    lines += [f"refused: {fault}" for fault in preview.refused]
    return [printable(line) for line in [*lines, f"to convert: {preview.command}"]]


def sample_note(preview: Preview) -> str:
    """Says that the verdict is on some of the images, if it is."""
    return f" (by at most {preview.limit} images of each split)" if preview.limit else ""


# ---- the parts


def _decide(source: Source, settings: Settings, survey: Survey, is_proposed: bool) -> dict[str, str]:
    """Lines by their heads: the layout, the splits, and what a conversion prints below its table."""
    splits = {}
    bad = Counter(fault.split for fault in survey.faults)
    for name, split in survey.splits.items():
        pixels = [count.pixels for count in split.classes][: len(source.label_map.classes)]
        good = min(split.total, survey.limit or split.total) - bad[name]
        splits[name] = manifests.Split([""] * good, [], pixels, [], [])
    blank = blank_manifest(source, settings)
    seen = evidence.findings(survey.seen or evidence.Evidence(), source.folders, source.assumed, source.left_out, None)
    wanted = dataclasses.replace(blank, splits=splits, findings=seen | (blank.findings or {}))
    decided: dict[str, str] = {}
    with suppress(ArithmeticError):  # a split without a pixel that the label map knows
        decided = in_words(wanted)[0]
    counts = []
    for name, members in source.splits.items():
        good = len(members) - bad[name]
        shards = shard_count(good)
        counts.append(f"{name} {good} in {shards} {'shard' if shards == 1 else 'shards'}")
    notes = [note.removeprefix(f"{source.root}: ") for note in source.notes]
    own = {"recognised": "; ".join(notes)} if notes else {}
    own["splits"] = f"{', '.join(counts)}; {source.parted_by}"
    if settings.chosen_by:
        own["reading"] = f"by their {_thing(settings)}s, as {settings.chosen_by} shows"
    if is_proposed and "masks" in decided:
        decided["masks"] = decided["masks"].replace("of the label map given", "of the label map proposed")
    return {"layout": decided.pop("layout", source.name)} | own | decided


def _thing(settings: Settings) -> str:
    return "colour" if settings.rule.values == "color" else "value"


def _label_rows(settings: Settings, survey: Survey) -> list[list[str]]:
    """A table of what masks hold, over all splits: value or colour or label, name, class, share of the pixels."""
    label_map, rule = settings.label_map, settings.rule
    total = sum(count.pixels for split in survey.splits.values() for count in split.classes) or 1
    if not rule.gives_class_ids:
        found: dict[int, list] = {}
        for split in survey.splits.values():
            for count in split.labels:
                row = found.setdefault(count.value, [count.name, count.class_name, 0, 0])
                row[2], row[3] = row[2] + count.pixels, row[3] + count.images
        rows = [
            [str(value), name, class_name, _percent(pixels / total), str(images)]
            for value, (name, class_name, pixels, images) in sorted(found.items())
        ]
        return [["value", "name", "class", "pixels %", "images"], *rows]
    shares = dict.fromkeys(range(len(label_map.classes)), 0)
    for split in survey.splits.values():
        for class_id, count in enumerate(split.classes[: len(label_map.classes)]):
            shares[class_id] += count.pixels
    by_color = rule.values == "color"
    things = label_map.by_color.items() if by_color else label_map.by_label.items()
    if rule.values != "color" and label_map.wide is not None and not rule.uses_labels:
        things = ((value, int(class_id)) for value, class_id in enumerate(label_map.wide) if class_id in shares)
    rows = [
        [
            thing if isinstance(thing, str) else write_thing(thing),
            label_map.classes[place],
            _percent(shares[place] / total),
        ]
        for thing, place in things
    ]
    head = "colour" if by_color else "label" if rule.uses_labels else "value"
    return [[head, "class", "pixels % of the class"], *rows]


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _odd_names(source: Source, survey: Survey) -> list[str]:
    """Masks that are named as those of Cityscapes, and hold none of its label ids."""
    if not source.assumed:
        return []
    faults = []
    for name, split in survey.splits.items():
        values = sorted(count.value for count in split.labels if count.pixels)
        if evidence.is_no_cityscapes(values):
            faults.append(evidence.cityscapes_fault(name, split.images, values, source.splits[name][0].mask))
    return faults


def _lost_splits(source: Source, survey: Survey) -> list[str]:
    """Splits of which `--skip-bad` would leave nothing."""
    bad = Counter(fault.split for fault in survey.faults)
    return [
        f"all {len(members)} images of split {name} are bad, so that --skip-bad would leave nothing of it"
        for name, members in source.splits.items()
        if bad[name] == len(members)
    ]


def _look_at_images(source: Source, limit: int | None, bad: Sequence[Sample]) -> tuple[list[str], list[str]]:
    """Says what a conversion says of the kinds of images, and whether they are too many for it."""
    parts = plan_parts(source, limit)
    try:
        _, notes, cautions = choose_format(parts, None, "percentiles", 1)
    except ValueError as error:
        return [], [str(error)]
    mixture = find_mixture([sample for part in parts for sample in part.samples], bad, 1)
    return [*notes, *cautions], [mixture] if mixture else []


def group_faults(bad: Iterable[Skipped]) -> list[BadKind]:
    """Joins faults that differ by names and numbers alone, the commonest first."""
    kinds: dict[str, list[tuple[str, str, str]]] = {}
    for one in bad:
        fault, advice = split_fault(one)
        start = next((path for path in (one.image, one.mask) if path and fault.startswith(f"{path}: ")), "")
        what = fault[len(start) + 2 :] if start else fault
        for path in filter(None, (one.image, one.mask)):
            advice = advice.replace(path, "...")
        advice = advice.removesuffix(", then convert with --update")  # nothing is converted yet
        kinds.setdefault(name_kind(one), []).append((what, advice, start or one.id))
    found = [
        BadKind(members[0][0], members[0][1], len(members), [name for *_, name in members[:MOST_EXAMPLES]])
        for members in kinds.values()
    ]
    return sorted(found, key=lambda kind: -kind.count)
