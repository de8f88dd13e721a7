"""Bytes of images and masks <-> arrays: what is decoded is what was drawn, and what is damaged is refused."""

import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from tfseg.io import codecs, image_headers, images, masks, resizing

GREY = np.array([[0, 1], [2, 255]], np.uint8)
PHOTO = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)


def jpeg_with_preview():
    """A JPEG that holds another whole JPEG in its EXIF data, as cameras make them."""
    preview = cv2.imencode(".jpg", PHOTO[:8, :8])[1].tobytes()
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2) + preview
    data = cv2.imencode(".jpg", PHOTO)[1].tobytes()
    return data[:2] + segment + b"\xff" + data[2:]  # one 0xFF of padding, which is allowed


def png(array, **options):
    """Bytes of a PNG file as Pillow writes it."""
    file = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(file, "png", **options)
    return file.getvalue()


def with_chunk(data, kind, content):
    """Puts a chunk into a PNG, behind its header."""
    chunk = kind + content
    return data[:33] + len(content).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + data[33:]


def as_interlaced(data):
    """Makes an interlaced PNG of one with a single pixel, which is the same in the first pass as in the only one."""
    data = bytearray(data)
    data[28] = 1
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    return bytes(data)


# ---- images


def test_decodes_red_green_blue():
    assert images.decode_file(png(np.array([[[255, 128, 0]]], np.uint8))).tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_decodes_as_opencv_does(kind):
    data = cv2.imencode(kind, PHOTO)[1].tobytes()
    assert np.array_equal(images.decode_file(data), cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1])


def test_decodes_a_jpeg_with_a_preview():
    assert images.decode_file(jpeg_with_preview()).shape == PHOTO.shape


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 30, 0.1, 0.5, 0.99, -12, -4, -1])
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_refuses_a_image_cut_short(kind, kept):
    data = jpeg_with_preview() if kind == "jpg" else png(PHOTO)
    data = data[: int(kept * len(data)) if isinstance(kept, float) else kept]
    with pytest.raises(ValueError, match=r"^is (cut short or damaged|no PNG, JPEG, BMP, TIFF or WebP image)"):
        images.decode_file(data)


@pytest.mark.parametrize("decode", [images.decode_file, masks.decode_mask])
@pytest.mark.parametrize("interlaced", [False, True])  # decoded in another way
def test_refuses_any_changed_byte_in_a_png(decode, interlaced):
    image = PHOTO[:1, :1] if interlaced else PHOTO[:8, :8]
    data = png(image if decode is images.decode_file else image[..., 0])
    if interlaced:
        data = as_interlaced(data)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(ValueError, match=r"cut short or damaged|no PNG|a mask must be|16-bit"):
            decode(bytes(changed))


@pytest.mark.parametrize("decode", [images.decode_file, masks.decode_mask])
@pytest.mark.parametrize("kind", [b"ABCD", b"IHDR", b"\x80aaa"])
def test_refuses_a_chunk_that_other_decoders_refuse(decode, kind):
    data = png(PHOTO if decode is images.decode_file else PHOTO[..., 0])
    odd = kind + data[16:29]
    chunk = (13).to_bytes(4) + odd + zlib.crc32(odd).to_bytes(4)
    for place in (33, len(data) - len(image_headers.PNG_END)):
        with pytest.raises(ValueError, match="cut short or damaged"):
            decode(data[:place] + chunk + data[place:])


@pytest.mark.parametrize("decode", [images.decode_file, masks.decode_mask])
def test_refuses_a_size_that_no_such_file_can_have(decode):
    data = bytearray(png(PHOTO if decode is images.decode_file else PHOTO[..., 0]))
    data[16:20] = (2**30).to_bytes(4)
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    with pytest.raises(ValueError, match="cut short or damaged"):
        decode(bytes(data))


def test_takes_the_emptiest_mask_there_can_be():
    assert not masks.decode_mask(codecs.encode_mask(np.zeros((4096, 4096), np.uint8))).any()


def test_refuses_a_png_without_header():
    nothing_but_the_end = image_headers.PNG_SIGNATURE + image_headers.PNG_END
    for decode in (images.decode_file, masks.decode_mask):
        with pytest.raises(ValueError, match="cut short or damaged"):
            decode(nothing_but_the_end)


def test_a_grey_or_palette_image_becomes_rgb():
    grey = Image.fromarray(PHOTO[..., 0])
    expected = np.dstack([PHOTO[..., 0]] * 3)
    assert np.array_equal(images.decode_file(png(grey)), expected)
    palette = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8)).convert("L")
    palette.putpalette([9, 8, 7, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert images.decode_file(png(palette)).tolist() == [[[9, 8, 7], [255, 0, 0]], [[0, 255, 0], [0, 0, 255]]]
    black_and_white = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert images.decode_file(png(black_and_white)).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_alpha_is_left_out_if_it_hides_nothing():
    opaque = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
    assert np.array_equal(images.decode_file(png(opaque)), PHOTO)
    opaque[0, 0, 3] = 254
    with pytest.raises(ValueError, match=r"^has transparent pixels, which stand for no colour; save it without"):
        images.decode_file(png(opaque))
    with pytest.raises(ValueError, match="transparent"):
        images.decode_file(png(PHOTO, transparency=tuple(map(int, PHOTO[0, 0]))))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3)])
def test_refuses_16_bits(shape):
    data = cv2.imencode(".png", np.zeros(shape, np.uint16))[1].tobytes()
    with pytest.raises(ValueError, match=r"^is a 16-bit (grey|RGB) image; convert it to 8 bits a channel"):
        images.decode_file(data)


def test_refuses_ink():
    file = io.BytesIO()
    Image.fromarray(PHOTO).convert("CMYK").save(file, "jpeg")
    with pytest.raises(ValueError, match=r"^is a CMYK image, for print; convert it to RGB"):
        images.decode_file(file.getvalue())


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_turns_a_image_upright(kind):
    """Orientation 6: the camera was held upright, its first row is the image's right edge."""
    blocks = PHOTO[::8, ::8].repeat(8, axis=0).repeat(8, axis=1)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(blocks).save(
        file, kind, exif=exif, **({"quality": 100, "subsampling": 0} if kind == "jpeg" else {})
    )
    decoded = images.decode_file(file.getvalue())
    assert decoded.shape == (48, 32, 3)
    assert np.abs(decoded.astype(int) - np.rot90(blocks, -1)).max() <= (0 if kind == "png" else 4)


def test_decodes_an_interlaced_image():
    assert images.decode_file(as_interlaced(png(np.array([[[1, 2, 3]]], np.uint8)))).tolist() == [[[1, 2, 3]]]


# ---- masks


@pytest.mark.parametrize("bits", [2, 8])
def test_mask_of_a_palette_gives_its_indexes(bits):
    values = np.array([[0, 1], [2, 3]], np.uint8)
    image = Image.fromarray(values).convert("L")
    image.putpalette(list(range(256)) * 3)
    data = png(image, bits=bits)
    assert data[24:26] == bytes([bits, 3])  # depth and colour type of the file
    assert np.array_equal(masks.decode_mask(data), values)
    # What is stored is grey all the same.
    stored = codecs.as_grey_png(values, data)
    assert stored[24:26] == bytes([8, 0]) and np.array_equal(masks.decode_mask(stored), values)


@pytest.mark.parametrize(("bits", "row"), [(1, "a0"), (2, "1b"), (4, "012f")])
def test_greys_of_few_bits_are_read_as_they_look(bits, row):
    """Programs that make files smaller write a mask of 0 and 255 with 1 bit a pixel."""
    head = (4).to_bytes(4) + (1).to_bytes(4) + bytes([bits, 0, 0, 0, 0])
    body = zlib.compress(bytes([0]) + bytes.fromhex(row))
    data = image_headers.PNG_SIGNATURE + b"".join(
        len(part).to_bytes(4) + kind + part + zlib.crc32(kind + part).to_bytes(4)
        for kind, part in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    )
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    mask = masks.read_mask(data)
    assert values.max() == 255 and np.array_equal(mask.values, values) and mask.kind == masks.GREY
    stored = codecs.as_grey_png(mask.values, data)
    assert stored[24:26] == bytes([8, 0]) and np.array_equal(masks.decode_mask(stored), values)


@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        (GREY.astype(np.uint16), r"16-bit grey, perhaps an \*_instanceIds\.png"),
        (np.dstack([GREY] * 3), "8-bit RGB"),
        (np.dstack([GREY] * 4), r"8-bit RGBA, perhaps a \*_color\.png"),
    ],
)
def test_refuses_a_mask_of_another_kind(mask, kind):
    data = cv2.imencode(".png", mask)[1].tobytes()
    with pytest.raises(ValueError, match=rf"^is {kind}; a mask must be an 8-bit grey or palette PNG$"):
        masks.decode_mask(data)


def test_refuses_a_jpeg_mask():
    with pytest.raises(ValueError, match=r"^is no PNG file \(\d+ bytes\); a mask must be one"):
        masks.decode_mask(cv2.imencode(".jpg", GREY)[1].tobytes())


@pytest.mark.parametrize("mask", [GREY, PHOTO[..., 0], np.zeros((1, 1), np.uint8), np.full((5, 999), 7, np.uint8)])
def test_a_mask_is_stored_as_it_is(mask):
    assert np.array_equal(masks.decode_mask(codecs.encode_mask(mask)), mask)


@pytest.mark.parametrize("chunk", [None, (b"gAMA", (22000).to_bytes(4)), (b"tEXt", b"a\0b")])
def test_a_grey_mask_file_is_stored_as_it_came(chunk):
    """Also in the eyes of TensorFlow, which reads it in an evaluation."""
    import tensorflow as tf

    data = png(PHOTO[..., 0]) if chunk is None else with_chunk(png(PHOTO[..., 0]), *chunk)
    assert codecs.as_grey_png(masks.decode_mask(data), data) == data
    assert np.array_equal(tf.io.decode_png(data, channels=1)[..., 0], PHOTO[..., 0])


# ---- sizes and sums


@pytest.mark.parametrize("size", [(2, 2), (3, 5), (4, 4), (7, 3), (16, 12)])
def test_resize_keeps_the_values_of_a_mask(size):
    mask = np.array([[0, 7], [7, 2]], np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    assert resizing.resize(np.dstack([mask * 30] * 3), size).shape == (*size, 3)
    for resize in (masks.resize_nearest, masks.resize_majority):
        resized = resize(mask, size)
        assert resized.shape == size and resized.dtype == np.uint8
        assert set(np.unique(resized)) == {0, 2, 7}


def test_resize_takes_the_middle_of_a_mask_and_the_mean_of_a_image():
    row = np.array([[1, 2, 3, 4, 5, 6]], np.uint8).repeat(3, axis=0)
    assert masks.resize_nearest(row, (1, 2)).tolist() == [[2, 5]]
    assert resizing.resize(np.dstack([row] * 3), (1, 2))[..., 0].tolist() == [[2, 5]]


def test_the_majority_of_a_cell_wins():
    mask = np.array([[1, 1, 1, 5, 7, 7], [1, 2, 3, 5, 7, 0], [0, 4, 9, 5, 0, 0]], np.uint8)
    assert masks.resize_majority(mask, (1, 2)).tolist() == [[1, 0]]  # 4 of 9; 3 against 3 against 3: the lowest


def test_thin_poles_stay_as_often_as_nearest_can():
    """Poles of one pixel, halved in size: half of them are met by the middles of cells, none in a majority."""
    mask = np.zeros((64, 256), np.uint8)
    mask[:, np.random.default_rng(0).choice(256, 100, replace=False)] = 3
    mask[:, 1::2][:, ::3] = 3
    nearest = masks.resize_nearest(mask, (32, 128))
    assert np.array_equal(nearest, mask[1::2, 1::2])  # whole columns, from the pixel right and below of the middle
    assert (nearest == 3).mean() == (mask[:, 1::2] == 3).mean()
    lonely = np.zeros((64, 256), np.uint8)
    lonely[:, 9::16] = 3
    assert (masks.resize_nearest(lonely, (32, 128)) == 3).mean() == 2 * (lonely == 3).mean()
    assert not masks.resize_majority(lonely, (16, 64)).any()


@pytest.mark.parametrize("shape", [(1, 1), (33, 47), (1024, 2048)])
def test_sums_are_exact(shape):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    image[: shape[0] // 2] = 255
    wide = image.astype(np.int64)
    assert codecs.channel_sums(image) == (wide.sum(axis=(0, 1)).tolist(), (wide**2).sum(axis=(0, 1)).tolist())
    assert np.array_equal(masks.count_values(image[..., 1]), np.bincount(image[..., 1].ravel(), minlength=256))


@pytest.mark.parametrize("width", [2, 64])
def test_counts_beyond_what_float32_holds(width):
    """Of a mask of noise, then of one of areas, whose runs are counted."""
    mask = np.repeat(np.tile(np.arange(2, dtype=np.uint8), 4352 // width), width // 2)
    mask = np.tile(mask, (4097, 1))
    assert mask.shape == (4097, 4352)
    mask[0, :2] = 7
    counts = masks.count_values(mask)
    assert counts[:2].sum() == 4097 * 4352 - 2 and counts[1] == 4097 * 2176 - (1 if width == 2 else 0)
    assert counts[7] == 2


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (1, 2), (32, 32)])
def test_counts_of_areas(shape):
    mask = np.full(shape, 5, np.uint8)
    mask[:, shape[1] // 2 :] = 255
    assert np.array_equal(masks.count_values(mask), np.bincount(mask.ravel(), minlength=256))


def test_resize_leaves_the_arguments_alone():
    mask = np.arange(16, dtype=np.uint8).reshape(4, 4)
    image = np.dstack([mask] * 3)
    resizing.resize(image, (2, 2))
    masks.resize_majority(mask, (2, 2))
    assert mask.tolist() == np.arange(16).reshape(4, 4).tolist()


@pytest.mark.parametrize("codec", ["png", "raw"])
def test_exact_codecs(codec):
    encoded = codecs.encode_image(PHOTO, codec, None)
    if codec == "raw":
        assert encoded == PHOTO.tobytes()
    else:
        assert np.array_equal(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], PHOTO)


def test_jpeg_keeps_a_thin_coloured_line():
    """With colour at half resolution the red line fades; at full it stays."""
    image = np.full((32, 32, 3), 128, np.uint8)
    image[:, 15] = (255, 0, 0)
    encoded = codecs.encode_image(image, "jpeg", 95)
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    assert np.abs(decoded - image).max() < 24
