from pathlib import Path

import cv2
import numpy as np
import pytest

from tfseg.video import read_film, write_film


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
    read = list(film.frames)
    assert [frame.shape for frame in read] == 12 * [(32, 48, 3)]
    assert np.abs(read[0].mean(axis=(0, 1)) - [200, 0, 0]).max() < 12  # not blue: the channels are RGB
    assert np.abs([frame.mean() - 10 * index for index, frame in enumerate(read[1:])]).max() < 6
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_odd_sides_grow_by_a_line(tmp_path):
    write_film(tmp_path / "film.mp4", frames(3, 15, 25), 10)
    assert next(iter(read_film(tmp_path / "film.mp4").frames)).shape == (16, 26, 3)


def test_frames_are_read_when_asked_for(tmp_path):
    write_film(tmp_path / "film.mp4", frames(9), 10)
    asked = []
    write_film(
        tmp_path / "copy.mp4", (asked.append(1) or frame for frame in read_film(tmp_path / "film.mp4").frames), 10
    )
    assert len(asked) == 9


def test_what_is_no_video_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"film\.mp4: no such video file"):
        read_film(tmp_path / "film.mp4")
    (tmp_path / "film.mp4").write_text("text")
    with pytest.raises(ValueError, match=r"film\.mp4 is no video that OpenCV can read"):
        read_film(tmp_path / "film.mp4")


def test_a_film_cut_short_is_told(tmp_path):
    path = tmp_path / "film.avi"  # an .mp4 has its table of frames at its end, and is no video without it
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for frame in np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8):
        writer.write(frame)
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"film\.avi is cut short or damaged: \d+ of its 40 frames can be read"):
        list(read_film(path).frames)


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


def test_a_full_disk_is_told(tmp_path, monkeypatch):
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
