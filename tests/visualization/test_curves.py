import numpy as np
import pytest

from tfseg.visualization import curves
from tfseg.visualization.curves import draw_curves, draw_run_curves, read_history


@pytest.fixture
def drawn(monkeypatch):
    """Figures that would have been saved."""
    figures_drawn = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, path: figures_drawn.append(figure))
    return figures_drawn


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
        draw_curves(tmp_path / "history.csv", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def drawn_lines(drawn, text, tmp_path):
    """Returns the labels of the lines that `draw_curves` draws, and their values, by the axis's title."""
    (tmp_path / "history.csv").write_text(text)
    draw_curves(tmp_path / "history.csv", tmp_path / "curves.png")
    lines = {axis.get_title(): axis.lines for axis in drawn[0].axes}
    return {title: {line.get_label(): line.get_ydata().tolist() for line in some} for title, some in lines.items()}


def test_curves_draw_every_value_once(drawn, tmp_path):
    text = (
        "epoch,dice,loss,mean_iou,val_loss,val_mean_iou,val_f1,learning_rate,seconds\n"
        "1,1.5,2,0.1,3,0.2,0.3,0.001,60\n2,0.5,1,0.2,2,0.3,0.4,0.002,60\n"
    )
    lines = drawn_lines(drawn, text, tmp_path)
    assert lines["loss"] == {"loss": [3, 2], "loss, training": [2, 1], "dice, training": [1.5, 0.5]}
    assert lines["scores in validation"] == {
        **{"mean_iou": [0.2, 0.3], "mean_iou, training": [0.1, 0.2], "f1": [0.3, 0.4]}
    }
    assert [*lines["learning rate"].values()] == [[0.001, 0.002]]


def test_curves_of_a_history_of_losses_only(drawn, tmp_path):
    lines = drawn_lines(drawn, "epoch,loss\n1,2\n", tmp_path)
    assert [*lines.values()] == [{}, {"loss, training": [2]}, {}]


def test_a_curve_has_no_gap_where_an_epoch_was_not_validated(drawn, tmp_path):
    text = "epoch,loss,val_loss,val_mean_iou\n1,3,,\n2,2,4,0.5\n3,1,,\n4,1,3,0.6\n"
    lines = drawn_lines(drawn, text, tmp_path)
    assert lines["loss"] == {"loss": [4, 3], "loss, training": [3, 2, 1, 1]}
    assert lines["scores in validation"] == {"mean_iou": [0.5, 0.6]}
    assert drawn[0].axes[0].lines[0].get_xdata().tolist() == [2, 4]


def test_curves_of_runs_share_a_figure(drawn, tmp_path):
    (tmp_path / "a.csv").write_text("epoch,loss,val_loss,val_mean_iou,val_f1\n1,2,3,0.2,0.9\n")
    (tmp_path / "b.csv").write_text("epoch,val_loss,val_mean_iou\n1,4,0.3\n2,5,0.4\n")
    draw_run_curves({"a": tmp_path / "a.csv", "b": tmp_path / "b.csv"}, tmp_path / "curves.png")
    lines = [
        [(line.get_label(), line.get_color(), line.get_ydata().tolist()) for line in axis.lines]
        for axis in drawn[0].axes
    ]
    assert lines == [
        [("a", "C0", [3]), ("a, training", "C0", [2]), ("b", "C1", [4, 5])],
        [("a", "C0", [0.2]), ("b", "C1", [0.3, 0.4])],
    ]
    assert all(axis.get_legend() for axis in drawn[0].axes)
