import numpy as np
from helper_models import MODEL_COLORS

from tfseg.visualization.overlay import blend


def test_blend_by_hand():
    image = np.array([[[100, 0, 255], [40, 40, 40]]], np.uint8)
    classes = np.array([[3, 0]], np.uint8)
    colors = np.array(MODEL_COLORS, np.uint8)
    assert blend(image, classes, colors, 0.0).tolist() == image.tolist()
    assert blend(image, classes, colors, 1.0).tolist() == [[[200, 210, 220], [0, 0, 0]]]
    assert blend(image, classes, colors, 0.25).tolist() == [[[125, 52, 246], [30, 30, 30]]]  # 52.5 and 246.25


def test_blend_of_many_rows():
    draw = np.random.default_rng(0)
    image, classes = draw.integers(0, 256, (600, 3, 3), np.uint8), draw.integers(0, 4, (600, 3), np.uint8)
    colors = np.array(MODEL_COLORS, np.uint8)
    rows = [blend(image[row : row + 1], classes[row : row + 1], colors, 0.3) for row in range(600)]
    np.testing.assert_array_equal(blend(image, classes, colors, 0.3), np.concatenate(rows))
