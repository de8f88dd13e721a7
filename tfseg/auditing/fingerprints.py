"""Images that look alike, among a hundred thousand: a hash to find candidates, small grey images to verify them.

The hash has 64 bits, the signs of the lowest frequencies of a cosine transform, as pHash has (Zauner 2010), of the grey
image once its histogram is made even, so that brightness, contrast and gamma change few of them. Two hashes that differ
in at most 7 bits agree in one of their 8 bytes; so those that share a byte are compared, and no others.

A candidate is verified on grey images of 32x32: the correlation of what is left when the coarse light and dark, which
most images of a camera share, is taken away. On street scenes, pairs of different places reach 0.34, frames of one
drive that are 1/15 s apart 0.98, and copies that are encoded again as JPEG of quality 30, brightened by 15 % or halved
0.98 and more.
"""

from collections.abc import Iterator

import cv2
import numpy as np

SIDE = 32  # pixels of the small images
MOST_BITS = 7  # in which hashes of candidates may differ: with 8 bytes, one is then equal
COARSE = 2.0  # deviation, in pixels, of the blur that is taken away
FLAT = 1.0  # grey levels: an image whose detail deviates by less shows nothing that could be compared
PAIRS = 2**22  # of hashes that are compared at a time, in 64 MB
VERIFIED = 2048  # pairs of images that are compared at a time
STAR = 64  # images of one hash above which each is compared with the first alone, not with each other


def make_thumbnail(image: np.ndarray) -> np.ndarray:
    """Makes the small grey image, (32, 32) uint8, of an image, (H, W, 3) uint8 RGB, whatever its aspect."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def hash_thumbnail(thumbnail: np.ndarray) -> int:
    """Hashes a small grey image, (32, 32) uint8, to 64 bits."""
    even = cv2.equalizeHist(thumbnail).astype(np.float32)
    lowest = cv2.dct(even)[:9, :9].ravel()[1:65]  # without the mean
    return int.from_bytes(np.packbits(lowest > 0).tobytes(), "big")


def hash_all(thumbnails: np.ndarray) -> np.ndarray:
    """Hashes small grey images, (N, 32, 32) uint8: uint64 (N,)."""
    return np.array([hash_thumbnail(thumbnail) for thumbnail in thumbnails], np.uint64)


def find_alike(thumbnails: np.ndarray, at_least: float) -> Iterator[tuple[int, int, float, bool]]:
    """Finds the pairs of small grey images that look alike, (N, 32, 32) uint8.

    Yields:
        The places of both, the lower first, their similarity, `at_least` to 1, and whether one is mirrored. Of many
        images that all have one hash, each is compared with the first of them alone.
    """
    hashes = hash_all(thumbnails)
    mirrored = thumbnails[:, :, ::-1]
    found: dict[tuple[int, int], tuple[float, bool]] = {}
    for others, turned in ((hashes, False), (hash_all(np.ascontiguousarray(mirrored)), True)):
        images = mirrored if turned else thumbnails
        for first, second in _candidates(hashes, others):
            similar = similarity(thumbnails[first], images[second])
            for place in np.flatnonzero(similar >= at_least).tolist():
                pair = int(first[place]), int(second[place])
                if pair not in found or found[pair][0] < similar[place]:
                    found[pair] = float(similar[place]), turned
    for (first, second), (similar, turned) in sorted(found.items()):
        yield first, second, similar, turned


def similarity(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlates the detail of small grey images, (N, 32, 32) uint8 each, pair by pair.

    Returns:
        float32 (N,) in -1..1. Of two images that are flat, such as black frames, 1 if their mean is the same; of an
        image that is flat and one that is not, 0.
    """
    details = [np.stack([_detail(image) for image in images]) for images in (one, other)]
    lengths = [np.sqrt(np.square(detail).sum(axis=1)) for detail in details]
    flat = [length < FLAT * SIDE for length in lengths]
    product = (details[0] * details[1]).sum(axis=1) / np.maximum(lengths[0] * lengths[1], 1e-9)
    means = [images.reshape(len(images), -1).mean(axis=1) for images in (one, other)]
    alike = (flat[0] & flat[1] & (np.abs(means[0] - means[1]) <= FLAT)).astype(np.float32)
    return np.where(flat[0] | flat[1], alike, product)


def _detail(thumbnail: np.ndarray) -> np.ndarray:
    grey = thumbnail.astype(np.float32)
    detail = grey - cv2.GaussianBlur(grey, (0, 0), COARSE)
    return (detail - detail.mean()).ravel()


def _candidates(hashes: np.ndarray, others: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the places of pairs, first < second, whose hashes differ in at most `MOST_BITS`; some come repeatedly."""
    ours, groups = _group(hashes)
    theirs, other_groups = _group(others)
    for first, second in _near(ours, theirs):
        pairs = []
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            pairs.append(_expand(groups[one], other_groups[other]))
        if pairs:
            both = np.concatenate(pairs)
            both = np.unique(np.sort(both[both[:, 0] != both[:, 1]], axis=1), axis=0)
            for start in range(0, len(both), VERIFIED):
                part = both[start : start + VERIFIED]
                yield part[:, 0], part[:, 1]


def _group(hashes: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Gives the different hashes, and the places of each."""
    different, counts = np.unique(hashes, return_counts=True)
    return different, np.split(np.argsort(hashes, kind="stable"), np.cumsum(counts)[:-1])


def _expand(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Makes the pairs of two groups, int64 (pairs, 2)."""
    if len(ours) * len(theirs) > STAR**2:
        one = np.stack([np.full(len(theirs), ours[0]), theirs], axis=1)
        other = np.stack([ours, np.full(len(ours), theirs[0])], axis=1)
        return np.concatenate([one, other])
    return np.stack(np.meshgrid(ours, theirs, indexing="ij"), axis=-1).reshape(-1, 2)


def _near(ours: np.ndarray, theirs: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the places of pairs of hashes, uint64, of which a byte is equal and few bits differ."""
    for byte in range(8):
        shift = np.uint64(8 * byte)
        keys, other_keys = ((hashes >> shift).astype(np.uint8) for hashes in (ours, theirs))
        order, other_order = np.argsort(keys, kind="stable"), np.argsort(other_keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(257))
        other_starts = np.searchsorted(other_keys[other_order], np.arange(257))
        for key in np.unique(keys).tolist():
            bucket = order[starts[key] : starts[key + 1]]
            other = other_order[other_starts[key] : other_starts[key + 1]]
            rows = max(1, PAIRS // max(1, len(other)))
            for start in range(0, len(bucket), rows):
                part = bucket[start : start + rows]
                differing = _count_bits(ours[part][:, np.newaxis] ^ theirs[other])
                first, second = np.nonzero(differing <= MOST_BITS)
                yield part[first], other[second]


_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def _count_bits(numbers: np.ndarray) -> np.ndarray:
    """Counts the bits of uint64 (N, M) that are set: uint8 (N, M)."""
    if hasattr(np, "bitwise_count"):  # from NumPy 2 on
        return np.bitwise_count(numbers)
    return _BITS[np.ascontiguousarray(numbers).view(np.uint8).reshape(*numbers.shape, 8)].sum(axis=-1, dtype=np.uint8)
