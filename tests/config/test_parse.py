import dataclasses
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tfseg.config import suggestions
from tfseg.config.parse import change_config, load_config, parse_config, save_config, type_settings
from tfseg.config.schema import Augment, Config, Data, Loss, Model, Optimizer, Train
from tfseg.config.settings import SETTINGS, list_settings
from tfseg.records.label_map_files import read_label_map

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path for path in (ROOT / "configs").glob("*.yaml") if not path.stem.endswith(("_labels", "_space")))
TRAIN = (
    "epochs, batch_size, seed, frozen_epochs, patience, rollbacks, save_minutes, val_batch_size, validation_freq, "
    "quantize"
)
REQUIRED = ["--data.records", "records", "--run_dir", "run"]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes run.yaml into the working directory."""
    monkeypatch.chdir(tmp_path)
    return Path("run.yaml").write_text


def error_line(arguments, capsys) -> str:
    with pytest.raises(SystemExit) as exit:
        parse_config(arguments)
    out, err = capsys.readouterr()
    assert exit.value.code == 2
    assert out == ""
    prefix, line = "python -m tfseg.train: error: ", err.removesuffix("\n")
    assert line.startswith(prefix)
    assert "\n" not in line
    return line.removeprefix(prefix)


# What is read ---------------------------------------------------------------------------------------------------------


def test_defaults_are_the_dataclasses_own():
    assert parse_config(REQUIRED) == Config(Data("records"), "run")


@pytest.mark.parametrize("config_first", [True, False])
def test_command_line_goes_before_file_goes_before_default(write, config_first):
    write("{data: {records: in-file}, run_dir: run, train: {epochs: 3, batch_size: 4}}")
    overrides = ["--train.batch_size", "2", "--data.records=in-line"]
    file = ["--config", "run.yaml"]
    config = parse_config(file + overrides if config_first else overrides + file)
    assert config.train == Train(epochs=3, batch_size=2, seed=0)
    assert config.data.records == "in-line"


@pytest.mark.parametrize(
    "flag, text, value",
    [
        ("optimizer.learning_rate", "1e-4", 1e-4),  # text to YAML 1.1, which wants a dot
        ("optimizer.learning_rate", "1e-04", 1e-4),
        ("optimizer.ema_momentum", "0.999", 0.999),
        ("optimizer.ema_momentum", "null", None),
        ("loss.dice", "2", 2.0),
        ("loss.ignore_class", "null", None),
        ("loss.ignore_class", "0", 0),
        ("loss.class_weights", "manifest", "manifest"),
        ("loss.class_weights", "null", None),
        ("model.weights", "null", None),
        ("model.weights", "weights/b3.h5", "weights/b3.h5"),
        ("model.start", "runs/first", "runs/first"),
        ("model.decoder_channels", "[5, 4, 3, 2, 1]", (5, 4, 3, 2, 1)),
        ("augment.zoom", "[0.5, 2.0]", (0.5, 2.0)),
        ("augment.zoom", "[5e-1, 2]", (0.5, 2.0)),
        ("train.seed", "null", None),
        ("data.val_size", "12x34", "12x34"),
        ("data.train_split", "train_extra", "train_extra"),
    ],
)
def test_a_value_reads_the_same_from_file_and_command_line(write, flag, text, value):
    section, name = flag.split(".")
    write(f"{section}:\n  {name}: {text}\n")
    for arguments in (["--config", "run.yaml"], [f"--{flag}", text], [f"--{flag}={text}"]):
        config = parse_config(REQUIRED + arguments)
        read = getattr(getattr(config, section), name)
        assert (read, type(read)) == (value, type(value))


def test_text_that_looks_like_another_type_stays_text_on_the_command_line():
    config = parse_config(["--data.records", "2024", "--run_dir", "1e-4"])
    assert (config.data.records, config.run_dir) == ("2024", "1e-4")


def test_an_empty_file_sets_nothing(write):
    write("# nothing\n")
    assert parse_config([*REQUIRED, "--config", "run.yaml"]) == parse_config(REQUIRED)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, line",
    [
        ("--data.recrds x", "data.recrds: unknown setting; did you mean data.records?"),
        ("--data.recrds=x", "data.recrds: unknown setting; did you mean data.records?"),
        ("--epochs 3", "epochs: unknown setting; did you mean train.epochs?"),
        ("--optimiser.name adam", "optimiser.name: unknown setting; did you mean optimizer.name?"),
        ("--train.k 1", f"train.k: unknown setting; those of train are {TRAIN}"),
        ("--xyz 1", "xyz: unknown setting; --help lists all"),
        ("--lr 1e-3", "lr: unknown setting; did you mean optimizer.learning_rate?"),
        ("--train.lr 1e-3", "train.lr: unknown setting; did you mean optimizer.learning_rate?"),
        ("--learning-rate 1e-3", "learning-rate: unknown setting; did you mean optimizer.learning_rate?"),
        ("--bs 4", "bs: unknown setting; did you mean train.batch_size?"),
        ("--batch_size 4", "batch_size: unknown setting; did you mean train.batch_size?"),
        ("--wd 0.1", "wd: unknown setting; did you mean optimizer.weight_decay?"),
        ("--seed 4", "seed: unknown setting; did you mean train.seed?"),
        ("--output_dir x", "output_dir: unknown setting; did you mean run_dir?"),
        ("--data_dir x", "data_dir: unknown setting; did you mean data.records?"),
        ("--backbone x", "backbone: unknown setting; did you mean model.encoder?"),
        ("--num_workers 4", "num_workers: unknown setting; tf.data reads with as many threads as are of use"),
        ("--resume", "resume: unknown setting; the same command resumes a stopped run"),
        ("--warmup 1", "warmup: unknown setting; did you mean optimizer.warmup_epochs?"),
        ("--augment.hu 1", "augment.hu: unknown setting; did you mean augment.hue?"),
        ("--augment.gama 1", "augment.gama: unknown setting; did you mean augment.gamma?"),
        ("--blue 1", "blue: unknown setting; --help lists all"),
        ("--rate 1", "rate: unknown setting; did you mean optimizer.learning_rate?"),
        ("--split 1", "split: unknown setting; --help lists all"),
        (
            "--train 3",
            f"train: expected one of its settings, as --train.NAME; they are {TRAIN}",
        ),
        ("--train.epoch 3", "train.epoch: unknown setting; did you mean train.epochs?"),  # no abbreviations
        (
            "run.yaml",
            "run.yaml stands alone: a file goes after --config, a value after its flag, as in --train.epochs 3",
        ),
        ("--train.epochs", "argument --train.epochs: expected one argument"),
        ("--train.epochs 1.5", "train.epochs: expected a whole number, got 1.5"),
        ("--train.epochs true", "train.epochs: expected a whole number, got True"),
        ("--train.epochs null", "train.epochs: expected a whole number, got None"),
        ("--train.epochs 0", "train.epochs: expected at least 1, got 0"),
        ("--train.seed x", "train.seed: expected a whole number or null, got x"),
        ("--loss.ignore_class maybe", "loss.ignore_class: expected a whole number or null, got maybe"),
        ("--loss.class_weights median", "loss.class_weights: expected manifest or null, got median"),
        ("--data.fit stretch", "data.fit: expected resize or crop, got stretch"),
        ("--data.cat_max_ratio 0.7", "data.cat_max_ratio: expected 1 unless data.fit is crop, got 0.7"),
        ("--data.rare_class_sampling 2 --data.fit crop", "data.rare_class_sampling: expected 0 to 1, got 2.0"),
        ("--data.ram_budget 0", "data.ram_budget: expected at least 1 MiB, got 0"),
        (
            "--data.service localhost:5050",
            'data.service: expected null or an address such as grpc://localhost:5050, got "localhost:5050"',
        ),
        ("--data.crop_scale 0.5 2", "data.crop_scale: expected [a number, a number], got 0.5"),
        ("--augment.one_of 5", "augment.one_of: expected groups, as [{effects: [blur, hue], p: 0.5}] or null, got 5"),
        (
            '--augment.probability {"hue":"x"}',
            "augment.probability: expected names and values, as {hue: 0.5} or null, got x",
        ),
        ("--augment.zoom [1]", "augment.zoom: expected [a number, a number], got [1]"),
        ("--augment.zoom [2,1]", "augment.zoom: expected two numbers above 0, the lower one first, got [2.0, 1.0]"),
        ("--data.size 320", "data.size: expected a size as HEIGHTxWIDTH, such as 512x1024, got '320'"),
        ("--config none.yaml", "none.yaml: there is no such file"),
    ],
)
def test_error_on_the_command_line_is_one_line(arguments, line, capsys):
    assert error_line(REQUIRED + arguments.split(), capsys) == line


@pytest.mark.parametrize(
    "text, line",
    [
        ("train: {epoch: 3}", "run.yaml: train.epoch: unknown setting; did you mean train.epochs?"),
        ("epochs: 3", "run.yaml: epochs: unknown setting; did you mean train.epochs?"),
        ("optimiser: {name: adam}", "run.yaml: optimiser: unknown setting; did you mean optimizer?"),
        ("train: {epochs: many}", "run.yaml: train.epochs: expected a whole number, got many"),
        ("train: {epochs: }", "run.yaml: train.epochs: expected a whole number, got null"),
        ("train: {epochs: 0}", "run.yaml: train.epochs: expected at least 1, got 0"),
        ("train:", f"run.yaml: train: expected the settings {TRAIN} below it, got null"),
        ("train: 3", f"run.yaml: train: expected the settings {TRAIN} below it, got 3"),
        ("data: {size: 320}", "run.yaml: data.size: expected text, such as 320x320, got 320"),
        ("data: {fit: stretch}", "run.yaml: data.fit: expected resize or crop, got stretch"),
        ("run_dir: 2024", "run.yaml: run_dir: expected text, got 2024"),
        (
            "optimizer: {ema_momentum: 1.5}",
            "run.yaml: optimizer.ema_momentum: expected between 0 and 1, or null, got 1.5",
        ),
        ("train: {epochs: 3}\ntrain: {seed: 3}", "run.yaml, line 2: train is set twice"),
        ("train: {epochs: 3\n", "run.yaml, line 2: expected ',' or '}', but got '<stream end>'"),
        ("a: b: c", "run.yaml, line 1: mapping values are not allowed here"),
        ("{[1]: 2}", "run.yaml, line 1: found unhashable key"),
        ("- train", 'run.yaml: expected settings as `key: value`, got ["train"]'),
    ],
)
def test_error_in_the_file_is_one_line_that_names_it(write, text, line, capsys):
    write(text)
    assert error_line([*REQUIRED, "--config", "run.yaml"], capsys) == line


def test_bytes_that_are_no_text_are_one_line(write, capsys):
    Path("run.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    assert error_line(["--config", "run.yaml"], capsys).startswith("run.yaml: ")


def test_the_file_is_not_blamed_for_the_command_line(write, capsys):
    write("train: {epochs: 3}")
    line = error_line([*REQUIRED, "--config", "run.yaml", "--train.epochs", "0"], capsys)
    assert line == "train.epochs: expected at least 1, got 0"


@pytest.mark.parametrize(
    "arguments, line",
    [
        (
            [],
            "run_dir and data.records must be set, "
            "in the file of --config or as --run_dir RUN_DIR --data.records RECORDS",
        ),
        (["--run_dir", "run"], "data.records must be set, in the file of --config or as --data.records RECORDS"),
    ],
)
def test_missing_settings_are_named(arguments, line, capsys):
    assert error_line(arguments, capsys) == line


def test_a_config_that_is_not_there_says_where_those_of_the_guides_are(write, capsys):
    assert error_line(["--config", "mine.yaml"], capsys) == "mine.yaml: there is no such file"
    line = error_line(["--config", "configs/demo.yaml"], capsys)
    assert line.startswith("configs/demo.yaml: there is no such file; the wheel has no configs/: take the file from")


# Round trips ----------------------------------------------------------------------------------------------------------


def random_config(rng: random.Random) -> Config:
    text = [
        "runs/a",
        "a b",
        "1e-4",
        "2024",
        "0x10",
        "true",
        "~",
        "# no",
        "a: b",
        "é \U0001f6b2",
        " x ",
        "a\nb",
        "[1]",
        "C:\\x",
    ]
    size = f"{rng.randint(1, 2000)}x{rng.randint(1, 2000)}"
    adamw = rng.random() < 0.5
    low = rng.choice([1e-5, rng.uniform(0.1, 1)])
    return Config(
        Data(
            rng.choice(text),
            *(rng.choice(text), rng.choice(text)),
            size=size,
            fit="crop",
            crop_scale=(low, rng.uniform(1, 3)),
            val_size=rng.choice([None, size]),
            shuffle_buffer=rng.randint(1, 10**6),
        ),
        run_dir=rng.choice(text),
        overwrite=rng.random() < 0.5,
        augment=Augment(
            rng.random(),
            rng.uniform(0, 180),
            (low, 1e5),
            hue=1e-12,
            probability=rng.choice([None, {}, {"hue": rng.random(), "blur": 1.0}]),
            one_of=rng.choice([None, [], [{"effects": ["hue", "blur"], "p": rng.random()}]]),
        ),
        model=Model(
            *(rng.choice(text), rng.choice([None, "imagenet", "a b.h5", "1e-4"])),
            *rng.choice([("unet", None), ("unet", (rng.randint(1, 512),) * 5), ("fpn", (3, 2)), ("pspnet", (1,))]),
        ),
        loss=Loss(
            *(rng.random(), 10 ** rng.uniform(-20, 20), rng.random()),
            label_smoothing=rng.random(),
            class_weights=rng.choice([None, "manifest"]),
            ignore_class=rng.choice([0, None]),
        ),
        optimizer=Optimizer(
            "adamw" if adamw else "adam",
            10 ** rng.uniform(-20, 20),
            rng.choice(["constant", "cosine", "polynomial"]),
            rng.random(),
            rng.choice([0.0, 1e-4]) if adamw else 0.0,
            *(rng.choice([None, 0.999]), 1 - rng.random(), rng.choice([None, 1.0]), rng.randint(1, 9)),
        ),
        train=Train(
            *(rng.randint(1, 1000), rng.randint(1, 64), rng.choice([None, 0, 2**32 - 1])),
            *(rng.randint(0, 9), rng.choice([None, 3]), rng.randint(0, 9), 10 * rng.random()),
            val_batch_size=rng.choice([None, 1, 64]),
            validation_freq=rng.randint(1, 9),
        ),
    )


def test_any_config_comes_back_equal_from_its_file(tmp_path):
    rng = random.Random(0)
    for _ in range(40):
        config = random_config(rng)
        save_config(config, tmp_path / "run.yaml")
        assert load_config(tmp_path / "run.yaml") == config


def test_a_saved_config_holds_every_setting_as_plain_yaml(tmp_path):
    save_config(parse_config([*REQUIRED, "--augment.zoom", "[0.9, 1.2]"]), tmp_path / "run.yaml")
    saved = yaml.safe_load((tmp_path / "run.yaml").read_text(encoding="utf-8"))
    assert list(saved) == [part.name for part in dataclasses.fields(Config)]
    assert saved["augment"]["zoom"] == [0.9, 1.2]
    assert saved["data"]["val_size"] is None


def test_settings_are_changed_by_dotted_key():
    config = parse_config([*REQUIRED, "--augment.zoom", "[0.9, 1.2]"])
    changed = change_config(config, {"train.epochs": 3, "optimizer.learning_rate": "1e-3", "data.val_size": "96x96"})
    before, after = list_settings(config), list_settings(changed)
    assert {key for key in before if before[key] != after[key]} == {
        *("train.epochs", "optimizer.learning_rate", "data.val_size")
    }
    assert (changed.optimizer.learning_rate, changed.augment.zoom) == (0.001, (0.9, 1.2))
    assert change_config(config, {}) == config
    with pytest.raises(ValueError, match=r"^train\.epochs: expected at least 1, got 0$"):
        change_config(config, {"train.epochs": 0})
    with pytest.raises(ValueError, match=r"^train\.epoch: unknown setting; did you mean train\.epochs\?$"):
        change_config(config, {"train.epoch": 3})
    assert type_settings({"train.epochs": 0, "augment.hue": 3}) == {"train.epochs": 0, "augment.hue": 3.0}


def test_load_config_names_file_and_key(write):
    write("{run_dir: run, data: {records: x}, train: {epochs: 0}}")
    with pytest.raises(ValueError, match=r"^run\.yaml: train\.epochs: expected at least 1, got 0$"):
        load_config("run.yaml")
    write("{run_dir: run}")
    with pytest.raises(ValueError, match=r"^run\.yaml: data\.records must be set"):
        load_config("run.yaml")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_config_parses_and_comes_back_equal(path, tmp_path):
    config = parse_config(["--config", str(path)])
    assert config.run_dir == f"runs/{path.stem}"
    save_config(config, tmp_path / "run.yaml")
    assert load_config(tmp_path / "run.yaml") == config
    assert parse_config(["--config", str(tmp_path / "run.yaml")]) == config


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_config_says_how_to_run_it(path):
    text = path.read_text(encoding="utf-8")
    head = text[: text.index("\ndata:")]
    assert f"#   tfseg train --config configs/{path.name}\n" in head
    records = re.search(r"tfseg convert [^\n]*--out (\S+)", head)[1]
    assert load_config(path).data.records == records  # what is converted is what is trained on


def test_all_recipes_are_shipped():
    names = {path.stem for path in SHIPPED}
    assert names >= {"demo", "cityscapes_320_plain", "cityscapes_320_augmented", "camvid", "cityscapes"}


@pytest.mark.parametrize("pair", ["cityscapes_320", "camvid"])
def test_a_pair_differs_in_augmentation_alone(pair):
    plain, augmented = (load_config(ROOT / f"configs/{pair}_{name}.yaml") for name in ("plain", "augmented"))
    assert dataclasses.replace(augmented, augment=plain.augment, run_dir=plain.run_dir) == plain
    assert plain.augment == Augment() != augmented.augment


def test_camvid_labels_are_label_maps():
    labels = pytest.importorskip("tfseg.records.labels")
    lookup = read_label_map(ROOT / "configs/camvid_labels.yaml").lookup
    assert [labels.CATEGORIES[category] for category in lookup[:12]] == [
        *("sky", "construction", "object", "flat", "flat", "nature"),
        *("object", "construction", "vehicle", "human", "human", "void"),
    ]
    assert set(lookup[12:]) == {labels.UNKNOWN}
    own = read_label_map(ROOT / "configs/camvid_11_labels.yaml")
    assert own.lookup[:12].tolist() == [*range(1, 12), labels.VOID]


# Help -----------------------------------------------------------------------------------------------------------------


def test_help_documents_every_setting(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as exit:
        parse_config(["--help"], program="python -m tfseg.somewhere")
    text = capsys.readouterr().out
    assert exit.value.code == 0
    assert text.startswith("usage: python -m tfseg.somewhere ")
    for key in parse_keys(Config):
        assert re.search(rf"^  --{re.escape(key)} .+\n? +\w.+ \(type: .+\)$", text, re.MULTILINE), key
    assert re.search(r"--data\.records RECORDS\s+Required\. Folder of shards and manifest\.json", text)
    assert re.search(r"--train\.epochs EPOCHS\s+Passes over the training split\. \(type: int, default: 10\)", text)
    assert re.search(r"--data\.fit {resize,crop}\s+resize: the whole image, .+ default: resize\)", text)


def parse_keys(kind, prefix=""):
    for part in dataclasses.fields(kind):
        if dataclasses.is_dataclass(part.type):
            yield from parse_keys(part.type, f"{prefix}{part.name}.")
        else:
            yield prefix + part.name


def test_help_imports_no_framework():
    script = """
import sys
from tfseg.config.parse import parse_config
try:
    parse_config(["--help"])
finally:
    print(sorted({"tensorflow", "keras", "numpy", "cv2"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert "--train.epochs" in done.stdout


@pytest.mark.parametrize(
    "words, quiet", [([], False), (["--quiet"], True), (["--quiet", "true"], True), (["--quiet", "false"], False)]
)
def test_a_flag_alone_means_true(words, quiet):
    assert parse_config([*REQUIRED, *words]).quiet is quiet
    assert parse_config([*words, *REQUIRED]).quiet is quiet


def test_what_others_call_a_setting_is_none_here():
    assert {*suggestions.OTHER_NAMES.values()} <= {*SETTINGS}
    names = {setting.rpartition(".")[2] for setting in SETTINGS}
    assert not names & {*suggestions.OTHER_NAMES, *suggestions.NO_SETTING}
    assert not {*suggestions.OTHER_NAMES} & {*suggestions.NO_SETTING}
