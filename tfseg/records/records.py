"""The record: one picture with its mask as a tf.train.Example, in shards that a manifest.json describes.

Everything that two stages must agree on is here: keys, codecs, shard names, the manifest. The converter writes with
these functions and the training reads with them, so neither knows the other.

TensorFlow is imported inside the functions that parse records for tf.data. All else does without it: commands must
answer at once, and the converter's workers stay small.
"""

import dataclasses
import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import IO, TYPE_CHECKING, NamedTuple, get_args, get_origin

import numpy as np

from tfseg.io import images, tfrecord
from tfseg.io.paths import is_local, open_path
from tfseg.records import labels

if TYPE_CHECKING:
    import tensorflow as tf

SCHEMA_VERSION = 2  # raise it with every change that an older reader would misunderstand
OLDEST_VERSION = 1  # that this one reads: pictures in one piece, masks as PNG
CODECS = ("jpeg", "png", "raw")  # of the picture
MASK_CODECS = ("zlib", "png")  # zlib: plain bytes, packed
MOST_TILES, NARROWEST_TILE = 8, 128
MANIFEST_NAME = "manifest.json"
TEMPORARY = ".tmp"  # ends the name of a file that is still being written
KEYS = ("id", "image/encoded", "image/format", "image/height", "image/width", "mask/encoded")  # of every record

_ADVICE = "make the records with: python tools/make_tfrecords.py"

_SHARD_TEMPLATE = "{split}-{index}-of-{count}.tfrecord"
_SHARD_PATTERN = re.compile(
    _SHARD_TEMPLATE.replace(".", r"\.").format(split="(?P<split>.+)", index=r"(?P<index>\d+)", count=r"(?P<count>\d+)")
)


@dataclass(frozen=True)
class Shard:
    """One TFRecord file."""

    name: str
    count: int  # records
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """One split: what it holds and what was measured on its pictures, at the size they are stored in."""

    ids: list[str]  # in the order of the records, shard after shard
    shards: list[Shard]
    class_pixels: list[int]  # of each class, by class id
    channel_mean: list[float]  # red, green, blue, in 0..255
    channel_std: list[float]

    @property
    def count(self) -> int:
        """Number of pictures."""
        return len(self.ids)

    @property
    def has_truth(self) -> bool:
        """Whether any pixel has a class other than void; the test split of Cityscapes has none."""
        return any(pixels for place, pixels in enumerate(self.class_pixels) if place != labels.VOID)


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says about a folder of records."""

    schema_version: int
    source: str  # layout of the raw data set: "cityscapes", "cityscapes_coarse" or "folders"
    label_map: dict[int, str]  # value of a raw mask -> class
    classes: list[str]  # names in the order of the class ids, void first
    size: list[int] | None  # height, width; None: each picture as it came
    codec: str
    quality: int | None  # of JPEG; None for the exact codecs
    splits: dict[str, Split]
    mask_resize: str = "nearest"  # or "majority"
    mask_codec: str = "png"  # of MASK_CODECS; PNG in schema version 1
    tile_width: int | None = None  # of the column tiles of pictures and masks; None: they are in one piece
    colors: list[list[int]] | None = None  # RGB of each class; None: as of the categories
    exif: str = "rotate"  # pictures were turned upright by their EXIF data; or "ignore"
    findings: dict | None = None  # what the converter saw and decided, see `evidence.findings`; nothing reads by it

    @property
    def palette(self) -> np.ndarray:
        """(C, 3) uint8 RGB, the colours of the classes."""
        return np.array(labels.CATEGORY_COLORS if self.colors is None else self.colors, np.uint8)


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
    lookup = np.full(256, labels.UNKNOWN, np.uint8)
    for value, name in manifest.label_map.items():
        lookup[value] = manifest.classes.index(name)
    return labels.remap(label_ids, lookup)


def class_weights(split: Split, with_void: bool = False) -> list[float]:
    """Weights that balance the classes of a split in a loss, from its manifest alone; see `balance_classes`."""
    return balance_classes(split.class_pixels, with_void)


def balance_classes(class_pixels: Sequence[int], with_void: bool = False) -> list[float]:
    """Median-frequency balancing (Eigen and Fergus 2015, arXiv:1411.4734): weight = median frequency / frequency.

    A class's frequency is its share of all pixels that are not void; the paper's is its share of those pictures alone
    that contain it, which a manifest does not tell. The weights are then divided by the mean over the classes that
    occur, so that a loss keeps its scale.

    Args:
        class_pixels: of each class, by class id.
        with_void: whether void is a class like the others.

    Returns:
        A weight a class. Void, unless it is one, and classes without pixels have 0, the P others more than 0 and at
        most P, 1 on average.
    """
    pixels = np.array(class_pixels, np.float64)
    if not with_void:
        pixels[labels.VOID] = 0
    weights, present = np.zeros_like(pixels), pixels > 0
    if present.any():
        weights[present] = np.median(pixels[present]) / pixels[present]
        weights /= weights[present].mean()
    return weights.tolist()


def shard_name(split: str, index: int, count: int) -> str:
    """Names a shard: ("train", 0, 16) -> "train-00000-of-00016.tfrecord"."""
    return _SHARD_TEMPLATE.format(split=split, index=f"{index:05d}", count=f"{count:05d}")


def parse_shard_name(name: str) -> tuple[str, int, int]:
    """Reads a name that `shard_name` made as (split, index, count).

    Raises:
        ValueError: the name is no shard name.
    """
    match = _SHARD_PATTERN.fullmatch(name)
    if not match:
        raise ValueError(f"{name!r} is not a shard name such as {shard_name('train', 0, 16)!r}")
    return match["split"], int(match["index"]), int(match["count"])


def is_shard_name(name: str) -> bool:
    """Whether `parse_shard_name` can read a name."""
    return _SHARD_PATTERN.fullmatch(name) is not None


def keeps_label_ids(split: str) -> bool:
    """Whether the records of a split keep the raw mask: an official score needs it, training does not."""
    return split not in ("train", "train_extra")


def choose_tile_width(size: Sequence[int] | None) -> int | None:
    """Chooses the width of the column tiles in which pictures of (height, width) are stored; None: in one piece.

    A JPEG must be unpacked from its first row to the last one wanted, over its full width, though a window of it is all
    that is decoded. In tiles side by side, only those that the window meets are touched. They begin at multiples of 16,
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
        id: name of the picture, unique in its data set.
        image: the picture encoded with `codec`, whole or in column tiles from left to right; for "raw" the bytes of a
            (height, width, 3) uint8 RGB array.
        codec: one of `CODECS`.
        height: of the stored picture, in pixels.
        width: of the stored picture, in pixels.
        mask: (height, width) class ids, whole or in tiles as the picture; encoded with one of `MASK_CODECS`.
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
    image: np.ndarray  # (height, width, 3) uint8 RGB
    mask: np.ndarray  # (height, width) uint8 class ids
    label_ids: np.ndarray | None  # (height0, width0) uint8 raw mask, see `keeps_label_ids`


def decode_example(serialized: bytes) -> Record:
    """Decodes one record to arrays, what `parse_example` does inside tf.data.

    Raises:
        ValueError: it is no tf.train.Example, lacks a key, or a picture in it is damaged or of another size.
    """
    features = tfrecord.decode_example(serialized)
    missing = [key for key in KEYS if key not in features]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    size = features["image/height"], features["image/width"]
    codec = features["image/format"].decode()
    image = _join_tiles(features["image/encoded"], lambda tile: images.decode_image(tile, codec, size[0]), size[1])
    mask = _join_tiles(features["mask/encoded"], lambda tile: images.unpack_mask(tile, size[0]), size[1])
    if image.shape[:2] != size or mask.shape != size:
        shapes = [f"{height}x{width}" for height, width in (image.shape[:2], mask.shape, size)]
        raise ValueError("has a picture of {} and a mask of {}, but says {}".format(*shapes))
    label_ids = features.get("label_ids/encoded")
    label_ids = None if label_ids is None else images.decode_mask(label_ids)
    return Record(features["id"].decode(), image, mask, label_ids)


def _join_tiles(encoded: bytes | list[bytes], decode: Callable[[bytes], np.ndarray], width: int) -> np.ndarray:
    if isinstance(encoded, bytes):
        return decode(encoded)
    tiles = [decode(tile) for tile in encoded]
    shapes = [tile.shape[:2] for tile in tiles]
    if len({*shapes[:-1]}) > 1 or shapes[-1][0] != shapes[0][0]:
        raise ValueError(
            f"has tiles of {', '.join(f'{height}x{width}' for height, width in shapes)}, which do not match"
        )
    return np.concatenate(tiles, axis=1)[:, :width]  # the last may be padded


# ---- decoding in tf.data


def parse_features(serialized: "tf.Tensor") -> dict[str, "tf.Tensor"]:
    """Reads what every record has, nothing decoded.

    Returns:
        By key: "id", a string; "image/encoded" and "mask/encoded", (tiles,) strings; "image/height" and "image/width",
        int64.
    """
    import tensorflow as tf

    features = {"id": tf.io.FixedLenFeature([], tf.string)}
    for key in ("image/encoded", "mask/encoded"):
        features[key] = tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True)
    features |= {key: tf.io.FixedLenFeature([], tf.int64) for key in ("image/height", "image/width")}
    return tf.io.parse_single_example(serialized, features)


def parse_example(serialized: "tf.Tensor", manifest: Manifest) -> dict[str, "tf.Tensor"]:
    """Decodes one record, in TensorFlow operations: for tf.data's map.

    Args:
        serialized: scalar string, what `encode_example` returned.
        manifest: says how all records are stored, so that the graph needs no branches.

    Returns:
        {"id": scalar string, "image": (H, W, 3) uint8 RGB, "mask": (H, W) uint8 class ids}

    Raises:
        tf.errors.InvalidArgumentError: it is damaged, or picture and mask differ in size.
    """
    import tensorflow as tf

    features = parse_features(serialized)
    image, mask = parse_image(features, manifest), parse_mask(features, manifest)
    tf.debugging.assert_equal(tf.shape(image)[:2], tf.shape(mask), "picture and mask differ in size")
    return {"id": features["id"], "image": image, "mask": mask}


def parse_label_ids(serialized: "tf.Tensor") -> "tf.Tensor":
    """Reads the raw mask of a record, a scalar string: a PNG file at its original size, or empty: `keeps_label_ids`."""
    import tensorflow as tf

    key = "label_ids/encoded"
    return tf.io.parse_single_example(serialized, {key: tf.io.FixedLenFeature([], tf.string, "")})[key]


def parse_image(
    features: dict[str, "tf.Tensor"], manifest: Manifest, window: "tf.Tensor | None" = None, shrink: int = 1
) -> "tf.Tensor":
    """Decodes the picture of what `parse_features` read, or a window of it.

    Args:
        features: of one record.
        manifest: says how it is stored.
        window: (4,) int32, top, left, height, width; of a JPEG not much more is decoded than that. None: all.
        shrink: 1, 2, 4 or 8; a whole JPEG is decoded at that part of its size, by its own transform: as good as the
            average over the pixels (51 dB and more from it), and sooner done.

    Returns:
        (height, width, 3) uint8 RGB, sides divided by `shrink` and rounded up.
    """
    import tensorflow as tf

    # TensorFlow's default is the fast, less exact transform; the other one is what OpenCV and browsers see.
    settings = {"channels": 3, "dct_method": "INTEGER_ACCURATE"}

    def decode_jpeg(tile, window):
        if window is None:
            return tf.io.decode_jpeg(tile, ratio=shrink, **settings)
        return tf.io.decode_and_crop_jpeg(tile, window, **settings)

    def decode_png(tile, window):
        return cut(tf.io.decode_png(tile, channels=3), window)

    if manifest.codec == "raw":
        return _parse_rows(features, features["image/encoded"], manifest, 3, window)
    if manifest.codec not in CODECS:
        raise ValueError(f"expected a codec of {', '.join(CODECS)}, got {manifest.codec!r}")
    decode = decode_jpeg if manifest.codec == "jpeg" else decode_png
    return _parse_tiles(features["image/encoded"], manifest, decode, window)


def parse_mask(features: dict[str, "tf.Tensor"], manifest: Manifest, window: "tf.Tensor | None" = None) -> "tf.Tensor":
    """Decodes the mask of what `parse_features` read, or a window of it: (height, width) uint8 class ids."""

    encoded = features["mask/encoded"]
    if manifest.mask_codec == "zlib":
        unpacked = _parse_rows(features, encoded, manifest, 1, window, unpack=True)
        return unpacked[..., 0]
    return cut(_decode_png_mask(encoded[0]), window)


def _parse_tiles(encoded: "tf.Tensor", manifest: Manifest, decode: Callable, window: "tf.Tensor | None") -> "tf.Tensor":
    """Decodes column tiles, of a window only those that it meets, and joins them: (height, width, 3)."""
    import tensorflow as tf

    if manifest.tile_width is None:
        return decode(encoded[0], window)
    lefts = range(0, manifest.size[1], manifest.tile_width)
    if window is None:
        return tf.concat([decode(encoded[number], None) for number in range(len(lefts))], axis=1)
    top, left, height, width = tf.unstack(window)
    tiles = []
    for number, own_left in enumerate(lefts):
        first = tf.clip_by_value(left - own_left, 0, manifest.tile_width)
        count = tf.clip_by_value(left + width - own_left, 0, manifest.tile_width) - first
        tile = tf.cond(
            count > 0,
            lambda number=number, place=(top, first, height, count): decode(encoded[number], tf.stack(place)),
            lambda: tf.zeros([height, 0, 3], tf.uint8),
        )
        tiles.append(tile)
    return tf.concat(tiles, axis=1)


def _parse_rows(
    features: dict[str, "tf.Tensor"],
    encoded: "tf.Tensor",
    manifest: Manifest,
    channels: int,
    window: "tf.Tensor | None",
    unpack: bool = False,
) -> "tf.Tensor":
    """Reads plain bytes in column tiles, all at once, of a window only those that it meets: (height, width, channels).

    All tiles are as wide as the first; what the last has too much is not looked at.
    """
    import tensorflow as tf

    full_height, full_width = (tf.cast(features[f"image/{side}"], tf.int32) for side in ("height", "width"))

    def read(tiles):
        return tf.io.decode_raw(tf.io.decode_compressed(tiles, "ZLIB") if unpack else tiles, tf.uint8)

    if manifest.tile_width is None:
        rows = tf.reshape(read(encoded[0]), [full_height, full_width, channels])
        return cut(tf.ensure_shape(rows, [None, None, channels]), window)
    top, left, height, width = (0, 0, full_height, full_width) if window is None else tf.unstack(window)
    first, last = left // manifest.tile_width, (left + width - 1) // manifest.tile_width
    tiles = tf.reshape(read(encoded[first : last + 1]), [-1, full_height, manifest.tile_width * channels])
    rows = tf.transpose(tiles[:, top : top + height], [1, 0, 2])
    rows = tf.reshape(rows, [height, -1, channels])
    left -= first * manifest.tile_width
    return tf.ensure_shape(rows[:, left : left + width], [None, None, channels])


def cut(array: "tf.Tensor", window: "tf.Tensor | None") -> "tf.Tensor":
    """Cuts a window, (4,) int32 top, left, height, width, or nothing: (H, W, ...) -> (height, width, ...)."""
    if window is None:
        return array
    top, left, height, width = window[0], window[1], window[2], window[3]
    return array[top : top + height, left : left + width]


def _decode_png_mask(encoded: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.io.decode_png(encoded, channels=1)[..., 0]  # (H, W, 1) -> (H, W)


def write_shard(path: Path, examples: Iterable[bytes]) -> Shard:
    """Writes serialised records to one TFRecord file, down to the disk.

    Raises:
        OSError: the file cannot be written, such as on a full disk.
    """
    count, digest = 0, hashlib.sha256()
    with _whole(path), path.open("wb") as file:
        for example in examples:
            record = tfrecord.frame(example)
            file.write(record)
            digest.update(record)
            count += 1
        _to_disk(file)
    return Shard(path.name, count, path.stat().st_size, digest.hexdigest())


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Removes a file whose writing fails, and gives the error its name."""
    try:
        yield
    except BaseException as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        if not isinstance(error, OSError) or error.errno is None or error.filename:
            raise  # an error of what was to be written, or one that has a name
        raise OSError(f"{path}: cannot be written: {error.strerror}") from None


def _to_disk(file: IO) -> None:
    """Waits until what was written would survive a power cut; a store does that by itself."""
    file.flush()
    try:
        descriptor = file.fileno()
    except (OSError, AttributeError):  # no file of this machine
        return
    os.fsync(descriptor)


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


def write_manifest(directory: str | Path, manifest: Manifest) -> None:
    """Writes manifest.json whole or not at all."""
    write_whole(open_path(directory) / MANIFEST_NAME, json.dumps(dataclasses.asdict(manifest), indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    if not is_local(path):
        path.write_text(text, encoding="utf-8")  # in a store a file is there when it is whole
        return
    temporary = path.with_name(path.name + TEMPORARY)
    with _whole(temporary):
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            _to_disk(file)
        temporary.replace(path)


def read_manifest(directory: str | Path) -> Manifest:
    """Reads manifest.json and checks that it speaks of the files beside it.

    Raises:
        FileNotFoundError: the folder, its manifest or a shard is missing.
        ValueError: the manifest is damaged or of another schema version, or a shard has another size.
    """
    directory = open_path(directory)
    path = directory / MANIFEST_NAME
    if fault := folder_fault(directory):
        raise FileNotFoundError(f"{directory}: {fault}; {_ADVICE}")
    try:
        manifest = parse_manifest(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {_ADVICE}") from None
    for name, split in manifest.splits.items():
        if fault := count_fault(name, split):
            raise ValueError(f"{path}: {fault}; {_ADVICE}")
        for shard in split.shards:
            _check_shard(directory / shard.name, shard)
    return manifest


def folder_fault(directory: Path) -> str | None:
    """Says why a folder is none of records; None if it has a manifest."""
    if not directory.is_dir():
        return "no such folder of records"
    return None if (directory / MANIFEST_NAME).is_file() else f"has no {MANIFEST_NAME}"


def count_fault(name: str, split: Split) -> str | None:
    """Says how the ids of a split disagree with the counts of its shards; None if they agree."""
    records = sum(shard.count for shard in split.shards)
    if split.count == records:
        return None
    return f"split {name} has {split.count} ids, but its shards count {records} records"


def shard_fault(path: Path, shard: Shard) -> str | None:
    """Says what is wrong with a shard that need not be read to see it: it is missing, or of another size."""
    if not path.is_file():
        return "this shard is missing"
    size = path.stat().st_size
    return None if size == shard.bytes else f"has {size} bytes, the manifest says {shard.bytes}"


def _check_shard(path: Path, shard: Shard) -> None:
    if fault := shard_fault(path, shard):
        kind = ValueError if path.exists() else FileNotFoundError
        raise kind(f"{path}: {fault}; copy it again, or {_ADVICE}")


def parse_manifest(path: Path) -> Manifest:
    """Reads manifest.json without a look at the files beside it.

    Raises:
        ValueError: it is damaged or of another schema version; the message leaves it to the caller to name the file.
    """
    return _manifest_from(json.loads(path.read_text(encoding="utf-8")))  # broken JSON or UTF-8 are ValueErrors too


def _manifest_from(entry: object) -> Manifest:
    version = entry.get("schema_version", SCHEMA_VERSION) if isinstance(entry, dict) else SCHEMA_VERSION
    if version not in range(OLDEST_VERSION, SCHEMA_VERSION + 1):
        raise ValueError(f"has schema version {version}, this program reads {OLDEST_VERSION} to {SCHEMA_VERSION}")
    fields = _fields_of(Manifest, entry, "the manifest")
    label_map = {int(value): name for value, name in fields["label_map"].items()}
    splits = {name: _split_from(split, f"split {name}") for name, split in fields["splits"].items()}
    colors = fields.get("colors")
    if colors is not None and [len(color) for color in colors] != [3] * len(fields["classes"]):
        raise ValueError(f"the manifest has colors other than 3 numbers for each of {len(fields['classes'])} classes")
    if not {*itertools.chain(*colors or [])} <= {*range(256)}:
        raise ValueError(f"the manifest has colors {colors}, expected numbers in 0..255")
    return Manifest(**fields | {"label_map": label_map, "splits": splits})


def _split_from(entry: object, name: str) -> Split:
    fields = _fields_of(Split, entry, name)
    shards = [Shard(**_fields_of(Shard, shard, f"a shard of {name}")) for shard in fields["shards"]]
    return Split(**fields | {"shards": shards})


def _fields_of(kind: type, entry: object, name: str) -> dict:
    """Takes a dataclass's fields out of a JSON object; what else it has is left."""
    if not isinstance(entry, dict):
        raise ValueError(f"{name} must be a JSON object, not a {type(entry).__name__}")
    fields = dataclasses.fields(kind)
    missing = [field.name for field in fields if field.name not in entry and field.default is dataclasses.MISSING]
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}")
    for field in fields:
        if field.name in entry and not _is_a(entry[field.name], field.type):
            raise ValueError(f"{name} has something else as {field.name} than {_in_json(field.type)}")
    return {field.name: entry[field.name] for field in fields if field.name in entry}


def _is_a(value: object, kind: type) -> bool:
    """Whether a JSON value is what a field declares, such as list[int] | None."""
    if isinstance(kind, UnionType):
        return any(_is_a(value, option) for option in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_is_a(item, get_args(kind)[0]) for item in value)
    if dataclasses.is_dataclass(kind):  # told when its own fields are read
        return True
    return isinstance(value, int | float if kind is float else get_origin(kind) or kind)


def _in_json(kind: type) -> str:
    """Words for what a field declares."""
    if isinstance(kind, UnionType):
        return " or ".join(map(_in_json, get_args(kind)))
    if get_origin(kind) is list:
        return f"a list of {_in_json(get_args(kind)[0])}"
    words = {str: "text", int: "an integer", float: "a number", NoneType: "null"}
    return words.get(kind, "a JSON object")
