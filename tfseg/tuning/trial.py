"""python -m tfseg.tuning.trial --config TRIAL.yaml: a training that ends with the search or repeat that has started it.

Not for use by hand: its standard input is a pipe that nothing is written to. The system closes it when its starter
ends, even by `kill -9`, and the training then stops as by SIGTERM, to resume when its starter does.
"""

import os
import signal
import sys
import threading
import time

from tfseg.config.parse import parse_config
from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.training import checkpoints, loop

GRACE = 60  # seconds for a step, or a validation, to end


def main() -> None:
    stop_with_parent()
    try:
        loop.train_run(parse_config())
    except checkpoints.Stopped as stopped:
        print(printable(stopped))
        sys.exit(130)  # the shell's code for Ctrl-C


def stop_with_parent() -> None:
    """Has this process stopped when its standard input ends."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    os.read(0, 1)  # by sys.stdin it would hold a lock that Python asks for when it ends
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    command.run(main)
