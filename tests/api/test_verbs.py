"""Commands and Python give the same thing: what a command does is a function that users import."""

import ast
import inspect
from pathlib import Path

import pytest

import tfseg

PACKAGE = Path(tfseg.__file__).parent
# Verb -> what a user of Python has of it.
FUNCTIONS = {
    "sample_city": "make_sample_city",
    "convert": "convert_dataset",
    "explore": "explore_dataset",
    "verify": "RecordSet.verify",
    "audit": "audit_records",
    "train": "train_run",
    "evaluate": "evaluate_run",
    "report": "Run.report",
    "compare": "compare_runs",
    "export": "export_run",
    "predict": "predict_files",
}
# Programs, and what only looks at a machine or at settings.
PROGRAMS = {
    *("serve", "app", "data_service", "tune", "repeat", "doctor", "describe", "check_metal", "check_delegate"),
    "show_batch",
}
# Verb -> the function that it shares with the public one, where it does not call that itself.
SHARED = {"verify": "find_faults", "train": "train_run", "report": "report_run"}


def find_function(name):
    thing = tfseg
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def names_in(source):
    tree = ast.parse(source)
    return {getattr(node, "attr", None) or getattr(node, "id", None) for node in ast.walk(tree)}


def test_every_verb_is_one_of_these():
    verbs = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__", "backend", "device"}
    assert verbs == {*FUNCTIONS, *PROGRAMS}


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_a_verb_calls_what_users_call(verb):
    function = find_function(FUNCTIONS[verb])
    own = names_in((PACKAGE / f"{verb}.py").read_text(encoding="utf-8"))
    if verb in SHARED:
        assert SHARED[verb] in own
        assert SHARED[verb] in names_in(inspect.getsource(inspect.getmodule(function)))
    else:
        assert function.__name__ in own


@pytest.mark.parametrize("name", [*FUNCTIONS.values(), "evaluate_model", "evaluate_masks", "predict_video"])
def test_what_takes_long_shows_how_far_it_is_unless_it_should_not(name):
    assert inspect.signature(find_function(name)).parameters["progress"].default is True
