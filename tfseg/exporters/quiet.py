"""Keeps what a library prints unasked from a terminal, and nothing that other threads print."""

import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast


class _OfOthers:
    """A stream that drops what one thread writes as text, and is that of all others as it is."""

    def __init__(self, stream: TextIO):
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def keep_quiet() -> Iterator[None]:
    """Hides what this thread prints within the block.

    `logging.info` and its like install a handler of the root logger where there is none, which would go on to write
    into the stream of this block, and hide all that the program logs later. So it is taken out again.
    """
    out, err = (cast(TextIO, _OfOthers(stream)) for stream in (sys.stdout, sys.stderr))
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        for handler in [*logging.root.handlers]:
            if getattr(handler, "stream", None) is err:
                logging.root.removeHandler(handler)
