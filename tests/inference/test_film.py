from pathlib import Path

import numpy as np
import pytest
from helper_files import save
from helper_models import write_model
from helper_videos import IRREGULAR, moving, packets, write_video
from PIL import Image

from tfseg.inference.film import predict_film, predict_video
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.predictor import Predictor, make_segmenter
from tfseg.io.film import Film
from tfseg.io.video import read_film, write_film


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("predict") / "model")


def run(model, out, video, **options):
    return predict_video(Path(model), video, out, **options)


def test_frames_are_in_the_order_of_their_numbers(model, tmp_path):
    for number in range(12):
        save(tmp_path / "drive" / f"frame_{number}.png", np.full((16, 24, 3), 20 * number, np.uint8))
    for name in ("._frame_3.png", "Thumbs.db", ".ipynb_checkpoints/frame_3-checkpoint.png"):
        (tmp_path / "drive" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "drive" / name).write_bytes(b"litter")
    run(model, tmp_path / "out", tmp_path / "drive", alpha=0)
    seen = [frame.pixels.mean() for frame in read_film(tmp_path / "out" / "drive_overlay.mp4").frames]
    assert np.abs(np.array(seen) - 20 * np.arange(12)).max() < 8


def test_a_folder_of_nothing_but_damaged_frames(model, tmp_path):
    for number in range(2):
        save(tmp_path / "drive" / f"{number}.png", np.zeros((16, 24, 3), np.uint8)).write_bytes(b"")
    with pytest.raises(ValueError, match=r"drive: none of its 2 frames can be read; the first: .*0\.png"):
        run(model, tmp_path / "out", tmp_path / "drive")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_frame_that_is_shown_again_is_classified_once(model, tmp_path, monkeypatch):
    asked, predictor = [], Predictor(model)
    segment = make_segmenter(predictor)
    frame = np.zeros((16, 24, 3), np.uint8)
    film = Film.steady([frame, frame, frame, frame.copy()], 10, 4)
    predict_film(predictor, film, tmp_path / "film.mp4", 0.5, lambda frame: asked.append(1) or segment(frame))
    assert (len(asked), read_film(tmp_path / "film.mp4").count) == (2, 4)


def test_a_film_that_takes_too_much_memory(model, tmp_path, monkeypatch):
    save(tmp_path / "drive" / "a.png", np.zeros((16, 24, 3), np.uint8))

    def run_out(*_):
        raise MemoryError

    monkeypatch.setattr(ImageSegmenter, "__call__", run_out)
    with pytest.raises(ValueError, match=r"drive.* more memory than there is, seen at 16x24; give --sliding-window"):
        run(model, tmp_path / "out", tmp_path / "drive")


def test_of_a_file(model, tmp_path):
    write_film(tmp_path / "drive.mp4", Film.steady(12 * [np.full((16, 24, 3), 180, np.uint8)], 12))
    run(model, tmp_path / "out", tmp_path / "drive.mp4")
    film = read_film(tmp_path / "out" / "drive_overlay.mp4")
    assert (film.rate, film.count) == (12, 12)


def test_frames_of_two_sizes_leave_no_film(model, tmp_path):
    for name, width in (("a", 24), ("b", 32)):
        save(tmp_path / "drive" / f"{name}.png", np.zeros((16, width, 3), np.uint8))
    with pytest.raises(ValueError, match="frame 1 has another size, 16x32 after 16x24"):
        run(model, tmp_path / "out", tmp_path / "drive")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_frame_of_another_size_is_named_before_any_is_predicted(model, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageSegmenter, "__call__", lambda *_: pytest.fail("predicted"))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, shape in (("1.png", (16, 24, 3)), ("2.png", (24, 16, 3)), ("10.png", (16, 32, 3))):
        save(tmp_path / "drive" / name, np.zeros(shape, np.uint8), **({"exif": exif} if name == "2.png" else {}))
    with pytest.raises(ValueError, match=r"frame 2 has another size, 16x32 after 16x24: .*10\.png; take it out"):
        run(model, tmp_path / "out", tmp_path / "drive")


def test_a_film_is_never_overwritten(tmp_path):
    write_film(tmp_path / "a_overlay.mp4", Film.steady(3 * [np.zeros((16, 16, 3), np.uint8)], 10))
    (tmp_path / "a.mp4").symlink_to("a_overlay.mp4")
    with pytest.raises(ValueError, match=r"a_overlay\.mp4 would be read and overwritten; choose another --out"):
        run("no model is needed for this", tmp_path, tmp_path / "a.mp4")


@pytest.mark.parametrize("smooth", [-0.1, 1.0, 1.5, float("nan")])
def test_a_weight_out_of_range(tmp_path, smooth):
    with pytest.raises(ValueError, match="--smooth must be at least 0 and below 1"):
        run("no model is needed for this", tmp_path, tmp_path / "a.mp4", smooth=smooth)


def test_smoothing_keeps_a_class_for_frames(model, tmp_path):
    """The model is as sure as can be: of 0.6, a class that was there once outweighs the next frame, and no more."""
    for number, red in enumerate((200, 0, 0, 0)):
        save(tmp_path / "drive" / f"{number}.png", np.full((16, 24, 3), [red, 0, 0], np.uint8))
    seen = {}
    for smooth in (0.0, 0.6):
        done = run(model, tmp_path / str(smooth), tmp_path / "drive", alpha=1, smooth=smooth)
        assert len(done.seconds) == 4
        seen[smooth] = [frame.pixels[..., 0].mean() for frame in read_film(done.path).frames]
    bright, dark = 200, 0  # the colours of the classes
    assert np.abs(np.array(seen[0.0]) - [bright, dark, dark, dark]).max() < 10
    assert np.abs(np.array(seen[0.6]) - [bright, bright, dark, dark]).max() < 10


def test_a_video_keeps_times_and_sound(model, tmp_path):
    pytest.importorskip("av", reason="needs PyAV, the extra video")
    source = write_video(tmp_path / "drive.mp4", moving(10), IRREGULAR, sound="aac")
    done = run(model, tmp_path / "out", source, codec="hevc", container="mov")
    assert (done.path.name, done.count, done.film.notes) == ("drive_overlay.mov", 10, [])
    assert [time for time, _ in packets(done.path, "video")] == [time for time, _ in packets(source, "video")]
    assert packets(done.path, "audio") == packets(source, "audio")
    assert {codec_of(done.path), codec_of(source)} == {"hevc", "h264"}


def codec_of(path):
    import av

    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.name


@pytest.mark.parametrize("fps", [0, -1, 1001, float("nan")])
def test_frames_per_second_that_are_none(tmp_path, fps):
    with pytest.raises(ValueError, match=f"--fps must be at least 0.001 and at most 1000 .*, got {fps}") as raised:
        run("no model is needed for this", tmp_path, tmp_path / "drive", fps=fps)
    assert raised.value.__notes__ == ["In Python: --fps is fps"]


@pytest.mark.parametrize("options", [{"codec": "vp9"}, {"container": "avi"}])
def test_what_cannot_be_written_is_refused_before_the_model_is_loaded(tmp_path, options):
    with pytest.raises(ValueError, match=r"--(codec|container): expected"):
        run("no model is needed for this", tmp_path, tmp_path / "a.mp4", **options)
