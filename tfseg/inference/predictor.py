"""An exported model as a function, images -> class ids; all that is known of it are its files."""

import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from tfseg.inference.image_segmenter import ImageSegmenter, Size
from tfseg.inference.labels_file import read_labels, read_pixels, read_sizes
from tfseg.inference.model_folder import LABELS, find_model
from tfseg.inference.runtimes.choice import RUNTIMES, Network, check_images, choose_runtime
from tfseg.inference.tta import InferenceSettings
from tfseg.io import command
from tfseg.io.escaping import printable


class Predictor:
    """The folder of an exported model as a function from images to class ids.

    Attributes:
        classes: names of the classes; a class id is the place in this list.
        colors: (C, 3) uint8 RGB, one colour a class.
        sizes: (height, width) to which images are resized inside, one after the other; None of an older model, which
            does not know at which size it was validated, and resizes nothing.
        pixels: what the image files are that it takes, and how bytes are made of them.
        runtime: what computes it, a name of `runtimes.choice.RUNTIMES`.
        size: (height, width) of all images that its network takes; None: any.
    """

    def __init__(self, directory: str | Path, runtime: str | None = None):
        """Loads the model, and of all runtimes that one alone which computes it.

        Args:
            directory: its folder.
            runtime: as of `choose_runtime`.

        Raises:
            FileNotFoundError: `directory`, or one of its files, is missing.
            ValueError: its files are damaged, it is not a model for this purpose, or the runtime is not installed.
        """
        directory = Path(directory)
        self.classes, self.colors = read_labels(directory / LABELS)
        self.sizes, self.pixels = read_sizes(directory / LABELS), read_pixels(directory / LABELS)
        self.runtime = choose_runtime(directory, runtime)
        self._model = load_network(directory, self.runtime, self.sizes is not None, self.pixels.channels)
        self.size = self._model.size
        if self._model.classes not in (None, len(self.classes)):
            raise ValueError(
                f"{directory}: labels.json names {len(self.classes)} classes, the model has {self._model.classes}"
            )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Classifies every pixel.

        Args:
            images: (B, H, W, channels) uint8, as `pixels` makes them of image files, any B, H, W above 0.

        Returns:
            (B, H, W) uint8, class ids 0..C-1.

        Raises:
            ValueError: images has another shape or type.
        """
        check_images(images, self.pixels.channels)
        if classify := getattr(self._model, "classify", None):  # which resizes inside
            return classify(images)
        return np.stack(self._segment.masks(self._prepare(images), [images.shape[1:3]] * len(images)))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Predicts the probability of each class at every pixel.

        Args:
            images: as of a call.

        Returns:
            (B, H, W, C) float32, in 0..1.

        Raises:
            ValueError: images has another shape or type.
        """
        check_images(images, self.pixels.channels)
        if predict := getattr(self._model, "probabilities", None):  # which resizes inside
            return predict(images)
        likely = self._segment.probabilities(self._prepare(images))
        return np.stack([self._segment.enlarge(each, images.shape[1:3]) for each in likely])

    def network(self, images: np.ndarray) -> np.ndarray:
        """Does what `probabilities` does, without resizing images inside."""
        check_images(images, self.pixels.channels)
        return self._model.network(images)

    def answer_files(self, files: Sequence[bytes]) -> list[bytes]:
        """Makes the mask, a grey PNG of class ids, of each image file, PNG or JPEG.

        Raises:
            ValueError: a file is refused, see `exporters.encoded`.
        """
        answer = getattr(self._model, "answer_files", None)
        if answer is None:
            raise ValueError(f"takes no files: it runs by {RUNTIMES[self.runtime].title}")
        return answer(files)

    @cached_property
    def _segment(self) -> ImageSegmenter:
        return make_segmenter(self)

    def _prepare(self, images: np.ndarray) -> np.ndarray:
        return np.stack([self._segment.prepare(image) for image in images])


def load_network(directory: Path, runtime: str, resizes: bool, channels: int) -> Network:
    """Loads what a runtime computes of a model.

    Args:
        directory: its folder.
        runtime: a name of `RUNTIMES`.
        resizes: whether the model knows how it was validated.
        channels: of the images that it takes.

    Raises:
        FileNotFoundError, ValueError: as of `Predictor`.
    """
    path = directory / RUNTIMES[runtime].file
    if runtime == "tensorflow":
        from tfseg.inference.runtimes.saved_model import SavedModel

        return SavedModel(directory, resizes, channels)
    if runtime == "onnxruntime":
        from tfseg.inference.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(path, channels)
    if runtime == "openvino":
        from tfseg.inference.runtimes.openvino import OpenVino

        return OpenVino(path, channels)
    from tfseg.inference.runtimes.litert import LiteRT

    return LiteRT(path, channels)


def load_segmenter(
    model: Path,
    inference: InferenceSettings | None = None,
    input_size: Size | str | None = None,
    runtime: str | None = None,
) -> tuple[Predictor, ImageSegmenter]:
    """Loads a model and makes the way of images through it.

    Args:
        model: its folder, or that of a run.
        inference: as of `make_segmenter`.
        input_size: as of `choose_sizes`.
        runtime: as of `choose_runtime`.

    Raises:
        FileNotFoundError: as of `find_model` and `choose_runtime`.
        ValueError: as of `choose_sizes`, `Predictor` and `make_segmenter`.
    """
    directory = find_model(model)
    sizes = choose_sizes(input_size, directory)
    predictor = Predictor(directory, runtime)
    return predictor, make_segmenter(predictor, inference, sizes)


def make_segmenter(
    predictor: Predictor, inference: InferenceSettings | None = None, sizes: Sequence[Size] | None = None
) -> ImageSegmenter:
    """Makes the way of images through a model.

    Args:
        predictor: the model.
        inference: how the network sees an image once that is resized; None: once, as it is.
        sizes: to which an image is resized, one after the other; None: as the model was validated, or, if it does not
            know that, not at all.

    Raises:
        ValueError: the model takes images of one size alone, and is to see another.
    """
    sizes = predictor.sizes or () if sizes is None else sizes
    inference = inference or InferenceSettings()
    seen = inference.sliding_window or (sizes[-1] if sizes else None)
    if predictor.size and seen and (tuple(seen) != predictor.size or tuple(inference.scales) != (1.0,)):
        file, wanted = RUNTIMES[predictor.runtime].file, "x".join(map(str, predictor.size))
        asked = "x".join(map(str, seen)) + ("" if tuple(inference.scales) == (1.0,) else ", scaled")
        raise ValueError(
            f"{file} takes images of {wanted} alone, and the network is to see them at {asked}; give --input-size "
            f"{wanted} or --sliding-window {wanted}, or another --runtime"
        )
    in_numpy = predictor.runtime != "tensorflow"
    return ImageSegmenter(predictor.network, len(predictor.classes), tuple(sizes), inference, in_numpy)


def choose_sizes(wanted: Size | str | None, directory: Path) -> list[Size]:
    """Chooses the sizes to which images are resized for a model.

    Args:
        wanted: (height, width), or HEIGHTxWIDTH as text; "native": none; or None.
        directory: folder of the SavedModel.

    Returns:
        (height, width), one after the other; of None those of the model's validation. If an older model does not know
        them, none, with a warning on stderr.

    Raises:
        ValueError: `wanted` is no size, or labels.json is damaged.
        FileNotFoundError: labels.json is missing.
    """
    if wanted is not None:
        text = wanted if isinstance(wanted, str) or not np.iterable(wanted) else "x".join(map(str, wanted))
        if text == "native":
            return []
        try:
            return [command.parse_size(str(text))]
        except ValueError:
            raise ValueError(
                f"--input-size: expected native, or a size as HEIGHTxWIDTH, such as 512x1024, got {wanted!r}"
            ) from None
    sizes = read_sizes(directory / LABELS)
    if sizes is None:
        print(
            f"{printable(directory)}: does not say at which size it was validated, so the network sees each image at "
            "its own; export the run again, or give --input-size HEIGHTxWIDTH",
            file=sys.stderr,
        )
    return sizes or []
