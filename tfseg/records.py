"""The record: one picture with its mask as a tf.train.Example, in shards that a manifest.json describes.

Everything that two stages must agree on is here: keys, codecs, shard names, the manifest. The converter writes with
these functions and the training reads with them, so neither knows the other.

TensorFlow is imported inside the functions that need it: the manifest and the shard names are read by commands that
must answer at once, and by converter workers that must stay light.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfseg import labels

if TYPE_CHECKING:
    import tensorflow as tf

SCHEMA_VERSION = 1  # raise it with every change that an older reader would misunderstand
CODECS = ("jpeg", "png", "raw")  # of the picture; masks are always PNG
MANIFEST_NAME = "manifest.json"

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
    class_pixels: list[int]  # pixels of each category, by category id
    channel_mean: list[float]  # red, green, blue, in 0..255
    channel_std: list[float]

    @property
    def count(self) -> int:
        """Number of pictures."""
        return len(self.ids)

    @property
    def has_truth(self) -> bool:
        """Whether any pixel has a class other than void; the test split of Cityscapes has none."""
        return any(pixels for category, pixels in enumerate(self.class_pixels) if category != labels.VOID)


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says about a folder of records."""

    schema_version: int
    source: str  # layout of the raw data set: "cityscapes" or "folders"
    label_map: dict[int, str]  # value of a raw mask -> category
    classes: list[str]  # category of each class id
    size: list[int] | None  # height, width; None: each picture as it came
    codec: str
    quality: int | None  # of JPEG; None for the exact codecs
    splits: dict[str, Split]


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


def keeps_label_ids(split: str) -> bool:
    """Whether the records of a split keep the raw mask: an official score needs it, training does not."""
    return split != "train"


def encode_example(
    *, id: str, image: bytes, codec: str, height: int, width: int, mask: bytes, label_ids: bytes | None = None
) -> bytes:
    """Serialises one record.

    Args:
        id: name of the picture, unique in its data set.
        image: the picture encoded with `codec`; for "raw" the bytes of a (height, width, 3) uint8 RGB array.
        codec: one of `CODECS`.
        height: of the stored picture, in pixels.
        width: of the stored picture, in pixels.
        mask: (height, width) category ids as a one-channel PNG.
        label_ids: the raw mask at its original size as a one-channel PNG, see `keeps_label_ids`.
    """
    import tensorflow as tf

    def bytes_feature(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def int_feature(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {
        "id": bytes_feature(id.encode()),
        "image/encoded": bytes_feature(image),
        "image/format": bytes_feature(codec.encode()),
        "image/height": int_feature(height),
        "image/width": int_feature(width),
        "mask/encoded": bytes_feature(mask),
    }
    if label_ids is not None:
        features["label_ids/encoded"] = bytes_feature(label_ids)
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # A protobuf map has no order of its own; without `deterministic` the same record has other bytes in each process.
    return example.SerializeToString(deterministic=True)


def parse_features(serialized: "tf.Tensor") -> dict[str, "tf.Tensor"]:
    """Reads what every record has, nothing decoded: scalars by key, strings but for the int64 height and width."""
    import tensorflow as tf

    features = {key: tf.io.FixedLenFeature([], tf.string) for key in ("id", "image/encoded", "mask/encoded")}
    features |= {key: tf.io.FixedLenFeature([], tf.int64) for key in ("image/height", "image/width")}
    return tf.io.parse_single_example(serialized, features)


def parse_example(serialized: "tf.Tensor", codec: str) -> dict[str, "tf.Tensor"]:
    """Decodes one record, in TensorFlow operations: for tf.data's map.

    Args:
        serialized: scalar string, what `encode_example` returned.
        codec: the manifest's codec; one for all records, so that the graph needs no branches.

    Returns:
        {"id": scalar string, "image": (H, W, 3) uint8 RGB, "mask": (H, W) uint8 category ids}
    """
    features = parse_features(serialized)
    return {
        "id": features["id"],
        "image": _decode_image(features, codec),
        "mask": _decode_png_mask(features["mask/encoded"]),
    }


def parse_label_ids(serialized: "tf.Tensor") -> "tf.Tensor":
    """Decodes the raw mask of a record of an evaluation split: (H0, W0) uint8, at the original size."""
    import tensorflow as tf

    key = "label_ids/encoded"
    features = tf.io.parse_single_example(serialized, {key: tf.io.FixedLenFeature([], tf.string)})
    return _decode_png_mask(features[key])


def _decode_image(features: dict[str, "tf.Tensor"], codec: str) -> "tf.Tensor":
    import tensorflow as tf

    encoded = features["image/encoded"]
    if codec == "jpeg":
        # TensorFlow's default is the fast, less exact transform; the other one is what OpenCV and browsers see.
        return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    if codec == "png":
        return tf.io.decode_png(encoded, channels=3)
    if codec == "raw":
        shape = tf.stack([features["image/height"], features["image/width"], 3])
        return tf.ensure_shape(tf.reshape(tf.io.decode_raw(encoded, tf.uint8), shape), (None, None, 3))
    raise ValueError(f"expected a codec of {', '.join(CODECS)}, got {codec!r}")


def _decode_png_mask(encoded: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.io.decode_png(encoded, channels=1)[..., 0]  # (H, W, 1) -> (H, W)


def write_shard(path: Path, examples: Iterable[bytes]) -> Shard:
    """Writes serialised records to one TFRecord file.

    Raises:
        OSError: the file cannot be written, such as on a full disk.
    """
    import tensorflow as tf

    count = 0
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for example in examples:
                writer.write(example)
                count += 1
    except tf.errors.OpError as error:  # TensorFlow's own kind, which is no OSError
        raise OSError(f"cannot write {error.message}") from None  # the message begins with the path
    return Shard(path.name, count, path.stat().st_size, file_sha256(path))


def file_sha256(path: Path) -> str:
    """Hashes a file, as `Shard.sha256` has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(directory: str | Path, manifest: Manifest) -> None:
    """Writes manifest.json whole or not at all."""
    path = Path(directory) / MANIFEST_NAME
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(dataclasses.asdict(manifest), indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_manifest(directory: str | Path) -> Manifest:
    """Reads manifest.json and checks that it speaks of the files beside it.

    Raises:
        FileNotFoundError: the folder, its manifest or a shard is missing.
        ValueError: the manifest is damaged or of another schema version, or a shard has another size.
    """
    directory = Path(directory)
    path = directory / MANIFEST_NAME
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: no such folder of records; {_ADVICE}")
    if not path.is_file():
        raise FileNotFoundError(f"{directory}: has no {MANIFEST_NAME}; {_ADVICE}")
    try:
        manifest = _manifest_from(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:  # broken JSON or UTF-8 are ValueErrors, and so are ours
        raise ValueError(f"{path}: {error}; {_ADVICE}") from None
    for split in manifest.splits.values():
        for shard in split.shards:
            _check_shard(directory / shard.name, shard)
    return manifest


def _manifest_from(entry: object) -> Manifest:
    version = entry.get("schema_version", SCHEMA_VERSION) if isinstance(entry, dict) else SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        raise ValueError(f"has schema version {version}, this program reads {SCHEMA_VERSION}")
    fields = _fields_of(Manifest, entry, "the manifest")
    label_map = {int(value): category for value, category in dict(fields["label_map"]).items()}
    splits = {name: _split_from(split, f"split {name}") for name, split in dict(fields["splits"]).items()}
    return Manifest(**fields | {"label_map": label_map, "splits": splits})


def _split_from(entry: object, name: str) -> Split:
    fields = _fields_of(Split, entry, name)
    shards = [Shard(**_fields_of(Shard, shard, f"a shard of {name}")) for shard in fields["shards"]]
    split = Split(**fields | {"shards": shards})
    records = sum(shard.count for shard in shards)
    if split.count != records:
        raise ValueError(f"{name} has {split.count} ids, but its shards count {records} records")
    return split


def _fields_of(kind: type, entry: object, name: str) -> dict:
    """Takes a dataclass's fields out of a JSON object; what else it has is left."""
    if not isinstance(entry, dict):
        raise ValueError(f"{name} must be a JSON object, not a {type(entry).__name__}")
    keys = [field.name for field in dataclasses.fields(kind)]
    missing = [key for key in keys if key not in entry]
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}")
    return {key: entry[key] for key in keys}


def _check_shard(path: Path, shard: Shard) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: this shard is missing; {_ADVICE}")
    size = path.stat().st_size
    if size != shard.bytes:
        raise ValueError(f"{path}: has {size} bytes, the manifest says {shard.bytes}; copy it again, or {_ADVICE}")
