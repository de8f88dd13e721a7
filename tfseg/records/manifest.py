"""manifest.json: how the records of a folder are stored, which shards and splits there are, and what is in them.

Conversion writes it last and training reads it first, so neither knows the other.
"""

import dataclasses
import hashlib
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.io import atomic, command
from tfseg.io.escaping import shorten
from tfseg.io.json_reader import MOST_DIGITS, parse_json, read_bounded
from tfseg.io.names import MOST_NAME_BYTES, check_id, check_name, check_text, quote
from tfseg.io.paths import open_path
from tfseg.io.pixel_formats import RGB, PixelFormat, make_format
from tfseg.records import labels, storage
from tfseg.records.json_fields import fields_of

# Raised with every change that an older reader would misunderstand. Images of other pixels than 8-bit RGB are the one
# of version 3: all others are written as version 2, which readers of before take.
SCHEMA_VERSION = 2
OTHER_PIXELS_VERSION = 3
OLDEST_VERSION = 1  # that this one reads: images in one piece, masks as PNG
MANIFEST_NAME = "manifest.json"
MOST_SHARDS = 100_000  # of a split; the converter makes one for 128 images

_ADVICE = f"make the records with: {command.program('convert')}"

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
    """One split: what it holds and what was measured on its images, at the size they are stored in."""

    ids: list[str]  # in the order of the records, shard after shard
    shards: list[Shard]
    class_pixels: list[int]  # of each class, by class id
    channel_mean: list[float]  # of each channel, in 0..255
    channel_std: list[float]

    @property
    def count(self) -> int:
        """Number of images."""
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
    size: list[int] | None  # height, width; None: each image as it came
    codec: str
    quality: int | None  # of JPEG; None for the exact codecs
    splits: dict[str, Split]
    mask_resize: str = "nearest"  # or "majority"
    mask_codec: str = "png"  # of storage.MASK_CODECS; PNG in schema version 1
    tile_width: int | None = None  # of the column tiles of images and masks; None: they are in one piece
    colors: list[list[int]] | None = None  # RGB of each class; None: as of the categories
    exif: str = "rotate"  # images were turned upright by their EXIF data; or "ignore"
    findings: dict | None = None  # what the converter saw and decided, see `evidence.findings`; nothing reads by it
    channels: int = 3  # of the images; left out of the file if it is 3
    # Of each channel, values of 16 bits in the images' files that became 0 and 255; None, and left out: of 8 bits.
    value_range: list[list[int]] | None = None

    @property
    def pixels(self) -> PixelFormat:
        """What the image files were, and how bytes were made of them; the manifest must be without `faults`."""
        return make_format(self.channels, self.value_range)

    @property
    def palette(self) -> np.ndarray:
        """(C, 3) uint8 RGB, the colours of the classes."""
        return np.array(labels.CATEGORY_COLORS if self.colors is None else self.colors, np.uint8)


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


def write_manifest(directory: str | Path, manifest: Manifest) -> None:
    """Writes manifest.json whole or not at all."""
    atomic.write_text(manifest_text(manifest), open_path(directory) / MANIFEST_NAME)


def manifest_text(manifest: Manifest) -> str:
    """Gives the text of manifest.json."""
    return atomic.to_json(manifest_fields(manifest), indent=2)


def manifest_fields(manifest: Manifest) -> dict:
    """Gives what manifest.json holds; of 8-bit RGB without the fields of pixels, as in files of before."""
    fields = dataclasses.asdict(manifest)
    if manifest.channels == RGB.channels:
        del fields["channels"]
    if manifest.value_range is None:
        del fields["value_range"]
    return fields


def schema_version_of(pixels: PixelFormat) -> int:
    """Chooses the schema version of records of images of a format."""
    return SCHEMA_VERSION if pixels.is_rgb else OTHER_PIXELS_VERSION


def hash_manifest(data: bytes) -> str:
    """SHA-256 of what manifest.json holds, which has those of all shards: what the records are."""
    return hashlib.sha256(data).hexdigest()


def read_manifest(directory: str | Path) -> Manifest:
    """Reads manifest.json and checks that it describes the files beside it.

    Raises:
        FileNotFoundError: the folder, its manifest or a shard is missing.
        ValueError: the manifest is damaged or of another schema version, or a shard has another size.
    """
    return check_manifest(directory, read_manifest_bytes(directory))


def read_manifest_bytes(directory: str | Path) -> bytes:
    """Reads manifest.json as it is.

    Raises:
        FileNotFoundError: the folder or its manifest is missing.
        ValueError: it is larger than any manifest.
    """
    directory = open_path(directory)
    if fault := folder_fault(directory):
        raise FileNotFoundError(f"{directory}: {fault}; {_ADVICE}")
    try:
        return read_bounded(directory / MANIFEST_NAME)
    except ValueError as error:
        raise ValueError(f"{directory / MANIFEST_NAME}: {error}; {_ADVICE}") from None


def check_manifest(directory: str | Path, data: bytes) -> Manifest:
    """Parses what manifest.json holds and checks that it describes the files beside it; errors as of `read_manifest`.

    Args:
        directory: where the shards lie.
        data: content of manifest.json.
    """
    directory = open_path(directory)
    manifest = parse_sound_manifest(directory, data)
    for split in manifest.splits.values():
        for shard in split.shards:
            _check_shard(directory / shard.name, shard)
    return manifest


def parse_sound_manifest(directory: Path, data: bytes) -> Manifest:
    """Does as `check_manifest`, but looks at no shard.

    Raises:
        ValueError: the manifest is damaged, of another schema version, or disagrees with itself.
    """
    path = directory / MANIFEST_NAME
    try:
        manifest = parse_manifest(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {_ADVICE}") from None
    if fault := next(storage.faults(manifest), None):
        raise ValueError(f"{path}: {fault}; {_ADVICE}")
    for name, split in manifest.splits.items():
        if fault := count_fault(name, split):
            raise ValueError(f"{path}: {fault}; {_ADVICE}")
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
    """Says what is wrong with a shard that need not be read to see it: it is missing, or of another size.

    A link may lead to a file elsewhere, as those of many stores and caches do; what it is to hold, the SHA-256 says.
    """
    if not path.is_file():
        return "is no file, but a folder, a device or a pipe" if path.exists() else "this shard is missing"
    size = path.stat().st_size
    return None if size == shard.bytes else f"has {size} bytes, the manifest says {shard.bytes}"


def _check_shard(path: Path, shard: Shard) -> None:
    if fault := shard_fault(path, shard):
        kind = ValueError if path.exists() else FileNotFoundError
        raise kind(f"{path}: {fault}; copy it again, or {_ADVICE}")


def parse_manifest(data: bytes) -> Manifest:
    """Parses what manifest.json holds, without a look at the files beside it.

    Raises:
        ValueError: it is damaged or of another schema version, or has a name that must not be one of a file; the
            message leaves it to the caller to name the file.
    """
    return _manifest_from(parse_json(data))


def _manifest_from(entry: object) -> Manifest:
    version = entry.get("schema_version", SCHEMA_VERSION) if isinstance(entry, dict) else SCHEMA_VERSION
    if type(version) is not int or version not in range(OLDEST_VERSION, OTHER_PIXELS_VERSION + 1):
        known = f"this program reads {OLDEST_VERSION} to {OTHER_PIXELS_VERSION}"
        raise ValueError(f"has schema version {shorten(version)}, {known}")
    fields = fields_of(Manifest, entry, "the manifest")
    for name in fields["splits"]:
        check_name(name, "split")
    for name in fields["classes"]:
        check_text(name, "class")
    splits = {name: _split_from(split, f"split {name}") for name, split in fields["splits"].items()}
    manifest = Manifest(**fields | {"label_map": _label_map_from(fields["label_map"]), "splits": splits})
    colors = manifest.colors
    if colors is not None and [len(color) for color in colors] != [3] * len(manifest.classes):
        raise ValueError(f"the manifest has colors other than 3 numbers for each of {len(manifest.classes)} classes")
    if not {*itertools.chain(*colors or [])} <= {*range(256)}:
        raise ValueError(f"the manifest has colors {shorten(colors, MOST_NAME_BYTES)}, expected numbers in 0..255")
    return manifest


def _label_map_from(entry: dict) -> dict[int, str]:
    label_map = {}
    for key, name in entry.items():
        if len(key) > MOST_DIGITS or not isinstance(name, str):
            raise ValueError(f"the manifest maps {quote(key)} to {quote(name)}, expected a mask value and a class")
        value = int(key)
        if value in label_map:
            raise ValueError(f"the manifest maps the mask value {value} twice")
        label_map[value] = name
    return label_map


def _split_from(entry: object, name: str) -> Split:
    fields = fields_of(Split, entry, name)
    if len(fields["shards"]) > MOST_SHARDS:
        raise ValueError(f"{name} has {len(fields['shards']):,} shards, more than the {MOST_SHARDS:,} that are read")
    shards = [Shard(**fields_of(Shard, shard, f"a shard of {name}")) for shard in fields["shards"]]
    try:
        for shard in shards:
            check_name(shard.name, "shard")
        for id in fields["ids"]:
            check_id(id)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None
    return Split(**{**fields, "shards": shards})
