"""The service as a process: gunicorn, a model, signals."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("flask")
pytest.importorskip("gunicorn")
pytest.importorskip("prometheus_client")

from helper_files import MASK, PIXELS, PNG, file_of, pixels_of
from helper_models import write_model

from benchmarks.bench_serve import Service
from benchmarks.fuzz_serve import fuzz, protocol_request, request
from tfseg.inference.predictor import Predictor
from tfseg.serving import connections, gate, launcher

POST = b"POST /predict HTTP/1.1\r\nHost: here\r\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("serve") / "model")


@pytest.fixture(scope="module")
def service(model):
    started = Service(model, ["--timeout", "10", "--max-batch", "2"])
    yield started
    started.stop()


def raw(service, *parts):
    """Sends bytes as they are: status and content of the answer."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


@pytest.mark.long
def test_an_image_becomes_its_mask(service, model):
    large = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    for image in (PIXELS, large):
        status, content = service.ask("/predict", file_of(image))
        assert status == 200
        np.testing.assert_array_equal(pixels_of(content), Predictor(model)(image[np.newaxis])[0])


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (POST + b"Content-Length: 100\r\n\r\nabc", 400, "ended after 3 of 100 bytes"),
        (POST + b"Content-Length: 99999999999999\r\n\r\nabc", 413, "more than"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "not what its headers say"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc", 400, "not what its headers say"),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400, "not HTTP"),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400, ""),
        (POST + b"\r\n", 400, "empty"),
        (POST + b"A: " + b"a" * 9000 + b"\r\n\r\n", 431, "not HTTP"),
        (b"hello\r\n\r\n", 400, "not HTTP"),
    ],
)
def test_what_is_no_proper_http(service, sent, status, reason):
    answered, content = raw(service, sent)
    assert answered == status and reason in json.loads(content)["detail"]


def test_chunks_without_a_length(service):
    status, content = raw(service, POST, b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(PNG), PNG, b"\r\n0\r\n\r\n")
    assert status == 200 and pixels_of(content).tolist() == MASK


def test_who_sends_too_much_first_still_sees_the_answer(service):
    for path, status in (("/predict", 413), ("/nothing", 404)):
        assert service.ask(path, bytes(64 * 2**20))[0] == status


@pytest.mark.long
def test_who_never_ends_sending_too_much_is_cut_off(service, monkeypatch):
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(POST + b"Content-Length: 99999999999999\r\n\r\n")
        with pytest.raises(ConnectionError):
            while True:
                connection.sendall(bytes(2**20))
    assert time.monotonic() - start < 2 * (gate.DISCARD_SECONDS + connections.LINGER)


@pytest.mark.parametrize("make", [request, protocol_request])
def test_a_little_fuzz(service, make):
    statuses = fuzz(service.port, range(300), make=make)
    assert statuses[200] and not [status for status in statuses if status >= 500]
    assert service.ask("/predict", PNG)[0] == 200


def test_sigterm_finishes_what_is_accepted_and_takes_nothing_new(service):
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(PNG) + PNG[:20])
        assert service.ask("/healthz")[0] == 200  # taken after the other connection, which is accepted by now
        service.process.send_signal(signal.SIGTERM)
        while True:
            try:
                socket.create_connection(("127.0.0.1", service.port)).close()
            except ConnectionError:
                break
        connection.sendall(PNG[20:])
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 200 and pixels_of(answer.read()).tolist() == MASK
    assert service.process.wait(timeout=30) == 0


SCRIPT = """
import os, signal, time
from tfseg.io import command
from tfseg.serving import launcher, server
from tfseg.serving.connections import Connections

def load():
    {load}

listener = launcher.listen("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
command.run(server.Server(
    listener, Connections(9, 1), 1.0, lambda *_: None, load, lambda classify: time.sleep(60), lambda: None
).run)
"""


def start(load):
    """Starts a server without a model, whose requests have a second."""
    command = [sys.executable, "-c", SCRIPT.format(load=load)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ("raise ValueError('the SavedModel\\nis damaged')", "error: the SavedModel is damaged"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "error: the process that was to load the model died of it"),
    ],
)
def test_a_model_that_does_not_load_ends_the_service(load, words):
    process = start(load)
    _, errors = process.communicate(timeout=60)
    errors = [line for line in errors.splitlines() if not line.startswith("{")]  # gunicorn's own are JSON
    assert process.returncode == 1 and len(errors) == 1 and words in errors[0]


@pytest.mark.slow
def test_who_sends_too_slowly_is_cut_off():
    with start("pass") as process:
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"GET / HT")
            assert connection.recv(1) == b""
        process.terminate()
        assert process.wait(timeout=30) == 0


@pytest.mark.slow
def test_a_worker_that_dies_later_is_replaced():
    with start("print(os.getpid(), flush=True)") as process:
        process.stdout.readline()
        first = int(process.stdout.readline())
        time.sleep(1)  # until it is ready
        os.kill(first, signal.SIGKILL)
        assert int(process.stdout.readline()) != first
        process.terminate()
        assert process.wait(timeout=30) == 0


@pytest.mark.long
@pytest.mark.parametrize(("ignored", "ends"), [(False, True), (True, False)])
def test_sighup_ends_the_service_unless_it_was_started_by_nohup(ignored, ends):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        started = start("pass")
    finally:
        signal.signal(signal.SIGHUP, before)
    with started as process:
        process.stdout.readline()
        time.sleep(1)  # until it is ready
        for number in (signal.SIGUSR2, signal.SIGTTIN, signal.SIGHUP):  # the former would start others beside it
            process.send_signal(number)
        if not ends:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=2)
            process.terminate()
        assert process.wait(timeout=30) == 0


def test_a_port_that_is_taken():
    with launcher.listen("127.0.0.1", 0) as taken, pytest.raises(ValueError, match="cannot be listened at"):
        launcher.listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("port", [-1, 65536, 70_000])
def test_no_other_port_than_the_one_that_is_asked_for(port):
    with pytest.raises(ValueError, match=rf"expected a port in 0\.\.65535, got {port}"):
        launcher.listen("127.0.0.1", port)


def test_a_model_is_known_by_its_bytes(model, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"a")
    first = launcher.model_id(tmp_path)
    assert first.startswith(f"{tmp_path.name}-") and launcher.model_id(tmp_path) == first
    (tmp_path / "saved_model.pb").write_bytes(b"b")
    assert launcher.model_id(tmp_path) != first
    with pytest.raises(FileNotFoundError, match=r"saved_model\.pb is missing"):
        launcher.model_id(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("folder", "wanted", "named"),
    [
        ("city", None, ("city", "1")),
        ("city/3", None, ("city", "3")),
        ("city/3", "street", ("street", "3")),
        ("city/0003", None, ("city", "3")),
        ("my city", None, ("my_city", "1")),
    ],
)
def test_the_name_and_version_of_a_folder(tmp_path, folder, wanted, named):
    assert launcher.choose_name(tmp_path / folder, wanted) == named
