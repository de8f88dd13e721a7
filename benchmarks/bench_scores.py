"""Measures the official score against cityscapesscripts, on the same images, which both read from their files.

    python -m benchmarks.bench_scores

The images are label and instance ids of the sample city at Cityscapes' size, the predictions drawn: rectangles of
other categories over the truth. Both take them in turns, in one process and one thread; medians, and that both give the
same score is checked. cityscapesscripts is taken as its package installs it, without its part in C.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as reference
from PIL import Image

from benchmarks.results import save_results
from tfseg.io import command
from tfseg.io.masks import decode_mask
from tfseg.metrics.cityscapes import OfficialScore, label_ids_of
from tfseg.records.labels import CATEGORIES, CITYSCAPES_LOOKUP
from tfseg.synthetic import sample_city


def draw(folder: Path, size: tuple[int, int], count: int) -> list[tuple[Path, Path, Path]]:
    """Draws truth, instances and prediction: label ids, instance ids, label ids."""
    counts = {"train": 1, "val": count, "test": 1}
    sample_city.make_sample_city(folder / "raw", size, counts, seed=0, workers=1)
    random, paths = np.random.default_rng(0), []
    for truth in sorted((folder / "raw").rglob("val/*/*_labelIds.png")):
        predicted = CITYSCAPES_LOOKUP[decode_mask(truth.read_bytes())]
        for _ in range(20):
            top, left = (random.integers(side) for side in size)
            predicted[top : top + size[0] // 8, left : left + size[1] // 8] = random.integers(1, len(CATEGORIES))
        path = folder / f"{truth.stem}_pred.png"
        Image.fromarray(label_ids_of(CATEGORIES)[predicted]).save(path)
        paths.append((truth, Path(str(truth).replace("labelIds", "instanceIds")), path))
    return paths


def score_here(paths: list[tuple[Path, Path, Path]]) -> dict:
    """Scores images by this package."""
    score = OfficialScore()
    for truth, instances, predicted in paths:
        with Image.open(instances) as image:
            numbers = np.array(image)
        label_ids = decode_mask(predicted.read_bytes())
        score.add(decode_mask(truth.read_bytes()), CITYSCAPES_LOOKUP[label_ids], numbers)
    return score.result()


def score_there(paths: list[tuple[Path, Path, Path]]) -> dict:
    """Scores them by cityscapesscripts."""
    predictions, truths = [str(path[2]) for path in paths], [str(path[0]) for path in paths]
    return reference.evaluateImgLists(predictions, truths, reference.args)


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1024x2048", help="HEIGHTxWIDTH (default: %(default)s)")
    parser.add_argument("--images", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    reference.args.quiet, reference.args.JSONOutput = True, False
    if not hasattr(np, "in1d"):
        np.in1d = np.isin  # its name before NumPy 2.4, by which cityscapesscripts calls it
    results = {"tfseg": [], "cityscapesscripts": []}
    with tempfile.TemporaryDirectory() as folder:
        paths = draw(Path(folder), command.parse_size(options.size), options.images)
        for _ in range(options.rounds):
            scores = []
            for name, score in (("tfseg", score_here), ("cityscapesscripts", score_there)):
                start = time.perf_counter()
                scores.append(score(paths))
                results[name].append((time.perf_counter() - start) / len(paths))
            ours, theirs = scores
            if ours["confusion_matrix"] != theirs["confMatrix"] or any(
                ours[f"mean_category_{ours_name}"] != theirs[f"averageScore{name}Categories"]
                for ours_name, name in (("iou", ""), ("iiou", "Inst"))
            ):
                sys.exit("the scores differ")
    ours, theirs = (statistics.median(seconds) for seconds in results.values())
    print("| | ms per image |\n|---|---:|")
    print(f"| tfseg | {1000 * ours:.0f} |\n| cityscapesscripts | {1000 * theirs:.0f} |")
    print(f"| cityscapesscripts by tfseg | {theirs / ours:.1f} |")
    save_results(options.json, "bench_scores", results)


if __name__ == "__main__":
    command.run(main)
