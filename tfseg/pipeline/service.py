"""The servers of a tf.data service, which read and decode for a training on other processes or machines.

Each worker takes other shards of every pass, so workers must see the records under the same path as the training, and
run the same TensorFlow. A worker may come, leave or die at any time: the others continue.

Whoever reaches a dispatcher or worker can have it read and write any file that its user can: TensorFlow knows
neither keys nor encryption here, and listens on every interface. So each keeps to this machine unless its host
says otherwise.
"""

import socket
import time
import urllib.parse
from collections.abc import Callable
from typing import NamedTuple

from tfseg.io import command
from tfseg.io.sockets import describe_open_port, is_this_machine, keep_to_this_machine


class Server(NamedTuple):
    """A server that runs."""

    server: object  # `tf.data.experimental.service.DispatchServer` or `WorkerServer`
    port: int
    fenced: bool  # whether only this machine reaches it

    def stop(self) -> None:
        """Ends it."""
        self.server._stop()  # pyright: ignore[reportAttributeAccessIssue]

    def describe_reach(self) -> str:
        """Who can reach it, in one line."""
        if self.fenced:
            return f"port {self.port}: only this machine reaches it"
        return describe_open_port(self.port)


def start_dispatcher(port: int = 0, journal: str | None = None, host: str = "localhost") -> Server:
    """Starts the server that shares work out.

    Args:
        port: 0 takes a free one.
        journal: folder that keeps its state for the next start; None keeps nothing.
        host: name or address by which workers and trainings reach this machine; localhost keeps others out.

    Raises:
        ValueError: the port is taken.
    """
    import tensorflow as tf

    if port:
        _check_free(port)
    service = tf.data.experimental.service
    server = service.DispatchServer(
        service.DispatcherConfig(port=port, work_dir=journal, fault_tolerant_mode=journal is not None)
    )
    return _fence(server, host)


def start_worker(dispatcher: str, host: str = "localhost", port: int = 0) -> Server:
    """Starts a server that reads and decodes.

    Args:
        dispatcher: address of the dispatcher, such as grpc://localhost:5050.
        host: name or address by which trainings reach this machine; localhost keeps others out.
        port: 0 takes a free one.

    Raises:
        ValueError: the port is taken, or nothing answers at the dispatcher's address.
    """
    import tensorflow as tf

    check_reachable(dispatcher)
    if port:
        _check_free(port)
    service = tf.data.experimental.service
    server = service.WorkerServer(
        service.WorkerConfig(
            dispatcher_address=dispatcher.removeprefix("grpc://"), worker_address=f"{host}:%port%", port=port
        )
    )
    return _fence(server, host)


def check_reachable(address: str, seconds: float = 10) -> None:
    """Tries whether something listens at an address, where TensorFlow would wait for an hour.

    Raises:
        ValueError: it is no address such as grpc://localhost:5050, or nothing answers.
    """
    host, port = _split(address)
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError as error:
        remedy = "" if is_this_machine(host) else ", and there --host lets other machines in"
        raise ValueError(
            f"{address}: no tf.data service answers ({error}); "
            f"{command.program('data_service')} dispatcher --port {port} starts one{remedy}"
        ) from None


def await_dispatcher(address: str, seconds: float, say: Callable[[str], object]) -> None:
    """Waits until something listens at an address: a dispatcher that was started beside us takes some seconds.

    Args:
        address: of the dispatcher, such as grpc://localhost:5050.
        seconds: how long at most.
        say: called once, with the line that this waits.

    Raises:
        ValueError: as of `check_reachable`.
    """
    _split(address)
    end, has_said = time.monotonic() + seconds, False
    while True:
        try:
            return check_reachable(address)
        except ValueError:
            if time.monotonic() > end:
                raise
        if not has_said:
            say(f"{address}: waiting up to {seconds:.0f} s for the dispatcher")
        has_said = True
        time.sleep(0.2)


def _split(address: str) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme != "grpc" or not parts.port:
        raise ValueError(f"{address}: expected an address such as grpc://localhost:5050")
    return parts.hostname or "", parts.port


def _fence(server, host: str) -> Server:
    """Keeps a server that has just been started to this machine, if its host is for this machine alone."""
    port = int(server._address.rpartition(":")[2])
    return Server(server, port, is_this_machine(host) and keep_to_this_machine(port))


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ValueError(f"port {port}: cannot be listened at ({error}); --port takes another") from None
