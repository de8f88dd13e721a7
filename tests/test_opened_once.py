"""A command opens its records once and passes them on: manifest.json is read once, whatever the command does."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import write_records

from tfseg.config.parse import parse_config
from tfseg.evaluation.evaluator import evaluate_run
from tfseg.evaluation.run_report import report_run
from tfseg.exploration.explorer import explore_dataset
from tfseg.exporters.exporter import export_run
from tfseg.records.record_set import open_records
from tfseg.training.loop import train_run

pytestmark = pytest.mark.tensorflow

ONCE = 1
LOOKS = 2  # at a shard: whether it is a file, and of which size


class Watched(NamedTuple):
    """How often each file of a folder was opened by Python, and how often it was looked at, by name."""

    folder: Path
    opened: Counter[str]
    looked_at: Counter[str]

    def note(self, counter: Counter[str], place: object) -> None:
        if isinstance(place, str | os.PathLike) and Path(place).absolute().parent == self.folder:
            counter[Path(place).name] += 1

    @property
    def most_looks(self) -> int:
        """At the shard that was looked at most often."""
        return max(count for name, count in self.looked_at.items() if name.endswith(".tfrecord"))


watching: list[Watched] = []


def hear(event: str, arguments: tuple) -> None:
    if event == "open" and watching:
        watching[0].note(watching[0].opened, arguments[0])


sys.addaudithook(hear)  # which hears of every way to open a file, and stays as long as the process


@contextmanager
def watch(folder: Path) -> Iterator[Watched]:
    watched, stat = Watched(folder.absolute(), Counter(), Counter()), os.stat

    def count(place, *arguments, **options):
        watched.note(watched.looked_at, place)
        return stat(place, *arguments, **options)

    watching.append(watched)
    os.stat = count
    try:
        yield watched
    finally:
        os.stat = stat
        watching.clear()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("once") / "records", {"train": 4, "val": 2})


def train(records: Path, run: Path, *more: str) -> None:
    values = {"data.records": records, "data.size": "32x32", "run_dir": run, "model.encoder": "tiny"}
    values |= {"model.weights": "null", "train.epochs": 1, "train.batch_size": 2, "loss.class_weights": "manifest"}
    train_run(parse_config([*(word for name, value in values.items() for word in (f"--{name}", str(value))), *more]))


@pytest.fixture(scope="module")
def trained(records):
    """A run folder, and what was watched while it was trained."""
    run = records.with_name("run")
    with watch(records) as watched:
        train(records, run)
    return run, watched


@pytest.fixture
def run(trained):
    return trained[0]


@pytest.mark.long
def test_train(trained):
    _, watched = trained
    assert (watched.opened["manifest.json"], watched.most_looks) == (ONCE, LOOKS)


@pytest.mark.long
def test_evaluate(run, records):
    with watch(records) as watched:
        evaluate_run(run)
    assert (watched.opened["manifest.json"], watched.most_looks) == (ONCE, LOOKS)


@pytest.mark.long
def test_evaluate_on_records_that_are_named(run, records):
    with watch(records) as watched:
        evaluate_run(run, records)
    assert (watched.opened["manifest.json"], watched.most_looks) == (ONCE, LOOKS)


@pytest.mark.long
def test_export(run, records, tmp_path):
    with watch(records) as watched:
        export_run(run, tmp_path / "export", images=1)
    assert (watched.opened["manifest.json"], watched.most_looks) == (ONCE, LOOKS)


@pytest.mark.long
def test_report(run, records):
    """Of a run that is scored already."""
    evaluate_run(run)
    with watch(records) as watched:
        report_run(run, samples=1)
    assert (watched.opened["manifest.json"], watched.most_looks) == (ONCE, LOOKS)


def test_explore(records, tmp_path):
    with watch(records) as watched:
        explore_dataset(None, tmp_path / "page", records=records)
    assert (watched.opened["manifest.json"], watched.most_looks) == (ONCE, LOOKS)


def test_a_second_opening_is_seen(records, tmp_path):
    folder = shutil.copytree(records, tmp_path / "records")
    with watch(folder) as watched:
        opened = open_records(folder)
        assert open_records(opened) is opened
        assert (watched.opened["manifest.json"], watched.most_looks) == (ONCE, LOOKS)
        open_records(str(folder))
        (folder / "manifest.json").read_text()
    assert (watched.opened["manifest.json"], watched.most_looks) == (3, 2 * LOOKS)
