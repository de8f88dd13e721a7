import json

import keras
import numpy as np
import pytest

pytest.importorskip("litert_quantizer", reason="pip install 'tf-segmentation[export]'")
if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow makes LiteRT's files", allow_module_level=True)

from tfseg.exporters import litert, litert_mixed
from tfseg.exporters.litert_mixed import Operation, choose, group, read_operations
from tfseg.exporters.saved_model import Traced
from tfseg.inference.runtimes.litert import LiteRT

SIZE = 12, 20


def draw_images(count):
    coarse = np.random.default_rng(0).integers(20, 230, (count, 3, 5, 3), np.uint8)
    return [*coarse.repeat(4, axis=1).repeat(4, axis=2)]


def fragile_network():
    """Its second convolution has outputs of very different sizes, which int8 cannot hold in one scale."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Rescaling(1 / 128, -1), keras.layers.Conv2D(16, 3, padding="same", activation="relu")]
    network = keras.Sequential(
        [keras.Input((None, None, 3)), *layers, keras.layers.Conv2D(16, 1, name="fragile"), keras.layers.Conv2D(4, 1)]
    )
    kernel, bias = network.get_layer("fragile").get_weights()
    factors = np.float32(10.0 ** np.linspace(-1.5, 1, 16))
    network.get_layer("fragile").set_weights([kernel * factors, bias])
    last = network.layers[-1]
    last.set_weights([last.get_weights()[0] / factors[:, None], last.get_weights()[1]])
    return network


@pytest.fixture(scope="module")
def content():
    return litert.convert(Traced(fragile_network()), SIZE, "float32", [])


@pytest.fixture(scope="module")
def written(content, tmp_path_factory):
    directory = tmp_path_factory.mktemp("mixed")
    words = litert_mixed.write_mixed(content, SIZE, draw_images(24), directory)
    return directory, words | litert_mixed.write_weights(content, SIZE, directory)


def test_what_has_weights_begins_a_group():
    """normalise -> conv -> relu -> conv -> softmax, and argmax and cast of the same logits."""
    chain = [("MUL", 0, 1), ("CONV_2D", 1, 2), ("HARD_SWISH", 2, 3), ("CONV_2D", 3, 4), ("SOFTMAX", 4, 5)]
    chain += [("ARG_MAX", 4, 6), ("CAST", 6, 7)]
    operations = [Operation(kind, kind, (before,), (after,)) for kind, before, after in chain]
    assert group(operations) == [[0], [1, 2], [3]]


def test_a_sum_belongs_to_the_later_of_its_two():
    operations = [
        Operation("CONV_2D", "a", (0,), (1,)),
        Operation("CONV_2D", "b", (1,), (2,)),
        Operation("ADD", "c", (2, 1), (3,)),
    ]
    assert group(operations) == [[0], [1, 2]]


def test_the_operation_that_loses_most_stays_in_floats(written):
    report = json.loads((written[0] / "mixed_precision.json").read_text())
    first, *others = report["groups"]
    assert first["precision"] == "float16" and report["in_floats"] == 1 + sum(
        other["precision"] == "float16" for other in others
    )
    assert [group["cost"] for group in report["groups"]] == sorted((g["cost"] for g in report["groups"]), reverse=True)
    assert report["other_class"] <= report["bar"] == 0.005 and report["images"] == 20
    kinds = {detail["dtype"] for detail in LiteRT(written[0] / "model_mixed.tflite").interpreter.get_tensor_details()}
    assert {np.int8, np.float16} <= kinds


@pytest.mark.parametrize(("name", "difference"), [("model_mixed.tflite", 0.3), ("model_int8_weights.tflite", 0.05)])
def test_the_files_take_and_give_what_that_in_floats_does(written, content, name, difference):
    floats, model = LiteRT(written[0] / "x", content=content), LiteRT(written[0] / name)
    images = np.stack(draw_images(30)[24:])
    np.testing.assert_allclose(model.network(images), floats.network(images), atol=difference)
    gives = model.run.get_output_details()
    assert {key: gives[key]["dtype"] for key in gives} == {"probabilities": np.float32, "classes": np.uint8}
    assert model.run.get_input_details()["images"]["dtype"] == np.uint8


def test_weights_of_one_byte_make_a_small_file():
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(512, 3), keras.layers.Conv2D(512, 3)])
    content = litert.convert(Traced(network), SIZE, "float32", [])
    made = litert_mixed._quantize(content, None, [lambda rules: rules.add_weight_only_config(".*", "*", 8)])
    assert len(made) < 0.27 * len(content)


def test_a_network_that_bears_int8_has_it_everywhere():
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 1)])
    _, report = choose(litert.convert(Traced(network), SIZE, "float32", []), draw_images(4))
    assert report["in_floats"] == 0


def test_operations_are_read_in_their_order(content):
    kinds = [operation.kind for operation in read_operations(content)]
    assert [kind for kind in kinds if kind == "CONV_2D"] == ["CONV_2D"] * 3
    assert kinds.index("CONV_2D") < kinds.index("SOFTMAX")


def test_nothing_is_printed_and_no_images_are_an_error(content, tmp_path, capfd):
    litert_mixed.write_weights(content, SIZE, tmp_path)
    assert capfd.readouterr().out == ""
    with pytest.raises(ValueError, match="mixed is scaled by images of the training split, and there are none"):
        litert_mixed.write_mixed(content, SIZE, [], tmp_path)


def test_what_the_quantizer_cannot_read_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"LiteRT weight_only: .*; leave out weight_only"):
        litert_mixed.write_weights(b"no file of LiteRT", SIZE, tmp_path)
    assert [*tmp_path.iterdir()] == []
