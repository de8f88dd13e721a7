"""TensorFlow, for a SavedModel."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseg.inference.runtimes.choice import RUNTIMES, Network
from tfseg.io.paths import without_patterns

FILE = RUNTIMES["tensorflow"].file


class SavedModel(Network):
    """A SavedModel as `choice.Network`, and its other signatures, which resize images inside."""

    def __init__(self, directory: Path, resizes: bool, channels: int = 3):
        """Loads the SavedModel and checks that it maps images of any size to classes and probabilities.

        Args:
            directory: its folder.
            resizes: whether it knows how it was validated; then it must have a signature without resizing, too.
            channels: of the images that it takes.

        Raises:
            FileNotFoundError: there is no saved_model.pb.
            ValueError: the files are damaged, or the signatures are others.
        """
        model = _load(directory, resizes, channels)
        self._model, self._network = model, "network" if resizes else "probabilities"  # signatures do not keep weights
        self.classes = model.signatures["probabilities"].structured_outputs["probabilities"].shape[-1]

    def classify(self, images: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, channels) -> class ids, uint8 (B, H, W)."""
        return self._run("serving_default", images)["classes"].numpy()

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, channels) -> float32 (B, H, W, classes), resized to the network's size and back inside."""
        return self._run("probabilities", images)["probabilities"].numpy()

    def network(self, images: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, channels) -> float32 (B, H, W, classes), in 0..1."""
        return self._run(self._network, images)["probabilities"].numpy()

    def answer_files(self, files: Sequence[bytes]) -> list[bytes]:
        """Makes the mask, a grey PNG of class ids, of each image file, PNG or JPEG.

        Raises:
            ValueError: a file is refused, see `exporters.encoded`, or the model takes none.
        """
        import tensorflow as tf

        if "encoded" not in self._model.signatures:
            raise ValueError("takes no files: TensorFlow decodes none of its images")
        try:
            return self._model.signatures["encoded"](image_bytes=tf.constant([*files]))["mask_bytes"].numpy().tolist()
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(" ".join(str(error).split())) from None

    def _run(self, signature: str, images: np.ndarray):
        import tensorflow as tf

        return self._model.signatures[signature](images=tf.constant(images))


def _load(directory: Path, resizes: bool, channels: int):
    import tensorflow as tf  # here: --help answers without it

    if not (directory / FILE).is_file():
        raise FileNotFoundError(f"{directory / FILE} is missing; expected a SavedModel folder")
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
