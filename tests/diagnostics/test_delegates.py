"""Which operators of .tflite files leave an accelerator."""

import json
import random
import re

import keras
import numpy as np
import pytest
from helper_tflite import IMAGE, MASK, make_tflite, relu

from tfseg import check_delegate
from tfseg.diagnostics.delegates import check, limits, tflite
from tfseg.diagnostics.delegates.partitions import keep, part
from tfseg.diagnostics.delegates.tflite import Operator, Tensor
from tfseg.exporters import litert
from tfseg.inference.runtimes.litert import LiteRT

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's schema makes the files", allow_module_level=True)

from tensorflow.lite.python import schema_py_generated as schema

LITE0 = 64, 96
ARG_MAX = "ARG_MAX", 2, [("INT8", IMAGE), ("INT32", (), 3)], [("INT32", MASK)], schema.ArgMaxOptionsT()


@pytest.fixture
def write(tmp_path):
    def write_tflite(*operators, **kwargs):
        path = tmp_path / "model.tflite"
        path.write_bytes(make_tflite(*operators, **kwargs))
        return path

    return write_tflite


def reasons(path, target):
    return [placed.reason for placed in check.check_delegate(path, target).placed]


def set_fields(thing, **fields):
    for name, value in fields.items():
        setattr(thing, name, value)
    return thing


def conv(height=1, width=1, activation=0):
    fields = {"strideH": 1, "strideW": 1, "dilationHFactor": height, "dilationWFactor": width}
    return set_fields(schema.Conv2DOptionsT(), fusedActivationFunction=activation, **fields)


def names_in_class(kind):
    found = {value: name for name, value in vars(kind).items() if isinstance(value, int)}
    return [found[number] for number in range(len(found))]


def test_the_schema_is_tensorflow_s():
    ours = tflite.read_schema()
    for key, kind in (
        ("operators", schema.BuiltinOperator),
        ("types", schema.TensorType),
        ("activations", schema.ActivationFunctionType),
    ):
        theirs = names_in_class(kind)  # of an older TensorFlow fewer, of a newer one more
        count = min(len(ours[key]), len(theirs))
        assert ours[key][:count] == theirs[:count]
    for name in ours["options"]:
        union = ours["options"][name]["union"]
        options = next(name for name, number in vars(schema.BuiltinOptions).items() if number == union)
        assert options.removesuffix("Options").lower().replace("2d", "") in (
            name.lower().replace("_", "").replace("2d", ""),
            *("reducer", "pool", "l2norm"),
        )


@pytest.mark.parametrize("target", check.TARGETS)
def test_a_table_names_operators_and_limits_that_there_are(target):
    table = check.read_table(target)
    assert set(table["operators"]) <= {*tflite.read_schema()["operators"]}
    rules = [table["every"], *table["operators"].values()]
    assert {name for rule in rules for name in rule} <= {*limits.LIMITS, "api"}
    types = {kind for rule in rules for name in ("runtime_types", "output_types") for kind in rule.get(name, [])}
    assert types <= {*tflite.read_schema()["types"], *limits.GROUPS}
    assert table["title"] and table["gaps"] and {*table["parts"]} == {"keep", "most", "least", "words"}
    for source in table["sources"]:
        assert {"repository", "path"} <= {*source} or {"title", "address", "read"} <= {*source}


def test_every_limit_is_in_a_table():
    rules = [rule for target in check.TARGETS for rule in check.read_table(target)["operators"].values()]
    rules += [check.read_table(target)["every"] for target in check.TARGETS]
    assert {name for rule in rules for name in rule} == {*limits.LIMITS, "api"}


def test_what_is_read_of_a_file(write):
    scaled = {"type": "INT8", "shape": IMAGE, "scale": 0.5, "zero": -128, "signature": (-1, 8, 8, 3)}
    options = conv(2, 3, activation=1)
    constants = [("INT8", (4, 1, 1, 3), 7), -1]
    path = write(("CONV_2D", 3, [scaled, *constants], [("INT8", (1, 8, 8, 4))], options))
    (operator,) = tflite.read_operators(path)
    image, weights, bias = operator.inputs
    assert (operator.name, operator.version, bias) == ("CONV_2D", 3, None)
    assert (image.type, image.shape, image.dynamic, image.constant) == ("INT8", IMAGE, True, False)
    assert (image.scales, image.zero_points) == ((0.5,), (-128,))
    assert weights.constant and weights.values == (7,) * 12
    assert operator.options["dilation_h_factor"] == 2 and operator.options["fused_activation_function"] == 1
    assert operator.runtime_inputs == [image]


@pytest.mark.parametrize(
    ("operator", "target", "reason"),
    [
        (relu(), "edgetpu", None),
        (relu(1, "FLOAT32"), "edgetpu", "float32 input; int8 or uint8 is taken"),
        (relu(1, "FLOAT32"), "hexagon", "float32 input 0; int8 or uint8 is taken"),
        (relu(3), "nnapi", "version 3 of the operator; up to 2 is taken"),
        (relu(), "coreml", "int8 input 0; float32 is taken"),
        (relu(), "gpu", None),
        (("CUSTOM", 1, [("INT8", IMAGE)], [("INT8", IMAGE)], "Blur"), "gpu", "a custom operator"),
        (
            ("CUSTOM", 1, [("INT8", IMAGE)], [("INT8", IMAGE)], "FlexErfinv"),
            "gpu",
            "an operator of TensorFlow itself (Flex), which GPU delegate has none of",
        ),
        ((300, 1, [("INT8", IMAGE)], [("INT8", IMAGE)], None), "gpu", "newer than the schema that is known here"),
        (("ADD", 1, [], [("FLOAT32", IMAGE)], None), "coreml", "without inputs or outputs"),
        (ARG_MAX, "edgetpu", "not in the table of Edge TPU"),
        (ARG_MAX, "hexagon", "alone in its part of the graph"),
        (("SOFTMAX", 2, [("INT8", IMAGE)], [("INT8", IMAGE)], None), "edgetpu", "an input of 1x8x8x3; one of 1 dim.*"),
        (("SOFTMAX", 2, [("INT8", (1, 9))], [("INT8", (1, 9))], None), "edgetpu", None),
        (("SOFTMAX", 2, [("INT8", (20000,))], [("INT8", (20000,))], None), "edgetpu", "an input of 20,000 elements.*"),
        (
            ("RELU", 2, [("INT8", (2, 8, 8, 3))], [("INT8", (2, 8, 8, 3))], None),
            "edgetpu",
            "a tensor of 2x8x8x3; only.*",
        ),
        (
            ("CONV_2D", 3, [("INT8", IMAGE), ("INT8", (4, 1, 1, 3), 7), -1], [("INT8", (1, 8, 8, 4))], conv(2, 1)),
            "edgetpu",
            "dilation of 2x1; the same in both directions is taken",
        ),
        (
            ("CONV_2D", 3, [("INT8", IMAGE), ("INT8", (4, 1, 1, 3)), -1], [("INT8", (1, 8, 8, 4))], conv()),
            "edgetpu",
            "input 1 is not constant",
        ),
        (
            ("PAD", 2, [("INT8", IMAGE), ("INT32", (4, 2), [[1, 0], [0, 0], [0, 0], [0, 0]])], [("INT8", IMAGE)], None),
            "edgetpu",
            "it pads other axes than 1, 2 or 3",
        ),
        (
            ("MEAN", 2, [("INT8", IMAGE), ("INT32", (1,), [-4])], [("INT8", IMAGE)], schema.ReducerOptionsT()),
            "edgetpu",
            "it works along the batch",
        ),
        (
            ("MEAN", 2, [("INT8", IMAGE), ("INT32", (1,), [3])], [("INT8", IMAGE)], schema.ReducerOptionsT()),
            "edgetpu",
            "a mean over 3 channels; a multiple of 4 is taken",
        ),
        (
            ("RESIZE_BILINEAR", 2, [("INT8", IMAGE), ("INT32", (2,), [66, 4])], [("INT8", (1, 66, 4, 3))], None),
            "hexagon",
            "a size of 66x4; up to 65 is taken",
        ),
        (
            ("RESIZE_BILINEAR", 3, [("INT8", IMAGE), ("INT32", (2,), [4, 4])], [("INT8", (1, 4, 4, 3))], None),
            "gpu",
            "it makes images smaller; enlarging is taken",
        ),
        (
            ("CAST", 1, [("INT32", MASK)], [("INT32", MASK)], None),
            "gpu",
            None,
        ),
        (("RESHAPE", 1, [("FLOAT32", IMAGE)], [("FLOAT32", (1, 192))], None), "coreml", "taken by Core ML 2 alone.*"),
    ],
)
def test_an_operator_stays_or_leaves_with_a_reason(write, operator, target, reason):
    (found,) = reasons(write(operator), target)
    assert found == reason or re.fullmatch(reason, found)


def test_a_dynamic_shape(write):
    dynamic = {"type": "INT8", "shape": IMAGE, "signature": (1, -1, -1, 3)}
    path = write(("RELU", 2, [dynamic], [dynamic], None))
    assert reasons(path, "edgetpu") == ["a tensor of dynamic shape"]
    report = check.check_delegate(path, "gpu")
    assert report.passes and report.dynamic == 2
    assert "2 tensors have a dynamic shape, and are judged with 1 for what is not known" in report.lines()


@pytest.mark.parametrize(("kind", "zero"), [("INT8", 0), ("INT8", -7), ("FLOAT32", 0)])
def test_a_constant_is_zero_only_if_all_of_it_is(write, kind, zero):
    """2,048 values, of which the last is another."""
    shape, found = (1, 8, 8, 32), []
    for last in (zero, zero + 1):
        values = np.full(shape, zero)
        values[..., -1, -1, -1] = last
        padding = {"type": kind, "shape": shape, "values": values, "scale": 0.5, "zero": zero}
        options = set_fields(schema.ConcatenationOptionsT(), axis=3)
        path = write(("CONCATENATION", 2, [(kind, shape), padding], [(kind, (1, 8, 8, 64))], options))
        [operator] = tflite.read_operators(path)
        found.append(limits.LIMITS["zero_padding"](operator, True))
    assert found == [None, "a constant among more than 2 inputs, or that is not 0"]


def test_the_edge_tpu_takes_one_part(write):
    after = "RELU", 2, [2], [("INT8", IMAGE)], None
    path = write(relu(), ("GELU", 1, [1], [("INT8", IMAGE)], None), after)
    assert reasons(path, "edgetpu") == [None, "not in the table of Edge TPU", "comes after one that leaves"]
    assert reasons(path, "gpu") == [None, None, None]


def test_a_small_part_is_not_worth_it(write):
    first = relu(1, "FLOAT32")
    floats = ("FLOAT32", IMAGE)
    others = [("GELU", 1, [1], [floats], None), ("RELU", 1, [2], [floats], None), ("RELU6", 1, [3], [floats], None)]
    found = reasons(write(first, *others), "coreml")
    assert found == ["in a part of the graph that is too small", "not in the table of Core ML delegate", None, None]


def test_weights_of_float16_are_unpacked_where_they_are_used(write):
    floats = [("FLOAT32", IMAGE), ("FLOAT32", (1, 8, 8, 3))]
    path = write(
        ("DEQUANTIZE", 3, [("FLOAT16", (3,), 2)], [("FLOAT32", (3,))], None),
        ("MUL", 1, [floats[0], 1], [floats[1]], schema.MulOptionsT()),
        ("RELU", 1, [3], [floats[1]], None),
    )
    assert reasons(path, "coreml") == [None, None, None]
    assert check.check_delegate(path, "coreml").parts == 1
    assert reasons(path, "nnapi") == ["float16 input 0; int8 or uint8 is taken", None, None]
    path = write(
        ("DEQUANTIZE", 3, [("FLOAT16", (3,), 2)], [("FLOAT32", (3,))], None),
        ("ARG_MAX", 1, [1, ("INT32", (), 0)], [("INT32", ())], schema.ArgMaxOptionsT()),
    )
    assert reasons(path, "coreml")[0] == "makes weights for operators that leave"


def make_operator(numbers, made):
    tensors = {number: Tensor(number, "INT8", (1,), False, False, (), (), ()) for number in (*numbers, made)}
    return Operator("RELU", 1, tuple(tensors[number] for number in numbers), (tensors[made],), {})


def test_a_part_takes_all_that_are_ready():
    """1 leaves; 2 does not wait for it, 3 does."""
    operators = [make_operator([9], 0), make_operator([0], 1), make_operator([0], 2), make_operator([1, 2], 3)]
    assert part(operators, [True, False, True, True]) == [[0, 2], [3]]
    assert part(operators, [False, True, True, True]) == [[1, 2, 3]]
    assert part(operators, [False] * 4) == []


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ({"keep": "first", "most": 1, "least": 1}, [[0]]),
        ({"keep": "largest", "most": 1, "least": 1}, [[4, 5, 6]]),
        ({"keep": "largest", "most": 2, "least": 1}, [[2, 3], [4, 5, 6]]),
        ({"keep": "largest", "most": None, "least": 2}, [[2, 3], [4, 5, 6]]),
        ({"keep": "largest", "most": None, "least": 9}, []),
    ],
)
def test_which_parts_a_delegate_keeps(rule, kept):
    assert keep([[0], [2, 3], [4, 5, 6]], rule) == kept


def test_multiply_adds(write):
    weights = ("INT8", (4, 3, 3, 3), 7)
    path = write(
        ("CONV_2D", 3, [("INT8", IMAGE), weights, ("INT32", (4,), 0)], [("INT8", (1, 8, 8, 4))], conv()),
        (
            "DEPTHWISE_CONV_2D",
            3,
            [3, ("INT8", (1, 3, 3, 4), 1), ("INT32", (4,), 0)],
            [("INT8", (1, 4, 4, 4))],
            schema.DepthwiseConv2DOptionsT(),
        ),
        (
            "TRANSPOSE_CONV",
            2,
            [("INT32", (4,), [1, 8, 8, 2]), ("INT8", (2, 4, 4, 4), 1), 6],
            [("INT8", (1, 8, 8, 2))],
            schema.TransposeConvOptionsT(),
        ),
        ("FULLY_CONNECTED", 4, [9, ("INT8", (5, 128), 1), -1], [("INT8", (1, 5))], schema.FullyConnectedOptionsT()),
        ("GELU", 1, [11], [("INT8", (1, 5))], None),
    )
    report = check.check_delegate(path, "edgetpu")
    assert [placed.multiply_adds for placed in report.placed] == [64 * 4 * 27, 16 * 4 * 9, 16 * 4 * 2 * 16, 640, None]
    assert report.multiply_adds(kept=True) == report.multiply_adds() == 6912 + 576 + 2048 + 640
    assert report.lines()[0].startswith(
        "Edge TPU: 4 of 5 operators stay, in 1 part of the graph, with 100.0 % of 0.0 m"
    )


def test_of_nnapi_the_oldest_android_is_named(write):
    assert check.check_delegate(write(relu()), "nnapi").api == 27
    assert check.check_delegate(write(ARG_MAX), "nnapi").api == 29
    assert check.check_delegate(write(ARG_MAX), "gpu").api is None


def run(path, target, *others):
    with pytest.raises(SystemExit) as stopped:
        check_delegate.main([str(path), "--target", target, *map(str, others)])
    return stopped.value.code


def test_the_command_prints_a_table_and_writes_it(write, tmp_path, capsys):
    path = write(relu(), ("GELU", 1, [1], [("INT8", IMAGE)], None))
    assert run(path, "edgetpu", "--json", tmp_path / "placed.json") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["|", "where", "|", "operator", "|", "count", "|"]
    assert "| leaves: not in the table of Edge TPU |     GELU |     1 |" in lines
    assert lines[-1] == "fails: 1 operator leaves"
    content = json.loads((tmp_path / "placed.json").read_text())
    assert (content["target"], content["passes"], content["parts"]) == ("edgetpu", False, 1)
    assert content["operators"][1] == {
        "operator": "GELU",
        "version": 1,
        "reason": "not in the table of Edge TPU",
        "multiply_adds": None,
    }
    assert content["sources"] == check.read_table("edgetpu")["sources"]
    assert run(write(relu()), "edgetpu") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "passes"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is no \.tflite file: expected TFL3 in bytes 4 to 7, got b''"),
        (b"\x89PNG\r\n\x1a\n" * 9, r"is no \.tflite file: expected TFL3 in bytes 4 to 7"),
        (make_tflite(relu())[:200], "is cut short or damaged: it points to byte"),
        (make_tflite(relu(), subgraphs=2), "expected a model of one subgraph, got 2, such as several signatures"),
        (make_tflite(), "expected a model with operators, got none"),
        (
            make_tflite(("CUSTOM", 1, [("INT8", IMAGE)], [("INT8", IMAGE)], "edgetpu-custom-op")),
            "is compiled for the Edge TPU already; give the file that it was made of",
        ),
    ],
)
def test_a_file_that_cannot_be_judged_ends_with_2(tmp_path, capsys, content, message):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        check.check_delegate(path, "gpu")
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)
    assert run(path, "gpu") == 2
    assert "model.tflite" in capsys.readouterr().err


def test_what_is_not_there_ends_with_2(tmp_path, capsys):
    assert run(tmp_path / "none.tflite", "gpu") == 2
    assert run(tmp_path, "gpu") == 2
    assert run(tmp_path, "tpu") == 2
    assert "invalid choice: 'tpu'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="target: expected one of edgetpu, nnapi, coreml, gpu, hexagon, got 'tpu'"):
        check.check_delegate(tmp_path, "tpu")


def test_damaged_files_give_an_answer_or_one_line(tmp_path):
    whole = make_tflite(relu(), ARG_MAX, ("CUSTOM", 1, [1], [("INT8", IMAGE)], "Blur"))
    drawn, path, damaged = random.Random(0), tmp_path / "model.tflite", 0
    for _ in range(1500):
        content = bytearray(whole)
        for _ in range(drawn.randint(1, 4)):
            content[drawn.randrange(len(content))] = drawn.choice([0, 1, 127, 128, 255, drawn.randrange(256)])
        path.write_bytes(content[: drawn.choice([len(content), drawn.randrange(len(content))])])
        try:
            check.check_delegate(path, drawn.choice(check.TARGETS)).lines()
        except ValueError as error:
            damaged += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert 500 < damaged < 1500


@pytest.fixture(scope="module")
def lite0():
    """EfficientNet-Lite0 in a U-Net, as exporters take it, and two images."""
    from tfseg.exporters.saved_model import Traced
    from tfseg.models.segmenter import build_network

    images = [*np.random.default_rng(0).integers(0, 256, (2, *LITE0, 3), np.uint8)]
    return Traced(build_network(4, "efficientnetlite0", None, "unet", skips="block")), images


@pytest.mark.long
def test_of_efficientnet_lite0_in_int8_nothing_leaves_the_edge_tpu(lite0, tmp_path):
    litert.write_logits(lite0[0], LITE0, lite0[1], tmp_path)
    report = check.check_delegate(tmp_path / litert.LOGITS, "edgetpu")
    assert report.passes and report.kept == len(report.placed) > 80 and report.parts == 1
    assert report.multiply_adds() > 1e6


@pytest.mark.slow
def test_what_comes_after_the_logits_leaves(lite0, tmp_path):
    traced, images = lite0
    path = tmp_path / "model_int8.tflite"
    path.write_bytes(litert.convert(traced, LITE0, "int8", images))
    report = check.check_delegate(path, "edgetpu")
    left = {placed.operator.name: placed.reason for placed in report.placed if placed.reason}
    assert left == {
        "ARG_MAX": "not in the table of Edge TPU",
        "CAST": "not in the table of Edge TPU",
        "SOFTMAX": "an input of 1x64x96x4; one of 1 dimension is taken",
        "QUANTIZE": "comes after one that leaves",
    }
    assert report.multiply_adds(kept=True) == report.multiply_adds() > 0 and report.parts == 1
    assert check.check_delegate(path, "nnapi").passes
    litert.write_logits(traced, LITE0, images, tmp_path)
    whole, logits = (LiteRT(file) for file in (path, tmp_path / litert.LOGITS))
    answers = logits.run(images=images[0][np.newaxis])["logits"]
    np.testing.assert_array_equal(answers.argmax(axis=-1), whole.run(images=images[0][np.newaxis])["classes"])
