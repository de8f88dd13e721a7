import json

import numpy as np
import pytest
from helper_files import BAD_FILES, NOISE, file_of, image_of_reds
from helper_models import MODEL_COLORS, MODEL_NAMES, write_model

from tfseg.serving import web_view
from tfseg.serving.web_view import open_image


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_reported_in_words(name):
    content, message = BAD_FILES[name]
    with pytest.raises(ValueError) as error:
        open_image(content, name)
    assert str(error.value).startswith(f"{name} {message}")
    assert "0x" not in str(error.value)  # no object of Python


@pytest.mark.parametrize("name", ["large.png", "bomb.png"])
def test_a_bomb_is_not_decoded(name, monkeypatch):
    monkeypatch.delattr(web_view, "decode_image")
    with pytest.raises(ValueError, match="is too large"):
        open_image(BAD_FILES[name][0], name)


def test_a_file_of_too_many_bytes(monkeypatch):
    monkeypatch.setattr(web_view, "MOST_MEGABYTES", 0)
    with pytest.raises(ValueError, match=r"a\.png is too large for this page, which takes 50 million pixels and 0 MB"):
        open_image(file_of(NOISE), "a.png")


def test_an_image_is_reduced_to_what_a_model_sees(monkeypatch, tmp_path):
    """If it sees it at its own size; the mask has the image's size all the same."""
    pixels = np.repeat(np.repeat(image_of_reds(10, 200), 20, axis=0), 20, axis=1)  # 20x40
    image = open_image(file_of(pixels), "a.png")
    assert image.pixels.tolist() == pixels.tolist()
    monkeypatch.setattr(web_view, "MOST_SEEN", 200)
    for input_size, seen in (("native", (10, 20)), ("2x6", (2, 6))):
        model = web_view.load_model(write_model(tmp_path / input_size), input_size)
        prediction = web_view.classify(model, image)
        assert prediction.seen == seen
        assert prediction.class_ids.tolist() == (pixels[..., 0] // 64).tolist()


def test_class_ids_are_reduced_to_some_of_them():
    class_ids = np.random.default_rng(0).choice(np.array([3, 200], np.uint8), (40, 90))
    reduced = web_view.reduce(class_ids, side=30)
    assert reduced.shape == (13, 30)
    assert set(np.unique(reduced)) == {3, 200}
    assert web_view.reduce(class_ids, side=90) is class_ids


class TestModel:
    def test_what_is_known_of_it(self, tmp_path):
        directory = write_model(tmp_path / "models" / "city")
        scores = {
            **{"classes": ["void", "road"], "support": [1, 3], "iou": [None, 0.5], "f1": [None, 0.6]},
            **{"mean_iou": 0.5, "mean_f1": 0.6, "mean_iou_with_void": 0.5, "mean_f1_with_void": 0.6},
        }
        (directory / "model_card.md").write_text("# City\n\nFor streets.")
        (directory / "metrics.json").write_text(json.dumps(scores))
        model = web_view.load_model(directory)
        assert model is web_view.load_model(directory)
        assert model.name == "models/city"
        assert model.card == "# City\n\nFor streets."
        assert "| road                       |  50.0 | 60.0 |              75.0 |" in model.scores

        image = web_view.OpenedImage(image_of_reds(0, 70, 255))
        prediction = web_view.classify(model, image)
        assert prediction.class_ids.tolist() == [[0, 1, 3]]
        assert 0 < prediction.seconds < 60

    def test_no_card_and_no_scores(self, tmp_path):
        model = web_view.load_model(write_model(tmp_path / "city"))
        assert (model.card, model.scores) == ("", "")

    @pytest.mark.parametrize("text", ["{", "[]", '{"classes": ["road"]}'])
    def test_other_scores(self, tmp_path, text):
        (tmp_path / "metrics.json").write_text(text)
        with pytest.raises(ValueError, match=r"metrics\.json holds no scores as tfseg train writes them"):
            web_view.load_model(tmp_path)


def test_shares_by_hand():
    shares = web_view.shares(np.array([[0, 2], [2, 2]], np.uint8), 4)
    assert shares.tolist() == [0.25, 0, 0.75, 0]
    assert web_view.describe(MODEL_NAMES, shares) == "bright 75.0 %, void 25.0 %"


@pytest.mark.parametrize(("share", "text"), [(0, "0.0 %"), (0.0004, "<0.1 %"), (0.314, "31.4 %"), (1, "100.0 %")])
def test_percent(share, text):
    assert web_view.percent(share) == text


def test_the_legend_names_each_class_and_shows_no_markup_of_a_name():
    html = web_view.legend(["<script>", "dim"], np.array(MODEL_COLORS[:2], np.uint8), np.array([0.2, 0.8]))
    assert "&lt;script&gt; <small>0</small>" in html
    assert "<script>" not in html
    assert "background:rgb(10, 20, 30)" in html
    assert 'width:20.0%"></b></div></td><td class="share">20.0 %</td>' in html
