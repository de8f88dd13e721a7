import hashlib
import json
import os
import re

import cv2
import numpy as np
import pytest
from helper_models import MODEL_NAMES, write_model
from helper_pages import Page
from PIL import Image

from tfseg import report
from tfseg.evaluation import run_report, scored_run
from tfseg.evaluation.panels import choose
from tfseg.records import records
from tfseg.records.manifest import SCHEMA_VERSION, Manifest, Split, shard_name, write_manifest
from tfseg.runs.run_dir import read_config


def image_of(red):
    return np.stack([red, np.full_like(red, 7), np.full_like(red, 9)], axis=-1)


def write_records(directory, reds, per_shard=2):
    """Writes a split `val` of images, (count, 8, 16) reds, named by their place; the truth is class 1 all over."""
    directory.mkdir()
    examples = []
    for place, red in enumerate(reds):
        mask = np.full((8, 16), 1, np.uint8)
        encoded = cv2.imencode(".png", mask)[1].tobytes()
        examples.append(
            records.encode_example(
                id=f"p{place}", image=image_of(red).tobytes(), codec="raw", height=8, width=16, mask=encoded
            )
        )
    groups = [examples[start : start + per_shard] for start in range(0, len(examples), per_shard)]
    shards = [
        records.write_shard(directory / shard_name("val", index, len(groups)), group)
        for index, group in enumerate(groups)
    ]
    ids = [f"p{place}" for place in range(len(reds))]
    split = Split(ids, shards, [0, len(reds) * 128, 0, 0], [0.0] * 3, [1.0] * 3)
    write_manifest(
        directory,
        Manifest(SCHEMA_VERSION, "folders", {}, MODEL_NAMES, [8, 16], "raw", None, {"val": split}),
    )
    return directory


@pytest.fixture
def run(tmp_path):
    """A run folder with all that a report reads but scores; its SavedModel, that of `write_model`, gives red // 64."""
    reds = np.zeros((5, 8, 16), np.uint8)
    reds[1:, :4] = 64  # the upper half is right
    reds[2] = 64  # all of it
    reds[3, 4:6] = 128  # the lower half is wrong in two ways
    write_records(tmp_path / "records", reds)
    run = tmp_path / "run"
    run.mkdir()
    write_model(run / "saved_model")
    (run / "config.yaml").write_text(f"data: {{records: {tmp_path / 'records'}, size: 8x16}}\nrun_dir: {run}\n")
    (run / "history.csv").write_text("epoch,loss,val_loss,val_mean_iou,seconds\n1,2,3,0.5,7\n2,1,2,0.6,8\n")
    (run / "metrics.json").write_text(json.dumps({"epoch": 2, "versions": {"keras": "3.15.1"}}))
    return run


NAN = float("nan")


@pytest.mark.parametrize(
    ("means", "samples", "best", "worst"),
    [
        ([0.5, 0.9, 0.1, 0.7], 2, [1, 3], [2, 0]),
        ([0.5, NAN, 0.1, NAN], 3, [0, 2], [2, 0]),
        ([0.5, 0.5, 0.5], 1, [2], [0]),
        ([0.5, 0.9], 9, [1, 0], [0, 1]),
    ],
)
def test_the_best_and_the_worst_are_chosen(means, samples, best, worst):
    chosen = choose(means, samples)
    assert (chosen["panel-best"], chosen["panel-worst"]) == (best, worst)


def test_the_same_images_are_drawn_whatever_their_scores():
    drawn = choose([0.5] * 100, 4)["panel-random"]
    assert drawn == choose([NAN, *[0.1] * 99], 4)["panel-random"] == sorted({*drawn}) and len(drawn) == 4
    assert drawn != [0, 33, 66, 99] and max(drawn) < 100
    assert choose([0.5] * 3, 4)["panel-random"] == [0, 1, 2]


@pytest.mark.long
def test_command(run, capsys):
    """Scores come from matrices: image 2 is right, the upper half of 1, 3 and 4 is, nothing of 0 is."""
    report.main(["--run", str(run), "--samples", "2"])
    out = capsys.readouterr().out
    assert "| dim " in out, "the table of the evaluation, which ran first"
    names = ["curves", "confusion", "panel", "panel-random", "panel-best", "panel-worst"]
    paths = [run / "report.html", *(run / "report" / f"{name}.png" for name in names)]
    assert out.splitlines()[-1] == f"written: {', '.join(map(str, paths))}"
    for path in paths[1:]:
        with Image.open(path) as figure:
            assert min(figure.size) > 300
    page = Page(paths[0].read_text(encoding="utf-8"))
    assert "Epoch 2, the best of 2, on the 5 images of val" in page.text
    _, _, *ranked = re.findall(r"(p\d) mean IoU ([\d.]+) %", page.text)
    assert ranked == [("p2", "100.0"), ("p4", "50.0"), ("p0", "0.0"), ("p3", "25.0")]
    assert ["epochs", "2, in 0:00:15 hours"] in page.rows and ["versions", "keras 3.15.1"] in page.rows
    [digest] = (row[1] for row in page.rows if row[0].startswith("SHA-256"))
    assert digest == hashlib.sha256((run.parent / "records/manifest.json").read_bytes()).hexdigest()


def test_an_evaluation_runs_only_if_need_be(run, monkeypatch):
    data, ran, evaluate_run = read_config(run).data, [], scored_run.evaluate_run

    def evaluate_and_count(run, split):
        ran.append(split)
        return evaluate_run(run, split=split)

    monkeypatch.setattr(scored_run, "evaluate_run", evaluate_and_count)
    for _ in range(2):
        scored, records = run_report.open_scored_records(run, "val")
        assert (scored.scores["records"], scored.scores["resize"]) == (data.records, [[8, 16]])
        assert (scored.matrices.shape, str(records)) == ((5, 4, 4), data.records)
    assert ran == ["val"]
    os.utime(run / "scores-val.json", (0, 0))
    run_report.open_scored_records(run, "val")
    (run / "matrices-val.npz").unlink()
    run_report.open_scored_records(run, "val")
    assert ran == ["val"] * 3


def test_scores_of_other_images_are_refused(run):
    scored, _ = run_report.open_scored_records(run, "val")
    np.savez(run / "matrices-val.npz", ids=[f"q{place}" for place in range(5)], matrices=scored.matrices)
    with pytest.raises(ValueError, match=r"matrices-val.npz: is of other images than .*records has now; score the run"):
        run_report.open_scored_records(run, "val")


def test_a_column_has_its_old_name_for_one_release(run, capsys):
    report.main(["--run", str(run), "--samples", "1", "--columns", "picture", "error"])
    captured = capsys.readouterr()
    assert captured.err.count("warning: --columns picture is now called image") == 1
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    assert "image of p2" in [image["alt"] for image in page.images]


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--samples", "0"], "--samples must be at least 1"), (["--split", "test"], "no split 'test'")],
)
def test_bad_options(run, options, message):
    with pytest.raises(ValueError, match=message):
        report.main(["--run", str(run), *options])
    assert not (run / "report.html").exists()


def test_unfinished_run(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        report.main(["--run", str(tmp_path)])
    (run / "saved_model").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="has no saved_model: the run has not ended; start the same training"):
        report.main(["--run", str(run)])
