"""One sample, read: an image and its mask as arrays, and how their files were read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.io import image_headers, images, masks
from tfseg.io.regular_files import read_file
from tfseg.records import labels


class Sample(NamedTuple):
    """One image with its mask, not yet read."""

    id: str
    image: Path
    mask: Path


class Decoded(NamedTuple):
    """The files of a sample and what is in them."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    label_ids: np.ndarray  # (H, W) uint8, the raw mask
    image_file: bytes
    mask_file: bytes


class Traits(NamedTuple):
    """How the files of a sample were read, where they can be read in more ways than one."""

    size: tuple[int, int]  # height, width of both
    orientation: int  # of the image, by its EXIF data: 1 to 8
    mask: masks.Mask


def read_sample(sample: Sample, exif_mode: str = "rotate", lookup: np.ndarray | None = None) -> Decoded:
    """Reads an image and its mask; see `read_traits`."""
    return read_traits(sample, exif_mode, lookup)[0]


def read_traits(sample: Sample, exif_mode: str = "rotate", lookup: np.ndarray | None = None) -> tuple[Decoded, Traits]:
    """Reads an image and its mask, and says how.

    Args:
        sample: the files.
        exif_mode: "rotate" turns both upright as their EXIF data say, as viewers do; "ignore" takes both as stored.
        lookup: (256,) uint8 of the label map, `labels.UNKNOWN` where it has no class: of a palette with colours of
            which a mask has nothing but greys, the indexes are read unless it knows the greys alone.

    Raises:
        ValueError: a file is damaged or of a kind that is not understood, or their sizes differ; the message begins
            with the path.
        OSError: a file cannot be read.
    """
    image_file, mask_file = read_file(sample.image), read_file(sample.mask)
    with named(sample.image):
        image = images.decode_file(image_file, upright=exif_mode == "rotate")
        orientation = image_headers.read_orientation(image_file)
    with named(sample.mask):
        mask = masks.read_mask(mask_file)
    label_ids = mask.values
    if mask.greys is not None and lookup is not None and not _knows(lookup, mask.values) and _knows(lookup, mask.greys):
        label_ids, mask = mask.greys, mask._replace(kind=masks.GREYS)
    if exif_mode == "rotate":
        label_ids = image_headers.turn(label_ids, image_headers.read_orientation(mask_file))
    if image.shape[:2] != label_ids.shape:
        raise ValueError(_size_fault(sample, image, label_ids, orientation, exif_mode))
    traits = Traits(label_ids.shape, orientation, mask)
    return Decoded(image, label_ids, image_file, mask_file), traits


def _knows(lookup: np.ndarray, values: np.ndarray) -> bool:
    return bool((lookup[np.unique(values)] != labels.UNKNOWN).all())


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
