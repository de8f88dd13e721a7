"""The sound of a video, copied by PyAV."""

import pytest
from helper_videos import moving, packets, read_whole, write_video

from tfseg.io.video import read_film, write_film

pytest.importorskip("av", reason="needs PyAV, the extra video")

import av

from tfseg.io import video_sound
from tfseg.io.video_reader import demux


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
    reason = "the head of its opus is damaged or missing, and .mp4 needs it; .mkv may do without"
    assert film.notes == [f"sound of {source} is left out: {reason}"]
    film = read_film(source)
    write_film(tmp_path / "copy.mkv", film)
    assert film.notes == [] and len(packets(tmp_path / "copy.mkv", "audio")) == len(packets(source, "audio")) > 0


def damage_table(path, table, entry, content):
    """Writes over an entry of the last table of this kind in an .mp4 file, which is that of the sound."""
    film = bytearray(path.read_bytes())
    start = film.rindex(table.encode()) + (16 if table == "stsz" else 12) + 4 * entry
    film[start : start + 4] = content
    path.write_bytes(film)


@pytest.mark.parametrize(
    ("table", "entry", "content", "lost"),
    [
        ("stsz", 10, b"\x3f\xff\xff\xff", [10]),  # a size, at which FFmpeg stays
        ("stsz", 0, b"\x3f\xff\xff\xff", [0]),
        ("stco", 5, b"\xff\xff\xff\xff", [9, 10]),  # a place, at which it ends
    ],
)
@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_sound_goes_on_behind_damage(tmp_path, table, entry, content, lost, ending):
    first, source, copy = tmp_path / "first.mp4", tmp_path / "film.mp4", tmp_path / f"copy{ending}"
    write_film(source, read_film(write_video(first, moving(20), sound="aac", seconds=0.8)))  # sound between frames
    whole = packets(source, "audio")
    damage_table(source, table, entry, content)
    film = read_film(source)
    assert write_film(copy, film) == 20
    pieces = "1 piece of the sound of {} is" if len(lost) == 1 else "2 pieces of the sound of {} are"
    assert film.notes == [f"{pieces.format(source)} damaged and left out"]
    kept = [sound for place, (_, sound) in enumerate(whole) if place not in lost]
    assert [sound for _, sound in packets(copy, "audio")] == kept


def test_two_streams_of_sound_of_which_one_is_damaged(tmp_path):
    one, source = write_video(tmp_path / "one.mp4", moving(20), sound="aac", seconds=0.8), tmp_path / "film.mp4"
    with av.open(str(one)) as first, av.open(str(one)) as second, av.open(str(source), "w") as output:
        inputs = [first.streams.video[0], first.streams.audio[0], second.streams.audio[0]]
        copies = [output.add_stream_from_template(stream) for stream in inputs]
        found = [packet for stream, copy in zip(inputs, copies, strict=True) for packet in taken(stream, copy)]
        for packet in sorted(found, key=lambda packet: packet.dts * packet.time_base):
            output.mux_one(packet)
    damage_table(source, "stsz", 10, b"\x3f\xff\xff\xff")
    film = read_film(source)
    write_film(tmp_path / "copy.mp4", film)
    assert film.notes == [f"1 piece of the sound of {source} is damaged and left out"]
    with av.open(str(tmp_path / "copy.mp4")) as copy:
        assert [stream.frames for stream in copy.streams.audio] == [38, 37]


def taken(stream, copy):
    """The packets of a stream, as those of a copy."""
    stream.container.seek(0)
    found = [packet for packet in stream.container.demux(stream) if packet.size]
    for packet in found:
        packet.stream = copy
    return found


def test_sound_of_a_file_without_a_table_goes_on_behind_an_error(tmp_path, monkeypatch):
    source = write_video(tmp_path / "film.mkv", moving(20), sound="aac", seconds=0.8)
    whole, demuxed = packets(source, "audio"), iter(range(1000))

    def fail_once(container, streams):
        for packet in demux(container, streams):
            if next(demuxed) == 10:
                raise av.error.InvalidDataError(1, "damaged")
            yield packet

    film = read_film(source)
    with monkeypatch.context() as patch:
        patch.setattr(video_sound, "demux", fail_once)
        patch.setattr(video_sound, "_try_sound", lambda *_: {1: True})
        write_film(tmp_path / "copy.mkv", film)
    kept = packets(tmp_path / "copy.mkv", "audio")
    assert [sound for _, sound in kept] == [sound for _, sound in [*whole[:10], *whole[11:]]]
    assert film.notes == [
        f"the sound of {source} is broken after {float(whole[9][0]):.3f} s; what could be read behind that is taken, "
        "and how much is lost is not known"
    ]
