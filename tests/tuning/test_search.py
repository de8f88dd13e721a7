"""The search as its user runs it, with fake_training.py in the place of trainings."""

import csv
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import optuna
import pytest

from tfseg import tune
from tfseg.config.parse import load_config, parse_config
from tfseg.io import locks, stopped
from tfseg.runs import run_dir
from tfseg.tuning import processes, report, search
from tfseg.tuning.space import read_space
from tfseg.tuning.study import open_study

TESTS = Path(__file__).parent
FAKE = (sys.executable, str(TESTS / "fake_training.py"))
CONFIG = """
data: {records: city}
run_dir: run
train: {epochs: 8, save_minutes: 0}
"""
RATES = "optimizer.learning_rate: {low: 1e-4, high: 0.1, log: true}\n"


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Of a search in the working directory, to which others can be added."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search, "COMMAND", FAKE)
    monkeypatch.setattr(search, "POLL", 0.05)
    Path("run.yaml").write_text(CONFIG)
    Path("space.yaml").write_text(RATES + "augment.hue: {low: 0, high: 30}")
    return ["--config", "run.yaml", "--space", "space.yaml", "--out", "out"]


def read_trials():
    with Path("out/trials.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.long
def test_finds_the_learning_rate_and_keeps_what_is_of_use(arguments, capsys):
    tune.main([*arguments, "--trials", "6", "--parallel", "2"])
    trials = read_trials()
    assert len(trials) == 6
    assert (float(trials[0]["optimizer.learning_rate"]), float(trials[0]["augment.hue"])) == (1e-4, 0), "the config's"
    whole = [trial for trial in trials if trial["state"] == "complete"]
    best = max(whole, key=lambda trial: float(trial["mean_iou"]))
    assert abs(math.log(float(best["optimizer.learning_rate"]) / 0.01)) < 1
    assert float(best["mean_iou"]) > float(trials[0]["mean_iou"])

    found = load_config("out/best.yaml")
    assert found.run_dir == "out/best"
    assert (found.train.epochs, found.data.records) == (8, "city")
    assert found.optimizer.learning_rate == float(best["optimizer.learning_rate"])
    head = Path("out/best.yaml").read_text()
    mean_iou = f"{float(best['mean_iou']):.4f}"
    assert head.startswith(f"# mean_iou {mean_iou} in validation on val: trial {best['trial']}, the best of 6")
    assert "python -m tfseg.tune --config run.yaml --space space.yaml --out out --trials 6 --parallel 2\n" in head
    assert len(np.unique(cv2.imread("out/importance.png"))) > 20

    for trial in trials:
        names = {path.name for path in Path(f"out/trial-{int(trial['trial']):04d}").iterdir()}
        assert {"config.yaml", "history.csv"} <= names and "checkpoints" not in names
        assert (names >= {"best.weights.h5", "saved_model"}) == (trial is best)
    output = capsys.readouterr().out
    assert f"\n{best['trial']:>5}  " in output and "6 trials: " in output

    tune.main([*arguments, "--trials", "6"])
    assert "trial 6" not in capsys.readouterr().out
    tune.main([*arguments, "--trials", "7"])
    assert [trial["trial"] for trial in read_trials()] == [str(number) for number in range(7)]


def open_search(arguments):
    """What `tune.main` makes of a command line: the study, yet to be opened, what is common, and the space."""
    options, settings = tune.parse_arguments(arguments)
    config = parse_config(["--config", options.config, *settings])
    space = read_space(options.space, config)
    return open_study(options.out, config, space), config, space


@pytest.mark.long
def test_a_trial_that_learns_worse_than_the_median_is_stopped(arguments, capsys):
    opened, config, space = open_search([*arguments, "--train.epochs", "40", "--train.save_minutes", "0.1"])
    with opened as study:
        for _ in range(5):
            curve = dict.fromkeys(range(1, 41), 0.9)
            study.add_trial(optuna.trial.create_trial(value=0.9, intermediate_values=curve))
        search.Search(study, Path("out"), config, space).run(trials=6)
        bad = study.trials[0]
    assert bad.state == optuna.trial.TrialState.PRUNED
    assert 10 <= max(bad.intermediate_values) < 20, "a quarter of the epochs, and what passes between two looks"
    assert len(processes.read_curve(Path("out/trial-0000"))) < 25
    assert not Path("out/trial-0000/checkpoints").exists()
    assert f"trial 0: pruned after epoch {max(bad.intermediate_values)}\n" in capsys.readouterr().out


def test_no_trial_ends_before_its_learning_rate_has_risen(arguments):
    opened, *_ = open_search([*arguments, "--optimizer.warmup_epochs", "4.5"])
    with opened as study:
        assert study.pruner._n_warmup_steps == 6


# ---- stopped, and resumed

ALONE = (
    f"import runpy; from tfseg.tuning import search; search.COMMAND = {FAKE!r}; "
    f"runpy.run_path({tune.__file__!r}, run_name='__main__')"
)
SLOW = ["--train.epochs", "100", "--train.save_minutes", "0.1", "--trials", "2", "--parallel", "2"]


def start_search(arguments):
    """Starts a search of two trials of 10 seconds in its own process; gives it when both have ended some epochs."""
    command = [sys.executable, "-c", ALONE, *arguments, *SLOW]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while min(len(processes.read_curve(Path(f"out/trial-000{number}"))) for number in range(2)) < 3:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    return process


def check_whole():
    """Each trial has resumed and ended, its epochs one after the other."""
    assert [trial["state"] for trial in read_trials()] == ["complete"] * 2
    for run in (Path("out/trial-0000"), Path("out/trial-0001")):
        assert [epoch for epoch, _ in processes.read_curve(run)] == list(range(1, 101))
        assert run.with_suffix(".log").read_text() == "started\n" * 2


@pytest.mark.long
@pytest.mark.skipif(locks.fcntl is None, reason="no locks here")
def test_a_search_that_was_killed_resumes(arguments, capsys):
    with start_search(arguments) as process:
        with pytest.raises(ValueError, match=r"^out: another search is running here; wait for it, or give another"):
            tune.main([*arguments, *SLOW])
        process.kill()
    tune.main([*arguments, *SLOW])
    assert "trial 1 resumes: optimizer.learning_rate 0.0" in capsys.readouterr().out
    check_whole()


@pytest.mark.long
def test_a_search_that_was_stopped_resumes(arguments):
    with start_search(arguments) as process:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert output.endswith("0 of 2 trials have ended; the same command resumes the search\n")
    for number in range(2):
        with Path(f"out/trial-000{number}.log").open() as log:
            assert locks.take(log), "nothing writes there any more"
    tune.main([*arguments, *SLOW])
    check_whole()


def test_ends_after_so_many_minutes(arguments, capsys):
    tune.main([*arguments, *SLOW, "--timeout", "0.02"])
    assert capsys.readouterr().out.endswith("0 of 2 trials have ended; the same command resumes the search\n")


@pytest.mark.long
def test_a_training_that_ended_while_nobody_looked_is_not_repeated(arguments, capsys):
    tune.main([*arguments, "--trials", "1"])
    with open_search(arguments)[0] as study:
        trial = study.ask()
        trial.suggest_float("optimizer.learning_rate", 1e-4, 0.1, log=True)
    Path("out/trial-0000").rename("out/trial-0001")
    tune.main([*arguments, "--trials", "2"])
    first, second = read_trials()
    assert (second["mean_iou"], second["epochs"]) == (first["mean_iou"], "8")
    assert not Path("out/trial-0001.log").exists()


# ---- what goes wrong


@pytest.mark.long
def test_a_failed_trial_does_not_end_the_search(arguments, capsys):
    Path("space.yaml").write_text(RATES + "augment.blur: {choices: [0, 1]}")
    tune.main([*arguments, "--trials", "4", "--parallel", "2"])
    trials = read_trials()
    assert [trial["state"] for trial in trials] == [
        "failed" if trial["augment.blur"] == "1.0" else "complete" for trial in trials
    ]
    failed = next(trial for trial in trials if trial["state"] == "failed")
    assert failed["error"] == f"out/trial-000{failed['trial']}: no memory for the blur"
    assert f"trial {failed['trial']}: failed: {failed['error']}\n" in capsys.readouterr().out


def test_settings_that_do_not_go_together_are_a_failure(arguments):
    """The space is tried at its ends alone, each with the first of the others."""
    Path("space.yaml").write_text("optimizer.name: {choices: [adamw, adam]}\noptimizer.weight_decay: {low: 0, high: 1}")
    opened, config, space = open_search(arguments)
    with opened as study:
        study.tell(study.ask(), 0.5)
        study.enqueue_trial({"optimizer.name": "adam", "optimizer.weight_decay": 0.5})
        search.Search(study, Path("out"), config, space).run(trials=2)
        assert study.trials[1].user_attrs == {
            "error": "optimizer.weight_decay: expected 0 unless optimizer.name is adamw, got 0.5"
        }


@pytest.mark.long
def test_the_same_failure_three_times_ends_it(arguments, capsys):
    message = r"^3 trials in a row failed in the same way, the last with: out/trial-000%d: no memory for the blur$"
    for last in (2, 5):  # and each start tries anew
        with pytest.raises(ValueError, match=message % last):
            tune.main([*arguments, "--augment.blur", "1"])
        assert len(read_trials()) == last + 1
    assert "no trial has ended with a score yet; out/trials.csv lists them\n" in capsys.readouterr().out
    assert not Path("out/best.yaml").exists()


def test_a_killed_training_is_reported(arguments, monkeypatch):
    monkeypatch.setattr(search, "COMMAND", (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(ValueError, match="the last with: killed by SIGKILL, perhaps for want of memory"):
        tune.main(arguments)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_a_training_that_is_stopped_is_ended_and_reported(arguments, monkeypatch):
    monkeypatch.setattr(stopped, "LOOK", 0.05)
    monkeypatch.setattr(stopped, "PATIENCE", 0.25)
    command = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    monkeypatch.setattr(search, "COMMAND", command)
    with pytest.raises(ValueError, match="the last with: was stopped by a signal, as by SIGSTOP, and did not continue"):
        tune.main(arguments)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_a_training_that_is_stopped_hears_that_the_search_ends():
    program = "import sys, time; print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        processes.stop([process])
        assert process.returncode == -signal.SIGTERM


def test_a_score_that_is_no_number_is_none(arguments, monkeypatch):
    script = "import sys, pathlib; run = pathlib.Path(sys.argv[2][:-5]); run.mkdir(); "
    script += "(run / 'metrics.json').write_text('{\"mean_iou\": null}')"
    monkeypatch.setattr(search, "COMMAND", (sys.executable, "-c", script))
    with pytest.raises(ValueError, match="the last with: mean_iou is not a number"):
        tune.main(arguments)


@pytest.mark.long
def test_a_search_begun_under_old_names_resumes(arguments, capsys):
    """As one of an earlier version, of which the names of settings stand in study.db and in the space."""
    name, old = "optimizer.encoder_lr_multiplier", "optimizer.encoder_rate"
    space = RATES + f"{name}: {{low: 0.1, high: 1.0}}\nstrength: {{multiplies: [data.crop_scale], low: 0, high: 1}}"
    Path("run.yaml").write_text(CONFIG.replace("city", "city, fit: crop, crop_scale: [0.5, 1.0]"))
    Path("space.yaml").write_text(space)
    tune.main([*arguments, "--trials", "2"])
    space = space.replace(name, old).replace("data.crop_scale", "data.scale")
    Path("space.yaml").write_text(space)
    with sqlite3.connect("out/study.db") as study:
        study.execute("UPDATE trial_params SET param_name = ? WHERE param_name = ?", (old, name))
        for now, before in ((name, old), ("data.crop_scale", "data.scale")):
            study.execute("UPDATE study_user_attributes SET value_json = replace(value_json, ?, ?)", (now, before))
    study.close()
    capsys.readouterr()

    tune.main([*arguments, "--trials", "4"])
    assert "warning" not in capsys.readouterr().err
    trials = read_trials()
    assert len(trials) == 4 and all(0.1 <= float(trial[old]) <= 1 for trial in trials)
    best = max(trials, key=lambda trial: float(trial["mean_iou"]))
    assert load_config("out/best.yaml").optimizer.encoder_lr_multiplier == float(best[old])
    Path("space.yaml").write_text(space.replace("high: 1.0", "high: 0.9"))
    with pytest.raises(ValueError, match=rf"the range of {old} was .* 1\.0, .* and is .* 0\.9, "):
        tune.main([*arguments, "--trials", "4"])


@pytest.mark.long
def test_another_search_does_not_resume_in_the_folder(arguments):
    tune.main([*arguments, "--trials", "1"])
    with pytest.raises(
        ValueError, match=r"^out: holds a search with other settings \(train\.epochs was 8 and is 9\); give"
    ):
        tune.main([*arguments, "--trials", "1", "--train.epochs", "9"])
    Path("space.yaml").write_text(RATES.replace("0.1", "0.2"))
    with pytest.raises(ValueError, match=r"the range of augment\.hue was \{.*\} and is null; the range of optimizer"):
        tune.main([*arguments, "--trials", "1"])


def test_what_is_no_search_is_left_alone(arguments):
    Path("out").mkdir()
    Path("out/thesis.tex").touch()
    with pytest.raises(
        ValueError, match=r"^out: is not empty and holds no search \(study\.db is missing\); give another"
    ):
        tune.main(arguments)


@pytest.mark.parametrize("words", [["--trials", "0"], ["--timeout", "0"], ["--seed", "-1"]])
def test_bad_numbers(words, arguments, capsys):
    with pytest.raises(SystemExit):
        tune.main([*arguments, *words])
    assert "expected more than 0" in capsys.readouterr().err


# ---- parts


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7, 4, 5, 6, 8}, raising=False)
    assert processes.share_cores(1) == [[4, 5, 6, 7, 8]]
    assert processes.share_cores(2) == [[4, 6, 8], [5, 7]]
    for parallel in (0, 6):
        with pytest.raises(ValueError, match=f"expected 1 to 5 trainings at a time, .*, got {parallel}"):
            processes.share_cores(parallel)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no choice of cores here")
def test_a_process_is_started_on_its_cores(tmp_path):
    core = max(os.sched_getaffinity(0))
    code = "import os; print(os.sched_getaffinity(0), os.environ['OMP_NUM_THREADS'])"
    with (
        (tmp_path / "log").open("w") as log,
        processes.start_process([sys.executable, "-c", code], log, [core]) as process,
    ):
        process.wait()
    assert (tmp_path / "log").read_text() == f"{{{core}}} 1\n"


def test_a_line_that_is_being_written_is_not_read(tmp_path):
    assert processes.read_curve(tmp_path) == []
    (tmp_path / run_dir.HISTORY).write_text("epoch,loss,val_mean_iou\n1,2,0.25\n2,1,0.5\n3,1,0.")
    assert processes.read_curve(tmp_path) == [(1, 0.25), (2, 0.5)]


def test_each_trial_has_its_own_draw_whatever_was_drawn_before():
    def draw(seed, number):
        return optuna.create_study(sampler=search.make_sampler(seed, number)).ask().suggest_float("x", 0, 1)

    assert draw(0, 3) == draw(0, 3)
    assert len({draw(0, 3), draw(0, 4), draw(1, 3)}) == 3


def make_study(scores):
    """A study of trials (rate, hue, score, whether it was pruned)."""
    study = optuna.create_study(direction="maximize")
    spread = optuna.distributions.FloatDistribution(0, 1)
    for rate, hue, score, pruned in scores:
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                params={"rate": rate, "hue": hue},
                distributions={"rate": spread, "hue": spread},
                value=score,
                intermediate_values={1: score},
            )
        )
    return study


def test_what_mattered_is_seen_though_the_bad_were_pruned():
    random = np.random.default_rng(0)
    drawn = random.uniform(size=(60, 2))
    study = make_study([(rate, hue, rate, rate < 0.9) for rate, hue in drawn])
    shares = report.weigh(study)
    assert list(shares) == ["rate", "hue"]
    assert shares["rate"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


def test_few_trials_say_nothing():
    assert report.weigh(make_study([(0.1, 0.2, 0.5, False), (0.3, 0.2, 0.6, False)])) == {}


def test_a_pruned_trial_is_below_all_that_were_not():
    study = make_study([(0.1, 0.2, 0.5, False), (0.3, 0.2, 0.9, True), (0.25, 0.2, 0.7, False)])
    assert report.table(study, {"rate": None, "hue": None}).splitlines() == [
        "trial  mean_iou    epochs  rate  hue",
        "    2    0.7000         1  0.25  0.2",
        "    0    0.5000         1   0.1  0.2",
        "    1    0.9000  1 pruned   0.3  0.2",
        "3 trials: 2 complete, 1 pruned",
    ]


def test_records_of_a_search_are_known_by_what_they_are(arguments, tiny_records):
    def open_on(records):
        opened, _, _ = open_search([*arguments, "--data.records", str(records)])
        with opened:
            pass

    moved = shutil.copytree(tiny_records, "moved")
    open_on(tiny_records)
    open_on(moved)
    with Path(moved, "manifest.json").open("a") as file:
        file.write(" ")
    with pytest.raises(ValueError, match=r"other settings \(data.records was"):
        open_on(moved)
    changed = shutil.copytree(tiny_records, "changed")
    arguments[-1] = "new"
    open_on(changed)
    shutil.copy("moved/manifest.json", changed)
    with pytest.raises(ValueError, match=r"other settings \(manifest.json was \"\w+\" and is \"another\"\)"):
        open_on(changed)
