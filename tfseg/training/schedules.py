"""How the learning rate changes over a training: decays, which need the number of its steps, and the rate itself.

A decay says what share of the highest rate there is; `PeakSchedule` multiplies it by that rate. Where a decay was not
given the number of steps, `segmenter.Segmenter.fit` fills it in.
"""

import math
from numbers import Integral, Real

import keras
from keras import ops

from tfseg import backend  # noqa: F401 - before any layer is made


class Decay:
    """A linear warm-up from 0 to 1, then a decay to 0 at the last step.

    Args:
        steps: of the whole training, warm-up included: batches, as Keras counts them, accumulated or not. None:
            `Segmenter.fit` takes epochs times steps per epoch.
        warmup: steps of the warm-up, a whole number; or a float below 1: its share of all steps.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, steps: int | None = None, warmup: float = 0):
        name = type(self).__name__
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 1):
            raise ValueError(f"{name}(steps=...): expected a whole number of 1 or more, or None, got {steps!r}")
        is_number = isinstance(warmup, Real) and not isinstance(warmup, bool) and warmup >= 0
        if not is_number or not (isinstance(warmup, Integral) or warmup < 1):
            raise ValueError(
                f"{name}(warmup=...): expected a whole number of steps, or a share of all steps below 1, got {warmup!r}"
            )
        self.steps = None if steps is None else int(steps)
        self.warmup = int(warmup) if isinstance(warmup, Integral) else float(warmup)

    def share(self, step, steps: int):
        """Returns the share of the highest learning rate at a step, float32 in 0..1.

        Args:
            step: float32, counted from 0.
            steps: of the whole training.
        """
        warmup = self.warmup if isinstance(self.warmup, int) else round(self.warmup * steps)
        begun = ops.minimum((step + 1) / max(warmup, 1), 1.0)
        return begun * self.decay(ops.clip((step - warmup) / max(steps - warmup, 1), 0, 1))

    def decay(self, done):
        """Returns the share at a part, 0..1, of the steps after the warm-up."""
        raise NotImplementedError

    def get_config(self) -> dict:
        return {"steps": self.steps, "warmup": self.warmup}

    @classmethod
    def from_config(cls, config: dict):
        return cls(**config)


@keras.saving.register_keras_serializable("tfseg")
class Cosine(Decay):
    """Half a cosine (Loshchilov and Hutter 2017, without restarts), for `Adam` and `AdamW`.

    Args:
        steps: of the whole training, warm-up included: batches, as Keras counts them, accumulated or not. None:
            `Segmenter.fit` takes epochs times steps per epoch; a second `fit` begins anew.
        warmup: steps of the linear warm-up from 0, a whole number; or a float below 1: its share of all steps.

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> from tfseg import AdamW, Cosine
        >>> optimizer = AdamW(1e-3, schedule=Cosine(steps=100, warmup=0.1), weight_decay=0.01)
        >>> round(float(optimizer.learning_rate), 6)  # the first of ten steps of warm-up
        0.0001
    """

    def decay(self, done):
        return 0.5 * (1 + ops.cos(math.pi * done))


@keras.saving.register_keras_serializable("tfseg")
class Polynomial(Decay):
    """A power of the share of steps that is left, as DeepLab's "poly" (Chen et al. 2018), for `Adam` and `AdamW`.

    Args:
        steps: of the whole training, as of `Cosine`.
        power: above 0; 1 is a straight line.
        warmup: steps, or their share, as of `Cosine`.

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> from tfseg import Adam, Polynomial
        >>> optimizer = Adam(1e-3, schedule=Polynomial(steps=100))
        >>> round(float(optimizer.learning_rate), 6)
        0.001
    """

    def __init__(self, steps: int | None = None, power: float = 0.9, warmup: float = 0):
        super().__init__(steps, warmup)
        if isinstance(power, bool) or not isinstance(power, Real) or not power > 0:
            raise ValueError(f"Polynomial(power=...): expected a number above 0, got {power!r}")
        self.power = float(power)

    def decay(self, done):
        return (1 - done) ** self.power

    def get_config(self) -> dict:
        return {**super().get_config(), "power": self.power}


@keras.saving.register_keras_serializable("tfseg")
class PeakSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a highest one and a decay, as an optimizer of Keras takes it.

    Args:
        peak: the highest learning rate.
        decay: `Cosine` or `Polynomial`.
        start: steps that the optimizer had made when the training began.
        steps: of the training; None: the decay's own.
    """

    def __init__(self, peak: float, decay: Decay, start: int = 0, steps: int | None = None):
        self.peak, self.decay = peak, decay
        self.start, self.steps = start, decay.steps if steps is None else steps

    @property
    def is_open(self) -> bool:
        """Whether `fit` fills in the number of steps."""
        return self.decay.steps is None

    def __call__(self, step):
        if self.steps is None:
            name = type(self.decay).__name__
            raise ValueError(
                f"{name}(steps=...): the number of steps is not known; give it, epochs times steps per epoch, or train "
                "with tfseg.Segmenter, whose fit fills it in"
            )
        return self.peak * self.decay.share(ops.cast(step, "float32") - self.start, self.steps)

    def get_config(self) -> dict:
        decay = keras.saving.serialize_keras_object(self.decay)
        return {"peak": self.peak, "decay": decay, "start": self.start, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict):
        return cls(**{**config, "decay": keras.saving.deserialize_keras_object(config["decay"])})


def join(learning_rate, schedule: Decay | None):
    """Returns what an optimizer of Keras takes as its learning rate.

    Args:
        learning_rate: as of Keras; with a schedule, a number above 0.
        schedule: `Cosine` or `Polynomial`; None: the learning rate as it is.

    Raises:
        TypeError: the schedule is something else.
        ValueError: the learning rate is no number above 0.
    """
    if schedule is None:
        return learning_rate
    if not isinstance(schedule, Decay):
        raise TypeError(
            f"schedule: expected Cosine(...) or Polynomial(...), got {schedule!r}; give a schedule of Keras as the "
            "learning rate"
        )
    if isinstance(learning_rate, bool) or not isinstance(learning_rate, Real) or not float(learning_rate) > 0:
        raise ValueError(f"learning_rate: expected a number above 0 with a schedule, got {learning_rate!r}")
    return PeakSchedule(float(learning_rate), schedule)


class FillSteps(keras.callbacks.Callback):
    """Says to an open schedule how many steps `fit` will make, and has what was traced with other numbers traced anew.

    Args:
        optimizer: that `find_open` returned.
        initial_epoch: as of `fit`.
    """

    def __init__(self, optimizer, initial_epoch: int):
        super().__init__()
        self.optimizer, self.initial_epoch = optimizer, initial_epoch

    def on_train_begin(self, logs=None):
        schedule, steps = self.optimizer._learning_rate, self.params["steps"]
        name = type(schedule.decay).__name__
        if not steps:
            raise ValueError(
                f"{name}(steps=...): the number of steps is not known, since the data set does not know its length; "
                "give it, or steps_per_epoch to fit, or let the data set know it by assert_cardinality"
            )
        made = int(ops.convert_to_numpy(self.optimizer._iterations))  # with those that are accumulated
        start = max(made - self.initial_epoch * steps, 0)
        numbers = start, self.params["epochs"] * steps
        if numbers != (schedule.start, schedule.steps):
            schedule.start, schedule.steps = numbers
            self.model.make_train_function(force=True)


def find_open(optimizer):
    """Returns an optimizer, or the one within that scales the loss, if `fit` is to fill in the number of its steps."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    schedule = getattr(inner, "_learning_rate", None)
    return inner if isinstance(schedule, PeakSchedule) and schedule.is_open else None
