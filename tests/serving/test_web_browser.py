"""The page in Chromium, from the command to the pixels."""

import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from helper_files import bomb, file_of, save
from helper_models import MODEL_COLORS, write_model
from PIL import Image

from tfseg.visualization.overlay import blend

pytest.importorskip("streamlit", reason="needs Streamlit: make test-app")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test-app")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, such as of apt-get install chromium"),
]

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
CLASS_IDS = PIXELS[..., 0] // 64  # what the model of `write_model` answers
COLORS = np.array(MODEL_COLORS, np.uint8)
CHANGED = "old => document.querySelector('img[alt^=\"the camera\"]')?.getAttribute('src') !== old"
PHONE = {"width": 390, "height": 844}


def serve(*options):
    """Starts the command, and waits until the page answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tfseg.app", "--port", str(port), *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(240):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return process, f"http://127.0.0.1:{port}"
        assert process.poll() is None, "the command ended"
        time.sleep(0.5)
    process.kill()
    raise TimeoutError("the page did not come")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    write_model(folder / "city")
    write_model(folder / "town")
    save(folder / "samples" / "sample.png", np.zeros((8, 16, 3), np.uint8))
    return folder


@pytest.fixture(scope="module")
def runner():
    with playwright.sync_playwright() as runner:
        yield runner


@pytest.fixture(scope="module")
def browser(runner):
    browser = runner.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def address(folder):
    process, address = serve("--model", folder / "city")
    yield address
    process.terminate()
    assert process.wait(timeout=30) == 0


@pytest.fixture
def page(browser, address):
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address)
    page.get_by_role("heading", name="What is where").wait_for()
    yield page
    page.close()


def upload(page, name, content):
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})


def pixels_of(page, description):
    """The pixels of the image with this alternative text, as the browser decodes them: uint8 (H, W, 3)."""
    image = page.locator(f'img[alt*="{description}"]')
    image.wait_for()
    values, width = image.evaluate(
        """async (image) => {
            await image.decode();
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            return [[...context.getImageData(0, 0, canvas.width, canvas.height).data], canvas.width];
        }"""
    )
    return np.array(values, np.uint8).reshape(-1, width, 4)[..., :3]


def test_an_image_its_mask_and_overlay_to_the_pixel(page):
    upload(page, "street.png", file_of(PIXELS))
    assert np.array_equal(pixels_of(page, "the image street.png"), PIXELS)
    assert np.array_equal(pixels_of(page, "mask of"), COLORS[CLASS_IDS])
    assert np.array_equal(pixels_of(page, "at 50% opacity"), blend(PIXELS, CLASS_IDS, COLORS, 0.5))

    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    assert np.array_equal(pixels_of(page, "at 100% opacity"), COLORS[CLASS_IDS])

    for label, name, expected in (
        ("Class ids", "street_classes.png", CLASS_IDS),
        ("Overlay", "street_overlay.png", COLORS[CLASS_IDS]),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=label).click()
        assert download.value.suggested_filename == name
        assert np.array_equal(np.asarray(Image.open(download.value.path())), expected)


def test_nothing_is_asked_of_another_machine(page, address):
    upload(page, "street.png", file_of(PIXELS))
    pixels_of(page, "mask of")
    page.wait_for_load_state("networkidle")
    assert page.asked
    assert [url for url in page.asked if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "letter.png",
            b"a letter, not an image",
            "letter.png is no PNG, JPEG, BMP, TIFF or WebP image; choose one with 8 bits",
        ),
        ("bomb.png", bomb(60_000, 60_000), "bomb.png is too large for this page, which takes 50 million pixels"),
    ],
    ids=["letter", "bomb"],
)
def test_a_bad_file_is_reported_and_the_next_one_shown(page, name, content, words):
    upload(page, name, content)
    page.get_by_text(words).wait_for()
    assert page.locator("img[alt]").count() == 0
    assert page.get_by_text("Traceback").count() == 0
    upload(page, "street.png", file_of(PIXELS))
    assert np.array_equal(pixels_of(page, "mask of"), COLORS[CLASS_IDS])


def test_a_page_elsewhere_gets_no_answer(address):
    """A name of another machine that is made to lead here: what DNS rebinding does."""
    host, port = address.removeprefix("http://").split(":")
    answers = []
    for name in ("127.0.0.1", "elsewhere.test"):
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(
                f"GET /_stcore/stream HTTP/1.1\r\nHost: {name}:{port}\r\nOrigin: http://{name}:{port}\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            answers.append(client.recv(12).decode())
    assert answers == ["HTTP/1.1 101", "HTTP/1.1 403"]


def test_two_models_a_sample_and_the_width_of_a_phone(browser, folder):
    process, address = serve("--model", folder / "city", "--model", folder / "town", "--samples", folder / "samples")
    try:
        tops = {}
        for width in (1280, PHONE["width"]):
            page = browser.new_page(viewport=PHONE | {"width": width})
            page.set_default_timeout(60_000)
            page.goto(address)
            masks = page.locator('img[alt*="mask of"]')
            masks.nth(1).wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            boxes = [masks.nth(index).bounding_box() for index in range(2)]
            assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
            tops[width] = [box["y"] for box in boxes]
            page.close()
        assert tops[1280][0] == tops[1280][1]  # side by side
        assert tops[PHONE["width"]][0] < tops[PHONE["width"]][1]  # one after the other
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_the_camera_of_the_visitor(runner, address):
    """Chromium's camera for tests, whose image changes all the time."""
    options = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    browser = runner.chromium.launch(executable_path=CHROMIUM, args=options)
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    page.get_by_text("Live camera").click()
    page.get_by_role("button", name="Start the camera").click()
    shown = page.locator('img[alt^="the camera with the colours"]')
    shown.wait_for()
    for _ in range(3):  # one frame after the other
        page.wait_for_function(CHANGED, arg=shown.get_attribute("src"))
    page.get_by_role("button", name="Stop the camera").click()
    page.get_by_role("button", name="Start the camera").wait_for()
    page.get_by_text("Live camera").click()
    page.locator("input[type=file]").wait_for(state="attached")
    assert shown.count() == 0
    browser.close()


def test_a_visitor_without_a_camera(page):
    page.get_by_text("Live camera").click()
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("The browser gives no camera").wait_for()
