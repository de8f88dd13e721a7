"""Names of settings and flags that are no longer used: each still works for one release, with one warning.

Delete an entry in the release after the one that renamed it.
"""

import sys
from collections.abc import Sequence

# Section of a config of which all settings have another name -> theirs.
SECTIONS = {"device": "accelerator"}
# Dotted key of a config -> its name now.
SETTINGS = {
    "device.kind": "accelerator.kind",
    "device.precision": "accelerator.precision",
    "device.prefetch": "accelerator.prefetch",
    "device.distribution": "accelerator.strategy",
    "data.scale": "data.crop_scale",
    "data.max_class_share": "data.cat_max_ratio",
    "data.rare_classes": "data.rare_class_sampling",
    "data.shuffle": "data.shuffle_buffer",
    "loss.learn_void": "loss.ignore_class",
    "optimizer.accumulate": "optimizer.gradient_accumulation_steps",
    "optimizer.ema": "optimizer.ema_momentum",
    "optimizer.encoder_rate": "optimizer.encoder_lr_multiplier",
}
# Old setting -> old value -> value of the new one, where the values changed too; others stay as they are.
SETTING_VALUES = {"loss.learn_void": {False: 0, True: None}}

# Old flag of a command -> what stands for it now; "{}" is its value.
_INFERENCE = {
    "--window": ("--sliding-window", "{}"),
    "--flip": ("--tta", "flip"),
    "--scales": ("--tta-scales", "{}"),
}
FLAGS = {
    "predict": {**_INFERENCE, "--rate": ("--fps", "{}")},
    "serve": _INFERENCE,
    "evaluate": {**_INFERENCE, "--learn-void": ("--ignore-class", "none")},
    "export": {"--pictures": ("--images", "{}")},
}
# Column of `report --columns` -> its name now.
COLUMNS = {"picture": "image"}


def accept_renamed(arguments: Sequence[str] | None, verb: str) -> list[str]:
    """Rewrites a command line that still has flags under their old names, with one warning each on stderr.

    Args:
        arguments: words after the command; None: those of this process.
        verb: name of the command, a key of `FLAGS`.

    Returns:
        The words, all flags under their names of today.

    Raises:
        ValueError: a flag is there under both of its names.
    """
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    end = words.index("--") if "--" in words else len(words)  # what follows is no flag
    given = {word.partition("=")[0] for word in words[:end]}
    renamed = {old: new for old, new in FLAGS[verb].items() if old in given}
    for old, (new, value) in renamed.items():
        if new in given:
            raise ValueError(f"{old} is the old name of {new}, and both are given; give {new} alone")
        now = new if value == "{}" else f"{new} {value}"
        print(f"warning: {old} is now called {now}; the old name goes with the next release", file=sys.stderr)
    rewritten = []
    for word in words[:end]:
        name, *given_value = word.split("=", 1)
        new, value = renamed.get(name, (name, "{}"))
        rewritten.append("=".join([new, *given_value]))
        if value != "{}":
            rewritten.append(value)
    return rewritten + words[end:]
