import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tfseg.io import video_opencv
from tfseg.io.film import Film
from tfseg.io.video_opencv import read_film


def write_film(path, frames, rate):
    return video_opencv.write_film(path, Film.steady(frames, rate))


def pixels(film):
    return [frame.pixels for frame in film.frames]


def frames(count, height=16, width=24):
    """Grey frames that grow brighter by 10 each."""
    return [np.full((height, width, 3), 10 * index, np.uint8) for index in range(count)]


def test_what_is_written_is_read(tmp_path):
    red = np.zeros((32, 48, 3), np.uint8)
    red[..., 0] = 200
    path = tmp_path / "film.mp4"
    assert write_film(path, [red, *frames(11, 32, 48)], 12.5) == 12
    film = read_film(path)
    assert (film.rate, film.count) == (12.5, 12)
    read = pixels(film)
    assert [frame.shape for frame in read] == 12 * [(32, 48, 3)]
    assert np.abs(read[0].mean(axis=(0, 1)) - [200, 0, 0]).max() < 12  # not blue: the channels are RGB
    assert np.abs([frame.mean() - 10 * index for index, frame in enumerate(read[1:])]).max() < 6
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode elsewhere")
def test_names_that_are_no_unicode(tmp_path):
    """As a process of its own, since OpenCV crashes on them."""
    code = """
import os, sys
import numpy as np
from pathlib import Path
from tfseg.io.film import Film
from tfseg.io.video_opencv import read_film, write_film
path = Path(os.fsdecode(os.fsencode(sys.argv[1]) + b"/odd\\xff/film\\xe4.mp4"))
path.parent.mkdir()
write_film(path, Film.steady(5 * [np.zeros((16, 24, 3), np.uint8)], 10))
print(len(list(read_film(path).frames)), len(os.listdir(path.parent)))
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("5 1\n", 0), done.stderr


def test_odd_sides_grow_by_a_line(tmp_path):
    write_film(tmp_path / "film.mp4", frames(3, 15, 25), 10)
    assert pixels(read_film(tmp_path / "film.mp4"))[0].shape == (16, 26, 3)


def test_frames_are_read_when_asked_for(tmp_path):
    write_film(tmp_path / "film.mp4", frames(9), 10)
    asked = []
    read = read_film(tmp_path / "film.mp4").frames
    write_film(tmp_path / "copy.mp4", (asked.append(1) or frame.pixels for frame in read), 10)
    assert len(asked) == 9


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "film.mp4").write_text("text")
    with pytest.raises(ValueError, match=r"film\.mp4 is no video that OpenCV can read"):
        read_film(tmp_path / "film.mp4")


@pytest.mark.parametrize("options", [None, "rtsp_transport;udp"])
def test_a_list_of_other_films_is_no_video(tmp_path, monkeypatch, options):
    """Whatever the caller has set for other videos, which stays."""
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", raising=False)
    if options:
        monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", options)
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / "secret.mp4", frames(4), 10)
    (tmp_path / "film.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(ValueError, match=r"film\.mp4 is no video that OpenCV can read"):
        read_film("film.mp4")
    assert os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS") == options


def test_of_a_film_cut_short_is_kept_what_can_be_read(tmp_path):
    path = tmp_path / "film.avi"  # an .mp4 has its table of frames at its end, and is no video without it
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for frame in np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8):
        writer.write(frame)
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    film = read_film(path)
    assert 15 < len(list(film.frames)) < 25
    assert len(film.notes) == 1
    assert re.search(r"film\.avi has (1|2)\d frames where its head says 40; it is cut short, or", film.notes[0])


def test_damaged_frames_in_a_film_do_not_end_it(tmp_path):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for frame in np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8):
        writer.write(frame)
    writer.release()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 10_000] = bytes(10_000)
    path.write_bytes(content)
    assert len(list(read_film(path).frames)) >= 36


class FakeCapture:
    """A video of (time in ms, grey), or None for a frame that cannot be read, or an exception."""

    content, fps, count = (), 10.0, 0

    def __init__(self, path, backend):
        self.left, self.time = list(self.content), 0.0

    def isOpened(self):
        return True

    def release(self):
        pass

    def get(self, what):
        known = {cv2.CAP_PROP_FRAME_WIDTH: 24, cv2.CAP_PROP_FRAME_HEIGHT: 16}
        return {cv2.CAP_PROP_FPS: self.fps, cv2.CAP_PROP_FRAME_COUNT: self.count, **known}.get(what, self.time)

    def grab(self):
        return self.read()[0]

    def read(self):
        entry = self.left.pop(0) if self.left else None
        if entry is None:
            return False, None
        self.time, grey, *size = entry
        return True, np.full((*(size or (16, 24)), 3), grey, np.uint8)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    (tmp_path / "film.webm").touch()

    def make(content, fps=10.0, count=0):
        monkeypatch.setattr(FakeCapture, "content", content)
        monkeypatch.setattr(FakeCapture, "fps", fps)
        monkeypatch.setattr(FakeCapture, "count", count)
        film = read_film(tmp_path / "film.webm")
        return film, [int(frame.pixels[0, 0, 0]) for frame in film.frames]

    return make


def test_a_variable_rate_becomes_a_constant_one_of_the_same_length(fake):
    film, greys = fake([(0, 1), (100, 2), (200, 3), (600, 4), (700, 5)], fps=5.0, count=4)
    assert (film.rate, film.count) == (10, 8)
    assert greys == [1, 2, 3, 3, 3, 3, 4, 5]
    assert len(film.notes) == 1 and "at 10 per second, 3 frames are shown again and 0 left out" in film.notes[0]


def test_times_in_hundredths_are_one_rate(fake):
    film, greys = fake([(10 * round(10 * index / 3), index) for index in range(90)], fps=30.0, count=90)
    assert (film.rate, greys, film.notes) == (30, list(range(90)), [])


def test_frames_that_come_too_fast_are_left_out(fake):
    steady = [(100 * index, index) for index in range(130)]
    film, greys = fake([*steady, (12910, 200), (12940, 201), (13000, 202)], count=131)
    assert film.rate == 10
    assert greys == [*range(129), 201, 202]  # of two frames in one step the last


def test_a_film_may_begin_late_and_have_times_in_whole_ms(fake):
    content = [(1500 + round(1000 * index / 30), index) for index in range(100)]
    film, greys = fake(content, fps=30.0, count=100)
    assert (film.rate, greys, film.notes) == (30, list(range(100)), [])


@pytest.mark.parametrize("fps", [0.0, float("nan"), 1000.0, 90_000.0])
def test_a_rate_that_is_none_is_told_by_the_times(fake, fps):
    """As of films that a browser recorded, which give neither frame rate nor number."""
    film, greys = fake([(round(1000 * index / 30), index) for index in range(90)], fps=fps, count=-(10**17))
    assert film.rate == pytest.approx(30, rel=1e-3)
    assert (greys, film.notes) == (list(range(90)), [])


@pytest.mark.parametrize("times", [8 * [0], [70, 100, 130, 0, 190, 220, 250, 0], [0, 1, 2, 10**9, 4, 5, 6, 7]])
def test_times_that_mean_nothing_are_not_believed(fake, times):
    _, greys = fake([(time, index) for index, time in enumerate(times)], fps=1000.0, count=8)
    assert list(dict.fromkeys(greys)) == list(range(8))
    assert len(greys) < 500


def test_what_cannot_be_read_is_passed_over_in_time(fake):
    content = [(100 * index, index) for index in range(20)]
    content[5] = content[6] = None
    film, greys = fake(content, count=20)
    assert greys == [0, 1, 2, 3, 4, 4, 4, *range(7, 20)]
    assert "film.webm is damaged: 2 times no frame could be read" in film.notes[0]
    assert len(film.notes) == 2


def test_a_size_that_changes(fake):
    film, greys = fake([(0, 1), (100, 2, 32, 48), (200, 3)], count=3)
    assert greys == [1, 2, 3]
    assert "1 frame of another size, brought to 16x24" in film.notes[0]


def test_a_film_of_no_frame_that_can_be_read(fake):
    with pytest.raises(ValueError, match=r"film\.webm is damaged: none of its frames can be read"):
        fake([], count=40)


@pytest.mark.parametrize("rate", [239.683, 119.8801, 29.97003, 23.976024, 30.303030303, 999.98])
def test_any_rate_can_be_written(tmp_path, rate):
    write_film(tmp_path / "film.mp4", frames(4), rate)
    film = read_film(tmp_path / "film.mp4")
    assert film.rate == pytest.approx(rate, rel=1e-4)
    assert film.count == len(list(film.frames)) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"film\.mp4: there is no frame to write"),
        ([*frames(2), *frames(1, 8, 8)], "frame 2 has another size, 8x8 after 16x24"),
    ],
)
def test_what_cannot_be_written(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        write_film(tmp_path / "film.mp4", content, 10)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_film_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "film.mp4"
    write_film(path, frames(4), 10)

    def stop_early():
        yield from frames(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_film(path, stop_early(), 10)
    assert read_film(path).count == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.mp4"]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    class FullDisk:
        """Takes frames and keeps none, without a word, as OpenCV's does."""

        def open(self, path, *arguments):
            Path(path).touch()
            return True

        write = release = lambda *arguments: None

    monkeypatch.setattr(cv2, "VideoWriter", FullDisk)
    monkeypatch.setattr(cv2, "VideoWriter_fourcc", lambda *letters: 0, raising=False)
    with pytest.raises(OSError, match=r"film\.mp4 could not be written: 0 of 5 frames are in it; is the disk full"):
        write_film(tmp_path / "film.mp4", frames(5), 10)
    assert list(tmp_path.iterdir()) == []
