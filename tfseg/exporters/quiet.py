"""Keeps what a library prints unasked from a terminal, and nothing that other threads print."""

import io
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO


class _OfOthers(io.TextIOBase):
    """A stream that drops what one thread writes, and passes on what others do."""

    def __init__(self, stream: TextIO):
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def keep_quiet() -> Iterator[None]:
    """Hides what this thread prints within the block.

    `logging.info` and its like install a handler of the root logger where there is none, which would go on to write
    into the stream of this block, and hide all that the program logs later. So it is taken out again.
    """
    out, err = _OfOthers(sys.stdout), _OfOthers(sys.stderr)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        for handler in [*logging.root.handlers]:
            if getattr(handler, "stream", None) is err:
                logging.root.removeHandler(handler)
