"""Measures the converter against what bounds it: a loop that only decodes the same files.

    python -m benchmarks.bench_convert --root data/sample-city/full --json docs/results/convert/speed.json
    python -m benchmarks.bench_convert --root data/sample-city/full --memory
    python -m benchmarks.bench_convert --root data/sample-city/full --codecs --json docs/results/convert/codecs.json

The first prints images/s of the bare loop with every decoder that is installed and of the whole converter, round by
round in one run, and the medians' ratio. Whatever else runs on the machine slows both. The bare loop is timed without
the start of its processes, the converter as a whole: start, decoding, encoding, writing, the last rename.
"""

import argparse
import dataclasses
import io
import math
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.results import save_results
from tfseg.conversion import converter
from tfseg.conversion.finding import sources
from tfseg.conversion.reading import samples
from tfseg.conversion.writing import encoding, manifests
from tfseg.io import codecs, command, images, masks, resizing
from tfseg.records import records
from tfseg.records.manifest import Manifest
from tfseg.records.parsing import parse_example, parse_features, parse_image, parse_mask

ROOT_HELP = "raw data set of full-size images; they are used again and again until there are --images"


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
    return lambda data: images.decode_file(data) if data[25] == 2 else masks.decode_mask(data)


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


def decode_rate(decoder: str, samples: Sequence[samples.Sample], workers: int) -> float:
    """Images (each with its mask) per second of a loop that only reads and decodes, on so many processes."""
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


def _decode_share(decoder: str, samples: Sequence[samples.Sample], barrier, results) -> None:
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
    """Images per second of a whole conversion."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        manifest = converter.convert(source, Path(folder, "records"), workers=workers, **settings)
        return sum(split.count for split in manifest.splits.values()) / (time.perf_counter() - start)


def bench_speed(source: sources.Source, settings: dict, workers: Sequence[int], rounds: int) -> dict:
    """Measures every decoder and the converter in turns: {workers: {name: [images/s of each round]}}."""
    samples = [sample for members in source.splits.values() for sample in members]
    rates = {}
    for count in workers:
        rates[count] = {name: [] for name in [*make_decoders(), "converter"]}
        for _ in range(rounds):
            for name, measured in rates[count].items():
                if name == "converter":
                    measured.append(convert_rate(source, settings, count))
                else:  # a fifth of the images says as much, since there is no start to make up for
                    measured.append(decode_rate(name, samples[: max(len(samples) // 5, 2 * count)], count))
    return rates


def print_speed(rates: dict) -> None:
    """Prints the medians, and the converter's share of each."""
    print(f"{'':24}" + "".join(f"{f'{count} workers':>28}" for count in rates))
    for name in next(iter(rates.values())):
        cells = []
        for measured in rates.values():
            rate, whole = statistics.median(measured[name]), statistics.median(measured["converter"])
            cells.append(f"{rate:10.1f} images/s  {whole / rate:5.2f}")
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
            continue  # too short-lived to measure
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


CODECS = (("jpeg", 85), ("jpeg", 90), ("jpeg", 95), ("jpeg", 98), ("png", 95), ("raw", 95))
ONE_PIECE = "jpeg 95, one piece, PNG mask"  # as records were stored once
CROP = (320, 320)
DECODINGS = 5  # of each record


def bench_codecs(source: sources.Source, sizes: Sequence[tuple[int, int] | None], count: int) -> list[dict]:
    """Measures what each way to store costs and keeps, at each size; decoding is TensorFlow's, as in a training."""
    import tensorflow as tf

    cv2.setNumThreads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    samples = [sample for members in source.splits.values() for sample in members][:count]
    rows = []
    for size in sizes:
        ways = {}
        for codec, quality in CODECS:
            settings = encoding.make_settings(source, size, codec, quality, "nearest")
            manifest = manifests.blank_manifest(source, settings)
            ways[f"{codec} {quality}" if codec == "jpeg" else codec] = (_encoder(settings), manifest)
        one_piece = dataclasses.replace(ways["jpeg 95"][1], tile_width=None, mask_codec="png")
        ways[ONE_PIECE] = (_encode_in_one_piece, one_piece)
        rows += _bench_size(samples, size, ways, settings)
    return rows


def _encoder(settings: encoding.Settings) -> Callable:
    return lambda pixels: encoding.encode_pixels("", *pixels, settings)


def _encode_in_one_piece(pixels: tuple[np.ndarray, np.ndarray]) -> bytes:
    image, mask = pixels
    encoded = codecs.encode_image(image, "jpeg", 95)
    height, width = mask.shape
    mask = codecs.encode_mask(mask)
    return records.encode_example(id="", image=encoded, codec="jpeg", height=height, width=width, mask=mask)


def _bench_size(
    samples: Sequence[samples.Sample], size: tuple[int, int] | None, ways: dict, settings: encoding.Settings
) -> list[dict]:
    pixels = []
    for sample in samples:
        image, label_ids, *_ = samples.read_sample(sample)
        shape = size or label_ids.shape
        pixels.append((resizing.resize(image, shape), encoding.make_mask(label_ids, shape, settings)))
    random = np.random.default_rng(0)
    corners = [random.integers(0, np.array(mask.shape) - CROP + 1) for _, mask in pixels]
    crops = [np.array([*corner, *CROP], np.int32) for corner in corners]
    rows, decoders = [], []
    for way, (encode, manifest) in ways.items():
        encoded, times = zip(*(_timed(encode, pair) for pair in pixels), strict=True)
        decoders.append((encoded, *_make_decoders(manifest)))
        decoded = [decoders[-1][1](data) for data in encoded]
        error = [np.mean((a.astype(float) - b.numpy()) ** 2) for (a, _), (b, _) in zip(pixels, decoded, strict=True)]
        rows.append(
            {
                "size": "x".join(map(str, size)) if size else "original",
                "codec": way,
                "bytes": round(statistics.mean(map(len, encoded))),
                "psnr": 10 * math.log10(255**2 / np.mean(error)) if any(error) else None,
                "encode_ms": statistics.median(times),
            }
        )
    whole_ms, window_ms = [[] for _ in rows], [[] for _ in rows]
    for _ in range(DECODINGS):  # in turns, so that whatever else runs slows all alike
        for place, (encoded, decode, decode_crop) in enumerate(decoders):
            for data, crop in zip(encoded, crops, strict=True):
                whole_ms[place].append(_timed(decode, data)[1])
                window_ms[place].append(_timed(decode_crop, data, crop)[1])
    for row, whole, crop in zip(rows, whole_ms, window_ms, strict=True):
        row |= {"decode_ms": statistics.median(whole), "window_ms": statistics.median(crop)}
    return rows


def _make_decoders(manifest: Manifest) -> tuple[Callable, Callable]:
    """Decoders of image and mask of a serialised record, whole or in a crop, as a training has them."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def decode(data):
        example = parse_example(data, manifest)
        return example["image"], example["mask"]

    @tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([4], tf.int32)])
    def decode_crop(data, crop):
        features = parse_features(data)
        return parse_image(features, manifest, crop), parse_mask(features, manifest, crop)

    return decode, decode_crop


def _timed(function: Callable, *arguments) -> tuple[object, float]:
    """The result, and the time in ms."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, (time.perf_counter() - start) * 1000


def codec_table(rows: Sequence[dict]) -> list[str]:
    """Makes the lines of a Markdown table."""
    lines = [
        "| size | codec | KB per record | PSNR dB | encode ms | decode ms | crop ms |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        psnr = "exact" if row["psnr"] is None else f"{row['psnr']:.1f}"
        times = " | ".join(f"{row[name]:.1f}" for name in ("encode_ms", "decode_ms", "window_ms"))
        lines.append(f"| {row['size']} | {row['codec']} | {row['bytes'] / 1000:.0f} | {psnr} | {times} |")
    return lines


# ---- the command


def repeat(source: sources.Source, folder: Path, count: int) -> sources.Source:
    """Makes a source of `count` images of symbolic links to the images of another."""
    originals = [sample for members in source.splits.values() for sample in members]
    repeated = []
    for index in range(count):
        sample = originals[index % len(originals)]
        image, mask = (folder / f"{index:06d}_{path.name}" for path in (sample.image, sample.mask))
        image.symlink_to(sample.image.resolve())
        mask.symlink_to(sample.mask.resolve())
        repeated.append(samples.Sample(f"{index:06d}_{sample.id}", image, mask))
    return sources.Source(source.name, folder, source.label_map, {"train": repeated})


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help=ROOT_HELP)
    parser.add_argument("--images", type=int, default=1000, help="images per conversion (default: %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: %(default)s)")
    parser.add_argument("--size", default="512x1024", help="HEIGHTxWIDTH (default: %(default)s)")
    parser.add_argument("--codec", default="jpeg", help="of the images (default: %(default)s)")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of speed")
    parser.add_argument("--codecs", action="store_true", help="measure codecs instead: bytes, PSNR, times")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    source = sources.open_source(options.root)
    settings = {"size": command.parse_size(options.size), "codec": options.codec}
    if options.codecs:
        results = bench_codecs(source, [(1024, 2048), (512, 1024), (320, 320)], min(options.images, 24))
        print(*codec_table(results), sep="\n")
    else:
        with tempfile.TemporaryDirectory() as folder:
            source = repeat(source, Path(folder), options.images)
            if options.memory:
                bench_memory(source, settings, max(options.workers))
                return
            results = bench_speed(source, settings, options.workers, options.rounds)
        print_speed(results)
    save_results(options.json, "bench_convert", results)


if __name__ == "__main__":
    command.run(main)
