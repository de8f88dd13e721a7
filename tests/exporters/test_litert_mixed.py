"""LiteRT with weights in int8, and of mixed precision, where two of four convolutions lose most by int8."""

import json
import sys

import keras
import numpy as np
import pytest
from helpers import write_run
from keras import ops

from tfseg.config.schema import Config, Data, Model
from tfseg.models.decoders import DECODERS
from tfseg.models.segmenter import build_network

pytest.importorskip("litert_quantizer", reason="pip install 'tf-segmentation[export]'")
if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow makes LiteRT's files", allow_module_level=True)

from tfseg.exporters import formats, litert, litert_mixed, quantizer
from tfseg.exporters.exporter import export_run
from tfseg.exporters.folder import check_replaceable
from tfseg.exporters.litert_mixed import MIXED, REPORT, WEIGHTS, Group, Step, group
from tfseg.exporters.quantizer import FLOAT16, FLOAT32, INT8, INT8_WEIGHTS, Operation, quantize, read_operations
from tfseg.exporters.samples import Samples
from tfseg.exporters.saved_model import Traced
from tfseg.inference.runtimes.litert import LiteRT

SIZE = 12, 20
BOTH = ("mixed", "weight_only")


def draw_images(count):
    """Images of which each 4x4 pixels have a colour."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 3, 5, 3), np.uint8)
    return [*coarse.repeat(4, axis=1).repeat(4, axis=2)]


def brightest_network():
    """Gives a pixel the class of its brightest channel, by a tensor of which one channel is 10,000 times as large."""
    kernels = [np.eye(3), np.c_[np.eye(3), 10_000 * np.ones(3)], np.eye(4)[:, :3], 20 * np.eye(3)]
    convolutions = [keras.layers.Conv2D(kernel.shape[1], 1, activation="relu") for kernel in kernels]
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 255), *convolutions])
    for convolution, kernel in zip(convolutions, kernels, strict=True):
        convolution.set_weights([kernel[np.newaxis, np.newaxis], np.zeros(kernel.shape[1])])
    return network


@pytest.fixture(scope="module")
def content():
    return litert.convert(Traced(brightest_network()), SIZE, "float32", [])


@pytest.fixture(scope="module")
def written(content, tmp_path_factory):
    directory = tmp_path_factory.mktemp("mixed")
    words = litert_mixed.write_mixed(content, SIZE, draw_images(12), directory)
    return directory, words | litert_mixed.write_weights(content, SIZE, directory)


@pytest.mark.parametrize(("name", "difference"), [(MIXED, 0.1), (WEIGHTS, 0.02)])
def test_the_files_take_and_give_what_that_in_floats_does(written, content, name, difference):
    floats, model = LiteRT(written[0] / "x", content=content), LiteRT(written[0] / name)
    images = np.stack(draw_images(16)[12:])
    np.testing.assert_allclose(model.network(images), floats.network(images), atol=difference)
    classes = model.run(images=images[:1])["classes"]
    assert (classes == images[:1].argmax(axis=-1)).mean() > 0.99
    gives = model.run.get_output_details()
    assert {key: gives[key]["dtype"] for key in gives} == {"probabilities": np.float32, "classes": np.uint8}
    assert model.run.get_input_details()["images"]["dtype"] == np.uint8


@pytest.mark.parametrize(("name", "kinds"), [(MIXED, {"int8", "float16", "float32"}), (WEIGHTS, {"int8", "float32"})])
def test_what_kind_of_numbers_weights_and_biases_are(written, name, kinds):
    details = LiteRT(written[0] / name).interpreter.get_tensor_details()
    assert {detail["dtype"].__name__ for detail in details if tuple(detail["shape"][1:3]) == (1, 1)} == kinds


def test_the_operations_that_lose_most_stay_in_floats(written):
    report = json.loads((written[0] / "mixed_precision.json").read_text(encoding="utf-8"))
    found = [(operation["operation"], operation["precision"]) for operation in report["operations"]]
    assert found[:2] == [("CONV_2D", FLOAT16)] * 2, "that which gives the large channel, and that which takes it"
    assert found[2:] == [("CONV_2D", INT8)] * 2
    costs = [operation["cost"] for operation in report["operations"]]
    assert costs == sorted(costs, reverse=True) and costs[1] > 10 * costs[2]
    assert [step["in_floats"] for step in report["tried"]] == [0, 1, 2]
    assert report["tried"][0]["other_class"] > 0.5 and report["tried"][-1]["other_class"] == report["other_class"]
    assert report["other_class"] <= report["bar"] == 0.0025


def test_what_goes_in_and_comes_out_is_worded(written):
    words = "classes: uint8 class ids, (1, 12, 20); probabilities: float32, 0..1, (1, 12, 20, class); "
    assert written[1][MIXED].endswith(words + "2 of 4 operations stay in floats, see mixed_precision.json")
    assert written[1][WEIGHTS].endswith(words + "weights in int8")


def operation(kind, takes, gives, has_int8=True):
    return Operation(kind, f"{gives};", takes, (gives,), has_int8)


def test_what_has_weights_begins_a_group():
    """90 to 93 are weights and constants."""
    cast, scale = operation("CAST", (0,), 1, False), operation("MUL", (1, 90), 2)
    first, relu = operation("CONV_2D", (2, 91), 3), operation("RELU", (3,), 4)
    aside, main = operation("CONV_2D", (4, 92), 5), operation("CONV_2D", (4, 93), 6)
    both, lacks = operation("ADD", (6, 5), 7), operation("ELU", (7,), 8, False)
    answers = [operation("SOFTMAX", (8,), 9), operation("ARG_MAX", (8,), 10), operation("SLICE", (10,), 11)]
    groups = group([cast, scale, first, relu, aside, main, both, lacks, *answers])
    assert [each.operations for each in groups] == [[scale], [first, relu], [aside], [main, both]]
    assert litert_mixed.plan(groups, 2) == {INT8: [aside, main, both], FLOAT16: [first]}


def test_ever_more_are_kept_in_floats():
    assert litert_mixed.grow(0) == [0]
    assert litert_mixed.grow(5) == [0, 1, 2, 3, 4, 5]
    assert litert_mixed.grow(30) == [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 29, 30]


def test_what_each_computes_in_is_reported():
    groups = [Group([operation("CONV_2D", (0,), 1), operation("ADD", (1,), 2)], 0.5)]
    groups.append(Group([operation("CONV_2D", (2,), 3)], 0.25))
    report = litert_mixed.make_report(groups, [Step(0, 0.5), Step(1, 0.001)])
    assert [each["precision"] for each in report["operations"]] == [FLOAT16, FLOAT32, INT8]
    assert litert_mixed.word(report) == "2 of 3 operations stay in floats, see mixed_precision.json"


def test_a_file_that_cannot_be_run_costs_most(monkeypatch):
    def fail(*_):
        raise RuntimeError("a scale of 0")

    monkeypatch.setattr(litert_mixed, "_compute", fail)
    assert litert_mixed._find_change(b"", [], "classes", [], np.not_equal) == 1


def test_weights_of_one_byte_make_a_small_file():
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(512, 3), keras.layers.Conv2D(512, 3)])
    content = litert.convert(Traced(network), SIZE, "float32", [])
    weighted = [each for each in read_operations(content) if each.kind == "CONV_2D"]
    assert len(weighted) == 2 and len(quantize(content, {INT8_WEIGHTS: weighted})) < 0.27 * len(content)


def test_a_network_that_bears_int8_has_it_everywhere():
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 1)])
    _, report = litert_mixed.choose(litert.convert(Traced(network), SIZE, "float32", []), draw_images(4))
    assert [each["precision"] for each in report["operations"]] == [INT8]


def test_operations_are_read_in_their_order(content):
    found = [(each.kind, each.has_int8) for each in read_operations(content)]
    assert [kind for kind, _ in found if kind == "CONV_2D"] == ["CONV_2D"] * 4
    assert found.index(("CAST", False)) < found.index(("CONV_2D", True)) < found.index(("SOFTMAX", True))
    assert ("ARG_MAX", False) in found


def test_no_images_are_an_error(content, tmp_path):
    with pytest.raises(ValueError, match="mixed is scaled by images of the training split, and there are none"):
        litert_mixed.write_mixed(content, SIZE, [], tmp_path)


def test_what_the_quantizer_cannot_read_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"LiteRT weight_only: .*; leave out weight_only"):
        litert_mixed.write_weights(b"no file of LiteRT", SIZE, tmp_path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", BOTH)
def test_what_the_converter_lacks_is_an_error_of_the_format(tmp_path, monkeypatch, name):
    monkeypatch.setattr("tfseg.exporters.saved_model.save_module", lambda traced, directory: None)
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Lambda(lambda x: ops.erfinv(x / 256))])
    with pytest.raises(ValueError, match=rf"^LiteRT float32: the converter stopped \(.+\); leave out {name}$"):
        formats.write_formats(Traced(network), [name], Samples(SIZE, draw_images(1)), tmp_path)


@pytest.mark.parametrize("name", BOTH)
def test_the_package_is_missing(monkeypatch, name):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"--formats {name}: litert_quantizer, .* not installed, .* macOS and Linux;"):
        formats.check_packages([name])


def test_nothing_is_printed(content, tmp_path, monkeypatch, capsys):
    made = quantizer._open(content)
    monkeypatch.setattr(quantizer, "_open", lambda content: made)
    quantized = made.quantize

    def chatter(*words, **looks):
        print("a report")
        print("a bar", file=sys.stderr)
        return quantized(*words, **looks)

    monkeypatch.setattr(made, "quantize", chatter)
    litert_mixed.write_weights(content, SIZE, tmp_path)
    assert capsys.readouterr() == ("", "")


@pytest.mark.long
def test_a_run_is_exported_and_compared(tmp_path, tiny_records, capsys):
    model = Model("tiny", None, decoder_channels=(8, 8, 8, 8, 8))
    run = write_run(Config(Data(str(tiny_records), size="24x32"), str(tmp_path / "run"), model=model))
    build_network(8, "tiny", None, decoder_channels=model.decoder_channels).save_weights(run / "best.weights.h5")
    export = export_run(run, tmp_path / "model", BOTH, images=2, calibration=2)
    check_replaceable(tmp_path / "model")
    assert {MIXED, WEIGHTS, REPORT} <= {*export.files}
    entry = export.parity["formats"]["LiteRT int8, float16"]
    assert entry["bar"] == "at most 0.2 points of mean IoU lost" and "operations stay in floats" in entry["note"]
    card = (tmp_path / "model/model_card.md").read_text(encoding="utf-8")
    assert f"LiteRT int8, float16: {entry['note']}." in card
    out, err = capsys.readouterr()
    assert out == "" and "it/s]" not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [*(("tiny", decoder) for decoder in DECODERS), ("mobilenetv3large", "unet"), ("efficientnetb0", "unet")],
)
def test_every_network_goes_in_a_file(encoder, decoder, tmp_path, monkeypatch):
    """Without the search, all that is left in int8 at first."""
    monkeypatch.setattr(litert_mixed, "find_costs", lambda content, ranges, groups, images: groups)
    keras.utils.set_random_seed(1)
    network = build_network(4, encoder, None, decoder)
    content = litert.convert(Traced(network), (64, 96), "float32", [])
    images = [*np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)]
    litert_mixed.write_mixed(content, (64, 96), images, tmp_path)
    litert_mixed.write_weights(content, (64, 96), tmp_path)
    assert json.loads((tmp_path / REPORT).read_text())["tried"][0]["other_class"] < 1, "int8 can be run"
    image = np.random.default_rng(1).integers(0, 256, (1, 64, 96, 3), np.uint8)
    expected = LiteRT(tmp_path / "x", content=content).network(image)
    for file in (MIXED, WEIGHTS):
        assert np.abs(LiteRT(tmp_path / file).network(image) - expected).max() < 0.1
