import json
import resource
import shutil
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from helper_killed import moments

from tfseg.records.record_set import open_records
from tfseg.training import checkpoints, loop
from tfseg.training.checkpoints import find_last


def make_model():
    """One that draws, averages and counts."""
    pixels = keras.Input((2, 2, 3))
    x = keras.layers.Dropout(0.5, seed=3)(keras.layers.Conv2D(2, 1)(pixels))
    model = keras.Model(pixels, x)
    model.compile(keras.optimizers.Adam(0.1, use_ema=True), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def learn(model, steps=1):
    for _ in range(steps):
        model.train_on_batch(np.ones((4, 2, 2, 3), np.float32), np.zeros((4, 2, 2, 2), np.float32))


def values(model):
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def names(run):
    return sorted(path.name for path in (run / checkpoints.FOLDER).iterdir())


def test_a_state_is_everything(tmp_path):
    model, other = make_model(), make_model()
    learn(model, 3)
    checkpoints.save(model, tmp_path, 3, {"epoch": 1, "mean_iou": 0.25})
    checkpoint = find_last(tmp_path)
    assert (checkpoint.step, checkpoint.best) == (3, {"epoch": 1, "mean_iou": 0.25})
    learn(other)
    checkpoints.load(other, tmp_path, checkpoint)
    for _ in range(2):  # at once, and after a step
        for mine, loaded in zip(values(model), values(other), strict=True):
            np.testing.assert_array_equal(mine, loaded)
        learn(model), learn(other)


def test_only_the_last_states_stay(tmp_path):
    model = make_model()
    for step in (8, 9, 100):
        checkpoints.save(model, tmp_path, step, None)
    assert names(tmp_path) == ["00000009.json", "00000009.weights.h5", "00000100.json", "00000100.weights.h5"]
    (tmp_path / checkpoints.FOLDER / "incomplete-00000101.weights.h5").write_text("of a killed process")
    (tmp_path / checkpoints.FOLDER / "00000101.weights.h5").write_text("its record was never written")
    assert find_last(tmp_path).step == 100
    checkpoints.save(model, tmp_path, 101, None, keep=1)
    assert names(tmp_path) == ["00000101.json", "00000101.weights.h5"]


@pytest.mark.parametrize("name", ["00000002.weights.h5", "00000002.json"])
@pytest.mark.parametrize("damage", ["cut", "deleted", "changed"])
def test_a_damaged_checkpoint_is_reported_and_never_loaded(tmp_path, capsys, name, damage):
    model = make_model()
    for step in (1, 2):
        checkpoints.save(model, tmp_path, step, None)
    path = tmp_path / checkpoints.FOLDER / name
    content = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if damage == "cut" else content[:-9] + b"!" + content[-8:])
    assert find_last(tmp_path).step == 1
    warning = capsys.readouterr().err
    if (name, damage) != ("00000002.json", "deleted"):  # then nothing says that it was there
        assert warning.startswith("warning: ") and "00000002" in warning
        assert warning.endswith("resuming from an earlier checkpoint\n")


@pytest.mark.parametrize("content", ["", "[]", "3", "{}", "[" * 100_000, '{"crc32": 1}', '{"step": 2, "crc32": 0}'])
def test_what_is_no_checkpoint_is_reported_and_skipped(tmp_path, capsys, content):
    checkpoints.save(make_model(), tmp_path, 1, None)
    (tmp_path / checkpoints.FOLDER / "00000002.json").write_text(content)
    (tmp_path / checkpoints.FOLDER / "00000003.json").mkdir()
    assert find_last(tmp_path).step == 1
    warnings = capsys.readouterr().err.splitlines()
    assert [line.partition(".json: ")[0][-8:] for line in warnings] == ["00000003", "00000002"]


def test_a_checkpoint_under_the_name_of_another_is_skipped(tmp_path, capsys):
    model = make_model()
    for step in (1, 3):
        checkpoints.save(model, tmp_path, step, None)
    for path in (tmp_path / checkpoints.FOLDER).glob("00000003.*"):
        path.rename(path.with_name(path.name.replace("3", "9")))
    assert find_last(tmp_path).step == 1
    assert (
        "00000009.json: is the checkpoint after step 3, under the name of another; resuming" in capsys.readouterr().err
    )


def test_names_of_the_future_cost_nothing_that_is_saved_now(tmp_path):
    model = make_model()
    for step in (1, 2):
        checkpoints.save(model, tmp_path, step, None)
    for path in [*(tmp_path / checkpoints.FOLDER).iterdir()]:
        path.rename(path.with_name("9" + path.name[1:]))
    for step in (3, 4, 5):
        checkpoints.save(model, tmp_path, step, None)
    assert find_last(tmp_path).step == 5
    assert checkpoints.find_steps(tmp_path) == [4, 5, 90000001, 90000002]


@pytest.mark.parametrize(
    "name", ["2024-notes.txt", "incomplete-thoughts.txt", "1.json", "00000001.txt", "0000000a.json"]
)
def test_only_checkpoints_are_deleted(tmp_path, name):
    (tmp_path / checkpoints.FOLDER).mkdir()
    (tmp_path / checkpoints.FOLDER / name).write_text("years of work")
    (tmp_path / checkpoints.FOLDER / "00000000.json").symlink_to(name)
    for step in (1, 2, 3):
        checkpoints.save(make_model(), tmp_path, step, None, keep=1)
    assert names(tmp_path) == sorted([name, "00000000.json", "00000003.json", "00000003.weights.h5"])
    assert find_last(tmp_path).step == 3


def test_a_checkpoint_knows_its_records(tmp_path):
    checkpoints.save(make_model(), tmp_path, 1, None, records="ab" * 32)
    assert find_last(tmp_path).records == "ab" * 32
    path = tmp_path / checkpoints.FOLDER / "00000001.json"
    record = json.loads(path.read_text())
    del record["records"]
    path.write_text(json.dumps(record))
    assert find_last(tmp_path).records is None, "as of version 0.1.0"


def test_a_checkpoint_of_other_records_is_not_resumed(tmp_path, tiny_records):
    records = open_records(tiny_records)
    training = SimpleNamespace(directory=tmp_path, records=records)
    for known in (None, records.manifest_hash):
        loop.check_origin(training, checkpoints.Checkpoint(1, None, [], [], 0, known))
    with pytest.raises(
        ValueError, match=r"its checkpoint has learnt from other records, of manifest\.json abababababab"
    ):
        loop.check_origin(training, checkpoints.Checkpoint(1, None, [], [], 0, "ab" * 32))


def test_killed_at_any_moment(tmp_path, monkeypatch):
    model, run = make_model(), tmp_path / "run"

    def prepare():
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        for step in (1, 2):
            checkpoints.save(model, run, step, None)

    found = []
    for _ in moments(monkeypatch, prepare, lambda: checkpoints.save(model, run, 3, None)):
        found.append(find_last(run).step)
        checkpoints.save(model, run, 4, None)
        assert find_last(run).step == 4
        assert len(names(run)) == 4
    assert found == sorted(found) and {*found} == {2, 3}


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no such limit here")
@pytest.mark.parametrize("size", [0, 1000, 9000])
def test_a_file_that_may_grow_no_more_keeps_the_last_state(tmp_path, size):
    """What a full disk does, where nobody can mount a small one."""
    model, run = make_model(), tmp_path / "run"
    run.mkdir()
    checkpoints.save(model, run, 1, None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with pytest.raises(OSError, match=r"00000002\.weights\.h5: cannot be written"):
            checkpoints.save(model, run, 2, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(run) == ["00000001.json", "00000001.weights.h5"] and find_last(run).step == 1
    checkpoints.save(model, run, 2, None)
    assert find_last(run).step == 2


def test_no_state(tmp_path):
    assert find_last(tmp_path) is None


def test_a_full_disk_keeps_the_last_state(tmp_path, monkeypatch):
    model = make_model()
    checkpoints.save(model, tmp_path, 1, None)
    before = {name: (tmp_path / checkpoints.FOLDER / name).read_bytes() for name in names(tmp_path)}

    def fill(path, content):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(model, tmp_path, 2, None)
    assert {name: (tmp_path / checkpoints.FOLDER / name).read_bytes() for name in names(tmp_path)} == before
    assert find_last(tmp_path).step == 1
