import json
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.metrics import confusion
from tfseg.metrics.scores import Scores, score
from tfseg.metrics.segmentation import PixelScores

NAMES = ["void", "road", "sky"]
TRUTH = np.array([[0, 1], [1, 2]])
PREDICTED = np.array([[1, 1], [2, 2]])


def as_lists(scores):
    return {name: np.asarray(value).tolist() for name, value in vars(scores).items() if value is not None}


def test_by_hand():
    scores = score(TRUTH, PREDICTED, classes=NAMES)
    # road: 1 of 2 pixels found; sky: 1, with one wrongly taken for it; void truth counts nowhere
    assert scores.iou == pytest.approx([np.nan, 1 / 2, 1 / 2], nan_ok=True)
    assert scores.f1 == pytest.approx([np.nan, 2 / 3, 2 / 3], nan_ok=True)
    assert scores.iou_with_void == pytest.approx([0, 1 / 3, 1 / 2])
    assert (scores.mean_iou, scores.mean_f1) == pytest.approx((1 / 2, 2 / 3))
    assert (scores.mean_iou_with_void, scores.mean_f1_with_void) == pytest.approx((5 / 18, (1 / 2 + 2 / 3) / 3))
    assert scores.pixel_accuracy == pytest.approx(2 / 3)
    assert scores.support.tolist() == [1, 2, 1]
    assert scores.confusion_matrix.tolist() == [[0, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert scores.classes == ("void", "road", "sky") and scores.ignore_class == 0
    assert scores.calibration_error is None


@pytest.mark.parametrize(
    "classes, ignore_class, used, mean",
    [
        (NAMES, "auto", 0, 1 / 2),
        (["road", "void", "sky"], "auto", None, 5 / 18),
        (None, "auto", None, 5 / 18),
        (NAMES, None, None, 5 / 18),
        (None, 0, 0, 1 / 2),
        (NAMES, 1, 1, 1 / 2),  # 0 of void, all of sky
        (NAMES, 255, 255, 5 / 18),
    ],
)
def test_which_class_is_ignored(classes, ignore_class, used, mean):
    scores = score(TRUTH, PREDICTED, classes=classes, ignore_class=ignore_class)
    assert scores.ignore_class == used and scores.mean_iou == pytest.approx(mean)
    assert f"ignore_class={used}: " in str(scores).splitlines()[-1]


def test_masks_come_in_many_forms():
    truth, predicted = np.random.default_rng(0).integers(0, 3, (2, 4, 5, 6))
    wanted = as_lists(score(truth, predicted))
    for one, other in [
        (truth[..., None], predicted[..., None].astype(np.uint8)),
        ([*truth], [*predicted]),
        (truth.astype(np.int8), iter(predicted)),
        (truth.tolist(), tuple(predicted.tolist())),
        (truth, [mask[..., None] for mask in predicted]),
    ]:
        assert as_lists(score(one, other)) == wanted
    sizes = [np.s_[:2, :3], np.s_[:], np.s_[1:, 4:], np.s_[:5]]
    differ = [[mask[size] for mask, size in zip(masks, sizes, strict=True)] for masks in (truth, predicted)]
    matrix = sum(score(*pair, classes=["a", "b", "c"]).confusion_matrix for pair in zip(*differ, strict=True))
    assert score(*differ).confusion_matrix.tolist() == matrix.tolist()
    assert as_lists(score(truth[0].tolist(), predicted[0].tolist())) == as_lists(score(truth[0], predicted[0]))
    assert score(truth > 0, predicted > 0).classes == ("0", "1")


def test_probabilities():
    truth, classes = np.array([[[0, 1, 2, 2]]]), ["a", "b", "c"]
    probabilities = np.array([[[[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.9, 0, 0.1], [0, 0, 1]]]])
    scores = score(truth, probabilities)
    assert scores.confusion_matrix.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    # Three are right, of 0.6, 0.8 and 1.0; one is wrong, of 0.9; each in a bin of its own.
    assert scores.calibration_error == pytest.approx((0.4 + 0.2 + 0 + 0.9) / 4)
    for one, other in [(truth[0], probabilities[0]), ([truth[0]], [probabilities[0].astype(np.float16)])]:
        assert as_lists(score(one, other, classes))["confusion_matrix"] == scores.confusion_matrix.tolist()
    assert score(truth, np.concatenate([probabilities, 0 * truth[..., None]], axis=-1)).classes == ("0", "1", "2", "3")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99))
def test_a_label_of_no_class_counts_nowhere(seed):
    """As void does, if it is never predicted."""
    random = np.random.default_rng(seed)
    truth = random.choice([0, 1, 2, 200], (2, 9, 12))
    logits = random.normal(size=(2, 9, 12, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    found = score(truth, probabilities, ignore_class=200)
    void = np.concatenate([0 * logits[..., :1], probabilities], axis=-1)
    wanted = score(np.where(truth == 200, 0, truth + 1), void, ["void", "0", "1", "2"])
    for name in ("iou", "f1", "boundary_iou", "support"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name)[1:], nan_ok=True), name
    for name in ("mean_iou", "mean_f1", "mean_boundary_iou", "pixel_accuracy", "calibration_error"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name)), name
    assert found.confusion_matrix.sum() == (truth != 200).sum()
    assert found.mean_iou_with_void == found.mean_iou
    predicted = np.where(truth == 200, 200, probabilities.argmax(axis=-1))  # where nobody looks
    assert score(truth, predicted, ignore_class=200).to_dict().items() <= found.to_dict().items()


def test_the_dictionary_has_the_names_of_the_files():
    probabilities = np.eye(3, dtype=np.float32)[PREDICTED]
    gathered = PixelScores(NAMES)
    gathered.add(probabilities, TRUTH)
    found, wanted = score(TRUTH, probabilities, NAMES).to_dict(), gathered.result()
    assert found.keys() == wanted.keys() and wanted["learn_void"] is found["learn_void"] is False
    assert json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True).replace("NaN", "null")
    assert score(TRUTH, PREDICTED).to_dict()["learn_void"] is True
    assert (
        score(TRUTH, PREDICTED).to_dict()["mean_iou"]
        == confusion.scores([[0, 1, 0], [0, 1, 1], [0, 0, 1]], NAMES, None)["mean_iou"]
    )


@pytest.mark.parametrize("classes, ignore_class", [(NAMES, "auto"), (None, None), (NAMES, 2), (None, 255), (None, 0)])
def test_a_dictionary_becomes_the_same_scores(classes, ignore_class):
    found = score(TRUTH, PREDICTED, classes, ignore_class)
    again = Scores.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert again.ignore_class == found.ignore_class and str(again) == str(found)
    assert json.dumps(as_lists(again)) == json.dumps(as_lists(found))


def test_a_dictionary_of_other_classes_is_refused():
    content = score(TRUTH, PREDICTED).to_dict()
    for wrong in ({"iou": [1.0]}, {"classes": ["road"]}):
        with pytest.raises(ValueError, match=r"expected scores of . classes, as many as have names, got others"):
            Scores.from_dict({**content, **wrong})
    with pytest.raises(ValueError, match=r"expected scores as scores-SPLIT.json has them, got list"):
        Scores.from_dict([1])  # pyright: ignore[reportArgumentType]


def test_the_table():
    scores = score(TRUTH, PREDICTED, ["road", "a\x1b[2J\nb", "sky"], ignore_class=1)
    assert scores.table() == str(scores)
    assert scores.table().splitlines() == [
        "class                         IoU %   F1 %  boundary IoU %  share of pixels %",
        "road                            0.0    0.0               -               25.0",
        "a\\x1b[2J\\nb                       -      -               -               50.0",
        "sky                           100.0  100.0               -               25.0",
        "mean, a\\x1b[2J\\nb left out     50.0   50.0               -",
        "mean, a\\x1b[2J\\nb as a class   27.8   38.9",
        "pixel accuracy 50.0 %; ignore_class=1: ground truth of a\\x1b[2J\\nb counts nowhere",
    ]
    assert repr(scores) == "Scores(mean_iou=0.5, mean_f1=0.5, classes=3, ignore_class=1)"
    *_, mean, rule = str(score(TRUTH, PREDICTED)).splitlines()
    assert mean.startswith("mean  ") and rule == "pixel accuracy 50.0 %; ignore_class=None: all classes count"
    rule = str(score(TRUTH, PREDICTED, ignore_class=255)).splitlines()[-1]
    assert rule.endswith("; ignore_class=255: pixels of that label, which is no class, count nowhere")


class Reader(HTMLParser):
    """The text of cells, and the tags that there are."""

    def __init__(self, page):
        super().__init__()
        self.cells, self.tags = [], set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.styles = [value for name, value in attrs if name == "style"]

    def handle_data(self, data):
        if data.strip():
            self.cells.append(data.strip())


def test_in_a_notebook():
    evil = "<script>alert(1)</script>"
    scores = score(TRUTH, PREDICTED, ["void", evil, "sky"], palette=np.array([[0, 0, 0], [1, 2, 3], [4, 5, 6]]))
    page = scores._repr_html_()
    reader = Reader(page)
    assert evil in reader.cells and "script" not in reader.tags
    assert reader.cells[1:6] == ["class", "IoU %", "F1 %", "boundary IoU %", "share of pixels %"]
    assert page.count("background: rgb(") == 3 and "rgb(1, 2, 3)" in page
    assert "background" not in score(TRUTH, PREDICTED)._repr_html_()


@pytest.mark.parametrize(
    "truth, predicted, options, message",
    [
        (TRUTH, PREDICTED[:1], {}, r"prediction of image 0: expected class ids as integers \(2, 2\), or probabilities"),
        ([TRUTH, TRUTH], [PREDICTED], {}, "prediction: expected as many images as truth has, 2, and one at least, got"),
        ([], [], {}, "expected as many images as truth has, 0, and one at least, got 0"),
        (
            TRUTH,
            PREDICTED / 2,
            {},
            r"or probabilities as floats .*'classes'\), got float64 of the shape \(2, 2\)",
        ),
        (TRUTH / 2, PREDICTED, {}, "truth of image 0: expected class ids as integers, got float64"),
        (
            TRUTH[None, None],
            PREDICTED[None],
            {},
            r"truth of image 0: expected class ids \(height, width\), got",
        ),
        ([TRUTH, TRUTH], [PREDICTED, 9 * PREDICTED], {"classes": NAMES}, "prediction of image 1: .* in 0..2, got 9"),
        (
            TRUTH - 1,
            PREDICTED,
            {"classes": NAMES},
            r"truth of image 0: .* in 0..2, got -1 \(1 pixels are of none\)",
        ),
        (
            TRUTH + 253,
            PREDICTED,
            {},
            "truth: holds 255, which often stands for no class; pass ignore_class=255",
        ),
        (TRUTH, np.eye(4)[PREDICTED], {"classes": NAMES}, "expected probabilities of 3 classes, got 4"),
        (TRUTH, 5 * np.eye(3)[PREDICTED], {}, "expected probabilities in 0..1; apply softmax to logits"),
        (TRUTH, np.nan * np.eye(3)[PREDICTED], {}, "expected probabilities in 0..1; apply softmax to logits"),
        (
            TRUTH,
            PREDICTED,
            {"palette": [[0, 0, 0]]},
            r"palette: expected 3 times red, green, blue, got .* \(1, 3\)",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(truth, predicted, options, message):
    with pytest.raises(ValueError, match=message):
        score(truth, predicted, **options)


def test_scores_do_not_change():
    scores = score(TRUTH, PREDICTED)
    assert isinstance(scores, Scores)
    with pytest.raises(AttributeError):
        scores.mean_iou = 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": "abc"}, "classes: expected a list of their names, or None, got 'abc'"),
        ({"classes": 3}, "classes: expected a list of their names, or None, got 3"),
        ({"ignore_class": "void"}, "ignore_class: expected a whole number, None or \"auto\", got 'void'"),
        ({"ignore_class": True}, 'ignore_class: expected a whole number, None or "auto", got True'),
        ({"ignore_class": 1.5}, 'ignore_class: expected a whole number, None or "auto", got 1.5'),
    ],
)
def test_odd_classes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        score(TRUTH, PREDICTED, **options)


def test_names_come_from_a_generator_too():
    assert score(TRUTH, PREDICTED, (name for name in NAMES)).ignore_class == 0


def test_values_that_are_no_class_ids_take_no_memory():
    """As masks of colours packed into integers are."""
    with pytest.raises(ValueError, match="expected class ids below 4096 where classes are not named, got 1000000000"):
        score(np.array([[10**9]]), np.array([[0]]))


def test_masks_without_pixels_are_refused():
    with pytest.raises(ValueError, match=r"truth of image 0: expected class ids \(height, width\), got .* \(0, 4\)"):
        score(np.zeros((2, 0, 4), int), np.zeros((2, 0, 4), int))
