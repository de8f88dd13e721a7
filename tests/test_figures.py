import numpy as np
import pytest
from PIL import Image
from test_predict import COLORS, NAMES

from tfseg import figures
from tfseg.figures import Sample, curves, curves_of_runs, panel, read_history


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


def drawn_lines(monkeypatch, text, tmp_path):
    """Returns the labels of the loss lines and of the score lines that `curves` draws, and their values."""
    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: drawn.append(figure))
    (tmp_path / "history.csv").write_text(text)
    curves(tmp_path / "history.csv", tmp_path / "curves.png")
    return [{line.get_label(): line.get_ydata().tolist() for line in axis.lines} for axis in drawn[0].axes]


def test_curves_draw_every_score_once(monkeypatch, tmp_path):
    text = (
        "epoch,loss,mean_iou,val_loss,val_mean_iou,val_f1,learning_rate,seconds\n"
        "1,2,0.1,3,0.2,0.3,0.001,60\n2,1,0.2,2,0.3,0.4,0.001,60\n"
    )
    loss, scores = drawn_lines(monkeypatch, text, tmp_path)
    assert loss == {"validation": [3, 2], "training": [2, 1]}
    assert scores == {"mean_iou": [0.2, 0.3], "mean_iou, training": [0.1, 0.2], "f1": [0.3, 0.4]}


def test_curves_of_a_history_of_losses_only(monkeypatch, tmp_path):
    assert drawn_lines(monkeypatch, "epoch,loss\n1,2\n", tmp_path) == [{"training": [2]}, {}]


def test_curves_of_runs_share_a_figure(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: drawn.append(figure))
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
    colors = np.array(COLORS, np.uint8)
    tall, wide = np.zeros((40, 20), np.uint8), np.full((20, 60), 3, np.uint8)
    samples = [
        Sample("tall", picture(tall.shape, 200), tall, tall + 1),
        Sample("wide", picture(wide.shape, 250), wide, wide - 1),
    ]
    panel(samples, NAMES, colors, tmp_path / "panel.png")
    pixels = np.asarray(Image.open(tmp_path / "panel.png").convert("RGB"))
    third = pixels.shape[1] // 3
    for left, seen in ((0, [(200, 7, 9), (250, 7, 9)]), (third, [COLORS[0], COLORS[3]]), (2 * third, COLORS[1:3])):
        for color in seen:
            assert (pixels[:, left : left + third] == color).all(axis=-1).mean() > 0.02
    assert [path.name for path in tmp_path.iterdir()] == ["panel.png"]


def test_panel_of_chosen_columns(tmp_path):
    mask = np.zeros((20, 30), np.uint8)
    sample = Sample("one", picture(mask.shape, 200), mask + 1, mask + 2)
    panel([sample], NAMES, np.array(COLORS, np.uint8), tmp_path / "panel.png", columns=("prediction",))
    pixels = np.asarray(Image.open(tmp_path / "panel.png").convert("RGB"))
    assert (pixels == COLORS[2]).all(axis=-1).mean() > 0.5
    assert not (pixels == (200, 7, 9)).all(axis=-1).any()


def test_panel_of_nothing(tmp_path):
    with pytest.raises(ValueError, match="at least one sample"):
        panel([], NAMES, np.array(COLORS, np.uint8), tmp_path / "panel.png")
