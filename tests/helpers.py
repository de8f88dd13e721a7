"""Small records that one can check by eye, ways to damage them, and the folder of a run that begins."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np

from tfseg.config.parse import save_config
from tfseg.config.schema import Config
from tfseg.conversion.writing import encoding
from tfseg.exporters.description import describe_model
from tfseg.io import tfrecord
from tfseg.io.atomic import write_json
from tfseg.io.pixel_formats import PixelFormat
from tfseg.records import labels, records
from tfseg.records.labels import CATEGORIES
from tfseg.records.manifest import Manifest, Split, schema_version_of, shard_name, write_manifest
from tfseg.runs import run_dir

CLASS_COLORS = np.random.default_rng(0).integers(40, 216, (8, 3), np.uint8)  # each class looks its own
# The shards of the fixture `tiny_records`, but for the last.
TRAIN, OTHER, VAL = "train-00000-of-00002.tfrecord", "train-00001-of-00002.tfrecord", "val-00000-of-00002.tfrecord"


def draw(index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws image number `index`: sky above, road below, one vehicle that moves with the number, a void edge."""
    mask = np.full((height, width), 5, np.uint8)
    mask[height // 2 :] = 1
    left = 2 + index % (width // 2)
    mask[height // 2 - 2 : height // 2 + 6, left : left + 8] = 7
    mask[:1] = 0
    return CLASS_COLORS[mask], mask


def write_records(directory, splits: dict[str, int], size=(24, 32), shards=2):
    """Writes `splits[name]` images a split as PNG records; the id of image 3 of "val" is "val-003"."""
    directory.mkdir(parents=True)
    written = {}
    for split, count in splits.items():
        ids = [f"{split}-{index:03d}" for index in range(count)]
        examples = [example(id, index, size, records.keeps_label_ids(split)) for index, id in enumerate(ids)]
        parts = np.array_split(np.arange(count), shards)
        files = [
            records.write_shard(directory / shard_name(split, n, shards), [examples[i] for i in part])
            for n, part in enumerate(parts)
        ]
        written[split] = Split(ids, files, *measure([draw(index, *size) for index in range(count)]))
    label_map = dict(enumerate(CATEGORIES))
    manifest = Manifest(1, "folders", label_map, list(CATEGORIES), list(size), "png", None, written)
    write_manifest(directory, manifest)
    return directory


def write_images(directory, pairs, codec, tile_width=None):
    """Writes images with their masks as the converter does, split "train" in two shards, ids "0", "1", ..."""
    size, channels = pairs[0][1].shape, pairs[0][0].shape[-1]
    settings = encoding.Settings(labels.CITYSCAPES["categories"], size, codec, 95, "nearest", tile_width)
    examples = [encoding.encode_pixels(f"{index}", *pair, settings) for index, pair in enumerate(pairs)]
    half = len(pairs) // 2
    shards = [
        records.write_shard(directory / shard_name("train", index, 2), part)
        for index, part in enumerate((examples[:half], examples[half:]))
    ]
    splits = {"train": Split([f"{index}" for index in range(len(pairs))], shards, *measure(pairs))}
    label_map = dict(enumerate(CATEGORIES))
    storage = {"mask_codec": "zlib", "tile_width": tile_width, "channels": channels}
    version = schema_version_of(PixelFormat(channels))
    manifest = Manifest(version, "folders", label_map, list(CATEGORIES), list(size), codec, None, splits, **storage)
    write_manifest(directory, manifest)
    return directory


def example(id: str, index: int, size: tuple[int, int], with_label_ids: bool) -> bytes:
    """One record of `draw(index, *size)`, as PNG."""
    image, mask = draw(index, *size)
    encoded_mask = cv2.imencode(".png", mask)[1].tobytes()
    return records.encode_example(
        id=id,
        image=cv2.imencode(".png", image[..., ::-1])[1].tobytes(),
        codec="png",
        height=size[0],
        width=size[1],
        mask=encoded_mask,
        label_ids=encoded_mask if with_label_ids else None,  # the label map of `write_records` maps each to itself
    )


def write_run(config: Config) -> Path:
    """Writes what a training has in its folder when it begins."""
    directory = run_dir.open_run(config)
    save_config(config, directory / run_dir.CONFIG)
    write_json(describe_model(CATEGORIES, labels.CATEGORY_COLORS), directory / run_dir.LABELS)
    return directory


def measure(drawn: list[tuple[np.ndarray, np.ndarray]]) -> tuple[list[int], list[float], list[float]]:
    """Pixels of each class, mean and deviation of each channel."""
    colors = np.concatenate([image.reshape(-1, image.shape[-1]) for image, _ in drawn])
    masks = np.concatenate([mask.ravel() for _, mask in drawn])
    return np.bincount(masks, minlength=8).tolist(), colors.mean(axis=0).tolist(), colors.std(axis=0).tolist()


def flip(path: Path, place: int) -> None:
    """Changes one bit of a byte of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def edit_manifest(folder: Path, change) -> None:
    """Changes the manifest, read as JSON."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def rewrite(folder: Path, name: str, examples: list[bytes]) -> None:
    """Writes a shard anew, with the manifest's entry of it: the checksums of another program that made a mistake."""
    shard = dataclasses.asdict(records.write_shard(folder / name, examples))

    def change(manifest):
        for entry in (entry for split in manifest["splits"].values() for entry in split["shards"]):
            if entry["name"] == name:
                entry.update(shard)

    edit_manifest(folder, change)


def change_record(folder: Path, name: str, index: int, **features) -> None:
    """Changes features of a record; None takes one away."""
    examples = list(records.read_shard(folder / name))
    changed = tfrecord.decode_example(examples[index]) | {key.replace("__", "/"): features[key] for key in features}
    examples[index] = tfrecord.encode_example({key: value for key, value in changed.items() if value is not None})
    rewrite(folder, name, examples)


def encode_bgr(array: np.ndarray) -> bytes:
    """The PNG file of an array whose channels, if there are three, are blue, green, red."""
    return cv2.imencode(".png", array)[1].tobytes()
