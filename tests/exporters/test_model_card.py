import dataclasses
import json

import pytest
from helper_models import make_parity_report
from helpers import write_run

from tfseg.config.schema import Config, Data
from tfseg.exporters.model_card import gather, make_card
from tfseg.metrics.confusion import scores
from tfseg.records.record_set import open_records


@pytest.fixture
def facts(tmp_path, tiny_records):
    run = write_run(Config(Data(str(tiny_records), size="24x32"), str(tmp_path / "city")))
    report = make_parity_report()
    for entry in report["formats"].values():
        entry["bytes"] = 1
    found = {"records": str(tiny_records), "split": "val", **report}
    return gather(run, open_records(tiny_records), 1234567, {"model.onnx": "images -> classes"}, found)


def test_a_card_says_what_the_run_folder_and_the_records_do(facts, tiny_records):
    card = make_card(facts)
    assert card.startswith("# city\n")
    for words in (
        "one of 8 classes. A network of 1,234,567 numbers, efficientnetb3 with decoder unet, trained from weights imag",
        "* `model.onnx`: images -> classes",
        "#804080",
        "images of the layout folders, 20 in train, 5 in val, stored at 24x32. Trained on train, resized to 24x32.",
        f"`{facts.manifest_hash}`",
        "None yet: the run has not ended.",
        "On 2 images of val, at 24x32",
        "| LiteRT int8 ",
        "SavedModel 99.99 % of pixels of the same class; LiteRT int8 at most 1 point of mean IoU lost; "
        "SavedModel, files 99.99 %",
        "It was validated on images of 24x32, to which",
        "tensorflow ",
    ):
        assert words in card
    assert len(facts.manifest_hash) == 64
    assert "Core ML" not in card


@pytest.mark.parametrize(
    ("weights", "start", "words"),
    [
        ("imagenet", "runs/city", "trained from what `runs/city` had learnt by tfseg"),
        (None, None, "trained from random weights by tfseg"),
    ],
)
def test_a_card_says_what_the_training_began_with(facts, weights, start, words):
    model = dataclasses.replace(facts.config.model, weights=weights, start=start)
    assert words in make_card(facts._replace(config=dataclasses.replace(facts.config, model=model)))


def test_scores_of_a_run_that_has_ended(facts):
    metrics = json.loads(json.dumps({"epoch": 7, "split": "val", **scores([[5, 1], [1, 3]], ("void", "flat"))}))
    card = make_card(facts._replace(metrics=metrics))
    assert "Of epoch 7, the best of the run, on its validation split, val." in card
    assert "| mean over 1, void left out | " in card
    assert "75.0" in card and "Masks were scored at the network's size, 24x32; tfseg evaluate" in card
    scored = {**metrics, "iou": [None, 0.123], "mean_iou": 0.123}
    card = make_card(facts._replace(metrics=metrics, scores=scored))
    assert "12.3" in card and "75.0" not in card and "at the size of the ground truth, by tfseg evaluate" in card


def test_scores_are_of_the_ground_truths_size_whatever_evaluate_left(facts):
    validation = {"size": "24x32", "mean_iou": 0.321}
    official = {"category_iou": {"flat": 0.654}, "mean_category_iou": 0.654}
    counts = scores([[5, 1], [1, 3]], ("void", "flat"))
    metrics = {"epoch": 7, "split": "val", **counts, "official": official, "validation": validation}
    card = make_card(facts._replace(metrics=metrics, scores={**counts, "mean_iou": 0.987}))
    chosen = "at the size of the ground truth; the validation that chose it, at 24x32, had a mean IoU of 32.1 %."
    assert chosen in card and "75.0" in card and "98.7" not in card
    assert "| flat     |           65.4 |" in card


def test_a_format_that_was_not_run_is_reported(facts):
    formats = {**facts.parity["formats"], "Core ML": {"bytes": 5}}
    assert "Core ML was checked" in make_card(facts._replace(parity={**facts.parity, "formats": formats}))
    formats = {**facts.parity["formats"], "web page": {"bytes": 5}}
    card = make_card(facts._replace(parity={**facts.parity, "formats": formats}))
    assert "The web page computes the file of ONNX" in card and "Core ML was checked" not in card


def test_names_of_a_card_are_text(facts):
    """Raw HTML let through, no name makes an element, a link, a heading or a row of its own."""
    markdown_it = pytest.importorskip("markdown_it")
    evil = "| a | <img src=x onerror=alert(1)> [x](javascript:alert(1)) `b` **c**\n\n# d\n"
    data = dataclasses.replace(facts.config.data, train_split=evil)
    model = dataclasses.replace(facts.config.model, encoder=evil, weights=evil)
    changed = facts._replace(
        run=facts.run.parent / evil.replace("/", ""),
        config=dataclasses.replace(facts.config, data=data, model=model),
        classes=[evil, *facts.classes[1:]],
        contracts={evil: evil},
        parity={**facts.parity, "records": evil, "split": evil},
        versions={evil: evil},
        metrics={**scores([[5, 1], [1, 3]], (evil, "flat")), "epoch": 7, "split": evil},
    )
    reader = markdown_it.MarkdownIt("gfm-like", {"html": True, "linkify": False})
    plain, found = ({*kinds_of(reader, make_card(one))} for one in (facts._replace(metrics=changed.metrics), changed))
    assert found <= plain | {"text_special"} and not found & {"html_inline", "html_block", "link_open", "image"}
    assert make_card(changed).count("\n# ") == 0 and make_card(changed).count("onerror") > 8


def kinds_of(reader, text):
    for token in reader.parse(text):
        yield token.type
        yield from (child.type for child in token.children or ())
