"""A static page that runs the model in the browser: a folder for any web server, which asks no other one.

The page computes the very file of `onnx` by ONNX Runtime Web, as WebAssembly. Before and after the network, its
JavaScript does what `inference.image_segmenter` does, with the arithmetic of `io.resizing`.
"""

import importlib.util
import shutil
from pathlib import Path

from tfseg.exporters import onnx
from tfseg.exporters.web_runtime import LICENSES, find_runtime
from tfseg.io.pixel_formats import PixelFormat
from tfseg.runs import run_dir

FOLDER = "web"
PAGE = f"{FOLDER}/index.html"
SOURCES = Path(__file__).parent / "web_files"
FILES = (
    *("index.html", "page.css", "page.js", "segmenter.js", "camera.js"),
    *("worker.js", "images.js", "resizing.js", "png.js"),
)
RUNTIME = "runtime"  # folder in it


def check_pixels(pixels: PixelFormat) -> None:
    """Raises ValueError unless a model takes 8-bit RGB, which is all that browsers decode images to."""
    if not pixels.is_rgb:
        raise ValueError(f"--formats web: browsers give 8-bit RGB, and the network takes {pixels}; leave out web")


def load_runtime(folder: Path | None = None) -> dict[str, bytes]:
    """Finds the files of ONNX Runtime Web and its licences, see `web_runtime.find_runtime`.

    Args:
        folder: that holds them; None: the vendored ones.

    Raises:
        ValueError: they are not there, or of another version.
        OSError: a file cannot be read.
    """
    files = find_runtime(folder)
    for license in LICENSES:
        if license.name not in files:
            files[license.name] = _find_installed(license.source).read_bytes()
    return files


def _find_installed(source: str) -> Path:
    """A file of the installed package of ONNX Runtime, without which there is no file of `onnx` either."""
    package, _, name = source.partition("/")
    spec = importlib.util.find_spec(package)
    return next(Path(place) / name for place in (spec and spec.submodule_search_locations) or ())


def write(runtime: dict[str, bytes], directory: Path) -> dict[str, str]:
    """Writes the folder.

    Args:
        runtime: the files of ONNX Runtime Web, see `load_runtime`.
        directory: of the export, in which the files of `onnx` and labels.json lie already.

    Returns:
        The page's name -> what it does.

    Raises:
        OSError: the disk does not take it.
    """
    folder = directory / FOLDER
    (folder / RUNTIME).mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(SOURCES / name, folder / name)
    for name, content in runtime.items():
        (folder / RUNTIME / name).write_bytes(content)
    for name in (onnx.FILE, run_dir.LABELS):
        shutil.copyfile(directory / name, folder / name)
    return {PAGE: describe()}


def describe() -> str:
    """Words what the page takes and gives."""
    return (
        f"a page that computes {onnx.FILE} in the browser, served with its folder by any web server: PNG, JPEG and "
        "WebP files or a camera -> a grey PNG of class ids, a PNG of their colours"
    )
