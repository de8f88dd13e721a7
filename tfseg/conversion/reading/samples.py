"""One sample, read: an image and its mask as arrays, and how their files were read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.annotations.drawing import draw_mask
from tfseg.annotations.shapes import OtherSizeError
from tfseg.conversion.reading.layers import read_layers
from tfseg.conversion.reading.readings import Rule, read_values
from tfseg.io import channels, image_headers, masks, rasters
from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.io.regular_files import read_file
from tfseg.records import labels

# Of it, no value has a class.
NO_LABEL_MAP = labels.LabelMap((), np.zeros((0, 3), np.uint8), np.full(256, labels.UNKNOWN, np.uint8))

_IMAGE_PATH = re.compile(rb'"imagePath"\s*:\s*"([^"]*)"')  # of LabelMe; beside it, images can be in the file
FORMS = ("mask", "layers", "coco", "labelme", "yolo", "cityscapes_polygons", "supervisely", "label_studio")


class Sample(NamedTuple):
    """One image with its mask, not yet read."""

    id: str
    image: Path
    mask: Path  # file of the ground truth, or the folder that its layers lie in
    form: str = "mask"  # of FORMS: how `mask` holds it
    data: bytes = b""  # what a file of many images says of this one
    layers: tuple[tuple[str, Path], ...] = ()  # of the form "layers": name of a class, and the mask of its pixels

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it is read from."""
        return (self.image, *(path for _, path in self.layers)) if self.layers else (self.image, self.mask)


class Decoded(NamedTuple):
    """The files of a sample and what is in them."""

    image: np.ndarray  # (H, W, channels) uint8
    label_ids: np.ndarray  # (H, W) uint8, the raw mask
    image_file: bytes
    mask_file: bytes


class Traits(NamedTuple):
    """How the files of a sample were read, where they can be read in more ways than one."""

    size: tuple[int, int]  # height, width of both
    orientation: int  # of the image, by its EXIF data: 1 to 8
    mask: masks.Mask


def read_sample(sample: Sample, exif_mode: str = "rotate", rule: Rule | None = None) -> Decoded:
    """Reads an image and its mask; see `read_traits`."""
    return read_traits(sample, exif_mode, rule)[0]


def read_traits(
    sample: Sample, exif_mode: str = "rotate", rule: Rule | None = None, pixels: PixelFormat = RGB
) -> tuple[Decoded, Traits]:
    """Reads an image and its mask, and says how.

    Args:
        sample: the files.
        exif_mode: "rotate" turns both upright as their EXIF data say, as viewers do; "ignore" takes both as stored.
        rule: how ground truth becomes raw values. None: masks by their values, with no label map that could say which
            of two readings of a palette it knows.
        pixels: what the image is to be.

    Raises:
        ValueError: a file is damaged or of a kind that is not understood, or their sizes differ; the message begins
            with the path.
        OSError: a file cannot be read.
    """
    image_file = read_file(sample.image)
    with named(sample.image):
        image = _decode_image(image_file, pixels, upright=exif_mode == "rotate")
        orientation = rasters.read_any_orientation(image_file)
    mask, mask_file = _read_truth(sample, exif_mode, rule or Rule(NO_LABEL_MAP), (image.shape[0], image.shape[1]))
    if image.shape[:2] != mask.values.shape:
        raise ValueError(_size_fault(sample, image, mask.values, orientation, exif_mode))
    traits = Traits(mask.values.shape, orientation, mask)
    return Decoded(image, mask.values, image_file, mask_file), traits


def _decode_image(data: bytes, pixels: PixelFormat, upright: bool) -> np.ndarray:
    try:
        return channels.decode_image(data, pixels, upright)
    except ValueError as error:
        if "transparent pixels" in str(error) and (kind := channels.read_kind(data)).more:
            raise ValueError(f"{error}, or give --channels {kind.channels}, which takes it as a channel") from None
        raise


def _read_truth(sample: Sample, exif_mode: str, rule: Rule, size: tuple[int, int]) -> tuple[masks.Mask, bytes]:
    """Reads the ground truth of an image of a size: a mask of raw values, and the file of it if that is a mask."""
    if sample.form == "mask":
        data = read_file(sample.mask)
        with named(sample.mask):
            mask = read_values(data, rule)
            if exif_mode == "rotate":
                mask = mask._replace(values=image_headers.turn(mask.values, rasters.read_any_orientation(data)))
        return mask, data
    if sample.form == "layers":
        return read_layers(sample.layers, rule.label_map, size, upright=exif_mode == "rotate"), b""
    label_map, data = rule.label_map, sample.data or read_file(sample.mask)
    with named(sample.mask):
        if sample.form == "labelme":
            _check_image_path(sample, data)
        try:
            mask = draw_mask(
                sample.form,
                data,
                size,
                label_map.by_label,
                label_map.uncovered,
                label_map.default,
            )
        except ValueError as error:
            hint = _exif_hint(sample, exif_mode) if isinstance(error, OtherSizeError) else ""
            raise ValueError(f"{sample.image.name}: {error}{hint}" if sample.data else f"{error}{hint}") from None
    return masks.Mask(mask, sample.form, {}), b""


def _check_image_path(sample: Sample, data: bytes) -> None:
    """Refuses a file of LabelMe that names another image of the same folder; one that is gone was renamed with it."""
    match = _IMAGE_PATH.search(data)
    name = re.split(r"[/\\]+", match[1].decode("utf-8", "replace"))[-1] if match else ""
    is_another = False
    if name and Path(name).stem != sample.image.stem:
        with suppress(OSError, ValueError):  # no name that a file can have
            is_another = (sample.image.parent / name).is_file()
    if is_another:
        raise ValueError(
            f"is of the image {name} by its imagePath, and lies where that of {sample.image} is looked for; rename it, "
            "or correct imagePath"
        )


def _exif_hint(sample: Sample, exif_mode: str) -> str:
    """Says that an image of another size than its annotations may be turned by its EXIF data."""
    orientation = rasters.read_any_orientation(read_file(sample.image))
    if orientation < image_headers.SIDEWAYS:
        return ""
    advice = "ignore takes all images as they are stored" if exif_mode == "rotate" else "rotate turns all upright"
    return f"; its EXIF data have the orientation {orientation}: --exif {advice}"


def _size_fault(sample: Sample, image: np.ndarray, mask: np.ndarray, orientation: int, exif_mode: str) -> str:
    is_turned = orientation >= image_headers.SIDEWAYS and image.shape[:2] == mask.shape[::-1]
    taken, other = ("upright", "as it is stored") if exif_mode == "rotate" else ("as it is stored", "upright")
    sizes = ["x".join(map(str, shape)) for shape in (image.shape[:2], mask.shape)]
    if not is_turned:
        return f"{sample.image}: is {sizes[0]}, but its mask {sample.mask} is {sizes[1]}; make them agree"
    advice = "ignore takes all images as they are stored" if exif_mode == "rotate" else "rotate turns all upright"
    return (
        f"{sample.image}: is {sizes[0]} {taken}, with the orientation {orientation} of its EXIF data, but its mask "
        f"{sample.mask} is {sizes[1]}, as of the image {other}; make them agree, or --exif {advice}"
    )


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Begins the errors about a file's content with its name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
