import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tfseg.augmentation.layer import Augmentation
from tfseg.training.optimizers import AdamW
from tfseg.training.schedules import Cosine
from tfseg.training.segmenter import Segmenter

RANDOM = np.random.default_rng(0)
IMAGES, MASKS = RANDOM.integers(0, 256, (6, 4, 8, 3), np.uint8), RANDOM.integers(0, 5, (6, 4, 8), np.uint8)


def make_network(classes=5):
    pixels = keras.Input((None, None, 3))
    return keras.Model(pixels, keras.layers.Conv2D(classes, 1)(keras.layers.Rescaling(1 / 255)(pixels)))


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compile_segmenter(augmentation=None, optimizer="sgd", **options):
    model = Segmenter(make_network(), augmentation)
    model.compile(optimizer, loss=cross_entropy(), **options)
    return model


class See(keras.losses.Loss):
    """A loss that shows what the network saw and was to learn: of a network that returns its pixels."""

    def call(self, truth, logits):
        return ops.abs(ops.cast(truth, "float32") - logits[..., 0])


# ---- training


def test_fit_augments_images_and_masks_together_and_evaluate_does_not():
    """The mask is the image: mirrored together they agree, and only in training."""
    pixels = keras.Input((None, None, 1))
    shift = keras.layers.Conv2D(1, (1, 2), padding="same", use_bias=False)  # the pixel to the right
    model = Segmenter(keras.Model(pixels, shift(pixels)), Augmentation(flip=1.0, channels=1))
    shift.set_weights([np.float32([[[[0]], [[1]]]])])
    model.compile(keras.optimizers.SGD(0.0), loss=See())
    image = np.uint8([[[[1], [2], [4]]]])
    mask = np.uint8([[[2, 4, 0]]])  # that pixel, of the image as it is
    assert model.evaluate(image, mask, verbose=0) == 0
    loss = model.fit(image, mask, verbose=0).history["loss"][0]  # 4 2 1 -> 2 1 0; the truth is 0 4 2
    assert loss == pytest.approx((2 + 3 + 2) / 3, abs=1e-3)
    loss = model.fit(image, np.uint8([[[0, 1, 2]]]), verbose=0).history["loss"][0]  # mirrored it is 2 1 0
    assert loss == pytest.approx(0, abs=1e-3)
    assert int(model.augmentation.steps) == 2
    assert model.evaluate(image, mask, verbose=0) == 0
    assert int(model.augmentation.steps) == 2


@pytest.mark.long
def test_draws_differ_by_step_and_resume_with_the_weights(tmp_path):
    def losses(model, epochs):
        return model.fit(IMAGES, MASKS, batch_size=6, epochs=epochs, shuffle=False, verbose=0).history["loss"]

    def make():
        model = compile_segmenter(Augmentation(brightness=0.5, seed=3), keras.optimizers.SGD(0.0))
        model.network.set_weights([np.ones((1, 1, 3, 5), np.float32) * np.arange(5), np.zeros(5, np.float32)])
        return model

    whole, first, second = make(), make(), make()
    wanted = losses(whole, 4)
    assert len(set(wanted)) == 4
    assert losses(first, 2) == wanted[:2]
    first.save_weights(tmp_path / "model.weights.h5")
    second.load_weights(tmp_path / "model.weights.h5")
    assert losses(second, 2) == wanted[2:]


def test_loss_metrics_and_history_are_those_of_keras():
    ours = compile_segmenter(metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top")])
    theirs = keras.models.clone_model(ours.network)
    theirs.set_weights(ours.network.get_weights())
    theirs.compile(
        "sgd", loss=cross_entropy(), metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top")]
    )
    settings = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0, "validation_data": (IMAGES, MASKS)}
    mine, other = (model.fit(IMAGES, MASKS, **settings).history for model in (ours, theirs))
    assert list(mine) == list(other)
    for name, values in other.items():
        assert mine[name] == pytest.approx(values, abs=1e-6)
    assert ours.evaluate(IMAGES, MASKS, verbose=0) == pytest.approx(theirs.evaluate(IMAGES, MASKS, verbose=0))


@pytest.mark.long
def test_bytes_from_tf_data_are_trained_on():
    batches = tf.data.Dataset.from_tensor_slices((IMAGES, MASKS)).batch(4)
    model = compile_segmenter(Augmentation(flip=0.5, rotation=10, seed=0), keras.optimizers.Adam(0.05))
    history = model.fit(batches, epochs=3, verbose=0, validation_data=batches, shuffle=False).history
    assert history["loss"][-1] < history["loss"][0] and len(history["val_loss"]) == 3
    assert int(model.augmentation.steps) == 6
    assert model.predict(batches, verbose=0).shape == (6, 4, 8)


@pytest.mark.long
@pytest.mark.tensorflow
def test_two_replicas_augment_together():
    """On two logical devices, in a process of its own, since devices are made before anything else."""
    program = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfseg.augmentation.layer import Augmentation
from tfseg.training.segmenter import Segmenter
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    pixels = keras.Input((None, None, 3))
    model = Segmenter(keras.Model(pixels, keras.layers.Conv2D(3, 1)(pixels)), Augmentation(flip=0.5, seed=0))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
images, masks = np.zeros((6, 4, 8, 3), np.uint8), np.ones((6, 4, 8), np.uint8)
model.fit(images, masks, batch_size=2, verbose=0)
print(int(model.augmentation.steps.numpy()))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.stdout == "3\n", result.stderr[-2000:]


@pytest.mark.long
def test_weights_of_images_are_taken_and_those_of_pixels_refused():
    model = compile_segmenter(Augmentation(flip=0.5))
    model.fit(IMAGES, MASKS, sample_weight=np.ones((6, 1, 1)), verbose=0)
    with pytest.raises(ValueError, match=r"sample_weight of each image, \(batch,\) or .* got \((None|6), 4, 8\)"):
        compile_segmenter(Augmentation(flip=0.5)).fit(IMAGES, MASKS, sample_weight=np.ones((6, 4, 8)), verbose=0)
    compile_segmenter().fit(IMAGES, MASKS, sample_weight=np.ones((6, 4, 8)), verbose=0)  # without augmentation


def test_images_without_masks_are_refused():
    with pytest.raises(ValueError, match=r"Segmenter.fit: expected \(images, masks\), got images alone"):
        Segmenter(make_network(), Augmentation(flip=0.5)).augment(IMAGES)


# ---- predicting


def test_predict_gives_classes_and_predict_proba_probabilities():
    model = Segmenter(make_network())  # not compiled
    logits = ops.convert_to_numpy(model(IMAGES))
    for _ in range(2):  # each has a function of its own
        ids, probabilities = model.predict(IMAGES, verbose=0), model.predict_proba(IMAGES, verbose=0)
        assert (ids.dtype, ids.shape) == (np.uint8, (6, 4, 8))
        np.testing.assert_array_equal(ids, logits.argmax(axis=-1))
        assert (probabilities.dtype, probabilities.shape) == (np.float32, (6, 4, 8, 5))
        np.testing.assert_allclose(probabilities, ops.convert_to_numpy(ops.softmax(logits)), atol=1e-6)
    np.testing.assert_array_equal(model.predict_on_batch(IMAGES[:2]), ids[:2])
    np.testing.assert_array_equal(model.predict(IMAGES, batch_size=4, steps=1, verbose=0), ids[:4])


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="there a failure takes the variables of any model of Keras"
)
def test_a_failed_prediction_leaves_the_next_one_alone():
    model = Segmenter(make_network())
    with pytest.raises(Exception):  # noqa: B017 - whatever the backend says of five channels
        model.predict_proba(np.zeros((1, 4, 4, 5), np.uint8), verbose=0)
    assert model.predict(IMAGES, verbose=0).dtype == np.uint8


def test_half_precision_logits_become_float32_probabilities():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = Segmenter(make_network())
        model.compile("sgd", loss=cross_entropy())
    finally:
        keras.config.set_dtype_policy("float32")
    probabilities = model.predict_proba(IMAGES, verbose=0)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-6)
    assert model.predict(IMAGES, verbose=0).dtype == np.uint8


def test_as_many_classes_as_a_byte_tells_apart():
    network = make_network(256)
    network.layers[-1].set_weights([np.zeros((1, 1, 3, 256)), np.arange(256)])
    assert (Segmenter(network).predict(IMAGES, verbose=0) == 255).all()
    with pytest.raises(ValueError, match="expected at most 256 classes, got 257; take predict_proba"):
        Segmenter(make_network(257)).predict(IMAGES, verbose=0)


def test_one_image_without_its_axis_is_refused():
    model = Segmenter(make_network())
    for predict in (model.predict, model.predict_proba):
        with pytest.raises(ValueError, match=r"expected images \(N, H, W, channels\), got \(4, 8, 3\); give one as"):
            predict(IMAGES[0], verbose=0)


@pytest.mark.tensorflow
def test_batches_of_several_sizes_are_refused():
    spec = tf.TensorSpec((None, None, None, 3), tf.uint8)
    batches = tf.data.Dataset.from_generator(lambda: iter([IMAGES[:1], IMAGES[:1, :2]]), output_signature=spec)
    batches = batches.apply(tf.data.experimental.assert_cardinality(2))
    with pytest.raises(ValueError, match="expected batches of one size, got several"):
        Segmenter(make_network()).predict(batches, verbose=0)


# ---- compiling, saving


@pytest.mark.long
@pytest.mark.tensorflow
def test_xla_is_taken_where_it_is_asked_for_alone():
    model = compile_segmenter(Augmentation(flip=0.5))
    assert model.jit_compile is False and not model.supports_jit
    model.compile("sgd", loss=cross_entropy(), jit_compile=True)
    assert model.jit_compile is True
    model.fit(IMAGES, MASKS, verbose=0)
    model.compile("sgd", loss=cross_entropy())
    assert model.jit_compile is False


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="what JAX does")
def test_on_jax_steps_are_compiled():
    assert compile_segmenter(Augmentation(flip=0.5)).jit_compile is True


@pytest.mark.long
def test_a_model_is_saved_and_loaded_with_all_that_it_was_compiled_with(tmp_path):
    optimizer = AdamW(1e-3, schedule=Cosine(warmup=0.5), weight_decay=0.1)
    model = compile_segmenter(Augmentation(flip=0.5, zoom=(0.9, 1.1), seed=3), optimizer, metrics=["accuracy"])
    model.fit(IMAGES, MASKS, batch_size=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is Segmenter and loaded.name == model.name
    assert loaded.augmentation.get_config() == model.augmentation.get_config()
    assert int(loaded.augmentation.steps) == int(loaded.optimizer.iterations) == 2
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
    assert loaded.evaluate(IMAGES, MASKS, verbose=0) == pytest.approx(model.evaluate(IMAGES, MASKS, verbose=0))
    mine, theirs = (m.fit(IMAGES, MASKS, batch_size=3, shuffle=False, verbose=0).history for m in (model, loaded))
    assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-6)


def test_without_augmentation_it_is_saved_too(tmp_path):
    model = Segmenter(make_network(), name="plain")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.augmentation is None and loaded.name == "plain"
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (("unet",), TypeError, "Segmenter: expected a model or layer of Keras as network, got 'unet'"),
        ((make_network, lambda x: x), TypeError, "expected a model or layer of Keras as network, got <function"),
        ((make_network(), lambda x: x), TypeError, "expected a model or layer of Keras as augmentation, got <func"),
    ],
)
def test_what_is_no_layer_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Segmenter(*arguments)


def test_a_network_with_an_auxiliary_head_is_refused():
    network = make_network()
    two = keras.Model(network.input, [network.output, network.output])
    with pytest.raises(ValueError, match="expected a network with one output, logits, got 2"):
        Segmenter(two)
