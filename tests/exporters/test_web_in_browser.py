"""The exported page in Chromium, with no way to any other server than the one that serves its folder."""

import base64
import functools
import http.server
import io
import re
import shutil
import threading
import zlib
from contextlib import contextmanager

import keras
import numpy as np
import pytest
from helper_files import file_of
from PIL import Image

from tfseg.exporters import onnx as onnx_export
from tfseg.exporters import web
from tfseg.exporters.description import describe_model, write_labels
from tfseg.exporters.web_runtime import PACKAGE, TOOL, VENDORED
from tfseg.inference.predictor import load_segmenter
from tfseg.inference.reading import decode_image
from tfseg.io import resizing
from tfseg.models.segmenter import build_network

for package in ("onnx", "tf2onnx", "onnxruntime"):
    pytest.importorskip(package, reason="pip install 'tf-segmentation[export]'")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test-export")
if keras.backend.backend() != "tensorflow":
    pytest.skip("ONNX files are made of TensorFlow's graphs", allow_module_level=True)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, such as of apt-get install chromium"),
    pytest.mark.skipif(not VENDORED.is_dir(), reason=f"needs {PACKAGE}: python {TOOL}"),
]

NAMES = ["void", "road", "sky <b>", "car", "tree"]
COLORS = [[0, 0, 0], [128, 64, 128], [70, 130, 180], [0, 0, 142], [107, 142, 35]]
SIZES = [(40, 56), (32, 48)]
PHONE = {"width": 360, "height": 740}
# No name leads anywhere, and a camera is there that shows a test image.
WORDS = [
    "--no-sandbox",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def write_page(directory, sizes=SIZES, classes=5):
    """Exports an untrained network, of which each class is the likeliest somewhere, with its page."""
    from tfseg.exporters.saved_model import Traced

    keras.utils.set_random_seed(0)
    network = build_network(classes, "tiny", None, decoder_channels=(8, 8, 8, 8, 8))
    head = network.layers[-1]
    while not head.get_weights():
        head = network.layers[network.layers.index(head) - 1]
    head.set_weights([40 * weights for weights in head.get_weights()])
    directory.mkdir()
    onnx_export.write(Traced(network, sizes), directory)
    write_labels(describe_model(NAMES[:classes], COLORS[:classes], sizes), directory)
    web.write(web.load_runtime(), directory)
    return directory


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder as `python -m http.server` does, with further headers."""

    headers_sent: dict = {}  # noqa: RUF012

    def end_headers(self):
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def served(folder, **headers):
    """Serves a folder; gives its address."""
    handler = type("Headed", (Handler,), {"headers_sent": {name.replace("_", "-"): headers[name] for name in headers}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("page") / "export")


@pytest.fixture(scope="module")
def segment(export):
    """What `predict` does to an image by ONNX Runtime."""
    return load_segmenter(export, runtime="onnxruntime")[1]


@pytest.fixture(scope="module")
def runner():
    with playwright.sync_playwright() as runner:
        yield runner


@pytest.fixture(scope="module")
def browser(runner):
    browser = runner.chromium.launch(executable_path=CHROMIUM, args=WORDS)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def address(export):
    with served(export / "web") as address:
        yield address


@contextmanager
def opened(browser, address, **options):
    """Opens the page, which may ask its own server alone, and checks that it asked no other one."""
    with browser.new_context(**options) as context:
        asked, elsewhere = [], []

        def look_at(route):
            asked.append(route.request.url)
            if route.request.url.startswith(address):
                return route.continue_()
            elsewhere.append(route.request.url)
            return route.abort()

        context.route("**/*", look_at)
        page = context.new_page()
        page.set_default_timeout(60_000)
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.errors = errors
        page.goto(address)
        page.get_by_text("Ready.").wait_for()
        yield page
        assert asked and elsewhere == []


@pytest.fixture(scope="module")
def one_page(browser, address):
    with opened(browser, address) as page:
        yield page


@pytest.fixture
def page(one_page):
    """The page, which all tests share that leave it able to work: WebAssembly takes seconds to load."""
    yield one_page
    assert one_page.errors == []


def drop(page, name, content):
    """Drops a file on the page."""
    page.evaluate(
        """([name, text]) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], name));
            document.dispatchEvent(new DragEvent("drop", {dataTransfer, cancelable: true, bubbles: true}));
        }""",
        [name, base64.b64encode(content).decode()],
    )


def drawn(page, canvas):
    """What a canvas holds, uint8 (H, W, 3)."""
    text = page.locator(canvas).evaluate("canvas => canvas.toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2]))).convert("RGB"))


def download(page, button):
    with page.expect_download() as found:
        page.get_by_role("button", name=button).click()
    return found.value.suggested_filename, Image.open(found.value.path())


def mask_of(page, name, content):
    """Drops a file, and downloads its class ids."""
    drop(page, name, content)
    page.locator("#status").get_by_text(f"{name}, ").wait_for()
    saved, image = download(page, "Download class ids")
    assert (saved, image.mode) == (f"{name.partition('.')[0]}_classes.png", "L")
    return np.asarray(image)


def smooth(height, width, seed=0):
    """An image like a photo: colours that change slowly, and some noise; uint8 (height, width, 3)."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height), Image.BICUBIC)
    return (np.asarray(coarse, np.int16) + random.integers(-6, 7, (height, width, 3))).clip(0, 255).astype(np.uint8)


def encode(pixels, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def agreement(page, segment, name, content):
    """Share of the pixels that have the class that Python gives them."""
    mask, expected = mask_of(page, name, content), segment(decode_image(content, name))
    assert mask.shape == expected.shape
    return (mask == expected).mean(), expected


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


PIXELS = smooth(60, 80)


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


def test_legend_colours_opacity_and_names(page, segment):
    drop(page, "my street.v2.png", file_of(PIXELS))
    page.locator("#status").get_by_text("my street.v2.png, 60x80 pixels; the network took ").wait_for()
    ids = segment(PIXELS)
    saved, image = download(page, "Download colours")
    assert (saved, image.mode) == ("my street.v2_colors.png", "P")
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.array(COLORS, np.uint8)[ids])
    rows = page.locator("#legend tbody tr").all_inner_texts()
    counts = np.bincount(ids.ravel(), minlength=5) / ids.size
    for name, share, row in zip(NAMES, counts, rows, strict=True):
        assert row.split("\t") == [name, "under 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"]
    swatches = page.evaluate("[...document.querySelectorAll('.swatch')].map(each => each.style.backgroundColor)")
    assert swatches == [f"rgb({', '.join(map(str, color))})" for color in COLORS]
    likeliest = NAMES[counts.argmax()]
    assert f"my street.v2.png with its classes: {likeliest} " in page.locator("#mask").get_attribute("aria-label")
    slider = page.get_by_role("slider", name="Opacity of the classes")
    slider.press("End")
    assert page.locator("#mask").evaluate("mask => getComputedStyle(mask).opacity") == "1"
    np.testing.assert_array_equal(drawn(page, "#mask"), np.array(COLORS)[ids])
    np.testing.assert_array_equal(drawn(page, "#image"), PIXELS)
    slider.press("Home")
    assert page.locator("#mask").evaluate("mask => getComputedStyle(mask).opacity") == "0"


def test_a_file_is_chosen_or_pasted(page):
    content = {"name": "chosen.png", "mimeType": "image/png", "buffer": file_of(PIXELS)}
    page.get_by_label("Drop an image here, paste it, or choose a file").set_input_files(content)
    page.locator("#status").get_by_text("chosen.png, 60x80 pixels").wait_for()
    page.evaluate(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(bytes)], "pasted.png"));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
        }""",
        [*file_of(PIXELS[:30])],
    )
    page.locator("#status").get_by_text("pasted.png, 30x80 pixels").wait_for()


def test_of_images_in_a_row_the_last_one_is_shown(page, segment):
    contents = [file_of(smooth(20 + index, 30, index)) for index in range(8)]
    for index, content in enumerate(contents):
        drop(page, f"image{index}.png", content)
    page.locator("#status").get_by_text("image7.png, 27x30 pixels").wait_for()
    page.wait_for_timeout(500)
    assert page.locator("#status").text_content().startswith("image7.png")
    _, image = download(page, "Download class ids")
    assert (np.asarray(image) == segment(smooth(27, 30, 7))).mean() >= 0.999


def test_several_files_or_none_are_refused(page):
    for count, words in ((0, "There was no file in it"), (2, "One image at a time")):
        page.evaluate(
            """(count) => {
                const dataTransfer = new DataTransfer();
                for (let index = 0; index < count; index++) dataTransfer.items.add(new File([], `${index}.png`));
                document.dispatchEvent(new DragEvent("drop", {dataTransfer, cancelable: true}));
            }""",
            count,
        )
        page.locator("#alert").get_by_text(words).wait_for()


def test_the_camera_is_segmented_until_it_is_stopped(page, segment):
    page.get_by_role("button", name="Use the camera").click()
    page.locator("#status").get_by_text("camera, ").wait_for()
    first = page.locator("#status").text_content()
    page.wait_for_function("text => document.getElementById('status').textContent !== text", arg=first)
    page.get_by_label("Camera", exact=True).select_option("at the front")
    page.locator("#status").get_by_text("camera, ").wait_for()
    page.get_by_role("button", name="Stop the camera").click()
    page.wait_for_timeout(500)
    assert page.get_by_role("button", name="Stop the camera").is_hidden()
    assert page.evaluate("document.activeElement.id") == "camera"
    saved, image = download(page, "Download class ids")
    frame = drawn(page, "#image")
    assert saved == "camera_classes.png" and frame.std() > 10
    assert (np.asarray(image) == segment(frame)).mean() >= 0.999


def test_a_file_takes_the_place_of_the_camera(page):
    page.get_by_role("button", name="Use the camera").click()
    page.locator("#status").get_by_text("camera, ").wait_for()
    drop(page, "street.png", file_of(PIXELS))
    page.locator("#status").get_by_text("street.png, 60x80 pixels").wait_for()
    page.wait_for_timeout(500)
    assert page.locator("#status").text_content().startswith("street.png")
    assert page.get_by_role("button", name="Stop the camera").is_hidden()


def test_other_servers_cannot_be_asked_by_page_or_worker(browser, address):
    with opened(browser, address) as page:
        [worker] = page.workers
        for place in (page, worker):
            refused = "fetch('http://127.0.0.1:9/').then(() => 'answered', (error) => String(error))"
            assert "Failed to fetch" in place.evaluate(refused)
        assert page.errors and all("Content Security Policy" in error for error in page.errors)
        page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/a.png'}))")
        page.wait_for_timeout(200)
        assert len(page.errors) == 3


def test_several_threads_where_the_page_is_isolated(browser, export, segment):
    isolated = {"Cross_Origin_Opener_Policy": "same-origin", "Cross_Origin_Embedder_Policy": "require-corp"}
    with served(export / "web", **isolated) as address, opened(browser, address) as page:
        assert page.evaluate("crossOriginIsolated")
        threads = min(page.evaluate("navigator.hardwareConcurrency"), 8)
        assert f", {threads} thread" in page.locator("#runtime").text_content()
        assert agreement(page, segment, "street.png", file_of(PIXELS))[0] >= 0.999
        assert page.errors == []


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--use-fake-device-for-media-stream", "--deny-permission-prompts"], "the browser was not allowed to use it"),
        (["--use-fake-device-for-media-stream=device-count=0", "--use-fake-ui-for-media-stream"], "there is none"),
    ],
)
def test_a_camera_that_cannot_be_used_is_named(runner, address, words, reason):
    browser = runner.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *words])
    with opened(browser, address) as page:
        page.get_by_role("button", name="Use the camera").click()
        page.locator("#alert").get_by_text(f"The camera cannot be used: {reason}").wait_for()
        assert page.get_by_role("button", name="Use the camera").is_enabled()
        assert page.locator("#status").text_content() == ""
    browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_width_of_a_phone_and_contrast(browser, address, scheme):
    with opened(browser, address, viewport=PHONE, color_scheme=scheme, is_mobile=True, has_touch=True) as page:
        drop(page, "wide.png", file_of(smooth(300, 1200)))
        page.locator("#status").get_by_text("wide.png, ").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        image, mask = (page.locator(name).bounding_box() for name in ("#image", "#mask"))
        assert image == mask and image["width"] <= PHONE["width"]
        assert abs(image["width"] / image["height"] - 4) < 0.1


def test_a_model_that_sees_images_at_their_own_size_and_of_one_class(browser, tmp_path):
    with served(write_page(tmp_path / "export", sizes=(), classes=1) / "web") as address, opened(browser, address) as page:
        assert mask_of(page, "street.png", file_of(PIXELS)).max() == 0
        drop(page, "large.png", file_of(np.zeros((1500, 1500, 3), np.uint8)))
        page.locator("#alert").get_by_text("large.png has 1500x1500 pixels, all of which this model sees at once").wait_for()


def test_what_the_server_lacks_is_named(browser, export, tmp_path):
    folder = tmp_path / "web"
    shutil.copytree(export / "web", folder)
    (folder / "model.onnx").unlink()
    with served(folder) as address, browser.new_page() as page:
        page.goto(address)
        page.get_by_text("The page cannot work: model.onnx: the server answers 404.").wait_for()
        assert page.get_by_role("button", name="Use the camera").is_disabled()
