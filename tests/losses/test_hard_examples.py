"""Online hard example mining: which pixels are kept, and what the cross-entropy makes of them."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tfseg.augmentation.augmenter import Augmenter
from tfseg.losses.functions import cross_entropy_loss
from tfseg.losses.hard_examples import keep_hardest
from tfseg.losses.segmentation_loss import SegmentationLoss
from tfseg.training.learner import Learner


def kept(probabilities, valid, threshold, min_kept):
    """Whether each pixel of (batch, height, width) is kept."""
    losses = -np.log(np.asarray(probabilities, np.float32))
    found = ops.convert_to_numpy(keep_hardest(losses, np.asarray(valid, np.float32), threshold, min_kept))
    assert found.dtype == np.float32 and {*found.ravel()} <= {0, 1}
    return found > 0


def keep_as_mmsegmentation(probabilities, valid, threshold, min_kept):
    """Its OHEMPixelSampler, line by line, for a number of pixels that is a share of the valid ones."""
    sorted_probabilities = np.sort(probabilities[valid])
    if sorted_probabilities.size > 0:
        batch_kept = math.ceil(min_kept * valid.sum())
        min_threshold = sorted_probabilities[min(batch_kept, sorted_probabilities.size - 1)]
    else:
        min_threshold = 0.0
    return valid & (probabilities < max(min_threshold, threshold))


@pytest.mark.parametrize(
    ("threshold", "min_kept", "expected"),
    [
        (0.7, 0.0, [0, 0, 0, 1]),
        (0.7, 0.5, [0, 1, 0, 1]),
        (0.7, 0.51, [1, 1, 0, 1]),
        (0.85, 0.25, [0, 1, 0, 1]),
        (0.5, 0.0, [0, 0, 0, 0]),
        (0.5, 1.0, [1, 1, 1, 1]),
    ],
)
def test_by_hand(threshold, min_kept, expected):
    probabilities, valid = [[[0.9, 0.8, 0.95, 0.6]]], [[[1, 1, 1, 1]]]
    assert kept(probabilities, valid, threshold, min_kept).ravel().tolist() == expected


def test_the_threshold_is_exact():
    """Where enough pixels are below it, nothing is left of the search."""
    assert kept([[[0.70003, 0.69997]]], [[[1, 1]]], 0.7, 0.0).tolist() == [[[0, 1]]]


def test_void_is_neither_kept_nor_counted():
    probabilities, valid = [[[0.1, 0.9, 0.1]], [[0.8, 0.1, 0.95]]], [[[0, 1, 0]], [[1, 0, 1]]]
    assert kept(probabilities, valid, 0.5, 0.3).tolist() == [[[0, 0, 0]], [[1, 0, 0]]], "one of three, of the batch"
    assert not kept(probabilities, np.zeros((2, 1, 3)), 0.5, 1.0).any()


@settings(derandomize=True, deadline=None, database=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    pixels=st.integers(1, 400),
    threshold=st.floats(0.01, 0.99),
    share=st.integers(0, 63),
    sure=st.floats(0, 6),
)
def test_it_is_the_rule_of_mmsegmentation(seed, pixels, threshold, share, sure):
    """But for pixels as hard as the last one: from a network that knows nothing to one that is nearly always right."""
    random = np.random.default_rng(seed)
    probabilities = (1 - random.uniform(0.001, 1, (2, pixels, 3)) * 10**-sure).astype(np.float32)
    valid = random.uniform(size=probabilities.shape) < random.uniform()
    ours = kept(probabilities, valid, threshold, share / 64)
    theirs = keep_as_mmsegmentation(probabilities, valid, np.float32(threshold), share / 64)
    assert not (theirs & ~ours).any() and not (ours & ~valid).any()
    least = math.ceil(share / 64 * valid.sum())
    assert ours.sum() >= least
    losses = -np.log(probabilities)
    last = np.sort(losses[valid])[::-1][least - 1] if least else np.inf
    assert (losses[ours & ~theirs] >= last / 1.001).all()


def test_where_nothing_is_left_to_learn_all_are_kept():
    assert kept(np.ones((1, 2, 8)), np.ones((1, 2, 8)), 0.7, 0.25).all()
    assert not kept(np.ones((1, 2, 8)), np.ones((1, 2, 8)), 0.7, 0.0).any()


def test_cross_entropy_by_hand():
    """Of three valid pixels the one that is sure is left out; the mean is that of the others, by their weights."""
    mask, chances = np.array([[[1, 1, 2, 0]]]), np.float32([[0.1, 0.8, 0.1], [0.1, 0.6, 0.3], [0.2, 0.4, 0.4]])
    logits = np.log(np.float32([[[*chances, [0.1, 0.2, 0.7]]]]))
    entropy = ops.convert_to_numpy(cross_entropy_loss(mask, logits, ohem_threshold=0.7))
    assert entropy == pytest.approx([-(np.log(0.6) + np.log(0.4)) / 2])
    weighted = cross_entropy_loss(mask, logits, class_weights=[0, 1, 3], ohem_threshold=0.7)
    assert ops.convert_to_numpy(weighted) == pytest.approx([-(np.log(0.6) + 3 * np.log(0.4)) / 4])
    plain = ops.convert_to_numpy(cross_entropy_loss(mask, logits))
    assert ops.convert_to_numpy(cross_entropy_loss(mask, logits, ohem_threshold=0.7, ohem_min_kept=1.0)) == plain
    assert ops.convert_to_numpy(cross_entropy_loss(0 * mask, logits, ohem_threshold=0.7)).tolist() == [0]


@pytest.mark.parametrize("size", [1e2, 1e10, 3e38])
def test_huge_logits_are_no_nan(size):
    mask = np.array([[[0, 1], [2, 2]]])
    for predicted in (mask, mask[:, ::-1]):
        logits = size * (2 * np.eye(3, dtype=np.float32)[predicted] - 1)
        assert np.isfinite(ops.convert_to_numpy(cross_entropy_loss(mask, logits, ohem_threshold=0.7))).all()


def test_only_kept_pixels_teach():
    """A weight a pixel of class 1: the surest ones stay as they are."""
    pixels = keras.Input((None, None, 3))
    network = keras.Model(pixels, keras.layers.Conv2D(2, 1, use_bias=False)(keras.layers.Rescaling(1 / 255)(pixels)))
    # Red, green and blue have the probabilities 0.5, 0.6 and 0.9 for class 1.
    network.set_weights([np.float32([[[[0, math.log(p / (1 - p))] for p in (0.5, 0.6, 0.9)]]])])
    before = network.get_weights()[0].copy()
    loss = SegmentationLoss(dice=0.0, cross_entropy=1.0, ohem_threshold=0.7)
    learner = Learner(network, loss, Augmenter())
    learner.compile(keras.optimizers.SGD(1.0))
    batch = {"image": (255 * np.eye(3)).astype(np.uint8)[None, None], "mask": np.ones((1, 1, 3), np.uint8)}
    learner.train_on_batch(batch)
    moved = (network.get_weights()[0] - before)[0, 0, :, 1]
    assert moved == pytest.approx([0.5 / 2, 0.4 / 2, 0], abs=1e-6)
