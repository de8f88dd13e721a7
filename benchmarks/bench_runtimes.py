"""Measures what each runtime takes for an exported model's masks, and how far they are those of TensorFlow.

    python -m benchmarks.bench_runtimes --model models/camvid --images data/camvid/images/val --json runtimes.json

Each row is a process of its own, on one core or on several, in turns; it loads the model, and sees the images one at a
time, from decoded pixels to the mask, as `tfseg predict` does between reading and writing a file.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.results import describe_machine, save_results
from tfseg.inference.runtimes.choice import RUNTIMES, find_runtimes
from tfseg.io import command

WARM_UP = 3


def measure_here(model: Path, runtime: str, paths: list[Path], masks: Path) -> dict:
    """Seconds until the model answers its first image, then of every other one, and MiB at most; keeps the masks."""
    from tfseg.diagnostics.runtimes import find_version
    from tfseg.inference.cost import peak_memory
    from tfseg.inference.predictor import load_segmenter
    from tfseg.inference.reading import read_image

    images = [read_image(path) for path in paths]
    start = time.perf_counter()
    _, segment = load_segmenter(model, runtime=runtime)
    segment(images[0])
    ready = time.perf_counter() - start
    for image in images[:WARM_UP]:
        segment(image)
    seconds, found = [], {}
    for path, image in zip(paths, images, strict=True):
        start = time.perf_counter()
        found[path.name] = segment(image)
        seconds.append(time.perf_counter() - start)
    np.savez(masks, **found)
    version = find_version(RUNTIMES[runtime].package)
    return {"version": version, "ready": ready, "seconds": seconds, "memory": peak_memory()}


def measure(model: Path, runtime: str, cores: int, options: argparse.Namespace, masks: Path) -> dict:
    """Measures a runtime in a process of its own, on the first cores."""
    words = [sys.executable, "-m", "benchmarks.bench_runtimes", "--model", model, "--images", options.images]
    words += ["--count", options.count, "--measure", runtime, "--masks", masks]
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    result = subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    if result.returncode:
        sys.exit(f"{runtime}: {result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def differ(masks: Path, reference: Path) -> float:
    """The share of all pixels whose class is another than in the masks of another file."""
    ours, theirs = np.load(masks), np.load(reference)
    other = sum(int(np.count_nonzero(ours[name] != theirs[name])) for name in theirs.files)
    return other / sum(theirs[name].size for name in theirs.files)


def weigh(model: Path, runtime: str) -> float:
    """MB of the files that a runtime reads of a folder."""
    path = model / RUNTIMES[runtime].file
    files = {path, *path.parent.glob("variables/*")} if runtime == "tensorflow" else {path}
    if runtime == "openvino":
        files.add(path.with_suffix(".bin"))
    return sum(file.stat().st_size for file in files) / 1e6


def table(results: dict) -> list[str]:
    """Rows of medians; how many times as fast as TensorFlow each is on the same cores."""
    cores = list(next(iter(results.values()))["rounds"])
    heads = [f"ms, {count} {'core' if count == '1' else 'cores'} | as fast" for count in cores]
    head = f"| | MB | other class % | {' | '.join(heads)} | first mask s | MiB |"
    rows = [head, f"|---|{'---:|' * (4 + 2 * len(cores))}"]
    first = next(iter(results.values()))
    for name, found in results.items():
        cells = [f"{found['megabytes']:.1f}", "" if found is first else f"{100 * found['other']:.3f}"]
        for count in cores:
            took, base = summarize(found["rounds"][count]), summarize(first["rounds"][count])
            cells += [f"{1000 * took:.1f}", f"{base / took:.2f}"]
        last = found["rounds"][cores[-1]]
        cells += [f"{statistics.median(one['ready'] for one in last):.2f}"]
        cells += [f"{statistics.median(one['memory'] for one in last):,.0f}"]
        rows.append(f"| {RUNTIMES[name].title} {last[0]['version']} | {' | '.join(cells)} |")
    return rows


def summarize(rounds: list[dict]) -> float:
    """Median seconds of an image over all processes."""
    return statistics.median(second for one in rounds for second in one["seconds"])


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="export of several formats")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of images")
    parser.add_argument("--count", type=int, default=20, help="images of it (default: %(default)s)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="(default: 1 2)")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each row (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    parser.add_argument("--measure", metavar="RUNTIME", help=argparse.SUPPRESS)  # in this process; prints it as JSON
    parser.add_argument("--masks", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    paths = sorted(options.images.iterdir())[: options.count]
    if options.measure:
        print(json.dumps(measure_here(options.model, options.measure, paths, options.masks)))
        return
    names = find_runtimes(options.model)
    results = {
        name: {"megabytes": weigh(options.model, name), "rounds": {str(count): [] for count in options.cores}}
        for name in names
    }
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for count in options.cores:
                for name in names:
                    masks = Path(folder, f"{name}.npz")
                    results[name]["rounds"][str(count)].append(measure(options.model, name, count, options, masks))
                    results[name]["other"] = differ(masks, Path(folder, f"{names[0]}.npz"))
    print("\n".join([describe_machine(), "", *table(results)]))
    save_results(options.json, "bench_runtimes", results)


if __name__ == "__main__":
    command.run(main)
