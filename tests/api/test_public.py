"""What `import tfseg` is: quick, lazy, whole, and the same after any verb was imported."""

import ast
import inspect
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import tfseg

NAMES = [name for name in tfseg.__all__ if name not in ("losses", "metrics", "__version__")]
PACKAGE = Path(tfseg.__file__).parent


def run(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="others are left as they are")
@pytest.mark.parametrize("asked", [None, "0"])
def test_importing_it_turns_the_operations_of_onednn_on_unless_they_are_turned_off(asked):
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    code = "import os, tfseg; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    environment |= {"TF_ENABLE_ONEDNN_OPTS": asked} if asked else {}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == (asked or "1")


def test_importing_it_loads_nothing_large():
    out = run("import sys, tfseg; print(*sorted({name.partition('.')[0] for name in sys.modules}))")
    assert not {"tensorflow", "keras", "numpy", "cv2", "PIL"} & set(out.split())


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_says_what_it_is(name):
    thing = getattr(tfseg, name)
    assert thing.__name__ == name and len(inspect.getdoc(thing) or "") > 80
    assert name in dir(tfseg)


def test_every_function_says_what_it_takes_and_gives():
    for name in NAMES:
        thing = getattr(tfseg, name)
        signature = inspect.signature(thing)
        parts = [part for part in signature.parameters.values() if part.kind is not part.VAR_KEYWORD]
        if inspect.isfunction(thing):
            assert signature.return_annotation is not signature.empty, name
            assert all(part.annotation is not part.empty for part in parts), name


def test_no_other_name_is_there():
    with pytest.raises(AttributeError, match="module 'tfseg' has no attribute 'unet'"):
        tfseg.unet  # noqa: B018


def test_type_checkers_see_the_same_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    shown = {
        alias.name: node.module.removeprefix("tfseg.")
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        for alias in node.names
    }
    assert shown == {**tfseg._HOMES, "losses": "tfseg", "metrics": "tfseg"}


def test_verbs_hide_no_name():
    """`tfseg.train` is a module once it was imported: no name of the interface may be one."""
    verbs = [path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]
    modules = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert not {*verbs, *modules} & set(NAMES)
