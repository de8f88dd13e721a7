"""What the web page shows of models and images; `web_page` lays it out.

Memory is bounded: an image is refused by its header before it is decoded, the model sees it at the size of its
validation, or reduced, and only one is in work at a time.
"""

import functools
import html
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.inference.files import list_inputs
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.predictor import Predictor, choose_sizes, make_segmenter
from tfseg.inference.reading import decode_image
from tfseg.io import listing
from tfseg.io.images import read_claimed_size
from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.visualization import scores, tables

CARD, SCORES = "model_card.md", "metrics.json"
MOST_MEGABYTES = 20  # of a file
MOST_PIXELS = 50_000_000  # of an image that is decoded: the largest of common phones; 150 MB as RGB
MOST_SEEN = 1024 * 2048  # pixels that a model sees at a time: one of Cityscapes, 2.1 GiB with EfficientNetB3
LONGEST_SHOWN = 1280  # side of what is sent to the browser, in pixels

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Model:
    """A model, and what is known of it."""

    directory: Path
    predictor: Predictor
    segment: ImageSegmenter
    """The way of an image through the model."""
    card: str
    """Markdown; empty without a card."""
    scores: str
    """A Markdown table; empty without scores."""

    @property
    def name(self) -> str:
        """The end of its path; the models of runs are all called saved_model."""
        return "/".join(self.directory.resolve().parts[-2:])


@dataclass(frozen=True)
class OpenedImage:
    """A decoded image."""

    pixels: np.ndarray
    """uint8 (H, W, channels), upright."""


@dataclass(frozen=True)
class Prediction:
    """What a model makes of an image."""

    class_ids: np.ndarray
    """uint8 (H, W), of the image's size."""
    seen: tuple[int, int]
    """(height, width) at which the network saw it."""
    seconds: float


@functools.cache
def load_model(directory: Path, input_size: str | None = None, runtime: str | None = None) -> Model:
    """Loads a model and what its folder says of it, once a process.

    Args:
        directory: its folder.
        input_size: as of `choose_sizes`.
        runtime: as of `Predictor`.

    Raises:
        FileNotFoundError, ValueError: as of `Predictor`; or the scores are not those of a training.
        OSError: a file cannot be read.
    """
    card = directory / CARD
    known = read_scores(directory / SCORES)
    sizes = choose_sizes(input_size, directory)
    predictor = Predictor(directory, runtime)
    segment = make_segmenter(predictor, sizes=sizes)
    segment(np.zeros((64, 64, predictor.pixels.channels), np.uint8))  # the first call takes longer than the others
    return Model(
        directory=directory,
        predictor=predictor,
        segment=segment,
        card=card.read_text(encoding="utf-8") if card.is_file() else "",
        scores=known,
    )


def list_samples(directory: Path) -> list[Path]:
    """Lists the images in a folder and below, sorted.

    Raises:
        ValueError: there is no such folder, or it holds none.
    """
    if not directory.is_dir():
        raise ValueError(f"--samples {directory} is no folder; expected one with images")
    return list_inputs([directory], directory)


def read_scores(path: Path) -> str:
    """Lays out the scores in a metrics.json as a Markdown table; without the file it is empty.

    Raises:
        ValueError: the file holds something else.
    """
    if not path.is_file():
        return ""
    try:
        return tables.scores_table(scores.read_scores(path, scores.SHOWN))
    except ValueError as error:
        raise ValueError(f"{path} holds no scores as tfseg train writes them: {error}; mend or delete it") from None


def open_image(content: bytes, name: str, pixels: PixelFormat = RGB) -> OpenedImage:
    """Decodes an image file.

    Args:
        content: the file's.
        name: stands in the errors.
        pixels: what the model takes.

    Raises:
        ValueError: it is no such image, is damaged, or too large; the message is one for the page.
    """
    if not content:
        raise ValueError(f"{name} is empty; choose an image")
    too_large = ValueError(
        f"{name} is too large for this page, which takes {MOST_PIXELS // 10**6} million pixels and "
        f"{MOST_MEGABYTES} MB; reduce it first"
    )
    if len(content) > MOST_MEGABYTES * 2**20:
        raise too_large
    try:
        height, width = read_claimed_size(content)
    except ValueError as error:
        listing.check_heic(name)
        kinds = "is no PNG, JPEG, BMP, TIFF or WebP image"
        reason = f"{kinds}; choose one with {pixels.bits} bits a channel" if str(error).startswith("is no ") else error
        raise ValueError(f"{name} {reason}") from None
    if width * height > MOST_PIXELS:
        raise too_large
    with _one_at_a_time:
        return OpenedImage(decode_image(content, name, pixels))


def classify(model: Model, image: OpenedImage) -> Prediction:
    """Classifies every pixel, and takes the time without that of waiting for other images.

    A model that sees images at their own size sees one of more than `MOST_SEEN` pixels reduced to so many.
    """
    with _one_at_a_time:
        start = time.perf_counter()
        prepared = reduce(model.segment.prepare(image.pixels), area=MOST_SEEN)
        [class_ids] = model.segment.masks(prepared[np.newaxis], [image.pixels.shape[:2]])
        return Prediction(class_ids, prepared.shape[:2], time.perf_counter() - start)


def reduce(pixels: np.ndarray, area: int | None = None, side: int | None = None) -> np.ndarray:
    """Shrinks an image, (H, W, channels), by area averaging, or class ids, (H, W), to the nearest; what is small stays.

    Args:
        pixels: uint8.
        area: pixels that the result may have.
        side: that its longer side may have.
    """
    import cv2

    height, width = pixels.shape[:2]
    factor = min(
        1.0,
        math.sqrt(area / (height * width)) if area else 1.0,
        side / max(height, width) if side else 1.0,
    )
    if factor == 1:
        return pixels
    size = max(int(factor * width), 1), max(int(factor * height), 1)
    smaller = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if pixels.ndim == 3 else cv2.INTER_NEAREST_EXACT)
    return smaller.reshape(*size[::-1], *pixels.shape[2:])  # OpenCV drops an axis of one channel


def shares(class_ids: np.ndarray, classes: int) -> np.ndarray:
    """Gives the share of pixels of each of so many classes, in 0..1."""
    return np.bincount(class_ids.ravel(), minlength=classes) / class_ids.size


def percent(share: float) -> str:
    """Writes 0.314 as 31.4 %, and what is there but rounds to nothing as <0.1 %."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def legend(classes: Sequence[str], colors: np.ndarray, of_pixels: np.ndarray) -> str:
    """Makes an HTML table of the classes: colour, id and name, and share as a bar and a number.

    Args:
        classes: C names.
        colors: (C, 3) uint8 RGB.
        of_pixels: (C,) shares in 0..1.
    """
    rows = [
        f'<tr{"" if share else " class=absent"}><td><i style="background:rgb{tuple(map(int, color))}"></i></td>'
        f'<th scope="row">{html.escape(name)} <small>{id}</small></th>'
        f'<td class="bar"><div><b style="width:{100 * share:.1f}%"></b></div></td>'
        f'<td class="share">{percent(share)}</td></tr>'
        for id, (name, color, share) in enumerate(zip(classes, colors, of_pixels.tolist(), strict=True))
    ]
    head = "<tr><th>Colour</th><th>Class and id</th><th>Bar</th><th>Share of pixels</th></tr>"
    return f'<table class="legend"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def describe(classes: Sequence[str], of_pixels: np.ndarray) -> str:
    """Words the shares, the largest first, for who does not see the mask."""
    order = np.argsort(-of_pixels, kind="stable")
    return ", ".join(f"{classes[id]} {percent(float(of_pixels[id]))}" for id in order if of_pixels[id])
