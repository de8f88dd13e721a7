"""A folder of records, opened once: what a command passes on instead of an address."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.io.paths import is_local, open_path
from tfseg.io.pixel_formats import PixelFormat
from tfseg.records import labels
from tfseg.records.class_weights import class_weights
from tfseg.records.manifest import (
    MANIFEST_NAME,
    Manifest,
    Split,
    check_manifest,
    hash_manifest,
    read_manifest_bytes,
)


@dataclass(frozen=True)
class RecordSet:
    """Shards and their manifest; its text is the folder, as it was given, for messages.

    Attributes:
        folder: as it was given, a path or an address such as gs://bucket/records.
        manifest: what manifest.json says.
        manifest_hash: SHA-256 of manifest.json as it was opened, which has those of all shards: what the records are.
    """

    folder: str | Path
    manifest: Manifest
    manifest_hash: str

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def path(self) -> Path:
        """The folder, on this machine or in a store."""
        return open_path(self.folder)

    @property
    def classes(self) -> list[str]:
        """Names in the order of the class ids, void first."""
        return self.manifest.classes

    @property
    def palette(self) -> np.ndarray:
        """(C, 3) uint8 RGB, the colours of the classes."""
        return self.manifest.palette

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of all images as stored; None: each has its own."""
        return None if self.manifest.size is None else (self.manifest.size[0], self.manifest.size[1])

    @property
    def splits(self) -> dict[str, Split]:
        """By name."""
        return self.manifest.splits

    def split(self, name: str) -> Split:
        """Looks a split up.

        Raises:
            ValueError: there is no such split; the message names those that there are.
        """
        if name not in self.splits:
            raise ValueError(f"{self}: has no split {name!r}, it has {', '.join(self.splits)}; see data.*_split")
        return self.splits[name]

    def shard_paths(self, name: str) -> list[str]:
        """Addresses of a split's shards; on this machine from the root on, for readers that were started elsewhere."""
        folder = self.path.absolute() if is_local(self.path) else self.path
        return [str(folder / shard.name) for shard in self.split(name).shards]

    def class_weights(self, name: str, with_void: bool = False) -> list[float]:
        """Weights that balance the classes of a split in a loss, see `class_weights.balance_classes`."""
        return class_weights(self.split(name), with_void)

    def count_steps(self, name: str, batch_size: int) -> int:
        """Counts the steps of an epoch: whole batches of a split, of all readers together.

        Raises:
            ValueError: there is no such split, or it is smaller than a batch.
        """
        count = self.split(name).count
        if count < batch_size:
            raise ValueError(
                f"{self}: split {name!r} has {count} images, fewer than train.batch_size {batch_size}; "
                "lower it or convert more images"
            )
        return count // batch_size

    def check_truth(self, name: str) -> None:
        """Refuses a split that nothing can be scored on.

        Raises:
            ValueError: there is no such split, or it holds nothing but void, as the test split of Cityscapes does.
        """
        if not self.split(name).has_truth:
            raise ValueError(f"{self}: split {name!r} holds nothing but void, so there is nothing to score against")

    def check_learnable(self, train_split: str, val_split: str, ignore_class: int | None = labels.VOID) -> None:
        """Refuses a training that could measure nothing: by the manifest alone, before anything is computed.

        Args:
            train_split: to learn from.
            val_split: to score on.
            ignore_class: id of the class that counts nowhere, void; None: void is a class like the others.

        Raises:
            ValueError: there is no such split, one holds nothing but void, or there is one class to learn.
        """
        pixels = self.split(train_split).class_pixels
        present = [name for name, count in zip(self.classes, pixels, strict=False) if count]
        learnt = [name for name in present if ignore_class is None or name != "void"]
        if not learnt:
            raise ValueError(f"{self}: split {train_split!r} holds nothing but void, so there is nothing to learn from")
        if len(learnt) == 1:
            fault = (None if ignore_class is None else labels.one_class_fault(self.classes)) or (
                f"split {train_split!r} has pixels of one class alone, {learnt[0]}: one class is left to learn; "
                "add images with others, or name the background as a class"
            )
            raise ValueError(f"{self}: {fault}")
        self.check_truth(val_split)


def check_pixels(wanted: PixelFormat, records: RecordSet, model: object) -> None:
    """Refuses records for a model whose images were others, or whose values of 16 bits stood for other bytes.

    Args:
        wanted: what the images were that the model was trained on.
        records: that it is to see.
        model: its folder, for the error.

    Raises:
        ValueError: they differ.
    """
    found = records.manifest.pixels
    if found == wanted:
        return
    remedy = "give records of images like those"
    if (found.channels, found.bits) == (wanted.channels, wanted.bits) and wanted.value_range:
        pairs = " ".join(f"{low},{high}" for low, high in wanted.value_range)
        remedy = f"convert them with --value-range {pairs}"
    raise ValueError(f"{model}: was trained on {wanted.describe()}, and {records} holds {found.describe()}; {remedy}")


class OtherRecordsError(ValueError):
    """A folder holds other records than those that were asked for."""


def open_records(folder: str | Path | RecordSet, manifest_hash: str | None = None) -> RecordSet:
    """Opens a folder of records: reads its manifest and checks that its shards are there.

    Args:
        folder: path or address; a record set is given back as it is, so that a function can take either.
        manifest_hash: SHA-256 of manifest.json of the records that are asked for; None: whichever are there.

    Raises:
        OtherRecordsError: manifest.json has another hash.
        ValueError: the manifest is damaged, or of a version that this code does not know.
        OSError: the folder, its manifest or a shard is missing or cannot be read.
    """
    if isinstance(folder, RecordSet):
        return folder
    data = read_manifest_bytes(folder)
    found = hash_manifest(data)
    if manifest_hash not in (None, found):
        raise OtherRecordsError(f"{folder}: has another {MANIFEST_NAME} than was asked for")
    return RecordSet(folder, check_manifest(folder, data), found)
