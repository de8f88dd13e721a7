"""The folder of a repeat: one training with several seeds.

seed-0/                   run folder of seed 0, see `run_dir`
seed-0.yaml  seed-0.log   its settings, and what it printed
repeat.json  repeat.md    scores over all seeds that have ended
.tfseg.json  .lock        the mark of the folder; by which process it is being trained
"""

import dataclasses
import re
from pathlib import Path

from tfseg.config.schema import Config
from tfseg.io import removal
from tfseg.runs import run_dir
from tfseg.runs.contents import LOCK, REPEAT, SEED


def run_of(folder: Path, seed: int) -> Path:
    """Where the run of a seed lies."""
    return folder / f"seed-{seed}"


def config_of(config: Config, seed: int) -> Config:
    """Gives the settings of the training of a seed, in its run folder below that of the repeat."""
    run = str(run_of(Path(config.run_dir), seed))
    return dataclasses.replace(config, run_dir=run, overwrite=False, train=dataclasses.replace(config.train, seed=seed))


def list_seeds(folder: Path) -> list[int]:
    """Lists the seeds that a folder has a run of, begun or ended, the smallest first."""
    found = [re.fullmatch(SEED, path.name) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(match[1]) for match in found if match and (folder / match[0] / run_dir.CONFIG).is_file())


def list_ended(folder: Path) -> list[int]:
    """Lists the seeds whose training has ended, likewise."""
    return [seed for seed in list_seeds(folder) if (run_of(folder, seed) / run_dir.METRICS).is_file()]


def is_repeat(folder: Path) -> bool:
    """Whether a folder is that of a repeat: no run itself, with runs of seeds in it, or marked as one."""
    if (folder / run_dir.CONFIG).exists():
        return False
    return bool(list_seeds(folder)) or removal.read_mark(folder, REPEAT) is not None


def has_ended(config: Config) -> bool:
    """Whether the training of a seed has ended, and is not to continue for more epochs."""
    run = Path(config.run_dir)
    return (run / run_dir.METRICS).is_file() and not run_dir.adds_epochs(run, config)


def open_repeat(config: Config) -> Path:
    """Makes the folder of a repeat, or gives that of the same repeat, to be resumed; `overwrite` empties it.

    Raises:
        ValueError: as of `check_repeat`.
        OSError: it cannot be written.
    """
    check_repeat(config)
    folder = Path(config.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if config.overwrite and removal.is_ours(folder, REPEAT):
        removal.empty_folder(folder, REPEAT, keep=(LOCK,))  # which this process has open
    removal.write_mark(folder, REPEAT)
    return folder


def check_repeat(config: Config) -> None:
    """Raises ValueError unless a repeat can have its folder.

    What is in it must be a repeat of the same settings but for the seed, perhaps of fewer epochs, or any repeat if
    `overwrite` is set, and nothing but what a repeat wrote. A run that learnt nothing may have had other settings.
    """
    folder = Path(config.run_dir)
    if not folder.exists() or all(run_dir.says_nothing(path.name) for path in folder.iterdir()):
        return
    if not removal.is_ours(folder, REPEAT):
        raise ValueError(f"{folder}: is not empty and holds no repeat; give another run_dir")
    if config.overwrite:
        removal.check_removable(folder, REPEAT)
        return
    for seed in list_seeds(folder):
        run = run_of(folder, seed)
        if not (run_dir.has_learnt(run) or (run / run_dir.METRICS).exists()):
            continue
        if changed := run_dir.list_other_settings(run, config_of(config, seed)):
            remedy = "give another run_dir, or --overwrite true to delete it"
            raise ValueError(f"{folder}: holds a repeat with other settings ({changed}); {remedy}")
