"""An exported model as a function, whatever an image comes as."""

import copy
import io
import pickle

import numpy as np
import pytest
from helper_files import file_of, image_of_reds
from helper_models import MODEL_COLORS, MODEL_NAMES, write_model
from PIL import Image

import tfseg
from tfseg.inference.predictor import Predictor

REDS = image_of_reds(0, 70, 130, 255)
IDS = [0, 1, 2, 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("loaded") / "model")


@pytest.fixture(scope="module")
def segment(folder):
    return tfseg.load_model(folder, "native")


def test_it_names_its_classes(segment):
    assert segment.classes == MODEL_NAMES and segment.palette.tolist() == MODEL_COLORS and segment.sizes == ()


def test_a_path_a_pil_image_and_an_array_are_the_same(segment, folder, tmp_path):
    path = tmp_path / "street.png"
    path.write_bytes(file_of(REDS))
    expected = Predictor(folder)(REDS[np.newaxis])[0]
    assert np.unique(expected).tolist() == IDS
    for image in (path, str(path), Image.fromarray(REDS), Image.open(path), REDS, REDS[::-1][::-1]):
        mask = segment(image)
        np.testing.assert_array_equal(mask, expected)
        assert mask.dtype == np.uint8


def test_pil_images_follow_the_rules_of_files(segment):
    turned = Image.fromarray(np.repeat(REDS, 2, axis=0))
    exif = turned.getexif()
    exif[0x0112] = 6
    file = io.BytesIO()
    turned.save(file, "JPEG", exif=exif)
    assert segment(Image.open(file)).shape == turned.size
    with pytest.raises(ValueError, match=r"image: .*transparent"):
        segment(Image.new("RGBA", (4, 4)))
    with pytest.raises(ValueError, match=r"image: is a PIL image of mode CMYK: .*; give one .*, such as RGB"):
        segment(Image.new("CMYK", (4, 4)))


def test_tta_and_windows(segment):
    wide = np.repeat(np.repeat(REDS, 8, axis=0), 8, axis=1)
    plain = segment(wide)
    for options in ({"tta": True}, {"window": (8, 8)}, {"tta": (1.0, 2.0), "window": (16, 16), "overlap": 0.25}):
        np.testing.assert_array_equal(segment(wide, **options), plain)  # it sees one pixel at a time
    probabilities = segment.probabilities(wide, tta=True)
    assert probabilities.shape == (*wide.shape[:2], 4) and probabilities.dtype == np.float32
    np.testing.assert_array_equal(probabilities.argmax(-1), plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tta": 1}, "tta: expected True, False, or factors such as .*, got 1"),
        ({"tta": "flip"}, "tta: expected True, False, or factors such as .*, got 'flip'"),
        ({"window": 8}, r"window: expected \(height, width\), whole numbers, got 8"),
        ({"window": "8x8"}, r"window: expected \(height, width\), whole numbers, got '8x8'"),
        ({"window": (8, 8, 3)}, r"window: expected \(height, width\), whole numbers, got \(8, 8, 3\)"),
        ({"window": (8.0, 8)}, r"window: expected \(height, width\), whole numbers, got \(8.0, 8\)"),
        ({"overlap": 0.25}, r"overlap is that of sliding windows; give their window=\(height, width\), too"),
        ({"overlap": 1.0, "window": (8, 8)}, "overlap must be at least 0 and below 1, got 1.0"),
    ],
)
def test_odd_settings_are_refused(segment, options, message):
    for predict in (segment, segment.probabilities):
        with pytest.raises(ValueError, match=message):
            predict(REDS, **options)


def test_sizes_are_arrays_too(segment, folder):
    np.testing.assert_array_equal(segment(REDS, window=np.array([8, 8])), segment(REDS))
    assert tfseg.load_model(folder, np.array([8, 8])).sizes == ((8, 8),)
    with pytest.raises(ValueError, match="expected native, or a size as HEIGHTxWIDTH") as caught:
        tfseg.load_model(folder, 8)
    assert caught.value.__notes__ == ["In Python: --input-size is input_size"]


def test_overlay(segment):
    colors = segment.overlay(REDS, alpha=1.0)
    np.testing.assert_array_equal(colors, np.array(MODEL_COLORS, np.uint8)[segment(REDS)])
    np.testing.assert_array_equal(segment.overlay(REDS, np.zeros(REDS.shape[:2], int), alpha=0.0), REDS)
    with pytest.raises(ValueError, match="mask: expected class ids of 0 to 3"):
        segment.overlay(REDS, np.full(REDS.shape[:2], 4))
    for mask in (np.zeros((0, 4), np.uint8), np.full(REDS.shape[:2], "road")):
        with pytest.raises(ValueError, match="mask: expected class ids of 0 to 3"):
            segment.overlay(REDS, mask)
    for alpha in (-0.1, 2, np.nan):
        with pytest.raises(ValueError, match=f"alpha: expected 0 to 1, got {alpha}"):
            segment.overlay(REDS, alpha=alpha)


def test_size(folder):
    assert tfseg.load_model(folder, (8, 8)).sizes == ((8, 8),)
    with pytest.raises(ValueError, match="expected native, or a size as HEIGHTxWIDTH"):
        tfseg.load_model(folder, "large")


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (REDS.astype(np.float32), ValueError, r"expected uint8 \(height, width, 3\) of 0 to 255, got float32"),
        (REDS[..., 0], ValueError, r"expected uint8 \(height, width, 3\)"),
        (REDS[np.newaxis], ValueError, r"expected uint8 \(height, width, 3\)"),
        ([1, 2], TypeError, "expected a path, a PIL image or a NumPy array, got list"),
        ("no.png", OSError, "no.png"),
    ],
)
def test_what_is_no_image(segment, image, error, message):
    with pytest.raises(error, match=message):
        segment(image)


def test_a_notebook_shows_a_mask_and_no_part_of_one(segment):
    mask = segment(REDS)
    assert "data:image/png;base64," in mask._repr_html_() and "void, dim, bright, glaring" in mask._repr_html_()
    assert (
        (mask == 3)._repr_html_() is None and mask[0]._repr_html_() is None and mask.sum() == sum(IDS) * mask.size // 4
    )
    assert (mask + np.uint8(9))._repr_html_() is None


def test_a_mask_counts_like_any_array_and_keeps_its_colours(segment):
    mask = segment(REDS)
    assert type(mask.max()) is np.uint8 and type((mask == mask).all()) is np.bool and {mask.max(): 1}
    for same in (pickle.loads(pickle.dumps(mask)), copy.deepcopy(mask), mask.copy()):
        np.testing.assert_array_equal(same, mask)
        assert same._repr_html_() == mask._repr_html_() is not None
