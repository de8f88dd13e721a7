"""Core ML, run by macOS: it answers the classes and probabilities of the network that the package was made of."""

import sys

import keras
import numpy as np
import pytest
from helpers import draw

from tfseg.exporters import coreml, parity

if sys.platform != "darwin":
    pytest.skip("only macOS runs Core ML", allow_module_level=True)
pytest.importorskip("coremltools", reason="pip install 'tf-segmentation[export]'")
if keras.backend.backend() != "tensorflow":
    pytest.skip("packages are made of TensorFlow's graphs", allow_module_level=True)

import tensorflow as tf

from tfseg.exporters.saved_model import Traced
from tfseg.models.segmenter import build_network

SIZE = (64, 96)
IMAGES = [draw(index, *SIZE)[0] for index in range(3)]


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return build_network(5, "tiny", None, decoder_channels=(8, 8, 8, 8, 8))


@pytest.fixture(scope="module")
def package(network, tmp_path_factory):
    directory = tmp_path_factory.mktemp("coreml")
    coreml.write(Traced(network), SIZE, directory)
    return directory / coreml.PACKAGE


@pytest.mark.parametrize("units", ["CPU_ONLY", "CPU_AND_GPU", "ALL"])
def test_it_answers_what_the_network_answers(network, package, units):
    import coremltools
    from PIL import Image

    model = coremltools.models.MLModel(str(package), compute_units=coremltools.ComputeUnit[units])
    for image in IMAGES:
        answer = model.predict({"images": Image.fromarray(image)})
        with tf.device("CPU:0"):  # so that a fault of tensorflow-metal is none of Core ML's
            expected = parity.as_function(network)(image[np.newaxis])
        compare(expected, answer["probabilities"], answer["classes"])


def compare(expected: np.ndarray, probabilities: np.ndarray, classes: np.ndarray) -> None:
    """Compares with the network's probabilities, float32 (1, H, W, C), within what float16 costs."""
    assert probabilities.shape == expected.shape and classes.shape == expected.shape[:3]
    assert np.abs(probabilities - expected).max() < 0.02
    np.testing.assert_array_equal(classes, probabilities.argmax(axis=-1))
    first, second = np.sort(expected, axis=-1)[..., -1], np.sort(expected, axis=-1)[..., -2]
    sure = first - second > 0.04
    assert sure.any() and (classes == expected.argmax(axis=-1))[sure].all()
