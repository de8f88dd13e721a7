"""The examples of what builds, augments and trains networks run as they are written."""

import doctest
import importlib

import pytest

MODULES = {
    "tfseg.augmentation.layer": 1,
    "tfseg.training.architectures": 6,
    "tfseg.training.optimizers": 2,
    "tfseg.training.schedules": 2,
    "tfseg.training.segmenter": 3,
}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    tests = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)
    assert len(tests) == MODULES[name]
    assert runner.summarize(verbose=False).failed == 0
