import json

import pytest
from helper_models import MODEL_CLASSES

from tfseg.inference.labels_file import read_sizes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no list of classes"),
        ("[]", "no list of classes"),
        ('{"classes": [{"id": 0, "name": "void"}]}', "no list of classes .*color"),
        ('{"classes": []}', "expected the ids 0, 1, 2"),
        (json.dumps({"classes": MODEL_CLASSES[::-1]}), r"expected the ids 0, 1, 2 and so on, got \[3, 2, 1, 0\]"),
        ('{"classes": [{"id": 0, "name": "void", "color": [0, 0, 256]}]}', "three integers in 0..255"),
        ('{"classes": [{"id": 0, "name": "void", "color": [0, 0]}]}', "three integers in 0..255"),
        ('{"classes": [{"id": 0, "name": "void", "color": [0, 0, 0.5]}]}', "three integers in 0..255"),
        (
            json.dumps({"classes": MODEL_CLASSES, "resize": [[0, 8]]}),
            r"resize: expected a list of \[height, width\]",
        ),
    ],
)
def test_bad_labels(tmp_path, text, message):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(ValueError, match=r"labels\.json.* " + message):
        read_sizes(tmp_path / "labels.json")
