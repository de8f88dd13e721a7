"""How masks are to be read, and whether they can be what their names say: label ids of Cityscapes, with one palette."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tfseg.conversion.finding.sources import Source
from tfseg.conversion.reading import evidence
from tfseg.conversion.reading.evidence import Color, Palettes
from tfseg.conversion.reading.faults import BadFilesError
from tfseg.conversion.reading.readings import Rule, knows
from tfseg.conversion.reading.samples import Sample
from tfseg.conversion.reading.words import LABEL_READINGS
from tfseg.conversion.writing.encoding import Settings
from tfseg.conversion.writing.journal import Entry
from tfseg.conversion.writing.plan import Part, samples_by_split
from tfseg.io import masks
from tfseg.io.rasters import read_raster
from tfseg.io.regular_files import read_file
from tfseg.records.labels import UNKNOWN, LabelMap

FEW_MASKS = 8  # that show in nearly every case whether masks are of Cityscapes, or how they are to be read
_GREY_PALETTE = bytes(grey for grey in range(256) for _ in range(3))


def choose_reading(source: Source, settings: Settings) -> Settings:
    """Does what `choose_rule` does, for the settings of a conversion."""
    rule = choose_rule(source, settings.mask_values, settings.color_tolerance)
    return dataclasses.replace(
        settings, mask_values=rule.values, chosen_by=rule.chosen_by, uses_labels=rule.uses_labels
    )


def choose_rule(source: Source, mask_values: str = "auto", color_tolerance: int = 0) -> Rule:
    """Chooses how masks are read, if `mask_values` is "auto": by a few of them, one rule for all.

    A grey mask says that values are read, one in RGB that colours are. A palette can be read both ways, and RGB that
    is all grey too: by colours only if the label map has colours for all that is used, and lacks the values.

    A file that cannot be read is reported later, with all the others.

    Raises:
        ValueError: it is asked for what no mask of the data set has, or nothing says which of two readings is meant.
    """
    samples = [sample for members in source.splits.values() for sample in members]
    with_masks = [sample for sample in samples if sample.form == "mask"]
    chosen, chosen_by = mask_values, ""
    if mask_values == "auto":
        chosen = "index"
        if source.label_map.by_color:
            chosen, chosen_by = _choose_by_masks(with_masks, source.label_map)
    if mask_values != "auto" and samples and not with_masks:
        raise ValueError(
            f"{source.root}: --mask-values {mask_values} says how masks are read, but here are "
            f"{LABEL_READINGS.get(samples[0].form, samples[0].form)}; leave it out"
        )
    if color_tolerance and chosen != "color":
        raise ValueError(
            f"{source.root}: --color-tolerance is of masks that are read by their colours, but here are "
            + (f"values read, by {chosen_by or 'the label map'}" if with_masks else "labels")
            + "; leave it out"
            + (", or give --mask-values color" if with_masks and mask_values == "auto" else "")
        )
    return Rule(source.label_map, chosen, color_tolerance, chosen_by, uses_labels=len(with_masks) < len(samples))


def _choose_by_masks(samples: Sequence[Sample], label_map: LabelMap) -> tuple[str, str]:
    """Chooses "index" or "color", and names the mask that decided it."""
    undecided = ""
    values: set[int] = set()
    colors: set[Color] = set()
    places = np.linspace(0, len(samples) - 1, min(len(samples), FEW_MASKS)).astype(int).tolist()
    for sample in (samples[place] for place in dict.fromkeys(places)):
        try:
            raster = read_raster(read_file(sample.mask))
        except (ValueError, OSError):
            continue
        if raster.is_colored:
            return "color", str(sample.mask)
        if raster.palette is None and raster.pixels.ndim == 2:
            return "index", str(sample.mask)
        undecided = undecided or str(sample.mask)
        if raster.palette is None:
            _refuse_two_readings(sample.mask, np.unique(raster.pixels).tolist(), label_map)
        palette = _GREY_PALETTE if raster.palette is None else raster.palette
        used = np.unique(raster.pixels if raster.pixels.ndim == 2 else raster.pixels[..., 0]).tolist()
        values |= {*used}
        colors |= {evidence.color_of(palette.hex(), value) for value in used}
    by_colors = not knows(label_map.lookup, np.array([*values], np.uint8)) and colors <= label_map.by_color.keys()
    return ("color" if by_colors else "index"), undecided


def _refuse_two_readings(path: Path, greys: Iterable[int], label_map: LabelMap) -> None:
    """Refuses RGB of greys that are other classes by their values than by their colours."""
    for grey in greys:
        by_value, by_color = int(label_map.lookup[grey]), label_map.by_color.get((grey, grey, grey))
        if by_color is not None and by_value not in (UNKNOWN, by_color):
            raise ValueError(
                f"{path}: is RGB of greys, of which {grey} is {label_map.classes[by_value]} by its value, but "
                f"{label_map.classes[by_color]} by its colour; choose by --mask-values index or color"
            )


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
