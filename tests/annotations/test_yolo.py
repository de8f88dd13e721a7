import pytest
from helper_annotations import rows

from tfseg.annotations.drawing import draw_mask, list_labels
from tfseg.annotations.yolo import number_labels, read_class_names

# The form of Ultralytics' "Instance Segmentation Datasets Overview": a triangle, and a smaller rectangle before it.
DOCUMENT = b"1 0.5 0.25 0.75 0.25 0.75 0.5 0.5 0.5\n0 0.0 0.0 0.99 0.0 0.99 0.99\n"


def draw(data, size=(8, 8)):
    return draw_mask("yolo", data, size, {"0": 1, "1": 2}, 0)


def test_the_smaller_lies_over_the_larger():
    expected = ["11111111", "01111111", "00112221", "00012221", "00002221", "00000111", "00000011", "00000001"]
    assert list_labels("yolo", DOCUMENT) == {"1": 1, "0": 1}
    assert rows(draw(DOCUMENT)) == expected
    assert rows(draw(b"\n".join(DOCUMENT.splitlines()[::-1]))) == expected


def test_of_equal_size_the_later_lies_over_the_earlier():
    first, second = b"0 0 0 0.5 0 0.5 0.5 0 0.5", b"1 0 0 0.5 0 0.5 0.5 0 0.5"
    assert set(draw(first + b"\n" + second).ravel().tolist()) == {0, 2}
    assert set(draw(second + b"\n" + first).ravel().tolist()) == {0, 1}


def test_a_point_on_the_edge_of_the_image():
    assert rows(draw(b"0 0 0 1 0 1 1 0 1", (2, 3))) == ["111", "111"]


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b"  \r\n"])
def test_nothing_on_the_image(data):
    assert list_labels("yolo", data) == {}
    assert not draw(data).any()


@pytest.mark.parametrize("line", [b"1 0 0 1 0 1 1", b"1.0 0 0 1 0 1 1", b"1\t0\t0  1 0 1 1 \r"])
def test_how_a_line_may_be_written(line):
    assert list_labels("yolo", line) == {"1": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2 0.2", "is a box, of which no mask can be made; export segments, or delete the line"),
        (
            "0 0.5 0.5 0.2 0.2 0.9",
            "has 6 numbers, expected a class and x and y of three points or more; does it end with",
        ),
        ("0 0 0 1 0 1 1 0.98", "has 8 numbers, expected a class and x and y of three points or more; does it end with"),
        ("0", "has 1 numbers, expected a class and x and y of three points or more"),
        ("car 0 0 1 0 1 1", "expected numbers, got 'car 0 0 1 0 1 1'"),
        ("0 0 0 1 0 1 nan", "expected finite numbers, got '0 0 0 1 0 1 nan'"),
        ("-1 0 0 1 0 1 1", "expected the number of a class first, got -1"),
        ("0.5 0 0 1 0 1 1", "expected the number of a class first, got 0.5"),
        ("1e300 0 0 1 0 1 1", "expected the number of a class first, got 1e+300"),
        (
            "0 0 0 640 0 640 480",
            "has the coordinate 640, expected shares of the image's width and height, in 0..1; are",
        ),
        ("0 0 0 1 0 1 -0.02", "has the coordinate -0.02, expected shares of the image's width and height, in 0..1"),
    ],
)
def test_what_it_refuses(line, message):
    with pytest.raises(ValueError) as raised:
        draw(f"0 0 0 1 0 1 1\n\n{line}\n".encode())
    assert str(raised.value).startswith(f"line 3: {message}")


@pytest.mark.parametrize(
    "data", [b"\n" * 50_001, b"\r\n" * 50_001, b"0" + b" 0.5" * 2_000_001, b"0" + b"\v\f" * 1_000_001]
)
def test_only_so_many_lines_and_numbers(data):
    with pytest.raises(ValueError, match=r"^has more than 50,000 lines or 2,000,000 numbers, which are not drawn"):
        draw(data)


@pytest.mark.parametrize("blank", ["\u00a0", "\u3000", "\u2028", "\x1c", "\x85"])
def test_lines_are_parted_at_what_is_counted(blank):
    with pytest.raises(ValueError, match=r"^line 1: expected numbers, got '0 0"):
        draw(f"0 0{blank}0 1 0 1 1".encode())


def test_binary_files():
    with pytest.raises(ValueError, match=r"^is no text \(3 bytes\)$"):
        draw(b"\xff\xfe\x00")


def test_unknown_numbers():
    with pytest.raises(
        ValueError, match=r"^has labels that are not in the label map: '7' \(2 shapes, the first at line 1\)"
    ):
        draw(b"7 0 0 1 0 1 1\n7 0 0 1 0 1 1")


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        (
            "data.yaml",
            "path: ../coco8-seg\ntrain: images/train\nnames:\n  0: person\n  1: bicycle\n",
            ["person", "bicycle"],
        ),
        ("data.yaml", "nc: 2\nnames: [person, bicycle]\n", ["person", "bicycle"]),
        ("data.yml", "names: ['no', 2]\n", ["no", "2"]),
        ("classes.txt", "person\nbicycle \r\n\n", ["person", "bicycle"]),
    ],
)
def test_names_of_classes(tmp_path, name, text, names):
    (tmp_path / name).write_text(text)
    assert read_class_names(tmp_path / name) == dict(enumerate(names))


def test_numbers_may_be_left_out(tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text("names: {5: car, 2: road}")
    assert [*read_class_names(path).items()] == [(2, "road"), (5, "car")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("data.yaml", "names: 3", "expected `names: [first, second]` or `names: {0: first, 1: second}`"),
        ("data.yaml", "[1, 2]", "expected `names: [first, second]` or `names: {0: first, 1: second}`"),
        ("data.yaml", "names: {a: car}", "names: expected the numbers of classes, got 'a'"),
        ("data.yaml", "nc: 3\nnames: [car, road]", "has 2 names, but nc: 3; make them agree"),
        ("data.yaml", "names: [yes, road]", "names: expected names, got true or false; in quotes it is text"),
        ("data.yaml", "names: []", "has no names of classes"),
        ("classes.txt", "", "has no names of classes"),
        ("classes.txt", "car\n\nroad\n", "class 1: has the label '' of 0 bytes, expected 1 to 255"),
    ],
)
def test_names_that_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as raised:
        read_class_names(tmp_path / name)
    assert str(raised.value) == f"{tmp_path / name}: {message}"


def test_class_ids_by_number():
    assert number_labels({0: "car", 1: "road", 2: "dog"}, {"road": 1, "car": 2}) == {"0": 2, "1": 1}
