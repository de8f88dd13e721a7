"""A SavedModel as an audit takes it, through TensorFlow."""

import numpy as np
import pytest
from helper_audit import draw_scene, write_audited
from helper_models import MODEL_COLORS, MODEL_NAMES, write_model
from helpers import edit_manifest

from tfseg.auditing.auditor import audit_records
from tfseg.auditing.judging import open_model
from tfseg.records.record_set import open_records

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of void, dim, bright and glaring, by the red of a pixel."""
    return write_model(tmp_path_factory.mktemp("audit") / "model")


def write_reds(folder):
    """Records of 12 images whose classes are those of the model, but for a patch in the third."""
    images = {}
    for index in range(12):
        image, _ = draw_scene(index)
        mask = image[..., 0] // 64
        if index == 2:
            image[30:60, 40:80, 0] = 200
            mask = image[..., 0] // 64
            mask[30:60, 40:80] = 1
        images[f"{chr(97 + index)}_x"] = image, mask.astype(np.uint8)
    write_audited(folder, {"train": images})

    def rename(manifest):
        manifest["classes"], manifest["colors"] = MODEL_NAMES, MODEL_COLORS
        manifest["label_map"] = {str(id): name for id, name in enumerate(MODEL_NAMES)}
        manifest["splits"]["train"]["class_pixels"] = manifest["splits"]["train"]["class_pixels"][:4]

    edit_manifest(folder, rename)
    return folder


def test_a_saved_model_is_asked_for_probabilities_of_the_image_s_size(model, tmp_path):
    opened = open_model(model, open_records(write_reds(tmp_path / "records")))
    image, _ = draw_scene(0)
    probabilities = opened.segment(image)
    assert probabilities.shape == (96, 128, 4)
    assert np.array_equal(probabilities.argmax(axis=-1), image[..., 0] // 64)
    assert not opened.learns_void


def test_what_it_contradicts_is_found(model, tmp_path):
    audit = audit_records(write_reds(tmp_path / "records"), model, progress=False)
    first = next(one for one in audit.findings if one.kind == "label_errors")
    assert (first.id, first.box) == ("c_x", (30, 40, 30, 40))
    assert first.what == "1,200 pixels are dim, and glaring by the model"
