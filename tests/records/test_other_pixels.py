"""Records of other images than 8-bit RGB: what the manifest says of them, who reads them, what verification finds."""

import dataclasses
import json
import re

import numpy as np
import pytest
from helpers import change_record, edit_manifest

from tfseg.conversion.writing import encoding
from tfseg.io import codecs
from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.records import labels, records
from tfseg.records.manifest import Manifest, Split, manifest_text, schema_version_of, shard_name, write_manifest
from tfseg.records.record_set import check_pixels, open_records
from tfseg.records.verifier import find_faults

SHARD = shard_name("train", 0, 1)
RANDOM = np.random.default_rng(0)


def write_records(folder, pixels, codec="png", tile_width=None):
    """Writes four images of 8x256 of a format, and gives them."""
    images = RANDOM.integers(0, 256, (4, 8, 256, pixels.channels), np.uint8)
    masks = RANDOM.integers(0, 8, (4, 8, 256), np.uint8)
    settings = encoding.Settings(labels.CITYSCAPES["categories"], (8, 256), codec, None, "nearest", tile_width)
    examples = [encoding.encode_pixels(f"{n}", images[n], masks[n], settings) for n in range(4)]
    folder.mkdir()
    shard = records.write_shard(folder / SHARD, examples)
    whole = images.reshape(-1, pixels.channels).astype(float)
    counts = np.bincount(masks.ravel(), minlength=8).tolist()
    split = Split([*"0123"], [shard], counts, whole.mean(axis=0).tolist(), whole.std(axis=0).tolist())
    manifest = Manifest(
        schema_version_of(pixels),
        *("folders", dict(enumerate(labels.CATEGORIES)), list(labels.CATEGORIES), [8, 256], codec, None),
        splits={"train": split},
        mask_codec="zlib",
        tile_width=tile_width,
        channels=pixels.channels,
        value_range=pixels.to_json().get("value_range"),
    )
    write_manifest(folder, manifest)
    return images


@pytest.mark.parametrize("pixels", [PixelFormat(1), PixelFormat(4), PixelFormat(3, ((0, 9),) * 3)])
def test_the_manifest_names_them_and_readers_of_before_refuse_them(tmp_path, pixels):
    write_records(tmp_path / "records", pixels)
    entry = json.loads((tmp_path / "records/manifest.json").read_text())
    assert entry["schema_version"] == 3, "those read 1 and 2"
    assert {key: entry[key] for key in ("channels", "value_range") if key in entry} == pixels.to_json()
    opened = open_records(tmp_path / "records")
    assert opened.manifest.pixels == pixels and find_faults(tmp_path / "records") == []


def test_manifests_of_rgb_are_as_before(tmp_path):
    write_records(tmp_path / "records", RGB)
    manifest = open_records(tmp_path / "records").manifest
    assert manifest.schema_version == 2 and manifest.pixels is not None and manifest.pixels.is_rgb
    assert not {"channels", "value_range"} & json.loads(manifest_text(manifest)).keys()
    assert "value_range" not in manifest_text(dataclasses.replace(manifest, channels=1))


@pytest.mark.parametrize(("codec", "tile_width"), [("png", None), ("png", 128), ("raw", None), ("raw", 128)])
@pytest.mark.parametrize("channels", [1, 4])
def test_images_come_out_as_they_went_in(tmp_path, codec, tile_width, channels):
    images = write_records(tmp_path / "records", PixelFormat(channels), codec, tile_width)
    assert find_faults(tmp_path / "records") == []
    stored = [records.decode_example(data, channels) for data in records.read_shard(tmp_path / "records" / SHARD)]
    np.testing.assert_array_equal([record.image for record in stored], images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 0}, "does not say what its images are: expected channels from 1 to 256, got 0"),
        ({"value_range": [[0, 9]]}, "does not say what its images are: expected a value range of a low and a higher"),
        ({"channels": 5}, "has images of 5 channels, which the codec png does not hold"),
        ({"schema_version": 2}, "has other images than 8-bit RGB in schema version 2, which has no others"),
        (
            {"channels": 1},
            "has channel_mean .*, its images have |has an image that is 8-bit RGB with alpha, expected 8-bit grey",
        ),
    ],
)
def test_manifests_that_cannot_be(tmp_path, changes, message):
    folder = tmp_path / "records"
    write_records(folder, PixelFormat(4))
    edit_manifest(folder, lambda entry: entry.update(changes))
    faults = [str(fault) for fault in find_faults(folder)]
    assert re.search(message, "\n".join(faults)), faults


def test_an_image_of_other_channels_is_found(tmp_path):
    folder = tmp_path / "records"
    write_records(folder, PixelFormat(1))
    other = codecs.encode_image(np.zeros((8, 256, 3), np.uint8), "png", None)
    change_record(folder, SHARD, 2, image__encoded=other)
    [fault, *_] = [str(fault) for fault in find_faults(folder) if fault.index == 2]
    assert "record 2 (2) has an image that is 8-bit RGB, expected 8-bit grey" in fault


def test_records_that_a_model_was_not_trained_on_are_refused(tmp_path):
    trained = PixelFormat(1, ((100, 4000),))
    write_records(tmp_path / "records", PixelFormat(1, ((0, 9),)))
    opened = open_records(tmp_path / "records")
    check_pixels(PixelFormat(1, ((0, 9),)), opened, "run")
    found = "run: was trained on 16-bit grey images, values 100 to 4000, and .* holds 16-bit grey images, values 0 to 9"
    with pytest.raises(ValueError, match=f"{found}; convert them with --value-range 100,4000$"):
        check_pixels(trained, opened, "run")
    with pytest.raises(ValueError, match=r"was trained on 8-bit RGB images, .*; give records of images like those$"):
        check_pixels(RGB, opened, "run")
