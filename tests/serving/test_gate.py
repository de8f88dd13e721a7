"""The way from the event loop to the application, with fakes at both ends."""

import asyncio
import threading
import time

import pytest

pytest.importorskip("gunicorn")
pytest.importorskip("werkzeug")

from tfseg.serving import gate as module
from tfseg.serving.connections import Connections, Phase
from tfseg.serving.gate import Gate, make_environ
from tfseg.serving.service import GONE

SCOPE = {
    "method": "POST",
    "http_version": "1.1",
    "raw_path": b"/predict%20a/%C3%A9",
    "query_string": b"format=json",
    "server": ("127.0.0.1", 80),
    "client": ("127.0.0.1", 5),
    "headers": [(b"content-type", b"image/png"), (b"content-length", b"3"), (b"accept", b"a/b"), (b"accept", b"c/d")],
}


class FakeConnection:
    def __init__(self):
        self.peer, self.phases, self.is_damaged, self.is_last = SCOPE["client"], [], False, False
        self.since, self.phase = 0.0, Phase.BODY
        self.stopped = asyncio.get_running_loop().create_future()

    def enter(self, phase, seconds=0.0):
        self.phase = phase
        self.phases.append(phase)

    def abort(self):
        self.stopped.cancel()


def echo(environ, start_response):
    """A WSGI application that answers the body."""
    start_response("200 OK", [("A", "b")])
    return [environ["wsgi.input"].read()]


class FakeRoutes:
    def __init__(self, wants):
        self.wants = wants

    def wants_body(self, environ):
        return self.wants

    def is_probe(self, environ):
        return environ["PATH_INFO"] == "/probe"


def pass_on(*pieces, app=echo, ends=False, wants=True, scope=SCOPE, **settings):
    """Sends pieces of a body through a gate: what is sent back, the phases, and bytes that are held afterwards."""

    async def run():
        connections, sent, left = Connections(9, 1), [], list(pieces)
        connection = FakeConnection()
        connections.add(connection)
        gate = Gate(app, connections, FakeRoutes(wants), **{"most_body": 100, "timeout": 0.2, "threads": 2, **settings})

        async def receive():
            if not left:
                if ends:
                    connection.stopped.set_result(None)
                await asyncio.sleep(60)
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or ends}

        async def send(message):
            sent.append(message)

        await gate(scope, receive, send)
        return sent, connection.phases, gate.held

    return asyncio.run(run())


def test_a_body_in_pieces_reaches_the_application_as_a_whole():
    (start, answer), phases, held = pass_on(b"a", b"b", b"c")
    assert (start["status"], start["headers"], answer["body"]) == (200, [(b"A", b"b")], b"abc")
    assert phases == [Phase.WORK, Phase.ANSWER, Phase.WAIT] and held == 0


@pytest.mark.parametrize(
    ("version", "asked", "answered"),
    [
        ("1.0", b"Keep-Alive", [(b"connection", b"keep-alive")]),
        ("1.0", b"close", []),
        ("1.1", b"keep-alive", []),
    ],
)
def test_a_client_of_http_1_0_hears_that_its_connection_stays(version, asked, answered):
    scope = {**SCOPE, "http_version": version, "headers": [(b"connection", asked)]}
    assert pass_on(b"abc", scope=scope)[0][0]["headers"] == [(b"A", b"b"), *answered]


def test_a_body_that_ends_beyond_the_limit_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(module, "DISCARD_SECONDS", 60)
    assert pass_on(b"x" * 101)[0][0]["status"] == 200


@pytest.mark.parametrize(
    ("pieces", "settings", "raised"),
    [
        ([b"abc"], {"ends": True}, None),  # shorter than it says: what it holds
        ([b"x" * 60, b"x" * 60, b"x"], {"threads": 1, "most_body": 110}, None),  # too long: so much that it shows
        ([], {"timeout": 0.01}, TimeoutError),
        ([b"a"], {"wants": False}, None),
    ],
)
def test_bodies_that_are_none(pieces, settings, raised):
    seen = []

    def look(environ, start_response):
        start_response("400 BAD", [])
        try:
            seen.append(environ["wsgi.input"].read())
        except Exception as error:
            seen.append(type(error))
        return []

    assert pass_on(*pieces, app=look, **settings)[0][0]["status"] == 400
    assert seen == ([raised] if raised else [b"" if settings.get("wants") is False else b"".join(pieces[:2])])


def test_the_application_hears_that_a_client_hangs_up():
    began, heard = threading.Event(), []

    def wait(environ, start_response):
        began.set()
        heard.append(environ[GONE].result(timeout=20))
        start_response("200 OK", [])
        return []

    async def run():
        connections, bodies = Connections(9, 1), asyncio.Queue()
        connections.add(FakeConnection())
        bodies.put_nowait({"type": "http.request", "body": b"abc", "more_body": False})
        gate = Gate(wait, connections, FakeRoutes(True), most_body=100, timeout=5, threads=1)
        task = asyncio.ensure_future(gate(SCOPE, bodies.get, lambda message: pytest.fail("answered")))
        await asyncio.to_thread(began.wait, 20)
        task.cancel()  # as gunicorn does
        await asyncio.wait({task})
        gate._threads.shutdown()
        return task.cancelled()

    assert asyncio.run(run()) and heard == [None]


def test_large_bodies_wait_for_each_other(monkeypatch):
    monkeypatch.setattr(module.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(module, "LARGE_PER_SECOND", 1000)

    async def run():
        gate = Gate(echo, Connections(9, 1), FakeRoutes(True), most_body=100, timeout=1, threads=1)
        start = time.monotonic()
        let_in = [await gate._pace(100, start + 0.15) for _ in range(3)]
        return let_in, time.monotonic() - start

    let_in, took = asyncio.run(run())
    assert let_in == [True, True, False] and 0.1 <= took < 1


@pytest.mark.parametrize(("path", "pool"), [(b"/probe", "probe"), (b"/labels", "request")])
def test_probes_have_a_thread_of_their_own(path, pool):
    def name_thread(environ, start_response):
        start_response("200 OK", [])
        return [threading.current_thread().name.encode()]

    (_, answer), _, _ = pass_on(app=name_thread, wants=False, scope={**SCOPE, "raw_path": path})
    assert answer["body"].decode().startswith(pool)


def test_the_environment_of_a_request():
    environ = make_environ(SCOPE)
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/predict a/é"
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("image/png", "3")
    assert (environ["HTTP_ACCEPT"], environ["QUERY_STRING"]) == ("a/b,c/d", "format=json")
    assert make_environ({**SCOPE, "raw_path": b"http://there/labels"})["PATH_INFO"] == "/labels"
