"""Files of masks: their pixels as they are stored, whatever the format, or refused."""

import io

import numpy as np
import pytest
from PIL import Image

from tfseg.io import rasters

VALUES = np.array([[0, 1, 2], [3, 200, 255]], np.uint8)
COLORS = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)


def save(image, kind, **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def palette_image(values):
    image = Image.fromarray(values).convert("L")
    image.putpalette([part for entry in range(256) for part in (entry, 9, 255 - entry)])
    return image


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff"])
def test_greys(kind):
    raster = rasters.read_raster(save(VALUES, kind))
    assert raster.pixels.dtype == np.uint8 and np.array_equal(raster.pixels, VALUES)
    assert raster.palette is None and not raster.is_colored


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff"])
def test_one_bit_is_black_and_white(kind):
    image = Image.fromarray(np.array([[0, 255, 0]], np.uint8)).convert("1")
    assert rasters.read_raster(save(image, kind)).pixels.tolist() == [[0, 255, 0]]


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff"])
def test_a_palette_gives_indexes_and_its_colours(kind):
    raster = rasters.read_raster(save(palette_image(VALUES), kind))
    assert np.array_equal(raster.pixels, VALUES) and raster.palette is not None
    assert [*raster.palette[3 * 200 : 3 * 201]] == [200, 9, 55]


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "webp"])
@pytest.mark.parametrize("alpha", [False, True])
def test_colours(kind, alpha):
    image = Image.fromarray(COLORS).convert("RGBA") if alpha else Image.fromarray(COLORS)
    raster = rasters.read_raster(save(image, kind, **({"lossless": True} if kind == "webp" else {})))
    assert np.array_equal(raster.pixels, COLORS) and raster.is_colored


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bits(kind):
    values = np.array([[0, 255, 256, 65535]], np.uint16)
    raster = rasters.read_raster(save(values, kind))
    assert raster.pixels.dtype == np.uint16 and np.array_equal(raster.pixels, values)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_tiff_that_is_compressed_without_a_loss(compression):
    assert np.array_equal(rasters.read_raster(save(VALUES, "tiff", compression=compression)).pixels, VALUES)


def test_three_equal_channels_are_grey():
    raster = rasters.read_raster(save(np.dstack([VALUES] * 3), "png"))
    assert raster.pixels.ndim == 3 and not raster.is_colored
    grey_with_alpha = Image.merge("LA", [Image.fromarray(VALUES), Image.fromarray(np.full_like(VALUES, 255))])
    assert np.array_equal(rasters.read_raster(save(grey_with_alpha, "png")).pixels[..., 1], VALUES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (save(COLORS, "jpeg"), "since JPEG changes its values"),
        (save(COLORS, "gif"), r"is no PNG, BMP, TIFF or WebP file \(\d+ bytes\)"),
        (b"", r"is no PNG, BMP, TIFF or WebP file \(0 bytes\)"),
        (save(COLORS, "webp"), "is a lossy WebP file"),
        (save(COLORS, "tiff", compression="jpeg"), "is a TIFF file of compression 7"),
        (save(np.zeros((2, 2), np.float32), "tiff"), "is a TIFF image of the mode F, 32 bits a channel; a mask must"),
        (save(Image.new("RGBA", (2, 2), (1, 2, 3, 9)), "png"), "has transparent pixels"),
        (save(Image.new("RGBA", (2, 2), (1, 2, 3, 9)), "tiff"), "has transparent pixels"),
        (save(VALUES, "png")[:-20], "cut short or damaged"),
        (save(VALUES, "tiff")[:60], "cut short or damaged"),
        (save(COLORS, "bmp")[:-4], "cut short or damaged"),
        (save(COLORS, "webp", lossless=True)[:-12], "cut short or damaged"),
    ],
)
def test_what_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        rasters.read_raster(data)


def test_orientations_of_all_formats():
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("png", "tiff", "webp", "jpeg"):
        assert rasters.read_any_orientation(save(COLORS, kind, exif=exif)) == 6, kind
    assert rasters.read_any_orientation(save(COLORS, "bmp")) == 1
