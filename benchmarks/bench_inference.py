"""Measures what `python -m tfseg.predict` takes for images of 1024x2048, whole, by sliding window, augmented.

    python -m benchmarks.bench_inference

The network is the EfficientNetB3 U-Net with random weights, the images are drawn. Each row is the command itself, by
the seconds and MiB that it prints at its end; in turns, medians over the rounds.
"""

import argparse
import multiprocessing
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.results import save_results
from tfseg.io import command

SIZE = (1024, 2048)
ROWS = (
    "",
    "--sliding-window 512x1024 --overlap 0.25",
    "--sliding-window 512x1024 --overlap 0.5",
    "--tta flip",
    "--tta-scales 0.75 1.0 1.25",
    "--sliding-window 512x1024 --overlap 0.25 --tta flip --tta-scales 0.75 1.0 1.25",
)
SUMMARY = re.compile(r"the first took ([\d.]+) s, the others ([\d.]+) s \(median\); ([\d,]+) MiB at most")


def export(directory: Path) -> None:
    """Writes the network with random weights as a SavedModel."""
    from tfseg.exporters.exporter import export_saved_model
    from tfseg.models.segmenter import build_network
    from tfseg.records.labels import CATEGORIES, CATEGORY_COLORS

    export_saved_model(build_network(len(CATEGORIES), weights=None), directory, CATEGORIES, CATEGORY_COLORS)


def draw(directory: Path, count: int) -> None:
    """Draws images, blocks of colours."""
    directory.mkdir()
    for index in range(count):
        blocks = np.random.default_rng(index).integers(0, 256, (SIZE[0] // 16, SIZE[1] // 16, 3), np.uint8)
        Image.fromarray(blocks.repeat(16, axis=0).repeat(16, axis=1)).save(directory / f"{index}.png")


def predict(folder: Path, options: str) -> dict:
    """Predicts all images: seconds of the first, the median of the others', and MiB at most."""
    command = [sys.executable, "-m", "tfseg.predict", "--model", folder / "model", "--out", folder / "masks"]
    result = subprocess.run([*command, folder / "images", *options.split()], capture_output=True, text=True)
    summary = SUMMARY.search(result.stdout)
    if not summary:
        sys.exit(f"{options}: {result.stdout}{result.stderr}")
    return {"first": float(summary[1]), "others": float(summary[2]), "memory": int(summary[3].replace(",", ""))}


def table(results: dict) -> list[str]:
    """Rows of medians, and how many times the whole image's seconds each takes."""
    rows = ["| options | first s | others s | times whole | MiB at most |", "|---|---:|---:|---:|---:|"]
    medians = {
        options: [statistics.median(one[key] for one in rounds) for key in ("first", "others", "memory")]
        for options, rounds in results.items()
    }
    for options, (first, others, memory) in medians.items():
        name = f"`{options}`" if options else "none: the whole image"
        rows.append(f"| {name} | {first:.1f} | {others:.1f} | {others / medians[''][1]:.2f} | {memory:,.0f} |")
    return rows


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3, help="two or more (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each row (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    results = {row: [] for row in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        draw(folder / "images", options.images)
        process = multiprocessing.get_context("spawn").Process(target=export, args=(folder / "model",))
        process.start()
        process.join()
        for _ in range(options.rounds):
            for row, rounds in results.items():
                rounds.append(predict(folder, row))
    print("\n".join(table(results)))
    save_results(options.json, "bench_inference", results)


if __name__ == "__main__":
    command.run(main)
