"""The sound of a video, copied by PyAV."""

import pytest
from helper_videos import moving, packets, read_whole, write_video

from tfseg.io.video import read_film, write_film

av = pytest.importorskip("av", reason="needs PyAV, the extra video")


@pytest.mark.parametrize(("sound", "ending"), [("libmp3lame", ".mp4"), ("libopus", ".mp4"), ("flac", ".mkv")])
def test_sound_of_other_codecs(tmp_path, sound, ending):
    source = write_video(tmp_path / "film.mkv", moving(6), sound=sound)
    film = read_film(source)
    write_film(tmp_path / f"copy{ending}", film)
    assert film.notes == []
    assert [content for _, content in packets(tmp_path / f"copy{ending}", "audio")] == [
        content for _, content in packets(source, "audio")
    ]


def test_sound_that_the_container_cannot_hold_is_left_out_with_a_note(tmp_path):
    source = write_video(tmp_path / "film.asf", moving(6), codec="mpeg4", sound="wmav2", seconds=0.2)
    film = read_film(source)
    assert write_film(tmp_path / "copy.mp4", film) == 6
    assert f"sound of {source} is left out: .mp4 holds no wmav2; .mkv may" in film.notes
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_sound_of_a_stream_gets_what_a_file_needs(tmp_path):
    """AAC of a transport stream has a head in each packet, which .mp4 has once."""
    source = write_video(tmp_path / "film.ts", moving(12), sound="aac")
    write_film(tmp_path / "copy.mp4", read_film(source))
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 20_000
    assert read_whole(tmp_path / "copy.mp4")[1][0] < 0.1  # a transport stream begins at 1.4 s


def test_sound_whose_head_is_damaged_costs_the_sound_alone(tmp_path):
    source = write_video(tmp_path / "film.webm", moving(6), codec="libvpx-vp9", sound="libopus", seconds=0.2)
    content = source.read_bytes()
    place = content.index(b"\x63\xa2")  # CodecPrivate, whose length follows
    length = content[place + 2] & 0x7F
    assert content[place + 3 : place + 11] == b"OpusHead"
    filler = b"\xec" + bytes([0x80 | (length + 1)]) + bytes(length + 1)  # Void, of the same length
    source.write_bytes(content[:place] + filler + content[place + 3 + length :])
    film = read_film(source)
    assert write_film(tmp_path / "copy.mp4", film) == 6
    assert f"sound of {source} is left out: .mp4 holds no opus; .mkv may" in film.notes
