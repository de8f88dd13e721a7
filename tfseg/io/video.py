"""Video files <-> frames, one at a time, so that a film of any length takes the memory of a few images.

| | PyAV, the extra `video` | OpenCV, without it |
|---|---|---|
| compression written | H.264 or HEVC | MPEG-4 Part 2, which browsers do not show |
| times | each frame keeps its own | a constant frame rate |
| sound | copied | left out |
| files | .mp4, .mov, .mkv | .mp4 |
| a damaged frame | is left out, and reported with its time | the one after or before stands for it |
"""

import functools
import importlib.util
from pathlib import Path

from tfseg.io import video_opencv
from tfseg.io.escaping import printable
from tfseg.io.film import CODECS, CONTAINERS, Film
from tfseg.io.regular_files import check_regular

INSTALL = "install PyAV with pip install 'tf-segmentation[video]'"
LOST = f"written by OpenCV as MPEG-4 Part 2, which browsers do not show; for H.264, {INSTALL}"
LOST_OF_FILE = (
    "read and written by OpenCV: without sound, at a constant frame rate, as MPEG-4 Part 2, which browsers do not "
    f"show; for H.264 with sound and times, {INSTALL}"
)


@functools.cache
def has_pyav() -> bool:
    """Whether the extra that reads and writes all kinds of videos is installed."""
    return importlib.util.find_spec("av") is not None


def read_film(path: str | Path) -> Film:
    """Opens a video file, by PyAV where it is installed; its frames are read as they are asked for.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file, or cannot be read, or none of its frames, or they have more than 2**27 pixels.
        OSError: it cannot be read.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{printable(path)}: no such video file")
    check_regular(path)
    if has_pyav():
        from tfseg.io import video_reader

        return video_reader.read_film(path)
    return video_opencv.read_film(path)


def check_output(codec: str | None, container: str) -> None:
    """Raises ValueError unless what is installed writes this codec into this kind of file; as of `write_film`."""
    if codec not in (None, *CODECS):
        raise ValueError(f"--codec: expected {' or '.join(CODECS)}, got {codec!r}")
    if container not in CONTAINERS:
        raise ValueError(f"--container: expected {', '.join(CONTAINERS)}, got {container!r}")
    if not has_pyav() and (codec or container != "mp4"):
        asked = f"--codec {codec}" if codec else f"--container {container}"
        raise ValueError(f"{asked}: PyAV is not installed; {INSTALL}")


def write_film(path: Path, film: Film, codec: str | None = None) -> int:
    """Writes a film as a video file, which appears, or replaces an older one, only when it is whole.

    By PyAV, each frame is shown at its time, the sound of the film's source is copied as it is, and so is its date.
    Colours are stored by BT.709, limited, and the file says so.

    Args:
        path: ends with .mp4, .mov or .mkv; its folder is there.
        film: its frames are all of one size. Of an odd side the last row or column is doubled, since colours are
            stored for two by two pixels. Its `notes` get a line on what is lost.
        codec: "h264" or "hevc"; None: H.264 where PyAV is installed.

    Returns:
        How many frames there were.

    Raises:
        ValueError: frames are of different sizes, or there is none, or what is installed cannot write this.
        OSError: the file cannot be written, or the disk is full.
    """
    check_output(codec, path.suffix[1:])
    if has_pyav():
        from tfseg.io import video_writer

        return video_writer.write_film(path, film, codec or "h264")
    film.notes.append(f"{path} is {LOST if film.source is None else LOST_OF_FILE}")
    return video_opencv.write_film(path, film)
