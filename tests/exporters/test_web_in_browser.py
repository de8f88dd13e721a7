"""The exported page in Chromium, with no way to any other server than the one that serves its folder."""

import re
import shutil

import numpy as np
import pytest
from helper_files import file_of
from helper_web import (
    CHROMIUM,
    COLORS,
    NAMES,
    PHONE,
    PIXELS,
    agreement,
    download,
    drawn,
    drop,
    mask_of,
    opened,
    served,
    smooth,
    write_page,
)

from tfseg.exporters.web_runtime import VERSION

pytestmark = pytest.mark.long


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
    slider = page.get_by_role("slider", name="Opacity")
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
    page.get_by_label("Which camera").select_option("front camera")
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
    cores = "Object.defineProperty(navigator, 'hardwareConcurrency', {value: 6})"
    with served(export / "web", **isolated) as address, opened(browser, address, script=cores) as page:
        assert page.evaluate("crossOriginIsolated")
        assert f"ONNX Runtime Web {VERSION}, 3 threads." in page.locator("#runtime").text_content()
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


def luminance(color):
    """Relative luminance of a CSS colour, as of WCAG 2."""
    values = [int(value) / 255 for value in re.findall(r"\d+", color)[:3]]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(page, selector):
    """Of the text of an element with what lies behind it."""
    color, ground = page.locator(selector).first.evaluate(
        """(element) => {
            const own = getComputedStyle(element);
            const isClear = own.backgroundColor.endsWith(", 0)");
            return [own.color, isClear ? getComputedStyle(document.body).backgroundColor : own.backgroundColor];
        }"""
    )
    low, high = sorted((luminance(color), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_width_of_a_phone_and_contrast(browser, address, scheme):
    with opened(browser, address, viewport=PHONE, color_scheme=scheme, is_mobile=True, has_touch=True) as page:
        drop(page, "wide.png", file_of(smooth(300, 1200)))
        page.locator("#status").get_by_text("wide.png, ").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        image, mask = (page.locator(name).bounding_box() for name in ("#image", "#mask"))
        assert image == mask and image["width"] <= PHONE["width"]
        assert abs(image["width"] / image["height"] - 4) < 0.1
        for selector in ("body", "footer", "#alert", "#camera", "#facing", "a", ".absent", "#drop span"):
            assert contrast(page, selector) >= 4.5, selector


def test_a_model_that_sees_images_at_their_own_size_and_of_one_class(browser, tmp_path):
    with (
        served(write_page(tmp_path / "export", sizes=(), classes=1) / "web") as address,
        opened(browser, address) as page,
    ):
        assert mask_of(page, "street.png", file_of(PIXELS)).max() == 0
        drop(page, "large.png", file_of(np.zeros((1500, 1500, 3), np.uint8)))
        page.locator("#alert").get_by_text(
            "large.png has 1500x1500 pixels, all of which this model sees at once"
        ).wait_for()


@pytest.mark.parametrize(
    "name, words",
    [
        ("model.onnx", "model.onnx: the server answers 404"),
        ("labels.json", "labels.json: the server answers 404"),
        ("runtime/ort.wasm.min.js", "its program could not be loaded"),
        ("runtime/ort-wasm-simd-threaded.wasm", "no available backend found"),
    ],
)
def test_what_the_server_lacks_is_named(browser, export, tmp_path, name, words):
    folder = tmp_path / "web"
    shutil.copytree(export / "web", folder)
    (folder / name).unlink()
    with served(folder) as address, browser.new_page() as page:
        page.goto(address)
        page.get_by_text(f"The page cannot work: {words}").wait_for()
        assert page.get_by_role("button", name="Use the camera").is_disabled()
