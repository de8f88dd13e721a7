import json

import numpy as np
import pytest
from helper_annotations import rows

from tfseg.annotations.cityscapes import known_label
from tfseg.annotations.drawing import draw_mask, list_labels

# A document as of cityscapesScripts' Annotation, with what it marks as deleted and the one label that it does not draw.
DOCUMENT = {
    "imgHeight": 6,
    "imgWidth": 8,
    "objects": [
        {"label": "road", "polygon": [[-2, 3], [9, 3], [9, 7], [-2, 7]]},
        {"label": "cargroup", "polygon": [[2, 1], [5.5, 1], [5.5, 4], [2, 4]], "deleted": 0, "verified": 1, "id": 3},
        {
            "label": "person",
            "polygon": [[0, 0], [7, 0], [7, 5], [0, 5]],
            "deleted": 1,
            "user": "a",
            "date": "24-Jul-2015",
        },
        {"label": "license plate", "polygon": [[3, 4], [5, 4], [5, 5], [3, 5]]},
    ],
}
BY_LABEL = {"road": 7, "car": 2}


def to_bytes(document):
    return json.dumps(document).encode()


def test_a_document():
    data = to_bytes(DOCUMENT)
    assert list_labels("cityscapes_polygons", data) == {"road": 1, "cargroup": 1, "license plate": 1}
    mask = draw_mask("cityscapes_polygons", data, (6, 8), BY_LABEL, 0)
    assert rows(mask) == ["00000000", "00222200", "00222200", "77222277", "77222277", "77777777"]


def test_a_license_plate_that_has_a_class_is_drawn():
    mask = draw_mask("cityscapes_polygons", to_bytes(DOCUMENT), (6, 8), BY_LABEL | {"license plate": 9}, 0)
    assert rows(mask)[4:] == ["77299977", "77799977"]


def test_labels():
    assert known_label("bus", {"bus": 1}) == "bus"
    assert known_label("busgroup", {"bus": 1}) == "bus"
    assert known_label("busgroup", {"bus": 1, "busgroup": 2}) == "busgroup"
    assert known_label("busgroup", {}) == "busgroup"
    assert known_label("license plate", {}) is None
    assert known_label("license plate", {"license plate": 1}) == "license plate"


def test_unknown_labels():
    with pytest.raises(
        ValueError, match=r"^has labels that are not in the label map: 'cargroup' \(1 shape, the first at "
    ):
        draw_mask("cityscapes_polygons", to_bytes(DOCUMENT), (6, 8), {"road": 7}, 0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"label": "road"}, "objects[0]: expected a list of points [x, y], got null"),
        ({"label": "road", "polygon": [[1, 1]]}, "objects[0]: has 1 points, expected at least 2"),
        ({"polygon": [[1, 1], [2, 2], [3, 1]]}, "objects[0]: expected a label, got null"),
        ({"label": "road", "polygon": [[1, 1], [2, 2], [3e6, 1]]}, "objects[0]: has the point (3e+06, 1), far outside"),
    ],
)
def test_what_it_refuses(entry, message):
    with pytest.raises(ValueError) as raised:
        draw_mask("cityscapes_polygons", to_bytes({"objects": [entry]}), (6, 8), BY_LABEL, 0)
    assert str(raised.value).startswith(message)


def test_equal_to_the_official_tool():
    tool = pytest.importorskip("cityscapesscripts.preparation.json2labelImg")
    annotations = pytest.importorskip("cityscapesscripts.helpers.annotation")
    random = np.random.default_rng(0)
    by_label = {label.name: label.id for label in tool.name2label.values() if label.id >= 0}
    labels = ["road", "car", "cargroup", "license plate", "out of roi", "unlabeled"]
    for _ in range(50):
        height, width = random.integers(5, 40, 2).tolist()
        objects = []
        for _ in range(6):
            points = (random.random((random.integers(2, 8), 2)) * 1.4 - 0.2) * (width, height)
            points = np.round(points) if random.random() < 0.5 else points
            objects.append({"label": str(random.choice(labels)), "polygon": points.tolist()})
        objects[0]["deleted"] = 1
        document = json.dumps({"imgHeight": height, "imgWidth": width, "objects": objects})
        annotation = annotations.Annotation()
        annotation.fromJsonText(document)
        expected = np.array(tool.createLabelImage(annotation, "ids"))
        found = draw_mask("cityscapes_polygons", document.encode(), (height, width), by_label, 0)
        assert (found == expected).all(), document
