"""What a conversion made and decided, in words: for the table that its command prints."""

import contextlib

import numpy as np

from tfseg.conversion.reading.evidence import MOST_STRETCH, OBJECTS
from tfseg.conversion.reading.faults import BadFilesError
from tfseg.conversion.reading.words import COLOR_READINGS, LABEL_READINGS, VALUE_READINGS
from tfseg.records import labels
from tfseg.records.manifest import Manifest, Split


def summary_rows(manifest: Manifest) -> list[list[str]]:
    """Makes a table of the splits, its head first: images, size on disk and each class's share of the pixels."""
    heads = ["split", "images", "shards", "MB", *(f"{name} %" for name in manifest.classes)]
    return [heads, *(_summary_row(name, split) for name, split in manifest.splits.items())]


def _summary_row(name: str, split: Split) -> list[str]:
    megabytes = sum(shard.bytes for shard in split.shards) / 1e6
    shares = np.array(split.class_pixels) / sum(split.class_pixels) * 100
    return [name, str(split.count), str(len(split.shards)), f"{megabytes:.1f}", *(f"{share:.2f}" for share in shares)]


def summary_notes(manifest: Manifest) -> list[str]:
    """Lists what a reader of the table must know, a line each: warnings, then what was decided by the files."""
    lines = [
        f"warning: split {name} has no ground truth, all its pixels are void: no score can be had on it"
        for name, split in manifest.splits.items()
        if not split.has_truth
    ]
    # A manifest that someone has edited.
    with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        decided, warnings = in_words(manifest)
        width = max(map(len, decided), default=0)
        lines += [f"warning: {warning}" for warning in warnings]
        lines += ["", *(f"{name.ljust(width)}  {text}" for name, text in decided.items())] if decided else []
    return lines


def fault_lines(error: BadFilesError) -> list[str]:
    """Says which files cannot be converted, a line each, and in a last one how many there are."""
    advice = "; or --skip-bad leaves out what is bad" if error.can_be_skipped else ""
    if error.count == 1:
        return [f"{error}{advice}"]
    more = f", of which the first {len(error.faults)} are" if error.count > len(error.faults) else ","
    return [*error.faults, f"{error.count} files cannot be converted{more} named above{advice}"]


def in_words(manifest: Manifest) -> tuple[dict[str, str], list[str]]:
    """What a manifest says of how the files were read: lines by their heads, and warnings. Nothing if it does not."""
    found = manifest.findings
    if not found:
        return {}, []
    images_count = sum(split.count for split in manifest.splits.values())
    shares = {
        name: split.class_pixels[labels.VOID] / sum(split.class_pixels) for name, split in manifest.splits.items()
    }
    decided = {"layout": _layout_in_words(manifest, found), "masks": _masks_in_words(found)}
    decided["images"] = _images_in_words(manifest)
    decided["void"] = ", ".join(f"{name} {share:.2%}" for name, share in shares.items())
    if sum(found["turned"].values()):
        decided["EXIF"] = _exif_in_words(manifest, found, images_count)
    decided["size"] = _size_in_words(manifest, found)
    if left := found["left_out"]:
        decided["left out"] = "; ".join(
            f"{split}: {', '.join(f'{count} {reason}' for reason, count in reasons.items())}".replace(",,", ",")
            for split, reasons in left.items()
        )
    if skipped := found.get("skipped"):
        decided["bad"] = ", ".join(f"{split or 'no split'} {count}" for split, count in skipped.items()) + ", left out"
    return decided, _warnings(manifest, found, images_count)


def _layout_in_words(manifest: Manifest, found: dict) -> str:
    image_folder, mask_folder = found["folders"]
    by_name = "images and masks of the same names"
    source = by_name if manifest.source == "folders" else f"{manifest.source}, by the names"
    end = "" if mask_folder.endswith(".json") else "/"
    return f"{source}, in {image_folder}/ and {mask_folder}{end}"


def _masks_in_words(found: dict) -> str:
    words = VALUE_READINGS | COLOR_READINGS | LABEL_READINGS
    kinds = ", ".join(f"{words.get(kind, kind)} in {count}" for kind, count in found["mask_kinds"].items())
    what = "labels"
    if not COLOR_READINGS.keys().isdisjoint(found["mask_kinds"]):
        what = "colours"
    elif not VALUE_READINGS.keys().isdisjoint(found["mask_kinds"]):
        what = "values"
    text = f"{kinds}; {what} are {'label ids of Cityscapes' if found['assumed'] else 'of the label map given'}"
    if tolerance := found.get("color_tolerance"):
        text += f", or at most {tolerance} from one of its colours"
    if found["assumed"] and found["masks_with_255"]:
        text += f", and 255, void, in {found['masks_with_255']}"
    return text


def _images_in_words(manifest: Manifest) -> str:
    pixels, codec = manifest.pixels, manifest.codec + (f" of quality {manifest.quality}" if manifest.quality else "")
    if pixels.value_range is None:
        return f"{pixels}, stored as {codec}"
    pairs = sorted({*pixels.value_range}) if len({*pixels.value_range}) == 1 else pixels.value_range
    ranges = ", ".join(f"{low} to {high}" for low, high in pairs)
    return f"{pixels}, of which the values {ranges} became 0 to 255, stored as {codec}"


def _exif_in_words(manifest: Manifest, found: dict, images_count: int) -> str:
    turned = sum(found["turned"].values())
    kinds = ", ".join(f"orientation {kind} in {count}" for kind, count in found["turned"].items())
    if manifest.exif == "rotate":
        return f"{turned} of {images_count} images turned upright ({kinds})"
    return f"ignored, {turned} of {images_count} images taken as they are stored ({kinds})"


def _size_in_words(manifest: Manifest, found: dict) -> str:
    common, count = found["commonest_size"]
    came = f"{common} in {count}" + (f", and {found['sizes'] - 1} sizes more" if found["sizes"] > 1 else "")
    return f"{came}; stored {'x'.join(map(str, manifest.size)) if manifest.size else 'as they came'}"


def _warnings(manifest: Manifest, found: dict, images_count: int) -> list[str]:
    warnings = []
    bare, first = found.get("bare_masks", (0, ""))
    if found["assumed"] and bare:
        warnings.append(
            f"{bare} of {images_count} masks hold none of the label ids {OBJECTS[0]} to {OBJECTS[-1]}, from traffic "
            f"light over vegetation, sky and car to bicycle, such as {first}: look whether these are train ids or ids "
            "of another data set under the names of Cityscapes' label ids"
        )
    undecided = found["undecided"]
    if sum(found["turned"].values()) and manifest.exif == "rotate" and undecided:
        warnings.append(
            f"{undecided} images were turned upright by their EXIF data, their masks, which fit both ways, "
            "were not: right if these were drawn on upright images; if on images as stored, --exif ignore"
        )
    odd = []
    if found["aspect"]:
        odd.append(f"the aspect of {found['aspect']} changes by more than {MOST_STRETCH - 1:.0%}")
    if found["enlarged"]:
        odd.append(f"{found['enlarged']} are enlarged")
    if odd:
        target, (common, _) = "x".join(map(str, manifest.size or ())), found["commonest_size"]
        warnings.append(f"of {images_count} images, most often {common}, {' and '.join(odd)} by --size {target}")
    return warnings
