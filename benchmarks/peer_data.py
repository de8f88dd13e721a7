"""The images and masks of records as files that any tool can train on, for peer_trainers.py.

A folder has images/train/ID.png, masks/train/ID.png, images/val/ID.png and masks/val/ID.png. The masks are 8-bit grey:
the class ids of the records less one, since the tools have no class for void, and 255 for void, which all of them can
leave out of the loss.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.conversion.reader import Pair, open_stored
from tfseg.io.png import write_png
from tfseg.records.labels import VOID
from tfseg.records.record_set import open_records

SPLITS = ("train", "val")
IGNORED = 255  # the id of void


@dataclass(frozen=True)
class PeerData:
    """Images and masks in a folder.

    Attributes:
        folder: of images and masks, see above.
        classes: names in the order of the ids in the masks, without void.
        size: height and width of all images.
    """

    folder: Path
    classes: list[str]
    size: tuple[int, int]

    def images(self, split: str) -> list[Path]:
        """The images of a split, in the order of their names."""
        return sorted((self.folder / "images" / split).glob("*.png"))

    def mask(self, image: Path) -> Path:
        """The mask of an image."""
        return self.folder / "masks" / image.parent.name / image.name


def export_records(directory: str, folder: Path, most: int | None = None) -> PeerData:
    """Writes the training split of records, or its first `most` images, and the validation split.

    Raises:
        FileNotFoundError: the records lack a split.
        ValueError: the images differ in size from each other or from the ground truth that is scored.
    """
    records = open_records(directory)
    data = open_stored(records, SPLITS)
    sizes = set()
    for split in SPLITS:
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        for item in data.read(split, range(len(data.ids[split]))[: most if split == "train" else None]):
            pair = data.load(item)
            sizes.add(check_size(pair, directory))
            write_png(folder / "images" / split / f"{pair.id}.png", pair.image)
            write_png(folder / "masks" / split / f"{pair.id}.png", to_peer_ids(pair.mask))
    if len(sizes) > 1:
        raise ValueError(f"{directory}: expected images of one size, got {len(sizes)} sizes")
    return PeerData(folder, [name for id, name in enumerate(records.classes) if id != VOID], sizes.pop())


def check_size(pair: Pair, directory: str) -> tuple[int, int]:
    """Gives height and width of an image, which must be those of the ground truth."""
    size = (pair.image.shape[0], pair.image.shape[1])
    if pair.label_ids is not None and pair.label_ids.shape != size:
        raise ValueError(f"{directory}: {pair.id} was resized, and is scored at its own size; convert without --size")
    return size


def to_peer_ids(mask: np.ndarray) -> np.ndarray:
    """Class ids of records, void first -> ids without void, and `IGNORED` for it."""
    return np.where(mask == VOID, IGNORED, mask - (mask > VOID)).astype(np.uint8)


def to_record_ids(mask: np.ndarray) -> np.ndarray:
    """Ids without void -> class ids of records."""
    return (mask + (mask >= VOID)).astype(np.uint8)


def write_masks(folder: Path, predictions: Iterable[tuple[str, np.ndarray]]) -> int:
    """Writes ID_classes.png, as `tfseg evaluate --masks` reads them; returns how many.

    Args:
        folder: which is made.
        predictions: id of the image, and (height, width) ids without void.
    """
    folder.mkdir(parents=True)
    ids = []
    for id, mask in predictions:
        write_png(folder / f"{id}_classes.png", to_record_ids(mask))
        ids.append(id)
    return len(ids)
