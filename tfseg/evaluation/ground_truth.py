"""Reads a split image by image, each with its ground truth at the size at which it is scored."""

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from tfseg.io import masks
from tfseg.io.escaping import printable
from tfseg.io.names import check_id
from tfseg.io.regular_files import read_file
from tfseg.records.record_set import RecordSet
from tfseg.records.records import find_truth


@dataclass(frozen=True)
class Example:
    """An image of a split and what is known of it.

    Attributes:
        id: as in the manifest.
        image: (h, w, channels) uint8, as stored.
        truth: (H, W) uint8 class ids: of the original size where the records keep the raw mask, else as stored.
        label_ids: (H, W) uint8, the raw mask; None where the records do not keep it.
    """

    id: str
    image: np.ndarray
    truth: np.ndarray
    label_ids: np.ndarray | None


def read_split(records: RecordSet, split: str) -> Iterator[Example]:
    """Reads a split image by image, in the manifest's order.

    Raises:
        ValueError: there is no such split, or a record is damaged.
        OSError: the records cannot be read.
    """
    from tfseg.pipeline.pipeline import make_eval_batches

    batches = make_eval_batches(records, split, size=None, batch_size=1, names=True)
    for batch in cast(Iterator[dict], batches.as_numpy_iterator()):
        yield read_example({name: array[0] for name, array in batch.items()}, records)


def read_example(example: Mapping, records: RecordSet) -> Example:
    """Reads the ground truth of one example of the pipeline.

    Args:
        example: as of `pipeline.read_places`: "id", "image", "mask" and "label_ids".
        records: where it is from.

    Raises:
        ValueError: its id cannot be a file's name, image and mask differ in size, or the raw mask is damaged or has
            unknown label ids.
    """
    try:
        id, raw = check_id(example["id"].decode(errors="surrogateescape")), example["label_ids"]
    except ValueError as error:
        raise ValueError(f"{records}: a record {error}") from None
    shapes = example["image"].shape[:2], example["mask"].shape
    if shapes[0] != shapes[1]:
        image, mask = ("x".join(map(str, shape)) for shape in shapes)
        raise ValueError(f"{records}: {id} has an image of {image} and a mask of {mask}; convert it again")
    label_ids = decode_label_ids(raw, id, records) if raw else None
    try:
        truth = find_truth(records.manifest, example["mask"], label_ids)
    except ValueError as error:
        raise ValueError(f"{records}: {id}: {error}") from None
    return Example(id, example["image"], truth, label_ids)


def decode_label_ids(encoded: bytes, id: str, records: RecordSet | str) -> np.ndarray:
    """Decodes the raw mask of a record, uint8 (height, width)."""
    if not encoded:
        raise ValueError(f"{records}: {id} has no raw mask (label_ids/encoded), as the training splits have none")
    try:
        return masks.decode_mask(encoded)
    except ValueError as error:
        raise ValueError(f"{records}: the raw mask of {id} {error}") from error


def read_instances(root: Path, split: str, id: str) -> np.ndarray:
    """Reads the instance ids of an image of Cityscapes, int32 (height, width).

    Raises:
        FileNotFoundError: there is no such file, or more than one.
        ValueError: it is damaged.
    """
    pattern = f"gtFine/{glob.escape(split)}/*/{glob.escape(id)}_gtFine_instanceIds.png"
    found = sorted(root.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"{printable(root / pattern)}: expected one file, found {len(found)}; see --instances")
    try:
        return masks.decode_instances(read_file(found[0]))
    except ValueError as error:
        raise ValueError(f"{printable(found[0])}: {error}") from None
