import keras
import numpy as np
import pytest

from tfseg import fused
from tfseg.augment import Augmentation
from tfseg.config import Optimizer
from tfseg.learner import Learner, Schedule, make_optimizer
from tfseg.losses import SegmentationLoss


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_warmup_then_constant():
    schedule = Schedule(0.1, warmup=4, total=100, cosine=False)
    assert rates(schedule, [0, 1, 3, 4, 50, 99]) == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.1, 0.1])


def test_warmup_then_cosine_to_zero():
    schedule = Schedule(0.1, warmup=4, total=104, cosine=True)
    assert rates(schedule, [0, 4, 54, 104]) == pytest.approx([0.025, 0.1, 0.05, 0.0])
    assert rates(Schedule.from_config(schedule.get_config()), [54]) == pytest.approx([0.05])


def test_optimizer_follows_the_settings():
    adam = make_optimizer(Optimizer(learning_rate=3e-4), epochs=2, steps_per_epoch=5)
    assert type(adam) is fused.Adam
    assert float(adam.learning_rate) == pytest.approx(3e-4)
    settings = Optimizer("adamw", 1e-3, "cosine", warmup_epochs=1, weight_decay=0.05, ema=0.9)
    adamw = make_optimizer(settings, epochs=3, steps_per_epoch=5)
    assert type(adamw) is fused.AdamW
    assert (adamw.weight_decay, adamw.use_ema, adamw.ema_momentum) == (0.05, True, 0.9)
    assert float(adamw.learning_rate) == pytest.approx(1e-3 / 5)


def make_learner(augmentation, classes=3):
    pixels = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(classes, 1, kernel_initializer="zeros")(keras.layers.Rescaling(1 / 255)(pixels))
    return Learner(keras.Model(pixels, logits), SegmentationLoss(0, 1.0), augmentation)


def test_the_loss_sees_the_augmented_mask():
    """Left is class 1, right class 2, the picture says so; mirrored together, it can still be learnt."""
    mask = np.uint8([[[1, 2]]]).repeat(8, axis=0)
    image = (mask[..., None] == np.uint8([1, 2, 0])) * np.uint8(255)
    learner = make_learner(Augmentation(flip=0.5, seed=0))
    learner.compile(keras.optimizers.Adam(0.5))
    first, *_, last = (learner.train_on_batch({"image": image, "mask": mask}) for _ in range(30))
    assert first == pytest.approx(np.log(3), abs=1e-3)
    assert last < 0.1


def test_the_optimizer_is_whole_before_the_first_step():
    learner = make_learner(Augmentation())
    learner.compile(make_optimizer(Optimizer(), epochs=1, steps_per_epoch=1))
    names = [variable.name for variable in learner.optimizer.variables]
    learner.train_on_batch({"image": np.zeros((2, 1, 2, 3), np.uint8), "mask": np.ones((2, 1, 2), np.uint8)})
    assert names == [variable.name for variable in learner.optimizer.variables]
    assert len(names) == 2 + 2 * 2


def test_each_step_has_its_own_draws_and_is_counted():
    image, mask = np.zeros((64, 1, 2, 3), np.uint8), np.broadcast_to(np.uint8([[1, 2]]), (64, 1, 2))
    learner = make_learner(Augmentation(flip=0.5, seed=0))
    first, second = (np.asarray(learner({"image": image, "mask": mask}, training=True)["mask"]) for _ in range(2))
    assert (first != second).any()
    assert int(learner.steps) == 2
    learner.steps.assign(0)
    np.testing.assert_array_equal(learner({"image": image, "mask": mask}, training=True)["mask"], first)
    learner({"image": image, "mask": mask}, training=False)
    assert int(learner.steps) == 1


def test_compiled_steps_differ_in_their_draws_too():
    image, mask = np.full((2, 1, 2, 3), 128, np.uint8), np.broadcast_to(np.uint8([[1, 2]]), (2, 1, 2))
    learner = make_learner(Augmentation(brightness=0.3, seed=0))
    learner.network.layers[-1].set_weights([np.float32([[np.diag([1, 2, 3])]]), np.zeros(3)])
    learner.compile(keras.optimizers.SGD(0.0))  # what else could change the loss
    losses = [float(learner.train_on_batch({"image": image, "mask": mask})) for _ in range(4)]
    assert len(set(losses)) == 4
    assert int(learner.steps) == 4


def test_steps_are_saved_with_the_weights(tmp_path):
    image, mask = np.zeros((2, 1, 2, 3), np.uint8), np.ones((2, 1, 2), np.uint8)
    learner, other = (make_learner(Augmentation()) for _ in range(2))
    learner.compile(keras.optimizers.Adam())
    for _ in range(3):
        learner.train_on_batch({"image": image, "mask": mask})
    learner.save_weights(tmp_path / "last.weights.h5")
    other({"image": image, "mask": mask})
    other.load_weights(tmp_path / "last.weights.h5")
    assert int(learner.steps) == int(other.steps) == 3


def test_nothing_is_augmented_in_evaluation():
    image, mask = np.zeros((1, 1, 2, 3), np.uint8), np.uint8([[[1, 2]]])
    outputs = make_learner(Augmentation(flip=1.0))({"image": image, "mask": mask}, training=False)
    assert np.asarray(outputs["mask"]).tolist() == mask.tolist()
    outputs = make_learner(Augmentation(flip=1.0))({"image": image, "mask": mask}, training=True)
    assert np.asarray(outputs["mask"]).tolist() == [[[2, 1]]]
