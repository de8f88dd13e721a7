"""The examples in docstrings of what users import: each runs, beside data and a run, and prints what it says."""

import doctest
import importlib

import keras
import pytest
from helpers import write_records, write_run

import tfseg
from tfseg.io.png import write_png
from tfseg.synthetic.sample_city import make_sample_city

CONFIG = "data: {records: records, size: 16x32}\nrun_dir: runs/city\ntrain: {epochs: 1}\n"
# Of what shows no example: it is only given, by functions that have one, or trains or scores a run.
WITHOUT = {
    *("Config", "LoadedModel", "Exploration", "Audit", "Finding", "Evaluation", "Comparison", "RunReport", "Export"),
    *("PredictedFiles", "PredictedVideo", "compare_runs", "evaluate_run", "evaluate_model", "explore_dataset"),
    *("export_model", "export_run", "train_run"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_records(folder / "records", {"train": 6, "val": 2}, size=(16, 32))
        (folder / "truth").mkdir()
        for place in range(2):
            example = tfseg.open_records("records").example("val", place)
            write_png(folder / "truth" / f"{example.id}_classes.png", example.mask)
        make_sample_city(folder / "raw", (64, 128), {"train": 3, "val": 2, "test": 1}, workers=1)
        (folder / "city.yaml").write_text(CONFIG)
        run = write_run(tfseg.Config.from_yaml("city.yaml"))
        (run / "history.csv").write_text("epoch,loss\n1,0.5\n")
        pixels = keras.Input((None, None, 3))
        model = keras.Model(pixels, keras.layers.Conv2D(8, 1)(pixels))
        tfseg.export_model(model, run / "saved_model", tfseg.open_records("records"))
    return folder


def find_examples():
    """Every function, class and method of the interface that has an example, by its name."""
    finder, tests = doctest.DocTestFinder(exclude_empty=True), {}
    for name in set(tfseg.__all__) - {"losses", "metrics", "__version__"}:
        thing = getattr(tfseg, name)
        module = importlib.import_module(thing.__module__)
        found = [test for test in finder.find(thing, name, module, {}) if test.examples]
        tests |= {test.name: test for test in found}
        if not any(test.name == name for test in found) and name not in WITHOUT:
            tests[name] = None
    return tests


EXAMPLES = find_examples()


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples_run(name, folder, monkeypatch):
    test = EXAMPLES[name]
    assert test, f"tfseg.{name} has no example"
    monkeypatch.chdir(folder)
    report = []
    result = doctest.DocTestRunner().run(test, out=report.append)
    assert not result.failed, "".join(report)


def test_there_are_examples():
    assert len(EXAMPLES) >= 35 and {"RecordSet.train_dataset", "Segmenter.predict", "Config.from_yaml"} <= set(EXAMPLES)
