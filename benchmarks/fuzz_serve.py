"""Sends bodies and headers that no client should send to `python -m tfseg.serve`.

    python -m benchmarks.fuzz_serve --model models/city --requests 10000

Random bytes, images with bytes changed, cut or doubled, damaged forms and chunks, lengths that lie, random headers;
each over a connection of its own. With --protocols, JSON of other servers' clients with other values at random places,
or with bytes changed, and lengths of it that lie. The service must answer each by a status below 500, or 503, must
answer a good image afterwards as before, and must end with exit code 0. Memory is reported on the way.
"""

import argparse
import base64
import io
import json
import random
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.bench_serve import Service
from benchmarks.results import save_results
from tfseg.io import command

PIECES = [
    b"\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"--cut",
    b"IDAT",
    b"\xff\xd8\xff",
    b"\xff\xda",
    b"\0" * 9,
    b"%00",
    b"\xf0\x9f",
]


def images() -> list[bytes]:
    """Small whole files of each kind that is read."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    made = []
    for source, kind, more in (
        (image, "PNG", {}),
        (image.quantize(16), "PNG", {}),
        (image.convert("RGBA"), "PNG", {}),
        (image.convert("L"), "PNG", {}),
        (image, "JPEG", {}),
        (image, "JPEG", {"progressive": True}),
        (image, "JPEG", {"exif": exif}),
        (image.convert("CMYK"), "JPEG", {}),
    ):
        file = io.BytesIO()
        source.save(file, format=kind, **more)
        made.append(file.getvalue())
    return made


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Changes bytes, cuts, doubles or inserts, up to eight times."""
    changed = bytearray(content)
    for _ in range(draw.randint(0, 8)):
        place = draw.randrange(len(changed) + 1)
        match draw.randrange(4):
            case 0:
                changed[place : place + 1] = bytes([draw.randrange(256)])
            case 1:
                del changed[place : place + draw.choice((1, 4, len(changed)))]
            case 2:
                changed[place:place] = draw.choice(PIECES)
            case 3:
                changed[place:place] = changed[place : place + draw.choice((4, 64, 1024))]
    return bytes(changed)


def word(draw: random.Random, alphabet: str = "abcXYZ019-_.;:,=/*\"'%\\ \t\x00\x7f\xe9") -> bytes:
    return "".join(draw.choices(alphabet, k=draw.randint(0, 20))).encode("latin-1")


def request(draw: random.Random, good: list[bytes]) -> bytes:
    """Draws a request, headers and body; most go to /predict."""
    body = draw.choice((draw.choice(good), mutate(draw.choice(good), draw), draw.randbytes(draw.choice((0, 9, 3000)))))
    headers = [b"Host: here", b"Connection: close"]
    if draw.random() < 0.3:
        head = b'--cut\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        body = mutate(head, draw) + body + mutate(b"\r\n--cut--\r\n", draw)
        headers.append(mutate(b"Content-Type: multipart/form-data; boundary=cut", draw).replace(b"\n", b""))
    if draw.random() < 0.2:
        body = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
        body = mutate(body, draw) if draw.random() < 0.5 else body
        headers.append(b"Transfer-Encoding: chunked")
    elif draw.random() < 0.95:
        lie = draw.choice((-5, 5, 10**6, 10**12)) if draw.random() < 0.1 else 0
        headers.append(b"Content-Length: %d" % max(len(body) + lie, 0))
    for name in (b"Accept", b"X-Request-ID", b"Authorization", b"Content-Encoding", b"Expect", word(draw) or b"X"):
        if draw.random() < 0.1:
            headers.append(name + b": " + draw.choice((word(draw), b"a" * 9000, b"image/*", b"100-continue", b"gzip")))
    method = draw.choice((*[b"POST"] * 12, b"GET", b"PUT", word(draw)))
    path = draw.choice(
        (*[b"/predict"] * 8, b"/predict?format=json", b"/predict?format=overlay", b"/labels", word(draw))
    )
    return method + b" " + path + b" HTTP/1.1\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + body


def change(value: object, draw: random.Random) -> object:
    """Puts something else into JSON here and there."""
    if draw.random() < 0.08:
        other = [None, True, -1, 0, 1, 2**70, 1.5, "", "YQ==", [], [[]], {}, {"b64": "YQ=="}, [value, value]]
        return draw.choice(other)
    if isinstance(value, dict):
        return {key: change(inner, draw) for key, inner in value.items() if draw.random() > 0.03}
    if isinstance(value, list):
        return [change(inner, draw) for inner in value]
    return value


def protocol_request(draw: random.Random, good: list[bytes]) -> bytes:
    """Draws a request as of TensorFlow Serving's or the Open Inference Protocol's clients."""
    files, tail, headers = (
        [draw.choice(good) for _ in range(draw.randint(1, 3))],
        b"",
        [b"Host: here", b"Connection: close"],
    )
    texts = [base64.b64encode(file).decode() for file in files]
    pixels = [[[draw.randrange(256) for _ in range(3)] for _ in range(4)] for _ in range(2)]
    tensors = [
        {"name": "image_bytes", "shape": [len(texts)], "datatype": "BYTES", "data": texts},
        {"name": "images", "shape": [1, 2, 4, 3], "datatype": "UINT8", "data": [pixels]},
    ]
    outputs = [{"name": name, "parameters": {"binary_data": draw.random() < 0.5}} for name in ("classes", "mask_bytes")]
    match draw.randrange(4):
        case 0:
            path, rows = "/v1/models/model:predict", [{"image_bytes": {"b64": text}} for text in texts]
            body = {"signature_name": "encoded", "instances": rows}
        case 1:
            path, body = "/v1/models/model/versions/1:predict", {"inputs": {"images": [pixels]}}
        case 2:
            path, body = "/v2/models/model/infer", {"id": "1", "inputs": [draw.choice(tensors)], "outputs": outputs}
        case _:
            tail = b"".join(len(file).to_bytes(4, "little") + file for file in files)
            tensor = {**tensors[0], "parameters": {"binary_data_size": len(tail)}}
            del tensor["data"]
            path, body = "/v2/models/model/infer", {"inputs": [tensor], "outputs": outputs[1:]}
    text = json.dumps(change(body, draw) if draw.random() < 0.7 else body).encode()
    text = mutate(text, draw) if draw.random() < 0.2 else text
    if tail or draw.random() < 0.1:
        lie = draw.choice((-1, 1, 10**6, -(10**6))) if draw.random() < 0.2 else 0
        headers.append(b"Inference-Header-Content-Length: %d" % (len(text) + lie))
    content = text + (mutate(tail, draw) if draw.random() < 0.3 else tail)
    headers.append(b"Content-Length: %d" % len(content))
    return b"POST " + path.encode() + b" HTTP/1.1\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + content


def send(port: int, content: bytes) -> int:
    """Sends bytes and nothing more; the status of the answer, or 0 for a connection that is closed without one."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except (ConnectionResetError, BrokenPipeError):
            pass  # the service has heard enough; what it said may have come
    if b"Traceback" in answer:
        return 500
    statuses = [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return max(statuses, default=0)


def fuzz(port: int, seeds: range, threads: int = 8, make: Callable[..., bytes] = request) -> Counter:
    """Sends one request a seed: how often each status came."""
    good = images()
    with ThreadPoolExecutor(threads) as pool:
        return Counter(pool.map(lambda seed: send(port, make(random.Random(seed), good)), seeds))


def main() -> None:
    """Sends what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="SavedModel folder")
    parser.add_argument("--requests", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--protocols", action="store_true", help="send other servers' requests instead of /predict's")
    parser.add_argument("--json", type=Path, help="file for what came of it")
    options = parser.parse_args()
    service, make = Service(options.model, ["--name", "model"]), protocol_request if options.protocols else request
    good = images()[0]
    first, statuses, memory = service.ask("/predict", good), Counter(), []
    for start in range(0, options.requests, 500):
        statuses += fuzz(service.port, range(start, min(start + 500, options.requests)), make=make)
        memory.append(round(service.metric("process_resident_memory_bytes") / 2**20, 1))
        print(f"{start + 500} requests, {memory[-1]} MiB", flush=True)
    bad = {status: count for status, count in statuses.items() if status >= 500 and status != 503}
    same, code = service.ask("/predict", good) == first and first[0] == 200, service.stop()
    print(f"statuses {dict(sorted(statuses.items()))}, exit code {code}, the same answer afterwards: {same}")
    results = {"statuses": dict(sorted(statuses.items())), "memory": memory, "same": same, "exit": code}
    save_results(options.json, "fuzz_serve", results)
    if bad or code or not same:
        raise ValueError(f"the service failed: {bad}")


if __name__ == "__main__":
    command.run(main)
