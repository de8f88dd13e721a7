import json

import cv2
import numpy as np
import pytest
from PIL import Image
from test_predict import NAMES, write_model
from test_tables import SCORES

from tfseg import figures, records, report
from tfseg.predict import Predictor


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
    (run / "history.csv").write_text("epoch,loss,val_loss,val_mean_iou\n1,2,3,0.5\n2,1,2,0.6\n")
    (run / "metrics.json").write_text(json.dumps({**SCORES, "iou": [None, 0.8641, None], "f1": [None, 0.9, None]}))
    return run


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
    monkeypatch.setattr(figures, "draw_row", lambda axes, sample, colors, columns: drawn.append(sample))
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
