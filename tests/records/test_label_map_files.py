"""What a file of a label map may say: several values, colours, labels, a default; and those of the package."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.records import labels
from tfseg.records.label_map_files import packaged_names, read_label_map
from tfseg.records.labels import UNKNOWN
from tfseg.records.palette import OKABE_ITO, choose_colors, list_colors

ROOT = Path(__file__).parents[2]
CLASSES = "classes: {void: [0, 0, 0], road: [128, 64, 128], sky: [70, 130, 180]}\n"


def read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "map.yaml"
    path.write_bytes(text.encode(encoding))
    return read_label_map(path)


def refused(tmp_path, text):
    with pytest.raises(ValueError) as raised:
        read(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path}/map.yaml") and "\n" not in str(raised.value)
    return str(raised.value)


# ---- mask values


@pytest.mark.parametrize("key", ['"1, 3-5"', "1, 3-5", "[1, 3-5]", "[1, 3, 4, 5]", "? [1, 3 - 5]\n", '"3-5,1"'])
def test_several_values_and_ranges_in_one_key(tmp_path, key):
    label_map = read(tmp_path, f"{CLASSES}{key}: road\n2: sky\n")
    assert label_map.names == {1: "road", 2: "sky", 3: "road", 4: "road", 5: "road"}
    assert label_map.wide is None and label_map.default is None


def test_numbers_that_are_what_they_look_like(tmp_path):
    label_map = read(tmp_path, f"{CLASSES}07: road\n08: sky\n0x10: road\n00: sky\n")
    assert label_map.names == {0: "sky", 7: "road", 8: "sky", 16: "road"}


def test_minus_one_stands_for_255(tmp_path):
    label_map = read(tmp_path, f"{CLASSES}7: road\n-1: void\n")
    assert label_map.names == {7: "road", 255: "void"}


def test_values_of_16_bits(tmp_path):
    label_map = read(tmp_path, f"{CLASSES}7: road\n300-302: sky\n-1: void\n")
    assert label_map.names == {7: "road", 255: "void"}
    assert (
        label_map.wide is not None
        and label_map.wide.shape == (65536,)
        and label_map.wide[[7, 255, 299, 300, 302, 303, 65535]].tolist() == [*(1, 0, UNKNOWN, 2, 2, UNKNOWN, 0)]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3: road\n1-5: sky", "mask value 3 is given by 3 and by 1-5; name it once"),
        ("[1, 2, 1]: road", r"mask value 1 is given twice by [1, 2, 1]; name it once; a colour is written '#804080'"),
        ("255: road\n-1: sky", "mask value 255 is given by 255 and by -1, where -1 stands for 255; name it once"),
        ("road: road\n7: sky", "mask value 7 is given by road, label 7 of Cityscapes and by 7; name it once"),
        ("5-3: road", "5-3: the range 5-3 ends before it begins"),
        ("1-70000: road", "mask value 70000 is not an integer in -1..65535"),
        ("-2: road", "mask value -2 is not an integer in -1..65535"),
        ("1.5: road", "mask value 1.5 is not an integer in -1..65535"),
        ("~: road", "mask value None is not an integer in -1..65535"),
        ("[1, x]: road", "[1, x]: expected mask values and ranges such as 3-5, got x"),
        ("[1, ~]: road", "[1, None]: expected mask values and ranges such as 3-5, got None"),
        ("[[1]]: road", "line 2: found unhashable key"),
        ("Default: road", "Default: is written default, in small letters"),
        ("[1, 2]: road\n[1, 2]: sky", "line 3: [1, 2] is set twice"),
        ("010: road", "line 2: 010 is 8 in YAML; write 8 if that is meant"),
        ("[7, 010]: road", "line 2: 010 is 8 in YAML; write 8 if that is meant"),
        ("1:10: road", "line 2: 1:10 is 70 in YAML; write 70 if that is meant"),
    ],
)
def test_bad_values(tmp_path, text, message):
    assert message in refused(tmp_path, CLASSES + text)


# ---- colours


def test_colours(tmp_path):
    label_map = read(tmp_path, f'{CLASSES}colors: {{road: [[1, 2, 3], "#0A0b0c"], sky: "#ffffff"}}\n"#804081": road\n')
    assert label_map.by_color == {
        **{(0, 0, 0): 0, (128, 64, 128): 1, (70, 130, 180): 2},
        **{(1, 2, 3): 1, (10, 11, 12): 1, (255, 255, 255): 2, (128, 64, 129): 1},
    }


def test_a_colour_of_two_classes_is_of_neither(tmp_path):
    """Files of before may hold that: it did not matter where values are read."""
    label_map = read(tmp_path, "classes: {a: [1, 1, 1], b: [1, 1, 1], c: [2, 2, 2]}\n0: a\n")
    assert label_map.by_color == {(2, 2, 2): 3} and label_map.classes == ("void", "a", "b", "c")
    assert read(tmp_path, 'classes: {a: [1, 1, 1], b: [1, 1, 1]}\n"#010101": b\n').by_color == {(1, 1, 1): 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"#010203": road\ncolors: {sky: [1, 2, 3]}', "colour [1, 2, 3] is given by #010203 and by colors: sky; name"),
        ('"#468284": sky\n"#468284 ": sky', "#468284  is no colour, expected six digits of 0 to 9 and a to f"),
        ('"#4682b4": road', "colour [70, 130, 180] is given by classes: sky and by #4682b4; name it once"),
        ('"#fff": road', "#fff is no colour, expected six digits"),
        ("colors: {road: [1, 2]}", "colors: expected `name: [[red, green, blue], ...]` in 0..255"),
        ("colors: {road: []}", "colors: expected `name: [[red, green, blue], ...]` in 0..255"),
        ("colors: [road]", "colors: expected `name: [[red, green, blue], ...]` in 0..255"),
        ("colors: {cow: [1, 2, 3]}", "colors: a line names the class 'cow'; it must be one of void, road, sky"),
    ],
)
def test_bad_colours(tmp_path, text, message):
    assert message in refused(tmp_path, CLASSES + text)


def test_classes_may_be_names_alone_and_get_colours(tmp_path):
    label_map = read(tmp_path, "classes: [background, thing]\n0: background\n255: thing\n")
    assert label_map.classes == ("void", "background", "thing")
    assert label_map.colors.tolist() == [[0, 0, 0], [*OKABE_ITO[0]], [*OKABE_ITO[1]]]
    assert label_map.by_color == {} and not label_map.own_colors


def test_a_colour_may_be_left_open(tmp_path):
    label_map = read(tmp_path, 'classes: {a: ~, b: [230, 159, 0], c: "#000000", d: null}\ncolors: {d: [9, 9, 9]}\n')
    assert label_map.colors.tolist() == [[255, 255, 255], [86, 180, 233], [230, 159, 0], [0, 0, 0], [9, 9, 9]]
    assert label_map.by_color == {(230, 159, 0): 2, (0, 0, 0): 3, (9, 9, 9): 4}


def test_no_two_chosen_colours_are_equal():
    assert [*list_colors()][:7] == [*OKABE_ITO]
    assert len({*list_colors()}) == len([*list_colors()]) >= 300
    chosen = choose_colors({"void": None} | {f"c{place}": None for place in range(254)})
    assert len({*chosen.values()}) == 255 and chosen["void"] == (0, 0, 0)


@settings(max_examples=50, deadline=None, database=None, derandomize=True)
@given(st.lists(st.none() | st.sampled_from([*list_colors(), (0, 0, 0), (255, 255, 255)]), max_size=30))
def test_given_colours_stay_and_others_differ(colors):
    classes = {f"c{place}": color for place, color in enumerate(colors)}
    chosen = choose_colors({"void": None, **classes})
    given = {name: color for name, color in classes.items() if color is not None}
    own = [color for name, color in chosen.items() if name not in given]
    assert {name: chosen[name] for name in given} == given
    assert len({*own}) == len(own) and {*own}.isdisjoint(given.values())


# ---- labels, what is ignored, and the default


def test_labels(tmp_path):
    label_map = read(tmp_path, f"{CLASSES}traffic cone: road\nparking: road\n3: sky\n")
    assert label_map.by_label == {"void": 0, "road": 1, "sky": 2, "traffic cone": 1, "parking": 1, "3": 2, "9": 1}
    assert label_map.names == {3: "sky", 9: "road"}, "parking is label 9 of Cityscapes"


def test_what_is_ignored_is_void(tmp_path):
    label_map = read(tmp_path, f'{CLASSES}1: road\nignore: [0, 4-5, "#ffffff", [1, 2, 3], border, -1]\n')
    assert label_map.names == {0: "void", 1: "road", 4: "void", 5: "void", 255: "void"}
    assert label_map.by_color[255, 255, 255] == label_map.by_color[1, 2, 3] == label_map.by_label["border"] == 0
    assert read(tmp_path, "0: sky\n1: flat\nignore: 2\n").names[2] == "void"


def test_the_default(tmp_path):
    label_map = read(tmp_path, f"{CLASSES}1: road\n300: sky\ndefault: sky\n")
    assert label_map.default == label_map.uncovered == 2
    assert label_map.names == {1: "road"} and label_map.wide is not None and label_map.wide[500] == UNKNOWN
    label_map = label_map.filled()
    assert label_map.lookup[[0, 1, 2, 255]].tolist() == [2, 1, 2, 2]
    assert label_map.wide is not None and label_map.wide[[1, 500]].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("classes", "uncovered"), [("[thing, background]", "background"), ("[a, b]", "void"), ("{void: ~, a: ~}", "")]
)
def test_what_no_polygon_covers(tmp_path, classes, uncovered):
    if uncovered:
        label_map = read(tmp_path, f"classes: {classes}\n")
        assert label_map.classes[label_map.uncovered] == uncovered
    else:
        assert "one class is left to learn, a" in refused(tmp_path, f"classes: {classes}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default: cow", "default has the class 'cow'; it must be one of void, road, sky"),
        ("default: [road]", r"default has the class ['road']"),
        ("ignore: [3]\n3: road", "mask value 3 is given by 3 and by ignore: 3; name it once"),
        ("ignore: road", "ignore: road is one of the classes; leave it out of one of the two"),
        ("ignore: [1.5]", "mask value 1.5 is not an integer"),
        ("overlap: never", "overlap: expected error or later, got 'never'"),
        ('"a\\nb": road', r"has the label 'a\nb', expected no line breaks"),
        ("classes: [a, a]", "classes is set twice"),
    ],
)
def test_bad_settings(tmp_path, text, message):
    assert message in refused(tmp_path, CLASSES + text)


def test_names_of_a_list_come_once(tmp_path):
    assert "classes: expected a list of names, each once, got 'a' twice" in refused(tmp_path, "classes: [a, b, a]\n")
    assert "classes: expected a list of names, each once, got [1, 2]" in refused(tmp_path, "classes: [1, 2]\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_encodings_and_ends_of_lines(tmp_path, encoding, ending):
    text = ending.join(["classes:", "  straße: [1, 2, 3]", "  himmel: [4, 5, 6]", "0: straße", "1: himmel", ""])
    assert read(tmp_path, text, encoding).names == {0: "straße", 1: "himmel"}


def test_a_map_of_class_ids(tmp_path):
    label_map = read(tmp_path, f"{CLASSES}7: road\n300: sky\n")
    assert label_map.filled() is label_map
    label_map = label_map.of_class_ids()
    assert label_map.names == {0: "void", 1: "road", 2: "sky"} and label_map.wide is None


# ---- those of the package


def test_the_names_of_the_package():
    assert packaged_names() == [
        *("ade20k", "bdd100k", "camvid", "camvid_11", "cityscapes_trainids_categories", "idd_level1", "idd_level3"),
        *("kitti", "mapillary_v1.2", "mapillary_v2.0", "voc"),
    ]
    assert read_label_map("train_ids") is labels.CITYSCAPES["train_ids"]


def test_a_name_that_is_a_file_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("voc").write_text("0: sky\n1: flat\n")
    with pytest.raises(ValueError, match=r"^voc: is both a file here and .* the file is \./voc$"):
        read_label_map("voc")
    assert read_label_map("./voc").names == read_label_map(Path("voc")).names == {0: "sky", 1: "flat"}


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError, match=r"^camvit: no such file, .* these are categories, train_ids, ade20k, "):
        read_label_map("camvit")


@pytest.mark.parametrize(
    ("name", "classes", "values"),
    [
        ("ade20k", 151, {0: "void", 1: "wall", 7: "road", 150: "flag"}),
        ("bdd100k", 20, {0: "road", 18: "bicycle", 255: "void"}),
        ("camvid", 8, {0: "sky", 3: "flat", 11: "void"}),
        ("camvid_11", 12, {0: "sky", 4: "pavement", 11: "void"}),
        ("cityscapes_trainids_categories", 8, {0: "flat", 11: "human", 18: "vehicle", 255: "void"}),
        ("idd_level1", 8, {0: "drivable", 6: "sky", 255: "void"}),
        ("idd_level3", 27, {0: "road", 8: "autorickshaw", 25: "sky", 255: "void"}),
        ("kitti", 20, {7: "road", 9: "void", 33: "bicycle", 255: "void"}),
        ("mapillary_v1.2", 66, {0: "Bird", 13: "Road", 64: "Ego Vehicle", 65: "void"}),
        ("mapillary_v2.0", 124, {21: "Road", 91: "Traffic Light - Pedestrians", 122: "Static", 123: "void"}),
        ("voc", 22, {0: "background", 15: "person", 20: "tvmonitor", 255: "void"}),
    ],
)
def test_the_label_maps_of_the_package(name, classes, values):
    label_map = read_label_map(name)
    assert len(label_map.classes) == classes and label_map.names.items() >= values.items()
    assert {*label_map.names.values()} | {"void"} == {*label_map.classes}, "each class has a value"
    assert "# Source" in (ROOT / f"tfseg/records/label_maps/{name}.yaml").read_text(encoding="utf-8")


def test_voc_is_coloured_by_its_rule():
    """Bits 0, 3, 6 of an index are the upper bits of red, those after them of green and blue."""
    label_map = read_label_map("voc")
    for value, name in label_map.names.items():
        color = [sum((value >> 3 * bit + channel & 1) << 7 - bit for bit in range(3)) for channel in range(3)]
        assert label_map.colors[label_map.classes.index(name)].tolist() == color, name


@pytest.mark.parametrize(("name", "config"), [("camvid", "camvid_labels"), ("camvid_11", "camvid_11_labels")])
def test_those_beside_the_configs_are_the_same(name, config):
    here, there = read_label_map(name), read_label_map(ROOT / f"configs/{config}.yaml")
    assert np.array_equal(here.lookup, there.lookup) and np.array_equal(here.colors, there.colors)
    assert here.classes == there.classes


def test_kitti_and_train_ids_agree():
    kitti, cityscapes = read_label_map("kitti"), labels.CITYSCAPES["train_ids"]
    assert kitti.classes == cityscapes.classes and np.array_equal(kitti.lookup, cityscapes.lookup)
    assert kitti.by_color == cityscapes.by_color and np.array_equal(kitti.colors, cityscapes.colors)


def test_train_ids_of_the_categories():
    names = read_label_map("cityscapes_trainids_categories").names
    for label in labels.BY_TRAIN_ID:
        assert names[label.train_id] == label.category
