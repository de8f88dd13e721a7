"""Connections that nobody can hold for ever, and that make room for others when there are too many of them.

All of this runs in the one thread of gunicorn's event loop: a connection that waits costs a place, but no thread.
"""
# gunicorn carries no types:
# pyright: reportAttributeAccessIssue=false

import asyncio
import enum
import json
import math
import time
from collections.abc import Callable
from http import HTTPStatus

from gunicorn.asgi.parser import ParseError
from gunicorn.asgi.protocol import ASGIProtocol

FIRST_BYTE = 10.0  # seconds from the start of a connection to the first byte of a request
HEAD = 10.0  # seconds from there to the end of its headers
LINGER = 5.0  # seconds after an answer in which the rest of a body may come that nobody reads
KEEP_ALIVE = 75  # seconds to the next request; longer than load balancers keep a connection
PATIENCE = 0.25  # seconds of any wait that nobody is cut off for, however full it is
MOST_HEAD = 64 * 1024  # bytes of a request's headers
FREE_CHUNKS, SMALLEST_CHUNK = 200, 64  # of a body; after so many, bytes that each must bring on average
NOT_HTTP = "this is not HTTP as it is taken here"


class Phase(enum.Enum):
    """What is waited for on a connection."""

    WAIT = "a request"
    HEAD = "the rest of its headers"
    BODY = "its body"
    WORK = "our answer"
    ANSWER = "the client, who reads it"
    LINGER = "the client, who sends what nobody reads"


class Connections:
    """All open connections of a worker."""

    def __init__(self, most: int, body_seconds: float, on_cut: Callable[[str], None] = lambda reason: None):
        """Begins without any.

        Args:
            most: connections at a time.
            body_seconds: from the end of a request's headers to that of its body.
            on_cut: called with "slow" or "full" for each that is cut off.
        """
        self.most, self.body_seconds, self.on_cut = most, body_seconds, on_cut
        self._by_peer: dict[tuple, Connection] = {}

    def __len__(self) -> int:
        return len(self._by_peer)

    def find(self, peer: tuple) -> "Connection | None":
        """Finds the connection of a client, (host, port), unless it has ended."""
        return self._by_peer.get(tuple(peer))

    def add(self, connection: "Connection") -> None:
        """Takes a new connection in; if there is no place, the one that has been waited for longest loses its own."""
        if len(self) < self.most or self.shed(Phase.WAIT, Phase.HEAD, Phase.BODY, Phase.ANSWER, Phase.LINGER):
            self._by_peer[connection.peer] = connection
        else:
            self._cut(connection, "full")

    def remove(self, connection: "Connection") -> None:
        """Forgets a connection that has ended."""
        if self._by_peer.get(connection.peer) is connection:
            del self._by_peer[connection.peer]

    def shed(self, *phases: Phase) -> bool:
        """Cuts off the connection that has been in one of these phases for longest; false if none has been for long."""
        waiting = (connection for connection in self._by_peer.values() if connection.phase in phases)
        oldest = min(waiting, key=lambda connection: connection.since, default=None)
        if oldest is None or time.monotonic() - oldest.since < PATIENCE:
            return False
        self._cut(oldest, "full")
        return True

    def sweep(self) -> None:
        """Cuts off who is too slow."""
        now = time.monotonic()
        for connection in [*self._by_peer.values()]:
            if connection.deadline < now and connection.phase is Phase.LINGER:  # it has its answer
                connection.abort()
            elif connection.deadline < now:
                self._cut(connection, "slow")

    def close_idle(self) -> None:
        """Closes connections that have asked nothing yet, or have their answer."""
        for connection in [*self._by_peer.values()]:
            if connection.phase in (Phase.WAIT, Phase.HEAD, Phase.LINGER):
                connection.abort()

    def _cut(self, connection: "Connection", reason: str) -> None:
        self.remove(connection)
        self.on_cut(reason)
        connection.abort()


class Connection(ASGIProtocol):
    """gunicorn's connection, which knows what it waits for, since when and until when.

    Attributes:
        peer: (host, port) of the client.
        phase: what it waits for.
        since: when that began, by `time.monotonic`.
        deadline: when that must end.
        stopped: done once no more of a body can come: the client has ended its side, or the body is damaged.
        is_damaged: whether the body is not what its headers say.
    """

    def __init__(self, worker, connections: Connections):
        super().__init__(worker)
        self._connections = connections
        self.peer: tuple = ()
        self._out: asyncio.Transport
        self.stopped = worker.loop.create_future()
        self.is_damaged = False
        self.enter(Phase.WAIT, FIRST_BYTE)

    def enter(self, phase: Phase, seconds: float = math.inf) -> None:
        """Begins a phase that may take so long."""
        self.phase, self.since = phase, time.monotonic()
        self.deadline = self.since + seconds
        self._pieces = self._bytes = 0

    @property
    def is_last(self) -> bool:
        """Whether the client has ended its side, and has sent no request behind the one that is answered."""
        return self.stopped.done() and not self._callback_parser.remaining()

    def abort(self) -> None:
        """Ends at once, whatever is under way."""
        self._out.abort()

    def close(self) -> None:
        """Ends once the client has what was written."""
        self._out.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begins."""
        self._out = transport
        self.peer = tuple(transport.get_extra_info("peername")[:2])
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc) -> None:
        """Ends."""
        self._connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hears from the client."""
        if self.phase is Phase.LINGER:
            return
        if self.phase is Phase.WAIT:
            self.enter(Phase.HEAD, HEAD)
        if self.phase is Phase.HEAD:
            self._bytes += len(data)
        if self.is_damaged or self._out.is_closing():
            return
        try:
            super().data_received(data)
        except ValueError:  # of numbers with thousands of digits
            self._send_error_response(400, NOT_HTTP)
            self._close_transport()
        if self.phase is Phase.HEAD and self._bytes > MOST_HEAD:
            self._send_error_response(431, NOT_HTTP)
            self._close_transport()

    def eof_received(self) -> bool:
        """Hears that the client sends nothing more; says whether it is still to be answered."""
        self._stop()
        return self.phase in (Phase.BODY, Phase.WORK, Phase.ANSWER)

    def _stop(self) -> None:
        if not self.stopped.done():
            self.stopped.set_result(None)

    # What follows takes the place of gunicorn's own, of the release that pyproject.toml names.

    def _on_headers_complete(self):
        skip = super()._on_headers_complete()
        self.enter(Phase.BODY, self._connections.body_seconds)
        return skip

    def _on_body(self, chunk: bytes) -> None:
        self._pieces += 1
        self._bytes += len(chunk)
        if self._pieces > FREE_CHUNKS + self._bytes / SMALLEST_CHUNK:  # each costs more than it brings
            raise ParseError("chunks of a few bytes each")
        super()._on_body(chunk)

    def _send_error_response(self, status: int, message: str, extra_headers=()) -> None:
        """Answers what is no HTTP in the words of the service, and leaves damage to a body to the application."""
        if self.phase is Phase.BODY and status != 500:
            self.is_damaged = True
            self._out.pause_reading()  # what follows is not looked at
            self._stop()
            return
        status = status if status in (414, 431, 500) else 400
        detail = NOT_HTTP if status < 500 else "the service made a mistake; see its log"
        title = HTTPStatus(status).phrase
        content = json.dumps({"title": title, "status": status, "detail": detail}).encode()
        head = f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        self._safe_write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)

    def _is_websocket_upgrade(self, request) -> bool:
        return False  # who asks for a websocket gets HTTP

    def _close_transport(self) -> None:
        if self.phase is Phase.BODY and self.is_damaged:  # which is answered first
            return
        body, is_answered = self._body_receiver, self.phase in (Phase.WAIT, Phase.HEAD)
        if not is_answered or body is None or body._complete or self.stopped.done():
            super()._close_transport()
        elif not self._closed:
            # The system would answer bytes that nobody has read by resetting the connection, and a client that is
            # still sending would never see what it was answered. So ours is closed first, and theirs runs out.
            self._closed = True
            self.enter(Phase.LINGER, LINGER)
            self._out.write_eof()
            self._resume_reading()
