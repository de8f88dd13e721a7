import keras
import numpy as np
import pytest
from keras import ops

from tfseg.losses.segmentation_loss import SegmentationLoss
from tfseg.metrics.confusion import Scorer, confusion_matrix, score, scores

NAMES = ("void", "flat", "sky")


def test_confusion_matrix_by_hand():
    truth = np.array([[[0, 1, 1]], [[2, 2, 2]]])
    predicted = np.array([[[1, 1, 2]], [[2, 2, 0]]])
    matrices = ops.convert_to_numpy(confusion_matrix(truth, predicted, 3))
    assert matrices.tolist() == [[[0, 1, 0], [0, 1, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0], [1, 0, 2]]]


def test_confusion_matrix_counts_a_large_image_exactly():
    truth = np.zeros((1, 2048, 2048), np.uint8)
    truth[0, 0, 0] = 1
    assert ops.convert_to_numpy(confusion_matrix(truth, truth, 2)).tolist() == [[[2**22 - 1, 0], [0, 1]]]


def test_scores_by_hand():
    #          predicted: void flat sky
    result = scores([[4, 3, 0], [1, 6, 0], [0, 2, 2]], NAMES)
    # void truth left out: flat 6 / (6 + 1 void + 2 sky), sky 2 / (2 + 2)
    assert result["iou"][1:] == pytest.approx([6 / 9, 2 / 4])
    assert np.isnan(result["iou"][0])
    assert result["f1"][1:] == pytest.approx([12 / 15, 4 / 6])
    assert result["mean_iou"] == pytest.approx((6 / 9 + 2 / 4) / 2)
    # void as a class: void 4 / 8, flat 6 / 12, sky 2 / 4
    assert result["iou_with_void"] == pytest.approx([4 / 8, 6 / 12, 2 / 4])
    assert result["mean_iou_with_void"] == pytest.approx(0.5)
    assert result["pixel_accuracy"] == pytest.approx(8 / 11)
    assert result["support"] == [7, 7, 4]


def test_a_class_that_does_not_occur_has_no_score():
    result = scores([[0, 0, 0], [0, 5, 0], [0, 0, 0]], NAMES)
    assert np.isnan(result["iou"][2])
    assert result["mean_iou"] == 1.0


def test_a_class_predicted_but_never_true_scores_zero():
    assert scores([[0, 0, 0], [0, 4, 1], [0, 0, 0]], NAMES)["iou"][2] == 0.0


def test_nothing_but_void_has_no_score():
    result = scores([[9, 1, 0], [0, 0, 0], [0, 0, 0]], NAMES)
    assert np.isnan(result["mean_iou"])
    assert np.isnan(result["pixel_accuracy"])
    assert result["mean_iou_with_void"] == pytest.approx(0.45)


def test_what_is_learnt_is_what_is_scored():
    """Void truth that is called flat: nothing to the rule that leaves it out, the half of all to the other."""
    matrix = [[0, 90, 0], [0, 10, 0], [0, 0, 5]]
    left_out, counted = scores(matrix, NAMES), scores(matrix, NAMES, ignore_class=None)
    assert (left_out["mean_iou"], left_out["pixel_accuracy"], left_out["learn_void"]) == (1.0, 1.0, False)
    assert counted["iou"] == counted["iou_with_void"] == pytest.approx([0, 0.1, 1])
    assert counted["mean_iou"] == counted["mean_iou_with_void"] == pytest.approx(1.1 / 3)
    assert counted["mean_f1"] == counted["mean_f1_with_void"] == pytest.approx((20 / 110 + 1) / 3)
    assert counted["pixel_accuracy"] == pytest.approx(15 / 105)
    assert counted["learn_void"] is True


def test_names_must_fit_the_matrix():
    three = np.eye(3, dtype=int)
    with pytest.raises(ValueError, match=r"expected 8 x 8 counts, .* void, flat, .*; got 3 x 3\. Name its classes"):
        scores(three)
    for wrong in (np.ones((3, 4), int), np.ones(3, int), 5):
        with pytest.raises(ValueError, match="matrix: expected 3 x 3 counts"):
            scores(wrong, NAMES)
    for wrong in (three - 1, three / 2, three * np.nan):
        with pytest.raises(ValueError, match="matrix: expected counts of pixels"), np.errstate(invalid="ignore"):
            scores(wrong, NAMES)


@pytest.mark.parametrize("ignore_class", [-1, 3, 255])
def test_what_is_ignored_is_a_class(ignore_class):
    with pytest.raises(ValueError, match=rf"ignore_class: expected a class id in 0\.\.2, or None, got {ignore_class}"):
        scores(np.eye(3, dtype=int), NAMES, ignore_class)


def test_ids_that_are_none_are_refused():
    truth, right = np.array([[[0, 1, 255]]]), np.array([[[0, 1, 1]]])
    with pytest.raises(ValueError, match=r"mask: expected class ids in 0\.\.1, got 255 \(1 of 3 pixels are none\)"):
        confusion_matrix(truth, right, 2)
    with pytest.raises(ValueError, match=r"predicted: expected class ids in 0\.\.1, got 255"):
        confusion_matrix(right, truth, 2)
    with pytest.raises(ValueError, match=r"mask: expected class ids in 0\.\.1, got -1"):
        confusion_matrix(right - 1, right, 2)
    assert ops.convert_to_numpy(confusion_matrix(truth, right, 2, ignore=255)).tolist() == [[[1, 0], [0, 1]]]
    assert ops.convert_to_numpy(confusion_matrix(right, right, 2, ignore=0)).tolist() == [[[0, 0], [0, 2]]]
    with pytest.raises(ValueError, match="got 255"):
        confusion_matrix(truth, right, 2, ignore=254)


def test_signed_bytes_are_ids_too():
    """Which is how they come to Metal: -106 is class 150."""
    ids = np.array([[[0, 149, 150]]], np.uint8)
    matrix = ops.convert_to_numpy(confusion_matrix(ids.view(np.int8), ids.view(np.int8), 151))
    assert matrix.sum() == 3 and matrix[0, 150, 150] == matrix[0, 149, 149] == 1


def make_network(classes):
    pixels = keras.Input((None, None, 3))
    return keras.Model(pixels, keras.layers.Conv2D(classes, 1, kernel_initializer="zeros")(pixels))


def test_a_split_with_ids_that_are_none_has_no_score():
    """In a compiled step, where nobody can look."""
    mask = np.ones((3, 2, 2), np.uint8)
    mask[1, 0] = 255
    batch = {"image": np.zeros((3, 2, 2, 3), np.uint8), "mask": mask}
    message = r"mask: expected class ids in 0\.\.2, got others in 2 pixels of 1 images"
    with pytest.raises(ValueError, match=message):
        score(Scorer(make_network(3), SegmentationLoss(), NAMES), batch)


@pytest.mark.parametrize("learn_void", [False, True])
def test_a_scorer_scores_what_the_loss_learns(learn_void):
    """All is called class 0, void; half of the truth is."""
    mask = np.zeros((1, 2, 2), np.uint8)
    mask[0, 0] = 1
    batch = {"image": np.zeros((1, 2, 2, 3), np.uint8), "mask": mask}
    result = score(Scorer(make_network(3), SegmentationLoss(ignore_class=None if learn_void else 0), NAMES), batch)
    assert result["mean_iou"] == pytest.approx(0.25 if learn_void else 0)
    assert result["pixel_accuracy"] == pytest.approx(0.5 if learn_void else 0)


def test_counts_beyond_32_bits():
    assert scores([[0, 0, 0], [0, 2**40, 1], [0, 0, 2**40]], NAMES)["support"][1] == 2**40 + 1


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_score_does_not_depend_on_the_batch_size(batch_size):
    import tensorflow as tf

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (5, 8, 8, 3), np.uint8)
    masks = random.integers(0, 8, (5, 8, 8), np.uint8)
    pixels = keras.Input((None, None, 3))
    network = keras.Model(
        pixels, keras.layers.Conv2D(8, 1, kernel_initializer=keras.initializers.RandomNormal(seed=1))(pixels)
    )
    batches = tf.data.Dataset.from_tensor_slices({"image": images, "mask": masks}).batch(batch_size)
    result = score(Scorer(network, SegmentationLoss(0, 1.0, ignore_class=None)), batches)
    logits = network(images.astype(np.float32))
    predicted = ops.convert_to_numpy(ops.argmax(logits, axis=-1))
    matrix = np.bincount((masks.astype(int) * 8 + predicted).ravel(), minlength=64).reshape(8, 8)
    assert result["confusion_matrix"] == matrix.tolist()
    assert result["mean_iou"] == scores(matrix, ignore_class=None)["mean_iou"]
    assert result["loss"] == pytest.approx(float(SegmentationLoss(0, 1.0, ignore_class=None)(masks, logits)), rel=1e-4)
