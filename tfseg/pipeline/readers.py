"""Where a training's pixels come from: records that are decoded each time, a cache, or raw records where they lie.

A reader gives the items of a split pass after pass, and opens each: one interface for three sources.
"""

from functools import cached_property
from typing import Protocol

import tensorflow as tf

from tfseg.pipeline import order
from tfseg.pipeline.arrays import Mapped, Pixels, can_be_mapped, keep_uncopied
from tfseg.pipeline.cache import open_cache
from tfseg.pipeline.order import Draw, Share
from tfseg.pipeline.settings import Buffers, TrainSettings, count_cache_bytes
from tfseg.records.manifest import Manifest
from tfseg.records.parsing import parse_features, parse_image, parse_mask
from tfseg.records.record_set import RecordSet


class Image(Protocol):
    """One image with its mask, of which a crop (4,) int32, top, left, height, width, can be had by itself."""

    @property
    def size(self) -> tuple: ...

    def image(self, crop: tf.Tensor | None = None, shrink: int = 1) -> tf.Tensor: ...

    def mask(self, crop: tf.Tensor | None = None) -> tf.Tensor: ...


class Reader(Protocol):
    """The items of a split, whatever they are: encoded records, or numbers.

    Attributes:
        only_copies: whether nothing is to be decoded.
    """

    only_copies: bool

    def prepare(self) -> None:
        """Opens or makes what the pixels are read from."""
        ...

    def read(
        self, draw: Draw, seed: int, start: int, share: Share, passes: tf.data.Dataset | None = None
    ) -> tf.data.Dataset:
        """Gives (what was drawn, item) without an end, from item number `start` of this reader on; or some passes."""
        ...

    def open(self, item: tf.Tensor) -> Image:
        """Opens an item, in tf.data's map."""
        ...

    def identify(self, item: tf.Tensor) -> tf.Tensor:
        """Gives the id of an item, a scalar string, in tf.data's map."""
        ...


class StoredReader:
    """Encoded records, shuffled in a buffer and decoded each time that they come."""

    only_copies = False

    def __init__(self, records: RecordSet, split: str, settings: TrainSettings, buffers: Buffers):
        self.manifest, self.paths = records.manifest, records.shard_paths(split)
        self.counts = [shard.count for shard in records.split(split).shards]
        self.shuffle, self.by_service, self.in_order = buffers.records, settings.service, settings.seed is not None

    def prepare(self) -> None:
        pass

    def read(
        self, draw: Draw, seed: int, start: int, share: Share, passes: tf.data.Dataset | None = None
    ) -> tf.data.Dataset:
        even = order.is_even(self.paths, self.counts, share.count)
        files = order.share_out(self.paths, self.counts, share if even else Share())
        if self.by_service:
            return order.read_across_passes(files, draw, shuffle=self.shuffle, seed=seed)
        return order.read_in_passes(
            files,
            draw,
            shuffle=self.shuffle,
            seed=seed,
            start=start,
            in_order=self.in_order,
            share=None if even else share,
            passes=passes,
        )

    def open(self, item: tf.Tensor) -> Image:
        return StoredImage(item, self.manifest)

    def identify(self, item: tf.Tensor) -> tf.Tensor:
        return parse_features(item)["id"]


class NumberedReader:
    """Numbers of images that can be had in any order, and so are shuffled over all of them."""

    only_copies = True

    def __init__(self, records: RecordSet, split: str):
        self.records, self.split = records, split

    @cached_property
    def pixels(self) -> Pixels:
        raise NotImplementedError

    def prepare(self) -> None:
        _ = self.pixels

    def read(
        self, draw: Draw, seed: int, start: int, share: Share, passes: tf.data.Dataset | None = None
    ) -> tf.data.Dataset:
        counts = [shard.count for shard in self.records.split(self.split).shards]
        return keep_uncopied(order.number_in_passes(counts, draw, seed=seed, start=start, share=share, passes=passes))

    def open(self, item: tf.Tensor) -> Image:
        return NumberedImage(item, self.pixels)

    def identify(self, item: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.records.split(self.split).ids, item)


class CachedReader(NumberedReader):
    """Pixels that were decoded once, kept in memory or on the disk."""

    def __init__(self, records: RecordSet, split: str, place: str, allowed: int):
        super().__init__(records, split)
        self.place, self.allowed = place, allowed

    @cached_property
    def pixels(self) -> Pixels:
        return open_cache(self.records, self.split, self.place, self.allowed)


class MappedReader(NumberedReader):
    """Raw records where they lie on the disk."""

    def __init__(self, records: RecordSet, split: str, allowed: int):
        super().__init__(records, split)
        self.allowed = allowed

    @cached_property
    def pixels(self) -> Pixels:
        return Mapped(self.records, self.split, self.allowed)


def choose_reader(records: RecordSet, split: str, settings: TrainSettings, buffers: Buffers) -> Reader:
    """Chooses the source of the pixels."""
    allowed = count_cache_bytes(settings, buffers, records.manifest.channels)
    if settings.cache:
        return CachedReader(records, split, settings.cache, allowed)
    if can_be_mapped(records) and not settings.service:
        return MappedReader(records, split, allowed)
    return StoredReader(records, split, settings, buffers)


class StoredImage:
    """An image in a record, decoded where it is cropped."""

    def __init__(self, record: tf.Tensor, manifest: Manifest):
        self.features, self.manifest = parse_features(record), manifest
        self.size = self.features["image/height"], self.features["image/width"]

    def image(self, crop: tf.Tensor | None = None, shrink: int = 1) -> tf.Tensor:
        return parse_image(self.features, self.manifest, crop, shrink)

    def mask(self, crop: tf.Tensor | None = None) -> tf.Tensor:
        return parse_mask(self.features, self.manifest, crop)


class NumberedImage:
    """An image that can be had by its number."""

    def __init__(self, place: tf.Tensor, pixels: Pixels):
        self.place, self.pixels, self.size = place, pixels, pixels.size

    def image(self, crop: tf.Tensor | None = None, shrink: int = 1) -> tf.Tensor:
        return self.pixels.image(self.place, crop)  # nothing to decode, so nothing to shrink while decoding

    def mask(self, crop: tf.Tensor | None = None) -> tf.Tensor:
        return self.pixels.mask(self.place, crop)
