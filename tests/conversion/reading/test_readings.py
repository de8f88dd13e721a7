"""One rule says how all masks of a data set are read: by values, colours or a channel; what does not fit is refused."""

import dataclasses
import io
import json
import re
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfseg import convert
from tfseg.conversion import checks, converter, reader
from tfseg.conversion.finding import sources
from tfseg.conversion.reading.faults import BadFilesError
from tfseg.conversion.reading.readings import Rule, read_values
from tfseg.conversion.writing import encoding, manifests
from tfseg.records import records
from tfseg.records.class_weights import class_weights
from tfseg.records.label_map_files import read_label_map
from tfseg.records.manifest import read_manifest
from tfseg.records.record_set import open_records
from tfseg.records.verifier import find_faults

ROAD, SKY, BLACK, WHITE = (128, 64, 128), (70, 130, 180), (0, 0, 0), (255, 255, 255)
COLORS = "classes: {void: [0, 0, 0], road: [128, 64, 128], sky: [70, 130, 180]}\n"
BOTH = COLORS + "7: road\n8: sky\n0: void\n"


def stripes(*values, dtype=np.uint8):
    """A mask (4, 4 a value) of stripes; of colours (4, 4 a colour, 3)."""
    return np.repeat(np.array([values], dtype), 4, axis=1).repeat(4, axis=0)


def png(image):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, "png")
    return file.getvalue()


def palette_png(indexes, colors):
    image = Image.fromarray(np.asarray(indexes, np.uint8)).convert("L")
    image.putpalette([part for color in colors for part in color])
    return png(image)


def write(root, label_map, split="val", **files):
    """Writes an image of noise for the file of each mask, or its array."""
    (root / "map.yaml").parent.mkdir(exist_ok=True)
    (root / "map.yaml").write_text(label_map)
    for id, data in files.items():
        data = data if isinstance(data, bytes) else png(data)
        width, height = Image.open(io.BytesIO(data)).size
        for folder in ("images", "masks"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(noise).save(root / f"images/{split}/{id}.png")
        (root / f"masks/{split}/{id}.png").write_bytes(data)
    return root


def convert_raw(root, out, **options):
    return converter.convert(sources.open_source(root, None, root / "map.yaml"), out, codec="png", **options)


def stored(out, split="val"):
    """Id -> mask and raw mask of all records, which are sound."""
    manifest = read_manifest(out)
    assert find_faults(out) == []
    data = [item for shard in manifest.splits[split].shards for item in records.read_shard(out / shard.name)]
    return {record.id: (record.mask, record.label_ids) for record in map(records.decode_example, data)}


def refused(root, out, kind=BadFilesError, **options):
    with pytest.raises(kind) as raised:
        convert_raw(root, out, **options)
    assert "\n" not in str(raised.value) and not out.exists()
    return str(raised.value)


# ---- colours


def test_masks_in_colours(tmp_path):
    root = write(tmp_path / "raw", COLORS, a=stripes(ROAD, SKY), b=stripes(BLACK, BLACK), c=stripes(SKY, BLACK))
    manifest = convert_raw(root, tmp_path / "out")
    found = stored(tmp_path / "out")
    for id, mask in {"a": stripes(1, 2), "b": stripes(0, 0), "c": stripes(2, 0)}.items():
        assert np.array_equal(found[id][0], mask) and np.array_equal(found[id][1], mask)
    assert manifest.label_map == {0: "void", 1: "road", 2: "sky"}
    assert manifest.findings["mask_kinds"] == {"RGB colours": 3} and manifest.findings["mask_values"] == "color"
    table = convert.make_table(read_manifest(tmp_path / "out"))
    assert "masks   colours in 3; colours are of the label map given" in table


def test_alpha_that_is_opaque_is_dropped(tmp_path):
    rgba = np.dstack([stripes(ROAD, SKY), np.full((4, 8), 255, np.uint8)])
    root = write(tmp_path / "raw", COLORS, a=rgba)
    convert_raw(root, tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["a"][0], stripes(1, 2))
    rgba[0, 0, 3] = 0
    assert "a.png: has transparent pixels" in refused(write(root, COLORS, a=rgba), tmp_path / "other")


def test_unknown_colours_are_named_and_counted(tmp_path):
    root = write(tmp_path / "raw", COLORS, a=stripes(ROAD, (127, 64, 128)), b=stripes(SKY))
    report = refused(root, tmp_path / "out")
    assert (
        "a.png: has colours that the label map lacks: (127, 64, 128) in 16 pixels; --color-tolerance 1 takes" in report
    )
    manifest = convert_raw(root, tmp_path / "out", color_tolerance=1)
    assert np.array_equal(stored(tmp_path / "out")["a"][0], stripes(1, 1))
    assert "of the label map given, or at most 1 from one of its colours" in convert.make_table(manifest)


@pytest.mark.parametrize("first", ["a", "b"])
def test_values_and_colours_do_not_mix(tmp_path, first):
    """Whichever comes first: both are named."""
    names = ("a", "b") if first == "a" else ("b", "a")
    grey, colored = dict(zip(names, (stripes(7, 8), stripes(ROAD, SKY)), strict=True)).items()
    root = write(tmp_path / "raw", BOTH, **dict([grey, colored]))
    report = refused(root, tmp_path / "out")
    assert all(f"masks/val/{id}.png" in report for id in names)
    assert "is grey, whose values would be read, but" in report or "is RGB in colours, but" in report
    by_colors = refused(root, tmp_path / "out", mask_values="color")
    assert f"{grey[0]}.png: has colours that the label map lacks: (7, 7, 7) in 16 pixels" in by_colors
    by_values = refused(root, tmp_path / "out", mask_values="index")
    assert f"{colored[0]}.png: is RGB in colours, but masks are to be read by values" in by_values


def test_greys_are_colours_where_that_is_asked_for(tmp_path):
    label_map = COLORS + '"#ffffff": sky\n'
    root = write(tmp_path / "raw", label_map, a=stripes(0, 255), b=stripes(ROAD, WHITE))
    manifest = convert_raw(root, tmp_path / "out", mask_values="color")
    assert np.array_equal(stored(tmp_path / "out")["a"][0], stripes(0, 2))
    assert manifest.findings["mask_kinds"] == {"RGB colours": 1, "greys as colours": 1}


def test_a_map_without_colours_says_what_to_add(tmp_path):
    root = write(tmp_path / "raw", "0: sky\n1: flat\n", a=stripes(ROAD, SKY))
    assert "a.png: is RGB in colours, of which the label map names none; give its classes" in refused(
        root, tmp_path / "out"
    )
    assert "a.png: is read by its colours, of which the label map names none; give" in refused(
        root, tmp_path / "out", mask_values="color"
    )


def test_three_equal_channels_are_values(tmp_path):
    root = write(tmp_path / "raw", BOTH, a=stripes((7, 7, 7), (8, 8, 8)), b=stripes((8, 8, 8), (0, 0, 0)))
    manifest = convert_raw(root, tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["a"][1], stripes(7, 8))
    assert np.array_equal(stored(tmp_path / "out")["a"][0], stripes(1, 2))
    assert manifest.findings["mask_kinds"] == {"grey in three channels": 2} and "mask_values" not in manifest.findings


# ---- palettes

PALETTE = [BLACK, ROAD, SKY]


def test_a_palette_is_read_by_colour_if_the_map_knows_no_index(tmp_path):
    """The order of two palettes may differ then: colours count."""
    other = palette_png(stripes(0, 1), [SKY, ROAD])
    root = write(tmp_path / "raw", COLORS, a=palette_png(stripes(0, 1, 2), PALETTE), b=other)
    manifest = convert_raw(root, tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["a"][0], stripes(0, 1, 2))
    assert np.array_equal(stored(tmp_path / "out")["b"][0], stripes(2, 1))
    assert manifest.findings["mask_kinds"] == {"colours of a palette": 2}
    assert "masks   colours of a palette in 2; colours are of the label map given" in convert.make_table(manifest)


def test_a_palette_is_read_by_index_if_the_map_knows_it(tmp_path):
    label_map = COLORS + "0: void\n1: road\n2: sky\n"
    root = write(tmp_path / "raw", label_map, a=palette_png(stripes(0, 1, 2), PALETTE))
    manifest = convert_raw(root, tmp_path / "out")
    assert manifest.findings["mask_kinds"] == {"palette of colours": 1} and "mask_values" not in manifest.findings
    by_color = convert_raw(root, tmp_path / "other", mask_values="color")
    assert by_color.findings["mask_kinds"] == {"colours of a palette": 1}


def test_an_index_that_the_map_lacks_is_refused_with_advice(tmp_path):
    """The first eight are all void, which the map has by index and by colour."""
    files = {f"a{place}": palette_png(stripes(0), PALETTE) for place in range(8)}
    root = write(tmp_path / "raw", COLORS + "0: void\n", **files, b=palette_png(stripes(1), PALETTE))
    assert checks.choose_rule(sources.open_source(root, None, root / "map.yaml")).values == "color", "all are spread"
    report = refused(root, tmp_path / "out", mask_values="index")
    assert "b.png: mask values [1] are not in the label map, which knows [0]; it has a palette of colours" in report
    assert report.endswith("whose indexes are read; --mask-values color reads its colours")


def test_an_entry_that_a_palette_lacks(tmp_path):
    data = palette_png(stripes(0, 1, 2), [ROAD, SKY, *[BLACK] * 254])
    start = data.index(b"PLTE") - 4
    length = int.from_bytes(data[start : start + 4])
    chunk = b"PLTE" + bytes([*ROAD, *SKY])
    short = data[:start] + (6).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + data[start + 12 + length :]
    root = write(tmp_path / "raw", COLORS, a=short)
    report = refused(root, tmp_path / "out", mask_values="color")
    assert report.endswith("a.png: has pixels of entry 2 of its palette, which has 2 entries; save it anew")


# ---- one channel


@pytest.mark.parametrize("channel", ["red", "green", "blue"])
def test_ids_in_one_channel(tmp_path, channel):
    """As CARLA writes them; the others may hold numbers of objects."""
    mask = np.full((4, 8, 3), 77, np.uint8)
    mask[..., ("red", "green", "blue").index(channel)] = stripes(7, 8)
    root = write(tmp_path / "raw", BOTH, a=mask)
    manifest = convert_raw(root, tmp_path / "out", mask_values=channel)
    mask, label_ids = stored(tmp_path / "out")["a"]
    assert np.array_equal(mask, stripes(1, 2)) and np.array_equal(label_ids, stripes(7, 8))
    assert manifest.label_map == {0: "void", 7: "road", 8: "sky"}
    assert f"masks   values of the {channel} channel in 1; values are of the label map" in convert.make_table(manifest)


def test_a_channel_is_of_rgb_alone(tmp_path):
    root = write(tmp_path / "raw", BOTH, a=stripes(7, 8), b=palette_png(stripes(0, 1), [ROAD, SKY]))
    report = refused(root, tmp_path / "out", mask_values="red")
    assert "a.png: has one channel, but --mask-values red reads a channel of RGB masks" in report
    assert "b.png: has a palette, but --mask-values red" in report


# ---- 16 bits


def test_values_above_255_become_class_ids(tmp_path):
    label_map = COLORS + "7: road\n300-400: sky\n-1: void\n"
    wide, narrow = stripes(7, 300, 65535, dtype=np.uint16), stripes(7, 255)
    root = write(tmp_path / "raw", label_map, a=wide, b=narrow)
    manifest = convert_raw(root, tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["a"][0], stripes(1, 2, 0))
    assert np.array_equal(stored(tmp_path / "out")["b"][1], stripes(1, 0))
    assert manifest.label_map == {0: "void", 1: "road", 2: "sky"}
    assert manifest.findings["mask_kinds"] == {"16-bit grey": 1, "grey": 1}
    root = write(tmp_path / "raw", label_map, a=stripes(7, 500, dtype=np.uint16))
    assert "a.png: mask values [500] are not in the label map, which knows [7, 255, 300, " in refused(
        root, tmp_path / "x"
    )


def test_small_values_of_16_bits_are_values(tmp_path):
    root = write(tmp_path / "raw", BOTH + "-1: void\n", a=stripes(7, 8, 65535, dtype=np.uint16))
    manifest = convert_raw(root, tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["a"][1], stripes(7, 8, 255)) and manifest.label_map[7] == "road"
    report = refused(write(root, BOTH, a=stripes(7, 26001, dtype=np.uint16)), tmp_path / "x")
    assert "mask values [26001] are not in the label map, which knows [0, 7, 8]; values above 255 need lines" in report
    assert report.endswith("unless this is an *_instanceIds.png, which numbers objects and not classes")


# ---- the default


def test_the_default_takes_values_and_colours_that_have_no_entry(tmp_path):
    label_map = "classes: {void: [0, 0, 0], road: [128, 64, 128], rest: ~}\n7: road\ndefault: rest\n"
    root = write(tmp_path / "raw", label_map, a=stripes(7, 99))
    manifest = convert_raw(root, tmp_path / "out")
    mask, label_ids = stored(tmp_path / "out")["a"]
    assert np.array_equal(mask, stripes(1, 2)) and np.array_equal(label_ids, stripes(7, 99))
    assert manifest.label_map[99] == "rest"
    colored = write(tmp_path / "colored", label_map, a=stripes(ROAD, SKY))
    convert_raw(colored, tmp_path / "other")
    assert np.array_equal(stored(tmp_path / "other")["a"][0], stripes(1, 2))


def test_a_default_alone_does_not_swallow_a_data_set(tmp_path):
    """The label map has colours alone: grey masks would be all of the default."""
    root = write(tmp_path / "raw", COLORS + "default: sky\n", a=stripes(7, 8))
    report = refused(root, tmp_path / "out")
    assert "a.png: is read by its values, of which the label map names none: all would be sky, the default" in report
    palette = write(tmp_path / "palette", COLORS + "default: sky\n", a=palette_png(stripes(0, 1), [ROAD, BLACK]))
    convert_raw(palette, tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["a"][0], stripes(1, 0))


# ---- two classes


@pytest.mark.parametrize("thing", [1, 255])
def test_masks_of_two_values(tmp_path, thing):
    label_map = f"classes: [background, thing]\n0: background\n{thing}: thing\n"
    root = write(tmp_path / "raw", label_map, a=stripes(0, thing), b=stripes(thing))
    manifest = convert_raw(root, tmp_path / "out")
    assert manifest.classes == ["void", "background", "thing"] and manifest.splits["val"].class_pixels == [0, 16, 32]
    record_set = open_records(tmp_path / "out")
    record_set.check_learnable("val", "val")
    assert class_weights(record_set.split("val")) == pytest.approx([0, 4 / 3, 2 / 3]), "void, implied, counts nowhere"
    assert np.array_equal(stored(tmp_path / "out")["a"][0], stripes(1, 2))


def test_black_and_white_of_one_bit(tmp_path):
    image = Image.fromarray(stripes(0, 255)).convert("1")
    root = write(tmp_path / "raw", "classes: [background, thing]\n0: background\n255: thing\n", a=png(image))
    convert_raw(root, tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["a"][0], stripes(1, 2))


def test_greys_that_are_colours_of_the_label_map(tmp_path):
    text = "classes: {background: [0, 0, 0], thing: [255, 255, 255]}\n"
    report = refused(write(tmp_path / "raw", text, a=stripes(0, 255)), tmp_path / "out")
    assert "[0, 255] are not in the label map, which knows []; they are greys of its colours: --mask-values" in report
    assert "they are greys" not in refused(write(tmp_path / "raw", text, a=stripes(0, 254)), tmp_path / "out")


def test_a_tolerance_of_colours_where_values_are_read(tmp_path):
    root = write(tmp_path / "raw", BOTH, a=stripes(7, 8))
    report = refused(root, tmp_path / "out", ValueError, color_tolerance=2)
    assert report.startswith(f"{root}: --color-tolerance") and "values read, by" in report
    assert report.endswith("; leave it out, or give --mask-values color")


def test_rgb_of_greys_that_are_other_classes_by_their_values(tmp_path):
    text = "classes: {void: [0, 0, 9], background: [0, 0, 0], thing: [255, 255, 255]}\n"
    text += "0: background\n1: thing\n255: void\n"
    root = write(tmp_path / "raw", text, a=stripes(BLACK, WHITE))
    report = refused(root, tmp_path / "out", ValueError)
    assert "a.png: is RGB of greys, of which 255 is void by its value, but thing by its colour; choose by" in report
    for mask_values, mask in {"index": stripes(1, 0), "color": stripes(1, 2)}.items():
        convert_raw(root, tmp_path / mask_values, mask_values=mask_values)
        assert np.array_equal(stored(tmp_path / mask_values)["a"][0], mask)


def test_the_explorer_reads_by_the_rule_that_is_asked_for(tmp_path):
    root = write(tmp_path / "raw", COLORS, a=stripes((126, 64, 128)))
    data_set = reader.open_raw(root, None, root / "map.yaml", mask_values="color", color_tolerance=2)
    assert np.array_equal(data_set.load(next(data_set.read("val", [0]))).mask, stripes(1))


def test_values_of_few_bits_that_the_map_knows_alone(tmp_path):
    """White of 1 bit is 255, unless the label map has 1 and no 255."""
    image = png(Image.fromarray(stripes(0, 255)).convert("1"))
    root = write(tmp_path / "raw", "classes: [background, thing]\n0: background\n1: thing\n", a=image)
    manifest = convert_raw(root, tmp_path / "out")
    mask, label_ids = stored(tmp_path / "out")["a"]
    assert np.array_equal(mask, stripes(1, 2)) and np.array_equal(label_ids, stripes(0, 1))
    assert "masks   values of 1, 2 or 4 bits, not the greys that they show in 1; " in convert.make_table(manifest)


def test_white_of_one_bit_that_could_be_two_classes(tmp_path):
    """What is drawn as 1 would become void, as 255 is in most label maps."""
    text = "classes: [background, thing]\n0: background\n1: thing\nignore: 255\n"
    bits = [png(Image.fromarray(mask).convert("1")) for mask in (stripes(0, 255), stripes(0, 0))]
    report = refused(write(tmp_path / "raw", text, a=bits[0], b=bits[1]), tmp_path / "out")
    assert "a.png: has 1 bit, whose white can be the mask value 1 (thing) or 255 (void), and the label map" in report
    convert_raw(write(tmp_path / "raw", text, a=stripes(0, 255), b=bits[1]), tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["a"][0], stripes(1, 0))
    assert np.array_equal(stored(tmp_path / "out")["b"][0], stripes(1, 1))


# ---- other formats, and other doors


def test_a_grey_mask_that_is_no_png_is_stored_as_one(tmp_path):
    root = write(tmp_path / "raw", BOTH, a=stripes(7, 8))
    path = root / "masks/val/a.png"  # the content says what it is
    Image.fromarray(stripes(7, 8)).save(path, "bmp")
    convert_raw(root, tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["a"][1], stripes(7, 8))


def test_the_explorer_reads_by_the_same_rule(tmp_path):
    root = write(tmp_path / "raw", COLORS, a=stripes(ROAD, SKY), b=stripes(BLACK))
    data_set = reader.open_raw(root, None, root / "map.yaml")
    pairs = [data_set.load(sample) for sample in data_set.read("val", [0, 1])]
    assert np.array_equal(pairs[0].mask, stripes(1, 2)) and np.array_equal(pairs[1].label_ids, stripes(0))
    assert data_set.label_map.names == {0: "void", 1: "road", 2: "sky"}


def test_cityscapes_in_colours_is_not_scored_as_label_ids(tmp_path):
    """By the name of Cityscapes, an evaluation would take class ids for its label ids."""
    for folder, ending, mask in (("leftImg8bit", "leftImg8bit", 0), ("gtFine", "gtFine_labelIds", stripes(ROAD, SKY))):
        path = tmp_path / f"raw/{folder}/val/ulm/ulm_000000_000019_{ending}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(png(stripes(ROAD, SKY) if isinstance(mask, int) else mask))
    for label_map, names in (("categories", {1: "flat", 5: "sky"}), ("train_ids", {1: "road", 11: "sky"})):
        source = sources.open_source(tmp_path / "raw", None, label_map)
        manifest = converter.convert(source, tmp_path / label_map)
        assert manifest.source == "folders" and manifest.label_map.items() >= names.items()
        assert np.array_equal(stored(tmp_path / label_map)["ulm_000000_000019"][0], stripes(*names))


def encode(image, kind, **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(st.lists(st.sampled_from([0, 7, 8]), min_size=2, max_size=9))
def test_one_mask_in_all_its_forms(values):
    """Whatever the file, the values or the colours are the same."""
    mask = np.array([values], np.uint8)
    rgb = np.dstack([mask] * 3)
    # As programs write it that make files smaller: greys in another order.
    smaller = palette_png(np.searchsorted([0, 7, 8], mask), [(0, 0, 0), (7, 7, 7), (8, 8, 8)])
    by_value = [*(encode(mask, kind) for kind in ("png", "bmp", "tiff")), smaller, png(mask.astype(np.uint16))]
    by_value += [png(rgb), encode(rgb, "webp", lossless=True), png(Image.fromarray(rgb).convert("RGBA"))]
    table = {0: BLACK, 7: ROAD, 8: SKY}
    colored = np.array([[table[value] for value in values]], np.uint8)
    by_color = [*(encode(colored, kind) for kind in ("png", "bmp", "tiff")), encode(colored, "webp", lossless=True)]
    by_color += [palette_png(np.searchsorted([0, 7, 8], mask), [BLACK, ROAD, SKY])]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "map.yaml").write_text(BOTH)
        label_map = read_label_map(Path(folder, "map.yaml"))
    for data in by_value:
        assert np.array_equal(read_values(data, Rule(label_map)).values, mask)
    for data in by_color:
        found = read_values(data, Rule(label_map, "color", chosen_by="a.png")).values
        assert np.array_equal(found, label_map.lookup[mask])


# ---- what is kept of it


def test_records_of_another_rule_are_not_taken_for_these(tmp_path):
    root = write(tmp_path / "raw", COLORS, a=stripes(ROAD, SKY))
    first = convert_raw(root, tmp_path / "out")
    assert convert_raw(root, tmp_path / "out") == first == convert_raw(root, tmp_path / "out", mask_values="color")
    with pytest.raises(ValueError, match="masks were read by another rule, or by other colours or labels of the label"):
        convert_raw(root, tmp_path / "out", color_tolerance=3)
    (root / "map.yaml").write_text(COLORS + '"#010101": sky\n')
    with pytest.raises(ValueError, match="masks were read by another rule, or by other colours"):
        convert_raw(root, tmp_path / "out")


def test_masks_read_by_values_leave_the_manifest_as_it_was(tmp_path):
    root = write(tmp_path / "raw", BOTH, a=stripes(7, 8))
    manifest = convert_raw(root, tmp_path / "out")
    assert {*json.loads((tmp_path / "out/manifest.json").read_text())["findings"]} == {
        *("folders", "assumed", "mask_kinds", "masks_with_255", "bare_masks", "turned", "undecided", "sizes"),
        *("commonest_size", "aspect", "enlarged", "left_out"),
    }
    source = sources.open_source(root, None, root / "map.yaml")
    assert manifests.blank_manifest(source, encoding.make_settings(source, None, "png", 95, "nearest")).findings is None
    assert manifest.findings["mask_kinds"] == {"grey": 1}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mask_values": "colour"}, "expected mask values of auto, index, color, red, green, blue, got 'colour'"),
        ({"color_tolerance": 256}, r"expected a colour tolerance in 0\.\.255, got 256"),
        ({"color_tolerance": -1}, r"expected a colour tolerance in 0\.\.255, got -1"),
    ],
)
def test_bad_settings(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        convert_raw(write(tmp_path / "raw", BOTH, a=stripes(7, 8)), tmp_path / "out", **wrong)


def test_the_rule_is_chosen_by_masks_that_can_be_read(tmp_path):
    root = write(tmp_path / "raw", BOTH, a=stripes(0, 0), b=stripes(ROAD, SKY), c=stripes(SKY))
    (root / "masks/val/a.png").write_bytes(b"no image")
    rule = checks.choose_rule(sources.open_source(root, None, root / "map.yaml"))
    assert rule.values == "color" and rule.chosen_by == str(root / "masks/val/b.png")
    (root / "masks/val/b.png").write_bytes(png(stripes(7)))
    rule = checks.choose_rule(sources.open_source(root, None, root / "map.yaml"))
    assert rule.values == "index" and rule.chosen_by == str(root / "masks/val/b.png")


@pytest.mark.parametrize(("grey", "values"), [(7, "index"), (0, "index"), (9, "index"), (1, "color")])
def test_greys_in_three_channels_are_values_unless_only_their_colours_are_known(tmp_path, grey, values):
    root = write(tmp_path / "raw", BOTH + '"#010101": sky\n', a=stripes((grey,) * 3, (grey,) * 3))
    rule = checks.choose_rule(sources.open_source(root, None, root / "map.yaml"))
    assert rule.values == values


def test_a_rule_that_uses_labels_gives_class_ids(tmp_path):
    (tmp_path / "map.yaml").write_text(BOTH)
    rule = Rule(read_label_map(tmp_path / "map.yaml"))
    assert np.array_equal(read_values(png(stripes(7, 8)), rule).values, stripes(7, 8))
    rule = dataclasses.replace(rule, uses_labels=True)
    assert np.array_equal(read_values(png(stripes(7, 8)), rule).values, stripes(1, 2))
    with pytest.raises(ValueError, match=re.escape("mask values [9] are not in the label map, which knows [0, 7, 8]")):
        read_values(png(stripes(7, 9)), rule)
