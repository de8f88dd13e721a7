"""Two real worker processes, one of which is killed on the way."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from helper_pipeline import train_batches

from tfseg.pipeline import service as data_service


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tfseg.data_service", *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.fixture
def service():
    """A dispatcher and two workers: address, processes."""
    processes = [start("dispatcher", "--port", "0")]
    try:
        address = re.fullmatch(r"dispatcher at (grpc://\S+)\n", processes[0].stdout.readline())[1]
        processes += [start("worker", "--dispatcher", address) for _ in range(2)]
        assert [worker.stdout.readline() for worker in processes[1:]] == [f"worker of {address}\n"] * 2
        yield address, processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()


def pixels_of(batch: dict) -> list[bytes]:
    return [image.tobytes() + mask.tobytes() for image, mask in zip(batch["image"], batch["mask"], strict=True)]


@pytest.mark.long
def test_two_workers_one_killed_on_the_way(tiny_records, service, monkeypatch):
    address, (dispatcher, first, second) = service
    monkeypatch.chdir(tiny_records.parent)  # the workers are elsewhere
    settings = {"size": (12, 16), "batch_size": 4, "fit": "crop", "seed": 3, "shuffle_buffer": 10}
    own = train_batches(tiny_records.name, "train", **settings).take(40 * 5)  # so many passes are not reached
    expected = {image for batch in own.as_numpy_iterator() for image in pixels_of(batch)}

    stream = train_batches(tiny_records.name, "train", **settings, service=address).as_numpy_iterator()
    before = [image for _ in range(10) for image in pixels_of(next(stream))]
    first.kill()
    first.wait()
    after = [image for _ in range(30) for image in pixels_of(next(stream))]
    assert second.poll() is None and dispatcher.poll() is None
    assert len(set(before)) > 20 and len(set(after)) > 20  # of 20 images, in several passes
    assert set(before + after) <= expected  # the crops of a pass are the same, whoever cuts them

    for process in (second, dispatcher):
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_nothing_answers(tiny_records):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"grpc://localhost:{free.getsockname()[1]}"
    with pytest.raises(
        ValueError, match=rf"^{address}: no tf.data service answers .* dispatcher --port \d+ starts one$"
    ):
        train_batches(tiny_records, "train", size=(8, 8), batch_size=2, service=address)
    with pytest.raises(ValueError, match="expected an address such as grpc://localhost:5050"):
        data_service.check_reachable("localhost:5050")


def test_a_worker_waits_for_a_dispatcher_that_starts_beside_it(monkeypatch):
    tries, said = iter([OSError("Connection refused"), OSError("Connection refused"), None]), []

    def connect(*_, **__):
        if error := next(tries):
            raise error
        return socket.socket()

    monkeypatch.setattr(data_service.socket, "create_connection", connect)
    data_service.await_dispatcher("grpc://node0:5050", 60, said.append)
    assert said == ["grpc://node0:5050: waiting up to 60 s for the dispatcher"] and not [*tries]
    with pytest.raises(ValueError, match="expected an address such as"):
        data_service.await_dispatcher("node0:5050", 60, said.append)


def test_another_machine_may_have_to_be_asked_to_let_in(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionRefusedError("Connection refused")

    monkeypatch.setattr(data_service.socket, "create_connection", refuse)
    remedy = r"dispatcher --port 5050 starts one, and there --host lets other machines in$"
    with pytest.raises(ValueError, match=remedy):
        data_service.check_reachable("grpc://node0:5050")


@pytest.mark.parametrize(
    ("fenced", "words"),
    [(True, "port 5050: only this machine reaches it"), (False, "port 5050 is open on every interface, without a key")],
)
def test_who_reaches_a_server(fenced, words):
    assert data_service.Server(None, 5050, fenced).describe_reach().startswith(words)


def test_help_says_what_strangers_could_do():
    done = subprocess.run([sys.executable, "-m", "tfseg.data_service", "--help"], capture_output=True, text=True)
    assert "can read and write files as its user" in " ".join(done.stdout.split())


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"^port {port}: cannot be listened at"):
            data_service.start_dispatcher(port)
