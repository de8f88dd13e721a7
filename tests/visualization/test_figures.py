import numpy as np
import pytest
from helper_models import MODEL_COLORS, MODEL_NAMES
from PIL import Image

from tfseg.visualization import figures
from tfseg.visualization.figures import (
    NO_TRUTH,
    WRONG,
    Sample,
    as_text,
    confusion,
    curves,
    curves_of_runs,
    paint_error,
    panel,
    read_history,
)


def picture(shape, red):
    return np.full((*shape, 3), (red, 7, 9), np.uint8)


def test_history_columns(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss,val_loss\n1,0.5,\n2,0.25,0.3\n")
    history = read_history(tmp_path / "history.csv")
    assert list(history) == ["epoch", "loss", "val_loss"]
    assert history["epoch"] == [1, 2]
    assert history["loss"] == [0.5, 0.25]
    assert np.isnan(history["val_loss"][0])
    assert history["val_loss"][1] == 0.3


def test_a_history_that_two_processes_wrote(tmp_path):
    rows = "epoch,loss\n1,0.5\nepoch,loss\n1,0.25\n2,0.2\n2,0.1\n3,0.05\n"
    (tmp_path / "history.csv").write_text(rows)
    assert read_history(tmp_path / "history.csv") == {"epoch": [1, 2, 3], "loss": [0.25, 0.1, 0.05]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a column epoch"),
        ("epoch,loss\n", "expected a column epoch"),
        ("step,loss\n1,2\n", "expected a column epoch"),
        ("epoch,loss\n1,many\n", "could not convert string to float: 'many'"),
    ],
)
def test_bad_history(tmp_path, text, message):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(ValueError, match=r"history\.csv: " + message):
        curves(tmp_path / "history.csv", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


@pytest.fixture
def drawn(monkeypatch):
    """Figures that would have been saved."""
    figures_drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: figures_drawn.append(figure))
    return figures_drawn


def drawn_lines(drawn, text, tmp_path):
    """Returns the labels of the lines that `curves` draws, and their values, by the axis's title."""
    (tmp_path / "history.csv").write_text(text)
    curves(tmp_path / "history.csv", tmp_path / "curves.png")
    lines = {axis.get_title(): axis.lines for axis in drawn[0].axes}
    return {title: {line.get_label(): line.get_ydata().tolist() for line in some} for title, some in lines.items()}


def test_curves_draw_every_value_once(drawn, tmp_path):
    text = (
        "epoch,dice,loss,mean_iou,val_loss,val_mean_iou,val_f1,learning_rate,seconds\n"
        "1,1.5,2,0.1,3,0.2,0.3,0.001,60\n2,0.5,1,0.2,2,0.3,0.4,0.002,60\n"
    )
    lines = drawn_lines(drawn, text, tmp_path)
    assert lines["loss"] == {"loss": [3, 2], "loss, training": [2, 1], "dice, training": [1.5, 0.5]}
    assert lines["scores on the validation split"] == {
        **{"mean_iou": [0.2, 0.3], "mean_iou, training": [0.1, 0.2], "f1": [0.3, 0.4]}
    }
    assert [*lines["learning rate"].values()] == [[0.001, 0.002]]


def test_curves_of_a_history_of_losses_only(drawn, tmp_path):
    lines = drawn_lines(drawn, "epoch,loss\n1,2\n", tmp_path)
    assert [*lines.values()] == [{}, {"loss, training": [2]}, {}]


def test_confusion_is_in_percent_of_the_truth(drawn, tmp_path):
    confusion(np.array([[0, 0, 0], [1, 6, 1], [1, 0, 999]]), ["void", "$a", "b"], tmp_path / "confusion.png")
    [axis] = drawn[0].axes
    cells = {text.get_position()[::-1]: text.get_text() for text in axis.texts}
    assert cells == {(1, 0): "12.5", (1, 1): "75.0", (1, 2): "12.5", (2, 0): "0.1", (2, 2): "99.9"}
    assert axis.images[0].get_array()[1].tolist() == [12.5, 75, 12.5]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["void", r"\$a", "b"]


def test_names_are_no_formulas():
    assert as_text("$\\frac{$ caf\udce9") == "\\$\\frac{\\$ caf?"


def test_errors_by_hand():
    picture = np.array([[[0, 0, 0], [255, 255, 255], [30, 60, 90], [9, 9, 9]]], np.uint8)
    truth, prediction = np.array([[1, 1, 2, 0]]), np.array([[1, 2, 2, 2]])
    error = paint_error(picture, truth, prediction)
    assert error.dtype == np.uint8
    assert error.tolist() == [[[128] * 3, WRONG.tolist(), [158] * 3, NO_TRUTH.tolist()]]
    error = paint_error(picture, truth, prediction, learn_void=True)
    assert error.tolist() == [[[128] * 3, WRONG.tolist(), [158] * 3, WRONG.tolist()]]
    assert WRONG.tolist() == [225, 29, 29] and NO_TRUTH.tolist() == [96, 96, 96]


def test_curves_of_runs_share_a_figure(drawn, tmp_path):
    (tmp_path / "a.csv").write_text("epoch,loss,val_loss,val_mean_iou,val_f1\n1,2,3,0.2,0.9\n")
    (tmp_path / "b.csv").write_text("epoch,val_loss,val_mean_iou\n1,4,0.3\n2,5,0.4\n")
    curves_of_runs({"a": tmp_path / "a.csv", "b": tmp_path / "b.csv"}, tmp_path / "curves.png")
    lines = [
        [(line.get_label(), line.get_color(), line.get_ydata().tolist()) for line in axis.lines]
        for axis in drawn[0].axes
    ]
    assert lines == [
        [("a", "C0", [3]), ("a, training", "C0", [2]), ("b", "C1", [4, 5])],
        [("a", "C0", [0.2]), ("b", "C1", [0.3, 0.4])],
    ]
    assert all(axis.get_legend() for axis in drawn[0].axes)


def test_panel_shows_masks_in_the_class_colours(tmp_path):
    colors = np.array(MODEL_COLORS, np.uint8)
    tall, wide = np.zeros((40, 20), np.uint8), np.full((20, 60), 3, np.uint8)
    samples = [
        Sample("tall", picture(tall.shape, 200), tall, tall + 1, 0.5),
        Sample("wide", picture(wide.shape, 250), wide, wide - 1, float("nan")),
    ]
    panel(samples, MODEL_NAMES, colors, tmp_path / "panel.png")
    pixels = np.asarray(Image.open(tmp_path / "panel.png").convert("RGB"))
    parts = np.array_split(pixels, 4, axis=1)
    wanted = [(200, 7, 9), (250, 7, 9)], [MODEL_COLORS[0], MODEL_COLORS[3]], MODEL_COLORS[1:3], [NO_TRUTH, WRONG]
    for part, seen in zip(parts, wanted, strict=True):
        for color in seen:
            assert (part == color).all(axis=-1).mean() > 0.02
    assert [path.name for path in tmp_path.iterdir()] == ["panel.png"]


def test_panel_of_chosen_columns(tmp_path):
    mask = np.zeros((20, 30), np.uint8)
    sample = Sample("one", picture(mask.shape, 200), mask + 1, mask + 2, 0.0)
    panel([sample], MODEL_NAMES, np.array(MODEL_COLORS, np.uint8), tmp_path / "panel.png", columns=("prediction",))
    pixels = np.asarray(Image.open(tmp_path / "panel.png").convert("RGB"))
    assert (pixels == MODEL_COLORS[2]).all(axis=-1).mean() > 0.5
    assert not (pixels == (200, 7, 9)).all(axis=-1).any()


def test_panel_of_nothing(tmp_path):
    with pytest.raises(ValueError, match="at least one sample"):
        panel([], MODEL_NAMES, np.array(MODEL_COLORS, np.uint8), tmp_path / "panel.png")
