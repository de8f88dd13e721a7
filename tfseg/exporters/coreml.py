"""Core ML: a package for Apple's own runtime, its CPU, GPU and Neural Engine.

coremltools makes it on Linux, too, but only macOS can run it: here, no more than what goes in and comes out is checked.
"""

import io
import logging
from contextlib import redirect_stderr
from pathlib import Path

from tfseg.io.pixel_formats import RGB, PixelFormat

PACKAGE = "model.mlpackage"


def write(traced, size: tuple[int, int], directory: Path) -> dict[str, str]:
    """Writes `PACKAGE`, an ML program for iOS 15 and macOS 12 on, which computes in float16.

    Args:
        traced: the network, see `saved_model.Traced`.
        size: (height, width) of the images that it takes.
        directory: folder, which is there.

    Returns:
        File name -> what goes in and comes out.

    Raises:
        ValueError: Core ML has no counterpart for an operation, or images of so many channels, or what came out is not
            what was asked for.
        OSError: the disk does not take it.
    """
    import tensorflow as tf

    logging.getLogger("coremltools").setLevel(logging.ERROR)  # it warns that nothing runs without macOS
    import coremltools  # pyright: ignore[reportMissingImports]  an extra

    height, width = size
    channels = traced.pixels.channels
    check_channels(channels)
    spec = tf.TensorSpec((1, height, width, channels), tf.float32, name="images")

    def outputs(images):
        logits = traced.logits(images)
        classes = tf.argmax(logits, axis=-1, output_type=tf.int32)  # Core ML has no arrays of bytes
        return {"classes": classes, "probabilities": tf.nn.softmax(logits)}

    layout = coremltools.colorlayout.RGB if channels == 3 else coremltools.colorlayout.GRAYSCALE
    image_type = coremltools.ImageType("images", (1, height, width, channels), color_layout=layout)
    try:
        with redirect_stderr(io.StringIO()):  # progress bars
            model = coremltools.convert(
                [tf.function(outputs, input_signature=[spec]).get_concrete_function()],
                source="tensorflow",
                inputs=[image_type],
                convert_to="mlprogram",
                minimum_deployment_target=coremltools.target.iOS15,
                skip_model_load=True,
            )
    except (ValueError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"Core ML: {' '.join(str(error).split())}; leave out coreml") from error
    description = model.get_spec()
    # Outputs are called Identity and Identity_1, in the order of the names that they have here.
    given = [output.name for output in description.description.output]
    for old, name in zip(given, ("classes", "probabilities"), strict=True):
        coremltools.utils.rename_feature(description, old, name, rename_inputs=False)
    renamed = coremltools.models.MLModel(description, weights_dir=model.weights_dir, skip_model_load=True)
    renamed.save(str(directory / PACKAGE))
    check(directory / PACKAGE, size)
    return {PACKAGE: describe(size, traced.pixels)}


def check_channels(channels: int) -> None:
    """Raises ValueError for images that Core ML has no type of."""
    if channels not in (1, 3):
        raise ValueError(f"Core ML: takes images of 1 or 3 channels, and these have {channels}; leave out coreml")


def describe(size: tuple[int, int], pixels: PixelFormat = RGB) -> str:
    """Words what goes into the package and comes out."""
    height, width = size
    name = "an RGB" if pixels.channels == 3 else "a grey"
    return (
        f"images: {name} image of {height}x{width} -> classes: int32 class ids, (1, {height}, {width}); "
        f"probabilities: float32, 0..1, (1, {height}, {width}, class)"
    )


def check(path: Path, size: tuple[int, int]) -> None:
    """Raises ValueError unless a package takes an image of that size and answers classes and probabilities."""
    import coremltools  # pyright: ignore[reportMissingImports]  an extra

    description = coremltools.utils.load_spec(str(path)).description
    shapes = {output.name: [*output.type.multiArrayType.shape] for output in description.output}
    image = description.input[0].type.imageType
    if (image.height, image.width) != size or [*shapes] != ["classes", "probabilities"]:
        raise ValueError(f"Core ML: {path.name} takes {image.height}x{image.width} and answers {', '.join(shapes)}")
    if shapes["classes"] != [1, *size] or shapes["probabilities"][:3] != [1, *size]:
        raise ValueError(f"Core ML: {path.name} answers arrays of {shapes} for images of {size}")
