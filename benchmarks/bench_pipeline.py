"""Measures the training pipeline against what bounds it: a loop that only decodes the same bytes.

    python -m benchmarks.bench_pipeline --records data/sample-city/full-512x1024
    python -m benchmarks.bench_pipeline --records data/sample-city/full-512x1024 --crop 320x320 --cores 1 2

For crops and for whole images, with a seed and without: images/s of batches as a training gets them, in turns with
a loop on as many processes that decodes image and mask and does nothing else. Medians of several rounds, and ratios.

    python -m benchmarks.bench_pipeline --records data/sample-city/full-512x1024 --cached
    python -m benchmarks.bench_pipeline --records data/sample-city/full-raw --cached

The same of what is decoded already, data.cache or raw records, in turns with a loop that copies the same bytes of a
file, mapped into memory, into batches.

    python -m benchmarks.bench_pipeline --records data/sample-city/full-512x1024 --memory

Resident memory over 20 epochs.

    pip install '.[bench]'
    python -m benchmarks.bench_pipeline --records data/sample-city/full-512x1024 --peers data/sample-city/full \\
        --resized data/sample-city/full-320x320

Against other loaders: the same images as batches of 320x320, resized or cut from 512x1024 (see peer_loaders.py).
"""

import argparse
import multiprocessing
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks import peer_loaders
from benchmarks.results import save_results
from tfseg.io import command
from tfseg.records import records
from tfseg.records.manifest import read_manifest
from tfseg.records.parsing import parse_features, parse_image, parse_mask
from tfseg.records.record_set import open_records

BATCH_SIZE = 8
LABELS = {"squashed": "resized"}  # what tables call the whole images of the file of measurements


def measure(
    make: Callable[..., Iterator[int]], arguments: tuple, cores: int, seconds: float, processes: int = 1
) -> float:
    """Images/s of a chain, in processes of their own that may use so many cores in all."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    own = sorted(os.sched_getaffinity(0))[:cores]
    shares = [own] if processes == 1 else [[core] for core in own]
    workers = [
        context.Process(target=_measure_here, args=(make, arguments, share, seconds, barrier, results))
        for share in shares
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        sys.exit(f"{make.__name__}{arguments}: failed")
    return sum(results.get() for _ in workers)


def _measure_here(make, arguments, cores, seconds, barrier, results) -> None:
    os.sched_setaffinity(0, cores)  # before TensorFlow counts them
    images = make(*arguments)
    counted = 0
    while counted < 10 * BATCH_SIZE:  # traced, started, buffers full
        counted += next(images)
    barrier.wait()
    start, counted = time.monotonic(), 0
    while time.monotonic() < start + seconds:
        counted += next(images)
    results.put(counted / (time.monotonic() - start))
    results.close()
    results.join_thread()
    os._exit(0)  # whatever threads and workers the chain has


def make_batches(
    directory: str, split: str, size: tuple[int, int] | None, seed: int | None, cache: str | None = None
) -> Iterator[int]:
    """Yields the size of each batch of the training pipeline, without an end."""
    from tfseg.pipeline.pipeline import TrainStream
    from tfseg.pipeline.settings import TrainSettings

    opened = open_records(directory)
    stored = opened.size
    fit = "resize" if size in (None, stored) else "crop"
    settings = TrainSettings(size or stored, BATCH_SIZE, fit, seed=seed, cache=cache)
    for _ in TrainStream(opened, split, settings).batches():
        yield BATCH_SIZE


def decode_only(directory: str, split: str, size: tuple[int, int] | None, seed: int | None) -> Iterator[int]:
    """Decodes image and mask, or a random crop of them, again and again, from bytes that are in memory."""
    import tensorflow as tf

    manifest = read_manifest(directory)
    shards = [Path(directory, shard.name) for shard in manifest.splits[split].shards]
    examples = [data for shard in shards for data in records.read_shard(shard)][:400]
    features = [parse_features(tf.constant(data)) for data in examples]
    size = size or tuple(manifest.size)
    corners = np.random.default_rng(seed).integers(0, np.array(manifest.size) - size + 1, (len(features), 2))

    @tf.function
    def decode(features, crop):
        crop = None if size == tuple(manifest.size) else crop
        return parse_image(features, manifest, crop), parse_mask(features, manifest, crop)

    crops = [tf.constant([*corner, *size], tf.int32) for corner in corners]
    while True:
        for example, crop in zip(features, crops, strict=True):
            decode(example, crop)
            yield 1


def copy_only(directory: str, split: str, size: tuple[int, int] | None, seed: int | None) -> Iterator[int]:
    """Copies image and mask, or a random crop of them, again and again, from the file of the cache into batches."""
    from tfseg.pipeline.cache import open_cache

    opened = open_records(directory)
    pixels, random = open_cache(opened, split, "disk", 0), np.random.default_rng(seed)
    size = size or opened.size
    corners = random.integers(0, np.array(opened.size) - size + 1, (len(pixels.images), 2))
    while True:
        images = np.empty((BATCH_SIZE, *size, pixels.channels), np.uint8)
        masks = np.empty((BATCH_SIZE, *size), np.uint8)
        for place in range(BATCH_SIZE):
            number = random.integers(len(corners))
            top, left = corners[number]
            images[place] = pixels.images[number, top : top + size[0], left : left + size[1]]
            masks[place] = pixels.masks[number, top : top + size[0], left : left + size[1]]
        yield BATCH_SIZE


def make_peer_batches(name: str, folder: str, cores: int) -> Iterator[int]:
    """Yields the size of each batch that another loader makes."""
    for _ in {**peer_loaders.RESIZED, **peer_loaders.CROPS}[name](Path(folder), cores):
        yield BATCH_SIZE


DECODED = {
    "decode only": (decode_only, None),
    "pipeline": (make_batches, None),
    "pipeline with a seed": (make_batches, 0),
}
CACHED = {
    "copy only": (copy_only, None),
    "cache": (make_batches, None, "disk"),
    "cache with a seed": (make_batches, 0, "disk"),
}
RAW = {"raw records": (make_batches, None), "raw records with a seed": (make_batches, 0)}


def bench(
    kinds: dict[str, tuple],
    directory: str,
    split: str,
    crop: tuple[int, int],
    cores: list[int],
    rounds: int,
    seconds: float,
) -> dict:
    """Measures kinds in turns: {cores: {"crop" or "whole": {kind: [images/s of each round]}}}."""
    results = {n: {what: {kind: [] for kind in kinds} for what in ("crop", "whole")} for n in cores}
    for _ in range(rounds):
        for n, by_what in results.items():
            for what, rates in by_what.items():
                for kind, measured in rates.items():
                    make, *settings = kinds[kind]
                    arguments = directory, split, crop if what == "crop" else None, *settings
                    measured.append(measure(make, arguments, n, seconds, 1 if make is make_batches else n))
    return results


def bench_peers(options: argparse.Namespace) -> dict:
    """Measures all in turns: {cores: {"squashed" or "crops": {loader: [images/s of each round]}}}."""
    size = (peer_loaders.SIZE, peer_loaders.SIZE)
    with tempfile.TemporaryDirectory(dir=Path(options.records).parent) as temporary:
        loose = Path(temporary, "loose")
        peer_loaders.write_loose(options.records, options.split, loose)
        chains = {"squashed": {}, "crops": {}}
        for what, directory in (("squashed", options.resized), ("crops", options.records)):
            chains[what]["tfseg"] = make_batches, (directory, options.split, size, None)
        for what, peers, folder in (
            ("squashed", peer_loaders.RESIZED, options.peers),
            ("crops", peer_loaders.CROPS, loose),
        ):
            chains[what] |= {name: (make_peer_batches, (name, str(folder))) for name in peers}
        results = {n: {what: {name: [] for name in by_name} for what, by_name in chains.items()} for n in options.cores}
        for _ in range(options.rounds):
            for n, by_what in results.items():
                for what, rates in by_what.items():
                    for name, measured in rates.items():
                        make, arguments = chains[what][name]
                        arguments = arguments if make is make_batches else (*arguments, n)
                        measured.append(measure(make, arguments, n, options.seconds))
    return results


def bench_memory(directory: str, split: str, size: tuple[int, int], epochs: int, images: int) -> list[float]:
    """Measures the resident memory of this process after each of so many epochs of a training stream, in MiB."""
    batches = make_batches(directory, split, size, None)
    sizes = []
    for _ in range(epochs):
        counted = 0
        while counted < images:
            counted += next(batches)
        status = Path("/proc/self/status").read_text()
        sizes.append(int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024)
    return sizes


def slope(sizes: list[float]) -> float:
    """MiB per epoch by which memory grows, by least squares; the first quarter fills buffers and is left out."""
    settled = sizes[len(sizes) // 4 :]
    return float(np.polyfit(range(len(settled)), settled, 1)[0])


def table(results: dict, reference: str, heading: str) -> list[str]:
    """Rows of medians, and each as a share of a chain's."""
    rows = [f"| cores | images | chain | images/s | {heading} |", "|---:|---|---|---:|---:|"]
    for cores, by_what in results.items():
        for what, rates in by_what.items():
            bound = statistics.median(rates[reference])
            for kind, measured in rates.items():
                rate = statistics.median(measured)
                share = bound / rate if reference == "tfseg" else rate / bound
                share = f"{share:.{1 if share > 1.5 else 2}f}"
                rows.append(f"| {cores} | {LABELS.get(what, what)} | {kind} | {rate:.0f} | {share} |")
    return rows


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", required=True, help="folder of JPEG records, all of one size")
    parser.add_argument("--split", default="train", help="(default: %(default)s)")
    parser.add_argument("--crop", default="320x320", help="HEIGHTxWIDTH of the crops (default: %(default)s)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="to run on (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="a measurement (default: %(default)s)")
    parser.add_argument("--memory", action="store_true", help="measure memory over 20 epochs of 3,000 crops instead")
    parser.add_argument("--cached", action="store_true", help="measure what is decoded already instead")
    parser.add_argument("--peers", metavar="RAW", help="raw Cityscapes tree; measures other loaders instead")
    parser.add_argument("--resized", metavar="RECORDS", help="with --peers: the same images as records of 320x320")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    if options.peers and not options.resized:
        parser.error("--peers needs --resized")
    if options.memory:
        results = bench_memory(options.records, options.split, command.parse_size(options.crop), 20, 3000)
        print(f"RSS {min(results):.0f} to {max(results):.0f} MiB over 20 epochs, {slope(results):+.2f} MiB per epoch")
    elif options.peers:
        results = bench_peers(options)
        print("\n".join(table(results, "tfseg", "times as many")))
    else:
        kinds, crop = DECODED, command.parse_size(options.crop)
        if options.cached:
            kinds = CACHED | (RAW if read_manifest(options.records).codec == "raw" else {})
        results = bench(kinds, options.records, options.split, crop, options.cores, options.rounds, options.seconds)
        reference = next(iter(kinds))
        print("\n".join(table(results, reference, f"of {reference}")))
    save_results(options.json, "bench_pipeline", results)


if __name__ == "__main__":
    command.run(main)
