import numpy as np
import pytest
import tensorflow as tf

from tfseg.pipeline.crops import RandomCrop, choose_crop, class_shares, place_crops


def draw(height, width, size, scale, count=60):
    scale = scale if isinstance(scale, tuple) else (scale, scale)
    draws = np.random.default_rng(0).random((count, 3), np.float32)
    return place_crops(height, width, size=size, scale=scale, draws=draws).numpy()


def test_crops_lie_in_the_image_and_keep_their_shape():
    for top, left, height, width in draw(24, 32, (12, 8), (0.5, 2.0)):
        assert 0 <= top <= top + height <= 24 and 0 <= left <= left + width <= 32
        assert height == pytest.approx(1.5 * width, abs=1.3)  # both are rounded


def test_crops_are_no_larger_than_the_image():
    """Not enlarged as little as asked for, but no wider than the image is high."""
    assert {tuple(crop[2:]) for crop in draw(24, 32, (48, 48), (0.1, 0.2))} == {(24, 24)}


def test_enlargement_makes_crops_smaller():
    assert [draw(64, 64, (32, 32), scale, 1)[0, 2:].tolist() for scale in (1.0, 2.0, 0.5)] == [
        [32, 32],
        [16, 16],
        [64, 64],
    ]


def test_crops_have_a_pixel_at_least():
    assert {tuple(crop[2:]) for crop in draw(64, 64, (32, 32), 1e6)} == {(1, 1)}


def test_half_and_double_come_alike():
    sides = draw(400, 400, (100, 100), (0.5, 2.0), 2000)[:, 2]
    assert (sides > 100).mean() == pytest.approx(0.5, abs=0.04)
    assert sides.min() < 53 and sides.max() > 190


def test_crops_reach_every_edge():
    assert {tuple(crop[:2]) for crop in draw(4, 5, (3, 3), 1.0)} == {(r, c) for r in range(2) for c in range(3)}


def test_each_of_many_rows_has_its_crops():
    draws = np.float32([[[0, 0, 0]], [[0, 0.999, 0]], [[0, 0, 0.999]]])
    crops = place_crops(9, 9, size=(4, 4), scale=(1.0, 1.0), draws=draws).numpy()
    np.testing.assert_array_equal(crops, [[[0, 0, 4, 4]], [[5, 0, 4, 4]], [[0, 5, 4, 4]]])


# Void, road, sky: (4, 6).
MASK = np.array([[5, 5, 5, 5, 0, 0], [5, 5, 5, 5, 0, 0], [1, 1, 1, 5, 0, 0], [1, 1, 1, 5, 0, 0]], np.uint8)


def test_class_shares():
    crops = [[0, 0, 4, 4], [2, 0, 2, 2], [0, 4, 4, 2], [0, 3, 2, 2], [1, 2, 2, 2]]
    shares = class_shares(tf.constant(crops), tf.constant(MASK), 8).numpy()
    np.testing.assert_allclose(shares[:, 1], [6 / 16, 1, 0, 0, 1 / 4])
    np.testing.assert_allclose(shares[:, 5], [10 / 16, 0, 0, 1, 3 / 4])
    np.testing.assert_allclose(shares.sum(axis=1), [1, 1, 0, 1, 1])


@pytest.mark.parametrize("zoom", [7, 40])
def test_class_shares_of_large_masks(zoom):
    """Counted on some rows and columns only."""
    mask = MASK.repeat(zoom, axis=0).repeat(zoom, axis=1)
    crops = np.array([[0, 0, 4, 4], [1, 2, 3, 3]], np.int32)
    small, large = (class_shares(tf.constant(w), tf.constant(m), 8) for w, m in ((crops, MASK), (crops * zoom, mask)))
    np.testing.assert_allclose(large, small, atol=0.02)


CANDIDATES = np.array([[0, 0, 2, 2], [1, 0, 2, 2], [2, 2, 2, 2], [0, 4, 4, 2]], np.int32)  # sky, both, both, void


def choose(settings, candidates=CANDIDATES, weights=(0, 2, 0, 0, 0, 0.5, 0, 0)):
    choice = choose_crop(tf.constant(candidates), tf.constant(MASK), settings, weights, tf.constant(0.5))
    return choice.numpy().tolist()


def test_the_first_crop_that_keeps_to_the_share():
    assert choose(RandomCrop(cat_max_ratio=1.0, rare_class_sampling=0.0)) == [0, 0, 2, 2]
    assert choose(RandomCrop(cat_max_ratio=0.5)) == [1, 0, 2, 2]


def test_the_nearest_if_none_keeps_to_the_share():
    candidates = CANDIDATES[[0, 1]] + np.array([[0, 0, 0, 0], [-1, 1, 2, 0]])  # all sky, three quarters of it
    assert choose(RandomCrop(cat_max_ratio=0.4), candidates) == [0, 1, 4, 2]


def test_the_crop_with_most_of_rare_classes():
    assert choose(RandomCrop(rare_class_sampling=1.0)) == [1, 0, 2, 2]
    assert choose(RandomCrop(rare_class_sampling=1.0), weights=(0, 0.5, 0, 0, 0, 2, 0, 0)) == [0, 0, 2, 2]
    mixed = RandomCrop(rare_class_sampling=1.0, cat_max_ratio=0.5)
    assert choose(mixed, weights=(0, 0.5, 0, 0, 0, 2, 0, 0)) == [1, 0, 2, 2]
