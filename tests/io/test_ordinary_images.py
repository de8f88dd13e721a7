"""Files of phones, cameras, scanners and programs are decoded as ever, whatever they hold beside their pixels."""

import io
import random
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from tfseg.io import images

PHOTO = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
RGB = Image.fromarray(PHOTO)
GREY, PALETTE, BITS = RGB.convert("L"), RGB.quantize(64), RGB.convert("1")
OPAQUE = RGB.convert("RGBA")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
NOISE = random.Random(0).randbytes(700_000)
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b"<a/>" * 9_000 + b"</x:xmpmeta>"


def exif(orientation=1):
    """EXIF data as cameras write them: a maker note, a comment, a place."""
    data = Image.Exif()
    data[0x010F], data[0x0110], data[0x0112] = "a camera", "a model", orientation
    details = data.get_ifd(0x8769)
    details[0x927C], details[0x9286], details[0x829A] = NOISE[:30_000], b"ASCII\0\0\0" + b"x" * 500, 0.01
    data.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    return data


def text():
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 5000, zip=True)
    info.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    return info


FILES = {
    "phone": (RGB, "jpeg", {"exif": exif(6), "icc_profile": SRGB, "quality": 95}),
    "camera, wide gamut": (RGB, "jpeg", {"exif": exif(), "icc_profile": NOISE, "subsampling": 0, "dpi": (300, 300)}),
    "progressive": (RGB, "jpeg", {"progressive": True, "optimize": True, "comment": b"a comment", "xmp": XMP}),
    "restarts": (RGB, "jpeg", {"restart_marker_blocks": 1}),
    "grey": (GREY, "jpeg", {}),
    "two images in one": (RGB, "mpo", {"save_all": True, "append_images": [RGB.resize((32, 32))]}),
    "screenshot": (RGB, "png", {"pnginfo": text(), "icc_profile": SRGB, "dpi": (144, 144), "exif": exif(8)}),
    "large profile": (GREY, "png", {"icc_profile": NOISE}),
    "opaque": (OPAQUE, "png", {"icc_profile": SRGB, "pnginfo": text()}),
    "opaque grey": (GREY.convert("LA"), "png", {}),
    "palette": (PALETTE, "png", {"pnginfo": text()}),
    "opaque palette": (PALETTE, "png", {"transparency": b"\xff" * 64}),
    "black and white": (BITS, "png", {}),
    **{
        f"tiff {name}": (RGB, "tiff", {"compression": name, "exif": exif(3), "icc_profile": SRGB})
        for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")
    },
    "tiff jpeg": (RGB, "tiff", {"compression": "jpeg", "quality": 90}),
    "tiff predictor": (RGB, "tiff", {"compression": "tiff_lzw", "tiffinfo": {317: 2}}),
    "fax": (BITS, "tiff", {"compression": "group4"}),
    "one strip a row": (GREY, "tiff", {"compression": "raw", "strip_size": 1}),
    "tiff palette": (PALETTE, "tiff", {"description": "x" * 5000}),
    "tiff opaque": (OPAQUE, "tiff", {"compression": "tiff_lzw"}),
    "webp": (RGB, "webp", {"exif": exif(5), "icc_profile": SRGB, "xmp": XMP}),
    "webp lossless": (RGB, "webp", {"lossless": True}),
    "webp opaque": (OPAQUE, "webp", {"lossless": True, "exif": exif(2)}),
    **{f"bmp {image.mode}": (image, "bmp", {}) for image in (RGB, GREY, PALETTE, BITS, OPAQUE)},
}


@pytest.mark.parametrize("name", FILES)
def test_an_ordinary_file_is_decoded_as_ever(name):
    image, kind, options = FILES[name]
    file = io.BytesIO()
    image.save(file, kind, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGBA").convert("RGB"))
    assert np.array_equal(images.decode_file(file.getvalue()), expected)
    assert images.read_upright_size(file.getvalue()) == expected.shape[:2]


def test_a_photo_with_a_video_behind_it_has_no_more_scans():
    file = io.BytesIO()
    RGB.save(file, "jpeg")
    photo = file.getvalue()
    video = b"\xff\xda\0\x0c" * 200
    assert np.array_equal(images.decode_file(photo + video), images.decode_file(photo))
    profile = b"\xff\xe2" + struct.pack(">H", 2 + len(video)) + video
    assert np.array_equal(images.decode_file(photo[:2] + profile + photo[2:]), images.decode_file(photo))


def test_a_bitmap_of_runs():
    """Two rows from the bottom up: a run of three and one of two; a literal of four and a run of one, the end."""
    runs = bytes([3, 1, 2, 2, 0, 0]) + bytes([0, 4, 3, 2, 1, 3, 1, 1]) + bytes([0, 1])
    palette = bytes([0, 0, 0, 0, 10, 20, 30, 0, 40, 50, 60, 0, 70, 80, 90, 0])
    start = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, 5, 2, 1, 8, 1, len(runs), 0, 0, 4, 0)
    data = b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + palette + runs
    blue, green, red = [30, 20, 10], [60, 50, 40], [90, 80, 70]
    assert images.decode_file(data).tolist() == [[red, green, blue, red, blue], [blue, blue, blue, green, green]]
    for cut in (data[:-8], data[:60]):
        with pytest.raises(ValueError, match="cut short or damaged"):
            images.decode_file(cut)


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("kind", ["tiff", "webp"])
def test_what_is_stored_can_be_had_as_well(kind, upright):
    file = io.BytesIO()
    RGB.save(file, kind, exif=exif(6), lossless=True)
    decoded = images.decode_file(file.getvalue(), upright)
    assert np.array_equal(decoded, np.rot90(PHOTO, -1) if upright else PHOTO)
