"""An exported model as a function, from an image, wherever it comes from, to its mask."""

import io
import os
from collections.abc import Sequence
from html import escape
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np

from tfseg.inference import reading
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.model_folder import find_model
from tfseg.inference.predictor import Predictor, choose_sizes, make_segmenter
from tfseg.inference.tta import InferenceSettings
from tfseg.io.flags_in_python import note_arguments
from tfseg.io.png import encode_png
from tfseg.visualization.html import image as html_image
from tfseg.visualization.overlay import blend, check_alpha

if TYPE_CHECKING:
    from PIL import Image

Pixels = Union[str, os.PathLike, "Image.Image", np.ndarray]


class Mask(np.ndarray):
    """A predicted mask, uint8 (height, width), class ids; an array like any other, which a notebook shows in colours.

    Attributes:
        classes: names by class id.
        palette: uint8 (classes, 3) RGB.
    """

    classes: Sequence[str]
    palette: np.ndarray

    def __array_finalize__(self, whole) -> None:
        self.classes, self.palette = (
            getattr(whole, "classes", ()),
            getattr(whole, "palette", np.zeros((0, 3), np.uint8)),
        )

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return array[()] if return_scalar else super().__array_wrap__(array, context)

    def __reduce__(self):
        rebuild, arguments, state = super().__reduce__()
        return rebuild, arguments, (state, self.classes, self.palette)

    def __setstate__(self, state) -> None:
        state, self.classes, self.palette = state
        super().__setstate__(state)

    def _repr_html_(self) -> str | None:
        ids = np.asarray(self)
        if ids.ndim != 2 or ids.dtype != np.uint8 or not ids.size or ids.max() >= len(self.palette):
            return None  # a part of it, or what was computed of it
        there = np.flatnonzero(np.bincount(ids.ravel()))
        names = ", ".join(self.classes[int(place)] for place in there)
        return html_image(encode_png(self.palette[ids]), names) + f"<p>{escape(names)}</p>"


class LoadedModel:
    """An exported model: call it with an image to have its mask. See `load_model`.

    Attributes:
        classes: names by class id.
        palette: uint8 (classes, 3) RGB, the colours of the classes.
        sizes: (height, width) that images are resized to, one after the other, as in validation; none: they are not.
    """

    def __init__(self, predictor: Predictor, sizes: Sequence[tuple[int, int]]):
        self.predictor, self.sizes = predictor, tuple(sizes)
        self.classes, self.palette = predictor.classes, predictor.colors

    def __call__(
        self,
        image: Pixels,
        *,
        tta: bool | Sequence[float] = False,
        window: tuple[int, int] | None = None,
        overlap: float | None = None,
    ) -> Mask:
        """Predicts the mask of an image, at the image's own size; the same one that `tfseg predict` writes.

        Args:
            image: path of a file of any kind that `tfseg predict` reads; a PIL image; or uint8 (height, width,
                channels), 0..255. Files and PIL images are turned upright as their EXIF data say.
            tta: whether to average over the image and its mirror image (test-time augmentation); or factors of height
                and width, such as (0.75, 1.0, 1.25), over which to average as well.
            window: (height, width) that the network sees at a time, in a sliding window; None: the whole image.
            overlap: share of a window that the next one shows again; None: 0.5.

        Returns:
            uint8 (height, width), class ids.

        Raises:
            TypeError: `image` is none of these.
            ValueError: an image is damaged or has other channels, a setting is out of its range, or `overlap` is
                given without a window.
            OSError: a file cannot be read.
        """
        pixels = self.read(image)
        return self._as_mask(self._segmenter(tta, window, overlap)(pixels))

    def probabilities(
        self,
        image: Pixels,
        *,
        tta: bool | Sequence[float] = False,
        window: tuple[int, int] | None = None,
        overlap: float | None = None,
    ) -> np.ndarray:
        """Predicts the probability of each class at every pixel; arguments and errors as of a call.

        Returns:
            float32 (height, width, classes), 0..1.
        """
        pixels, segmenter = self.read(image), self._segmenter(tta, window, overlap)
        return segmenter.enlarge(segmenter.probabilities(segmenter.prepare(pixels)[np.newaxis])[0], pixels.shape[:2])

    def overlay(self, image: Pixels, mask: np.ndarray | None = None, alpha: float = 0.5) -> np.ndarray:
        """Lays the colours of the classes over an image.

        Args:
            image: as of a call.
            mask: uint8 (height, width), class ids; None: it is predicted.
            alpha: 0 shows the image alone, 1 the colours alone, and what is between both.

        Returns:
            uint8 (height, width, 3) RGB.

        Raises:
            ValueError: the mask is not of the image's size, or has other values than class ids; alpha is not in 0..1;
                and as of a call.
            TypeError, OSError: as of a call.
        """
        check_alpha(alpha)
        pixels = self.read(image)
        mask = self(pixels) if mask is None else np.asarray(mask)
        numbers = mask.dtype.kind in "biuf" and mask.size
        if (
            mask.shape != pixels.shape[:2]
            or mask.dtype.kind not in "iu"
            or not 0 <= mask.min() <= mask.max() < len(self.classes)
        ):
            raise ValueError(
                f"mask: expected class ids of 0 to {len(self.classes) - 1}, integers {pixels.shape[:2]}, got "
                f"{mask.dtype} {mask.shape}" + (f" of {mask.min()} to {mask.max()}" if numbers else "")
            )
        return blend(pixels, mask.astype(np.uint8), self.palette, alpha)

    def read(self, image: Pixels) -> np.ndarray:
        """Gives the pixels that the model sees of an image, uint8 (height, width, channels); as of a call."""
        pixels = self.predictor.pixels
        if isinstance(image, str | os.PathLike):
            return reading.read_input(Path(image), pixels)
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != pixels.channels or not image.size:
                raise ValueError(
                    f"image: expected uint8 (height, width, {pixels.channels}) of 0 to 255, got {image.dtype} "
                    f"{image.shape}"
                )
            return np.ascontiguousarray(image)
        if hasattr(image, "save") and hasattr(image, "mode"):  # PIL's, by the rules of files
            file = io.BytesIO()
            try:
                image.save(file, "PNG", exif=image.getexif(), compress_level=1)
            except (OSError, ValueError, SyntaxError) as error:  # SyntaxError: of EXIF data
                remedy = f"{error}; give one that can be saved as PNG, such as RGB"
                raise ValueError(f"image: is a PIL image of mode {image.mode}: {remedy}") from error
            return reading.decode_image(file.getvalue(), "image:", pixels)
        raise TypeError(f"image: expected a path, a PIL image or a NumPy array, got {type(image).__name__}")

    def _segmenter(
        self, tta: bool | Sequence[float], window: tuple[int, int] | None, overlap: float | None
    ) -> ImageSegmenter:
        if isinstance(tta, str) or not (isinstance(tta, bool) or np.iterable(tta)):
            raise ValueError(f"tta: expected True, False, or factors such as (0.75, 1.0, 1.25), got {tta!r}")
        scales = (1.0,) if isinstance(tta, bool) else tuple(map(float, tta))
        if window is None and overlap is not None:
            raise ValueError("overlap is that of sliding windows; give their window=(height, width), too")
        window = None if window is None else check_window(window)
        overlap = InferenceSettings.overlap if overlap is None else overlap
        settings = InferenceSettings(window, overlap, flip=tta is not False, scales=scales)
        return make_segmenter(self.predictor, settings, self.sizes)

    def _as_mask(self, ids: np.ndarray) -> Mask:
        mask = ids.view(Mask)
        mask.classes, mask.palette = self.classes, self.palette
        return mask


@note_arguments()
def load_model(
    directory: str | os.PathLike, input_size: tuple[int, int] | str | None = None, runtime: str | None = None
) -> LoadedModel:
    """Loads an exported model, by one runtime alone: no Keras, no code of the network.

    Args:
        directory: folder of the model, or of a run that has ended.
        input_size: (height, width) that images are resized to for the network; "native": none are; None: as in
            validation, which is what was scored.
        runtime: what computes it: "tensorflow", "onnxruntime", "openvino", "litert", "litert_float16", "litert_int8",
            "litert_mixed" or "litert_weight_only", of a folder that has such a file, see `export_run`; None: the first
            of them whose file and package are there, but for the last four.

    Raises:
        FileNotFoundError: there is no model, or none for this runtime.
        ValueError: its files are damaged, the size is none, or the runtime's package is not installed.

    Example:
        >>> import numpy as np
        >>> import tfseg
        >>> segment = tfseg.load_model("runs/city/saved_model")
        >>> segment(np.zeros((16, 32, 3), np.uint8)).shape
        (16, 32)
    """
    place = find_model(Path(directory))
    return LoadedModel(Predictor(place, runtime), choose_sizes(input_size, place))


def check_window(window: Sequence[int]) -> tuple[int, int]:
    """Returns (height, width), or raises ValueError."""
    sides = [] if isinstance(window, str) or not np.iterable(window) else [*window]
    if len(sides) != 2 or not all(isinstance(side, Integral) for side in sides):
        raise ValueError(f"window: expected (height, width), whole numbers, got {window!r}")
    return int(sides[0]), int(sides[1])
