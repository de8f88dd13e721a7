"""Masks of one class each, and those that Label Studio exports."""

import json

import pytest
from helper_layouts import touch

from tfseg.conversion.finding import sources
from tfseg.conversion.reading.samples import Sample


@pytest.fixture
def label_map(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("classes: {road: [1, 2, 3], traffic light: [4, 5, 6]}\n0: road\n")
    return path


@pytest.fixture
def open_it(tmp_path, label_map):
    return lambda **options: sources.open_source(tmp_path, None, label_map, **{"val_share": 0, **options})


def layers(source, root):
    return {
        split: [(it.id, [(label, str(path.relative_to(root))) for label, path in it.layers]) for it in samples]
        for split, samples in source.splits.items()
    }


def test_a_folder_for_each_image(tmp_path, open_it):
    touch(tmp_path, "images/1.jpg", "images/d/2.jpg", "masks/1/road.png", "masks/1/traffic_light.png")
    touch(tmp_path, "masks/d/2/road.png")
    source = open_it()
    assert source.splits["train"][0] == Sample(
        "1",
        tmp_path / "images/1.jpg",
        tmp_path / "masks/1",
        "layers",
        layers=(("road", tmp_path / "masks/1/road.png"), ("traffic light", tmp_path / "masks/1/traffic_light.png")),
    )
    assert layers(source, tmp_path)["train"][1] == ("d_2", [("road", "masks/d/2/road.png")])
    assert f"{tmp_path}: read as a folder of masks for each image, a mask a class" in source.notes
    assert source.warnings == []


@pytest.mark.parametrize(
    ("road", "light", "words"),
    [
        ("{split}/road/1.png", "{split}/traffic light/1.png", "a folder of masks for each class"),
        ("{split}/1_road.png", "{split}/1-traffic_light.png", "masks named after image and class"),
    ],
)
def test_classes_in_folders_or_names(tmp_path, open_it, road, light, words):
    for split in ("train", "val"):
        touch(tmp_path, f"images/{split}/1.jpg", *(f"masks/{name.format(split=split)}" for name in (road, light)))
    source = open_it(val_share=None)
    assert layers(source, tmp_path) == {
        split: [
            (
                f"{split}/1",
                sorted(
                    [
                        ("road", f"masks/{road.format(split=split)}"),
                        ("traffic light", f"masks/{light.format(split=split)}"),
                    ],
                    key=lambda layer: layer[1],
                ),
            )
        ]
        for split in ("train", "val")
    }
    assert f"{tmp_path}: read as {words}" in source.notes


def test_classes_in_the_last_folders(tmp_path, open_it):
    touch(tmp_path, "images/d/1.jpg", "masks/d/road/1.png", "masks/d/traffic light/1.png")
    assert layers(open_it(), tmp_path) == {
        "train": [("d_1", [("road", "masks/d/road/1.png"), ("traffic light", "masks/d/traffic light/1.png")])]
    }


def test_a_class_that_the_label_map_does_not_know(tmp_path, open_it):
    touch(tmp_path, "images/1.jpg", "masks/1/road.png", "masks/1/tree.png")
    with pytest.raises(
        ValueError, match=r"1 of 2 masks are layers of no image and no class of the label map: .*/tree\.png"
    ):
        open_it()


def test_an_image_without_layers(tmp_path, open_it):
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "masks/1/road.png")
    with pytest.raises(ValueError, match=r"1 of the images have no mask .*: 2; add what is missing"):
        open_it()


def test_whole_masks_come_first(tmp_path, open_it):
    touch(tmp_path, "images/1.jpg", "masks/1.png", "masks/1/road.png")
    source = open_it()
    assert source.splits["train"] == [Sample("1", tmp_path / "images/1.jpg", tmp_path / "masks/1.png")]
    assert "left out 1 in folders that images/ does not have" in source.warnings[0]


# ---- Label Studio

TASKS = [
    {"id": 7, "data": {"image": "/data/upload/1/3ab2c1d4-0001.jpg"}},
    {"id": 8, "data": {"photo": "/data/local-files/?d=drive%201/0002.jpg", "note": "dark"}},
    {"id": 9, "image": "s3://bucket/0003.jpg"},
]
MASKS = (
    "masks/task-7-annotation-3-by-1-tag-road-0.png",
    "masks/task-7-annotation-3-by-1-tag-road-1.png",
    "masks/task-7-annotation-3-by-1-tag-traffic light-0.png",
    "masks/task-8-annotation-4-by-a.b@c.org-tag-road-0.png",
    "masks/task-9-annotation-5-by-1-tag-road-0.png",
)


@pytest.fixture
def exported(tmp_path):
    touch(tmp_path, "images/0001.jpg", "images/drive 1/0002.jpg", "images/0003.jpg", *MASKS)
    (tmp_path / "tasks.json").write_text(json.dumps(TASKS))
    return tmp_path


def test_label_studio(exported, open_it):
    source = open_it()
    assert layers(source, exported) == {
        "train": [
            ("0001", [("road", MASKS[0]), ("road", MASKS[1]), ("traffic light", MASKS[2])]),
            ("0003", [("road", MASKS[4])]),
            ("drive 1_0002", [("road", MASKS[3])]),
        ]
    }
    assert f"{exported}: read as masks that Label Studio has exported, one a region" in source.notes


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            TASKS[:2],
            r"task 9, whose image none of .*tasks\.json names; export the same tasks as JSON too and put",
        ),
        ({"images": []}, "task 7, whose image none of"),
        (
            [{"id": 7, "data": {"image": "/data/upload/1/lost.jpg"}}],
            "task 7 is of the image /data/upload/1/lost.jpg, which",
        ),
    ],
)
def test_tasks_without_an_image(exported, open_it, tasks, message):
    (exported / "tasks.json").write_text(json.dumps(tasks))
    with pytest.raises(ValueError, match=message):
        open_it()


def test_no_export_as_json(exported, open_it):
    (exported / "tasks.json").unlink()
    with pytest.raises(ValueError, match="is of Label Studio's task 7, whose image nothing names; export"):
        open_it()


def test_masks_of_two_annotations(exported, open_it):
    touch(exported, "masks/task-7-annotation-6-by-2-tag-road-0.png")
    with pytest.raises(ValueError, match=r"annotation-6.*: is of another annotation of task 7 than .*annotation-3"):
        open_it()


def test_another_mask_beside_those_of_label_studio(exported, open_it):
    touch(exported, "masks/x.png")
    with pytest.raises(ValueError, match=r"x\.png: is no mask of Label Studio's export"):
        open_it()


def test_two_images_of_one_name(exported, open_it):
    touch(exported, "images/drive 2/0002.jpg")
    with pytest.raises(ValueError, match="1 of the images have no mask"):
        open_it()  # the folder decides, and the other image has no mask
    (exported / "tasks.json").write_text(json.dumps([{"id": n, "image": "/a/0002.jpg"} for n in (7, 8, 9)]))
    with pytest.raises(ValueError, match=r"task 7 could be of .*0002\.jpg and .*0002\.jpg; rename one"):
        open_it()
