"""The page without a browser, as Streamlit's own AppTest runs it."""

import sys
from pathlib import Path

import pytest
from helper_files import BAD_FILES, file_of, image_of_reds, save
from helper_models import write_model

pytest.importorskip("streamlit", reason="needs Streamlit: make test-app")
import streamlit as st
from streamlit.testing.v1 import AppTest

from tfseg.io.pixel_formats import PixelFormat
from tfseg.serving import web_view

PAGE = Path(web_view.__file__).with_name("web_page.py")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("page")
    for name in ("city", "town"):
        write_model(directory / name)
    (directory / "town" / "model_card.md").write_text("For **small** towns.")
    return directory


@pytest.fixture
def samples(tmp_path):
    save(tmp_path / "a_dark.png", image_of_reds(0, 0, 0, 255))
    save(tmp_path / "b_bright.png", image_of_reds(130, 130))
    return tmp_path


@pytest.fixture
def visit(monkeypatch):
    """Runs the page with the arguments of a command line."""

    def visit(*arguments):
        st.cache_data.clear()  # every AppTest is the same visitor
        monkeypatch.setattr(sys, "argv", [str(PAGE), *map(str, arguments)])
        page = AppTest.from_file(str(PAGE), default_timeout=60).run()
        assert not page.exception
        return page

    return visit


def legends(page):
    return [html.proto.body for html in page.get("html") if html.proto.body.startswith("<table")]


def captions(page):
    return [image.captions[0] for image in page.image]


def test_without_samples_the_page_waits_for_an_image(visit, models):
    page = visit("--model", models / "city")
    assert page.title[0].value == "What is where"
    assert page.markdown[0].value == "Each pixel of an image gets one of 4 classes."
    assert not page.image


def test_the_first_sample_is_shown_and_another_can_be_chosen(visit, models, samples):
    page = visit("--model", models / "city", "--samples", samples)
    assert page.selectbox[0].options == ["a_dark.png", "b_bright.png"]
    assert captions(page)[0] == r"a\_dark\.png\, 4 x 1 pixels"
    assert 'void <small>0</small></th><td class="bar"><div><b style="width:75.0%">' in legends(page)[0]
    page.selectbox[0].select_index(1).run()
    assert captions(page)[0] == r"b\_bright\.png\, 2 x 1 pixels"
    assert 'bright <small>2</small></th><td class="bar"><div><b style="width:100.0%">' in legends(page)[0]


def test_the_latest_choice_is_shown(visit, models, samples):
    page = visit("--model", models / "city", "--samples", samples)
    page.get("file_uploader")[0].upload("mine.png", file_of(image_of_reds(1, 2, 3)), "image/png").run()
    assert captions(page)[0] == r"mine\.png\, 3 x 1 pixels"
    page.selectbox[0].select_index(1).run()
    assert captions(page)[0] == r"b\_bright\.png\, 2 x 1 pixels"


@pytest.mark.parametrize("name", ["notes.png", "bomb.png"])  # the others: test_app_view.py
def test_a_bad_file_is_reported_and_nothing_else_is_shown(visit, models, samples, name):
    content, message = BAD_FILES[name]
    page = visit("--model", models / "city", "--samples", samples)
    page.get("file_uploader")[0].upload(name, content, "image/png").run()
    assert not page.exception
    assert page.warning[0].value.replace("\\", "").startswith(f"{name} {message}")
    assert not page.image


def test_a_name_is_no_markdown(visit, models, tmp_path):
    save(tmp_path / "![a](b)_*c*_\u2013\u00e9.png", image_of_reds(1))
    page = visit("--model", models / "city", "--samples", tmp_path)
    assert captions(page)[0].startswith("\\!\\[a\\]\\(b\\)\\_\\*c\\*\\_\u2013\u00e9\\.png")


def test_every_image_is_described_in_words(visit, models, samples):
    page = visit("--model", models / "city", "--samples", samples)
    descriptions = [image.proto.imgs[0].alt for image in page.image]
    assert descriptions[0] == "the image a_dark.png"
    assert descriptions[1].startswith("a_dark.png with the colours of the classes of ")
    assert descriptions[2].endswith("/city: void 75.0 %, glaring 25.0 %")


def test_a_large_image_is_said_to_be_reduced(visit, models, samples, monkeypatch):
    monkeypatch.setattr(web_view, "MOST_SEEN", 1)
    page = visit("--model", models / "city", "--samples", samples)
    assert "4 x 1 pixels" in captions(page)[0].replace("\\", "")
    assert any("4 x 1 pixels, seen at 2 x 1" in text.value for text in page.markdown)


def test_two_models_of_one_name(visit, models, samples):
    for place in ("one", "other"):
        write_model(samples / place / "runs" / "saved_model")
    directories = [samples / place / "runs" / "saved_model" for place in ("one", "other")]
    page = visit("--model", directories[0], "--model", directories[1], "--samples", samples)
    assert len(legends(page)) == 2


def test_two_models_side_by_side_and_the_card_of_the_one_that_has_it(visit, models, samples):
    page = visit("--model", models / "city", "--model", models / "town", "--samples", samples)
    assert [title.value.rpartition("/")[2] for title in page.subheader] == ["city", "town"]
    assert len(legends(page)) == 2
    assert len(page.expander) == 1
    assert page.expander[0].label.endswith("/town")
    assert page.expander[0].markdown[0].value == "For **small** towns."


def test_an_image_is_predicted_once_however_often_the_opacity_changes(visit, models, samples, monkeypatch):
    calls = []
    classify = web_view.classify
    monkeypatch.setattr(web_view, "classify", lambda *arguments: calls.append(1) or classify(*arguments))
    page = visit("--model", models / "city", "--samples", samples)
    for opacity in (0, 100):
        page.slider[0].set_value(opacity).run()
        assert f"at {opacity}% opacity" in page.image[1].proto.imgs[0].alt
    assert len(calls) == 1


def test_a_model_of_other_channels_is_offered_no_camera(visit, models, monkeypatch):
    page = visit("--model", models / "city")
    assert [toggle.label for toggle in page.toggle] == ["Live camera"]
    monkeypatch.setattr(PixelFormat, "is_rgb", False)
    assert not visit("--model", models / "city").toggle
