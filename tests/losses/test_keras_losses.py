"""The losses as Keras has them; the functions beneath, and their sum, are tested with the numbers in test_losses.py."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tfseg.losses import functions
from tfseg.losses.keras_losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    JaccardLoss,
    LovaszLoss,
    TverskyLoss,
)
from tfseg.losses.segmentation_loss import SegmentationLoss

# Class -> its function and settings that are not those by default.
CLASSES = {
    DiceLoss: (functions.dice_loss, {}),
    JaccardLoss: (functions.jaccard_loss, {}),
    TverskyLoss: (functions.tversky_loss, {"alpha": 0.2, "beta": 0.9}),
    LovaszLoss: (functions.lovasz_loss, {}),
    CrossEntropyLoss: (
        functions.cross_entropy_loss,
        {"label_smoothing": 0.1, "ohem_threshold": 0.6, "ohem_min_kept": 0.25},
    ),
    FocalLoss: (functions.focal_loss, {"gamma": 1.5, "label_smoothing": 0.1}),
}
every_loss = pytest.mark.parametrize("loss", CLASSES)
MASK = np.array([[[0, 1], [2, 2]]], np.uint8)  # 2x2
# Probabilities of the classes 0, 1, 2: two pixels right, one of class 2 half right, one wrong.
PROBABILITIES = np.float32([[[[0.8, 0.1, 0.1], [0.6, 0.2, 0.2]], [[0, 0.5, 0.5], [0.1, 0.1, 0.8]]]])


def draw(seed=0, shape=(3, 6, 8), classes=5):
    random = np.random.default_rng(seed)
    return random.integers(0, classes, shape), 2 * random.normal(size=(*shape, classes)).astype("float32")


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def value(loss):
    return ops.convert_to_numpy(loss)


# Void left out, of class 1 the intersection is 0.2 of 1 pixel, of class 2 it is 1.3 of 2. Predicted on pixels that
# count: class 1 0.2 + 0.5 + 0.1 = 0.8, class 2 0.2 + 0.5 + 0.8 = 1.5.
JACCARD = 1 - (0.2 / (1 + 0.8 - 0.2) + 1.3 / (2 + 1.5 - 1.3)) / 2
# Lovasz: errors of class 1: its own pixel 0.8, the others 0.5 and 0.1; IoU falls by 1, then no more.
# Of class 2: its pixels 0.5 and 0.2, and the other 0.2; IoU falls by 1/2, then 1/2, then no more.
LOVASZ = (0.8 + (0.5 / 2 + 0.2 / 2)) / 2
BY_HAND = {
    DiceLoss: ({}, 1 - (2 * 0.2 / (1 + 0.8) + 2 * 1.3 / (2 + 1.5)) / 2),
    JaccardLoss: ({}, JACCARD),
    TverskyLoss: ({"alpha": 0.0, "beta": 1.0}, 1 - (0.2 / 1 + 1.3 / 2) / 2),
    LovaszLoss: ({}, LOVASZ),
    CrossEntropyLoss: ({}, -np.log(0.2 * 0.5 * 0.8) / 3),
    FocalLoss: ({"gamma": 1.0}, -(0.8 * np.log(0.2) + 0.5 * np.log(0.5) + 0.2 * np.log(0.8)) / 3),
}


@every_loss
def test_by_hand(loss):
    own, expected = BY_HAND[loss]
    found = loss(**own, from_logits=False, ignore_class=0)(MASK, PROBABILITIES)
    assert float(found) == pytest.approx(expected, abs=1e-6)


@every_loss
@pytest.mark.parametrize("ignore_class", [None, 0])
def test_the_numbers_are_those_of_the_function(loss, ignore_class):
    (mask, logits), (function, own) = draw(), CLASSES[loss]
    shared = {"ignore_class": ignore_class, "class_weights": [1, 2, 3, 4, 5]}
    wanted = value(function(mask, logits, **shared, **own))
    for labels in (mask, mask[..., None], mask.astype(np.uint8), mask.astype(np.float32)):
        assert value(loss(**shared, **own, reduction=None)(labels, logits)).tolist() == wanted.tolist()
    assert float(loss(**shared, **own)(mask, logits)) == pytest.approx(wanted.mean(), rel=1e-6)
    assert float(loss(**shared, **own, reduction="sum")(mask, logits)) == pytest.approx(wanted.sum(), rel=1e-6)
    of_probabilities = loss(**shared, **own, from_logits=False, reduction=None)
    assert value(of_probabilities(mask, softmax(logits))) == pytest.approx(wanted, rel=1e-4)


@every_loss
@pytest.mark.parametrize("ignored", [1, 3, 4])
def test_any_class_is_ignored_as_the_first_one_is(loss, ignored):
    """The same numbers as where it changes places with class 0, which the functions know how to ignore."""
    (mask, logits), (function, own) = draw(), CLASSES[loss]
    mask[0, 0] = 255  # of no class: counts nowhere either
    swap = np.arange(256)
    swap[[0, ignored]] = ignored, 0
    weights = np.array([1.0, 2, 3, 4, 5])
    wanted = function(swap[mask], logits[..., swap[:5]], 0, weights[swap[:5]], **own)
    found = loss(**own, ignore_class=ignored, class_weights=weights, reduction=None)(mask, logits)
    assert value(found) == pytest.approx(value(wanted), rel=1e-5)
    other = logits.copy()
    other[mask == ignored] += np.arange(5)
    unmoved = loss(**own, ignore_class=ignored, class_weights=weights, reduction=None)(mask, other)
    assert value(unmoved) == pytest.approx(value(found), rel=1e-5), "pixels of it count nowhere"
    assert abs(value(loss(**own, class_weights=weights, reduction=None)(mask, logits)) - value(found)).max() > 1e-3


@every_loss
@pytest.mark.parametrize("ignored", [255, -1, 5])
def test_a_value_that_is_no_class_is_ignored(loss, ignored):
    mask, logits = draw()
    larger = np.concatenate([mask, np.full((3, 2, 8), ignored)], axis=1)
    more = np.concatenate([logits, 9 * np.ones((3, 2, 8, 5), np.float32)], axis=1)
    own = CLASSES[loss][1]
    found = loss(**own, ignore_class=ignored)(larger, more)
    assert float(found) == pytest.approx(float(loss(**own)(mask, logits)), rel=1e-5)


@pytest.mark.parametrize("ignore_class", [None, 0, 2, 255])
@pytest.mark.parametrize("from_logits", [True, False])
def test_cross_entropy_is_that_of_keras(ignore_class, from_logits):
    mask, numbers = draw()
    if ignore_class == 255:
        mask[mask == 3] = 255
    if not from_logits:
        numbers = softmax(numbers)
        numbers[0, 0] = 0, 1, 0, 0, 0  # sure, rightly or wrongly
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits, ignore_class=ignore_class)
    ours = CrossEntropyLoss(from_logits=from_logits, ignore_class=ignore_class)
    assert float(ours(mask, numbers)) == pytest.approx(float(theirs(mask, numbers)), rel=1e-5)


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.sampled_from([None, 0, 2, 255]))
def test_what_holds_for_any_masks(seed, ignore_class):
    mask, logits = draw(seed, shape=(2, 3, 4), classes=3)
    dice, jaccard, tversky, lovasz, entropy, focal = (
        float(loss(ignore_class=ignore_class)(mask, logits)) for loss in CLASSES
    )
    assert 0 <= dice <= jaccard <= 1 and 0 <= tversky <= 1 and 0 <= lovasz <= 1
    assert 0 <= focal <= entropy
    flipped = mask[:, ::-1].copy(), logits[:, ::-1].copy()
    mirrored = [float(loss(ignore_class=ignore_class)(*flipped)) for loss in CLASSES]
    assert mirrored == pytest.approx([dice, jaccard, tversky, lovasz, entropy, focal], rel=1e-4)


@every_loss
@pytest.mark.parametrize("ignore_class", [None, 1, 255])
def test_a_configuration_makes_the_same_loss(loss, ignore_class):
    settings = {"from_logits": False, "ignore_class": ignore_class, "class_weights": [1.0, 2.0, 3.0], "name": "mine"}
    own = CLASSES[loss][1]
    made = loss(**own, **{**settings, "class_weights": np.array([1, 2, 3])}, reduction="sum", dtype="float32")
    again = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(made))))
    assert type(again) is loss and keras.saving.get_registered_name(loss) == f"tfseg>{loss.__name__}"
    wanted = {**own, **settings, "reduction": "sum", "dtype": "float32"}
    assert again.get_config() == made.get_config() == wanted
    assert float(again(MASK, PROBABILITIES)) == float(made(MASK, PROBABILITIES)) > 0


def make_model(classes=3):
    pixels = keras.Input((None, None, 3))
    return keras.Model(pixels, keras.layers.Conv2D(classes, 1, kernel_initializer="zeros")(pixels))


@pytest.mark.long
@every_loss
def test_in_the_training_of_plain_keras(loss, tmp_path):
    """Images that show their class, in batches of 2, 2 and 1; the model is stored and loaded with its loss."""
    mask = draw(shape=(5, 4, 4), classes=3)[0].astype(np.uint8)
    mask[:, 0] = 255
    images = np.eye(3, dtype=np.float32)[np.minimum(mask, 2)]
    model = make_model()
    model.compile(keras.optimizers.SGD(0.5), loss=loss(ignore_class=255))
    options = {"batch_size": 2, "epochs": 4, "shuffle": False, "verbose": 0}
    first, *_, last = model.fit(images, mask[..., None], **options).history["loss"]
    assert 0 < last < first
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.loss) is loss and again.loss.ignore_class == 255
    assert again.evaluate(images, mask, verbose=0) == pytest.approx(model.evaluate(images, mask, verbose=0), rel=1e-5)


@every_loss
def test_images_have_weights_and_pixels_have_none(loss):
    (mask, logits), weights = draw(), np.array([1, 0, 2])
    values = value(loss(reduction=None)(mask, logits))
    for shaped in (weights, weights[:, None], weights[:, None, None]):
        assert float(loss()(mask, logits, shaped)) == pytest.approx((weights * values).mean(), rel=1e-5)
    with pytest.raises(ValueError, match=r"sample_weight: expected one number an image, \(batch,\), got .*\(3, 6, 8\)"):
        loss()(mask, logits, np.ones((3, 6, 8)))


@every_loss
@pytest.mark.parametrize(
    "mask, prediction, message",
    [
        ((2, 4, 5), (2, 4, 4, 3), r"y_true: expected .*, of y_pred \(2, 4, 4\), got the shape \(2, 4, 5\)"),
        ((2, 4), (2, 4, 4, 3), r"y_true: expected class ids \(batch, height, width\), .* got the shape \(2, 4\)"),
        ((2, 4, 4, 3), (2, 4, 4, 3), r"got the shape \(2, 4, 4, 3\); take the argmax of one-hot labels"),
        ((2, 4, 4), (2, 4, 4), r"y_pred: expected floats \(batch, height, width, classes\), got the shape \(2, 4, 4\)"),
        ((2, 4, 4), (2, 4, 4, 1), r"y_pred: expected 2 classes or more, got 1; an object and what is around it are 2"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(loss, mask, prediction, message):
    with pytest.raises(ValueError, match=message):
        loss()(np.zeros(mask, int), np.zeros(prediction, np.float32))


@every_loss
def test_logits_are_no_probabilities(loss):
    message = r"y_pred: expected probabilities in 0\.\.1, got -1 to 2; for logits pass from_logits=True"
    with pytest.raises(ValueError, match=message):
        loss(from_logits=False)(MASK, np.float32([-1, 0, 2]) * np.ones((1, 2, 2, 1), np.float32))


@pytest.mark.parametrize(
    "loss, arguments, message",
    [
        (DiceLoss, {"ignore_class": 0.5}, r"ignore_class: expected a whole number, or None, got 0\.5"),
        (DiceLoss, {"class_weights": [1, -1]}, r"class_weights: expected numbers of 0 or more, one a class, got \[1"),
        (DiceLoss, {"dtype": "float16"}, 'dtype: expected float32: half precision loses pixels and ids, got "float16"'),
        (DiceLoss, {"reduction": "most"}, "Invalid value for argument `reduction`"),
        (TverskyLoss, {"alpha": -1}, "alpha: expected 0 or more, got -1"),
        (TverskyLoss, {"beta": 0}, "beta: expected above 0, got 0"),
        (CrossEntropyLoss, {"label_smoothing": 1}, "label_smoothing: expected 0 to below 1, got 1"),
        (CrossEntropyLoss, {"ohem_threshold": 1.5}, r"ohem_threshold: expected a number between 0 and 1, or None, got"),
        (CrossEntropyLoss, {"ohem_min_kept": 2}, "ohem_min_kept: expected 0 to 1, got 2"),
        (FocalLoss, {"gamma": -1}, "gamma: expected 0 or more, got -1"),
        (FocalLoss, {"label_smoothing": -1}, "label_smoothing: expected 0 to below 1, got -1"),
    ],
)
def test_arguments_out_of_range_are_refused(loss, arguments, message):
    with pytest.raises(ValueError, match=message):
        loss(**arguments)


@every_loss
def test_there_is_a_weight_a_class(loss):
    message = r"class_weights: expected 3 numbers, one a class, got the shape \(4,\)"
    with pytest.raises(ValueError, match=message):
        loss(class_weights=[1] * 4, ignore_class=2)(MASK, PROBABILITIES)


@pytest.mark.parametrize("ignored", [1, 255])
def test_the_weighted_sum_ignores_any_class_too(ignored):
    mask, logits = draw()
    mask[mask == 4] = 255
    parts = {"dice": 0.5, "cross_entropy": 2.0, "jaccard": 1.0, "tversky": 1.0, "lovasz": 3.0, "focal": 1.0}
    classes = (DiceLoss, CrossEntropyLoss, JaccardLoss, TverskyLoss, LovaszLoss, FocalLoss)
    wanted = sum(
        weight * float(loss(ignore_class=ignored)(mask, logits))
        for weight, loss in zip(parts.values(), classes, strict=True)
    )
    found = SegmentationLoss(**parts, ignore_class=ignored)
    assert float(found(mask, logits)) == pytest.approx(wanted, rel=1e-5)
    assert float(found(mask[..., None], logits)) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ValueError, match=r"y_true: expected class ids"):
        found(mask[:, :2], logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dice": -1}, "dice: expected a weight of 0 or more, got -1"),
        ({"lovasz": "1"}, 'lovasz: expected a weight of 0 or more, got "1"'),
        ({"tversky_beta": 0}, "tversky_beta: expected above 0, got 0"),
        ({"label_smoothing": 3}, "label_smoothing: expected 0 to below 1, got 3"),
        ({"ohem_threshold": 7}, "ohem_threshold: expected a number between 0 and 1, or None, got 7"),
        ({"ignore_class": "void"}, 'ignore_class: expected a whole number, or None, got "void"'),
    ],
)
def test_a_sum_of_losses_refuses_what_they_refuse(options, message):
    with pytest.raises(ValueError, match=message):
        SegmentationLoss(**options)
