"""One sample -> its record, in a worker: decode, check, remap, resize and encode."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from tfseg.conversion.finding.sources import Source
from tfseg.conversion.reading import evidence
from tfseg.conversion.reading.evidence import Evidence
from tfseg.conversion.reading.faults import Fault
from tfseg.conversion.reading.readings import MASK_VALUES, Rule
from tfseg.conversion.reading.samples import Sample, Traits, named, read_traits
from tfseg.io import codecs, masks, resizing
from tfseg.io.image_headers import PNG_SIGNATURE
from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.records import labels, records, storage

Result = TypeVar("Result")
MASK_RESIZES, EXIF_MODES = storage.MASK_RESIZES, storage.EXIF_MODES


@dataclass(frozen=True)
class Settings:
    """What is done to every sample."""

    label_map: labels.LabelMap
    size: tuple[int, int] | None  # height, width; None keeps each image's own
    codec: str
    quality: int | None  # of JPEG, 1..100
    mask_resize: str  # of MASK_RESIZES
    tile_width: int | None = None  # see `records.choose_tile_width`
    exif: str = "rotate"  # of EXIF_MODES
    mask_values: str = "auto"  # of readings.MASK_VALUES; auto, where nothing has chosen yet, reads as index does
    color_tolerance: int = 0  # largest difference of a channel from a colour of the label map, 0..255
    chosen_by: str = ""  # the mask by which mask_values was chosen, see `readings.Rule`
    uses_labels: bool = False  # likewise
    pixels: PixelFormat = RGB  # of the images

    @property
    def rule(self) -> Rule:
        """How ground truth becomes raw values."""
        values = "index" if self.mask_values == "auto" else self.mask_values
        return Rule(self.label_map, values, self.color_tolerance, self.chosen_by, self.uses_labels)


def make_settings(
    source: Source,
    size: tuple[int, int] | None,
    codec: str,
    quality: int,
    mask_resize: str,
    exif: str = "rotate",
    mask_values: str = "auto",
    color_tolerance: int = 0,
) -> Settings:
    """Checks what `convert` was asked for."""
    if size is not None and min(size) < 1:
        raise ValueError(f"expected a height and width of at least 1 pixel, got {size}")
    if codec not in records.CODECS:
        raise ValueError(f"expected a codec of {', '.join(records.CODECS)}, got {codec!r}")
    if not 1 <= quality <= 100:
        raise ValueError(f"expected a JPEG quality in 1..100, got {quality}")
    if mask_resize not in MASK_RESIZES:
        raise ValueError(f"expected a way to resize masks of {', '.join(MASK_RESIZES)}, got {mask_resize!r}")
    if exif not in EXIF_MODES:
        raise ValueError(f"expected a way to take EXIF data of {', '.join(EXIF_MODES)}, got {exif!r}")
    if mask_values not in MASK_VALUES:
        raise ValueError(f"expected mask values of {', '.join(MASK_VALUES)}, got {mask_values!r}")
    if not 0 <= color_tolerance <= 255:
        raise ValueError(f"expected a colour tolerance in 0..255, got {color_tolerance}")
    return Settings(
        source.label_map,
        size,
        codec,
        quality if codec == "jpeg" else None,
        mask_resize,
        records.choose_tile_width(size),
        exif,
        mask_values,
        color_tolerance,
    )


class Encoded(NamedTuple):
    """One sample on its way from a worker to a shard; what is counted is exact, in integers."""

    example: bytes  # the serialised record
    class_pixels: list[int]
    channel_sums: list[int]  # of each channel
    channel_squares: list[int]
    evidence: Evidence


class Checked(NamedTuple):
    """One sample that was read, and in which no fault was found."""

    image: np.ndarray  # (H, W, channels) uint8
    label_ids: np.ndarray  # (H, W) uint8, the raw mask
    counts: np.ndarray  # (256,) int64, the pixels of each raw value
    seen: Evidence
    traits: Traits
    mask_file: bytes


def attempt(job: tuple[str, Sample, bool], settings: Settings) -> Encoded | Evidence | Fault:
    """Makes the record of a sample, or only looks at it, or says why that cannot be.

    Args:
        job: name of the split, sample, and whether to make the record.
        settings: what to make of it.

    Raises:
        OSError: something else than a file of the sample cannot be read.
    """
    split, sample, is_wanted = job
    return guard(
        split,
        sample,
        lambda: encode_sample((split, sample), settings) if is_wanted else check_sample(sample, settings).seen,
    )


def guard(split: str, sample: Sample, work: Callable[[], Result]) -> Result | Fault:
    """Gives what becomes of a sample, or says why nothing does.

    Raises:
        OSError: something else than a file of the sample cannot be read.
    """
    try:
        return work()
    except ValueError as error:
        return Fault(str(error), split, sample.id)
    except (cv2.error, MemoryError) as error:
        reason = " ".join(str(error).split()) or "there is not enough memory for it"
        return Fault(f"{sample.image}: cannot be converted with its mask: {reason}", split, sample.id)
    except OSError as error:
        if error.filename is None or str(error.filename) not in map(str, sample.files):
            raise
        return Fault(f"{error.filename}: cannot be read: {error.strerror}", split, sample.id)


def check_sample(sample: Sample, settings: Settings) -> Checked:
    """Reads one image and its mask.

    Raises:
        ValueError, OSError: as of `encode_sample`.
    """
    (image, label_ids, _, mask_file), traits = read_traits(sample, settings.exif, settings.rule, settings.pixels)
    with named(sample.mask):
        check_known(label_ids, traits, settings)
    counts = masks.count_values(label_ids)
    seen = evidence.of_sample(sample.mask, traits, np.flatnonzero(counts).tolist())
    return Checked(image, label_ids, counts, seen, traits, mask_file)


def check_known(label_ids: np.ndarray, traits: Traits, settings: Settings) -> None:
    """Raises ValueError if a raw mask, (H, W) uint8, has values that the label map lacks."""
    try:
        labels.check_known(label_ids, settings.rule.stored_map.lookup)
    except ValueError as error:
        greys = {(value, value, value) for value in np.unique(label_ids).tolist()}
        if traits.mask.kind == masks.GREY and greys <= settings.label_map.by_color.keys():
            raise ValueError(
                f"{error}; they are greys of its colours: --mask-values color takes greys for colours, or add lines "
                f"of `mask value: class`"
            ) from None
        read = {masks.GREYS: "greys, whose values are read", masks.COLORS: "colours, whose indexes are read"}
        if traits.mask.kind not in read:
            raise
        hint = "; --mask-values color reads its colours" if settings.label_map.by_color else ""
        raise ValueError(f"{error}; it has a palette of {read[traits.mask.kind]}{hint}") from None


def encode_sample(item: tuple[str, Sample], settings: Settings) -> Encoded:
    """Reads one image and its mask and makes the record of them.

    Args:
        item: name of the split and sample.
        settings: what to make of it.

    Raises:
        ValueError: a file is damaged or of a kind that is not understood; the message begins with its path.
        OSError: a file cannot be read.
    """
    split, sample = item
    image, label_ids, counts, seen, traits, mask_file = check_sample(sample, settings)
    size = settings.size or label_ids.shape
    with named(sample.image):
        image, mask = resizing.resize(image, size), make_mask(label_ids, size, settings)
        kept = None
        if records.keeps_label_ids(split):
            as_it_came = traits.mask.kind == masks.GREY and mask_file.startswith(PNG_SIGNATURE)
            as_it_came = as_it_came and not settings.rule.gives_class_ids
            kept = codecs.as_grey_png(label_ids, mask_file) if as_it_came else codecs.encode_mask(label_ids)
        example = encode_pixels(sample.id, image, mask, settings, label_ids=kept)
    if mask.shape == label_ids.shape:  # nothing was resized, so that the raw values are counted already
        counts = labels.remap_counts(counts, settings.rule.stored_map.lookup)
    else:
        counts = masks.count_values(mask)
    class_pixels = counts[: len(settings.label_map.classes)].tolist()
    return Encoded(example, class_pixels, *codecs.channel_sums(image), seen)


def encode_pixels(
    id: str, image: np.ndarray, mask: np.ndarray, settings: Settings, label_ids: bytes | None = None
) -> bytes:
    """Makes the record of an image (height, width, channels) and its mask (height, width), of the size to be stored."""
    codec, width = settings.codec, settings.tile_width
    # Plain bytes are read tile after tile of one length, so the last is padded.
    image_tiles = codecs.cut_tiles(image, width, pad=codec == "raw")
    mask_tiles = codecs.cut_tiles(mask, width, pad=True)
    return records.encode_example(
        id=id,
        image=[codecs.encode_image(tile, codec, settings.quality) for tile in image_tiles],
        codec=codec,
        height=mask.shape[0],
        width=mask.shape[1],
        mask=[codecs.pack_mask(tile) for tile in mask_tiles],
        label_ids=label_ids,
    )


def make_mask(label_ids: np.ndarray, size: tuple[int, int], settings: Settings) -> np.ndarray:
    """Makes (height, width) uint8 class ids of a raw mask (H, W) uint8."""
    lookup = settings.rule.stored_map.lookup
    if settings.mask_resize == "majority":  # of classes: the labels of one class must not split its vote
        return masks.resize_majority(labels.remap(label_ids, lookup), size)
    return labels.remap(masks.resize_nearest(label_ids, size), lookup)
