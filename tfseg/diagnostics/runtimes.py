"""Which runtime computes an exported model fastest on this machine, each timed in a process of its own.

    python -m tfseg.diagnostics.runtimes MODEL RUNTIME MASKS

times one and keeps its masks, for `examine_model`.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np

from tfseg import __version__
from tfseg.diagnostics.checks import FAILED, OK, WARNING, Finding
from tfseg.diagnostics.machine import find_instructions, find_processor
from tfseg.diagnostics.parts import DONE, run_child, say
from tfseg.inference.model_folder import find_model
from tfseg.inference.predictor import choose_sizes, load_segmenter
from tfseg.inference.runtimes.choice import RUNTIMES, find_runtimes, is_installed

SECONDS = 300  # that a runtime may take to load and to see all images
WARM_UP, IMAGES = 3, 15
# Of pixels; of the others 0.9999.
SAME = {"litert_float16": 0.99, **dict.fromkeys(("litert_int8", "litert_mixed", "litert_weight_only"), 0.9)}


def examine_model(model: str | Path, log: Callable[[str], object] = lambda line: None) -> list[Finding]:
    """Times every runtime that a folder of a model has a file for.

    Each sees noise of the size of the model's validation, one image at a time, on all cores, from pixels to mask.

    Args:
        model: folder of an exported model, or of a run.
        log: called with each line as it is found.

    Returns:
        For each runtime its median time and its share of pixels of the same class as the first one's, and last which is
        the fastest of those that need not be asked for by name.

    Raises:
        FileNotFoundError: as of `find_model`.
    """
    directory, findings = find_model(Path(model)), []

    def add(finding: Finding) -> None:
        findings.append(finding)
        log(str(finding))

    log(f"tfseg {__version__}; {find_processor()}; {find_instructions()}; {os.cpu_count()} cores")
    times, masks = {}, {}
    with tempfile.TemporaryDirectory(prefix="tfseg-doctor-") as folder:
        for name in find_runtimes(directory):
            title = RUNTIMES[name].title
            if not is_installed(name):
                add(Finding("runtime", WARNING, f"{title}: not installed", RUNTIMES[name].install))
                continue
            file = Path(folder, f"{name}.npy")
            words = [sys.executable, "-m", "tfseg.diagnostics.runtimes", str(directory), name, str(file)]
            outcome = run_child(name, words, SECONDS)
            if outcome.failure:
                add(Finding("runtime", FAILED, f"{title}: {outcome.failure.text}", outcome.failure.remedy))
                continue
            found = outcome.items[0]
            times[name], masks[name] = found["milliseconds"], np.load(file)
            add(judge(name, found, next(iter(masks)), float(np.mean(masks[name] == next(iter(masks.values()))))))
    if len(exact := [name for name in times if name not in SAME]) > 1:
        best = min(exact, key=times.__getitem__)
        add(Finding("runtime", OK, f"the fastest here is {RUNTIMES[best].title}: --runtime {best}"))
    return findings


def judge(name: str, found: dict, first: str, share: float) -> Finding:
    """Makes a finding of what a runtime took and gave; `share`: of pixels that have the class that `first` gives."""
    text = f"{RUNTIMES[name].title} {found['version']}: {found['milliseconds']:.1f} ms an image of {found['size']}"
    if name == first:
        return Finding("runtime", OK, text)
    text += f", {100 * share:.2f} % of pixels as {RUNTIMES[first].title} has them"
    return Finding("runtime", OK if share >= SAME.get(name, 0.9999) else WARNING, text)


def measure(directory: Path, name: str) -> tuple[dict, np.ndarray]:
    """Times a runtime here: its `version`, `size` of the images and median `milliseconds`; and its masks."""
    [*_, size] = choose_sizes(None, directory) or [(256, 256)]
    predictor, segment = load_segmenter(directory, runtime=name)
    size, seconds, masks = predictor.size or size, [], []
    generator = np.random.default_rng(0)
    for _ in range(WARM_UP + IMAGES):
        coarse = generator.integers(0, 256, (8, 8, predictor.pixels.channels), np.uint8)
        image = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, -1)
        start = time.perf_counter()
        masks.append(segment(image))
        seconds.append(time.perf_counter() - start)
    package = RUNTIMES[name].package
    found = {
        "version": find_version(package),
        "size": "x".join(map(str, size)),
        "milliseconds": 1000 * float(np.median(seconds[WARM_UP:])),
    }
    return found, np.stack(masks)


def find_version(package: str) -> str:
    """The version of what is imported by a name; TensorFlow and LiteRT have several distributions of one."""
    names = metadata.packages_distributions().get(package, [])
    return next((metadata.version(name) for name in names), "of TensorFlow")


def main() -> None:
    directory, name, file = sys.argv[1:]
    found, masks = measure(Path(directory), name)
    np.save(file, masks)
    say(found)
    say(DONE)


if __name__ == "__main__":
    main()
