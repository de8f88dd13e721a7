"""Keeps a port to this machine, where a library listens on every interface and offers no choice."""

import contextlib
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

LOOPBACK = b"lo"
DESCRIPTORS = Path("/proc/self/fd")


def describe_open_port(port: int) -> str:
    """What to know of a port at which one of TensorFlow's servers listens on every interface, in one line."""
    return (
        f"port {port} is open on every interface, without a key or encryption: whoever reaches it can read and write "
        "files as you; keep strangers out by a firewall or a network namespace, see docs/network.md"
    )


def is_this_machine(host: str) -> bool:
    """Whether a name or address, such as localhost, 127.0.0.1 or [::1], is this machine's for itself alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def keep_to_this_machine(port: int) -> bool:
    """Has a TCP port on which this process listens answer only what comes over the loopback interface.

    The port stays bound to every interface, but the kernel refuses what comes over others as if nothing listened.
    Connections that strangers made before this call are ended.

    Returns:
        Whether that was done: Linux can, from 5.7 on or as root, and no other system.
    """
    if not hasattr(socket, "SO_BINDTODEVICE") or not DESCRIPTORS.is_dir():
        return False
    with contextlib.ExitStack() as stack:
        ours = [stack.enter_context(one) for one in _sockets_of(port)]
        listening = [one for one in ours if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
        try:
            for one in listening:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, LOOPBACK)
        except OSError:
            return False
    for one in _sockets_of(port):
        with one:
            _end_if_a_stranger(one)
    return bool(listening)


def _sockets_of(port: int) -> Iterator[socket.socket]:
    """This process's TCP sockets at a local port, each to be closed, which leaves the library's own open."""
    for name in os.listdir(DESCRIPTORS):  # noqa: PTH208  # not entries, which are gone when one comes to look at them
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            found = socket.socket(fileno=os.dup(int(name)))
            internet = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
            if internet and found.getsockname()[1] == port:
                yield found
            else:
                found.close()


def _end_if_a_stranger(connection: socket.socket) -> None:
    """Ends a connection whose other end is not on this machine; a socket without another end stays as it is."""
    with contextlib.suppress(OSError):
        address = connection.getpeername()[0].removeprefix("::ffff:")
        if not is_this_machine(address):
            connection.shutdown(socket.SHUT_RDWR)
