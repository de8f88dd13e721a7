"""Images and masks of a split that can be had by number, in any order: arrays, or raw records where they lie on disk.

Of a crop no more is copied than what it shows.
"""

import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfseg.io import codecs, command, tfrecord
from tfseg.io.paths import is_local
from tfseg.records.record_set import RecordSet

_ADVICE = f"see what is damaged with: {command.program('verify')}"


class Pixels:
    """All images and masks of a split, of one size, (height, width), and so many channels."""

    def __init__(self, size: tuple[int, int], channels: int):
        self.size, self.channels = size, channels

    def cut_image(self, place: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Takes a crop of image number `place`: uint8 (height, width, channels)."""
        raise NotImplementedError

    def cut_mask(self, place: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Takes a crop of a mask: uint8 (height, width)."""
        raise NotImplementedError

    def image(self, place: tf.Tensor, crop: tf.Tensor | None = None) -> tf.Tensor:
        """Copies an image, or a crop of it (top, left, height, width), in tf.data's map."""
        return self._copy(self.cut_image, place, crop, (None, None, self.channels))

    def mask(self, place: tf.Tensor, crop: tf.Tensor | None = None) -> tf.Tensor:
        """Copies a mask, or a crop of it, in tf.data's map."""
        return self._copy(self.cut_mask, place, crop, (None, None))

    def _copy(self, cut, place, crop, shape) -> tf.Tensor:
        crop = tf.constant((0, 0, *self.size)) if crop is None else crop
        copied = tf.numpy_function(
            lambda place, crop: np.ascontiguousarray(cut(place, *crop)), (place, crop), tf.uint8, stateful=False
        )
        return tf.ensure_shape(copied, shape)


class Decoded(Pixels):
    """Images and masks in arrays.

    Args:
        count: of the images.
        size: (height, width).
        buffer: uint8, all images, then all masks.
        channels: of the images.
    """

    def __init__(self, count: int, size: tuple[int, int], buffer: np.ndarray, channels: int = 3):
        super().__init__(size, channels)
        shape = count, *size
        end = count * size[0] * size[1] * channels
        self.images, self.masks = buffer[:end].reshape(*shape, channels), buffer[end:].reshape(shape)

    def cut_image(self, place, top, left, height, width):
        return self.images[place, top : top + height, left : left + width]

    def cut_mask(self, place, top, left, height, width):
        return self.masks[place, top : top + height, left : left + width]


class _Found(NamedTuple):
    """A record where it lies."""

    data: memoryview
    checksum: memoryview
    images: list[memoryview]  # tiles of the image
    masks: list[memoryview]  # and of the mask


class Mapped(Pixels):
    """Raw records, the files of which are mapped into memory. Masks are unpacked, of a crop the tiles that it meets.

    The checksum of a record is looked at when its image is wanted for the first time.

    Args:
        records: raw, of one size and on this machine, see `can_be_mapped`.
        split: name of the split.

    Raises:
        ValueError: a shard is damaged, or a record is not as the manifest says.
        OSError: a shard cannot be read.
    """

    def __init__(self, records: RecordSet, split: str):
        if records.size is None:
            raise ValueError(f"{records}: holds images of several sizes, which cannot be had by number")
        super().__init__(records.size, records.manifest.channels)
        self.tile_width = records.manifest.tile_width or self.size[1]
        self.found = []
        for shard in records.split(split).shards:
            path = records.path / shard.name
            try:
                found = [self._find_tiles(*framed) for framed in tfrecord.view_records(_map(path))]
                if len(found) != shard.count:
                    raise ValueError(f"has {len(found)} records, the manifest says {shard.count}")
            except ValueError as error:
                raise ValueError(f"{path}: {error}; {_ADVICE} {records}") from None
            self.found += found
        self.checked = np.zeros(len(self.found), bool)

    def _find_tiles(self, data: memoryview, checksum: memoryview) -> _Found:
        features = tfrecord.view_example(data)
        image_tiles, mask_tiles = (_as_tiles(features.get(key, [])) for key in ("image/encoded", "mask/encoded"))
        expected = [self.channels * self.size[0] * self.tile_width] * -(-self.size[1] // self.tile_width)
        if [len(tile) for tile in image_tiles] != expected or len(mask_tiles) != len(image_tiles):
            raise ValueError(f"has a record that is not of {self.size[0]}x{self.size[1]}, as the manifest says")
        return _Found(data, checksum, image_tiles, mask_tiles)

    def cut_image(self, place, top, left, height, width):
        found = self.found[place]
        if not self.checked[place]:
            if not tfrecord.is_whole(found.data, found.checksum):
                raise ValueError(f"record {place} of the split is damaged: its checksum fails")
            self.checked[place] = True
        rows, channels = self.size[0], self.channels
        return self._join(found.images, lambda tile: codecs.as_rows(tile, rows, channels), top, left, height, width)

    def cut_mask(self, place, top, left, height, width):
        def unpack(tile):
            return codecs.unpack_mask(tile, self.size[0], self.tile_width)

        return self._join(self.found[place].masks, unpack, top, left, height, width)

    def _join(self, tiles, decode, top, left, height, width) -> np.ndarray:
        first, last = left // self.tile_width, (left + width - 1) // self.tile_width
        columns = [decode(tile)[top : top + height] for tile in tiles[first : last + 1]]
        joined = columns[0] if first == last else np.concatenate(columns, axis=1)
        left -= first * self.tile_width
        return joined[:, left : left + width]


def _as_tiles(found: memoryview | int | list[memoryview]) -> list[memoryview]:
    if isinstance(found, int):
        return []
    return [found] if isinstance(found, memoryview) else found


def _map(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def can_be_mapped(records: RecordSet) -> bool:
    """Whether records are raw, of one size and on this machine, for `Mapped`."""
    return records.manifest.codec == "raw" and records.size is not None and is_local(records.path)
