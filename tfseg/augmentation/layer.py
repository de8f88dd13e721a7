"""Augmentation as a layer of Keras: in tf.data, in a model, or on its own."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfseg import backend
from tfseg.augmentation.augmenter import Augmenter

OF_LAYERS = ("name", "trainable", "dtype")  # arguments of every layer of Keras


@keras.saving.register_keras_serializable("tfseg")
class Augmentation(keras.layers.Layer):
    """Changes images and their masks together, each image in its own way.

    All geometry is one resampling, all colour one matrix and one curve, all filters one kernel; what is off is not
    computed. Images are interpolated, their edges continued outside; masks take the nearest pixel, and void, 0, outside
    of it.

    It takes {"image": ..., "mask": ...}, whose other entries it leaves as they are, or image and mask, as a tuple or
    one after the other; in `tf.data.Dataset.map`, as `data.map(augment)`, in a functional model, or eagerly; on every
    backend of Keras. On JAX and PyTorch, tf.data calls back into Python for it.
    With training=False nothing changes but the types, as in `predict` and `evaluate`.

    Each call draws anew: the same seed and the same number of calls before give the same draws. The weight `steps`
    counts the calls, and is saved with a model. If tf.data makes several calls at once, each has its own draws, but
    which element gets which is not fixed.

    Args:
        flip: probability of mirroring left and right, 0..1.
        rotation: largest angle either way, 0..180 degrees.
        zoom: range of the factor, drawn evenly on a log scale; above 1 enlarges.
        shear: largest lean of uprights either way, 0..60 degrees.
        shift: largest shift either way, as a share of height and width, 0..1.
        perspective: farthest that each corner of what is seen moves inwards, as a share of height and width, 0..0.4.
        brightness: largest shift either way, as a share of 255, 0..1.
        contrast: factor, drawn from 1-contrast..1+contrast, 0..1.
        saturation: factor about each pixel's grey, drawn from 1-saturation..1+saturation, 0..1.
        hue: largest turn either way, 0..180 degrees.
        gamma: range of the exponent, drawn evenly on a log scale; below 1 brightens.
        tone_curve: farthest that the curve's two control points move up or down, 0..0.33.
        blur: largest deviation of a Gaussian blur, 0..3 pixels.
        motion_blur: longest motion, 0..15 pixels, in any direction.
        sharpen: largest share of the Laplacian that is added, 0..1.
        noise: largest deviation of Gaussian noise, as a share of 255, 0..1.
        cutout: largest side of a box that is made grey and void (DeVries and Taylor 2017), as a share of height and
            width, 0..1.
        class_mix: probability of pasting about half of the classes of the batch's next image (ClassMix, Olsson et al.
            2021), 0..1; of an image without a batch there is no next.
        probability: effect -> probability, where it is not 1.
        one_of: groups {"effects": names, "p": probability}, of each of which at most one effect comes at a time.
        channels: of the images; saturation and hue are of RGB alone.
        num_classes: of the masks, void included, 1..256, among which class_mix chooses; None: 256.
        seed: of the draws; None for others every time.
        **kwargs: name, trainable and dtype, as of every layer of Keras.

    Input:
        image: (B, H, W, channels) or (H, W, channels), integers or floats in 0..255.
        mask: (B, H, W) or (H, W), or with a last axis of 1: class ids, integers in 0..255.

    Output:
        The same structure and shapes, float32 image in 0..255 and int32 mask.

    Raises:
        TypeError: an effect that is not known, or a strength that is no number.
        ValueError: a strength out of its range; effects that exclude one another, such as blur and sharpen outside one
            group; images of other channels; floats of 0..1; shapes that do not go together; a mask of floats.

    Example:
        >>> import keras, numpy as np
        >>> from tfseg import Augmentation
        >>> augment = Augmentation(flip=0.5, rotation=15, noise=0.05, seed=0)
        >>> batch = {"image": np.zeros((2, 32, 48, 3), np.uint8), "mask": np.ones((2, 32, 48), np.uint8)}
        >>> changed = augment(batch)
        >>> tuple(changed["image"].shape), keras.backend.standardize_dtype(changed["mask"].dtype)
        ((2, 32, 48, 3), 'int32')
        >>> image, mask = augment((batch["image"][0], batch["mask"][0]))
        >>> tuple(mask.shape)
        (32, 48)
    """

    def __init__(
        self,
        *,
        flip: float = 0.0,
        rotation: float = 0.0,
        zoom: tuple[float, float] = (1.0, 1.0),
        shear: float = 0.0,
        shift: float = 0.0,
        perspective: float = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        gamma: tuple[float, float] = (1.0, 1.0),
        tone_curve: float = 0.0,
        blur: float = 0.0,
        motion_blur: float = 0.0,
        sharpen: float = 0.0,
        noise: float = 0.0,
        cutout: float = 0.0,
        class_mix: float = 0.0,
        probability: dict[str, float] | None = None,
        one_of: list[dict[str, Any]] | None = None,
        channels: int = 3,
        num_classes: int | None = None,
        seed: int | None = None,
        **kwargs,
    ):
        strengths = {name: value for name, value in locals().items() if name not in ("self", "kwargs", "__class__")}
        of_layer = {name: kwargs.pop(name) for name in OF_LAYERS if name in kwargs}
        augmenter = Augmenter(**strengths, **kwargs)
        super().__init__(**{"dtype": "float32", **of_layer}, autocast=False)
        self.augmenter = augmenter
        self.settings = Settings(strengths)
        self.supports_jit = backend.reaches_counters()
        self.steps = self.add_weight(
            name="steps",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self.built = True

    def __call__(self, inputs, masks=None, training: bool | None = None):
        if masks is not None:  # as the map of a dataset of pairs calls it
            inputs = (inputs, masks)
        image, mask = take_apart(inputs)
        check_shapes(image, mask, self.augmenter.channels)
        options = {} if training is None else {"training": training}
        if keras.backend.backend() != "tensorflow" and backend.is_in_graph(image):
            pair = backend.call_from_graph(lambda *pair: self.change_arrays(pair, **options), [image, mask], DTYPES)
        else:
            pair = super().__call__((image, mask), **options)
        if isinstance(inputs, dict):
            return {**inputs, "image": pair[0], "mask": pair[1]}
        return tuple(pair)

    def call(self, inputs, training=True):
        image, mask = inputs
        if not training:
            return backend.as_floats(image), backend.as_ids(mask)
        if backend.is_in_graph(image) and None in image.shape[-3:-1]:  # draws need the size
            return tuple(backend.call_from_graph(lambda *pair: self.change_arrays(pair), [image, mask], DTYPES))
        return self.change(image, mask)

    def change_arrays(self, pair, training=True) -> list[np.ndarray]:
        """Calls the layer on arrays and returns arrays."""
        changed = super().__call__(tuple(pair), training=training)
        return [ops.convert_to_numpy(x) for x in changed]

    def change(self, image, mask):
        """Draws for one batch, or one image, whose size is known, and changes it."""
        alone, has_axis = len(image.shape) == 3, len(mask.shape) == len(image.shape)
        mask = ops.squeeze(mask, -1) if has_axis else mask
        image, mask = (image[None], mask[None]) if alone else (image, mask)
        step = backend.count_up(self.steps)
        image, mask = self.augmenter(image, mask, step=step, replica=backend.find_replica())
        image, mask = (image[0], mask[0]) if alone else (image, mask)
        return image, mask[..., None] if has_axis else mask

    def compute_output_spec(self, inputs, training=True):
        image, mask = inputs
        return keras.KerasTensor(image.shape, "float32"), keras.KerasTensor(mask.shape, "int32")

    def get_config(self):
        config = super().get_config()
        return {**{name: config[name] for name in OF_LAYERS if name in config}, **self.settings.values}


DTYPES = ["float32", "int32"]  # of image and mask


class Settings:
    """The arguments of a layer as they were given, which Keras would wrap if they were its attributes."""

    def __init__(self, values: dict[str, Any]):
        self.values = {name: plain(value) for name, value in values.items()}


def plain(value):
    """Turns NumPy's numbers and arrays into Python's, and tuples into lists, as JSON has them."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def take_apart(inputs):
    """Returns image and mask of a dict or a tuple.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(inputs, dict):
        if not {"image", "mask"} <= set(inputs):
            raise ValueError(f'Augmentation: expected a dict with "image" and "mask", got one with {list(inputs)}')
        return inputs["image"], inputs["mask"]
    if not isinstance(inputs, tuple | list) or len(inputs) != 2:
        got = f"{len(inputs)} things" if isinstance(inputs, tuple | list) else f"a {type(inputs).__name__}"
        hint = "; map a data set of pairs by data.map(lambda *pair: augment(pair))" if hasattr(inputs, "shape") else ""
        raise ValueError(f'Augmentation: expected {{"image": ..., "mask": ...}} or (image, mask), got {got}{hint}')
    return inputs


def check_shapes(image, mask, channels: int) -> None:
    """Raises ValueError unless an image and its mask go together, as far as their shapes are known."""
    shapes = []
    for name, x in (("image", image), ("mask", mask)):
        shape = getattr(x, "shape", None)
        if shape is None or getattr(shape, "rank", 0) is None:
            raise ValueError(f"{name}: expected an array or tensor of known rank, got {type(x).__name__} of {shape}")
        shapes.append(tuple(shape))
    size, labels = shapes
    if len(size) not in (3, 4) or size[-1] not in (channels, None):
        raise ValueError(
            f"image: expected (batch, height, width, {channels}) or (height, width, {channels}), got {size}"
        )
    wanted = size[:-1]
    given = labels[:-1] if len(labels) == len(size) and labels[-1] == 1 else labels
    if len(given) != len(wanted) or any(None not in (a, b) and a != b for a, b in zip(given, wanted, strict=False)):
        raise ValueError(f"mask: expected {wanted}, as the image of {size} has, or a last axis of 1 more, got {labels}")
    kind = keras.backend.standardize_dtype(mask.dtype)
    if "int" not in kind:
        raise ValueError(f"mask: expected class ids, integers, got {kind}; cast them")
