import json

import numpy as np
import pytest
from helper_annotations import as_text, parse, png, rows

from tfseg.annotations.drawing import draw_mask, list_labels

# A document as LabelMe saves it; imageData, the image itself, is left out here as by its option --nodata.
DOCUMENT = {
    "version": "5.5.0",
    "flags": {},
    "shapes": [
        {
            "label": "road",
            "points": [[0.0, 3.4], [8.9, 3.4], [8.9, 6.0], [0.0, 6.0]],
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        },
        {"label": "car", "points": [[6.0, 5.0], [3.0, 2.0]], "group_id": 1, "shape_type": "rectangle", "flags": {}},
        {
            "label": "sign",
            "points": [[0, 0], [2, 2]],
            "group_id": None,
            "shape_type": "mask",
            "flags": {},
            "mask": as_text(png(parse("111 101 111"))),
        },
    ],
    "imagePath": "street.jpg",
    "imageData": None,
    "imageHeight": 6,
    "imageWidth": 9,
}
BY_LABEL = {"road": 1, "car": 2, "sign": 3}


def draw(*shapes, size=(13, 15)):
    document = {"shapes": [{"label": "car", **shape} for shape in shapes]}
    return draw_mask("labelme", json.dumps(document).encode(), size, BY_LABEL, 0)


def test_a_document():
    data = json.dumps(DOCUMENT).encode()
    assert list_labels("labelme", data) == {"road": 1, "car": 1, "sign": 1}
    mask = draw_mask("labelme", data, (6, 9), BY_LABEL, 0)
    assert rows(mask) == ["333000000", "303000000", "333222200", "111222211", "111222211", "111222211"]


def test_the_shape_type_may_be_missing():
    points = [[1, 1], [5, 1], [5, 3], [1, 3]]
    assert rows(draw({"points": points}, size=(5, 7))) == ["0000000", "0222220", "0222220", "0222220", "0000000"]
    assert (draw({"points": points, "shape_type": None}) == draw({"points": points, "shape_type": "polygon"})).all()
    assert (draw({"points": points, "shape_type": "oriented_rectangle"}) == draw({"points": points})).all()


def test_a_circle():
    mask = draw({"points": [[3, 3], [3, 1]], "shape_type": "circle"}, size=(7, 7))
    assert rows(mask) == ["0000000", "0022200", "0222220", "0222220", "0222220", "0022200", "0000000"]


def test_a_point_has_a_radius_of_five():
    mask = draw({"points": [[7, 6]], "shape_type": "point"})
    assert np.flatnonzero(mask[6]).tolist() == [*range(2, 13)]
    assert np.flatnonzero(mask[:, 7]).tolist() == [*range(1, 12)]


def test_a_line_has_a_width_of_ten():
    for kind in ("line", "linestrip"):
        mask = draw({"points": [[3, 6], [11, 6]], "shape_type": kind})
        assert (mask[:, 7] > 0).sum() == 10
        assert np.flatnonzero(mask[6]).tolist() == [*range(3, 12)]
    bent = draw({"points": [[3, 6], [11, 6], [11, 12]], "shape_type": "linestrip"})
    assert (bent[12] > 0).sum() == 8  # up to the image's edge


def test_a_mask_may_reach_out_of_the_image():
    shape = {"points": [[3, 1], [5, 3]], "shape_type": "mask", "mask": as_text(png(parse("111 101 111")))}
    assert rows(draw(shape, size=(3, 5))) == ["00000", "00022", "00020"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"points": [[1, 1], [2, 2]]}, "has 2 points, expected at least 3; draw it anew or delete it"),
        ({"points": [[1, 1]]}, "has 1 points, expected at least 3; draw it anew or delete it"),
        ({"points": []}, "has 0 points, expected at least 3; draw it anew or delete it"),
        ({"points": [[1, 1], [2, 2], [3, 3]], "shape_type": "circle"}, "has 3 points, expected 2 of a circle"),
        ({"points": [[1, 1], [2, 2], [3]]}, "expected points [x, y], got [3]"),
        ({"points": [[1, 1], [2, 2], "ab"]}, "expected points [x, y], got 'ab'"),
        ({"points": [[1, 1], [2, 2], [3, None]]}, "expected numbers, got null"),
        ({"points": [[1, 1], [2, 2], [3, float("inf")]]}, "has the number inf, expected finite ones"),
        ({"points": [[1, 1], [2, 2], [3, 1e300]]}, "has the point (3, 1e+300), far outside an image of 13x15"),
        ({"points": {"x": 1}}, "expected a list of points [x, y], got an object"),
        ({}, "expected a list of points [x, y], got null"),
        ({"points": [[1, 1]], "shape_type": "star"}, "has the shape_type 'star', expected one of polygon, "),
        ({"points": [[1, 1]], "shape_type": ["x"]}, "has the shape_type a list, expected one of polygon, "),
        ({"points": [[1, 1], [2, 2]], "shape_type": "mask"}, "expected text of a PNG as 'mask', got null"),
        ({"points": [[1e9, 1], [2, 2]], "shape_type": "mask", "mask": ""}, "has the point (1e+09, 1), far outside"),
        ({"points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": "!"}, "has a bitmap that is no base64 (1 letters)"),
        ({"points": [[1, 1]], "label": None}, "expected a label, got null"),
        ({"points": [[1, 1]], "label": ""}, "has the label '' of 0 bytes, expected 1 to 255"),
        ({"points": [[1, 1]], "label": "a\x1b[2J"}, r"has the label 'a\x1b[2J', expected no line breaks"),
    ],
)
def test_what_it_refuses(shape, message):
    with pytest.raises(ValueError) as raised:
        draw(shape)
    assert str(raised.value).startswith(f"shapes[0]: {message}")


def test_an_image_of_another_size():
    with pytest.raises(ValueError) as raised:
        draw_mask("labelme", json.dumps(DOCUMENT).encode(), (9, 6), BY_LABEL, 0)
    assert str(raised.value) == (
        "was annotated on an image of 6x9, but the image is 9x6, height x width; take the image that was annotated, or "
        "annotate this one"
    )


@pytest.mark.parametrize("data", [b"[]", b"3", b'{"shapes": 3}', b"{}", b"{", b"\xff\xfe", b'{"shapes": [3]}'])
def test_what_is_no_such_file(data):
    with pytest.raises(ValueError):
        draw_mask("labelme", data, (3, 4), {}, 0)
