import pytest

from tfseg.inference.model_folder import find_model


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_model_and_a_run(tmp_path):
    model = touch(tmp_path / "run" / "saved_model", "saved_model.pb", "labels.json")
    touch(tmp_path / "run", "config.yaml", "labels.json", "metrics.json")
    assert find_model(model) == find_model(tmp_path / "run") == model


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["config.yaml", "labels.json", "history.csv"], r"is a run that has no SavedModel yet.*export --run .*/folder"),
        (["config.yaml", "labels.json", "saved_model/labels.json"], "is a run that has no SavedModel yet"),
        (
            ["manifest.json", "train-00000-of-00001.tfrecord"],
            "folder holds records; expected a folder of an exported model",
        ),
        (["a.jpg", "b.jpg", "c.txt"], r"folder holds 2 \.jpg, 1 \.txt; expected"),
        (["one/saved_model/saved_model.pb", "two/saved_model.pb"], "holds 2 of them, one of which .*: one, two;"),
        ([".DS_Store"], "folder is empty"),
        (["saved_model.pb"], r"folder/labels\.json is missing"),
        (["saved_model/saved_model.pb", "labels.json"], r"folder/saved_model/labels\.json is missing"),
        (["model.keras"], r"holds 1 \.keras"),
    ],
)
def test_other_folders_are_named(tmp_path, files, message):
    with pytest.raises(FileNotFoundError, match=message):
        find_model(touch(tmp_path / "folder", *files))


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model/labels\.json is missing: there is no such folder"):
        find_model(tmp_path / "model")
    touch(tmp_path, "model.h5")
    with pytest.raises(FileNotFoundError, match="it is a file"):
        find_model(tmp_path / "model.h5")
