import pytest
from helper_pages import Page

from tfseg.visualization import html


@pytest.mark.parametrize("head", [[], ["a", "b"]])
def test_a_table_has_its_cells_and_a_head_if_it_wants_one(head):
    found = Page(html.table(head, [("x", "1"), ("y", "2")], caption="<b>"))
    assert found.rows == [*([head] if head else []), ["x", "1"], ["y", "2"]]
    assert found.text.startswith("<b>") and ("thead" in found.tags) == bool(head)


def test_words_stand_on_the_left():
    assert '<div class="wide">' in html.table([], [("x", "1")])
    assert '<div class="wide words">' in html.table([], [("x", "1")], words=True)


def test_images_lie_inside():
    found = Page(html.figure(b"\x89PNG", 'a "b" <c>'))
    assert found.images == [{"alt": 'a "b" <c>', "src": "data:image/png;base64,iVBORw=="}]
    assert Page(html.image(b"\xff\xd8", "", "jpeg")).images[0]["src"] == "data:image/jpeg;base64,/9g="


def test_a_document_is_whole_and_escapes_its_title():
    text = html.document("<b>&", ["<h1>One</h1>", "", "<p>two</p>"], head="<meta name=x>", style=".mine { }")
    found = Page(text)
    assert found.text.split() == ["<b>&", *html.STYLE.split(), ".mine", "{", "}", "One", "two"]
    assert not {"b", "script", "link"} & found.tags


def test_a_swatch_escapes_its_name():
    assert html.swatch("<b>", [1, 2, 3]).endswith('style="background: rgb(1, 2, 3)"></span>&lt;b&gt;')
