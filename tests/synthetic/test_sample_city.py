import json
import sys

import numpy as np
import pytest
from PIL import Image

from tfseg import sample_city as verb
from tfseg.io import removal, staging
from tfseg.records.labels import CATEGORIES, LABELS, remap
from tfseg.synthetic import sample_city as tool

SIZE = (64, 128)
COUNTS = {"train": 16, "val": 4, "test": 2}


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "city"
    assert tool.make_sample_city(out, SIZE, COUNTS, seed=3, workers=1)
    return out


def read(path):
    return np.asarray(Image.open(path))


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_layout_and_formats(city):
    files = files_of(city)
    name = "train/aldermoor/aldermoor_000003_000019"  # the last of 16 images over 5 cities is the first's fourth
    assert len(files) == 22 * 5 + 1
    assert {path.name for path in city.iterdir()} == {"leftImg8bit", "gtFine", "sample_city.json"}
    kinds = ("labelIds", "instanceIds", "color")
    for kind, mode in zip(kinds, ("L", "I;16", "RGBA"), strict=True):
        with Image.open(city / "gtFine" / f"{name}_gtFine_{kind}.png") as image:
            assert image.mode == mode
    assert read(city / "leftImg8bit" / f"{name}_leftImg8bit.png").shape == (64, 128, 3)
    annotation = json.loads(files[f"gtFine/{name}_gtFine_polygons.json"])
    assert annotation.keys() == {"imgHeight", "imgWidth", "objects"}
    assert (annotation["imgHeight"], annotation["imgWidth"]) == (64, 128)
    corners = np.concatenate([entry["polygon"] for entry in annotation["objects"]])
    assert corners.dtype.kind == "i" and corners.min() >= 0 and (corners.max(0) < (128, 64)).all()


def test_every_image_has_its_labels_and_splits_share_no_city(city):
    cities = {}
    for split, count in COUNTS.items():
        images = sorted((city / "leftImg8bit" / split).rglob("*.png"))
        assert len(images) == count
        cities[split] = {path.parent.name for path in images}
        for path in images:
            stem = path.name.removesuffix("_leftImg8bit.png")
            assert stem.startswith(path.parent.name + "_0000")
            labels = sorted((city / "gtFine" / split / path.parent.name).glob(f"{stem}_gtFine_*"))
            kinds = [label.name.removeprefix(f"{stem}_gtFine_") for label in labels]
            assert kinds == ["color.png", "instanceIds.png", "labelIds.png", "polygons.json"]
    assert all(len(names) > 1 for names in cities.values())
    assert len(set.union(*cities.values())) == sum(len(names) for names in cities.values())


def test_official_tools_draw_the_same_labels(city):
    pytest.importorskip("cityscapesscripts")
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
    from cityscapesscripts.preparation.json2labelImg import createLabelImage

    for path in sorted(city.rglob("*_polygons.json")):
        annotation = Annotation()
        annotation.fromJsonFile(str(path))
        stem = str(path).removesuffix("polygons.json")
        for name, expected in (
            ("labelIds", createLabelImage(annotation, "ids")),
            ("color", createLabelImage(annotation, "color")),
            ("instanceIds", createInstanceImage(annotation, "ids")),
        ):
            np.testing.assert_array_equal(read(f"{stem}{name}.png"), np.asarray(expected), err_msg=str(path))


def test_every_label_and_group_occurs(city):
    ids, names = set(), set()
    for path in (city / "gtFine" / "train").rglob("*_labelIds.png"):
        ids |= set(np.unique(read(path)).tolist())
        polygons = json.loads(path.with_name(path.name.replace("labelIds.png", "polygons.json")).read_text())
        names |= {entry["label"] for entry in polygons["objects"]}
    assert ids == {label.id for label in LABELS if label.id >= 0}
    groups = {"cargroup", "persongroup", "bicyclegroup"}
    assert names == {label.name for label in LABELS} - {"unlabeled"} | groups  # unlabeled is what no polygon covers


def test_instances_have_their_number_and_groups_have_none():
    square = [[0, 0], [3, 0], [3, 3], [0, 3]]
    labels = ["road", "car", "cargroup", "car", "license plate"]
    objects = [{"label": name, "polygon": [[x + 4 * i, y] for x, y in square]} for i, name in enumerate(labels)]
    images = tool.draw_labels((4, 20), objects)
    assert np.asarray(images["labelIds"])[0, ::4].tolist() == [7, 26, 26, 26, 0]
    assert np.asarray(images["instanceIds"])[0, ::4].tolist() == [7, 26000, 26, 26001, 0]


def test_test_split_tells_only_the_frame(city):
    for path in (city / "gtFine" / "test").rglob("*_labelIds.png"):
        assert np.unique(read(path)).tolist() == [0, 1, 2, 3]
        stem = path.name.removesuffix("_gtFine_labelIds.png")
        image = read(city / "leftImg8bit" / "test" / path.parent.name / f"{stem}_leftImg8bit.png")
        assert image[:50].std() > 20  # but there is a street


def test_category_shares_are_those_of_a_street(city):
    labels = np.stack([read(path) for path in (city / "gtFine" / "train").rglob("*_labelIds.png")])
    share = np.bincount(remap(labels).ravel(), minlength=len(CATEGORIES)) / labels.size
    void, flat, construction, thing, nature, sky, human, vehicle = share
    assert 0.06 < void < 0.14 and 0.25 < flat < 0.4 and 0.1 < construction < 0.25 and 0.08 < nature < 0.2
    assert 0.03 < thing < 0.08 and 0.03 < sky < 0.12 and 0.03 < human < 0.08 and 0.06 < vehicle < 0.16


@pytest.mark.long
def test_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path):
    counts = {"train": 2, "val": 1, "test": 1}
    for name, seed, workers in (("one", 5, 1), ("two", 5, 2), ("other", 6, 1)):
        tool.make_sample_city(tmp_path / name, SIZE, counts, seed, workers)
    one, two, other = (files_of(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert not {data for name, data in one.items() if "leftImg8bit.png" in name} & set(other.values())


def test_second_run_reuses_and_other_parameters_are_refused(city, monkeypatch):
    monkeypatch.setattr(tool, "write_images", lambda *_: pytest.fail("drew again"))
    assert not tool.make_sample_city(city, SIZE, COUNTS, seed=3)
    for size, counts, seed in (((64, 130), COUNTS, 3), (SIZE, COUNTS | {"val": 5}, 3), (SIZE, COUNTS, 4)):
        with pytest.raises(ValueError, match=r"was made with .* not .*; name another folder"):
            tool.make_sample_city(city, size, counts, seed)


def test_foreign_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is no sample city"):
        tool.make_sample_city(tmp_path, SIZE, COUNTS)
    assert files_of(tmp_path) == {"mine.txt": b"mine"}


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch, error):
    def write_one_and_fail(out, *_):
        (out / "half.png").write_bytes(b"")
        raise error

    monkeypatch.setattr(tool, "write_images", write_one_and_fail)
    with pytest.raises(type(error)):
        tool.make_sample_city(tmp_path / "city", SIZE, COUNTS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (63, 128)}, "at least 64x128, got 63x128"),
        ({"size": (64, 127)}, "at least 64x128, got 64x127"),
        ({"counts": {"train": 1, "val": 0, "test": 1}}, "at least 1 image for val, got 0"),
        ({"counts": {"train": 1}}, "counts for train, val, test, got train"),
        ({"seed": -1}, "seed of 0 or more, got -1"),
        ({"workers": 0}, "at least 1 worker, got 0"),
    ],
)
def test_bad_parameters_are_told(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        tool.make_sample_city(tmp_path / "city", **({"size": SIZE, "counts": COUNTS} | changes))


def test_command_line_says_where_everything_lies(tmp_path, monkeypatch, capsys):
    out = tmp_path / "city"
    arguments = f"tool --out {out} --size 64x128 --train 1 --val 1 --test 1 --workers 1"
    monkeypatch.setattr(sys, "argv", arguments.split())
    for word in ("lie", "already lie"):
        verb.main()
        assert capsys.readouterr().out.splitlines()[-1] == f"3 images and their labels {word} in {out}"


def test_what_a_killed_run_left_is_cleared(tmp_path, monkeypatch):
    box = tmp_path / ".city.tfseg-incomplete"
    (box / "new/leftImg8bit").mkdir(parents=True)
    removal.write_mark(box, staging.BOX)
    (tmp_path / "city").mkdir()
    (tmp_path / "city/.DS_Store").touch()
    monkeypatch.setattr(tool, "write_images", lambda out, *_: (out / "image").touch())
    assert tool.make_sample_city(tmp_path / "city", SIZE, COUNTS)
    assert files_of(tmp_path).keys() == {"city/image", "city/sample_city.json"}
