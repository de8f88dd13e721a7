"""Adam and AdamW, fused where possible, and their learning rate.

Keras 3 makes thirty operations of a step of Adam per variable. TensorFlow has one kernel for it, on the CPU, CUDA and
Metal: fewer nodes in the graph, and less memory traffic.
"""

import math
from typing import Any

import keras
from keras import ops

from tfseg.backend import sum_over_replicas
from tfseg.config.schema import Optimizer
from tfseg.training.schedules import Decay, join

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


def make_optimizer(
    settings: Optimizer, epochs: int, steps_per_epoch: int, fused: bool = True
) -> keras.optimizers.Optimizer:
    """Makes Adam or AdamW, with the learning rate that the settings describe.

    Args:
        settings: of the run.
        epochs: of the whole training.
        steps_per_epoch: batches, accumulated or not.
        fused: whether it may be ours; else its steps are those of Keras.

    Raises:
        ValueError: the optimizers of Keras cannot do what the settings ask for.
    """
    if settings.encoder_lr_multiplier < 1 and not fused:
        raise ValueError(
            "optimizer.encoder_lr_multiplier: expected 1 without accelerator.fused, since the optimizers of Keras know "
            f"one learning rate alone, got {settings.encoder_lr_multiplier}"
        )
    total, warmup = epochs * steps_per_epoch, round(settings.warmup_epochs * steps_per_epoch)
    # A number would become a variable, which a checkpoint overwrites, halved or not.
    learning_rate = Schedule(settings.learning_rate, warmup, total, settings.schedule)
    options: dict[str, Any] = {"global_clipnorm": settings.clip_norm}
    if settings.gradient_accumulation_steps > 1:
        options["gradient_accumulation_steps"] = settings.gradient_accumulation_steps
    if settings.ema_momentum is not None:
        options |= {"use_ema": True, "ema_momentum": settings.ema_momentum}
    if settings.name == "adam":
        return (Adam if fused else PlainAdam)(learning_rate, **options)
    optimizer = (AdamW if fused else PlainAdamW)(learning_rate, weight_decay=settings.weight_decay, **options)
    # All but kernels: "variable" is the scale of each channel in ConvNeXt, which has no name.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "variable"])
    return optimizer


@keras.saving.register_keras_serializable("tfseg")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0 to `peak`, then `peak` for good or its decay to 0 at step `total`.

    Args:
        peak: the highest learning rate.
        warmup: steps until then.
        total: steps of the whole training.
        decay: "constant"; "cosine" (Loshchilov and Hutter 2017, without restarts); or "polynomial", of power 0.9, as
            DeepLab (Chen et al. 2018).
    """

    def __init__(self, peak: float, warmup: int, total: int, decay: str):
        self.peak, self.warmup, self.total, self.decay = peak, warmup, total, decay

    def __call__(self, step):
        step = ops.cast(step, "float32")
        share = ops.minimum((step + 1) / max(self.warmup, 1), 1.0)
        done = ops.clip((step - self.warmup) / max(self.total - self.warmup, 1), 0, 1)
        if self.decay == "cosine":
            share *= 0.5 * (1 + ops.cos(math.pi * done))
        elif self.decay == "polynomial":
            share *= (1 - done) ** 0.9
        return self.peak * share

    def get_config(self):
        return {"peak": self.peak, "warmup": self.warmup, "total": self.total, "decay": self.decay}


class WholeAverages(keras.optimizers.Adam):
    """Adam that ends a training with the averages of all weights in their place, those of a frozen encoder too.

    Keras takes the averages of all for those of the weights that are not frozen, and fails.
    """

    def finalize_variable_values(self, var_list):
        try:
            super().finalize_variable_values(self._trainable_variables)
        except TypeError as error:
            if keras.backend.backend() != "mlx" or error.__context__ is None:
                raise
            raise error.__context__ from None  # a step that failed, which left variables without values


class FusedSteps(WholeAverages):
    """Steps of Adam in which some variables can move more slowly, or not at all, fused where possible.

    Does for Adam what is the same for all variables once a step, and the rest of a variable in one operation. Where
    there is no such operation, because of the backend, of `amsgrad` or of a variable that is not float32, the step is
    Keras' own.
    """

    slow, share = frozenset(), 1.0

    def __init__(self, learning_rate=0.001, *args, schedule: Decay | None = None, **kwargs):
        super().__init__(join(learning_rate, schedule), *args, **kwargs)

    def slow_down(self, variables, share: float) -> None:
        """Has some of the variables that it was built with move at a share of the learning rate."""
        self.slow, self.share = frozenset(map(self._var_key, variables)), share

    def apply_rest(self) -> None:
        """Makes a step, at its own learning rate, of the gradients of the last batches, fewer than make one.

        Done again, it does nothing. It is for the end of a training, outside of compiled steps, on one device.
        """
        count = int(ops.convert_to_numpy(self._iterations))
        rest = count % (self.gradient_accumulation_steps or 1)
        if not rest:
            return
        pairs = [*zip(self._trainable_variables, self._accumulated_gradients, strict=True)]
        learnt = [(variable, sums) for variable, sums in pairs if variable.trainable and sums is not None]
        if not any(ops.convert_to_numpy(sums).any() for _, sums in learnt):
            return
        variables = [variable for variable, _ in learnt]
        before = [ops.convert_to_numpy(variable).copy() for variable in variables]
        self._iterations.assign(count - 1)  # of the last batch: so is the learning rate
        grads = self._clip_gradients([ops.convert_to_tensor(sums) / rest for _, sums in learnt])
        self._apply_weight_decay(variables)
        self._backend_update_step(grads, variables, self.learning_rate)
        self._backend_reset_gradient_accumulators()
        if self.use_ema:  # as if the last batch had made this step: the average has its weights as they were
            share = 1 - self.ema_momentum if int(ops.convert_to_numpy(self.iterations)) else 1.0
            for variable, value in zip(variables, before, strict=True):
                average = self._model_variables_moving_average[self._get_variable_index(variable)]
                average.assign(average + share * (variable - value))
        self._iterations.assign(count)

    @property
    def _fuses(self) -> bool:
        return keras.backend.backend() == "tensorflow" and not self.amsgrad

    def apply(self, grads, trainable_variables=None):
        """As Keras', which would clip each replica's part of a gradient before their sum."""
        return super().apply(sum_over_replicas(grads), trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars  # they are sums already

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        groups = {}
        for pair in zip(grads, trainable_variables, strict=True):
            groups.setdefault(self.share if self._var_key(pair[1]) in self.slow else 1.0, []).append(pair)
        for share, group in groups.items():
            rate = learning_rate * share
            if self._fuses:
                rate = self._share(rate)  # from there it is passed on to `update_step`
            super()._backend_update_step(*zip(*group, strict=True), rate)

    def _apply_weight_decay(self, variables):
        """Does nothing: decay is part of `update_step`, which knows the variable's own learning rate."""

    def stateless_apply(self, optimizer_variables, grads, trainable_variables):
        """As Keras' for JAX, which does not take the gradients of a network whose encoder is frozen."""
        learnt = [variable for variable in self._trainable_variables if variable.trainable]
        pairs = [*zip(learnt, trainable_variables, strict=True), *zip(self.variables, optimizer_variables, strict=True)]
        with keras.StatelessScope(pairs) as scope:
            self.apply(grads, learnt)
        return tuple([scope.get_current_value(variable) for variable in kind] for kind in (learnt, self.variables))

    def _update_model_variables_moving_average(self, trainable_variables):
        """As in Keras, which computes the momentum anew for each variable, and the rest in more operations."""
        share = 1 - ops.cast(ops.not_equal(self.iterations, 0), "float32") * self.ema_momentum  # first a copy
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            if average is not None:
                self.assign_sub(average, (average - variable) * ops.cast(share, average.dtype))

    def _share(self, learning_rate) -> dict:
        """What a step takes beside a variable, its slots and its gradient: the share that decays, and the kernel's."""
        step = ops.cast(self.iterations + 1, "float32")
        beta_1, beta_2, rate = (
            ops.convert_to_tensor(value, "float32") for value in (self.beta_1, self.beta_2, learning_rate)
        )
        return {
            "decay": rate * (self.weight_decay or 0.0),
            "lr": rate,
            "beta1": beta_1,
            "beta2": beta_2,
            "beta1_power": ops.power(beta_1, step),
            "beta2_power": ops.power(beta_2, step),
            "epsilon": ops.convert_to_tensor(self.epsilon, "float32"),
        }

    def update_step(self, gradient, variable, learning_rate):
        shared = {**learning_rate} if self._fuses else {"decay": learning_rate * (self.weight_decay or 0.0)}
        decay = shared.pop("decay")
        if self.weight_decay is not None and self._use_weight_decay(variable):
            self.assign_sub(variable, variable * ops.cast(decay, variable.dtype))
        if not self._fuses or variable.dtype != tf.float32 or isinstance(gradient, tf.IndexedSlices):
            return super().update_step(gradient, variable, shared.get("lr", learning_rate))
        place = self._get_variable_index(variable)
        slots = {"m": self._momentums[place], "v": self._velocities[place]}
        handles = {name: slot.value.handle for name, slot in slots.items()}
        tf.raw_ops.ResourceApplyAdam(var=variable.handle, grad=ops.cast(gradient, "float32"), **handles, **shared)


@keras.saving.register_keras_serializable("tfseg")
class Adam(FusedSteps):
    """`keras.optimizers.Adam` (Kingma and Ba 2015), fused where possible: same arguments, variables and steps.

    Args:
        learning_rate: as of Keras; with a schedule, the highest one, a number above 0.
        *args: all others of `keras.optimizers.Adam`.
        **kwargs: likewise, such as beta_1, global_clipnorm, use_ema, ema_momentum and gradient_accumulation_steps.
        schedule: `schedules.Cosine` or `schedules.Polynomial`; None: the learning rate is as given.

    Raises:
        TypeError: the schedule is none of tfseg's.
        ValueError: a schedule, and the learning rate is no number above 0; or as of Keras.

    Example:
        >>> from tfseg import Adam
        >>> optimizer = Adam(1e-3, global_clipnorm=1.0)
        >>> round(float(optimizer.learning_rate), 6)
        0.001
    """


@keras.saving.register_keras_serializable("tfseg")
class AdamW(FusedSteps, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` (Loshchilov and Hutter 2019), fused likewise: same arguments, variables and steps.

    Args:
        learning_rate: as of Keras; with a schedule, the highest one, a number above 0.
        *args: all others of `keras.optimizers.AdamW`.
        **kwargs: likewise, such as weight_decay and those of `Adam`.
        schedule: `schedules.Cosine` or `schedules.Polynomial`; None: the learning rate is as given.

    Raises:
        TypeError, ValueError: as of `Adam`.

    Example:
        >>> from tfseg import AdamW, Cosine
        >>> optimizer = AdamW(1e-3, schedule=Cosine(warmup=0.05), weight_decay=0.01)  # fit fills in the steps
        >>> optimizer.weight_decay
        0.01
    """


@keras.saving.register_keras_serializable("tfseg")
class PlainAdam(WholeAverages):
    """`keras.optimizers.Adam`, whose steps are its own."""


@keras.saving.register_keras_serializable("tfseg")
class PlainAdamW(WholeAverages, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, whose steps are its own."""
