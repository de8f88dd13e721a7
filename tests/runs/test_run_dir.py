import dataclasses
import json
import os
import shutil
import subprocess
import sys

import pytest
from helper_killed import moments
from helpers import write_run

from tfseg.config.parse import save_config
from tfseg.config.schema import Accelerator, Config, Data, Model, Train
from tfseg.io import locks, removal
from tfseg.io.atomic import write_json, write_whole
from tfseg.models.segmenter import build_network
from tfseg.records.record_set import open_records
from tfseg.runs import run_dir
from tfseg.runs.contents import RUN
from tfseg.runs.weights import load_network, save_weights
from tfseg.training import distribution, loop


def settings(directory, **others):
    model = Model("tiny", None, decoder_channels=(8, 8, 8, 8, 8))
    return Config(Data("somewhere"), str(directory), model=model, **others)


def test_a_new_folder_is_made(tmp_path):
    assert run_dir.open_run(settings(tmp_path / "a/b")).is_dir()
    run_dir.open_run(settings(tmp_path / "a/b"))  # still empty


def test_an_earlier_run_is_deleted_only_if_asked(tmp_path):
    save_config(settings(tmp_path), tmp_path / run_dir.CONFIG)
    (tmp_path / run_dir.METRICS).write_text("{}")
    with pytest.raises(ValueError, match=r"holds an earlier run; .*give another run_dir, or --overwrite true"):
        run_dir.open_run(settings(tmp_path))
    assert (tmp_path / run_dir.CONFIG).exists()
    run_dir.open_run(settings(tmp_path, overwrite=True))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run_is_never_deleted(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="holds no run"):
        run_dir.open_run(settings(tmp_path, overwrite=True))
    assert (tmp_path / "thesis.tex").exists()


def whole_run(directory, mark=True):
    """A run with everything that trainings, evaluations and reports leave."""
    write_run(settings(directory))
    for name in (
        *("records.json", "history.csv", "trackers.json", "best.weights.h5", "metrics.json", "report.html"),
        *("scores-val.json", "matrices-val.npz", "checkpoints/00000300.weights.h5", "checkpoints/00000300.json"),
        *("checkpoints/incomplete-00000301.json", "tensorboard/train/events.out.tfevents.1700.host.1.0.v2"),
        *("tensorboard/validation/events.out.tfevents.1700.host.1.1.v2", "report/curves.png", "report/panel-best.png"),
        *("saved_model/saved_model.pb", "saved_model/labels.json", "saved_model/variables/variables.index"),
        *("saved_model/model.onnx", "wandb/run-1/logs/debug.log", "predictions/oakhollow/a_classes.png"),
        *("predictions/b_overlay.png", ".saved_model.tfseg-incomplete/new/saved_model.pb", "incomplete-metrics.json"),
    ):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(name)
    (directory / "saved_model/assets").mkdir()
    (directory / "wandb/latest-run").symlink_to("run-1")
    if mark:
        removal.write_mark(directory, RUN)
    return directory


def names(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.parametrize("mark", [True, False])
def test_all_that_a_run_leaves_is_deleted_if_asked(tmp_path, mark):
    run = whole_run(tmp_path / "run", mark)
    (run / ".DS_Store").touch()
    run_dir.open_run(settings(run, overwrite=True))
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize(
    "name",
    [
        *("notes.md", ".notes", "records/manifest.json", "records/train-00000-of-00001.tfrecord", "my.yaml"),
        *("checkpoints/2024-notes.txt", "checkpoints/300.json", "saved_model/notes.txt", "report/mine.png"),
        *("tensorboard/train/mine.txt", "predictions/a.png", "config.yaml.bak", "saved_model/assets/mine.txt"),
    ],
)
def test_a_run_with_what_is_not_of_it_is_kept_whole(tmp_path, name):
    run = whole_run(tmp_path / "run")
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text("years of work")
    before = names(run)
    stranger = "records/" if name.startswith("records") else name
    with pytest.raises(ValueError, match=rf"run: holds a file or folder \({stranger}\), no part of a run, so nothing"):
        run_dir.open_run(settings(run, overwrite=True))
    assert names(run) == before


def test_a_link_in_a_run_is_not_followed(tmp_path):
    run = whole_run(tmp_path / "run")
    (run / "saved_model").rename(tmp_path / "away")
    (run / "saved_model").symlink_to(tmp_path / "away")
    before = names(tmp_path)
    with pytest.raises(ValueError, match=r"\(saved_model \(a link\)\)"):
        run_dir.open_run(settings(run, overwrite=True))
    (tmp_path / "latest").symlink_to("run")
    with pytest.raises(ValueError, match="latest: is a symbolic link to run; name that folder itself"):
        run_dir.open_run(settings(tmp_path / "latest", overwrite=True))
    assert names(tmp_path) == sorted([*before, "latest"])


def test_the_working_directory_is_no_run_to_delete(tmp_path, monkeypatch):
    run = whole_run(tmp_path / "run")
    before = names(run)
    for place, name in ((run, "."), (run / "report", ".."), (run / "report", str(run))):
        monkeypatch.chdir(place)
        with pytest.raises(ValueError, match="working directory, which is never removed"):
            run_dir.open_run(settings(name, overwrite=True))
    assert names(run) == before


@pytest.mark.parametrize("text", ["a: 1\n", "- 1\n", "\x00", "data: {records: x}\nrun_dir: x\n"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_config_of_somebody_makes_no_run(tmp_path, text, overwrite):
    """Not even that of a training, alone: it is what its user wrote."""
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds no run \(its config\.yaml is not that of a training, or alone\)"):
        run_dir.open_run(settings(tmp_path, overwrite=overwrite))
    (tmp_path / "thesis.tex").unlink()
    with pytest.raises(ValueError, match="holds no run"):
        run_dir.open_run(settings(tmp_path, overwrite=overwrite))
    assert (tmp_path / "config.yaml").read_text() == text


@pytest.mark.long
@pytest.mark.parametrize("mark", [True, False])
def test_killed_at_any_moment_while_a_run_is_deleted(tmp_path, monkeypatch, mark):
    run = tmp_path / "run"

    def prepare():
        shutil.rmtree(run, ignore_errors=True)
        whole_run(run, mark)

    for _ in moments(monkeypatch, prepare, lambda: run_dir.open_run(settings(run, overwrite=True))):
        run_dir.open_run(settings(run, overwrite=True))
        assert {*names(run)} <= {removal.MARK}, "which is no run, and in nobody's way"


def test_weights_that_a_search_needs_no_more(tmp_path):
    run = whole_run(tmp_path / "run")
    before = names(run)
    assert run_dir.remove_weights(run, best=True) == ""
    assert {*before} - {*names(run)} == {name for name in before if name.startswith("checkpoints")}
    assert run_dir.remove_weights(run, best=False) == ""
    gone = {*before} - {*names(run)}
    assert gone == {name for name in before if name.startswith(("checkpoints", "saved_model", "best.weights.h5"))}
    run = whole_run(tmp_path / "other")
    (run / "checkpoints/notes.txt").touch()
    before = names(run)
    assert "checkpoints: holds a file or folder (notes.txt)" in run_dir.remove_weights(run, best=False)
    assert names(run) == before


def test_a_lock_takes_no_file_of_others(tmp_path):
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.lock").symlink_to(tmp_path / "precious")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/.lock").write_text("years of work")
    for name, message in (
        ("a", "is no plain file"),
        ("b", "is not the file of a lock, it begins with 'years of work'"),
    ):
        with pytest.raises(OSError, match=rf"\.lock: {message}"), run_dir.hold_run(tmp_path / name):
            pass
        assert (tmp_path / name / ".lock").read_text() == "years of work"


def test_a_stopped_run_goes_on_with_the_same_settings_alone(tmp_path):
    save_config(settings(tmp_path), tmp_path / run_dir.CONFIG)
    (tmp_path / run_dir.BEST_WEIGHTS).write_text("")
    run_dir.open_run(settings(tmp_path, accelerator=Accelerator("cpu", "float32"), train=Train(rollbacks=2)))
    others = settings(tmp_path, train=Train(epochs=3, seed=7))
    with pytest.raises(
        ValueError, match=r"other settings \(train.epochs was 10 and is 3; train.seed was 0 and is 7\);"
    ):
        run_dir.open_run(others)
    assert (tmp_path / run_dir.BEST_WEIGHTS).exists()


def test_json_has_null_for_nan(tmp_path):
    write_json({"iou": [float("nan"), 0.5], "name": "a"}, tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text()) == {"iou": [None, 0.5], "name": "a"}


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "best.weights.h5"
    path.write_text("old")
    with pytest.raises(OSError, match="No space"), write_whole(path) as unfinished:
        unfinished.write_text("half")
        raise OSError("No space left on device")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("best.weights.h5", "old")]


@pytest.mark.long
def test_network_comes_back(tmp_path):
    write_run(settings(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"best.weights.h5: missing; the run ended before"):
        load_network(tmp_path)
    network = build_network(8, "tiny", None, decoder_channels=(8, 8, 8, 8, 8))
    save_weights(network, tmp_path / run_dir.BEST_WEIGHTS)
    for a, b in zip(load_network(tmp_path).get_weights(), network.get_weights(), strict=True):
        assert (a == b).all()


@pytest.mark.long
def test_a_network_comes_back_with_its_skips(tmp_path):
    config = settings(tmp_path)
    model = dataclasses.replace(config.model, encoder="efficientnetlite0", weights=None, skips="block")
    write_run(dataclasses.replace(config, model=model))
    network = build_network(8, "efficientnetlite0", None, decoder_channels=(8, 8, 8, 8, 8), skips="block")
    save_weights(network, tmp_path / run_dir.BEST_WEIGHTS)
    assert load_network(tmp_path).count_params() == network.count_params()


def test_damaged_weights_are_named(tmp_path):
    write_run(settings(tmp_path))
    (tmp_path / run_dir.BEST_WEIGHTS).write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"best.weights.h5: cannot be read"):
        load_network(tmp_path)


def test_a_folder_of_runs_names_them(tmp_path):
    for name in ("seed-1", "seed-0"):
        (tmp_path / name).mkdir()
        save_config(settings(tmp_path / name), tmp_path / name / run_dir.CONFIG)
    with pytest.raises(FileNotFoundError, match=r"config\.yaml is missing\); give one that it holds: seed-0, seed-1$"):
        run_dir.read_config(tmp_path)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        load_network(tmp_path)


def train_in(directory, records, **others):
    return Config(Data(str(records)), str(directory), model=Model("tiny", None), **others)


def begin(config, learnt=True):
    """What a training leaves that has begun."""
    directory = write_run(config)
    run_dir.note_records(config, open_records(config.data.records))
    if learnt:
        (directory / run_dir.CHECKPOINTS).mkdir()
        (directory / run_dir.CHECKPOINTS / "00000003.json").write_text("{}")
    return directory


@pytest.mark.long
def test_records_are_known_by_what_they_are(tmp_path, tiny_records, monkeypatch):
    records = shutil.copytree(tiny_records, tmp_path / "recs")
    monkeypatch.chdir(tmp_path)
    begin(train_in("run", "recs"))
    moved = shutil.copytree(tiny_records, tmp_path / "elsewhere")
    for same in ("recs", "recs/", "./recs", "run/../recs", records, moved):
        run_dir.check_run(train_in("run", same))
    with (moved / "manifest.json").open("a") as file:
        file.write("\n")
    with pytest.raises(
        ValueError, match=r"other settings \(data.records had manifest.json \w{12}, at /.*recs, and has"
    ):
        run_dir.check_run(train_in("run", moved))
    shutil.copy(moved / "manifest.json", records)
    with pytest.raises(ValueError, match=r"run: holds a run with other settings \(data.records had manifest.json"):
        run_dir.check_run(train_in("run", "recs"))
    shutil.rmtree(records)
    with pytest.raises(FileNotFoundError, match="recs: no such folder of records"):
        run_dir.check_run(train_in("run", "recs"))


def test_records_that_are_replaced_under_a_training_end_it(tmp_path, tiny_records):
    records = open_records(shutil.copytree(tiny_records, tmp_path / "recs"))
    stamp = run_dir.stamp_records(records)
    run_dir.check_records(records, stamp)
    (tmp_path / "recs").rename(tmp_path / "away")
    run_dir.check_records(records, stamp)  # nothing is known
    shutil.copytree(tiny_records, tmp_path / "recs")
    run_dir.check_records(records, stamp)
    with (tmp_path / "recs/manifest.json").open("a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match=r"recs: has another manifest\.json than when this training began"):
        run_dir.check_records(records, stamp)


@pytest.mark.skipif(locks.fcntl is None, reason="no locks here")
def test_records_that_are_being_replaced_are_not_trained_on(tiny_records):
    with locks.hold_folder(tiny_records), pytest.raises(ValueError, match="a conversion is replacing these records"):
        loop.train_run(train_in(tiny_records.with_name("run"), tiny_records))
    with run_dir.hold_records(tiny_records), run_dir.hold_records(tiny_records), run_dir.hold_records("nowhere"):
        pass


def test_a_run_of_before_is_compared_by_the_words(tmp_path, tiny_records):
    run = begin(train_in(tmp_path / "run", tiny_records))
    (run / run_dir.RECORDS).unlink()
    run_dir.check_run(train_in(run, tiny_records))
    with pytest.raises(ValueError, match=r"other settings \(data.records was .* and is"):
        run_dir.check_run(train_in(run, f"{tiny_records}/."))


def test_a_start_that_learnt_nothing_refuses_nothing(tmp_path, tiny_records):
    run = begin(train_in(tmp_path / "run", tiny_records, train=Train(batch_size=4096)), learnt=False)
    (run / run_dir.HISTORY).write_text("")
    (run / run_dir.TENSORBOARD).mkdir()
    run_dir.open_run(train_in(run, "others", train=Train(batch_size=8)))
    assert sorted(path.name for path in run.iterdir()) == [removal.MARK, run_dir.CONFIG, run_dir.RECORDS]


def test_records_of_a_run_are_found_from_anywhere(tmp_path, tiny_records, monkeypatch):
    records = shutil.copytree(tiny_records, tmp_path / "here/recs")
    monkeypatch.chdir(tmp_path / "here")
    run = begin(train_in("run", "recs")).resolve()
    assert run_dir.open_run_records(run).folder == "recs"
    monkeypatch.chdir("/")
    assert run_dir.open_run_records(run).folder == str(records)
    other = shutil.copytree(tiny_records, tmp_path / "there/recs")
    with (other / "manifest.json").open("a") as file:
        file.write("\n")
    monkeypatch.chdir(tmp_path / "there")
    assert run_dir.open_run_records(run).folder == str(records), "what lies here under that name is not the run's"
    assert run_dir.open_run_records(run, str(other)).folder == str(other), "but that was asked for"
    shutil.rmtree(records)
    with pytest.raises(FileNotFoundError) as raised:
        run_dir.open_run_records(run)
    assert "recs: has another manifest.json" in str(raised.value) and f"{records}: no such folder" in str(raised.value)
    (run / run_dir.RECORDS).unlink()
    assert run_dir.open_run_records(run).folder == "recs", "of a run of before, nothing else is known"


HOLDER = """
import os, sys, time
from pathlib import Path
from tfseg.runs import run_dir
with run_dir.hold_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(locks.fcntl is None, reason="no locks here")
def test_a_run_folder_is_one_trainings_alone(tmp_path):
    run = tmp_path / "a/run"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        refused = rf"run: is being trained by process {process.pid} on \S+; wait until it ends, or give another run_dir"
        for overwrite in (False, True):
            with pytest.raises(ValueError, match=refused):
                loop.train_run(train_in(run, tmp_path / "none", overwrite=overwrite))
        process.kill()
    assert (run / run_dir.LOCK).exists()
    with run_dir.hold_run(run) as fault:
        assert fault is None, "killed, it has let go"
        with pytest.raises(ValueError, match=f"is being trained by process {os.getpid()} "), run_dir.hold_run(run):
            pass
        (run / "notes").write_text("")
    assert [path.name for path in run.iterdir()] == ["notes"]


def test_what_a_training_made_and_left_empty_is_gone(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ZeroDivisionError), run_dir.hold_run(tmp_path / "a/b/c"):
        assert run_dir.open_run(settings(tmp_path / "a/b/c", overwrite=True)).is_dir()
        assert (tmp_path / "a/b/c" / run_dir.LOCK).exists(), "what is overwritten is held"
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks, "take", fail)
    with run_dir.hold_run(tmp_path / "run") as fault:
        assert fault == f"{tmp_path}/run: Operation not supported"


def test_only_the_first_worker_holds_the_folder(monkeypatch):
    task = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    assert not distribution.is_chief("multiworker")
    assert distribution.is_chief("mirrored") and distribution.is_chief("none")
    monkeypatch.setenv("TF_CONFIG", json.dumps({**task, "task": {"type": "worker", "index": 0}}))
    assert distribution.is_chief("multiworker")
