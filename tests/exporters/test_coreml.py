import keras
import pytest

from tfseg.exporters import coreml

pytest.importorskip("coremltools", reason="pip install 'tf-segmentation[export]'")
if keras.backend.backend() != "tensorflow":
    pytest.skip("packages are made of TensorFlow's graphs", allow_module_level=True)

from tfseg.exporters.saved_model import Traced


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 3, padding="same")])
    directory = tmp_path_factory.mktemp("coreml")
    words = coreml.write(Traced(network), (32, 48), directory)
    assert list(words) == ["model.mlpackage"] and "an RGB image of 32x48" in words["model.mlpackage"]
    return directory / "model.mlpackage"


def test_takes_an_image_and_answers_classes_and_probabilities(package):
    import coremltools

    description = coremltools.utils.load_spec(str(package)).description
    assert [entry.name for entry in description.input] == ["images"]
    image = description.input[0].type.imageType
    assert (image.height, image.width) == (32, 48)
    assert image.ColorSpace.Name(image.colorSpace) == "RGB"
    arrays = {entry.name: entry.type.multiArrayType for entry in description.output}
    types = {name: (array.ArrayDataType.Name(array.dataType), [*array.shape]) for name, array in arrays.items()}
    assert types == {"classes": ("INT32", [1, 32, 48]), "probabilities": ("FLOAT32", [1, 32, 48, 5])}


def test_another_size_is_reported(package):
    with pytest.raises(ValueError, match=r"Core ML: model\.mlpackage takes 32x48"):
        coreml.check(package, (48, 32))
