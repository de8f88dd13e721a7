"""Fewer and larger operations on TensorFlow; other backends do as they do.

Keras 3 computes batch normalisation from a dozen small operations a layer and direction, and a step of Adam from thirty
a variable. TensorFlow has one kernel for each, on the CPU, CUDA and Metal: fewer nodes in the graph, and less memory
traffic. Long chains of cheap operations, each of which would read and write a whole batch, become few by XLA.
"""

import functools
import platform

import keras
import numpy as np
from keras import ops

from tfseg.models.layers import Conv2D, DepthwiseConv2D, GroupedConv2D, has_large_filters, is_grouped, is_pointwise

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
elif keras.backend.backend() == "torch":
    import torch
else:
    import jax


@keras.saving.register_keras_serializable("tfseg")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last of four axes, fused where possible (Ioffe and Szegedy 2015).

    Same weights, results and moving statistics as Keras' layer, but where a batch has one value a channel, as one image
    has that is pooled to one cell. That value less its own mean is 0, whatever it is: nothing could be learnt of it,
    and inference, by moving statistics, would give something else. There training, too, takes the moving statistics,
    which stay as they are: at first 0 and 1, as if there was no normalisation.

    Under a half precision policy the kernel takes half precision pictures with float32 statistics.
    """

    def call(self, inputs, training=None, mask=None):
        if training is True and self._sees_one_value(inputs):
            training = False
        fusible = keras.backend.backend() == "tensorflow" and mask is None and isinstance(training, bool | None)
        if not fusible or not (self.scale and self.center) or len(inputs.shape) != 4 or self.axis not in (-1, 3):
            return super().call(inputs, training=training, mask=mask)
        if training and self.trainable:
            return self._normalize_by_batch(inputs) if count_replicas() == 1 else self._normalize_by_all(inputs)
        outputs, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.convert_to_tensor(self.gamma, "float32"),
            offset=ops.convert_to_tensor(self.beta, "float32"),
            mean=ops.convert_to_tensor(self.moving_mean, "float32"),
            variance=ops.convert_to_tensor(self.moving_variance, "float32"),
            epsilon=self.epsilon,
            is_training=False,
        )
        return outputs

    def _sees_one_value(self, inputs) -> bool:
        """Whether a batch, that of all devices, has one value a channel; of sizes that are not known it has not."""
        shape = [*inputs.shape]
        del shape[self.axis]
        return count_replicas() == 1 and all(length == 1 for length in shape)

    def _normalize_by_batch(self, inputs):
        nothing = tf.zeros([0], tf.float32)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.convert_to_tensor(self.gamma, "float32"),
            offset=ops.convert_to_tensor(self.beta, "float32"),
            mean=nothing,
            variance=nothing,
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel gives the unbiased variance; Keras' moving variance gathers the biased one.
        count = ops.cast(ops.prod(ops.shape(inputs)[:3]), "float32")
        variance = variance * ((count - 1) / count)
        self._update_moving(mean, variance)
        return outputs

    def _normalize_by_all(self, inputs):
        """By the statistics of the whole batch, of which each replica has a part."""
        wide = ops.cast(inputs, "float32")
        mean, variance = ops.moments(wide, axes=(0, 1, 2), synchronized=True)
        self._update_moving(mean, variance)
        gamma, beta = (ops.convert_to_tensor(weight, "float32") for weight in (self.gamma, self.beta))
        return ops.cast(tf.nn.batch_normalization(wide, mean, variance, beta, gamma, self.epsilon), inputs.dtype)

    def _update_moving(self, mean, variance):
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))


@keras.saving.register_keras_serializable("tfseg")
def tanh_sigmoid(x):
    """The logistic function by tanh, which Metal has in half precision: sigmoid(x) = (tanh(x / 2) + 1) / 2."""
    return 0.5 * ops.tanh(0.5 * x) + 0.5


@keras.saving.register_keras_serializable("tfseg")
def tanh_swish(x):
    """Swish (Ramachandran, Zoph and Le 2017) by tanh: x sigmoid(x)."""
    return x * tanh_sigmoid(x)


@keras.saving.register_keras_serializable("tfseg")
def jit_swish(x):
    """Swish on TensorFlow, with a gradient that XLA compiles to one operation where TensorFlow makes six."""

    @tf.custom_gradient
    def activate(x):
        return tf.nn.silu(x), lambda gradient: jit(_swish_gradient)(x, gradient)

    return activate(x)


def _swish_gradient(x, gradient):
    wide = ops.cast(x, "float32")  # in registers: it costs no memory
    sigmoid = ops.sigmoid(wide)
    return ops.cast(ops.cast(gradient, "float32") * sigmoid * (1 + wide * (1 - sigmoid)), x.dtype)


BY_TANH = {keras.activations.sigmoid: tanh_sigmoid, keras.activations.silu: tanh_swish}


def fuse(model: keras.Model, momentum: float, tanh: bool = False, cpu: bool = False) -> keras.Model:
    """Returns a functional model's copy, weights included, with every batch normalisation layer fused.

    Args:
        model: a functional model, which may hold others.
        momentum: of the layers' moving statistics.
        tanh: whether to compute every sigmoid and swish by tanh; the same numbers, but for rounding.
        cpu: whether to train on TensorFlow's CPU, with the `convolutions` that are faster there.
    """

    def clone(layer):
        kind, config = type(layer), layer.get_config()
        if kind is keras.layers.BatchNormalization:
            return BatchNormalization.from_config({**config, "momentum": momentum})
        if keras.backend.backend() == "tensorflow" and is_grouped(layer):
            kind = GroupedConv2D
        elif cpu and has_large_filters(layer):
            kind = DepthwiseConv2D
        elif cpu and is_pointwise(layer):
            kind = Conv2D
        copy = kind.from_config(config)
        activation = getattr(copy, "activation", None)
        if tanh and activation in BY_TANH:
            copy.activation = BY_TANH[activation]
        elif cpu and kind is keras.layers.Activation and activation is keras.activations.silu:
            copy.activation = jit_swish  # that of squeeze-and-excite has few numbers
        return copy

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


class _Steps:
    """Steps of Adam in which some variables can move more slowly, or not at all, fused where possible.

    Does for Adam what is the same for all variables once a step, and the rest of a variable in one operation. Where
    there is no such operation, because of the backend, of `amsgrad` or of a variable that is not float32, the step is
    Keras' own.
    """

    slow, share = frozenset(), 1.0

    def slow_down(self, variables, share: float) -> None:
        """Has some of the variables that it was built with move at a share of the learning rate."""
        self.slow, self.share = frozenset(map(self._var_key, variables)), share

    def apply_rest(self) -> None:
        """Makes a step, with its own rate, of the accumulated gradients of the last batches, fewer than make one.

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
        self._iterations.assign(count - 1)  # of the last batch: so is the rate
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
        """Does nothing: decay is part of `update_step`, which knows the variable's own rate."""

    def stateless_apply(self, optimizer_variables, grads, trainable_variables):
        """As Keras' for JAX, which does not take the gradients of a network whose encoder is frozen."""
        learnt = [variable for variable in self._trainable_variables if variable.trainable]
        pairs = [*zip(learnt, trainable_variables, strict=True), *zip(self.variables, optimizer_variables, strict=True)]
        with keras.StatelessScope(pairs) as scope:
            self.apply(grads, learnt)
        return tuple([scope.get_current_value(variable) for variable in kind] for kind in (learnt, self.variables))

    def _update_model_variables_moving_average(self, trainable_variables):
        """As in Keras, which computes the momentum anew for each variable."""
        momentum = ops.cast(ops.not_equal(self.iterations, 0), "float32") * self.ema_momentum  # first a copy
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            if average is not None:
                share = ops.cast(momentum, average.dtype)
                average.assign(share * average + (1 - share) * variable)

    def _share(self, learning_rate) -> dict:
        """What ResourceApplyAdam wants beside a variable, its slots and its gradient."""
        step = ops.cast(self.iterations + 1, "float32")
        beta_1, beta_2, rate = (
            ops.convert_to_tensor(value, "float32") for value in (self.beta_1, self.beta_2, learning_rate)
        )
        return {
            "lr": rate,
            "beta1": beta_1,
            "beta2": beta_2,
            "beta1_power": ops.power(beta_1, step),
            "beta2_power": ops.power(beta_2, step),
            "epsilon": ops.convert_to_tensor(self.epsilon, "float32"),
        }

    def update_step(self, gradient, variable, learning_rate):
        rate = learning_rate["lr"] if self._fuses else learning_rate
        if self.weight_decay is not None and self._use_weight_decay(variable):
            self.assign_sub(variable, variable * ops.cast(rate * self.weight_decay, variable.dtype))
        if not self._fuses or variable.dtype != tf.float32 or isinstance(gradient, tf.IndexedSlices):
            return super().update_step(gradient, variable, rate)
        place = self._get_variable_index(variable)
        slots = {"m": self._momentums[place], "v": self._velocities[place]}
        handles = {name: slot.value.handle for name, slot in slots.items()}
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle, grad=ops.cast(gradient, "float32"), **handles, **learning_rate
        )


@keras.saving.register_keras_serializable("tfseg")
class Adam(_Steps, keras.optimizers.Adam):
    """`keras.optimizers.Adam` (Kingma and Ba 2015), fused where possible: same arguments, variables and steps."""


@keras.saving.register_keras_serializable("tfseg")
class AdamW(_Steps, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` (Loshchilov and Hutter 2019), fused likewise: same arguments, variables and steps."""


def as_floats(image):
    """Returns pixels of 0..255 in float32, of any type; bytes may be signed, since Metal has no kernel for others.

    Args:
        image: floats, uint8, or int8 with the same eight bits, so that -1 stands for 255.
    """
    floats = ops.cast(image, "float32")
    if keras.backend.standardize_dtype(image.dtype) == "int8":
        floats = ops.where(floats < 0, floats + 256, floats)
    return floats


def as_ids(mask):
    """Returns class ids in int32, of integers of any type; as of `as_floats`, int8 are bytes: -1 stands for 255."""
    signed = keras.backend.standardize_dtype(mask.dtype) == "int8"
    return ops.cast(as_floats(mask) if signed else mask, "int32")


def one_hot(ids, num_classes: int):
    """As `keras.ops.one_hot`, in float32; all zero where an id is that of no class, on PyTorch too."""
    if keras.backend.backend() == "torch":
        ids = ops.where(ids < num_classes, ids, -1)
    return ops.one_hot(ids, num_classes, dtype="float32")


def is_at_hand(x) -> bool:
    """Whether the numbers of a tensor are there to be looked at, as they are not while a step is traced or compiled."""
    if isinstance(x, np.ndarray):
        return True
    if keras.backend.backend() == "tensorflow":
        return isinstance(x, tf.__internal__.EagerTensor)
    if keras.backend.backend() == "torch":
        return type(x) is torch.Tensor and x.device.type != "meta" and not torch.compiler.is_compiling()
    return isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)


def check_pixels(image) -> None:
    """Raises ValueError if an image that is at hand holds floats of 0..1, or -1..1, where 0..255 is wanted.

    Whole numbers alone, such as those of a black image, pass; bytes are not looked at.
    """
    if not is_at_hand(image) or "float" not in keras.backend.standardize_dtype(image.dtype):
        return
    pixels = ops.convert_to_numpy(image)
    if pixels.size and np.abs(pixels).max() <= 1 and (pixels % 1).any():
        low, high = pixels.min(), pixels.max()
        raise ValueError(
            f"image: expected pixels in 0..255, got {low:.3g} to {high:.3g}; multiply those of 0..1 by 255"
        )


def check_ids(ids, num_classes: int, name: str, ignore: int | None = None) -> None:
    """Raises ValueError if class ids that are at hand are no whole numbers in 0..num_classes-1.

    Args:
        ids: integers, or floats that are whole numbers; int8 as `as_ids` takes them.
        num_classes: how many there are.
        name: what they are called.
        ignore: a value beside them that is allowed.
    """
    if not is_at_hand(ids):
        return
    ids = ops.convert_to_numpy(ids)
    ids = ids.view(np.uint8) if ids.dtype == np.int8 else ids
    wrong = (ids < 0) | (ids >= num_classes) | (ids % 1 != 0)
    if ignore is not None:
        wrong &= ids != ignore
    if wrong.any():
        raise ValueError(
            f"{name}: expected class ids in 0..{num_classes - 1}, got {ids[wrong].flat[0]} ({wrong.sum():,} of "
            f"{ids.size:,} pixels are none)"
        )


def count_replicas() -> int:
    """On how many devices the same step is computed, each on its part of the batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync if keras.backend.backend() == "tensorflow" else 1


def find_replica():
    """The number of the device that computes, from 0 on."""
    return tf.distribute.get_replica_context().replica_id_in_sync_group if count_replicas() > 1 else 0


def sum_over_replicas(x):
    """Sums a tensor, or each of a list, over all devices; its gradient is the sum of all devices' gradients."""
    context = tf.distribute.get_replica_context() if count_replicas() > 1 else None
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x) if context else x


def mean_over_replicas(x):
    """The mean over all devices, as `sum_over_replicas`."""
    return sum_over_replicas(x) / count_replicas() if count_replicas() > 1 else x


def compile_step(train_step, strategy, jit_compile):
    """Makes of a Keras model's train step on TensorFlow the compiled step of all replicas.

    Args:
        train_step: batch -> logs, the same ones on each replica.
        strategy: tf.distribute.Strategy.
        jit_compile: whether by XLA.

    Returns:
        batch, or batch of each replica -> logs.
    """

    @functools.partial(tf.function, autograph=False, reduce_retracing=True, jit_compile=jit_compile)
    def step(batch):
        logs = strategy.run(train_step, args=(batch,))
        return {name: strategy.experimental_local_results(value)[0] for name, value in logs.items()}

    return step


def gather(rows, places):
    """Returns the rows at places, whole numbers from 0 on, of any shape; as `keras.ops.take` along axis 0.

    Keras looks for negative places, with operations on whole numbers that Metal has no kernel for.
    """
    return tf.gather(rows, places) if keras.backend.backend() == "tensorflow" else ops.take(rows, places, axis=0)


@functools.cache
def jit(function):
    """Returns a function of tensors compiled on its own by XLA where that is known to work, else itself.

    On a CPU, XLA makes short work of chains over pixels, but takes four times as long for a network.
    """
    if keras.backend.backend() == "tensorflow" and platform.system() == "Linux":
        return tf.function(function, jit_compile=True)
    return function
