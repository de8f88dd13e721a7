"""What a search may change: read, drawn, refused, all from literal files."""

from pathlib import Path

import pytest

from tfseg.config.parse import load_config
from tfseg.config.schema import Augment, Config, Data, Optimizer, Train
from tfseg.tuning.space import find_start, make_config, read_space

CONFIG = Config(
    Data("city", size="192x256", val_size="240x320"),
    "run",
    augment=Augment(brightness=0.2, hue=10.0, zoom=(0.8, 1.25)),
    optimizer=Optimizer("adamw", 1e-3, weight_decay=0.01),
    train=Train(batch_size=4),
)


class Lowest:
    """A trial that draws the lowest number and the first choice, and notes what it was asked for."""

    def __init__(self):
        self.asked = []

    def suggest_float(self, name, low, high, *, step, log):
        self.asked.append((name, low, high, step, log))
        return low

    suggest_int = suggest_float

    def suggest_categorical(self, name, choices):
        self.asked.append((name, choices))
        return choices[0]


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads a space from its text, in space.yaml of the working directory."""
    monkeypatch.chdir(tmp_path)

    def read(text, config=CONFIG):
        Path("space.yaml").write_text(text)
        return read_space("space.yaml", config)

    return read


SPACE = """
optimizer.learning_rate: {low: 1e-4, high: 1.0e-2, log: true}
train.batch_size: {low: 2, high: 8, step: 2}
data.size: {choices: [160x224, 192x256]}
augment.zoom: {choices: [[1, 1], [0.5, 2]]}
strength: {multiplies: [augment.brightness, augment.hue], low: 0, high: 2}
"""


def test_what_is_drawn_becomes_settings(read):
    space, trial = read(SPACE), Lowest()
    drawn = {name: parameter.suggest(trial) for name, parameter in space.items()}
    assert trial.asked == [
        ("optimizer.learning_rate", 1e-4, 1e-2, None, True),
        ("train.batch_size", 2, 8, 2, False),
        ("data.size", ["160x224", "192x256"]),
        ("augment.zoom", ["[1.0, 1.0]", "[0.5, 2.0]"]),
        ("strength", 0.0, 2.0, None, False),
    ]
    made = make_config(CONFIG, space, drawn)
    assert (made.optimizer.learning_rate, made.train.batch_size, made.data.size) == (1e-4, 2, "160x224")
    assert (made.augment.zoom, made.augment.brightness, made.augment.hue) == ((1.0, 1.0), 0.0, 0.0)
    assert made.optimizer.weight_decay == 0.01


def test_a_range_of_factors_is_raised_to_the_power(read):
    space = read("strength: {multiplies: [augment.zoom, augment.hue], low: 0, high: 2}")
    assert make_config(CONFIG, space, {"strength": 2}).augment == Augment(
        brightness=0.2, hue=20.0, zoom=(0.8**2, 1.25**2)
    )
    assert make_config(CONFIG, space, {"strength": 0}).augment.zoom == (1.0, 1.0)
    assert make_config(CONFIG, space, {"strength": 1.0}) == CONFIG


def test_it_starts_from_the_config_where_the_space_has_it(read):
    assert find_start(CONFIG, read(SPACE)) == {
        **{"optimizer.learning_rate": 1e-3, "train.batch_size": 4, "data.size": "192x256", "strength": 1.0},
    }
    beside = read("train.batch_size: {low: 3, high: 9, step: 3}\noptimizer.learning_rate: {low: 0.01, high: 0.1}")
    assert find_start(CONFIG, beside) == {}


def test_the_shipped_space_is_one():
    configs = Path(__file__).parents[2] / "configs"
    config = load_config(configs / "camvid.yaml")
    space = read_space(configs / "camvid_space.yaml", config)
    assert set(find_start(config, space)) == set(space)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "expected settings to search, each as {low: 0, high: 1}, which log, step and multiplies may join, or "),
        ("- a", 'expected settings as `key: value`, got ["a"]'),
        (
            "optimizer.xyz: {low: 0, high: 1}",
            "optimizer.xyz: unknown setting; those of optimizer are name, learning_",
        ),
        ("strenth: {low: 0, high: 1}", "strenth: unknown setting; --help lists all"),
        (
            "augment.hue: 3",
            "augment.hue: expected {low: 0, high: 1}, which log, step and multiplies may join, or {choi",
        ),
        ("augment.hue: {low: 0}", "augment.hue: expected {low: 0, high: 1}, which"),
        ("augment.hue: {low: 0, high: 1, base: 2}", "augment.hue: expected {low: 0, high: 1}, which"),
        ("augment.hue: {low: 0, high: 1, log: 10}", "augment.hue: expected log as true or false, got 10"),
        ("augment.hue: {low: 0, high: 1, log: true}", "augment.hue: expected low above 0 with log, got 0.0"),
        ("augment.hue: {low: small, high: 1}", "augment.hue: expected a number, got small"),
        ("augment.hue: {low: 2, high: 1}", "augment.hue: expected low below high, got [2.0, 1.0]"),
        ("augment.hue: {low: 1, high: 300}", "augment.hue: expected 0 to 180 degrees, got 300.0"),
        (
            "augment.hue: {low: 0, high: 3, step: 2}",
            "augment.hue: expected a whole number of steps from low to high, g",
        ),
        ("augment.hue: {low: 1, high: 3, step: 1, log: true}", "augment.hue: expected a step above 0, and no log besi"),
        ("train.batch_size: {low: 2.5, high: 8}", "train.batch_size: expected a whole number, got 2.5"),
        (
            "data.size: {low: 96x96, high: 98x98}",
            'data.size: expected low as a number; of others, give choices, got "9',
        ),
        (
            "accelerator.prefetch: {low: false, high: true}",
            "accelerator.prefetch: expected low as a number; of others, give cho",
        ),
        ("data.size: {choices: 96x96}", 'data.size: expected choices as a list, got "96x96"'),
        ("data.size: {choices: [96x96]}", 'data.size: expected two or more choices, each once, got ["96x96"]'),
        ("data.size: {choices: [96x96, 96x96]}", "data.size: expected two or more choices, each once"),
        (
            "data.size: {choices: [96x96, big]}",
            "data.size: expected a size as HEIGHTxWIDTH, such as 512x1024, got 'big'",
        ),
        ("data.size: {choices: [96x96, 9]}", "data.size: expected text, such as 320x320, got 9"),
        ("run_dir: {choices: [a, b]}", "run_dir: expected no range, since each trial has its own"),
        (
            "loss.ignore_class: {choices: [0, null]}",
            "loss.ignore_class: expected no range, since it changes what trials are scored on",
        ),
        (
            "train.epochs: {low: 1, high: 9}",
            "train.epochs: expected no range, since trials are compared epoch by epoch",
        ),
        ("x: {multiplies: augment, low: 0, high: 1}", 'x: expected multiplies as a list of settings, got "augment"'),
        ("x: {multiplies: [], low: 0, high: 1}", "x: expected multiplies as a list of settings, got []"),
        ("x: {multiplies: [augment.hu], low: 0, high: 1}", "augment.hu: unknown setting; did you mean augment.hue?"),
        (
            "x: {multiplies: [data.size], low: 0, high: 1}",
            'x: expected settings of numbers; data.size is, got "192x256',
        ),
        (
            "x: {multiplies: [augment.blur], low: 0, high: 1}",
            "x: no factor changes augment.blur, which is 0.0 in the c",
        ),
        ("x: {multiplies: [augment.hue], low: 0, high: 19}", "augment.hue: expected 0 to 180 degrees, got 190.0"),
        (
            "x: {multiplies: [augment.hue], low: 0, high: a}",
            "x: expected high as a number; of others, give choices, go",
        ),
        ("augment.hue: {multiplies: [augment.blur], low: 0, high: 1}", "augment.hue: expected another name beside mul"),
        (
            "augment.hue: {low: 0, high: 9}\nx: {multiplies: [augment.hue], low: 0, high: 1}",
            "x: augment.hue is searched as augment.hue already",
        ),
        (
            "optimizer.name: {choices: [adamw, adam]}",
            "optimizer.weight_decay: expected 0 unless optimizer.name is adamw, got 0.01",
        ),
        (
            "data.val_split: {choices: [val, test]}",
            "data.val_split: would change what trials are scored on, city val 2",
        ),
    ],
)
def test_what_is_wrong_is_reported_with_file_and_key(text, line, read):
    with pytest.raises(ValueError) as raised:
        read(text)
    assert str(raised.value).startswith(f"space.yaml: {line}")
    assert "\n" not in str(raised.value)


def test_sizes_without_one_for_validation_cannot_be_compared(read):
    resized = Config(Data("city", size="192x256"), "run")
    with pytest.raises(
        ValueError,
        match=r"^space\.yaml: data\.size: would change what trials are scored on, city val "
        r"192x256, to city val 96x128; set data\.val_size beside it$",
    ):
        read("data.size: {choices: [96x128, 192x256]}", resized)


def test_ends_are_tried_together_with_the_first_of_the_others(read):
    """AdamW alone decays, and the config of this space says Adam."""
    adam = Config(Data("city"), "run")
    read("optimizer.name: {choices: [adamw, adam]}\noptimizer.weight_decay: {low: 0, high: 0.1}", adam)
    with pytest.raises(ValueError, match=r"expected 0 unless optimizer\.name is adamw, got 0\.1"):
        read("optimizer.weight_decay: {low: 0, high: 0.1}", adam)
