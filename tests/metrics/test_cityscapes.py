"""Against cityscapesscripts itself, to the last digit."""

import math

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cityscapesscripts")

from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as reference
from cityscapesscripts.helpers.labels import trainId2label

from tfseg.metrics.cityscapes import OfficialScore, count_label_ids, label_ids_of
from tfseg.records.labels import BY_TRAIN_ID, CATEGORIES, LABELS
from tfseg.synthetic import sample_city

CLASSES = [trainId2label[train_id].name for train_id in range(19)]


@pytest.fixture
def judge(tmp_path, monkeypatch):
    """(images of ground truth, prediction and instances, all as label ids) -> what cityscapesscripts makes of them."""
    reference.args.quiet, reference.args.JSONOutput = True, False
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # which NumPy 2.4 has no more

    def score(images):
        truths, predictions = [], []
        for number, (truth, predicted, instances) in enumerate(images):
            paths = [tmp_path / f"{number}_{kind}.png" for kind in ("labelIds", "pred", "instanceIds")]
            for path, pixels, dtype in zip(
                paths, (truth, predicted, instances), (np.uint8, np.uint8, np.uint16), strict=True
            ):
                Image.fromarray(pixels.astype(dtype)).save(path)
            truths.append(str(paths[0]))
            predictions.append(str(paths[1]))
        return reference.evaluateImgLists(predictions, truths, reference.args)

    return score


def assert_same(ours: dict, theirs: dict) -> None:
    assert ours["confusion_matrix"] == theirs["confMatrix"]
    pairs = [
        (name, f"{kind}Scores", f"averageScore{plural}")
        for name, kind, plural in (
            ("category_iou", "category", "Categories"),
            ("category_iiou", "categoryInst", "InstCategories"),
            ("class_iou", "class", "Classes"),
            ("class_iiou", "classInst", "InstClasses"),
        )
        if name in ours
    ]
    for name, scores, average in pairs:
        for key, value in ours[name].items():
            assert value == theirs[scores][key] or (math.isnan(value) and math.isnan(theirs[scores][key])), (name, key)
        left_out = [value for key, value in theirs[scores].items() if key not in ours[name]]
        assert all(math.isnan(value) for value in left_out)
        mean = ours[f"mean_{name}"]
        assert mean == theirs[average] or (math.isnan(mean) and math.isnan(theirs[average]))
    assert len(pairs) == len([name for name in ours if name.startswith("mean_")])


def draw_instances(random, truth):
    """Two of each class that has instances, and some without a number."""
    with_instances = np.isin(truth, [label.id for label in LABELS if label.has_instances])
    numbered = with_instances & (random.random(truth.shape) < 0.9)
    return np.where(numbered, truth.astype(int) * 1000 + random.integers(0, 2, truth.shape), truth)


@pytest.mark.parametrize("classes", [CATEGORIES, CLASSES])
@pytest.mark.parametrize("ids", [range(34), range(24, 34), [0, 1, 3], [7, 9], [24], [26, 29]])
def test_random_images(judge, classes, ids):
    """Of all labels, of things alone, void alone, a label beside an ignored one of its category, one class alone."""
    random, score, images = np.random.default_rng(0), OfficialScore(classes), []
    for _ in range(3):
        truth = random.choice(np.array(ids), (24, 40)).astype(np.uint8)
        predicted = random.integers(0, len(classes), truth.shape).astype(np.uint8)
        instances = draw_instances(random, truth)
        score.add(truth, predicted, instances)
        images.append((truth, label_ids_of(classes)[predicted], instances))
    assert_same(score.result(), judge(images))


def test_the_sample_city(judge, tmp_path):
    sample_city.make_sample_city(tmp_path / "raw", (64, 128), {"train": 1, "val": 3, "test": 1}, 0, workers=1)
    random, score, images = np.random.default_rng(0), OfficialScore(), []
    for path in sorted((tmp_path / "raw").rglob("val/*/*_gtFine_labelIds.png")):
        truth = np.array(Image.open(path))
        instances = np.array(Image.open(str(path).replace("labelIds", "instanceIds")))
        categories = np.array([{label.id: label.category_id for label in LABELS}.get(id, 0) for id in range(256)])
        predicted = np.where(random.random(truth.shape) < 0.8, categories[truth], 2).astype(np.uint8)
        score.add(truth, predicted, instances)
        images.append((truth, label_ids_of(CATEGORIES)[predicted], instances))
    assert len(images) == 3
    result = score.result()
    assert_same(result, judge(images))
    assert 0.4 < result["mean_category_iou"] < 0.9


def test_an_ignored_label_of_a_category_counts_for_nothing():
    """Parking, predicted as flat or as a building; only the road counts."""
    score = OfficialScore()
    score.add(np.array([[7, 7, 9, 9]], np.uint8), np.array([[1, 1, 1, 2]], np.uint8))
    result = score.result()
    assert result["category_iou"]["flat"] == 1.0
    assert math.isnan(result["category_iou"]["construction"])
    assert result["mean_category_iou"] == 1.0


def test_license_plates_count_for_nothing():
    counts = count_label_ids(np.array([255, 26], np.uint8), np.array([0, 26], np.uint8))
    assert counts.sum() == counts[26, 26] == 1


def test_without_instances_there_is_no_score_of_them():
    score = OfficialScore()
    score.add(np.zeros((1, 2), np.uint8), np.zeros((1, 2), np.uint8))
    assert not [name for name in score.result() if "iiou" in name]


def test_what_stands_for_a_category():
    assert label_ids_of(CATEGORIES).tolist() == [0, 7, 11, 17, 21, 23, 24, 26]
    assert [label.name for label in BY_TRAIN_ID] == CLASSES
    with pytest.raises(ValueError, match=r"its 8 categories .* or of its 19 classes by train id; got sky, road"):
        label_ids_of(["sky", "road"])


def test_wrong_images_are_refused():
    with pytest.raises(ValueError, match=r"expected label ids in 0..33, got \[34, 200\]"):
        count_label_ids(np.array([34, 200, 3], np.uint8), np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match=r"of one shape, got \[\(1, 2\), \(2, 1\)\]"):
        OfficialScore().add(np.zeros((1, 2), np.uint8), np.zeros((2, 1), np.uint8))
    with pytest.raises(ValueError, match="expected instance ids of 1000 times a label id and a number, got 34000"):
        OfficialScore().add(*[np.zeros((1, 1), np.uint8)] * 2, np.array([[34000]]))


def test_an_image_of_more_pixels_than_float32_counts():
    label_ids = np.full((2049, 8193), 7, np.uint8)
    assert count_label_ids(label_ids, label_ids)[7, 7] == 2049 * 8193 == 2**24 + 10241


def test_counts_beyond_32_bits():
    score = OfficialScore()
    score.matrix[7, 7] = 2**40
    score.matrix[7, 11] = 1
    assert score.result()["category_iou"]["flat"] == 2**40 / (2**40 + 1)
