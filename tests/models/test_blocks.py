import keras
import numpy as np
import pytest
from keras import layers, ops

from tfseg.models.blocks import EnlargeLike, PoolToGrid


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).normal(size=(2, 6, 10, 3)).astype(np.float32)


@pytest.mark.parametrize("size", [(6, 10), (12, 20), (48, 80), (7, 23), (1, 2)])
def test_enlarging_is_bilinear(image, size):
    ours = EnlargeLike()([image, np.zeros((2, *size, 1), np.float32)])
    expected = ops.image.resize(image, size, "bilinear")
    np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(expected), atol=1e-5)


def test_pooling_literally():
    line = np.float32([3, 6, 9, 12]).reshape(1, 1, 4, 1)
    pooled = {cells: ops.convert_to_numpy(PoolToGrid(cells)(line))[0, 0, :, 0] for cells in (1, 2, 3, 8)}
    np.testing.assert_allclose(pooled[1], [7.5], rtol=1e-6)
    np.testing.assert_allclose(pooled[2], [4.5, 10.5], rtol=1e-6)
    np.testing.assert_allclose(pooled[3], [3.75, 7.5, 11.25], rtol=1e-6)  # a quarter of a cell is the next pixel
    np.testing.assert_allclose(pooled[8], [3, 3, 6, 6, 9, 9, 12, 12], rtol=1e-6)


def test_pooling_to_cells_of_whole_pixels_is_average_pooling(image):
    expected = layers.AveragePooling2D((3, 5))(image)
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (PoolToGrid(2)(image), expected)), atol=1e-6)


def test_any_size_in_a_model(image):
    x = keras.Input((None, None, 3))
    model = keras.Model(x, EnlargeLike()([PoolToGrid(3)(x), x]))
    assert model.output_shape == (None, None, None, 3)
    assert model.predict(image, verbose=0).shape == image.shape
    assert model.predict(image[:, :5], verbose=0).shape == (2, 5, 10, 3)
