import numpy as np
import pytest

from tfseg.metrics import confusion
from tfseg.metrics.segmentation import BINS, PixelScores, find_boundary

NAMES = ("void", "flat", "sky")


def sure_of(classes, confidence=1.0, count=3):
    """Probabilities of a prediction: what is left goes to the other classes, evenly."""
    rest = (1 - confidence) / (count - 1)
    return np.where(np.arange(count) == np.array(classes)[..., None], confidence, rest).astype(np.float32)


def gather(images, names=NAMES, ignore_class=0):
    gathered = PixelScores(names, ignore_class)
    for probabilities, mask in images:
        gathered.add(probabilities, np.array(mask, np.uint8))
    return gathered.result()


def test_the_matrix_is_scored_as_in_training():
    result = gather([(sure_of([[1, 1, 2]]), [[0, 1, 1]]), (sure_of([[2, 2, 0]]), [[2, 2, 2]])])
    assert result["confusion_matrix"] == [[0, 1, 0], [0, 1, 1], [1, 0, 2]]
    expected = confusion.scores([[0, 1, 0], [0, 1, 1], [1, 0, 2]], NAMES)
    assert result["mean_iou"] == expected["mean_iou"]


def test_a_boundary_by_hand():
    region = np.zeros((5, 7), bool)
    region[1:5, 1:6] = True
    expected = region.copy()
    expected[2:4, 2:5] = False  # the last row is the image's edge
    np.testing.assert_array_equal(find_boundary(region, 1), expected)
    np.testing.assert_array_equal(find_boundary(region, 2), region)
    assert not find_boundary(np.zeros((3, 3), bool), 1).any()


def test_boundary_iou_by_hand():
    """Two halves of 1x10, the border one pixel off; the diagonal is 10.05, so that a boundary is one pixel wide."""
    truth, predicted = np.repeat([1, 2], 5)[None], np.repeat([1, 2], [4, 6])[None]
    result = gather([(sure_of(predicted), truth)])
    # A row alone is all boundary: flat 4 of 5, sky 5 of 6.
    assert result["boundary_iou"][1:] == pytest.approx([4 / 5, 5 / 6])
    truth, predicted = np.tile(truth, (40, 4)).reshape(40, 40), np.tile(predicted, (40, 4)).reshape(40, 40)
    assert gather([(sure_of(truth), truth)])["mean_boundary_iou"] == 1.0
    assert gather([(sure_of(predicted), truth)])["mean_boundary_iou"] < 0.9


def test_a_boundary_is_harder_than_its_region():
    truth = np.ones((60, 60), int)
    truth[20:40, 20:40] = 2
    predicted = np.ones((60, 60), int)
    predicted[21:40, 21:40] = 2
    result = gather([(sure_of(predicted), truth)])
    assert result["boundary_iou"][2] < result["iou"][2] < 1
    assert np.isnan(result["boundary_iou"][0])


def test_void_truth_has_no_boundary():
    truth = np.ones((20, 20), int)
    truth[:, 10:] = 0
    result = gather([(sure_of(np.ones((20, 20), int)), truth)])
    assert result["boundary_iou"][1] == 1.0


def test_a_boundary_near_void_truth_counts_nowhere():
    """A row of 11, whose boundaries are one pixel wide; a row alone is all boundary, so that each pixel stands for one.

    Truth 1 1 1 0 2 2 2 2 2 2 2, where the pixels at 2 and 4 lie beside void. The prediction misses the border: of those
    that are left, flat has 0 and 1 right and 5 to 7 too much, sky has 8 to 10 of 5 to 10.
    """
    truth = [[1, 1, 1, 0, 2, 2, 2, 2, 2, 2, 2]]
    result = gather([(sure_of([[1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2]]), truth)])
    assert result["boundary_iou"][1:] == pytest.approx([2 / 5, 3 / 6])
    for at_void in (0, 1, 2):  # what is said of void truth makes no boundary
        predicted = [[1, 1, 1, at_void, 1, 1, 1, 1, 2, 2, 2]]
        assert gather([(sure_of(predicted), truth)])["boundary_iou"][1:] == result["boundary_iou"][1:]


def test_a_border_with_void_is_no_hit():
    """A prediction that has every border of classes wrong has no boundary right, however much void there is."""
    truth = np.ones((60, 60), int)
    truth[:, 30:] = 2
    predicted = np.where(np.arange(60) < 20, 1, 2) * np.ones((60, 1), int)
    plain = gather([(sure_of(predicted), truth)])
    truth[10:50:4, 2:6] = 0
    void = gather([(sure_of(predicted), truth)])
    assert void["mean_boundary_iou"] <= plain["mean_boundary_iou"]


@pytest.mark.parametrize("inside", [0, 1, 2])
def test_void_far_from_boundaries_changes_nothing(inside):
    truth = np.ones((80, 80), int)
    truth[:, 30:] = 2
    predicted = np.ones((80, 80), int)
    predicted[3:, 32:] = 2
    before = gather([(sure_of(predicted), truth)])["boundary_iou"]
    truth[40:44, 60:64], predicted[40:44, 60:64] = 0, inside
    assert gather([(sure_of(predicted), truth)])["boundary_iou"][1:] == before[1:]


def test_void_that_is_learned_is_a_class():
    """The row above, void as a class of one pixel, which the prediction misses."""
    truth = [[1, 1, 1, 0, 2, 2, 2, 2, 2, 2, 2]]
    result = gather([(sure_of([[1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2]]), truth)], ignore_class=None)
    assert result["boundary_iou"] == result["iou"] == pytest.approx([0, 3 / 8, 3 / 7])
    assert result["mean_iou"] == result["mean_iou_with_void"]
    assert result["calibration_error"] == pytest.approx(5 / 11)
    assert result["learn_void"] is True


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"mask: expected class ids in 0\.\.2, got 255 \(1 of 2 pixels are none\)"):
        gather([(sure_of([[1, 1]]), [[1, 255]])])
    with pytest.raises(ValueError, match=r"probabilities: expected the shape \(1, 2, 3\), got \(1, 3, 3\)"):
        gather([(sure_of([[1, 1, 1]]), [[1, 2]])])


def test_calibration_by_hand():
    """Half of the pixels are 90 % sure and all right; half 60 % sure and half right: (0.1 + 0.1) / 2."""
    probabilities = np.concatenate([sure_of([[1] * 4], 0.9), sure_of([[1] * 4], 0.6)], axis=1)
    mask = [[1, 1, 1, 1, 1, 1, 2, 2]]
    assert gather([(probabilities, mask)])["calibration_error"] == pytest.approx(0.1, abs=1e-6)
    void = np.zeros((1, 8), int)
    assert gather([(probabilities, mask), (probabilities, void)])["calibration_error"] == pytest.approx(0.1, abs=1e-6)
    assert np.isnan(gather([(probabilities, void)])["calibration_error"])
    assert gather([(sure_of([[1, 2]]), [[1, 2]])])["calibration_error"] == 0.0, "confidence 1 is in the last bin"
    assert BINS == 15


def test_batch_means_by_hand():
    """Nine images: the first eight and the last one are a batch each; an absent class counts as 1."""
    right, wrong = (sure_of([[1, 1]]), [[1, 1]]), (sure_of([[1, 1]]), [[2, 2]])
    result = gather([right] * 8 + [wrong])
    assert result["batch_mean_iou_with_void"] == pytest.approx((1 + 1 / 3) / 2, abs=1e-4)
    assert result["batch_mean_f1_with_void"] == pytest.approx((1 + 1 / 3) / 2, abs=1e-4)
    unsure = sure_of([[1, 1]], 0.5), [[1, 1]]
    assert gather([unsure])["batch_mean_iou_with_void"] == pytest.approx(2 / 3, abs=1e-4)
    half = sure_of([[1, 2]]), [[1, 1]]
    assert gather([half])["batch_mean_iou_with_void"] == pytest.approx((1 + 0.5 + 0) / 3, abs=1e-4)
    assert gather([half])["batch_mean_f1_with_void"] == pytest.approx((1 + 2 / 3 + 0) / 3, abs=1e-4)


def test_nothing_but_void_has_no_scores():
    result = gather([(sure_of([[1, 1]]), [[0, 0]])])
    assert np.isnan(result["mean_boundary_iou"])
    assert np.isnan(result["mean_iou"])
