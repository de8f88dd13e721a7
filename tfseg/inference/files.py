"""Image files and folders of them -> masks and overlays."""

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfseg.inference.failures import describe_failure
from tfseg.inference.image_segmenter import ImageSegmenter, Size
from tfseg.inference.predictor import Predictor, load_segmenter
from tfseg.inference.reading import read_input
from tfseg.inference.tta import InferenceSettings
from tfseg.io.escaping import printable
from tfseg.io.flags_in_python import note_arguments
from tfseg.io.listing import list_images
from tfseg.io.png import write_png
from tfseg.io.progress import show_progress, track
from tfseg.visualization.overlay import blend, check_alpha

ENDINGS = ("_classes.png", "_overlay.png")  # of what is written


@dataclass(frozen=True)
class PredictedFiles:
    """What became of the images that were to be predicted.

    Attributes:
        count: how many there were.
        seconds: what each took that was predicted, without reading and writing.
        unread: a line for each that could not be read.
        failures: a line for each that could not be predicted, since it takes more memory than there is, say.
    """

    count: int
    seconds: list[float] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@note_arguments()
def predict_files(
    model: str | os.PathLike,
    images: str | os.PathLike | Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    alpha: float = 0.5,
    inference: InferenceSettings | None = None,
    input_size: Size | str | None = None,
    runtime: str | None = None,
    progress: bool = True,
) -> PredictedFiles:
    """Writes NAME_classes.png, 8-bit class ids, and NAME_overlay.png of each image, as `tfseg predict` does.

    Files of a folder that are no images are named on stderr and left out.

    Args:
        model: folder of an exported model, or of a run.
        images: a file or a folder of them, or several.
        out: folder for the results, which is made; folders below one of `images` are kept below it.
        alpha: opacity of the overlay's colours, 0 to 1.
        inference: how the network sees an image; None: once, as a whole.
        input_size: as of `load_model`.
        runtime: as of `load_model`.
        progress: whether a terminal shows how far it is.

    Raises:
        ValueError: a folder holds no image, two images have the same results, a result would overwrite an image, or as
            of `load_model`.
        FileNotFoundError: there is no such model.
        OSError: the results cannot be written.

    Example:
        >>> import tfseg
        >>> images = "raw/leftImg8bit/val"
        >>> tfseg.predict_files("runs/city", images, "masks").count
        2
    """
    check_alpha(alpha)
    model, out = Path(model), Path(out)
    images = [images] if isinstance(images, str | os.PathLike) else images
    listing = list_images(map(Path, images), out, ENDINGS)
    folders = {path: out / place for path, place in listing.images.items()}
    check_outputs(folders)
    predictor, segment = load_segmenter(model, inference, input_size, runtime)
    warn(listing.left_out)
    with show_progress(progress):
        return predict_each(predictor, folders, alpha, segment)


def list_inputs(paths: Iterable[Path], out: Path) -> list[Path]:
    """Replaces each folder by the images in it and below, as of `listing.list_images`.

    What an earlier run wrote into `out` is left out, if that lies below such a folder.

    Raises:
        ValueError: a folder holds no image.
    """
    return list(list_images(paths, out, ENDINGS).images)


def output_paths(image: Path, directory: Path) -> tuple[Path, Path]:
    """Says where the class ids and the overlay of an image go."""
    classes, overlay = ENDINGS
    return directory / f"{image.stem}{classes}", directory / f"{image.stem}{overlay}"


def check_outputs(folders: Mapping[Path, Path]) -> None:
    """Raises ValueError if two images would be written to one file, or a result over one of the images.

    Args:
        folders: image -> the folder where its results go.
    """
    by_name = {}
    for image, directory in folders.items():
        # Without regard to case: on macOS and Windows A.png and a.png are one file.
        other = by_name.setdefault(str(directory / image.stem).lower(), image)
        if other is not image:
            raise ValueError(
                f"{printable(other)} and {printable(image)} would be written to the same files; predict them apart"
            )
    read = {image.resolve() for image in folders}
    for image, directory in folders.items():
        for path in output_paths(image, directory):
            if path.resolve() in read:
                raise ValueError(f"{printable(path)} would be read and overwritten; choose another --out")


def predict_each(
    predictor: Predictor, folders: Mapping[Path, Path], alpha: float, segment: ImageSegmenter
) -> PredictedFiles:
    """Writes class ids and overlay of each image; arguments and errors as of `check_outputs` and `predict_files`."""
    for directory in set(folders.values()):
        directory.mkdir(parents=True, exist_ok=True)
    predicted = PredictedFiles(len(folders))
    for path, directory in track(folders.items(), unit="image"):
        try:
            image = read_input(path, predictor.pixels)
        except (ValueError, OSError) as error:
            missing = isinstance(error, FileNotFoundError)
            predicted.unread.append(f"{printable(path)}: there is no such file or folder" if missing else str(error))
            continue
        try:
            start = time.perf_counter()
            class_ids = segment(image)
            took = time.perf_counter() - start
            overlay = blend(image, class_ids, predictor.colors, alpha)
            for target, pixels in zip(output_paths(path, directory), (class_ids, overlay), strict=True):
                write_png(target, pixels)
        except Exception as error:
            predicted.failures.append(describe_failure(error, path, image.shape, segment))
            continue
        predicted.seconds.append(took)
    return predicted


def warn(lines: Sequence[str]) -> None:
    """Writes warnings to stderr."""
    for line in lines:
        print(f"warning: {printable(line)}", file=sys.stderr)
