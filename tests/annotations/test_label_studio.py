import json

import numpy as np
import pytest
from helper_annotations import rows

from tfseg.annotations.drawing import draw_mask, list_labels
from tfseg.annotations.label_studio import index_label_studio, without_upload_prefix

# By label_studio_sdk's mask2rle, of 3x5 pixels: 00000 01110 10000.
BRUSH = [0, 0, 0, 60, 57, 27, 254, 23, 0, 183, 255, 24, 4, 127, 247, 192, 0]
BY_LABEL = {"Road": 1, "Car": 2, "Sky": 3}


def result(kind, labels, size=(6, 8), **value):
    height, width = size
    return {
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value | {kind: labels},
        "id": "Dx_aB91ISN",
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "origin": "manual",
    }


def task(*results, image="/data/upload/3/0f3a9c1e-street%201.jpg", **annotation):
    """A task as of "Label Studio JSON format of annotated tasks"."""
    return {
        "id": 1,
        "annotations": [
            {
                "id": 1001,
                "completed_by": 1,
                "result": [*results],
                "was_cancelled": False,
                "ground_truth": False,
                "created_at": "2021-03-09T22:16:08.728353Z",
                "lead_time": 4.288,
                "task": 1,
            }
            | annotation
        ],
        "file_upload": "0f3a9c1e-street 1.jpg",
        "predictions": [],
        "data": {"image": image},
        "created_at": "2021-03-09T21:52:49.513742Z",
        "project": 3,
    }


def read(tmp_path, *tasks):
    path = tmp_path / "project-3.json"
    path.write_text(json.dumps(tasks))
    return [*index_label_studio(path)]


def draw(tmp_path, *results, size=(6, 8)):
    return draw_mask("label_studio", read(tmp_path, task(*results))[0].data, size, BY_LABEL, 0)


POLYGON = result("polygonlabels", ["Road"], points=[[12.5, 100 / 6], [75, 100 / 6], [12.5, 100]], closed=True)


def test_the_index(tmp_path):
    unlabeled = task() | {"annotations": []}
    skipped = task(POLYGON, was_cancelled=True)
    first, second, third, fourth = read(tmp_path, task(POLYGON), task(), unlabeled, skipped)
    assert first[:2] == ("0f3a9c1e-street 1.jpg", (6, 8))
    assert list_labels("label_studio", first.data) == {"Road": 1}
    assert second[1] is None
    assert list_labels("label_studio", second.data) == {}  # annotated, with nothing on it
    assert third[1:] == fourth[1:] == (None, b"")


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("/data/local-files/?d=drives/1/street%201.png", "drives/1/street 1.png"),
        ("https://example.com/a%20b/street.jpg?token=x.png", "street.jpg"),
        ("s3://bucket/folder/street.JPG", "street.JPG"),
        ("street.jpg", "street.jpg"),
    ],
)
def test_names_of_files(tmp_path, image, name):
    assert read(tmp_path, task(image=image))[0].file_name == name


def test_prefixes_of_uploads():
    assert without_upload_prefix("0f3a9c1e-street-1.jpg") == "street-1.jpg"
    for name in ("street-1.jpg", "0f3a9c1-street.jpg", "0F3A9C1E-street.jpg", "0f3a9c1e-"):
        assert without_upload_prefix(name) == name


def test_a_polygon(tmp_path):
    """As pycocotools draws its corners (1, 1), (6, 1) and (1, 6)."""
    expected = ["00000000", "01111000", "01110000", "01100000", "01000000", "00000000"]
    assert rows(draw(tmp_path, POLYGON)) == expected


def test_a_brush(tmp_path):
    brush = result("brushlabels", ["Car"], size=(3, 5), format="rle", rle=BRUSH)
    assert rows(draw(tmp_path, brush, size=(3, 5))) == ["00000", "02220", "20000"]


def rectangle(rotation):
    return result("rectanglelabels", ["Sky"], x=50, y=0, width=25, height=50, rotation=rotation)


def test_a_rectangle(tmp_path):
    assert rows(draw(tmp_path, rectangle(0))) == ["00003300"] * 3 + ["00000000"] * 3
    # About its upper left corner, clockwise: its height now reaches to the left.
    assert rows(draw(tmp_path, rectangle(90))) == ["03330000"] * 2 + ["00000000"] * 4


def test_an_ellipse(tmp_path):
    ellipse = result("ellipselabels", ["Sky"], x=50, y=50, radiusX=37.5, radiusY=100 / 3, rotation=0)
    assert rows(draw(tmp_path, ellipse)) == ["00000000", "00333300", "03333330", "03333330", "00333300", "00000000"]
    ellipse["value"]["rotation"] = 90
    assert rows(draw(tmp_path, ellipse)) == ["00033000"] + ["00333300"] * 4 + ["00033000"]
    for radius in (0, 1e-300):
        ellipse["value"]["radiusX"] = radius
        assert not draw(tmp_path, ellipse).any()


def test_later_regions_lie_over_earlier_ones(tmp_path):
    assert rows(draw(tmp_path, POLYGON, rectangle(0)))[1] == "01113300"
    assert rows(draw(tmp_path, rectangle(0), POLYGON))[1] == "01111300"


def test_labels_as_a_tag_beside_the_region(tmp_path):
    bare = result("polygon", None, points=POLYGON["value"]["points"])
    bare["value"].pop("polygon")
    labels = result("labels", ["Car"], points=POLYGON["value"]["points"])
    assert rows(draw(tmp_path, bare, labels))[1] == "02222000"


def test_what_covers_no_pixels_is_left_out(tmp_path):
    choice = {"type": "choices", "value": {"choices": ["night"]}, "from_name": "c", "to_name": "image"}
    point = result("keypointlabels", ["Car"], x=1, y=1, width=1)
    assert not draw(tmp_path, choice, point, {"type": "relation", "from_id": "a", "to_id": "b"}).any()


def test_of_more_annotations_the_ground_truth_counts(tmp_path):
    twice = task(POLYGON)
    twice["annotations"].append(task(rectangle(0), ground_truth=True)["annotations"][0])
    assert list_labels("label_studio", read(tmp_path, twice)[0].data) == {"Sky": 1}
    twice["annotations"][0]["ground_truth"] = True
    with pytest.raises(
        ValueError, match=r"has 2 annotations, of which 2 are marked as ground truth; mark the one that"
    ):
        read(tmp_path, twice)


def other(entry, **value):
    return entry | {"value": entry["value"] | value}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            other(POLYGON, polygonlabels=["Road", "Car"]),
            ": is a region with 2 labels, expected one; label it, or delete it",
        ),
        (other(POLYGON, polygonlabels=[]), ": is a region with 0 labels, expected one"),
        (other(POLYGON, polygonlabels="Road"), ": is a region with no labels, expected one"),
        (other(POLYGON, polygonlabels=[3]), ": expected a label, got 3"),
        (POLYGON | {"type": "polygon"}, ": is a region with no labels, expected one"),
        (
            POLYGON | {"image_rotation": 90},
            ": is of an image that was turned in Label Studio; annotate it as it is stored",
        ),
        (POLYGON | {"value": 3}, ".value: expected an object, got 3"),
        (other(POLYGON, points=[[1, 1], [2, 2]]), ".value: has 2 points, expected at least 3"),
        (
            other(POLYGON, points=[[1, 1], [2, 2], [1e9, 1]]),
            ": has the point (8e+07, 0.06), far outside an image of 6x8",
        ),
        (other(rectangle(0), x=None), ".value: expected a number as 'x', got null"),
        (other(rectangle(0), width="5"), ".value: expected a number as 'width', got '5'"),
        (other(rectangle(0), height=1e300), ": has the point (6, 6e+298), far outside an image of 6x8"),
        (other(rectangle(0), rotation=float("nan")), ".value: expected a number as 'rotation', got nan"),
        (result("ellipselabels", ["Car"], x=1, y=1, radiusX=1e12, radiusY=1), ": has the point (-8e+10, -8e+10), far"),
        (
            result("brushlabels", ["Car"], rle=BRUSH),
            ": has a brush of 60 values of 8 bits, but an image of 6x8 has 192",
        ),
        (result("brushlabels", ["Car"], rle="AAAA"), ".value: expected a list as 'rle', got 'AAAA'"),
    ],
)
def test_what_it_refuses(tmp_path, entry, message):
    with pytest.raises(ValueError) as raised:
        draw(tmp_path, rectangle(0) | {"id": "another"}, entry)
    assert str(raised.value).startswith(f"entry 0 (task 1), result[1]{message}")


@pytest.mark.parametrize(
    ("entry", "point"),
    [
        (other(rectangle(0), x=1.7e308), "(inf, 0)"),
        (other(rectangle(45), width=1.7e308, height=1.7e308), "(inf, inf)"),
        (other(POLYGON, points=[[1, 1], [2, 2], [-1.7e308, 1]]), "(-inf, 2)"),
        (result("ellipselabels", ["Car"], x=1.7e308, y=1, radiusX=1, radiusY=1), "(inf, -6)"),
    ],
)
def test_numbers_that_no_float_holds_in_pixels(tmp_path, entry, point):
    with pytest.raises(ValueError) as raised:
        draw(tmp_path, entry | {"original_height": 200, "original_width": 800}, size=(200, 800))
    assert f"has the point {point}, far outside an image of 200x800" in str(raised.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": {"image": "a.jpg", "after": "b.jpg"}}, "expected one image in its 'data', got after, image"),
        ({"data": {"text": "abc"}}, "expected one image in its 'data', got none"),
        ({"data": {"image": "http://[a.jpg"}}, "expected one image in its 'data', got none"),
        ({"data": 3}, "has no 'data' and 'annotations'; export the project as JSON, not as JSON-MIN"),
        ({"annotations": 3}, "expected a list as 'annotations', got 3"),
        ({"annotations": [{"result": {}}]}, "expected a list as 'result', got an object"),
    ],
)
def test_tasks_that_are_refused(tmp_path, changed, message):
    with pytest.raises(ValueError) as raised:
        read(tmp_path, task(), task(POLYGON) | changed)
    assert str(raised.value) == f"{tmp_path / 'project-3.json'}: entry 1 (task 1): {message}"


def test_regions_of_other_sizes(tmp_path):
    with pytest.raises(
        ValueError, match=r"entry 0 \(task 1\): has regions of images of 3x5 and 6x8, expected one size$"
    ):
        read(tmp_path, task(POLYGON, result("brushlabels", ["Car"], size=(3, 5), rle=BRUSH)))
    data = read(tmp_path, task(POLYGON))[0].data
    with pytest.raises(ValueError, match=r"^was annotated on an image of 6x8, but the image is 8x6, height x width; "):
        draw_mask("label_studio", data, (8, 6), BY_LABEL, 0)


def test_other_exports(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"image": "a.jpg", "id": 1, "label": [{"points": [[1, 1]]}]}]))
    with pytest.raises(
        ValueError, match=r"entry 0 \(task 1\): has no 'data' and 'annotations'; export the project as JSON"
    ):
        next(index_label_studio(path))
    path.write_text('{"images": []}')
    with pytest.raises(ValueError, match=r"a\.json: is no list of tasks; export the project as JSON$"):
        next(index_label_studio(path))


def test_a_turned_ellipse_is_the_same_after_half_a_turn(tmp_path):
    ellipse = result("ellipselabels", ["Sky"], size=(30, 40), x=45, y=55, radiusX=30, radiusY=12, rotation=33)
    first = draw(tmp_path, ellipse, size=(30, 40))
    assert 0 < np.count_nonzero(first) < first.size
    assert (draw(tmp_path, other(ellipse, rotation=33 + 180), size=(30, 40)) == first).all()
