"""Records that are there already: are they what a conversion would make, or what can an update keep of them?"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from tfseg.conversion.checks import check_evidence
from tfseg.conversion.finding.sources import Source
from tfseg.conversion.reading import evidence
from tfseg.conversion.writing import updates
from tfseg.conversion.writing.fingerprints import fingerprint_part
from tfseg.conversion.writing.manifests import complete_manifest
from tfseg.conversion.writing.ownership import SKIPPED_NAME
from tfseg.conversion.writing.plan import Part, samples_by_split
from tfseg.conversion.writing.skipping import is_listed
from tfseg.conversion.writing.updates import Old
from tfseg.io.escaping import shorten
from tfseg.io.json_reader import parse_json
from tfseg.io.paths import is_local
from tfseg.records.manifest import Manifest, manifest_text, parse_sound_manifest, read_manifest, read_manifest_bytes

# Fields of a manifest that a user, or the source, decides.
CHOSEN = ("source", "size", "codec", "quality", "mask_resize", "exif", "channels", "value_range")


def reuse(out: Path, wanted: Manifest, parts: Sequence[Part]) -> Manifest:
    """Returns the manifest of `out` if it is what a conversion would make."""
    try:
        there = read_manifest(out)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{error}; --overwrite replaces the damaged folder") from None
    differences = _setting_differences(there, wanted, (*CHOSEN, *updates.FORMAT))
    ids = {split: [sample.id for sample in samples] for split, samples in samples_by_split(parts).items()}
    for split in sorted(there.splits.keys() | ids.keys()):
        found = there.splits[split].ids if split in there.splits else []
        if found != ids.get(split, []):
            differences.append(f"split {split} has {len(found)} images, not the same {len(ids.get(split, []))}")
    if differences:
        if (out / SKIPPED_NAME).is_file():
            differences.append(f"what {SKIPPED_NAME} there lists was left out by --skip-bad")
        raise ValueError(f"{out}: holds other records: {'; '.join(differences)}; choose another --out, or --overwrite")
    return there


def _as_typed(name: str, manifest: Manifest) -> str:
    """Writes a setting as the command line has it, such as 512x1024 or original."""
    value = getattr(manifest, name)
    if name == "size":
        return "x".join(map(str, value)) if value else "original"
    return shorten(value)


def _setting_differences(there: Manifest, wanted: Manifest, fields: Sequence[str]) -> list[str]:
    """Says how records that are there were made in another way than is wanted now."""
    differences = [
        f"{name} is {_as_typed(name, there)}, not {_as_typed(name, wanted)}"
        for name in fields
        if getattr(there, name) != getattr(wanted, name)
    ]
    label_maps = [(m.label_map, m.classes, m.palette.tolist()) for m in (there, wanted)]
    if label_maps[0] != label_maps[1]:
        differences.append("the label map is another one")
    readings = [evidence.reading_of(manifest.findings) for manifest in (there, wanted)]
    if readings[0] != readings[1]:
        differences.append("masks were read by another rule, or by other colours or labels of the label map")
    return differences


# ---- updates


def open_old(out: Path, blank: Manifest, parts: Sequence[Part], warn: Callable[[str], object]) -> tuple[Old, bytes]:
    """Opens records that are to be brought up to date, and finds what has changed; also what their manifest holds.

    Raises:
        ValueError: they have other settings, or their manifest is damaged.
    """
    try:
        data = read_manifest_bytes(out)
        there = parse_sound_manifest(out, data)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{error}; --overwrite replaces the damaged folder") from None
    differences = _setting_differences(there, blank, CHOSEN)
    lacking = sorted(there.splits.keys() - samples_by_split(parts).keys())
    differences += [f"split {name}, of {there.splits[name].count} images, is not taken now" for name in lacking]
    if differences:
        same = "the same"
        if there.value_range and there.value_range != blank.value_range:  # new images move what is measured
            same += f" (--value-range {' '.join(f'{low},{high}' for low, high in there.value_range)})"
        raise ValueError(
            f"{out}: was made with other settings: {'; '.join(differences)}; an update keeps them, so give {same}, "
            "or --overwrite, which converts everything anew with those given"
        )
    sources = {part.name: fingerprint_part(part) for part in parts}
    return updates.compare(out, there, blank, parts, sources, warn), data


def find_up_to_date(old: Old, data: bytes, blank: Manifest, parts: Sequence[Part], source: Source) -> Manifest | None:
    """Returns the manifest of records that are what a conversion from nothing would make; None if they are not."""
    entries = updates.kept_entries(old, parts)
    if entries is None:
        return None
    check_evidence(source, parts, entries)
    manifest = complete_manifest(blank, parts, entries, source)
    text = manifest_text(manifest)
    # In a store, all would be encoded again because of an indentation.
    same = (
        data.replace(b"\r\n", b"\n") == text.encode() if is_local(old.folder) else parse_json(data) == json.loads(text)
    )
    if not same or not is_listed(old.folder, source.skipped) or not updates.are_sound(old, entries):
        return None
    old.adopted |= entries.keys()
    return manifest


def compare_again(old: Old, blank: Manifest, parts: Sequence[Part]) -> Old:
    """Compares old records with another plan, of fewer images, as `open_old` did with the first."""
    sources = {part.name: fingerprint_part(part) for part in parts}
    if old.reason:
        return Old(
            old.folder, sources, old.warn, {part.name: [None] * len(part.samples) for part in parts}, reason=old.reason
        )
    there = parse_sound_manifest(old.folder, read_manifest_bytes(old.folder))
    return updates.compare(old.folder, there, blank, parts, sources, old.warn)


def check_still_old(old: Old, data: bytes) -> None:
    """Raises ValueError if other records came meanwhile, before this process had the place for itself."""
    if read_manifest_bytes(old.folder) != data:
        raise ValueError(f"{old.folder}: another conversion has just replaced it; update again")
