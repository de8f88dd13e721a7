import dataclasses
import json
import shutil
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tfseg.augmentation.augmenter import Augmenter
from tfseg.config.schema import Config, Data, Loss
from tfseg.losses.functions import (
    auxiliary_loss,
    cross_entropy_loss,
    dice_loss,
    focal_loss,
    jaccard_loss,
    lovasz_loss,
    tversky_loss,
)
from tfseg.losses.segmentation_loss import SegmentationLoss
from tfseg.metrics.confusion import Scorer, score
from tfseg.records.manifest import read_manifest, write_manifest
from tfseg.training import assembly
from tfseg.training.learner import Learner

SURE = 50.0  # a logit that makes softmax 1
OVERLAPS = (dice_loss, jaccard_loss, tversky_loss, lovasz_loss)  # means over classes
LOSSES = (*OVERLAPS, cross_entropy_loss, focal_loss)
every_loss = pytest.mark.parametrize("loss", LOSSES)


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


@every_loss
@pytest.mark.parametrize("mask", [[[[1, 1], [2, 2]]], [[[3]]]])
def test_perfect_prediction_with_absent_classes_is_zero(loss, mask):
    assert value(loss(np.array(mask), logits_of(mask))) == pytest.approx([0], abs=1e-6)


def test_jaccard_and_tversky_by_hand():
    truth, prediction = np.array([[[1, 1, 2, 2, 0]]]), logits_of([[[1, 2, 2, 2, 3]]])
    # class 1: 1 hit, 1 missed; class 2: 2 hits, 1 false alarm
    assert value(jaccard_loss(truth, prediction)) == pytest.approx([1 - (1 / 2 + 2 / 3) / 2], abs=1e-6)
    expected = 1 - (1 / (1 + 0.6) + 2 / (2 + 0.1)) / 2
    assert value(tversky_loss(truth, prediction, alpha=0.1, beta=0.6)) == pytest.approx([expected], abs=1e-6)


def test_soft_overlaps_by_hand():
    """One pixel of class 1 and one of class 2, each with three quarters for class 1 and a quarter for class 2."""
    mask, logits = np.array([[[1, 2]]]), np.log(np.float32([1e-12, 0.75, 0.25]))[None, None, None].repeat(2, axis=2)
    # class 1: 0.75 of 1 found, 0.75 wrongly taken for it; class 2: 0.25 and 0.25
    dice, jaccard, tversky = (
        1 - (0.75 / (0.75 + a * 0.75 + b * 0.25) + 0.25 / (0.25 + a * 0.25 + b * 0.75)) / 2
        for a, b in ((0.5, 0.5), (1, 1), (0.3, 0.7))
    )
    assert value(dice_loss(mask, logits)) == pytest.approx([dice], abs=1e-6)
    assert value(jaccard_loss(mask, logits)) == pytest.approx([jaccard], abs=1e-6)
    assert value(tversky_loss(mask, logits)) == pytest.approx([tversky], abs=1e-6)


def test_focal_by_hand():
    logits = np.log(np.float32([[[[0.1, 0.6, 0.3], [0.1, 0.6, 0.3], [1, 1, 1]]]]))
    expected = -(0.4**1.5 * np.log(0.6) + 0.7**1.5 * np.log(0.3)) / 2
    assert value(focal_loss(np.array([[[1, 2, 0]]]), logits, gamma=1.5)) == pytest.approx([expected])


@pytest.mark.parametrize("ignore_class, truth", [(0, [0, 0.85, 0.15]), (None, [0.1, 0.8, 0.1])])
def test_smoothed_labels_by_hand(ignore_class, truth):
    mask, logits = np.array([[[1]]]), np.log(np.float32([[[[0.1, 0.6, 0.3]]]]))
    expected = -np.dot(truth, np.log([0.1, 0.6, 0.3]))
    smoothed = value(cross_entropy_loss(mask, logits, ignore_class, label_smoothing=0.3))
    assert smoothed == pytest.approx([expected])
    assert value(focal_loss(mask, logits, ignore_class, label_smoothing=0.3)) == pytest.approx([0.4**2 * expected])


def test_class_weights_by_hand():
    weights = [9, 1, 3, 0]  # void is not learnt, class 3 counts nowhere
    truth, prediction = np.array([[[1, 1, 2, 3, 0]]]), logits_of([[[1, 2, 2, 1, 3]]])
    # Dice of class 1: 2 / 4, of class 2: 2 / 3
    assert value(dice_loss(truth, prediction, class_weights=weights)) == pytest.approx([1 - (1 / 2 + 3 * 2 / 3) / 4])
    assert value(lovasz_loss(truth, prediction, class_weights=weights)) == pytest.approx([1 - (1 / 3 + 3 / 2) / 4])
    logits = np.log(np.float32([[[[0.1, 0.6, 0.3]] * 2]]))
    entropy = value(cross_entropy_loss(np.array([[[1, 2]]]), logits, class_weights=[0, 0.1, 0.3]))
    assert entropy == pytest.approx([-(np.log(0.6) + 3 * np.log(0.3)) / 4])


@every_loss
@pytest.mark.parametrize("ignore_class", [0, None])
def test_equal_class_weights_are_none(loss, ignore_class):
    mask, logits = draw()
    plain = value(loss(mask, logits, ignore_class))
    assert value(loss(mask, logits, ignore_class, class_weights=[0.25] * 5)) == pytest.approx(plain, rel=1e-5)
    other = value(loss(mask, logits, ignore_class, class_weights=[1, 1, 2, 4, 8]))
    assert abs(other - plain).max() > 1e-3


@every_loss
@pytest.mark.parametrize("kind", [tuple, np.array, np.float32, lambda weights: np.array(weights, int), ops.array])
@pytest.mark.parametrize("ignore_class", [0, None])
def test_class_weights_of_any_kind(loss, kind, ignore_class):
    mask, logits = draw()
    weights = [1, 1, 2, 4, 8]
    wanted = value(loss(mask, logits, ignore_class, class_weights=weights))
    assert value(loss(mask, logits, ignore_class, class_weights=kind(weights))) == pytest.approx(wanted)


def test_a_loss_with_an_array_of_class_weights_can_be_stored():
    weights = dict.fromkeys(("dice", "cross_entropy", "jaccard", "tversky", "focal", "lovasz"), 1.0)
    loss = SegmentationLoss(**weights, class_weights=np.array([1, 1, 2, 4, 8]))
    again = SegmentationLoss.from_config(json.loads(json.dumps(loss.get_config())))
    assert float(again(*draw())) == float(loss(*draw())) > 0


@every_loss
def test_there_is_a_weight_a_class(loss):
    with pytest.raises(ValueError, match=r"class_weights: expected 5 numbers, one a class, got the shape \(4,\)"):
        loss(*draw(), class_weights=[1, 1, 1, 1])


@every_loss
@pytest.mark.parametrize("ignore_class", [0, None])
def test_pixels_of_no_class_count_nowhere(loss, ignore_class):
    """On every backend: without them, or with other logits there, the loss is the same."""
    mask, logits = draw(shape=(1, 4, 6))
    mask[0, 0] = 255
    other = logits.copy()
    other[0, 0] += np.arange(5)
    assert value(loss(mask, logits, ignore_class)) == pytest.approx(value(loss(mask, other, ignore_class)))
    assert value(loss(mask.astype(np.uint8).view(np.int8), logits, ignore_class)) == pytest.approx(
        value(loss(mask, logits, ignore_class))
    )


@every_loss
def test_a_batch_of_classes_without_weight_is_zero(loss):
    assert value(loss(np.array([[[1, 0]]]), logits_of([[[2, 2]]]), class_weights=[0, 0, 1, 1])).tolist() == [0]


def draw(seed=0, shape=(3, 6, 8), classes=5):
    """Draws a mask with void and without the last class, and logits."""
    random = np.random.default_rng(seed)
    return random.integers(0, classes - 1, shape), 2 * random.normal(size=(*shape, classes)).astype("float32")


@pytest.mark.parametrize("ignore_class", [0, None])
def test_relatives(ignore_class):
    mask, logits = draw()
    dice = value(dice_loss(mask, logits, ignore_class))
    assert value(tversky_loss(mask, logits, ignore_class, alpha=0.5, beta=0.5)) == pytest.approx(dice)
    assert value(tversky_loss(mask, logits, ignore_class, alpha=1, beta=1)) == pytest.approx(
        value(jaccard_loss(mask, logits, ignore_class))
    )
    entropy = value(cross_entropy_loss(mask, logits, ignore_class))
    assert value(focal_loss(mask, logits, ignore_class, gamma=1e-6)) == pytest.approx(entropy, rel=1e-5)
    assert value(focal_loss(mask, logits, ignore_class, gamma=0.0)) == pytest.approx(entropy)
    assert (value(focal_loss(mask, logits, ignore_class, gamma=1)) < entropy).all()
    assert value(cross_entropy_loss(mask, logits, ignore_class, label_smoothing=1e-6)) == pytest.approx(
        entropy, rel=1e-5
    )


@pytest.mark.parametrize("seed", range(5))
def test_of_sure_predictions_jaccard_and_lovasz_are_one_minus_iou(seed):
    mask, logits = draw(seed)
    predicted = logits.argmax(axis=-1)
    predicted[mask == 1] = 1
    counted = mask > 0
    pairs = [((mask == c) & counted, (predicted == c) & counted) for c in (1, 2, 3)]
    ious = [(true & found).sum() / (true | found).sum() for true, found in pairs]
    for loss in (jaccard_loss, lovasz_loss):
        assert value(loss(mask, logits_of(predicted, 5))) == pytest.approx([1 - np.mean(ious)] * 3, abs=1e-5)
    one = np.where(mask == 2, 2, 0)  # of one class D = 2 J / (1 + J), as losses
    dice, jaccard = (value(loss(one, logits_of(predicted, 5)))[0] for loss in (dice_loss, jaccard_loss))
    assert 1 - jaccard == pytest.approx((1 - dice) / (2 - (1 - dice)), abs=1e-5)


def lovasz_of_the_paper(mask, logits, ignore_class):
    """Algorithm 1 of arXiv:1705.08790 on the errors of each class that is present, in float64."""
    counted = np.ones(mask.shape, bool) if ignore_class is None else mask > 0
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    probabilities = (exponents / exponents.sum(axis=-1, keepdims=True))[counted]
    losses = []
    for c in np.unique(mask[counted]):
        truth = mask[counted] == c
        errors = np.where(truth, 1 - probabilities[:, c], probabilities[:, c])
        order = np.argsort(-errors)
        wrong = truth[order].cumsum(), (~truth[order]).cumsum()
        jaccard = 1 - (truth.sum() - wrong[0]) / (truth.sum() + wrong[1])
        losses.append(errors[order] @ np.diff(jaccard, prepend=0))
    return np.mean(losses)


@pytest.mark.parametrize("ignore_class", [0, None])
@pytest.mark.parametrize("shape", [(1, 1, 7), (3, 6, 8), (2, 200, 300)])
def test_lovasz_is_that_of_the_paper(shape, ignore_class):
    for seed in range(3):
        mask, logits = draw(seed, shape)
        expected = lovasz_of_the_paper(mask, logits, ignore_class)
        assert value(lovasz_loss(mask, logits, ignore_class)) == pytest.approx([expected] * shape[0], rel=1e-5)


def test_lovasz_takes_the_errors_of_void_for_none():
    """Though they are as large, or as small, as those of others."""
    mask, logits = np.array([[[1, 2, 0, 0, 0]]]), logits_of([[[1, 2, 1, 2, 3]]])
    logits[0, 0, :2] = 0
    assert value(lovasz_loss(mask, logits)) == pytest.approx(value(lovasz_loss(mask[:, :, :2], logits[:, :, :2])))


@every_loss
def test_void_pixels_count_nowhere(loss):
    truth = np.array([[[1, 2, 0]]])
    assert value(loss(truth, logits_of([[[1, 2, 3]]]))) == pytest.approx([0], abs=1e-6)
    assert value(loss(truth, logits_of([[[1, 2, 1]]]))) == pytest.approx([0], abs=1e-6)


@every_loss
def test_void_learnt_is_a_class_like_the_others(loss):
    truth = np.array([[[1, 2, 0]]])
    assert value(loss(truth, logits_of([[[1, 2, 0]]]), ignore_class=None)) == pytest.approx([0], abs=1e-6)
    assert value(loss(truth, logits_of([[[1, 2, 3]]]), ignore_class=None))[0] > 0.3


@every_loss
def test_void_predicted_on_a_valid_pixel_is_an_error(loss):
    assert value(loss(np.array([[[1, 2]]]), logits_of([[[1, 0]]])))[0] > 0.3


@every_loss
def test_batch_without_truth_is_zero(loss):
    assert value(loss(np.zeros((2, 3, 3), np.uint8), logits_of(np.ones((2, 3, 3), int)))).tolist() == [0, 0]


def test_cross_entropy_is_the_mean_over_valid_pixels():
    mask = np.array([[[1, 0, 0]], [[1, 2, 3]]])
    logits = np.zeros((2, 1, 3, 4), np.float32)  # log 4 a pixel, whatever the truth
    values = value(cross_entropy_loss(mask, logits))
    assert values.mean() == pytest.approx(np.log(4))
    assert values[1] == pytest.approx(3 * values[0]), "three valid pixels against one"


def test_a_batch_with_fewer_valid_pixels_than_images():
    mask, logits = np.array([[[1]], [[0]], [[0]]]), np.zeros((3, 1, 1, 4), np.float32)
    assert value(cross_entropy_loss(mask, logits)).mean() == pytest.approx(np.log(4))


def test_dice_is_one_value_repeated_for_each_image():
    values = value(dice_loss(np.array([[[1, 1]], [[2, 2]]]), logits_of([[[1, 1]], [[1, 1]]])))
    assert values.shape == (2,)
    assert values[0] == values[1] == pytest.approx(1 - (4 / 6 + 0) / 2, abs=1e-6)


@every_loss
def test_better_predictions_lose_less(loss):
    mask = np.array([[[1, 1, 2, 3]]])
    worst, better, best = ([[[2, 3, 1, 1]]], [[[1, 2, 2, 3]]], mask)
    assert value(loss(mask, logits_of(worst)))[0] > value(loss(mask, logits_of(better)))[0]
    assert value(loss(mask, logits_of(better)))[0] > value(loss(mask, logits_of(best)))[0]


P = np.exp(1) / (np.exp(1) + 3)


@pytest.mark.parametrize(
    "loss, expected",
    [
        (dice_loss, 1 - 2 * P / (1 + P)),
        (jaccard_loss, 1 - P),
        (tversky_loss, 1 - P / (P + 0.7 * (1 - P))),
        (lovasz_loss, 1 - P),
        (cross_entropy_loss, -np.log(P)),
        (focal_loss, -((1 - P) ** 2) * np.log(P)),
    ],
)
def test_half_precision_logits_of_a_large_image_do_not_overflow(loss, expected):
    mask = np.ones((1, 1024, 2048), np.uint8)
    logits = ops.cast(np.broadcast_to(np.float32([0, 1, 0, 0]), (1, 1024, 2048, 4)), "float16")
    assert value(loss(mask, logits)) == pytest.approx([expected], abs=1e-4)


class Held(keras.Model):
    """Logits as a weight, so that every backend can say their gradient."""

    def __init__(self, loss, logits):
        super().__init__()
        self.loss_function = loss
        self.logits = self.add_weight(shape=logits.shape, initializer="zeros")
        self.logits.assign(logits)

    def call(self, mask, training=False):
        return {"mask": mask, "logits": 1 * self.logits}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(self.loss_function(y_pred["mask"], y_pred["logits"]))


class Keep(keras.optimizers.SGD):
    """Puts the gradient in the place of the weight."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign(variable, gradient)


def gradients(loss, masks, logits):
    """The gradient by the logits of each mask and its logits, which are all of one shape."""
    model = Held(loss, logits[0])
    model.compile(Keep(1.0))
    for mask, numbers in zip(masks, logits, strict=True):
        model.logits.assign(numbers)
        model.train_on_batch(mask)
        yield ops.convert_to_numpy(model.logits)


GENERAL = [
    *LOSSES,
    partial(tversky_loss, alpha=0.0, beta=1e-3),
    partial(focal_loss, gamma=0.5),
    partial(focal_loss, gamma=5.0, label_smoothing=0.1),
    partial(cross_entropy_loss, label_smoothing=0.1),
]


@pytest.mark.parametrize("loss", GENERAL)
def test_gradients_are_those_of_the_loss(loss):
    mask, logits = draw()
    loss = partial(loss, class_weights=[0, 1, 2, 3, 0])
    (found,) = gradients(loss, [mask], [logits])
    assert not found[mask == 0].any() and found[mask > 0].any(axis=-1).all()
    step = 1e-2 * np.sign(found)
    change = value(loss(mask, logits + step)).mean() - value(loss(mask, logits - step)).mean()
    assert change == pytest.approx((2 * step * found).sum(), rel=0.01)


@pytest.mark.long
@pytest.mark.parametrize("loss", GENERAL)
def test_huge_logits_are_no_nan(loss):
    """Sure of each class, rightly or wrongly, where there is void, one class alone, or no truth at all."""
    mask = np.array([[[0, 1], [2, 2]]])
    cases = [
        (truth, size * (2 * np.eye(4, dtype=np.float32)[predicted] - 1))
        for truth in (mask, 0 * mask + 3, 0 * mask)
        for predicted in (mask, mask[:, ::-1], 0 * mask)
        for size in (1e2, 1e10, 3e38)
    ]
    assert all(np.isfinite(value(loss(*case))).all() for case in cases)
    assert all(np.isfinite(found).all() for found in gradients(loss, *zip(*cases, strict=True)))


def test_a_step_on_a_large_image_in_half_precision():
    """Of a network whose logits are all 0: each class has a quarter of every pixel."""
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        pixels = keras.Input((None, None, 3))
        logits = keras.layers.Conv2D(4, 1, kernel_initializer="zeros")(keras.layers.Rescaling(1 / 255)(pixels))
        learner = Learner(keras.Model(pixels, logits), SegmentationLoss(dice=1.0), Augmenter())
        learner.compile(keras.optimizers.SGD(0.1))
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(logits.dtype) == "float16"
    batch = {"image": np.full((1, 1024, 2048, 3), 255, np.uint8), "mask": np.ones((1, 1024, 2048), np.uint8)}
    assert learner.train_on_batch(batch) == pytest.approx(1 - 2 * 0.25 / 1.25, abs=1e-4)
    kernel, bias = learner.network.get_weights()
    assert np.isfinite(kernel).all() and bias[1] > 0 > bias[0]
    assert float(learner.optimizer.dynamic_scale) == 2**15  # nothing overflowed


# ---- that of an auxiliary head


def enlarge(logits, height, width):
    """By nearest neighbour, cut to a size."""
    return logits.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]


@pytest.mark.parametrize("ignore_class", [0, None])
@pytest.mark.parametrize("settings", [{}, {"class_weights": [1, 2, 3, 4, 5], "label_smoothing": 0.1}])
@pytest.mark.parametrize("shape", [(32, 32), (40, 70), (1, 16), (64, 33)])
def test_the_auxiliary_loss_is_the_cross_entropy_of_enlarged_logits(shape, settings, ignore_class):
    """Of any size, which is padded to a multiple of 32: what lies beyond the image counts nowhere."""
    rows, columns = (2 * -(-side // 32) for side in shape)
    mask, logits = draw(shape=(3, *shape))[0], draw(shape=(3, rows, columns))[1]
    mask[0, 0] = 255
    wanted = value(cross_entropy_loss(mask, enlarge(logits, *shape), ignore_class, **settings))
    assert value(auxiliary_loss(mask, logits, ignore_class, **settings)) == pytest.approx(wanted, rel=1e-5)


def test_the_auxiliary_loss_by_hand():
    """A pole of 32 pixels and void beside 224 pixels of another class: each counts by its pixels."""
    mask = np.full((1, 16, 16), 1)
    mask[:, :, :2], mask[:, :, 2:4] = 2, 0
    logits = np.log(np.float32([[[[0.1, 0.6, 0.3]]]]))
    expected = -(12 * np.log(0.6) + 2 * np.log(0.3)) / 14
    assert value(auxiliary_loss(mask, logits)) == pytest.approx([expected])
    assert value(auxiliary_loss(0 * mask, logits)).tolist() == [0]


# ---- the sum of them

ALL = {"dice": 0.5, "cross_entropy": 2.0, "jaccard": 3.0, "tversky": 0.25, "focal": 1.0, "lovasz": 4.0}
OTHERS = {"tversky_alpha": 0.2, "tversky_beta": 0.9, "focal_gamma": 3.0, "label_smoothing": 0.1}
OTHERS |= {"auxiliary": 0.75, "ohem_threshold": 0.6, "ohem_min_kept": 0.25}
OTHERS |= {"class_weights": [1.0, 2.0, 3.0, 4.0, 5.0], "ignore_class": None}


def test_sum_by_weights():
    mask, logits = draw()
    loss = SegmentationLoss(**ALL, **OTHERS)
    shared = {"ignore_class": None, "class_weights": OTHERS["class_weights"]}
    terms = {
        "dice": dice_loss(mask, logits, **shared),
        "cross_entropy": cross_entropy_loss(
            mask, logits, **shared, label_smoothing=0.1, ohem_threshold=0.6, ohem_min_kept=0.25
        ),
        "jaccard": jaccard_loss(mask, logits, **shared),
        "tversky": tversky_loss(mask, logits, **shared, alpha=0.2, beta=0.9),
        "focal": focal_loss(mask, logits, **shared, gamma=3.0, label_smoothing=0.1),
        "lovasz": lovasz_loss(mask, logits, **shared),
    }
    found = loss.terms(mask, logits)
    assert list(found) == list(terms)
    assert all(value(found[name]) == pytest.approx(value(term)) for name, term in terms.items())
    expected = sum(weight * value(terms[name]) for name, weight in ALL.items())
    assert value(loss.call(mask, logits)) == pytest.approx(expected)
    assert float(loss(mask, logits)) == pytest.approx(expected.mean())
    coarse = draw(shape=(3, 1, 1))[1]
    with_head = loss.terms(mask, logits, coarse)
    assert list(with_head) == [*terms, "auxiliary"]
    assert value(with_head["auxiliary"]) == pytest.approx(
        value(auxiliary_loss(mask, coarse, **shared, label_smoothing=0.1))
    )
    again = SegmentationLoss.from_config(json.loads(json.dumps(loss.get_config())))
    assert again.get_config() == loss.get_config() and loss.get_config().items() >= {**ALL, **OTHERS}.items()


def test_a_loss_without_weight_is_no_term():
    mask, logits = draw()
    assert list(SegmentationLoss().terms(mask, logits)) == ["dice"]
    terms = SegmentationLoss(dice=0, focal=0.5, cross_entropy=1.0).terms(mask, logits)
    assert list(terms) == ["cross_entropy", "focal"] and all(value(term).shape == (3,) for term in terms.values())


@pytest.mark.long
def test_all_in_a_training_and_a_validation_with_a_smaller_last_batch():
    mask, pixels = draw(shape=(5, 8, 8))[0], keras.Input((None, None, 3))
    network = keras.Model(pixels, keras.layers.Conv2D(5, 1, kernel_initializer="zeros")(pixels))
    loss = SegmentationLoss(**{**ALL, **OTHERS, "auxiliary": 0.0})
    learner = Learner(network, loss, Augmenter())
    learner.compile(keras.optimizers.SGD(1e-3))
    data = {"image": mask[..., None].repeat(3, axis=-1).astype(np.uint8), "mask": mask.astype(np.uint8)}
    batches = tf.data.Dataset.from_tensor_slices(data).batch(2)
    first, second = learner.fit(batches, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert 0 < second < first
    scored = score(Scorer(network, loss), batches)["loss"]
    logits = network(data["image"].astype(np.float32))
    parts = [value(loss.call(mask[i : i + 2], logits[i : i + 2])) for i in (0, 2, 4)]
    assert scored == pytest.approx(np.concatenate(parts).mean(), rel=1e-4)


# ---- that of a config


def test_the_loss_of_a_config(tiny_records):
    settings = {**ALL, **OTHERS, "class_weights": None}
    config = Config(Data(str(tiny_records)), "run", loss=Loss(**settings))
    assert assembly.make_loss(config).get_config().items() >= settings.items()
    assert {part.name for part in dataclasses.fields(Loss)} == set(settings)


@pytest.mark.parametrize("ignore_class", [0, None])
def test_class_weights_are_those_of_the_training_split(tiny_records, ignore_class):
    settings = Loss(class_weights="manifest", ignore_class=ignore_class)
    loss = assembly.make_loss(Config(Data(str(tiny_records), train_split="val"), "run", loss=settings))
    pixels = np.array(read_manifest(tiny_records).splits["val"].class_pixels)
    assert bool(loss.class_weights[0]) == (ignore_class is None)
    present = np.flatnonzero(loss.class_weights)
    assert present.tolist() == ([0] if ignore_class is None else []) + [1, 5, 7]
    shares = np.array(loss.class_weights)[present] * pixels[present]
    assert shares == pytest.approx(shares[0]), "each class has the same part in a loss over pixels"


def test_a_training_split_without_truth_has_no_class_weights(tiny_records, tmp_path):
    folder = shutil.copytree(tiny_records, tmp_path / "records")
    manifest = read_manifest(folder)
    void = dataclasses.replace(manifest.splits["train"], class_pixels=[9] + [0] * 7)
    write_manifest(folder, dataclasses.replace(manifest, splits={"train": void}))
    config = Config(Data(str(folder)), "run", loss=Loss(class_weights="manifest"))
    with pytest.raises(ValueError, match=r"split 'train' holds nothing but void; loss\.class_weights must be null"):
        assembly.make_loss(config)
