"""The report on a repeat whose evaluation is a literal; tests/tuning/test_repeat.py has its table."""

import json

import pytest
from helper_scores import write_run, write_scores

from tfseg.evaluation import scored_run
from tfseg.evaluation.repeat_report import Failure, lay_out, read_training, report_repeat
from tfseg.evaluation.score_files import Evaluation


@pytest.fixture
def repeat(tmp_path):
    folder = tmp_path / "repeat"
    folder.mkdir()
    for seed in range(2):
        run = write_run(folder / f"seed-{seed}", f"train: {{seed: {seed}}}\n")
        (run / "metrics.json").write_text('{"epoch": 2, "seconds": 1}')
        (run / "history.csv").write_text("epoch,val_mean_iou,seconds\n1,0.5,40\n2,0.6,50\n3,0.6,60.04\n")
    return folder


def test_the_time_of_all_epochs_adds_up(repeat):
    """Of a run that was resumed, metrics.json has the seconds of its last start alone."""
    training = read_training(repeat, 1)
    assert (training.seed, training.epochs, training.best_epoch, training.seconds) == (1, 3, 2, 150.0)
    assert "| seed 1   |      3 |          2 |     2.5 |" in lay_out(report_repeat(repeat))


def test_failures_end_the_page_in_a_line_each(repeat):
    failures = [Failure(7, 1, "a\nno | memory"), Failure(8, -9, "")]
    text = lay_out(report_repeat(repeat, failures=failures))
    assert text.splitlines()[-2:] == [
        r"* seed 7: failed with exit code 1: no \| memory",
        "* seed 8: failed with exit code -9: ended without a word",
    ]
    assert json.loads((repeat / "repeat.json").read_text())["failures"][0]["message"] == "a\nno | memory"


def test_seeds_without_scores_are_scored_first(repeat, monkeypatch):
    (repeat / "seed-1/scores-val.json").unlink()

    def score(folder, split):
        assert folder == repeat / "seed-1"
        write_scores(folder)
        return Evaluation(split, "city", {}, [], None, ("a note",))

    monkeypatch.setattr(scored_run, "evaluate_run", score)
    assert [evaluation.notes for evaluation in report_repeat(repeat).evaluations] == [("a note",)]


def test_a_run_is_no_repeat(repeat):
    with pytest.raises(ValueError, match="seed-0: is the folder of a run, expected that of a repeat"):
        report_repeat(repeat / "seed-0")
    assert not (repeat / "seed-0/repeat.json").exists()
