"""What all masks of a data set hold, counted; and what can be no mask of classes."""

import numpy as np
import pytest
from PIL import Image

from tfseg.conversion.proposing.census import look_at, take_census
from tfseg.conversion.reading.faults import BadFilesError
from tfseg.conversion.reading.samples import Sample

RED, BLACK = (255, 0, 0), (0, 0, 0)


@pytest.fixture
def save(tmp_path):
    """Saves an image as a mask and gives the sample of it."""

    def save_mask(image, name="a.png", **options):
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(tmp_path / name, **options)
        return Sample(name, tmp_path / "a.jpg", tmp_path / name)

    return save_mask


def palette_image(indexes, *colors):
    image = Image.fromarray(np.array(indexes, np.uint8), "P")
    image.putpalette(bytes(np.array(colors, np.uint8)))
    return image


GREY = np.array([[0, 0, 7], [7, 7, 255]], np.uint8)
COLORED = np.array([[BLACK, RED, RED]], np.uint8)


@pytest.mark.parametrize(
    ("image", "kind", "values", "colors"),
    [
        (GREY, "grey", {0: 2, 7: 3, 255: 1}, {}),
        (GREY.astype(np.uint16) * 2, "16-bit grey", {0: 2, 14: 3, 510: 1}, {}),
        (COLORED, "RGB colours", {}, {BLACK: 1, RED: 2}),
        (
            np.repeat(GREY[..., None], 3, axis=2),
            "grey in three channels",
            {0: 2, 7: 3, 255: 1},
            {BLACK: 2, (7, 7, 7): 3, (255, 255, 255): 1},
        ),
        (
            palette_image([[0, 1, 1, 3]], BLACK, RED, (0, 9, 0)),
            "palette of colours",
            {0: 1, 1: 2, 3: 1},
            {BLACK: 1, RED: 2},
        ),
        (palette_image([[0, 1, 1]], (9, 9, 9), BLACK), "palette of greys", {9: 1, 0: 2}, {(9, 9, 9): 1, BLACK: 2}),
        (Image.fromarray(GREY > 0), "grey of few bits", {0: 2, 255: 4}, {}),
    ],
)
def test_masks(save, image, kind, values, colors):
    look = look_at(save(image))
    assert (look.kind, look.values, look.colors) == (kind, values, colors)
    assert look.pixels == np.asarray(image).shape[0] * np.asarray(image).shape[1]


def test_one_channel(save):
    assert look_at(save(COLORED), "red").values == {0: 1, 255: 2}
    with pytest.raises(ValueError, match=r"a\.png: has one channel, but --mask-values red reads a channel of RGB"):
        look_at(save(GREY), "red")


def test_greys_as_colours(save):
    assert look_at(save(GREY), "color").colors == {BLACK: 2, (7, 7, 7): 3, (255, 255, 255): 1}


def test_labels(tmp_path):
    (tmp_path / "a.txt").write_text("1 0 0 1 0 1 1\n0 0 0 1 0 1 1\n1 0 0 1 0 1 1\n")
    assert look_at(Sample("a", tmp_path / "a.jpg", tmp_path / "a.txt", "yolo")).labels == {"1": 2, "0": 1}


def test_layers(save, tmp_path):
    layers = (
        ("sky", save(np.array([[9, 0, 0, 0]], np.uint8)).mask),
        ("road", save(np.array([[0, 9, 9, 0]], np.uint8), "b.png").mask),
    )
    look = look_at(Sample("a", tmp_path / "a.jpg", tmp_path, "layers", layers=layers))
    assert (look.labels, look.pixels, look.uncovered) == ({"sky": 1, "road": 2}, 4, 1)
    odd = (*layers, ("car", save(np.array([[9], [0]], np.uint8), "c.png").mask))
    with pytest.raises(ValueError, match=r"c\.png: is 2x1, but the layer .*a\.png is 1x4; make them agree"):
        look_at(Sample("a", tmp_path / "a.jpg", tmp_path, "layers", layers=odd))


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def blocks(count):
    """Regions of 4 pixels, each of another value."""
    return np.arange(count, dtype=np.uint16).repeat(4).reshape(-1, 4 * 20)


def smooth_edges():
    image = np.full((40, 400, 3), (0, 200, 0), np.uint8)
    image[0, :300] = noise(300, 3)
    return image


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (noise(32, 32), "has 249 values, which change from pixel to pixel; it seems to be a photo"),
        (noise(32, 32, 3), "has 1,024 colours, which change from pixel to pixel; it seems to be a photo"),
        (np.repeat(blocks(300), 5, axis=0), "has 300 values, at most 255 can be of classes; it seems to be an inst"),
        (smooth_edges(), "it seems to be a mask whose edges were smoothed, or an instance map"),
    ],
)
def test_no_masks_of_classes(save, image, reason):
    with pytest.raises(ValueError, match=r"a\.png: has ") as error:
        look_at(save(image))
    assert reason in str(error.value)


def test_all_bad_files_are_named(save, tmp_path):
    good = save(GREY, "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    samples = [good, *(good._replace(mask=tmp_path / name) for name in ("bad.png", "lost.png")), save(noise(32, 32))]
    with pytest.raises(BadFilesError) as error:
        take_census(samples)
    assert error.value.count == 3
    assert [fault.split(": ")[0] for fault in error.value.faults] == [
        str(tmp_path / name) for name in ("bad.png", "lost.png", "a.png")
    ]


def test_a_survey(save):
    census = take_census([save(GREY), save(np.array([[0, 3]], np.uint8), "b.png")], workers=1)
    assert census.values.total == {0: 3, 7: 3, 255: 1, 3: 1} and census.values.images == {0: 2, 7: 1, 255: 1, 3: 1}
    assert (census.images, census.pixels) == (2, 8)


def test_palettes_that_agree_or_do_not(save):
    samples = [save(palette_image([[0, 1]], BLACK, RED)), save(palette_image([[0, 1]], BLACK, RED), "b.png")]
    census = take_census(samples)
    assert (census.palette_fault, census.of_entries) == ("", {0: BLACK, 1: RED})
    census = take_census([*samples, save(palette_image([[1, 0]], RED, BLACK), "c.png")])
    assert "c.png: has (255, 0, 0) at index 0 of its palette" in census.palette_fault
