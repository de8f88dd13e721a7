"""The check of a train step for Metal: every config passes it, and what should not pass does not."""

from pathlib import Path

import keras
import pytest
import tensorflow as tf

from tfseg.augmentation.augmenter import Augmenter
from tfseg.backend import as_floats
from tfseg.config import parse
from tfseg.diagnostics import graph_walk, metal
from tfseg.losses.segmentation_loss import SegmentationLoss
from tfseg.models.activations import tanh_swish
from tfseg.models.decoders import DECODERS
from tfseg.training.learner import Learner
from tfseg.training.optimizers import Adam

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
CONFIGS = [path for path in CONFIGS if not path.stem.endswith(("_labels", "_space"))]


def load(path, *settings):
    return parse.parse_config(["--config", str(path), *settings])


def examine(loaded, size=(64, 96), plugin=metal.APPLE):
    return metal.examine(metal.trace(metal.build(loaded, plugin), size, 2), plugin)


@pytest.mark.long
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_augmentation_loss_and_optimizer_of_every_config(path):
    report = examine(load(path, "--model.encoder", "tiny"))
    assert report.passes, list(metal.describe(report))
    assert 0 < report.bytes(True) + report.bytes(False) < 20_000 and report.nodes > 1000


@pytest.mark.long
def test_an_auxiliary_head_and_hard_examples():
    mined = ["--loss.cross_entropy", "1", "--loss.ohem_threshold", "0.7", "--loss.auxiliary", "0.4"]
    report = examine(load(CONFIGS[0], "--model.encoder", "tiny", *mined))
    assert report.passes, list(metal.describe(report))
    assert report.bytes(True) + report.bytes(False) < 20_000


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder(decoder):
    report = examine(load(CONFIGS[0], "--model.encoder", "tiny", "--model.decoder", decoder))
    assert report.passes, list(metal.describe(report))


@pytest.mark.long
@pytest.mark.parametrize(
    ("encoder", "precision"),
    [
        ("efficientnetb3", "mixed_bfloat16"),
        pytest.param("efficientnetb3", "float32", marks=pytest.mark.slow),
        pytest.param("efficientnetb0", "mixed_bfloat16", marks=pytest.mark.slow),
        ("efficientnetlite0", "mixed_bfloat16"),
        pytest.param("efficientnetlite0", "float32", marks=pytest.mark.slow),
    ],
)
def test_the_network_of_every_config(encoder, precision):
    """Few networks serve all configs."""
    loaded = {one.model.encoder: one for one in (load(path, "--accelerator.precision", precision) for path in CONFIGS)}
    assert {*loaded} == {"efficientnetb0", "efficientnetb3", "efficientnetlite0"}
    report = examine(loaded[encoder])
    assert report.passes, list(metal.describe(report))
    assert 3_000 < report.nodes < 17_000


@pytest.mark.long
def test_float16_asks_whether_gradients_are_finite():
    """Metal has no kernel for that."""
    report = examine(load(CONFIGS[-1], "--model.encoder", "tiny", "--accelerator.precision", "mixed_float16"))
    assert "IsFinite" in {operation.type for operation in report.left}
    assert not report.passes


# ---- the open plugin

OPEN = "tensorflow-metal-plugin"


@pytest.mark.long
@pytest.mark.parametrize(
    "encoder",
    [
        "tiny",
        pytest.param("efficientnetlite0", marks=pytest.mark.slow),
        pytest.param("efficientnetb3", marks=pytest.mark.slow),
    ],
)
def test_of_a_step_in_float32_only_the_optimizer_leaves_the_open_plugins_gpu(encoder):
    report = examine(load(CONFIGS[0], "--model.encoder", encoder), plugin=OPEN)
    assert set(found_in(report)) == {"ResourceApplyAdam"} and not report.passes
    assert report.bytes(True) < 20_000, "weights stay where they are, and what the processor reads are gradients"


@pytest.mark.long
def test_keras_own_optimizer_does_not_leave_it():
    plain = ["--accelerator.fused", "false", "--optimizer.encoder_lr_multiplier", "1"]
    report = examine(load(CONFIGS[0], "--model.encoder", "tiny", *plain), plugin=OPEN)
    assert report.passes and report.left == [], list(metal.describe(report))


@pytest.mark.long
def test_every_layer_leaves_it_in_bfloat16():
    half = ["--model.encoder", "tiny", "--accelerator.precision", "mixed_bfloat16"]
    left = set(found_in(examine(load(CONFIGS[0], *half), plugin=OPEN)))
    assert {"Conv2D", "FusedBatchNormV3", "ReluGrad"} <= left
    assert examine(load(CONFIGS[0], *half)).left == []


@pytest.mark.slow
def test_the_table_of_the_page():
    page = (Path(__file__).parents[2] / "docs/apple_silicon.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines() if " MB " not in line]
    rows = [row for row in rows if row[2:] and row[2] in metal.KERNELS]
    assert len(rows) == 7
    for name, _, plugin, precision, nodes, away, back, leaving in rows:
        report = metal.check_config(load(CONFIGS[0].with_stem(name), "--accelerator.precision", precision), plugin)
        assert [nodes, away, back] == [f"{report.nodes:,}", *(f"{report.bytes(to) / 1e6:.3f}" for to in (False, True))]
        types = set(found_in(report))
        assert (types == set()) == (leaving == "nothing")
        assert (types == {"ResourceApplyAdam"}) == (leaving == "the optimizer")


# ---- what does not pass


def make_learner(*layers, augmentation=None, policy="float32", loss=None, accumulate=None):
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        pixels = keras.Input((None, None, 3))
        x = pixels
        for layer in (*layers, lambda: keras.layers.Conv2D(8, 1, dtype="float32")):
            x = layer()(x)
        learner = Learner(keras.Model(pixels, x), loss or SegmentationLoss(1.0, 1.0), augmentation or Augmenter())
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    learner.compile(Adam(gradient_accumulation_steps=accumulate), jit_compile=False)
    return learner


def check(*layers, **settings):
    return metal.examine(metal.trace(make_learner(*layers, **settings), (64, 96), 2))


def convolution(**settings):
    return lambda: keras.layers.Conv2D(4, 3, padding="same", **settings)


def test_a_small_network_passes():
    report = check(convolution(activation="swish"), convolution(activation=tanh_swish))
    assert report.passes and report.left == []


@pytest.mark.parametrize("ignore_class", [0, None])
def test_every_loss_but_lovasz_passes(ignore_class):
    """With gamma below 1 too, whose gradient is another."""
    weights = dict.fromkeys(("dice", "cross_entropy", "jaccard", "tversky", "focal"), 1.0)
    settings = {"focal_gamma": 0.5, "label_smoothing": 0.1, "class_weights": [1.0] * 8, "ignore_class": ignore_class}
    report = check(convolution(), loss=SegmentationLoss(**weights, **settings))
    assert report.passes and report.left == [], list(metal.describe(report))


# ---- within functions


def examine_function(function, *specs):
    return metal.examine(tf.function(function, autograph=False).get_concrete_function(*specs).graph)


def found_in(report):
    return sorted(operation.type for operation in report.left)


PIXELS = tf.TensorSpec((100, 100))
INSIDE = {
    "a branch": lambda f: lambda x: tf.cond(x[0, 0] > 0, lambda: f(x * 2) + 1, lambda: x * 3),
    "the other branch": lambda f: lambda x: tf.cond(x[0, 0] > 0, lambda: x * 3, lambda: f(x * 2) + 1),
    "a case": lambda f: (
        lambda x: tf.switch_case(tf.cast(x[0, 0], tf.int32), [lambda: x, lambda: x * 3, lambda: f(x * 2) + 1])
    ),
    "a loop": lambda f: lambda x: tf.while_loop(lambda i, y: i < 3.0, lambda i, y: (i + 1, f(y * 2) + 1), (0.0, x))[1],
    "a function": lambda f: lambda x: tf.function(lambda y: f(y * 2) + 1)(x * 3),
    "a branch of a function in a loop": lambda f: (
        lambda x: tf.while_loop(
            lambda y: y[0, 0] < 3.0,
            lambda y: [tf.function(lambda z: tf.cond(z[0, 0] > 0, lambda: f(z * 2) + 1, lambda: z * 3))(y)],
            [x],
        )[0]
    ),
}


@pytest.mark.parametrize("place", INSIDE)
def test_what_leaves_is_found_within(place):
    there_and_back = {"Mul float32 False": 40_000, "Round float32 True": 40_000}
    for function, types in ((tf.round, ["Round"]), (lambda x: x / 2, [])):
        report = examine_function(INSIDE[place](function), PIXELS)
        assert found_in(report) == types
        large = {f"{c.tensor} {c.to_gpu}": c.bytes for c in report.crossings if c.bytes > 4}
        assert large == (there_and_back if types else {})
        assert report.passes == (not types)
        assert "Mul" in {node.operation.type for node in graph_walk.walk(trace_function(INSIDE[place](function)))}


def trace_function(function):
    return tf.function(function, autograph=False).get_concrete_function(PIXELS).graph


def test_whether_all_is_finite_within_a_condition():
    def step(x):
        return tf.cond(tf.reduce_all(tf.math.is_finite(x * 2)), lambda: x, lambda: tf.zeros_like(x))

    assert found_in(examine_function(step, PIXELS)) == ["All", "IsFinite"]
    hidden = examine_function(lambda x: tf.cond(x[0, 0] > 0, lambda: step(x), lambda: x), PIXELS)
    assert found_in(hidden) == ["All", "IsFinite"] and not hidden.passes


def test_what_a_function_gives_and_takes_crosses_where_it_is_made_and_read():
    """Of a function of what the processor has, whose result it reads: nothing crosses. Else it does, both ways."""
    report = examine_function(lambda x: tf.round(tf.function(tf.round)(tf.round(x * 2))) * 2, PIXELS)
    assert (report.bytes(False), report.bytes(True)) == (40_000, 40_000)
    report = examine_function(lambda x: tf.round(tf.function(tf.abs)(tf.round(x * 2))) * 2, PIXELS)
    assert (report.bytes(False), report.bytes(True)) == (80_000, 80_000)


@pytest.mark.long
def test_a_step_that_gathers_gradients_is_looked_into():
    plain, report = check(convolution()), check(convolution(), accumulate=3)
    assert report.passes, list(metal.describe(report))
    assert report.nodes > plain.nodes + 10, "the sums, beside all that a step without them has"
    updates = [node for node in graph_walk.walk(trace(accumulate=3)) if node.operation.type == "ResourceApplyAdam"]
    assert len(updates) == 4


def trace(**settings):
    return metal.trace(make_learner(convolution(), **settings), (64, 96), 2)


def test_lovasz_is_refused():
    loaded = load(CONFIGS[0], "--model.encoder", "tiny", "--loss.lovasz", "0.5")
    with pytest.raises(ValueError, match=r"^loss\.lovasz: expected 0 on metal, .+, got 0\.5; "):
        metal.build(loaded)


def test_class_weights_need_no_records():
    assert metal.build(load(CONFIGS[0], "--model.encoder", "tiny", "--loss.class_weights", "manifest"))


@pytest.mark.long
def test_bilinear_upsampling_does_not():
    half = convolution(strides=2)
    report = check(half, lambda: keras.layers.UpSampling2D(2, interpolation="bilinear"))
    assert not report.passes
    assert {operation.type for operation in report.left} == {"ResizeBilinearGrad"}
    lines = list(metal.describe(report))
    assert any(line.startswith("leaves the GPU: ResizeBilinearGrad (float32), 1 times") for line in lines)
    assert lines[-1].startswith("fails")
    assert report.bytes(True) >= 2 * 32 * 48 * 4 * 4  # the gradient goes back
    assert check(half, lambda: keras.layers.UpSampling2D(2, interpolation="nearest")).passes


def test_native_swish_in_half_precision_does_not():
    report = check(convolution(activation="swish"), policy="mixed_bfloat16")
    assert "Sigmoid" in {operation.type for operation in report.left}
    assert not report.passes
    assert check(convolution(activation=tanh_swish), policy="mixed_bfloat16").passes


class Rotation:
    """Keras' own layer in the place of our augmentation."""

    def __init__(self):
        self.layer = keras.layers.RandomRotation(0.1)

    def __call__(self, image, mask, step=0, replica=0):
        return self.layer(as_floats(image), training=True), mask


def test_a_rotation_of_keras_does_not():
    report = check(convolution(), augmentation=Rotation())
    assert "ImageProjectiveTransformV3" in {operation.type for operation in report.left}
    assert not report.passes


def test_unsigned_bytes_do_not():
    learner = make_learner(convolution())
    specs = {"image": tf.TensorSpec((2, 64, 96, 3), tf.uint8), "mask": tf.TensorSpec((2, 64, 96), tf.uint8)}
    with metal.as_on_metal():
        report = metal.examine(tf.function(learner.train_step).get_concrete_function(specs).graph)
    assert {operation.type for operation in report.left} == {"Cast"}
    assert report.bytes(True) >= 2 * 64 * 96 * 3 * 4
    assert metal.source_line(report.left[0]).startswith("tfseg/")


# ---- the rule


@pytest.mark.parametrize("operation", ["sin", "round", "sqrt"])
def test_metal_has_no_sine(operation):
    graph = tf.Graph()
    with graph.as_default():
        result = getattr(tf.math, operation)(tf.ones((2, 3)))
    assert (metal.find_kernel(result.op) is not None) == (operation == "sqrt")


def test_some_arguments_lie_in_the_memory_of_the_processor():
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (4, 6))
        shape = tf.raw_ops.Shape(input=x)
        reshaped, joined = tf.reshape(x, shape), tf.concat([x, x], axis=0)
    assert metal.memories(reshaped.op) == ([True, False], [True])
    assert metal.memories(shape.op) == ([True], [False])
    assert metal.memories(joined.op) == ([True, True, False], [True])


def test_what_crosses_is_counted_once_in_each_direction():
    def there_and_back(x):
        rounded = tf.round(x * 2)
        return rounded + 1, rounded * 3

    graph = tf.function(there_and_back).get_concrete_function(tf.TensorSpec((100, 100))).graph
    report = metal.examine(graph)
    assert [operation.type for operation in report.left] == ["Round"]
    assert (report.bytes(False), report.bytes(True)) == (40_000, 40_000)
    assert report.passes is False
    small = tf.function(there_and_back).get_concrete_function(tf.TensorSpec((10, 10))).graph
    assert metal.examine(small).passes
    unknown = tf.function(there_and_back).get_concrete_function(tf.TensorSpec((None, 10))).graph
    report = metal.examine(unknown)
    assert not report.passes and report.left != []
    assert any("of unknown size" in line for line in metal.describe(report))
