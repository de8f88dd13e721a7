import pytest

from tfseg.exporters.folder import check_replaceable, replace_export


def test_a_failure_between_the_two_renames_brings_the_earlier_export_back(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "labels.json").write_text("earlier")
    with pytest.raises(FileNotFoundError), replace_export(tmp_path / "model") as incomplete:
        incomplete.rmdir()  # so that it cannot be renamed
    assert (tmp_path / "model" / "labels.json").read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_run_left_is_mended(tmp_path):
    (tmp_path / ".model.replaced").mkdir()
    (tmp_path / ".model.replaced" / "labels.json").write_text("earlier")
    (tmp_path / ".model.incomplete").mkdir()
    (tmp_path / ".model.incomplete" / "half").touch()
    with pytest.raises(OSError), replace_export(tmp_path / "model"):
        raise OSError("this run fails too")
    assert (tmp_path / "model" / "labels.json").read_text() == "earlier"
    (tmp_path / ".model.replaced").mkdir()
    (tmp_path / ".model.replaced" / "labels.json").write_text("older still")  # killed before it was deleted
    with replace_export(tmp_path / "model") as incomplete:
        (incomplete / "labels.json").write_text("new")
    assert (tmp_path / "model" / "labels.json").read_text() == "new"
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "labels.json"]


def test_an_export_of_all_formats_is_replaced(tmp_path):
    for name in (
        *("saved_model.pb", "fingerprint.pb", "variables", "assets", "labels.json", "parity.json", "model_card.md"),
        *("model_float32.tflite", "model_float16.tflite", "model_int8.tflite", "model.onnx", "model.mlpackage"),
    ):
        (tmp_path / name).touch()
    check_replaceable(tmp_path)
