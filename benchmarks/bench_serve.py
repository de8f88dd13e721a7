"""Measures `python -m tfseg.serve` under load against the model alone, in turns, on one machine.

    python -m benchmarks.bench_serve --model models/camvid --images data/camvid/images/val --json serve.json

The service is started as it would be, at a free port of 127.0.0.1. Clients send files of one size, each the next one as
soon as it has its mask. The model alone runs in a process of its own on the same images, decoded beforehand, by the
batch that is fastest for it. Where other programs share the processor, processor seconds per image say more than
images/s; those of the service are the worker's and the clients'.
"""

import argparse
import http.client
import itertools
import multiprocessing
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import save_results
from tfseg.io import command

BATCHES = (1, 2, 4, 8)


def run_bare(model: Path, paths: list[Path], pipe) -> None:
    """Answers each (batch, seconds) with the images/s of the model alone, and seconds of the processor per image."""
    import numpy as np

    from tfseg.inference.predictor import Predictor
    from tfseg.inference.reading import read_image

    predictor = Predictor(model)
    images = np.stack([read_image(path) for path in paths])
    while task := pipe.recv():
        batch, seconds = task
        predictor(images[:batch])
        start, worked, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < seconds:
            predictor(images[np.arange(count, count + batch) % len(images)])
            count += batch
        pipe.send((count / (time.perf_counter() - start), (time.process_time() - worked) / count))


class Service:
    """The service as a process."""

    def __init__(self, model: Path, options: list[str], wrapper: Sequence[str] = ()):
        command = [*wrapper, sys.executable, "-m", "tfseg.serve", "--model", model, "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rpartition(":")[2])
        threading.Thread(target=self.process.stdout.read, daemon=True).start()  # its log
        while self.ask("/readyz")[0] != 200:
            if self.process.poll() is not None:
                sys.exit("the service did not start")
            time.sleep(0.2)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and content of an answer; 0 where there is none."""
        connection = self.connect()
        try:
            connection.request("POST" if body else "GET", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        return float(re.search(rf"^{name} (\S+)$", self.ask("/metrics")[1].decode(), re.MULTILINE)[1])

    def load(self, files: list[bytes], clients: int, seconds: float) -> dict:
        """Lets clients send files for a while: latencies in seconds, failures, images/s, MiB by the second."""
        numbers, latencies, failures, lock = itertools.count(), [], [], threading.Lock()
        end = time.perf_counter() + seconds

        def client():
            connection = self.connect()
            while time.perf_counter() < end:
                with lock:
                    file = files[next(numbers) % len(files)]
                start = time.perf_counter()
                try:
                    connection.request("POST", "/predict", file, {"Content-Type": "application/octet-stream"})
                    answer = connection.getresponse()
                    content = answer.read()
                except OSError as error:
                    failures.append(repr(error))
                    return
                if answer.status == 200 and content.startswith(b"\x89PNG"):
                    latencies.append(time.perf_counter() - start)
                else:
                    failures.append(f"{answer.status} {content[:200]!r}")

        start, worked = time.perf_counter(), time.process_time() + self.metric("process_cpu_seconds_total")
        before = [self.metric(f"tfseg_batch_images_{what}") for what in ("sum", "count")]
        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        memory = []
        while any(thread.is_alive() for thread in threads):
            memory.append(round(self.metric("process_resident_memory_bytes") / 2**20, 1))
            time.sleep(1)
        for thread in threads:
            thread.join()
        rate = len(latencies) / (max(time.perf_counter() - start, seconds))
        after = [self.metric(f"tfseg_batch_images_{what}") for what in ("sum", "count")]
        worked = time.process_time() + self.metric("process_cpu_seconds_total") - worked
        return {
            "rate": rate,
            "processor": worked / len(latencies),
            "batch": (after[0] - before[0]) / (after[1] - before[1]),
            "latencies": latencies,
            "failures": failures,
            "memory": memory,
        }

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        return code


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def table(results: dict) -> list[str]:
    """Rows of the rounds: images/s and processor time per image of both, latencies, memory."""
    rows = [
        "| round | images/s: model alone | service | share | processor ms per image: model alone | service | share | "
        "batch | p50 ms | p95 ms | p99 ms | MiB |",
        f"|---{'|---:' * 11}|",
    ]
    for number, one in enumerate(results["rounds"], start=1):
        (rate, took), (rate_share, took_share) = one["service"], shares(one)
        alone = [one["before"], one["after"]]
        cells = [
            ", ".join(f"{rate:.2f}" for rate, _ in alone),
            *(f"{rate:.2f}", f"{rate_share:.2f}"),
            ", ".join(f"{1000 * took:.0f}" for _, took in alone),
            *(f"{1000 * took:.0f}", f"{took_share:.2f}", f"{one['batch']:.1f}"),
            *(f"{1000 * seconds:,.0f}" for seconds in one["latency"]),
            f"{one['memory'][0]:,.0f} to {one['memory'][-1]:,.0f}",
        ]
        rows.append(f"| {number} | {' | '.join(cells)} |")
    return rows


def shares(one: dict) -> tuple[float, float]:
    """The service's images/s, and images per second of the processor, as shares of the model's before and after."""
    rate, processor = (statistics.mean(pair) for pair in zip(one["before"], one["after"], strict=True))
    return one["service"][0] / rate, processor / one["service"][1]


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="SavedModel folder")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of images of one size")
    parser.add_argument("--clients", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of the load in a round (default: %(default)s)")
    parser.add_argument("--bare", type=float, default=20, help="seconds of the model alone (default: %(default)s)")
    parser.add_argument("--options", default="", help="of the service, such as '--max-batch 4'")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    paths = sorted(options.images.iterdir())[:32]
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    context.Process(target=run_bare, args=(options.model, paths, there), daemon=True).start()

    def bare(batch: int, seconds: float) -> tuple[float, float]:
        here.send((batch, seconds))
        return here.recv()

    rates = [{batch: bare(batch, options.bare / 4) for batch in BATCHES} for _ in range(2)]
    batches = {batch: statistics.mean(one[batch][1] for one in rates) for batch in BATCHES}
    best = min(batches, key=batches.get)
    print("model alone, processor ms per image by batch:", {n: round(1000 * took) for n, took in batches.items()})
    service = Service(options.model, options.options.split())
    files = [path.read_bytes() for path in paths]
    service.load(files, options.clients, 5)
    rounds, before = [], bare(best, options.bare)
    for _ in range(options.rounds):
        loaded = service.load(files, options.clients, options.seconds)
        after = bare(best, options.bare)
        latency = [percentile(loaded["latencies"], share) for share in (0.5, 0.95, 0.99)]
        kept = {name: loaded[name] for name in ("batch", "memory", "failures")}
        rounds.append(
            {
                "before": before,
                "service": (loaded["rate"], loaded["processor"]),
                "after": after,
                "latency": latency,
                **kept,
            }
        )
        print(table({"rounds": rounds})[-1], *loaded["failures"][:3], flush=True)
        before = after
    here.send(None)
    code = service.stop()
    results = {"batches": batches, "clients": options.clients, "rounds": rounds, "exit": code, "cores": os.cpu_count()}
    print("\n".join(table(results)))
    failures = sum(len(one["failures"]) for one in rounds)
    rate, processor = (statistics.median(column) for column in zip(*map(shares, rounds), strict=True))
    print(f"{failures} failures, exit code {code}, medians of the shares: {rate:.2f}, by the processor {processor:.2f}")
    save_results(options.json, "bench_serve", results)


if __name__ == "__main__":
    command.run(main)
