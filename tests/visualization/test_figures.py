import numpy as np
import pytest
from helper_models import MODEL_COLORS, MODEL_NAMES
from PIL import Image

from tfseg.visualization import figures
from tfseg.visualization.figures import NO_TRUTH, WRONG, Sample, draw_confusion, draw_panel, paint_error
from tfseg.visualization.lettering import as_text


def image_of(shape, red):
    return np.full((*shape, 3), (red, 7, 9), np.uint8)


@pytest.fixture
def drawn(monkeypatch):
    """Figures that would have been saved."""
    figures_drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: figures_drawn.append(figure))
    return figures_drawn


def test_confusion_is_in_percent_of_the_truth(drawn, tmp_path):
    draw_confusion(np.array([[0, 0, 0], [1, 6, 1], [1, 0, 999]]), ["void", "$a", "b"], tmp_path / "confusion.png")
    [axis] = drawn[0].axes
    cells = {text.get_position()[::-1]: text.get_text() for text in axis.texts}
    assert cells == {(1, 0): "12.5", (1, 1): "75.0", (1, 2): "12.5", (2, 0): "0.1", (2, 2): "99.9"}
    assert axis.images[0].get_array()[1].tolist() == [12.5, 75, 12.5]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["void", r"\$a", "b"]


def test_names_are_no_formulas():
    assert as_text("$\\frac{$ caf\udce9") == "\\$\\frac{\\$ caf?"


def test_errors_by_hand():
    image = np.array([[[0, 0, 0], [255, 255, 255], [30, 60, 90], [9, 9, 9]]], np.uint8)
    truth, prediction = np.array([[1, 1, 2, 0]]), np.array([[1, 2, 2, 2]])
    error = paint_error(image, truth, prediction)
    assert error.dtype == np.uint8
    assert error.tolist() == [[[128] * 3, WRONG.tolist(), [158] * 3, NO_TRUTH.tolist()]]
    error = paint_error(image, truth, prediction, ignore_class=None)
    assert error.tolist() == [[[128] * 3, WRONG.tolist(), [158] * 3, WRONG.tolist()]]
    assert WRONG.tolist() == [225, 29, 29] and NO_TRUTH.tolist() == [96, 96, 96]


def test_panel_shows_masks_in_the_class_colours(tmp_path):
    colors = np.array(MODEL_COLORS, np.uint8)
    tall, wide = np.zeros((40, 20), np.uint8), np.full((20, 60), 3, np.uint8)
    samples = [
        Sample("tall", image_of(tall.shape, 200), tall, tall + 1, 0.5),
        Sample("wide", image_of(wide.shape, 250), wide, wide - 1, float("nan")),
    ]
    draw_panel(samples, MODEL_NAMES, colors, tmp_path / "panel.png")
    pixels = np.asarray(Image.open(tmp_path / "panel.png").convert("RGB"))
    parts = np.array_split(pixels, 4, axis=1)
    wanted = [(200, 7, 9), (250, 7, 9)], [MODEL_COLORS[0], MODEL_COLORS[3]], MODEL_COLORS[1:3], [NO_TRUTH, WRONG]
    for part, seen in zip(parts, wanted, strict=True):
        for color in seen:
            assert (part == color).all(axis=-1).mean() > 0.02
    assert [path.name for path in tmp_path.iterdir()] == ["panel.png"]


def test_panel_of_chosen_columns(tmp_path):
    mask = np.zeros((20, 30), np.uint8)
    sample = Sample("one", image_of(mask.shape, 200), mask + 1, mask + 2, 0.0)
    draw_panel([sample], MODEL_NAMES, np.array(MODEL_COLORS, np.uint8), tmp_path / "panel.png", columns=("prediction",))
    pixels = np.asarray(Image.open(tmp_path / "panel.png").convert("RGB"))
    assert (pixels == MODEL_COLORS[2]).all(axis=-1).mean() > 0.5
    assert not (pixels == (200, 7, 9)).all(axis=-1).any()


def test_panel_of_nothing(tmp_path):
    with pytest.raises(ValueError, match="at least one sample"):
        draw_panel([], MODEL_NAMES, np.array(MODEL_COLORS, np.uint8), tmp_path / "panel.png")
