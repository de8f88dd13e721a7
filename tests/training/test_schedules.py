import keras
import numpy as np
import pytest
from keras import ops

from tfseg.training.optimizers import Adam, AdamW, Schedule
from tfseg.training.schedules import Cosine, PeakSchedule, Polynomial, find_open
from tfseg.training.segmenter import Segmenter

IMAGES, MASKS = np.full((4, 1, 1, 1), 1, np.uint8), np.zeros((4, 1, 1), np.uint8)


def rates(optimizer, steps):
    return [float(optimizer._learning_rate(step)) for step in steps]


# ---- the formulas


def test_cosine():
    optimizer = Adam(0.1, schedule=Cosine(steps=104, warmup=4))
    assert rates(optimizer, [0, 1, 3, 4, 54, 104, 200]) == pytest.approx([0.025, 0.05, 0.1, 0.1, 0.05, 0, 0])


def test_polynomial():
    optimizer = AdamW(0.1, schedule=Polynomial(steps=100, power=2, warmup=0))
    assert rates(optimizer, [0, 50, 90, 100]) == pytest.approx([0.1, 0.025, 0.001, 0])
    assert rates(Adam(0.1, schedule=Polynomial(100)), [50]) == pytest.approx([0.1 * 0.5**0.9])


def test_a_warmup_below_1_is_a_share_of_all_steps():
    assert rates(Adam(0.1, schedule=Cosine(100, warmup=0.1)), [0, 9, 10, 55]) == pytest.approx([0.01, 0.1, 0.1, 0.05])
    assert rates(Adam(0.1, schedule=Cosine(100, warmup=1)), [0]) == pytest.approx([0.1])


def test_they_are_those_of_a_config():
    for schedule, decay in ((Cosine(50, warmup=5), "cosine"), (Polynomial(50, warmup=5), "polynomial")):
        theirs = Schedule(0.3, 5, 50, decay)
        assert rates(Adam(0.3, schedule=schedule), range(51)) == pytest.approx([float(theirs(n)) for n in range(51)])


def test_without_a_schedule_the_rate_is_as_given():
    assert float(Adam(0.25).learning_rate) == 0.25
    theirs = keras.optimizers.schedules.CosineDecay(0.5, 10)
    assert float(AdamW(theirs).learning_rate) == 0.5
    adam = Adam(0.25)
    adam.learning_rate = 0.125
    assert float(adam.learning_rate) == 0.125


# ---- serialisation


@pytest.mark.parametrize("schedule", [Cosine(10, warmup=0.5), Polynomial(power=0.5, warmup=3)])
@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_optimizers_are_serialised_with_their_schedule(kind, schedule):
    first = kind(1e-3, schedule=schedule, weight_decay=0.1, beta_1=0.8)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(first))
    assert type(copy) is kind and copy.get_config() == first.get_config()
    assert copy._learning_rate.decay.get_config() == schedule.get_config()
    assert type(copy._learning_rate.decay) is type(schedule)


def test_the_serialised_form_of_earlier_schedules_stays():
    config = keras.saving.serialize_keras_object(Schedule(0.1, 4, 100, "cosine"))
    assert config["registered_name"] == "tfseg>Schedule"
    assert config["config"] == {"peak": 0.1, "warmup": 4, "total": 100, "decay": "cosine"}
    assert keras.saving.serialize_keras_object(PeakSchedule(0.1, Cosine()))["registered_name"] == "tfseg>PeakSchedule"


# ---- fit fills in the steps


def drift():
    """A network of one weight, with which a loss falls evenly: each step of Adam moves it by its learning rate."""
    pixels = keras.Input((1, 1, 1))
    return keras.Model(pixels, keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="zeros")(pixels))


class Moves(keras.callbacks.Callback):
    """How far the weight moved in each epoch."""

    def __init__(self):
        super().__init__()
        self.places = [0.0]

    def on_epoch_end(self, epoch, logs=None):
        self.places.append(float(ops.convert_to_numpy(self.model.trainable_variables[0]).item()))

    def moves(self):
        return np.diff(self.places)


def falling(truth, logits):
    return -ops.mean(logits)


def compile_segmenter(schedule, **options):
    model = Segmenter(drift())
    model.compile(Adam(0.1, schedule=schedule, **options), loss=falling)
    return model


def test_fit_takes_epochs_times_steps():
    model, moves = compile_segmenter(Polynomial(power=1.0)), Moves()
    model.fit(IMAGES, MASKS, batch_size=4, epochs=4, verbose=0, callbacks=[moves])
    assert moves.moves() == pytest.approx([0.1, 0.075, 0.05, 0.025], abs=1e-4)
    schedule = model.optimizer._learning_rate
    assert (schedule.start, schedule.steps, schedule.decay.steps) == (0, 4, None)


def test_a_second_fit_has_its_own_numbers():
    model, moves = compile_segmenter(Polynomial(power=1.0)), Moves()
    model.fit(IMAGES, MASKS, batch_size=4, epochs=2, verbose=0, callbacks=[moves])
    model.fit(IMAGES, MASKS, batch_size=4, epochs=4, verbose=0, callbacks=moves)
    assert moves.moves() == pytest.approx([0.1, 0.05, 0.1, 0.075, 0.05, 0.025], abs=1e-4)


def test_initial_epoch_goes_on():
    model, moves = compile_segmenter(Polynomial(power=1.0)), Moves()
    model.fit(IMAGES, MASKS, batch_size=4, epochs=1, verbose=0, callbacks=[moves])
    model.fit(IMAGES, MASKS, batch_size=4, epochs=4, initial_epoch=1, verbose=0, callbacks=[moves])
    assert moves.moves() == pytest.approx([0.1, 0.075, 0.05, 0.025], abs=1e-4)


def test_steps_that_are_given_stay():
    model, moves = compile_segmenter(Polynomial(8, power=1.0)), Moves()
    for _ in range(2):
        model.fit(IMAGES, MASKS, batch_size=4, epochs=2, verbose=0, callbacks=[moves])
    assert moves.moves() == pytest.approx([0.1, 0.0875, 0.075, 0.0625], abs=1e-4)


@pytest.mark.parametrize("options, steps", [({"steps_per_epoch": 3}, 6), ({"validation_split": 0.5}, 2), ({}, 4)])
def test_the_steps_of_an_epoch_are_those_of_keras(options, steps):
    model = compile_segmenter(Cosine())
    data = (IMAGES, MASKS)
    if "steps_per_epoch" in options:
        import tensorflow as tf

        data = (tf.data.Dataset.from_tensor_slices(data).batch(2).repeat(),)
        options = {**options, "shuffle": False}
    else:
        options = {**options, "batch_size": 2}
    model.fit(*data, epochs=2, verbose=0, **options)
    assert model.optimizer._learning_rate.steps == steps


@pytest.mark.accumulates
def test_batches_that_are_accumulated_count():
    model = compile_segmenter(Cosine(), gradient_accumulation_steps=2)
    model.fit(IMAGES, MASKS, batch_size=1, epochs=2, verbose=0)
    assert model.optimizer._learning_rate.steps == 8
    model.fit(IMAGES, MASKS, batch_size=1, epochs=1, verbose=0)
    assert (model.optimizer._learning_rate.start, model.optimizer._learning_rate.steps) == (8, 4)


def test_the_optimizer_within_loss_scaling_is_found():
    inner = Adam(0.1, schedule=Cosine())
    assert find_open(keras.optimizers.LossScaleOptimizer(inner)) is inner
    assert find_open(Adam(0.1, schedule=Cosine(10))) is find_open(keras.optimizers.SGD(0.1)) is find_open(None) is None


# ---- errors


def test_plain_fit_says_that_the_steps_are_missing():
    model = drift()
    model.compile(Adam(0.1, schedule=Cosine()), loss=falling)
    with pytest.raises(ValueError, match=r"Cosine\(steps=...\): the number of steps is not known; give it"):
        model.fit(IMAGES, MASKS, verbose=0)


def test_a_data_set_of_unknown_length_is_refused():
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((IMAGES, MASKS)).batch(2).filter(lambda *_: True)
    with pytest.raises(ValueError, match=r"Polynomial\(steps=...\): .* the data set does not know its length"):
        compile_segmenter(Polynomial()).fit(batches, verbose=0, shuffle=False)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Cosine(0), ValueError, r"Cosine\(steps=...\): expected a whole number of 1 or more, or None, got 0"),
        (lambda: Cosine(2.5), ValueError, r"steps=...\): expected a whole number of 1 or more, or None, got 2.5"),
        (lambda: Cosine(warmup=-1), ValueError, r"Cosine\(warmup=...\): expected .* or a share .* below 1, got -1"),
        (lambda: Cosine(warmup=2.5), ValueError, r"Cosine\(warmup=...\): expected a whole number of steps.*got 2.5"),
        (lambda: Polynomial(power=0), ValueError, r"Polynomial\(power=...\): expected a number above 0, got 0"),
        (lambda: Adam(0.1, schedule="cosine"), TypeError, r"schedule: expected Cosine\(...\) or Polyn.* got 'cosine'"),
        (lambda: Adam(0, schedule=Cosine()), ValueError, "learning_rate: expected a number above 0 with a schedule"),
        (
            lambda: AdamW(keras.optimizers.schedules.CosineDecay(0.1, 5), schedule=Cosine()),
            ValueError,
            "learning_rate: expected a number above 0 with a schedule",
        ),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
