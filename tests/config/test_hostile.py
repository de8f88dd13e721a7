"""Whatever a config or a command line holds, it is read, or refused in one line that does not show the file."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfseg.config.parse import load_config, type_settings
from tfseg.config.schema import Config, Data
from tfseg.config.settings import SECTIONS, SETTINGS
from tfseg.records.label_map_files import read_label_map
from tfseg.tuning.space import read_space

REQUIRED = "run_dir: run\n"
VALUES = ["!!bool x", "!!int ''", "!!float x", "!!timestamp x", "2024-01-01", "1:30", ".inf", ".nan", "1e999", "-0"]
VALUES += ["[[blur]]", "{a: {b: [1]}}", "*a", "&a [1]", "&b {<<: *a}", '"\\e[31m"', "'[[[['", '"\\ud800"', "!!set {a}"]
VALUES += ["'!!int \"\"'", f"'{'[' * 3000}'", str(10**400), f"'{10**400}'", "[{effects: [[blur]], p: 1}]", "{blur: x}"]
VALUES += ["[{effects: blur, p: {}}]", "9" * 4400 + "x1", "'9x9'", "a: b: c", "? [a]", "%x", "---", "...", "\t", "\x85"]
KEYS = [*SETTINGS, *SECTIONS, "train.epoch", "effects", "0", "255", "classes", "~", "<<", "[1]", "choices", "blur"]


def lines() -> st.SearchStrategy[str]:
    """Text like a config's: lines of keys and values, in some order, at some depth, and signs between them."""
    values = st.sampled_from(VALUES) | st.text(max_size=8) | st.integers().map(str) | st.floats().map(str)
    keys = st.sampled_from(KEYS) | st.text(max_size=4)
    pairs = st.tuples(keys, values, st.integers(0, 4)).map(
        lambda pair: " " * pair[2] + f"{pair[0].rpartition('.')[2]}: {pair[1]}"
    )
    inline = st.tuples(keys, values).map(lambda pair: "{}: {{{}: {}}}".format(*_split(pair[0]), pair[1]))
    return st.lists(pairs | inline | values, max_size=6).map(lambda parts: REQUIRED + "\n".join(parts))


def _split(key: str) -> tuple[str, str]:
    section, _, name = key.rpartition(".")
    return section or "augment", name


def read_all(content: bytes) -> None:
    """Reads content as everything that a user writes in YAML; what is wrong must be one line of an error for users."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.yaml")
        path.write_bytes(content)
        for read in (load_config, read_label_map, lambda path: read_space(path, Config(Data("records"), "run"))):
            try:
                read(path)
            except (ValueError, OSError) as error:
                assert "\n" not in str(error) and len(str(error)) < 1200


CONTENTS = lines().map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60)
QUICK = {"suppress_health_check": [HealthCheck.too_slow], "deadline": None, "database": None, "derandomize": True}


@pytest.mark.long
@settings(max_examples=150, **QUICK)
@given(CONTENTS)
def test_any_file_is_read_or_refused_in_one_line(content):
    read_all(content)


@pytest.mark.slow
@settings(max_examples=10_000, **(QUICK | {"derandomize": False}))
@given(CONTENTS)
def test_any_of_ten_thousand_files_is_read_or_refused_in_one_line(content):
    read_all(content)


@pytest.mark.long
@pytest.mark.parametrize("key", SETTINGS)
def test_every_setting_survives_values_of_any_kind(key):
    values = [
        [["blur"]],
        {"a": {"b": [1]}},
        10**400,
        "!!bool x",
        "[" * 3000,
        "!!int ''",
        float("nan"),
        [None],
        "*a",
        b"a",
    ]
    for value in values:
        try:
            type_settings({key: value})
        except ValueError as error:
            assert "\n" not in str(error) and len(str(error)) < 1200


def test_a_file_that_is_no_config_is_not_shown(tmp_path):
    path = tmp_path / "passwd"
    path.write_text("root:x:0:0:root:/root:/bin/bash\nsecret:x:1:1::/home:/bin/sh\n")
    for read in (load_config, read_label_map):
        with pytest.raises(ValueError) as error:
            read(path)
        assert "secret" not in str(error.value) and "bash" not in str(error.value)
