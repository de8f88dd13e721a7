"""The record: one image with its mask as a tf.train.Example, in shards that a manifest.json describes.

Keys, codecs and tiles of an Example are defined here. Conversion writes with these functions; `parsing` reads the same
in TensorFlow, which this module does without: commands must answer at once, and workers of a conversion stay small.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.io import atomic, codecs, masks, tfrecord
from tfseg.io.image_headers import MOST_PIXELS
from tfseg.io.names import check_id
from tfseg.records import labels, storage
from tfseg.records.manifest import Manifest, Shard

CODECS = storage.CODECS
MOST_TILES, NARROWEST_TILE = 8, 128
WRONG_KIND = "has a value of the wrong kind as {}"
KEYS = ("id", "image/encoded", "image/format", "image/height", "image/width", "mask/encoded")  # of every record


def keeps_label_ids(split: str) -> bool:
    """Whether the records of a split keep the raw mask: an official score needs it, training does not."""
    return split not in ("train", "train_extra")


def choose_tile_width(size: Sequence[int] | None) -> int | None:
    """Chooses the width of the column tiles in which images of (height, width) are stored; None: in one piece.

    A JPEG must be unpacked from its first row to the last one wanted, over its full width, though a crop of it is all
    that is decoded. In tiles side by side, only those that the crop meets are touched. They begin at multiples of 16,
    as the blocks of a JPEG do with any sampling of its colours, so that nothing is stored twice.
    """
    if size is None or size[1] < 4 * NARROWEST_TILE:
        return None
    return max(NARROWEST_TILE, math.ceil(size[1] / MOST_TILES / 16) * 16)


def encode_example(
    *,
    id: str,
    image: bytes | Sequence[bytes],
    codec: str,
    height: int,
    width: int,
    mask: bytes | Sequence[bytes],
    label_ids: bytes | None = None,
) -> bytes:
    """Serialises one record.

    Args:
        id: name of the image, unique in its data set.
        image: the image encoded with `codec`, whole or in column tiles from left to right; for "raw" the bytes of a
            (height, width, channels) uint8 array.
        codec: one of `CODECS`.
        height: of the stored image, in pixels.
        width: of the stored image, in pixels.
        mask: (height, width) class ids, whole or in tiles as the image; encoded with one of `storage.MASK_CODECS`.
        label_ids: the raw mask at its original size as a one-channel PNG, see `keeps_label_ids`.
    """
    features = {
        "id": id.encode(),
        "image/encoded": image,
        "image/format": codec.encode(),
        "image/height": height,
        "image/width": width,
        "mask/encoded": mask,
    }
    return tfrecord.encode_example(features if label_ids is None else features | {"label_ids/encoded": label_ids})


class Record(NamedTuple):
    """One record, decoded."""

    id: str
    image: np.ndarray  # (height, width, channels) uint8
    mask: np.ndarray  # (height, width) uint8 class ids
    label_ids: np.ndarray | None  # (height0, width0) uint8 raw mask, see `keeps_label_ids`
    image_widths: Sequence[int] = ()  # of the tiles of the image, as they are stored
    mask_widths: Sequence[int] = ()


def decode_example(serialized: bytes, channels: int = 3) -> Record:
    """Decodes one record to arrays, what `parse_example` does inside tf.data.

    Nothing is decoded that is larger than the record says, and that may be `MOST_PIXELS`.

    Args:
        serialized: the record.
        channels: of its image, as the manifest says.

    Raises:
        ValueError: it is no tf.train.Example, lacks a key, has an id that cannot be a file's name, or an image in it is
            damaged or of another size.
    """
    features = tfrecord.decode_example(serialized)
    missing = [key for key in KEYS if key not in features]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    id, codec = check_id(take_text(features, "id")), take_text(features, "image/format")
    height, width = size = take_size(features)
    tiles = take_tiles(features, "image/encoded")
    image, image_widths = _join_tiles(
        tiles, lambda tile: codecs.decode_stored_image(tile, codec, height, width, channels), width
    )
    tiles = take_tiles(features, "mask/encoded")
    mask, mask_widths = _join_tiles(tiles, lambda tile: codecs.unpack_mask(tile, height, width), width)
    if image.shape[:2] != size or mask.shape != size:
        shapes = [f"{height}x{width}" for height, width in (image.shape[:2], mask.shape, size)]
        raise ValueError("has an image of {} and a mask of {}, but says {}".format(*shapes))
    label_ids = None
    if "label_ids/encoded" in features:
        label_ids = masks.decode_mask(take_bytes(features, "label_ids/encoded"))
    return Record(id, image, mask, label_ids, image_widths, mask_widths)


def take_size(features: dict[str, tfrecord.Value]) -> tuple[int, int]:
    """Takes height and width of the image of a record; raises ValueError if no image has them."""
    height, width = take_number(features, "image/height"), take_number(features, "image/width")
    if min(height, width) < 1 or height * width > MOST_PIXELS:
        raise ValueError(f"says that it is {height}x{width}, expected 1x1 or more, and at most {MOST_PIXELS:,} pixels")
    return height, width


def take_text(features: dict[str, tfrecord.Value], key: str) -> str:
    """Takes a text out of a record; raises ValueError as `take_bytes`, and if it is not in UTF-8."""
    try:
        return take_bytes(features, key).decode()
    except UnicodeDecodeError:
        raise ValueError(f"has something else than text as {key}") from None


def take_bytes(features: dict[str, tfrecord.Value], key: str) -> bytes:
    """Takes bytes out of a record; raises ValueError if it has something else there."""
    value = features[key]
    if not isinstance(value, bytes):
        raise ValueError(WRONG_KIND.format(key))
    return value


def take_tiles(features: dict[str, tfrecord.Value], key: str) -> list[bytes]:
    """Takes the column tiles of an image or a mask, one if it is in one piece; raises ValueError as `take_bytes`."""
    value = features[key]
    if isinstance(value, int):
        raise ValueError(WRONG_KIND.format(key))
    return [value] if isinstance(value, bytes) else value


def take_number(features: dict[str, tfrecord.Value], key: str) -> int:
    """Takes a whole number; raises ValueError as `take_bytes`."""
    value = features[key]
    if not isinstance(value, int):
        raise ValueError(WRONG_KIND.format(key))
    return value


def _join_tiles(
    encoded: list[bytes], decode: Callable[[bytes], np.ndarray], width: int
) -> tuple[np.ndarray, list[int]]:
    """Decodes column tiles; returns what they make together, and how wide each is."""
    tiles, left = [], 0
    for tile in encoded:
        if tiles and left >= width:
            raise ValueError(f"has {len(encoded)} tiles, more than its {width} columns take")
        tiles.append(decode(tile))
        left += tiles[-1].shape[1]
    widths = [tile.shape[1] for tile in tiles]
    if len(tiles) == 1:
        return tiles[0], widths
    if len({*widths[:-1]}) > 1 or len({tile.shape[0] for tile in tiles}) > 1:
        sizes = ", ".join("{}x{}".format(*tile.shape) for tile in tiles[:20])
        raise ValueError(f"has tiles of {sizes}, which do not match")
    return np.concatenate(tiles, axis=1)[:, :width], widths  # the last may be padded


def find_truth(manifest: Manifest, mask: np.ndarray, label_ids: np.ndarray | None) -> np.ndarray:
    """Gives the ground truth of a record as exactly as it is kept.

    Args:
        manifest: of the records.
        mask: uint8 (height, width), class ids as stored.
        label_ids: uint8 (height0, width0), the raw mask at its original size; None where it is not kept.

    Returns:
        uint8 class ids, of the original size where that is kept, else of the stored one.

    Raises:
        ValueError: the raw mask holds a value that the manifest's label map does not know.
    """
    if label_ids is None:
        return mask
    return labels.remap(label_ids, labels.make_lookup(manifest.classes, manifest.label_map))


def write_shard(path: Path, examples: Iterable[bytes]) -> Shard:
    """Writes serialised records to one TFRecord file, down to the disk.

    Raises:
        OSError: the file cannot be written, such as on a full disk.
    """
    count, digest = 0, hashlib.sha256()
    with atomic.write_whole(path) as unfinished, unfinished.open("wb") as file:
        for example in examples:
            record = tfrecord.frame(example)
            file.write(record)
            digest.update(record)
            count += 1
    return Shard(path.name, count, path.stat().st_size, digest.hexdigest())


def read_shard(path: Path) -> Iterator[bytes]:
    """Reads the serialised records of one TFRecord file.

    Raises:
        ValueError: a record is damaged; the message names file and record.
    """
    with path.open("rb") as file:
        try:
            yield from tfrecord.read_records(file)
        except tfrecord.DamagedRecordError as error:
            raise ValueError(f"{path}: {error}") from None


def file_sha256(path: Path) -> str:
    """Hashes a file, as `Shard.sha256` has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
