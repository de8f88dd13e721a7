"""LiteRT (TensorFlow Lite): files for phones and small machines, in float32, float16 and int8.

Each takes one image of a fixed size as bytes, and answers class ids, which is all that most want of it, beside
probabilities. In the int8 file every sum is one of whole numbers (Jacob et al. 2018), scaled by what activations were
on real images, see `litert_int8`.

What compiles for an accelerator may take neither softmax nor argmax, as that of the Edge TPU; for it there is a file in
int8 that ends with the logits.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tfseg.exporters import litert_int8
from tfseg.exporters.description import describe_input
from tfseg.inference.runtimes.litert import without_deprecation
from tfseg.io.pixel_formats import RGB, PixelFormat

FILES = {precision: f"model_{precision}.tflite" for precision in ("float32", "float16", "int8")}
LOGITS = "model_int8_logits.tflite"


def write(traced, size: tuple[int, int], images: Iterable[np.ndarray], directory: Path) -> dict[str, str]:
    """Writes the three files of `FILES`.

    Args:
        traced: the network, see `saved_model.Traced`.
        size: (height, width) of the images that they take.
        images: uint8 (height, width, channels), of the data that the network was trained on: int8 is scaled by them.
        directory: folder, which is there.

    Returns:
        File name -> what goes in and comes out.

    Raises:
        ValueError: there are no images, or the network has an operation that LiteRT lacks.
        OSError: the disk does not take it.
    """
    images = [*images]
    if not images:
        raise ValueError("LiteRT int8 is scaled by images of the training split, and there are none")
    for precision, name in FILES.items():
        (directory / name).write_bytes(convert(traced, size, precision, images))
    return {name: describe(precision, size, traced.pixels) for precision, name in FILES.items()}


def write_logits(traced, size: tuple[int, int], images: Iterable[np.ndarray], directory: Path) -> dict[str, str]:
    """Writes `LOGITS`, whose largest logit of a pixel is the class that the int8 file of `write` gives it.

    Args, what is returned, and errors are as of `write`.
    """
    images = [*images]
    if not images:
        raise ValueError("LiteRT int8 is scaled by images of the training split, and there are none")
    (directory / LOGITS).write_bytes(convert(traced, size, "int8", images, logits=True, format="edgetpu"))
    height, width = size
    taken = describe_input(traced.pixels, f"1, {height}, {width}")
    return {LOGITS: f"images: {taken} -> logits: uint8, quantized, (1, {height}, {width}, class); argmax gives classes"}


def describe(precision: str, size: tuple[int, int], pixels: PixelFormat = RGB) -> str:
    """Words what goes into a file and comes out."""
    height, width = size
    probabilities = "uint8, in 256ths" if precision == "int8" else "float32, 0..1"
    return (
        f"images: {describe_input(pixels, f'1, {height}, {width}')} -> "
        f"classes: uint8 class ids, (1, {height}, {width}); "
        f"probabilities: {probabilities}, (1, {height}, {width}, class)"
    )


def convert(
    traced,
    size: tuple[int, int],
    precision: str,
    images: list[np.ndarray],
    logits: bool = False,
    format: str = "litert",
) -> bytes:
    """Makes the content of one file.

    Args:
        traced, size, images: as of `write`, which says what is raised, too.
        precision: a key of `FILES`.
        logits: it ends with those.
        format: that an error says to leave out.
    """
    import tensorflow as tf

    # To the converter, bytes that become floats at once are floats with a scale, of which int8 needs no operation.
    dtype = tf.float32 if precision == "int8" else tf.uint8
    images_spec = tf.TensorSpec((1, *size, traced.pixels.channels), dtype, name="images")
    outputs = (lambda images: {"logits": traced.logits(images)}) if logits else traced.outputs
    function = tf.function(outputs, input_signature=[images_spec])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], traced.variables)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: iter([{"images": images[0][np.newaxis].astype(np.float32)}])
        converter._experimental_calibrate_only = True
    try:
        with without_deprecation():
            content = converter.convert()
        return litert_int8.quantize(content, images) if precision == "int8" else content
    except Exception as error:  # of many kinds, the converter's own and RuntimeError among them
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(f"LiteRT {precision}: the converter stopped ({reason.strip()}); leave out {format}") from error
