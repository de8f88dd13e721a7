"""gunicorn around the service: one process holds the model, every request ends, a start that fails does so at once."""

import asyncio
import logging
import math
import mmap
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

from gunicorn.app.base import BaseApplication
from gunicorn.workers.gasgi import ASGIWorker

from tfseg.serving.connections import KEEP_ALIVE, Connection, Connections
from tfseg.serving.logs import JsonLines

READY = b"ready"
BACKLOG = 1024  # connections that the system takes for us
AT_ONCE = 16  # of them that are accepted before the others have their turn
MOST_DRAIN = 8  # seconds from SIGTERM to the end; Docker and Cloud Run kill after 10
SWITCH_SECONDS = 0.001  # that a thread may keep Python from the others; 0.005 in Python itself
LAST_REQUESTS = 0.5  # of them, in which a connection may still ask
MOST_CONNECTIONS = 1000
SPARE_FILES = 128  # that are no connections: TensorFlow's, libraries that load late, the log
FEWEST_FILES = 2 * SPARE_FILES


def make_room() -> int:
    """Raises the limit of open files as far as this process may; returns how many connections fit below it.

    Raises:
        ValueError: hardly any do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_CONNECTIONS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < most:
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft != resource.RLIM_INFINITY and soft < FEWEST_FILES:
        raise ValueError(f"only {soft} files may be open at a time; the service takes {FEWEST_FILES}: ulimit -n 1024")
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(soft - SPARE_FILES, MOST_CONNECTIONS)


class Worker(ASGIWorker):
    """gunicorn's event loop, with connections that nobody can hold, and an end that is on time."""

    app: "Server"  # pyright: ignore[reportIncompatibleVariableOverride]
    loop: asyncio.AbstractEventLoop  # pyright: ignore[reportIncompatibleVariableOverride]

    async def _serve(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the main process hears it, and decides
        connections = self.app.connections
        listeners: list[socket.socket] = [listener.sock for listener in self.sockets]  # pyright: ignore[reportAttributeAccessIssue]
        servers = [
            await self.loop.create_server(lambda: Connection(self, connections), sock=listener, backlog=AT_ONCE)
            for listener in listeners
        ]
        for listener in listeners:
            listener.listen(BACKLOG)
        while self.alive and self.ppid == os.getppid():
            self._look_after(connections)
            await asyncio.sleep(0.1)
        end = time.monotonic() + self.cfg.graceful_timeout - 1  # the main process kills what is there after that
        for server in servers:
            server.close()
        await asyncio.sleep(LAST_REQUESTS)
        connections.close_idle()
        while len(connections) and time.monotonic() < end and not self._quick_shutdown:  # pyright: ignore[reportAttributeAccessIssue]
            self._look_after(connections)
            await asyncio.sleep(0.05)

    def _look_after(self, connections: Connections) -> None:
        self.notify()
        connections.sweep()


class Server(BaseApplication):
    """A main process that watches over one worker, which loads the model."""

    def __init__(
        self,
        listener: socket.socket,
        connections: Connections,
        timeout: float,
        create_app: Callable,
        load: Callable[[], Callable],
        work: Callable[[Callable], None],
        close: Callable[[], None],
    ):
        """Takes what is to be run.

        Args:
            listener: bound to its address.
            connections: of the worker.
            timeout: seconds after which every request has had its answer.
            create_app: makes the ASGI application, given a function that says whether the service ends.
            load: loads the model and returns what `work` takes; what it raises ends the service.
            work: runs the model, until `close` was called.
            close: ends `work`.
        """
        self.listener, self.connections, self.timeout = listener, connections, timeout
        self.create_app, self.load_model, self.work, self.close = create_app, load, work, close
        self.worker: Worker | None = None
        self._on_hang_up = signal.SIG_IGN if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else None
        self._fate = mmap.mmap(-1, 4096)  # of the model, known to both processes: READY, or why it does not load
        super().__init__()

    def load_config(self) -> None:
        """Passes it on to gunicorn."""
        settings = {
            "bind": f"fd://{self.listener.fileno()}",
            "workers": 1,
            "worker_class": Worker,
            "asgi_loop": "asyncio",
            "asgi_lifespan": "off",
            "asgi_disconnect_grace_period": 0,  # nobody works for who is gone
            "http_parser": "python",
            "keepalive": KEEP_ALIVE,
            "timeout": 120,  # of the event loop, for which the import of TensorFlow leaves little room
            "graceful_timeout": min(math.ceil(self.timeout), MOST_DRAIN),
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
            "when_ready": self._set_signals,
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

    def _set_signals(self, arbiter) -> None:
        """Has the end of a terminal end the service, unless nohup says otherwise; gunicorn would start more workers."""
        signal.signal(signal.SIGHUP, self._on_hang_up or (lambda _, frame: arbiter.signal(signal.SIGTERM, frame)))
        for number in (signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)

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
