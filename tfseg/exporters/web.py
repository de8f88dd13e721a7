"""A static page that runs the model in the browser: a folder for any web server, which asks no other one.

The page computes the very file of `onnx` by ONNX Runtime Web, as WebAssembly. Before and after the network, its
JavaScript does what `inference.image_segmenter` does, with the arithmetic of `io.resizing`.
"""

import shutil
from pathlib import Path

from tfseg.exporters import onnx
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


def write(runtime: dict[str, bytes], directory: Path) -> dict[str, str]:
    """Writes the folder.

    Args:
        runtime: the files of ONNX Runtime Web, see `web_runtime.find_runtime`.
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
