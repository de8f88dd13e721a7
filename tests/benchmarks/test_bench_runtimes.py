"""What the benchmarks of runtimes make of their measurements."""

import io

import numpy as np
from PIL import Image

from benchmarks import bench_runtimes, bench_serve_runtimes


def rounds(*seconds, ready=1.0, memory=100.0):
    return [{"version": "1.0", "ready": ready, "seconds": [*seconds], "memory": memory}]


def test_runtimes_stand_beside_the_first():
    results = {
        "tensorflow": {"megabytes": 22.54, "rounds": {"1": rounds(0.2, 0.3, 0.4), "2": rounds(0.2)}, "other": 0.0},
        "openvino": {
            "megabytes": 24.0,
            "rounds": {"1": rounds(0.1, 0.15, 0.16), "2": rounds(0.05, ready=0.5, memory=50.0)},
            "other": 0.00012,
        },
    }
    assert bench_runtimes.table(results) == [
        "| | MB | other class % | ms, 1 core | as fast | ms, 2 cores | as fast | first mask s | MiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        "| TensorFlow 1.0 | 22.5 |  | 300.0 | 1.00 | 200.0 | 1.00 | 1.00 | 100 |",
        "| OpenVINO 1.0 | 24.0 | 0.012 | 150.0 | 2.00 | 50.0 | 4.00 | 0.50 | 50 |",
    ]


def test_masks_differ_by_pixels_of_all_images(tmp_path):
    np.savez(tmp_path / "one.npz", a=np.zeros((2, 3), np.uint8), b=np.zeros((1, 4), np.uint8))
    np.savez(tmp_path / "two.npz", a=np.eye(2, 3, dtype=np.uint8), b=np.zeros((1, 4), np.uint8))
    assert bench_runtimes.differ(tmp_path / "one.npz", tmp_path / "two.npz") == 0.2


def test_a_runtime_weighs_what_it_reads(tmp_path):
    for name, length in {"saved_model.pb": 10, "variables/variables.data": 20, "model.xml": 3, "model.bin": 4}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(length))
    assert bench_runtimes.weigh(tmp_path, "tensorflow") == 30e-6
    assert bench_runtimes.weigh(tmp_path, "openvino") == 7e-6


def test_images_are_of_as_many_sizes(tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "one.png")
    files = bench_serve_runtimes.draw_sizes([tmp_path / "one.png"], 40)
    assert len({Image.open(io.BytesIO(file)).size for file in files}) == 40


def test_services_stand_beside_the_first():
    one = {
        "rate": 5.0,
        "latencies": [0.1, 0.2],
        "processor": 0.4,
        "batch": 7.9,
        "ready": 6.04,
        "memory": [900.0, 950.4],
    }
    results = {"tensorflow": [one], "onnxruntime": [{**one, "rate": 10.0, "processor": 0.2, "ready": 0.7}]}
    assert bench_serve_runtimes.table(results)[2:] == [
        "| TensorFlow | 5.00 | 1.00 | 200 | 200 | 400 | 7.9 | 6.0 | 950 |",
        "| ONNX Runtime | 10.00 | 2.00 | 200 | 200 | 200 | 7.9 | 0.7 | 950 |",
    ]


def test_memory_grows_from_the_first_minute_on():
    results = {"onnxruntime": [{"latencies": [0.1] * 1200, "memory": [200.0, 190.0, 210.0, 205.0]}]}
    assert bench_serve_runtimes.table_of_sizes(results)[2:] == [
        "| ONNX Runtime | 1,200 | 200 | 190 | 210 | 205 | +5.0 % |"
    ]
