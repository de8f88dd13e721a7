"""Scores in files that anybody may have written: shown, or refused in one line."""

import copy
import json

import pytest

from tfseg.visualization.curves import draw_curves, read_history
from tfseg.visualization.scores import SHOWN, read_scores
from tfseg.visualization.tables import evaluation_tables

SCORES = {
    **{"split": "val", "records": "city", "epoch": 3, "resize": [[8, 16]], "classes": ["void", "road"]},
    **{"iou": [None, 0.5], "f1": [None, 0.6], "support": [3, 4], "mean_iou": 0.5, "mean_f1": 0.6},
    **{"mean_iou_with_void": None, "mean_f1_with_void": float("nan"), "confusion_matrix": [[1, 2], [3, 4]]},
    **{"device": {"cpu": "no GPU"}, "versions": {"python": "3.12"}},
    "official": {"class_iou": {"road": 0.5}, "mean_class_iou": 0.5},
    "validation": {"size": "8x16", "mean_iou": 0.4},
}
WRONG = ["x", [], {}, [[[]]], -1, 10**400, 1e308 * 10, True, None, {"a": {"b": []}}, ["x", "y"], [[1, 2]], "<b>"]


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_scores_are_read_as_they_are(tmp_path):
    found = read_scores(write(tmp_path / "a.json", SCORES), SHOWN)
    assert json.dumps(found) == json.dumps(SCORES)
    assert "road" in evaluation_tables(found)


@pytest.mark.parametrize("key", SCORES)
def test_a_value_of_any_other_kind_is_shown_or_refused_in_one_line(tmp_path, key):
    for value in WRONG:
        forged = {**copy.deepcopy(SCORES), key: value}
        path = write(tmp_path / "a.json", forged)
        try:
            evaluation_tables(read_scores(path, SHOWN))
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error) and len(str(error)) < 300 + len(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000, "is nested too deep"),
        ("{", "is no JSON: Expecting property name"),
        ('{"a": ' + "9" * 5000 + "}", "has the number .9999"),
        ("[]", "expected scores by their names, got list"),
        ("{}", "has no classes, f1, iou"),
        ({**SCORES, "iou": [1]}, r"iou: expected 2 numbers, one a class, got \[1\]"),
        ({**SCORES, "epoch": "<b>"}, "epoch: expected a number or null, got '<b>'"),
        ({**SCORES, "classes": ["a\nb", 1]}, "classes: expected 1 to 256 names, got"),
        ({**SCORES, "support": [1, -1]}, "support: expected numbers of pixels"),
        ({**SCORES, "validation": {"size": 8}}, "validation: expected a size as text, and a mean_iou, got"),
        ({**SCORES, "official": {"class_iou": {"a": "b"}}}, "official.class_iou: expected names with numbers"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"a\.json: {message}"):
        read_scores(write(tmp_path / "a.json", content), SHOWN)


@pytest.mark.parametrize(
    "text",
    [
        "epoch,loss\n0,x\n",
        "epoch,loss\n1e300,1\n",
        "epoch\nnan\n",
        "epoch,loss\n-1,1\n",
        "loss\n1\n",
        "",
        "\0",
        "epoch," + ",".join(f"a{place}" for place in range(5000)) + "\n0\n",
        "epoch,loss\n0," + "9" * 200_000 + "\n",
    ],
)
def test_a_forged_history_is_refused_in_one_line(tmp_path, text):
    path = write(tmp_path / "history.csv", text)
    with pytest.raises(ValueError, match=r"history\.csv: ") as error:
        read_history(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300 + len(str(path))


def test_a_history_without_text_is_refused(tmp_path):
    (tmp_path / "history.csv").write_bytes(b"epoch\n\xff\n")
    with pytest.raises(ValueError, match=r"history\.csv: is no text in UTF-8"):
        read_history(tmp_path / "history.csv")


def test_evil_columns_of_a_history_are_drawn_as_text(tmp_path):
    path = write(tmp_path / "history.csv", 'epoch,loss,"$\\frac{","<b>\n"\n0,inf,1e400,-1\n1,nan,2,3\n')
    draw_curves(path, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
