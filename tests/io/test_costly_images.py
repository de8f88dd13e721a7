"""Small files that would cost a decoder seconds: each is refused by its head, or decoded without what is costly."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tfseg.io import image_containers, image_headers, images, masks

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
TOO_LARGE = image_headers.TooLarge
NOISE = zlib.compress(bytes(900_000), 9)  # a thousandth of what it unpacks to


def save(kind, image=None, **options):
    file = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(file, kind, **options)
    return file.getvalue()


def chunk(kind, content=b""):
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def with_chunks(data, chunks):
    """Puts chunks into a PNG, behind its header."""
    return data[:33] + chunks + data[33:]


def segment(kind, content=b""):
    return bytes([0xFF, kind]) + (len(content) + 2).to_bytes(2) + content


def with_segments(data, segments):
    """Puts segments into a JPEG, before all others."""
    return data[:2] + segments + data[2:]


def directory(*entries, following=0):
    """A directory of a TIFF, of entries tag, type, count, value."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def tags(count, values):
    """EXIF data of so many tags that all share so many fractions."""
    return b"II*\0\x08\0\0\0" + directory(*((place, 5, values, 8) for place in range(count))) + bytes(8 * values)


def tiff(*more, width=8, height=8, compression=1, body=b"", strips=1, loops=False):
    """A grey TIFF of one strip, the pixels first."""
    start = 8 + width * height + len(body)
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    entries += [(273, 4, strips, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, strips, width * height), *more]
    head = b"II*\0" + struct.pack("<I", start) + bytes(min(width * height, 10**6)) + body
    return head.ljust(start, b"\0") + directory(*entries, following=start if loops else 0)


def chained(count):
    """A TIFF of so many directories."""
    data = bytearray(tiff())
    for _ in range(count - 1):
        place = len(data)
        data[place - 4 :] = place.to_bytes(4, "little")
        data += directory((256, 4, 1, 8))
    return bytes(data)


def claim(data, marker, height, width):
    """Makes a JPEG say that it is of another size."""
    place = data.index(bytes([0xFF, marker])) + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def progressive(scans):
    """A progressive JPEG with its last scan so many times more."""
    data = save("jpeg", progressive=True)
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[start:end] * scans + data[end:]


def webp(*chunks):
    data = save("webp", lossless=True)
    body = (
        b"WEBPVP8X" + struct.pack("<I", 10) + bytes([8, 0, 0, 0]) + bytes([63, 0, 0]) * 2 + data[12:] + b"".join(chunks)
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp(width, height, compression=1, body=b""):
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, 0, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(body), 0, 0, 1078) + header + bytes(1024) + body


PNG, JPEG = save("png"), save("jpeg")
REFUSED = {
    "png chunks": (with_chunks(PNG, chunk(b"teSt") * 600_000), TOO_LARGE, "has more than 20,000 chunks"),
    "png chunks behind": (PNG[:-12] + chunk(b"teSt") * 30_000 + PNG[-12:], TOO_LARGE, "has more than 20,000 chunks"),
    "png rows": (PNG[:16] + struct.pack(">II", 1, 200_000) + PNG[24:], TOO_LARGE, "at most 100,000 a side"),
    "png end with content": (PNG[:-12] + chunk(b"IEND", b"x"), ValueError, "is cut short or damaged"),
    "png frames": (with_chunks(PNG, chunk(b"fdAT")), ValueError, "has more than one image"),
    "jpeg padding": (with_segments(JPEG, b"\xff" * 4_000_000), TOO_LARGE, "has more than 10,000 segments or bytes"),
    "jpeg segments": (with_segments(JPEG, segment(0xE5) * 1_000_000), TOO_LARGE, "has more than 10,000 segments"),
    "jpeg scans": (progressive(5_000), TOO_LARGE, "has more than 100 scans"),
    "jpeg scans behind padding": (
        JPEG[:-2] + b"\xff\xff\xda\0\x0c" * 200 + JPEG[-2:],
        TOO_LARGE,
        "has more than 100 scans",
    ),
    "jpeg scans behind an end in a comment": (
        JPEG[:-2] + segment(0xFE, b"\xff\xd9") + b"\xff\xda\0\x0c" * 200 + JPEG[-2:],
        TOO_LARGE,
        "has more than 100 scans",
    ),
    "jpeg segments between scans": (
        JPEG[:-2] + segment(0xFE) * 20_000 + JPEG[-2:],
        TOO_LARGE,
        "has more than 10,000 segments",
    ),
    "jpeg scans of many pixels": (
        claim(progressive(60), 0xC2, 8_000, 8_000) + bytes(64_000),
        TOO_LARGE,
        "has more than 20 scans",
    ),
    "jpeg claims": (claim(JPEG, 0xC0, 20_000, 20_000), ValueError, "is cut short or damaged"),
    "tiff loop": (tiff(loops=True), ValueError, "is cut short or damaged"),
    "tiff images": (chained(3), ValueError, "has 3 images in one TIFF file"),
    "tiff directories": (chained(40_000), ValueError, "has more than 1,000 images in one TIFF file"),
    "tiff tags": (tiff(*((40_000 + place, 4, 1, 0) for place in range(500))), TOO_LARGE, "has 509 tags, more than 500"),
    "tiff shared values": (
        tiff(*((40_000 + place, 1, 800_000, 8) for place in range(400)), body=bytes(800_000)),
        ValueError,
        "is cut short or damaged",
    ),
    "tiff strips": (
        tiff(width=1, height=90_000, strips=90_000, body=bytes(800_000)),
        TOO_LARGE,
        "has more than 40,000 strips",
    ),
    "tiff claims": (tiff(width=9_000, height=9_000)[:100_000], ValueError, "is cut short or damaged"),
    "tiff of nothing": (b"II*\0\x08\0\0\0" + b"\xff" * 4_000_000, TOO_LARGE, "has 65,535 tags"),
    "tiff to the end": (b"MM\0*\xff\xff\xff\xff" + bytes(100), ValueError, "is cut short or damaged"),
    "webp chunks": (webp(b"abcd\0\0\0\0" * 500_000), TOO_LARGE, "has more than 1,000 chunks"),
    "webp frames": (webp(b"ANMF\0\0\0\0" * 3_000), ValueError, "has 3000 images in one WEBP file"),
    "bmp runs": (bmp(2_000, 1_000, body=b"\0\2\0\0" * 1_000_000), TOO_LARGE, "run-length encoded BMP of more than"),
    "bmp claims": (bmp(12_000, 12_000, 0), ValueError, "is cut short or damaged"),
    "bmp runs claim": (bmp(12_000, 12_000), ValueError, "is cut short or damaged"),
    "bmp of no pixels": (bmp(0, 0), ValueError, "is cut short or damaged"),
}


@pytest.fixture
def no_decoder(monkeypatch):
    """Refused means: before any decoder sees the file."""
    for module, name in (
        (images.Image, "open"),
        (images.cv2, "imdecode"),
        (images.kornia_rs.io, "decode_image_png_u8"),
    ):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("was decoded"))


@pytest.mark.parametrize("name", REFUSED)
def test_a_costly_file_is_refused_before_it_is_decoded(name, no_decoder):
    data, kind, reason = REFUSED[name]
    with pytest.raises(kind, match=reason) as error:
        images.decode_file(data)
    assert "\n" not in str(error.value) and len(str(error.value)) < 150


TAKEN = {
    "png texts": with_chunks(PNG, chunk(b"zTXt", b"a\0\0" + NOISE) * 2_000),
    "png profile": with_chunks(PNG, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))),
    "png place of tags": with_chunks(PNG, chunk(b"eXIf", tags(3_000, 100_000))),
    "jpeg tags": with_segments(JPEG, segment(0xE1, b"Exif\0\0" + tags(3_000, 3_000)[:65_000]) * 20),
    "jpeg resources": with_segments(JPEG, segment(0xED, b"Photoshop 3.0\0" + b"8BIM" + bytes(8)) * 4_000),
    "jpeg tables": with_segments(JPEG, segment(0xDB, (b"\0" + b"\1" * 64) * 1_000) * 20),
    "jpeg images": with_segments(JPEG, segment(0xE2, b"MPF\0" + tags(5_000, 0))),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_decoder_need_not_see_costs_nothing(name, monkeypatch):
    """Pillow would parse all of this; it is not asked, and no other decoder gets a PNG's texts and profiles."""
    monkeypatch.setattr(images.Image, "open", lambda *_, **__: pytest.fail("was asked"))
    kind = PNG if name.startswith("png") else JPEG
    assert np.array_equal(images.decode_file(TAKEN[name]), images.decode_file(kind))
    assert images.read_upright_size(TAKEN[name]) == (64, 64)


@pytest.mark.parametrize("mode", ["P", "L", "RGBA", "LA", "1"])
def test_decoders_see_no_texts_of_a_png(mode, monkeypatch):
    plain = save("png", Image.fromarray(PIXELS).convert(mode))
    seen = []
    decode = images.cv2.imdecode
    monkeypatch.setattr(images.cv2, "imdecode", lambda data, flags: seen.append(data) or decode(data, flags))
    data = with_chunks(plain, chunk(b"zTXt", b"a\0\0" + NOISE))
    assert np.array_equal(images.decode_file(data), images.decode_file(plain))
    assert all(b"zTXt" not in bytes(one) for one in seen)
    if mode == "P":
        assert np.array_equal(masks.decode_mask(data), masks.decode_mask(plain))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1"])
@pytest.mark.parametrize("end", [b"", b"x" * 12, chunk(b"tEXt", b"a\0" + image_headers.PNG_END), chunk(b"IEND", b"x")])
def test_a_png_without_its_end_is_refused(mode, end):
    data = save("png", Image.fromarray(PIXELS).convert(mode))[:-12] + end
    for decode in (images.decode_file, masks.decode_mask):
        with pytest.raises(ValueError, match=r"is cut short or damaged|a mask must be"):
            decode(data)


def test_a_tiff_is_decoded_without_the_tags_that_say_how_it_was_made():
    data = tiff((34665, 5, 90_000, 72), (40_000, 2, 5_000, 72), body=bytes(720_000))
    assert images.decode_file(data).shape == (8, 8, 3)
    assert struct.pack("<HH", 34665, 5) not in image_containers.read_head(data).content[-114:]  # nine entries
