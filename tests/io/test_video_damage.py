"""Damage in videos, read by PyAV, costs what is damaged."""

from fractions import Fraction

import pytest
from helper_videos import damage, moving, packets, places, read_whole, write_video

from tfseg.io.video import read_film, write_film

pytest.importorskip("av", reason="needs PyAV, the extra video")

from tfseg.io.video_reader import Damage


def test_a_damaged_frame_costs_one_frame_and_a_warning(tmp_path):
    path = write_video(tmp_path / "film.mp4", moving(20), sound="aac", seconds=0.8)
    _, whole, _ = read_whole(path)
    sound = packets(path, "audio")
    place = places(path)[12]
    damage(path, place)
    _, times, film = read_whole(path)
    assert times == [time for time in whole if time != place[2]]
    assert film.notes == [f"{path} is damaged at {float(place[2]):.3f} s: that frame is left out"]
    write_film(tmp_path / "copy.mp4", read_film(path))
    assert read_whole(tmp_path / "copy.mp4")[1] == times
    assert packets(tmp_path / "copy.mp4", "audio") == sound


def test_a_frame_that_is_lost_without_an_error_is_reported(tmp_path):
    """As of AV1, whose decoder passes over what it does not know."""
    path = write_video(tmp_path / "film.mp4", moving(20), codec="libsvtav1", keyframes=4)
    found = places(path)
    damage(path, found[10])
    _, times, film = read_whole(path)
    assert 10 <= len(times) < 20
    assert len(film.notes) >= 1 and all("film.mp4 is damaged" in note for note in film.notes)


def test_warnings_are_bounded(tmp_path):
    path = write_video(tmp_path / "film.mp4", moving(40), keyframes=1)
    for place in places(path)[5:35]:
        damage(path, place)
    _, times, film = read_whole(path)
    lost = 40 - len(times)
    assert lost > 10
    assert len(film.notes) <= 7
    assert f"film.mp4 is damaged: {lost - 5} more frames are left out" in "\n".join(film.notes)


@pytest.mark.parametrize(("count", "words"), [(6, "1 more frame is left out"), (8, "3 more frames are left out")])
def test_one_frame_is_not_several(count, words):
    notes = []
    damaged = Damage("film.mp4", notes)
    for second in range(count):
        damaged.add(Fraction(second))
    damaged.report()
    assert notes[-1] == f"film.mp4 is damaged: {words}"


@pytest.mark.parametrize(
    ("ending", "share"), [(".mkv", 0.5), (".ts", 0.5), (".avi", 0.5), (".mp4", 0.5), (".mp4", 0.95)]
)
def test_of_a_film_cut_short_is_kept_what_it_holds(tmp_path, ending, share):
    path = write_video(tmp_path / f"film{ending}", moving(50), codec="mpeg4" if ending == ".avi" else "libx264")
    if ending == ".mp4":  # with its table at the start
        write_film(path, read_film(path))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    _, times, film = read_whole(path)
    assert 10 < len(times) < 50
    if ending != ".ts":  # whose head says nothing
        assert any("cut short" in note for note in film.notes)


def test_a_film_without_its_table(tmp_path):
    path = write_video(tmp_path / "film.mp4", moving(5))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(
        ValueError, match=r"film\.mp4 is no video that FFmpeg can read .*: it is cut short, or a playlist"
    ):
        read_film(path)


def test_frames_of_another_size_are_brought_to_the_first(tmp_path):
    parts = [write_video(tmp_path / f"{w}.h264", moving(3, h, w)) for h, w in ((64, 96), (32, 48))]
    (tmp_path / "film.h264").write_bytes(b"".join(part.read_bytes() for part in parts))
    pixels, times, film = read_whole(tmp_path / "film.h264")
    assert [image.shape for image in pixels] == 6 * [(64, 96, 3)]
    assert times == sorted(set(times))
    assert "3 frames of another size, brought to 64x96" in "\n".join(film.notes)


def test_times_that_leap_or_do_not_grow_are_mended(tmp_path):
    parts = [write_video(tmp_path / f"{place}.ts", moving(6)) for place in range(2)]
    (tmp_path / "film.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    _, times, film = read_whole(tmp_path / "film.ts")
    assert len(times) == 12 and times == sorted(set(times))
    assert times[-1] < 2
    assert film.notes == [f"{tmp_path}/film.ts: 6 frames had no time, or a wrong one, and got the one that follows"]
