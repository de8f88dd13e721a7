"""What the load of mixed protocols makes of its answers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helper_files import file_of

pytest.importorskip("flask")
pytest.importorskip("prometheus_client")

from helper_service import make_service

from benchmarks.bench_serve_mixed import PROTOCOLS, processes_of, resident, table
from tfseg.serving.http_app import create_app


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_protocol_is_answered_by_a_mask_of_its_size(name):
    pixels = np.full((2, 3, 3), 70, np.uint8)
    request = PROTOCOLS[name](file_of(pixels, "JPEG"), pixels)
    service = make_service()
    answer = create_app(service).test_client().post(request.path, data=request.body, headers=request.headers)
    service.batcher.close()
    assert answer.status_code == 200 and request.read_size(answer.headers, answer.data) == (2, 3)


@pytest.mark.skipif(not Path(f"/proc/{os.getpid()}/task").is_dir(), reason="there is no /proc")
def test_memory_is_that_of_all_processes():
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"1\n"
        [parent, child] = processes_of(process.pid)
        assert parent == process.pid and resident(parent) > resident(child) > 1
        process.communicate(b"\n")
    assert (processes_of(parent), resident(parent)) == ([parent], 0), "it has ended"


def test_a_row_for_each_minute():
    minute = {"answers": {"a": 1000, "b": 234}, "latency": [0.1, 0.2, 0.3], "failures": 2, "memory": [900.0, 950.4]}
    empty = {"answers": {"a": 0}, "latency": None, "failures": 0, "memory": [900.0]}
    assert table({"minutes": [minute, empty]})[2:] == [
        "| 1 | 1,234 | 100 | 200 | 300 | 2 | 1,850 |",
        "| 2 | 0 |  |  |  | 0 | 900 |",
    ]
