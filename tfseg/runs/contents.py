"""What the folder of a run, and of a repeat, holds, by name: all that overwriting may remove, and what proves it."""

import re
from pathlib import Path

from tfseg.config.parse import load_config
from tfseg.io.removal import MARK, Kind, is_ours

CONFIG = "config.yaml"
RECORDS = "records.json"
LOCK = ".lock"
LABELS = "labels.json"
HISTORY = "history.csv"
TENSORBOARD = "tensorboard"
TRACKERS = "trackers.json"
BEST_WEIGHTS = "best.weights.h5"
CHECKPOINTS = "checkpoints"
METRICS = "metrics.json"
SAVED_MODEL = "saved_model"

CHECKPOINT_FILES = (r"\d{8,}\.json", r"\d{8,}\.weights\.h5")  # named by the step
EXPORT_FILES = (
    *(r"saved_model\.pb", r"fingerprint\.pb", "assets/", r"variables/variables\.(index|data-\d{5}-of-\d{5})"),
    *(r"labels\.json", r"parity\.json", r"mixed_precision\.json", r"model_card\.md"),
    *(
        r"model_(float32|float16|mixed|int8(_logits|_weights)?)\.tflite",
        r"model\.(onnx|xml|bin)",
        r"model\.mlpackage/**",
    ),
    r"web/(index\.html|page\.css|(page|segmenter|camera|worker|images|resizing|png)\.js|labels\.json|model\.onnx)",
    r"web/runtime/(ort\.wasm\.min\.js|ort-wasm-simd-threaded\.(js|wasm)|(LICENSE|ThirdPartyNotices)\.txt)",
)
_EVENTS = r"(train|validation)/events\.out\.tfevents\..+"
_FIGURES = r"(curves|confusion|panel(-random|-best|-worst)?)\.png"
_FILES = (CONFIG, RECORDS, LOCK, LABELS, HISTORY, TRACKERS, BEST_WEIGHTS, METRICS, "report.html")


def _proves(directory: Path) -> bool:
    """Whether a folder holds the settings of a training, and something that only a training leaves beside them."""
    left = (LABELS, HISTORY, BEST_WEIGHTS, METRICS, CHECKPOINTS)
    if not any((directory / name).exists() for name in left):
        return False
    try:
        load_config(directory / CONFIG, warn=False)
    except (OSError, ValueError):
        return False
    return True


_OF_RUN = (
    *map(re.escape, _FILES),
    *(r"scores-.+\.json", r"matrices-.+\.npz"),
    *(f"{CHECKPOINTS}/{name}" for name in CHECKPOINT_FILES),
    *(f"{SAVED_MODEL}/{name}" for name in EXPORT_FILES),
    *(rf"\.{SAVED_MODEL}\.(tfseg-incomplete|incomplete|replaced)/**",),  # of an export that was killed
    *(f"{TENSORBOARD}/{_EVENTS}", f"report/{_FIGURES}", "wandb/**"),
    r"predictions/**/.+_(classes|overlay)\.png",  # where `make demo` has them
)
RUN = Kind("run", _OF_RUN, _proves, last=(LABELS, CONFIG))

_FOLDERS = {
    CHECKPOINTS: CHECKPOINT_FILES,
    SAVED_MODEL: EXPORT_FILES,
    TENSORBOARD: (_EVENTS,),
}


def folder_of_run(name: str) -> Kind:
    """What one of a run's own folders is, `CHECKPOINTS`, `SAVED_MODEL` or `TENSORBOARD`."""
    return Kind(f"{name} folder of a run", _FOLDERS[name], lambda folder: is_ours(folder.parent, RUN))


SUMMARY, PAGE = "repeat.json", "repeat.md"
SEED = r"seed-(0|[1-9]\d*)"  # run folder of a seed in that of a repeat

REPEAT = Kind(
    "repeat",
    (
        *map(re.escape, (SUMMARY, PAGE, LOCK)),
        *(rf"{SEED}\.(yaml|log)", rf"{SEED}/{re.escape(MARK)}"),
        *(f"{SEED}/{name}" for name in _OF_RUN),
    ),
)
