"""A port that is kept to this machine, tried by a stranger in a network of its own."""

import socket
import sys

import pytest
from helper_sockets import run_beside_a_stranger

from tfseg.io import sockets

# A server that listens on every interface, as TensorFlow's do, and what becomes of those who call it.
SERVER = """
import os, socket, subprocess, sys
from tfseg.io.sockets import keep_to_this_machine

server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
port = server.getsockname()[1]
CALL = "import socket, sys; s = socket.create_connection(('10.9.0.1', int(sys.argv[1])), 5); print('in', flush=True); "
stranger = [*os.environ["STRANGER"].split(), sys.executable, "-c"]
early = subprocess.Popen([*stranger, CALL + "print(s.recv(1) == b'', flush=True)", str(port)], stdout=subprocess.PIPE)
print(early.stdout.readline().strip() == b"in")
held, _ = server.accept()
print(keep_to_this_machine(port), keep_to_this_machine(1))
print(early.communicate(timeout=10)[0].strip() == b"True", "is cut off")
late = subprocess.run([*stranger, CALL, str(port)], capture_output=True, text=True)
print("Connection refused" in late.stderr)
for address in ("127.0.0.1", "::1"):
    socket.create_connection((address, port), 5).close()
"""


def test_a_stranger_is_refused():
    done = run_beside_a_stranger([sys.executable, "-c", SERVER])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["True", "True False", "True is cut off", "True"]


def test_no_other_system_can(monkeypatch):
    monkeypatch.delattr(socket, "SO_BINDTODEVICE", raising=False)
    with socket.create_server(("localhost", 0)) as server:
        assert not sockets.keep_to_this_machine(server.getsockname()[1])


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_names_of_this_machine(host):
    assert sockets.is_this_machine(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "node0", "localhost.example.com", "10.0.0.1", "fd00::1"])
def test_names_that_others_know(host):
    assert not sockets.is_this_machine(host)
