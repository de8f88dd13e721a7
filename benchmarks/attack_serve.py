"""Attacks `python -m tfseg.serve` from the same machine, and measures what honest clients still get.

    python -m benchmarks.attack_serve --model models/city --json attack.json

For each attack the service is started anew, with a limit of 1,024 open files. A second process holds 8 honest clients,
each of which posts a small image as soon as it has the mask of the last; a third asks for /healthz ten times a second,
over a new connection each time. After some seconds of peace and some of the attack, SIGTERM is sent while the attack
lasts. The table says, for each attack of attacks.py: the longest that /healthz took; the honest images/s in peace and
the share of them under attack; how often the worker was replaced; the seconds from SIGTERM to the end.
"""

import argparse
import http.client
import json
import multiprocessing
import resource
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.attacks import ATTACKS, Target, image_file
from benchmarks.bench_serve import Service
from benchmarks.results import save_results
from tfseg.io import command

LIMITED = ("sh", "-c", 'ulimit -n 1024; exec "$@"', "sh")
CLIENTS = 8
DEAD = 20.0  # seconds after which /healthz is given up


def be_honest(port: int, answered, ends) -> None:
    """Lets 8 clients post images and counts the masks that they get, until `ends` is set."""
    image = image_file(64)

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEAD)
        while not ends.is_set():
            try:
                connection.request("POST", "/predict", image)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()  # the next request opens another one
                time.sleep(0.01)
                continue
            if answer.status == 200 and content.startswith(b"\x89PNG"):
                with answered.get_lock():
                    answered.value += 1

    for _ in range(CLIENTS):
        threading.Thread(target=client, daemon=True).start()
    ends.wait()


def probe(port: int, times, ends) -> None:
    """Asks for /healthz again and again; `times`: when it began to (0: it waits), and the longest that it took."""
    while not ends.wait(0.1):
        times[0] = start = time.monotonic()
        while time.monotonic() - start < DEAD and not ends.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEAD)
            with suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/healthz")
                if connection.getresponse().read() == b"alive\n":
                    break
            connection.close()
            time.sleep(0.02)  # refused or reset: asks again, and the time counts
        connection.close()
        times[0], times[1] = 0, max(times[1], time.monotonic() - start)


def find_workers(service: Service) -> set[str]:
    """Ids of the processes that the service's first one has now."""
    found = subprocess.run(["pgrep", "-P", str(service.process.pid)], capture_output=True, text=True, check=False)
    return set(found.stdout.split())


def stop(service: Service, patience: float) -> tuple[float, int | None]:
    """Ends a service: seconds from SIGTERM to its end, and its exit code, None if it had to be killed."""
    workers, start = find_workers(service), time.perf_counter()
    service.process.send_signal(signal.SIGTERM)
    try:
        code = service.process.wait(patience)
    except subprocess.TimeoutExpired:
        for worker in workers:
            subprocess.run(["kill", "-9", worker], check=False)
        service.process.kill()
        service.process.wait()
        code = None
    return time.perf_counter() - start, code


def measure(model: Path, name: str, options: argparse.Namespace) -> dict:
    """Starts a service and the honest clients, attacks, and ends both."""
    service = Service(model, ["--name", "model", *options.options.split()], LIMITED)  # which an attack asks for
    answered, times = multiprocessing.Value("l", 0), multiprocessing.Array("d", 2)
    ends, attack_ends = multiprocessing.Event(), threading.Event()
    for target, value in ((be_honest, answered), (probe, times)):
        multiprocessing.Process(target=target, args=(service.port, value, ends), daemon=True).start()
    time.sleep(1)
    peace = count(answered, options.peace)
    workers, times[1] = find_workers(service), 0
    begin, seconds = ATTACKS[name]
    target = Target(service.port, attack_ends)
    threading.Thread(target=begin, args=(target,), daemon=True).start()
    before, start = answered.value, time.perf_counter()
    seen = set(workers)
    while time.perf_counter() - start < (seconds or options.seconds):
        time.sleep(0.25)
        seen |= find_workers(service)
    rate = (answered.value - before) / (time.perf_counter() - start)
    longest = max(times[1], time.monotonic() - times[0] if times[0] else 0)
    ends.set()
    took, code = stop(service, options.patience)
    attack_ends.set()
    target.close()
    restarts = len(seen - workers)
    return {"healthz": longest, "peace": peace, "rate": rate, "restarts": restarts, "stop": took, "exit": code}


def count(answered, seconds: float) -> float:
    """Masks per second for a while."""
    before, start = answered.value, time.perf_counter()
    time.sleep(seconds)
    return (answered.value - before) / (time.perf_counter() - start)


def row(name: str, one: dict) -> str:
    """A row of the table."""
    share, took = one["rate"] / max(one["peace"], 1e-9), f"{one['stop']:.1f}"
    ended = took if one["exit"] == 0 else f"{took}, exit code {one['exit']}" if one["exit"] else f"over {took}"
    return f"| {name} | {one['healthz']:.2f} | {one['peace']:.0f} | {share:.2f} | {one['restarts']} | {ended} |"


def compare(before: dict, after: dict) -> list[str]:
    """Rows of two states of the service side by side."""
    rows = [
        "| attack | /healthz s: before | after | honest share: before | after | restarts: before | after "
        "| SIGTERM s: before | after |",
        f"|---{'|---:' * 8}|",
    ]
    for name, new in after.items():
        old = [cell.strip() for cell in row(name, before[name]).split("|")[2:-1]]
        new = [cell.strip() for cell in row(name, new).split("|")[2:-1]]
        pairs = [cell for place in (0, 2, 3, 4) for cell in (old[place], new[place])]
        rows.append(f"| {name} | {' | '.join(pairs)} |")
    return rows


def main() -> None:
    """Attacks as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="SavedModel folder")
    parser.add_argument("--attacks", default="", metavar="WORDS", help="those whose names hold one of these, by commas")
    parser.add_argument("--peace", type=float, default=3, help="seconds before an attack (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=8, help="seconds of most attacks (default: %(default)s)")
    parser.add_argument("--patience", type=float, default=12, help="seconds that the end may take (default: 12)")
    parser.add_argument("--options", default="", help="of the service, such as '--max-batch 4'")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    parser.add_argument("--before", type=Path, metavar="JSON", help="measurements to compare with")
    options = parser.parse_args()
    multiprocessing.set_start_method("spawn")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chosen = [name for name in ATTACKS if any(word in name for word in options.attacks.split(","))]
    print(
        "| attack | /healthz s | images/s | share | restarts | SIGTERM s |\n|---|---:|---:|---:|---:|---:|", flush=True
    )
    results = {}
    for name in chosen:
        results[name] = measure(options.model, name, options)
        print(row(name, results[name]), flush=True)
    if options.before:
        before = json.loads(options.before.read_text(encoding="utf-8"))["results"]
        print("", *compare(before, results), sep="\n")
    save_results(options.json, "attack_serve", results)


if __name__ == "__main__":
    command.run(main)
