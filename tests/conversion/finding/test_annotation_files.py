"""Data sets whose ground truth is annotations: found in their layouts, and converted to masks that are written down."""

import json

import numpy as np
import pytest
from PIL import Image

from tfseg.conversion.converter import convert_dataset
from tfseg.conversion.finding import sources
from tfseg.conversion.summary import in_words
from tfseg.records.records import decode_example, read_shard

MAP = "classes: [background, car, road]\nsidewalk: road\n"
EDGES_IN = ["000000", "011110", "011110", "000000"]  # edges belong to a polygon, as in most tools
EDGES_OUT = ["000000", "011100", "000000", "000000"]  # as in COCO's
BOX = [[1, 1], [4, 1], [4, 2], [1, 2]]
FLAT = [number for point in BOX for number in point]


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


def convert(raw, *, root=True, label_map=MAP, **options):
    """Converts, and gives split -> id -> rows of the classes, background 0, of its mask."""
    path = raw.parent / "map.yaml"
    path.write_text(label_map)
    records = convert_dataset(raw if root else None, raw.parent / "out", label_map=path, codec="png", **options)
    masks = {}
    for split, own in records.manifest.splits.items():
        examples = [decode_example(data) for shard in own.shards for data in read_shard(records.path / shard.name)]
        background = records.manifest.classes.index("background")
        masks[split] = {it.id: ["".join(map(str, row)) for row in it.mask - background] for it in examples}
    return records, masks


def images(raw, *names):
    for name in names:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 6, 3), 90, np.uint8)).save(raw / name)


def put(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def coco(*names, categories=("car",)):
    return {
        "images": [{"id": id, "width": 6, "height": 4, "file_name": name} for id, name in enumerate(names)],
        "annotations": [
            {"id": id, "image_id": id, "category_id": 3, "segmentation": [FLAT], "iscrowd": 0}
            for id in range(len(names))
        ],
        "categories": [{"id": 3 + place, "name": name} for place, name in enumerate(categories)],
    }


LABELME = {
    "version": "5.5.0",
    "shapes": [{"label": "car", "points": BOX, "shape_type": "polygon"}],
    "imagePath": "a.jpg",
    "imageHeight": 4,
    "imageWidth": 6,
}
SUPERVISELY = {
    "size": {"height": 4, "width": 6},
    "objects": [{"classTitle": "car", "geometryType": "polygon", "points": {"exterior": BOX, "interior": []}}],
}
CITYSCAPES = {"imgHeight": 4, "imgWidth": 6, "objects": [{"label": "car", "polygon": BOX}]}
YOLO = "0 0.2 0.3 0.7 0.3 0.7 0.5 0.2 0.5"  # pixels 1.2, 1.2 to 4.2, 2, cut down to whole ones
TASKS = [
    {
        "id": 1,
        "data": {"image": f"/data/upload/1/0a1b2c3d-{name}"},
        "annotations": [
            {
                "result": [
                    {
                        "type": "polygonlabels",
                        "original_width": 6,
                        "original_height": 4,
                        "value": {
                            "points": [[100 * x / 6, 100 * y / 4] for x, y in BOX],
                            "polygonlabels": ["car"],
                        },
                    }
                ]
            }
        ],
    }
    for name in ("a.png", "b.png")
]
PAIR = ("train/a.png", "val/b.png")


# ---- trees, recognised by themselves


@pytest.mark.parametrize(
    ("folders", "files"),
    [
        ("{}", {"{}/_annotations.coco.json": coco}),
        ("{}", {"annotations/instances_{}.json": coco}),
        ("images/{}", {"annotations/instances_{}.json": coco}),
    ],
    ids=["Roboflow", "COCO", "COCO in images/"],
)
def test_coco(raw, folders, files):
    names = {"train": "a.png", "val": "b.png"}
    for split, name in names.items():
        images(raw, f"{folders.format(split)}/{name}")
        for file, document in files.items():
            put(raw / file.format(split), document(name))
    records, masks = convert(raw)
    assert masks == {"train": {"a": EDGES_OUT}, "val": {"b": EDGES_OUT}}
    assert (records.manifest.source, records.manifest.label_map) == (
        "coco",
        {0: "void", 1: "background", 2: "car", 3: "road"},
    )
    assert in_words(records.manifest)[0]["masks"] == "COCO's annotations in 2; labels are of the label map given"


def test_coco_names_images_by_paths(raw):
    images(raw, "images/front/a.png", "images/rear/a.png", "images/rear/c.png")
    put(raw / "annotations/instances_default.json", coco("front/a.png", "rear/a.png"))
    source = sources.open_source(raw, None, "camvid", val_share=0.0)
    assert [sample.id for sample in source.splits["train"]] == ["front_a", "rear_a"]
    assert any("1 images" in note for note in source.notes)
    _, masks = convert(raw, val_share=0.0)
    assert masks == {"train": {"front_a": EDGES_OUT, "rear_a": EDGES_OUT}}


def test_yolo(raw):
    images(raw, *(f"images/{name}" for name in PAIR))
    put(raw / "labels/train/a.txt", YOLO)
    put(raw / "labels/val/b.txt", "")
    put(raw / "data.yaml", "names: [car, sidewalk]\nnc: 2\n")
    _, masks = convert(raw)
    assert masks == {"train": {"a": EDGES_IN}, "val": {"b": ["000000"] * 4}}


def test_yolo_in_folders_of_splits_and_without_names(raw):
    images(raw, "train/images/a.png", "valid/images/b.png")
    put(raw / "train/labels/a.txt", YOLO)
    put(raw / "valid/labels/b.txt", YOLO.replace("0 ", "1 ", 1))
    with pytest.raises(ValueError, match=r"a\.txt: has labels that are not in the label map: '0' \(1 shape"):
        convert(raw)
    _, masks = convert(raw, label_map="classes: [background, car, road]\n'0': car\n'1': road\n")
    assert masks == {"train": {"a": EDGES_IN}, "val": {"b": [row.replace("1", "2") for row in EDGES_IN]}}


@pytest.mark.parametrize("place", ["classes.txt", "labels/classes.txt"])
def test_yolo_with_its_classes_beside_or_among_the_annotations(raw, place):
    images(raw, "images/a.png", "images/classes.png")
    put(raw / "labels/a.txt", YOLO)
    put(raw / "labels/classes.txt", YOLO)  # of the image of this name
    label_map = "classes: [background, car, road]\n'0': car\n"
    assert convert(raw, label_map=label_map, val_share=0.0)[1] == {"train": {"a": EDGES_IN, "classes": EDGES_IN}}
    for path in (raw / "images/classes.png", raw / "labels/classes.txt"):
        path.unlink()
    put(raw / place, "car\nsidewalk\n")
    assert convert(raw, val_share=0.0, overwrite=True)[1] == {"train": {"a": EDGES_IN}}


@pytest.mark.parametrize("folder", ["annotations", "labels", "json"])
def test_labelme(raw, folder):
    images(raw, *(f"images/{name}" for name in PAIR))
    for name in ("train/a.json", "val/b.json"):
        put(raw / folder / name, LABELME)
    assert convert(raw)[1] == {"train": {"a": EDGES_IN}, "val": {"b": EDGES_IN}}


def test_labelme_beside_the_images(raw):
    images(raw, *PAIR)
    for name in ("train/a.json", "val/b.json"):
        put(raw / name, LABELME)
    assert convert(raw)[1] == {"train": {"a": EDGES_IN}, "val": {"b": EDGES_IN}}


def test_supervisely(raw):
    images(raw, "train/img/a.png", "val/img/b.png")
    for name in ("train/ann/a.png.json", "val/ann/b.png.json"):
        put(raw / name, SUPERVISELY)
    assert convert(raw)[1] == {"train": {"a": EDGES_IN}, "val": {"b": EDGES_IN}}


def test_polygons_of_cityscapes_where_they_are_asked_for(raw):
    for name in ("train/ulm/ulm_0_0", "val/bonn/bonn_0_0"):
        images(raw, f"leftImg8bit/{name}_leftImg8bit.png")
        put(raw / f"gtFine/{name}_gtFine_polygons.json", CITYSCAPES)
    with pytest.raises(ValueError, match="polygons that masks are drawn from; --layout cityscapes_polygons draws them"):
        sources.open_source(raw)
    source = sources.open_source(raw, layout="cityscapes_polygons")
    assert [sample.id for sample in source.splits["train"]] == ["ulm_0_0"] and not source.assumed
    assert source.label_map.classes[1:3] == ("flat", "construction")
    assert convert(raw, layout="cityscapes_polygons")[1]["val"] == {"bonn_0_0": EDGES_IN}


# ---- two folders, or a folder and a file


def test_label_studio(raw):
    images(raw, "photos/a.png", "photos/b.png")
    put(raw / "project.json", TASKS)
    halves = {"images": raw / "photos", "masks": raw / "project.json"}
    _, masks = convert(raw, root=False, val_share=0.0, **halves)
    assert masks == {"train": {"a": EDGES_OUT, "b": EDGES_OUT}}


def test_a_file_of_coco_for_one_folder(raw):
    images(raw, "photos/a.png", "photos/b.png")
    put(raw / "all.json", coco("a.png", "b.png"))
    source = sources.open_source(None, None, "camvid", images=raw / "photos", masks=raw / "all.json", val_share=0.0)
    assert [(it.id, it.form, it.mask) for it in source.splits["train"]] == [
        ("a", "coco", raw / "all.json"),
        ("b", "coco", raw / "all.json"),
    ]
    assert source.notes[0] == f"{raw / 'photos'}: read as COCO's annotations, in {raw / 'all.json'}"


@pytest.mark.parametrize(
    ("ending", "document", "rows"),
    [(".json", LABELME, EDGES_IN), (".png.json", SUPERVISELY, EDGES_IN), (".txt", YOLO, EDGES_IN)],
    ids=["labelme", "supervisely", "yolo"],
)
def test_a_folder_of_annotations(raw, ending, document, rows):
    images(raw, "photos/day/a.png", "photos/b.png")
    for name in ("day/a", "b"):
        put(raw / f"notes/{name}{ending}", document)
    halves = {"images": raw / "photos", "masks": raw / "notes"}
    _, masks = convert(raw, root=False, label_map=MAP + "'0': car\n", val_share=0.0, **halves)
    assert masks == {"train": {"day_a": rows, "b": rows}}


# ---- what does not fit


def test_images_that_are_not_there(raw):
    images(raw, "train/a.png", "val/b.png")
    put(raw / "train/_annotations.coco.json", coco("a.png", "lost.png"))
    put(raw / "val/_annotations.coco.json", coco("b.png"))
    with pytest.raises(ValueError, match=r"train/_annotations\.coco\.json: names 1 images .* lost\.png; add them, or"):
        sources.open_source(raw, None, "camvid")


def test_a_name_that_two_images_have(raw):
    images(raw, "images/x/a.png", "images/y/a.png")
    put(raw / "annotations/instances_default.json", coco("a.png"))
    with pytest.raises(ValueError, match=r"or of which several have the name: a\.png"):
        sources.open_source(raw, None, "camvid", val_share=0.0)


def test_an_image_that_two_entries_mean(raw):
    images(raw, "images/a.png")
    put(raw / "annotations/instances_default.json", coco("a.png", "images/a.png"))
    with pytest.raises(ValueError, match=r"has more than one entry for the image .*a\.png; remove one"):
        sources.open_source(raw, None, "camvid", val_share=0.0)


def test_a_lost_image_is_not_the_one_of_its_name_above(raw):
    """b/a.png may be lost; but the folder of the images itself may well stand before their names."""
    images(raw, "images/a.png", "images/x/a.png")
    put(raw / "annotations/instances_default.json", coco("b/a.png"))
    with pytest.raises(ValueError, match=r"or of which several have the name: b/a\.png"):
        sources.open_source(raw, None, "camvid", val_share=0.0)
    put(raw / "annotations/instances_default.json", coco("data/images/a.png"))
    source = sources.open_source(raw, None, "camvid", val_share=0.0)
    assert [sample.image for sample in source.splits["train"]] == [raw / "images/a.png"]


def test_a_file_of_no_image(raw):
    images(raw, "images/a.png")
    put(raw / "annotations/instances_default.json", coco())
    with pytest.raises(ValueError, match=r"instances_default\.json: says nothing of any image in .*images$"):
        sources.open_source(raw, None, "camvid", val_share=0.0)


@pytest.mark.parametrize(
    ("names", "label_map", "message"),
    [
        (
            "[dog, car]",
            "0: road\n",
            r"says that 0 is 'dog', which the label map lacks, while the mask value 0 is 'road'",
        ),
        ("[Car, road]", "default: background\n", "has the class 'Car', but the label map has 'car'; write them alike"),
        ("[cat, dog]", "default: background\n", "names the classes cat, dog, of which the label map has none; add"),
    ],
)
def test_numbers_of_yolo_that_would_be_of_other_classes(raw, names, label_map, message):
    images(raw, "images/train/a.png")
    put(raw / "labels/train/a.txt", YOLO)
    put(raw / "data.yaml", f"names: {names}\n")
    with pytest.raises(ValueError, match=rf"data\.yaml: {message}"):
        convert(raw, label_map=MAP + label_map)


def test_numbers_of_yolo_that_the_label_map_names_itself(raw):
    images(raw, "images/train/a.png")
    put(raw / "labels/train/a.txt", YOLO)
    put(raw / "data.yaml", "names: [automobile, street]\n")
    _, masks = convert(raw, label_map=f"{MAP}0: car\n1: road\n")
    assert masks == {"train": {"a": EDGES_IN}}


def test_an_image_without_a_file_of_yolo(raw):
    images(raw, "images/train/a.png", "images/train/b.png")
    put(raw / "labels/train/a.txt", YOLO)
    with pytest.raises(ValueError, match=r"no mask \*\.txt: train/b; an empty file says that there is nothing on an"):
        convert(raw)


def test_yolo_on_images_that_were_turned(raw):
    """Shares of the sides fit an image turned or not, whatever its size."""
    images(raw, "images/train/a.png")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.open(raw / "images/train/a.png").save(raw / "images/train/a.png", exif=exif)
    put(raw / "labels/train/a.txt", YOLO)
    put(raw / "data.yaml", "names: [car]\n")
    records, _ = convert(raw)
    assert any("1 images were turned upright" in warning for warning in in_words(records.manifest)[1])


def test_a_damaged_entry_names_its_image(raw):
    images(raw, "images/a.png")
    document = coco("a.png", categories=("car", "dog"))
    document["annotations"][0]["category_id"] = 4
    put(raw / "annotations/instances_default.json", document)
    with pytest.raises(ValueError, match=r"instances_default\.json: a\.png: has labels .* 'dog' \(1 shape"):
        convert(raw, val_share=0.0)


def test_other_text_is_no_annotation(raw):
    images(raw, *(f"images/{name}" for name in PAIR))
    for name in ("train/a.txt", "val/b.txt"):
        put(raw / "labels" / name, "a car, a road")
    with pytest.raises(ValueError, match=r"expected leftImg8bit/ and gtFine/ or images/ and masks/ in it"):
        sources.open_source(raw)


def test_other_json_is_no_annotation(raw):
    images(raw, "photos/a.png")
    put(raw / "all.json", {"version": 3})
    with pytest.raises(ValueError, match=r"all\.json: is neither a file of COCO nor one of Label Studio"):
        sources.open_source(None, None, "camvid", images=raw / "photos", masks=raw / "all.json")


def test_the_ending_of_annotations_is_one_of_their_kind(raw):
    images(raw, "images/train/a.png")
    put(raw / "labels/train/a_new.json", LABELME)
    put(raw / "labels/train/a_old.json", LABELME)
    for suffix in ("_new", "_new.json"):
        assert convert(raw, mask_suffix=suffix, overwrite=True)[1] == {"train": {"a": EDGES_IN}}
    with pytest.raises(ValueError, match=r"expected an ending of files of the kind \.json, got '_new\.png'"):
        convert(raw, mask_suffix="_new.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"mask_suffix": "_a"},
            r"--mask-suffix: COCO's annotations of all images are in one file, .*all\.json; leave it",
        ),
        (
            {"mask_values": "red"},
            "--mask-values red says how masks are read, but here are COCO's annotations; leave it",
        ),
        (
            {"color_tolerance": 2},
            "--color-tolerance is of masks .* by their colours, but here are labels; leave it out$",
        ),
    ],
)
def test_options_that_are_for_masks(raw, options, message):
    images(raw, "photos/a.png")
    put(raw / "all.json", coco("a.png"))
    with pytest.raises(ValueError, match=message):
        convert(raw, root=False, images=raw / "photos", masks=raw / "all.json", val_share=0.0, **options)


def test_a_turned_image_of_another_size_than_its_annotations(raw):
    images(raw, "photos/a.jpg")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.open(raw / "photos/a.jpg").save(raw / "photos/a.jpg", exif=exif)
    put(raw / "all.json", coco("a.jpg"))
    options = {"root": False, "images": raw / "photos", "masks": raw / "all.json", "val_share": 0.0}
    with pytest.raises(
        ValueError, match=r"a\.jpg: was annotated on .*; its EXIF data have the orientation 6: --exif ign"
    ):
        convert(raw, **options)
    assert convert(raw, **options, exif="ignore")[1] == {"train": {"a": EDGES_OUT}}


def test_without_a_label_map(raw):
    images(raw, *PAIR)
    for name in ("train/a.json", "val/b.json"):
        put(raw / name, LABELME)
    with pytest.raises(ValueError, match="its labels need a label map, a YAML file of `label: class` lines"):
        sources.open_source(raw)


def test_one_file_is_moved_into_no_folders(raw):
    images(raw, "photos/a.png")
    put(raw / "all.json", coco("a.png"))
    with pytest.raises(ValueError, match=r"--split val=val\.txt$"):
        sources.open_source(None, None, "camvid", images=raw / "photos", masks=raw / "all.json")


def labelme(name):
    shape = {"label": "car", "shape_type": "polygon", "points": BOX}
    return {"shapes": [shape], "imagePath": name, "imageHeight": 4, "imageWidth": 6}


@pytest.mark.parametrize("name", ["../images/b.png", "..\\images\\b.png"])
def test_a_file_of_labelme_that_names_another_image(raw, name):
    images(raw, "images/a.png", "images/b.png")
    put(raw / "annotations/a.json", labelme(name))
    put(raw / "annotations/b.json", labelme("b.png"))
    with pytest.raises(
        ValueError, match=r"a.json: is of the image b.png by its imagePath, and lies where that of \S+/a.png is lo"
    ):
        convert(raw, val_share=0)


@pytest.mark.parametrize("name", ["a.jpg", "before_it_was_renamed.png", "x" * 300, "", ".."])
def test_an_image_path_that_names_no_other_image(raw, name):
    images(raw, "images/a.png", "images/b.png")
    put(raw / "annotations/a.json", labelme(name))
    put(raw / "annotations/b.json", labelme("b.png"))
    assert convert(raw, val_share=0)[1]["train"]["a"] == EDGES_IN


def test_coordinates_of_coco_that_are_shares(raw):
    images(raw, "images/a.png", "images/b.png")
    document = coco("a.png", "b.png")
    document["annotations"][1]["segmentation"] = [[0.1, 0.2, 1, 0.2, 0.5, 0.9]]
    put(raw / "annotations/instances_default.json", document)
    message = r"b.png: annotations\[1\] \(id 1\): no coordinate of any polygon on this image is above 1; these seem"
    with pytest.raises(ValueError, match=message):
        convert(raw, val_share=0)
    document["annotations"].append({**document["annotations"][0], "id": 2, "image_id": 1})
    put(raw / "annotations/instances_default.json", document)
    assert convert(raw, val_share=0)[1]["train"]["b"] == ["100000", "011100", "000000", "000000"]
