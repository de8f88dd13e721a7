"""What benchmarks/peer_trainers.py does around the training, without the tools that it trains."""

import argparse
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import check_lite, peer_data, peer_trainers, peer_unet, peer_yolo
from tfseg.evaluation.evaluator import evaluate_masks
from tfseg.io.images import decode_file
from tfseg.io.masks import decode_mask

CLASSES = ["flat", "construction", "object", "nature", "sky", "human", "vehicle"]


def test_ids_leave_void_out_and_come_back():
    mask = np.array([[0, 1, 7]], np.uint8)
    assert peer_data.to_peer_ids(mask).tolist() == [[255, 0, 6]]
    assert peer_data.to_record_ids(np.array([[0, 6]], np.uint8)).tolist() == [[1, 7]]


def test_records_become_files(tiny_records, tmp_path):
    data = peer_data.export_records(str(tiny_records), tmp_path / "data", most=3)
    assert (data.classes, data.size) == (CLASSES, (24, 32))
    assert [path.stem for path in data.images("train")] == ["train-000", "train-001", "train-002"]
    assert len(data.images("val")) == 5  # all are scored
    image = data.images("val")[0]
    assert decode_file(image.read_bytes()).shape == (24, 32, 3)
    mask = decode_mask(data.mask(image).read_bytes())
    assert mask[0, 0] == 255 and mask[1, 0] == 4 and mask[-1, 0] == 0  # void, sky, flat


def test_images_that_were_resized_are_refused():
    pair = SimpleNamespace(id="a", image=np.zeros((2, 3, 3)), label_ids=np.zeros((4, 6)))
    with pytest.raises(ValueError, match="a was resized"):
        peer_data.check_size(pair, "records")


def test_a_peer_is_trained_and_its_masks_are_scored(tiny_records, tmp_path, monkeypatch):
    def train(data, out, minutes, seed, threads, settings):
        assert (minutes, seed, settings) == (0.5, 3, {"batch": 4, "size": 96})
        masks = ((path.stem, decode_mask(data.mask(path).read_bytes()) % 255) for path in data.images("val"))
        return {"epochs": 2, "steps": 10, "images": 40, "seconds": 30.0}, {"masks": masks}

    recipes = {"documented": {"batch": 16}, "fitted": {"batch": 8, "size": 96}}
    monkeypatch.setitem(sys.modules, "benchmarks.peer_perfect", SimpleNamespace(train=train, RECIPES=recipes))
    monkeypatch.setitem(peer_trainers.PEERS, "smp", "benchmarks.peer_perfect")
    out = tmp_path / "out"
    words = ["smp", "--records", str(tiny_records), "--out", str(out), "--minutes", "0.5", "--seed", "3"]
    monkeypatch.setattr(sys, "argv", ["peer_trainers", *words, "--recipe", "fitted", "--set", "batch=4"])
    peer_trainers.main()
    assert evaluate_masks(out / "masks", str(tiny_records)).scores.mean_iou == 1.0
    written = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert written["command"].startswith("python -m benchmarks.peer_trainers smp --records ")
    assert written["results"]["masks"] == {"masks": 5} and written["results"]["steps"] == 10
    with pytest.raises(ValueError, match="is not empty"):
        peer_trainers.main()


@pytest.mark.parametrize(
    "text, setting", [("crop=[192, 256]", ("crop", [192, 256])), ("imagenet=false", ("imagenet", False))]
)
def test_settings_are_yaml(text, setting):
    assert peer_trainers.parse_setting(text) == setting


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=VALUE, got 'crop'"):
        peer_trainers.parse_setting("crop")


def test_the_learning_rate_rises_and_falls_with_the_time():
    recipe = peer_unet.Recipe(learning_rate=1.0, final_learning_rate=0.2, warmup=0.1)
    rates = [peer_unet.choose_rate(recipe, progress) for progress in (0.0, 0.05, 0.1, 0.55, 1.0, 1.5)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 0.6, 0.2, 0.2])
    assert peer_unet.choose_rate(peer_unet.Recipe(), 0.0) == 2e-4


@pytest.mark.parametrize("recipe", peer_unet.RECIPES.values())
def test_recipes_name_settings(recipe):
    peer_unet.Recipe(**recipe)


def test_ultralytics_finds_the_masks(tmp_path):
    path = peer_yolo.describe(peer_data.PeerData(tmp_path, ["road", "sky"], (24, 32)))
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "path": str(tmp_path),
        "train": "images/train",
        "val": "images/val",
        "masks_dir": "masks",
        "names": {"0": "road", "1": "sky"},
    }


def test_weights_are_renamed_by_their_order():
    packaged = {"_conv.weight": np.ones((2, 3)), "_bn.num_batches_tracked": np.ones(()), "_bn.weight": np.ones(2)}
    wanted = {"conv.weight": np.zeros((2, 3)), "bn.weight": np.zeros(2), "bn.num_batches_tracked": np.zeros(())}
    renamed = check_lite.rename_for_timm(packaged, wanted)
    assert list(renamed) == list(wanted)
    assert [value.max() for value in renamed.values()] == [1, 1, 0]
    with pytest.raises(ValueError, match="got other shapes"):
        check_lite.rename_for_timm({**packaged, "_bn.weight": np.ones(3)}, wanted)
