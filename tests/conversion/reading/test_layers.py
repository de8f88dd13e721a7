"""An image a class becomes one mask: what is not black belongs to it; overlaps are refused unless an order is set."""

import re

import numpy as np
import pytest
from PIL import Image

from tfseg import convert
from tfseg.conversion import converter
from tfseg.conversion.finding.sources import Source
from tfseg.conversion.reading.faults import BadFilesError
from tfseg.conversion.reading.layers import read_layers
from tfseg.conversion.reading.samples import Sample
from tfseg.records import records
from tfseg.records.label_map_files import read_label_map
from tfseg.records.manifest import read_manifest
from tfseg.records.verifier import find_faults

LEFT = np.array([[255, 255, 0, 0], [255, 255, 0, 0]], np.uint8)
RIGHT = np.array([[0, 0, 0, 1], [0, 0, 0, 0]], np.uint8)
MIDDLE = np.array([[0, 9, 9, 0], [0, 0, 0, 0]], np.uint8)


def make_map(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "map.yaml").write_text(text)
    return read_label_map(folder / "map.yaml")


def write_layers(folder, **layers):
    """Writes an image a layer; gives them as (label, path) pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    for label, layer in layers.items():
        (layer if isinstance(layer, Image.Image) else Image.fromarray(layer)).save(folder / f"{label}.png")
    return tuple((label, folder / f"{label}.png") for label in layers)


def read(folder, label_map, **layers):
    return read_layers(write_layers(folder / "layers", **layers), make_map(folder, label_map), (2, 4)).values.tolist()


@pytest.mark.parametrize(
    ("label_map", "uncovered"),
    [
        ("classes: [road, car]\n", 0),
        ("classes: [road, car, background]\n", 3),
        ("classes: [road, car, rest, background]\ndefault: rest\n", 3),
    ],
)
def test_what_no_layer_covers(tmp_path, label_map, uncovered):
    """Void, a class named background, or the default."""
    mask = read(tmp_path, label_map, road=LEFT, car=RIGHT)
    assert mask == [[1, 1, uncovered, 2], [1, 1, uncovered, uncovered]]
    assert read(tmp_path / "none", label_map) == [[uncovered] * 4] * 2


def test_layers_of_all_kinds(tmp_path):
    """One bit, a palette of black and a colour, and RGB."""
    palette = Image.fromarray((RIGHT > 0).astype(np.uint8)).convert("L")
    palette.putpalette([0, 0, 0, 255, 0, 0])
    one_bit = Image.fromarray(LEFT).convert("1")
    rgb = np.dstack([MIDDLE * 0, MIDDLE * 0, MIDDLE])
    rgb[0, 1] = 0
    mask = read(tmp_path, "classes: [road, car, sky]\n", road=one_bit, car=palette, sky=rgb)
    assert mask == [[1, 1, 3, 2], [1, 1, 0, 0]]


def test_a_palette_whose_first_entry_is_not_black(tmp_path):
    palette = Image.fromarray((LEFT == 0).astype(np.uint8)).convert("L")
    palette.putpalette([255, 255, 255, 0, 0, 0])
    assert read(tmp_path, "classes: [road, car]\n", road=palette) == [[1, 1, 0, 0]] * 2


def test_labels_are_of_the_classes_that_the_map_says(tmp_path):
    assert read(tmp_path, "classes: [road, car]\nlane: road\nsign: car\n", lane=LEFT, sign=RIGHT)[0] == [1, 1, 0, 2]
    assert read(tmp_path / "b", "classes: [a, b]\ndefault: b\n", lane=LEFT) == [[2] * 4] * 2
    with pytest.raises(
        ValueError, match=r"lane\.png: is of the label lane, which the label map lacks; it knows void, a"
    ):
        read(tmp_path / "c", "classes: [a, b]\n", lane=LEFT)


def test_layers_that_overlap_are_refused(tmp_path):
    with pytest.raises(ValueError) as raised:
        read(tmp_path, "classes: [road, car]\n", road=LEFT, car=MIDDLE)
    assert re.fullmatch(
        r".*/car\.png: covers 1 pixels that .*/road\.png covers too, of another class; let each .* `overlap: later` .*",
        str(raised.value),
    )


def test_layers_of_one_class_may_overlap(tmp_path):
    assert read(tmp_path, "classes: [road, car]\nlane: road\n", road=LEFT, lane=MIDDLE)[0] == [1, 1, 1, 0]


@pytest.mark.parametrize("names", ["road, car", "car, road"])
def test_the_later_class_wins_where_the_map_says_so(tmp_path, names):
    """Whatever the order of the layers."""
    label_map = f"classes: [{names}]\noverlap: later\n"
    found = [
        read(tmp_path / order[0], label_map, **{name: {"road": LEFT, "car": MIDDLE}[name] for name in order})
        for order in (("road", "car"), ("car", "road"))
    ]
    assert found[0] == found[1]
    assert found[0][0] == ([1, 2, 2, 0] if names == "road, car" else [2, 2, 1, 0])


def test_layers_of_two_sizes(tmp_path):
    with pytest.raises(ValueError, match=r"/car\.png: is 2x3, but the layer .*/road\.png is 2x4; make them agree"):
        read(tmp_path, "classes: [road, car]\n", road=LEFT, car=RIGHT[:, :3])


def test_a_damaged_layer_is_named(tmp_path):
    layers = write_layers(tmp_path, road=LEFT)
    layers[0][1].write_bytes(layers[0][1].read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"/road\.png: is cut short or damaged"):
        read_layers(layers, make_map(tmp_path, "classes: [road, car]\n"), (2, 4))


def make_source(root, label_map, **layers):
    found = write_layers(root / "masks/a", **layers)
    Image.fromarray(np.full((2, 4, 3), 90, np.uint8)).save(root / "a.png")
    sample = Sample("a", root / "a.png", root / "masks/a", "layers", layers=found)
    return Source("folders", root, make_map(root, label_map), {"val": [sample]})


def test_layers_become_records(tmp_path):
    source = make_source(tmp_path / "raw", "classes: [road, car]\n7: road\n", road=LEFT, car=RIGHT)
    converter.convert(source, tmp_path / "out", codec="png")
    manifest = read_manifest(tmp_path / "out")
    assert find_faults(tmp_path / "out") == []
    (data,) = records.read_shard(tmp_path / "out" / manifest.splits["val"].shards[0].name)
    record = records.decode_example(data)
    assert record.mask.tolist() == record.label_ids.tolist() == [[1, 1, 0, 2], [1, 1, 0, 0]]
    assert manifest.label_map == {0: "void", 1: "road", 2: "car"}
    assert "masks   layers, a mask a class in 1; labels are of the label map given" in convert.make_table(manifest)


def test_a_layer_of_another_size_than_its_image(tmp_path):
    source = make_source(tmp_path / "raw", "classes: [road, car]\n", road=LEFT[:1])
    with pytest.raises(BadFilesError, match=r"a\.png: is 2x4, but its mask .*/masks/a is 1x4; make them agree"):
        converter.convert(source, tmp_path / "out")


def test_a_layer_that_is_gone_is_one_of_the_bad_files(tmp_path):
    source = make_source(tmp_path / "raw", "classes: [road, car]\n", road=LEFT, car=RIGHT)
    (sample,) = source.splits["val"]
    assert sample.files == (sample.image, *(path for _, path in sample.layers))
    sample.layers[1][1].unlink()
    sample.layers[1][1].mkdir()
    with pytest.raises(BadFilesError, match=r"/car\.png: (cannot be read: Is a directory|is a folder)"):
        converter.convert(source, tmp_path / "out")
