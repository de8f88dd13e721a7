"""The examples in docstrings of what users import: each runs, and prints what it says."""

import doctest
import importlib

import pytest

# Module -> what its docstrings must have an example of.
EXAMPLES = {
    "tfseg.losses": [
        *("DiceLoss", "JaccardLoss", "TverskyLoss", "LovaszLoss", "CrossEntropyLoss", "FocalLoss"),
    ],
    "tfseg.segmentation_loss": ["SegmentationLoss"],
    "tfseg.metrics.mean_iou": ["MeanIoU"],
    "tfseg.metrics.scores": ["Scores", "score"],
}


@pytest.mark.parametrize("name, object", [(name, object) for name, objects in EXAMPLES.items() for object in objects])
def test_examples_run(name, object):
    module = importlib.import_module(name)
    runner, report = doctest.DocTestRunner(), []
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(module, object), object, module, {})
    result = runner.run(test, out=report.append)
    assert result.attempted, f"{name}.{object} has no example"
    assert not result.failed, "".join(report)
