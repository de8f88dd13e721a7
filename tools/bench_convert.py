"""Measures the converter against what bounds it: a loop that only decodes the same files.

    python tools/bench_convert.py --root data/sample-city/full --json docs/results/convert/speed.json
    python tools/bench_convert.py --root data/sample-city/full --memory
    python tools/bench_convert.py --root data/sample-city/full --codecs --json docs/results/convert/codecs.json

The first prints pictures/s of the bare loop with every decoder that is installed and of the whole converter, round by
round in one run, and the medians' ratio. Whatever else runs on the machine slows both. The bare loop is timed without
the start of its processes, the converter as a whole: start, decoding, encoding, writing, the last rename.
"""

import argparse
import io
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from tfseg import cli, convert, pictures, records, sources

ROOT_HELP = "raw data set of full-size pictures; they are used again and again until there are --pictures"


# ---- decoders, each from the bytes of a PNG file to an array


def make_decoders() -> dict[str, Callable[[bytes], object]]:
    """Makes a decoder of each package that is installed; called in every process anew."""
    makers = (_kornia_rs, _tensorflow, _opencv, _pillow, _pyspng, _imagecodecs, _pyvips)
    decoders = {}
    for make in makers:
        try:
            decoders[make.__name__[1:]] = make()
        except ImportError:
            continue
    return decoders


def _kornia_rs() -> Callable:
    # Behind the converter's own look at the kind of file, which takes microseconds.
    return lambda data: pictures.decode_picture(data) if data[25] == 2 else pictures.decode_mask(data)


def _tensorflow() -> Callable:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return lambda data: tf.io.decode_png(data).numpy()


def _opencv() -> Callable:
    cv2.setNumThreads(1)
    return lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def _pillow() -> Callable:
    from PIL import Image

    return lambda data: np.asarray(Image.open(io.BytesIO(data)))


def _pyspng() -> Callable:
    import pyspng

    return pyspng.load


def _imagecodecs() -> Callable:
    import imagecodecs

    return imagecodecs.png_decode


def _pyvips() -> Callable:
    import pyvips

    pyvips.voperation.cache_set_max(0)
    return lambda data: pyvips.Image.new_from_buffer(data, "").numpy()


# ---- speed


def decode_rate(decoder: str, samples: Sequence[sources.Sample], workers: int) -> float:
    """Pictures (each with its mask) a second of a loop that only reads and decodes, on so many processes."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(workers), context.Queue()
    processes = [
        context.Process(target=_decode_share, args=(decoder, samples[index::workers], barrier, results))
        for index in range(workers)
    ]
    for process in processes:
        process.start()
    times = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return len(samples) / (max(end for _, end in times) - min(start for start, _ in times))


def _decode_share(decoder: str, samples: Sequence[sources.Sample], barrier, results) -> None:
    decode = make_decoders()[decoder]
    for path in samples[0][1:]:
        decode(path.read_bytes())
    barrier.wait()
    start = time.time()
    for sample in samples:
        decode(sample.image.read_bytes())
        decode(sample.mask.read_bytes())
    results.put((start, time.time()))


def convert_rate(source: sources.Source, settings: dict, workers: int) -> float:
    """Pictures a second of a whole conversion."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        manifest = convert.convert(source, Path(folder, "records"), workers=workers, **settings)
        return sum(split.count for split in manifest.splits.values()) / (time.perf_counter() - start)


def bench_speed(source: sources.Source, settings: dict, workers: Sequence[int], rounds: int) -> dict:
    """Measures every decoder and the converter in turns: {workers: {name: [pictures/s of each round]}}."""
    samples = [sample for members in source.splits.values() for sample in members]
    rates = {}
    for count in workers:
        rates[count] = {name: [] for name in [*make_decoders(), "converter"]}
        for _ in range(rounds):
            for name, measured in rates[count].items():
                if name == "converter":
                    measured.append(convert_rate(source, settings, count))
                else:  # a fifth of the pictures tells as much, since there is no start to make up for
                    measured.append(decode_rate(name, samples[: max(len(samples) // 5, 2 * count)], count))
    return rates


def print_speed(rates: dict) -> None:
    """Prints the medians, and the converter's share of each."""
    print(f"{'':24}" + "".join(f"{f'{count} workers':>28}" for count in rates))
    for name in next(iter(rates.values())):
        cells = []
        for measured in rates.values():
            rate, whole = statistics.median(measured[name]), statistics.median(measured["converter"])
            cells.append(f"{rate:10.1f} pictures/s  {whole / rate:5.2f}")
        print(
            f"{'converter' if name == 'converter' else f'decode only, {name}':24}" + "".join(f"{c:>28}" for c in cells)
        )
    print("the second figure is the converter's rate divided by this one")


# ---- memory


def bench_memory(source: sources.Source, settings: dict, workers: int) -> None:
    """Prints each process's memory (proportional set size, from /proc) over a conversion."""
    series: dict[int, list[float]] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            for pid in [os.getpid(), *_children(os.getpid())]:
                series.setdefault(pid, []).append(_memory(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        convert_rate(source, settings, workers)
    finally:
        done.set()
        watcher.join()
    for pid, values in series.items():
        values = [value for value in values if value]
        if len(values) < 6:
            continue  # too short-lived to tell
        third = len(values) // 3
        early, late = statistics.median(values[third : 2 * third]), statistics.median(values[-third:])
        name = "parent" if pid == os.getpid() else "worker"
        print(f"{name}: peak {max(values):.0f} MiB, middle third {early:.0f} MiB, last third {late:.0f} MiB")


def _children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()]


def _memory(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (OSError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


# ---- codecs


CODECS = (("jpeg", 85), ("jpeg", 90), ("jpeg", 95), ("jpeg", 98), ("png", None), ("raw", None))


def bench_codecs(source: sources.Source, sizes: Sequence[tuple[int, int] | None], count: int) -> list[dict]:
    """Measures what each codec costs and keeps, at each size; decoding is TensorFlow's, as in a training."""
    import tensorflow as tf

    cv2.setNumThreads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    files = [sample.image for members in source.splits.values() for sample in members][:count]
    rows = []
    for size in sizes:
        images = [pictures.decode_picture(path.read_bytes()) for path in files]
        images = [pictures.resize(image, size or image.shape[:2]) for image in images]
        for codec, quality in CODECS:
            encoded, encode_ms = _timed(lambda image: pictures.encode_image(image, codec, quality), images)  # noqa: B023
            examples = [
                tf.constant(records.encode_example(id="", image=data, codec=codec, height=h, width=w, mask=EMPTY_MASK))
                for data, (h, w, _) in zip(encoded, (image.shape for image in images), strict=True)
            ]
            parsed, decode_ms = _timed(lambda example: records.parse_example(example, codec)["image"], examples)  # noqa: B023
            error = [np.mean((a.astype(float) - b.numpy()) ** 2) for a, b in zip(images, parsed, strict=True)]
            rows.append(
                {
                    "size": "x".join(map(str, size)) if size else "original",
                    "codec": codec if quality is None else f"{codec} {quality}",
                    "bytes": round(statistics.mean(map(len, encoded))),
                    "psnr": 10 * math.log10(255**2 / np.mean(error)) if any(error) else None,
                    "encode_ms": encode_ms,
                    "decode_ms": decode_ms,
                }
            )
    return rows


EMPTY_MASK = pictures.encode_mask(np.zeros((1, 1), np.uint8))


def _timed(function: Callable, items: Sequence) -> tuple[list, float]:
    """Results, and the median time an item in ms."""
    function(items[0])
    results, times = [], []
    for item in items:
        start = time.perf_counter()
        results.append(function(item))
        times.append(time.perf_counter() - start)
    return results, statistics.median(times) * 1000


def codec_table(rows: Sequence[dict]) -> list[str]:
    """Makes the lines of a Markdown table."""
    lines = ["| size | codec | KB a picture | PSNR dB | encode ms | decode ms |", "|---|---|---:|---:|---:|---:|"]
    for row in rows:
        psnr = "exact" if row["psnr"] is None else f"{row['psnr']:.1f}"
        times = f"{row['encode_ms']:.1f} | {row['decode_ms']:.1f}"
        lines.append(f"| {row['size']} | {row['codec']} | {row['bytes'] / 1000:.0f} | {psnr} | {times} |")
    return lines


# ---- the command


def repeat(source: sources.Source, folder: Path, count: int) -> sources.Source:
    """Makes a source of `count` pictures of symbolic links to the pictures of another."""
    samples = [sample for members in source.splits.values() for sample in members]
    repeated = []
    for index in range(count):
        sample = samples[index % len(samples)]
        links = [folder / f"{index:06d}_{path.name}" for path in sample[1:]]
        for link, path in zip(links, sample[1:], strict=True):
            link.symlink_to(path.resolve())
        repeated.append(sources.Sample(f"{index:06d}_{sample.id}", *links))
    return sources.Source(source.name, folder, source.lookup, {"train": repeated})


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help=ROOT_HELP)
    parser.add_argument("--pictures", type=int, default=1000, help="pictures a conversion (default: %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: %(default)s)")
    parser.add_argument("--size", default="512x1024", help="HEIGHTxWIDTH (default: %(default)s)")
    parser.add_argument("--codec", default="jpeg", help="of the pictures (default: %(default)s)")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of speed")
    parser.add_argument("--codecs", action="store_true", help="measure codecs instead: bytes, PSNR, times")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    source = sources.open_source(options.root)
    settings = {"size": cli.parse_size(options.size), "codec": options.codec}
    if options.codecs:
        results = bench_codecs(source, [None, (512, 1024), (320, 320)], min(options.pictures, 24))
        print(*codec_table(results), sep="\n")
    else:
        with tempfile.TemporaryDirectory() as folder:
            source = repeat(source, Path(folder), options.pictures)
            if options.memory:
                bench_memory(source, settings, max(options.workers))
                return
            results = bench_speed(source, settings, options.workers, options.rounds)
        print_speed(results)
    if options.json:
        command = " ".join(["python tools/bench_convert.py", *sys.argv[1:]])
        options.json.write_text(json.dumps({"command": command, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    cli.run(main)
