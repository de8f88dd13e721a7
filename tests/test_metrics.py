import keras
import numpy as np
import pytest
from keras import ops

from tfseg.losses import SegmentationLoss
from tfseg.metrics import Scorer, confusion_matrix, score, scores

NAMES = ("void", "flat", "sky")


def test_confusion_matrix_by_hand():
    truth = np.array([[[0, 1, 1]], [[2, 2, 2]]])
    predicted = np.array([[[1, 1, 2]], [[2, 2, 0]]])
    matrices = ops.convert_to_numpy(confusion_matrix(truth, predicted, 3))
    assert matrices.tolist() == [[[0, 1, 0], [0, 1, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0], [1, 0, 2]]]


def test_confusion_matrix_counts_a_large_picture_exactly():
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
    result = score(Scorer(network, SegmentationLoss(0, 1.0, learn_void=True)), batches)
    logits = network(images.astype(np.float32))
    predicted = ops.convert_to_numpy(ops.argmax(logits, axis=-1))
    matrix = np.bincount((masks.astype(int) * 8 + predicted).ravel(), minlength=64).reshape(8, 8)
    assert result["confusion_matrix"] == matrix.tolist()
    assert result["mean_iou"] == scores(matrix)["mean_iou"]
    assert result["loss"] == pytest.approx(float(SegmentationLoss(0, 1.0, learn_void=True)(masks, logits)), rel=1e-4)
