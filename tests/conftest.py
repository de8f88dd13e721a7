"""What holds for all tests: TensorFlow's log level, and small records to read."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
from helpers import write_records


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory):
    """Folder of records of 24x32: 20 pictures to train on, 5 to validate on."""
    return write_records(tmp_path_factory.mktemp("tiny") / "records", {"train": 20, "val": 5})
