"""Who imports whom in tfseg/: stages meet only on disk, and each room knows only rooms below it."""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tfseg"
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
)

# Room -> the rooms that it may know, lowest first: each knows only rooms above it in this table.
ROOMS = {
    "io": set(),
    "config": {"io"},
    "backend": set(),
    "records": {"io", "config"},
    "annotations": {"io"},
    "conversion": {"io", "records", "annotations"},
    "pipeline": {"io", "records"},
    "losses": {"config", "backend", "records"},
    "augmentation": {"config", "backend", "records"},
    "models": {"io", "config", "backend"},
    "synthetic": {"io", "records"},
    "metrics": {"io", "backend", "records"},
    "visualization": {"io", "records"},
    "exploration": {"io", "records", "conversion", "visualization"},
    "inference": {"io", "visualization"},
    "auditing": {"io", "records", "visualization", "inference"},
    "runs": {"io", "config", "records", "models", "inference"},
    "device": {"backend"},
    "exporters": {
        *("io", "config", "records", "pipeline", "models", "metrics", "visualization", "inference", "runs", "device"),
    },
    "evaluation": {*("io", "config", "records", "pipeline", "metrics", "visualization", "inference", "runs")},
    "training": {
        *("io", "config", "backend", "records", "pipeline", "losses", "augmentation", "models", "metrics"),
        *("visualization", "runs", "device", "exporters", "evaluation"),
    },
    "tuning": {"io", "config", "visualization", "runs", "training", "evaluation"},
    "diagnostics": {
        *("io", "config", "backend", "records", "conversion", "pipeline", "augmentation", "models", "metrics"),
        *("inference", "runs", "device", "training"),
    },
    "serving": {"io", "visualization", "inference"},
    "api": {
        *("io", "config", "records", "conversion", "pipeline", "metrics", "visualization", "inference"),
        *("runs", "exporters", "evaluation", "training"),
    },
    "__main__": {"io"},
}
# The same within a room that has rooms of its own. Its own files lie above these and may know all of them.
INNER_ROOMS = {
    "conversion.reading": set(),
    "conversion.finding": {"conversion.reading"},
    "conversion.proposing": {"conversion.reading", "conversion.finding"},
    "conversion.writing": {"conversion.reading", "conversion.finding"},
    "diagnostics.delegates": set(),
}
FILES = {"__init__", "__main__", "backend", "device"}  # of tfseg/; the others are verbs
VERBS = {module for module in MODULES if "." not in module and module not in ROOMS and module not in FILES}
LONGEST_VERB = 120  # lines

# The others run on any backend of Keras.
MAY_IMPORT_TENSORFLOW = {
    *("backend", "device", "io.resizing", "records.parsing", "training.distribution", "training.optimizers"),
    *("pipeline.arrays", "pipeline.cache", "pipeline.crops", "pipeline.order", "pipeline.pipeline", "pipeline.service"),
    *(f"pipeline.{name}" for name in ("damage", "examples", "fitting", "readers", "transfer")),
    *("training.panels", "training.start_files", "models.activations", "models.layers"),
    *(f"diagnostics.{name}" for name in ("device", "metal", "probes", "speed")),
    *("inference.image_segmenter", "inference.runtimes.litert", "inference.runtimes.saved_model"),
    *(
        f"exporters.{name}"
        for name in ("encoded", "saved_model", "litert", "litert_int8", "onnx", "openvino", "coreml")
    ),
}
# Of what is not in Python itself, these import nothing else.
PLAIN_KERAS = {
    *(
        "augmentation.augmenter",
        "augmentation.layer",
        "augmentation.effects",
        "metrics.confusion",
        "metrics.mean_iou",
        "training.console",
        "training.learner",
        "training.schedules",
        "training.segmenter",
    ),
    *(f"losses.{name}" for name in ("functions", "hard_examples", "keras_losses", "segmentation_loss")),
    *(f"models.{name}" for name in ("auxiliary", "blocks", "encoders", "fold", "segmenter", "complexity")),
    *(module for module in MODULES if module.startswith("models.decoders")),
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
            if file_of(module.removeprefix("tfseg.")).name == "__init__.py":  # from tfseg.records import labels
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def file_of(module: str) -> Path:
    """Where a module of tfseg lies; that of the package itself is named "tfseg"."""
    path = PACKAGE if module == "tfseg" else PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def room_of(module: str) -> str:
    return module.partition(".")[0]


def known_rooms(module: str) -> set[str]:
    """Rooms of tfseg, and verbs, that a module imports from, without its own."""
    names = {name.split(".")[1] for name in imports(file_of(module)) if name.startswith("tfseg.")}
    return names & {*ROOMS, *VERBS, *FILES} - {room_of(module)}  # from tfseg import __version__ is no module


def inner_room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def known_inside(module: str) -> set[str]:
    """What a module imports of its own room: inner rooms and files of the room, without its own inner room."""
    names = {name.removeprefix("tfseg.") for name in imports(file_of(module)) if name.startswith("tfseg.")}
    own = room_of(module)
    return {inner_room_of(name) for name in names if room_of(name) == own} - {inner_room_of(module)}


def from_elsewhere(module: str) -> set[str]:
    """Packages that a module of tfseg imports, without Python's own."""
    return {name.split(".")[0] for name in imports(file_of(module))} - {"tfseg"} - set(sys.stdlib_module_names)


def test_every_file_has_a_room():
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} <= set(ROOMS)
    assert len(list(PACKAGE.glob("*.py"))) <= 25


def test_rooms_know_only_rooms_below_them():
    rooms = list(ROOMS)
    for place, room in enumerate(rooms):
        assert ROOMS[room] <= set(rooms[:place]), f"{room} may know a room that lies above it"


@pytest.mark.parametrize("module", sorted(set(MODULES) - VERBS))
def test_imports_follow_the_arrows(module):
    room = room_of(module)
    strangers = known_rooms(module) - ROOMS.get(room, set())
    assert not strangers, f"tfseg/{module.replace('.', '/')}.py imports from {sorted(strangers)}"


def test_inner_rooms_know_only_those_before_them():
    rooms = list(INNER_ROOMS)
    for place, room in enumerate(rooms):
        assert INNER_ROOMS[room] <= set(rooms[:place]), f"{room} may know a room that comes after it"
    with_rooms = {room.partition(".")[0] for room in INNER_ROOMS}
    there = {path.parent for path in PACKAGE.glob("*/*/__init__.py") if path.parts[-3] in with_rooms}
    assert {".".join(folder.relative_to(PACKAGE).parts) for folder in there} == set(INNER_ROOMS)


@pytest.mark.parametrize("module", [module for module in MODULES if inner_room_of(module) in INNER_ROOMS])
def test_imports_follow_the_arrows_within_a_room(module):
    strangers = known_inside(module) - INNER_ROOMS[inner_room_of(module)]
    assert not strangers, f"tfseg/{module.replace('.', '/')}.py imports from {sorted(strangers)}"


@pytest.mark.parametrize("module", MODULES)
def test_nobody_imports_a_verb(module):
    assert not known_rooms(module) & VERBS


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_is_short(verb):
    assert len(file_of(verb).read_text(encoding="utf-8").splitlines()) <= LONGEST_VERB


@pytest.mark.parametrize("module", sorted(set(MODULES) - MAY_IMPORT_TENSORFLOW))
def test_tensorflow_stays_in_its_modules(module):
    assert "tensorflow" not in from_elsewhere(module), f"tfseg/{module}.py must run on any backend of Keras"


@pytest.mark.parametrize("module", sorted(PLAIN_KERAS & set(MODULES)))
def test_plain_keras_modules_import_nothing_else(module):
    assert from_elsewhere(module) <= {"keras", "numpy"}


@pytest.mark.parametrize("module", ["io.command", "config.schema", "config.parse"])
def test_help_needs_no_arrays(module):
    assert not from_elsewhere(module) & {"keras", "numpy", "cv2"}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_unpickled(module):
    """Reading a pickle runs whatever its author wrote into it."""
    names = {name.split(".")[0] for name in imports(file_of(module))}
    assert not names & {"pickle", "shelve", "marshal", "dill", "cloudpickle", "joblib"}
    assert "allow_pickle=True" not in file_of(module).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "source, found",
    [
        ("import tfseg.records.labels", ["tfseg.records.labels"]),
        ("from tfseg.records import labels, records", ["tfseg.records.labels", "tfseg.records.records"]),
        ("from tfseg.records.labels import LABELS", ["tfseg.records.labels"]),
        ("from tfseg import device", ["tfseg.device"]),
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


SPELT_OUT = {"__main__.py": 1, "io/command.py": 1, "config/parse.py": 1}  # how a command may be called, and a default


def test_no_message_spells_a_command_out():
    """`command.program` says `tfseg train` where that was typed."""
    found = Counter()
    for path in sorted(PACKAGE.rglob("*.py")):
        nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        texts = (node for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings)
        found[path.relative_to(PACKAGE).as_posix()] += sum("python -m tfseg" in str(node.value) for node in texts)
    assert +found == Counter(SPELT_OUT)
