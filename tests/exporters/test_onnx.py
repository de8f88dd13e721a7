import keras
import numpy as np
import pytest
from keras import ops

from tfseg.exporters import onnx as onnx_export
from tfseg.inference.runtimes.onnx import OnnxRuntime
from tfseg.models.decoders import DECODERS
from tfseg.models.segmenter import build_network

for package in ("onnx", "tf2onnx"):
    pytest.importorskip(package, reason="pip install 'tf-segmentation[export]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'tf-segmentation[export]'")
if keras.backend.backend() != "tensorflow":
    pytest.skip("ONNX files are made of TensorFlow's graphs", allow_module_level=True)


@pytest.fixture(scope="module")
def network():
    return build_network(5, "tiny", None, decoder_channels=(8, 8, 8, 8, 8))


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    from tfseg.exporters.saved_model import Traced

    directory = tmp_path_factory.mktemp("onnx")
    words = onnx_export.write(Traced(network), directory)
    return directory / "model.onnx", words


@pytest.mark.parametrize("shape", [(1, 64, 32, 3), (2, 33, 47, 3), (1, 1, 1, 3)])
def test_any_batch_and_size_gives_what_the_network_gives(exported, network, shape):
    model = OnnxRuntime(exported[0])
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    logits = network(images.astype(np.float32))
    np.testing.assert_allclose(model.network(images), ops.softmax(logits), atol=1e-5)
    session = onnxruntime.InferenceSession(exported[0], providers=["CPUExecutionProvider"])
    [classes] = session.run(["classes"], {"images": images})
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, ops.argmax(logits, axis=-1))


def test_inputs_and_outputs_have_names_and_named_axes(exported):
    import onnx

    path, words = exported
    model = onnx.load(path)
    axes = {
        tensor.name: [axis.dim_param or axis.dim_value for axis in tensor.type.tensor_type.shape.dim]
        for tensor in (*model.graph.input, *model.graph.output)
    }
    assert axes == {
        "images": ["batch", "height", "width", 3],
        "classes": ["batch", "height", "width"],
        "probabilities": ["batch", "height", "width", 5],
    }
    assert [entry.version for entry in model.opset_import if not entry.domain] == [onnx_export.OPSET]
    assert "opset 18" in words["model.onnx"]


def test_what_onnx_runtime_is_slow_at_is_not_in_the_file(exported):
    import onnx

    kinds = {node.op_type for node in onnx.load(exported[0]).graph.node}
    assert "DepthToSpace" in kinds and not kinds & {"ConvTranspose", "Softmax"}


def test_large_logits_give_probabilities():
    from tfseg.exporters.saved_model import plain_softmax

    np.testing.assert_array_equal(plain_softmax(np.float32([[[[1000, 1000, -1000]]]])), [[[[0.5, 0.5, 0]]]])


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_goes_in_a_file(decoder, tmp_path):
    from tfseg.exporters.saved_model import Traced

    network = build_network(5, "tiny", None, decoder)
    onnx_export.write(Traced(network), tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (2, 33, 47, 3), np.uint8)
    expected = ops.softmax(network(images.astype(np.float32)))
    np.testing.assert_allclose(OnnxRuntime(tmp_path / "model.onnx").network(images), expected, atol=1e-4)
