import math

import numpy as np
import pytest

from tfseg.metrics import bootstrap
from tfseg.metrics.bootstrap import count_pixels, draw_scores, interval, iou_and_mean
from tfseg.metrics.seeds import deviation_over_seeds, interval_over_seeds, mean_over_seeds, student_quantile

NAN = math.nan


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (10, 2.2281), (1000, 1.9623), (1e9, 1.95996)]
)
def test_students_t_is_that_of_the_tables(freedom, expected):
    assert student_quantile(freedom) == pytest.approx(expected, abs=1e-4)


def test_students_t_between_whole_numbers_falls():
    quantiles = [student_quantile(freedom) for freedom in np.arange(1, 6, 0.25)]
    assert all(np.diff(quantiles) < 0)


def test_means_and_deviations_leave_out_what_is_no_number():
    scores = np.array([[0.1, NAN, NAN], [0.3, 0.5, NAN]])
    np.testing.assert_allclose(mean_over_seeds(scores), [0.2, 0.5, NAN])
    np.testing.assert_allclose([deviation_over_seeds(column) for column in scores.T], [0.1 * math.sqrt(2), NAN, NAN])


def test_where_images_do_not_matter_it_is_students_interval():
    low, high = interval_over_seeds(0.8, np.full(1000, 0.8), [np.array([0.79, 0.8, 0.81])])
    half = 4.3027 * 0.01 / math.sqrt(3)
    assert (low, high) == (pytest.approx(0.8 - half, abs=1e-5), pytest.approx(0.8 + half, abs=1e-5))


def test_where_images_do_not_matter_a_difference_has_welchs_interval():
    """Equal deviations of two groups of three: four degrees of freedom, whose t is 2.7764."""
    groups = [np.array([0.79, 0.8, 0.81]), np.array([0.69, 0.7, 0.71])]
    low, high = interval_over_seeds(0.1, np.full(1000, 0.1), groups)
    half = 2.7764 * 0.01 * math.sqrt(2 / 3)
    assert (low, high) == (pytest.approx(0.1 - half, abs=1e-5), pytest.approx(0.1 + half, abs=1e-5))


@pytest.mark.parametrize("groups", [[], [[0.5]], [[0.5], [0.6]], [[0.5, 0.5, 0.5]], [[0.5, NAN]]])
def test_where_nothing_is_known_of_seeds_it_is_the_bootstraps(groups):
    draws = np.random.default_rng(0).exponential(size=1000)
    assert interval_over_seeds(1.0, draws, [np.array(group) for group in groups]) == interval(draws)


def test_an_interval_that_leans_to_one_side_still_does():
    draws = np.random.default_rng(0).exponential(size=10_000)
    low, high = interval_over_seeds(1.0, draws, [np.array([0.9, 1.0, 1.1])])
    assert low < interval(draws)[0] < interval(draws)[1] < high
    assert high - 1 > 2 * (1 - low)


def test_a_class_that_does_not_occur_has_no_interval():
    assert np.isnan(interval_over_seeds(NAN, np.full(10, NAN), [np.full(3, NAN)])).all()


def draw_runs(rng, groups, of_seeds=0.02, of_images=0.1, of_both=0.05, seeds=3, images=100, pixels=1000):
    """Confusion matrices (images, runs, 2, 2), where IoU is 0.5 but for effects of seeds, images, and both.

    Misses are taken for void, so that every union has as many pixels and IoU is a mean over images.
    """
    of_image = rng.normal(0, of_images, images)
    found = []
    for _ in range(groups):
        of_group = of_image + rng.normal(0, of_images / 2, images)
        of_seed = rng.normal(0, of_seeds, (seeds, 1))
        found.append(0.5 + of_seed + of_group + rng.normal(0, of_both, (seeds, images)))
    hits = np.round(pixels * np.clip(np.concatenate(found), 0, 1)).T.astype(np.int64)
    matrices = np.zeros((*hits.shape, 2, 2), np.int64)
    matrices[..., 1, 1], matrices[..., 1, 0] = hits, pixels - hits
    return matrices


@pytest.mark.long
@pytest.mark.parametrize(("groups", "truth"), [(1, 0.5), (2, 0.0)])
def test_intervals_over_three_seeds_and_100_images_hold_95_times_of_100(groups, truth, monkeypatch):
    """Intervals over images alone hold 83 and 65 times of 100 here, and with seeds drawn with replacement 89 times."""
    monkeypatch.setattr(bootstrap, "DRAWS", 300)
    monkeypatch.setattr(bootstrap, "CHUNK", 300)
    rng, held = np.random.default_rng(0), 0
    for seed in range(150):
        matrices = draw_runs(rng, groups)
        scores = iou_and_mean(count_pixels(matrices.sum(axis=0)))[:, 1].reshape(groups, 3)
        draws = draw_scores(matrices, seed)[..., 1].reshape(300, groups, 3).mean(axis=-1)
        signs = np.array([1, -1])[:groups]
        low, high = interval_over_seeds(signs @ scores.mean(axis=1), draws @ signs, list(scores))
        held += low <= truth <= high
    assert 0.9 <= held / 150 <= 0.99
