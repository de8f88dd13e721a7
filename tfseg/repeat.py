"""Trains a config with several seeds, and says what its scores are, and how far seeds and images move them.

    tfseg repeat --seeds 3 configs/camvid.yaml
    tfseg repeat --config configs/camvid.yaml --seeds 3 --train.epochs 12 --run_dir runs/camvid-12

Trains once for each seed, in a process of its own, into run_dir/seed-0, run_dir/seed-1 and so on; scores each at the
size of the ground truth; and writes repeat.json and repeat.md into run_dir: mean and standard deviation over seeds,
each seed's score, and a 95 % interval over seeds and images together. tfseg compare takes such folders.

Whatever stops it, the same command resumes it: seeds that have ended are not trained again, and more --seeds add to
them. A training that fails ends no other, and is tried again by the same command; the exit code is then 1. Every
setting of a training can follow; --overwrite true deletes the repeat that is in run_dir, and begins anew.
"""

import argparse
import re
import sys

from tfseg.config.parse import parse_config
from tfseg.io import command
from tfseg.io.escaping import printable


def parse_seeds(text: str) -> int | list[int]:
    """Reads "3", how many seeds, or "0,5,9", the seeds themselves."""
    if not re.fullmatch(r"[1-9][0-9]{0,2}|[0-9]{1,10}(,[0-9]{1,10})+", text):
        wanted = "how many, 1 to 999, or two or more seeds, such as 0,5,9"
        raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
    numbers = [int(word) for word in text.split(",")]
    return numbers if "," in text else numbers[0]


def parse_arguments(arguments: list[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Reads the command line; gives the settings of the training, --config FILE.yaml first, in the list."""
    parser = argparse.ArgumentParser(
        prog=command.program("repeat"),
        usage="%(prog)s [--seeds N] [--parallel N] [--config] FILE.yaml [--SETTING VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE.yaml", help="what all trainings have in common")
    parser.add_argument(
        "--seeds",
        type=parse_seeds,
        default=3,
        metavar="N",
        help="how many, counted from the config's own train.seed; or the seeds themselves, as 0,5,9 (default: 3)",
    )
    parser.add_argument(
        "--parallel",
        type=int,
        default=1,
        metavar="N",
        help="trainings at a time, each on its share of the cores; a GPU's memory must be enough for all (default: 1)",
    )
    options, settings = parser.parse_known_args(arguments)
    if settings and not settings[0].startswith("-"):
        if options.config:
            parser.error(f"expected one FILE.yaml, got {options.config} and {settings[0]}")
        options.config = settings.pop(0)
    return options, settings if options.config is None else ["--config", options.config, *settings]


def main(arguments: list[str] | None = None) -> None:
    options, settings = parse_arguments(arguments)
    config = parse_config(settings, command.program("repeat"))

    from tfseg.evaluation.repeat_report import lay_out  # here: --help answers without it
    from tfseg.runs.contents import PAGE, SUMMARY
    from tfseg.tuning.repeat import repeat_training

    report = repeat_training(config, options.seeds, options.parallel)
    for note in (note for evaluation in report.evaluations for note in evaluation.notes):
        print(printable(note), file=sys.stderr)
    paths = printable(f"{report.folder / SUMMARY}, {report.folder / PAGE}")
    print(f"\n{lay_out(report)}\n\nwritten: {paths}")
    if report.failures:
        sys.exit(1)


if __name__ == "__main__":
    command.run(main)
