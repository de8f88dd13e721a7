import json

import pytest
from helper_annotations import parse, rows, supervisely_text

from tfseg.annotations.drawing import draw_mask, list_labels
from tfseg.annotations.supervisely import read_supervisely_classes

# A document as of "Supervisely Annotation JSON Format".
DOCUMENT = {
    "description": "",
    "tags": [],
    "size": {"height": 7, "width": 9},
    "objects": [
        {
            "id": 497521359,
            "classId": 1661571,
            "description": "",
            "geometryType": "polygon",
            "labelerLogin": "alexxx",
            "createdAt": "2020-08-07T11:09:51.054Z",
            "updatedAt": "2020-08-07T11:09:51.054Z",
            "tags": [],
            "classTitle": "road",
            "points": {
                "exterior": [[0, 0], [6, 0], [6.4, 6], [0, 5.6]],
                "interior": [[[2, 2], [4, 2], [4, 4], [2, 4]]],
            },
        },
        {
            "id": 497521358,
            "classId": 1661572,
            "geometryType": "bitmap",
            "tags": [],
            "classTitle": "car",
            "bitmap": {"data": supervisely_text(parse("111 101 111")), "origin": [6, 4]},
        },
        {"geometryType": "rectangle", "classTitle": "sign", "points": {"exterior": [[8, 1], [7, 0]], "interior": []}},
        {"geometryType": "point", "classTitle": "corner", "points": {"exterior": [[3, 3]], "interior": []}},
    ],
}
BY_LABEL = {"road": 1, "car": 2, "sign": 3}


def draw(entry, size=(7, 9)):
    document = {"size": {"height": size[0], "width": size[1]}, "objects": [{"classTitle": "car", **entry}]}
    return draw_mask("supervisely", json.dumps(document).encode(), size, BY_LABEL, 0)


def test_a_document():
    data = json.dumps(DOCUMENT).encode()
    assert list_labels("supervisely", data) == {"road": 1, "car": 1, "sign": 1}
    assert rows(draw_mask("supervisely", data, (7, 9), BY_LABEL, 0)) == [
        "111111133",
        "111111133",
        "110001100",
        "110001100",
        "110001222",
        "111111202",
        "111111222",
    ]


def test_holes_show_what_lies_below():
    document = json.loads(json.dumps(DOCUMENT))
    whole = {
        "geometryType": "rectangle",
        "classTitle": "sign",
        "points": {"exterior": [[0, 0], [8, 6]], "interior": []},
    }
    document["objects"].insert(0, whole)
    mask = draw_mask("supervisely", json.dumps(document).encode(), (7, 9), BY_LABEL, 0)
    assert rows(mask)[3:6] == ["113331133", "113331222", "111111232"]


def test_the_type_may_be_missing():
    points = {"exterior": [[1, 1], [3, 1], [3, 3]], "interior": []}
    assert rows(draw({"bitmap": None, "points": points}, (4, 5))) == ["00000", "02220", "00220", "00020"]
    bitmap = {"data": supervisely_text(parse("11 01")), "origin": [1, 2]}
    assert rows(draw({"bitmap": bitmap}, (4, 5))) == ["00000", "00000", "02200", "00200"]


RING = supervisely_text(parse("111 101 111"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"geometryType": "line"}, ": has the geometryType 'line', of which no mask can be made; expected "),
        ({"geometryType": {}, "bitmap": 1}, ".bitmap: expected an object, got 1"),
        ({"geometryType": ["polygon"]}, ": has the geometryType a list, of which no mask can be made; expected "),
        ({}, ".points: expected an object, got null"),
        ({"points": {"exterior": [[1, 1], [2, 2]]}}, ".points.exterior: has 2 points, expected at least 3"),
        (
            {"points": {"exterior": [[1, 1], [2, 2], [3, 1]], "interior": [[[1, 1]]]}},
            ".points.interior[0]: has 1 points, expected at least 3",
        ),
        (
            {"points": {"exterior": [[1, 1], [2, 2], [3, 1]], "interior": 3}},
            ".points: expected a list as 'interior', got 3",
        ),
        (
            {"points": {"exterior": [[1, 1], [2, 2], [1e12, 1]]}},
            ".points.exterior: has the point (1e+12, 1), far outside",
        ),
        (
            {"points": {"exterior": [[1, 1], [2, 2], [2000, 1]]}},
            ": has the point (2000, 1), far outside an image of 7x9",
        ),
        (
            {"geometryType": "rectangle", "points": {"exterior": [[1, 1], [2, 2], [3, 1]]}},
            ": has 3 points, expected 2 corners of a rectangle",
        ),
        ({"bitmap": {"origin": [1, 1]}}, ".bitmap: expected text as 'data', got null"),
        ({"bitmap": {"data": RING, "origin": [1]}}, ".bitmap: expected [x, y] as 'origin', got a list"),
        ({"bitmap": {"data": RING, "origin": ["1", 1]}}, ".bitmap: expected numbers, got '1'"),
        (
            {"bitmap": {"data": RING, "origin": [7, 1]}},
            ": has a bitmap over the columns 7 to 9 and the rows 1 to 3, which",
        ),
        ({"bitmap": {"data": RING[:-8], "origin": [1, 1]}}, ": has a bitmap that is "),
    ],
)
def test_what_it_refuses(entry, message):
    with pytest.raises(ValueError) as raised:
        draw(entry)
    assert str(raised.value).startswith(f"objects[0]{message}")


def test_an_image_of_another_size():
    with pytest.raises(ValueError, match=r"^was annotated on an image of 7x9, but the image is 9x7, height x width; "):
        draw_mask("supervisely", json.dumps(DOCUMENT).encode(), (9, 7), BY_LABEL, 0)


def test_classes_of_a_project():
    meta = {
        "classes": [
            {"title": "car", "shape": "bitmap", "color": "#FF0080", "geometry_config": {}, "id": 1, "hotkey": ""},
            {"title": "road", "shape": "polygon"},
        ],
        "tags": [],
        "projectType": "images",
    }
    assert read_supervisely_classes(json.dumps(meta).encode()) == {"car": (255, 0, 128), "road": None}


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([{"title": "a"}, {"title": "a"}], "classes[1]: has the title 'a', as another one before it"),
        ([{"title": "a", "color": "red"}], "classes[0]: expected a colour such as #FF0080, got 'red'"),
        ([{"title": 3}], "classes[0]: expected a label, got 3"),
        ({}, "the file: expected a list as 'classes', got an object"),
    ],
)
def test_classes_that_are_refused(classes, message):
    with pytest.raises(ValueError) as raised:
        read_supervisely_classes(json.dumps({"classes": classes}).encode())
    assert str(raised.value) == message
