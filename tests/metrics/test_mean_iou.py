import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import tfseg.metrics
from tfseg.metrics import confusion, mean_iou
from tfseg.metrics.mean_iou import MeanIoU

TRUTH = np.array([[[0, 1], [1, 2]]])
PREDICTED = np.array([[[1, 1], [2, 2]]])
# Class 0: 0 of 1; class 1: 1 of 3; class 2: 1 of 2. Without the truth of class 0: 1 of 2, and 1 of 2.
MEANS = {None: (0 + 1 / 3 + 1 / 2) / 3, 0: 1 / 2, 255: (0 + 1 / 3 + 1 / 2) / 3}


def measure(truth, predicted, classes=3, **options):
    metric = MeanIoU(classes, **options)
    metric.update_state(truth, predicted)
    return metric


def test_it_is_an_attribute_of_the_room():
    assert tfseg.metrics.MeanIoU is MeanIoU
    with pytest.raises(AttributeError, match=r"module 'tfseg\.metrics' has no attribute 'MeanIuO'"):
        tfseg.metrics.MeanIuO  # noqa: B018


@pytest.mark.parametrize("ignore_class", MEANS)
@pytest.mark.parametrize("truth", [TRUTH, TRUTH[..., None], TRUTH.astype(np.uint8), TRUTH.astype(np.float32)])
@pytest.mark.parametrize(
    "predicted",
    [
        PREDICTED,
        PREDICTED[..., None].astype(np.uint8),
        np.eye(3)[PREDICTED],  # probabilities
        50 * np.eye(3, dtype=np.float16)[PREDICTED] - 9,  # logits
    ],
)
def test_by_hand(truth, predicted, ignore_class):
    metric = measure(truth, predicted, ignore_class=ignore_class)
    assert float(metric.result()) == pytest.approx(MEANS[ignore_class], rel=1e-6)
    assert float(metric(truth, predicted)) == pytest.approx(MEANS[ignore_class], rel=1e-6), "twice the same"


def test_labels_of_no_class_count_nowhere():
    truth = np.array([[[255, 1], [1, 2]]])
    metric = measure(truth, PREDICTED, ignore_class=255)
    assert ops.convert_to_numpy(metric.result_per_class()) == pytest.approx([np.nan, 0.5, 0.5], nan_ok=True)
    assert metric.confusion_matrix().tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert float(metric.result()) == 0.5


def test_before_any_pixel_and_after_a_reset_there_is_no_score():
    metric = MeanIoU(3)
    assert np.isnan(float(metric.result()))
    metric.update_state(TRUTH, TRUTH)
    assert float(metric.result()) == 1.0
    metric.reset_state()
    assert np.isnan(float(metric.result())) and not metric.confusion_matrix().any()


def draw(seed, shape=(3, 2, 4), classes=4):
    """Without the last class, so that it occurs nowhere."""
    random = np.random.default_rng(seed)
    return random.integers(0, classes - 1, (2, *shape))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.sampled_from([None, 0, 2]))
def test_it_is_the_mean_iou_of_the_scores(seed, ignore_class):
    truth, predicted = draw(seed)
    metric = MeanIoU(4, ignore_class)
    for batch in (slice(2), slice(2, 3)):
        metric.update_state(truth[batch], predicted[batch])
    matrix = np.bincount((4 * truth + predicted).ravel(), minlength=16).reshape(4, 4)
    expected = confusion.scores(matrix, "abcd", ignore_class)
    assert float(metric.result()) == pytest.approx(expected["mean_iou"], rel=1e-6)
    assert ops.convert_to_numpy(metric.result_per_class()) == pytest.approx(expected["iou"], rel=1e-6, nan_ok=True)
    assert confusion.scores(metric.confusion_matrix(), "abcd", ignore_class)["iou"] == pytest.approx(
        expected["iou"], nan_ok=True
    )


def test_an_image_of_more_pixels_than_float32_counts():
    truth = np.zeros((1, 4097, 4096), np.uint8)
    truth[0, 0, 0] = 1
    metric = measure(truth, truth, classes=2)
    assert metric.confusion_matrix().tolist() == [[2**24 + 4095, 0], [0, 1]]


def test_more_pixels_than_int32_counts(monkeypatch):
    """As of thousands of images: each update brings as many pixels as there can be."""
    most = np.int32([[[2**31 - 1, 0], [0, 0]]]), np.int32([[[0, 0], [1, 2**31 - 2]]])
    metric, expected = MeanIoU(2), np.zeros((2, 2), np.int64)
    for matrix in 3 * most:
        monkeypatch.setattr(mean_iou, "count_pairs", lambda *arguments, now=matrix: ops.convert_to_tensor(now))
        metric.update_state(TRUTH % 2, TRUTH % 2)
        expected += matrix[0]
        assert metric.confusion_matrix().tolist() == expected.tolist()
        assert float(metric.result()) == pytest.approx(confusion.scores(expected, "ab", None)["mean_iou"], rel=1e-7)


def test_half_of_more_pixels_than_int32_counts(monkeypatch):
    matrix = np.int32([[[2**30 - 1, 2**30 - 1], [0, 0]]])
    monkeypatch.setattr(mean_iou, "count_pairs", lambda *arguments: ops.convert_to_tensor(matrix))
    metric = MeanIoU(2)
    for _ in range(8):
        metric.update_state(TRUTH % 2, TRUTH % 2)
    assert ops.convert_to_numpy(metric.result_per_class()).tolist() == [0.5, 0.0]


def compile_model(classes=3, **options):
    pixels = keras.Input((None, None, classes))
    layer = keras.layers.Conv2D(classes, 1)
    model = keras.Model(pixels, layer(pixels))
    layer.set_weights([np.eye(classes, dtype=np.float32)[None, None], np.zeros(classes, np.float32)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=[MeanIoU(classes, **options)])
    return model


@pytest.mark.long
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_in_fit_and_evaluate_of_plain_keras(batch_size):
    """The last batch is smaller; it is the score of the split, not a mean over batches."""
    truth, predicted = draw(0, shape=(5, 4, 4), classes=4)
    truth[:, 0] = 255
    images = np.eye(4, dtype=np.float32)[predicted]
    model = compile_model(4, ignore_class=255)
    counted = truth != 255
    matrix = np.bincount((4 * truth + predicted)[counted], minlength=16).reshape(4, 4)
    expected = confusion.scores(matrix, "abcd", None)["mean_iou"]
    found = model.evaluate(images, truth, batch_size=batch_size, verbose=0, return_dict=True)
    assert found["mean_iou"] == pytest.approx(expected, rel=1e-6)
    history = model.fit(
        images, truth[..., None], batch_size=batch_size, epochs=2, validation_data=(images, truth), verbose=0
    ).history
    assert history["mean_iou"] == history["val_mean_iou"] == pytest.approx([expected] * 2, rel=1e-6)
    assert float(model.get_metrics_result()["mean_iou"]) == pytest.approx(expected, rel=1e-6)


def test_ids_that_are_none_are_found_after_a_compiled_epoch():
    """Where nobody can look at them before."""
    truth, predicted = draw(0)
    truth[0, 0, 0], predicted = 200, np.eye(4, dtype=np.float32)[predicted]
    model = compile_model(4)
    model.compile(keras.optimizers.SGD(0.0), lambda y, p: ops.mean(p), metrics=[MeanIoU(4)])
    message = r"mean_iou: expected class ids in 0\.\.3 in y_true and y_pred, got others in 1 pixels; name a value"
    backend = keras.backend.backend()
    with pytest.raises(ValueError, match=message if backend != "torch" else r"expected class ids in 0\.\.3, got 200"):
        model.evaluate(predicted, truth, verbose=0)


def test_ids_that_are_none_are_refused_at_once():
    with pytest.raises(ValueError, match=r"y_true: expected class ids in 0\.\.2, got 255 \(1 of 4 pixels are none\)"):
        measure(np.array([[[255, 1], [1, 2]]]), PREDICTED)
    with pytest.raises(ValueError, match=r"y_pred: expected class ids in 0\.\.1, got 2 \(2 of 4 pixels are none\)"):
        measure(TRUTH % 2, PREDICTED, classes=2)


@pytest.mark.parametrize(
    "truth, predicted",
    [
        ((1, 2, 3), (1, 2, 2, 3)),
        ((1, 2, 2), (1, 2, 2, 4)),  # other classes
        ((1, 2, 2, 3), (1, 2, 2, 3)),  # one-hot
        ((2, 2), (2, 2, 3)),  # no batch
        ((4,), (4,)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(truth, predicted):
    message = rf"mean_iou: expected y_true of class ids .*\(batch, height, width, 3\), .*{', '.join(map(str, truth))}"
    with pytest.raises(ValueError, match=message):
        measure(np.zeros(truth, int), np.zeros(predicted, np.float32))


def test_floats_are_no_ids():
    with pytest.raises(ValueError, match=r"expected y_pred of class ids as integers, got .*float32.* \(1, 2, 2\)"):
        measure(TRUTH, PREDICTED.astype(np.float32))


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"num_classes: expected a whole number of 2 or more, got 1"):
        MeanIoU(1)
    with pytest.raises(ValueError, match=r"ignore_class: expected a whole number, or None, got 'void'"):
        MeanIoU(3, "void")
    with pytest.raises(ValueError, match=r"dtype: expected a floating type, got int32"):
        MeanIoU(3, dtype="int32")
    with pytest.raises(ValueError, match=r"mean_iou: expected no sample_weight, since it counts whole pixels"):
        MeanIoU(3).update_state(TRUTH, PREDICTED, np.ones(1))


def test_a_configuration_makes_the_same_metric():
    made = MeanIoU(3, ignore_class=np.uint8(255), name="iou", dtype="float16")
    again = keras.metrics.deserialize(json.loads(json.dumps(keras.metrics.serialize(made))))
    assert type(again) is MeanIoU and keras.saving.get_registered_name(MeanIoU) == "tfseg>MeanIoU"
    assert again.get_config() == {"num_classes": 3, "ignore_class": 255, "name": "iou", "dtype": "float16"}
    assert keras.backend.standardize_dtype(measure(TRUTH, PREDICTED, dtype="float16").result().dtype) == "float16"


@pytest.mark.long
@pytest.mark.tensorflow
def test_two_replicas_count_together():
    """On two logical devices, in a process of its own, since devices are made before anything else."""
    program = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfseg.losses.keras_losses import DiceLoss
from tfseg.metrics import MeanIoU
truth, predicted = np.random.default_rng(0).integers(0, 3, (2, 6, 4, 4))
images = np.eye(3, dtype=np.float32)[predicted]
def run():
    pixels = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(3, 1)
    model = keras.Model(pixels, layer(pixels))
    layer.set_weights([np.eye(3, dtype=np.float32)[None, None], np.zeros(3, np.float32)])
    metric = MeanIoU(3)
    model.compile(keras.optimizers.SGD(0.0), DiceLoss(), metrics=[metric])
    data = tf.data.Dataset.from_tensor_slices((images, truth)).batch(4)
    history = model.fit(data, validation_data=data, epochs=2, verbose=0).history
    return history["mean_iou"], history["val_mean_iou"], metric.confusion_matrix().tolist(), history["loss"]
alone = run()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    together = run()
assert together[2] == alone[2] == np.bincount((3 * truth + predicted).ravel()).reshape(3, 3).tolist(), (together, alone)
for ours, theirs in zip(together[:2], alone[:2]):
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
np.testing.assert_allclose(together[3], alone[3], rtol=1e-5)
print("equal")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert result.stdout == "equal\n", result.stderr[-2000:]
