"""Compares encoders with the networks of timm and segmentation_models_pytorch whose weights they take.

    python -m benchmarks.check_weights     # in .venv-peers

Each network of PyTorch gets random weights, random statistics of its batch normalisation as well, and is saved as
people save it; our encoder reads the file. Both then compute the same normalised images, of odd multiples of 32, and
the last features are compared. That of segmentation_models_pytorch pads as for the images that it was trained on at
first; here it pads for those that it is given, as TensorFlow does.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

from benchmarks.results import save_results

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-3
# Encoder -> the network whose weights it takes; such as timm trained itself are built with TensorFlow's padding.
PAIRS = [
    *(("timm", f"efficientnetb{scale}", f"tf_efficientnet_b{scale}") for scale in (0, 3, 5, 7)),
    ("timm", "efficientnetb0", "efficientnet_b0"),
    *(("timm", f"efficientnetlite{scale}", f"tf_efficientnet_lite{scale}") for scale in (0, 4)),
    *(("smp", f"efficientnetb{scale}", f"efficientnet-b{scale}") for scale in (0, 3)),
    ("smp", "efficientnetb0", "timm-efficientnet-b0"),
    ("smp", "efficientnetlite0", "timm-tf_efficientnet_lite0"),
]


def randomize(network: "torch.nn.Module", seed: int) -> None:
    """Draws all weights and statistics, so that activations neither vanish nor grow without bounds."""
    import torch

    random = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        drawn = torch.rand(tensor.shape, generator=random)
        if tensor.ndim > 1:
            tensor.copy_(torch.randn(tensor.shape, generator=random) * 1.2 / tensor[0].numel() ** 0.5)
        elif name.endswith("running_var"):
            tensor.copy_(drawn + 0.5)
        else:
            tensor.copy_(0.4 * drawn + (0.8 if name.endswith("weight") else -0.2))


def make_timm(name: str) -> tuple["torch.nn.Module", Callable]:
    """Makes a network of timm, and what it computes its last features by."""
    import timm

    network = timm.create_model(name, pad_type="same").eval()
    return network, network.forward_features


def make_smp(name: str) -> tuple["torch.nn.Module", Callable]:
    """Makes a Unet, and what computes the last features of its encoder: as those of ours, after the head."""
    import segmentation_models_pytorch as smp
    import timm
    import torch

    network = smp.Unet(name, encoder_weights=None).eval()
    encoder = network.encoder
    if name.startswith("timm-"):
        for module in encoder.modules():
            if isinstance(module, torch.nn.Conv2d) and module.stride[0] == 2:
                module.__class__ = timm.layers.Conv2dSame
        return network, encoder.forward_features
    for module in encoder.modules():
        if hasattr(module, "static_padding") and module.stride[0] == 2:
            before = (module.kernel_size[0] - 2) // 2
            after = module.kernel_size[0] - 2 - before
            module.static_padding = torch.nn.ZeroPad2d((before, after, before, after))
    return network, lambda x: torch.nn.functional.silu(encoder._bn1(encoder._conv_head(encoder(x)[-1])))


def compare(library: str, encoder: str, name: str, size: tuple[int, int], seed: int, folder: Path) -> dict[str, float]:
    """Largest difference of the last features, and the largest of theirs."""
    import keras
    import torch

    from tfseg.models.encoders import build_encoder

    network, compute = {"timm": make_timm, "smp": make_smp}[library](name)
    randomize(network, seed)
    path = folder / f"{name}.pth"
    torch.save({"epoch": 1, "state_dict": network.state_dict()}, path)
    images = np.random.default_rng(seed).normal(size=(1, *size, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = compute(torch.tensor(images.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
        ours = keras.ops.convert_to_numpy(build_encoder(encoder, path).extract(images)[-1])
    return {"difference": float(np.abs(ours - theirs).max()), "largest": float(np.abs(theirs).max())}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--encoders", nargs="*", default=sorted({ours for _, ours, _ in PAIRS}), help="which of ours")
    parser.add_argument("--seeds", type=int, default=1, help="of random weights and images; so many, from 0 on")
    parser.add_argument("--json", type=Path, help="writes the results there, too")
    arguments = parser.parse_args()
    results, sizes = [], [(96, 160), (224, 288)]
    print("| encoder | network | size | largest feature | largest difference |\n|---|---|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for library, encoder, name in PAIRS:
            if encoder not in arguments.encoders:
                continue
            for seed in range(arguments.seeds):
                height, width = sizes[seed % len(sizes)]
                found = compare(library, encoder, name, (height, width), seed, Path(folder))
                results.append({"library": library, "encoder": encoder, "network": name, "seed": seed, **found})
                row = f"| {encoder} | {library} `{name}` | {height}x{width} | {found['largest']:.3g}"
                print(f"{row} | {found['difference']:.1e} |", flush=True)
    save_results(arguments.json, "check_weights", results)
    if any(found["difference"] > TOLERANCE for found in results):
        sys.exit(f"a difference is above {TOLERANCE}")


if __name__ == "__main__":
    main()
