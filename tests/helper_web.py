"""The page of an export in Chromium: an untrained network with its page, a server, and what a user does."""

import base64
import functools
import http.server
import importlib.util
import io
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from tfseg.exporters.web_runtime import VENDORED, find_runtime
from tfseg.inference.reading import decode_image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAMES = ["void", "road", "sky <b>", "car", "tree"]
COLORS = [[0, 0, 0], [128, 64, 128], [70, 130, 180], [0, 0, 142], [107, 142, 35]]
SIZES = [(40, 56), (32, 48)]
PHONE = {"width": 360, "height": 740}


def find_missing():
    """Words what these tests need and this environment lacks; None: nothing."""
    needed = {"onnx", "tf2onnx", "onnxruntime", "playwright"}
    if missing := sorted(name for name in needed if importlib.util.find_spec(name) is None):
        return f"needs {', '.join(missing)}: make test-export"
    if CHROMIUM is None:
        return "needs Chromium, such as of apt-get install chromium"
    if not VENDORED.is_dir():
        return "needs ONNX Runtime Web: make web-runtime"
    import keras

    return None if keras.backend.backend() == "tensorflow" else "ONNX files are made of TensorFlow's graphs"


def write_page(directory, sizes=SIZES, classes=5, decoder="unet"):
    """Exports an untrained network, of which each class is the likeliest somewhere, with its page."""
    import keras

    from tfseg.exporters import onnx, web
    from tfseg.exporters.description import describe_model, write_labels
    from tfseg.exporters.saved_model import Traced
    from tfseg.models.segmenter import build_network

    keras.utils.set_random_seed(0)
    network = build_network(classes, "tiny", None, decoder, (8, 8, 8, 8, 8) if decoder == "unet" else None)
    head = network.layers[-1]
    while not head.get_weights():
        head = network.layers[network.layers.index(head) - 1]
    head.set_weights([40 * weights for weights in head.get_weights()])
    directory.mkdir()
    onnx.write(Traced(network, sizes), directory)
    write_labels(describe_model(NAMES[:classes], COLORS[:classes], sizes), directory)
    web.write(find_runtime(), directory)
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


@contextmanager
def opened(browser, address, script="", **options):
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
        context.add_init_script(script)
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
    """Saves what a button gives: its name, and the image in it."""
    page.wait_for_timeout(200)  # Chromium ignores what a page saves beyond ten files in a moment
    with page.expect_download() as found:
        page.get_by_role("button", name=button).click()
    return found.value.suggested_filename, Image.open(io.BytesIO(Path(found.value.path()).read_bytes()))


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


PIXELS = smooth(60, 80)
