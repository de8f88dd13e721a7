"""The manifest of a conversion: what its settings say beforehand, and what its finished shards add."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfseg.conversion.finding.sources import Source
from tfseg.conversion.reading import evidence
from tfseg.conversion.writing.encoding import Settings
from tfseg.conversion.writing.journal import Entry
from tfseg.conversion.writing.plan import Part, samples_by_split
from tfseg.conversion.writing.skipping import count_by_split
from tfseg.records.manifest import Manifest, Split, schema_version_of


def blank_manifest(source: Source, settings: Settings) -> Manifest:
    """Makes a manifest that lacks only its splits, and of the findings all but how the ground truth is read."""
    rule = settings.rule
    of_cityscapes = source.name.startswith("cityscapes")
    return Manifest(
        schema_version=schema_version_of(settings.pixels),
        # By the name of Cityscapes, raw values would be scored as its label ids.
        source="folders" if rule.gives_class_ids and of_cityscapes else source.name,
        label_map=rule.stored_map.names,
        classes=list(source.label_map.classes),
        size=list(settings.size) if settings.size else None,
        codec=settings.codec,
        quality=settings.quality,
        splits={},
        mask_resize=settings.mask_resize,
        mask_codec="zlib",
        tile_width=settings.tile_width,
        colors=source.label_map.colors.tolist(),
        exif=settings.exif,
        findings=evidence.describe_reading(rule) or None,
        channels=settings.pixels.channels,
        value_range=settings.pixels.to_json().get("value_range"),
    )


def complete_manifest(
    blank: Manifest, parts: Sequence[Part], entries: dict[str, Entry], source: Source | None = None
) -> Manifest:
    """Adds the splits, every shard of which is finished, and with the source what was found in it."""
    splits = {}
    for split, samples in samples_by_split(parts).items():
        own = [entries[part.name] for part in parts if part.split == split]
        mean, deviation = _channel_statistics(own)
        class_pixels = np.sum([entry.class_pixels for entry in own], axis=0)
        ids = [sample.id for sample in samples]
        splits[split] = Split(ids, [entry.shard for entry in own], class_pixels.tolist(), mean, deviation)
    if source is None:
        return dataclasses.replace(blank, splits=splits)
    total = evidence.merge(entries[part.name].evidence for part in parts)
    size = (blank.size[0], blank.size[1]) if blank.size else None
    found = evidence.findings(total, source.folders, source.assumed, source.left_out, size)
    if source.skipped:
        found["skipped"] = count_by_split(source.skipped)
    return dataclasses.replace(blank, splits=splits, findings=found | (blank.findings or {}))


def _channel_statistics(entries: Sequence[Entry]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel."""
    pixels = sum(sum(entry.class_pixels) for entry in entries)
    mean = np.sum([entry.channel_sums for entry in entries], axis=0) / pixels
    mean_square = np.sum([entry.channel_squares for entry in entries], axis=0) / pixels
    return mean.tolist(), np.sqrt((mean_square - mean**2).clip(0)).tolist()
