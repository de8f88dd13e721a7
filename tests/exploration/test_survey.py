"""A look at a data set: counts by hand, raw files and records alike, figures, the page, the command."""

import base64
import dataclasses
import io
import json
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from helper_pages import Page
from helpers import draw, write_records
from PIL import Image

from tfseg import explore as tool
from tfseg.conversion import reader
from tfseg.exploration import explorer, figures
from tfseg.exploration import page as explore_page
from tfseg.exploration import survey as survey_module
from tfseg.exploration.survey import survey_data_set
from tfseg.records import labels, records
from tfseg.records.manifest import Manifest, Split, read_manifest, shard_name, write_manifest
from tfseg.records.record_set import open_records

RED, BLUE = (200, 10, 20), (20, 10, 200)


def png(array):
    return cv2.imencode(".png", array if array.ndim == 2 else array[..., ::-1])[1].tobytes()


def write_folders(root, split, images):
    """Writes {id: (image, mask)} in the layout images/ + masks/."""
    for id, (image, mask) in images.items():
        for folder, array in (("images", image), ("masks", mask)):
            path = root / folder / split / f"{id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(np.asarray(array, np.uint8)))


@pytest.fixture
def root(tmp_path):
    return write_root(tmp_path)


def write_root(folder):
    """Two images of 2x2 and 1x4; the label map knows 3 and 4 as flat, 9 as sky and 200 as void."""
    first = np.full((2, 2, 3), RED), [[9, 9], [3, 4]]
    second = np.full((1, 4, 3), BLUE), [[9, 200, 200, 200]]
    write_folders(folder / "raw", "train", {"b": first, "a": second})
    (folder / "raw" / "map.yaml").write_text("3: flat\n4: flat\n9: sky\n200: void\n")
    return folder / "raw"


def look(root, limit=None, processes=1):
    return survey_data_set(reader.open_raw(root, None, root / "map.yaml"), limit, processes)


def counts_of(entries):
    return {entry.name: (entry.pixels, entry.share, entry.images) for entry in entries if entry.pixels}


# ---- numbers


def test_counts_by_hand(root):
    split = look(root).splits["train"]
    assert (split.images, split.total, split.shards) == (2, 2, None)
    assert split.sizes == [{"height": 1, "width": 4, "images": 1}, {"height": 2, "width": 2, "images": 1}]
    assert split.image_kinds == {"PNG, 8-bit RGB": 2} and split.mask_kinds == {"PNG, 8-bit grey": 2}
    assert counts_of(split.classes) == {"void": (3, 3 / 8, 1), "flat": (2, 2 / 8, 1), "sky": (3, 3 / 8, 2)}
    assert [(entry.value, entry.class_name, entry.pixels, entry.images) for entry in split.labels] == [
        (3, "flat", 1, 1),
        (4, "flat", 1, 1),
        (9, "sky", 3, 2),
        (200, "void", 3, 1),
    ]
    assert split.has_truth
    assert split.class_weights == pytest.approx([0, 1.2, 0, 0, 0, 0.8, 0, 0])  # of 2 and 3 pixels
    assert split.channel_mean == [110, 10, 110] and split.channel_std == [90, 0, 90]
    assert split.channel_min == [20, 10, 20] and split.channel_max == [200, 10, 200]


def test_bands_go_from_top_to_bottom(root):
    bands = np.array(look(root).splits["train"].band_pixels)
    assert bands.shape == (64, 9)
    assert np.flatnonzero(bands.sum(axis=1)).tolist() == [0, 32]  # of the image of one row all, of two the upper
    assert bands[0, [0, 5]].tolist() == [3, 3] and bands[32, 1] == 2


def test_every_row_counts_once():
    mask = np.random.default_rng(0).integers(0, 8, (100, 30), np.uint8)
    bands = survey_module.count(reader.Pair("a", np.zeros((100, 30, 3), np.uint8), mask, None, "", ""), 9).band_pixels
    assert bands.sum(axis=0).tolist() == [*np.bincount(mask.ravel(), minlength=8), 0]
    assert set(bands.sum(axis=1).tolist()) == {30, 60}  # 100 rows over 64 bands: one or two each


def test_moments_are_those_of_numpy():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1000))
    mean, deviation = survey_module.channel_moments(
        np.stack([np.bincount(channel, minlength=256) for channel in pixels])
    )
    assert mean == pytest.approx(pixels.mean(axis=1)) and deviation == pytest.approx(pixels.std(axis=1))


def test_workers_find_the_same(root):
    one, two = look(root), look(root, processes=2)
    assert one.splits == two.splits and one.example.id == two.example.id


@pytest.mark.parametrize(
    ("ids", "limit", "places"),
    [
        ("abcdefghij", 5, [0, 2, 4, 6, 8]),
        ("abcdefghij", 1, [0]),
        ("abc", None, [0, 1, 2]),
        ("abc", 9, [0, 1, 2]),
        ("dacb", 2, [1, 2]),  # of a b c d the first and the third
        ("", 3, []),
    ],
)
def test_spread(ids, limit, places):
    assert survey_module.spread(list(ids), limit) == places


def test_a_sample_is_told(root):
    survey = look(root, limit=1)
    assert survey.splits["train"].classes[5].pixels == 1  # of the image a alone
    assert explore_page.notes(survey) == ["This is a sample, evenly spread: 1 of 2 images of train."]
    assert explore_page.notes(look(root)) == []


def test_splits_stand_in_their_usual_order(root):
    for split in ("other", "test", "val"):
        write_folders(root, split, {split: (np.zeros((1, 1, 3)), [[3]])})
    assert list(look(root).splits) == ["train", "val", "test", "other"]


def test_unknown_values_are_listed(root):
    write_folders(root, "train", {"c": (np.zeros((1, 8, 3)), [[3, 3, 3, 3, 77, 77, 77, 78]])})
    survey = look(root)
    split = survey.splits["train"]
    assert [(entry.value, entry.name, entry.pixels) for entry in split.labels[4:]] == [
        (77, "unknown", 3),
        (78, "unknown", 1),
    ]
    assert (split.classes[-1].name, split.classes[-1].pixels) == ("unknown", 4)
    assert survey.warnings == ["split train has mask values that the label map lacks: 77, 78 (25.00% of the pixels)"]
    assert "unknown" not in {entry.name for entry in look(root, limit=1).splits["train"].classes}


def test_no_ground_truth(root):
    write_folders(root, "test", {"z": (np.zeros((2, 2, 3)), np.full((2, 2), 200))})
    survey = look(root)
    assert survey.splits["train"].has_truth and not survey.splits["test"].has_truth
    assert survey.warnings == ["split test has no ground truth: all its pixels are void"]
    assert survey.splits["test"].class_weights == [0] * 8


def test_the_example_has_the_most_classes(root):
    survey = look(root)  # both images have two, of which one is void in a
    assert (survey.example.id, survey.example_split) == ("b", "train")
    write_folders(root, "val", {"v": (np.zeros((1, 3, 3)), [[3, 9, 200]])})
    assert look(root).example.id == "b"  # the first of equals


def test_cityscapes_labels_have_names():
    table = survey_module.label_table("cityscapes", labels.CITYSCAPES["categories"])
    assert len(table) == 35
    assert table[7] == ("road", "flat", (128, 64, 128)) and table[255] == ("no label", "void", (0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "format", "kind"),
    [
        ("L", "PNG", "PNG, 8-bit grey"),
        ("P", "PNG", "PNG, 1-bit palette"),
        ("RGBA", "PNG", "PNG, 8-bit RGBA"),
        ("I;16", "PNG", "PNG, 16-bit grey"),
        ("RGB", "JPEG", "JPEG, 8-bit RGB"),
        ("L", "JPEG", "JPEG, 8-bit grey"),
    ],
)
def test_file_kind(mode, format, kind):
    file = io.BytesIO()
    Image.new(mode, (2, 2)).save(file, format)
    assert reader.file_kind(file.getvalue()) == kind


# ---- records


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records of 12 and 5 images, in 2 shards a split, and the same images as raw/."""
    folder = tmp_path_factory.mktemp("explore")
    write_records(folder / "records", {"train": 12, "val": 5})
    for split, count in (("train", 12), ("val", 5)):
        images = {f"{split}-{index:03d}": draw(index, 24, 32) for index in range(count)}
        write_folders(folder / "raw", split, images)
    (folder / "raw" / "map.yaml").write_text("".join(f"{i}: {name}\n" for i, name in enumerate(labels.CATEGORIES)))
    return folder


@pytest.mark.parametrize("limit", [None, 4])
def test_records_and_raw_files_agree(folder, limit):
    raw, stored = (
        look(folder / "raw", limit),
        survey_data_set(reader.open_stored(open_records(folder / "records")), limit),
    )
    differing = {"shards", "image_kinds", "mask_kinds", "labels", "class_weights"}
    for split in ("train", "val"):
        left, right = (dataclasses.asdict(survey.splits[split]) for survey in (raw, stored))
        for name in left.keys() - differing:
            assert left[name] == right[name], name
    assert stored.splits["train"].shards == 2 and stored.splits["train"].image_kinds == {"png": limit or 12}
    assert stored.splits["train"].labels == []  # training records keep no label ids
    assert np.array_equal(raw.example.mask, draw(0, 24, 32)[1])


def test_weights_of_records_are_the_manifests(folder):
    manifest = read_manifest(folder / "records")
    splits = {"val": dataclasses.replace(manifest.splits["val"], class_pixels=[5] * 8)}
    records = dataclasses.replace(
        open_records(folder / "records"), manifest=dataclasses.replace(manifest, splits=splits)
    )
    split = survey_data_set(reader.open_stored(records), limit=1).splits["val"]
    assert split.class_weights == [0] + [1] * 7  # what the manifest says, though not what the images hold


def test_label_ids_of_records(tmp_path):
    """They are counted at their own size; the classes at that of the stored mask."""
    label_ids = np.array([[7, 7, 8, 23]], np.uint8)
    image, mask = np.zeros((2, 2, 3), np.uint8), np.array([[1, 1], [5, 5]], np.uint8)
    common = {"codec": "png", "image": png(image), "height": 2, "width": 2, "mask": png(mask)}
    written = {}
    for split, extra in (("train", {}), ("val", {"label_ids": png(label_ids)})):
        example = records.encode_example(id=split, **common, **extra)
        shard = records.write_shard(tmp_path / shard_name(split, 0, 1), [example])
        written[split] = Split([split], [shard], [0, 2, 0, 0, 0, 2, 0, 0], [0.0] * 3, [0.0] * 3)
    label_map = {label.id % 256: label.category for label in labels.LABELS}
    manifest = Manifest(1, "cityscapes", label_map, list(labels.CATEGORIES), [2, 2], "png", None, written)
    write_manifest(tmp_path, manifest)
    survey = survey_data_set(reader.open_stored(open_records(tmp_path)))
    assert counts_of(survey.splits["val"].labels) == {
        "road": (2, 0.5, 1),
        "sidewalk": (1, 0.25, 1),
        "sky": (1, 0.25, 1),
    }
    assert len(survey.splits["val"].labels) == 35 and survey.splits["train"].labels == []
    assert counts_of(survey.splits["train"].classes) == {"flat": (2, 0.5, 1), "sky": (2, 0.5, 1)}
    assert (survey.example.id, survey.example.label_ids.tolist()) == ("val", label_ids.tolist())


def test_only_shards_with_chosen_records_are_read(folder, monkeypatch):
    opened = []
    read_shard = records.read_shard
    monkeypatch.setattr(reader, "read_shard", lambda path: opened.append(path.name) or read_shard(path))
    items = list(reader.open_stored(open_records(folder / "records")).read("train", [1, 3]))
    assert [item.place.rpartition("/")[2] for item in items] == [
        "train-00000-of-00002.tfrecord: record 1",
        "train-00000-of-00002.tfrecord: record 3",
    ]
    assert set(opened) == {"train-00000-of-00002.tfrecord"}


# ---- what is bad


def damage(path, change):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_damaged_image_is_named(root, processes):
    damage(root / "images" / "train" / "b.png", lambda data: data[:-20])
    survey = look(root, processes=processes)
    [fault] = survey.faults
    assert (fault.split, fault.id) == ("train", "b") and survey.splits["train"].images == 1
    assert re.fullmatch(r"\S+images/train/b\.png: is cut short or damaged[^\n]*", fault.message)
    damage(root / "images" / "train" / "a.png", lambda data: data[:-20])
    with pytest.raises(ValueError, match=r"^\S+images/train/a\.png: is cut short .*images/train/b\.png: is cut short"):
        look(root, processes=processes)


def test_other_bad_images_are_named(root):
    path = root / "masks" / "train" / "a.png"
    path.write_bytes(b"GIF89a")
    assert re.match(r"\S+masks/train/a\.png: is no PNG, BMP, TIFF or WebP file", look(root).faults[0].message)
    path.write_bytes(png(np.zeros((2, 2), np.uint8)))
    message = r"\S+images/train/a\.png: is 1x4, but its mask \S+a\.png is 2x2; make them agree"
    assert re.fullmatch(message, look(root).faults[0].message)


def rewrite(folder, tmp_path, change):
    """Copies the records with the serialised records of the second shard of val changed."""
    manifest = read_manifest(folder / "records")
    for split in manifest.splits.values():
        for shard in split.shards:
            (tmp_path / shard.name).write_bytes((folder / "records" / shard.name).read_bytes())
    split = manifest.splits["val"]
    path = tmp_path / split.shards[1].name
    shard = records.write_shard(path, change(list(records.read_shard(path))))
    shard = dataclasses.replace(shard, count=split.shards[1].count)
    changed = {**manifest.splits, "val": dataclasses.replace(split, shards=[split.shards[0], shard])}
    write_manifest(tmp_path, dataclasses.replace(manifest, splits=changed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda all: [all[0], all[1][:-3]], r": record 1: is no tf\.train\.Example$"),
        (lambda all: [all[0], all[1].replace(b"\x89PNG", b"GIF8")], ": record 1: is no PNG or JPEG"),
        (lambda all: all[:1], ": has no record 1, which the manifest counts; make"),
    ],
)
def test_a_damaged_record_is_named(folder, tmp_path, change, message):
    rewrite(folder, tmp_path, change)
    with pytest.raises(ValueError, match=r"^\S+val-00001-of-00002\.tfrecord" + message):
        survey_data_set(reader.open_stored(open_records(tmp_path)))


def test_bad_arguments(root, folder, tmp_path):
    with pytest.raises(ValueError, match="expected a limit of at least 1 image, got 0"):
        look(root, limit=0)
    with pytest.raises(FileNotFoundError, match=r"records: no split test, other; there is train, val$"):
        reader.open_stored(open_records(folder / "records"), ["test", "val", "other"])
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        reader.open_raw(tmp_path / "nowhere")
    empty = dataclasses.replace(reader.open_stored(open_records(folder / "records")), ids={"train": ["a"], "val": []})
    with pytest.raises(ValueError, match="records: holds no images in split val"):
        survey_data_set(empty)
    with pytest.raises(ValueError, match=r"records: holds no images$"):
        survey_data_set(dataclasses.replace(empty, ids={}))


# ---- figures


def pixels_of(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_percent():
    shares = [0, 0.12, 1, 0.3125, 0.00012345]
    assert [figures.percent(share) for share in shares] == ["0 %", "12.0 %", "100 %", "31.2 %", "0.0123 %"]


def test_stack():
    edges, ends = figures.stack(np.array([[1, 3], [0, 0], [2, 0], [0, 0]]))
    assert edges.tolist() == [0, 0.5, 1]
    assert ends.tolist() == [[0.25, 1], [1, 1]]


def test_rows_show_the_sky_above(root):
    pixels = pixels_of(figures.draw_rows(look(root)))
    top, bottom = pixels[pixels.shape[0] // 4], pixels[pixels.shape[0] * 5 // 8]
    void, flat, sky = (np.array(labels.CATEGORY_COLORS[category]) for category in (0, 1, 5))
    assert [(top == color).all(axis=-1).mean() > 0.3 for color in (void, flat, sky)] == [True, False, True]
    assert [(bottom == color).all(axis=-1).mean() > 0.3 for color in (void, flat, sky)] == [False, True, False]


def test_histogram_has_logarithmic_bars_in_their_colours(root):
    """Of 1 % and 10 % of the pixels the one bar is a decade longer; both begin below the lesser."""
    mask = np.full((10, 10), 200)
    mask[0, 0], mask[1] = 3, 9
    write_folders(root, "val", {"v": (np.zeros((10, 10, 3)), mask)})
    survey = survey_data_set(reader.open_raw(root, ["val"], root / "map.yaml"))
    for kind in ("classes", "labels"):
        pixels = pixels_of(figures.draw_histogram(survey, kind))
        widths = [
            int((pixels == labels.CATEGORY_COLORS[category]).all(axis=-1).sum(axis=1).max()) for category in (1, 5, 0)
        ]  # flat 1 %, sky 10 %, void 89 %
        decade = widths[1] - widths[0]
        assert widths[0] > 0.1 * decade > 5
        assert widths[2] - widths[1] == pytest.approx(np.log10(8.9) * decade, rel=0.05)


def test_example_shows_image_labels_and_classes(root):
    survey = look(root)
    with_labels = figures.draw_example(survey)
    without = figures.draw_example(dataclasses.replace(survey, example=survey.example._replace(label_ids=None)))
    for data, panels in ((with_labels, 2), (without, 1)):  # classes alone look like these labels
        pixels = pixels_of(data)
        areas = [int((pixels == color).all(axis=-1).sum()) for color in (RED, labels.CATEGORY_COLORS[5])]
        assert areas[1] == pytest.approx(panels * areas[0] / 2, rel=0.1)


def test_example_of_cityscapes_has_its_colours(root):
    survey = look(root)
    survey = dataclasses.replace(survey, layout="cityscapes")
    entries = [
        dataclasses.replace(survey.splits["train"].labels[0], value=value, color=(value, 99, 0)) for value in (3, 4, 9)
    ]
    survey.splits["train"] = dataclasses.replace(survey.splits["train"], labels=entries)
    pixels = pixels_of(figures.draw_example(survey))
    areas = [int((pixels == (value, 99, 0)).all(axis=-1).sum()) for value in (3, 4, 9)]
    assert min(areas) > 10_000 and areas[2] == pytest.approx(2 * areas[0], rel=0.05)


def test_no_label_ids_is_said(folder, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "_draw_note", lambda text: drawn.append(text) or b"")
    figures.draw_histogram(
        survey_data_set(reader.open_stored(open_records(folder / "records"), ["train"]), 1), "labels"
    )
    assert drawn == ["No label ids here: records keep those of evaluation splits only."]


def test_odd_names_can_be_drawn(root):
    """Dollar signs would be formulas to Matplotlib; a name that is no Unicode comes from an old disk."""
    survey = look(root)
    odd = "$\\frac{$ caf\udce9 " + 30 * "long_"
    splits = {odd: survey.splits["train"]}
    survey = dataclasses.replace(
        survey, place=odd, splits=splits, example=survey.example._replace(id=odd), example_split=odd
    )
    for name, draw_figure in explore_page.FIGURES.items():
        assert draw_figure(survey).startswith(b"\x89PNG"), name


# ---- the page


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    root = write_root(folder)
    write_folders(root, "test", {"z": (np.zeros((2, 2, 3)), np.full((2, 2), 200))})
    survey = look(root)
    explore_page.check_out(folder / "deep" / "out")
    paths = explore_page.write(survey, folder / "deep" / "out")
    return survey, {path.name: path for path in paths}


def test_files_that_are_written(written):
    survey, paths = written
    names = {"index.html", "statistics.json", "classes.png", "labels.png", "rows.png", "example.png"}
    assert paths.keys() == names == {path.name for path in paths["index.html"].parent.iterdir()}
    statistics = json.loads(paths["statistics.json"].read_text())
    train = statistics["splits"]["train"]
    assert (statistics["layout"], statistics["limit"], statistics["warnings"]) == ("folders", None, survey.warnings)
    assert statistics["example"] == {"id": "b", "split": "train"}
    assert train["labels"][2] == {
        **{"value": 9, "name": "sky", "class_name": "sky", "color": [70, 130, 180]},
        **{"pixels": 3, "share": 0.375, "pictures": 2},
    }
    assert np.shape(train["band_pixels"]) == (64, 9)
    assert train["class_weights"] == survey.splits["train"].class_weights


def test_page_needs_no_other_file(written):
    _, paths = written
    text = paths["index.html"].read_text()
    page = Page(text)
    assert len(page.images) == 4 and all(len(image["alt"]) > 20 for image in page.images)
    embedded = {base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) for image in page.images}
    assert embedded == {path.read_bytes() for name, path in paths.items() if name.endswith(".png")}
    assert not page.tags & {"script", "link", "iframe"}
    assert not re.search(r"https?://|url\(|@import", text)


def test_page_has_the_numbers(written):
    page = Page(written[1]["index.html"].read_text())
    for row in (
        ["", "train", "test"],
        ["size, height x width", "1x4: 12x2: 1", "2x2"],
        ["RGB mean, of 0 to 255", "110.0, 10.0, 110.0", "0.0, 0.0, 0.0"],
        ["ground truth", "yes", "no ground truth"],
        ["sky", "3", "37.5 %", "2", "0.800"],
        ["human", "0", "0 %", "0", "0"],
        ["flat", "4", "flat", "1", "12.5 %", "1"],
    ):
        assert row in page.rows
    assert "split test has no ground truth" in page.text
    assert "shards" not in page.text and "of these counted" not in page.text
    assert any("Greatest in train: void 37.5 %, sky 37.5 %, flat 25.0 %." in img["alt"] for img in page.images)
    assert any("train: at the top void, at the bottom flat." in image["alt"] for image in page.images)


def test_page_escapes_names(written):
    survey, _ = written
    evil = '<script>alert("1")</script>&'
    train = survey.splits["train"]
    named = [dataclasses.replace(count, name=evil, class_name=evil) for count in train.labels]
    survey = dataclasses.replace(
        survey,
        place=evil,
        warnings=[evil],
        splits={evil: dataclasses.replace(train, image_kinds={evil: 1, "b": 1}, labels=named)},
        example=survey.example._replace(id=evil),
    )
    page = Page(explore_page.make_page(survey, dict.fromkeys(explore_page.FIGURES, b"")))
    assert "script" not in page.tags
    assert page.text.count(evil) > 5 and any(evil in image["alt"] for image in page.images)


def test_many_sizes_are_shortened(written):
    survey, _ = written
    sizes = [{"height": height, "width": 5, "images": 1} for height in range(101, 201)]
    splits = {**survey.splits, "train": dataclasses.replace(survey.splits["train"], sizes=sizes)}
    survey = dataclasses.replace(survey, splits=splits)
    page = Page(explore_page.make_page(survey, dict.fromkeys(explore_page.FIGURES, b"")))
    assert "112x5: 1and 88 other sizes" in page.text and "113x5" not in page.text


def test_a_second_look_replaces_the_first(written, tmp_path):
    survey, paths = written
    out = tmp_path / "out"
    shutil.copytree(paths["index.html"].parent, out)
    (out / "notes.txt").write_text("mine")
    for name in {*paths} - {"index.html"}:
        (out / name).write_text("old")
    explore_page.check_out(out)
    explore_page.write(survey, out)
    assert all((out / name).read_bytes() != b"old" for name in paths)
    assert (out / "notes.txt").read_text() == "mine" and len(list(out.iterdir())) == 7


@pytest.mark.parametrize("name", ["index.html", "labels.png"])
def test_files_of_others_are_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=rf"{name}: is there already and was not written by this tool; choose"):
        explore_page.check_out(tmp_path)
    with pytest.raises(NotADirectoryError, match=rf"{name}: is a file, not a folder; choose another --out"):
        explore_page.check_out(tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


def test_no_page_is_written_among_records(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="holds records, among which nothing else may lie; choose another --out"):
        explore_page.check_out(tmp_path)


def test_nothing_half_written_stays(written, tmp_path):
    (tmp_path / "rows.png").mkdir()
    with pytest.raises(OSError, match=r"rows\.png"):
        explore_page.write(written[0], tmp_path)
    assert not list(tmp_path.glob("incomplete-*"))


# ---- the command


def test_command(root, tmp_path, capsys, monkeypatch):
    write_folders(root, "test", {"z": (np.zeros((2, 2, 3)), np.full((2, 2), 200))})
    read = reader.read_source
    monkeypatch.setattr(explorer, "read_source", lambda *all: dataclasses.replace(read(*all), warnings=["looks odd"]))
    options = ["--root", str(root), "--label-map", str(root / "map.yaml"), "--workers", "1", "--limit", "1"]
    tool.main([*options, "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    head, *lines = [line.split() for line in printed.out.splitlines()]
    assert head[:5] == ["split", "images", "size", "void", "%"]
    assert lines == [
        ["train", "1", "1x4", "75.00", "0.00", "0.00", "0.00", "0.00", "25.00", "0.00", "0.00"],
        ["test", "1", "2x2", "100.00", *["0.00"] * 7],
        *lines[2:-1],
        ["written:", str(tmp_path / "out" / "index.html")],
    ]
    assert "tfseg convert would go through (by at most 1 images of each split)" in printed.out
    notes = [line for line in printed.err.splitlines() if line.startswith("note:")]
    assert notes == [
        "note: This is a sample, evenly spread: 1 of 2 images of train, 1 of 1 images of test.",
        "note: looks odd",
        "note: split test has no ground truth: all its pixels are void",
    ]
    assert "looks odd" in (tmp_path / "out" / "index.html").read_text()


def test_command_on_records(folder, tmp_path, capsys):
    tool.main(["--records", str(folder / "records"), "--splits", "val", "--out", str(tmp_path), "--workers", "1"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["split", "val", "written:"]
    page = Page((tmp_path / "index.html").read_text())
    assert ["shards", "2"] in page.rows and ["image files", "png"] in page.rows
    assert "It is taken from the manifest" in page.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "one of the arguments --root --records is required"),
        (["--root", "a", "--records", "b"], "not allowed with argument"),
        (["--records", "b", "--label-map", "c"], "--label-map and --coarse are for --root"),
    ],
)
def test_bad_options(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tool.main([*options, "--out", str(tmp_path / "out")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_is_quick():
    """Neither Matplotlib nor what trains is loaded before there is something to do."""
    code = "import sys, tfseg.explore; print(sorted({'keras', 'tensorflow', 'matplotlib'} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
