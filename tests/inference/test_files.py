import shutil
from pathlib import Path

import numpy as np
import pytest
from helper_files import image_of_reds, save
from helper_models import write_model
from PIL import Image

from tfseg.inference.files import list_inputs, predict_files
from tfseg.inference.image_segmenter import ImageSegmenter


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("predict") / "model")


def read(path):
    return np.asarray(Image.open(path))


def run(model, out, *images, **options):
    return predict_files(Path(model), images, out, **options)


def test_folders_are_expanded_once_and_sorted(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.jpeg", "notes.txt", "deeper/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths = [tmp_path / "deeper" / ".." / "c.jpeg", tmp_path, tmp_path / "missing.png"]
    listed = list_inputs(paths, tmp_path / "out")
    assert [path.name for path in listed] == ["c.jpeg", "a.jpg", "b.PNG", "d.png", "missing.png"]


def test_results_of_an_earlier_run_are_no_images(tmp_path):
    for name in ("a.png", "out/a_classes.png", "out/a_overlay.png", "b_overlay.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in list_inputs([tmp_path], tmp_path / "out")] == ["a.png", "b_overlay.png"]


def test_folder_without_images(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path} holds no .png"):
        list_inputs([tmp_path], tmp_path / "out")


def test_the_size_that_the_network_sees_can_be_chosen(model, tmp_path):
    save(tmp_path / "a.png", image_of_reds(0, 200))
    run(model, tmp_path / "out", tmp_path / "a.png", input_size="1x1")
    assert read(tmp_path / "out" / "a_classes.png").tolist() == [[1, 1]]  # of the mean, 100
    with pytest.raises(ValueError, match=r"--input-size: expected native, or a size as HEIGHTxWIDTH.* got '10'"):
        run(model, tmp_path / "out", tmp_path / "a.png", input_size="10")


def test_results_of_an_earlier_run_are_overwritten(model, tmp_path):
    for red, expected in ((0, 0), (255, 3)):
        run(model, tmp_path / "out", save(tmp_path / "a.png", image_of_reds(red)))
        assert read(tmp_path / "out" / "a_classes.png").tolist() == [[expected]]


@pytest.mark.parametrize(("one", "other"), [("x/a.png", "y/a.png"), ("a.png", "a.jpg"), ("x/A.png", "y/a.png")])
def test_two_images_for_one_result(tmp_path, one, other):
    for name in (one, other):
        save(tmp_path / name, image_of_reds(0))
    with pytest.raises(ValueError, match=f"{one} and .*{other} would be written to the same files"):
        run("no model is needed for this", tmp_path / "out", tmp_path / one, tmp_path / other)
    assert not (tmp_path / "out").exists()


def test_an_image_is_never_overwritten(tmp_path):
    for name in ("a.png", "a_classes.png"):
        save(tmp_path / name, image_of_reds(0))
    with pytest.raises(ValueError, match=r"a_classes\.png would be read and overwritten; choose another --out"):
        run("no model is needed for this", tmp_path, tmp_path)


def test_folders_are_kept_below_the_results(model, tmp_path):
    for place, red in (("0001", 0), ("0002", 255), (".", 130)):
        save(tmp_path / "seq" / place / "000.png", image_of_reds(red))
    out = tmp_path / "seq" / "out"
    for _ in range(2):  # the second time, results lie among the images
        run(model, out, tmp_path / "seq")
        made = sorted(path.relative_to(out).as_posix() for path in out.rglob("*_classes.png"))
        assert made == ["0001/000_classes.png", "0002/000_classes.png", "000_classes.png"]
    assert read(out / "0001" / "000_classes.png").tolist() == [[0]]
    assert read(out / "0002" / "000_classes.png").tolist() == [[3]]


def test_folders_with_equal_names_in_them_are_refused(tmp_path):
    for place in ("a/x/000.png", "b/x/000.png"):
        save(tmp_path / place, image_of_reds(0))
    with pytest.raises(ValueError, match=r"a/x/000.png and .*b/x/000.png would be written to the same files"):
        run("no model is needed for this", tmp_path / "out", tmp_path / "a", tmp_path / "b")


def test_mistakes_of_the_program_are_shown(model, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageSegmenter, "__call__", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(model, tmp_path / "out", save(tmp_path / "a.png", image_of_reds(0)))


def test_the_model_of_a_run(model, tmp_path):
    shutil.copytree(model, tmp_path / "run" / "saved_model")
    (tmp_path / "run" / "config.yaml").touch()
    run(tmp_path / "run", tmp_path / "out", save(tmp_path / "a.png", image_of_reds(255)))
    assert read(tmp_path / "out" / "a_classes.png").tolist() == [[3]]


def test_a_full_disk_leaves_no_half_image(model, tmp_path, monkeypatch):
    def fill_disk(self, content):
        self.touch()
        raise OSError("No space left on device")

    image = save(tmp_path / "a.png", image_of_reds(0))
    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    with pytest.raises(OSError, match="No space"):
        run(model, tmp_path / "out", image)
    assert list((tmp_path / "out").iterdir()) == []
