"""Records -> tensors, for tf.data's map: the one module of records that imports TensorFlow."""

from collections.abc import Callable

import tensorflow as tf

from tfseg.records.manifest import Manifest
from tfseg.records.records import CODECS


def parse_features(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Reads what every record has, nothing decoded.

    Returns:
        By key: "id", a string; "image/encoded" and "mask/encoded", (tiles,) strings; "image/height" and "image/width",
        int64.
    """
    features: dict[str, tf.io.FixedLenFeature | tf.io.FixedLenSequenceFeature]
    features = {"id": tf.io.FixedLenFeature([], tf.string)}
    for key in ("image/encoded", "mask/encoded"):
        features[key] = tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True)
    features |= {key: tf.io.FixedLenFeature([], tf.int64) for key in ("image/height", "image/width")}
    return tf.io.parse_single_example(serialized, features)


def parse_example(serialized: tf.Tensor, manifest: Manifest) -> dict[str, tf.Tensor]:
    """Decodes one record, in TensorFlow operations: for tf.data's map.

    Args:
        serialized: scalar string, what `encode_example` returned.
        manifest: says how all records are stored, so that the graph needs no branches.

    Returns:
        {"id": scalar string, "image": (H, W, channels) uint8, "mask": (H, W) uint8 class ids}

    Raises:
        tf.errors.InvalidArgumentError: it is damaged, or image and mask differ in size.
    """
    features = parse_features(serialized)
    image, mask = parse_image(features, manifest), parse_mask(features, manifest)
    tf.debugging.assert_equal(tf.shape(image)[:2], tf.shape(mask), "image and mask differ in size")
    return {"id": features["id"], "image": image, "mask": mask}


def parse_label_ids(serialized: tf.Tensor) -> tf.Tensor:
    """Reads the raw mask of a record, a scalar string: a PNG file at its original size, or empty: `keeps_label_ids`."""
    key = "label_ids/encoded"
    return tf.io.parse_single_example(serialized, {key: tf.io.FixedLenFeature([], tf.string, "")})[key]


def parse_image(
    features: dict[str, tf.Tensor], manifest: Manifest, crop: tf.Tensor | None = None, shrink: int = 1
) -> tf.Tensor:
    """Decodes the image of what `parse_features` read, or a crop of it.

    Args:
        features: of one record.
        manifest: says how it is stored.
        crop: (4,) int32, top, left, height, width; of a JPEG not much more is decoded than that. None: all.
        shrink: 1, 2, 4 or 8; a whole JPEG is decoded at that part of its size, by its own transform: as good as the
            average over the pixels (51 dB and more from it), and sooner done.

    Returns:
        (height, width, channels) uint8, sides divided by `shrink` and rounded up.
    """
    # TensorFlow's default is the fast, less exact transform; the other one is what OpenCV and browsers see.
    settings = {"channels": manifest.channels, "dct_method": "INTEGER_ACCURATE"}

    def decode_jpeg(tile, crop):
        if crop is None:
            return tf.io.decode_jpeg(tile, ratio=shrink, **settings)
        return tf.io.decode_and_crop_jpeg(tile, crop, **settings)

    def decode_png(tile, crop):
        return take_crop(tf.io.decode_png(tile, channels=manifest.channels), crop)

    if manifest.codec == "raw":
        return _parse_rows(features, features["image/encoded"], manifest, manifest.channels, crop)
    if manifest.codec not in CODECS:
        raise ValueError(f"expected a codec of {', '.join(CODECS)}, got {manifest.codec!r}")
    decode = decode_jpeg if manifest.codec == "jpeg" else decode_png
    return _parse_tiles(features["image/encoded"], manifest, decode, crop)


def parse_mask(features: dict[str, tf.Tensor], manifest: Manifest, crop: tf.Tensor | None = None) -> tf.Tensor:
    """Decodes the mask of what `parse_features` read, or a crop of it: (height, width) uint8 class ids."""

    encoded = features["mask/encoded"]
    if manifest.mask_codec == "zlib":
        unpacked = _parse_rows(features, encoded, manifest, 1, crop, unpack=True)
        return unpacked[:, :, 0]
    return take_crop(_decode_png_mask(encoded[0]), crop)


def _parse_tiles(encoded: tf.Tensor, manifest: Manifest, decode: Callable, crop: tf.Tensor | None) -> tf.Tensor:
    """Decodes column tiles, of a crop only those that it meets, and joins them: (height, width, channels)."""
    if manifest.tile_width is None:
        return decode(encoded[0], crop)
    if manifest.size is None:
        raise ValueError("the manifest has a tile_width, but no size")
    lefts = range(0, manifest.size[1], manifest.tile_width)
    if crop is None:
        return tf.concat([decode(encoded[number], None) for number in range(len(lefts))], axis=1)
    top, left, height, width = tf.unstack(crop)
    tiles = []
    for number, own_left in enumerate(lefts):
        first = tf.clip_by_value(left - own_left, 0, manifest.tile_width)
        count = tf.clip_by_value(left + width - own_left, 0, manifest.tile_width) - first
        tile = tf.cond(
            count > 0,
            lambda number=number, place=(top, first, height, count): decode(encoded[number], tf.stack(place)),
            lambda: tf.zeros([height, 0, manifest.channels], tf.uint8),
        )
        tiles.append(tile)
    return tf.concat(tiles, axis=1)


def _parse_rows(
    features: dict[str, tf.Tensor],
    encoded: tf.Tensor,
    manifest: Manifest,
    channels: int,
    crop: tf.Tensor | None,
    unpack: bool = False,
) -> tf.Tensor:
    """Reads plain bytes in column tiles, all at once, of a crop only those that it meets: (height, width, channels).

    All tiles are as wide as the first; what the last has too much is not looked at.
    """
    full_height, full_width = (tf.cast(features[f"image/{side}"], tf.int32) for side in ("height", "width"))

    def read(tiles):
        return tf.io.decode_raw(tf.io.decode_compressed(tiles, "ZLIB") if unpack else tiles, tf.uint8)

    if manifest.tile_width is None:
        rows = tf.reshape(read(encoded[0]), [full_height, full_width, channels])
        return take_crop(tf.ensure_shape(rows, [None, None, channels]), crop)
    top, left, height, width = (0, 0, full_height, full_width) if crop is None else tf.unstack(crop)
    first, last = left // manifest.tile_width, (left + width - 1) // manifest.tile_width
    tiles = tf.reshape(read(encoded[first : last + 1]), [-1, full_height, manifest.tile_width * channels])
    # Rows come before tiles. tf.transpose does the same, but first prints that oneDNN has none for bytes.
    rows = tf.batch_to_space(tiles[:, top : top + height, tf.newaxis], [1, tf.shape(tiles)[0]], [[0, 0], [0, 0]])
    rows = tf.reshape(rows, [height, -1, channels])
    left -= first * manifest.tile_width
    return tf.ensure_shape(rows[:, left : left + width], [None, None, channels])


def take_crop(array: tf.Tensor, crop: tf.Tensor | None) -> tf.Tensor:
    """Takes a crop, (4,) int32 top, left, height, width, or nothing: (H, W, ...) -> (height, width, ...)."""
    if crop is None:
        return array
    top, left, height, width = crop[0], crop[1], crop[2], crop[3]
    return array[top : top + height, left : left + width]


def _decode_png_mask(encoded: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_png(encoded, channels=1)[..., 0]  # (H, W, 1) -> (H, W)
