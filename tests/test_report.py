import json

import cv2
import numpy as np
import pytest
from PIL import Image
from test_predict import COLORS, NAMES, write_model

from tfseg import records, report
from tfseg.predict import Predictor
from tfseg.report import Sample, curves, panel, read_history, scores_table

SCORES = {
    "classes": ["void", "flat", "sky"],
    "iou": [None, 0.8641, float("nan")],
    "f1": [None, 0.92709, float("nan")],
    "support": [100, 300, 0],
    "mean_iou_7": 0.8641,
    "mean_iou_8": 0.5,
    "mean_f1_7": 0.927,
    "mean_f1_8": 0.6,
}


def picture(shape, red):
    return np.full((*shape, 3), (red, 7, 9), np.uint8)


def write_records(directory, reds, per_shard=2):
    """Writes a split `val` of 8x16 pictures of one red each, named by their place; the mask is the red // 64."""
    directory.mkdir()
    examples = []
    for place, red in enumerate(reds):
        mask = np.full((8, 16), red // 64, np.uint8)
        encoded = cv2.imencode(".png", mask)[1].tobytes()
        examples.append(
            records.encode_example(
                id=f"p{place}", image=picture((8, 16), red).tobytes(), codec="raw", height=8, width=16, mask=encoded
            )
        )
    groups = [examples[start : start + per_shard] for start in range(0, len(examples), per_shard)]
    shards = [
        records.write_shard(directory / records.shard_name("val", index, len(groups)), group)
        for index, group in enumerate(groups)
    ]
    ids = [f"p{place}" for place in range(len(reds))]
    split = records.Split(ids, shards, [1] * 4, [0.0] * 3, [1.0] * 3)
    records.write_manifest(
        directory, records.Manifest(records.SCHEMA_VERSION, "folders", {}, NAMES, [8, 16], "raw", None, {"val": split})
    )
    return directory


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with all that a report reads, its SavedModel being that of test_predict."""
    directory = tmp_path_factory.mktemp("report")
    write_records(directory / "records", [0, 70, 130, 200, 255])
    run = directory / "run"
    run.mkdir()
    write_model(run / "saved_model")
    (run / "config.yaml").write_text(f"data: {{records: {directory / 'records'}, size: 4x8}}\nrun_dir: {run}\n")
    (run / "history.csv").write_text("epoch,loss,val_loss,val_mean_iou_7\n1,2,3,0.5\n2,1,2,0.6\n")
    (run / "metrics.json").write_text(json.dumps({**SCORES, "iou": [None, 0.8641, None], "f1": [None, 0.9, None]}))
    return run


def test_scores_table_by_hand():
    assert scores_table(SCORES).splitlines() == [
        "| category                   | IoU % | F1 % | share of pixels % |",
        "| -------------------------- | ----: | ---: | ----------------: |",
        "| void                       |     - |    - |              25.0 |",
        "| flat                       |  86.4 | 92.7 |              75.0 |",
        "| sky                        |     - |    - |               0.0 |",
        "| mean over 7, void left out |  86.4 | 92.7 |                   |",
        "| mean over 8, void counted  |  50.0 | 60.0 |                   |",
    ]


def test_scores_table_of_no_pixels():
    assert scores_table({**SCORES, "support": [0, 0, 0]}).splitlines()[2].endswith(" - |")


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
    figures = []
    monkeypatch.setattr(report, "save_figure", lambda figure, path: figures.append(figure))
    (tmp_path / "history.csv").write_text(text)
    curves(tmp_path / "history.csv", tmp_path / "curves.png")
    return [{line.get_label(): line.get_ydata().tolist() for line in axis.lines} for axis in figures[0].axes]


def test_curves_draw_every_score_once(monkeypatch, tmp_path):
    text = (
        "epoch,loss,mean_iou_7,val_loss,val_mean_iou_7,val_f1,learning_rate,seconds\n"
        "1,2,0.1,3,0.2,0.3,0.001,60\n2,1,0.2,2,0.3,0.4,0.001,60\n"
    )
    loss, scores = drawn_lines(monkeypatch, text, tmp_path)
    assert loss == {"validation": [3, 2], "training": [2, 1]}
    assert scores == {"mean_iou_7": [0.2, 0.3], "mean_iou_7, training": [0.1, 0.2], "f1": [0.3, 0.4]}


def test_curves_of_a_history_of_losses_only(monkeypatch, tmp_path):
    assert drawn_lines(monkeypatch, "epoch,loss\n1,2\n", tmp_path) == [{"training": [2]}, {}]


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


@pytest.mark.parametrize(
    ("wanted", "places"), [(1, [0]), (2, [0, 4]), (3, [0, 2, 4]), (5, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])]
)
def test_samples_are_spread_over_the_shards(run, wanted, places):
    samples = report.predict_samples(Predictor(run / "saved_model"), run.parent / "records", "val", wanted, None)
    assert [sample.id for sample in samples] == [f"p{place}" for place in places]
    assert [int(sample.picture[0, 0, 0]) for sample in samples] == [[0, 70, 130, 200, 255][place] for place in places]
    for sample in samples:
        assert sample.truth.shape == (8, 16)
        assert sample.prediction.tolist() == sample.truth.tolist()


@pytest.mark.parametrize(("options", "shape"), [([], (4, 8)), (["--size", "2x6"], (2, 6))])
def test_command(run, capsys, monkeypatch, options, shape):
    drawn = []
    monkeypatch.setattr(report, "draw_row", lambda axes, sample, colors, columns: drawn.append(sample))
    report.main(["--run", str(run), "--samples", "3", *options])
    assert [sample.id for sample in drawn] == ["p0", "p2", "p4"]
    assert {sample.picture.shape[:2] for sample in drawn} == {shape}
    for name in ("panel.png", "curves.png"):
        assert Image.open(run / "report" / name).width > 1000
    out = capsys.readouterr().out
    assert "| flat" in out
    assert str(run / "report" / "panel.png") in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samples", "0"], "--samples must be at least 1"),
        (["--size", "big"], "expected a size as HEIGHTxWIDTH"),
        (["--split", "test"], "has no split 'test'"),
    ],
)
def test_bad_options(run, options, message):
    with pytest.raises(ValueError, match=message):
        report.main(["--run", str(run), *options])


def test_unfinished_run(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        report.main(["--run", str(tmp_path)])
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    with pytest.raises(FileNotFoundError, match=r"labels\.json is missing"):
        report.main(["--run", str(tmp_path)])
