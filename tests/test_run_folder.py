import json

import pytest
from conftest import write_run

from tfseg import run_folder
from tfseg.config import Config, Data, Device, Model, Train, save_config
from tfseg.network import build_network


def settings(directory, **others):
    model = Model("tiny", None, decoder_channels=(8, 8, 8, 8, 8))
    return Config(Data("somewhere"), str(directory), model=model, **others)


def test_a_new_folder_is_made(tmp_path):
    assert run_folder.open_run(settings(tmp_path / "a/b")).is_dir()
    run_folder.open_run(settings(tmp_path / "a/b"))  # still empty


def test_an_earlier_run_is_deleted_only_if_told(tmp_path):
    save_config(settings(tmp_path), tmp_path / run_folder.CONFIG)
    (tmp_path / run_folder.METRICS).write_text("{}")
    with pytest.raises(ValueError, match="holds an earlier run; give another run_dir, or --overwrite true"):
        run_folder.open_run(settings(tmp_path))
    assert (tmp_path / run_folder.CONFIG).exists()
    run_folder.open_run(settings(tmp_path, overwrite=True))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run_is_never_deleted(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="holds no run"):
        run_folder.open_run(settings(tmp_path, overwrite=True))
    assert (tmp_path / "thesis.tex").exists()


def test_a_stopped_run_goes_on_with_the_same_settings_alone(tmp_path):
    save_config(settings(tmp_path), tmp_path / run_folder.CONFIG)
    (tmp_path / run_folder.BEST_WEIGHTS).write_text("")
    run_folder.open_run(settings(tmp_path, device=Device("cpu", "float32"), train=Train(rollbacks=2)))
    others = settings(tmp_path, train=Train(epochs=3, seed=7))
    with pytest.raises(
        ValueError, match=r"other settings \(train.epochs was 10 and is 3; train.seed was 0 and is 7\);"
    ):
        run_folder.open_run(others)
    assert (tmp_path / run_folder.BEST_WEIGHTS).exists()


def test_json_has_null_for_nan(tmp_path):
    run_folder.write_json({"iou": [float("nan"), 0.5], "name": "a"}, tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text()) == {"iou": [None, 0.5], "name": "a"}


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "best.weights.h5"
    path.write_text("old")
    with pytest.raises(OSError, match="No space"), run_folder.replacing(path) as unfinished:
        unfinished.write_text("half")
        raise OSError("No space left on device")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("best.weights.h5", "old")]


def test_network_comes_back(tmp_path):
    write_run(settings(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"best.weights.h5: missing; the run ended before"):
        run_folder.load_network(tmp_path)
    network = build_network(8, "tiny", None, decoder_channels=(8, 8, 8, 8, 8))
    run_folder.save_weights(network, tmp_path / run_folder.BEST_WEIGHTS)
    for a, b in zip(run_folder.load_network(tmp_path).get_weights(), network.get_weights(), strict=True):
        assert (a == b).all()


def test_damaged_weights_are_named(tmp_path):
    write_run(settings(tmp_path))
    (tmp_path / run_folder.BEST_WEIGHTS).write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"best.weights.h5: cannot be read"):
        run_folder.load_network(tmp_path)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        run_folder.load_network(tmp_path)
