import json

import numpy as np
import pytest

from tfseg.annotations.drawing import READERS, draw_mask, list_labels


def labelme(*labels, points=((1, 1), (5, 1), (5, 3))):
    shapes = [{"label": label, "points": [*map(list, points)]} for label in labels]
    return json.dumps({"shapes": shapes}).encode()


def test_the_forms():
    """As conversion calls them."""
    assert set(READERS) == {"coco", "labelme", "yolo", "cityscapes_polygons", "supervisely", "label_studio"}


def test_what_comes_out():
    mask = draw_mask("labelme", labelme("a"), (4, 6), {"a": 255}, 7)
    assert (mask.dtype, mask.shape, mask.flags.writeable) == (np.uint8, (4, 6), True)
    assert set(mask.ravel().tolist()) == {7, 255}
    assert (draw_mask("labelme", labelme(), (4, 6), {}, 7) == 7).all()


def test_unknown_labels_are_all_named():
    data = labelme("a", "tree", "b!", "tree", "c", "d", "e", "f", "g")
    with pytest.raises(ValueError) as raised:
        draw_mask("labelme", data, (4, 6), {"a": 1}, 0)
    assert str(raised.value) == (
        "has labels that are not in the label map: 'tree' (2 shapes, the first at shapes[1]), 'b!' (1 shape, the first "
        "at shapes[2]), 'c' (1 shape, the first at shapes[4]), 'd' (1 shape, the first at shapes[5]), 'e' (1 shape, "
        "the first at shapes[6]) and 2 more; add them to the label map, or give it a class for all others"
    )


def test_a_class_for_all_others():
    data = labelme("a", "tree")
    assert list_labels("labelme", data) == {"a": 1, "tree": 1}
    assert set(draw_mask("labelme", data, (4, 6), {"a": 1}, 0, default=3).ravel().tolist()) == {0, 3}
    assert set(draw_mask("labelme", data, (4, 6), {"a": 1, "tree": 2}, 0, default=3).ravel().tolist()) == {0, 2}


def test_only_so_many_shapes():
    data = b'{"shapes": [' + b",".join([b"{}"] * 50_001) + b"]}"
    with pytest.raises(ValueError, match=r"^the file: has 50,001 shapes; more than 50,000 of one image are not drawn$"):
        list_labels("labelme", data)


def test_only_so_many_polygons_whatever_they_are_of():
    many = {"category_id": 1, "segmentation": [[0, 0, 1, 0, 1, 1]] * 25_001}
    data = json.dumps({"height": 4, "width": 6, "categories": {"1": "a"}, "annotations": [many, many]}).encode()
    message = r"^the image: has 50,002 polygons; more than 50,000 of one image are not drawn$"
    with pytest.raises(ValueError, match=message):
        list_labels("coco", data)


@pytest.mark.parametrize("form", sorted(READERS))
def test_files_of_something_else(form):
    for data in (b"\x89PNG\r\n\x1a\n\xff", b"<xml/>", b'{"a": 1, "a": 2}', b"[" * 100_000, b"[1, 2]"):
        with pytest.raises(ValueError):
            list_labels(form, data)


def test_the_default_is_not_for_a_slip():
    """Car is car, written in another way; a dog is something else."""
    data = b'{"shapes": [{"label": "%s", "shape_type": "rectangle", "points": [[0, 0], [1, 0]]}]}'
    assert draw_mask("labelme", data % b"dog", (1, 3), {"car": 1}, 0, default=2).tolist() == [[2, 2, 0]]
    for label in (b"Car", b"car ", b"CAR"):
        with pytest.raises(
            ValueError, match=r"labels that are not in the label map: .*; is '.*' 'car'[?]; add them to"
        ):
            draw_mask("labelme", data % label, (1, 3), {"car": 1}, 0, default=2)
