"""Files of names beside masks, as their makers write them."""

import json

import numpy as np
import pytest
from PIL import Image

from tfseg.conversion.finding.sources import open_source
from tfseg.conversion.proposing.name_files import find_names

FILES = {
    "label_colors.txt": "64 128 64\tAnimal\n192 0 128\t\tArchway\n0 0 0 Void\n128 64 64 Sign Symbol\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad: wet:128,64,128:lane,kerb:\n",
    "class_dict.csv": "name,r,g,b\nAnimal,64,128,64\nSign Symbol, 128, 64, 64\n",
    "_classes.csv": "Pixel Value, Class\n0, background\n1, car\n",
    "config_v1.2.json": json.dumps(
        {
            "version": 1.2,
            "labels": [
                {"name": "animal--bird", "readable": "Bird", "color": [165, 42, 42], "evaluate": True},
                {"name": "object--pole", "readable": "Pole", "color": [153, 153, 153], "evaluate": True},
                {"name": "object--post", "readable": "Post", "color": [153, 153, 153], "evaluate": True},
            ],
        }
    ),
    "meta.json": json.dumps(
        {"classes": [{"title": "car", "shape": "polygon", "color": "#F1C40F"}], "tags": [], "projectType": "images"}
    ),
    "classes.txt": "sky\nroad\n traffic light \n\n",
    "data.yaml": "path: ../data\ntrain: images/train\nnames:\n  0: person\n  2: bicycle\n",
    "obj.names": "person\r\ncar\r\n",
}
# The same file -> values, colours and colours of names.
SAID = {
    "label_colors.txt": (
        {},
        {(64, 128, 64): "Animal", (192, 0, 128): "Archway", (0, 0, 0): "Void", (128, 64, 64): "Sign Symbol"},
    ),
    "labelmap.txt": ({}, {(0, 0, 0): "background", (128, 64, 128): "road: wet"}),
    "class_dict.csv": ({}, {(64, 128, 64): "Animal", (128, 64, 64): "Sign Symbol"}),
    "_classes.csv": ({0: "background", 1: "car"}, {}),
    "config_v1.2.json": ({0: "Bird", 1: "Pole", 2: "Post"}, {(165, 42, 42): "Bird"}),
    "meta.json": ({}, {(241, 196, 15): "car"}),
    "classes.txt": ({0: "sky", 1: "road", 2: "traffic light"}, {}),
    "data.yaml": ({0: "person", 2: "bicycle"}, {}),
    "obj.names": ({0: "person", 1: "car"}, {}),
}


@pytest.fixture
def source(tmp_path):
    """A data set of one image; what is written beside is looked for when names are."""
    for folder in ("images", "masks"):
        path = tmp_path / "raw" / folder / "train/a.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.zeros((2, 3), np.uint8)).save(path)
    return open_source(tmp_path / "raw", may_lack_label_map=True)


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_of_names(source, name):
    (source.root / name).write_text(FILES[name])
    (names,), notes = find_names(source)
    assert (names.path, names.by_value, names.by_color, notes) == (source.root / name, *SAID[name], [])


def test_an_empty_line_has_no_name(source):
    (source.root / "classes.txt").write_text("sky\nroad\n\ncar\n")
    found, (note,) = find_names(source)
    assert found == [] and "classes.txt: is not taken for names of classes: class 2: has the label ''" in note


def test_colours_of_two_names(source):
    (source.root / "config_v1.2.json").write_text(FILES["config_v1.2.json"])
    (names,), _ = find_names(source)
    assert names.shared == {(153, 153, 153)} and names.colors["Post"] == (153, 153, 153)


def test_readable_names_must_differ(source):
    document = json.loads(FILES["config_v1.2.json"])
    document["labels"][2]["readable"] = "Pole"
    (source.root / "config.json").write_text(json.dumps(document))
    (names,), _ = find_names(source)
    assert names.by_value == {0: "animal--bird", 1: "object--pole", 2: "object--post"}


@pytest.mark.parametrize("folder", ["", "masks", "masks/train"])
def test_places(source, folder):
    (source.root / folder / "class_dict.csv").write_text(FILES["class_dict.csv"])
    (names,), _ = find_names(source)
    assert names.path == source.root / folder / "class_dict.csv"


def test_beside_two_folders(tmp_path, source):
    raw = source.root
    own = open_source(None, images=raw / "images", masks=raw / "masks", may_lack_label_map=True)
    (raw / "CLASS_DICT.csv").write_text(FILES["class_dict.csv"])
    assert [names.path for names in find_names(own)[0]] == [raw / "CLASS_DICT.csv"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("label_colors.txt", "64 128 Animal\n", "expected lines of `R G B name`, got '64 128 Animal'"),
        ("label_colors.txt", "64 128 300 Animal\n", "expected red, green and blue of 'Animal' in 0..255"),
        ("labelmap.txt", "item {\n  id: 1\n}\n", "expected lines of `name:R,G,B:parts:actions`, got 'item {'"),
        ("class_dict.csv", "r,g,b,name\n1,2,3,a\n", "expected the head name,r,g,b, got 'r,g,b,name'"),
        ("class_dict.csv", "name,r,g,b\na,1,2\n", "expected 4 cells a line, got 'a,1,2'"),
        ("class_dict.csv", "name,r,g,b\na,1,2,x\n", "expected an integer, got 'x'"),
        ("_classes.csv", "Pixel Value, Class\n1, a\n1, b\n", "gives the value 1 to both 'a' and 'b'"),
        ("config.json", '{"model": "x"}', "expected a list of classes under 'labels'"),
        ("meta.json", '{"classes": [{"title": "a\\nb"}]}', "has the class 'a\\nb', expected no line breaks"),
        ("meta.json", '{"classes": [{"title": 3}]}', "expected names of classes, got '3'"),
        ("meta.json", "[", "is"),
        ("data.yaml", "nc: 3\n", "expected `names: [first, second]`"),
        ("label_colors.txt", "\xff".encode("latin-1"), "is no text in UTF-8"),
    ],
)
def test_other_files_are_passed_over(source, name, content, reason):
    (source.root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found, (note,) = find_names(source)
    assert found == []
    assert note.startswith(f"{source.root / name}: is not taken for names of classes: ") and reason in note
