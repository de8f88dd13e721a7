"""The design that screens a recipe: its columns, what each training sets, and the effects that come of the scores."""

import json

import numpy as np
import pytest

from benchmarks import screen_recipe
from benchmarks.screen_recipe import CHOICES, EPOCHS, RUNS, TOGETHER, list_settings, list_signs, measure_effects
from tfseg.config.settings import SETTINGS


def score_by(effects: dict[str, float]) -> np.ndarray:
    """Scores of the 16 trainings if each choice adds its points."""
    scores = np.full(RUNS, 70.0)
    for name, points in effects.items():
        scores += np.where(list_signs(CHOICES[name][0]) > 0, points, 0.0)
    return scores


def test_every_level_meets_every_level_of_another_choice_as_often():
    columns = np.array([list_signs(column) for column in range(1, RUNS)])
    assert (columns @ columns.T == RUNS * np.eye(RUNS - 1)).all()
    assert (columns.sum(axis=1) == 0).all()


def test_each_choice_has_a_column_of_its_own_and_the_likeliest_pairs_have_others():
    columns = [column for column, _ in CHOICES.values()]
    assert len({*columns}) == len(columns) == 10
    assert {CHOICES[first][0] ^ CHOICES[second][0] for first, second in TOGETHER}.isdisjoint(columns)


def test_the_settings_are_known_and_take_as_many_epochs_as_the_pair_says():
    first, last = list_settings(0, EPOCHS), list_settings(15, EPOCHS)
    assert first == {
        "data.rare_class_sampling": 0.5,
        "loss.auxiliary": 0.4,
        "optimizer.ema_momentum": 0.99,
        "optimizer.encoder_lr_multiplier": 0.3,
        "data.size": "192x256",
        "augment.class_mix": 0.5,
        "train.epochs": 10,
        "train.seed": 0,
    }
    assert {name for _, chosen in CHOICES.values() for name in chosen} < last.keys()
    assert last["train.epochs"] == EPOCHS["block 192x256"]
    assert {*first, *last} <= {*SETTINGS}


def test_effects_are_found_again():
    added = {"block": -2.0, "jitter": 1.5, "class_mix": 0.25}
    found = measure_effects(score_by(added))
    assert found["effects"] == pytest.approx(dict.fromkeys(CHOICES, 0.0) | added)
    assert found["interval"] == pytest.approx(0, abs=1e-9)


def test_choices_that_act_together_show_apart_from_their_own_effects():
    both = list_signs(CHOICES["cross_entropy"][0]) * list_signs(CHOICES["auxiliary"][0])
    found = measure_effects(score_by({}) + both)
    assert found["together"]["cross_entropy, auxiliary"] == pytest.approx(2)
    assert found["effects"] == pytest.approx(dict.fromkeys(CHOICES, 0.0))
    assert found["interval"] > 1  # what no choice explains is taken for chance


def test_intervals_hold_what_chance_makes():
    generator = np.random.default_rng(0)
    found = [measure_effects(70 + generator.normal(0, 1, RUNS)) for _ in range(400)]
    inside = [abs(effect) <= one["interval"] for one in found for effect in one["effects"].values()]
    assert 0.93 < np.mean(inside) < 0.97


def test_ended_trainings_are_read_and_not_run_again(tmp_path, monkeypatch, capsys):
    for run in range(RUNS):
        folder = tmp_path / "runs" / f"{run:02}"
        folder.mkdir(parents=True)
        metrics = {"classes": ["void", "road", "pole"], "iou": [None, 0.9, run / 100], "mean_iou": 0.45 + run / 200}
        (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        (folder / "history.csv").write_text("epoch,seconds\n1,2.5\n2,1.5\n", encoding="utf-8")
    arguments = ["--config", "none.yaml", "--out", str(tmp_path / "runs"), "--classes", "pole"]
    monkeypatch.setattr("sys.argv", ["screen_recipe", *arguments, "--json", str(tmp_path / "results.json")])
    screen_recipe.main()
    assert "| half of a 95 % interval |" in capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["results"]
    assert results["runs"][7] | {"settings": None} == {
        "settings": None,
        "epochs": 2,
        "seconds": 4.0,
        "mean": pytest.approx(48.5),
        "iou": {"road": 90.0, "pole": pytest.approx(7)},
    }
    assert results["effects"]["pole"]["effects"].keys() == CHOICES.keys()
