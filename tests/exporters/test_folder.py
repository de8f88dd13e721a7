import shutil

import pytest

from tfseg.exporters import parity
from tfseg.exporters.description import describe_model, write_labels
from tfseg.exporters.folder import EXPORT, check_replaceable, replace_export
from tfseg.io import removal, staging
from tfseg.records.labels import CATEGORIES, CATEGORY_COLORS


def write_export(directory, model):
    directory.mkdir(exist_ok=True)
    write_labels(describe_model(CATEGORIES, CATEGORY_COLORS), directory)
    (directory / "saved_model.pb").write_text(model)


def model_in(directory):
    return (directory / "saved_model.pb").read_text()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_between_the_two_renames_brings_the_earlier_export_back(tmp_path):
    write_export(tmp_path / "model", "earlier")
    with pytest.raises(FileNotFoundError), replace_export(tmp_path / "model") as incomplete:
        incomplete.rmdir()  # so that it cannot be renamed
    assert model_in(tmp_path / "model") == "earlier"
    assert names(tmp_path) == ["model"]


def test_what_a_killed_run_left_is_mended(tmp_path):
    box = tmp_path / ".model.tfseg-incomplete"
    (box / "new").mkdir(parents=True)
    removal.write_mark(box, staging.BOX)
    (box / "new/half").touch()
    write_export(box / "replaced", "earlier")
    with pytest.raises(OSError), replace_export(tmp_path / "model"):
        raise OSError("this run fails too")
    assert model_in(tmp_path / "model") == "earlier"
    box.mkdir()
    removal.write_mark(box, staging.BOX)
    write_export(box / "replaced", "older still")  # killed before it was deleted
    with replace_export(tmp_path / "model") as incomplete:
        write_export(incomplete, "new")
    assert model_in(tmp_path / "model") == "new"
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["labels.json", "saved_model.pb"]


def test_what_an_earlier_version_had_set_aside_comes_back(tmp_path, capsys):
    write_export(tmp_path / ".model.replaced", "earlier")
    (tmp_path / ".model.incomplete").mkdir()
    with pytest.raises(OSError), replace_export(tmp_path / "model"):
        raise OSError("this run fails")
    assert model_in(tmp_path / "model") == "earlier"
    assert names(tmp_path) == [".model.incomplete", "model"], "which holds no proof whose it is"
    assert f"{tmp_path}/.model.incomplete: was left by an export that was killed" in capsys.readouterr().err


def test_an_export_of_all_formats_is_replaced(tmp_path):
    write_export(tmp_path, "")
    (tmp_path / "assets").mkdir()
    for parts in parity.PARTS.values():
        for name in parts:
            if "." not in name or name.endswith(".mlpackage"):
                (tmp_path / name).mkdir()
            else:
                (tmp_path / name).touch()
    for name in (
        *("fingerprint.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"),
        *("parity.json", "model_card.md", "model.mlpackage/Manifest.json"),
    ):
        (tmp_path / name).touch()
    check_replaceable(tmp_path)
    removal.remove_folder(tmp_path, EXPORT)
    assert not tmp_path.exists()


@pytest.mark.parametrize("lacks", ["labels.json", "saved_model.pb"])
def test_a_model_of_others_is_not_replaced(tmp_path, lacks):
    """A SavedModel has the same names, whoever wrote it."""
    write_export(tmp_path / "model", "of others")
    (tmp_path / "model" / lacks).unlink()
    (tmp_path / "model/variables").mkdir()
    (tmp_path / "model/variables/variables.index").write_text("of others")
    with pytest.raises(ValueError, match="model: holds no exported model that tfseg made"):  # noqa: SIM117
        with replace_export(tmp_path / "model"):
            pytest.fail("began to export")
    (tmp_path / "model/labels.json").write_text('{"my": "labels"}')
    with pytest.raises(ValueError, match="holds no exported model"):
        check_replaceable(tmp_path / "model")
    assert (tmp_path / "model/variables/variables.index").read_text() == "of others"


@pytest.mark.parametrize("name", ["thesis.tex", ".thesis", "assets/vocabulary.txt", "variables/notes.txt"])
def test_an_export_with_other_files_is_not_replaced(tmp_path, name):
    write_export(tmp_path / "model", "earlier")
    (tmp_path / "model" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "model" / name).write_text("years of work")
    with pytest.raises(ValueError, match=rf"model is no export to replace, it holds a file or folder \({name}"):
        check_replaceable(tmp_path / "model")
    shutil.rmtree(tmp_path / "model")


def test_a_link_to_an_export_is_not_followed(tmp_path):
    write_export(tmp_path / "v1", "earlier")
    (tmp_path / "latest").symlink_to("v1")
    with pytest.raises(ValueError, match="latest: is a symbolic link to v1; name that folder itself"):
        check_replaceable(tmp_path / "latest")
