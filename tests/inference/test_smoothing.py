import numpy as np
import pytest

from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.smoothing import SmoothSegmenter
from tfseg.inference.tta import InferenceSettings


def likely_red(images):
    """Two classes: red, as likely as it is bright, and the rest."""
    red = images[..., :1].astype(np.float32) / 255
    return np.concatenate([red, 1 - red], axis=-1)


def frames(count=6, height=12, width=16):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


@pytest.mark.parametrize("factor", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("settings", [InferenceSettings(), InferenceSettings((8, 8), flip=True, scales=(1.0, 0.5))])
def test_the_mask_is_that_of_the_moving_average(factor, settings):
    segment = ImageSegmenter(likely_red, 2, ((6, 8),), settings, in_numpy=True)
    smooth, mean = SmoothSegmenter(segment, factor), None
    for frame in frames():
        likely = segment.probabilities(segment.prepare(frame)[np.newaxis])[0]
        mean = likely if mean is None else factor * mean + (1 - factor) * likely
        mask = smooth(frame)
        assert mask.shape == frame.shape[:2]
        assert (mask == segment.choose(mean.astype(np.float32), frame.shape[:2])).mean() > 0.99


def test_of_no_weight_each_frame_is_seen_by_itself():
    segment = ImageSegmenter(likely_red, 2, in_numpy=True)
    smooth = SmoothSegmenter(segment, 0.0)
    assert all(np.array_equal(smooth(frame), segment(frame)) for frame in frames())


def test_what_the_network_gave_is_not_changed():
    given = np.full((1, 2, 2, 2), 0.5, np.float32)
    smooth = SmoothSegmenter(ImageSegmenter(lambda images: given, 2, in_numpy=True), 0.5)
    for frame in frames(3, 2, 2):
        smooth(frame)
    assert np.all(given == 0.5)
