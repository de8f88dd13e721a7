"""A training with an auxiliary head: it learns, it is resumed, and nothing that is kept for use has it."""

import keras
import numpy as np
import pytest
from keras import ops

from tfseg import device
from tfseg.augmentation.augmenter import Augmenter
from tfseg.config.schema import Config, Data, Loss, Model, Optimizer
from tfseg.losses.segmentation_loss import SegmentationLoss
from tfseg.models import complexity
from tfseg.models.segmenter import build_network
from tfseg.training import checkpoints
from tfseg.training.assembly import build_learner
from tfseg.training.callbacks import Freeze
from tfseg.training.learner import Learner

RANDOM = np.random.default_rng(0)
BATCH = {
    "image": RANDOM.integers(0, 256, (2, 32, 64, 3), np.uint8),
    "mask": RANDOM.integers(0, 8, (2, 32, 64), np.uint8),
}


def make(precision="float32", auxiliary=0.4, **settings):
    """A compiled learner on the CPU, of a network that traces in a second."""
    config = Config(
        Data("none"),
        "none",
        model=Model("tiny", None, decoder_channels=(8, 8, 8, 8, 8)),
        loss=Loss(dice=0.0, cross_entropy=1.0, auxiliary=auxiliary),
        optimizer=Optimizer(learning_rate=1e-2, **settings),
    )
    try:
        return build_learner(config, device.choose_device("cpu", precision), steps=10, num_classes=8)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def values(variables):
    return [ops.convert_to_numpy(variable).copy() for variable in variables]


def moved(variables, before):
    """Whether each variable is another than it was."""
    return [bool((now != old).any()) for now, old in zip(values(variables), before, strict=True)]


@pytest.mark.long
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_its_loss_is_logged_and_weighed(precision):
    learner = make(precision)
    logs = learner.train_on_batch(BATCH, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["cross_entropy"] + 0.4 * logs["auxiliary"], rel=1e-5)
    for _ in range(10):
        later = learner.train_on_batch(BATCH, return_dict=True)
    assert later["auxiliary"] < logs["auxiliary"]


@pytest.mark.long
def test_a_frozen_encoder_leaves_the_head_to_learn():
    """And one that moves at a share of the learning rate is the encoder without the head."""
    learner = make(encoder_lr_multiplier=0.5)
    encoder, head = learner.network.get_layer("tiny"), learner.trained.get_layer("auxiliary_conv")
    assert len(learner.optimizer.slow) == len(encoder.trainable_variables)
    freeze = Freeze(encoder, epochs=1)
    freeze.set_model(learner)
    seen = []
    for epoch in (0, 1):
        freeze.on_epoch_begin(epoch)
        before = values(encoder.variables), values(head.variables)
        learner.train_on_batch(BATCH)
        seen.append((any(moved(encoder.variables, before[0])), all(moved(head.variables, before[1]))))
    assert seen == [(False, True), (True, True)]


@pytest.mark.long
@pytest.mark.accumulates
def test_a_checkpoint_has_the_head(tmp_path):
    """Within accumulated batches: as if it never had been stopped."""
    whole, again = (make(gradient_accumulation_steps=2) for _ in range(2))
    for _ in range(3):
        whole.train_on_batch(BATCH)
    checkpoints.save(whole, tmp_path, 3, None)
    checkpoints.load(again, tmp_path, checkpoints.find_last(tmp_path))
    for _ in range(3):
        whole.train_on_batch(BATCH), again.train_on_batch(BATCH)
    for ours, theirs in zip(
        *(values([*one.variables, *one.optimizer.variables]) for one in (whole, again)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert sum(variable.path.startswith("auxiliary") for variable in again.variables) == 1 + 4 + 2


def test_the_network_is_described_without_it_and_memory_with_it():
    learner, plain = make(), make(auxiliary=0.0)
    assert learner.network.count_params() == plain.network.count_params()
    head = 3 * 3 * 32 * 64 + 4 * 64 + 64 * 8 + 8
    assert learner.trained.count_params() == learner.network.count_params() + head
    size = (32, 64)
    with_head, without = (complexity.walk(one, size) for one in (learner.trained, learner.network))
    macs = (sum(map(complexity.count_macs, calls)) for calls in (with_head, without))
    assert next(macs) - next(macs) == 2 * 4 * (3 * 3 * 32 * 64 + 64 * 8)
    memory = complexity.estimate_memory(learner, with_head, 2)
    assert memory["weights"] - complexity.estimate_memory(plain, without, 2)["weights"] == 4 * head


@pytest.mark.parametrize(("head", "weight", "wanted"), [(False, 0.4, "0 of a network without"), (True, 0.0, "above 0")])
def test_a_head_has_a_loss_and_a_loss_a_head(head, weight, wanted):
    network = build_network(3, "tiny", None, decoder_channels=(8, 8, 8, 8, 8), auxiliary=head)
    with pytest.raises(ValueError, match=rf"^loss.auxiliary: expected {wanted} .*an auxiliary head, got {weight}$"):
        Learner(network, SegmentationLoss(auxiliary=weight), Augmenter())
