"""What the service does with those who mean it no good, and with HTTP as nobody should speak it."""

import json
import re
import signal
import socket
import time
from contextlib import suppress

import pytest

pytest.importorskip("flask")
pytest.importorskip("gunicorn")
pytest.importorskip("prometheus_client")

from helper_files import MASK, PNG, pixels_of
from helper_models import write_model

from benchmarks.bench_serve import Service

POST = b"POST /predict HTTP/1.1\r\nHost: here\r\n"
WHOLE = POST + b"Content-Length: %d\r\n\r\n" % len(PNG) + PNG


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("serve") / "model")


@pytest.fixture(scope="module")
def service(model):
    started = Service(model, ["--timeout", "3"], ("sh", "-c", 'ulimit -n 300; exec "$@"', "sh"))
    yield started
    started.stop()


def connect(service):
    return socket.create_connection(("127.0.0.1", service.port), timeout=30)


def all_of(connection):
    """All that comes until the service ends the connection."""
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer


def answers(content):
    """Statuses of the answers that came one after the other."""
    return [int(status) for status in re.findall(rb"HTTP/1\.\d (\d{3}) ", content)]


@pytest.mark.long
def test_more_silent_connections_than_files(service):
    """300 of them, at a limit of 300 files: health and masks as before, and the first who came had to go."""
    held = [connect(service) for _ in range(300)]
    for connection in held[:200]:
        connection.sendall(POST if connection.fileno() % 2 else POST + b"Content-Length: 9\r\n\r\n")
    start = time.monotonic()
    while service.ask("/healthz")[0] != 200:
        time.sleep(0.02)
    assert time.monotonic() - start < 5
    assert service.ask("/predict", PNG)[0] == 200
    assert service.metric("tfseg_connections") <= 300 - 128
    assert service.metric(r'tfseg_connections_cut_total{reason="full"}') > 100
    for connection in held:
        connection.close()


@pytest.mark.long
def test_a_body_that_does_not_come(service):
    with connect(service) as connection:
        connection.sendall(POST + b"Content-Length: 99\r\n\r\nabc")
        head, _, content = connection.recv(65536).partition(b"\r\n\r\n")
        assert answers(head) == [408] and json.loads(content)["detail"] == "the body did not come in time"
        assert connection.recv(1) == b""


def test_a_million_chunks_of_a_byte_are_not_read(service):
    with connect(service) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n\xff\r\n" * 4000)
        assert answers(connection.recv(65536)) == [400]


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /labels HTTP/1.1\r\n\r\n", [400]),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", [400]),
        (POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", [400]),
        (POST + b"Content-Length: +4\r\n\r\nabcd", [400]),
        (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabcd", [400]),
        (POST + b"Content-Length: " + b"9" * 4000 + b"\r\n\r\nabcd", [413]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n", [400]),
        (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", [400]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0;" + b"a" * 20_000 + b"\r\n\r\n", [400]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 1000 + b"\r\n", [400]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\n\r\n", [400]),
        (POST + b"A: b\r\n" * 1000 + b"\r\n", [431]),
        (POST + (b"A: " + b"b" * 7000 + b"\r\n") * 10, [431]),
        (b"GET /labels?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: here\r\n\r\n", [414]),
        (b"GET /labels HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n", [400]),
        (b"GET http://here/labels HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n", [200]),
        (b"GET /labels HTTP/1.0\r\n\r\n", [200]),
        (b"GET /labels HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /labels HTTP/1.0\r\n\r\n", [200, 200]),
        (
            b"GET /labels HTTP/1.1\r\nHost: here\r\n\r\n" * 2 + WHOLE + b"GET /no HTTP/1.1\r\n\r\n!",
            [200, 200, 200, 404],
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)), [400]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
        (b"GET /labels HTTP/1.1\r\nHost: here\r\nX-API-KEY: a\r\nX_API_KEY: b\r\nConnection: close\r\n\r\n", [200]),
        (
            b"GET /labels HTTP/1.1\r\nHost: here\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            [400],
        ),
    ],
)
def test_http_as_nobody_should_speak_it(service, sent, statuses):
    with connect(service) as connection:
        connection.sendall(sent)
        with suppress(OSError):  # it may have been answered and closed already
            connection.shutdown(socket.SHUT_WR)
        content = all_of(connection)
    assert answers(content)[: len(statuses)] == statuses
    assert b"Traceback" not in content


def test_who_waits_to_be_asked_for_the_body(service):
    with connect(service) as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(PNG))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PNG)
        head, _, content = connection.recv(65536).partition(b"\r\n\r\n")
        assert answers(head) == [200] and pixels_of(content).tolist() == MASK


def test_who_hangs_up_costs_the_others_nothing(service):
    for sent in (b"", POST, WHOLE[:-9], WHOLE):
        with connect(service) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
            connection.sendall(sent)
    assert service.ask("/predict", PNG)[0] == 200


def test_silent_connections_do_not_hold_the_end_up(service):
    with connect(service), connect(service) as half:
        half.sendall(POST[:20])
        assert service.ask("/healthz")[0] == 200
        start = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=30) == 0
        assert time.monotonic() - start < 6
