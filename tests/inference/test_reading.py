import cv2
import numpy as np
import pytest
from helper_files import image_of_reds, save
from PIL import Image

from tfseg.inference.reading import read_image
from tfseg.io import image_headers, images


def test_png_as_it_is(tmp_path):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    image = read_image(save(tmp_path / "a.png", pixels))
    assert image.dtype == np.uint8
    assert image.tolist() == pixels.tolist()


def test_jpeg(tmp_path):
    image = read_image(save(tmp_path / "a.jpg", np.full((8, 16, 3), (200, 100, 50), np.uint8), quality=95))
    assert image.shape == (8, 16, 3)
    np.testing.assert_allclose(image.mean(axis=(0, 1)), (200, 100, 50), atol=3)


def test_grey_becomes_rgb(tmp_path):
    assert read_image(save(tmp_path / "a.png", np.array([[5, 6]], np.uint8))).tolist() == [[[5] * 3, [6] * 3]]


def test_transparent_pixels_are_refused_by_file(tmp_path):
    pixels = np.array([[[1, 2, 3, 0], [4, 5, 6, 128]]], np.uint8)
    with pytest.raises(ValueError, match=r"a\.png has transparent pixels"):
        read_image(save(tmp_path / "a.png", pixels))


def test_palette_becomes_rgb(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 1, 2, 3])
    palette.putdata([1, 0])
    palette.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3], [9, 8, 7]]]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_turned_upright_as_exif_says(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the camera was held upright, turn a quarter clockwise
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = 255  # left half, which comes to the top
    image = read_image(save(tmp_path / f"a{suffix}", stored, exif=exif))
    assert image.shape == (32, 16, 3)
    assert image[:15].min() > 240
    assert image[17:].max() < 15


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 3)])
def test_16_bits_are_refused(tmp_path, shape):
    cv2.imwrite(str(tmp_path / "deep.png"), np.full(shape, 1000, np.uint16))
    with pytest.raises(ValueError, match=r"deep\.png is a 16-bit (grey|RGB) image"):
        read_image(tmp_path / "deep.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_cut_short(tmp_path, suffix, kept):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = save(tmp_path / f"cut{suffix}", pixels)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=f"cut{suffix} is cut short or damaged"):
        read_image(path)


def test_flipped_bit(tmp_path):
    path = save(tmp_path / "bad.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.png is cut short or damaged"):
        read_image(path)


def test_a_format_is_known_by_the_content(tmp_path):
    assert read_image(save(tmp_path / "a.png", image_of_reds(1), format="BMP")).tolist() == [[[1, 7, 9]]]
    with pytest.raises(ValueError, match=r"b\.png is no PNG, JPEG, BMP, TIFF or WebP image"):
        read_image(save(tmp_path / "b.png", image_of_reds(1), format="GIF"))


@pytest.mark.parametrize("content", [b"", b"not an image at all"])
def test_text_named_png(tmp_path, content):
    (tmp_path / "fake.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"fake\.png is no PNG, JPEG"):
        read_image(tmp_path / "fake.png")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_image(tmp_path / "nowhere.png")


def test_a_jpeg_of_too_many_scans_is_not_decoded(tmp_path, monkeypatch):
    path = save(tmp_path / "a.jpg", image_of_reds(0))
    path.write_bytes(path.read_bytes()[:-2] + b"\xff\xda\0\x02" * image_headers.MOST_SCANS + b"\xff\xd9")
    monkeypatch.setattr(images.cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(image_headers.TooLarge, match=r"a\.jpg has more than 100 scans"):
        read_image(path)
