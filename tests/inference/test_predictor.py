import io
import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from helper_files import picture_of_reds, save
from helper_models import MODEL_CLASSES, MODEL_COLORS, MODEL_NAMES, write_model
from PIL import Image

from tfseg.inference import predictor as predict
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.predictor import Predictor, blend, list_pictures, make_segmenter, read_picture
from tfseg.io import command
from tfseg.io import images as pictures
from tfseg.io.video import read_film, write_film


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("predict") / "model")


def read(path):
    return np.asarray(Image.open(path))


class TestPredictor:
    def test_classes_by_hand(self, model):
        predictor = Predictor(model)
        classes = predictor(np.stack([picture_of_reds(0, 64, 200), picture_of_reds(63, 191, 255)]))
        assert classes.dtype == np.uint8
        assert classes.tolist() == [[[0, 1, 3]], [[0, 2, 3]]]
        assert predictor.classes == MODEL_NAMES
        assert predictor.colors.dtype == np.uint8
        assert predictor.colors.tolist() == MODEL_COLORS

    @pytest.mark.parametrize(
        "images",
        [
            np.zeros((1, 4, 4, 3), np.float32),
            np.zeros((4, 4, 3), np.uint8),
            np.zeros((1, 4, 4, 4), np.uint8),
            np.zeros((1, 0, 4, 3), np.uint8),
        ],
    )
    def test_images_of_another_kind(self, model, images):
        with pytest.raises(ValueError, match="expected images as uint8") as error:
            Predictor(model)(images)
        assert str(images.shape) in str(error.value)


class TestBadModels:
    @pytest.mark.parametrize("missing", [".", "labels.json", "saved_model.pb"])
    def test_missing_file(self, model, tmp_path, missing):
        copy = tmp_path / "copy"
        if missing != ".":
            shutil.copytree(model, copy)
            (copy / missing).unlink()
        with pytest.raises(FileNotFoundError, match=str(copy / missing) + ".* is missing"):
            Predictor(copy)

    @pytest.mark.parametrize("damaged", ["saved_model.pb", "variables/variables.index"])
    def test_damaged_file(self, model, tmp_path, damaged):
        copy = shutil.copytree(model, tmp_path / "copy")
        (copy / damaged).write_bytes(b"no such thing")
        with pytest.raises(ValueError, match=f"{copy}: the SavedModel is damaged"):
            Predictor(copy)

    @pytest.mark.parametrize(
        ("difference", "name"),
        [
            ({"serving": False}, "serving_default"),
            ({"images_name": "inputs"}, "serving_default"),
            ({"classes_type": tf.int32}, "serving_default"),
        ],
    )
    def test_other_signature(self, tmp_path, difference, name):
        write_model(tmp_path / "other", **difference)
        with pytest.raises(ValueError, match=f"expected a signature '{name}' from images"):
            Predictor(tmp_path / "other")

    def test_labels_of_another_model(self, tmp_path):
        write_model(tmp_path / "other", channels=8)
        with pytest.raises(ValueError, match=r"labels\.json names 4 classes, the model has 8"):
            Predictor(tmp_path / "other")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "no list of classes"),
            ("[]", "no list of classes"),
            ('{"classes": [{"id": 0, "name": "void"}]}', "no list of classes .*color"),
            ('{"classes": []}', "expected the ids 0, 1, 2"),
            (json.dumps({"classes": MODEL_CLASSES[::-1]}), r"expected the ids 0, 1, 2 and so on, got \[3, 2, 1, 0\]"),
            ('{"classes": [{"id": 0, "name": "void", "color": [0, 0, 256]}]}', "three integers in 0..255"),
            ('{"classes": [{"id": 0, "name": "void", "color": [0, 0]}]}', "three integers in 0..255"),
            ('{"classes": [{"id": 0, "name": "void", "color": [0, 0, 0.5]}]}', "three integers in 0..255"),
            (
                json.dumps({"classes": MODEL_CLASSES, "resize": [[0, 8]]}),
                r"resize: expected a list of \[height, width\]",
            ),
        ],
    )
    def test_bad_labels(self, tmp_path, text, message):
        (tmp_path / "labels.json").write_text(text)
        with pytest.raises(ValueError, match=r"labels\.json.* " + message):
            Predictor(tmp_path)


class TestReadPicture:
    def test_png_as_it_is(self, tmp_path):
        pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
        picture = read_picture(save(tmp_path / "a.png", pixels))
        assert picture.dtype == np.uint8
        assert picture.tolist() == pixels.tolist()

    def test_jpeg(self, tmp_path):
        picture = read_picture(save(tmp_path / "a.jpg", np.full((8, 16, 3), (200, 100, 50), np.uint8), quality=95))
        assert picture.shape == (8, 16, 3)
        np.testing.assert_allclose(picture.mean(axis=(0, 1)), (200, 100, 50), atol=3)

    def test_grey_becomes_rgb(self, tmp_path):
        assert read_picture(save(tmp_path / "a.png", np.array([[5, 6]], np.uint8))).tolist() == [[[5] * 3, [6] * 3]]

    def test_transparent_pixels_are_refused_by_file(self, tmp_path):
        pixels = np.array([[[1, 2, 3, 0], [4, 5, 6, 128]]], np.uint8)
        with pytest.raises(ValueError, match=r"a\.png has transparent pixels"):
            read_picture(save(tmp_path / "a.png", pixels))

    def test_palette_becomes_rgb(self, tmp_path):
        palette = Image.new("P", (2, 1))
        palette.putpalette([9, 8, 7, 1, 2, 3])
        palette.putdata([1, 0])
        palette.save(tmp_path / "a.png")
        assert read_picture(tmp_path / "a.png").tolist() == [[[1, 2, 3], [9, 8, 7]]]

    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    def test_turned_upright_as_exif_says(self, tmp_path, suffix):
        exif = Image.Exif()
        exif[0x0112] = 6  # orientation: the camera was held upright, turn a quarter clockwise
        stored = np.zeros((16, 32, 3), np.uint8)
        stored[:, :16] = 255  # left half, which comes to the top
        picture = read_picture(save(tmp_path / f"a{suffix}", stored, exif=exif))
        assert picture.shape == (32, 16, 3)
        assert picture[:15].min() > 240
        assert picture[17:].max() < 15

    @pytest.mark.parametrize("shape", [(2, 2), (2, 2, 3)])
    def test_16_bits_are_refused(self, tmp_path, shape):
        import cv2

        cv2.imwrite(str(tmp_path / "deep.png"), np.full(shape, 1000, np.uint16))
        with pytest.raises(ValueError, match=r"deep\.png is a 16-bit (grey|RGB) image"):
            read_picture(tmp_path / "deep.png")

    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    @pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
    def test_cut_short(self, tmp_path, suffix, kept):
        pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        path = save(tmp_path / f"cut{suffix}", pixels)
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content))])
        with pytest.raises(ValueError, match=f"cut{suffix} is cut short or damaged"):
            read_picture(path)

    def test_flipped_bit(self, tmp_path):
        path = save(tmp_path / "bad.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.png is cut short or damaged"):
            read_picture(path)

    def test_a_format_is_told_by_the_content(self, tmp_path):
        assert read_picture(save(tmp_path / "a.png", picture_of_reds(1), format="BMP")).tolist() == [[[1, 7, 9]]]
        with pytest.raises(ValueError, match=r"b\.png is no PNG, JPEG, BMP, TIFF or WebP image"):
            read_picture(save(tmp_path / "b.png", picture_of_reds(1), format="GIF"))

    @pytest.mark.parametrize("content", [b"", b"not a picture at all"])
    def test_text_named_png(self, tmp_path, content):
        (tmp_path / "fake.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"fake\.png is no PNG, JPEG"):
            read_picture(tmp_path / "fake.png")

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read_picture(tmp_path / "nowhere.png")


def test_blend_by_hand():
    picture = np.array([[[100, 0, 255], [40, 40, 40]]], np.uint8)
    classes = np.array([[3, 0]], np.uint8)
    colors = np.array(MODEL_COLORS, np.uint8)
    assert blend(picture, classes, colors, 0.0).tolist() == picture.tolist()
    assert blend(picture, classes, colors, 1.0).tolist() == [[[200, 210, 220], [0, 0, 0]]]
    assert blend(picture, classes, colors, 0.25).tolist() == [[[125, 52, 246], [30, 30, 30]]]  # 52.5 and 246.25


def test_blend_of_many_rows():
    draw = np.random.default_rng(0)
    picture, classes = draw.integers(0, 256, (600, 3, 3), np.uint8), draw.integers(0, 4, (600, 3), np.uint8)
    colors = np.array(MODEL_COLORS, np.uint8)
    rows = [blend(picture[row : row + 1], classes[row : row + 1], colors, 0.3) for row in range(600)]
    np.testing.assert_array_equal(blend(picture, classes, colors, 0.3), np.concatenate(rows))


class TestListPictures:
    def test_folders_are_expanded_once_and_sorted(self, tmp_path):
        for name in ("b.PNG", "a.jpg", "c.jpeg", "notes.txt", "deeper/d.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        paths = [tmp_path / "deeper" / ".." / "c.jpeg", tmp_path, tmp_path / "missing.png"]
        listed = list_pictures(paths, tmp_path / "out")
        assert [path.name for path in listed] == ["c.jpeg", "a.jpg", "b.PNG", "d.png", "missing.png"]

    def test_results_of_an_earlier_run_are_no_pictures(self, tmp_path):
        for name in ("a.png", "out/a_classes.png", "out/a_overlay.png", "b_overlay.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        assert [path.name for path in list_pictures([tmp_path], tmp_path / "out")] == ["a.png", "b_overlay.png"]

    def test_folder_without_pictures(self, tmp_path):
        with pytest.raises(ValueError, match=f"{tmp_path} holds no .png"):
            list_pictures([tmp_path], tmp_path / "out")


class TestCommand:
    def run(self, model, out, *pictures, options=()):
        predict.main(["--model", str(model), "--out", str(out), *map(str, pictures), *options])

    def test_writes_classes_and_overlay(self, model, tmp_path, capsys):
        save(tmp_path / "in" / "one.png", picture_of_reds(0, 70))
        save(tmp_path / "in" / "two.png", picture_of_reds(130, 200, 255))
        self.run(model, tmp_path / "out", tmp_path / "in")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "one_classes.png",
            "one_overlay.png",
            "two_classes.png",
            "two_overlay.png",
        ]
        with Image.open(tmp_path / "out" / "two_classes.png") as written:
            assert written.mode == "L"  # one channel, 8 bits
        assert read(tmp_path / "out" / "one_classes.png").tolist() == [[0, 1]]
        assert read(tmp_path / "out" / "two_classes.png").tolist() == [[2, 3, 3]]
        assert read(tmp_path / "out" / "one_overlay.png").tolist() == [[[0, 4, 4], [40, 14, 20]]]  # halves to even
        told = rf"2 of 2 pictures are predicted in {tmp_path / 'out'}: the first took [\d.]+ s, the others [\d.]+ s"
        assert re.fullmatch(rf"{told} \(median\); [\d,]+ MiB at most\n", capsys.readouterr().out)

    def test_an_older_model_sees_pictures_as_they_are_and_says_so(self, model, tmp_path, capsys):
        save(tmp_path / "a.png", picture_of_reds(130, 200))
        self.run(model, tmp_path / "out", tmp_path / "a.png")
        assert read(tmp_path / "out" / "a_classes.png").tolist() == [[2, 3]]
        assert "model: does not say at which size it was validated, so" in capsys.readouterr().err
        self.run(model, tmp_path / "out", tmp_path / "a.png", options=["--input-size", "native"])
        assert "validated" not in capsys.readouterr().err

    def test_the_size_that_the_network_sees_can_be_chosen(self, model, tmp_path):
        save(tmp_path / "a.png", picture_of_reds(0, 200))
        self.run(model, tmp_path / "out", tmp_path / "a.png", options=["--input-size", "1x1"])
        assert read(tmp_path / "out" / "a_classes.png").tolist() == [[1, 1]]  # of the mean, 100
        with pytest.raises(ValueError, match=r"--input-size: native, or expected a size as HEIGHTxWIDTH.* got '10'"):
            self.run(model, tmp_path / "out", tmp_path / "a.png", options=["--input-size", "10"])

    def test_windows_mirror_images_and_scales(self, model, tmp_path, monkeypatch):
        monkeypatch.delattr(Predictor, "__call__")
        pixels = np.repeat(picture_of_reds(*range(0, 250, 10)), 9, axis=0)
        save(tmp_path / "a.png", pixels)
        for number, options in enumerate(("--window 4x6 --overlap 0.3", "--flip", "--window 5x5 --flip")):
            out = tmp_path / str(number)
            self.run(model, out, tmp_path / "a.png", options=options.split())
            assert np.array_equal(read(out / "a_classes.png"), pixels[..., 0] // 64), options
        self.run(model, tmp_path / "small", tmp_path / "a.png", options=["--scales", "0.2"])
        blocks = pixels[0, :, 0].reshape(5, 5).mean(axis=1) // 64  # areas of 5x5, nearly; the rows are all the same
        assert read(tmp_path / "small" / "a_classes.png")[:, 2::5].tolist() == 9 * [blocks.tolist()]

    def test_results_of_an_earlier_run_are_overwritten(self, model, tmp_path):
        for red, expected in ((0, 0), (255, 3)):
            self.run(model, tmp_path / "out", save(tmp_path / "a.png", picture_of_reds(red)))
            assert read(tmp_path / "out" / "a_classes.png").tolist() == [[expected]]

    def test_bad_pictures_are_named_and_the_others_done(self, model, tmp_path, capsys, monkeypatch):
        (tmp_path / "a_text.png").write_text("not a picture")
        save(tmp_path / "good.png", picture_of_reds(255))
        names = ["a_text.png", "missing.png", "good.png"]
        arguments = ["predict.py", "--model", str(model), "--out", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", [*arguments, *(str(tmp_path / name) for name in names)])
        with pytest.raises(SystemExit) as ending:
            command.run(predict.main)
        message, *lines = ending.value.code.splitlines()  # sys.exit prints a text and ends with code 1
        assert message == "predict: error: 2 of 3 pictures could not be read:"
        assert [name in line for name, line in zip(names, lines, strict=False)] == [True, True]
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good_classes.png", "good_overlay.png"]
        assert capsys.readouterr().out.startswith(f"1 of 3 pictures are predicted in {tmp_path / 'out'}: the first")

    @pytest.mark.parametrize(("one", "other"), [("x/a.png", "y/a.png"), ("a.png", "a.jpg"), ("x/A.png", "y/a.png")])
    def test_two_pictures_for_one_result(self, tmp_path, one, other):
        for name in (one, other):
            save(tmp_path / name, picture_of_reds(0))
        with pytest.raises(ValueError, match=f"{one} and .*{other} would be written to the same files"):
            self.run("no model is needed for this", tmp_path / "out", tmp_path / one, tmp_path / other)
        assert not (tmp_path / "out").exists()

    def test_a_picture_is_never_overwritten(self, tmp_path):
        for name in ("a.png", "a_classes.png"):
            save(tmp_path / name, picture_of_reds(0))
        with pytest.raises(ValueError, match=r"a_classes\.png would be read and overwritten; choose another --out"):
            self.run("no model is needed for this", tmp_path, tmp_path)

    def test_folders_are_kept_below_the_results(self, model, tmp_path):
        for place, red in (("0001", 0), ("0002", 255), (".", 130)):
            save(tmp_path / "seq" / place / "000.png", picture_of_reds(red))
        out = tmp_path / "seq" / "out"
        for _ in range(2):  # the second time, results lie among the pictures
            self.run(model, out, tmp_path / "seq")
            made = sorted(path.relative_to(out).as_posix() for path in out.rglob("*_classes.png"))
            assert made == ["0001/000_classes.png", "0002/000_classes.png", "000_classes.png"]
        assert read(out / "0001" / "000_classes.png").tolist() == [[0]]
        assert read(out / "0002" / "000_classes.png").tolist() == [[3]]

    def test_folders_with_equal_names_in_them_are_refused(self, tmp_path):
        for place in ("a/x/000.png", "b/x/000.png"):
            save(tmp_path / place, picture_of_reds(0))
        with pytest.raises(ValueError, match=r"a/x/000.png and .*b/x/000.png would be written to the same files"):
            self.run("no model is needed for this", tmp_path / "out", tmp_path / "a", tmp_path / "b")

    def test_what_a_folder_holds_beside_pictures(self, model, tmp_path, capsys):
        for suffix in (".png", ".webp", ".bmp", ".tif", ".TIFF", ".jpg"):
            save(tmp_path / "in" / f"{suffix[1:]}{suffix}", np.full((8, 8, 3), [200, 7, 9], np.uint8))
        for name in ("a.txt", "b.txt", "c.gif", "._png.png", "Thumbs.db", "__MACOSX/._png.png"):
            (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "in" / name).write_bytes(b"litter")
        self.run(model, tmp_path / "out", tmp_path / "in")
        told = capsys.readouterr()
        assert told.out.startswith(f"6 of 6 pictures are predicted in {tmp_path / 'out'}")
        line = f"warning: {tmp_path / 'in'}: 2 .txt, 1 .gif left out, as no images that are read\n"
        assert told.err.count("\n") >= 1 and line in told.err
        for name in ("webp", "bmp", "tif", "TIFF"):
            assert (read(tmp_path / "out" / f"{name}_classes.png") == 3).all()

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            np._core._exceptions._ArrayMemoryError((9,), np.dtype("u1")),
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
            tf.errors.InternalError(None, None, "Failed to allocate 9 bytes: CUDA_ERROR_OUT_OF_MEMORY"),
        ],
    )
    def test_a_picture_that_takes_too_much_memory_is_named_and_the_others_done(
        self, model, tmp_path, capsys, monkeypatch, error
    ):
        for name, width in (("a", 2), ("b", 9), ("c", 3)):
            save(tmp_path / f"{name}.png", picture_of_reds(*width * [255]))
        segment = ImageSegmenter.__call__

        def run_out(self, picture):
            if picture.shape[1] == 9:
                raise error
            return segment(self, picture)

        monkeypatch.setattr(ImageSegmenter, "__call__", run_out)
        with pytest.raises(ValueError) as ending:
            self.run(model, tmp_path / "out", *(tmp_path / f"{name}.png" for name in "abc"))
        message, *lines = str(ending.value).splitlines()
        assert message == "1 of 3 pictures could not be predicted:"
        assert len(lines) == 1 and "b.png takes more memory than there is, seen at 1x9; give --window" in lines[0]
        assert len(list((tmp_path / "out").glob("*_classes.png"))) == 2
        assert capsys.readouterr().out.startswith("2 of 3 pictures are predicted")

    def test_what_the_model_cannot_take_is_named_and_the_others_done(self, model, tmp_path, monkeypatch):
        for name in "ab":
            save(tmp_path / f"{name}.png", picture_of_reds(255))
        segment = ImageSegmenter.__call__

        def fail_once(*arguments):
            monkeypatch.setattr(ImageSegmenter, "__call__", segment)
            raise tf.errors.InvalidArgumentError(None, None, "no such\nsize")

        monkeypatch.setattr(ImageSegmenter, "__call__", fail_once)
        with pytest.raises(ValueError, match=r"1 of 2 .*\n.*a\.png cannot be predicted: no such size"):
            self.run(model, tmp_path / "out", tmp_path / "a.png", tmp_path / "b.png")
        assert (tmp_path / "out" / "b_classes.png").is_file()

    def test_mistakes_of_the_program_are_shown(self, model, tmp_path, monkeypatch):
        monkeypatch.setattr(ImageSegmenter, "__call__", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            self.run(model, tmp_path / "out", save(tmp_path / "a.png", picture_of_reds(0)))

    def test_a_name_too_long_for_its_results(self, model, tmp_path):
        paths = [save(tmp_path / f"{250 * 'a'}.png", picture_of_reds(0)), save(tmp_path / "b.png", picture_of_reds(0))]
        with pytest.raises(
            ValueError, match=r"1 of 2 pictures could not be predicted:\n.*aaa\.png: its results .* too long"
        ):
            self.run(model, tmp_path / "out", *paths)
        assert (tmp_path / "out" / "b_classes.png").is_file()

    def test_the_model_of_a_run(self, model, tmp_path):
        shutil.copytree(model, tmp_path / "run" / "saved_model")
        (tmp_path / "run" / "config.yaml").touch()
        self.run(tmp_path / "run", tmp_path / "out", save(tmp_path / "a.png", picture_of_reds(255)))
        assert read(tmp_path / "out" / "a_classes.png").tolist() == [[3]]

    @pytest.mark.parametrize("module", ["predict", "serve", "app", "evaluate"])
    def test_what_is_no_model_is_told_before_tensorflow_is_loaded(self, tmp_path, module):
        for name in ("config.yaml", "history.csv"):
            (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "run" / name).touch()
        (tmp_path / "run" / "labels.json").write_text(json.dumps({"classes": MODEL_CLASSES}))
        options = {"predict": f"--out {tmp_path} {save(tmp_path / 'a.png', picture_of_reds(0))}"}
        options |= {"evaluate": f"--records {tmp_path}", "serve": "--port 0", "app": ""}
        code = f"""
import sys, types
sys.modules.update(tensorflow=None, keras=None, streamlit=types.ModuleType("streamlit"))
from tfseg import {module}
from tfseg.io import command
sys.argv = ["{module}", "--model", {str(tmp_path / "run")!r}, *{options[module]!r}.split()]
command.run({module}.main)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1 and "is a run that has no SavedModel yet" in done.stderr

    @pytest.mark.parametrize("alpha", ["-0.1", "1.5", "nan"])
    def test_alpha_out_of_range(self, tmp_path, alpha):
        with pytest.raises(ValueError, match=r"--alpha must be in 0\.\.1"):
            predict.main(["--model", "m", "--out", str(tmp_path), "--alpha", alpha, "a.png"])

    def test_bad_options_are_told_before_the_model_is_loaded(self, tmp_path):
        with pytest.raises(ValueError, match=r"overlap must be at least 0 and below 1, got 1\.0"):
            self.run("no model", tmp_path, "a.png", options=["--window", "8x8", "--overlap", "1"])

    def test_a_full_disk_leaves_no_half_picture(self, model, tmp_path, monkeypatch):
        def fill_disk(self, content):
            self.touch()
            raise OSError("No space left on device")

        picture = save(tmp_path / "a.png", picture_of_reds(0))
        monkeypatch.setattr(Path, "write_bytes", fill_disk)
        with pytest.raises(OSError, match="No space"):
            self.run(model, tmp_path / "out", picture)
        assert list((tmp_path / "out").iterdir()) == []


class TestVideo:
    def run(self, model, out, path, *options):
        predict.main(["--model", str(model), "--out", str(out), "--video", str(path), *options])

    def test_overlays_of_a_folder_of_frames(self, model, tmp_path, capsys):
        for name, red in (("b", 255), ("a", 100), ("c", 0)):
            save(tmp_path / "drive" / f"{name}.png", np.full((16, 24, 3), [red, 7, 9], np.uint8))
        self.run(model, tmp_path / "out", tmp_path / "drive", "--alpha", "1", "--rate", "5")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["drive_overlay.mp4"]
        film = read_film(tmp_path / "out" / "drive_overlay.mp4")
        assert film.rate == 5
        seen = [frame.mean(axis=(0, 1)) for frame in film.frames]
        assert np.abs(np.array(seen) - [MODEL_COLORS[1], MODEL_COLORS[3], MODEL_COLORS[0]]).max() < 6
        told = rf"3 frames are in {tmp_path / 'out'}/drive_overlay.mp4, 5 a second: [\d.]+ a second were made, "
        assert re.match(told + r"with reading and writing: the first took [\d.]+ s, ", capsys.readouterr().out)

    def test_frames_are_in_the_order_of_their_numbers(self, model, tmp_path):
        for number in range(12):
            save(tmp_path / "drive" / f"frame_{number}.png", np.full((16, 24, 3), 20 * number, np.uint8))
        for name in ("._frame_3.png", "Thumbs.db", ".ipynb_checkpoints/frame_3-checkpoint.png"):
            (tmp_path / "drive" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "drive" / name).write_bytes(b"litter")
        self.run(model, tmp_path / "out", tmp_path / "drive", "--alpha", "0")
        seen = [frame.mean() for frame in read_film(tmp_path / "out" / "drive_overlay.mp4").frames]
        assert np.abs(np.array(seen) - 20 * np.arange(12)).max() < 8

    @pytest.mark.parametrize(
        ("damaged", "reds"), [([1], [0, 0, 80, 120]), ([0, 1], [80, 80, 80, 120]), ([3], [0, 40, 80, 80])]
    )
    def test_a_damaged_frame_is_stood_for_by_the_one_before(self, model, tmp_path, capsys, damaged, reds):
        for number in range(4):
            path = save(tmp_path / "drive" / f"{number}.png", np.full((16, 24, 3), [40 * number, 0, 0], np.uint8))
            if number in damaged:
                path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(ValueError) as ending:
            self.run(model, tmp_path / "out", tmp_path / "drive", "--alpha", "0")
        message, *lines = str(ending.value).splitlines()
        assert (
            message == f"{len(damaged)} of 4 frames could not be read; the one before, or else after, stands for each:"
        )
        assert [f"{number}.png" in line for number, line in zip(damaged, lines, strict=True)] == len(damaged) * [True]
        assert capsys.readouterr().out.startswith(f"4 frames are in {tmp_path / 'out'}/drive_overlay.mp4")
        seen = [frame[..., 0].mean() for frame in read_film(tmp_path / "out" / "drive_overlay.mp4").frames]
        assert np.abs(np.array(seen) - reds).max() < 12

    def test_a_folder_of_nothing_but_damaged_frames(self, model, tmp_path):
        for number in range(2):
            save(tmp_path / "drive" / f"{number}.png", np.zeros((16, 24, 3), np.uint8)).write_bytes(b"")
        with pytest.raises(ValueError, match=r"drive: none of its 2 frames can be read; the first: .*0\.png"):
            self.run(model, tmp_path / "out", tmp_path / "drive")
        assert list((tmp_path / "out").iterdir()) == []

    def test_what_is_odd_in_a_film_is_told_and_the_film_made(self, model, tmp_path, capsys):
        path = tmp_path / "film.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
        for frame in np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8):
            writer.write(frame)
        writer.release()
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        self.run(model, tmp_path / "out", path)
        told = capsys.readouterr()
        assert re.search(
            r"warning: .*film\.avi has \d+ frames where its head tells of 20; it is cut short, or", told.err
        )
        assert re.match(r"(9|10) frames are in ", told.out)

    def test_a_frame_that_is_shown_again_is_classified_once(self, model, tmp_path, monkeypatch):
        asked, predictor = [], Predictor(model)
        segment = make_segmenter(predictor)
        frame = np.zeros((16, 24, 3), np.uint8)
        film = predict.Film(iter([frame, frame, frame, frame.copy()]), 10.0, 4)
        predict.predict_film(
            predictor, film, tmp_path / "film.mp4", 0.5, lambda frame: asked.append(1) or segment(frame)
        )
        assert (len(asked), read_film(tmp_path / "film.mp4").count) == (2, 4)

    def test_a_film_that_takes_too_much_memory(self, model, tmp_path, monkeypatch):
        save(tmp_path / "drive" / "a.png", np.zeros((16, 24, 3), np.uint8))

        def run_out(*_):
            raise MemoryError

        monkeypatch.setattr(ImageSegmenter, "__call__", run_out)
        with pytest.raises(ValueError, match=r"drive.* takes more memory than there is, seen at 16x24; give --window"):
            self.run(model, tmp_path / "out", tmp_path / "drive")

    def test_of_a_file(self, model, tmp_path):
        write_film(tmp_path / "drive.mp4", 12 * [np.full((16, 24, 3), 180, np.uint8)], 12)
        self.run(model, tmp_path / "out", tmp_path / "drive.mp4")
        film = read_film(tmp_path / "out" / "drive_overlay.mp4")
        assert (film.rate, film.count) == (12, 12)

    def test_frames_of_two_sizes_leave_no_film(self, model, tmp_path):
        for name, width in (("a", 24), ("b", 32)):
            save(tmp_path / "drive" / f"{name}.png", np.zeros((16, width, 3), np.uint8))
        with pytest.raises(ValueError, match="frame 1 has another size, 16x32 after 16x24"):
            self.run(model, tmp_path / "out", tmp_path / "drive")
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_frame_of_another_size_is_named_before_any_is_predicted(self, model, tmp_path, monkeypatch):
        monkeypatch.setattr(ImageSegmenter, "__call__", lambda *_: pytest.fail("predicted"))
        exif = Image.Exif()
        exif[0x0112] = 6
        for name, shape in (("1.png", (16, 24, 3)), ("2.png", (24, 16, 3)), ("10.png", (16, 32, 3))):
            save(tmp_path / "drive" / name, np.zeros(shape, np.uint8), **({"exif": exif} if name == "2.png" else {}))
        with pytest.raises(ValueError, match=r"frame 2 has another size, 16x32 after 16x24: .*10\.png; take it out"):
            self.run(model, tmp_path / "out", tmp_path / "drive")

    def test_a_film_is_never_overwritten(self, tmp_path):
        write_film(tmp_path / "a_overlay.mp4", 3 * [np.zeros((16, 16, 3), np.uint8)], 10)
        (tmp_path / "a.mp4").symlink_to("a_overlay.mp4")
        with pytest.raises(ValueError, match=r"a_overlay\.mp4 would be read and overwritten; choose another --out"):
            self.run("no model is needed for this", tmp_path, tmp_path / "a.mp4")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ([], "expected pictures or a --video, and not both"),
            (["a.png", "--video", "a.mp4"], "expected pictures or a --video, and not both"),
            (["--video", "a.mp4", "--rate", "0"], "--rate must be above 0"),
        ],
    )
    def test_options_that_do_not_fit(self, tmp_path, options, message):
        with pytest.raises(ValueError, match=message):
            predict.main(["--model", "no model is needed for this", "--out", str(tmp_path), *options])


def test_a_jpeg_of_too_many_scans_is_not_decoded(tmp_path, monkeypatch):
    path = save(tmp_path / "a.jpg", picture_of_reds(0))
    path.write_bytes(path.read_bytes() + b"\xff\xda" * pictures.MOST_SCANS)
    monkeypatch.setattr(pictures.cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(predict.TooLarge, match=r"a\.jpg has more than 100 scans"):
        read_picture(path)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_png_holds_the_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert np.array_equal(read(io.BytesIO(predict.encode_png(pixels))), pixels)


@pytest.mark.parametrize(
    ("seconds", "memory", "words"),
    [
        ([], 100.0, ""),
        ([2.9], None, ": the first took 2.90 s"),
        ([2.9], 1312.3, ": the first took 2.90 s; 1,312 MiB at most"),
        ([2.9, 1.0, 1.21, 4.0], 800.0, ": the first took 2.90 s, the others 1.21 s (median); 800 MiB at most"),
    ],
)
def test_what_pictures_took(seconds, memory, words):
    assert predict.describe_cost(seconds, memory) == words


def test_memory_is_that_of_this_process_at_its_peak():
    """Not that of the tests, which start it and hold TensorFlow."""
    code = """
import numpy as np
from tfseg.inference.predictor import peak_memory
before = peak_memory()
block = np.ones(100 * 2**20, np.uint8)
del block
print(before, peak_memory())
"""
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    before, after = map(float, printed.split())
    assert 10 < before < predict.peak_memory() / 2
    assert 90 < after - before < 110


def test_macos_counts_memory_in_bytes(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert predict.peak_memory() == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
