"""Small videos, made by PyAV, where it is installed."""

from fractions import Fraction

import numpy as np

from tfseg.io.film import Film
from tfseg.io.video import read_film

MS = Fraction(1, 1000)
IRREGULAR = [0, 40, 45, 130, 131, 200, 360, 365, 400, 700]  # ms
# x265 with B-frames gives films of one or two frames times that it never set.
OPTIONS = {"libx265": {"x265-params": "log-level=none:bframes=0"}}


def moving(count, height=64, width=96):
    """Images of noise that a bright square moves over, (count, H, W, 3) uint8."""
    images = np.random.default_rng(0).integers(0, 120, (count, height, width, 3), np.uint8)
    for place, image in enumerate(images):
        image[:16, 2 * place : 2 * place + 16] = 250
    return images


def write_video(
    path,
    images,
    times=None,
    codec="libx264",
    pix_fmt="yuv420p",
    sound=None,
    rotation=None,
    look=None,
    keyframes=5,
    base=MS,
    seconds=0.5,
    options=None,
):
    """Writes a video.

    Args:
        path: its ending chooses the container.
        images: (H, W, 3) uint8 each, or frames of PyAV.
        times: of each, in units of `base`; None: 25 per second.
        codec, pix_fmt: as FFmpeg calls them.
        sound: FFmpeg's name of a codec of sound; None: there is none.
        rotation: keywords of PyAV's `set_display_rotation`.
        look: attributes of the codec context.
        keyframes: from one key frame to the next.
        base: of the times, in seconds.
        seconds: of sound.
        options: of the codec.
    """
    import av

    with av.open(str(path), "w") as output:
        images = [image if isinstance(image, av.VideoFrame) else av.VideoFrame.from_ndarray(image) for image in images]
        stream = output.add_stream(codec, rate=25, options=options or dict(OPTIONS.get(codec, {})), time_base=base)
        stream.width, stream.height, stream.pix_fmt = images[0].width, images[0].height, pix_fmt
        stream.codec_context.gop_size = keyframes
        for name, value in (look or {}).items():
            setattr(stream.codec_context, name, value)
        if rotation:
            stream.set_display_rotation(**rotation)
        listened = output.add_stream(sound, rate=48_000, bit_rate=128_000) if sound else None
        for place, image in enumerate(images):
            frame = image.reformat(format=pix_fmt)
            frame.pts, frame.time_base = times[place] if times else round(place / 25 / base), base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        for place in range(round(seconds * 48_000) // 1024 if listened else 0):
            wave = np.sin(np.arange(1024) / (5 + place)).astype(np.float32)
            tone = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
            tone.sample_rate, tone.pts, tone.time_base = 48_000, 1024 * place, Fraction(1, 48_000)
            output.mux(listened.encode(tone))
        if listened:
            output.mux(listened.encode(None))
    return path


def read_whole(path):
    """Reads a film whole: its pixels, its times in seconds, and the film."""
    film = read_film(path)
    frames = list(film.frames)
    return [frame.pixels for frame in frames], [frame.time * film.time_base for frame in frames], film


def steady(count=5, height=64, width=96, rate=10):
    """A film of `moving` images."""
    return Film.steady(moving(count, height, width), rate)


def packets(path, kind):
    """The packets of a file's first "audio" or "video": of each the time in seconds, and the bytes."""
    import av

    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size]


def places(path):
    """Where in a file the packets of its video lie: (position, size, time in seconds) each."""
    import av

    with av.open(str(path)) as container:
        found = container.demux(container.streams.video[0])
        return [(packet.pos, packet.size, packet.pts * packet.time_base) for packet in found if packet.size]


def damage(path, place, count=40):
    """Turns bits of so many bytes in the middle of a packet, given as of `places`."""
    content = bytearray(path.read_bytes())
    position, size, _ = place
    start = position + max(size - count, 0) // 2
    for index in range(start, min(start + count, position + size)):
        content[index] ^= 0x5A
    path.write_bytes(content)
