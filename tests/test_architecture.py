"""Who imports whom in tfseg/: stages meet only on disk, and each module knows only what this table grants it."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tfseg"
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
)

# Module -> the modules of tfseg that it may import, in a function or not. Any module may import cli.
ALLOWED = {
    "cli": {"memory"},
    "labels": {"config"},
    "config": set(),
    "distribution": set(),
    "device": {"distribution", "keras_settings"},
    "paths": set(),
    "sources": {"labels", "paths", "pictures"},
    "pictures": set(),
    "resizing": set(),
    "tfrecord": set(),
    "records": {"labels", "paths", "pictures", "tfrecord"},
    "lettering": set(),
    "memory": set(),
    "model_folder": set(),
    "listing": {"paths", "pictures"},
    "evidence": {"labels", "pictures", "records", "sources"},
    "keras_settings": set(),
    "workers": set(),
    "locks": set(),
    "journal": {"evidence", "locks", "paths", "records"},
    "convert": {
        *("evidence", "journal", "labels", "paths", "pictures", "records", "resizing", "sources", "tables", "workers"),
    },
    "beam": {"convert", "journal"},
    "verify": {"labels", "paths", "pictures", "records", "tfrecord", "workers"},
    "order": set(),
    "windows": {"labels"},
    "pixels": {"paths", "pictures", "records", "tfrecord"},
    "cache": {"paths", "pixels", "records"},
    "data_service": set(),
    "pipeline": {
        *("cache", "data_service", "labels", "order", "paths", "pixels", "records", "resizing", "verify", "windows"),
    },
    "dataset": {"labels", "paths", "pictures", "records", "sources"},
    "explore": {"dataset", "labels", "records", "workers"},
    "explore_figures": {"explore", "figures", "lettering"},
    "explore_page": {"explore", "explore_figures", "page", "tables"},
    "complexity": {"keras_settings"},
    "convolutions": {"keras_settings"},
    "effects": {"fused"},
    "augment": {"config", "effects", "fused"},
    "losses": {"fused"},
    "fused": {"convolutions"},
    "blocks": {"keras_settings"},
    "encoders": {"blocks"},
    "decoders.unet": {"blocks", "convolutions"},
    "decoders.fpn": {"blocks"},
    "decoders.linknet": {"blocks"},
    "decoders.pspnet": {"blocks"},
    "decoders.deeplabv3plus": {"blocks", "convolutions"},
    "decoders": {f"decoders.{name}" for name in ("unet", "fpn", "linknet", "pspnet", "deeplabv3plus")},
    "kerashub": {"blocks", "encoders"},
    "network": {"blocks", "decoders", "encoders", "fused", "kerashub"},
    "metrics": {"fused", "labels"},
    "checkpoints": {"run_folder"},
    "progress": {"keras_settings"},
    "learner": {"checkpoints", "config", "distribution", "fused", "metrics", "progress", "run_folder"},
    "run_folder": {"config", "locks", "network", "paths", "predict", "records"},
    "trackers": {"config", "progress", "run_folder"},
    "panels": {"learner"},
    "train": {
        *(
            "augment",
            "checkpoints",
            "complexity",
            "config",
            "device",
            "distribution",
            "export",
            "labels",
            "learner",
            "losses",
            "metrics",
            "network",
            "order",
            "panels",
            "pipeline",
            "progress",
            "records",
            "run_folder",
            "trackers",
            "windows",
        ),
    },
    "space": {"config"},
    "trial": {"train"},
    "search": {"checkpoints", "config", "locks", "run_folder", "space"},
    "search_report": {"config", "figures", "run_folder", "search", "space"},
    "tables": set(),
    "figures": {"labels", "lettering", "tables"},
    "page": set(),
    "official": {"labels"},
    "pixel_scores": {"fused", "labels", "metrics"},
    "inference": set(),
    "segmentation": {"inference", "resizing"},
    "bootstrap": {"labels"},
    "evaluate": {
        *(
            "inference",
            "model_folder",
            "official",
            "paths",
            "pictures",
            "pipeline",
            "pixel_scores",
            "predict",
            "records",
            "run_folder",
            "segmentation",
            "tables",
        ),
    },
    "encoded": {"pictures"},
    "traced": {"encoded", "resizing"},
    "litert": set(),
    "onnx_export": set(),
    "coreml": set(),
    "parity": {"coreml", "litert", "metrics", "onnx_export", "pictures", "predict", "segmentation", "tables"},
    "model_card": {"config", "device", "parity", "paths", "records", "run_folder", "tables"},
    "export": {
        *("config", "coreml", "device", "litert", "model_card", "onnx_export", "parity", "pipeline", "records"),
        *("run_folder", "traced"),
    },
    "doctor_checks": set(),
    "doctor_speed": {
        *("config", "convert", "device", "doctor_checks", "labels", "learner"),
        *("pipeline", "records", "sources", "train"),
    },
    "doctor_device": {
        *("augment", "config", "device", "doctor_checks", "doctor_speed", "effects", "fused", "metrics", "train"),
    },
    "doctor": {"config", "doctor_checks", "doctor_device", "doctor_speed"},
    "video": set(),
    "predict": {"inference", "listing", "memory", "model_folder", "paths", "pictures", "segmentation", "video"},
    "app_view": {"listing", "pictures", "predict", "segmentation", "tables"},
    "app": {"app_view", "listing", "model_folder", "predict"},
    "app_page": {"app", "app_view", "listing", "pictures", "predict"},
    "batching": set(),
    "uploads": {"pictures", "predict"},
    "openapi": set(),
    "service": {"batching", "openapi", "predict", "uploads"},
    "http_server": {"service"},
    "serve": {
        *(
            "batching",
            "http_server",
            "inference",
            "model_folder",
            "predict",
            "resizing",
            "segmentation",
            "service",
            "uploads",
        ),
    },
    "report_page": {"config", "figures", "inference", "labels", "page", "records", "tables"},
    "report": {
        *("config", "evaluate", "figures", "inference", "metrics", "paths", "pipeline", "predict"),
        *("records", "report_page", "resizing", "run_folder"),
    },
    "compare": {"bootstrap", "config", "evaluate", "figures", "labels", "run_folder", "tables"},
}

# The others run on any backend of Keras.
MAY_IMPORT_TENSORFLOW = {
    "cache",
    "convolutions",
    "data_service",
    "doctor_device",
    "doctor_speed",
    "pixels",
    "records",
    "order",
    "windows",
    "pipeline",
    "export",
    "encoded",
    "resizing",
    "segmentation",
    "traced",
    "litert",
    "onnx_export",
    "coreml",
    "fused",
    "device",
    "distribution",
    "panels",
    "predict",
}
# Of what is not in Python itself, these import nothing else.
PLAIN_KERAS = {
    *("effects", "augment", "blocks", "encoders", "network", "complexity", "losses", "metrics", "progress", "learner"),
    *(module for module in MODULES if module.startswith("decoders")),
}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, by its full dotted name; those for type checkers alone are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, ["tfseg" if node.level else "", node.module]))
            if module in ("tfseg", "tfseg.decoders"):  # from tfseg import labels
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def file_of(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def from_tfseg(module: str) -> set[str]:
    """Modules of tfseg that one of them imports."""
    names = {name.removeprefix("tfseg.") for name in imports(file_of(module)) if name.startswith("tfseg.")}
    names |= {name.partition(".")[0] for name in names}  # of a package's module, the package too
    return names & {*MODULES, *ALLOWED} - {module}  # from tfseg import __version__ is no module


def from_elsewhere(module: str) -> set[str]:
    """Packages that a module of tfseg imports, without Python's own."""
    return {name.split(".")[0] for name in imports(file_of(module))} - {"tfseg"} - set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_arrows(module):
    assert module in ALLOWED, f"tfseg/{module}.py is new: add it to the table ALLOWED, with what it may import"
    granted = ALLOWED[module] | ({"cli"} if module != "cli" else set())
    strangers = from_tfseg(module) - granted
    assert not strangers, f"tfseg/{module}.py imports {sorted(strangers)}, which the table ALLOWED does not grant it"


@pytest.mark.parametrize("module", sorted(set(MODULES) - MAY_IMPORT_TENSORFLOW))
def test_tensorflow_stays_in_its_modules(module):
    assert "tensorflow" not in from_elsewhere(module), f"tfseg/{module}.py must run on any backend of Keras"


@pytest.mark.parametrize("module", sorted(PLAIN_KERAS & set(MODULES)))
def test_plain_keras_modules_import_nothing_else(module):
    assert from_elsewhere(module) <= {"keras", "numpy"}


@pytest.mark.parametrize("module", [name for name in ("cli", "config") if name in MODULES])
def test_help_needs_no_arrays(module):
    assert not from_elsewhere(module) & {"keras", "numpy", "cv2"}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_unpickled(module):
    """Reading a pickle runs whatever its author wrote into it."""
    names = {name.split(".")[0] for name in imports(file_of(module))}
    assert not names & {"pickle", "shelve", "marshal", "dill", "cloudpickle", "joblib"}
    assert "allow_pickle=True" not in file_of(module).read_text(encoding="utf-8")


def test_the_table_has_no_cycle():
    order = []
    while remaining := set(ALLOWED) - set(order):
        ready = {module for module in remaining if ALLOWED[module] <= set(order)}
        assert ready, f"these import each other: {sorted(remaining)}"
        order += sorted(ready)


@pytest.mark.parametrize(
    "source, found",
    [
        ("import tfseg.labels", ["tfseg.labels"]),
        ("from tfseg import cli, labels", ["tfseg.cli", "tfseg.labels"]),
        ("from tfseg.labels import LABELS", ["tfseg.labels"]),
        ("from . import labels", ["tfseg.labels"]),
        ("from .labels import LABELS", ["tfseg.labels"]),
        ("def f():\n    import tensorflow as tf", ["tensorflow"]),
        ("import keras.ops, tensorflow.io", ["keras.ops", "tensorflow.io"]),
        ("if TYPE_CHECKING:\n    import tensorflow\nelse:\n    import keras", ["keras"]),
    ],
)
def test_every_form_of_import_is_seen(source, found, tmp_path):
    file = tmp_path / "module.py"
    file.write_text(source)
    assert list(imports(file)) == found


def test_no_test_file_is_imported():
    """What several test files share lies in helpers*.py and helper_*.py, so each of them can change or go alone."""
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
                parts = {part for name in names for part in name.split(".")}
                found = sorted(part for part in parts if part == "conftest" or part.startswith("test_"))
                assert not found, f"{path.name} imports {found}; move what they share into tests/helpers.py"
