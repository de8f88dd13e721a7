import keras
import numpy as np
import pytest
from keras import ops

from tfseg import backend
from tfseg.augmentation import effects
from tfseg.augmentation.augmenter import Augmenter
from tfseg.config import schema

EVERYTHING = {
    "flip": 0.5,
    "rotation": 20,
    "zoom": (0.7, 1.4),
    "shear": 10,
    "shift": 0.1,
    "perspective": 0.1,
    "brightness": 0.2,
    "contrast": 0.3,
    "saturation": 0.3,
    "hue": 20,
    "gamma": (0.7, 1.4),
    "tone_curve": 0.2,
    "blur": 1.0,
    "motion_blur": 5,
    "sharpen": 0.5,
    "noise": 0.05,
    "cutout": 0.3,
    "class_mix": 0.5,
    "probability": {"hue": 0.5, "sharpen": 0.2},
    "one_of": [{"effects": ["blur", "motion_blur", "sharpen"], "p": 0.6}],
}


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (4, 24, 32, 3), np.uint8), random.choice([1, 4, 7], (4, 24, 32)).astype(np.uint8)


def to_numpy(tensors):
    return [ops.convert_to_numpy(tensor) for tensor in tensors]


def drawn(batch=64, height=24, width=32, step=0, **settings):
    """What is drawn for a batch, as NumPy arrays."""
    parameters = Augmenter(seed=0, **settings).draw(batch, height, width, step)
    return {name: to_numpy(v) if isinstance(v, tuple) else to_numpy([v])[0] for name, v in parameters.items()}


def test_defaults_change_nothing(batch):
    image, mask = to_numpy(Augmenter()(*batch))
    assert (image.dtype, mask.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(image, batch[0])
    np.testing.assert_array_equal(mask, batch[1])


def test_flip_mirrors_both(batch):
    image, mask = to_numpy(Augmenter(flip=1.0)(*batch))
    np.testing.assert_allclose(image, batch[0][:, :, ::-1], atol=1e-3)
    np.testing.assert_array_equal(mask, batch[1][:, :, ::-1])


def test_flip_is_drawn_for_each_image():
    mask = np.broadcast_to(np.uint8([[1, 2]]), (64, 1, 2))
    _, flipped = to_numpy(Augmenter(flip=0.5, seed=0)(np.zeros((64, 1, 2, 3)), mask))
    assert 16 < (flipped[:, 0, 0] == 2).sum() < 48


@pytest.mark.long
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_masks_hold_what_was_there_or_void(batch, policy):
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        augmentation = Augmenter(**EVERYTHING, seed=1)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    for step in range(5):
        image, mask = to_numpy(augmentation(*batch, step))
        assert (image.dtype, mask.dtype) == (np.float32, np.int32)
        assert set(np.unique(mask)) <= {0, 1, 4, 7}
        assert 0 <= image.min() <= image.max() <= 255
        assert image.shape == batch[0].shape


def test_image_and_mask_move_together():
    """A square painted with its class id is where the mask says it is."""
    mask = np.zeros((8, 40, 40), np.uint8)
    mask[:, 8:20, 14:30] = 5
    image = np.repeat(mask[..., None] * 50, 3, axis=-1)
    settings = {name: EVERYTHING[name] for name in ("flip", "rotation", "zoom", "shear", "shift", "perspective")}
    warped, labels = to_numpy(Augmenter(**settings, seed=1)(image, mask))
    assert (labels != mask).any(axis=(1, 2)).all()
    np.testing.assert_allclose(warped[labels == 5].mean(), 250, atol=15)
    np.testing.assert_allclose(warped[labels == 0].mean(), 0, atol=6)


@pytest.mark.long
def test_draws_are_a_function_of_seed_and_step(batch):
    first, again, other = (Augmenter(**EVERYTHING, seed=seed) for seed in (7, 7, 8))
    one = to_numpy(first(*batch, 3))
    first(*batch, 4)  # what was drawn before does not matter
    for same in (first(*batch, 3), again(*batch, 3), again(*batch, np.int64(3))):
        for mine, theirs in zip(one, to_numpy(same), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    for another in (first(*batch, 4), other(*batch, 3), first(*batch, 3, replica=1)):
        assert (to_numpy(another)[0] != one[0]).any()
    assert (to_numpy(Augmenter(**EVERYTHING)(*batch))[0] != to_numpy(Augmenter(**EVERYTHING)(*batch))[0]).any()


def test_colour_leaves_the_mask_alone(batch):
    names = ("brightness", "contrast", "saturation", "hue", "gamma", "tone_curve", "noise")
    image, mask = to_numpy(Augmenter(**{name: EVERYTHING[name] for name in names}, seed=0)(*batch))
    np.testing.assert_array_equal(mask, batch[1])
    assert (np.abs(image - batch[0]).mean(axis=(1, 2, 3)) > 1).all()


# ---- what is drawn


@pytest.mark.parametrize(
    "settings, name, part, low, high",
    [
        ({"brightness": 0.2}, "color", 1, -51, 51),
        ({"hue": 18}, "turn", None, -0.05, 0.05),
        ({"gamma": (0.5, 2.0)}, "curve", 0, 0.5, 2.0),
        ({"tone_curve": 0.3}, "curve", 1, 1 / 3 - 0.3, 1 / 3 + 0.3),
        ({"tone_curve": 0.3}, "curve", 2, 2 / 3 - 0.3, 2 / 3 + 0.3),
    ],
)
def test_strengths_are_the_ends_of_what_is_drawn(settings, name, part, low, high):
    values = drawn(batch=2000, **settings)[name]
    values = values if part is None else values[part]
    margin = 0.01 * (high - low)
    assert low - 1e-5 <= values.min() < low + margin and high - margin < values.max() <= high + 1e-5
    assert np.unique(values).size > 1900


def test_angles_and_factors():
    turn = drawn(batch=2000, rotation=30)["matrix"]
    angle = np.degrees(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]))
    assert -30.01 < angle.min() < -29.5 and 29.5 < angle.max() < 30.01
    zoom = 1 / drawn(batch=2000, zoom=(0.5, 2.0))["matrix"][:, 0, 0]
    assert 0.499 < zoom.min() < 0.51 and 1.96 < zoom.max() < 2.01
    assert abs(np.median(np.log(zoom))) < 0.1  # as often enlarged as shrunk


def test_probability_leaves_the_others_as_they_are():
    turn = drawn(batch=2000, hue=18, probability={"hue": 0.3})["turn"]
    assert 0.65 < (turn == 0).mean() < 0.75


def test_at_most_one_of_a_group():
    group = {"effects": ["brightness", "hue", "noise", "blur"], "p": 0.8}  # blur is off
    settings = {"brightness": 0.2, "hue": 18, "noise": 0.1, "probability": {"noise": 0.5}, "one_of": [group]}
    parameters = drawn(batch=4000, height=2, width=2, **settings)
    on = np.stack([parameters["color"][1] != 0, parameters["turn"] != 0, parameters["noise"].any(axis=(1, 2, 3))])
    assert on.sum(axis=0).max() == 1
    np.testing.assert_allclose(on.mean(axis=1), [0.32, 0.32, 0.16], atol=0.03)


def test_every_kernel_is_one_filter():
    names = ("blur", "motion_blur", "sharpen", "probability", "one_of")
    kernels = drawn(batch=2000, **{name: EVERYTHING[name] for name in names})["kernel"]
    assert kernels.shape == (2000, 7, 7)  # three deviations of 1 pixel either way
    np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 1, atol=1e-4)
    sharpened, changed = kernels.min(axis=(1, 2)) < -1e-6, np.abs(kernels[:, 3, 3] - 1) > 1e-4
    wanted = [0.6 * 0.2 / 2.2, 0.55]  # of the blurs, the weakest change nothing
    np.testing.assert_allclose([sharpened.mean(), changed.mean()], wanted, atol=0.05)


def test_half_of_the_classes_are_mixed():
    classes = drawn(batch=2000, class_mix=0.4)["classes"]
    mixed = classes.any(axis=1)
    np.testing.assert_allclose([mixed.mean(), classes[mixed].mean()], [0.4, 0.5], atol=0.05)


def test_boxes_are_no_larger_than_said():
    top, left, bottom, right = drawn(batch=2000, cutout=0.5)["box"]
    assert 11.8 < (bottom - top).max() <= 12.001 and 15.8 < (right - left).max() <= 16.001
    middle = (left + right) / 2
    assert middle.min() < 1 and middle.max() > 31


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"rotation": -3}, ValueError, "augment.rotation: expected 0 to 180 degrees, got -3"),
        ({"flip": 7}, ValueError, "augment.flip: expected 0 to 1, got 7"),
        ({"class_mix": -0.1}, ValueError, "augment.class_mix: expected 0 to 1, got -0.1"),
        ({"blur": float("nan")}, ValueError, "augment.blur: expected 0 to 3 pixels, got NaN"),
        ({"zoom": (0.0, 1.0)}, ValueError, r"augment.zoom: expected two numbers above 0, the lower one first, got"),
        ({"gamma": (2.0, 0.5)}, ValueError, r"augment.gamma: expected two numbers above 0, the lower one first, got"),
        ({"hue": 5, "probability": {"hue": 2}}, ValueError, "augment.probability.hue: expected 0 to 1, got 2"),
        ({"hue": 5, "probability": {"hew": 1}}, ValueError, "augment.probability: expected names of effects, .*hew"),
        ({"hue": 5, "one_of": [{"effects": ["hue"]}]}, ValueError, "augment.one_of: expected groups as "),
        ({"num_classes": 0}, ValueError, "num_classes: expected a whole number, 1 or more, got 0"),
        ({"num_classes": 257}, ValueError, "num_classes: expected a whole number, 256 at most, got 257"),
        ({"channels": 0}, ValueError, "channels: expected a whole number, 1 or more, got 0"),
        ({"seed": "x"}, ValueError, "seed: expected a whole number, 0 or more, got 'x'"),
        ({"rotation": "3"}, TypeError, "rotation: expected a number, got '3'"),
        ({"zoom": 1.2}, TypeError, "zoom: expected two numbers, got 1.2"),
    ],
)
def test_strengths_are_checked_as_in_a_config(settings, error, message):
    with pytest.raises(error, match=message):
        Augmenter(**settings)


def test_arrays_and_lists_are_strengths_too():
    augmentation = Augmenter(rotation=np.float32(5), zoom=np.array([0.5, 2.0]), gamma=[1.0, 1.0])
    assert list(augmentation.strength) == ["rotation", "zoom"]


def test_effects_that_contradict_are_refused():
    with pytest.raises(ValueError, match="hue twice"):
        Augmenter(hue=5, one_of=[{"effects": ["hue", "blur"], "p": 1}, {"effects": ["hue"], "p": 1}])
    with pytest.raises(ValueError, match="an image gets one filter at most"):
        Augmenter(blur=1, sharpen=0.5)
    with pytest.raises(TypeError, match="rotate: expected one of rotation"):
        Augmenter(rotate=5)


def test_the_defaults_of_a_config_change_nothing():
    defaults = Augmenter(**vars(schema.Augment()))
    assert defaults.strength == {} and defaults.flip == defaults.class_mix == 0


# ---- arguments of a call


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-1.0, 1.0)])
def test_pixels_of_0_to_1_are_refused(batch, low, high):
    pixels = low + (high - low) * batch[0].astype(np.float32) / 255
    with pytest.raises(ValueError, match=rf"image: expected pixels in 0\.\.255, got {low:.0f} to 1; multiply"):
        Augmenter()(pixels, batch[1])
    with pytest.raises(ValueError, match=r"expected pixels in 0\.\.255"):
        Augmenter(rotation=5)(ops.convert_to_tensor(pixels), batch[1])


def test_dark_pixels_are_taken(batch):
    """Bytes are 0..255 whatever they hold, and so are floats that are whole numbers."""
    dark = batch[0] // 200
    for image in (dark, dark.astype(np.float32)):
        np.testing.assert_array_equal(to_numpy(Augmenter()(image, batch[1]))[0], dark)


def test_class_mix_wants_masks_of_its_classes(batch):
    with pytest.raises(ValueError, match=r"mask: expected class ids in 0\.\.6, got 7 \(.* of 3,072 pixels are none\)"):
        Augmenter(class_mix=0.5, num_classes=7)(*batch)
    Augmenter(class_mix=0.5, num_classes=8)(*batch)


# ---- compiled


tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow")


@pytest.mark.parametrize("count", [2, 8, 12, 20, 150])
@pytest.mark.parametrize("compiled", [True, False])
def test_class_mix_takes_what_was_drawn_for_the_image(count, compiled, monkeypatch):
    """Of any number of classes, compiled by XLA or not; before, an id of 8 and more read the draws of the next row."""
    if not compiled:
        monkeypatch.setattr(backend, "jit", lambda function: function)
    mask = np.random.default_rng(0).integers(0, count, (64, 6, 8)).astype(np.uint8)
    image = np.repeat(mask[..., None], 3, axis=-1)
    augmentation = Augmenter(class_mix=0.5, num_classes=count, seed=0)
    chosen = to_numpy([augmentation.draw(64, 6, 8)["classes"]])[0]
    assert chosen.shape == (64, count) and chosen.any() and not chosen.any(axis=1).all()
    following = np.roll(mask, -1, axis=0)
    taken = np.take_along_axis(chosen, following.reshape(64, -1).astype(int), axis=1).reshape(mask.shape) > 0
    wanted = np.where(taken & (following > 0), following, mask)
    mixed, labels = to_numpy(augmentation(image, mask))
    np.testing.assert_array_equal(labels, wanted)
    np.testing.assert_array_equal(mixed[..., 0], wanted)
    _, labels = to_numpy(augmentation(image, mask.view(np.int8)))
    np.testing.assert_array_equal(labels, wanted, "int8 of the same bits")


def test_without_a_number_of_classes_class_mix_takes_any(batch):
    mask = np.where(batch[1] == 7, 255, batch[1]).astype(np.uint8)
    _, labels = to_numpy(Augmenter(class_mix=1.0, seed=1)(batch[0], mask))
    assert set(np.unique(labels)) == {1, 4, 255} and (labels != mask).any()


@pytest.mark.long
@tensorflow_only
@pytest.mark.parametrize("compiled", [True, False])
def test_what_is_no_class_is_not_pasted(compiled):
    """Within a step it cannot be refused. It must not read another image's draws."""
    import tensorflow as tf

    mask = np.full((4, 2, 2), 9, np.uint8)
    augmentation = Augmenter(class_mix=1.0, num_classes=8, seed=0)
    step = tf.function(augmentation, jit_compile=compiled)
    _, labels = to_numpy(step(np.zeros((4, 2, 2, 3), np.uint8), np.concatenate([mask[:2], mask[2:] * 0])))
    np.testing.assert_array_equal(labels, np.concatenate([mask[:2], mask[2:] * 0]))


@pytest.mark.long
@tensorflow_only
def test_compiled_by_xla_or_not_the_same(batch, monkeypatch):
    import tensorflow as tf

    augmentation = Augmenter(**EVERYTHING, seed=5)
    compiled = to_numpy(tf.function(augmentation)(*batch, 2))
    monkeypatch.setattr(backend, "jit", lambda function: function)
    plain = to_numpy(tf.function(augmentation)(*batch, 2))
    np.testing.assert_allclose(compiled[0], plain[0], atol=0.5)
    assert (compiled[1] == plain[1]).mean() > 0.999


@pytest.mark.long
@tensorflow_only
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_on_metal_nothing_leaves_the_gpu(policy):
    import tensorflow as tf

    from tfseg.diagnostics import metal

    keras.mixed_precision.set_dtype_policy(policy)
    try:
        augmentation = Augmenter(**EVERYTHING, seed=5)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    shape = (2, 64, 96)
    specs = tf.TensorSpec((*shape, 3), tf.int8), tf.TensorSpec(shape, tf.int8), tf.TensorSpec((), tf.int32)
    with metal.as_on_metal():
        graph = tf.function(augmentation).get_concrete_function(*specs).graph
    report = metal.examine(graph)
    assert report.left == [] and report.passes
    counted = [operation.type for operation in graph.get_operations()]
    assert counted.count("GatherV2") >= 4 and len(counted) > 100


@pytest.mark.long
def test_signed_bytes_are_the_same(batch):
    augmentation = Augmenter(**EVERYTHING, seed=5)
    signed = augmentation(batch[0].view(np.int8), batch[1].view(np.int8), 2)
    for mine, theirs in zip(to_numpy(signed), to_numpy(augmentation(*batch, 2)), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_change_is_all_there_is(batch):
    """`call` is `draw`, then `effects.change`."""
    augmentation = Augmenter(**EVERYTHING, seed=5)
    parts = effects.change(*batch, **augmentation.draw(4, 24, 32, 6))
    np.testing.assert_allclose(to_numpy(parts)[0], to_numpy(augmentation(*batch, 6))[0], atol=0.5)
