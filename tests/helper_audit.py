"""Small images whose masks can be right or wrong, records of them, and a model that needs no TensorFlow."""

import cv2
import numpy as np

from tfseg.auditing.judging import Model
from tfseg.conversion.writing import encoding
from tfseg.records import labels, records
from tfseg.records.labels import CATEGORIES, CATEGORY_COLORS
from tfseg.records.manifest import Manifest, Split, shard_name, write_manifest

SIZE = 96, 128
FLAT, CONSTRUCTION, SKY, VEHICLE = 1, 2, 5, 7  # class ids of CATEGORIES
GREYS = np.array([0, 60, 110, 0, 0, 230, 0, 170], np.uint8)  # of the classes that are drawn


def draw_scene(seed, size=SIZE):
    """Draws sky, buildings of several heights, a road and two vehicles, each of its grey, with noise of its own."""
    random = np.random.default_rng(seed)
    height, width = size
    mask = np.full(size, SKY, np.uint8)
    step = width // 8
    for left in range(0, width, step):
        mask[int(random.integers(height // 8, height // 2)) :, left : left + step] = CONSTRUCTION
    mask[2 * height // 3 :] = FLAT
    for half in (0, width // 2):
        left = half + int(random.integers(4, width // 4))
        top = int(random.integers(height // 2, 3 * height // 4))
        mask[top : top + height // 6, left : left + width // 6] = VEHICLE
    noise = cv2.GaussianBlur(random.normal(0, 30, (*size, 3)), (0, 0), 1.5)
    return np.clip(GREYS[mask][..., np.newaxis] + noise, 0, 255).astype(np.uint8), mask


def draw_scenes(count, first=0):
    """Draws scenes by ids that share no stem: {"a_x": (image, mask), ...}."""
    return {f"{chr(97 + index)}_x": draw_scene(first + index) for index in range(count)}


def write_audited(folder, splits, shards=1):
    """Writes records of {split: {id: (image, mask)}}, images as PNG."""
    folder.mkdir(parents=True)
    settings = encoding.Settings(labels.CITYSCAPES["categories"], None, "png", None, "nearest", None)
    written = {}
    for name, images in splits.items():
        examples = [encoding.encode_pixels(id, *pair, settings) for id, pair in images.items()]
        files = [
            records.write_shard(folder / shard_name(name, index, shards), part)
            for index, part in enumerate(np.array_split(np.array(examples, object), shards))
        ]
        pixels = sum((np.bincount(mask.ravel(), minlength=8) for _, mask in images.values()), np.zeros(8, np.int64))
        written[name] = Split(list(images), files, pixels.tolist(), [0.0] * 3, [0.0] * 3)
    label_map = dict(enumerate(CATEGORIES))
    storage = {"mask_codec": "zlib", "colors": CATEGORY_COLORS.tolist()}
    manifest = Manifest(2, "folders", label_map, list(CATEGORIES), None, "png", None, written, **storage)
    write_manifest(folder, manifest)
    return folder


def fake_model(sure=0.97):
    """A model that gives each pixel the class whose grey is nearest, once noise is smoothed away."""

    def segment(pixels):
        grey = cv2.medianBlur(pixels, 5).mean(axis=-1)
        drawn = [FLAT, CONSTRUCTION, SKY, VEHICLE]
        nearest = np.abs(grey[..., np.newaxis] - GREYS[drawn].astype(float)).argmin(axis=-1)
        likely = np.full((*grey.shape, len(CATEGORIES)), (1 - sure) / 7, np.float32)
        np.put_along_axis(likely, np.array(drawn)[nearest][..., np.newaxis], np.float32(sure), axis=-1)
        return likely

    return Model("fake", segment)
