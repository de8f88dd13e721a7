"""gunicorn around the service: one process holds the model, every request ends, a start that fails does so at once."""

import contextlib
import json
import logging
import math
import mmap
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

from gunicorn.app.base import BaseApplication
from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from tfseg.serving.logs import JsonLines

READY = b"ready"
STATUSES = {  # of what is no HTTP, or too much of it; 400 else
    errors.LimitRequestLine: (414, "URI Too Long"),
    errors.LimitRequestHeaders: (431, "Request Header Fields Too Large"),
    errors.ExpectationFailed: (417, "Expectation Failed"),
}


class Worker(ThreadWorker):
    """gunicorn's threads, which no client can hold for ever, and a port that is closed as soon as the end begins."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._handled: dict[TConn, float] = {}

    def handle(self, conn: TConn):
        """Handles the next request of a connection, in one of the threads."""
        self._handled[conn] = time.monotonic() + self.cfg.graceful_timeout
        try:
            return super().handle(conn)
        finally:
            del self._handled[conn]

    def notify(self) -> None:
        """Cuts off who sends or reads too slowly; the main loop comes here every second."""
        super().notify()
        now = time.monotonic()
        for conn, deadline in self._handled.copy().items():
            if now > deadline:
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def set_accept_enabled(self, enabled: bool | None) -> None:
        """Begins or ends to take connections."""
        super().set_accept_enabled(enabled)
        if not self.alive:  # gunicorn would leave the port open, with connections that nobody answers
            for listener in self.sockets:
                listener.close()

    def handle_error(self, req, client, addr, exc) -> None:
        """Answers what is no HTTP in the words of the service."""
        if not isinstance(exc, errors.ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status, title = STATUSES.get(type(exc), (400, "Bad Request"))
        content = json.dumps({"title": title, "status": status, "detail": "this is not HTTP as it is taken here"})
        head = f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        with contextlib.suppress(OSError):
            client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())


class Server(BaseApplication):
    """A main process that watches over one worker, which loads the model."""

    def __init__(
        self,
        listener: socket.socket,
        threads: int,
        timeout: float,
        create_app: Callable,
        load: Callable[[], Callable],
        work: Callable[[Callable], None],
        close: Callable[[], None],
    ):
        """Takes what is to be run.

        Args:
            listener: bound to its address.
            threads: requests at a time.
            timeout: seconds after which every request has had its answer, or is cut off.
            create_app: makes the WSGI application, given a function that says whether the service ends.
            load: loads the model and returns what `work` takes; what it raises ends the service.
            work: runs the model, until `close` was called.
            close: ends `work`.
        """
        self.listener, self.threads, self.timeout = listener, threads, timeout
        self.create_app, self.load_model, self.work, self.close = create_app, load, work, close
        self.worker: Worker | None = None
        self._fate = mmap.mmap(-1, 4096)  # of the model, known to both processes: READY, or why it does not load
        super().__init__()

    def load_config(self) -> None:
        """Passes it on to gunicorn."""
        settings = {
            "bind": f"fd://{self.listener.fileno()}",
            "workers": 1,
            "worker_class": Worker,
            "threads": self.threads,
            "worker_connections": 1000 + self.threads,
            "keepalive": 75,  # seconds; longer than load balancers keep a connection
            "timeout": 120,  # of the main loop, for which the import of TensorFlow leaves little room
            "graceful_timeout": math.ceil(self.timeout),
            "forwarded_allow_ips": "",  # no header is believed to come from a proxy
            "forwarder_headers": "",
            "control_socket_disable": True,
            "logconfig_dict": {
                "version": 1,
                "disable_existing_loggers": False,
                "formatters": {"json": {"()": JsonLines}},
                "handlers": {
                    name: {"class": "logging.StreamHandler", "formatter": "json", "stream": f"ext://sys.{name}"}
                    for name in ("stdout", "stderr")
                },
                "loggers": {
                    "gunicorn.error": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
                    "tfseg": {"level": "INFO", "handlers": ["stdout"], "propagate": False},
                },
                "root": {"level": "WARNING", "handlers": ["stderr"]},
            },
            "pre_fork": self._before_worker,
            "post_fork": self._in_worker,
            "child_exit": self._after_worker,
            "worker_exit": self._leave,
            "on_exit": self._end,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self):
        """Makes the application, in the worker, while the model loads in a thread of its own."""
        threading.Thread(target=self._run_model, name="model", daemon=True).start()
        return self.create_app(lambda: self.worker is not None and not self.worker.alive)

    @property
    def fate(self) -> bytes:
        """READY, why the model does not load, or nothing yet."""
        return self._fate[:].rstrip(b"\0")

    @fate.setter
    def fate(self, text: bytes) -> None:
        self._fate[:] = text[: len(self._fate)].ljust(len(self._fate), b"\0")

    def _run_model(self) -> None:
        try:
            classify = self.load_model()
        except Exception as error:  # whatever TensorFlow raises
            self.fate = (" ".join(str(error).split()) or repr(error)).encode()
            os.kill(os.getppid(), signal.SIGTERM)
            return
        self.fate = READY
        self.work(classify)

    def _before_worker(self, arbiter, worker) -> None:
        if self.fate == READY:  # that of a worker which is gone
            self.fate = b""

    def _in_worker(self, arbiter, worker) -> None:
        self.worker = worker

    def _leave(self, arbiter, worker) -> None:
        self.close()
        if worker.booted:
            logging.shutdown()
            os._exit(0)  # Python would take seconds to tear TensorFlow down, and its threads with it

    def _after_worker(self, arbiter, worker) -> None:
        if not self.fate and arbiter.LISTENERS:  # else the service ends anyway
            self.fate = b"the process that was to load the model died of it; is there memory enough?"
            os.kill(os.getpid(), signal.SIGTERM)

    def _end(self, arbiter) -> None:
        if self.fate not in (b"", READY):
            raise ValueError(self.fate.decode(errors="replace"))
