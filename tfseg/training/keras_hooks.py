"""What tfseg overrides or reads that is private in Keras, and whether the installed Keras has it in the known form.

`learner.Learner` and `optimizers.FusedSteps` need it; without it, a training takes layers, optimizer and train step of
Keras instead, as with accelerator.fused false. pyproject.toml names the newest Keras that it was tested with.
"""

import inspect

import keras

from tfseg import backend  # noqa: F401 - before any layer is made
from tfseg.device import Choice, NetworkOptions

# Method -> its arguments.
MODEL = {"make_train_function": ("force",), "compute_loss": ("x", "y", "y_pred", "sample_weight", "training")}
MODEL_ON_TENSORFLOW = {"_maybe_symbolic_build": ("iterator", "data_batch")}
OPTIMIZER = {
    "apply": ("grads", "trainable_variables"),
    "update_step": ("gradient", "variable", "learning_rate"),
    "stateless_apply": ("optimizer_variables", "grads", "trainable_variables"),
    "finalize_variable_values": ("var_list",),
    "_apply_weight_decay": ("variables",),
    "_backend_reset_gradient_accumulators": (),
    "_backend_update_step": ("grads", "trainable_variables", "learning_rate"),
    "_clip_gradients": ("grads",),
    "_get_variable_index": ("variable",),
    "_update_model_variables_moving_average": ("trainable_variables",),
    "_use_weight_decay": ("variable",),
    "_var_key": ("variable",),
}
OPTIMIZER_ON_TENSORFLOW = {"_all_reduce_sum_gradients": ("grads_and_vars",)}
# Attributes of an optimizer that is built.
ATTRIBUTES = (
    *("_accumulated_gradients", "_iterations", "_learning_rate", "_model_variables_moving_average", "_momentums"),
    *("_trainable_variables", "_velocities"),
)


def find_changed() -> list[str]:
    """Lists the hooks that the installed Keras has not, or in another form: ["Optimizer._clip_gradients", ...]."""
    on_tensorflow = keras.backend.backend() == "tensorflow"
    model = MODEL | (MODEL_ON_TENSORFLOW if on_tensorflow else {})
    optimizer = OPTIMIZER | (OPTIMIZER_ON_TENSORFLOW if on_tensorflow else {})
    changed = [f"Model.{name}" for name in _list_changed(keras.Model, model)]
    changed += [f"Optimizer.{name}" for name in _list_changed(keras.optimizers.Adam, optimizer)]
    if not changed:  # else it might not be built
        built = keras.optimizers.Adam(use_ema=True, gradient_accumulation_steps=2)
        built.build([keras.Variable(0.0)])
        changed = [f"Optimizer.{name}" for name in ATTRIBUTES if not hasattr(built, name)]
    return changed


def choose_fused(device: Choice) -> tuple[Choice, str | None]:
    """Returns what to compute on: without what is fused, if Keras has changed; and then a warning.

    Raises:
        ValueError: several devices share each batch, which takes the hooks.
    """
    if not device.fused or not (changed := find_changed()):
        return device, None
    fault = f"Keras {keras.__version__} is not the one that tfseg knows: {', '.join(changed)} changed"
    if device.replicas > 1:
        raise ValueError(f"accelerator.strategy: expected none, since {fault}; install the Keras of pyproject.toml")
    network: NetworkOptions = {**device.network, "cpu": False, "fused": False}
    warning = f"{fault}; layers, optimizer and train step are those of Keras, which take more time"
    return device._replace(fused=False, network=network), warning


def _list_changed(kind: type, hooks: dict[str, tuple[str, ...]]) -> list[str]:
    return [name for name, arguments in hooks.items() if _read_arguments(kind, name) != arguments]


def _read_arguments(kind: type, name: str) -> tuple[str, ...] | None:
    """The arguments of a method without self; None: there is no such method."""
    method = getattr(kind, name, None)
    return tuple(inspect.signature(method).parameters)[1:] if callable(method) else None
