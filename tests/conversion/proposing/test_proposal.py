"""Label maps that are proposed by what all masks hold, and by what lies beside them."""

import json

import numpy as np
import pytest
from PIL import Image

from tfseg.conversion.finding.sources import open_source
from tfseg.conversion.proposing.proposal import propose_label_map

BLACK, RED, BLUE, WHITE = (0, 0, 0), (255, 0, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def propose(tmp_path):
    """Writes a data set of these masks, beside them files of text, and proposes a label map for it."""

    def propose_for(*masks, files=(), mask_values="auto"):
        for number, mask in enumerate(masks):
            image = mask if isinstance(mask, Image.Image) else Image.fromarray(np.array(mask, np.uint8))
            for folder, content in (("images", Image.new("RGB", image.size)), ("masks", image)):
                (tmp_path / folder).mkdir(exist_ok=True)
                content.save(tmp_path / folder / f"{number}.png")
        for name, text in dict(files).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        source = open_source(tmp_path, val_share=0, may_lack_label_map=True)
        assert source.lacks_label_map
        return propose_label_map(source, mask_values=mask_values)

    return propose_for


def names_of(proposal):
    return {row.thing: row.name for row in proposal.rows}


def palette_image(indexes, *colors):
    image = Image.fromarray(np.array(indexes, np.uint8), "P")
    image.putpalette(bytes(np.array(colors, np.uint8)))
    return image


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        ([[0, 255]], {0: "background", 255: "thing"}),
        ([[0, 1]], {0: "background", 1: "thing"}),
        ([[0, 1, 2]], {0: "class_0", 1: "class_1", 2: "class_2"}),
        ([[0, 1, 255]], {0: "class_0", 1: "class_1", 255: "void"}),
        ([[0, 2, 5, 255]], {0: "class_0", 2: "class_2", 5: "class_5", 255: "void"}),
        ([[0, 128, 255]], {0: "class_0", 128: "class_128", 255: "class_255"}),
        ([[BLACK, RED]], {BLACK: "background", RED: "thing"}),
        ([[BLACK, RED, BLUE]], {BLACK: "color_000000", RED: "color_ff0000", BLUE: "color_0000ff"}),
        ([[BLUE, RED]], {BLUE: "color_0000ff", RED: "color_ff0000"}),
        ([[BLACK, WHITE]], {0: "background", 255: "thing"}),
    ],
)
def test_names_where_nothing_names_any(propose, mask, names):
    assert names_of(propose(mask)) == names


def test_void_is_said(propose):
    assert propose([[0, 1, 255]]).notes == ["255 is taken for void, which counts nowhere: the other values are small"]


def test_sixteen_bits(propose):
    image = Image.fromarray(np.array([[0, 1000, 2, 65535]], np.uint16))
    assert names_of(propose(image)) == {0: "class_0", 2: "class_2", 1000: "class_1000", 65535: "class_65535"}


def test_void_in_sixteen_bits(propose):
    image = Image.fromarray(np.array([[0, 1, 2, 65535]], np.uint16))
    assert names_of(propose(image))[65535] == "void"


def test_names_of_values(propose):
    proposal = propose([[0, 1, 1, 3]], files={"classes.txt": "sky\nroad\ncar\n"})
    assert names_of(proposal) == {0: "sky", 1: "road", 3: "class_3"}
    assert proposal.unused == [(2, "car")]
    assert [(row.label, row.count, row.images) for row in proposal.rows] == [("sky", 1, 1), ("road", 2, 1), ("", 1, 1)]


def test_void_alone_has_no_name(propose):
    proposal = propose([[0, 9, 255]], files={"classes.txt": "".join(f"name {number}\n" for number in range(10))})
    assert names_of(proposal) == {0: "name 0", 9: "name 9", 255: "void"}
    assert "255 is taken for void, which counts nowhere: it alone has no name" in proposal.notes


def test_a_name_like_those_that_are_made_up(propose):
    proposal = propose([[0, 1, 2]], files={"classes.txt": "class_1\nclass_2\n"})
    assert names_of(proposal) == {0: "class_1", 1: "class_2", 2: "class_2_"}


def test_names_of_colours_in_the_order_of_their_file(propose):
    text = "name,r,g,b\nroad,255,0,0\nVoid,0,0,0\ncar,9,9,9\n"
    proposal = propose([[BLACK, BLUE, RED]], files={"class_dict.csv": text})
    assert [row.thing for row in proposal.rows] == [RED, BLACK, BLUE]
    assert names_of(proposal) == {RED: "road", BLACK: "void", BLUE: "color_0000ff"}
    assert [*proposal.classes.items()] == [("void", BLACK), ("road", RED), ("color_0000ff", BLUE)]
    assert proposal.notes[1:] == ["Void is taken for void, which counts nowhere"]
    assert proposal.unused == [((9, 9, 9), "car")]


def test_two_files_of_names(propose, tmp_path):
    files = {"classes.txt": "sky\nroad\n", "masks/_classes.csv": "Pixel Value, Class\n0, a\n"}
    proposal = propose([[0, 1]], files=files)
    assert names_of(proposal) == {0: "sky", 1: "road"}
    others = f"{tmp_path / 'masks/_classes.csv'}, which names no more of them, is not used"
    assert proposal.notes == [f"names are those of {tmp_path / 'classes.txt'}; {others}"]


def test_of_two_files_that_name_as_much_the_first_is_taken(propose):
    files = {"masks/classes.txt": "a\nb\n", "classes.txt": "sky\nroad\n"}
    assert names_of(propose([[0, 1]], files=files)) == {0: "sky", 1: "road"}


def test_a_colour_of_two_names(propose, tmp_path):
    files = {"label_colors.txt": "255 0 0 car\n255 0 0 bus\n0 0 0 road\n"}
    proposal = propose([[BLACK, RED]], files=files)
    assert names_of(proposal) == {BLACK: "road", RED: "color_ff0000"}
    both = f"{tmp_path / 'label_colors.txt'} gives #ff0000 to both car and bus, so that it names neither"
    assert both in proposal.notes


def test_palettes_by_index(propose):
    mask = palette_image([[0, 1, 2]], BLACK, RED, BLUE)
    proposal = propose(mask, mask, files={"labelmap.txt": "road:255,0,0::\nbackground:0,0,0::\n"})
    assert names_of(proposal) == {0: "background", 1: "road", 2: "class_2"}
    assert proposal.classes == {"background": BLACK, "road": RED, "class_2": BLUE}
    assert proposal.heading == (
        "2 masks, read by indexes of a palette; all palettes agree, so that indexes are read; --mask-values color "
        "reads colours"
    )


def test_palettes_by_colour(propose, tmp_path):
    proposal = propose(palette_image([[0, 1]], BLACK, RED), palette_image([[0, 1]], RED, BLACK))
    assert names_of(proposal) == {BLACK: "background", RED: "thing"}
    assert proposal.reading == "color"
    assert proposal.heading == (
        "2 masks, read by colours of a palette; indexes contradict each other from the palette of "
        f"{tmp_path / 'masks/1.png'} on"
    )
    other = propose(palette_image([[0, 1]], BLACK, RED), mask_values="color")
    assert other.heading == "2 masks, read by colours of a palette"


def test_the_palette_of_voc(propose):
    colors = [BLACK, (128, 0, 0), (0, 128, 0)]
    assert any("--label-map voc" in note for note in propose(palette_image([[0, 1, 2]], *colors)).notes)
    colors[2] = BLUE
    assert not propose(palette_image([[0, 1, 2]], *colors)).notes


@pytest.mark.parametrize(
    ("masks", "names"),
    [
        ([Image.fromarray(np.array([[False, True]]))], {0: "background", 255: "thing"}),
        ([Image.fromarray(np.array([[False, True]])), [[0, 1]]], {0: "background", 1: "thing"}),
        ([Image.fromarray(np.array([[False, True]])), [[0, 255]]], {0: "background", 255: "thing"}),
    ],
)
def test_few_bits(propose, masks, names):
    assert names_of(propose(*masks)) == names


@pytest.mark.parametrize(
    ("masks", "mask_values", "reason"),
    [
        ([[[0, 1]], [[BLACK, RED]]], "auto", r"1\.png: is RGB in colours, but .*0\.png is grey"),
        ([[[BLACK, RED]]], "index", r"0\.png: is RGB in colours, but --mask-values index reads values"),
        ([[[0, 0]]], "auto", "its masks hold 0 alone: one class is left to learn, class_0"),
        (
            [[np.arange(200).repeat(8)], [np.arange(56, 256).repeat(8)]],
            "auto",
            "hold 256 values, a label map has at most 254 classes",
        ),
    ],
)
def test_refused(propose, masks, mask_values, reason):
    with pytest.raises(ValueError, match=reason):
        propose(*masks, mask_values=mask_values)


def test_greys_and_colours_if_asked_for(propose):
    proposal = propose([[0, 0]], [[BLACK, RED]], mask_values="color")
    assert names_of(proposal) == {BLACK: "background", RED: "thing"}


# ---- polygons and layers


@pytest.fixture
def photos(tmp_path):
    """A folder of two images."""
    (tmp_path / "photos").mkdir()
    for name in "ab":
        Image.new("RGB", (4, 2)).save(tmp_path / f"photos/{name}.png")
    return tmp_path / "photos"


def open_two(photos, masks):
    return open_source(None, images=photos, masks=photos.parent / masks, val_share=0, may_lack_label_map=True)


def test_coco(photos):
    box = [[0, 0, 2, 0, 2, 2]]
    document = {
        "images": [{"id": number, "file_name": f"{'ab'[number]}.png", "height": 2, "width": 4} for number in (0, 1)],
        "categories": [{"id": id, "name": name} for id, name in ((7, "road"), (3, "Ignore"), (5, "no one"))],
        "annotations": [
            {"id": number, "image_id": number % 2, "category_id": category, "segmentation": box}
            for number, category in enumerate((7, 7, 7, 3))
        ],
    }
    (photos.parent / "coco.json").write_text(json.dumps(document))
    proposal = propose_label_map(open_two(photos, "coco.json"))
    assert [(row.thing, row.name, row.count, row.images) for row in proposal.rows] == [
        ("Ignore", "void", 1, 1),
        ("road", "road", 3, 2),
    ]
    assert proposal.classes == {"void": None, "background": None, "road": None}
    assert proposal.unused == [("no one", "no one")]
    assert proposal.notes == [
        "Ignore is taken for void, which counts nowhere",
        "what no polygon covers becomes background; without that class it would be void, which counts nowhere",
    ]


def test_yolo(photos):
    for name in "ab":
        (photos.parent / "labels").mkdir(exist_ok=True)
        (photos.parent / f"labels/{name}.txt").write_text("10 0 0 1 0 1 1\n2 0 0 1 0 1 1\n")
    (photos.parent / "data.yaml").write_text("names: {2: car, 3: bus}")
    proposal = propose_label_map(open_two(photos, "labels"))
    assert [*names_of(proposal).items()] == [("2", "car"), ("10", "class_10")]
    assert (proposal.unused, proposal.is_numbered) == ([(3, "bus")], True)


@pytest.mark.parametrize(
    "name", ["{image}/{label}.png", "{label}/{image}.png", "{image}_{label}.png", "{image}/traffic_light.png"]
)
def test_layers(photos, name):
    for image in "ab":
        for label, covered in (("road", [[0, 0, 1, 1]] * 2), ("traffic_light", [[0, 1, 0, 0]] * 2)):
            path = photos.parent / "masks" / name.format(image=image, label=label)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.array(covered, np.uint8)).save(path)
    proposal = propose_label_map(open_two(photos, "masks"))
    expected = {"traffic_light": 4} if "light" in name else {"road": 8, "traffic_light": 4}
    assert {row.name: row.count for row in proposal.rows} == expected
    assert [*proposal.classes] == ["background", *expected]


def test_layers_that_cover_all(photos):
    for label, covered in (("road", [[0, 0, 1, 1]] * 2), ("sky", [[1, 1, 0, 0]] * 2)):
        for image in "ab":
            path = photos.parent / "masks" / image / f"{label}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.array(covered, np.uint8)).save(path)
    assert [*propose_label_map(open_two(photos, "masks")).classes] == ["road", "sky"]
