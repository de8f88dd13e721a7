import keras
import numpy as np
import pytest
from keras import ops

from tfseg.exporters import openvino as openvino_export
from tfseg.inference.runtimes.openvino import OpenVino
from tfseg.models.decoders import DECODERS
from tfseg.models.segmenter import build_network

pytest.importorskip("openvino", reason="pip install 'tf-segmentation[export]'")
if keras.backend.backend() != "tensorflow":
    pytest.skip("OpenVINO's files are made of TensorFlow's graphs", allow_module_level=True)


def write(network, directory):
    from tfseg.exporters.saved_model import Traced

    return openvino_export.write(Traced(network), directory)


@pytest.fixture(scope="module")
def network():
    return build_network(5, "tiny", None, decoder_channels=(8, 8, 8, 8, 8))


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    directory = tmp_path_factory.mktemp("openvino")
    return directory / "model.xml", write(network, directory)


@pytest.mark.parametrize("shape", [(1, 64, 32, 3), (2, 33, 47, 3), (1, 1, 1, 3)])
def test_any_batch_and_size_gives_what_the_network_gives(exported, network, shape):
    model = OpenVino(exported[0])
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_allclose(model.network(images), ops.softmax(network(images.astype(np.float32))), atol=1e-5)
    assert (model.classes, model.size) == (5, None)


def test_two_files_with_their_words(exported):
    path, words = exported
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.bin", "model.xml"] == sorted(words)
    assert words["model.xml"].startswith(
        "images: uint8 RGB, 0..255, (batch, height, width, 3), any height and width -> classes"
    )


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_goes_in_a_file(decoder, tmp_path):
    network = build_network(3, "mobilenetv3small", None, decoder=decoder)
    write(network, tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    expected = ops.softmax(network(images.astype(np.float32)))
    np.testing.assert_allclose(OpenVino(tmp_path / "model.xml").network(images), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_damage_is_named(exported, tmp_path, name):
    for file in exported[0].parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes(b"<no such thing")
    with pytest.raises(ValueError, match=r"model\.xml is damaged, or no export"):
        OpenVino(tmp_path / "model.xml")
