"""How records may be stored: what the fields of a manifest may say, checked before anything is read by them.

Which of its fields each reader uses; where nothing else is said, `faults` or the parsing of the manifest checks them
when records are opened, and `find_faults` of the verifier with all that is in the shards:

| reader | fields of the manifest | keys of a record |
|---|---|---|
| all that open records | schema_version, splits, shards' name, count and bytes | |
| pipeline, training | size, codec, channels, mask_codec, tile_width, classes, ids, class_pixels | id, image/*, mask/* |
| evaluation | the same, source, label_map | the same, label_ids/encoded |
| exploration | classes, colors, label_map, codec, quality, source, class_pixels | all |
| exports, serving (labels.json), reports | classes, colors, source, size, codec, channels, value_range | |
| conversion, to find its own records | all but class_pixels and channel_*; findings for its table | |
| verification alone | channel_mean, channel_std, sha256, quality, mask_resize, exif | image/format |
"""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfseg.io.codecs import CODEC_CHANNELS
from tfseg.io.escaping import shorten
from tfseg.io.image_headers import MOST_PIXELS
from tfseg.io.names import quote
from tfseg.io.pixel_formats import RGB, format_fault

if TYPE_CHECKING:
    from tfseg.records.manifest import Manifest

CODECS = ("jpeg", "png", "raw")  # of the image
MASK_CODECS = ("zlib", "png")  # zlib: plain bytes, packed
MASK_RESIZES = ("nearest", "majority")
EXIF_MODES = ("rotate", "ignore")
# What the converter notes of how it read the files, and the kind of each.
FINDINGS = {
    **{"folders": list, "assumed": bool, "mask_kinds": dict, "masks_with_255": int, "turned": dict, "undecided": int},
    **{"sizes": int, "aspect": int, "enlarged": int, "left_out": dict},
    **{"mask_values": str, "color_tolerance": int, "entries_read": dict},
}
DEEPEST = 4  # lists and objects in one another, in findings
MOST_CLASSES = 255  # that masks of a byte distinguish from what is of no class


def faults(manifest: "Manifest") -> Iterator[str]:
    """Says by what in a manifest no record can be read, or which fields of it contradict each other."""
    for key, value, known in (
        ("codec", manifest.codec, CODECS),
        ("mask codec", manifest.mask_codec, MASK_CODECS),
    ):
        if value not in known:
            yield f"has the {key} {shorten(value)}, expected one of {', '.join(known)}"
    yield from _size_faults(manifest.size, manifest.tile_width)
    yield from _pixel_faults(manifest)
    count = len(manifest.classes)
    if not 1 <= count <= MOST_CLASSES:
        yield f"has {count} classes, expected 1 to {MOST_CLASSES}"
    for name, split in manifest.splits.items():
        if len(split.class_pixels) != count:
            yield f"split {name} has class_pixels of {len(split.class_pixels)} classes, expected {count}"
        elif min(split.class_pixels, default=0) < 0:
            yield f"split {name} has class_pixels {shorten(split.class_pixels)}, expected none below 0"
        for key, values in (("channel_mean", split.channel_mean), ("channel_std", split.channel_std)):
            if split.ids and len(values) != manifest.channels:
                expected = f"a number for each of {manifest.channels} channels"
                yield f"split {name} has {key} {shorten(values)}, expected {expected}"
        if odd := [shard for shard in split.shards if min(shard.count, shard.bytes) < 0]:
            yield f"split {name} has {quote(odd[0].name)} of {odd[0].count} records and {odd[0].bytes} bytes"


def _pixel_faults(manifest: "Manifest") -> Iterator[str]:
    if fault := format_fault(manifest.channels, manifest.value_range):
        yield f"does not say what its images are: {fault}"
    elif manifest.channels not in CODEC_CHANNELS.get(manifest.codec, (manifest.channels,)):
        yield f"has images of {manifest.channels} channels, which the codec {manifest.codec} does not hold"
    elif manifest.schema_version <= 2 and (manifest.channels, manifest.value_range) != (RGB.channels, None):
        yield f"has other images than 8-bit RGB in schema version {manifest.schema_version}, which has no others"


def _size_faults(size: list[int] | None, tile_width: int | None) -> Iterator[str]:
    if size is not None and (len(size) != 2 or min(size) < 1 or size[0] * size[1] > MOST_PIXELS):
        expected = f"null, or a height and a width of 1 or more, and at most {MOST_PIXELS:,} pixels"
        yield f"has the size {shorten(size)}, expected {expected}"
    elif tile_width is not None and size is None:
        yield f"has a tile_width, {tile_width}, but no size, which tiles take"
    elif tile_width is not None and size is not None and not 1 <= tile_width <= size[1]:
        yield f"has the tile_width {tile_width}, expected null, or 1 to {size[1]}, the width of the images"


def color_fault(manifest: "Manifest") -> str | None:
    """Says that classes have no colours; None if they have, or are the categories', which need none."""
    if len(manifest.palette) == len(manifest.classes):
        return None
    known = len(manifest.palette)
    return f"has {len(manifest.classes)} classes and no colors, which only the {known} categories do without"


def tile_widths(manifest: "Manifest", width: int) -> tuple[list[int], list[int]]:
    """Lists how wide the tiles of an image of a width and of its mask are; the manifest must be without `faults`."""
    if manifest.size is None or manifest.tile_width is None:
        return [width], [width]
    width, tile = manifest.size[1], manifest.tile_width
    whole = [tile] * -(-width // tile)
    narrower = [*whole[:-1], width - tile * (len(whole) - 1)]
    # Plain bytes are read tile after tile of one length; masks that are PNG are in one piece.
    return whole if manifest.codec == "raw" else narrower, whole if manifest.mask_codec == "zlib" else [width]


def findings_faults(findings: dict) -> Iterator[str]:
    """Says what the converter did not write into a manifest's findings."""
    for key, kind in FINDINGS.items():
        if key in findings and not isinstance(value := findings[key], kind):
            yield f"has findings with a {type(value).__name__} as {key}, expected a {kind.__name__}"
    level: list = [findings]
    for _ in range(DEEPEST):
        held = [[*it.values()] if isinstance(it, dict) else it for it in level if isinstance(it, dict | list)]
        level = [*itertools.chain(*held)]
    if any(isinstance(it, dict | list) for it in level):
        yield f"has findings nested more than {DEEPEST} deep"
