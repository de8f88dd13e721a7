"""The converter decides by the files what can be read in two ways, says so, and refuses what contradicts itself."""

import io
import json
import re
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from tfseg import convert
from tfseg.conversion import converter
from tfseg.conversion.finding import sources
from tfseg.conversion.reading import evidence, samples
from tfseg.conversion.reading.faults import BadFilesError
from tfseg.conversion.writing import encoding, plan, shards
from tfseg.conversion.writing.fingerprints import fingerprint_part
from tfseg.io import masks
from tfseg.records import labels, records
from tfseg.records.manifest import read_manifest

LABEL_MAP = "".join(f"{value}: {name}\n" for value, name in enumerate(labels.CATEGORIES)) + "128: sky\n255: void\n"
COLORS = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 5: (128, 0, 128)}
COLORS |= {6: (0, 128, 128), 7: (128, 128, 128)}  # as in Pascal VOC; the last is grey


def png(mask, colors=None):
    """Bytes of a PNG: grey, or a palette with these colours by entry, the others black."""
    image = Image.fromarray(np.asarray(mask, np.uint8))
    if colors is not None:
        image = image.convert("L")
        image.putpalette([part for entry in range(max(colors) + 1) for part in colors.get(entry, (0, 0, 0))])
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def stripes(*values):
    """A mask (8, 8 a value) of stripes."""
    return np.repeat(np.array([values], np.uint8), 8, axis=1).repeat(8, axis=0)


def write(root, id, mask, file=None, split="train", exif=None, kind="png"):
    """Writes an image of noise with the file of its mask, grey by default."""
    for folder in ("images", "masks"):
        (root / folder / split).mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(id)).integers(0, 256, (*np.shape(mask)[:2], 3), np.uint8)
    Image.fromarray(noise).save(root / f"images/{split}/{id}.{kind}", **({"exif": exif} if exif else {}))
    (root / f"masks/{split}/{id}.png").write_bytes(png(mask) if file is None else file)
    (root / "map.yaml").touch()
    if not (root / "map.yaml").read_text():
        (root / "map.yaml").write_text(LABEL_MAP)
    return noise


def write_cityscapes(root, split, *masks, folders=("leftImg8bit", "gtFine")):
    for number, mask in enumerate(masks):
        name = f"{split}/ulm/ulm_{number:06d}_000019_"
        for folder, ending in zip(folders, ("leftImg8bit", "gtFine_labelIds"), strict=True):
            path = root / folder / f"{name}{ending}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            array = np.asarray(mask, np.uint8)
            path.write_bytes(png(array if folder == folders[1] else np.dstack([array] * 3)))


def convert_raw(root, out, label_map="map.yaml", **settings):
    source = sources.open_source(root, None, root / "map.yaml" if label_map == "map.yaml" else label_map)
    return converter.convert(source, out, **settings)


def stored(out):
    """Id -> mask of all records."""
    manifest = read_manifest(out)
    shards = [shard.name for split in manifest.splits.values() for shard in split.shards]
    decoded = [records.decode_example(data) for name in shards for data in records.read_shard(out / name)]
    return {record.id: record.mask for record in decoded}


def refused(root, out, kind=ValueError, **settings):
    with pytest.raises(kind) as raised:
        convert_raw(root, out, **settings)
    assert "\n" not in str(raised.value) and not out.exists()
    return str(raised.value)


# ---- palettes


@pytest.mark.parametrize("order", ["rising", "falling", "quantize"])
def test_a_palette_of_greys_gives_the_greys(tmp_path, order):
    """What any program that makes files smaller makes of a grey mask."""
    mask = stripes(3, 7, 1, 128)
    if order == "quantize":
        file = io.BytesIO()
        Image.fromarray(mask).quantize().save(file, "png", optimize=True)
        file = file.getvalue()
    else:
        values = sorted(np.unique(mask).tolist(), reverse=order == "falling")
        indexes = np.searchsorted(values, mask) if order == "rising" else 3 - np.searchsorted(values[::-1], mask)
        file = png(indexes, {entry: (value,) * 3 for entry, value in enumerate(values)})
    write(tmp_path / "raw", "a", mask, file, split="val")
    manifest = convert_raw(tmp_path / "raw", tmp_path / "out")
    expected = stripes(3, 7, 1, 5)
    assert np.array_equal(stored(tmp_path / "out")["a"], expected)
    (data,) = records.read_shard(tmp_path / "out" / manifest.splits["val"].shards[0].name)
    assert np.array_equal(records.decode_example(data).label_ids, mask)
    assert manifest.findings["mask_kinds"] == {"palette of greys": 1}


def test_masks_that_use_parts_of_one_palette(tmp_path):
    """Of Pascal VOC: one has but black and grey, one all colours, one a palette that ends with its last."""
    root, masks = tmp_path / "raw", {"a": stripes(0, 7), "b": stripes(0, 1, 2, 3, 4, 5, 6, 7), "c": stripes(2, 1)}
    write(root, "a", masks["a"], png(masks["a"], COLORS))
    write(root, "b", masks["b"], png(masks["b"], COLORS))
    write(root, "c", masks["c"], png(masks["c"], {entry: COLORS[entry] for entry in range(3)}))
    write(root, "d", stripes(7, 1))  # a grey one among them
    manifest = convert_raw(root, tmp_path / "out")
    assert all(np.array_equal(stored(tmp_path / "out")[id], mask) for id, mask in masks.items())
    assert manifest.findings["mask_kinds"] == {"grey": 1, "palette of colours": 3}
    table = convert.make_table(manifest)
    assert "masks   grey values in 1, indexes of a palette in 3; values are of the label map given" in table


def test_a_colour_twice_in_one_palette(tmp_path):
    colors = COLORS | {5: COLORS[1]}
    for id, mask in (("a", stripes(1, 2)), ("b", stripes(5, 2)), ("c", stripes(1, 5))):
        write(tmp_path / "raw", id, mask, png(mask, colors))
    convert_raw(tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["b"], stripes(5, 2))


SWAPPED = {0: (0, 0, 0), 1: COLORS[2], 2: COLORS[1]}
MOVED = {0: (0, 0, 0), 3: COLORS[1]}


@pytest.mark.parametrize(
    ("mask", "colors", "message"),
    [
        (
            stripes(0, 2, 1),
            SWAPPED,
            r"c\.png: has \(0, 128, 0\) at index 1 of its palette, where .*[ab]\.png has \(128,",
        ),
        (
            stripes(0, 3),
            MOVED,
            r"c\.png: has \(128, 0, 0\) at index 3 of its palette, .*[ab]\.png has that colour at inde",
        ),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_refuses_a_second_palette(tmp_path, mask, colors, message, workers):
    ids = ["a", "b", "c"]
    order = [it.id for it in plan.storage_order("train", [samples.Sample(id, None, None) for id in ids])]
    for id in ids:
        file = png(mask, colors) if id == order[-1] else png(stripes(0, 1, 2), COLORS)
        write(tmp_path / "raw", id, mask if id == order[-1] else stripes(0, 1, 2), file)
    report = refused(tmp_path / "raw", tmp_path / "out", BadFilesError, workers=workers)
    message = message.replace("c\\", f"{order[-1]}\\").replace("[ab]", f"[{''.join(order[:-1])}]")
    assert re.search(message, report), report
    assert report.endswith("save them as 8-bit grey PNGs")


def test_refuses_every_mask_of_a_second_palette(tmp_path):
    ids = [f"m{index:02d}" for index in range(40)]
    order = [it.id for it in plan.storage_order("train", [samples.Sample(id, None, None) for id in ids])]
    for id in ids:
        other = id in order[5::7]
        write(tmp_path / "raw", id, stripes(0, 2, 1), png(stripes(0, 2, 1), SWAPPED if other else COLORS))
    with pytest.raises(BadFilesError) as raised:
        convert_raw(tmp_path / "raw", tmp_path / "out")
    assert [fault.split(": ")[0].rpartition("/")[2] for fault in raised.value.faults] == [
        f"{id}.png" for id in order[5::7]
    ]


def test_a_palette_is_compared_over_an_interruption(tmp_path, monkeypatch):
    """The first shards are finished, with one palette; the rest comes with another."""
    root, ids = tmp_path / "raw", [f"m{index:02d}" for index in range(16)]
    for id in ids:
        write(root, id, stripes(0, 2, 1), png(stripes(0, 2, 1), COLORS))
    first, second = plan.plan_parts(sources.open_source(root, None, root / "map.yaml"))
    write_part = shards.write_part

    def stop(part, *arguments):
        if part == second:
            raise KeyboardInterrupt
        return write_part(part, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards, "write_part", stop)
        convert_raw(root, tmp_path / "out")
    for sample in second.samples:
        sample.mask.write_bytes(png(stripes(0, 2, 1), SWAPPED))
    report = refused(root, tmp_path / "out", BadFilesError)
    assert f"{second.samples[0].mask}: has (0, 128, 0) at index 1" in report and first.samples[0].mask.name in report


def test_shards_made_apart_are_compared(tmp_path):
    """As Beam makes them: no worker sees the masks of two."""
    root, ids = tmp_path / "raw", [f"m{index:02d}" for index in range(16)]
    for id in ids:
        write(root, id, stripes(0, 2, 1))
    source = sources.open_source(root, None, root / "map.yaml")
    first, second = plan.plan_parts(source)
    for part, colors in ((first, COLORS), (second, SWAPPED)):
        for sample in part.samples:
            sample.mask.write_bytes(png(stripes(0, 2, 1), colors))

    def write_apart(parts, folder, settings, journal_settings):
        entries = {}
        for part in parts:
            encoded = (encoding.encode_sample((part.split, sample), settings) for sample in part.samples)
            entries[part.name] = shards.write_part(part, folder, encoded, fingerprint_part(part))
        return entries

    with pytest.raises(BadFilesError, match=rf"{second.samples[0].mask.name}: has \(0, 128, 0\) at index 1"):
        converter.convert(source, tmp_path / "out", write_parts=write_apart)


def test_greys_and_colours_do_not_mix(tmp_path):
    """A mask of black and the grey of Pascal VOC that was made smaller: 128 in the label map, but 7 is meant."""
    write(tmp_path / "raw", "a", stripes(0, 7), png(stripes(0, 1), {0: (0, 0, 0), 1: (128, 128, 128)}))
    write(tmp_path / "raw", "b", stripes(0, 1, 2), png(stripes(0, 1, 2), COLORS))
    report = refused(tmp_path / "raw", tmp_path / "out", BadFilesError)
    assert (
        "has a palette of " in report
        and "greys, whose values count" in report
        and "colours, whose indexes count" in report
    )


def test_the_label_map_tells_which_reading_of_greys_is_meant(tmp_path):
    """All used entries are grey, others are not: indexes, unless the label map knows the greys alone."""
    colors = {0: (3, 3, 3), 1: (4, 4, 4), 2: (255, 0, 0), 3: (9, 9, 9)}
    write(tmp_path / "raw", "a", stripes(3, 4), png(stripes(0, 1), colors))
    (tmp_path / "raw/map.yaml").write_text("3: sky\n4: flat\n")
    convert_raw(tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["a"], stripes(5, 1))


def test_values_of_a_palette_that_the_label_map_lacks(tmp_path):
    write(tmp_path / "raw", "a", stripes(0, 77), png(stripes(0, 1), {0: (0, 0, 0), 1: (77, 77, 77)}))
    report = refused(tmp_path / "raw", tmp_path / "out")
    assert "a.png: mask values [77] are not in the label map" in report
    assert report.endswith("it has a palette of greys, whose values are read")


CLASSES = "classes: {void: [0, 0, 0], cat: [128, 0, 0], dog: [0, 128, 0]}\n"


@pytest.mark.parametrize(
    ("order", "is_right"), [("0: void\n1: cat\n2: dog\n", True), ("0: void\n2: cat\n1: dog\n", False)]
)
def test_the_colours_of_the_classes_stand_where_the_label_map_says(tmp_path, order, is_right):
    write(tmp_path / "raw", "a", stripes(0, 1, 2), png(stripes(0, 1, 2), COLORS))
    (tmp_path / "raw/map.yaml").write_text(CLASSES + order)
    if is_right:
        convert_raw(tmp_path / "raw", tmp_path / "out")
        return
    report = refused(tmp_path / "raw", tmp_path / "out", BadFilesError)
    assert (
        "at index 1 of its palette (128, 0, 0), the colour of cat, but by the label map the mask value 1 is dog"
        in report
    )


def short_palette(mask, colors):
    """Bytes of a palette PNG of 8 bits whose palette holds these colours alone."""
    data = png(mask, dict.fromkeys(range(256), (1, 2, 3)))
    start = data.index(b"PLTE") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    chunk = b"PLTE" + bytes(part for color in colors for part in color)
    return data[:start] + (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + data[end:]


def test_an_entry_that_a_palette_lacks(tmp_path):
    """A palette of the classes alone, without 255 for void."""
    mask = stripes(0, 1, 255)
    for id, colors in (("a", [*COLORS.values()]), ("b", [(0, 0, 0), COLORS[1]]), ("c", [(0, 0, 0), (1, 1, 1)])):
        write(tmp_path / "raw", id, mask, short_palette(mask, colors))
        assert masks.read_mask(short_palette(mask, colors)).palette == bytes(np.array(colors, np.uint8))
    convert_raw(tmp_path / "raw", tmp_path / "out")
    assert all(np.array_equal(it, stripes(0, 1, 0)) for it in stored(tmp_path / "out").values())
    write(tmp_path / "raw", "d", mask, short_palette(mask, [(9, 9, 9), (7, 7, 7)]))
    report = refused(tmp_path / "raw", tmp_path / "other")
    assert report.endswith("d.png: has pixels of entry 255 of its palette of greys, which has 2 entries; save it anew")


# ---- the label ids of Cityscapes

STREET = stripes(0, 1, 2, 3, 7, 8, 11, 17, 21, 23, 24, 26)
TRAIN_IDS = stripes(0, 1, 2, 5, 8, 10, 11, 13, 255)


def test_train_ids_under_the_names_of_label_ids(tmp_path):
    write_cityscapes(tmp_path / "raw", "train", STREET, STREET)
    write_cityscapes(tmp_path / "raw", "valid", TRAIN_IDS, TRAIN_IDS)
    (tmp_path / "raw").rename(tmp_path / "r")
    for path in (tmp_path / "r/leftImg8bit/valid/ulm").iterdir():
        path.rename(path.with_name(path.name.replace("ulm", "bonn")))
    for path in (tmp_path / "r/gtFine/valid/ulm").iterdir():
        path.rename(path.with_name(path.name.replace("ulm", "bonn")))
    with pytest.raises(
        ValueError, match=r"labelIds\.png: this and all 2 masks of split valid hold none of the label ids 19"
    ):
        convert_raw(tmp_path / "r", tmp_path / "out", None)
    assert not (tmp_path / ".out.tfseg-incomplete/new").exists()  # nothing was done before
    manifest = convert_raw(tmp_path / "r", tmp_path / "out", "categories")
    assert manifest.findings["assumed"] is False


@pytest.mark.parametrize("ids", [stripes(0, 1, 2, 3, 4), stripes(0, 255, 7), stripes(7, 8, 11), stripes(4, 5, 6)])
def test_other_ids_under_the_names_of_label_ids(tmp_path, ids):
    write_cityscapes(tmp_path / "raw", "train", ids)
    for label_map in (None, "train_ids"):  # which names the classes to learn, not what the masks hold
        with pytest.raises(ValueError, match=r"these look like train ids or ids of another data set"):
            convert_raw(tmp_path / "raw", tmp_path / "out", label_map)


@pytest.mark.parametrize("ids", [stripes(0, 1, 2, 3), stripes(0), stripes(255), stripes(7, 21), stripes(33, 255)])
def test_what_can_be_of_cityscapes(tmp_path, ids):
    """A test split, which has no truth, and small parts."""
    write_cityscapes(tmp_path / "raw", "train", ids)
    convert_raw(tmp_path / "raw", tmp_path / "out", None)


def test_one_mask_may_lack_what_the_others_have(tmp_path):
    write_cityscapes(tmp_path / "raw", "train", *[stripes(7, 8)] * 12, stripes(7, 26))
    convert_raw(tmp_path / "raw", tmp_path / "out", None)


def test_masks_without_truth_do_not_hide_other_ids(tmp_path):
    """More than are looked at before."""
    order = plan.storage_order("train", [samples.Sample(f"ulm_{n:06d}_000019", None, None) for n in range(20)])
    late = {sample.id for sample in order[10:]}
    masks = [stripes(7, 8) if f"ulm_{n:06d}_000019" in late else stripes(0, 1) for n in range(20)]
    write_cityscapes(tmp_path / "raw", "train", *masks)
    with pytest.raises(ValueError, match="these look like train ids"):
        convert_raw(tmp_path / "raw", tmp_path / "out", None)


def test_255_in_cityscapes_is_void(tmp_path):
    write_cityscapes(tmp_path / "raw", "val", stripes(26, 255))
    manifest = convert_raw(tmp_path / "raw", tmp_path / "out", None)
    assert np.array_equal(stored(tmp_path / "out")["ulm_000000_000019"], stripes(7, 0))
    assert "values are label ids of Cityscapes, and 255, void, in 1" in convert.make_table(manifest)


def test_a_few_masks_of_other_ids_among_those_of_cityscapes_are_told(tmp_path):
    write_cityscapes(tmp_path / "raw", "val", stripes(7, 26), stripes(0, 13, 255), stripes(0, 1))
    convert_raw(tmp_path / "raw", tmp_path / "out", None)
    lines = convert.make_table(read_manifest(tmp_path / "out")).splitlines()
    (report,) = [line for line in lines if line.startswith("warning")]
    assert report.startswith("warning: 1 of 3 masks hold none of the label ids 19 to 33")
    assert "ulm_000001_000019_gtFine_labelIds.png: look whether these are train ids" in report
    given = convert.make_table(convert_raw(tmp_path / "raw", tmp_path / "again", "categories"))
    assert "hold none of the label ids" not in given


# ---- EXIF


def orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("number", range(1, 9))
def test_exif(tmp_path, kind, number):
    """Square: image and mask fit both ways."""
    noise = write(tmp_path / "raw", "a", np.arange(256).reshape(16, 16) // 128, exif=orientation(number), kind=kind)
    for mode in ("rotate", "ignore"):
        manifest = convert_raw(tmp_path / "raw", tmp_path / mode, codec="png", exif=mode)
        (data,) = records.read_shard(tmp_path / mode / "train-00000-of-00001.tfrecord")
        image = records.decode_example(data).image.astype(int)
        turned = {1: noise, 3: noise[::-1, ::-1], 6: np.rot90(noise, -1), 8: np.rot90(noise)}.get(number)
        if mode == "ignore" or number == 1:
            turned = noise
        if kind == "png" and turned is not None:
            assert np.array_equal(image, turned)
        table = convert.make_table(manifest)
        assert ("1 of 1 images turned upright" in table) == (number > 1 and mode == "rotate")
        assert ("warning: 1 images were turned" in table) == (number > 1 and mode == "rotate")
        assert ("ignored, 1 of 1 images taken as they are stored" in table) == (number > 1 and mode == "ignore")
        assert manifest.exif == mode


def test_a_mask_that_fits_upright_alone_needs_no_warning(tmp_path):
    write(tmp_path / "raw", "a", stripes(1, 2), png(stripes(1, 2).T), exif=orientation(6), kind="jpg")
    table = convert.make_table(convert_raw(tmp_path / "raw", tmp_path / "out"))
    assert "EXIF    1 of 1 images turned upright (orientation 6 in 1)" in table and "warning" not in table


def test_a_mask_that_fits_one_way_alone(tmp_path):
    write(tmp_path / "raw", "a", stripes(1, 2), exif=orientation(6), kind="jpg")  # stored 8x16
    report = refused(tmp_path / "raw", tmp_path / "out")
    assert "a.jpg: is 16x8 upright, with the orientation 6 of its EXIF data, but its mask " in report
    assert report.endswith(
        "is 8x16, as of the image as it is stored; make them agree, or --exif ignore takes all "
        "images as they are stored"
    )
    convert_raw(tmp_path / "raw", tmp_path / "out", exif="ignore")
    with pytest.raises(ValueError, match="exif is ignore, not rotate"):
        convert_raw(tmp_path / "raw", tmp_path / "out")
    (tmp_path / "raw/masks/train/a.png").write_bytes(png(stripes(1, 2).T))
    with pytest.raises(ValueError, match=r"is 8x16 as it is stored.*or --exif rotate turns all upright"):
        convert_raw(tmp_path / "raw", tmp_path / "other", exif="ignore")
    convert_raw(tmp_path / "raw", tmp_path / "other")


def test_exif_of_a_mask_counts_as_that_of_a_image(tmp_path):
    file = io.BytesIO()
    Image.fromarray(stripes(1, 2)).save(file, "png", exif=orientation(6))
    write(tmp_path / "raw", "a", stripes(1, 2), file.getvalue(), exif=orientation(6), kind="jpg")
    convert_raw(tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(stored(tmp_path / "out")["a"], np.rot90(stripes(1, 2), -1))
    convert_raw(tmp_path / "raw", tmp_path / "as-stored", exif="ignore")
    assert np.array_equal(stored(tmp_path / "as-stored")["a"], stripes(1, 2))


# ---- sizes


@pytest.mark.parametrize(
    ("size", "warning"),
    [
        (None, None),
        ((8, 16), None),
        ((4, 8), None),
        ((100, 204), "2 are enlarged"),
        ((16, 8), "the aspect of 2 changes by more than 5% and 2 are enlarged"),
        ((8, 8), "the aspect of 2 changes by more than 5%"),
        ((16, 16), "the aspect of 2 changes by more than 5% and 2 are enlarged"),
    ],
)
def test_warns_of_what_a_size_does(tmp_path, size, warning):
    for id in "ab":
        write(tmp_path / "raw", id, stripes(1, 2))
    table = convert.make_table(convert_raw(tmp_path / "raw", tmp_path / "out", size=size)).splitlines()
    report = [line for line in table if line.startswith("warning: ")]
    expected = f"warning: of 2 images, most often 8x16, {warning} by --size {'x'.join(map(str, size or ()))}"
    assert report == ([expected] if warning else [])


# ---- many bad files


def test_all_bad_files_are_named_at_once(tmp_path, monkeypatch):
    root, ids = tmp_path / "raw", [f"m{index:02d}" for index in range(40)]
    for id in ids:
        write(root, id, stripes(0, 1))
    parts = plan.plan_parts(sources.open_source(root, None, root / "map.yaml"))
    bad = [parts[2].samples[3], parts[2].samples[5], parts[4].samples[0]]
    for sample in bad[:2]:
        sample.image.write_bytes(sample.image.read_bytes()[:50])
    bad[2].mask.write_bytes(png(stripes(0, 99)))
    encoded, encode = [], encoding.encode_pixels
    monkeypatch.setattr(
        encoding, "encode_pixels", lambda id, *rest, **more: encoded.append(id) or encode(id, *rest, **more)
    )
    with pytest.raises(BadFilesError) as raised:
        convert_raw(root, tmp_path / "out")
    paths = [bad[0].image, bad[1].image, bad[2].mask]
    assert [fault.split(": ")[0] for fault in raised.value.faults] == [str(path) for path in paths]
    assert raised.value.count == 3 and "\n" not in str(raised.value)
    assert encoded == [sample.id for part in parts for sample in part.samples][:19]  # nothing after the first
    kept = {path.name for path in (tmp_path / ".out.tfseg-incomplete/new").iterdir()}
    finished = [parts[0].name, parts[1].name]
    assert kept == {"journal.json", *finished, *(f"{name}.jsonl" for name in finished)}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_twenty_bad_files_are_named(tmp_path, workers):
    for index in range(30):
        write(tmp_path / "raw", f"m{index:02d}", stripes(0, 99 if index % 6 else 1))
    with pytest.raises(BadFilesError, match=r"; and 5 bad files more$") as raised:
        convert_raw(tmp_path / "raw", tmp_path / "out", workers=workers)
    assert (len(raised.value.faults), raised.value.count) == (20, 25)


def test_a_file_that_cannot_be_read_is_one_of_the_bad(tmp_path, monkeypatch):
    for id in "ab":
        write(tmp_path / "raw", id, stripes(0, 1))
    source = sources.open_source(tmp_path / "raw", None, tmp_path / "raw/map.yaml")
    image, mask = source.splits["train"][0].image, source.splits["train"][1].mask
    fingerprint = shards.fingerprint_part

    def lose(part):
        found = fingerprint(part)
        image.unlink()
        image.mkdir()
        mask.write_bytes(b"")
        return found

    monkeypatch.setattr(shards, "fingerprint_part", lose)
    with pytest.raises(BadFilesError) as raised:
        converter.convert(source, tmp_path / "out")
    report = sorted(raised.value.faults)
    assert report[0] == f"{image}: cannot be read: Is a directory" and report[1].startswith(f"{mask}: is no PNG, BMP")


def test_a_image_too_long_for_jpeg(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / "raw" / kind / "train").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "raw/images/train/a.png"), np.zeros((66000, 4, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "raw/masks/train/a.png"), np.zeros((66000, 4), np.uint8))
    (tmp_path / "raw/map.yaml").write_text(LABEL_MAP)
    report = refused(tmp_path / "raw", tmp_path / "out")
    assert report.endswith(
        "a.png: is 66000x4, and a JPEG file has at most 65,500 pixels a side; take --codec png, or a smaller --size"
    )
    convert_raw(tmp_path / "raw", tmp_path / "out", codec="png")


def test_a_palette_mask_of_too_many_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    write(tmp_path / "raw", "a", stripes(0, 1), png(stripes(0, 1), COLORS))
    report = refused(tmp_path / "raw", tmp_path / "out")
    assert "a.png: is a palette PNG of 8x16, more than the 100 pixels that can be read of one; save it" in report


# ---- what is kept of it


def test_findings_are_readable_by_those_who_know_none(tmp_path):
    write(tmp_path / "raw", "a", stripes(0, 1, 2))
    manifest = convert_raw(tmp_path / "raw", tmp_path / "out")
    path = tmp_path / "out/manifest.json"
    entries = json.loads(path.read_text())
    assert entries["schema_version"] == 2 and entries.pop("findings") and entries.pop("exif") == "rotate"
    path.write_text(json.dumps(entries))
    old = read_manifest(tmp_path / "out")
    assert (old.findings, old.exif, old.splits) == (None, "rotate", manifest.splits)
    assert convert_raw(tmp_path / "raw", tmp_path / "out") == old  # it is there already
    assert convert.make_table(old).count("\n") == 1


@pytest.mark.parametrize("findings", [{}, {"folders": 1}, {"folders": ["a", "b"], "mask_kinds": []}])
def test_findings_that_someone_has_edited(tmp_path, findings):
    write(tmp_path / "raw", "a", stripes(0, 1, 2))
    convert_raw(tmp_path / "raw", tmp_path / "out")
    path = tmp_path / "out/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"findings": findings}))
    assert convert.make_table(read_manifest(tmp_path / "out")).startswith("split")


def test_a_second_run_tells_the_same(tmp_path):
    write(tmp_path / "raw", "a", stripes(0, 1, 2))
    first = convert.make_table(convert_raw(tmp_path / "raw", tmp_path / "out", size=(16, 16)))
    assert convert.make_table(convert_raw(tmp_path / "raw", tmp_path / "out", size=(16, 16))) == first
    assert [line.split("  ")[0] for line in first.splitlines()[4:]] == ["layout", "masks", "images", "void", "size"]


def test_many_classes_take_a_row_each(tmp_path):
    names = [f"class number {index}" for index in range(40)]
    text = "classes:\n" + "".join(f"  {name}: [{index}, 0, 9]\n" for index, name in enumerate(names))
    write(tmp_path / "raw", "a", stripes(0, 1, 2))
    (tmp_path / "raw/map.yaml").write_text(text + "".join(f"{index}: {name}\n" for index, name in enumerate(names)))
    table = convert.make_table(convert_raw(tmp_path / "raw", tmp_path / "out"))
    assert max(map(len, table.splitlines())) < 120
    assert re.search(r"class number 2 % +33\.33", table)


def test_evidence_is_summed_up_in_any_cut(tmp_path):
    write(tmp_path / "raw", "a", stripes(0, 1), png(stripes(0, 1), COLORS))
    write(tmp_path / "raw", "b", stripes(2, 1), png(stripes(2, 1), COLORS), exif=orientation(3))
    source = sources.open_source(tmp_path / "raw", None, tmp_path / "raw/map.yaml")
    settings = encoding.make_settings(source, None, "png", 95, "nearest")
    seen = [encoding.check_sample(sample, settings).seen for sample in source.splits["train"]]
    whole = evidence.merge(seen)
    assert evidence.merge([evidence.merge(seen[:1]), evidence.merge(seen[1:])]) == whole
    assert (whole.turned, whole.sizes, whole.holders[:4]) == ({"3": 1}, {"8x16": 2}, [1, 2, 1, 0])
    assert [sorted(entries) for entries in whole.palettes.values()] == [["0", "1", "2"]]
