"""Says what network a training has: weights, multiply-adds, receptive field, memory, and, if asked, speed.

    tfseg describe --config configs/cityscapes.yaml
    tfseg describe --config configs/cityscapes.yaml --size 320x320 --model.encoder efficientnetb0
    tfseg describe --run runs/cityscapes --measure --json model.json

Takes every setting of a training after --config. Weights are random, since nothing depends on them. A GMAC is 10^9
multiply-adds of convolutions, dense layers and attention, of one image in inference; a GFLOP counts each of them as
two. The receptive field is that of one logit. The memory is an estimate; --measure says how much it is.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tfseg.config.parse import change_config, parse_config
from tfseg.config.schema import Config
from tfseg.diagnostics.model_summary import describe_model, table
from tfseg.io import command
from tfseg.io.atomic import write_json
from tfseg.runs.run_dir import read_config, read_labels


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser()
    options, settings = parser.parse_known_args(arguments)
    if options.run and settings:
        parser.error(f"{settings[0]}: settings go with --config; of a run, only --size and --batch can be others")
    config = choose_config(options, settings)
    classes = len(read_labels(options.run)[0]) if options.run else None
    found = describe_model(config, classes, with_speed=options.measure, with_metal=options.metal)
    print("\n".join(table(found)))
    if options.json:
        write_json(found.to_dict(), options.json)


def choose_config(options: argparse.Namespace, settings: Sequence[str]) -> Config:
    """Gives the settings of a run, or those of the command line."""
    if options.run:
        config = read_config(options.run)
    else:
        config = parse_config(
            ["--run_dir", "none", *settings, "--config", options.config], program=command.program("describe")
        )
    others = {"data.size": options.size, "train.batch_size": options.batch}
    others = {name: value for name, value in others.items() if value is not None}
    return change_config(config, {"model.weights": None, "loss.class_weights": None, **others})


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command.program("describe"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--config", metavar="FILE.yaml", help="settings of a training; any of them can follow")
    source.add_argument("--run", metavar="DIR", help="a run folder, for the settings in it")
    parser.add_argument("--size", metavar="HxW", help="HEIGHTxWIDTH of the images (default: data.size)")
    parser.add_argument("--batch", type=int, metavar="N", help="images per step (default: train.batch_size)")
    parser.add_argument("--measure", action="store_true", help="measure memory and images/s, in another process")
    parser.add_argument("--metal", action="store_true", help="say what would leave Apple's GPU, as check_metal does")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the same as JSON")
    return parser


if __name__ == "__main__":
    command.run(main)
