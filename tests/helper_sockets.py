"""What processes have open to the network, as Linux and docs/network.md say it; a network with a stranger in it."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs/network.md"
LISTENING, ESTABLISHED, SYN_SENT = "0A", "01", "02"
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}

# Runs a command as root of a network of its own, with a second machine on it: $STRANGER goes before what runs there,
# and reaches the first at 10.9.0.1.
NETWORK = r"""
set -e
unshare --net sleep 120 & stranger=$!
trap 'kill $stranger' EXIT
while [ "$(readlink /proc/$stranger/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
export STRANGER="nsenter --target $stranger --net"
ip link set lo up
ip link add here type veth peer name there netns $stranger
ip addr add 10.9.0.1/24 dev here && ip link set here up
$STRANGER ip addr add 10.9.0.2/24 dev there && $STRANGER ip link set there up
"$@"
"""


def read_listeners() -> dict[str, tuple[str, str]]:
    """The guide's table: by a command, where it listens, and from where that is reached."""
    table = re.search(r"\| command \|.*\n\|---.*\n((?:\|.*\n)+)", GUIDE.read_text(encoding="utf-8"))[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0].strip("`"): (row[1].strip("`"), row[2]) for row in rows}


def run_beside_a_stranger(command: list) -> subprocess.CompletedProcess:
    """Runs a command as `NETWORK` says; skips where a user may make no namespaces."""
    new = ["unshare", "--map-root-user", "--net"]
    programs = all(map(shutil.which, ("unshare", "nsenter", "ip")))
    if not programs or subprocess.run([*new, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs Linux, iproute2, util-linux and namespaces of users")
    words = [*new, "sh", "-c", NETWORK, "sh", *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


def list_family(process: int) -> list[int]:
    """A process and all that come from it."""
    found = [process]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with_children = _read(children)
            found += [int(child) for child in with_children.split()]
    return found


def list_sockets(process: int) -> tuple[set[str], set[str]]:
    """Where a process and its children listen, as "127.0.0.1:80" or a path, and whom beyond this machine they call."""
    ours = set()
    for one in list_family(process):
        for descriptor in Path(f"/proc/{one}/fd").glob("*"):
            ours |= {_link(descriptor)}
    listening, called = set(), set()
    for name in ("tcp", "tcp6"):
        for line in _read(Path(f"/proc/{process}/net/{name}")).splitlines()[1:]:
            _, local, remote, state, *rest = line.split()
            if f"socket:[{rest[5]}]" not in ours:
                continue
            if state == LISTENING:
                listening.add(_address(local))
            elif state in (ESTABLISHED, SYN_SENT) and _address(remote).rpartition(":")[0] not in LOOPBACK:
                called.add(_address(remote))
    for line in _read(Path(f"/proc/{process}/net/unix")).splitlines()[1:]:
        _, _, _, flags, _, _, inode, *path = line.split()
        if int(flags, 16) & 0x10000 and f"socket:[{inode}]" in ours:  # it accepts connections
            listening.add(path[0] if path else "without a name")
    return listening, called


def watch(command: list, **options) -> tuple[set[str], set[str], str]:
    """Runs a command to its end and gives all that `list_sockets` saw of it, and its output.

    Args:
        command: what to run.
        options: of Popen, with cwd.
    """
    out = Path(options["cwd"]) / f"output-{time.monotonic_ns()}"
    listening, called = set(), set()
    deadline = time.monotonic() + 600
    with out.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, **options) as process:
        while process.poll() is None and time.monotonic() < deadline:
            for found, new in zip((listening, called), list_sockets(process.pid), strict=True):
                found |= new
            time.sleep(0.05)
        process.kill()
    return listening, called, out.read_text(errors="replace")


def own_address() -> str | None:
    """An address by which other machines reach this one; None: there is none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return probe.getsockname()[0]


def reaches(address: str, port: int) -> bool:
    """Whether something answers there."""
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True


def command(*words) -> list[str]:
    return [sys.executable, "-m", f"tfseg.{words[0]}", *map(str, words[1:])]


def options(folder: Path) -> dict:
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return {"cwd": folder, "env": {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def check_server(row, words, until, folder, default_port: str, wanted: str, ready: str | None = None) -> None:
    """Starts what listens, at a port of our own, and compares its sockets with its row.

    Args:
        row: of the table.
        words: of its command line, without the port.
        until: a pattern in its output, by which it is known to listen.
        folder: to start it in.
        default_port: which the table names.
        wanted: from where it is to be reached.
        ready: path that answers once all is loaded; None: it is not waited for.
    """
    address, reach = read_listeners()[row]
    port = free_port()
    assert address.endswith(f":{default_port}")
    expected = f"{address.strip('[]').removesuffix(f':{default_port}').strip('[]')}:{port}"
    process = subprocess.Popen(
        [*command(*words), "--port", str(port)], **options(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        lines = iter(process.stdout.readline, b"")
        assert any(re.search(until, line.decode()) for line in lines), "it ended before it listened"
        wait_for(lambda: list_sockets(process.pid)[0] and (not ready or answers(f"http://127.0.0.1:{port}{ready}")))
        assert list_sockets(process.pid) == ({expected}, set())
        assert reach.startswith(wanted)
        assert reaches("127.0.0.1", port)
        if outside := own_address():
            assert reaches(outside, port) == (wanted == "every machine")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_for(condition) -> None:
    """Waits up to a minute until something holds."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def answers(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as response:
        return response.status == 200
    return False


def _address(text: str) -> str:
    """What /proc writes as 0100007F:0050, as 127.0.0.1:80."""
    number, port = text.split(":")
    words = [bytes.fromhex(number[place : place + 8])[::-1] for place in range(0, len(number), 8)]
    kind = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return f"{socket.inet_ntop(kind, b''.join(words))}:{int(port, 16)}"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process is gone
        return ""


def _link(path: Path) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return ""
