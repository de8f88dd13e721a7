"""ONNX: one file for ONNX Runtime, TensorRT, OpenVINO and others, for images of any size.

tf2onnx makes it, which Keras' own export uses as well; that one would give logits of floats.
"""

from pathlib import Path

from tfseg.exporters.description import describe_input
from tfseg.io.pixel_formats import RGB, PixelFormat

FILE = "model.onnx"
OPSET = 18  # the newest that tf2onnx is tested with; ONNX Runtime has it since 1.14
AXES = ("batch", "height", "width")


def describe(pixels: PixelFormat = RGB) -> str:
    """Words what goes into the file and comes out."""
    return (
        f"opset {OPSET}, images: {describe_input(pixels, 'batch, height, width')}, any height and width -> classes: "
        "uint8 class ids, (batch, height, width); probabilities: float32, 0..1, (batch, height, width, class)"
    )


def write(traced, directory: Path) -> dict[str, str]:
    """Writes `FILE`.

    Args:
        traced: the network, see `saved_model.Traced`.
        directory: folder, which is there.

    Returns:
        File name -> what goes in and comes out.

    Raises:
        ValueError: tf2onnx has no counterpart for an operation, or the file is not what ONNX prescribes.
        OSError: the disk does not take it.
    """
    import onnx.checker  # pyright: ignore[reportMissingImports]  an extra
    import tf2onnx  # pyright: ignore[reportMissingImports]  an extra

    function = traced.function(plain=True)  # ONNX Runtime is slow at what that leaves out
    try:
        model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
        for tensor in (*model.graph.input, *model.graph.output):
            for axis, dimension in zip(AXES, tensor.type.tensor_type.shape.dim, strict=False):  # classes are a number
                dimension.dim_param = axis
        onnx.checker.check_model(model, full_check=True)
    except (ValueError, NotImplementedError, onnx.checker.ValidationError) as error:
        raise ValueError(f"ONNX: {' '.join(str(error).split())}; leave out onnx") from error
    (directory / FILE).write_bytes(model.SerializeToString())
    return {FILE: describe(traced.pixels)}
