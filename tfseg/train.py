"""python -m tfseg.train --config configs/X.yaml [--data.records DIR] [--train.epochs 3] ...

Trains a network on records, validates it between epochs, and leaves a run folder (see `runs.run_dir`) with a
SavedModel.
"""

import sys

from tfseg.config.parse import parse_config
from tfseg.io import command
from tfseg.io.escaping import printable


def main(arguments: list[str] | None = None) -> None:
    from tfseg.training.checkpoints import Stopped
    from tfseg.training.loop import train_run

    config = parse_config(arguments, command.program("train"))
    if config.quiet:
        command.be_quiet()
    try:
        train_run(config)
    except Stopped as stopped:
        print(f"{printable(stopped)}{', without overwrite' if config.overwrite else ''}")
        sys.exit(130)  # the shell's code for Ctrl-C


if __name__ == "__main__":
    command.run(main)
