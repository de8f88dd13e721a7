"""What an audit keeps of each image, small enough to hold for a hundred thousand of them: some 2 KB each."""

import hashlib
import zlib
from typing import NamedTuple

import numpy as np

from tfseg.auditing.alignment import Aligner, Shift, shift_mask
from tfseg.auditing.fingerprints import make_thumbnail
from tfseg.auditing.reading import Image, ShardJob, read_images

SIMULATED_SHIFTS = 1 / 40, 1 / 16  # of the longer side: what is seen at a glance, and within what `alignment` tries


class Features(NamedTuple):
    """Of one image."""

    split: str
    id: str
    place: int  # in its split
    size: tuple[int, int]  # height, width
    digest: bytes  # of its pixels: equal for equal images
    mask_digest: bytes
    thumbnail: np.ndarray  # (32, 32) uint8 grey
    class_pixels: np.ndarray  # (C,) int64
    shift: Shift | None  # at which its mask fits best; None: nothing can be said
    simulated_shift: float | None  # the measure of the same mask once it was shifted on purpose


def measure_shard(job: ShardJob) -> list[Features]:
    """Measures the images of a shard; errors as of `reading.read_images`."""
    return [measure(image, job.first + index, job.classes) for index, image in enumerate(read_images(job))]


def measure(image: Image, place: int, classes: int) -> Features:
    """Measures an image that is at a place in its split, of so many classes."""
    aligner = Aligner(image.pixels)
    shift = aligner.find_shift(image.mask)
    simulated = None
    if shift is not None:
        moved = aligner.find_shift(shift_mask(image.mask, *draw_shift(image)))
        simulated = None if moved is None else moved.measure
    return Features(
        split=image.split,
        id=image.id,
        place=place,
        size=(image.mask.shape[0], image.mask.shape[1]),
        digest=_digest(image.pixels),
        mask_digest=_digest(image.mask),
        thumbnail=make_thumbnail(image.pixels),
        class_pixels=np.bincount(image.mask.ravel(), minlength=classes),
        shift=shift,
        simulated_shift=simulated,
    )


def draw_shift(image: Image) -> tuple[int, int]:
    """Draws a shift, down and right in pixels, of 1/40 to 1/16 of the longer side; the same for an id each time."""
    random = np.random.default_rng(zlib.crc32(image.id.encode(errors="surrogateescape")))
    longer = max(image.mask.shape)
    length = random.uniform(*(share * longer for share in SIMULATED_SHIFTS))
    angle = random.uniform(0, 2 * np.pi)
    return round(length * np.sin(angle)), round(length * np.cos(angle))


def _digest(pixels: np.ndarray) -> bytes:
    head = "x".join(map(str, pixels.shape)).encode()
    return hashlib.blake2b(head + pixels.tobytes(), digest_size=16).digest()
