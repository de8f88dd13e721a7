"""Plants faults in a copy of records, audits it, and counts how many of them are among the first findings.

    python -m benchmarks.bench_audit --records data/camvid/records --model runs/camvid --out runs/audited

A third each, of images that are drawn without putting them back:
  wrong class   a connected region of one class, 400 pixels to a fifth of the image, gets another class
  shifted mask  a whole mask is moved by 12 to 30 pixels in any direction; its border is repeated
  duplicate     an image of the training split is put into the validation split under an id of its own; every second one
                is encoded again as JPEG of quality 60 and made 10 % and 8 levels brighter

The audit knows nothing of them. A planted fault is found if a finding of its kind names its image (of a duplicate,
the copy beside its original) and, of a wrong class, its box holds half of the region's.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmarks.results import save_results
from tfseg.auditing.auditor import audit_records
from tfseg.auditing.findings import Finding
from tfseg.io import codecs, command, masks
from tfseg.records import records as record_files
from tfseg.records.manifest import Shard, Split, shard_name, write_manifest
from tfseg.records.record_set import RecordSet, open_records
from tfseg.records.records import Record, keeps_label_ids

KINDS = {"wrong class": "label_errors", "shifted mask": "shifted_masks", "duplicate": "duplicates"}
LEAST_PIXELS, MOST_SHARE = 400, 0.2  # of a region that gets another class
SHIFT = 12, 30  # pixels
QUALITY, BRIGHTER, LEVELS = 60, 1.1, 8


class Planted(NamedTuple):
    """One fault that was planted."""

    kind: str  # of `KINDS`
    split: str
    id: str
    box: tuple[int, int, int, int] | None = None  # top, left, height, width, of a region
    other: str = ""  # SPLIT/ID of the original of a copy


def read_all(records: RecordSet) -> dict[str, list[Record]]:
    """Reads all records of each split."""
    return {
        name: [
            record_files.decode_example(data)
            for path in records.shard_paths(name)
            for data in record_files.read_shard(Path(path))
        ]
        for name in records.splits
    }


def plant(
    splits: dict[str, list[Record]], count: int, classes: int, seed: int
) -> tuple[dict[str, list[Record]], list[Planted]]:
    """Plants faults in records, of splits train and val."""
    random = np.random.default_rng(seed)
    changed = {name: list(records) for name, records in splits.items()}
    places = [(name, place) for name, records in splits.items() for place in range(len(records))]
    order = [places[index] for index in random.permutation(len(places))]
    counts = [count - 2 * (count // 3), count // 3, count // 3]
    planted: list[Planted] = []
    while counts[0]:
        split, place = order.pop()
        record = splits[split][place]
        if (region := draw_region(record.mask, random)) is None:
            continue
        given = int(record.mask[region][0])
        mask = record.mask.copy()
        mask[region] = random.choice([one for one in range(1, classes) if one != given])
        changed[split][place] = record._replace(mask=mask)
        planted.append(Planted("wrong class", split, record.id, box_of(region)))
        counts[0] -= 1
    for _ in range(counts[1]):
        split, place = order.pop()
        record = splits[split][place]
        length, angle = random.uniform(*SHIFT), random.uniform(0, 2 * np.pi)
        moved = move(record.mask, round(length * np.sin(angle)), round(length * np.cos(angle)))
        changed[split][place] = record._replace(mask=moved)
        planted.append(Planted("shifted mask", split, record.id))
    originals = [place for split, place in order if split == "train"]
    for number, place in enumerate(originals[: counts[2]]):
        record = splits["train"][place]
        id = f"{random.integers(16**4):04x}_{random.integers(10**5):05d}"
        image = encode_again(record.image) if number % 2 else record.image
        changed["val"].append(record._replace(id=id, image=image))
        planted.append(Planted("duplicate", "val", id, other=f"train/{record.id}"))
    return changed, planted


def draw_region(mask: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
    """Draws a connected region of a class, bool (H, W); None if none is of a fitting size."""
    found = []
    for class_id in range(1, int(mask.max()) + 1):
        count, labels = cv2.connectedComponents((mask == class_id).astype(np.uint8))
        regions = [labels == label for label in range(1, count)]
        found += [region for region in regions if LEAST_PIXELS <= region.sum() <= MOST_SHARE * mask.size]
    return found[int(random.integers(len(found)))] if found else None


def box_of(region: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height and width of a region, bool (H, W)."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def move(mask: np.ndarray, down: int, right: int) -> np.ndarray:
    """Moves a mask, (H, W), by pixels; its border is repeated."""
    padded = np.pad(mask, 40, mode="edge")
    return padded[40 - down : 40 - down + mask.shape[0], 40 - right : 40 - right + mask.shape[1]]


def encode_again(image: np.ndarray) -> np.ndarray:
    """Makes an image brighter and encodes it as JPEG: uint8 (H, W, 3)."""
    brighter = np.clip(image * BRIGHTER + LEVELS, 0, 255).astype(np.uint8)
    return codecs.decode_stored_image(codecs.encode_image(brighter, "jpeg", QUALITY), "jpeg", *image.shape[:2])


def write_records(records: RecordSet, splits: dict[str, list[Record]], folder: Path) -> None:
    """Writes changed records as new ones, images exactly, as PNG, one shard a split."""
    folder.mkdir(parents=True)
    manifest = dataclasses.replace(records.manifest, codec="png", quality=None, tile_width=None, findings=None)
    written = {}
    for name, found in splits.items():
        path = folder / shard_name(name, 0, 1)
        shard = record_files.write_shard(path, (encode(record, name, records) for record in found))
        written[name] = make_split(found, shard, records.split(name), len(records.classes))
    write_manifest(folder, dataclasses.replace(manifest, splits=written))


def encode(record: Record, split: str, records: RecordSet) -> bytes:
    """Encodes one record; its raw mask is made of the class ids anew."""
    values = {name: value for value, name in records.manifest.label_map.items()}
    raw = np.array([values.get(name, 0) for name in records.classes], np.uint8)
    packed = codecs.pack_mask if records.manifest.mask_codec == "zlib" else codecs.encode_mask
    return record_files.encode_example(
        id=record.id,
        image=codecs.encode_image(record.image, "png", None),
        codec="png",
        height=record.mask.shape[0],
        width=record.mask.shape[1],
        mask=packed(np.ascontiguousarray(record.mask)),
        label_ids=codecs.encode_mask(raw[record.mask]) if keeps_label_ids(split) else None,
    )


def make_split(found: list[Record], shard: Shard, before: Split, classes: int) -> Split:
    """Describes a split for the manifest; the colours' means are those of before."""
    pixels = np.sum([masks.count_values(record.mask)[:classes] for record in found], axis=0).tolist()
    ids = [record.id for record in found]
    return dataclasses.replace(before, ids=ids, shards=[shard], class_pixels=pixels)


def is_found(fault: Planted, findings: list[Finding]) -> int | None:
    """The place of the first finding that names a planted fault, from 1; None if there is none."""
    for place, finding in enumerate(findings, 1):
        if finding.kind != KINDS[fault.kind]:
            continue
        if fault.kind == "duplicate":
            named = {finding.place, *finding.details.get("copies", [])}
            if {f"{fault.split}/{fault.id}", fault.other} <= named:
                return place
        elif (finding.split, finding.id) == (fault.split, fault.id) and holds(finding, fault):
            return place
    return None


def holds(finding: Finding, fault: Planted) -> bool:
    """Whether the box of a finding holds half of the region that got another class; of a whole mask always."""
    return fault.box is None or (finding.box is not None and overlap(finding.box, fault.box) >= 0.5)


def overlap(box: tuple[int, ...], planted: tuple[int, ...]) -> float:
    """The share of a planted box that another one holds."""
    height = min(box[0] + box[2], planted[0] + planted[2]) - max(box[0], planted[0])
    width = min(box[1] + box[3], planted[1] + planted[3]) - max(box[1], planted[1])
    return max(height, 0) * max(width, 0) / (planted[2] * planted[3])


def summarise(planted: list[Planted], findings: list[Finding], shown: int) -> dict[str, Any]:
    """Counts what was found among the first findings, by kind and split."""
    places = [is_found(fault, findings) for fault in planted]
    results: dict[str, Any] = {"shown": shown, "findings": len(findings)}
    for kind in ("all", *KINDS):
        for split in ("all", *sorted({fault.split for fault in planted})):
            chosen = [
                place
                for fault, place in zip(planted, places, strict=True)
                if kind in ("all", fault.kind) and split in ("all", fault.split)
            ]
            if chosen:
                found = sum(place is not None and place <= shown for place in chosen)
                results[f"{kind}, {split}"] = {"planted": len(chosen), "found": found}
    results["places"] = [
        {"kind": fault.kind, "split": fault.split, "id": fault.id, "place": place}
        for fault, place in zip(planted, places, strict=True)
    ]
    return results


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", required=True, metavar="DIR", help="records with splits train and val")
    parser.add_argument("--model", metavar="DIR", help="run or SavedModel")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the changed records")
    parser.add_argument("--count", type=int, default=100, help="faults (default: %(default)s)")
    parser.add_argument("--shown", type=int, default=150, help="first findings to look at (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    records = open_records(options.records)
    changed, planted = plant(read_all(records), options.count, len(records.classes), options.seed)
    write_records(records, changed, options.out)
    audit = audit_records(options.out, model=options.model)
    results = summarise(planted, audit.findings, options.shown)
    print("| planted | in | faults | found |\n|---|---|---:|---:|")
    for name, counts in results.items():
        if isinstance(counts, dict):
            kind, _, split = name.partition(", ")
            print(f"| {kind} | {split} | {counts['planted']} | {counts['found']} |")
    save_results(options.json, "bench_audit", results)


if __name__ == "__main__":
    command.run(main)
