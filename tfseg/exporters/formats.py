"""The formats of an export, and what each takes."""

import importlib.util
from collections.abc import Collection
from pathlib import Path

from tfseg.exporters import coreml, litert, litert_mixed, onnx, openvino
from tfseg.exporters.samples import Samples

# Format -> the packages that it takes beside TensorFlow.
FORMATS = {
    "saved_model": (),
    "litert": (),
    "edgetpu": (),
    "mixed": ("litert_quantizer", "ai_edge_litert"),
    "weight_only": ("litert_quantizer", "ai_edge_litert"),
    "onnx": ("tf2onnx", "onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "coreml": ("coremltools",),
    "web": ("tf2onnx", "onnx", "onnxruntime"),  # of ONNX, which the page computes
}
# Format -> where alone its packages can be installed.
BUILDS = {
    "coreml": "macOS and Linux on x86-64, up to Python 3.13",
    **dict.fromkeys(("mixed", "weight_only"), "macOS and Linux"),
}


def check_backend() -> None:
    """Raises ValueError unless Keras runs on TensorFlow."""
    import keras  # here: --help answers without it

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"a SavedModel is made by TensorFlow, but Keras runs on {keras.backend.backend()}; "
            "set the environment variable KERAS_BACKEND=tensorflow and export again"
        )


def check_packages(formats: Collection[str]) -> None:
    """Raises ValueError if a format takes a package that is not installed, or is none."""
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"formats: expected some of {', '.join(FORMATS)}, got {name!r}")
        missing = [package for package in FORMATS[name] if importlib.util.find_spec(package) is None]
        if missing:
            limits = f", which has builds for {BUILDS[name]}" if name in BUILDS else ""
            raise ValueError(
                f"--formats {name}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed{limits}; "
                "pip install 'tf-segmentation[export]'"
            )


def write_formats(traced, formats: Collection[str], samples: Samples, directory: Path) -> dict[str, str]:
    """Writes the SavedModel and what else is asked for.

    Args:
        traced: the network, see `saved_model.Traced`.
        formats: of `FORMATS`; the page of "web" is not written here, but the ONNX file that it computes is.
        samples: images that scale int8, and the size of what LiteRT's files and Core ML take.
        directory: folder, which is there.

    Returns:
        File name -> what goes in and comes out, of all but the SavedModel.
    """
    from tfseg.exporters.saved_model import save_module

    save_module(traced, directory)
    files = {}
    if "litert" in formats:
        files |= litert.write(traced, samples.fixed_size, samples.calibration, directory)
    if "edgetpu" in formats:
        files |= litert.write_logits(traced, samples.fixed_size, samples.calibration, directory)
    if {"mixed", "weight_only"} & {*formats}:
        taken = {"size": samples.fixed_size, "directory": directory, "pixels": traced.pixels}
        if "litert" in formats:
            content = (directory / litert.FILES["float32"]).read_bytes()
        else:
            wanted = "mixed" if "mixed" in formats else "weight_only"
            content = litert.convert(traced, samples.fixed_size, "float32", [], format=wanted)
        if "mixed" in formats:
            files |= litert_mixed.write_mixed(content, images=samples.calibration, **taken)
        if "weight_only" in formats:
            files |= litert_mixed.write_weights(content, **taken)
    if {"onnx", "web"} & {*formats}:
        files |= onnx.write(traced, directory)
    if "openvino" in formats:
        files |= openvino.write(traced, directory)
    if "coreml" in formats:
        files |= coreml.write(traced, samples.fixed_size, directory)
    return files
