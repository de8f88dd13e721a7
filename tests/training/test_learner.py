import csv
import itertools
import threading
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops

from tfseg.augmentation.augmenter import Augmenter
from tfseg.config.schema import Optimizer
from tfseg.losses.segmentation_loss import SegmentationLoss
from tfseg.metrics.confusion import Scorer
from tfseg.models.layers import BatchNormalization
from tfseg.training import checkpoints, optimizers
from tfseg.training.callbacks import ApplyRest, Freeze, HistoryFile, SaveCheckpoints, TensorBoard
from tfseg.training.learner import Learner, NotFinite, finish_epoch
from tfseg.training.optimizers import Schedule, make_optimizer
from tfseg.training.validation import Validate


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_warmup_then_constant():
    schedule = Schedule(0.1, warmup=4, total=100, decay="constant")
    assert rates(schedule, [0, 1, 3, 4, 50, 99]) == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.1, 0.1])


def test_warmup_then_cosine_to_zero():
    schedule = Schedule(0.1, warmup=4, total=104, decay="cosine")
    assert rates(schedule, [0, 4, 54, 104]) == pytest.approx([0.025, 0.1, 0.05, 0.0])
    assert rates(Schedule.from_config(schedule.get_config()), [54]) == pytest.approx([0.05])


def test_polynomial_decay():
    schedule = Schedule(0.1, warmup=0, total=100, decay="polynomial")
    assert rates(schedule, [0, 50, 99, 100]) == pytest.approx([0.1, 0.1 * 0.5**0.9, 0.1 * 0.01**0.9, 0.0])


def test_optimizer_follows_the_settings():
    adam = make_optimizer(Optimizer(learning_rate=3e-4), epochs=2, steps_per_epoch=5)
    assert type(adam) is optimizers.Adam
    assert float(adam.learning_rate) == pytest.approx(3e-4)
    settings = Optimizer("adamw", 1e-3, "cosine", warmup_epochs=1, weight_decay=0.05, ema_momentum=0.9)
    adamw = make_optimizer(settings, epochs=3, steps_per_epoch=5)
    assert type(adamw) is optimizers.AdamW
    assert (adamw.weight_decay, adamw.use_ema, adamw.ema_momentum) == (0.05, True, 0.9)
    assert float(adamw.learning_rate) == pytest.approx(1e-3 / 5)


def make_learner(augmentation, classes=3):
    pixels = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(classes, 1, kernel_initializer="zeros")(keras.layers.Rescaling(1 / 255)(pixels))
    return Learner(keras.Model(pixels, logits), SegmentationLoss(0, 1.0), augmentation)


def test_the_loss_sees_the_augmented_mask():
    """Left is class 1, right class 2, the image says so; mirrored together, it can still be learnt."""
    mask = np.uint8([[[1, 2]]]).repeat(8, axis=0)
    image = (mask[..., None] == np.uint8([1, 2, 0])) * np.uint8(255)
    learner = make_learner(Augmenter(flip=0.5, seed=0))
    learner.compile(keras.optimizers.Adam(0.5))
    first, *_, last = (learner.train_on_batch({"image": image, "mask": mask}) for _ in range(30))
    assert first == pytest.approx(np.log(3), abs=1e-3)
    assert last < 0.1


def test_the_optimizer_is_whole_before_the_first_step():
    learner = make_learner(Augmenter())
    learner.compile(make_optimizer(Optimizer(), epochs=1, steps_per_epoch=1))
    names = [variable.name for variable in learner.optimizer.variables]
    learner.train_on_batch({"image": np.zeros((2, 1, 2, 3), np.uint8), "mask": np.ones((2, 1, 2), np.uint8)})
    assert names == [variable.name for variable in learner.optimizer.variables]
    assert len(names) == 1 + 2 * 2


def test_each_step_has_its_own_draws_and_is_counted():
    image, mask = np.zeros((64, 1, 2, 3), np.uint8), np.broadcast_to(np.uint8([[1, 2]]), (64, 1, 2))
    learner = make_learner(Augmenter(flip=0.5, seed=0))
    first, second = (np.asarray(learner({"image": image, "mask": mask}, training=True)["mask"]) for _ in range(2))
    assert (first != second).any()
    assert int(learner.steps) == 2
    learner.steps.assign(0)
    np.testing.assert_array_equal(learner({"image": image, "mask": mask}, training=True)["mask"], first)
    learner({"image": image, "mask": mask}, training=False)
    assert int(learner.steps) == 1


def test_compiled_steps_differ_in_their_draws_too():
    image, mask = np.full((2, 1, 2, 3), 128, np.uint8), np.broadcast_to(np.uint8([[1, 2]]), (2, 1, 2))
    learner = make_learner(Augmenter(brightness=0.3, seed=0))
    learner.network.layers[-1].set_weights([np.float32([[np.diag([1, 2, 3])]]), np.zeros(3)])
    learner.compile(keras.optimizers.SGD(0.0))  # what else could change the loss
    losses = [float(learner.train_on_batch({"image": image, "mask": mask})) for _ in range(4)]
    assert len(set(losses)) == 4
    assert int(learner.steps) == 4


def test_steps_are_saved_with_the_weights(tmp_path):
    image, mask = np.zeros((2, 1, 2, 3), np.uint8), np.ones((2, 1, 2), np.uint8)
    learner, other = (make_learner(Augmenter()) for _ in range(2))
    learner.compile(keras.optimizers.Adam())
    for _ in range(3):
        learner.train_on_batch({"image": image, "mask": mask})
    learner.save_weights(tmp_path / "last.weights.h5")
    other({"image": image, "mask": mask})
    other.load_weights(tmp_path / "last.weights.h5")
    assert int(learner.steps) == int(other.steps) == 3


def test_nothing_is_augmented_in_evaluation():
    image, mask = np.zeros((1, 1, 2, 3), np.uint8), np.uint8([[[1, 2]]])
    outputs = make_learner(Augmenter(flip=1.0))({"image": image, "mask": mask}, training=False)
    assert np.asarray(outputs["mask"]).tolist() == mask.tolist()
    outputs = make_learner(Augmenter(flip=1.0))({"image": image, "mask": mask}, training=True)
    assert np.asarray(outputs["mask"]).tolist() == [[[2, 1]]]


def make_parts(settings: Optimizer):
    """A learner of two layers, "encoder" with batch normalisation and "logits", and a batch for it."""
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 1)(keras.layers.Rescaling(1 / 255)(pixels))
    encoder = keras.Model(pixels, BatchNormalization()(x), name="encoder")
    logits = keras.layers.Conv2D(3, 1, name="logits")(encoder(pixels))
    learner = Learner(keras.Model(pixels, logits), SegmentationLoss(0, 1.0), Augmenter())
    optimizer = make_optimizer(settings, epochs=1, steps_per_epoch=10)
    learner.compile(optimizer)
    random = np.random.default_rng(0)
    batch = {"image": random.integers(0, 256, (8, 4, 4, 3), np.uint8), "mask": random.integers(1, 3, (8, 4, 4))}
    return learner, learner.network.get_layer("encoder"), optimizer, batch


def weights_of(layer):
    return [keras.ops.convert_to_numpy(weight).copy() for weight in layer.weights]


def test_kernels_alone_decay():
    names = ("kernel", "depthwise_kernel", "bias", "gamma", "beta", "variable_3")  # the last as in ConvNeXt
    variables = [keras.Variable(np.ones(2, np.float32), name=name) for name in names]
    optimizer = make_optimizer(Optimizer("adamw", 0.1, weight_decay=0.5), 1, 3)
    optimizer.build(variables)
    optimizer.apply([keras.ops.zeros(2) for _ in names])
    moved = [float(keras.ops.convert_to_numpy(variable)[0]) < 1 for variable in variables]
    assert moved == [True, True, False, False, False, False]


@pytest.mark.long
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_encoder_moves_at_its_share_of_the_rate(name):
    """Adam's first step is the learning rate, whatever the gradient; decay, too, goes with that of the variable."""
    moves = []
    for share in (1.0, 0.1):
        keras.utils.set_random_seed(0)
        settings = Optimizer(name, 0.01, weight_decay=0.0 if name == "adam" else 0.5, encoder_lr_multiplier=share)
        learner, encoder, optimizer, batch = make_parts(settings)
        optimizer.slow_down(encoder.trainable_variables, settings.encoder_lr_multiplier)
        before = weights_of(encoder)[0], weights_of(learner.network.get_layer("logits"))[0]
        learner.train_on_batch(batch)
        after = weights_of(encoder)[0], weights_of(learner.network.get_layer("logits"))[0]
        moves.append([new - old for new, old in zip(after, before, strict=True)])
    (encoder_whole, head_whole), (encoder_slow, head_slow) = moves
    np.testing.assert_allclose(encoder_slow, 0.1 * encoder_whole, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(head_slow, head_whole, rtol=1e-5, atol=1e-7)
    assert np.abs(encoder_slow).max() > 5e-4


def test_a_frozen_encoder_learns_nothing_and_then_does():
    learner, encoder, _, batch = make_parts(Optimizer(learning_rate=0.01))
    freeze = Freeze(encoder, epochs=1)
    freeze.set_model(learner)
    seen = []
    for epoch in (0, 1):
        freeze.on_epoch_begin(epoch)
        before, head = weights_of(encoder), weights_of(learner.network.get_layer("logits"))[0]
        learner.train_on_batch(batch)
        seen.append([(old == new).all() for old, new in zip(before, weights_of(encoder), strict=True)])
        assert (head != weights_of(learner.network.get_layer("logits"))[0]).any()
    assert all(seen[0]) and len(seen[0]) == 6, "weights and statistics"
    assert not any(seen[1])


@pytest.mark.accumulates
def test_two_halves_of_a_batch_make_the_step_of_the_whole():
    """Of a loss that is a mean over equally many pixels, without batch normalisation."""
    random = np.random.default_rng(0)
    batch = {"image": random.integers(0, 256, (8, 4, 4, 3), np.uint8), "mask": random.integers(1, 3, (8, 4, 4))}
    found = []
    for parts in (1, 2):
        learner = make_learner(Augmenter())
        learner.compile(
            make_optimizer(
                Optimizer("adamw", 0.1, weight_decay=0.1, clip_norm=0.1, gradient_accumulation_steps=parts), 1, 3
            )
        )
        for _ in range(3):
            for part in range(parts):
                learner.train_on_batch({name: array[part::parts] for name, array in batch.items()})
        found.append(learner.network.get_weights())
    for whole, halves in zip(*found, strict=True):
        np.testing.assert_allclose(halves, whole, atol=1e-5)
    assert np.abs(found[0][0]).max() > 0.1


class Rates(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rates of a few steps."""

    def __init__(self, rates):
        self.rates = rates

    def __call__(self, step):
        return ops.take(ops.convert_to_tensor(self.rates, "float32"), step)


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [{}, {"ema_momentum": 0.9}, {"name": "adamw", "weight_decay": 0.1, "clip_norm": 0.1, "schedule": "constant"}],
)
def test_what_is_left_at_the_end_makes_a_step(settings):
    """Seven batches, three per step: steps of two batches of three and of the last one, at the rates of their ends."""
    random = np.random.default_rng(0)
    images, masks = random.integers(0, 256, (7, 2, 4, 4, 3), np.uint8), random.integers(1, 3, (7, 2, 4, 4))
    settings = {"learning_rate": 0.1, "schedule": "cosine", **settings}

    def learn(optimizer, *groups):
        learner = make_learner(Augmenter())
        learner.compile(optimizer, jit_compile=False)
        for group in groups:
            learner.train_on_batch({"image": np.concatenate(images[group]), "mask": np.concatenate(masks[group])})
        return learner

    def accumulate(count):
        optimizer = make_optimizer(Optimizer(**settings, gradient_accumulation_steps=3), epochs=1, steps_per_epoch=7)
        return learn(optimizer, *(slice(index, index + 1) for index in range(count)))

    whole = make_optimizer(Optimizer(**settings), epochs=1, steps_per_epoch=7)
    whole._learning_rate = Rates([float(whole._learning_rate(step)) for step in (2, 5, 6)])
    wanted = learn(whole, slice(0, 3), slice(3, 6), slice(6, 7)).network.get_weights()
    learner, shorter = accumulate(7), accumulate(6)
    for now, before, after in zip(learner.network.get_weights(), shorter.network.get_weights(), wanted, strict=True):
        np.testing.assert_array_equal(now, before)  # the seventh batch is lost so far
        assert np.abs(after - before).max() > 1e-4

    last = ApplyRest()
    last.set_model(learner)
    last.set_params({"epochs": 2, "steps": 7})
    last.on_epoch_end(0)
    np.testing.assert_array_equal(learner.network.get_weights()[0], shorter.network.get_weights()[0])
    last.set_params({"epochs": 1, "steps": 7})
    for _ in range(2):  # as when it resumes from the checkpoint after its last step
        last.on_epoch_end(0)
        for now, after in zip(learner.network.get_weights(), wanted, strict=True):
            np.testing.assert_allclose(now, after, atol=1e-5)
    assert int(ops.convert_to_numpy(learner.optimizer._iterations)) == 7
    assert not any(ops.convert_to_numpy(sums).any() for sums in learner.optimizer._accumulated_gradients)
    if "ema_momentum" in settings:
        averages = (one.optimizer._model_variables_moving_average for one in (learner, shorter))
        for now, before, after in zip(*averages, wanted, strict=True):
            expected = 0.9 * ops.convert_to_numpy(before) + 0.1 * after
            np.testing.assert_allclose(ops.convert_to_numpy(now), expected, atol=1e-5)


@pytest.mark.long
def test_a_training_that_goes_on_has_the_same_left_at_its_end(tmp_path):
    """Two epochs of seven batches, four a step, so that two are left; stopped after some of them, or never."""
    random = np.random.default_rng(0)
    images, masks = random.integers(0, 256, (14, 2, 4, 4, 3), np.uint8), random.integers(1, 3, (14, 2, 4, 4))
    batches = [{"image": image, "mask": mask} for image, mask in zip(images, masks, strict=True)]

    def train(run, stop_after=None):
        run.mkdir(exist_ok=True)
        learner, asked, epoch = make_learner(Augmenter()), itertools.count(1), 0
        settings = Optimizer(learning_rate=0.1, gradient_accumulation_steps=4)
        learner.compile(make_optimizer(settings, 2, 7), jit_compile=False)
        stop = SimpleNamespace(is_set=lambda: next(asked) == stop_after)
        callbacks = [ApplyRest(), SaveCheckpoints(run, 7, 1000, SimpleNamespace(best_scores=None), stop)]
        checkpoint = checkpoints.find_last(run)
        rest = iter(batches[checkpoint.step if checkpoint else 0 :])
        if checkpoint:
            checkpoints.load(learner, run, checkpoint)
            epoch, step = divmod(checkpoint.step - 1, 7)
            finish_epoch(learner, rest, epoch, step + 1, callbacks, {"epochs": 2, "steps": 7})
            epoch += 1
        if epoch < 2:
            settings = {"initial_epoch": epoch, "epochs": 2, "steps_per_epoch": 7, "shuffle": False, "verbose": 0}
            learner.fit(((batch,) for batch in rest), **settings, callbacks=callbacks)
        return [ops.convert_to_numpy(value) for value in [*learner.network.weights, *learner.optimizer.variables]]

    whole = train(tmp_path / "whole")
    for stop_after in (6, 14):
        with pytest.raises(checkpoints.Stopped):
            train(tmp_path / f"{stop_after}", stop_after)
        assert checkpoints.find_last(tmp_path / f"{stop_after}").step == stop_after
        for mine, theirs in zip(train(tmp_path / f"{stop_after}"), whole, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.accumulates
def test_nothing_is_left_of_steps_that_divide():
    """Nor without accumulation, nor of an encoder that is frozen."""
    for settings in (Optimizer(), Optimizer(gradient_accumulation_steps=2), Optimizer(gradient_accumulation_steps=3)):
        learner, encoder, optimizer, batch = make_parts(settings)
        encoder.trainable = False
        frozen = weights_of(encoder)
        for _ in range(4):
            learner.train_on_batch(batch)
        before = learner.network.get_weights()
        optimizer.apply_rest()
        changed = [(a != b).any() for a, b in zip(before, learner.network.get_weights(), strict=True)]
        assert any(changed) == (settings.gradient_accumulation_steps == 3)
        assert all((old == new).all() for old, new in zip(frozen, weights_of(encoder), strict=True))


@pytest.mark.parametrize("accumulate", [1, pytest.param(3, marks=pytest.mark.accumulates)])
def test_the_rate_in_the_history_is_that_of_the_last_step(accumulate, tmp_path):
    """Two epochs of four steps: 0.5 (1 + cos(pi s / 8)) of step 3, then of step 7, and not 0 as of the step to come."""
    settings = Optimizer(learning_rate=0.1, schedule="cosine", gradient_accumulation_steps=accumulate)
    learner, _, _, batch = make_parts(settings)
    learner.compile(make_optimizer(settings, 2, 4))
    path, board = tmp_path / "history.csv", TensorBoard(tmp_path / "board")
    callbacks = [HistoryFile(path, 0), board]
    for callback in callbacks:
        callback.set_model(learner)
    reported = []
    for epoch in range(2):
        callbacks[0].on_epoch_begin(epoch)
        for _ in range(4):
            learner.train_on_batch(batch)
        callbacks[0].on_epoch_end(epoch, {"loss": 1.0, "val_mean_iou": 0.5})
        reported.append(board._collect_learning_rate({"loss": 1.0})["learning_rate"])
    rates = [float(row["learning_rate"]) for row in csv.DictReader(path.read_text().splitlines())]
    assert rates == pytest.approx([0.05 * (1 + np.cos(np.pi * step / 8)) for step in (3, 7)], rel=1e-4)
    assert reported == pytest.approx(rates, rel=1e-4)


def test_a_batch_of_pixels_in_0_to_1_is_refused():
    learner = make_learner(Augmenter())
    learner.compile(keras.optimizers.SGD(0.0))
    random, mask = np.random.default_rng(0), np.ones((2, 4, 4), np.uint8)
    image = random.uniform(0, 1, (2, 4, 4, 3)).astype(np.float32)
    if keras.backend.backend() not in ("jax", "mlx"):  # which compile the step with its batch
        with pytest.raises(ValueError, match=r"image: expected pixels in 0\.\.255, got 0\.\d+ to "):
            learner.train_on_batch({"image": image, "mask": mask})
    with pytest.raises(ValueError, match=r"image: expected pixels in 0\.\.255, got 0\.\d+ to "):
        learner({"image": image, "mask": mask}, training=True)
    learner.train_on_batch({"image": 255 * image, "mask": mask})


def test_gradients_are_shortened_to_a_norm():
    _, _, optimizer, _ = make_parts(Optimizer(clip_norm=1.0))
    clipped = optimizer._clip_gradients([keras.ops.array([3.0]), keras.ops.array([4.0])])
    assert [float(gradient[0]) for gradient in clipped] == pytest.approx([0.6, 0.8])


def test_the_first_loss_that_is_not_finite_is_kept():
    learner = make_learner(Augmenter())
    learner.loss_function.weights["dice"] = 0.5
    learner = Learner(learner.network, learner.loss_function, Augmenter())
    learner.compile(keras.optimizers.SGD(0.0))
    image, mask = np.zeros((2, 1, 2, 3), np.uint8), np.ones((2, 1, 2), np.uint8)
    learner.train_on_batch({"image": image, "mask": mask})
    learner.check_loss()
    learner.network.layers[-1].bias.assign([0.0, np.nan, 0.0])
    for _ in range(2):
        learner.train_on_batch({"image": image, "mask": mask})
    with pytest.raises(NotFinite) as caught:
        learner.check_loss()
    assert caught.value.step == 2
    assert list(caught.value.terms) == ["dice", "cross_entropy"]
    assert np.isnan(caught.value.terms["cross_entropy"])


def test_terms_of_the_loss_are_logged():
    learner = Learner(make_learner(Augmenter()).network, SegmentationLoss(0.5, 2.0), Augmenter())
    learner.compile(keras.optimizers.SGD(0.0))
    batch = {"image": np.zeros((2, 1, 2, 3), np.uint8), "mask": np.ones((2, 1, 2), np.uint8)}
    logs = learner.train_on_batch(batch, return_dict=True)
    assert logs["cross_entropy"] == pytest.approx(np.log(3))
    assert logs["loss"] == pytest.approx(0.5 * logs["dice"] + 2 * logs["cross_entropy"])


def test_without_a_better_score_it_ends(tmp_path, monkeypatch):
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.4])
    means = dict.fromkeys(Validate.SHOWN, 0.0)
    monkeypatch.setattr("tfseg.training.validation.score", lambda *_: {**means, "mean_iou": next(scores)})
    learner = make_learner(Augmenter())
    learner.compile(keras.optimizers.SGD(0.0))
    validate = Validate(None, None, tmp_path / "best.weights.h5", patience=2)
    validate.set_model(learner)
    ended = []
    for epoch in range(4):
        learner.stop_training = False
        validate.on_epoch_end(epoch, {})
        ended.append(learner.stop_training)
    assert ended == [False, False, False, True]
    assert validate.best_scores["epoch"] == 2


def test_epochs_between_validations_are_not_scored(tmp_path, monkeypatch):
    """The 3rd, 6th and last of seven; the best is the 3rd, after which three epochs bring none better."""
    scores = iter([0.5, 0.4, 0.3])
    means = dict.fromkeys(Validate.SHOWN, 0.0)
    monkeypatch.setattr("tfseg.training.validation.score", lambda *_: {**means, "mean_iou": next(scores)})
    learner = make_learner(Augmenter())
    learner.compile(keras.optimizers.SGD(0.0))
    validate = Validate(None, None, tmp_path / "best.weights.h5", freq=3, patience=3)
    validate.set_model(learner)
    validate.set_params({"epochs": 7, "steps": 1})
    learner.stop_training, logs, ended = False, [], []
    for epoch in range(7):
        logs.append({})
        validate.on_epoch_end(epoch, logs[-1])
        ended.append(learner.stop_training)
    assert [one.get("val_mean_iou") for one in logs] == [None, None, 0.5, None, None, 0.4, 0.3]
    assert ended == [False] * 5 + [True] * 2
    assert validate.best_scores["epoch"] == 3


def test_an_epoch_that_was_validated_before_a_stop_is_validated_again(tmp_path, monkeypatch):
    means = dict.fromkeys(Validate.SHOWN, 0.0)
    monkeypatch.setattr("tfseg.training.validation.score", lambda *_: means)
    learner = make_learner(Augmenter())
    learner.compile(keras.optimizers.SGD(0.0))
    validate = Validate(None, None, tmp_path / "best.weights.h5", freq=4, again=4)
    validate.set_model(learner)
    validate.set_params({"epochs": 20, "steps": 1})
    logs = [{}, {}]
    for epoch in (4, 5):
        validate.on_epoch_end(epoch, logs[epoch - 4])
    assert [bool(one) for one in logs] == [True, False]


def validated(tmp_path, learn_void, **settings):
    """What chooses the best epoch, and a learner of two classes; of the truth, 90 pixels are void and 10 are not."""
    mask = np.zeros((1, 10, 10), np.uint8)
    mask[0, 0] = 1
    batch = {"image": np.zeros((1, 10, 10, 3), np.uint8), "mask": mask}
    learner = make_learner(Augmenter(), classes=2)
    learner.loss_function.ignore_class = None if learn_void else 0
    learner.compile(keras.optimizers.SGD(0.0))
    scorer = Scorer(learner.network, learner.loss_function, ("void", "thing"))
    validate = Validate(scorer, batch, tmp_path / "best.weights.h5", **settings)
    validate.set_model(learner)
    return validate, learner


@pytest.mark.parametrize("learn_void, best, means", [(False, 1, [1, 0, 0]), (True, 2, [0.05, 0.45, 0.45])])
def test_the_best_epoch_is_that_of_what_is_learnt(learn_void, best, means, tmp_path):
    """The first calls all a thing, which is never wrong where void truth counts nowhere; the others call all void."""
    validate, learner = validated(tmp_path, learn_void, patience=2)
    found, ended = [], []
    for epoch, bias in enumerate(([0, 1], [1, 0], [1, 0])):
        learner.network.layers[-1].bias.assign(bias)
        logs = {}
        learner.stop_training = False
        validate.on_epoch_end(epoch, logs)
        found.append(logs["val_mean_iou"])
        ended.append(learner.stop_training)
    assert found == pytest.approx(means)
    assert validate.best_scores["epoch"] == best and validate.best_scores["learn_void"] == learn_void
    assert ended == [False, False, best == 1]
    assert validate.best_scores["mean_iou"] == pytest.approx(max(means))


def test_the_best_before_is_scored_by_the_rule_of_now(tmp_path):
    """A checkpoint of an earlier version has the mean that left out void, of a run that learns it."""
    before = {"epoch": 1, "loss": 0.5, "mean_iou": 1.0, "confusion_matrix": [[0, 90], [0, 10]]}
    validate, learner = validated(tmp_path, True, best_scores=before)
    assert validate.best_scores["mean_iou"] == pytest.approx(0.05)
    assert validate.best_scores["epoch"] == 1 and validate.best_scores["loss"] == 0.5
    learner.network.layers[-1].bias.assign([1, 0])
    validate.on_epoch_end(1, {})
    assert validate.best_scores["epoch"] == 2
    assert validated(tmp_path, False, best_scores=before)[0].best_scores == before


def test_a_stop_ends_a_validation(tmp_path):
    learner, stop = make_learner(Augmenter(), classes=8), threading.Event()
    learner.compile(keras.optimizers.SGD(0.0))
    batch = {"image": np.zeros((2, 1, 2, 3), np.uint8), "mask": np.ones((2, 1, 2), np.uint8)}
    scorer = Scorer(learner.network, learner.loss_function)
    validate = Validate(scorer, batch, tmp_path / "best.weights.h5", stop=stop)
    validate.set_model(learner)
    validate.on_epoch_end(0, {})
    assert validate.best_scores["epoch"] == 1
    stop.set()
    with pytest.raises(checkpoints.Stopped, match="epoch 2's validation; the same command resumes"):
        validate.on_epoch_end(1, {})


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="elsewhere Keras fetches batches before their steps"
)
def test_the_time_that_steps_wait_for_batches_is_counted():
    learner = make_learner(Augmenter())
    learner.compile(keras.optimizers.SGD(0.0))
    batch = {"image": np.zeros((2, 1, 2, 3), np.uint8), "mask": np.ones((2, 1, 2), np.uint8)}
    learner.train_on_batch(batch)
    learner.waited = 0.0

    def late():
        time.sleep(0.1)
        yield batch

    learner.train_function(late())
    assert learner.waited >= 0.1
    assert int(learner.steps) == 2
