"""Records as users of the package have them: opened once, looked at, and given to `fit` as datasets."""

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Unpack

import numpy as np

from tfseg.config.checks import check_count
from tfseg.conversion import converter
from tfseg.conversion.finding.sources import SourceOptions
from tfseg.conversion.writing.image_formats import ValueRange
from tfseg.io.escaping import printable
from tfseg.io.flags_in_python import note_arguments
from tfseg.io.notebooks import color_square, html_table
from tfseg.io.progress import show_progress
from tfseg.records import record_set
from tfseg.records.records import decode_example, read_shard
from tfseg.records.verifier import find_faults, summarise_faults

if TYPE_CHECKING:
    import tensorflow as tf

    from tfseg.pipeline.crops import RandomCrop

Size = tuple[int, int]


class ConvertOptions(SourceOptions, total=False):
    """What `convert_dataset` takes besides; each as the flag of `tfseg convert`."""

    splits: Sequence[str] | None
    label_map: str | Path | None
    coarse: bool
    size: Size | None
    codec: str | None
    quality: int
    mask_resize: str
    exif: str
    mask_values: str
    color_tolerance: int
    channels: int | None
    value_range: ValueRange
    limit: int | None
    overwrite: bool
    update: bool
    skip_bad: bool


class Example(NamedTuple):
    """One image of a split, as it is stored; unpacked, (image, mask, id).

    Example:
        >>> import tfseg
        >>> tfseg.open_records("records").example("val", 0).id
        'val-000'
    """

    image: np.ndarray
    """uint8 (height, width, channels), 0..255."""
    mask: np.ndarray
    """uint8 (height, width), class ids."""
    id: str
    """Its name in the data set."""


@dataclass(frozen=True, repr=False)
class RecordSet(record_set.RecordSet):
    """A folder of records: TFRecord shards and their manifest, made by `convert_dataset`, opened by `open_records`.

    Attributes:
        folder: as it was given, a path or an address such as gs://bucket/records.
        manifest: what manifest.json says.
        classes: names in the order of the class ids, void first.
        palette: uint8 (classes, 3) RGB, the colours of the classes.
        size: (height, width) of all images as stored; None: each has its own.
        splits: by name; each has `count`, `ids`, `class_pixels`, `channel_mean` and `channel_std`.

    Example:
        >>> import tfseg
        >>> records = tfseg.open_records("records")
        >>> records.classes
        ['void', 'flat', 'construction', 'object', 'nature', 'sky', 'human', 'vehicle']
        >>> records.splits["train"].count
        6
        >>> image, mask, id = records.example("val", 1)
        >>> image.shape, mask.dtype
        ((16, 32, 3), dtype('uint8'))
    """

    def train_dataset(
        self,
        split: str = "train",
        *,
        image_size: Size | None = None,
        batch_size: int,
        crop: "RandomCrop | None" = None,
        seed: int | None = None,
        epoch: int = 0,
        cache: str | None = None,
        drop_remainder: bool = True,
        shuffle_buffer: int = 2000,
        ram_budget: int = 1024,
    ) -> "tf.data.Dataset":
        """Makes a dataset for training: finite, of one epoch, and shuffled anew in each iteration over it.

        It goes into any `fit`, Keras' or one's own; `len` of it is the steps of an epoch. `tfseg.train_run` reads the
        same stream, but without a seam between epochs.

        Under a strategy of tf.distribute, `fit` has TensorFlow rewrite the dataset, for which it copies the pixels of
        `cache` and of raw records into memory. On one machine, options with `experimental_distribute.auto_shard_policy`
        OFF spare that.

        Args:
            split: its name.
            image_size: (height, width) of images and masks in a batch; None: as stored, where all have one size.
            batch_size: images in a batch.
            crop: cuts a random crop of the shape of `image_size` from each image; None: whole images are resized, in
                whatever aspect.
            seed: 0 to 4294967295, makes order and crops a function of (seed, epoch) on every machine; None goes as fast
                as it can.
            epoch: number of the first iteration; to resume a training in its fourth epoch, 3.
            cache: "ram" or "disk" keeps decoded pixels there; None decodes them in each epoch.
            drop_remainder: whether to leave out the images that fill no batch, other ones in each epoch.
            shuffle_buffer: encoded records that are held for shuffling.
            ram_budget: MiB that may wait in the stream.

        Returns:
            tf.data.Dataset of (image, mask): uint8 (batch, height, width, channels) in 0..255, and uint8 (batch,
            height, width), class ids.

        Raises:
            ValueError: there is no such split, it is smaller than a batch that must be full or holds nothing but void,
                an argument is out of its range, or `ram_budget` is too small.
            TypeError: `crop` is something else.
            OSError: the records cannot be read.

        Example:
            >>> import tfseg
            >>> train = tfseg.open_records("records").train_dataset(image_size=(16, 16), batch_size=4, seed=0)
            >>> len(train), [tuple(part.shape) for part in next(iter(train))]
            (1, [(4, 16, 16, 3), (4, 16, 16)])
        """
        from tfseg.pipeline.crops import RandomCrop
        from tfseg.pipeline.pipeline import make_epoch_batches
        from tfseg.pipeline.settings import TrainSettings

        self.check_truth(split)
        batch_size, epoch = check_count("batch_size", batch_size), check_count("epoch", epoch, 0)
        seed = None if seed is None else check_count("seed", seed, 0)
        if crop is not None and not isinstance(crop, RandomCrop):
            raise TypeError(f"crop: expected tfseg.RandomCrop(...) or None, got {crop!r}")
        if cache not in (None, "ram", "disk"):
            raise ValueError(f'cache: expected "ram", "disk" or None, got {cache!r}')
        size = check_size(image_size) or self.size
        if size is None:
            raise ValueError(f"{self}: images have sizes of their own; give image_size=(height, width)")
        settings = TrainSettings(
            size=size,
            batch_size=batch_size,
            fit="resize" if crop is None else "crop",
            crop=crop or RandomCrop(),
            shuffle_buffer=check_count("shuffle_buffer", shuffle_buffer),
            ram_budget=check_count("ram_budget", ram_budget, 0),
            seed=seed,
            cache=cache,
        )
        data = make_epoch_batches(self, split, settings, epoch=epoch, drop_remainder=bool(drop_remainder))
        return data.map(as_pair)

    def eval_dataset(
        self, split: str = "val", *, image_size: Size | None = None, batch_size: int = 1
    ) -> "tf.data.Dataset":
        """Makes a dataset for evaluation: every image of a split once, in the order of `splits[split].ids`.

        Args:
            split: its name.
            image_size: (height, width) that images and masks are resized to, whatever their aspect; None: as stored.
            batch_size: images in a batch; 1 where each image keeps a size of its own. The last may be smaller.

        Returns:
            tf.data.Dataset of (image, mask), as of `train_dataset`.

        Raises:
            ValueError: there is no such split, or an argument is out of its range.
            OSError: the records cannot be read.

        Example:
            >>> import tfseg
            >>> len(tfseg.open_records("records").eval_dataset("val", batch_size=2))
            1
        """
        from tfseg.pipeline.pipeline import make_eval_batches

        batch_size, size = check_count("batch_size", batch_size), check_size(image_size)
        if size is None and self.size is None and batch_size > 1:
            raise ValueError(
                f"{self}: images have sizes of their own, which make no batch of {batch_size}; give batch_size=1, or "
                "image_size=(height, width)"
            )
        return make_eval_batches(self, split, size=size, batch_size=batch_size).map(as_pair)

    def example(self, split: str, index: int) -> Example:
        """Reads one image of a split.

        Args:
            split: its name.
            index: place in `splits[split].ids`, from 0 on; a negative one counts from the end.

        Raises:
            ValueError: there is no such split, or its record is damaged.
            IndexError: the split has fewer images.
            TypeError: `index` is no whole number.
            OSError: the shard cannot be read.
        """
        entry, index = self.split(split), operator.index(index)
        if not -entry.count <= index < entry.count:
            raise IndexError(f"{self}: split {split!r} has {entry.count} images, from 0 on; got index {index}")
        place = index % entry.count
        for shard in entry.shards:
            if place < shard.count:
                break
            place -= shard.count
        path = self.path / shard.name
        for number, data in enumerate(read_shard(path)):
            if number == place:
                try:
                    record = decode_example(data, self.manifest.channels)
                except ValueError as error:
                    raise ValueError(f"{path}: record {place}: {error}") from None
                return Example(record.image, record.mask, record.id)
        raise ValueError(f"{path}: has no record {place}, which the manifest counts; make the records again")

    def verify(self, quick: bool = False, workers: int = 1, progress: bool = True) -> None:
        """Checks that the shards are whole and hold what the manifest says, as `tfseg verify` does.

        Args:
            quick: whether to look at the manifest, the names and the sizes alone.
            workers: processes at work, see `convert_dataset`.
            progress: whether a terminal shows how far it is.

        Raises:
            ValueError: something is wrong; a line for each of the first 20 faults.
            OSError: the records cannot be read.
        """
        with show_progress(progress):
            faults = find_faults(str(self.folder), quick, workers)
        if faults:
            lines = [*map(str, faults[:20]), printable(summarise_faults(str(self.folder), faults, quick))]
            raise ValueError("\n".join(lines))

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}: {split.count:,} images" for name, split in self.splits.items())
        return f"RecordSet({str(self)!r}, {len(self.classes)} classes; {counts})"

    def _repr_html_(self) -> str:
        """Shows itself in a notebook: shares of the classes in each split."""
        shares = {name: np.array(split.class_pixels) for name, split in self.splits.items()}
        head = ["class", *(f"{escape(name)}, {split.count:,} images" for name, split in self.splits.items())]
        rows = [
            [
                color_square(self.palette[place]) + escape(name),
                *(f"{pixels[place] / max(pixels.sum(), 1):.2%}" for pixels in shares.values()),
            ]
            for place, name in enumerate(self.classes)
        ]
        size = "sizes of their own" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        return html_table(head, rows, f"{self}: {size}, {self.manifest.codec}")


def open_records(folder: str | os.PathLike | record_set.RecordSet) -> RecordSet:
    """Opens a folder of records: reads its manifest and checks that its shards are there.

    Args:
        folder: path or address; a record set is given back as one.

    Raises:
        ValueError: the manifest is damaged, or of a version that this release does not know.
        OSError: the folder, its manifest or a shard is missing or cannot be read.

    Example:
        >>> import tfseg
        >>> tfseg.open_records("records").size
        (16, 32)
    """
    found = record_set.open_records(Path(folder) if isinstance(folder, os.PathLike) else folder)
    return found if isinstance(found, RecordSet) else RecordSet(**vars(found))


@note_arguments(ConvertOptions, split="split_lists")
def convert_dataset(
    root: str | os.PathLike | None,
    out: str | os.PathLike,
    *,
    workers: int = 1,
    progress: bool = True,
    **options: Unpack[ConvertOptions],
) -> RecordSet:
    """Converts a raw data set to records, as `tfseg convert` does.

    A conversion that was interrupted resumes. One that is finished is opened, once it is plain that it was made of
    these files in this way; else it is refused, unless `overwrite` or `update` says what to do with it.

    Args:
        root: folder of the raw data set, of any layout in docs/your_data.md; None where `images` and `masks` name two
            folders.
        out: folder to make, for shards and manifest.json.
        workers: processes at work; more than one in a script need what starts them to stand below
            `if __name__ == "__main__":`, as everywhere in Python.
        progress: whether a terminal shows how far it is.
        options: see `ConvertOptions`, and for where things lie and which split they are of, `SourceOptions`.

    Raises:
        ValueError: files of the source are bad, all of which are named; the layout is unknown; an option is bad, or
            `out` holds something else.
        OSError: a file cannot be read or written.

    Example:
        >>> import tfseg
        >>> tfseg.convert_dataset("raw", "mine", size=(16, 32), codec="png").splits["val"].count
        2
    """
    root = None if root is None else os.fspath(root)
    with show_progress(progress):
        made = converter.convert_dataset(root, os.fspath(out), workers=workers, **options)
    return open_records(out if Path(out).is_dir() else made)  # named as it was given, if that is a folder here


def as_pair(batch: dict) -> tuple:
    """A batch as Keras' `fit` takes it."""
    return batch["image"], batch["mask"]


def check_size(size: Sequence[int] | None, name: str = "image_size") -> Size | None:
    """Returns (height, width), or None of None, or raises ValueError."""
    if size is None:
        return None
    sides = [] if isinstance(size, str) or not np.iterable(size) else [*size]
    if len(sides) != 2:
        raise ValueError(f"{name}: expected (height, width), got {size!r}")
    return check_count(name, sides[0]), check_count(name, sides[1])
