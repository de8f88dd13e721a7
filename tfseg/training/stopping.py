"""How a training hears that it is to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tfseg.training.console import Screen


@contextmanager
def stoppable(screen: Screen) -> Iterator[threading.Event]:
    """Gives an event that the first Ctrl-C or SIGTERM sets; the second one ends the process at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main one hears signals
        return

    def ask(*_) -> None:
        stop.set()
        restore()
        screen.interrupt("stopping after this step, or its epoch's validation; once more stops at once")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        restore()
