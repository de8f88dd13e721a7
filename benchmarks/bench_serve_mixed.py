"""Loads the service for minutes or hours by images of many sizes in all its protocols, and looks at errors and memory.

    python -m benchmarks.bench_serve_mixed --model models/camvid --images data/camvid/images/val --minutes 60 \\
        --workers 2 --json mixed.json

Each client draws a protocol and a size, and sends the next request as soon as it has the answer, whose status and size
of mask it checks. Memory is the resident memory of all processes of the service, at the end of each minute. For Linux.
"""

import argparse
import base64
import contextlib
import io
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.bench_serve import Service, percentile
from benchmarks.bench_serve_runtimes import draw_sizes
from benchmarks.results import describe_machine, save_results
from tfseg.io import command

NAME = "model"
LENGTH = "Inference-Header-Content-Length"
INFER = f"/v2/models/{NAME}/infer"
PREDICT = f"/v1/models/{NAME}:predict"
Size = tuple[int, int]


class Request(NamedTuple):
    """A request, and how the size of the mask is read from the headers and the content of its answer."""

    path: str
    body: bytes
    headers: dict[str, str]
    read_size: Callable[[Mapping[str, str], bytes], Size]


def size_of_png(content: bytes) -> Size:
    width, height = Image.open(io.BytesIO(content)).size
    return height, width


def size_of_file(text: str) -> Size:
    return size_of_png(base64.b64decode(text))


def size_of_rows(rows: list[list[int]]) -> Size:
    return len(rows), len(rows[0])


def size_of_tensor(headers: Mapping[str, str], content: bytes) -> Size:
    """The size of a binary tensor of class ids, which follows its JSON."""
    length = int(headers[LENGTH])
    _, height, width = json.loads(content[:length])["outputs"][0]["shape"]
    if len(content) - length != height * width:
        raise ValueError(f"expected {height * width} bytes of a tensor, got {len(content) - length}")
    return height, width


def in_json(path: str, value: Any, read_size: Callable[[dict], Size]) -> Request:
    body = json.dumps(value).encode()
    return Request(path, body, {"Content-Type": "application/json"}, lambda _, text: read_size(json.loads(text)))


def write_predict(file: bytes, pixels: np.ndarray) -> Request:
    return Request("/predict", file, {"Content-Type": "image/jpeg"}, lambda _, content: size_of_png(content))


def write_tensorflow_file(file: bytes, pixels: np.ndarray) -> Request:
    body = {"instances": [{"b64": base64.b64encode(file).decode()}]}
    return in_json(PREDICT, body, lambda answer: size_of_file(answer["predictions"][0]["b64"]))


def write_tensorflow_pixels(file: bytes, pixels: np.ndarray) -> Request:
    return in_json(PREDICT, {"instances": [pixels.tolist()]}, lambda answer: size_of_rows(answer["predictions"][0]))


def write_inference_file(file: bytes, pixels: np.ndarray) -> Request:
    data = [base64.b64encode(file).decode()]
    body = {"inputs": [{"name": "image_bytes", "shape": [1], "datatype": "BYTES", "data": data}]}
    return in_json(INFER, body, lambda answer: size_of_file(answer["outputs"][0]["data"][0]))


def write_inference_binary(file: bytes, pixels: np.ndarray) -> Request:
    tensor = {"name": "images", "shape": [1, *pixels.shape], "datatype": "UINT8"}
    tensor["parameters"] = {"binary_data_size": pixels.size}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(text))}
    return Request(INFER, text + pixels.tobytes(), headers, size_of_tensor)


PROTOCOLS: dict[str, Callable[[bytes, np.ndarray], Request]] = {
    "POST /predict": write_predict,
    "TensorFlow Serving, file": write_tensorflow_file,
    "TensorFlow Serving, numbers": write_tensorflow_pixels,
    "Open Inference, file": write_inference_file,
    "Open Inference, binary": write_inference_binary,
}


class Load:
    """Clients of services, and what they have seen since it was last asked for."""

    def __init__(self, services: list[Service], files: list[bytes], clients: int):
        self.services = services
        self.images = [(file, np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))) for file in files]
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.latencies: dict[str, list[float]] = {name: [] for name in PROTOCOLS}
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, number: int) -> None:
        """Sends one request after the other, on a connection that stays open until a failure."""
        draw = random.Random(number)
        connection = self.services[number % len(self.services)].connect()
        while not self.ended.is_set():
            name, (file, pixels) = draw.choice([*PROTOCOLS]), draw.choice(self.images)
            request = PROTOCOLS[name](file, pixels)
            start = time.perf_counter()
            try:
                connection.request("POST", request.path, request.body, request.headers)
                answer = connection.getresponse()
                content = answer.read()
                took = time.perf_counter() - start
                if answer.status != 200:
                    raise ValueError(f"{answer.status} {content[:200]!r}")
                if (size := request.read_size(answer.headers, content)) != pixels.shape[:2]:
                    raise ValueError(f"expected a mask of {pixels.shape[:2]}, got {size}")
            except Exception as error:  # whatever it is, the load goes on and the failure counts
                connection.close()
                with self.lock:
                    self.failures.append(f"{name}: {error!r}")
                self.ended.wait(0.1)
            else:
                with self.lock:
                    self.latencies[name].append(took)

    def take(self) -> tuple[dict[str, list[float]], list[str]]:
        with self.lock:
            seen = self.latencies, self.failures
            self.latencies, self.failures = {name: [] for name in PROTOCOLS}, []
        return seen

    def end(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


def read_of(process: int, names: str) -> str:
    """What files of /proc say of a process; nothing if it has ended, as a worker may that is replaced."""
    texts = []
    for path in Path(f"/proc/{process}").glob(names):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            texts.append(path.read_text(encoding="ascii"))
    return " ".join(texts)


def processes_of(root: int) -> list[int]:
    """A process and all below it."""
    children = [int(child) for child in read_of(root, "task/*/children").split()]
    return [root, *(process for child in children for process in processes_of(child))]


def resident(root: int) -> float:
    """MiB of resident memory of a process and all below it."""
    sizes = [read_of(process, "statm").split() for process in processes_of(root)]
    return sum(int(size[1]) for size in sizes if size) * os.sysconf("SC_PAGE_SIZE") / 2**20


def summarize(latencies: dict[str, list[float]], failures: list[str], services: list[Service]) -> dict:
    """A minute: answers of each protocol, latencies in seconds, failures, MiB and processes of each service."""
    every = [took for column in latencies.values() for took in column]
    return {
        "answers": {name: len(column) for name, column in latencies.items()},
        "latency": [percentile(every, share) for share in (0.5, 0.95, 0.99)] if every else None,
        "failures": len(failures),
        "such_as": failures[:3],
        "memory": [round(resident(service.process.pid), 1) for service in services],
        "processes": [processes_of(service.process.pid) for service in services],
    }


def row(number: int, minute: dict) -> str:
    latency = [f"{1000 * seconds:,.0f}" for seconds in minute["latency"] or ()] or ["", "", ""]
    cells = [f"{sum(minute['answers'].values()):,}", *latency, str(minute["failures"]), f"{sum(minute['memory']):,.0f}"]
    return f"| {number} | {' | '.join(cells)} |"


def table(results: dict) -> list[str]:
    """Rows of the minutes."""
    rows = ["| minute | answers | p50 ms | p95 ms | p99 ms | failures | MiB |", f"|{'---:|' * 7}"]
    return rows + [row(number, minute) for number, minute in enumerate(results["minutes"], start=1)]


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="folder of an exported model")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of images")
    parser.add_argument("--minutes", type=int, default=60, help="of the load (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="of the service (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="that ask at once (default: %(default)s)")
    parser.add_argument("--sizes", type=int, default=100, metavar="N", help="of the images (default: %(default)s)")
    parser.add_argument("--options", default="", help="of the service, such as '--runtime onnxruntime'")
    parser.add_argument("--json", type=Path, help="file for the measurements, written anew after each minute")
    options = parser.parse_args()
    files = draw_sizes(sorted(options.images.iterdir())[:32], options.sizes)
    services = [Service(options.model, ["--name", NAME, "--workers", str(options.workers), *options.options.split()])]
    results: dict[str, Any] = {"clients": options.clients, "minutes": []}
    results["memory_at_start"] = [round(resident(service.process.pid), 1) for service in services]
    print("\n".join([describe_machine(), "", *table(results)]), flush=True)
    load, start = Load(services, files, options.clients), time.monotonic()
    try:
        for number in range(1, options.minutes + 1):
            time.sleep(max(start + 60 * number - time.monotonic(), 0))
            results["minutes"].append(summarize(*load.take(), services))
            print(row(number, results["minutes"][-1]), *results["minutes"][-1]["such_as"], flush=True)
            save_results(options.json, "bench_serve_mixed", results)
    finally:
        load.end()
        results["left"] = load.take()[1]  # failures of what was on its way
        results["exits"] = [service.stop() for service in services]
    save_results(options.json, "bench_serve_mixed", results)
    failures = sum(minute["failures"] for minute in results["minutes"]) + len(results["left"])
    if failures or any(results["exits"]):
        sys.exit(f"{failures} requests failed, exit codes {results['exits']}")


if __name__ == "__main__":
    command.run(main)
