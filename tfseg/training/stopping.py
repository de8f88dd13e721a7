"""How a training hears that it is to stop."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tfseg.training.console import Screen

PATIENCE = 5.0  # seconds that the second signal has to end the process as Python does


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
        with _heard_by_a_thread():
            yield stop
    finally:
        restore()


@contextmanager
def _heard_by_a_thread() -> Iterator[None]:
    """Ends the process on a second signal that Python does not hear, as while TensorFlow waits for data."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    if (others := signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)) != -1:
        signal.set_wakeup_fd(others)  # an event loop has it, as in a notebook
    ended = threading.Event()
    threading.Thread(target=_listen, args=(ours, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(others)
        theirs.close()  # which ends the thread


def _listen(signals: socket.socket, ended: threading.Event) -> None:
    count = 0
    with signals:
        while count < 2 and (heard := signals.recv(1)):
            count += heard[0] in (signal.SIGINT, signal.SIGTERM)
        if count == 2 and not ended.wait(PATIENCE):
            os._exit(130)
