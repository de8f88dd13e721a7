"""Searches for the settings of a training with the best score, by Optuna.

    pip install '.[cpu,tune]'
    python -m tfseg.tune --config configs/camvid.yaml --space configs/camvid_space.yaml --out runs/camvid-search \\
        --trials 40 --train.epochs 12

The space gives settings their ranges and choices:

    optimizer.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
    train.batch_size: {low: 2, high: 8, step: 2}
    data.size: {choices: [160x224, 192x256]}
    augmentation: {multiplies: [augment.brightness, augment.hue], low: 0, high: 2}

Each trial is a training of its own; the first has the config's own values. Those that learn worse than most are stopped
early. Whatever stops the search, the same command resumes it, and with more --trials it makes more of them.

Leaves in --out a run folder for each trial, trials.csv, best.yaml for python -m tfseg.train, and importance.png, the
figure of what mattered. Every setting of a training can follow, such as --train.epochs 12.
"""

import argparse
import math
import sys
from pathlib import Path

from tfseg.config.parse import parse_config
from tfseg.io import command


def parse_arguments(arguments: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Reads the command line; what it does not know are settings of the training."""
    parser = argparse.ArgumentParser(
        prog=command.program("tune"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, metavar="FILE.yaml", help="what all trials have in common")
    parser.add_argument("--space", required=True, metavar="FILE.yaml", help="what they differ in")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the search")
    parser.add_argument("--trials", type=int, default=40, help="in all, with those before (default: %(default)s)")
    parser.add_argument(
        "--parallel",
        type=int,
        default=1,
        metavar="N",
        help="trials at a time, each on its share of the cores; a GPU's memory must be enough for all (default: 1)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: %(default)s)")
    parser.add_argument(
        "--timeout", type=float, default=math.inf, metavar="MINUTES", help="ends the search after so long"
    )
    options, settings = parser.parse_known_args(arguments)
    if options.trials < 1 or options.seed < 0 or not options.timeout > 0:
        parser.error("--trials, --timeout: expected more than 0; --seed: 0 or more")
    return options, settings


def main(arguments: list[str] | None = None) -> None:
    from tfseg.tuning.search import search_settings  # here: --help answers without it

    options, settings = parse_arguments(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    program = command.program("tune")
    search_settings(
        parse_config(["--config", options.config, "--run_dir", str(options.out), *settings], program),
        options.space,
        options.out,
        trials=options.trials,
        parallel=options.parallel,
        minutes=options.timeout,
        seed=options.seed,
        command=[*program.split(), *words],
    )


if __name__ == "__main__":
    command.run(main)
