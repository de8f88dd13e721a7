"""Images that look alike: hashes, candidates without comparing all pairs, verification."""

import cv2
import numpy as np
import pytest
from helper_audit import draw_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.auditing import fingerprints
from tfseg.auditing.fingerprints import find_alike, hash_thumbnail, make_thumbnail, similarity
from tfseg.io import codecs

IMAGES = [draw_scene(seed)[0] for seed in range(12)]


def encoded(image):
    return codecs.decode_stored_image(codecs.encode_image(image, "jpeg", 30), "jpeg", *image.shape[:2])


COPIES = {
    "the same": lambda image: image,
    "encoded again": encoded,
    "resized": lambda image: cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA),
    "brighter": lambda image: np.clip(image * 1.1 + 8, 0, 255).astype(np.uint8),
    "darker": lambda image: (image * 0.8).astype(np.uint8),
    "mirrored": lambda image: image[:, ::-1],
}


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_found_and_nothing_else(copy):
    thumbnails = np.stack([make_thumbnail(image) for image in [*IMAGES, COPIES[copy](IMAGES[3])]])
    ((first, second, similar, mirrored),) = find_alike(thumbnails, 0.9)
    assert (first, second, mirrored) == (3, 12, copy == "mirrored")
    assert similar >= 0.95


def test_similarity_by_hand():
    flat, also_flat, other_flat = (np.full((1, 32, 32), grey, np.uint8) for grey in (9, 10, 90))
    stripes = np.tile(np.array([0, 200], np.uint8), (1, 32, 16))
    assert similarity(flat, also_flat).tolist() == [1]
    assert similarity(flat, other_flat).tolist() == [0]
    assert similarity(flat, stripes).tolist() == [0]
    assert similarity(stripes, stripes) == pytest.approx(1)
    assert similarity(stripes, 200 - stripes) == pytest.approx(-1)


def test_equal_images_by_the_hundred_are_each_compared_with_the_first():
    thumbnails = np.repeat(make_thumbnail(IMAGES[0])[np.newaxis], 200, axis=0)
    pairs = [(first, second) for first, second, *_ in find_alike(thumbnails, 0.9)]
    assert pairs == [(0, second) for second in range(1, 200)]


def test_a_hash_is_signs_of_low_frequencies():
    ramp = np.tile(np.linspace(0, 255, 32), (32, 1)).astype(np.uint8)
    mirrored = hash_thumbnail(np.ascontiguousarray(ramp[:, ::-1]))
    assert 0 <= hash_thumbnail(ramp) < 2**64
    assert hash_thumbnail(ramp) ^ mirrored & (1 << 63)  # the first frequency across changes its sign


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 63), max_size=7))
def test_hashes_that_differ_in_seven_bits_are_candidates(number, bits):
    other = number
    for bit in bits:
        other ^= 1 << bit
    found = fingerprints._near(np.array([number], np.uint64), np.array([other], np.uint64))
    pairs = [(one, two) for first, second in found for one, two in zip(first.tolist(), second.tolist(), strict=True)]
    assert set(pairs) == {(0, 0)}


@pytest.mark.parametrize("equal", range(8))
def test_one_equal_byte_is_enough(equal):
    other = sum(1 << 8 * byte for byte in range(8) if byte != equal)  # 7 bits, one in each other byte
    found = fingerprints._near(np.array([0], np.uint64), np.array([other], np.uint64))
    assert sum(len(first) for first, _ in found) == 1


def test_hashes_that_differ_in_eight_bits_are_none():
    found = fingerprints._near(np.array([0], np.uint64), np.array([0b11111111], np.uint64))
    assert sum(len(first) for first, _ in found) == 0


def test_bits_are_counted_with_and_without_numpy_2(monkeypatch):
    numbers = np.array([[0, 1, 2**64 - 1, 0b1011]], np.uint64)
    assert fingerprints._count_bits(numbers).tolist() == [[0, 1, 64, 3]]
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert fingerprints._count_bits(numbers).tolist() == [[0, 1, 64, 3]]
