"""The exported page in Chromium, with no way to any other server than the one that serves its folder."""

import functools
import http.server
import io
import shutil
import threading
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
def browser():
    with playwright.sync_playwright() as runner:
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


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        yield page
        assert page.errors == []


def drop(page, name, content):
    """Drops a file on the page."""
    page.evaluate(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(bytes)], name));
            document.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, cancelable: true, bubbles: true}));
        }""",
        [name, [*content]],
    )


def download(page, button):
    with page.expect_download() as found:
        page.get_by_role("button", name=button).click()
    return found.value.suggested_filename, Image.open(found.value.path())


def mask_of(page, name, content):
    """Drops a file, and downloads its class ids."""
    drop(page, name, content)
    page.get_by_text(f"{name}, ").wait_for()
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
