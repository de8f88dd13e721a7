"""Trains another tool's network on the images of records for some minutes, and predicts masks for `tfseg evaluate`.

    python -m benchmarks.peer_trainers smp --records data/camvid/records --out runs/peers/smp
    python -m benchmarks.peer_trainers yolo26 --records data/camvid/records --out runs/peers/yolo26 --recipe fitted
    tfseg evaluate --masks runs/peers/smp/masks --records data/camvid/records --out runs/peers/smp

"smp" is segmentation_models_pytorch's Unet over timm's EfficientNet-Lite0 from ImageNet weights (peer_unet.py), and
"yolo26" YOLO26n-sem from random weights (peer_yolo.py); the first two commands run in .venv-peers, see the Makefile.
Each tool trains in its own way: by the recipe that its documentation gives ("documented"), or by one that is fitted to
few images and a short time ("fitted"); --set changes single settings. The minutes run from the first step to the last
and include the validation after each epoch but the last; reading the records and predicting masks come on top.

OUT/masks has the masks of the validation split by the weights of the tool's best epoch on it, OUT/results.json what
was run, on what, and how far it came, OUT/data the images and masks that were trained on.
"""

import argparse
import importlib
import os
import platform
import sys
from pathlib import Path

from benchmarks.peer_data import export_records, write_masks
from benchmarks.results import save_results
from tfseg.diagnostics.machine import find_processor
from tfseg.io import command
from tfseg.io.yaml_reader import parse_yaml

PEERS = {"smp": "benchmarks.peer_unet", "yolo26": "benchmarks.peer_yolo"}


def run(options: argparse.Namespace) -> dict:
    """Trains, writes masks, and returns what happened."""
    peer = importlib.import_module(PEERS[options.peer])
    if options.out.exists() and any(options.out.iterdir()):
        raise ValueError(f"{options.out}: is not empty; name a new folder by --out")
    settings = {**peer.RECIPES[options.recipe], **dict(options.set)}
    data = export_records(options.records, options.out / "data", options.images)
    results, predictions = peer.train(
        data, options.out, options.minutes, options.seed, options.threads, settings=settings
    )
    counts = {name: write_masks(options.out / name, masks) for name, masks in predictions.items()}
    return {
        "peer": options.peer,
        "recipe": options.recipe,
        "minutes": options.minutes,
        "seed": options.seed,
        "threads": options.threads,
        "processor": find_processor(),
        "python": platform.python_version(),
        "classes": data.classes,
        "image_size": data.size,
        "masks": counts,
        **results,
    }


def parse_setting(text: str) -> tuple[str, object]:
    """Reads NAME=VALUE, the value as YAML: "crop=[192, 256]" gives ("crop", [192, 256])."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, parse_yaml(value, "--set")


def make_parser() -> argparse.ArgumentParser:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS, help="what to train")
    parser.add_argument("--records", required=True, metavar="DIR", help="records with the splits train and val")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for all that is written")
    parser.add_argument("--minutes", type=float, default=45.0, help="of training (default: %(default)s)")
    parser.add_argument(
        "--recipe", choices=["documented", "fitted"], default="documented", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--set", type=parse_setting, action="append", default=[], metavar="NAME=VALUE", help="a setting of the recipe"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=cores, help="of PyTorch (default: all cores)")
    parser.add_argument("--images", type=int, metavar="N", help="to train on, for a trial (default: all)")
    return parser


def main() -> None:
    options = make_parser().parse_args()
    results = run(options)
    save_results(options.out / "results.json", "peer_trainers", results)
    print(
        f"{options.peer}, {options.recipe}: {results['epochs']} epochs, {results['steps']} steps, "
        f"{results['images']} images in {results['seconds']:.0f} s; masks in "
        + ", ".join(str(options.out / name) for name in results["masks"]),
        file=sys.stderr,
    )


if __name__ == "__main__":
    command.run(main)
