"""Measures `python -m tfseg.serve` with each runtime, under load, and its memory while images of many sizes come.

    python -m benchmarks.bench_serve_runtimes --model models/camvid --images data/camvid/images/val --json runtimes.json
    python -m benchmarks.bench_serve_runtimes --model models/camvid --images data/camvid/images/val --sizes 500 \\
        --runtimes onnxruntime --json sizes.json

The first starts the service anew for each runtime in each round, and lets clients send files of one size, each the next
one as soon as it has its mask. With --sizes, so many images of as many sizes come over and over, for a minute and the
seconds after it; memory counts from the end of that minute on.
"""

import argparse
import io
import random
import statistics
import sys
import time
from pathlib import Path

from PIL import Image

from benchmarks.bench_serve import Service, percentile
from benchmarks.results import describe_machine, save_results
from tfseg.inference.runtimes.choice import RUNTIMES, find_runtimes
from tfseg.io import command

SIDES = (64, 512)  # of the images of many sizes
MINUTE = 60


def measure(runtime: str, files: list[bytes], options: argparse.Namespace) -> dict:
    """Starts the service with a runtime, warms it up, and loads it for a while."""
    start = time.perf_counter()
    service = Service(options.model, ["--runtime", runtime, *options.options.split()])
    ready = time.perf_counter() - start
    service.load(files, options.clients, options.warm_up)
    found = service.load(files, options.clients, options.seconds)
    code = service.stop()
    return {"ready": ready, "exit": code, **found}


def measure_sizes(runtime: str, files: list[bytes], options: argparse.Namespace) -> dict:
    """Starts the service with a runtime, and sends images of many sizes, of which the first minute does not count."""
    service = Service(options.model, ["--runtime", runtime, *options.options.split()])
    service.load(files, options.clients, MINUTE)
    found = service.load(files, options.clients, options.seconds)
    return {"exit": service.stop(), **found}


def draw_sizes(paths: list[Path], count: int) -> list[bytes]:
    """Resizes images to so many sizes of different heights and widths, and gives them as JPEG files."""
    draw = random.Random(0)
    sizes: set[tuple[int, int]] = set()
    while len(sizes) < count:
        sizes.add((draw.randint(*SIDES), draw.randint(*SIDES)))
    files = []
    for place, size in enumerate(draw.sample(sorted(sizes), count)):
        with Image.open(paths[place % len(paths)]) as image:
            image.convert("RGB").resize(size).save(buffer := io.BytesIO(), "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def table(results: dict) -> list[str]:
    """Rows of medians over the rounds, and images/s as a share of the first runtime's."""
    rows = [
        "| | images/s | share | p50 ms | p95 ms | processor ms per image | batch | ready s | MiB |",
        f"|---|{'---:|' * 8}",
    ]
    first = None
    for name, rounds in results.items():
        rate = statistics.median(one["rate"] for one in rounds)
        first = first or rate
        latencies = [seconds for one in rounds for seconds in one["latencies"]]
        cells = [f"{rate:.2f}", f"{rate / first:.2f}"]
        cells += [f"{1000 * percentile(latencies, share):,.0f}" for share in (0.5, 0.95)]
        cells += [f"{1000 * statistics.median(one['processor'] for one in rounds):.0f}"]
        cells += [f"{statistics.median(one['batch'] for one in rounds):.1f}"]
        cells += [f"{statistics.median(one['ready'] for one in rounds):.1f}"]
        cells += [f"{statistics.median(max(one['memory']) for one in rounds):,.0f}"]
        rows.append(f"| {RUNTIMES[name].title} | {' | '.join(cells)} |")
    return rows


def table_of_sizes(results: dict) -> list[str]:
    """Rows of each runtime's memory after the first minute."""
    rows = ["| | images | MiB after a minute | least | most | at the end | growth |", f"|---|{'---:|' * 6}"]
    for name, [one] in results.items():
        memory = one["memory"]
        numbers = [memory[0], min(memory), max(memory), memory[-1]]
        cells = [f"{len(one['latencies']):,}", *(f"{number:,.0f}" for number in numbers)]
        rows.append(f"| {RUNTIMES[name].title} | {' | '.join(cells)} | {100 * (max(memory) / memory[0] - 1):+.1f} % |")
    return rows


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="export of several formats")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of images of one size")
    parser.add_argument("--runtimes", nargs="+", choices=[*RUNTIMES], help="(default: all that the folder is for)")
    parser.add_argument("--clients", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="of the load in a round (default: %(default)s)")
    parser.add_argument("--warm-up", type=float, default=5, help="seconds of load before it (default: %(default)s)")
    parser.add_argument("--sizes", type=int, default=0, metavar="N", help="send images of N sizes (default: of one)")
    parser.add_argument("--options", default="", help="of the service, such as '--max-batch 4'")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    paths = sorted(options.images.iterdir())[:32]
    names = options.runtimes or find_runtimes(options.model)
    if options.sizes:
        files = draw_sizes(paths, options.sizes)
        results = {name: [measure_sizes(name, files, options)] for name in names}
        rows = table_of_sizes(results)
    else:
        files = [path.read_bytes() for path in paths]
        results = {name: [] for name in names}
        for _ in range(options.rounds):
            for name, rounds in results.items():
                rounds.append(measure(name, files, options))
        rows = table(results)
    print("\n".join([describe_machine(), "", *rows]))
    save_results(options.json, "bench_serve_runtimes", results)
    failures = [failure for rounds in results.values() for one in rounds for failure in one["failures"]]
    if failures or any(one["exit"] for rounds in results.values() for one in rounds):
        sys.exit(f"{len(failures)} requests failed, such as {failures[:3]}")


if __name__ == "__main__":
    command.run(main)
