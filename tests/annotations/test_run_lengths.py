import numpy as np
import pytest
from helper_annotations import rows

from tfseg.annotations import run_lengths
from tfseg.annotations.run_lengths import CocoRuns, decode_brush, decode_coco_runs

TRIANGLE = ["00000000", "01111000", "01110000", "01100000", "01000000", "00000000"]
# By label_studio_sdk's mask2rle, of 3x5 pixels.
BRUSH = [0, 0, 0, 60, 57, 27, 254, 23, 0, 183, 255, 24, 4, 127, 247, 192, 0]


def test_text_of_pycocotools():
    assert rows(decode_coco_runs("742O1O1Ob0", (6, 8), (6, 8))) == TRIANGLE


def test_text_with_shorter_and_longer_runs():
    """Written by pycocotools, too: from the fourth run on, the text holds differences of either sign."""
    assert rows(decode_coco_runs("96=15JGa02_OO1I", (9, 12), (9, 12))) == [
        "010000011000",
        "010100011000",
        "010100011010",
        "010100011000",
        "010100011001",
        "010100011001",
        "000100011000",
        "000100011000",
        "000001011000",
    ]


def test_a_list_of_the_same():
    assert rows(decode_coco_runs([7, 4, 2, 3, 3, 2, 4, 1, 22], (6, 8), (6, 8))) == TRIANGLE


@pytest.mark.parametrize("counts", [[0, 6], "06", [0, 2, 0, 4]])
def test_all_inside(counts):
    assert rows(decode_coco_runs(counts, (2, 3), (2, 3))) == ["111", "111"]


@pytest.mark.parametrize("counts", [[0, 6], [6], [0, 0, 6], [5, 1], [0, 1, 5], [2, 1, 3], [1, 1, 1, 1, 2], [3, 3, 0]])
def test_painted_they_are_the_same(counts):
    mask = np.full((2, 3), 5, np.uint8)
    CocoRuns(counts, (2, 3)).paint(mask, 9)
    assert (mask == np.where(decode_coco_runs(counts, (2, 3), (2, 3)), 9, 5)).all()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, 2], "has runs of 3 pixels, but 2x3 are 6; is it cut short?"),
        ([7], "has a run of 7 pixels in an image of 2x3"),
        ([-1, 7], "has a run of -1 pixels in an image of 2x3"),
        ([10**18, 10**18], f"has a run of {10**18} pixels in an image of 2x3"),
        ([6] + [0] * 100, "has run lengths of 101 entries, more than an image of 2x3 takes"),
        ([6.0], "expected integers as run lengths, got 6.0"),
        ([True, 5], "expected integers as run lengths, got true or false"),
        (["6"], "expected integers as run lengths, got '6'"),
        ([], "has runs of 0 pixels, but 2x3 are 6; is it cut short?"),
        ("", "has run lengths that are cut short"),
        ("6" * 100, "has run lengths of 100 entries, more than an image of 2x3 takes"),
        ("1Q", "has run lengths that are cut short"),
        ("oooooooo0", "has a run length of more than 32 bits"),
        ("eJwB/é", "has run lengths with letters that pycocotools does not write; is it compressed otherwise?"),
        ("3O", "has a run of -1 pixels in an image of 2x3"),
    ],
)
def test_what_coco_cannot_mean(counts, message):
    with pytest.raises(ValueError) as raised:
        decode_coco_runs(counts, (2, 3), (2, 3))
    assert str(raised.value) == message


def test_of_another_size():
    with pytest.raises(ValueError, match=r"^was annotated on an image of 3x2, but the image is 2x3"):
        decode_coco_runs([6], (3, 2), (2, 3))


def test_equal_to_pycocotools():
    mask_tools = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for share in (0, 0.02, 0.5, 0.98, 1):
        mask = np.asfortranarray((random.random((61, 47)) < share).astype(np.uint8))
        text = mask_tools.encode(mask)["counts"].decode()
        assert (decode_coco_runs(text, mask.shape, mask.shape) == mask).all()


def test_a_brush():
    assert rows(decode_brush(BRUSH, (3, 5))) == ["00000", "01110", "10000"]


def test_only_the_alpha_channel_of_a_brush_counts():
    # 8 values of 8 bits, lengths of 1, 1, 1 and 3 bits, and one block of single values, whose length less one is 7.
    header = f"{8:032b}{7:05b}{0:04b}{0:04b}{0:04b}{2:04b}" + "0" + "11" + "111"
    bits = header + "".join(f"{value:08b}" for value in (255, 255, 255, 0, 0, 0, 0, 1))
    data = [int(bits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(bits), 8)]
    assert rows(decode_brush(data, (1, 2))) == ["01"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (BRUSH[:-3], "has a brush that is cut short, of 14 bytes"),
        (BRUSH[:3], "has a brush that is cut short, of 3 bytes"),
        ([], "has a brush that is cut short, of 0 bytes"),
        ([256], "expected brush run lengths of integers in 0..255"),
        (["1"], "expected brush run lengths of integers in 0..255"),
        ([1.5], "expected brush run lengths of integers in 0..255"),
        ([255] * 40, "has a brush of 4,294,967,295 values of 32 bits, but an image of 3x5 has 60 of 8, in RGBA"),
        (
            [*BRUSH[:4], 121, *BRUSH[5:]],
            "has a brush of 60 values of 16 bits, but an image of 3x5 has 60 of 8, in RGBA",
        ),
        (BRUSH[:6] + [255] * 9, "has a brush of more than the 60 values that it begins with; is it damaged?"),
    ],
)
def test_what_a_brush_cannot_mean(values, message):
    with pytest.raises(ValueError) as raised:
        decode_brush(values, (3, 5))
    assert str(raised.value).startswith(message)


def test_a_brush_of_another_image():
    with pytest.raises(ValueError, match=r"an image of 5x4 has 80 of 8, in RGBA; was it annotated on another image\?$"):
        decode_brush(BRUSH, (5, 4))


def test_bits_of_any_place():
    bits = run_lengths._Bits(bytes([0b10110011, 0b01010101, 0b11110000]))
    assert [bits.read(1), bits.read(2), bits.read(7)] == [1, 0b01, 0b1001101]
    assert bits.read_bytes(1).tolist() == [0b01010111]
