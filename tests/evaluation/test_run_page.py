"""The page of a report, from literal findings."""

import base64
import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest
from helper_pages import Page
from PIL import Image

from tfseg.config.schema import Config, Data, Train
from tfseg.evaluation.run_page import Findings, make_page
from tfseg.records.manifest import Manifest, Split
from tfseg.visualization.figures import COLUMNS, NO_TRUTH, WRONG, Sample

EVIL = '<b>"&'
COLORS = np.array([[0, 0, 0], [128, 64, 128], [70, 130, 180]], np.uint8)
SCORES = {
    **{"split": "val", "records": "city/records", "resize": [[96, 192]], "classes": ["void", EVIL, "sky"]},
    **{"iou": [None, 0.8641, None], "f1": [None, 0.92709, None], "boundary_iou": [None, 0.5, None]},
    **{"support": [100, 300, 0], "confusion_matrix": [[0, 99, 1], [0, 270, 30], [0, 0, 0]]},
    **{"mean_iou": 0.8641, "mean_iou_with_void": 0.5, "mean_f1": 0.927, "mean_f1_with_void": 0.6},
    "inference": {"window": [48, 96], "overlap": 0.25, "flip": False, "scales": [1.0]},
    **{"pixel_accuracy": 0.9, "calibration_error": 0.034, "mean_boundary_iou": None},
}


def sample(id, times=1, score=0.5):
    """An image of one grey, 10x20 or some times that, its ground truth void on the left, its prediction wrong above."""
    truth, prediction = np.ones((10 * times, 20 * times), np.uint8), np.ones((10 * times, 20 * times), np.uint8)
    truth[:, :times] = 0
    prediction[: 5 * times] = 2
    return Sample(id, np.full((*truth.shape, 3), 100, np.uint8), truth, prediction, score)


@pytest.fixture
def findings():
    split = Split(["a", "b"], [], [100, 300, 0], [0.0] * 3, [1.0] * 3)
    return Findings(
        run=Path("runs/city"),
        config=Config(Data("city/records"), "runs/city", train=Train(epochs=3)),
        settings=f"run_dir: {EVIL}\n",
        metrics={"epoch": 2, "device": {"cpu": "no GPU"}, "versions": {"python": "3.12.1", "keras": "3.15.1"}},
        scores=SCORES,
        seconds=3671.4,
        epochs=3,
        manifest=Manifest(2, "folders", {}, ["void", EVIL, "sky"], [96, 192], "jpeg", 95, {"val": split}),
        manifest_hash="0123abcd",
        colors=COLORS,
        panels={f"panel-{name}": [sample(name)] for name in ("random", "best", "worst")},
        columns=COLUMNS,
    )


def read(findings, **changed):
    text = make_page(dataclasses.replace(findings, **changed), b"curves", b"confusion")
    return Page(text), text


def test_the_page_needs_no_other_file(findings):
    page, text = read(findings)
    assert not page.tags & {"script", "link", "iframe", "b"}
    assert not re.search(r"https?://|url\(|@import", text)
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.images)
    assert len(page.images) == 2 + 3 * 4


def test_the_page_has_the_scores_under_their_names(findings):
    page, _ = read(findings)
    for row in (
        ["class", "IoU %", "F1 %", "boundary IoU %", "pixels %"],
        ["void", "-", "-", "-", "25.0"],
        [EVIL, "86.4", "92.7", "50.0", "75.0"],
        ["sky", "-", "-", "-", "0.0"],
        ["mean_iou_with_void", "50.0", "mean IoU of the classes, void being one of them"],
        ["calibration_error", "3.4", "how far confidence is from the share that is right (Guo et al. 2017); 0 is best"],
    ):
        assert row in page.rows
    assert "Official" not in page.text and "batch_mean" not in page.text
    seen = '. The network saw them at 96x192, by {"window": [48, 96], "overlap": 0.25, "flip": false, "scales": [1.0]};'
    assert f"Epoch 2, the best of 3, on the 2 images of val in city/records{seen}" in page.text
    assert f"\n10.0 % of {EVIL} is taken for sky.\n" in page.text, "and void, of which 99 % is, counts nowhere"


def test_the_page_has_the_official_score(findings):
    official = {
        **{"category_iou": {"flat": 0.9, "sky": None}, "mean_category_iou": 0.9, "category_iiou": {"flat": 0.7}},
        "mean_category_iiou": 0.7,
    }
    page, _ = read(findings, scores={**SCORES, "official": official})
    place = page.rows.index(["category", "official IoU %", "iIoU %"])
    assert page.rows[place + 1 : place + 4] == [["flat", "90.0", "70.0"], ["sky", "-", "-"], ["mean", "90.0", "70.0"]]
    assert "official mean_category_iou90.0 %" in page.text


def test_everything_from_outside_is_escaped(findings):
    page, _ = read(
        findings,
        run=Path(f"runs/{EVIL}"),
        config=Config(Data(EVIL), "runs/city", log=dataclasses.replace(findings.config.log, wandb=EVIL)),
        metrics={"device": {EVIL: EVIL}, "versions": {EVIL: EVIL}},
        scores={**SCORES, "records": EVIL, "split": EVIL},
        manifest=dataclasses.replace(findings.manifest, splits={EVIL: findings.manifest.splits["val"]}),
        panels={name: [sample(EVIL)] for name in findings.panels},
    )
    assert "b" not in page.tags
    assert f"image of {EVIL}" in [image["alt"] for image in page.images]
    assert ["device", f"{EVIL} ({EVIL})"] in page.rows and ["images", f"{EVIL} 2"] in page.rows


def test_settings_are_listed_with_what_differs_first(findings):
    page, _ = read(findings)
    place = page.rows.index(["setting", "here", "default"])
    assert page.rows[place + 1 : place + 3] == [["train.epochs", "3", "10"], ["records", "city/records"]]
    assert "details" in page.tags and f"run_dir: {EVIL}" in page.text
    assert "All are the defaults." in read(findings, config=Config(Data("elsewhere"), "runs/other"))[0].text


def test_facts_of_the_training(findings):
    page, _ = read(findings)
    for row in (
        ["SHA-256 of manifest.json", "0123abcd"],
        ["images", "val 2"],
        ["stored", "96x192, jpeg"],
        ["epochs", "3, in 1:01:11 hours"],
        ["device", "cpu (no GPU)"],
        ["versions", "python 3.12.1, keras 3.15.1"],
    ):
        assert row in page.rows
    old, _ = read(findings, metrics={})
    assert {"device", "versions"}.isdisjoint(row[0] for row in old.rows) and "The best epoch, on the 2" in old.text


def test_curves_say_at_which_size_their_scores_are(findings):
    page, _ = read(findings, metrics={"validation": {"size": "320x320", "mean_iou": 0.4321}})
    words = "Scores are those of the validations, at {}, as the network sees images."
    assert words.format("320x320") + " The epoch that was chosen had a mean IoU of 43.2 % there." in page.text
    small = Config(Data("city/records", val_size="48x96"), "runs/city")
    page, _ = read(findings, config=small, metrics={})  # of before
    assert words.format("48x96") in page.text and "that was chosen" not in page.text


def pixels_of(image):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))))


def test_tiles_have_the_colours_of_the_run(findings):
    page, _ = read(findings)
    image, truth, prediction, error = map(pixels_of, page.images[2:6])
    assert (truth[:, 0] == COLORS[0]).all() and (truth[:, 1:] == COLORS[1]).all()
    assert (prediction[:5] == COLORS[2]).all() and (prediction[5:] == COLORS[1]).all()
    for seen, wanted in ((image, 100), (error[2, 18], WRONG), (error[7, 0], NO_TRUTH), (error[8, 18], 178)):
        assert np.abs(seen.astype(int) - wanted).max() < 40, "as near as JPEG comes"
    assert re.findall(r"(\w+) mean IoU 50.0 %", page.text) == ["random", "best", "worst"]


def test_large_images_are_shrunk_and_columns_chosen(findings):
    large = sample("large", times=80, score=float("nan"))
    page, _ = read(findings, panels={name: [large] for name in findings.panels}, columns=["prediction"])
    assert len(page.images) == 2 + 3 and "no truth" not in page.text and "mean IoU -" in page.text
    assert pixels_of(page.images[2]).shape == (320, 640, 3)
    assert np.unique(pixels_of(page.images[2]).reshape(-1, 3), axis=0).tolist() == [[70, 130, 180], [128, 64, 128]]
