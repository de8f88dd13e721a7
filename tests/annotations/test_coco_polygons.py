"""Polygons of COCO; the masks that are written down here are pycocotools' own."""

import numpy as np
import pytest
from helper_annotations import rows

from tfseg.annotations import coco_polygons
from tfseg.annotations.coco_polygons import draw_coco_polygons

SIZE = (6, 8)


def draw(*polygons, size=SIZE):
    return draw_coco_polygons([np.array(polygon, float).reshape(-1, 2) for polygon in polygons], size)


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        ([1, 1, 6, 1, 1, 6], "00000000 01111000 01110000 01100000 01000000 00000000"),
        ([0.5, 0.5, 4.5, 0.5, 4.5, 3.5, 0.5, 3.5], "00000000 01111000 01111000 01111000 00000000 00000000"),
        ([0, 0, 7, 5, 7, 0, 0, 5], "10000010 11000110 11101110 11000110 10000010 00000000"),  # crosses itself
        ([-3, -2, 3.3, 2.1, 9, 8.5, -2, 4], "10000000 11000000 11110000 11111000 11111100 00111100"),
        ([1.2, 0.7, 6.9, 2.2, 6.3, 4.8], "00000000 00110000 00001110 00000110 00000000 00000000"),
        ([1, 1, 6, 4, 1, 1], "00000000 00000000 00000000 00000000 00000000 00000000"),  # of no area
        ([3, 3, 3, 3, 3, 3], "00000000 00000000 00000000 00000000 00000000 00000000"),
        ([-9, -9, -5, -9, -7, -5], "00000000 00000000 00000000 00000000 00000000 00000000"),
        ([-50, -50, 50, -50, 50, 50, -50, 50], "11111111 11111111 11111111 11111111 11111111 11111111"),
    ],
)
def test_one_polygon(polygon, expected):
    assert rows(draw(polygon)) == expected.split()


def test_polygons_of_one_annotation_are_united():
    first, second = [0, 0, 3, 0, 3, 3, 0, 3], [2, 2, 6, 2, 6, 5, 2, 5]
    assert rows(draw(first, second)) == ["11100000", "11100000", "11111100", "00111100", "00111100", "00000000"]


def test_the_order_and_direction_of_corners_do_not_matter():
    corners = np.array([[1.3, 0.2], [6.9, 2.4], [4.1, 5.7], [0.4, 3.3]])
    expected = draw(corners)
    assert expected.any()
    for shift in range(4):
        assert (draw(np.roll(corners, shift, axis=0)) == expected).all()
        assert (draw(np.roll(corners, shift, axis=0)[::-1]) == expected).all()


def test_only_so_many_crossings_at_once(monkeypatch):
    corners = np.random.default_rng(1).random((30, 2)) * (20, 12)
    expected = draw(corners, size=(12, 20))
    monkeypatch.setattr(coco_polygons, "MOST_CROSSINGS", 3)
    assert (draw(corners, size=(12, 20)) == expected).all()


def test_far_outside_is_refused():
    with pytest.raises(
        ValueError, match=r"^has the point \(1e\+09, 3\), far outside an image of 6x8; are they pixels\?$"
    ):
        draw([0, 0, 1e9, 3, 0, 3])


def random_polygon(random, height, width):
    count = int(random.choice([3, 4, 5, 8, 20]))
    corners = (random.random((count, 2)) - random.choice([0, 0.3])) * (width, height) * random.choice([0.5, 1, 2, 10])
    corners *= random.choice([0, 1], 2, p=[0.05, 0.95])
    return np.round(corners * (step := random.choice([1, 2, 5, 1000]))) / step


def test_equal_to_pycocotools():
    mask_tools = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for _ in range(200):
        height, width = random.integers(1, 40, 2).tolist()
        polygons = [random_polygon(random, height, width) for _ in range(random.integers(1, 3))]
        runs = mask_tools.frPyObjects([polygon.ravel().tolist() for polygon in polygons], height, width)
        expected = mask_tools.decode(mask_tools.merge(runs)).astype(bool)
        assert (draw_coco_polygons(polygons, (height, width)) == expected).all(), (height, width, polygons)
