"""Keras' own optimizers are the truth, and the papers."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.training import optimizers

pytestmark = pytest.mark.tensorflow


def variables():
    random = np.random.default_rng(0)
    shapes = {"kernel": (3, 5), "bias": (5,), "scalar": ()}
    return [keras.Variable(random.normal(size=shape).astype(np.float32), name=name) for name, shape in shapes.items()]


def steps(optimizer, count, compiled=True):
    """Trains three variables on gradients that every optimizer gets alike; returns all there is to see."""
    own, random = variables(), np.random.default_rng(1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(own)
    apply = tf.function(lambda gradients: optimizer.apply(gradients, own)) if compiled else optimizer.apply
    for _ in range(count):
        apply([tf.constant(random.normal(size=variable.shape) * 10, tf.float32) for variable in own])
    return [np.asarray(variable) for variable in (*own, *optimizer.variables)]


SCHEDULE = keras.optimizers.schedules.CosineDecay(0.002, 80)


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 0.001},
        {"learning_rate": SCHEDULE, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3},
        {"learning_rate": SCHEDULE, "weight_decay": 0.5},
        {"learning_rate": 0.001, "clipnorm": 1.0},
        {"learning_rate": 0.001, "use_ema": True, "ema_momentum": 0.9},
        {"learning_rate": 0.001, "gradient_accumulation_steps": 3},
        {"learning_rate": 0.001, "amsgrad": True},
    ],
    ids=lambda settings: ", ".join(settings),
)
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_adam_steps_as_keras_does(name, settings):
    ours, theirs = (steps(getattr(package, name)(**settings), 100) for package in (optimizers, keras.optimizers))
    for mine, other in zip(ours[:3], theirs[:3], strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-6)
    for mine, other in zip(ours[3:], theirs[3:], strict=True):  # Keras takes 1 - 0.999 in more digits than float32 has
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=1e-6)


def test_adam_is_what_the_paper_says():
    """In float64 (Kingma and Ba 2015, algorithm 1, the efficient form of its section 2)."""
    random = np.random.default_rng(1)
    variable, m, v = np.asarray(variables()[0], np.float64), 0.0, 0.0
    for step in range(1, 101):
        gradient, *_ = [np.float32(random.normal(size=shape) * 10) for shape in ((3, 5), (5,), ())]
        gradient = gradient.astype(np.float64)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        variable = variable - 0.01 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step) * m / (np.sqrt(v) + 1e-7)
    np.testing.assert_allclose(steps(optimizers.Adam(0.01), 100)[0], variable, atol=2e-6)


def test_adam_steps_as_keras_does_in_other_precisions():
    results = []
    for package in (optimizers, keras.optimizers):
        optimizer, own = package.AdamW(0.01, weight_decay=0.1), [keras.Variable(np.ones(3), dtype="float64")]
        optimizer.build(own)
        for gradient in ([1, 2, 3], [-1, 5, 0]):
            optimizer.apply([tf.constant(gradient, tf.float64)], own)
        results.append(np.asarray(own[0]))
    np.testing.assert_allclose(*results, rtol=1e-7)


def test_adam_steps_outside_of_graphs_too():
    for mine, other in zip(
        steps(optimizers.AdamW(0.01), 10, compiled=False), steps(optimizers.AdamW(0.01), 10), strict=True
    ):
        np.testing.assert_allclose(mine, other, atol=1e-6)


def operations(optimizer):
    own = variables()
    optimizer.build(own)
    graph = tf.function(lambda gradients: optimizer.apply(gradients, own)).get_concrete_function(
        [tf.TensorSpec(variable.shape, tf.float32) for variable in own]
    )
    return [operation.type for operation in graph.graph.get_operations()]


def test_adam_is_one_operation_a_variable():
    plain, ours = operations(keras.optimizers.Adam()), operations(optimizers.Adam())
    assert ours.count("ResourceApplyAdam") == 3 and "ResourceApplyAdam" not in plain
    assert len(ours) < len(plain) / 2
    assert "ResourceApplyAdam" not in operations(optimizers.Adam(amsgrad=True))


def test_an_overflow_skips_the_step_and_lowers_the_scale():
    optimizer = keras.optimizers.LossScaleOptimizer(optimizers.Adam(0.01), initial_scale=1024.0)
    own = variables()
    optimizer.build(own)
    apply = tf.function(lambda gradients: optimizer.apply(gradients, own))
    before = [np.asarray(variable) for variable in own]
    apply([tf.fill(variable.shape, np.inf) for variable in own])
    for variable, old in zip(own, before, strict=True):
        np.testing.assert_array_equal(variable, old)
    assert float(optimizer.dynamic_scale) == 512
    apply([tf.fill(variable.shape, 512.0) for variable in own])
    for variable, old in zip(own, before, strict=True):  # the first step is the learning rate itself
        np.testing.assert_allclose(variable, old - 0.01, atol=1e-5)


@pytest.mark.long
def test_two_replicas_step_as_one():
    """On two logical devices, in a process of its own, since devices are made before anything else."""
    program = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfseg.training import optimizers
def run(optimizer):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        own = [keras.Variable(np.ones((2, 3), np.float32))]
        optimizer = optimizer(0.01, weight_decay=0.1)
        optimizer.build(own)
    @tf.function
    def step():
        def replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            optimizer.apply([tf.fill([2, 3], tf.cast(number, tf.float32) + 0.5)], own)
        strategy.run(replica)
    for _ in range(3):
        step()
    return [np.asarray(copy) for copy in own[0].value.values]
ours, theirs = run(optimizers.AdamW), run(keras.optimizers.AdamW)
np.testing.assert_allclose(ours[0], ours[1])
np.testing.assert_allclose(ours, theirs, atol=1e-6)
assert abs(ours[0][0, 0] - 1) > 0.02
print("equal")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.stdout == "equal\n", result.stderr[-2000:]


def test_saved_state_goes_from_one_to_the_other():
    first, second, own = optimizers.AdamW(0.01), keras.optimizers.AdamW(0.01), variables()
    first.build(own)
    first.apply([np.ones(variable.shape, np.float32) for variable in own])
    second.build(own)
    store = {}
    first.save_own_variables(store)
    second.load_own_variables(store)
    for mine, other in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(mine, other)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(first))
    assert type(copy) is optimizers.AdamW and copy.get_config() == first.get_config()
