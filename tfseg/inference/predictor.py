"""A SavedModel as a function, images -> class ids; all that is known of it are its files, labels.json among them."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseg.inference.image_segmenter import ImageSegmenter, Size
from tfseg.inference.labels_file import read_labels, read_pixels, read_sizes
from tfseg.inference.model_folder import LABELS, MODEL, find_model
from tfseg.inference.tta import InferenceSettings
from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.io.paths import without_patterns


class Predictor:
    """A SavedModel folder as a function from images to class ids.

    Attributes:
        classes: names of the classes; a class id is the place in this list.
        colors: (C, 3) uint8 RGB, one colour a class.
        sizes: (height, width) to which images are resized inside, one after the other; None of an older model, which
            does not know at which size it was validated, and resizes nothing.
        pixels: what the image files are that it takes, and how bytes are made of them.
    """

    def __init__(self, directory: str | Path):
        """Loads the model.

        Raises:
            FileNotFoundError: `directory`, or one of its files, is missing.
            ValueError: its files are damaged, or it is not a model for this purpose.
        """
        directory = Path(directory)
        self.classes, self.colors = read_labels(directory / LABELS)
        self.sizes, self.pixels = read_sizes(directory / LABELS), read_pixels(directory / LABELS)
        self._model = load_model(
            directory, self.sizes is not None, self.pixels.channels
        )  # a signature does not keep the weights alive
        channels = self._model.signatures["probabilities"].structured_outputs["probabilities"].shape[-1]
        if channels != len(self.classes):
            raise ValueError(f"{directory}: labels.json names {len(self.classes)} classes, the model has {channels}")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Classifies every pixel.

        Args:
            images: (B, H, W, channels) uint8, as `pixels` makes them of image files, any B, H, W above 0.

        Returns:
            (B, H, W) uint8, class ids 0..C-1.

        Raises:
            ValueError: images has another shape or type.
        """
        return self._model.signatures["serving_default"](images=self._as_tensor(images))["classes"].numpy()

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Predicts the probability of each class at every pixel.

        Args:
            images: as of a call.

        Returns:
            (B, H, W, C) float32, in 0..1.

        Raises:
            ValueError: images has another shape or type.
        """
        return self._model.signatures["probabilities"](images=self._as_tensor(images))["probabilities"].numpy()

    def network(self, images: np.ndarray) -> np.ndarray:
        """Does what `probabilities` does, without resizing images inside."""
        signature = "probabilities" if self.sizes is None else "network"
        return self._model.signatures[signature](images=self._as_tensor(images))["probabilities"].numpy()

    def _as_tensor(self, images: np.ndarray):
        return as_tensor(images, self.pixels.channels)

    def answer_files(self, files: Sequence[bytes]) -> list[bytes]:
        """Makes the mask, a grey PNG of class ids, of each image file, PNG or JPEG.

        Raises:
            ValueError: a file is refused, see `exporters.encoded`.
        """
        import tensorflow as tf

        if "encoded" not in self._model.signatures:
            raise ValueError(f"takes no files: TensorFlow decodes none of {self.pixels}")
        try:
            return self._model.signatures["encoded"](image_bytes=tf.constant([*files]))["mask_bytes"].numpy().tolist()
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(" ".join(str(error).split())) from None


def load_segmenter(
    model: Path, inference: InferenceSettings | None = None, input_size: Size | str | None = None
) -> tuple[Predictor, ImageSegmenter]:
    """Loads a model and makes the way of images through it.

    Args:
        model: its folder, or that of a run.
        inference: as of `make_segmenter`.
        input_size: as of `choose_sizes`.

    Raises:
        FileNotFoundError: as of `find_model`.
        ValueError: as of `choose_sizes` and `Predictor`.
    """
    directory = find_model(model)
    sizes = choose_sizes(input_size, directory)
    predictor = Predictor(directory)
    return predictor, make_segmenter(predictor, inference, sizes)


def make_segmenter(
    predictor: Predictor, inference: InferenceSettings | None = None, sizes: Sequence[Size] | None = None
) -> ImageSegmenter:
    """Makes the way of images through a SavedModel.

    Args:
        predictor: the model.
        inference: how the network sees an image once that is resized; None: once, as it is.
        sizes: to which an image is resized, one after the other; None: as the model was validated, or, if it does not
            know that, not at all.
    """
    sizes = predictor.sizes or () if sizes is None else sizes
    return ImageSegmenter(predictor.network, len(predictor.classes), tuple(sizes), inference or InferenceSettings())


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


def as_tensor(images: np.ndarray, channels: int = 3):
    """Converts images to what TensorFlow takes; raises ValueError as of `Predictor`."""
    import tensorflow as tf

    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != channels or images.size == 0:
        expected = f"uint8 (batch, height, width, {channels})"
        raise ValueError(f"expected images as {expected}, got {images.dtype} {images.shape}")
    return tf.constant(images)


def load_model(directory: Path, resizes: bool, channels: int = 3):
    """Loads the SavedModel and checks that it maps images of any size to classes and probabilities.

    Args:
        directory: its folder.
        resizes: whether it knows how it was validated; then it must have a signature without resizing, too.
        channels: of the images that it takes.

    Raises:
        FileNotFoundError: there is no saved_model.pb.
        ValueError: the files are damaged, or the signatures are others.
    """
    import tensorflow as tf  # here: --help answers without it

    if not (directory / MODEL).is_file():
        raise FileNotFoundError(f"{directory / MODEL} is missing; expected a SavedModel folder")
    try:
        with without_patterns(directory) as place:
            model = tf.saved_model.load(str(place))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{directory}: the SavedModel is damaged: {' '.join(str(error).split())}") from None
    wanted = [("serving_default", "classes", tf.uint8), ("probabilities", "probabilities", tf.float32)]
    if resizes:
        wanted.append(("network", "probabilities", tf.float32))
    for name, output, dtype in wanted:
        if not _maps_images(model.signatures.get(name), output, dtype, channels):
            raise ValueError(
                f"{directory}: expected a signature {name!r} from images, uint8 (batch, height, width, {channels}), "
                f"to {output}, {dtype.name}; was it written by tfseg export?"
            )
    return model


def _maps_images(signature, output: str, dtype, channels: int) -> bool:
    """Whether a signature, which may be None, takes images of any size and gives this one output."""
    import tensorflow as tf

    images = {"images": tf.TensorSpec((None, None, None, channels), tf.uint8, name="images")}
    return (
        signature is not None
        and signature.structured_input_signature[1] == images
        and signature.structured_outputs.keys() == {output}
        and signature.structured_outputs[output].dtype == dtype
    )
