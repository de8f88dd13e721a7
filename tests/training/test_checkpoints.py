import keras
import numpy as np
import pytest

from tfseg.training import checkpoints
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


def test_no_state(tmp_path):
    assert find_last(tmp_path) is None


def test_a_full_disk_keeps_the_last_state(tmp_path, monkeypatch):
    model = make_model()
    checkpoints.save(model, tmp_path, 1, None)
    before = {name: (tmp_path / checkpoints.FOLDER / name).read_bytes() for name in names(tmp_path)}

    def fill(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save_weights", fill)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(model, tmp_path, 2, None)
    assert {name: (tmp_path / checkpoints.FOLDER / name).read_bytes() for name in names(tmp_path)} == before
    assert find_last(tmp_path).step == 1
