"""The record: encode and parse, shard names, the manifest."""

import dataclasses
import io
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from helper_files import bomb
from PIL import Image

from tfseg.io import codecs, tfrecord
from tfseg.records import labels, records
from tfseg.records.class_weights import balance_classes, class_weights
from tfseg.records.manifest import (
    SCHEMA_VERSION,
    Manifest,
    Shard,
    Split,
    parse_shard_name,
    read_manifest,
    shard_name,
    write_manifest,
)
from tfseg.records.parsing import parse_example, parse_features, parse_image, parse_label_ids, parse_mask

IMAGE = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]], np.uint8)  # RGB
MASK = np.array([[0, 1, 2], [7, 6, 5]], np.uint8)
LABEL_IDS = np.array([[0, 7, 11, 33], [255, 24, 23, 1]], np.uint8)


def png(array):
    return cv2.imencode(".png", array)[1].tobytes()


def jpeg_of(height, width):
    """A JPEG whose header promises so many pixels."""
    data = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = height.to_bytes(2) + width.to_bytes(2)
    return bytes(data)


def example(codec, label_ids=None):
    image = IMAGE.tobytes() if codec == "raw" else png(IMAGE[..., ::-1])
    return records.encode_example(
        id="ulm_1", image=image, codec=codec, height=2, width=3, mask=png(MASK), label_ids=label_ids
    )


MANIFEST = Manifest(
    schema_version=SCHEMA_VERSION,
    source="folders",
    label_map={3: "sky", 200: "void"},
    classes=list(labels.CATEGORIES),
    size=[2, 3],
    codec="png",
    quality=None,
    splits={
        "val": Split(
            ids=["b", "a"],
            shards=[Shard("val-00000-of-00001.tfrecord", count=2, bytes=5, sha256="0" * 64)],
            class_pixels=[2, 0, 0, 0, 0, 10, 0, 0],
            channel_mean=[1.5, 2.0, 3.0],
            channel_std=[0.5, 0.0, 1.0],
        )
    },
)


def stored(codec, **settings):
    """A manifest that says how images are stored, in one piece and with PNG masks if nothing else is said."""
    return dataclasses.replace(MANIFEST, codec=codec, **settings)


@pytest.fixture
def folder(tmp_path):
    """A folder whose manifest agrees with its shard."""
    (tmp_path / "val-00000-of-00001.tfrecord").write_bytes(b"12345")
    write_manifest(tmp_path, MANIFEST)
    return tmp_path


@pytest.mark.long
@pytest.mark.parametrize("codec", ["png", "raw"])
@pytest.mark.parametrize("in_graph", [False, True])
def test_round_trip(codec, in_graph):
    import tensorflow as tf

    if in_graph:
        data = tf.data.Dataset.from_tensors(example(codec))
        data = data.map(lambda record: parse_example(record, stored(codec)))
        shapes = {key: spec.shape.as_list() for key, spec in data.element_spec.items()}
        assert shapes == {"id": [], "image": [None, None, 3], "mask": [None, None]}
        parsed = next(iter(data))
    else:
        parsed = parse_example(tf.constant(example(codec)), stored(codec))
    assert parsed["id"].numpy() == b"ulm_1"
    assert parsed["image"].dtype == parsed["mask"].dtype == tf.uint8
    assert np.array_equal(parsed["image"], IMAGE)
    assert np.array_equal(parsed["mask"], MASK)


def test_jpeg_decodes_as_opencv_does():
    import tensorflow as tf

    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    encoded = cv2.imencode(".jpg", image)[1]
    mask = png(image[..., 0])
    record = records.encode_example(id="a", image=encoded.tobytes(), codec="jpeg", height=32, width=32, mask=mask)
    parsed = parse_example(tf.constant(record), stored("jpeg"))["image"]
    assert np.array_equal(parsed, cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


@pytest.mark.parametrize("codec", records.CODECS)
@pytest.mark.parametrize("tile_width", [None, 16, 32, 48])
def test_a_crop_is_what_lies_there_in_the_whole(codec, tile_width):
    """56 columns: the last tile is narrower. The 4:4:4 blocks of a JPEG end where tiles do."""
    import tensorflow as tf

    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    mask = np.random.default_rng(1).integers(0, 8, (40, 56), np.uint8)
    manifest = stored(codec, mask_codec="zlib", tile_width=tile_width, size=[40, 56])
    tiles = codecs.cut_tiles(image, tile_width, pad=codec == "raw")
    record = records.encode_example(
        id="a",
        image=[codecs.encode_image(tile, codec, 90) for tile in tiles],
        codec=codec,
        height=40,
        width=56,
        mask=[codecs.pack_mask(tile) for tile in codecs.cut_tiles(mask, tile_width, pad=True)],
    )
    decoded = records.decode_example(record)
    whole = parse_example(record, manifest)
    assert np.array_equal(whole["mask"], mask) and np.array_equal(decoded.mask, mask)
    assert np.array_equal(whole["image"], decoded.image)
    if codec == "jpeg":
        one_piece = codecs.decode_stored_image(codecs.encode_image(image, codec, 90), codec, 40, 56)
        assert np.array_equal(decoded.image, one_piece)
    else:
        assert np.array_equal(decoded.image, image)

    features = parse_features(record)
    assert (int(features["image/height"]), int(features["image/width"])) == (40, 56)
    for top, left, height, width in ([0, 0, 40, 56], [3, 5, 17, 30], [39, 55, 1, 1], [8, 16, 32, 16], [0, 31, 9, 2]):
        place = tf.constant([top, left, height, width])
        part = {
            "image": parse_image(features, manifest, place),
            "mask": parse_mask(features, manifest, place),
        }
        for key in ("image", "mask"):
            assert np.array_equal(part[key], whole[key][top : top + height, left : left + width])


@pytest.mark.parametrize(
    ("size", "width"),
    [(None, None), ((512, 511), None), ((512, 512), 128), ((512, 1024), 128), ((512, 1025), 144), ((1024, 2048), 256)],
)
def test_tile_widths(size, width):
    assert records.choose_tile_width(size) == width
    if width:
        assert width % 16 == 0 and -(-size[1] // width) <= records.MOST_TILES


def test_tiles_that_do_not_match_are_refused():
    tile = codecs.pack_mask
    for widths in ((16, 8, 16), (8, 16, 8)):
        masks = [tile(np.zeros((2, width), np.uint8)) for width in widths]
        record = records.encode_example(
            id="a", image=png(np.zeros((2, 40, 3), np.uint8)), codec="png", height=2, width=40, mask=masks
        )
        with pytest.raises(ValueError, match=r"has tiles of 2x16, 2x8, 2x16|has tiles of 2x8, 2x16, 2x8"):
            records.decode_example(record)


def test_keys_are_those_of_the_schema():
    import tensorflow as tf

    def keys(record):
        return set(tf.train.Example.FromString(record).features.feature)

    always = {"id", "image/encoded", "image/format", "image/height", "image/width", "mask/encoded"}
    assert keys(example("png")) == always
    assert keys(example("png", png(LABEL_IDS))) == always | {"label_ids/encoded"}


def test_the_same_bytes_in_every_process():
    """Keys lie in sorted order, not in that of a hash table, which differs from process to process."""
    record = example("png", png(LABEL_IDS))
    places = [record.index(key) for key in (b"id", b"image/encoded", b"image/format", b"image/height", b"image/width")]
    places += [record.index(key) for key in (b"label_ids/encoded", b"mask/encoded")]
    assert places == sorted(places)


def test_label_ids_keep_their_own_size():
    import tensorflow as tf

    with_ids, without = example("png", png(LABEL_IDS)), example("png")
    data = tf.data.Dataset.from_tensor_slices([with_ids, without]).map(parse_label_ids)
    assert [encoded.numpy() for encoded in data] == [png(LABEL_IDS), b""]
    assert np.array_equal(records.decode_example(with_ids).label_ids, LABEL_IDS)


def test_unknown_codec():
    import tensorflow as tf

    with pytest.raises(ValueError, match="expected a codec of jpeg, png, raw, got 'webp'"):
        parse_example(tf.constant(example("png")), stored("webp"))


def test_shard_names():
    assert shard_name("train", 0, 16) == "train-00000-of-00016.tfrecord"
    assert parse_shard_name("train-00000-of-00016.tfrecord") == ("train", 0, 16)
    assert parse_shard_name(shard_name("train-extra.v2", 123456, 200000)) == (
        "train-extra.v2",
        123456,
        200000,
    )
    for name in ("train-00000-of-00016.tfrecord.tmp", "train-00000-of-00016_tfrecord", "manifest.json", "train"):
        with pytest.raises(ValueError, match=f"'{re.escape(name)}' is not a shard name such as"):
            parse_shard_name(name)


def test_write_shard_counts_and_hashes(tmp_path):
    import hashlib

    import tensorflow as tf

    path = tmp_path / "val-00000-of-00001.tfrecord"
    shard = records.write_shard(path, iter([b"one", b"two"]))
    data = path.read_bytes()
    assert shard == Shard(path.name, 2, len(data), hashlib.sha256(data).hexdigest())
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(path))] == [b"one", b"two"]


def test_write_shard_tells_where_it_cannot_write(tmp_path):
    with pytest.raises(OSError, match=r"No such file or directory: .*lost/a\.tfrecord"):
        records.write_shard(tmp_path / "lost" / "a.tfrecord", [b"one"])


def test_manifest_round_trip(folder):
    manifest = read_manifest(str(folder))
    assert manifest == MANIFEST
    assert manifest.splits["val"].count == 2
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "val-00000-of-00001.tfrecord"]


def test_has_truth():
    split = MANIFEST.splits["val"]
    assert split.has_truth
    assert not dataclasses.replace(split, class_pixels=[12, 0, 0, 0, 0, 0, 0, 0]).has_truth


def change(**changes):
    """Changes entries of manifest.json by a path such as splits__val__ids; ... takes one away."""

    def edit(folder):
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        for keys, value in changes.items():
            *parents, last = keys.split("__")
            entry = manifest
            for key in parents:
                entry = entry[int(key) if isinstance(entry, list) else key]
            if value is ...:
                del entry[last]
            else:
                entry[last] = value
        path.write_text(json.dumps(manifest))

    return edit


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (lambda folder: folder.rename(folder.with_name("moved")), FileNotFoundError, "no such folder of records; make"),
        (lambda folder: (folder / "manifest.json").unlink(), FileNotFoundError, "has no manifest.json; make"),
        (
            lambda folder: (folder / "manifest.json").write_text('{"codec":'),
            ValueError,
            "json: is no JSON: Expecting",
        ),
        (
            lambda folder: (folder / "manifest.json").write_bytes(b"\xff"),
            ValueError,
            "json: is no JSON: 'utf-8' codec",
        ),
        (lambda folder: (folder / "manifest.json").write_text("[]"), ValueError, "must be a JSON object, not a list"),
        (change(schema_version=7), ValueError, "has schema version 7, this program reads 1 to 3; make"),
        (change(schema_version=...), ValueError, "the manifest lacks schema_version; make"),
        (change(codec=..., classes=...), ValueError, "the manifest lacks classes, codec; make"),
        (change(label_map={"sky": "sky"}), ValueError, "manifest.json: invalid literal for int"),
        (change(splits=3), ValueError, "the manifest has something else as splits than a JSON object; make"),
        (change(size="2x3"), ValueError, "has something else as size than a list of an integer or null; make"),
        (change(splits__val__ids=[1, 2]), ValueError, "split val has something else as ids than a list of text; make"),
        (
            change(splits__val__shards__0__bytes="5"),
            ValueError,
            "a shard of split val has something else as bytes than an integer; make",
        ),
        (change(splits__val=[]), ValueError, "split val must be a JSON object, not a list"),
        (change(splits__val__ids=...), ValueError, "split val lacks ids"),
        (change(splits__val__ids=["a"]), ValueError, "split val has 1 ids, but its shards count 2 records"),
        (change(splits__val__shards=[{"name": "a"}]), ValueError, "a shard of split val lacks count, bytes, sha256"),
        (
            lambda folder: (folder / "val-00000-of-00001.tfrecord").unlink(),
            FileNotFoundError,
            "val-00000-of-00001.tfrecord: this shard is missing; copy it again, or make",
        ),
        (
            lambda folder: (folder / "val-00000-of-00001.tfrecord").write_bytes(b"123"),
            ValueError,
            "val-00000-of-00001.tfrecord: has 3 bytes, the manifest says 5; copy it again, or make",
        ),
    ],
)
def test_tells_what_is_wrong_with_a_folder(folder, damage, kind, message):
    damage(folder)
    with pytest.raises(kind, match=re.escape(message)) as raised:
        read_manifest(folder)
    assert str(folder) in str(raised.value)
    assert "python -m tfseg.convert" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_write_shard_tells_of_a_full_disk(tmp_path, monkeypatch):
    opens = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: opens(Path("/dev/full"), mode))
    with pytest.raises(OSError, match=r"/a: cannot be written: No space left on device$"):
        records.write_shard(tmp_path / "a", [b"a" * 100_000])
    assert not list(tmp_path.iterdir())


def test_write_shard_lets_the_errors_of_its_examples_pass(tmp_path):
    def examples():
        yield b"a"
        (tmp_path / "lost.png").read_bytes()

    with pytest.raises(FileNotFoundError, match=r"lost\.png"):
        records.write_shard(tmp_path / "a.tfrecord", examples())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codec", ["png", "raw"])
def test_decode_example_gives_what_was_encoded(codec):
    record = records.decode_example(example(codec, png(LABEL_IDS)))
    assert record.id == "ulm_1"
    assert np.array_equal(record.image, IMAGE) and np.array_equal(record.mask, MASK)
    assert np.array_equal(record.label_ids, LABEL_IDS)
    assert records.decode_example(example(codec)).label_ids is None


def test_decode_example_and_tensorflow_agree_on_jpeg():
    import tensorflow as tf

    image = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    encoded = cv2.imencode(".jpg", image)[1].tobytes()
    record = records.encode_example(id="a", image=encoded, codec="jpeg", height=2, width=3, mask=png(MASK))
    assert np.array_equal(
        records.decode_example(record).image, parse_example(tf.constant(record), stored("jpeg"))["image"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask/encoded": None, "id": None}, "lacks id, mask/encoded"),
        ({"image/height": 3}, "has an image of 2x3 and a mask of 2x3, but says 3x3"),
        ({"mask/encoded": png(MASK)[:-5]}, "is cut short or damaged"),
        ({"mask/encoded": codecs.pack_mask(MASK)[:-5]}, "has a mask that is cut short or damaged"),
        ({"mask/encoded": codecs.pack_mask(MASK[:1, :1])}, "has 1 raw bytes, which do not fill 2 rows"),
        ({"image/format": b"raw"}, "raw bytes, which do not fill 2 rows"),
        ({"image/encoded": b"GIF"}, "is no PNG or JPEG image"),
        ({"image/encoded": bomb(60000, 60000)}, r"is cut short or damaged \(69 bytes\)"),
        (
            {"image/encoded": png(np.zeros((2000, 2000, 3), np.uint8))},
            "has an image of 2000x2000, expected at most 2x3",
        ),
        ({"image/encoded": jpeg_of(2**15, 2**15), "image/format": b"jpeg"}, "is cut short or damaged"),
        (
            {"image/encoded": jpeg_of(300, 300), "image/format": b"jpeg"},
            "has an image of 300x300, expected at most 2x3",
        ),
        ({"mask/encoded": png(np.zeros((2000, 2000), np.uint8))}, "has a mask of 2000x2000, expected at most 2x3"),
        ({"mask/encoded": codecs.pack_mask(np.zeros((2000, 2000), np.uint8))}, "has a mask of more than 2x3"),
        ({"mask/encoded": codecs.pack_mask(MASK) + b"x"}, "has a mask that is cut short or damaged"),
        ({"mask/encoded": [codecs.pack_mask(MASK)] * 1000}, "has 1000 tiles, more than its 3 columns take"),
        ({"image/height": 2**63, "image/width": 3}, "says that it is -9223372036854775808x3, expected 1x1 or more"),
        (
            {"image/height": 2**20, "image/width": 2**20},
            "says that it is 1048576x1048576, expected .*1,073,741,824 pixels",
        ),
        ({"image/height": 0}, "says that it is 0x3"),
        ({"id": b"../../x"}, r"has the id '../../x', expected one that is not absolute"),
        ({"id": b"\xff"}, "has something else than text as id"),
    ],
)
def test_decode_example_refuses(change, message):
    features = tfrecord.decode_example(example("png")) | change
    features = {key: value for key, value in features.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        records.decode_example(tfrecord.encode_example(features))


def test_stored_images_are_not_turned_which_tensorflow_does_not():
    import tensorflow as tf

    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(IMAGE).save(file, "png", exif=exif)
    record = records.encode_example(
        id="a", image=file.getvalue(), codec="png", height=2, width=3, mask=codecs.encode_mask(MASK)
    )
    assert np.array_equal(records.decode_example(record).image, IMAGE)
    assert np.array_equal(parse_example(tf.constant(record), stored("png"))["image"], IMAGE)


def test_read_shard_names_file_and_record(tmp_path):
    path = tmp_path / "a.tfrecord"
    records.write_shard(path, [b"abc", b"defg"])
    assert list(records.read_shard(path)) == [b"abc", b"defg"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"a\.tfrecord: record 1 is cut short$"):
        list(records.read_shard(path))


def test_class_weights_by_hand():
    split = dataclasses.replace(MANIFEST.splits["val"], class_pixels=[500, 10, 0, 20, 40, 0, 0, 80])
    # Median 30: 3, 1.5, 0.75, 0.375, whose mean is 5.625 / 4.
    weights = [0, 3, 0, 1.5, 0.75, 0, 0, 0.375]
    assert class_weights(split) == pytest.approx([weight / (5.625 / 4) for weight in weights])


@pytest.mark.parametrize("pixels", [[0] * 8, [9, 0, 0, 0, 0, 0, 0, 0]])
def test_class_weights_without_ground_truth(pixels):
    assert balance_classes(pixels) == [0] * 8


def test_class_weights_with_void_as_a_class():
    split = dataclasses.replace(MANIFEST.splits["val"], class_pixels=[80, 10, 0, 20, 0, 0, 0, 40])
    # Median 30: 0.375, 3, 1.5, 0.75, whose mean is 5.625 / 4.
    weights = [0.375, 3, 0, 1.5, 0, 0, 0, 0.75]
    assert class_weights(split, with_void=True) == pytest.approx([weight / (5.625 / 4) for weight in weights])


def test_class_weights_have_a_mean_of_one_and_fall_with_frequency():
    pixels = np.random.default_rng(0).integers(1, 10**9, 8)
    weights = np.array(balance_classes(pixels.tolist()))
    assert weights[0] == 0 and weights[1:].mean() == pytest.approx(1)
    assert (np.argsort(weights[1:]) == np.argsort(-pixels[1:])).all()
    assert weights[1:] * pixels[1:] == pytest.approx(weights[1] * pixels[1])
    assert balance_classes((7 * pixels).tolist()) == pytest.approx(weights.tolist())
