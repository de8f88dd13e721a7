"""One rule of resizing, by fractions, by NumPy, by OpenCV and in a graph of TensorFlow."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.io import resizing
from tfseg.io.resizing import choose_classes, choose_classes_of_array, enlarge, enlarge_array, resize, resize_tensors

SIZES = [
    *[((8, 12), (4, 6)), ((8, 12), (6, 9)), ((7, 5), (3, 4)), ((4, 4), (7, 9)), ((9, 4), (5, 8)), ((5, 13), (5, 3))],
    *[
        ((1, 1), (3, 3)),
        ((6, 6), (2, 3)),
        ((10, 7), (1, 1)),
        ((24, 30), (5, 30)),
        ((2, 2), (2, 5)),
        ((31, 37), (29, 23)),
    ],
]


def random_image(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def shares(before, after):
    """Of each of `after` pixels, the share of each of `before`, by the words of the module's docstring."""
    rows = []
    for place in range(after):
        row = [Fraction(0)] * before
        if after <= before:
            for pixel in range(before):
                covered = min((pixel + 1) * after, (place + 1) * before) - max(pixel * after, place * before)
                row[pixel] = Fraction(max(covered, 0), before)
        else:
            middle = min(max(Fraction(2 * place + 1, 2) * before / after - Fraction(1, 2), 0), before - 1)
            low = int(middle)
            row[low] = 1 - (middle - low)
            if middle > low:
                row[low + 1] = middle - low
        rows.append(row)
    return np.array(rows, object)


def resize_by_fractions(image, size):
    rows = np.tensordot(shares(image.shape[0], size[0]), image.astype(object), (1, 0))
    means = np.tensordot(shares(image.shape[1], size[1]), rows, (1, 1)).transpose(1, 0, 2)
    return np.vectorize(lambda mean: int(mean + Fraction(1, 2)))(means).astype(np.uint8)  # halves up


@pytest.mark.long
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_all_ways_are_that_of_fractions(before, after, monkeypatch):
    image = random_image(before)
    expected = resize_by_fractions(image, after)
    in_graph = tf.function(
        lambda images: resize_tensors(images, after), input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)]
    )
    assert np.array_equal(resize(image, after), expected)
    assert np.array_equal(in_graph(image[np.newaxis])[0], expected)
    monkeypatch.setattr(resizing, "_by_opencv", lambda *_: None)
    assert np.array_equal(resize(image, after), expected)


@pytest.mark.parametrize(
    ("before", "after"),
    [((128, 256), (96, 192)), ((360, 480), (192, 256)), ((96, 192), (48, 96)), ((180, 360), (60, 120))],
)
def test_common_sizes_are_quick_and_exact(before, after, monkeypatch):
    image = random_image(before)
    quick = resizing._by_opencv(image, after)
    monkeypatch.setattr(resizing, "_by_opencv", lambda *_: None)
    assert np.array_equal(quick, resize(image, after))


def test_by_hand():
    row = np.array([[[0] * 3, [1] * 3, [4] * 3, [6] * 3]], np.uint8)
    assert resize(row, (1, 2))[..., 0].tolist() == [[1, 5]]  # 0.5 and 5
    assert resize(row, (1, 1))[..., 0].tolist() == [[3]]  # 2.75
    assert resize(row[:, 2:], (1, 4))[..., 0].tolist() == [[4, 5, 6, 6]]  # 4, 4.5, 5.5, 6
    assert resize(row, (1, 4)) is row


def test_many_images_and_channels_at_once():
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 1), np.uint8)
    resized = resize_tensors(images, (4, 10)).numpy()
    assert all(np.array_equal(resize(image, (4, 10)), one) for image, one in zip(images, resized, strict=True))


def test_close_to_what_opencv_gives():
    image = random_image((90, 70))
    assert (
        np.abs(resize(image, (40, 30)).astype(int) - cv2.resize(image, (30, 40), None, 0, 0, cv2.INTER_AREA)).max() <= 1
    )


def test_probabilities_are_enlarged_before_they_are_compared():
    likely = np.array([[[[0.9, 0.1], [0.4, 0.6]]]], np.float32)
    assert choose_classes(likely, (1, 2)).numpy().tolist() == [[[0, 1]]]
    # Half-pixel centres: 0.9, 0.775, 0.525, 0.4 of the first class.
    assert choose_classes(likely, (2, 4)).numpy().tolist() == [[[0, 0, 0, 1]] * 2]
    np.testing.assert_allclose(enlarge(likely, (1, 4))[0, 0, :, 0], [0.9, 0.775, 0.525, 0.4], atol=1e-6)


def test_without_tensorflow_by_hand():
    likely = np.array([[[0.9, 0.1], [0.4, 0.6]]], np.float32)
    assert choose_classes_of_array(likely, (1, 2)).tolist() == [[0, 1]]
    assert choose_classes_of_array(likely, (2, 4)).tolist() == [[0, 0, 0, 1]] * 2
    np.testing.assert_allclose(enlarge_array(likely, (1, 4))[0, :, 0], [0.9, 0.775, 0.525, 0.4], atol=1e-6)
    assert enlarge_array(likely, (1, 2)) is likely


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from([1, 2, 8, 129]),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_without_tensorflow_the_same(before, after, classes, seed):
    likely = np.random.default_rng(seed).random((*before, classes), np.float32)
    expected = enlarge(likely[np.newaxis], after).numpy()[0]
    found = enlarge_array(likely, after)
    assert (found.dtype, found.shape) == (np.float32, (*after, classes))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    clear = np.ptp(np.sort(expected, axis=-1)[..., -2:], axis=-1) > 1e-4 if classes > 1 else np.ones(after, bool)
    chosen = choose_classes_of_array(likely, after)
    assert chosen.dtype == np.uint8
    np.testing.assert_array_equal(chosen[clear], expected.argmax(axis=-1)[clear])


@pytest.mark.parametrize("size", [(20, 30), (70, 200), (41, 90), (10, 15), (300, 30)])
def test_strips_of_a_large_image_are_its_whole(size, monkeypatch):
    likely = np.random.default_rng(0).random((2, 20, 30, 8), np.float32)
    whole = choose_classes(likely, size).numpy()
    assert np.array_equal(whole, enlarge(likely, size).numpy().argmax(axis=-1))
    monkeypatch.setattr(resizing, "STRIP", 2000)
    strips = choose_classes(likely, size).numpy()
    assert np.array_equal(strips, whole)


@pytest.mark.parametrize("size", [(70, 200), (10, 15), (300, 30)])
def test_strips_without_tensorflow(size, monkeypatch):
    likely = np.random.default_rng(0).random((20, 30, 8), np.float32)
    whole = choose_classes_of_array(likely, size)
    assert np.array_equal(whole, enlarge_array(likely, size).argmax(axis=-1))
    monkeypatch.setattr(resizing, "STRIP", 16 * 2000)
    assert np.array_equal(choose_classes_of_array(likely, size), whole)
