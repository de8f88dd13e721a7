import keras
import numpy as np
import pytest
from keras import ops

from tfseg.augment import Augmentation
from tfseg.learner import Learner
from tfseg.losses import SegmentationLoss, cross_entropy_loss, dice_loss

SURE = 50.0  # a logit that makes softmax 1


def logits_of(mask, classes=4):
    return SURE * np.eye(classes, dtype=np.float32)[np.asarray(mask)]


def value(loss):
    numbers = ops.convert_to_numpy(loss)
    assert numbers.dtype == np.float32
    return numbers


def test_dice_by_hand():
    truth = [[[1, 1, 2, 2]]]
    prediction = [[[1, 2, 2, 2]]]
    # class 1: 2*1/(2+1) = 2/3, class 2: 2*2/(2+3) = 4/5, class 3 and void are absent
    expected = 1 - (2 / 3 + 4 / 5) / 2
    assert value(dice_loss(np.array(truth), logits_of(prediction))) == pytest.approx([expected], abs=1e-6)


def test_perfect_prediction_with_absent_classes_is_zero():
    mask = np.array([[[1, 1], [2, 2]]])
    assert value(dice_loss(mask, logits_of(mask))) == pytest.approx([0], abs=1e-6)
    assert value(cross_entropy_loss(mask, logits_of(mask))) == pytest.approx([0], abs=1e-6)


@pytest.mark.parametrize("loss", [dice_loss, cross_entropy_loss])
def test_void_pixels_count_nowhere(loss):
    truth = np.array([[[1, 2, 0]]])
    assert value(loss(truth, logits_of([[[1, 2, 3]]]))) == pytest.approx([0], abs=1e-6)
    assert value(loss(truth, logits_of([[[1, 2, 1]]]))) == pytest.approx([0], abs=1e-6)


@pytest.mark.parametrize("loss", [dice_loss, cross_entropy_loss])
def test_void_learnt_is_a_class_like_the_others(loss):
    truth = np.array([[[1, 2, 0]]])
    assert value(loss(truth, logits_of([[[1, 2, 0]]]), learn_void=True)) == pytest.approx([0], abs=1e-6)
    assert value(loss(truth, logits_of([[[1, 2, 3]]]), learn_void=True))[0] > 0.3


@pytest.mark.parametrize("loss", [dice_loss, cross_entropy_loss])
def test_void_predicted_on_a_valid_pixel_is_an_error(loss):
    assert value(loss(np.array([[[1, 2]]]), logits_of([[[1, 0]]])))[0] > 0.3


@pytest.mark.parametrize("loss", [dice_loss, cross_entropy_loss])
def test_batch_without_truth_is_zero(loss):
    assert value(loss(np.zeros((2, 3, 3), np.uint8), logits_of(np.ones((2, 3, 3), int)))).tolist() == [0, 0]


def test_cross_entropy_is_the_mean_over_valid_pixels():
    mask = np.array([[[1, 0, 0]], [[1, 2, 3]]])
    logits = np.zeros((2, 1, 3, 4), np.float32)  # log 4 a pixel, whatever the truth
    values = value(cross_entropy_loss(mask, logits))
    assert values.mean() == pytest.approx(np.log(4))
    assert values[1] == pytest.approx(3 * values[0]), "three valid pixels against one"


def test_dice_is_one_value_repeated_for_each_picture():
    values = value(dice_loss(np.array([[[1, 1]], [[2, 2]]]), logits_of([[[1, 1]], [[1, 1]]])))
    assert values.shape == (2,)
    assert values[0] == values[1] == pytest.approx(1 - (4 / 6 + 0) / 2, abs=1e-6)


def test_better_predictions_lose_less():
    mask = np.array([[[1, 1, 2, 3]]])
    worst, better, best = ([[[2, 3, 1, 1]]], [[[1, 2, 2, 3]]], mask)
    for loss in (dice_loss, cross_entropy_loss):
        assert value(loss(mask, logits_of(worst)))[0] > value(loss(mask, logits_of(better)))[0]
        assert value(loss(mask, logits_of(better)))[0] > value(loss(mask, logits_of(best)))[0]


def test_half_precision_logits_of_a_large_picture_do_not_overflow():
    mask = np.ones((1, 1024, 2048), np.uint8)
    logits = ops.cast(np.broadcast_to(np.float32([0, 1, 0, 0]), (1, 1024, 2048, 4)), "float16")
    p = np.exp(1) / (np.exp(1) + 3)
    assert value(dice_loss(mask, logits)) == pytest.approx([1 - 2 * p / (1 + p)], abs=1e-4)
    assert value(cross_entropy_loss(mask, logits)) == pytest.approx([-np.log(p)], abs=1e-4)


def test_a_step_on_a_large_picture_in_half_precision():
    """Of a network whose logits are all 0: each class has a quarter of every pixel."""
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        pixels = keras.Input((None, None, 3))
        logits = keras.layers.Conv2D(4, 1, kernel_initializer="zeros")(keras.layers.Rescaling(1 / 255)(pixels))
        learner = Learner(keras.Model(pixels, logits), SegmentationLoss(dice=1.0), Augmentation())
        learner.compile(keras.optimizers.SGD(0.1))
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(logits.dtype) == "float16"
    batch = {"image": np.full((1, 1024, 2048, 3), 255, np.uint8), "mask": np.ones((1, 1024, 2048), np.uint8)}
    assert learner.train_on_batch(batch) == pytest.approx(1 - 2 * 0.25 / 1.25, abs=1e-4)
    kernel, bias = learner.network.get_weights()
    assert np.isfinite(kernel).all() and bias[1] > 0 > bias[0]
    assert float(learner.optimizer.dynamic_scale) == 2**15  # nothing overflowed


def test_sum_by_weights():
    mask, logits = np.array([[[1, 2]]]), np.zeros((1, 1, 2, 4), np.float32)
    total = value(SegmentationLoss(dice=0.5, cross_entropy=2.0)(mask, logits))
    parts = 0.5 * value(dice_loss(mask, logits))[0] + 2 * value(cross_entropy_loss(mask, logits))[0]
    assert total == pytest.approx(parts)
    assert SegmentationLoss.from_config(SegmentationLoss(0.5, 2.0, True).get_config()).learn_void is True
