"""Several processes of one service: what they know of each other, and one that dies."""

import os
import signal
import time
from collections import Counter

import pytest

pytest.importorskip("flask")
pytest.importorskip("gunicorn")
pytest.importorskip("prometheus_client")

from helper_files import MASK, PNG, pixels_of
from helper_models import write_model

from benchmarks.attack_serve import find_workers
from benchmarks.bench_serve import Service
from tfseg.serving.metrics import Metrics
from tfseg.serving.shared import Fates, SharedTexts


def test_a_text_is_seen_by_a_process_that_is_forked_later():
    texts = SharedTexts(2, 16)
    texts.write(0, b"old text")
    child = os.fork()
    if not child:
        texts.write(0, b"new")
        texts.write(1, b"longer than sixteen bytes")
        os._exit(0)
    os.waitpid(child, 0)
    assert [texts.read(0), texts.read(1)] == [b"new", b"longer t"]


def test_a_text_that_is_being_written_is_none():
    texts = SharedTexts(1, 64)
    texts.write(0, b"whole")
    texts._memory[10] = ord("X")
    assert texts.read(0) == b""
    texts._memory[:4] = b"\xff" * 4
    assert texts.read(0) == b""


def test_what_becomes_of_two_models():
    fates = Fates(2)
    assert (fates.have_begun, fates.error, fates.is_known(0)) == (False, None, False)
    fates.succeed(0)
    assert not fates.have_begun and not fates.leaves_to_others(1)  # at the start, both answer that they load
    fates.succeed(1)
    assert fates.have_begun and fates.error is None
    fates.begin(1)  # it has died
    assert fates.leaves_to_others(1) and not fates.leaves_to_others(0) and fates.have_begun
    fates.fail(1, "no memory")
    fates.begin(1)
    assert fates.is_known(1) and fates.error == "no memory"
    fates = Fates(1)
    fates.succeed(0)
    fates.begin(0)
    assert not fates.leaves_to_others(0)  # there are none


def test_why_a_model_is_not_loaded_may_name_a_path_of_any_bytes():
    """Else the thread that is to tell would end, and the service wait for the model for ever."""
    fates = Fates(1)
    fates.fail(0, os.fsdecode(b"a damaged file, models/\xff"))
    assert fates.error == r"a damaged file, models/\udcff"


def counts(metrics):
    lines = metrics.to_text().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_metrics_of_all_processes_are_added_up():
    here, there = Metrics(2), Metrics(2)
    there._shared = here._shared  # as after a fork
    there.begin(1)
    for metrics in (here, there):
        metrics.ready.set(1)
        metrics.on_batch(4, 0.1)
        metrics.requests.labels("/predict", 200).inc()
    here.requests.labels("/predict", 503).inc(3)
    there.publish()
    found = counts(here)
    assert found['tfseg_requests_total{route="/predict",status="200"}'] == 2
    assert found['tfseg_requests_total{route="/predict",status="503"}'] == 3
    assert found["tfseg_images_total"] == 8 and found["tfseg_pictures_total"] == 8
    assert found['tfseg_batch_images_bucket{le="4.0"}'] == 2 and found['tfseg_batch_images_bucket{le="2.0"}'] == 0
    assert found["tfseg_batch_images_count"] == 2 and found["tfseg_ready"] == 1


def test_what_a_process_counted_that_is_gone_is_kept():
    gone, new = Metrics(2), Metrics(2)
    new._shared = gone._shared
    gone.on_batch(4, 0.1)
    gone.connections.set(5)
    gone.publish()
    new.begin(0)
    new.on_batch(1, 0.1)
    found = counts(new)
    assert found["tfseg_images_total"] == 5 and found["tfseg_connections"] == 0


@pytest.mark.long
def test_one_of_two_processes_that_dies_is_replaced_while_the_other_answers(tmp_path):
    service = Service(write_model(tmp_path / "model"), ["--workers", "2"])
    try:
        first, second = sorted(find_workers(service))
        for _ in range(8):  # each on a connection of its own, which either takes
            assert service.ask("/predict", PNG)[0] == 200
        time.sleep(1.5)
        counted = service.metric("tfseg_images_total")
        assert counted == 8
        os.kill(int(first), signal.SIGKILL)
        statuses = Counter()
        end = time.monotonic() + 30
        while time.monotonic() < end and (len(find_workers(service)) < 2 or sum(statuses.values()) < 100):
            status, content = service.ask("/predict", PNG)
            statuses[status] += 1
            assert status != 200 or pixels_of(content).tolist() == MASK
        assert statuses.keys() <= {200, 0} and statuses[0] <= 1  # which the dead one had accepted
        assert first not in find_workers(service) and second in find_workers(service)
        assert service.ask("/readyz")[0] == 200
        time.sleep(1.5)
        assert service.metric("tfseg_images_total") == counted + statuses[200]
    finally:
        assert service.stop() == 0
