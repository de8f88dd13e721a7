"""Files of pictures and masks <-> arrays: what is read is what was drawn, and what is damaged is refused."""

import cv2
import numpy as np
import pytest
from PIL import Image

from tfseg import pictures

GREY = np.array([[0, 1], [2, 255]], np.uint8)
PHOTO = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)


def write_jpeg_with_preview(path):
    """A JPEG that holds another whole JPEG in its EXIF data, as cameras make them."""
    preview = cv2.imencode(".jpg", PHOTO[:8, :8])[1].tobytes()
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2) + preview
    data = cv2.imencode(".jpg", PHOTO)[1].tobytes()
    path.write_bytes(data[:2] + segment + b"\xff" + data[2:])  # one 0xFF of padding, which is allowed


def test_reads_red_green_blue(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[[255, 128, 0]]], np.uint8)).save(path)
    assert pictures.read_image(path).tolist() == [[[255, 128, 0]]]


def test_reads_a_jpeg_with_a_preview(tmp_path):
    write_jpeg_with_preview(tmp_path / "a.jpg")
    assert pictures.read_image(tmp_path / "a.jpg").shape == PHOTO.shape


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 30, 0.1, 0.5, 0.99, -12, -4, -1])
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_refuses_a_picture_cut_short(tmp_path, kind, kept):
    path = tmp_path / f"a.{kind}"
    write_jpeg_with_preview(path) if kind == "jpg" else cv2.imwrite(str(path), PHOTO)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match=r"a\.(png|jpg): is (cut short or damaged|neither a PNG nor a JPEG file)"):
        pictures.read_image(path)


def test_refuses_one_changed_byte_in_a_png(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), PHOTO)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="cut short or damaged"):
        pictures.read_image(path)


def test_refuses_a_png_without_header(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(pictures.PNG_SIGNATURE + bytes.fromhex("0000000049454e44ae426082"))  # nothing but the end
    with pytest.raises(ValueError, match="cut short or damaged"):
        pictures.read_mask(path)


@pytest.mark.parametrize("bits", [2, 8])
def test_mask_of_a_palette_gives_its_indexes(tmp_path, bits):
    values = np.array([[0, 1], [2, 3]], np.uint8)
    image = Image.fromarray(values).convert("L")
    image.putpalette(list(range(256)) * 3)
    image.save(tmp_path / "a.png", bits=bits)
    assert (tmp_path / "a.png").read_bytes()[24:26] == bytes([bits, 3])  # depth and colour type of the file
    assert np.array_equal(pictures.read_mask(tmp_path / "a.png"), values)


@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        (GREY.astype(np.uint16), "16-bit grey"),
        (np.dstack([GREY] * 3), "8-bit RGB"),
        (np.dstack([GREY] * 4), "8-bit RGBA"),
    ],
)
def test_refuses_a_mask_of_another_kind(tmp_path, mask, kind):
    cv2.imwrite(str(tmp_path / "a.png"), mask)
    with pytest.raises(ValueError, match=rf"a\.png: a mask must be an 8-bit grey or palette PNG, this one is {kind}$"):
        pictures.read_mask(tmp_path / "a.png")


def test_refuses_a_jpeg_mask_under_the_name_of_a_png(tmp_path):
    (tmp_path / "a.png").write_bytes(cv2.imencode(".jpg", GREY)[1].tobytes())
    with pytest.raises(ValueError, match="a mask must be a PNG file"):
        pictures.read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(2, 2), (3, 5), (4, 4), (7, 3), (16, 12)])
def test_resize_keeps_the_values_of_a_mask(size):
    mask = np.array([[0, 7], [7, 2]], np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    image, resized = pictures.resize(np.dstack([mask * 30] * 3), mask, size)
    assert resized.shape == size and image.shape == (*size, 3)
    assert set(np.unique(resized)) == {0, 2, 7}


def test_resize_takes_the_middle_of_a_mask_and_the_mean_of_a_picture():
    row = np.array([[1, 2, 3, 4, 5, 6]], np.uint8).repeat(3, axis=0)
    image, mask = pictures.resize(np.dstack([row] * 3), row, (1, 2))
    assert mask.tolist() == [[2, 5]]
    assert image[..., 0].tolist() == [[2, 5]]


def test_resize_leaves_the_arguments_alone():
    mask = np.arange(16, dtype=np.uint8).reshape(4, 4)
    image = np.dstack([mask] * 3)
    pictures.resize(image, mask, (2, 2))
    assert mask.tolist() == np.arange(16).reshape(4, 4).tolist()


@pytest.mark.parametrize("codec", ["png", "raw"])
def test_exact_codecs(codec):
    encoded = pictures.encode_image(PHOTO, codec, None)
    if codec == "raw":
        assert encoded == PHOTO.tobytes()
    else:
        assert np.array_equal(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], PHOTO)


def test_jpeg_keeps_a_thin_coloured_line():
    """With colour at half resolution the red line fades; at full it stays."""
    image = np.full((32, 32, 3), 128, np.uint8)
    image[:, 15] = (255, 0, 0)
    encoded = pictures.encode_image(image, "jpeg", 95)
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    assert np.abs(decoded - image).max() < 24
