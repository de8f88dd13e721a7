"""Small records that tests read: pictures one can check by eye, written through the project's own writer."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
import pytest

from tfseg import convert, export, labels, records, run_folder
from tfseg.config import Config, save_config
from tfseg.labels import CATEGORIES

COLORS = np.random.default_rng(0).integers(40, 216, (8, 3), np.uint8)  # each class looks its own


def draw(index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws picture number `index`: sky above, road below, one vehicle that moves with the number, a void edge."""
    mask = np.full((height, width), 5, np.uint8)
    mask[height // 2 :] = 1
    left = 2 + index % (width // 2)
    mask[height // 2 - 2 : height // 2 + 6, left : left + 8] = 7
    mask[:1] = 0
    return COLORS[mask], mask


def write_records(directory, splits: dict[str, int], size=(24, 32), shards=2):
    """Writes `splits[name]` pictures a split as PNG records; the id of picture 3 of "val" is "val-003"."""
    directory.mkdir(parents=True)
    written = {}
    for split, count in splits.items():
        ids = [f"{split}-{index:03d}" for index in range(count)]
        examples = [example(id, index, size, records.keeps_label_ids(split)) for index, id in enumerate(ids)]
        parts = np.array_split(np.arange(count), shards)
        files = [
            records.write_shard(directory / records.shard_name(split, n, shards), [examples[i] for i in part])
            for n, part in enumerate(parts)
        ]
        written[split] = records.Split(ids, files, *measure([draw(index, *size) for index in range(count)]))
    label_map = dict(enumerate(CATEGORIES))
    manifest = records.Manifest(1, "folders", label_map, list(CATEGORIES), list(size), "png", None, written)
    records.write_manifest(directory, manifest)
    return directory


def write_pictures(directory, pairs, codec, tile_width=None):
    """Writes pictures with their masks as the converter does, split "train" in two shards, ids "0", "1", ..."""
    size = pairs[0][1].shape
    settings = convert.Settings(labels.CITYSCAPES["categories"], size, codec, 95, "nearest", tile_width)
    examples = [convert.encode_pixels(f"{index}", *pair, settings) for index, pair in enumerate(pairs)]
    half = len(pairs) // 2
    shards = [
        records.write_shard(directory / records.shard_name("train", index, 2), part)
        for index, part in enumerate((examples[:half], examples[half:]))
    ]
    splits = {"train": records.Split([f"{index}" for index in range(len(pairs))], shards, *measure(pairs))}
    label_map = dict(enumerate(CATEGORIES))
    storage = {"mask_codec": "zlib", "tile_width": tile_width}
    manifest = records.Manifest(2, "folders", label_map, list(CATEGORIES), list(size), codec, None, splits, **storage)
    records.write_manifest(directory, manifest)
    return directory


def example(id: str, index: int, size: tuple[int, int], with_label_ids: bool) -> bytes:
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
    directory = run_folder.open_run(config)
    save_config(config, directory / run_folder.CONFIG)
    run_folder.write_json(export.describe(CATEGORIES, labels.CATEGORY_COLORS), directory / run_folder.LABELS)
    return directory


def measure(drawn: list[tuple[np.ndarray, np.ndarray]]) -> tuple[list[int], list[float], list[float]]:
    """Pixels of each class, mean and deviation of each channel."""
    colors = np.concatenate([image.reshape(-1, 3) for image, _ in drawn])
    masks = np.concatenate([mask.ravel() for _, mask in drawn])
    return np.bincount(masks, minlength=8).tolist(), colors.mean(axis=0).tolist(), colors.std(axis=0).tolist()


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory):
    """Folder of records of 24x32: 20 pictures to train on, 5 to validate on."""
    return write_records(tmp_path_factory.mktemp("tiny") / "records", {"train": 20, "val": 5})
