"""Comparison of runs whose evaluation is a literal; the end-to-end test compares real ones."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from helper_scores import BASE, BETTER, write_run, write_scores
from PIL import Image

from tfseg import compare
from tfseg.evaluation import scored_run
from tfseg.evaluation.comparison import Comparison, compare_runs
from tfseg.evaluation.comparison_page import lay_out, write_difference
from tfseg.evaluation.groups import name_runs
from tfseg.evaluation.score_files import Evaluation


def test_table_by_hand(tmp_path, capsys):
    """A draw of the first image alone shows no difference, one of the second alone half of flat against all of it."""
    compare.main([str(write_run(tmp_path / "base")), str(write_run(tmp_path / "better", matrices=BETTER))])
    assert capsys.readouterr().out.splitlines() == [
        "| IoU %                      |          base |         better |   difference (95 %) |",
        "| -------------------------- | ------------: | -------------: | ------------------: |",
        "| flat                       |          75.0 |          100.0 | +25.0 (0.0 to 50.0) |",
        "| sky                        |         100.0 |          100.0 |   +0.0 (0.0 to 0.0) |",
        "| mean over 2, void left out |          87.5 |          100.0 | +12.5 (0.0 to 25.0) |",
        "| its 95 % interval          | 75.0 to 100.0 | 100.0 to 100.0 |                     |",
        "",
        "2 images of val. In brackets: 95 % interval of the difference to base, by 10,000 draws",
        "of images, the same for all runs; * marks intervals without 0. They show what other images might change,",
        "not what another seed might.",
        "",
        "All settings are the same.",
    ]


def test_void_counts_where_all_learn_it(tmp_path):
    """All ten pixels of void are called flat: IoU 0 of void, 10 / 20 of flat, 1 of sky."""
    matrices = [[[0, 10, 0], [0, 10, 0], [0, 0, 10]]] * 2
    learns = "loss: {ignore_class: null}\n"
    a, b = (write_run(tmp_path / name, learns, matrices=matrices) for name in "ab")
    plain = write_run(tmp_path / "plain", matrices=matrices)
    result = compare_runs([a, b])
    scores = result.runs[0].scores
    assert result.to_dict()["learn_void"] and scores.iou == [0, 0.5, 1] and scores.mean_iou == 0.5
    text = lay_out(result)
    assert "mean over 3, void counted" in text and "\n| void " in text
    mixed = compare_runs([a, plain])
    assert not mixed.to_dict()["learn_void"] and [run.scores.mean_iou for run in mixed.runs] == [1.0, 1.0]
    assert "mean over 2, void left out" in lay_out(mixed)


def test_identical_runs_do_not_differ(tmp_path, capsys):
    compare.main([str(write_run(tmp_path / name)) for name in ("a", "b")])
    out = capsys.readouterr().out
    assert out.count("| +0.0 (0.0 to 0.0) |") == 3
    assert out.endswith("All settings are the same.\n")


def test_an_interval_without_0_is_marked(tmp_path):
    runs = (
        write_run(tmp_path / "a", matrices=[BASE[1]] * 2),
        write_run(tmp_path / "b", matrices=BETTER),
        write_run(tmp_path / "c"),
    )
    result = compare_runs(runs)
    better, mixed = (run.difference for run in result.runs[1:])
    assert better.iou[1:] == [0.5, 0] and better.iou_intervals[1:] == [[0.5, 0.5], [0, 0]]
    assert (better.mean_iou, better.mean_iou_interval) == (0.25, [0.25, 0.25])
    assert (mixed.mean_iou, mixed.mean_iou_interval) == (0.125, [0, 0.25])
    text = lay_out(result)
    assert text.count("+50.0 (50.0 to 50.0) *") == 1 and text.count("+25.0 (25.0 to 25.0) *") == 1
    assert text.count(" * ") == 3, "two differences, and what the star means"
    assert write_difference(-0.25, [-0.5, -0.125]) == "-25.0 (-50.0 to -12.5) *"
    assert write_difference(-1e-9, [-1e-9, 0.0]) == "+0.0 (0.0 to 0.0)"
    assert write_difference(0.02, [0.0004, 0.05]) == "+2.0 (0.0 to 5.0)"
    assert write_difference(np.nan, [np.nan, np.nan]) == "-"


def test_images_are_matched_by_their_ids(tmp_path):
    runs = write_run(tmp_path / "base"), write_run(tmp_path / "turned", matrices=BASE[::-1], ids="ba")
    change = compare_runs(runs).runs[1].difference
    assert change.mean_iou_interval == [0, 0]


def test_settings_that_differ(tmp_path):
    runs = [
        write_run(tmp_path / "a"),
        write_run(tmp_path / "b", settings="augment:\n  flip: 0.5\nlog:\n  mlflow: city\nquiet: true\n"),
        write_run(tmp_path / "c", settings="augment:\n  zoom: [0.9, 1.2]\n"),
    ]
    result = compare_runs(runs)
    assert result.settings == {"augment.flip": [0.0, 0.5, 0.0], "augment.zoom": [(1.0, 1.0), (1.0, 1.0), (0.9, 1.2)]}
    assert lay_out(result).splitlines()[-4:] == [
        "| setting | a | b | c |",
        "| --- | --- | --- | --- |",
        "| augment.flip | 0.0 | 0.5 | 0.0 |",
        "| augment.zoom | [1.0, 1.0] | [1.0, 1.0] | [0.9, 1.2] |",
    ]


SMALL = [[[0, 0, 0], [0, 5, 0], [0, 0, 5]], *BASE[1:]]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"classes": ["void", "cat"]}, "other: predicts the classes void, cat, and .*first void, flat, sky"),
        ({"flip": True}, r'other: was scored by {"flip": true}, and .*first by {"flip": false}; score both alike'),
        ({"ids": "ac"}, "other: was scored on 2 images and .*first on 2; 2 are not in both, such as b"),
        ({"matrices": BASE[:1], "ids": "a"}, "scored on 1 images and .*first on 2; 1 are not in both, such as b"),
        (
            {"matrices": SMALL},
            r"other: was scored on other masks \(10 to 20 pixels\) than .*first \(20 to 20 pixels\); "
            "1 differ, such as that of a. Score both on the same by python -m tfseg.evaluate --run",
        ),
        ({"settings": "  val_split: test\n", "split": "test"}, "different splits .*first on val, .*other on test"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, other, message):
    first, other = write_run(tmp_path / "first"), write_run(tmp_path / "other", **other)
    with pytest.raises(ValueError, match=message):
        compare_runs([first, other])


def test_runs_that_are_none_one_or_one_twice(tmp_path):
    run = write_run(tmp_path / "run")
    with pytest.raises(ValueError, match="expected two or more runs to compare, got 1"):
        compare_runs([run])
    with pytest.raises(ValueError, match="run: is given twice"):
        compare_runs([run, run / "../run"])
    with pytest.raises(FileNotFoundError, match="holds no run"):
        compare_runs([run, tmp_path])


def test_runs_of_different_splits_want_one(tmp_path):
    runs = [write_run(tmp_path / split, f"  val_split: {split}\n") for split in ("val", "test")]
    with pytest.raises(ValueError, match=r"different splits \(.*val on val, .*test on test\); choose one") as caught:
        compare_runs(runs)
    assert caught.value.__notes__ == ["In Python: --split is split"]


def test_a_split_that_is_asked_for(tmp_path):
    runs = [write_run(tmp_path / name, split="test") for name in "ab"]
    assert compare_runs(runs, "test").split == "test"


@pytest.mark.parametrize("state", ["missing", "old", "fresh"])
def test_what_is_missing_or_old_is_scored(tmp_path, monkeypatch, capsys, state):
    first, run = write_run(tmp_path / "first"), write_run(tmp_path / "run")
    model = run / "saved_model/saved_model.pb"
    model.parent.mkdir()
    model.write_bytes(b"")
    if state == "missing":
        (run / "matrices-val.npz").unlink()
    written = (run / "scores-val.json").stat().st_mtime
    os.utime(model, times=(written, written + (10 if state == "old" else -10)))
    scored = []

    def score(folder, split):
        scored.append((folder, split))
        write_scores(run, BETTER)
        return Evaluation(split, "city", {"split": split, "records": "city"}, [], None, ("a note",))

    monkeypatch.setattr(scored_run, "evaluate_run", score)
    compare.main([str(first), str(run)])
    printed = capsys.readouterr()
    assert "scored" not in printed.out
    assert ("a note" in printed.err and "scored val of city" in printed.err) == (state != "fresh")
    assert scored == ([] if state == "fresh" else [(run, "val")])
    result = compare_runs([first, run])
    assert result.runs[1].scores.iou[1] == (0.75 if state == "fresh" else 1.0)


@pytest.mark.parametrize(("name", "content"), [("scores-val.json", b"{}"), ("matrices-val.npz", b"PK")])
def test_a_damaged_file_is_named(tmp_path, name, content):
    run = write_run(tmp_path / "run")
    (run / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"run/{name}.*damaged .*; make them again by python -m tfseg.evaluate --run"):
        compare_runs([run, write_run(tmp_path / "other")])


def test_files_are_written_where_asked_and_only_there(tmp_path, capsys):
    runs = [str(write_run(tmp_path / name)) for name in "ab"]
    before = sorted(tmp_path.rglob("*"))
    compare.main(runs)
    assert sorted(tmp_path.rglob("*")) == before
    printed = capsys.readouterr().out
    out = tmp_path / "new/out"
    compare.main([*runs, "--out", str(out)])
    assert sorted(path.name for path in out.iterdir()) == ["compare.json", "compare.md", "curves.png"]
    assert (out / "compare.md").read_text() == f"{printed}\n![curves](curves.png)\n"
    comparison = compare_runs([tmp_path / "a", tmp_path / "b"])
    content = json.loads((out / "compare.json").read_text())
    assert content == json.loads(json.dumps(comparison.to_dict()).replace("NaN", "null"))
    assert lay_out(Comparison.from_dict(content)) == lay_out(comparison)
    with Image.open(out / "curves.png") as figure:
        assert figure.width > 1000


@pytest.mark.parametrize("name", ["compare.md", "compare.json", "curves.png"])
def test_files_of_others_are_left_alone(tmp_path, name, monkeypatch):
    (tmp_path / name).write_text("mine")
    monkeypatch.setattr(compare, "compare_runs", lambda *_: pytest.fail("was compared first"))
    with pytest.raises(ValueError, match=rf"{name}: is there already and was not written by this tool"):
        compare.main(["a", "b", "--out", str(tmp_path)])
    assert (tmp_path / name).read_text() == "mine"


def test_an_earlier_comparison_is_replaced(tmp_path):
    runs = [str(write_run(tmp_path / name)) for name in "ab"]
    compare.main([*runs, "--out", str(tmp_path / "out")])
    (tmp_path / "out/compare.md").write_text("old")
    compare.main([*runs, "--out", str(tmp_path / "out")])
    assert (tmp_path / "out/compare.md").read_text() != "old"


def test_names_are_the_folders_own_where_they_differ(tmp_path):
    assert name_runs([tmp_path / "x", tmp_path / "x/../y"]) == ["x", "y"]
    assert name_runs([Path("one/run"), Path("two/run")]) == ["one/run", "two/run"]
