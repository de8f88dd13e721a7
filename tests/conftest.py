"""What holds for all tests: TensorFlow's log level, which rooms an environment tests, and small records to read."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
from helper_environments import ENVIRONMENTS, leaves_out
from helpers import write_records


def pytest_addoption(parser):
    choices = ["main", *ENVIRONMENTS]
    parser.addoption("--environment", choices=choices, default="main", help="rooms to test (default: all)")


def pytest_ignore_collect(collection_path: Path, config) -> bool | None:
    return leaves_out(config.getoption("environment"), collection_path) or None


def pytest_collection_modifyitems(items):
    if (backend := os.environ.get("KERAS_BACKEND", "tensorflow")) != "tensorflow":
        skip = pytest.mark.skip(reason=f"tests Keras on TensorFlow, and KERAS_BACKEND is {backend}")
        for item in items:
            if item.get_closest_marker("tensorflow"):
                item.add_marker(skip)
            if backend == "mlx" and item.get_closest_marker("accumulates"):
                item.add_marker(pytest.mark.skip(reason="keras-mlx cannot accumulate gradients yet"))


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory):
    """Folder of records of 24x32: 20 images to train on, 5 to validate on."""
    return write_records(tmp_path_factory.mktemp("tiny") / "records", {"train": 20, "val": 5})
