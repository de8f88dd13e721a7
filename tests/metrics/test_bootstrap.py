import numpy as np
import pytest

from tfseg.metrics import bootstrap, confusion
from tfseg.metrics.bootstrap import DRAWS, count_pixels, draw_scores, interval, iou_and_mean

# Ground truth of void, flat, sky in rows: ten pixels of flat, all found; all taken for sky.
FOUND = [[0, 0, 0], [0, 10, 0], [0, 0, 0]]
MISSED = [[0, 0, 0], [0, 0, 10], [0, 0, 0]]


def random_matrices(shape, seed, classes=4):
    rng = np.random.default_rng(seed)
    matrices = rng.integers(0, 100, (*shape, classes, classes)) + 200 * np.eye(classes, dtype=np.int64)
    return matrices * (rng.random((*shape, classes, 1)) < 0.5)  # half of the classes are not in an image


def test_scores_are_those_of_evaluation():
    matrices = random_matrices((7,), seed=0)
    matrices[:, :, 2] = matrices[:, 2] = 0  # a class that does not occur
    for matrix in matrices:
        expected = confusion.scores(matrix, range(4))
        assert np.isnan(expected["iou"][2])
        np.testing.assert_array_equal(iou_and_mean(count_pixels(matrix)), [*expected["iou"], expected["mean_iou"]])
    assert np.isnan(iou_and_mean(count_pixels(np.zeros((4, 4), np.int64)))).all()


def test_void_that_is_learned_is_a_class():
    matrix = random_matrices((), seed=1)
    matrix[0, 1] += 50
    expected = confusion.scores(matrix, range(4), ignore_class=None)
    np.testing.assert_array_equal(
        iou_and_mean(count_pixels(matrix, None), None), [*expected["iou"], expected["mean_iou"]]
    )
    draws = draw_scores(matrix[None], ignore_class=None)
    np.testing.assert_allclose(draws[0], [*expected["iou"], expected["mean_iou"]])


def test_two_images_by_hand():
    """One draw in four is the first image twice, one the second twice; in the first, sky does not occur."""
    draws = draw_scores(np.array([FOUND, MISSED]))
    assert draws.shape == (DRAWS, 4)
    possible = np.array([[1, np.nan, 1], [0.5, 0, 0.25], [0, 0, 0]])
    equal = (np.nan_to_num(draws[:, np.newaxis, 1:], nan=-1) == np.nan_to_num(possible, nan=-1)).all(axis=-1)
    np.testing.assert_allclose(equal.mean(axis=0), [0.25, 0.5, 0.25], atol=0.02)
    assert [interval(column) for column in draws[:, 1:].T] == [[0, 1], [0, 0], [0, 1]]
    assert np.isnan(interval(draws[:, 0])).all(), "void has no score"


def test_an_interval_is_as_wide_as_theory_says():
    """Misses are taken for void, so that every union is ten pixels and IoU is a mean, of deviation 0.5 / sqrt(100)."""
    missed = [[0, 0, 0], [10, 0, 0], [0, 0, 0]]
    draws = draw_scores(np.array([FOUND, missed] * 50))
    np.testing.assert_allclose(interval(draws[:, 1]), [0.5 - 1.96 * 0.05, 0.5 + 1.96 * 0.05], atol=0.011)


def test_one_image_leaves_nothing_to_draw():
    draws = draw_scores(np.array([[[0, 0, 0], [0, 10, 10], [0, 0, 5]]]))
    for column, score in zip(draws[:, 1:].T, (1 / 2, 1 / 3, 5 / 12), strict=True):
        assert interval(column) == pytest.approx([score, score], rel=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_runs_share_their_draws(seed):
    matrices = random_matrices((20,), seed)
    draws = draw_scores(np.stack([matrices, matrices], axis=1))
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])
    np.testing.assert_array_equal(draws[:, 0], draw_scores(matrices))
    assert interval(draws[:, 0, -1])[0] < interval(draws[:, 0, -1])[1]


@pytest.mark.parametrize("seed", range(3))
def test_an_interval_holds_the_score(seed):
    matrices = random_matrices((30, 2), seed)
    scores, draws = iou_and_mean(count_pixels(matrices.sum(axis=0))), draw_scores(matrices)
    for score, column in zip((scores[1] - scores[0])[1:], (draws[:, 1] - draws[:, 0])[:, 1:].T, strict=True):
        low, high = interval(column)
        assert low < score < high


def test_a_seed_gives_the_same_draws():
    matrices = random_matrices((5,), seed=0)
    np.testing.assert_array_equal(draw_scores(matrices, seed=1), draw_scores(matrices, seed=1))
    assert not np.array_equal(draw_scores(matrices, seed=1), draw_scores(matrices, seed=2), equal_nan=True)


def test_every_chunk_has_its_own_draws():
    draws = draw_scores(random_matrices((5,), seed=0))
    assert len(draws) == DRAWS
    assert not np.array_equal(draws[: bootstrap.CHUNK], draws[bootstrap.CHUNK : 2 * bootstrap.CHUNK], equal_nan=True)
