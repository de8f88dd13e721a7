from pathlib import Path

import keras
import numpy as np
import pytest

from tfseg.exporters import litert, litert_int8
from tfseg.inference.runtimes.litert import LiteRT
from tfseg.models.encoders import ReversedRescaling

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow makes LiteRT's files", allow_module_level=True)

from tensorflow.lite.python import schema_py_generated as schema

from tfseg.exporters.saved_model import Traced

SIZE, FILE = (12, 20), Path("model.tflite")


def draw_images(count, seed=0):
    """Images in which neighbouring pixels are alike."""
    coarse = np.random.default_rng(seed).integers(20, 230, (count, 3, 5, 3), np.uint8)
    return [*coarse.repeat(4, axis=1).repeat(4, axis=2)]


def convert(network, images, precision="int8", logits=True):
    return litert.convert(Traced(network), SIZE, precision, images, logits)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    middle = [keras.layers.Conv2D(8, 3, padding="same", activation="silu") for _ in range(3)]
    ends = keras.layers.Rescaling(1 / 128, -1), keras.layers.Conv2D(4, 1)
    return keras.Sequential([keras.Input((None, None, 3)), ends[0], *middle, ends[1]])


@pytest.fixture(scope="module")
def contents(network):
    """Of the files in int8 and in float32."""
    return [convert(network, draw_images(8), precision) for precision in ("int8", "float32")]


def unpack(content):
    return schema.ModelT.InitFromPackedBuf(content)


def list_convolutions(model):
    return [*litert_int8._list_convolutions(model)]


def find_bias(content, number):
    """The bias of a convolution."""
    model = unpack(content)
    tensor = model.subgraphs[0].tensors[list_convolutions(model)[number].bias]
    return np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int32) * tensor.quantization.scale


def shift_bias(content, number, by):
    """A file whose convolution of this number gives more than it should."""
    model = unpack(content)
    litert_int8._add_to_bias(model, list_convolutions(model)[number].bias, np.full(8, by))
    return litert_int8._pack(model)


def test_a_range_is_the_mean_of_those_of_images():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1, use_bias=False)])
    network.layers[0].kernel.assign(np.eye(3, dtype=np.float32)[None, None])
    images = [np.full((*SIZE, 3), value, np.uint8) for value in (100, 110, 120, 230)]
    for image in images:
        image[0, 0] = 0
    details = LiteRT(FILE, 3, convert(network, images)).run.get_output_details()["logits"]
    scale, zero_point = details["quantization"]
    assert (scale, zero_point) == (pytest.approx(140 / 255), 0)


def test_pixels_are_taken_as_they_are_whatever_the_images(network):
    details = LiteRT(FILE, 3, convert(network, [np.full((*SIZE, 3), 7, np.uint8)])).run.get_input_details()["images"]
    assert details["quantization"] == (1, 0)


@pytest.mark.parametrize("number", [0, 2])
def test_a_bias_that_is_wrong_is_found(contents, number):
    content, exact = contents
    wrong, images = shift_bias(content, number, by=0.2), draw_images(4)
    expected = find_bias(litert_int8.correct_biases(content, exact, images), number)
    assert np.abs(find_bias(wrong, number) - expected).min() > 0.15
    found = find_bias(litert_int8.correct_biases(wrong, exact, images), number)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_means_are_those_in_floats(contents):
    model, exact, images = *map(unpack, contents), draw_images(8)[::2]
    found, expected = (litert_int8.find_means(each, list_convolutions(each), images) for each in (model, exact))
    assert len(found) == 4
    for convolution, mean, wanted in zip(list_convolutions(model), found, expected, strict=True):
        step = model.subgraphs[0].tensors[convolution.output].quantization.scale[0]
        np.testing.assert_allclose(mean, wanted, atol=step / 4)


def test_a_pass_computes_no_more_than_it_reads(contents, monkeypatch):
    lengths, make = [], litert_int8.make_interpreter

    def look(content, own_kernels):
        lengths.append(len(unpack(content).subgraphs[0].operators))
        return make(content, own_kernels)

    monkeypatch.setattr(litert_int8, "make_interpreter", look)
    litert_int8.correct_biases(*contents, draw_images(1))
    exact, *passes = lengths
    assert exact == len(unpack(contents[1]).subgraphs[0].operators)
    assert len(passes) == 4 and passes == sorted(passes) and passes[0] < passes[-1]


def test_what_one_pass_holds_is_bounded(monkeypatch):
    monkeypatch.setattr(litert_int8, "HELD", 10)
    given = [litert_int8.Convolution(0, 0, -1, size) for size in (4, 5, 30, 1)]
    assert [[each.size for each in group] for group in litert_int8._split(given)] == [[4, 5], [30], [1]]
    assert [*litert_int8._split([])] == []


def test_a_bias_that_two_convolutions_share_is_parted(contents):
    model = unpack(contents[0])
    first, second, *_ = list_convolutions(model)
    graph = model.subgraphs[0]
    graph.operators[second.position].inputs = [*graph.operators[second.position].inputs[:2], first.bias]
    corrected = litert_int8.correct_biases(litert_int8._pack(model), contents[1], draw_images(4))
    assert len({each.bias for each in list_convolutions(unpack(corrected))}) == 4
    assert np.abs(find_bias(corrected, 0) - find_bias(corrected, 1)).max() > 1e-3


def test_a_network_without_convolutions_is_left(tmp_path):
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 128, -1)])
    image = draw_images(1)[0]
    answer = LiteRT(FILE, 3, convert(network, [image])).run(images=image[np.newaxis])["logits"]
    assert answer.shape == (1, *SIZE, 3)


def test_channels_the_other_way_round_have_their_scale():
    """What ResNet and VGG take."""
    keras.utils.set_random_seed(2)
    turned = ReversedRescaling(1.0, [-103.939, -116.779, -123.68])
    network = keras.Sequential([keras.Input((None, None, 3)), turned, keras.layers.Conv2D(4, 1)])
    images = draw_images(4)
    model = LiteRT(FILE, 3, convert(network, images, logits=False))
    expected = keras.ops.softmax(network(np.float32(images[:1]) / 1.0))
    assert np.abs(model.network(images[0][np.newaxis]) - expected).mean() < 0.02
