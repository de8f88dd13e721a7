import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf
from helper_files import image_of_reds, save
from helper_models import MODEL_CLASSES, MODEL_COLORS, write_model
from PIL import Image

from tfseg import predict
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.predictor import Predictor
from tfseg.io import command
from tfseg.io.video import read_film


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("predict") / "model")


def read(path):
    return np.asarray(Image.open(path))


def run(model, out, *images, options=()):
    predict.main(["--model", str(model), "--out", str(out), *map(str, images), *options])


def test_writes_classes_and_overlay(model, tmp_path, capsys):
    save(tmp_path / "in" / "one.png", image_of_reds(0, 70))
    save(tmp_path / "in" / "two.png", image_of_reds(130, 200, 255))
    run(model, tmp_path / "out", tmp_path / "in")
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
    printed = rf"2 of 2 images are predicted in {tmp_path / 'out'}: the first took [\d.]+ s, the others [\d.]+ s"
    assert re.fullmatch(rf"{printed} \(median\); [\d,]+ MiB at most\n", capsys.readouterr().out)


def test_an_older_model_sees_images_as_they_are_and_says_so(model, tmp_path, capsys):
    save(tmp_path / "a.png", image_of_reds(130, 200))
    run(model, tmp_path / "out", tmp_path / "a.png")
    assert read(tmp_path / "out" / "a_classes.png").tolist() == [[2, 3]]
    assert "model: does not say at which size it was validated, so" in capsys.readouterr().err
    run(model, tmp_path / "out", tmp_path / "a.png", options=["--input-size", "native"])
    assert "validated" not in capsys.readouterr().err


def test_windows_mirror_images_and_scales(model, tmp_path, monkeypatch):
    monkeypatch.delattr(Predictor, "__call__")
    pixels = np.repeat(image_of_reds(*range(0, 250, 10)), 9, axis=0)
    save(tmp_path / "a.png", pixels)
    for number, options in enumerate(
        ("--sliding-window 4x6 --overlap 0.3", "--tta flip", "--sliding-window 5x5 --tta flip")
    ):
        out = tmp_path / str(number)
        run(model, out, tmp_path / "a.png", options=options.split())
        assert np.array_equal(read(out / "a_classes.png"), pixels[..., 0] // 64), options
    run(model, tmp_path / "small", tmp_path / "a.png", options=["--tta-scales", "0.2"])
    blocks = pixels[0, :, 0].reshape(5, 5).mean(axis=1) // 64  # areas of 5x5, nearly; the rows are all the same
    assert read(tmp_path / "small" / "a_classes.png")[:, 2::5].tolist() == 9 * [blocks.tolist()]


def test_bad_images_are_named_and_the_others_done(model, tmp_path, capsys, monkeypatch):
    (tmp_path / "a_text.png").write_text("not an image")
    save(tmp_path / "good.png", image_of_reds(255))
    names = ["a_text.png", "missing.png", "good.png"]
    arguments = ["predict.py", "--model", str(model), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [*arguments, *(str(tmp_path / name) for name in names)])
    with pytest.raises(SystemExit) as ending:
        command.run(predict.main)
    message, *lines = ending.value.code.splitlines()  # sys.exit prints a text and ends with code 1
    assert message == "predict: error: 2 of 3 images could not be read:"
    assert [name in line for name, line in zip(names, lines, strict=False)] == [True, True]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good_classes.png", "good_overlay.png"]
    assert capsys.readouterr().out.startswith(f"1 of 3 images is predicted in {tmp_path / 'out'}: the first")


def test_what_a_folder_holds_beside_images(model, tmp_path, capsys):
    for suffix in (".png", ".webp", ".bmp", ".tif", ".TIFF", ".jpg"):
        save(tmp_path / "in" / f"{suffix[1:]}{suffix}", np.full((8, 8, 3), [200, 7, 9], np.uint8))
    for name in ("a.txt", "b.txt", "c.gif", "._png.png", "Thumbs.db", "__MACOSX/._png.png"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"litter")
    run(model, tmp_path / "out", tmp_path / "in")
    printed = capsys.readouterr()
    assert printed.out.startswith(f"6 of 6 images are predicted in {tmp_path / 'out'}")
    line = f"warning: {tmp_path / 'in'}: 2 .txt, 1 .gif left out, as no images that are read\n"
    assert printed.err.count("\n") >= 1 and line in printed.err
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
def test_an_image_that_takes_too_much_memory_is_named_and_the_others_done(model, tmp_path, capsys, monkeypatch, error):
    for name, width in (("a", 2), ("b", 9), ("c", 3)):
        save(tmp_path / f"{name}.png", image_of_reds(*width * [255]))
    segment = ImageSegmenter.__call__

    def run_out(self, image):
        if image.shape[1] == 9:
            raise error
        return segment(self, image)

    monkeypatch.setattr(ImageSegmenter, "__call__", run_out)
    with pytest.raises(ValueError) as ending:
        run(model, tmp_path / "out", *(tmp_path / f"{name}.png" for name in "abc"))
    message, *lines = str(ending.value).splitlines()
    assert message == "1 of 3 images could not be predicted:"
    assert len(lines) == 1 and "b.png takes more memory than there is, seen at 1x9; give --sliding-window" in lines[0]
    assert len(list((tmp_path / "out").glob("*_classes.png"))) == 2
    assert capsys.readouterr().out.startswith("2 of 3 images are predicted")


def test_what_the_model_cannot_take_is_named_and_the_others_done(model, tmp_path, monkeypatch):
    for name in "ab":
        save(tmp_path / f"{name}.png", image_of_reds(255))
    segment = ImageSegmenter.__call__

    def fail_once(*arguments):
        monkeypatch.setattr(ImageSegmenter, "__call__", segment)
        raise tf.errors.InvalidArgumentError(None, None, "no such\nsize")

    monkeypatch.setattr(ImageSegmenter, "__call__", fail_once)
    with pytest.raises(ValueError, match=r"1 of 2 .*\n.*a\.png cannot be predicted: no such size"):
        run(model, tmp_path / "out", tmp_path / "a.png", tmp_path / "b.png")
    assert (tmp_path / "out" / "b_classes.png").is_file()


def test_a_name_too_long_for_its_results(model, tmp_path):
    paths = [save(tmp_path / f"{250 * 'a'}.png", image_of_reds(0)), save(tmp_path / "b.png", image_of_reds(0))]
    with pytest.raises(ValueError, match=r"1 of 2 images could not be predicted:\n.*aaa\.png: its results .* too long"):
        run(model, tmp_path / "out", *paths)
    assert (tmp_path / "out" / "b_classes.png").is_file()


@pytest.mark.parametrize("module", ["predict", "serve", "app", "evaluate"])
def test_what_is_no_model_is_reported_before_tensorflow_is_loaded(tmp_path, module):
    for name in ("config.yaml", "history.csv"):
        (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "run" / name).touch()
    (tmp_path / "run" / "labels.json").write_text(json.dumps({"classes": MODEL_CLASSES}))
    options = {"predict": f"--out {tmp_path} {save(tmp_path / 'a.png', image_of_reds(0))}"}
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
def test_alpha_out_of_range(tmp_path, alpha):
    with pytest.raises(ValueError, match="alpha: expected 0 to 1"):
        predict.main(["--model", "m", "--out", str(tmp_path), "--alpha", alpha, "a.png"])


def test_bad_options_are_reported_before_the_model_is_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"overlap must be at least 0 and below 1, got 1\.0"):
        run("no model", tmp_path, "a.png", options=["--sliding-window", "8x8", "--overlap", "1"])


def run_video(model, out, path, *options):
    predict.main(["--model", str(model), "--out", str(out), "--video", str(path), *options])


def test_overlays_of_a_folder_of_frames(model, tmp_path, capsys):
    for name, red in (("b", 255), ("a", 100), ("c", 0)):
        save(tmp_path / "drive" / f"{name}.png", np.full((16, 24, 3), [red, 7, 9], np.uint8))
    run_video(model, tmp_path / "out", tmp_path / "drive", "--alpha", "1", "--fps", "5")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["drive_overlay.mp4"]
    film = read_film(tmp_path / "out" / "drive_overlay.mp4")
    assert film.rate == 5
    seen = [frame.pixels.mean(axis=(0, 1)) for frame in film.frames]
    assert np.abs(np.array(seen) - [MODEL_COLORS[1], MODEL_COLORS[3], MODEL_COLORS[0]]).max() < 6
    printed = rf"3 frames are in {tmp_path / 'out'}/drive_overlay.mp4, 5 per second: [\d.]+ per second were made, "
    assert re.match(printed + r"with reading and writing: the first took [\d.]+ s, ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("damaged", "reds"), [([1], [0, 0, 80, 120]), ([0, 1], [80, 80, 80, 120]), ([3], [0, 40, 80, 80])]
)
def test_a_damaged_frame_is_stood_for_by_the_one_before(model, tmp_path, capsys, damaged, reds):
    for number in range(4):
        path = save(tmp_path / "drive" / f"{number}.png", np.full((16, 24, 3), [40 * number, 0, 0], np.uint8))
        if number in damaged:
            path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError) as ending:
        run_video(model, tmp_path / "out", tmp_path / "drive", "--alpha", "0")
    message, *lines = str(ending.value).splitlines()
    assert message == f"{len(damaged)} of 4 frames could not be read; the one before, or else after, stands for each:"
    assert [f"{number}.png" in line for number, line in zip(damaged, lines, strict=True)] == len(damaged) * [True]
    assert capsys.readouterr().out.startswith(f"4 frames are in {tmp_path / 'out'}/drive_overlay.mp4")
    seen = [frame.pixels[..., 0].mean() for frame in read_film(tmp_path / "out" / "drive_overlay.mp4").frames]
    assert np.abs(np.array(seen) - reds).max() < 12


def test_what_is_odd_in_a_film_is_reported_and_the_film_made(model, tmp_path, capsys):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for frame in np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8):
        writer.write(frame)
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    run_video(model, tmp_path / "out", path)
    printed = capsys.readouterr()
    assert re.search(r"warning: .*film\.avi has \d+ frames where its head says 20; it is cut short, or", printed.err)
    assert re.match(r"(9|10) frames are in ", printed.out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected images or a --video, and not both"),
        (["a.png", "--video", "a.mp4"], "expected images or a --video, and not both"),
        (["--video", "a.mp4", "--fps", "0"], "--fps must be at least 0.001"),
        (["--video", "a.mp4", "--smooth", "1"], "--smooth must be at least 0 and below 1"),
        (["a.png", "--smooth", "0.5"], "--smooth, --codec and --container are of a --video, and images are given"),
        (["a.png", "--codec", "hevc"], "--smooth, --codec and --container are of a --video, and images are given"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        predict.main(["--model", "no model is needed for this", "--out", str(tmp_path), *options])


def test_flags_under_their_old_names(model, tmp_path, capsys):
    save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (9, 25, 3), np.uint8))
    masks = []
    for number, options in enumerate(
        ("--window 4x6 --flip --scales 1.0 0.5", "--sliding-window 4x6 --tta flip --tta-scales 1.0 0.5")
    ):
        run(model, tmp_path / str(number), tmp_path / "a.png", options=options.split())
        masks.append(read(tmp_path / str(number) / "a_classes.png"))
        assert capsys.readouterr().err.count("is now called") == (0 if number else 3)
    assert np.array_equal(*masks)
