import io
import struct
import time
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("werkzeug")

from benchmarks import attacks
from tfseg.inference.reading import read_image
from tfseg.serving.uploads import Limits, Refused, image_file, read_body, read_upload

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def encode(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format=format, **options)
    return file.getvalue()


def png_header(width, height):
    """A PNG of nothing but its header, and an end."""

    def chunk(name, data=b""):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND")


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    return encode(Image.fromarray(PIXELS), "JPEG", exif=exif)


RGB = Image.fromarray(PIXELS)
GOOD = {
    "png": encode(RGB),
    "jpeg": encode(RGB, "JPEG"),
    "progressive": encode(RGB, "JPEG", progressive=True),
    "grey": encode(RGB.convert("L")),
    "grey jpeg": encode(RGB.convert("L"), "JPEG"),
    "one bit": encode(RGB.convert("1")),
    "palette": encode(RGB.quantize(7)),
    "rgba": encode(RGB.convert("RGBA")),
    "grey and alpha": encode(RGB.convert("LA")),
    "bmp": encode(RGB, "BMP"),
    "tiff": encode(RGB, "TIFF"),
    "webp": encode(RGB, "WEBP"),
    "turned": turned(),
    "one pixel": encode(RGB.crop((0, 0, 1, 1))),
}
BAD = {
    "text": (b"hello", 415),
    "gif": (encode(RGB, "GIF"), 415),
    "cut jpeg": (GOOD["jpeg"][:-40], 400),
    "cut png": (GOOD["png"][:-40], 400),
    "damaged png": (GOOD["png"].replace(b"IDAT", b"IDAX"), 400),
    "magic alone": (b"\x89PNG\r\n\x1a\n", 400),
    "cmyk": (encode(RGB.convert("CMYK"), "JPEG"), 400),
    "transparent": (encode(RGB, transparency=tuple(map(int, PIXELS[0, 0]))), 400),
    "16 bits": (encode(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)), 400),
    "many pixels": (png_header(300, 300), 413),
    "bomb": (png_header(20000, 20000), 413),
    "long side": (png_header(1, 201), 413),
    "many scans": (GOOD["jpeg"][:-2] + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" * 100 + b"\xff\xd9", 413),
}
LIMITS = Limits(body=1000, pixels=150 * 200, side=200)


@pytest.mark.parametrize("name", GOOD)
def test_images_are_read_as_by_the_command(name, tmp_path):
    (tmp_path / "file").write_bytes(GOOD[name])
    read = read_upload(GOOD[name], LIMITS)
    np.testing.assert_array_equal(read, read_image(tmp_path / "file"))
    assert read.shape == {"turned": (9, 6, 3), "one pixel": (1, 1, 3)}.get(name, (6, 9, 3))


@pytest.mark.parametrize("name", BAD)
def test_others_are_refused(name):
    content, status = BAD[name]
    with pytest.raises(Refused) as refused:
        read_upload(content, LIMITS)
    assert refused.value.status == status
    assert "object at" not in refused.value.reason


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "TIFF"])
def test_other_formats_are_judged_by_their_header_as_well(kind, monkeypatch):
    large = encode(Image.new("RGB", (190, 170)), kind)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    with pytest.raises(Refused, match=r"the image is 170x190; at most 30,000 pixels"):
        read_upload(large, LIMITS)


def test_nothing_is_decoded_that_is_too_large(monkeypatch):
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("decoded"))
    for name in ("many pixels", "bomb", "long side", "many scans"):
        with pytest.raises(Refused):
            read_upload(BAD[name][0], LIMITS)
    with pytest.raises(pytest.fail.Exception, match="decoded"):
        read_upload(GOOD["jpeg"], LIMITS)


def body_of(request):
    return request.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("attack", [attacks.empty_chunks, attacks.rationals, attacks.padding])
def test_small_files_cost_little(attack):
    """Each held Python's lock for seconds, for whoever reads all before the pixels."""
    content = body_of(attack())
    start = time.process_time()
    with suppress(Refused):
        read_upload(content, Limits())
    assert time.process_time() - start < 1


def test_a_png_without_an_end_is_refused():
    for name in ("png", "grey", "palette", "rgba"):
        for left_out in (12, 8, 4):
            with pytest.raises(Refused, match="cut short or damaged") as refused:
                read_upload(GOOD[name][:-left_out], LIMITS)
            assert refused.value.status == 400


def form(*fields):
    """multipart/form-data of (field, filename or None, content)."""
    parts = []
    for field, filename, content in fields:
        name = f'name="{field}"' + (f'; filename="{filename}"' if filename else "")
        parts.append(b"--cut\r\nContent-Disposition: form-data; " + name.encode() + b"\r\n\r\n" + content + b"\r\n")
    return b"".join([*parts, b"--cut--\r\n"])


def test_the_file_of_a_form():
    body = form(("note", None, b"x"), ("image", "../../a.png", b"bytes"))
    assert image_file(body, "multipart/form-data; boundary=cut") == b"bytes"


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


FILES = {
    "line breaks": b"\r\n" * 2**20,
    "line feeds": b"\n" * 2**20,
    "carriage returns": b"\r" * 2**20,
    "half breaks": b"\r\r\n\n" * 2**18,
    "almost ends": b"\r\n--cu" * 2**18,
    "other parts": b"\r\n--cutter\r\n\r\n" * 2**16,
    "ends without a break": b"x" + b"--cut--" * 2**18,
    "noise with breaks": bytes(b"\r\n-ut"[byte % 5] for byte in noise(2**18)),
    "as large as a chunk": noise(2**16),
    "empty": b"",
    **{f"noise {seed}": noise(250_000 + 31 * seed, seed) for seed in range(24)},
    "noise of 2 MB": noise(2_000_000),
    "noise of 8 MB": noise(2**23),
}


@pytest.mark.parametrize("name", FILES)
def test_the_file_of_a_form_is_what_was_sent(name):
    for before in (b"", b"\r\n", b"\r\n" * 9):
        body = before + form(("note", None, b"x"), ("image", "a.png", FILES[name]), ("more", None, b"x"))
        assert image_file(body, "multipart/form-data; boundary=cut") == FILES[name]


def test_line_breaks_of_one_byte_are_taken():
    body = form(("image", "a.png", b"bytes")).replace(b"\r\n", b"\n")
    assert image_file(body, "multipart/form-data; boundary=cut") == b"bytes"


def test_the_memory_of_a_form_is_bounded():
    """Twenty files, a megabyte of headers, of what comes before and after: some copies of the body, and no more."""
    fills = {"files": form(*[("x", "a", b"\r\n" * 100_000)] * 19, ("image", "a", b"y"))}
    fills["end"] = form(("image", "a", b"y")) + b"\n" * 2**22
    fills["start"] = b"\n" * 2**22 + form(("image", "a", b"y"))
    fills["headers"] = form(("image", "a", b"y")).replace(b"\r\n\r\n", b"\na:b" * 2**20 + b"\r\n\r\n")
    for body in fills.values():
        tracemalloc.start()
        try:
            with suppress(Refused):
                image_file(body, "multipart/form-data; boundary=cut")
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert most < 16 * 2**20


def test_a_large_file_of_a_form_stays_in_memory(monkeypatch):
    for name in ("TemporaryFile", "SpooledTemporaryFile"):
        monkeypatch.setattr(f"tempfile.{name}", lambda *_, **__: pytest.fail("a file on disk"))
    assert image_file(form(("image", "a.png", b"x" * 2**20)), "multipart/form-data; boundary=cut") == b"x" * 2**20


@pytest.mark.parametrize("kind", ["", "image/png", "application/x-www-form-urlencoded", "multipart/mixed; boundary=a"])
def test_any_other_body_is_the_file(kind):
    assert image_file(b"bytes", kind) == b"bytes"


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason"),
    [
        (form(("photo", "a.png", b"x")), "; boundary=cut", 400, "field 'image', got 0; fields: photo"),
        (form(("image", None, b"x")), "; boundary=cut", 400, "got 0; fields: image"),
        (form(*[("image", "a.png", b"x")] * 2), "; boundary=cut", 400, "got 2"),
        (form(("a", None, b"x")).replace(b"name", b"nome"), "; boundary=cut", 400, "fields: None"),
        (b"garbage", "; boundary=cut", 400, "no whole multipart"),
        (form(("image", "a.png", b"x")).replace(b"a.png", b"caf\xe9"), "; boundary=cut", 400, "names .* are no UTF-8"),
        (form(("image", "a.png", b"x")), "", 400, "no whole multipart"),
        (form(("image", "a.png", b"x")), "; boundary=\xe4", 400, "no whole multipart"),
        (form(("image", "a.png", b"x"))[:-20], "; boundary=cut", 400, "no whole multipart"),
        (form(*[("a", None, b"x")] * 21), "; boundary=cut", 413, "the form has more than 20 parts$"),
        (form(("a", None, b"x" * 70_000)), "; boundary=cut", 413, "form has more than 65,536 bytes of text"),
        (form(*[("a", None, b"x" * 7_000)] * 10), "; boundary=cut", 413, "form has more than 65,536 bytes of text"),
        (form(("image", None, b"\xff" * 70_000)), "; boundary=cut", 413, "of text; a file .* image=@FILE"),
        (b"x" * 200_000 + form(("image", "a.png", b"x")), "; boundary=cut", 413, "65,536 bytes before a part"),
        (
            form(("image", "a.png", b"x")).replace(b"\r\n\r\n", b"\r\nX: y" * 40_000),
            "; boundary=cut",
            413,
            "before a p",
        ),
    ],
)
def test_bad_forms(body, kind, status, reason):
    with pytest.raises(Refused, match=reason) as refused:
        image_file(body, "multipart/form-data" + kind)
    assert refused.value.status == status


LATER = 1e12  # a deadline that never comes


@pytest.mark.parametrize(
    ("content", "declared", "deadline", "status", "reason"),
    [
        (b"", None, LATER, 400, "empty"),
        (b"", 0, LATER, 400, "empty"),
        (b"x" * 101, None, LATER, 413, "more than 100 bytes"),
        (b"", 101, LATER, 413, "more than 100 bytes"),
        (b"x" * 10, 11, LATER, 400, "ended after 10 of 11 bytes"),
        (b"x" * 10, None, 0, 408, "in time"),
    ],
)
def test_bad_bodies(content, declared, deadline, status, reason):
    with pytest.raises(Refused, match=reason) as refused:
        read_body(io.BytesIO(content).read, declared, 100, deadline)
    assert refused.value.status == status


@pytest.mark.parametrize("declared", [None, 100])
def test_a_whole_body(declared):
    assert read_body(io.BytesIO(b"x" * 100).read, declared, 100, LATER) == b"x" * 100


@pytest.mark.parametrize(("error", "status"), [(TimeoutError(), 408), (OSError("bad chunk"), 400), (ValueError(), 400)])
def test_what_the_server_raises(error, status):
    def read(size):
        raise error

    with pytest.raises(Refused) as refused:
        read_body(read, None, 100, LATER)
    assert refused.value.status == status and "bad chunk" not in refused.value.reason
