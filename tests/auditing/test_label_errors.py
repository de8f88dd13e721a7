"""Regions that a model contradicts, and which of them are errors of the ground truth."""

import numpy as np
import pytest
from helper_audit import CONSTRUCTION, FLAT, SKY, VEHICLE, draw_scene, fake_model

from tfseg.auditing.judging import ClassSums, Judgement, judge_images
from tfseg.auditing.label_errors import Confusions, Separator, find_label_errors
from tfseg.auditing.reading import Image
from tfseg.auditing.regions import Region, draw_object, find_regions, simulate
from tfseg.records.labels import CATEGORIES


def certain(mask, sure=0.9):
    """Probabilities of a model that is sure of a mask."""
    likely = np.full((*mask.shape, 8), (1 - sure) / 7, np.float32)
    np.put_along_axis(likely, mask[..., np.newaxis].astype(np.int64), np.float32(sure), axis=-1)
    return likely


def test_a_region_by_hand():
    """A road of 40 x 60 with a sky above; 10 x 10 of the road are a vehicle to the model."""
    mask = np.full((60, 60), FLAT, np.uint8)
    mask[:20] = SKY
    seen = mask.copy()
    seen[30:40, 5:15] = VEHICLE
    (region,) = find_regions(certain(seen), mask)
    assert (region.given, region.predicted, region.box, region.pixels) == (FLAT, VEHICLE, (30, 5, 10, 10), 100)
    assert region.log_odds == pytest.approx(np.log(0.9 / (0.1 / 7)), rel=1e-4)
    assert region.confidence == pytest.approx(0.9)
    assert (region.coverage, region.own, region.outline) == (100 / 2400, 1, 0)


def test_an_object_of_another_class_has_the_outline_of_the_ground_truth():
    mask = np.full((60, 60), FLAT, np.uint8)
    mask[30:40, 5:15] = CONSTRUCTION
    seen = np.full((60, 60), FLAT, np.uint8)
    seen[30:40, 5:15] = VEHICLE
    (region,) = find_regions(certain(seen), mask)
    assert (region.coverage, region.own, region.outline) == (1, 1, 1)


def test_void_is_contradicted_only_if_it_is_learnt():
    mask = np.full((60, 60), FLAT, np.uint8)
    mask[30:40, 5:15] = 0
    probabilities = certain(np.full((60, 60), FLAT, np.uint8))
    assert find_regions(probabilities, mask) == []
    (region,) = find_regions(probabilities, mask, learns_void=True)
    assert (region.given, region.predicted) == (0, FLAT)
    probabilities[:5] = np.eye(8)[0]
    assert find_regions(probabilities, np.full((60, 60), FLAT, np.uint8)) == []


def test_an_object_that_the_model_sees_as_two_is_one_region():
    mask = np.full((60, 60), FLAT, np.uint8)
    mask[20:40, 20:40] = SKY
    seen = mask.copy()
    seen[20:29, 20:40], seen[31:40, 20:40] = VEHICLE, CONSTRUCTION  # two rows between them are right
    (region,) = find_regions(certain(seen), mask)
    assert (region.given, region.box, region.pixels) == (SKY, (20, 20, 20, 20), 360)


def test_specks_are_left_out_and_the_greatest_evidence_comes_first():
    mask = np.full((100, 100), FLAT, np.uint8)
    seen = mask.copy()
    seen[0, 0] = seen[50:52, 50] = VEHICLE  # 1 and 2 pixels of 10,000; from 5 on they count
    seen[10:14, 10:14], seen[80:90, 80:90] = SKY, SKY
    assert [region.pixels for region in find_regions(certain(seen), mask)] == [100, 16]


def test_a_mask_that_the_model_agrees_with_has_no_regions():
    _, mask = draw_scene(0)
    assert find_regions(certain(mask), mask) == []


def test_an_object_is_drawn_whole():
    mask = np.full((60, 60), FLAT, np.uint8)
    mask[30:40, 5:15] = VEHICLE
    mask[0, 0] = SKY
    drawn = draw_object(mask, np.random.default_rng(0))
    assert np.array_equal(drawn, mask == VEHICLE)  # the road is too large, the speck too small


def test_an_error_on_purpose_leaves_the_mask_alone_and_is_seen():
    mask = np.full((60, 60), FLAT, np.uint8)
    mask[30:40, 5:15] = VEHICLE
    before = mask.copy()
    region = simulate(certain(mask), mask, np.random.default_rng(0))
    assert np.array_equal(mask, before)
    assert region.predicted == VEHICLE and region.box == (30, 5, 10, 10)
    assert simulate(certain(mask), np.full((60, 60), FLAT, np.uint8), np.random.default_rng(0)) is None


def region(given=FLAT, predicted=SKY, pixels=100, log_odds=4.0, **more):
    values = {"confidence": 0.9, "coverage": 0.1, "own": 0.1, "outline": 0.3} | more
    return Region(given, predicted, (0, 0, 10, 10), pixels, log_odds, **values)


def test_rarity_by_hand():
    """Of 10 images, three regions of the pair have 100 pixels or more, the region itself among them."""
    regions = [region(pixels=pixels) for pixels in (50, 100, 200, 300)]
    confusions = Confusions(regions, images=10)
    assert confusions.rarity(regions[1], counted=True) == pytest.approx(-np.log(2.5 / 10))
    assert confusions.rarity(regions[1], counted=False) == pytest.approx(-np.log(3.5 / 10))
    assert confusions.rarity(region(given=VEHICLE), counted=False) == pytest.approx(-np.log(0.5 / 10))


def test_a_separator_gives_the_logarithm_of_a_ratio_of_densities():
    """Of 1 feature that is 0 or 1: 1 is there in 10 % of the one group and 90 % of the other."""
    observed = np.repeat([0.0, 1.0], [900, 100])[:, np.newaxis]
    simulated = np.repeat([0.0, 1.0], [50, 450])[:, np.newaxis]
    odds = Separator(observed, simulated).odds(np.array([[0.0], [1.0]]))
    assert odds == pytest.approx([np.log(0.1 / 0.9), np.log(0.9 / 0.1)], abs=0.05)


def test_class_sums_give_the_mean_confidence():
    probabilities = np.zeros((1, 4, 3), np.float32)
    probabilities[0, :, 1] = [0.2, 0.4, 0.9, 0.9]
    sums = ClassSums(3)
    sums.add(probabilities, np.array([[1, 1, 2, 2]], np.uint8))
    assert sums.thresholds == pytest.approx([1, 0.3, 0])
    sums.add(probabilities, np.array([[0, 0, 0, 1]], np.uint8))
    assert sums.thresholds == pytest.approx([0, (0.2 + 0.4 + 0.9) / 3, 0])


def judge(images, model):
    sums = ClassSums(8)
    return list(judge_images(model, images, {}, sums)), sums.thresholds


def test_objects_of_a_wrong_class_rank_above_a_models_own_errors():
    images = [Image("train", f"{seed}", *draw_scene(seed)) for seed in range(30)]
    wrong = {}
    for place in (4, 17):
        mask = images[place].mask.copy()
        drawn = draw_object(np.where(mask == VEHICLE, mask, 0), np.random.default_rng(place))
        mask[drawn] = SKY
        images[place] = images[place]._replace(mask=mask)
        rows, columns = np.nonzero(drawn)
        wrong[images[place].id] = int(rows.min()), int(columns.min())
    judgements, thresholds = judge(images, fake_model())
    found = sorted(find_label_errors(judgements, thresholds, CATEGORIES), key=lambda one: -one.score)
    assert {one.id for one in found[:2]} == set(wrong)
    for one in found[:2]:
        assert one.details["given"] == "sky" and one.details["predicted"] == "vehicle"
        assert np.abs(np.subtract(one.box[:2], wrong[one.id])).max() <= 3
        assert one.score > 0.2
        assert one.what == f"{one.details['pixels']:,} pixels are sky, and vehicle by the model"


def test_what_a_model_seldom_confuses_is_more_suspicious():
    """Two regions differ in nothing but their classes: one pair is confused in every image, the other once."""
    common, rare = region(), region(given=VEHICLE, predicted=CONSTRUCTION)
    judgements = [Judgement("val", f"{index}", [common], rare, None) for index in range(40)]
    judgements.append(Judgement("val", "rare", [rare], None, None))
    found = sorted(find_label_errors(judgements, np.ones(8), CATEGORIES), key=lambda one: -one.score)
    assert found[0].id == "rare"
    assert len(found) == 1 or found[0].score > 2 * found[1].score


def test_without_simulated_errors_the_number_of_regions_counts():
    """Of 10 images two errors are expected: for 1 region that makes the odds 2 : 1, for 3 regions 2 : 3."""
    empty = [Judgement("val", f"{index}", [], None, None) for index in range(9)]
    for count in (1, 3):
        judgements = [Judgement("val", "a", [region()] * count, None, None), *empty]
        found = find_label_errors(judgements, np.ones(8), CATEGORIES)
        assert [one.score for one in found] == pytest.approx([2 / (2 + count)] * count)
    assert find_label_errors([], np.ones(8), CATEGORIES) == []


def test_judgements_do_not_depend_on_the_order_of_images():
    images = [Image("train", f"{seed}", *draw_scene(seed)) for seed in range(4)]
    forward, _ = judge(images, fake_model())
    backward, _ = judge(images[::-1], fake_model())
    assert forward == backward[::-1]
