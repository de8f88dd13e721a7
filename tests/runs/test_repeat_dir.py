from pathlib import Path

import pytest

from tfseg.config.parse import parse_config, save_config
from tfseg.io.removal import RefusedError
from tfseg.runs import repeat_dir


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_config()


def make_config(*words):
    return parse_config(["--data.records", "city", "--run_dir", "out", "--train.epochs", "4", *words])


def write_seed(config, seed, ended=True):
    """The run folder of a seed, as a training leaves it."""
    own = repeat_dir.config_of(config, seed)
    run = Path(own.run_dir)
    run.mkdir(parents=True)
    save_config(own, run / "config.yaml")
    (run / "best.weights.h5").touch()
    if ended:
        (run / "metrics.json").write_text("{}")
    return run


def test_each_seed_has_its_own_folder(config):
    own = repeat_dir.config_of(make_config("--overwrite", "true"), 7)
    assert (own.run_dir, own.train.seed, own.overwrite) == ("out/seed-7", 7, False)


def test_seeds_are_found_by_their_folders(config):
    repeat_dir.open_repeat(config)
    for seed, ended in ((10, True), (2, True), (3, False)):
        write_seed(config, seed, ended)
    for name in ("seed-x", "seed-01", "seed-4"):  # the last holds no run yet
        Path("out", name).mkdir()
    Path("out/seed-2.log").touch()
    assert repeat_dir.list_seeds(Path("out")) == [2, 3, 10]
    assert repeat_dir.list_ended(Path("out")) == [2, 10]


def test_what_is_a_repeat(config):
    assert not repeat_dir.is_repeat(Path("out"))
    repeat_dir.open_repeat(config)
    assert repeat_dir.is_repeat(Path("out"))
    run = write_seed(config, 0)
    Path("out/.tfseg.json").unlink()
    assert repeat_dir.is_repeat(Path("out")) and not repeat_dir.is_repeat(run)


def test_a_seed_has_ended_unless_it_shall_learn_for_more_epochs(config):
    assert not repeat_dir.has_ended(repeat_dir.config_of(config, 0))
    write_seed(config, 0)
    assert repeat_dir.has_ended(repeat_dir.config_of(config, 0))
    assert not repeat_dir.has_ended(repeat_dir.config_of(make_config("--train.epochs", "5"), 0))


def test_the_same_repeat_resumes_and_another_is_refused(config):
    repeat_dir.open_repeat(config)
    write_seed(config, 0)
    write_seed(config, 1, ended=False)
    repeat_dir.check_repeat(config)
    repeat_dir.check_repeat(make_config("--train.seed", "5", "--train.epochs", "9"))
    with pytest.raises(
        ValueError,
        match=r"^out: holds a repeat with other settings \(augment\.hue was 0\.0 and is 10\.0\); "
        "give another run_dir, or --overwrite true to delete it$",
    ):
        repeat_dir.check_repeat(make_config("--augment.hue", "10"))


def test_a_run_that_learnt_nothing_may_have_had_other_settings(config):
    repeat_dir.open_repeat(config)
    (write_seed(config, 0, ended=False) / "best.weights.h5").unlink()
    repeat_dir.check_repeat(make_config("--augment.hue", "10"))


@pytest.mark.parametrize("name", ["thesis.tex", "config.yaml"])
def test_what_is_no_repeat_is_left_alone(config, name):
    Path("out").mkdir()
    Path("out", name).touch()
    for words in ([], ["--overwrite", "true"]):
        with pytest.raises(ValueError, match=r"^out: is not empty and holds no repeat; give another run_dir$"):
            repeat_dir.open_repeat(make_config(*words))
    assert Path("out", name).exists()


def test_overwriting_deletes_all_seeds_and_nothing_else(config):
    repeat_dir.open_repeat(config)
    run = write_seed(config, 5)
    (run / ".tfseg.json").write_text("{}")
    (run / "saved_model").mkdir()
    (run / "saved_model/saved_model.pb").touch()
    for name in ("seed-5.log", "seed-5.yaml", "repeat.json", "repeat.md", ".lock", "notes.txt"):
        Path("out", name).touch()
    overwrite = make_config("--overwrite", "true", "--augment.hue", "10")
    with pytest.raises(RefusedError, match=r"^out: holds a file or folder \(notes\.txt\), no part of a repeat"):
        repeat_dir.open_repeat(overwrite)
    assert run.exists()
    Path("out/notes.txt").unlink()
    repeat_dir.open_repeat(overwrite)
    assert sorted(path.name for path in Path("out").iterdir()) == [".lock", ".tfseg.json"]
