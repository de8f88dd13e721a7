import json

import pytest
from helper_annotations import rows

from tfseg.annotations.coco import index_coco
from tfseg.annotations.drawing import draw_mask, list_labels

# A document as of "COCO data format", with all three kinds of segmentations.
DOCUMENT = {
    "info": {"year": 2017, "version": "1.0", "description": "", "contributor": "", "url": "", "date_created": ""},
    "licenses": [{"id": 1, "name": "", "url": ""}],
    "images": [
        {
            "id": 42,
            "width": 8,
            "height": 6,
            "file_name": "000042.jpg",
            "license": 1,
            "coco_url": "",
            "date_captured": "",
        },
        {"id": 7, "width": 3, "height": 2, "file_name": "night/000007.jpg"},
    ],
    "annotations": [
        {
            "id": 100,
            "image_id": 42,
            "category_id": 18,
            "segmentation": [[1, 1, 6, 1, 1, 6]],
            "area": 10.0,
            "bbox": [1, 1, 5, 5],
            "iscrowd": 0,
        },
        {
            "id": 101,
            "image_id": 7,
            "category_id": 1,
            "segmentation": {"size": [2, 3], "counts": [1, 2, 3]},
            "iscrowd": 1,
        },
        {
            "id": 102,
            "image_id": 42,
            "category_id": 1,
            "segmentation": [[0, 0, 3, 0, 3, 3, 0, 3], [2, 2, 6, 2, 6, 5, 2, 5]],
            "iscrowd": 0,
        },
        {"id": 103, "image_id": 42, "category_id": 18, "segmentation": {"size": [6, 8], "counts": "0`1"}, "iscrowd": 1},
    ],
    "categories": [
        {"id": 18, "name": "dog", "supercategory": "animal"},
        {"id": 1, "name": "person", "supercategory": "person"},
    ],
}


def write(tmp_path, document):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(document))
    return path


def changed(change):
    document = json.loads(json.dumps(DOCUMENT))
    change(document)
    return document


def test_the_index(tmp_path):
    index = index_coco(write(tmp_path, DOCUMENT))
    assert index.categories == ("person", "dog")  # in the order of their ids
    assert len(index) == 2
    first, second = index
    assert first[:2] == ("000042.jpg", (6, 8))
    assert second[:2] == ("night/000007.jpg", (2, 3))
    assert list_labels("coco", first.data) == {"dog": 2, "person": 1}
    assert list_labels("coco", second.data) == {"person": 1}


def test_masks(tmp_path):
    """Later annotations lie over earlier ones; the crowd, which covers all, below both."""
    first, second = index_coco(write(tmp_path, DOCUMENT))
    mask = draw_mask("coco", first.data, first.size, {"person": 1, "dog": 2}, 0)
    assert rows(mask) == ["11122222", "11122222", "11111122", "22111122", "22111122", "22222222"]
    mask = draw_mask("coco", second.data, second.size, {"person": 1, "dog": 2}, 9)
    assert rows(mask) == ["919", "199"]


def test_an_image_without_annotations(tmp_path):
    document = changed(lambda document: document.update(annotations=[]))
    entry = next(iter(index_coco(write(tmp_path, document))))
    assert rows(draw_mask("coco", entry.data, (6, 8), {}, 3)) == ["33333333"] * 6


def test_the_size_may_be_missing(tmp_path):
    document = changed(lambda document: [document["images"][0].pop(key) for key in ("width", "height")])
    entry = next(iter(index_coco(write(tmp_path, document))))
    assert entry.size is None
    assert draw_mask("coco", entry.data, (6, 8), {"person": 1, "dog": 2}, 0).shape == (6, 8)


def test_names_in_any_script(tmp_path):
    document = changed(lambda document: document["categories"][0].update(name="犬"))
    entry = next(iter(index_coco(write(tmp_path, document))))
    assert list_labels("coco", entry.data) == {"犬": 2, "person": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("annotations"), "is no COCO file of objects: it lacks annotations"),
        (
            lambda d: (d.pop("images"), d.pop("categories")),
            "is no COCO file of objects: it lacks images and categories",
        ),
        (lambda d: d["images"][1].update(id=42), "images[1]: has the id 42, as another one before it"),
        (
            lambda d: d["images"][1].update(file_name="000042.jpg"),
            "images[1]: has the file_name '000042.jpg', as another",
        ),
        (lambda d: d["images"][1].pop("file_name"), "images[1]: expected a file name as 'file_name', got null"),
        (lambda d: d["images"][1].update(file_name="a\nb"), r"images[1]: has the file name 'a\nb', expected no line"),
        (
            lambda d: d["images"][1].update(width="3"),
            "images[1]: expected positive integers as 'height' and 'width', got",
        ),
        (lambda d: d["images"].append(3), "images[2]: expected an object, got 3"),
        (lambda d: d["categories"][1].update(id=18), "categories[1]: has the id 18, as another one before it"),
        (
            lambda d: d["categories"][1].update(id="18"),
            "categories[1]: has the id '18', as another one before it, once",
        ),
        (lambda d: d["categories"][1].update(id=True), "categories[1]: expected an integer or text as 'id', got true"),
        (lambda d: d["categories"][1].update(name=3), "categories[1]: expected a label, got 3"),
        (lambda d: d["categories"].pop(1), "annotations[1]: has the category_id 1, which is not in 'categories'"),
        (lambda d: d["images"].pop(1), "has annotations of the image_id 7, which is not in 'images'"),
        (
            lambda d: d["annotations"][0].update(image_id=0),
            "has annotations of the image_id 0, which is not in 'images'",
        ),
        (lambda d: d["annotations"][0].update(segments_info=[]), "holds panoptic segments, whose masks are PNG files"),
    ],
)
def test_what_no_index_is_made_of(tmp_path, change, message):
    path = write(tmp_path, changed(change))
    with pytest.raises(ValueError) as raised:
        index_coco(path)
    assert str(raised.value).startswith(f"{path}: {message}")


def test_broken_json_is_named_once(tmp_path):
    path = tmp_path / "instances.json"
    path.write_text('{"images": [')
    with pytest.raises(ValueError) as raised:
        index_coco(path)
    assert str(raised.value) == f"{path}: images[0]: is no JSON, or cut short: Expecting value"


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], "has no segmentation, as annotations of boxes alone; a mask needs one"),
        (None, "has no segmentation, as annotations of boxes alone; a mask needs one"),
        ("x", "expected polygons or run lengths as 'segmentation', got 'x'"),
        ([1, 1, 6, 1, 1, 6], "expected polygons [x, y, x, y, ...], got 1"),
        (
            [[1, 1, 6, 1]],
            "has a polygon of 4 numbers, expected x and y of three points or more; draw it anew or delete it",
        ),
        ([[1, 1, 6, 1, 1, 6, 2]], "has a polygon of 7 numbers, expected x and y of three points or more"),
        ([[]], "has a polygon of 0 numbers, expected x and y of three points or more"),
        ([[1, 1, 6, 1, 1, "6"]], "expected numbers, got '6'"),
        ([[1, 1, 6, 1, 1, True]], "expected numbers, got true or false"),
        ([[1, 1, 6, 1, 1, float("nan")]], "has the number nan, expected finite ones"),
        ([[1, 1, 6, 1, 1, 1e12]], "has the point (1, 1e+12), far outside an image of 6x8; are they pixels?"),
        ({"size": [6, 8]}, "expected text or a list as 'counts', got null"),
        ({"size": "6x8", "counts": []}, "expected [height, width] as the 'size' of run lengths, got '6x8'"),
        ({"size": [8, 6], "counts": [48]}, "was annotated on an image of 8x6, but the image is 6x8, height x width"),
        ({"size": [6, 8], "counts": [47]}, "has runs of 47 pixels, but 6x8 are 48; is it cut short?"),
    ],
)
def test_what_cannot_be_drawn(tmp_path, segmentation, message):
    document = changed(lambda d: d["annotations"][0].update(segmentation=segmentation))
    entry = next(iter(index_coco(write(tmp_path, document))))
    with pytest.raises(ValueError) as raised:
        draw_mask("coco", entry.data, (6, 8), {"person": 1, "dog": 2}, 0)
    assert str(raised.value).startswith(f"annotations[0] (id 100): {message}")
