"""`Augmentation` eagerly, in tf.data and in a model, on every backend; what it draws is tested in test_augmenter.py."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tfseg.augmentation.augmenter import Augmenter
from tfseg.augmentation.layer import Augmentation
from tfseg.config.tables import EFFECTS

IMAGE = np.uint8([[[[110], [120], [130]]], [[[140], [150], [160]]]])  # (2, 1, 3, 1)
MASK = np.uint8([[[1, 2, 3]], [[4, 5, 255]]])  # (2, 1, 3)
MIRRORED = np.uint8([[[3, 2, 1]], [[255, 5, 4]]])


def to_numpy(pair):
    return [ops.convert_to_numpy(x) for x in pair]


def mirror():
    return Augmentation(flip=1.0, channels=1, seed=0)


def draw(seed=0):
    """A layer of which each draw gives other pixels, and the same pixels to every image that is as bright."""
    return Augmentation(brightness=0.2, channels=1, seed=seed)


def assert_mirrored(image, mask):
    image, mask = to_numpy((image, mask))
    assert (image.dtype, mask.dtype) == (np.float32, np.int32)
    np.testing.assert_allclose(image, IMAGE[:, :, ::-1], atol=1e-3)
    np.testing.assert_array_equal(mask, MIRRORED)


# ---- forms of the call


def test_a_tuple_is_changed():
    changed = mirror()((IMAGE, MASK))
    assert isinstance(changed, tuple)
    assert_mirrored(*changed)


def test_a_dict_keeps_its_other_entries():
    batch = {"id": ["a", "b"], "image": IMAGE, "mask": MASK}
    changed = mirror()(batch)
    assert list(changed) == ["id", "image", "mask"] and changed["id"] == ["a", "b"]
    assert_mirrored(changed["image"], changed["mask"])
    assert batch["image"] is IMAGE


def test_a_single_image_and_a_mask_with_an_axis_keep_their_shapes():
    image, mask = to_numpy(mirror()((IMAGE[0], MASK[0])))
    np.testing.assert_array_equal(mask, MIRRORED[0])
    assert image.shape == (1, 3, 1)
    image, mask = to_numpy(mirror()((IMAGE, MASK[..., None])))
    np.testing.assert_array_equal(mask, MIRRORED[..., None])
    image, mask = to_numpy(mirror()((IMAGE[0], MASK[0][..., None])))
    np.testing.assert_array_equal(mask, MIRRORED[0][..., None])


def test_tensors_of_tensorflow_are_taken_on_every_backend():
    assert_mirrored(*mirror()((tf.constant(IMAGE), tf.constant(MASK))))


def test_nothing_changes_but_the_types_outside_of_training():
    layer = mirror()
    image, mask = to_numpy(layer((IMAGE, MASK), training=False))
    assert (image.dtype, mask.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, MASK)
    assert int(layer.steps) == 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_leaves_pixels_and_masks_alone(policy):
    keras.config.set_dtype_policy(policy)
    try:
        image, mask = to_numpy(Augmentation(flip=1.0, channels=1)((IMAGE + np.float32(0.0625), MASK)))
    finally:
        keras.config.set_dtype_policy("float32")
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, IMAGE[:, :, ::-1] + 0.0625, atol=1e-3)
    np.testing.assert_array_equal(mask, MIRRORED)


# ---- draws


def test_each_call_draws_anew_and_the_same_calls_draw_the_same():
    one, other, another = draw(), draw(), draw(seed=1)
    first, second = (to_numpy(one((IMAGE, MASK)))[0] for _ in range(2))
    assert (first != second).all() and int(one.steps) == 2
    for wanted in (first, second):
        np.testing.assert_array_equal(to_numpy(other((IMAGE, MASK)))[0], wanted)
    assert (to_numpy(another((IMAGE, MASK)))[0] != first).all()


def test_the_draws_are_those_of_the_augmenter():
    layer = draw()
    for step in range(2):
        wanted = Augmenter(brightness=0.2, channels=1, seed=0)(IMAGE, MASK, step=step)
        np.testing.assert_array_equal(to_numpy(layer((IMAGE, MASK)))[0], to_numpy(wanted)[0])


def test_the_count_is_saved_with_a_model(tmp_path):
    def build():
        pixels, mask = keras.Input((None, None, 1)), keras.Input((None, None), dtype="int32")
        layer = draw()
        return keras.Model([pixels, mask], layer((pixels, mask))), layer

    model, layer = build()
    for _ in range(3):
        layer((IMAGE, MASK))
    model.save_weights(tmp_path / "model.weights.h5")
    other, resumed = build()
    other.load_weights(tmp_path / "model.weights.h5")
    assert int(resumed.steps) == 3
    np.testing.assert_array_equal(to_numpy(resumed((IMAGE, MASK)))[0], to_numpy(layer((IMAGE, MASK)))[0])


# ---- tf.data

on_many_threads = pytest.mark.skipif(keras.backend.backend() == "mlx", reason="MLX computes in one thread")


@pytest.mark.long
@on_many_threads
@pytest.mark.parametrize("calls", [None, 4])
def test_in_tf_data_with_parallel_calls_or_without(calls):
    """64 elements that are alike come out as 64 that are not: none has the draws of another."""
    layer = draw()
    entries = {"image": IMAGE[:1].repeat(64, 0), "mask": MASK[:1].repeat(64, 0), "id": [str(n) for n in range(64)]}
    changed = tf.data.Dataset.from_tensor_slices(entries).map(layer, num_parallel_calls=calls)
    spec = changed.element_spec
    assert (spec["image"].shape, spec["image"].dtype) == ((1, 3, 1), tf.float32)
    assert (spec["mask"].shape, spec["mask"].dtype) == ((1, 3), tf.int32)
    found = list(changed.as_numpy_iterator())
    assert [int(entry["id"]) for entry in found] == list(range(64))
    assert len({float(entry["image"][0, 0, 0]) for entry in found}) == 64
    assert all((entry["mask"] == MASK[0]).all() for entry in found)
    assert int(layer.steps) == 64


@on_many_threads
def test_in_tf_data_the_draws_are_those_of_eager_calls():
    batches = tf.data.Dataset.from_tensors((IMAGE, MASK)).repeat(2)
    mapped, eager = draw(), draw()
    for image, mask in batches.map(mapped):
        wanted = to_numpy(eager((IMAGE, MASK)))
        np.testing.assert_allclose(image, wanted[0], atol=1e-3)
        np.testing.assert_array_equal(mask, wanted[1])


@pytest.mark.skipif(keras.backend.backend() != "mlx", reason="others compute there")
def test_in_tf_data_mlx_is_refused():
    with pytest.raises(ValueError, match="MLX computes in one thread"):
        tf.data.Dataset.from_tensors((IMAGE, MASK)).map(lambda image, mask: mirror()((image, mask)))


@pytest.mark.long
@on_many_threads
def test_in_tf_data_sizes_and_batches_may_be_unknown():
    def images():
        for height in (1, 2):
            yield np.full((height, 3, 1), 7, np.uint8), np.ones((height, 3), np.uint8)

    signature = tf.TensorSpec((None, None, 1), tf.uint8), tf.TensorSpec((None, None), tf.uint8)
    unknown = tf.data.Dataset.from_generator(images, output_signature=signature)
    layer = mirror()
    assert [image.shape[0] for image, _ in unknown.map(lambda image, mask: layer((image, mask)))] == [1, 2]
    batches = tf.data.Dataset.from_tensor_slices((IMAGE, MASK)).repeat(2).batch(3)
    found = [mask for _, mask in batches.map(lambda image, mask: layer((image, mask))).as_numpy_iterator()]
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate([MIRRORED] * 2))


# ---- in a model


def test_in_a_functional_model_fit_augments_and_predict_does_not():
    pixels, mask = keras.Input((None, None, 1), dtype="uint8"), keras.Input((None, None), dtype="uint8")
    layer = mirror()
    image, _ = layer((pixels, mask))
    assert (image.dtype, image.shape) == ("float32", (None, None, None, 1))
    same = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")
    model = keras.Model([pixels, mask], same(image))
    model.compile(keras.optimizers.SGD(0.0), loss=lambda truth, image: ops.mean(ops.abs(truth - image)))
    assert model.evaluate([IMAGE, MASK], IMAGE, verbose=0) == 0
    mirrored = IMAGE[:, :, ::-1].astype(np.float32)
    losses = model.fit([IMAGE, MASK], mirrored, batch_size=1, epochs=2, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, 0, atol=1e-3)
    assert int(layer.steps) == 4
    np.testing.assert_array_equal(model.predict([IMAGE, MASK], verbose=0), IMAGE)


# ---- classes, configuration and errors


@pytest.mark.parametrize("classes", [2, 256, None])
def test_masks_may_have_any_classes_of_a_byte(classes):
    mask = (np.arange(256).reshape(1, 16, 16) % (classes or 256)).astype(np.uint8)
    mask = np.concatenate([mask, np.roll(mask, 5, axis=2)])
    layer = Augmentation(class_mix=1.0, num_classes=classes, seed=0)
    image, changed = to_numpy(layer((np.repeat(mask[..., None], 3, axis=-1), mask)))
    assert (changed != mask).any()
    np.testing.assert_array_equal(image[..., 0], changed)


def test_the_configuration_is_whole():
    settings = {"flip": 0.5, "zoom": (0.5, 2.0), "blur": np.float32(1.0), "probability": {"zoom": 0.5}, "seed": 3}
    settings["one_of"] = [{"effects": ["blur", "sharpen"], "p": 0.5}]
    layer = Augmentation(**settings, sharpen=0.5, channels=3, num_classes=7, name="augment")
    config = layer.get_config()
    assert json.loads(json.dumps(config)) == config
    copy = Augmentation.from_config(config)
    assert copy.get_config() == config
    assert config["name"] == "augment" and config["num_classes"] == 7 and config["blur"] == 1.0
    batch = np.zeros((2, 8, 8, 3), np.uint8) + np.arange(8, dtype=np.uint8)[:, None], np.ones((2, 8, 8), np.uint8)
    np.testing.assert_array_equal(to_numpy(copy(batch))[0], to_numpy(layer(batch))[0])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is Augmentation


def test_the_arguments_are_those_of_the_augmenter():
    ours = inspect.signature(Augmentation).parameters
    assert {name: ours[name].default for name in EFFECTS} == {name: effect.off for name, effect in EFFECTS.items()}
    theirs = inspect.signature(Augmenter).parameters
    assert {*theirs, *EFFECTS} - {"strengths"} == {*ours} - {"kwargs"}


@pytest.mark.parametrize(
    "inputs, message",
    [
        (IMAGE, r'expected {"image": ..., "mask": ...} or \(image, mask\), got a ndarray; map a data set of pairs by'),
        ((IMAGE, MASK, MASK), r"or \(image, mask\), got 3 things"),
        ({"image": IMAGE, "label": MASK}, r"expected a dict with \"image\" and \"mask\", got one with \['image', 'lab"),
        ((IMAGE, MASK[:, :, :2]), r"mask: expected \(2, 1, 3\), .* got \(2, 1, 2\)"),
        ((IMAGE, MASK[0]), r"mask: expected \(2, 1, 3\), .* got \(1, 3\)"),
        ((IMAGE, MASK / 255), "mask: expected class ids, integers, got float64"),
        ((MASK, MASK), r"image: expected \(batch, height, width, 1\) or \(height, width, 1\), got \(2, 1, 3\)"),
        ((IMAGE.repeat(3, axis=-1), MASK), r"image: expected \(batch, height, width, 1\) .* got \(2, 1, 3, 3\)"),
        ((IMAGE / np.float32(255), MASK), r"image: expected pixels in 0..255, got 0.431 to 0.627; multiply"),
        ((IMAGE.tolist(), MASK), "image: expected an array or tensor of known rank, got list"),
    ],
)
def test_what_is_no_image_with_its_mask_is_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        mirror()(inputs)


def test_unknown_effects_and_strengths_out_of_range_are_refused():
    with pytest.raises(TypeError, match="rotate: expected one of rotation, zoom"):
        Augmentation(rotate=5)
    with pytest.raises(ValueError, match="rotation: expected 0 to 180 degrees, got 200"):
        Augmentation(rotation=200)
