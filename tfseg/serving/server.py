"""gunicorn around the service: workers that hold the model, requests that all end, starts that fail at once."""

import asyncio
import logging
import math
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
from tfseg.serving.shared import Fates

BACKLOG = 1024  # connections that the system takes for us
AT_ONCE = 16  # of them that are accepted before the others have their turn; one, where another worker may take the next
BEAT = 1.0  # seconds
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
    place: int
    """Among the workers, from 0; that of one which is gone is free again."""

    async def _serve(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the main process hears it, and decides
        connections, fates = self.app.connections, self.app.fates
        while self._is_wanted and fates.leaves_to_others(self.place):
            self.notify()
            await asyncio.sleep(0.05)
        listeners: list[socket.socket] = [listener.sock for listener in self.sockets]  # pyright: ignore[reportAttributeAccessIssue]
        at_once = AT_ONCE if fates.workers == 1 else 1
        servers = [
            await self.loop.create_server(lambda: Connection(self, connections), sock=listener, backlog=at_once)
            for listener in listeners
        ]
        for listener in listeners:
            listener.listen(BACKLOG)
        beat = 0.0
        while self._is_wanted:
            self._look_after(connections)
            if time.monotonic() > beat:
                self.app.on_beat()
                beat = time.monotonic() + BEAT
            await asyncio.sleep(0.1)
        end = time.monotonic() + self.cfg.graceful_timeout - 1  # the main process kills what is there after that
        for server in servers:
            server.close()
        await asyncio.sleep(LAST_REQUESTS)
        connections.close_idle()
        while len(connections) and time.monotonic() < end and not self._quick_shutdown:  # pyright: ignore[reportAttributeAccessIssue]
            self._look_after(connections)
            await asyncio.sleep(0.05)

    @property
    def _is_wanted(self) -> bool:
        return self.alive and self.ppid == os.getppid()

    def _look_after(self, connections: Connections) -> None:
        self.notify()
        connections.sweep()


class Server(BaseApplication):
    """A main process that watches over workers, each of which loads the model."""

    def __init__(
        self,
        listener: socket.socket,
        connections: Connections,
        timeout: float,
        create_app: Callable,
        load: Callable[[], Callable],
        work: Callable[[Callable], None],
        close: Callable[[], None],
        workers: int = 1,
        on_start: Callable[[int], None] = lambda place: None,
        on_beat: Callable[[], None] = lambda: None,
    ):
        """Takes what is to be run.

        Args:
            listener: bound to its address.
            connections: of a worker.
            timeout: seconds after which every request has had its answer.
            create_app: makes the ASGI application, given two functions: one says whether the service ends, one whether
                the model has been loaded in all workers.
            load: loads the model and returns what `work` takes; what it raises ends the service.
            work: runs the model, until `close` was called.
            close: ends `work`.
            workers: processes that hold the model.
            on_start: called in each with its place among them, from 0, before it makes the application.
            on_beat: called in each every second.
        """
        self.listener, self.connections, self.timeout = listener, connections, timeout
        self.create_app, self.load_model, self.work, self.close = create_app, load, work, close
        self.worker: Worker  # that a process is
        self._on_hang_up = signal.SIG_IGN if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else None
        self.fates, self.on_start, self.on_beat = Fates(workers), on_start, on_beat
        super().__init__()

    def load_config(self) -> None:
        """Passes it on to gunicorn."""
        settings = {
            "bind": f"fd://{self.listener.fileno()}",
            "workers": self.fates.workers,
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
        """Makes the application, in a worker, while the model loads in a thread of its own."""
        threading.Thread(target=self._run_model, args=(self.worker.place,), name="model", daemon=True).start()
        return self.create_app(lambda: not self.worker.alive, lambda: self.fates.have_begun)

    def _run_model(self, place: int) -> None:
        try:
            classify = self.load_model()
        except Exception as error:  # whatever TensorFlow raises
            self.fates.fail(place, " ".join(str(error).split()) or repr(error))
            os.kill(os.getppid(), signal.SIGTERM)
            return
        self.fates.succeed(place)
        self.work(classify)

    def _set_signals(self, arbiter) -> None:
        """Has the end of a terminal end the service, unless nohup says otherwise; gunicorn would start more workers."""
        signal.signal(signal.SIGHUP, self._on_hang_up or (lambda _, frame: arbiter.signal(signal.SIGTERM, frame)))
        for number in (signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)

    def _before_worker(self, arbiter, worker) -> None:
        taken = {other.place for other in arbiter.WORKERS.values()}
        worker.place = next(place for place in range(self.fates.workers) if place not in taken)
        self.fates.begin(worker.place)

    def _in_worker(self, arbiter, worker) -> None:
        self.worker = worker
        self.on_start(worker.place)

    def _leave(self, arbiter, worker) -> None:
        self.close()
        if worker.booted:
            logging.shutdown()
            os._exit(0)  # Python would take seconds to tear TensorFlow down, and its threads with it

    def _after_worker(self, arbiter, worker) -> None:
        if not self.fates.is_known(worker.place) and arbiter.LISTENERS:  # else the service ends anyway
            self.fates.fail(worker.place, "the process that was to load the model died of it; is there memory enough?")
            os.kill(os.getpid(), signal.SIGTERM)

    def _end(self, arbiter) -> None:
        if self.fates.error:
            raise ValueError(self.fates.error)
