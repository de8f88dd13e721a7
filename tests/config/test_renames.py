"""Settings under the names that they had before."""

import re
from pathlib import Path

import pytest

from tfseg.config.parse import load_config, parse_config
from tfseg.config.settings import SETTINGS, list_settings
from tfseg.io import renamed

REQUIRED = ["--data.records", "records", "--run_dir", "run"]
# Old name -> a value of then, in YAML, and what the setting has by it.
VALUES = {
    "device.kind": ("cpu", "cpu"),
    "device.precision": ("float32", "float32"),
    "device.prefetch": ("false", False),
    "device.distribution": ("mirrored", "mirrored"),
    "data.scale": ("[0.5, 2.0]", (0.5, 2.0)),
    "data.max_class_share": ("0.75", 0.75),
    "data.rare_classes": ("0.5", 0.5),
    "data.shuffle": ("30", 30),
    "loss.learn_void": ("true", None),
    "optimizer.accumulate": ("4", 4),
    "optimizer.ema": ("0.99", 0.99),
    "optimizer.encoder_rate": ("0.1", 0.1),
}


def test_every_renamed_setting_is_tried():
    assert VALUES.keys() == renamed.SETTINGS.keys()
    assert {*renamed.SETTINGS.values()} <= {*SETTINGS}
    assert not {*renamed.SETTINGS} & {*SETTINGS}


@pytest.mark.parametrize("old", VALUES)
def test_an_old_name_is_taken_with_one_warning(old, tmp_path, capsys):
    text, value = VALUES[old]
    section, name = old.split(".")
    file = tmp_path / "run.yaml"
    file.write_text(f"{section}: {{{name}: {text}}}\ndata.fit: crop\n")
    for arguments in (
        [f"--{old}", text],
        [f"--{old}={text}"],
        ["--config", str(file)],
        ["--config", str(file), f"--{old}={text}"],
    ):
        config = parse_config([*REQUIRED, "--data.fit", "crop", *arguments])
        new = renamed.SETTINGS[old]
        assert list_settings(config)[new] == value
        warned = capsys.readouterr().err
        assert re.fullmatch(
            rf"warning: {old} is called {new} now( \(.*\))?; the old name goes with the next release\n", warned
        )


def test_a_flag_that_stood_alone_meant_true(capsys):
    for words in (["--loss.learn_void"], ["--loss.learn_void", "--quiet"], ["--loss.learn_void=true"]):
        assert parse_config([*REQUIRED, *words]).loss.ignore_class is None
    assert parse_config([*REQUIRED, "--loss.learn_void", "false"]).loss.ignore_class == 0
    assert "(0 for false, null for true)" in capsys.readouterr().err


def test_both_names_contradict(tmp_path, capsys):
    file = tmp_path / "run.yaml"
    file.write_text("data: {shuffle: 3, shuffle_buffer: 3}\n")
    line = "data.shuffle and data.shuffle_buffer: expected one of them, since they are the same setting, got both"
    for arguments, place in (
        (["--data.shuffle=3", "--data.shuffle_buffer", "3"], ""),
        (["--config", str(file)], f"{file}: "),
    ):
        with pytest.raises(SystemExit):
            parse_config([*REQUIRED, *arguments])
        assert capsys.readouterr().err == f"python -m tfseg.train: error: {place}{line}\n"


def test_the_command_line_goes_before_the_file_under_either_name(tmp_path, capsys):
    file = tmp_path / "run.yaml"
    file.write_text("{data: {shuffle: 3}, accelerator: {kind: cuda}}")
    config = parse_config([*REQUIRED, "--config", str(file), "--data.shuffle_buffer", "4", "--device.kind", "cpu"])
    assert (config.data.shuffle_buffer, config.accelerator.kind) == (4, "cpu")


def test_wrong_values_and_unknown_names_of_the_old_section_are_reported_in_one_line(capsys):
    for word, line in {
        "--device.kind=tpu": "accelerator.kind: expected auto or cpu or cuda or metal, got tpu",
        "--device.kid=cpu": "device.kid: unknown setting; those of accelerator are "
        "kind, precision, prefetch, strategy, fused",
        "--loss.learn_void=maybe": "loss.ignore_class: expected a whole number or null, got maybe",
    }.items():
        with pytest.raises(SystemExit):
            parse_config([*REQUIRED, word])
        assert capsys.readouterr().err == f"python -m tfseg.train: error: {line}\n"


def test_a_run_folder_is_read_without_a_warning(capsys):
    config = load_config(Path(__file__).parents[1] / "data" / "before" / "run" / "config.yaml", warn=False)
    assert config.accelerator.kind == "cpu"
    assert capsys.readouterr().err == ""
