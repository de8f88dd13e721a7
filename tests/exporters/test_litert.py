import keras
import numpy as np
import pytest
from keras import ops

from tfseg.exporters import litert
from tfseg.inference.runtimes.litert import LiteRT
from tfseg.models.decoders import DECODERS
from tfseg.models.segmenter import build_network

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow makes LiteRT's files", allow_module_level=True)

from tfseg.exporters.saved_model import Traced

SIZE = 12, 20


def small_network(classes=4):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Rescaling(1 / 128, -1), keras.layers.Conv2D(64, 3, padding="same", activation="silu")]
    return keras.Sequential([keras.Input((None, None, 3)), *layers, keras.layers.Conv2D(classes, 3, padding="same")])


def draw_images(count):
    """Images in which neighbouring pixels are alike, and none is wholly black or white."""
    coarse = np.random.default_rng(0).integers(20, 230, (count, 3, 5, 3), np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    directory = tmp_path_factory.mktemp("litert")
    return directory, litert.write(Traced(network), SIZE, draw_images(8), directory)


@pytest.mark.parametrize(
    ("precision", "difference", "share"), [("float32", 1e-5, 1), ("float16", 0.01, 0.99), ("int8", 0.05, 0.95)]
)
def test_a_file_answers_as_the_network(exported, network, precision, difference, share):
    model = LiteRT(exported[0] / litert.FILES[precision])
    image = draw_images(9)[8:]
    logits = network(image.astype(np.float32))
    probabilities = model.network(image)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (1, *SIZE, 4))
    assert np.abs(probabilities - ops.softmax(logits)).max() < difference
    classes = model.run(images=image)["classes"]
    assert (classes.dtype, classes.shape) == (np.uint8, (1, *SIZE))
    assert (classes == ops.argmax(logits, axis=-1)).numpy().mean() >= share


def test_int8_takes_bytes_as_they_are_and_answers_in_256ths(exported):
    model = LiteRT(exported[0] / litert.FILES["int8"])
    image = model.run.get_input_details()["images"]
    assert (image["dtype"], image["quantization"]) == (np.uint8, (1.0, 0))
    likely = model.run.get_output_details()["probabilities"]
    assert (likely["dtype"], likely["quantization"]) == (np.uint8, (1 / 256, 0))


@pytest.mark.parametrize(
    ("precision", "present", "absent"),
    [("float32", np.float32, np.float16), ("float16", np.float16, np.int8), ("int8", np.int8, np.float32)],
)
def test_what_kind_of_numbers_a_file_holds(exported, precision, present, absent):
    details = LiteRT(exported[0] / litert.FILES[precision]).interpreter.get_tensor_details()
    kinds = {detail["dtype"] for detail in details}
    assert present in kinds and absent not in kinds


def test_the_largest_logit_is_the_class_of_the_int8_file(exported, network, tmp_path):
    (words,) = litert.write_logits(Traced(network), SIZE, draw_images(8), tmp_path).values()
    assert words.endswith("-> logits: uint8, quantized, (1, 12, 20, class); argmax gives classes")
    model, whole = LiteRT(tmp_path / litert.LOGITS), LiteRT(exported[0] / litert.FILES["int8"])
    image = draw_images(9)[8:]
    logits = model.run(images=image)["logits"]
    assert (logits.dtype, logits.shape) == (np.uint8, (1, *SIZE, 4))
    np.testing.assert_array_equal(logits.argmax(axis=-1), whole.run(images=image)["classes"])
    expected = ops.softmax(network(image.astype(np.float32)))
    assert np.abs(model.network(image) - expected).max() < 0.05
    with pytest.raises(ValueError, match="images of the training split, and there are none"):
        litert.write_logits(Traced(network), SIZE, [], tmp_path)


def test_what_goes_in_and_comes_out_is_worded(exported):
    assert list(exported[1]) == list(litert.FILES.values())
    for words in exported[1].values():
        assert "images: uint8 RGB, 0..255, (1, 12, 20, 3) -> classes: uint8 class ids, (1, 12, 20)" in words
    assert "probabilities: uint8, in 256ths" in exported[1]["model_int8.tflite"]


def test_an_operation_that_is_not_there_is_reported(tmp_path):
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Lambda(lambda x: ops.erfinv(x / 256))])
    with pytest.raises(ValueError, match=r"^LiteRT float32: the converter stopped \(.+\); leave out litert$"):
        litert.write(Traced(network), SIZE, draw_images(1), tmp_path)


def test_no_images_no_scale(network, tmp_path):
    with pytest.raises(ValueError, match="images of the training split, and there are none"):
        litert.write(Traced(network), SIZE, [], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_goes_in_a_file(decoder, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="TensorFlow 2.21's interpreter gets int8 of some decoders wrong")
    network = build_network(4, "tiny", None, decoder)
    litert.write(
        Traced(network), (40, 72), [*np.random.default_rng(0).integers(0, 256, (4, 40, 72, 3), np.uint8)], tmp_path
    )
    image = np.random.default_rng(1).integers(0, 256, (1, 40, 72, 3), np.uint8)
    expected = ops.softmax(network(image.astype(np.float32)))
    for precision, difference in (("float32", 1e-4), ("float16", 0.02), ("int8", 0.1)):
        assert np.abs(LiteRT(tmp_path / litert.FILES[precision]).network(image) - expected).max() < difference
