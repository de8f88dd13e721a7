"""Draws a training batch as the network sees it, after crops and augmentation, with its masks laid over it.

    python -m tfseg.show_batch --config configs/demo.yaml --out batch.png
    python -m tfseg.show_batch --config configs/demo.yaml --out batch.png --epoch 3 --step 10 --augment.flip 0

Takes every setting of a training. The batch is the very one that a training with the same seed has at that step.
"""

import argparse
from pathlib import Path

from tfseg.config.parse import parse_config
from tfseg.io import command
from tfseg.io.escaping import printable


def parse_arguments(arguments: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Reads the command line; what it does not know are settings of the training."""
    parser = argparse.ArgumentParser(
        prog=command.program("show_batch"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE.yaml", help="settings of a training; any of them can follow")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.png", help="image to write")
    parser.add_argument("--epoch", type=int, default=0, help="counted from 0 (default: %(default)s)")
    parser.add_argument("--step", type=int, default=0, help="of the epoch, counted from 0 (default: %(default)s)")
    options, settings = parser.parse_known_args(arguments)
    if options.out.suffix != ".png":
        parser.error(f"--out: expected a name that ends in .png, got {options.out}")
    if min(options.epoch, options.step) < 0:
        parser.error("--epoch and --step: expected 0 or more")
    return options, settings


def main(arguments: list[str] | None = None) -> None:
    options, settings = parse_arguments(arguments)
    settings += ["--config", options.config] if options.config else []
    config = parse_config(["--run_dir", "none", *settings], command.program("show_batch"))
    from tfseg.training.preview import show_batch  # here: what is wrong with the settings is reported without it

    batch, height, width, _ = show_batch(config, options.out, options.epoch, options.step)
    print(f"{printable(options.out)}: {batch} images of {height}x{width}")


if __name__ == "__main__":
    command.run(main)
