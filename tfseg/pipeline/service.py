"""The servers of a tf.data service, which read and decode for a training on other processes or machines.

Each worker takes other shards of every pass, so workers must see the records under the same path as the training, and
run the same TensorFlow. A worker may come, leave or die at any time: the others continue.
"""

import socket
import urllib.parse


def start_dispatcher(port: int = 0, journal: str | None = None):
    """Starts the server that shares work out.

    Args:
        port: 0 takes a free one.
        journal: folder that keeps its state for the next start; None keeps nothing.

    Returns:
        `tf.data.experimental.service.DispatchServer`, whose `target` is its address.

    Raises:
        ValueError: the port is taken.
    """
    import tensorflow as tf

    if port:
        _check_free(port)
    service = tf.data.experimental.service
    return service.DispatchServer(
        service.DispatcherConfig(port=port, work_dir=journal, fault_tolerant_mode=journal is not None)
    )


def start_worker(dispatcher: str, host: str = "localhost", port: int = 0):
    """Starts a server that reads and decodes.

    Args:
        dispatcher: address of the dispatcher, such as grpc://localhost:5050.
        host: name or address by which trainings reach this machine.
        port: 0 takes a free one.

    Returns:
        `tf.data.experimental.service.WorkerServer`.

    Raises:
        ValueError: the port is taken, or nothing answers at the dispatcher's address.
    """
    import tensorflow as tf

    check_reachable(dispatcher)
    if port:
        _check_free(port)
    service = tf.data.experimental.service
    return service.WorkerServer(
        service.WorkerConfig(
            dispatcher_address=dispatcher.removeprefix("grpc://"), worker_address=f"{host}:%port%", port=port
        )
    )


def check_reachable(address: str, seconds: float = 10) -> None:
    """Tries whether something listens at an address, where TensorFlow would wait for an hour.

    Raises:
        ValueError: it is no address such as grpc://localhost:5050, or nothing answers.
    """
    parts = urllib.parse.urlsplit(address)
    if parts.scheme != "grpc" or not parts.port:
        raise ValueError(f"{address}: expected an address such as grpc://localhost:5050")
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=seconds).close()
    except OSError as error:
        raise ValueError(
            f"{address}: no tf.data service answers ({error}); "
            f"python -m tfseg.data_service dispatcher --port {parts.port} starts one"
        ) from None


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ValueError(f"port {port}: cannot be listened at ({error}); --port takes another") from None
