"""Chromium with the page of an export, for the test files that take the fixture `page` or `browser`."""

import pytest
from helper_web import CHROMIUM, find_missing, opened, served, write_page

# No name leads anywhere, and a camera is there that shows a test image.
WORDS = [
    "--no-sandbox",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@pytest.fixture(scope="module")
def runner():
    if missing := find_missing():
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as runner:
        yield runner


@pytest.fixture(scope="module")
def browser(runner):
    browser = runner.chromium.launch(executable_path=CHROMIUM, args=WORDS)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def export(runner, tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("page") / "export")


@pytest.fixture(scope="module")
def segment(export):
    """What `predict` does to an image by ONNX Runtime."""
    from tfseg.inference.predictor import load_segmenter

    return load_segmenter(export, runtime="onnxruntime")[1]


@pytest.fixture(scope="module")
def address(export):
    with served(export / "web") as address:
        yield address


@pytest.fixture(scope="module")
def one_page(browser, address):
    with opened(browser, address) as page:
        yield page


@pytest.fixture
def page(one_page):
    """The page, which all tests share that leave it able to work: WebAssembly takes seconds to load."""
    yield one_page
    assert one_page.errors == []
