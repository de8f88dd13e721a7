"""Masks of the exported page in Chromium are those of Python, and what Python refuses is refused."""

import io
import re
import zlib

import numpy as np
import pytest
from helper_files import file_of
from helper_web import PIXELS, agreement, drop, encode, opened, served, smooth, write_page
from PIL import Image

from tfseg.inference.reading import decode_image
from tfseg.io import resizing
from tfseg.models.decoders import DECODERS

pytestmark = pytest.mark.long


@pytest.mark.parametrize("size", [(96, 128), (33, 47), (24, 500), (32, 48), (1, 1), (1, 300), (900, 1)])
def test_a_mask_is_that_of_python(page, segment, size):
    share, expected = agreement(page, segment, "street.png", file_of(smooth(*size)))
    assert share >= 0.999
    if size == (96, 128):
        assert len(np.unique(expected)) >= 3, "the network should tell classes apart"


def in_module(page, module, call, argument):
    """What an expression of a module's exports, `module`, and an argument, `given`, gives."""
    return page.evaluate(f"async (given) => {{ const module = await import('./{module}'); return {call}; }}", argument)


@pytest.mark.parametrize("before, after", [((7, 9), (3, 4)), ((5, 4), (11, 4)), ((3, 40), (9, 7)), ((1, 1), (2, 3))])
def test_bytes_are_resized_as_in_python(page, before, after):
    image = np.random.default_rng(0).integers(0, 256, (*before, 3), np.uint8)
    call = "[...module.resize({height: given[0], width: given[1], data: Uint8Array.from(given[2])}, given[3]).data]"
    values = in_module(page, "resizing.js", call, [*before, image.ravel().tolist(), after])
    np.testing.assert_array_equal(np.reshape(values, (*after, 3)), resizing.resize(image, after))


@pytest.mark.parametrize("before, after", [((4, 5), (4, 5)), ((4, 5), (9, 13)), ((6, 7), (4, 3)), ((1, 3), (5, 1))])
def test_classes_are_chosen_as_in_python(page, before, after):
    probabilities = np.random.default_rng(0).random((*before, 3), np.float32)
    probabilities[0] = 1 / 3  # of equal ones the first
    call = "[...module.chooseClasses(Float32Array.from(given[0]), given[1], given[2])]"
    chosen = in_module(page, "resizing.js", call, [probabilities.ravel().tolist(), [*before, 3], after])
    expected = resizing.choose_classes_of_array(probabilities, after)
    np.testing.assert_array_equal(np.reshape(chosen, after), expected)


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_images_are_turned_upright(page, segment, kind, orientation):
    content = encode(PIXELS, kind, exif=exif(orientation), **({"lossless": True} if kind == "WEBP" else {}))
    pixels = decode_image(content, "image")
    assert pixels.shape[:2] == ((60, 80) if orientation < 5 else (80, 60))
    read = in_module(
        page,
        "images.js",
        "module.readImage(new Blob([Uint8Array.from(given)])).then(({bitmap, orientation}) => "
        "[...module.readPixels(bitmap, orientation).data])",
        [*content],
    )
    difference = np.abs(np.reshape(read, pixels.shape).astype(int) - pixels)
    assert difference.max() <= (2 if kind == "JPEG" else 0)  # decoders of JPEG may round otherwise


@pytest.mark.parametrize(
    "content",
    [
        encode(PIXELS, "JPEG", quality=90),
        encode(PIXELS, "JPEG", quality=90, progressive=True, subsampling=2),
        encode(PIXELS[..., 0], "JPEG"),
        encode(PIXELS[..., 0], "PNG"),
        encode(PIXELS, "PNG", icc_profile=b"a profile, which is not applied", gamma=1.0),
        encode(np.dstack([PIXELS, np.full((60, 80), 255, np.uint8)]), "PNG"),
        encode(PIXELS, "WEBP", quality=80),
    ],
    ids=["jpeg", "progressive", "grey jpeg", "grey png", "profile", "opaque alpha", "lossy webp"],
)
def test_each_kind_of_image_gives_the_mask_of_python(page, segment, content):
    assert agreement(page, segment, "street.img", content)[0] >= 0.999


def animated(kind):
    buffer = io.BytesIO()
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def cmyk():
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


def sixteen_bits():
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257).save(buffer, "PNG")
    return buffer.getvalue()


def claims(height, width, content):
    """A PNG whose header claims another size, with the checksum that goes with it."""
    header = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + content[24:29]
    return content[:12] + header + zlib.crc32(header).to_bytes(4) + content[33:] + b"\0" * 10


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", r"is no image \(0 bytes\); this page takes PNG, JPEG and WebP"),
        (b"a letter, not an image", r"is no image \(22 bytes\)"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no image"),
        (b"\0\0\0\x18ftypmp42" + bytes(100), r"is HEIC, AVIF or a video \(112 bytes\)"),
        (animated("GIF"), "is a GIF image"),
        (encode(PIXELS, "TIFF"), "is a TIFF image"),
        (encode(PIXELS, "BMP"), "is a BMP image"),
        (animated("PNG"), "has more than one image in one PNG file"),
        (animated("WEBP"), "has more than one image in one WEBP file"),
        (cmyk(), "is a CMYK image, for print"),
        (sixteen_bits(), "is a 16-bit grey image; convert it to 8 bits"),
        (encode(np.dstack([PIXELS, PIXELS[..., 0]]), "PNG"), "has transparent pixels, which stand for no colour"),
        (encode(np.dstack([PIXELS, PIXELS[..., 0]]), "WEBP", lossless=True), "has transparent pixels"),
        (encode(PIXELS, "PNG")[:-100], "is cut short or damaged"),
        (encode(PIXELS, "PNG").replace(b"IDAT", b"IDAT\0", 1), "is cut short or damaged"),
        (encode(PIXELS, "JPEG")[:-100], "is cut short or damaged"),
        (encode(PIXELS, "JPEG")[:100], "is cut short or damaged"),
        (encode(PIXELS, "WEBP")[:-100], "is cut short or damaged"),
        (claims(60, 60_000_000, encode(PIXELS, "PNG")), "is cut short or damaged"),
        (claims(61, 80, encode(PIXELS, "PNG")), "is cut short or damaged"),
        (encode(np.zeros((8000, 8000), np.uint8), "PNG"), "has 8000x8000 pixels; this page takes up to 50 million"),
        (encode(np.zeros((1, 40_000), np.uint8), "PNG"), "has 1x40000 pixels; this page takes up to 32767 a side"),
    ],
)
def test_what_is_no_image_to_segment_is_refused_in_words_and_the_next_one_is_taken(page, segment, content, words):
    drop(page, "bad.img", content)
    page.locator("#alert").get_by_text(re.compile(rf"^bad\.img {words}")).wait_for()
    assert page.locator("#status").text_content() == ""
    assert agreement(page, segment, "good.png", file_of(PIXELS))[0] >= 0.999
    assert page.locator("#alert").text_content() == ""


def test_a_file_is_refused_by_its_size_before_it_is_read(page):
    parts = "[Uint8Array.of(0xff, 0xd8), ...Array(251).fill(new Uint8Array(1e6))]"
    call = f"module.readImage(new Blob({parts})).then(() => 'taken', (error) => error.message)"
    assert in_module(page, "images.js", call, None) == "has 252 MB; this page takes up to 250"
    moved = "{slice: () => ({arrayBuffer: () => Promise.reject(new Error())})}"
    gone = f"module.readImage({moved}).catch((error) => error.message)"
    assert in_module(page, "images.js", gone, None) == "cannot be read; is it a folder, or was it moved?"


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_browser_computes_every_decoder(browser, tmp_path, decoder):
    from tfseg.inference.predictor import load_segmenter

    export = write_page(tmp_path / "export", decoder=decoder)
    with served(export / "web") as address, opened(browser, address) as page:
        _, segment = load_segmenter(export, runtime="onnxruntime")
        assert agreement(page, segment, "street.png", file_of(smooth(96, 128)))[0] >= 0.999
