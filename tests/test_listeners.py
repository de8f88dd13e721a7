"""The table of docs/network.md: where each command listens, read from the sockets of real, small runs."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from helper_models import write_model
from helper_sockets import check_server, command, free_port, list_sockets, options, read_listeners, wait_for, watch
from helper_tflite import make_tflite, relu

from tfseg import convert
from tfseg.__main__ import VERBS
from tfseg.synthetic import sample_city

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")

WHERE = read_listeners()
TINY = ["--model.encoder", "tiny", "--model.weights", "null", "--train.batch_size", "4", "--train.epochs", "1"]
TINY += ["--data.size", "64x128", "--data.records", "records"]
SEARCH = ["--config", "empty.yaml", "--space", "space.yaml", "--out", "search"]
SIZES = ["--size", "64x128", "--train", "8", "--val", "4", "--test", "1"]
# Row of a command that ends by itself -> its command line, in a folder with a city, its records, runs and a model.
ENDING = {
    "tfseg sample_city": ["sample_city", "--out", "city", *SIZES],
    "tfseg convert": ["convert", "--root", "raw", "--out", "converted", "--workers", "2"],
    "tfseg verify": ["verify", "records", "--workers", "2"],
    "tfseg explore": ["explore", "--root", "raw", "--out", "look", "--workers", "2"],
    "tfseg audit": ["audit", "records", "--workers", "2"],
    "tfseg show_batch": ["show_batch", *TINY, "--out", "batch.png"],
    "tfseg train": ["train", *TINY, "--run_dir", "run"],
    "tfseg tune": ["tune", *SEARCH, "--trials", "2", "--parallel", "2", *TINY, "--data.val_size", "64x128"],
    "tfseg repeat": ["repeat", "--seeds", "2", "--parallel", "2", "empty.yaml", *TINY, "--run_dir", "repeated"],
    "tfseg evaluate": ["evaluate", "--run", "trained"],
    "tfseg compare": ["compare", "trained", "trained_too", "--out", "compared"],
    "tfseg report": ["report", "--run", "trained"],
    "tfseg export": ["export", "--run", "trained", "--out", "exported", "--formats", "saved_model"],
    "tfseg predict": ["predict", "--model", "model", "--out", "masks", "raw/leftImg8bit/val"],
    "tfseg doctor": ["doctor"],
    "tfseg describe": ["describe", "--run", "trained", "--size", "64x128"],
    "tfseg check_metal": ["check_metal", *TINY],
    "tfseg check_delegate": ["check_delegate", "--target", "gpu", "model.tflite"],
}
DISPATCHER, WORKER = "tfseg data_service dispatcher", "tfseg data_service worker"
OPEN, SEVERAL = " --host NAME", "tfseg train --accelerator.strategy multiworker"
SERVERS = {"tfseg serve", DISPATCHER, DISPATCHER + OPEN, WORKER, WORKER + OPEN, SEVERAL}
QUICK = {"tfseg sample_city", "tfseg convert", "tfseg verify", "tfseg audit", "tfseg check_delegate"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small city, its records, and a space to search."""
    root = tmp_path_factory.mktemp("listeners")
    sample_city.make_sample_city(root / "raw", (64, 128), {"train": 8, "val": 4, "test": 1}, seed=0, workers=1)
    convert.main(["--root", str(root / "raw"), "--out", str(root / "records"), "--workers", "1"])
    (root / "space.yaml").write_text("optimizer.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}\n")
    (root / "empty.yaml").write_text("")
    (root / "model.tflite").write_bytes(make_tflite(relu()))
    return root


@pytest.fixture(scope="module")
def model(folder):
    return write_model(folder / "model")


@pytest.fixture(scope="module")
def trained(folder):
    """The same with two runs of one training."""
    words = command("train", *TINY, "--run_dir", "trained")
    subprocess.run(words, **options(folder), check=True, capture_output=True, timeout=300)
    shutil.copytree(folder / "trained", folder / "trained_too")
    return folder


def test_every_command_has_a_row():
    assert {row.split()[1] for row in WHERE} == set(VERBS)


def test_every_row_is_tried():
    beam = {"tfseg convert --runner DirectRunner"}
    beam |= {f"{row} --direct_running_mode multi_{kind}" for row in beam for kind in ("threading", "processing")}
    elsewhere = {"tfseg app", *beam}  # in serving/test_page_listens.py and conversion/test_beam.py
    assert set(WHERE) == {*ENDING, *SERVERS, *elsewhere}


@pytest.mark.long
@pytest.mark.parametrize("row", [pytest.param(row, marks=() if row in QUICK else pytest.mark.slow) for row in ENDING])
def test_it_listens_nowhere_and_calls_nobody(row, folder, request):
    for needed in {"trained", "model"} & {*ENDING[row]}:
        request.getfixturevalue(needed)
    assert WHERE[row][0] == "nowhere"
    listening, called, output = watch(command(*ENDING[row]), **options(folder))
    assert "error:" not in output and "Traceback" not in output, output
    assert (listening, called) == (set(), set())


@pytest.mark.long
def test_the_dispatcher_is_reached_from_this_machine(folder):
    words = ["data_service", "dispatcher"]
    check_server(DISPATCHER, words, "only this machine", folder, "5050", "this machine")


@pytest.mark.slow
def test_with_host_the_dispatcher_is_reached_from_everywhere(folder):
    words = ["data_service", "dispatcher", "--host", "node0"]
    check_server(DISPATCHER + OPEN, words, "is open on every interface, without a key", folder, "5050", "every machine")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "until", "wanted"),
    [("", "only this machine", "this machine"), (OPEN, "open on every interface", "every machine")],
)
def test_a_worker_of_the_service(folder, ending, until, wanted):
    port = free_port()
    words = command("data_service", "dispatcher", "--port", port)
    with subprocess.Popen(words, **options(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as dispatcher:
        try:
            assert dispatcher.stdout.readline() == f"dispatcher at grpc://localhost:{port}\n".encode()
            words = ["data_service", "worker", "--dispatcher", f"grpc://localhost:{port}"]
            words += ["--host", "localhost" if not ending else "node0"]
            check_server(WORKER + ending, words, until, folder, "a free port", wanted)
        finally:
            dispatcher.kill()


@pytest.mark.parametrize("loaded", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_service_is_reached_from_this_machine(folder, model, loaded):
    pytest.importorskip("gunicorn")
    words = ["serve", "--model", "model"]
    ready = "/readyz" if loaded else None
    check_server("tfseg serve", words, "serving .* at http://", folder, "8080", "this machine", ready)


@pytest.mark.slow
def test_each_worker_of_a_training_is_reached_from_everywhere(folder):
    """It says so before it waits for the others."""
    address, reach = WHERE[SEVERAL]
    assert address == "[::]:the port in TF_CONFIG" and reach == "every machine"
    ports = [free_port(), free_port()]
    workers = {"worker": [f"localhost:{port}" for port in ports]}
    words = command("train", *TINY, "--run_dir", "shared", "--accelerator.strategy", "multiworker")
    processes = []
    for index in range(2):
        settings = options(folder)
        settings["env"]["TF_CONFIG"] = json.dumps({"cluster": workers, "task": {"type": "worker", "index": index}})
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen(words, **settings, **pipes))
    try:
        for process, port in zip(processes, ports, strict=True):
            lines = iter(process.stdout.readline, "")
            warned = f"warning: port {port} is open on every interface, without a key or encryption"
            assert any(warned in line for line in lines)
            wait_for(lambda one=process: list_sockets(one.pid)[0])
            assert list_sockets(process.pid) == ({f":::{port}"}, set())
    finally:
        for process in processes:
            process.kill()
            process.communicate()
