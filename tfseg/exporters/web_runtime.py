"""ONNX Runtime Web, which the page of an export runs by: its version, its files, and where they are found.

The package of npm is vendored when a wheel or an environment is built, by `tools/fetch_web_runtime.py`, and every file
of it is known by its SHA-256, wherever it comes from.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import NamedTuple

PACKAGE, VERSION = "onnxruntime-web", "1.31.1"
VENDORED = Path(__file__).parent / "web_files" / "runtime"  # package data, which git ignores
TOOL = "tools/fetch_web_runtime.py"


class RuntimeFile(NamedTuple):
    """A file of ONNX Runtime."""

    name: str  # in an export: servers that do not know .mjs would not serve it as JavaScript
    source: str  # in the package that it comes from
    sha256: str


PROGRAM = (
    RuntimeFile(
        "ort.wasm.min.js",
        "dist/ort.wasm.min.mjs",
        "c21d9c326d453a4a61398270c804d5979e118540597cb0c07f7b3d64e6098234",
    ),
    RuntimeFile(
        "ort-wasm-simd-threaded.js",
        "dist/ort-wasm-simd-threaded.mjs",
        "30ed0b5cd1182ede931fea448afb567d4dc705ec957af09f108a2be5f770dac3",
    ),
    RuntimeFile(
        "ort-wasm-simd-threaded.wasm",
        "dist/ort-wasm-simd-threaded.wasm",
        "4b884c203b0fa48d057be3332c65513ff85aa3c5bddd6946acc0fab7ecda001d",
    ),
)
# The package of npm lacks them; that of the same version for Python, built of the same sources, has them.
LICENSES = (
    RuntimeFile(
        "LICENSE.txt",
        "onnxruntime/LICENSE",
        "2f07c72751aed99790b8a4869cf2311df85a860b22ded05fa22803587a48922c",
    ),
    RuntimeFile(
        "ThirdPartyNotices.txt",
        "onnxruntime/ThirdPartyNotices.txt",
        "143764b952fdb1a7c69ce653bfba74a7744d6a8a573bfb73e235fba356c83de3",
    ),
)
BESIDE = f", and in its folder what pip download --no-deps onnxruntime=={VERSION} brings, unpacked by unzip"


def find_runtime(folder: Path | None = None) -> dict[str, bytes]:
    """Finds and checks the files of ONNX Runtime Web and its licences.

    Args:
        folder: that holds them by their names in an export, or the unpacked package of npm; None: the vendored ones.
            Licences that a folder lacks are those of the installed ONNX Runtime.

    Returns:
        Name in an export -> content.

    Raises:
        ValueError: one of the files is missing, or of another version.
        OSError: a file cannot be read.
    """
    paths = {file: _find(file, VENDORED if folder is None else folder) for file in (*PROGRAM, *LICENSES)}
    if folder is None and None in paths.values():
        raise ValueError(
            f"--formats web: this tfseg was built without {PACKAGE}; in a clone, python {TOOL} brings it; "
            f"elsewhere, unpack what npm pack {PACKAGE}@{VERSION} brings, and give its folder as --web-runtime"
        )
    found = {}
    for file, path in paths.items():
        path = path or (_find_installed(file.source) if file in LICENSES else None)
        if path is None:
            raise ValueError(
                f"--web-runtime: {folder} lacks {file.source}; expected the unpacked package {PACKAGE} {VERSION} of "
                f"npm{BESIDE if file in LICENSES else ''}"
            )
        found[file.name] = check_file(file, path.read_bytes(), path)
    return found


def _find(file: RuntimeFile, folder: Path) -> Path | None:
    return next((path for path in (folder / file.name, folder / file.source) if path.is_file()), None)


def _find_installed(source: str) -> Path | None:
    """A file of the installed package of ONNX Runtime."""
    package, _, name = source.partition("/")
    spec = importlib.util.find_spec(package)
    places = (Path(place) / name for place in (spec and spec.submodule_search_locations) or ())
    return next((path for path in places if path.is_file()), None)


def check_file(file: RuntimeFile, content: bytes, path: Path) -> bytes:
    """Returns the content of a file; raises ValueError unless it is that of the one version."""
    if (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        advice = (
            f"expected the package of npm{BESIDE}" if file in LICENSES else f"get it by npm pack {PACKAGE}@{VERSION}"
        )
        raise ValueError(
            f"{path} is not that of {PACKAGE} {VERSION}: its SHA-256 is {found}, expected {file.sha256}; {advice}"
        )
    return content
