"""Keeps `python -m tfseg.serve` under mixed load for an hour, and looks at its memory and its answers.

    python -m benchmarks.bench_serve_hour --model models/camvid --images data/camvid/images/val --json hour.json

The service is started with several workers, at a free port of 127.0.0.1. Clients send images of many sizes, each the
next request as soon as it has its answer, and open a new connection now and then. Kinds of requests come at random:
files and forms to /predict, for masks, overlays and shares; TensorFlow Serving's and the Open Inference Protocol's, of
one image and of several, as files, as pixels and in binary form; HEAD, OPTIONS and GET; and files that are cut short,
which are to be refused. Of each answer the status is looked at, and of each mask whether it is the one of /predict
at the start, on all but a few pixels: in another batch, a runtime may round otherwise. Each minute, the memory of all
processes of the service is read.
"""

import argparse
import base64
import http.client
import io
import json
import random
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.attack_serve import find_workers
from benchmarks.bench_serve import Service, percentile
from benchmarks.bench_serve_runtimes import draw_sizes
from benchmarks.results import describe_machine, save_results
from tfseg.io import command

PER_CONNECTION = 50  # requests
SAME = 0.995  # of a mask's pixels, at least; the others are between two classes
LENGTH = "Inference-Header-Content-Length"
WARM_UP = 10  # minutes after which memory is to be flat, or a fifth of all


class Photo(NamedTuple):
    """An image, and the mask that it had at the start."""

    file: bytes
    pixels: np.ndarray
    mask: np.ndarray


class Ask(NamedTuple):
    """A request, and what raises ValueError for an answer, given its headers and its content, that is not right."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = {}  # noqa: RUF012
    status: int = 200
    check: Callable[[http.client.HTTPMessage, bytes], None] = lambda headers, content: None


def compare(photo: Photo, mask: np.ndarray) -> None:
    """Raises ValueError for another mask than a photo had at the start."""
    if mask.shape != photo.mask.shape:
        raise ValueError(f"a mask {mask.shape}, expected {photo.mask.shape}")
    if (same := (mask == photo.mask).mean()) < SAME:
        raise ValueError(f"a mask {mask.shape} that is the one of the start on {same:.4f} of its pixels")


def read_png(content: bytes) -> np.ndarray:
    """Decodes a PNG file."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def of_file(photos: list[Photo]) -> Ask:
    return Ask("POST", "/predict", photos[0].file, check=lambda _, content: compare(photos[0], read_png(content)))


def of_form(photos: list[Photo]) -> Ask:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    body = head + photos[0].file + b"\r\n--b--\r\n"
    return Ask("POST", "/predict", body, form, check=lambda _, content: compare(photos[0], read_png(content)))


def of_overlay(photos: list[Photo]) -> Ask:
    def check(headers, content):
        if read_png(content).shape != photos[0].pixels.shape:
            raise ValueError(f"an overlay {read_png(content).shape}")

    return Ask("POST", "/predict?format=overlay", photos[0].file, check=check)


def of_shares(photos: list[Photo]) -> Ask:
    def check(headers, content):
        if sum(entry["pixels"] for entry in json.loads(content)["classes"]) != photos[0].mask.size:
            raise ValueError(f"shares of other pixels: {content[:200]!r}")

    return Ask("POST", "/predict?format=json", photos[0].file, check=check)


def of_tensorflow(photos: list[Photo]) -> Ask:
    def check(headers, content):
        for photo, mask in zip(photos, json.loads(content)["predictions"], strict=True):
            compare(photo, read_png(base64.b64decode(mask["b64"])))

    rows = [{"image_bytes": {"b64": base64.b64encode(photo.file).decode()}} for photo in photos]
    body = json.dumps({"signature_name": "encoded", "instances": rows}).encode()
    return Ask("POST", "/v1/models/soak:predict", body, check=check)


def of_tensorflow_pixels(photos: list[Photo]) -> Ask:
    smallest = min(photos, key=lambda photo: photo.mask.size)  # numbers take 4 bytes each

    def check(headers, content):
        [mask] = json.loads(content)["outputs"]
        compare(smallest, np.array(mask))

    body = json.dumps({"inputs": [smallest.pixels.tolist()]}).encode()
    return Ask("POST", "/v1/models/soak/versions/1:predict", body, check=check)


def of_inference(photos: list[Photo]) -> Ask:
    def check(headers, content):
        [output] = json.loads(content)["outputs"]
        for photo, mask in zip(photos, output["data"], strict=True):
            compare(photo, read_png(base64.b64decode(mask)))

    data = [base64.b64encode(photo.file).decode() for photo in photos]
    tensor = {"name": "image_bytes", "shape": [len(photos)], "datatype": "BYTES", "data": data}
    return Ask("POST", "/v2/models/soak/infer", json.dumps({"inputs": [tensor]}).encode(), check=check)


def of_binary_inference(photos: list[Photo]) -> Ask:
    photo = photos[0]

    def check(headers, content):
        tail = content[int(headers[LENGTH]) :]
        compare(photo, np.frombuffer(tail, np.uint8).reshape(photo.mask.shape))

    tensor = {"name": "images", "shape": [1, *photo.pixels.shape], "datatype": "UINT8"}
    tensor["parameters"] = {"binary_data_size": photo.pixels.size}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {LENGTH: str(len(text))}
    return Ask("POST", "/v2/models/soak/infer", text + photo.pixels.tobytes(), headers, check=check)


KINDS: dict[str, Callable[[list[Photo]], Ask]] = {
    "file": of_file,
    "form": of_form,
    "overlay": of_overlay,
    "shares": of_shares,
    "tensorflow": of_tensorflow,
    "tensorflow pixels": of_tensorflow_pixels,
    "inference": of_inference,
    "inference binary": of_binary_inference,
    "ready": lambda photos: Ask("GET", "/v2/health/ready"),
    "metrics": lambda photos: Ask("GET", "/metrics"),
    "head": lambda photos: Ask("HEAD", "/labels"),
    "options": lambda photos: Ask("OPTIONS", "/predict", status=204),
    "cut short": lambda photos: Ask("POST", "/predict", photos[0].file[:200], status=400),
    "no such model": lambda photos: Ask("POST", "/v2/models/other/infer", b"{}", status=404),
}


class Load:
    """What clients have sent and what came of it, since it was last asked for."""

    def __init__(self, service: Service, photos: list[Photo]):
        self.service, self.photos = service, photos
        self.ends, self._lock = threading.Event(), threading.Lock()
        self.failures: list[str] = []
        self.take()

    def take(self) -> tuple[Counter, list[float]]:
        """Gives the numbers of requests by kind and their seconds, and begins anew."""
        with self._lock:
            taken = getattr(self, "counts", Counter()), getattr(self, "seconds", [])
            self.counts, self.seconds = Counter(), []
        return taken

    def run_client(self, seed: int) -> None:
        """Sends one request after the other until the end."""
        draw, connection = random.Random(seed), None
        while not self.ends.is_set():
            connection = self.service.connect()
            for _ in range(draw.randrange(1, 2 * PER_CONNECTION)):
                if self.ends.is_set():
                    break
                kind = draw.choice([*KINDS])
                start = time.perf_counter()
                failure = self._send(connection, KINDS[kind](draw.sample(self.photos, draw.randint(1, 4))))
                with self._lock:
                    self.counts[kind] += 1
                    self.seconds.append(time.perf_counter() - start)
                    if failure:
                        self.failures.append(f"{kind}: {failure}")
                if failure:
                    break
            connection.close()

    def _send(self, connection: http.client.HTTPConnection, ask: Ask) -> str | None:
        """Sends a request; says what is wrong with the answer."""
        try:
            connection.request(ask.method, ask.path, ask.body, ask.headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != ask.status:
                return f"{answer.status} instead of {ask.status}: {content[:200]!r}"
            ask.check(answer.headers, content)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            return repr(error)
        return None


def open_photos(service: Service, files: list[bytes]) -> list[Photo]:
    """Decodes files, and has them classified one by one."""
    photos = []
    for file in files:
        status, content = service.ask("/predict", file)
        if status != 200:
            sys.exit(f"/predict answered {status}: {content[:200]!r}")
        with Image.open(io.BytesIO(file)) as image:
            photos.append(Photo(file, np.asarray(image.convert("RGB")), read_png(content)))
    return photos


def read_memory(process: str) -> float:
    """MiB of a process that are in memory, as Linux has them; 0 if it is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def look(service: Service, load: Load, minute: float) -> dict:
    """Takes the numbers of a minute."""
    counts, seconds = load.take()
    workers = sorted(find_workers(service), key=int)
    return {
        "minute": round(minute, 2),
        "requests": counts,
        "failures": len(load.failures),
        "seconds": [percentile(seconds, share) for share in (0.5, 0.95, 1)] if seconds else [],
        "main": round(read_memory(str(service.process.pid)), 1),
        "workers": {worker: round(read_memory(worker), 1) for worker in workers},
        "images": service.metric("tfseg_images_total"),
    }


def growth(minutes: list[dict]) -> tuple[float, float, float]:
    """MiB of all processes after the warm-up and at the end, means of a tenth each, and MiB per hour between them."""
    settled = [one for one in minutes if one["minute"] >= min(WARM_UP, minutes[-1]["minute"] / 5)]
    sums = [one["main"] + sum(one["workers"].values()) for one in settled]
    part = max(len(sums) // 10, 1)
    slope = np.polyfit([one["minute"] for one in settled], sums, 1)[0] if len(sums) > 1 else 0.0
    return statistics.mean(sums[:part]), statistics.mean(sums[-part:]), 60 * float(slope)


def table(results: dict) -> list[str]:
    """A row for each tenth of the time."""
    minutes = results["minutes"]
    rows = [
        "| minute | requests | failures | p50 ms | p95 ms | longest ms | MiB: main | workers |",
        f"|---|{'---:|' * 7}",
    ]
    step = max(len(minutes) // 12, 1)
    shown = [one for place, one in enumerate(minutes) if place % step == step - 1 or place == len(minutes) - 1]
    before = 0.0
    for one in shown:
        between = [other for other in minutes if before < other["minute"] <= one["minute"]]
        requests = sum(sum(other["requests"].values()) for other in between)
        times = [f"{1000 * seconds:,.0f}" for seconds in one["seconds"]] or ["", "", ""]
        workers = ", ".join(f"{size:,.0f}" for size in one["workers"].values())
        cells = [f"{one['minute']:.0f}", f"{requests:,}", f"{one['failures']}", *times, f"{one['main']:,.0f}", workers]
        rows.append(f"| {' | '.join(cells)} |")
        before = one["minute"]
    return rows


def summary(results: dict) -> str:
    """Words the whole."""
    minutes = results["minutes"]
    requests = sum(sum(one["requests"].values()) for one in minutes)
    first, last, slope = growth(minutes)
    return (
        f"{requests:,} requests and {minutes[-1]['images']:,.0f} images in {minutes[-1]['minute']:.0f} minutes, "
        f"{len(results['failures'])} failures, {results['restarts']} workers replaced, exit code {results['exit']}; "
        f"{first:,.0f} MiB after the warm-up, {last:,.0f} at the end, {slope:+.1f} MiB per hour"
    )


def main() -> None:
    """Loads the service as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="export of tfseg export")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of images")
    parser.add_argument("--minutes", type=float, default=60, help="(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--clients", type=int, default=6, help="(default: %(default)s)")
    parser.add_argument("--sizes", type=int, default=100, metavar="N", help="images of N sizes (default: %(default)s)")
    parser.add_argument("--options", default="", help="of the service, such as '--max-batch 4'")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    flags = ["--workers", str(options.workers), "--name", "soak", *options.options.split()]
    service = Service(options.model, flags)
    photos = open_photos(service, draw_sizes(sorted(options.images.iterdir())[:32], options.sizes))
    load, first = Load(service, photos), find_workers(service)
    clients = [threading.Thread(target=load.run_client, args=(seed,)) for seed in range(options.clients)]
    start = time.monotonic()
    for client in clients:
        client.start()
    minutes = []
    while (now := time.monotonic() - start) < 60 * options.minutes:
        time.sleep(min(60, 60 * options.minutes - now))
        minutes.append(look(service, load, (time.monotonic() - start) / 60))
        one = minutes[-1]
        print(f"minute {one['minute']:.1f}: {sum(one['requests'].values()):,} requests,", end=" ")
        print(f"{one['failures']} failures, MiB: {one['main']:,.0f}, {one['workers']}", flush=True)
    load.ends.set()
    for client in clients:
        client.join()
    restarts = len(find_workers(service) - first)
    results = {"minutes": minutes, "failures": load.failures[:100], "restarts": restarts, "exit": service.stop()}
    print("\n".join([describe_machine(), "", *table(results), "", summary(results), *load.failures[:5]]))
    save_results(options.json, "bench_serve_hour", results)
    if load.failures or restarts or results["exit"]:
        sys.exit(1)


if __name__ == "__main__":
    command.run(main)
