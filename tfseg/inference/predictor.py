"""Pictures in, class masks out: all that is known of the network is its SavedModel and the labels.json inside.

python -m tfseg.predict --model models/city --out masks street.png more_pictures/
python -m tfseg.predict --model models/city --out seen --video drive.mp4
"""

import argparse
import errno
import json
import re
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from tfseg.inference.image_segmenter import ImageSegmenter, Size
from tfseg.inference.model_folder import HELP, find_model
from tfseg.inference.tta import Inference, add_options, read_options
from tfseg.io import atomic, command
from tfseg.io.image_headers import TooLarge
from tfseg.io.images import decode_file
from tfseg.io.listing import SUFFIXES, check_readable, formats, list_images
from tfseg.io.memory import find_want_of_memory, of_library
from tfseg.io.paths import without_patterns
from tfseg.io.video import Film, read_film, write_film

ENDINGS = ("_classes.png", "_overlay.png")  # of what is written
VIDEO_ENDING = "_overlay.mp4"
ROWS = 256  # that are blended at a time, in floats of four times the memory


class Predictor:
    """A SavedModel folder as a function from images to class ids.

    Attributes:
        classes: names of the classes; a class id is the place in this list.
        colors: (C, 3) uint8 RGB, one colour a class.
        sizes: (height, width) to which images are resized inside, one after the other; None of an older model, which
            does not know at which size it was validated, and resizes nothing.
    """

    def __init__(self, directory: str | Path):
        """Loads the model.

        Raises:
            FileNotFoundError: `directory`, or one of its files, is missing.
            ValueError: its files are damaged, or it is not a model for this purpose.
        """
        directory = Path(directory)
        self.classes, self.colors = read_labels(directory / "labels.json")
        self.sizes = read_sizes(directory / "labels.json")
        self._model = load_model(directory, self.sizes is not None)  # a signature does not keep the weights alive
        channels = self._model.signatures["probabilities"].structured_outputs["probabilities"].shape[-1]
        if channels != len(self.classes):
            raise ValueError(f"{directory}: labels.json names {len(self.classes)} classes, the model has {channels}")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Classifies every pixel.

        Args:
            images: (B, H, W, 3) uint8 RGB, any B, H, W above 0.

        Returns:
            (B, H, W) uint8, class ids 0..C-1.

        Raises:
            ValueError: images has another shape or type.
        """
        return self._model.signatures["serving_default"](images=as_tensor(images))["classes"].numpy()

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Tells how likely every pixel is of each class.

        Args:
            images: as of a call.

        Returns:
            (B, H, W, C) float32, in 0..1.

        Raises:
            ValueError: images has another shape or type.
        """
        return self._model.signatures["probabilities"](images=as_tensor(images))["probabilities"].numpy()

    def network(self, images: np.ndarray) -> np.ndarray:
        """Does what `probabilities` does, without resizing images inside."""
        signature = "probabilities" if self.sizes is None else "network"
        return self._model.signatures[signature](images=as_tensor(images))["probabilities"].numpy()

    def answer_files(self, files: Sequence[bytes]) -> list[bytes]:
        """Gives the mask, a grey PNG of class ids, of each image file, PNG or JPEG.

        Raises:
            ValueError: a file is refused, see `encoded`.
        """
        import tensorflow as tf

        try:
            return self._model.signatures["encoded"](image_bytes=tf.constant([*files]))["mask_bytes"].numpy().tolist()
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(" ".join(str(error).split())) from None


def make_segmenter(
    predictor: Predictor, inference: Inference | None = None, sizes: Sequence[Size] | None = None
) -> ImageSegmenter:
    """Makes the way of images through a SavedModel.

    Args:
        predictor: the model.
        inference: how the network sees an image once that is resized; None: once, as it is.
        sizes: to which an image is resized, one after the other; None: as the model was validated, or, if it does not
            know that, not at all.
    """
    sizes = predictor.sizes or () if sizes is None else sizes
    return ImageSegmenter(predictor.network, len(predictor.classes), tuple(sizes), inference or Inference())


def choose_sizes(wanted: str | None, directory: Path) -> list[Size]:
    """Chooses the sizes to which images are resized for a model.

    Args:
        wanted: value of --input-size: "native", HEIGHTxWIDTH, or None.
        directory: folder of the SavedModel.

    Returns:
        (height, width), one after the other; of None those of the model's validation. If an older model does not know
        them, none, which stderr is told.

    Raises:
        ValueError: `wanted` is no size, or labels.json is damaged.
        FileNotFoundError: labels.json is missing.
    """
    if wanted == "native":
        return []
    if wanted is not None:
        try:
            return [command.parse_size(wanted)]
        except ValueError as error:
            raise ValueError(f"--input-size: native, or {error}") from None
    sizes = read_sizes(directory / "labels.json")
    if sizes is None:
        print(
            f"{directory}: does not say at which size it was validated, so the network sees each image at its own; "
            "export the run again, or give --input-size HEIGHTxWIDTH",
            file=sys.stderr,
        )
    return sizes or []


def as_tensor(images: np.ndarray):
    """Returns pictures as TensorFlow takes them; raises ValueError as of `Predictor`."""
    import tensorflow as tf

    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or images.size == 0:
        raise ValueError(f"expected images as uint8 (batch, height, width, 3), got {images.dtype} {images.shape}")
    return tf.constant(images)


def read_sizes(path: Path) -> list[Size] | None:
    """Reads from labels.json the sizes to which images are resized, one after the other; None where it names none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or the sizes are not pairs of whole numbers above 0.
    """
    read_labels(path)  # which says what is wrong with a damaged file
    sizes = json.loads(path.read_text(encoding="utf-8")).get("resize")
    if sizes is None:
        return None
    if not isinstance(sizes, list) or not all(
        isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
        for size in sizes
    ):
        raise ValueError(f"{path}: resize: expected a list of [height, width], got {json.dumps(sizes)[:100]}")
    return [tuple(size) for size in sizes]


def learns_void(path: Path) -> bool:
    """Reads from labels.json whether void is a class that the network learned, and that counts in its scores."""
    return json.loads(path.read_text(encoding="utf-8")).get("learn_void", False) is True


def read_labels(path: Path) -> tuple[list[str], np.ndarray]:
    """Reads labels.json.

    Returns:
        The C names, and (C, 3) uint8 RGB colours, in the order of the ids.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or its classes are not ids 0, 1, 2 ... with a name and an RGB colour each.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; expected a folder written by tfseg.train or tfseg.export")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["classes"]
        ids = [entry["id"] for entry in entries]
        names = [str(entry["name"]) for entry in entries]
        colors = np.array([entry["color"] for entry in entries])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no list of classes with id, name and color: {error!r}") from None
    if not ids or ids != list(range(len(ids))):
        raise ValueError(f"{path}: expected the ids 0, 1, 2 and so on, got {ids}")
    if colors.shape != (len(ids), 3) or colors.dtype.kind != "i" or colors.min() < 0 or colors.max() > 255:
        raise ValueError(f"{path}: expected each color as three integers in 0..255")
    return names, colors.astype(np.uint8)


def load_model(directory: Path, resizes: bool):
    """Loads the SavedModel and checks that it maps images of any size to classes and probabilities.

    Args:
        directory: its folder.
        resizes: whether it is one that knows how it was validated; then it must have a signature without resizing, too.

    Raises:
        FileNotFoundError: there is no saved_model.pb.
        ValueError: the files are damaged, or the signatures are others.
    """
    import tensorflow as tf  # here: --help answers without it

    if not (directory / "saved_model.pb").is_file():
        raise FileNotFoundError(f"{directory / 'saved_model.pb'} is missing; expected a SavedModel folder")
    try:
        with without_patterns(directory) as place:
            model = tf.saved_model.load(str(place))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{directory}: the SavedModel is damaged: {' '.join(str(error).split())}") from None
    images = {"images": tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")}
    wanted = [("serving_default", "classes", tf.uint8), ("probabilities", "probabilities", tf.float32)]
    for name, output, dtype in [*wanted, ("network", "probabilities", tf.float32)] if resizes else wanted:
        signature = model.signatures.get(name)
        if (
            signature is None
            or signature.structured_input_signature[1] != images
            or signature.structured_outputs.keys() != {output}
            or signature.structured_outputs[output].dtype != dtype
        ):
            raise ValueError(
                f"{directory}: expected a signature {name!r} from images, uint8 (batch, height, width, 3), "
                f"to {output}, {dtype.name}; was it written by python -m tfseg.export?"
            )
    return model


def read_picture(path: str | Path) -> np.ndarray:
    """Reads an image file by the rules of `pictures`, turned upright as its EXIF data say.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        TooLarge, ValueError: as of `pictures.decode_picture`; the message begins with the path.
        OSError: the file cannot be read.
    """
    return decode_picture(Path(path).read_bytes(), str(path))


def decode_picture(content: bytes, name: str) -> np.ndarray:
    """Does what `read_picture` does for bytes; `name` stands in its errors."""
    try:
        return decode_file(content)
    except TooLarge as error:
        raise TooLarge(f"{name} {error}") from None
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def blend(picture: np.ndarray, class_ids: np.ndarray, colors: np.ndarray, alpha: float) -> np.ndarray:
    """Lays the colours of the classes over a picture.

    Args:
        picture: (H, W, 3) uint8.
        class_ids: (H, W) uint8, values 0..C-1.
        colors: (C, 3) uint8.
        alpha: 0 shows the picture alone, 1 the colours alone.

    Returns:
        (H, W, 3) uint8.
    """
    blended = np.empty_like(picture)
    for start in range(0, len(picture), ROWS):
        rows = slice(start, start + ROWS)
        mixed = (1 - alpha) * picture[rows].astype(np.float32) + alpha * colors[class_ids[rows]].astype(np.float32)
        blended[rows] = np.rint(mixed)
    return blended


def encode_png(pixels: np.ndarray) -> bytes:
    """Makes a PNG of (H, W) or RGB (H, W, 3), uint8; by OpenCV, in a tenth of Pillow's time and a few more bytes."""
    return cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[..., ::-1])[1].tobytes()


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Writes a PNG as of `encode_png`; the file appears, or replaces an older one, only when it is whole."""
    atomic.write_bytes(encode_png(pixels), path, sync=False)


def list_pictures(paths: Iterable[Path], out: Path) -> list[Path]:
    """Replaces each folder by the pictures in it and below, as of `listing.list_images`.

    What an earlier run wrote into `out` is left out, if that lies below such a folder.

    Raises:
        ValueError: a folder holds no picture.
    """
    return list(list_images(paths, out, ENDINGS).images)


def output_paths(picture: Path, directory: Path) -> tuple[Path, Path]:
    """Returns where the class ids and the overlay of a picture go."""
    classes, overlay = ENDINGS
    return directory / f"{picture.stem}{classes}", directory / f"{picture.stem}{overlay}"


def check_outputs(pictures: Mapping[Path, Path]) -> None:
    """Raises ValueError if two pictures would be written to one file, or a result over one of the pictures.

    Args:
        pictures: each with the folder where its results go.
    """
    by_name = {}
    for picture, directory in pictures.items():
        # Without regard to case: on macOS and Windows A.png and a.png are one file.
        other = by_name.setdefault(str(directory / picture.stem).lower(), picture)
        if other is not picture:
            raise ValueError(f"{other} and {picture} would be written to the same files; predict them apart")
    read = {picture.resolve() for picture in pictures}
    for picture, directory in pictures.items():
        for path in output_paths(picture, directory):
            if path.resolve() in read:
                raise ValueError(f"{path} would be read and overwritten; choose another --out")


def read_input(path: Path) -> np.ndarray:
    """Does what `read_picture` does, and refuses what reading would tell of too late, as of `check_readable`."""
    check_readable(path)
    return read_picture(path)


def predict_files(
    predictor: Predictor, pictures: Mapping[Path, Path], alpha: float, segment: ImageSegmenter
) -> tuple[list[float], list[str], list[str]]:
    """Writes class ids and overlay of each picture.

    Args:
        predictor: the model.
        pictures: each with the folder where its results go, which is made.
        alpha: of the overlay, as of `blend`.
        segment: the way of a picture through the model.

    Returns:
        The seconds that each took, without reading and writing, one line for each that could not be read, and one for
        each that could not be predicted, as it takes more memory than there is, say.

    Raises:
        OSError: the results cannot be written.
    """
    from tqdm import tqdm

    for directory in set(pictures.values()):
        directory.mkdir(parents=True, exist_ok=True)
    seconds, unread, failures = [], [], []
    # None: no bar where stderr is not a terminal
    for path, directory in tqdm(pictures.items(), unit="picture", disable=None):
        try:
            picture = read_input(path)
        except (ValueError, OSError) as error:
            unread.append(str(error))
            continue
        try:
            start = time.perf_counter()
            class_ids = segment(picture)
            took = time.perf_counter() - start
            overlay = blend(picture, class_ids, predictor.colors, alpha)
            for target, pixels in zip(output_paths(path, directory), (class_ids, overlay), strict=True):
                write_png(target, pixels)
        except Exception as error:
            failures.append(describe_failure(error, path, picture.shape, segment))
            continue
        seconds.append(took)
    return seconds, unread, failures


def describe_failure(error: Exception, path: Path, shape: Sequence[int], segment: ImageSegmenter) -> str:
    """Words in one line why a picture could not be predicted.

    Raises:
        Exception: the error, if it is a mistake of the program, or one that the next picture would meet as well.
    """
    if find_want_of_memory(error):
        window = segment.inference.window
        remedy = f"a smaller --window than {describe_size(window)}" if window else "--window 512x512"
        seen = describe_size(segment.sizes[-1] if segment.sizes else shape)
        return f"{path} takes more memory than there is, seen at {seen}; give {remedy}, or a smaller --input-size"
    if of_library(error):
        return f"{path} cannot be predicted: {' '.join(str(error).split())}"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{path}: its results cannot be written: {error}"
    raise error


def describe_size(shape: Sequence[int]) -> str:
    return f"{shape[0]}x{shape[1]}"


def open_film(path: Path, out: Path, rate: float) -> Film:
    """Opens a video file, or a folder of frames: its pictures in the order of their names, at a rate of its own.

    Numbers in names are sorted as numbers. For a frame that cannot be read, the one before it stands.

    Raises:
        FileNotFoundError, ValueError: there is no such file or folder, or it holds no video, no picture.
    """
    if not path.is_dir():
        return read_film(path)
    listing = list_images([path], out, ENDINGS)
    failures = []
    frames = read_frames(list(listing.images), path, failures)
    return Film(frames, rate, len(listing.images), listing.left_out, failures)


def read_size(path: Path) -> tuple[int, int] | None:
    """Tells (height, width) of an image by its header, upright; None if it has none that can be read."""
    from PIL import Image

    try:
        with Image.open(path, formats=formats()) as image:
            width, height = image.size
            return (width, height) if image.getexif().get(0x0112, 1) in (5, 6, 7, 8) else (height, width)
    except Exception:  # whatever the decoders raise; it is named when it is read whole
        return None


def read_frames(pictures: Sequence[Path], folder: Path, failures: list[str]) -> Iterator[np.ndarray]:
    """Reads frames in their order; for one that cannot be read comes the one before it again, or else the one after.

    That all are of one size is seen by their headers before the first is read.

    Args:
        pictures: the files.
        folder: stands in the error.
        failures: gets a line for each that cannot be read.

    Raises:
        ValueError: none can be read, or they are of different sizes.
    """
    first = None
    for place, path in enumerate(pictures):
        size = read_size(path)
        first = first or size
        if size and size != first:
            told = f"{describe_size(size)} after {describe_size(first)}"
            raise ValueError(f"frame {place} has another size, {told}: {path}; take it out, or leave --video out")
    frame, missing = None, 0
    for path in pictures:
        try:
            frame = read_input(path)
        except (ValueError, OSError) as error:
            failures.append(str(error))
            missing += frame is None
        if frame is not None:
            yield from [frame] * (missing + 1)
            missing = 0
    if frame is None:
        raise ValueError(f"{folder}: none of its {len(pictures)} frames can be read; the first: {failures[0]}")


def predict_film(
    predictor: Predictor, film: Film, path: Path, alpha: float, segment: ImageSegmenter
) -> tuple[int, list[float], float]:
    """Writes a film with the colours of the classes laid over each frame.

    Returns:
        How many frames there are, the seconds that each took to classify that is not shown again, and those of the
        whole.

    Raises:
        ValueError: as of the film's frames and of `write_film`; or a frame cannot be predicted.
        OSError: as of `write_film`.
    """
    from tqdm import tqdm

    seconds, seen, shown = [], None, None

    def overlay(frame: np.ndarray) -> np.ndarray:
        nonlocal seen, shown
        if frame is seen:  # shown again
            return shown
        start = time.perf_counter()
        try:
            class_ids = segment(frame)
        except Exception as error:
            raise ValueError(f"frame {len(seconds)} of {describe_failure(error, path, frame.shape, segment)}") from None
        seconds.append(time.perf_counter() - start)
        seen, shown = frame, blend(frame, class_ids, predictor.colors, alpha)
        return shown

    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    frames = tqdm(film.frames, unit="frame", total=film.count, disable=None)
    count = write_film(path, map(overlay, frames), film.rate)
    return count, seconds, time.perf_counter() - start


def describe_cost(seconds: Sequence[float], memory: float | None) -> str:
    """Words what pictures took: seconds of each, and MiB, where they are known; empty without pictures."""
    if not seconds:
        return ""
    first, *others = seconds
    parts = [f"the first took {first:.2f} s"]
    parts += [f"the others {statistics.median(others):.2f} s (median)"] if others else []
    return ": " + ", ".join(parts) + (f"; {memory:,.0f} MiB at most" if memory else "")


def peak_memory() -> float | None:
    """Gives the most memory that this process has held so far, in MiB; None on Windows."""
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    status = Path("/proc/self/status")  # on Linux, getrusage counts the process that started this one, too
    found = status.is_file() and re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(found[1]) / 1024 if found else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Predicts the pictures named on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tfseg.predict",
        description="Writes NAME_classes.png (8-bit class ids) and NAME_overlay.png for each picture NAME.png, "
        "NAME.jpg and so on, or NAME_overlay.mp4 of a video. Folders below a folder that is named are kept below "
        "--out. Files of these names from an earlier run in --out are overwritten.",
    )
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help=HELP)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument("--alpha", type=float, default=0.5, help="overlay: 0 picture only .. 1 colours only (0.5)")
    parser.add_argument(
        "pictures",
        nargs="*",
        type=Path,
        metavar="PICTURES",
        help=f"files ({', '.join(SUFFIXES)}, and .heic with the extra heic), or folders that hold them",
    )
    parser.add_argument(
        "--video",
        type=Path,
        metavar="FILE",
        help="instead of pictures a video, or a folder of frames, in order of name",
    )
    parser.add_argument(
        "--rate", type=float, default=17.0, help="frames a second of a folder of frames (17, that of Cityscapes)"
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    inference = read_options(options)
    if not 0 <= options.alpha <= 1:
        raise ValueError(f"--alpha must be in 0..1, got {options.alpha}")
    if bool(options.pictures) == bool(options.video):
        raise ValueError("expected pictures or a --video, and not both")
    if options.video:
        predict_video(options, inference)
    else:
        predict_pictures(options, inference)


def predict_video(options: argparse.Namespace, inference: Inference) -> None:
    """Does what the command line says of a video."""
    if not 0 < options.rate <= 1000:
        raise ValueError(f"--rate must be above 0 and at most 1000 frames a second, got {options.rate}")
    name = (options.video.resolve() if options.video.is_dir() else options.video).stem  # a folder may be called "."
    path = options.out / f"{name}{VIDEO_ENDING}"
    if path.resolve() == options.video.resolve():
        raise ValueError(f"{path} would be read and overwritten; choose another --out")
    film = open_film(options.video, options.out, options.rate)
    directory = find_model(options.model)
    sizes = choose_sizes(options.input_size, directory)
    predictor = Predictor(directory)
    segment = make_segmenter(predictor, inference, sizes)
    count, seconds, whole = predict_film(predictor, film, path, options.alpha, segment)
    print(
        f"{count} frames are in {path}, {film.rate:.4g} a second: {count / whole:.3g} a second were "
        f"made, with reading and writing{describe_cost(seconds, peak_memory())}"
    )
    warn(film.notes)
    if film.failures:
        head = (
            f"{len(film.failures)} of {count} frames could not be read; the one before, or else after, stands for each:"
        )
        raise ValueError("\n".join([head, *film.failures]))


def predict_pictures(options: argparse.Namespace, inference: Inference) -> None:
    """Does what the command line says of pictures."""
    listing = list_images(options.pictures, options.out, ENDINGS)
    pictures = {path: options.out / place for path, place in listing.images.items()}
    check_outputs(pictures)
    directory = find_model(options.model)
    sizes = choose_sizes(options.input_size, directory)
    predictor = Predictor(directory)
    warn(listing.left_out)
    segment = make_segmenter(predictor, inference, sizes)
    seconds, unread, failures = predict_files(predictor, pictures, options.alpha, segment)
    cost = describe_cost(seconds, peak_memory())
    print(f"{len(seconds)} of {len(pictures)} pictures are predicted in {options.out}{cost}")
    if unread or failures:
        done = "predicted" if failures else "read"
        head = f"{len(unread + failures)} of {len(pictures)} pictures could not be {done}:"
        raise ValueError("\n".join([head, *unread, *failures]))


def warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)


if __name__ == "__main__":
    command.run(main)
