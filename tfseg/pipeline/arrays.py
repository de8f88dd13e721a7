"""Images and masks of a split that can be had by number, in any order: arrays, or raw records where they lie on disk.

TensorFlow's own operations cut them out of mapped memory, without Python and so on all cores at once. Of a crop not
much more is copied than what it shows.
"""

import mmap
import sys
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfseg.io import command, tfrecord
from tfseg.io.paths import is_local
from tfseg.pipeline.damage import explain_read_errors
from tfseg.pipeline.order import do_not_convert
from tfseg.records.parsing import parse_features, parse_mask
from tfseg.records.record_set import RecordSet

_ADVICE = f"see what is damaged with: {command.program('verify')}"
GIBIBYTE = 2**30
ALIGNMENT = 64  # of the memory of TensorFlow's tensors, in bytes


class Pixels:
    """All images and masks of a split, of one size, (height, width), and so many channels."""

    def __init__(self, size: tuple[int, int], channels: int):
        self.size, self.channels = size, channels

    def image(self, place: tf.Tensor, crop: tf.Tensor | None = None) -> tf.Tensor:
        """Copies image number `place`, or a crop of it, in tf.data's map.

        Args:
            place: int64 scalar.
            crop: (4,) int32, top, left, height, width, that lies within the image; None: all.

        Returns:
            uint8 (height, width, channels).
        """
        raise NotImplementedError

    def mask(self, place: tf.Tensor, crop: tf.Tensor | None = None) -> tf.Tensor:
        """Copies a mask, or a crop of it, as `image` does: uint8 (height, width)."""
        raise NotImplementedError

    def _cut_mask(self, rows: tf.Tensor, place: tf.Tensor, crop: tf.Tensor | None) -> tf.Tensor:
        """Cuts a mask, or a crop of it, out of all rows of all masks, (rows, width)."""
        top, left, height, width = self._unstack(crop)
        return tf.slice(rows, [place * self.size[0] + top, left], [height, width])

    def _unstack(self, crop: tf.Tensor | None) -> list[tf.Tensor]:
        whole = (0, 0, *self.size)
        return tf.unstack(tf.cast(whole if crop is None else crop, tf.int64))


class Decoded(Pixels):
    """Images and masks in arrays.

    Args:
        count: of the images.
        size: (height, width).
        buffer: uint8, `count_bytes` of them, all images, then all masks; mapped memory.
        channels: of the images.
    """

    def __init__(self, count: int, size: tuple[int, int], buffer: np.ndarray, channels: int = 3):
        super().__init__(size, channels)
        shape, pixels = (count, *size), count * size[0] * size[1]
        self.images = buffer[: pixels * channels].reshape(*shape, channels)
        self.masks = buffer[len(buffer) - pixels :].reshape(shape)

    @staticmethod
    def count_bytes(count: int, size: tuple[int, int], channels: int) -> int:
        """Counts the bytes of so many images and masks; the masks begin at a multiple of `ALIGNMENT`."""
        pixels = count * size[0] * size[1]
        return -(-pixels * channels // ALIGNMENT) * ALIGNMENT + pixels

    @cached_property
    def image_rows(self) -> tf.Tensor:
        """All rows of all images, (rows, width x channels)."""
        return as_tensor(self.images.reshape(-1, self.size[1] * self.channels))

    @cached_property
    def mask_rows(self) -> tf.Tensor:
        """All rows of all masks, (rows, width)."""
        return as_tensor(self.masks.reshape(-1, self.size[1]))

    def image(self, place: tf.Tensor, crop: tf.Tensor | None = None) -> tf.Tensor:
        top, left, height, width = self._unstack(crop)
        begin = [place * self.size[0] + top, left * self.channels]
        cut = tf.slice(self.image_rows, begin, [height, width * self.channels])
        return tf.reshape(cut, [height, width, self.channels])

    def mask(self, place: tf.Tensor, crop: tf.Tensor | None = None) -> tf.Tensor:
        return self._cut_mask(self.mask_rows, place, crop)


class _Found(NamedTuple):
    """Where the tiles of a record's image begin in the file, in bytes."""

    shard: int
    tiles: list[int]


class Mapped(Pixels):
    """Raw records, the files of which are mapped into memory; their masks, which are packed there, are kept beside.

    All bytes are checked at once, when they are read for the first time. Nothing may cut the files short after that.

    Args:
        records: raw, of one size and on this machine, see `can_be_mapped`.
        split: name of the split.
        allowed: bytes that may be taken in memory. If the masks go in there, they are unpacked once; else each time.

    Raises:
        ValueError: a record is damaged, or not as the manifest says.
        OSError: a shard cannot be read.
    """

    def __init__(self, records: RecordSet, split: str, allowed: int = 0):
        if records.size is None:
            raise ValueError(f"{records}: holds images of several sizes, which cannot be had by number")
        super().__init__(records.size, records.manifest.channels)
        self.manifest = records.manifest
        self.tile_width = records.manifest.tile_width or self.size[1]
        files, found = [], []
        for shard in records.split(split).shards:
            path = records.path / shard.name
            try:
                files.append(map_file(path))
                places = self._find_records(files[-1], len(files) - 1)
                if len(places) != shard.count:
                    raise ValueError(f"has {len(places)} records, the manifest says {shard.count}")
            except ValueError as error:
                raise ValueError(f"{path}: {error}; {_ADVICE} {records}") from None
            found += places
        unpacks = len(found) * self.size[0] * self.size[1] <= allowed
        self.masks = read_masks(records, split, sum(map(len, files)), len(found) if unpacks else None)
        self.files = join_lists([as_tensor(file) for file in files])
        self.shards = tf.constant([one.shard for one in found])
        self.tiles = tf.constant([one.tiles for one in found], tf.int64)

    def _find_records(self, file: np.ndarray, shard: int) -> list[_Found]:
        start = file.ctypes.data
        length = self.channels * self.size[0] * self.tile_width
        expected = [length] * -(-self.size[1] // self.tile_width)
        found = []
        for data in tfrecord.view_records(file.data):
            features = tfrecord.view_example(data)
            images, masks = (_as_tiles(features.get(key, [])) for key in ("image/encoded", "mask/encoded"))
            if [len(tile) for tile in images] != expected or len(masks) != len(images):
                raise ValueError(f"has a record that is not of {self.size[0]}x{self.size[1]}, as the manifest says")
            found.append(_Found(shard, [np.frombuffer(tile, np.uint8).ctypes.data - start for tile in images]))
        return found

    def image(self, place: tf.Tensor, crop: tf.Tensor | None = None) -> tf.Tensor:
        top, left, height, width = self._unstack(crop)
        file, row = get_from(self.files, self.shards[place]), self.tile_width * self.channels
        columns = []
        for number, own_left in enumerate(range(0, self.size[1], self.tile_width)):
            first = tf.clip_by_value(left - own_left, 0, self.tile_width)
            count = tf.clip_by_value(left + width - own_left, 0, self.tile_width) - first
            rows = tf.where(count > 0, height, 0)  # of a tile that the crop does not meet nothing is copied
            lines = tf.slice(file, [self.tiles[place, number] + top * row], [rows * row])
            cut = tf.slice(tf.reshape(lines, [rows, row]), [0, first * self.channels], [rows, count * self.channels])
            columns.append(tf.reshape(cut, [height, count, self.channels]))
        return columns[0] if len(columns) == 1 else tf.concat(columns, axis=1)

    def mask(self, place: tf.Tensor, crop: tf.Tensor | None = None) -> tf.Tensor:
        if self.masks.dtype == tf.uint8:
            return self._cut_mask(self.masks, place, crop)
        height, width = self.size
        features = {"mask/encoded": self.masks[place], "image/height": height, "image/width": width}
        return parse_mask(features, self.manifest, crop)


def read_masks(records: RecordSet, split: str, size: int, unpacked: int | None = None) -> tf.Tensor:
    """Reads the masks of raw records, and with them every byte once.

    Args:
        records: of which TensorFlow looks at all checksums.
        split: name of the split.
        size: bytes of its files.
        unpacked: how many masks to unpack; None leaves them packed.

    Returns:
        (records, tiles) strings, or all rows of all masks, uint8 (rows, width).

    Raises:
        ValueError: a record is damaged.
    """
    if size >= GIBIBYTE:
        print(f"raw records: reading {size / GIBIBYTE:.1f} GiB once, to check them", file=sys.stderr, flush=True)

    @do_not_convert
    def read(record: tf.Tensor) -> tf.Tensor:
        features = parse_features(record)
        return features["mask/encoded"] if unpacked is None else parse_mask(features, records.manifest)

    data = tf.data.TFRecordDataset(records.shard_paths(split)).map(read, num_parallel_calls=tf.data.AUTOTUNE)
    data = data.prefetch(tf.data.AUTOTUNE)
    with explain_read_errors(records):
        if unpacked is None or records.size is None:
            return tf.stack([*data])
        masks = map_memory(unpacked * records.size[0] * records.size[1]).reshape(unpacked, *records.size)
        for place, mask in enumerate(data.as_numpy_iterator()):
            masks[place] = mask
        return as_tensor(masks.reshape(-1, records.size[1]))


def as_tensor(array: np.ndarray) -> tf.Tensor:
    """Gives the memory of an array as a tensor, without a copy; it stays mapped for as long as the tensor is there.

    Args:
        array: contiguous, beginning at a multiple of `ALIGNMENT` bytes, as TensorFlow wants it. Nothing may write to
            the tensor: no operation of TensorFlow does to one that somebody else has.
    """
    return tf.experimental.dlpack.from_dlpack(np.asarray(_Unlocked(array)).__dlpack__())


class _Unlocked:
    """An array that says of itself that it may be written to: NumPy gives away no others."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def join_lists(tensors: list[tf.Tensor]) -> tf.Tensor:
    """Joins vectors of bytes of different lengths to one tensor, of which `get_from` gives each without a copy."""
    joined = tf.raw_ops.TensorListReserve(element_shape=-1, num_elements=len(tensors), element_dtype=tf.uint8)
    for index, tensor in enumerate(tensors):
        joined = tf.raw_ops.TensorListSetItem(input_handle=joined, index=index, item=tensor)
    return joined


def get_from(joined: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Gives vector number `index` of what `join_lists` joined."""
    return tf.raw_ops.TensorListGetItem(input_handle=joined, index=index, element_shape=[-1], element_dtype=tf.uint8)


def keep_uncopied(data: tf.data.Dataset) -> tf.data.Dataset:
    """Keeps TensorFlow from rewriting a data set, for which it would copy the tensors that functions take, whole files.

    What it would do, such as maps in parallel, the pipeline asks for itself.
    """
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return data.with_options(options)


def _as_tiles(found: memoryview | int | list[memoryview]) -> list[memoryview]:
    if isinstance(found, int):
        return []
    return [found] if isinstance(found, memoryview) else found


def map_file(path: Path) -> np.ndarray:
    """Maps a file into memory: uint8 (bytes,), not to be written to."""
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def map_memory(size: int) -> np.ndarray:
    """Takes memory of so many bytes that is the system's own, and so begins at a page: uint8 (bytes,)."""
    return np.frombuffer(mmap.mmap(-1, size), np.uint8)


def can_be_mapped(records: RecordSet) -> bool:
    """Whether records are raw, of one size and on this machine, for `Mapped`."""
    return records.manifest.codec == "raw" and records.size is not None and is_local(records.path)
