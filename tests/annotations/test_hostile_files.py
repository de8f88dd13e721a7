"""Whatever a file of annotations holds: it becomes a mask, or is refused by a ValueError in one line."""

import copy
import json

import numpy as np
import pytest
from helper_annotations import as_text, parse, png, supervisely_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfseg.annotations.coco import index_coco
from tfseg.annotations.drawing import draw_mask, list_labels
from tfseg.annotations.label_studio import index_label_studio

SIZE = (6, 8)
BY_LABEL = {"a": 1, "b": 2, "0": 1, "1": 2}
RING = parse("111 101 111")
POINTS = [[1, 1], [6.5, 1], [1, 5]]
BRUSH = [0, 0, 0, 192, 57, 27, 254, 99, 255, 203, 96, 0]  # 100 values of 255, 92 of 0
FLAT = [1, 1, 6.5, 1, 1, 5]

COCO_ANNOTATIONS = [
    {"category_id": 1, "iscrowd": 0, "segmentation": [FLAT, FLAT]},
    {"category_id": 2, "iscrowd": 1, "segmentation": {"size": [6, 8], "counts": "742O1O1Ob0"}},
    {"category_id": 2, "iscrowd": 0, "segmentation": {"size": [6, 8], "counts": [7, 4, 2, 35]}},
]
REGIONS = [
    {"id": "1", "type": "polygonlabels", "value": {"points": POINTS, "polygonlabels": ["a"]}},
    {"id": "2", "type": "brushlabels", "value": {"rle": BRUSH, "brushlabels": ["b"]}},
    {
        "id": "3",
        "type": "rectanglelabels",
        "value": {"x": 1, "y": 2, "width": 50, "height": 9, "rectanglelabels": ["a"]},
    },
    {
        "id": "4",
        "type": "ellipselabels",
        "value": {"x": 50, "y": 50, "radiusX": 30, "radiusY": 9, "rotation": 3, "ellipselabels": ["a"]},
    },
]
for region in REGIONS:
    region.update(original_width=8, original_height=6, image_rotation=0)

DOCUMENTS = {
    "coco": {"height": 6, "width": 8, "categories": {"1": "a", "2": "b"}, "annotations": COCO_ANNOTATIONS},
    "labelme": {
        "imageHeight": 6,
        "imageWidth": 8,
        "shapes": [
            {"label": "a", "points": POINTS, "shape_type": "polygon"},
            {"label": "b", "points": POINTS[:2], "shape_type": "circle"},
            {"label": "b", "points": POINTS[:2], "shape_type": "rectangle"},
            {"label": "b", "points": POINTS, "shape_type": "linestrip"},
            {"label": "b", "points": POINTS[:1], "shape_type": "point"},
            {"label": "a", "points": [[1, 1], [3, 3]], "shape_type": "mask", "mask": as_text(png(RING))},
        ],
    },
    "cityscapes_polygons": {"imgHeight": 6, "imgWidth": 8, "objects": [{"label": "a", "polygon": POINTS}]},
    "supervisely": {
        "size": {"height": 6, "width": 8},
        "objects": [
            {
                "classTitle": "a",
                "geometryType": "polygon",
                "points": {"exterior": POINTS, "interior": [[[2, 2], [3, 2], [2, 3]]]},
            },
            {"classTitle": "b", "geometryType": "rectangle", "points": {"exterior": POINTS[:2], "interior": []}},
            {"classTitle": "b", "geometryType": "bitmap", "bitmap": {"data": supervisely_text(RING), "origin": [1, 1]}},
        ],
    },
    "label_studio": {"result": REGIONS},
    "yolo": "0 0.1 0.1 0.9 0.1 0.5 0.8\n1 0.2 0.2 0.4 0.2 0.4 0.4 0.2 0.4\n",
}
FILES = {
    "coco_file": {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 8}],
        "annotations": [{"id": 3, "image_id": 1} | annotation for annotation in COCO_ANNOTATIONS],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    },
    "label_studio_file": [
        {"id": 1, "data": {"image": "/data/upload/a.jpg"}, "annotations": [{"id": 2, "result": REGIONS}]},
    ],
}

ODD = st.sampled_from(
    [
        *(None, True, "", "x", "\x1b[2J", "é" * 300, [], {}, [[]], [None], {"a": 1}, POINTS, [0, 0], [1e9, -1e9]),
        *(0, -1, 3, 6, 8, 1e-300, -0.0, 1e6, 1e18, -(10**18), 2**62, 1e308, float("nan"), float("inf")),
        *("polygon", "bitmap", "mask", as_text(png(RING, "RGB")), supervisely_text(np.ones((30, 30)))),
        *("0" * 50, "o" * 50, [10**18] * 3, [0] * 100),
    ]
)


def places(value, path=()):
    """Where in a document something may be changed."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def changed(draw, document):
    """Bytes of a document, in which some values are others, are missing or come twice, or some bytes are others."""
    document = json.loads(json.dumps(document))  # a copy, none of whose parts are the same
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from([*places(document)]))
        if not place:
            continue
        *outer, key = place
        holder = document
        for step in outer:
            holder = holder[step]
        how = draw(st.sampled_from(["other", "other", "missing", "twice", "cut"]))
        if how == "missing":
            del holder[key]
        elif how == "twice" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif how == "cut" and isinstance(holder[key], str):
            holder[key] = holder[key][: draw(st.integers(0, len(holder[key])))]
        else:
            holder[key] = copy.deepcopy(draw(ODD))
    data = bytearray((document if isinstance(document, str) else json.dumps(document)).encode())
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.just(len(data)) | st.integers(0, len(data)))])


QUICK = {"suppress_health_check": [*HealthCheck], "deadline": None, "database": None, "derandomize": True}


def check(form, data):
    """Draws; what is refused is refused in one line that any terminal can show."""
    try:
        mask = draw_mask(form, data, SIZE, BY_LABEL, 0)
    except ValueError as error:
        assert str(error).isprintable(), repr(str(error))
        assert len(str(error)) < 2000
        return
    assert (mask.dtype, mask.shape) == (np.uint8, SIZE)
    assert sum(list_labels(form, data).values()) >= 0


@pytest.mark.parametrize("form", sorted(DOCUMENTS))
@settings(max_examples=60, **QUICK)
@given(chosen=st.data())
def test_documents_of_one_image(form, chosen):
    check(form, chosen.draw(changed(DOCUMENTS[form])))


@pytest.mark.parametrize("form", sorted(DOCUMENTS))
def test_unchanged_they_are_drawn(form):
    document = DOCUMENTS[form]
    mask = draw_mask(
        form, (document if isinstance(document, str) else json.dumps(document)).encode(), SIZE, BY_LABEL, 0
    )
    assert 0 in mask and mask.any()


@pytest.mark.parametrize("name", sorted(FILES))
@settings(max_examples=60, **QUICK)
@given(chosen=st.data())
def test_files_of_many_images(name, chosen, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "a.json"
    path.write_bytes(chosen.draw(changed(FILES[name])))
    form, index = ("coco", index_coco) if name == "coco_file" else ("label_studio", index_label_studio)
    try:
        entries = [*index(path)]
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")
        assert str(error).isprintable(), repr(str(error))
        return
    for entry in entries:
        if entry.data:
            check(form, entry.data)
