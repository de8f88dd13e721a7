import numpy as np
import pytest

from tfseg.records.label_map_files import read_label_map
from tfseg.records.labels import (
    CATEGORIES,
    CATEGORY_COLORS,
    CITYSCAPES,
    CITYSCAPES_LOOKUP,
    LABELS,
    UNKNOWN,
    VOID,
    remap,
    remap_counts,
)


def test_table_is_the_official_one():
    official = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    assert [tuple(label) for label in LABELS] == [tuple(label) for label in official]


def test_categories():
    assert CATEGORIES == ("void", "flat", "construction", "object", "nature", "sky", "human", "vehicle")
    assert VOID == 0
    assert all(CATEGORIES[label.category_id] == label.category for label in LABELS)
    assert CATEGORY_COLORS.shape == (8, 3)
    assert CATEGORY_COLORS[7].tolist() == [0, 0, 142]


def test_lookup_knows_every_label_and_nothing_else():
    assert np.flatnonzero(CITYSCAPES_LOOKUP != UNKNOWN).tolist() == [*range(34), 255]
    assert CITYSCAPES_LOOKUP[255] == VOID, "no official mask holds it, and the license plate, -1, is not drawn"


def test_remap_of_a_real_image():
    pixels_by_label_id = {
        1: 121096, 2: 74098, 3: 31634, 4: 49343, 5: 1804, 7: 852620, 8: 63408, 11: 240320, 12: 7754, 17: 50127,
        19: 3663, 20: 3501, 21: 428094, 22: 4334, 23: 95763, 24: 4529, 25: 13822, 26: 19697, 33: 31545,
    }  # fmt: skip
    mask = np.repeat(np.array(list(pixels_by_label_id), np.uint8), list(pixels_by_label_id.values()))
    categories = remap(mask.reshape(1024, -1))
    assert categories.dtype == np.uint8
    expected = [277975, 916028, 248074, 57291, 432428, 95763, 18351, 51242]
    assert np.bincount(categories.ravel()).tolist() == expected
    assert remap_counts(np.bincount(mask, minlength=256))[:8].tolist() == expected


def test_remap_refuses_what_the_table_lacks():
    with pytest.raises(ValueError, match=r"mask values \[34, 200\] are not in the label map"):
        remap(np.array([[7, 34], [200, 7]], np.uint8))


def test_label_map(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("0: sky\n3: flat  # Road\n11: void\n")
    label_map = read_label_map(path)
    assert label_map.lookup[[0, 3, 11, 1]].tolist() == [5, 1, 0, UNKNOWN]
    assert label_map.classes == CATEGORIES and label_map.names == {0: "sky", 3: "flat", 11: "void"}


def test_label_map_of_other_classes(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("classes: {void: [0, 0, 0], sky: [70, 130, 180], cow: [9, 8, 7]}\n3: cow\n4: void\n")
    label_map = read_label_map(path)
    assert label_map.classes == ("void", "sky", "cow")
    assert label_map.colors.tolist() == [[0, 0, 0], [70, 130, 180], [9, 8, 7]]
    assert label_map.lookup[[3, 4, 5]].tolist() == [2, 0, UNKNOWN]


def test_train_ids():
    train_ids = CITYSCAPES["train_ids"]
    assert len(train_ids.classes) == 20
    for label in LABELS:
        expected = label.train_id + 1 if 0 <= label.train_id < 255 else VOID
        assert train_ids.lookup[label.id] == expected
        if expected:
            assert (train_ids.classes[expected], tuple(train_ids.colors[expected])) == (label.name, label.color)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0: road", r"map.yaml: value 0 has the class 'road'; it must be one of void, flat"),
        ("70000: sky", r"map.yaml: mask value 70000 is not an integer in -1..65535"),
        ("true: sky", r"map.yaml: mask value True is not an integer"),
        (
            'classes: {"a\\nb": [0, 0, 0], b: [1, 1, 1]}\n0: b',
            r"map.yaml: has the class 'a\\nb', expected no line breaks",
        ),
        (
            f"classes: {{{'x' * 300}: [0, 0, 0], b: [1, 1, 1]}}\n0: b",
            r"has the class 'x{77}...' of 300 bytes, expected",
        ),
        ("- sky", r"map.yaml: expected lines of `mask value: class`, got list"),
        ("", r"map.yaml: expected lines"),
        ("0: [sky", r"map.yaml, line 1: expected ',' or '\]'"),
        ("classes: [void, sky]", "one class is left to learn, sky"),
        ("classes: {void: [0, 0, 0]}", "classes: expected 2 to 255 lines"),
        ("classes: {void: [0, 0, 0], sky: [0, 0, 256]}", r"in 0..255, got `sky: \[0, 0, 256\]`"),
        ("classes: {void: [0, 0, 0], sky: blue}", "got `sky: blue`"),
        ("classes: {sky: [0, 0, 1], void: [0, 0, 0]}", "expected void first, which counts nowhere, got sky"),
        ("classes: {void: [0, 0, 0], sky: [0, 0, 1]}\n0: flat", "class 'flat'; it must be one of void, sky"),
        ("0: [sky]", r"map.yaml: value 0 has the class \['sky'\]"),
        ("0: sky\n1: flat\n0: flat", r"map.yaml, line 3: 0 is set twice"),
        ("0: sky\n1: flat\n0x1: sky", r"map.yaml, line 3: 1 is set twice"),
        ("0: sky\n1: flat\ntrue: sky", r"map.yaml, line 3: True is set twice"),
        ("0: sky\n1: flat\n1.0: sky", r"map.yaml, line 3: 1.0 is set twice"),
        ("classes: {a: [0, 0, 0], b: [1, 1, 1], a: [2, 2, 2]}\n0: a", r"map.yaml, line 1: a is set twice"),
        ("classes: {a: [0, 0, 0]}\nclasses: {b: [1, 1, 1]}", r"map.yaml, line 2: classes is set twice"),
        (
            "classes: {void: [0, 0, 0], thing: [1, 1, 1]}\n0: void\n255: thing",
            r"one class is left to learn, thing, since",
        ),
        ("classes: {thing: [1, 1, 1]}\n255: thing", r"one class is left to learn, thing, .* name the background as a"),
        ("0: void\n1: human", r"one class is left to learn, human"),
        ("0: void", r"no class is left to learn"),
        ("classes: {Void: [0, 0, 0], thing: [1, 1, 1]}\n1: thing", r"'Void' is not void, which is written in small"),
        (
            "classes: {a: [0, 0, 0], void: [0, 0, 1], b: [1, 1, 1]}",
            r"expected void first, which counts nowhere, got a; or",
        ),
        ("classes: {}\n0: a", "classes: expected 2 to 255 lines"),
        ("0: !!int ''", r"map.yaml, line 1: '' is no int"),
        ("!!bool x", r"map.yaml, line 1: 'x' is no bool"),
        ("[" * 3000, r"map.yaml, line 1: nested deeper than 20 lists"),
        ("a: &a [x, x]\nb: &b [*a, *a]\n0: [*b, *b]", r"map.yaml: label a has the class \['x', 'x'\]"),
    ],
)
def test_bad_label_maps(tmp_path, text, message):
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_label_map(path)


@pytest.mark.parametrize(
    ("classes", "void"),
    [
        ("background: [0, 0, 1], thing: [255, 0, 0]", [0, 0, 0]),
        ("background: [0, 0, 0], thing: [255, 0, 0]", [255, 255, 255]),
        ("background: [0, 0, 0], thing: [255, 255, 255]", [254, 254, 254]),
    ],
)
def test_void_need_not_be_named(tmp_path, classes, void):
    path = tmp_path / "map.yaml"
    path.write_text(f"classes: {{{classes}}}\n0: background\n255: thing\n")
    label_map = read_label_map(path)
    assert label_map.classes == ("void", "background", "thing")
    assert label_map.names == {0: "background", 255: "thing"} and label_map.colors[0].tolist() == void
    assert len({tuple(color) for color in label_map.colors.tolist()}) == 3


def test_as_many_classes_as_a_byte_tells(tmp_path):
    path, names = tmp_path / "map.yaml", [f"c{index}" for index in range(255)]
    for count in (254, 255):
        text = "".join(f"  {name}: [{place}, 9, 9]\n" for place, name in enumerate(names[:count]))
        path.write_text(f"classes:\n{text}" + "".join(f"{place}: {name}\n" for place, name in enumerate(names[:count])))
        if count == 254:
            label_map = read_label_map(path)
            assert label_map.lookup[[0, 253]].tolist() == [1, 254] and len(label_map.classes) == 255
    with pytest.raises(ValueError, match=r"expected 2 to 255 lines of .*, void counted"):
        read_label_map(path)
