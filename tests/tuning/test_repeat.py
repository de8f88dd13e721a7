"""A repeat as its user runs it, with fake_training.py in the place of trainings."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfseg import repeat
from tfseg.config.parse import load_config
from tfseg.io import stopped
from tfseg.runs import repeat_dir
from tfseg.tuning import processes
from tfseg.tuning import repeat as room
from tfseg.tuning.repeat import choose_seeds, repeat_training

FAKE = (sys.executable, str(Path(__file__).parent / "fake_training.py"))
CONFIG = """
data: {records: city}
run_dir: out
train: {epochs: 2, save_minutes: 0}
"""
OUT = Path("out")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(room, "COMMAND", FAKE)
    monkeypatch.setattr(room, "POLL", 0.05)
    Path("run.yaml").write_text(CONFIG)


def read_summary():
    return json.loads((OUT / "repeat.json").read_text())


def count_starts(seed):
    return (OUT / f"seed-{seed}.log").read_text().count("started\n")


@pytest.mark.long
def test_each_seed_is_trained_once_and_all_are_scored_together(capsys):
    """IoU of flat is 0.5, 0.6 and 0.7, and of sky 1; images do not differ, so that t * deviation / 3**0.5 is left."""
    repeat.main(["run.yaml", "--seeds", "3", "--parallel", "2"])
    printed = capsys.readouterr().out
    assert "seed 2: epoch 2 of 2, mean_iou 0.4" in printed and "seed 0: has ended, mean_iou 0.1230" in printed
    page = (OUT / "repeat.md").read_text()
    assert printed.endswith(f"\n{page}\nwritten: out/repeat.json, out/repeat.md\n")
    assert page.splitlines() == [
        "| IoU %                      |  mean | deviation |  95 % interval | seed 0 | seed 1 | seed 2 |",
        "| -------------------------- | ----: | --------: | -------------: | -----: | -----: | -----: |",
        "| flat                       |  60.0 |      10.0 |   35.2 to 84.8 |   50.0 |   60.0 |   70.0 |",
        "| sky                        | 100.0 |       0.0 | 100.0 to 100.0 |  100.0 |  100.0 |  100.0 |",
        "| mean over 2, void left out |  80.0 |       5.0 |   67.6 to 92.4 |   75.0 |   80.0 |   85.0 |",
        "",
        "2 images of val, at the ground truth's size. Means over 3 seeds; deviation is the standard",
        "deviation over them. Intervals show what other images and other seeds might change, together: by 10,000",
        "draws of images, and Student's t for the seeds.",
        "",
        "| training | epochs | best epoch | minutes |",
        "| -------- | -----: | ---------: | ------: |",
        *(f"| seed {seed}   |      2 |          1 |       - |" for seed in range(3)),
    ]
    summary = read_summary()
    assert summary["mean_iou"] == pytest.approx(0.8) and summary["seeds"]["mean_iou"] == pytest.approx(
        [0.75, 0.8, 0.85]
    )
    assert summary["seeds"]["iou_deviation"] == [None, pytest.approx(0.1), 0]
    assert summary["trainings"][1] == {"seed": 1, "epochs": 2, "best_epoch": 1, "seconds": None}
    assert [load_config(OUT / f"seed-{seed}/config.yaml").train.seed for seed in range(3)] == [0, 1, 2]

    repeat.main(["--config", "run.yaml", "--seeds", "1"])
    printed = capsys.readouterr().out
    assert "seed 0: has ended before, mean_iou" in printed and "starts" not in printed
    assert (OUT / "repeat.md").read_text() == page, "those of before count, too"
    repeat.main(["run.yaml", "--seeds", "1,4"])
    assert read_summary()["seeds"]["seeds"] == [0, 1, 2, 4]


def test_a_single_seed_has_no_deviation():
    repeat.main(["run.yaml", "--seeds", "1", "--train.seed", "2"])
    assert read_summary()["seeds"]["seeds"] == [2]
    text = (OUT / "repeat.md").read_text()
    assert "| flat                       |  70.0 |         - |" in text
    assert "Of a single seed, intervals show what other images might\nchange, not what another seed might." in text


@pytest.mark.long
def test_a_seed_that_fails_is_reported_and_the_others_are_kept(capsys):
    Path("fail-1").touch()
    with pytest.raises(SystemExit) as ended:
        repeat.main(["run.yaml", "--parallel", "2"])
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert printed.count("seed 1: failed with exit code 1: no room for seed 1\n") == 2, "at once, and at the end"
    assert "2 of 3 seeds have ended; the same command resumes the repeat\n" in printed
    summary = read_summary()
    assert summary["seeds"]["seeds"] == [0, 2]
    assert summary["failures"] == [{"seed": 1, "exit_code": 1, "message": "started\nno room for seed 1"}]
    Path("fail-1").unlink()
    repeat.main(["run.yaml"])
    assert read_summary()["seeds"]["seeds"] == [0, 1, 2] and not read_summary()["failures"]
    assert [count_starts(seed) for seed in range(3)] == [1, 2, 1]


def test_where_all_fail_it_is_an_error():
    with pytest.raises(ValueError, match=r"^out: no training ended; seed 1: failed with exit code 1: .* for the blur$"):
        repeat.main(["run.yaml", "--seeds", "2", "--augment.blur", "1"])
    assert not (OUT / "repeat.json").exists()


# ---- stopped, and resumed

ALONE = (
    f"import runpy; from tfseg.tuning import repeat; repeat.COMMAND = {FAKE!r}; "
    f"runpy.run_path({repeat.__file__!r}, run_name='__main__')"
)
SLOW = ["run.yaml", "--seeds", "2", "--train.epochs", "100", "--train.save_minutes", "0.1"]


@pytest.mark.long
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_a_repeat_that_was_stopped_resumes(way, capsys):
    command = [sys.executable, "-c", ALONE, *SLOW]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while len(processes.read_curve(OUT / "seed-0")) < 3:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        if way is signal.SIGKILL:
            with pytest.raises(ValueError, match=r"^out: is being trained by process .*; wait until it ends, or give"):
                repeat.main(SLOW)
        process.send_signal(way)
        printed, _ = process.communicate(timeout=30)
    assert process.returncode == (130 if way is signal.SIGINT else -signal.SIGKILL)
    if way is not signal.SIGKILL:
        assert printed.endswith("0 of 2 seeds have ended; the same command resumes the repeat\n")
    before = len(processes.read_curve(OUT / "seed-0"))
    capsys.readouterr()
    repeat.main([*SLOW, "--train.save_minutes", "0"])
    printed = capsys.readouterr().out
    assert "seed 0: resumes; output in out/seed-0.log\n" in printed and "seed 1: starts;" in printed
    assert f"seed 0: epoch {before} of" not in printed and "seed 0: epoch 100 of 100" in printed
    for seed in range(2):
        assert [epoch for epoch, _ in processes.read_curve(OUT / f"seed-{seed}")] == list(range(1, 101))
    assert [count_starts(seed) for seed in range(2)] == [2, 1]


@pytest.mark.long
def test_all_seeds_continue_for_more_epochs():
    two = ["run.yaml", "--seeds", "2", "--parallel", "2"]
    repeat.main(two)
    repeat.main([*two, "--train.epochs", "3"])
    assert [training["epochs"] for training in read_summary()["trainings"]] == [3, 3]


@pytest.mark.long
def test_seeds_that_are_not_asked_for_must_not_stay_behind(capsys):
    repeat.main(["run.yaml", "--seeds", "2", "--parallel", "2"])
    wanted = r"^out: train\.epochs is more than those of seed 1, which ended before; give --seeds 0,1 to continue"
    with pytest.raises(ValueError, match=wanted):
        repeat.main(["run.yaml", "--seeds", "1", "--train.epochs", "3"])
    assert count_starts(0) == 1, "it is said before anything is trained"
    repeat.main(["run.yaml", "--seeds", "0,1", "--train.epochs", "3"])
    assert [training["epochs"] for training in read_summary()["trainings"]] == [3, 3]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_a_training_that_is_stopped_is_ended_and_reported(monkeypatch):
    monkeypatch.setattr(stopped, "LOOK", 0.05)
    monkeypatch.setattr(stopped, "PATIENCE", 0.25)
    monkeypatch.setattr(
        room, "COMMAND", (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    )
    with pytest.raises(ValueError, match="seed 0: failed with exit code -9: was stopped by a signal, as by SIGSTOP"):
        repeat.main(["run.yaml", "--seeds", "1"])


@pytest.mark.long
def test_another_repeat_is_refused_unless_it_overwrites(capsys):
    repeat.main(["run.yaml", "--seeds", "2", "--parallel", "2"])
    changed = ["run.yaml", "--seeds", "1", "--quiet", "--augment.hue", "10"]
    with pytest.raises(ValueError, match=r"^out: holds a repeat with other settings \(augment\.hue was 0\.0 and is 10"):
        repeat.main(changed)
    capsys.readouterr()
    repeat.main([*changed, "--overwrite", "true"])
    assert repeat_dir.list_seeds(OUT) == [0] and read_summary()["seeds"]["seeds"] == [0]
    assert "epoch 1 of 2" not in capsys.readouterr().out


# ---- the command line


def test_seeds_are_counted_from_the_configs_own():
    assert choose_seeds(3, own=0) == choose_seeds(3, own=None) == [0, 1, 2]
    assert choose_seeds(2, own=7) == [7, 8]
    assert choose_seeds([9, 5], own=7) == [9, 5]
    for bad in ([], [3, 3]):
        with pytest.raises(ValueError, match=r"^seeds: expected one or more, each once, got (none|3, 3)$"):
            choose_seeds(bad, own=0)


@pytest.mark.parametrize("words", [["run.yaml"], ["--config", "run.yaml"], ["--config=run.yaml"]])
@pytest.mark.parametrize("first", [True, False])
def test_the_file_stands_by_itself_or_after_config(words, first):
    seeds = ["--seeds", "0,5,9"]
    options, settings = repeat.parse_arguments([*(words + seeds if first else seeds + words), "--train.epochs", "3"])
    assert options.seeds == [0, 5, 9] and settings == ["--config", "run.yaml", "--train.epochs", "3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0"], "expected how many, 1 to 999, or two or more seeds, such as 0,5,9, got '0'"),
        (["--seeds", "-1"], "expected"),
        (["--seeds", "1,"], "got '1,'"),
        (["--seeds", "1000"], "got '1000'"),
        (["--config", "a.yaml", "b.yaml"], "expected one FILE.yaml, got a.yaml and b.yaml"),
        (["run.yaml", "--frobnicate", "1"], "frobnicate"),
    ],
)
def test_what_it_does_not_know_is_refused(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        repeat.main(words)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_what_cannot_be_trained_leaves_no_folder():
    config = load_config("run.yaml")
    with pytest.raises(ValueError, match=r"^expected 1 to \d+ trainings at a time"):
        repeat_training(config, parallel=10_000)
    with pytest.raises(ValueError, match=r"^train\.seed: expected 0 to 4294967295, or null, got 4294967296$"):
        repeat_training(config, [0, 2**32])
    assert not OUT.exists()
