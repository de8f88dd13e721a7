"""What a search may change of a run: a YAML file of settings, each with a range or a list of choices.

    optimizer.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
    train.batch_size: {low: 2, high: 8, step: 2}
    data.size: {choices: [160x224, 192x256]}
    augmentation: {multiplies: [augment.brightness, augment.hue], low: 0, high: 2}

The last one is a single number for the strength of several effects: it multiplies what the config gives them. A range
of factors, such as augment.zoom, is raised to its power, so that 0 leaves no effect of either kind.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from tfseg.config.checks import as_yaml, show
from tfseg.config.parse import change_config, read_settings, type_settings
from tfseg.config.renames import rename_settings, warn_renamed
from tfseg.config.schema import Config
from tfseg.config.settings import list_settings
from tfseg.io.renamed import SETTINGS

# What every trial has of its own, or all must have alike.
FIXED = {
    "run_dir": "each trial has its own",
    "overwrite": "each trial has a folder of its own",
    "train.epochs": "trials are compared epoch by epoch",
    "loss.ignore_class": "it changes what trials are scored on",
    **dict.fromkeys(("quiet", "log.wandb", "log.mlflow"), "it changes no training"),
    **dict.fromkeys(("train.val_batch_size", "train.validation_freq"), "it changes no training"),
}
FORM = "{low: 0, high: 1}, which log, step and multiplies may join, or {choices: [a, b]}"


@dataclass(frozen=True)
class Range:
    """Numbers between two, both included: whole ones if they are whole numbers."""

    name: str
    low: float
    high: float
    step: float | None
    log: bool
    multiplies: tuple[str, ...]  # settings; none: `name` is the setting

    def __post_init__(self) -> None:
        _check(self.low < self.high, self.name, "low below high", [self.low, self.high])
        _check(not self.log or self.low > 0, self.name, "low above 0 with log", self.low)
        if self.step is not None:
            _check(self.step > 0 and not self.log, self.name, "a step above 0, and no log beside it", self.step)
            _check(self._is_whole(self.high), self.name, "a whole number of steps from low to high", self.step)

    @property
    def ends(self) -> tuple:
        return self.low, self.high

    def suggest(self, trial) -> float:
        """Draws a number by an `optuna.Trial`."""
        if isinstance(self.low, int):
            return trial.suggest_int(self.name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def settings(self, value: object, before: dict[str, object]) -> dict[str, object]:
        """What a number makes of the settings of a run."""
        if not self.multiplies:
            return {_setting_of(self.name): value}
        if not _is_number(value):
            raise ValueError(_describe_fault(self.name, "a number", value))
        return {name: _strengthen(before[name], value) for name in self.multiplies}

    def find(self, before: dict[str, object]) -> float | None:
        """The number that leaves the settings of a run as they are; None: it is not in the range."""
        value = 1.0 if self.multiplies else before[_setting_of(self.name)]
        return value if _is_number(value) and self.low <= value <= self.high and self._is_whole(value) else None

    def _is_whole(self, value: float) -> bool:
        """Whether a number is a whole number of steps above `low`."""
        steps = (value - self.low) / (self.step or 1)
        return self.step is None or abs(steps - round(steps)) < 1e-6


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    name: str
    values: dict[str, object]  # by what they are called

    @property
    def ends(self) -> tuple:
        return tuple(self.values)

    def suggest(self, trial) -> str:
        """Draws what a value is called by an `optuna.Trial`."""
        return trial.suggest_categorical(self.name, list(self.values))

    def settings(self, value: object, before: dict[str, object]) -> dict[str, object]:
        """What a choice makes of the settings of a run."""
        return {_setting_of(self.name): self.values[str(value)]}

    def find(self, before: dict[str, object]) -> str | None:
        """The choice that leaves the settings of a run as they are; None: there is none."""
        return next((called for called, value in self.values.items() if value == before[_setting_of(self.name)]), None)


Space = dict[str, Range | Choices]


def read_space(path: str | Path, config: Config, warn: bool = True) -> Space:
    """Reads a space to search around a run.

    Args:
        path: of the YAML file.
        config: the run.
        warn: whether settings under an old name are reported on stderr.

    Raises:
        ValueError: the file is no such space, or the run cannot have one of its values; in one line, with file and key.
        OSError: the file cannot be read.
    """
    entries, old = _rename(read_settings(path), path)
    if warn:
        warn_renamed(old)
    if not entries:
        raise ValueError(f"{path}: expected settings to search, each as {FORM}")
    try:
        space = {name: _read_parameter(name, entry, config) for name, entry in entries.items()}
        _check_each_once(space)
        first = {name: parameter.ends[0] for name, parameter in space.items()}
        for name, parameter in space.items():
            for value in parameter.ends:
                make_config(config, space, {**first, name: value})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return space


def _setting_of(name: str) -> str:
    """The setting that a parameter stands for, which may have the name that the setting had before."""
    return SETTINGS.get(name, name)


def _rename(entries: dict, path: str | Path) -> tuple[dict, set[str]]:
    """Gives the settings of a space the names that they have now; returns the old names beside them."""
    renamed: set[str] = set()
    try:
        entries = rename_settings(entries.items(), renamed)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for name, entry in entries.items():
        if isinstance(entry, dict) and isinstance(entry.get("multiplies"), list):
            old = [setting for setting in entry["multiplies"] if isinstance(setting, str) and setting in SETTINGS]
            entries[name] = {**entry, "multiplies": [SETTINGS.get(str(one), one) for one in entry["multiplies"]]}
            renamed |= set(old)
    return entries, renamed


def make_config(config: Config, space: Space, values: Mapping[str, object]) -> Config:
    """Makes a run with drawn values, by the names of the space.

    Raises:
        ValueError: the run cannot have them, or its scores could not be compared with the others.
    """
    before, settings = list_settings(config), {}
    for name, value in values.items():
        settings |= space[name].settings(value, before)
    changed = change_config(config, settings)
    now, then = _scored_on(changed), _scored_on(config)
    if now != then:
        keys = ", ".join(name for name in settings if name.startswith("data."))
        raise ValueError(
            f"{keys}: would change what trials are scored on, {then}, to {now}; set data.val_size beside it"
        )
    return changed


def find_start(config: Config, space: Space) -> dict[str, object]:
    """Finds the values, by the names of the space, that leave a run as it is; those that the space has."""
    before = list_settings(config)
    found = {name: parameter.find(before) for name, parameter in space.items()}
    return {name: value for name, value in found.items() if value is not None}


def _scored_on(config: Config) -> str:
    size = config.data.eval_size
    return f"{config.data.records} {config.data.val_split} {'as stored' if size is None else f'{size[0]}x{size[1]}'}"


def _read_parameter(name: str, entry: object, config: Config) -> Range | Choices:
    _check(name not in FIXED, name, f"no range, since {FIXED.get(name)}", entry)
    if not isinstance(entry, dict):
        raise ValueError(_describe_fault(name, FORM, entry))
    keys = set(entry)
    if keys == {"choices"}:
        return _read_choices(name, entry["choices"])
    _check({"low", "high"} <= keys <= {"low", "high", "log", "step", "multiplies"}, name, FORM, entry)
    log = entry.get("log", False)
    _check(isinstance(log, bool), name, "log as true or false", log)
    multiplied = ()
    if "multiplies" in entry:
        multiplied = _read_multiplied(name, entry["multiplies"], list_settings(config))
    numbers = {key: _read_number(name, key, entry[key], multiplied) for key in ("low", "high", "step") if key in entry}
    return Range(name, numbers["low"], numbers["high"], numbers.get("step"), log, multiplied)


def _read_number(name: str, key: str, number: object, multiplied: tuple[str, ...]) -> float:
    """Reads an end or the step of a range: in the type of its setting, or the factor of several."""
    if not multiplied:
        number = type_settings({name: number})[name]
    if not _is_number(number):
        raise ValueError(_describe_fault(name, f"{key} as a number; of others, give choices", number))
    return float(number) if multiplied else number


def _read_choices(name: str, choices: object) -> Choices:
    if not isinstance(choices, list):
        raise ValueError(_describe_fault(name, "choices as a list", choices))
    values = [type_settings({name: choice})[name] for choice in choices]
    called = {value if isinstance(value, str) else as_yaml(value): value for value in values}
    _check(len(called) == len(choices) > 1, name, "two or more choices, each once", choices)
    return Choices(name, called)


def _read_multiplied(name: str, multiplied: object, before: dict[str, object]) -> tuple[str, ...]:
    _check(name not in before, name, "another name beside multiplies, since this is a setting", name)
    if not isinstance(multiplied, list) or not multiplied:
        raise ValueError(_describe_fault(name, "multiplies as a list of settings", multiplied))
    for setting in multiplied:
        value = before[setting] if setting in before else type_settings({str(setting): None})  # says what is wrong
        numbers = value if isinstance(value, tuple) else (value,)
        _check(all(map(_is_number, numbers)), name, f"settings of numbers; {setting} is", value)
        if _strengthen(value, 0.5) == value:
            raise ValueError(f"{name}: no factor changes {setting}, which is {as_yaml(value)} in the config")
    return tuple(multiplied)


def _check_each_once(space: Space) -> None:
    seen = {}
    for name, parameter in space.items():
        for setting in getattr(parameter, "multiplies", ()) or (name,):
            if setting in seen:
                raise ValueError(f"{name}: {setting} is searched as {seen[setting]} already")
            seen[setting] = name


def _strengthen(value: object, factor: float) -> float | tuple[float, ...]:
    """Multiplies a strength, and raises the ends of a range of factors to a power: (0.8, 1.25), 2 -> (0.64, 1.5625)."""
    if isinstance(value, tuple):
        return tuple(end**factor for end in value)
    if not _is_number(value):
        raise ValueError(f"expected a number, or a range of factors, got {show(value)}")
    return value * factor


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check(correct: bool, name: str, wanted: str, got: object) -> None:
    if not correct:
        raise ValueError(_describe_fault(name, wanted, got))


def _describe_fault(name: str, wanted: str, got: object) -> str:
    return f"{name}: expected {wanted}, got {show(got)}"
