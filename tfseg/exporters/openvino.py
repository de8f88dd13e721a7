"""OpenVINO's own format: an .xml file and the .bin file of its weights, in float32, for images of any size.

OpenVINO's own converter makes them of TensorFlow's graph.
"""

from pathlib import Path

from tfseg.exporters import onnx
from tfseg.io.pixel_formats import RGB, PixelFormat

FILE, WEIGHTS = "model.xml", "model.bin"


def describe(pixels: PixelFormat = RGB) -> str:
    """Words what goes into the files and comes out."""
    return onnx.describe(pixels).partition(", ")[2]


def write(traced, directory: Path) -> dict[str, str]:
    """Writes `FILE` and `WEIGHTS`.

    Args:
        traced: the network, see `saved_model.Traced`.
        directory: folder, which is there.

    Returns:
        File name -> what goes in and comes out.

    Raises:
        ValueError: the converter has no counterpart for an operation.
        OSError: the disk does not take them.
    """
    import openvino  # pyright: ignore[reportMissingImports]  an extra

    try:
        model = openvino.convert_model(traced.function().get_concrete_function())  # pyright: ignore[reportAttributeAccessIssue]  the package
    except Exception as error:  # of many kinds, all of its own
        raise ValueError(f"OpenVINO: {' '.join(str(error).split())[:500]}; leave out openvino") from error
    path = directory / FILE
    openvino.save_model(model, path, compress_to_fp16=False)  # pyright: ignore[reportAttributeAccessIssue]  the package
    return {FILE: describe(traced.pixels), WEIGHTS: "its weights"}
