import json

import numpy as np
import pytest
from helper_models import make_parity_report
from helpers import draw

from tfseg.exporters.parity import ENCODED, add_bytes, judge, lay_out, list_misses


@pytest.fixture
def report():
    return make_parity_report()


def test_differences_by_hand(report):
    assert (report["pictures"], report["size"], report["mean_iou"]) == (["p0", "p1"], [24, 32], 1)
    same, other, door = report["formats"].values()
    assert door["other_class"] == 1 / 24 and not door["met"] and "largest_difference" not in door
    assert (same["other_class"], same["mean_iou"], same["iou_change"], same["met"]) == (0, 1, 0, True)
    assert same["largest_difference"] == pytest.approx(1 - np.exp(20) / (np.exp(20) + 7), abs=1e-6)
    assert other["largest_difference"] == pytest.approx(1, abs=1e-6)
    assert other["other_class"] == 2 / 24
    masks = np.stack([draw(index, 24, 32)[1] for index in range(2)])
    flat, sky = (masks == 1).sum(), (masks == 5).sum()
    lost = 2 * 2 * 32
    assert other["mean_iou"] == pytest.approx((flat / (flat + lost) + (sky - lost) / sky + 1) / 3)
    assert not other["met"]


@pytest.mark.parametrize(
    ("name", "other_class", "iou_change", "met"),
    [
        ("SavedModel", 0.00009, -0.5, True),
        ("ONNX", 0.00011, 0.0, False),
        ("LiteRT float16", 0.0009, 0.0, True),
        ("LiteRT int8, float16", 0.5, -0.0019, True),
        ("LiteRT int8 weights", 0.0, -0.0021, False),
        ("LiteRT int8", 0.5, -0.0099, True),
        ("LiteRT int8", 0.5, 0.02, True),
        ("LiteRT int8", 0.0, -0.0101, False),
        ("LiteRT int8", 0.0, float("nan"), False),
    ],
)
def test_bars(name, other_class, iou_change, met):
    assert judge(name, {"other_class": other_class, "iou_change": iou_change})["met"] == met


def test_table_and_misses(report, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"x" * 1_000_000)
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "index").write_bytes(b"x" * 500_000)
    (tmp_path / "model_int8.tflite").write_bytes(b"x" * 100_000)
    (tmp_path / "model.mlpackage").mkdir()
    (tmp_path / "model.mlpackage" / "weights").write_bytes(b"x" * 200_000)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "model.onnx").write_bytes(b"x" * 300_000)
    add_bytes(report, tmp_path)
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in lay_out(report).splitlines()]
    assert rows[3][:2] == ["SavedModel", "1.5"] and rows[3][-1] == "met"
    assert rows[4][:2] == ["LiteRT int8", "0.1"] and rows[4][3] == "8.333" and rows[4][-1] == "missed"
    assert rows[5][:3] == [ENCODED, "", "-"] and rows[5][-1] == "missed"
    assert rows[6] == ["Core ML", "0.2", "-", "-", "-", "-", "-", "not run"]
    assert rows[7] == ["web page", "0.3", "-", "-", "-", "-", "-", "as ONNX"]
    miss, _ = list_misses(json.loads(json.dumps(report)))
    assert miss.startswith("LiteRT int8 misses its bar, at most 1 point of mean IoU lost: 8.333 % of pixels")
