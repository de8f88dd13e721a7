"""Weights & Biases and MLflow: settings, scores of each epoch and final scores go there too.

The ids of a run there are kept in the run folder, so that a training that resumes is sent to the same one.
"""

from pathlib import Path

import keras

from tfseg.config.schema import Config
from tfseg.config.settings import list_settings
from tfseg.io.atomic import write_json
from tfseg.io.json_reader import read_json
from tfseg.runs import run_dir
from tfseg.training.console import Screen


class Tracker(keras.callbacks.Callback):
    """Sends a training to a tracker. An error is reported once; the training then continues without it.

    It must come after the callback that scores the epoch.

    Args:
        service: `Wandb` or `MLflow`.
        screen: for warnings.
    """

    def __init__(self, service, screen: Screen):
        super().__init__()
        self.service, self.screen = service, screen
        self.name, self.failed, self.started = type(service).__name__, False, False

    def start(self, directory: Path, config: Config) -> None:
        """Begins a run there, or resumes that whose id the run folder holds; a second call does nothing."""
        if not self.started:
            self.started = True
            self.attempt(lambda: self.open_run(directory, config))

    def open_run(self, directory: Path, config: Config) -> None:
        path = directory / run_dir.TRACKERS
        ids = read_json(path) if path.exists() else {}
        id = self.service.start(directory, config, ids.get(self.name))
        write_json({**ids, self.name: id}, path)

    def on_epoch_end(self, epoch, logs=None):
        self.attempt(lambda: self.service.log(logs, epoch + 1))

    def finish(self, metrics: dict) -> None:
        """Sends the final scores, see `list_numbers`, and ends the run there."""
        self.attempt(lambda: self.service.finish(list_numbers(metrics)))

    def attempt(self, send) -> None:
        if self.failed:
            return
        try:
            send()
        except Exception as error:  # whatever a tracker raises, a training of days is worth more
            self.failed = True
            message = " ".join(str(error).split())
            self.screen.warn(f"{self.name}: {type(error).__name__}: {message}; nothing more is sent there")


def list_numbers(metrics: dict) -> dict[str, float]:
    """Lists what are single numbers in metrics.json; those of its parts as official_mean_class_iou, for one."""
    parts = ("official", "validation")
    inner = {f"{part}_{name}": value for part in parts for name, value in metrics.get(part, {}).items()}
    return {name: value for name, value in (metrics | inner).items() if isinstance(value, int | float)}


def make_trackers(config: Config, screen: Screen) -> list[Tracker]:
    """Makes those that a config asks for.

    Raises:
        ModuleNotFoundError: its package is not installed.
    """
    services = [Wandb(config.log.wandb)] if config.log.wandb else []
    services += [MLflow(config.log.mlflow)] if config.log.mlflow else []
    return [Tracker(service, screen) for service in services]


class Wandb:
    """Weights & Biases; account, address and mode are its own environment variables, such as WANDB_MODE."""

    def __init__(self, project: str):
        import wandb  # pyright: ignore[reportMissingImports]  # of an extra

        self.module, self.project = wandb, project

    def start(self, directory: Path, config: Config, id: str | None) -> str:
        self.run = self.module.init(
            project=self.project,
            name=directory.name,
            id=id,
            resume="allow",
            dir=directory,
            config=list_settings(config),
            settings={"console": "off", "silent": True},  # else it would write between our lines
        )
        return self.run.id

    def log(self, values: dict[str, float], epoch: int) -> None:
        self.run.log(values, step=epoch)

    def finish(self, scores: dict[str, float]) -> None:
        self.run.summary.update(scores)
        self.run.finish()


class MLflow:
    """MLflow; the address is that of its own environment variable MLFLOW_TRACKING_URI."""

    def __init__(self, experiment: str):
        import mlflow  # pyright: ignore[reportMissingImports]  # of an extra

        self.module, self.experiment = mlflow, experiment

    def start(self, directory: Path, config: Config, id: str | None) -> str:
        self.module.set_experiment(self.experiment)
        run = self.module.start_run(run_id=id, run_name=directory.name)
        if id is None:
            self.module.log_params(list_settings(config))  # which cannot be set again
        return run.info.run_id

    def log(self, values: dict[str, float], epoch: int) -> None:
        self.module.log_metrics(values, step=epoch)

    def finish(self, scores: dict[str, float]) -> None:
        self.module.log_metrics({f"best_{name}": value for name, value in scores.items()})
        self.module.end_run()
