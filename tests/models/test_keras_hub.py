"""KerasHub's segmenters. Most tests need KerasHub, and are skipped where it is not installed."""

import importlib.util
import sys

import keras
import numpy as np
import pytest
from keras import ops

from tfseg.config.schema import Config, Data, Model, Optimizer, Train
from tfseg.inference.predictor import Predictor
from tfseg.models import complexity
from tfseg.models import keras_hub as kerashub
from tfseg.models.segmenter import build_network, check_names
from tfseg.runs.weights import load_network
from tfseg.training import checkpoints
from tfseg.training.loop import train_run

needs_keras_hub = pytest.mark.skipif(importlib.util.find_spec("keras_hub") is None, reason="KerasHub is not installed")
SEGFORMER, DEEPLAB = "segformer_b0", "deeplab_v3_plus_resnet50"
SHAPES = {  # of KerasHub's own, which cannot change size
    SEGFORMER: {"scale": [0.1, 0.2, 0.3], "offset": [-1.0, 0.0, 1.0]},
    DEEPLAB: {"scale": 1 / 255},
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Segmenters of few layers, under the names of large ones."""
    monkeypatch.setitem(kerashub.SEGFORMERS, SEGFORMER, ((1, 2, 1, 1), (8, 16, 20, 32), 8))
    monkeypatch.setitem(kerashub.DEEPLABS, DEEPLAB, ((1, 1, 1, 1), 4))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)


def compute(network, pixels):
    """What a network gives, as a NumPy array, on any backend."""
    return ops.convert_to_numpy(network(pixels, training=False))


def build(name, weights=None, channels=None):
    keras.utils.set_random_seed(0)
    return build_network(5, name, weights, kerashub.DECODER, channels)


# ---- what needs no KerasHub


def test_an_unknown_segmenter_is_reported_with_those_there_are():
    message = (
        "model.encoder: expected segformer_b0, .*, deeplab_v3_plus_resnet50 with model.decoder keras_hub, got 'unet'"
    )
    with pytest.raises(ValueError, match=message):
        check_names("unet", "keras_hub")


def test_without_keras_hub_its_segmenters_are_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)  # as if it was not installed
    with pytest.raises(ModuleNotFoundError) as error:
        check_names(SEGFORMER, "keras_hub")
    assert error.value.name == "keras_hub"
    check_names("tiny", "unet")


def test_attention():
    """Between images of other sizes, and not square."""
    rng = np.random.default_rng(0)
    queries, keys, values = (rng.normal(size=(2, *size, 6)).astype(np.float32) for size in ((4, 6), (2, 3), (2, 3)))
    weights = kerashub.AttentionWeights(heads=3)([queries, keys])
    found = kerashub.WeighValues()([weights, values, queries])
    places = [x.reshape(2, -1, 3, 2) for x in (queries, keys, values)]  # as Keras wants them: places, heads, channels
    expected = ops.dot_product_attention(*places)
    np.testing.assert_allclose(ops.convert_to_numpy(weights).sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(found, ops.reshape(expected, (2, 4, 6, 6)), rtol=1e-4, atol=1e-5)


def test_what_attention_costs():
    x, reduced = keras.Input((None, None, 6)), keras.layers.AveragePooling2D(2)
    weights = kerashub.AttentionWeights(heads=3)([x, reduced(x)])
    sums = keras.layers.Add()([x, kerashub.WeighValues()([weights, reduced(x), x])])
    calls = complexity.walk(keras.Model(x, sums), (4, 6))
    assert sum(complexity.count_macs(call) for call in calls) == 2 * (24 * 6) * 6
    assert complexity.find_unknown(calls) == {} and complexity.find_field(calls).pools_globally
    assert complexity.count_kept_bytes(calls) == 4 * (24 * 6 + 2 * 6 * 6 + 3 * 24 * 6)


# ---- what does


@needs_keras_hub
@pytest.mark.parametrize("name", [SEGFORMER, DEEPLAB])
def test_a_preset_gives_what_keras_hub_computes(name, image, tmp_path):
    """On a square, as its own SegFormer must have it; scaled as the preset says."""
    import keras_hub

    kind, prefix = (
        (keras_hub.models.SegFormerImageSegmenter, "SegFormer")
        if name == SEGFORMER
        else (keras_hub.models.DeepLabV3ImageSegmenter, "DeepLabV3")
    )
    keras.utils.set_random_seed(1)
    backbone = (kerashub.make_segformer if name == SEGFORMER else kerashub.make_deeplab)(name, None)
    converter = getattr(keras_hub.layers, f"{prefix}ImageConverter")(**SHAPES[name])
    preprocessor = getattr(keras_hub.models, f"{prefix}ImageSegmenterPreprocessor")(converter)
    kind(backbone, num_classes=3, preprocessor=preprocessor).save_to_preset(str(tmp_path / "preset"))

    network = build(name, tmp_path / "preset")
    ours = keras.Model(network.input, network.get_layer("logits").input)
    if name == DEEPLAB:  # which ends with an enlargement, as our head does
        backbone = keras.Model(backbone.input, backbone.get_layer("segmentation_head_relu").output)
    theirs = compute(backbone, image * SHAPES[name]["scale"] + SHAPES[name].get("offset", 0))
    np.testing.assert_allclose(compute(ours, image), theirs, rtol=1e-3, atol=1e-5 * abs(theirs).max())
    with pytest.raises(ValueError, match=r"is not of .* with model.decoder_channels \[12\], but with \[[48]\]"):
        build(name, tmp_path / "preset", (12,))


@needs_keras_hub
def test_presets_that_cannot_be_had(monkeypatch):
    import keras_hub

    with pytest.raises(ValueError, match=r"segformer_b0 has no preset 'imagenet'; .* segformer_b0_cityscapes_1024, or"):
        build(SEGFORMER, "imagenet")

    def fail(*_):
        raise RuntimeError("no\nnetwork")

    monkeypatch.setattr(keras_hub.models.SegFormerBackbone, "from_preset", fail)
    with pytest.raises(OSError, match=r"could not load the preset segformer_b0_ade20k_512 .* \(no network\); connect"):
        build(SEGFORMER, "segformer_b0_ade20k_512")


@needs_keras_hub
@pytest.mark.parametrize("name", [SEGFORMER, DEEPLAB])
def test_any_size_and_half_precision(name):
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        network = build(name)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    for size in ((1, 1), (50, 70), (32, 128)):
        logits = network(np.zeros((1, *size, 3), np.float32))
        assert logits.shape == (1, *size, 5) and logits.dtype == "float32"
    assert {feature.dtype for feature in network.get_layer(name).outputs} == {"bfloat16"}
    assert complexity.find_unknown(complexity.walk(network, (32, 64))) == {}


@needs_keras_hub
@pytest.mark.parametrize("frozen", [0, 1])
def test_a_run(tiny_records, tmp_path, frozen):
    """Trains, saves, loads and exports; a frozen encoder stays as it was, a slow one does not."""
    config = Config(
        Data(str(tiny_records), size="24x32"),
        str(tmp_path / "run"),
        model=Model(SEGFORMER, None, kerashub.DECODER),
        optimizer=Optimizer("adamw", learning_rate=0.01, encoder_lr_multiplier=0.5),
        train=Train(epochs=1, batch_size=10, frozen_epochs=frozen, seed=0),
    )
    train_run(config)
    network = load_network(config.run_dir)
    keras.utils.set_random_seed(0)
    before = build_network(8, SEGFORMER, None, kerashub.DECODER)
    for part, stays in ((SEGFORMER, frozen), ("logits", False)):
        pairs = zip(before.get_layer(part).get_weights(), network.get_layer(part).get_weights(), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs) == stays
    pixels = np.random.default_rng(0).integers(0, 256, (2, 30, 50, 3), np.uint8)
    probabilities = ops.softmax(compute(network, pixels.astype(np.float32)))
    exported = Predictor(tmp_path / "run/saved_model").probabilities(pixels)
    np.testing.assert_allclose(exported, probabilities, rtol=1e-3, atol=1e-5)
    assert len(checkpoints.find_seeds(network)) == 5 * 3 + 1  # which a resumed run has again: dropout, paths
