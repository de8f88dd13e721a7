import resource
import subprocess
import sys

import pytest

from tfseg.inference.cost import describe_cost, peak_memory


@pytest.mark.parametrize(
    ("seconds", "memory", "words"),
    [
        ([], 100.0, ""),
        ([2.9], None, ": the first took 2.90 s"),
        ([2.9], 1312.3, ": the first took 2.90 s; 1,312 MiB at most"),
        ([2.9, 1.0, 1.21, 4.0], 800.0, ": the first took 2.90 s, the others 1.21 s (median); 800 MiB at most"),
    ],
)
def test_what_images_took(seconds, memory, words):
    assert describe_cost(seconds, memory) == words


def test_memory_is_that_of_this_process_at_its_peak():
    """Not that of the tests, which start it and hold TensorFlow."""
    code = """
import numpy as np
from tfseg.inference.cost import peak_memory
before = peak_memory()
block = np.ones(100 * 2**20, np.uint8)
del block
print(before, peak_memory())
"""
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    before, after = map(float, printed.split())
    assert 10 < before < peak_memory() / 2
    assert 90 < after - before < 110


def test_macos_counts_memory_in_bytes(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_memory() == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
