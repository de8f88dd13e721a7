"""Between gunicorn's event loop and the application: a thread is taken only for a request that is there as a whole."""

import asyncio
import io
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from tfseg.serving.connections import KEEP_ALIVE, Connection, Connections, Phase
from tfseg.serving.service import GONE, START
from tfseg.serving.uploads import Refused

DISCARD_SECONDS = 2.0
DAMAGED_SECONDS = 0.25  # before a damaged body is answered: who sends one after the other has fewer turns than others
LARGE = 2**20  # bytes of a body
LARGE_PER_SECOND = 16 * 2**20  # bytes of large bodies, for each core
Message = dict[str, Any]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]  # status, headers, content
Receive = Callable[[], Awaitable[Message]]


class Questions(Protocol):
    """What is asked of a request, given as its environment, before the application has it."""

    def wants_body(self, environ: dict) -> bool:
        """Whether its body is to be read."""
        ...

    def is_probe(self, environ: dict) -> bool:
        """Whether it asks how the service is, and is answered whatever all others wait for."""
        ...


class Body:
    """The body of a request, as WSGI has it."""

    def __init__(self, content: bytes = b"", error: Exception | None = None):
        """Takes what has come of it, and what reading raises after that, if it is not whole."""
        self._file, self.size, self.error = io.BytesIO(content), len(content), error

    def read(self, size: int = -1) -> bytes:
        """Reads up to so many bytes; none at the end."""
        content = self._file.read(size)
        if not content and self.error is not None:
            raise self.error
        return content


class Gate:
    """The ASGI application around a WSGI application."""

    def __init__(
        self,
        app: Callable,
        connections: Connections,
        routes: Questions,
        most_body: int,
        timeout: float,
        threads: int,
    ):
        """Takes an application.

        Args:
            app: of WSGI.
            connections: of the worker.
            routes: which of its requests have bodies, and which are probes.
            most_body: bytes of a body.
            timeout: seconds for a body to come, and for an answer to be taken.
            threads: requests that `app` handles at a time.
        """
        self.app, self.connections, self.routes = app, connections, routes
        self.most_body, self.timeout = most_body, timeout
        self.most_held, self.held = threads * most_body, 0
        self._next_large = 0.0  # when the next large body has its turn, by `time.monotonic`
        self._threads = ThreadPoolExecutor(threads, "request")
        self._probes = ThreadPoolExecutor(1, "probe")

    async def __call__(self, scope: Message, receive: Receive, send: Callable[[Message], Awaitable[None]]) -> None:
        """Handles a request."""
        connection = self.connections.find(scope["client"])
        if connection is None:
            return
        held = Held(self)
        try:
            answer = await self._handle(make_environ(scope), connection, receive, held)
            if answer is None:
                return  # the client is gone
            status, headers, content = answer
            connection.enter(Phase.ANSWER, self.timeout)
            if not held.add(len(content)):
                self.connections.shed(Phase.ANSWER, Phase.BODY)
            if ends := connection.is_last:
                headers.append((b"connection", b"close"))
            elif asks_to_stay(scope):
                headers.append((b"connection", b"keep-alive"))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": content})
        finally:
            held.release()
        if ends:
            connection.close()
        else:
            connection.enter(Phase.WAIT, 1 if connection.stopped.done() else KEEP_ALIVE)

    async def _handle(self, environ: dict, connection: Connection, receive: Receive, held: "Held") -> Answer | None:
        """Reads a request and calls the application; None if the client is gone."""
        body = await self._read(environ, connection, receive, held)
        if body is None:
            return None
        connection.enter(Phase.WORK)
        if body.size > LARGE and not await self._pace(body.size, environ[START] + self.timeout):
            body = Body(error=Refused(503, "too many large files at once"))
        environ["wsgi.input"], environ[GONE] = body, Future()
        threads = self._probes if self.routes.is_probe(environ) else self._threads
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, call, self.app, environ)
        except asyncio.CancelledError:  # by gunicorn: the client has hung up
            environ[GONE].set_result(None)
            raise

    async def _pace(self, size: int, deadline: float) -> bool:
        """Lets large bodies come one after the other, so that they leave time to small ones; false if not in time."""
        now = time.monotonic()
        begin = max(self._next_large, now)
        if begin > deadline:
            return False
        self._next_large = begin + size / (LARGE_PER_SECOND * (os.cpu_count() or 1))
        await asyncio.sleep(begin - now)
        return True

    async def _read(self, environ: dict, connection: Connection, receive: Receive, held: "Held") -> Body | None:
        """Reads the body; None if the client is gone."""
        deadline, pieces, size = environ[START] + self.timeout, [], 0
        if not self.routes.wants_body(environ) or int(environ.get("CONTENT_LENGTH", 0)) > self.most_body:
            await self._discard(connection, receive)
            return Body()
        try:
            while True:
                message = await receive_until(deadline, connection, receive)
                if message["type"] == "http.disconnect":
                    return None
                pieces.append(message["body"])
                size += len(message["body"])
                if size > self.most_body:
                    if message["more_body"]:
                        await self._discard(connection, receive)
                    break
                if not held.add(len(message["body"])) and not self.connections.shed(Phase.ANSWER, Phase.BODY):
                    return Body(error=Refused(503, "too much is read at once"))
                if not message["more_body"]:
                    break
        except TimeoutError as error:
            return Body(error=error)
        except EOFError:
            if connection.is_damaged or "CONTENT_LENGTH" not in environ:
                await asyncio.sleep(DAMAGED_SECONDS)
                return Body(error=OSError("damaged chunks"))
        return Body(b"".join(pieces))

    async def _discard(self, connection: Connection, receive: Receive) -> None:
        """Reads what is left of a body, within bounds: who sends it all first would find a broken connection else."""
        deadline, left = time.monotonic() + DISCARD_SECONDS, self.most_body
        try:
            while left > 0:
                message = await receive_until(deadline, connection, receive)
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
        except (TimeoutError, EOFError):
            return


class Held:
    """Bytes of one request and its answer that are in memory, as a part of those of all."""

    def __init__(self, gate: Gate):
        self._gate, self._size = gate, 0

    def add(self, size: int) -> bool:
        """Adds bytes; says whether all together are as few as they may be."""
        self._size += size
        self._gate.held += size
        return self._gate.held <= self._gate.most_held

    def release(self) -> None:
        """Gives them back."""
        self._gate.held -= self._size


async def receive_until(deadline: float, connection: Connection, receive: Receive) -> Message:
    """Waits for the next piece of a body; TimeoutError by the deadline, EOFError where no more can come."""
    task = asyncio.ensure_future(receive())
    await asyncio.wait(
        {task, connection.stopped},
        timeout=max(deadline - time.monotonic(), 0),
        return_when=asyncio.FIRST_COMPLETED,
    )
    if task.done():
        return task.result()
    task.cancel()
    raise EOFError if connection.stopped.done() else TimeoutError


def call(app: Callable, environ: dict) -> Answer:
    """Calls a WSGI application."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    answer = app(environ, lambda status, headers, error=None: started.append((status, headers)))
    try:
        content = b"".join(answer)
    finally:
        getattr(answer, "close", lambda: None)()
    status, headers = started[-1]
    return int(status[:3]), [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers], content


def asks_to_stay(scope: Message) -> bool:
    """Whether a client of HTTP/1.0 keeps its connection, as ab -k does, if the answer says so too."""
    asked = dict(scope["headers"]).get(b"connection", b"").strip().lower()
    return scope["http_version"] == "1.0" and asked == b"keep-alive"


def make_environ(scope: Message) -> dict[str, Any]:
    """Makes the environment of WSGI (PEP 3333) for a request, without its body."""
    path = urlsplit(scope["raw_path"]).path if scope["raw_path"][:1] != b"/" else scope["raw_path"]
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        START: time.monotonic(),
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        given = value.decode("latin-1")
        environ[key] = f"{environ[key]},{given}" if key in environ else given
    return environ
