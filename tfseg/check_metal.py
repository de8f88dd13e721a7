"""Says which operations of a train step would leave the GPU of Apple Silicon, without a Mac.

    tfseg check_metal --config configs/cityscapes.yaml
    tfseg check_metal --config configs/cityscapes.yaml --accelerator.precision float32
    tfseg check_metal --config configs/cityscapes.yaml --plugin tensorflow-metal-plugin

Traces the very step that a training with the config runs: augmentation, network, loss, gradients, optimizer. Ends with
1 if an operation on images or weights leaves the GPU, or more than 0.1 MB per step cross besides the batch. Says
nothing of speed, nor of what a kernel computes. Takes every setting of a training.
"""

import argparse
import sys
from collections.abc import Sequence

from tfseg.config.parse import parse_config
from tfseg.diagnostics.metal import APPLE, KERNELS, check_config, describe
from tfseg.io import command


def main(arguments: Sequence[str] | None = None) -> None:
    program = command.program("check_metal")
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", metavar="FILE.yaml", help="settings of a training; any of them can follow")
    parser.add_argument(
        "--plugin", choices=KERNELS, default=APPLE, help="by which TensorFlow has the GPU (default: %(default)s)"
    )
    options, settings = parser.parse_known_args(arguments)
    settings += ["--config", options.config] if options.config else []
    report = check_config(parse_config(["--run_dir", "none", *settings], program=program), options.plugin)
    print("\n".join(describe(report)))
    sys.exit(0 if report.passes else 1)


if __name__ == "__main__":
    command.run(main)
