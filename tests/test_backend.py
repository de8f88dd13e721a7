import ast
from pathlib import Path

import keras
import numpy as np
import pytest

from tfseg.backend import settle
from tfseg.models.segmenter import build_network

PACKAGE = Path(__file__).parents[1] / "tfseg"
MODULE = "tfseg.backend"


@pytest.fixture
def of_another_project():
    """What ~/.keras/keras.json of another project sets."""
    policy = keras.config.dtype_policy()
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    keras.config.set_epsilon(1e-3)
    keras.config.set_dtype_policy("float16")
    yield
    settle()
    keras.config.set_dtype_policy(policy)


def test_settings_of_another_project_do_not_reach_a_network(of_another_project):
    settle()
    assert (keras.config.image_data_format(), keras.config.floatx()) == ("channels_last", "float32")
    assert keras.config.epsilon() == 1e-7
    network = build_network(8, "tiny", None, decoder_channels=(8, 8, 8, 8, 8))
    logits = network.predict_on_batch(np.zeros((1, 32, 64, 3), np.float32))
    assert (logits.shape, logits.dtype) == ((1, 32, 64, 8), np.float32)
    assert {weight.dtype for weight in network.weights} == {"float32"}


def test_a_precision_that_was_chosen_stays(monkeypatch):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    settle()
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    keras.config.set_dtype_policy(before)


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports when it is imported itself."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def test_every_module_that_makes_layers_has_them_settled_first():
    modules = {
        ".".join(("tfseg", *path.relative_to(PACKAGE).with_suffix("").parts)): imports_of(path)
        for path in PACKAGE.rglob("*.py")
    }

    def settles(name: str, seen=()) -> bool:
        inner = [other for other in modules[name] if other in modules and other not in seen]
        return MODULE in modules[name] or any(settles(other, (*seen, name)) for other in inner)

    keras_users = [name for name, imports in modules.items() if {"keras", "keras.ops", "keras.layers"} & imports]
    assert len(keras_users) > 10
    assert [name for name in keras_users if name != MODULE and not settles(name)] == []
