"""What a training says before it begins of memory and time, and how much it validates at once."""

import dataclasses

import pytest

from tfseg import device
from tfseg.config.schema import Config, Data, Model, Train
from tfseg.models import complexity
from tfseg.pipeline.pipeline import make_eval_batches
from tfseg.records.record_set import open_records
from tfseg.training import estimates
from tfseg.training.assembly import build_learner
from tfseg.training.batches import count_validated, describe_validations
from tfseg.training.console import Screen
from tfseg.training.estimates import format_duration, report_estimates


class Lines(Screen):
    def __init__(self):
        super().__init__()
        self.reported, self.warned = [], []

    def report(self, text):
        self.reported.append(text)

    def warn(self, text):
        self.warned.append(text)


def make_config(records, batch_size=8, **data):
    return Config(Data(str(records), **data), "none", model=Model("tiny", None), train=Train(3, batch_size))


@pytest.fixture(scope="module")
def on_cpu():
    choice = device.choose_device("cpu", "float32")
    config = make_config("none", size="64x128")
    return choice, config, build_learner(config, choice, 100, num_classes=8)


def test_memory_and_time_are_reported_and_come_from_the_graph(on_cpu, monkeypatch):
    choice, config, learner = on_cpu
    monkeypatch.setattr(estimates, "count_cores", lambda: 4)
    monkeypatch.setattr(device, "read_memory", lambda: 2**34)
    screen = Lines()
    report_estimates(config, learner, 10**6, choice, screen)
    calls = complexity.walk(learner.network, (64, 128))
    macs = sum(map(complexity.count_macs, calls))
    memory = complexity.estimate_memory(learner, calls, 8)
    assert memory["activations"] == 8 * complexity.count_kept_bytes(calls) and memory["weights"] > 4e6
    needed = memory["all"] + 0.4 * memory["activations"] + 2**29 + 2**30
    hours = macs * 8e6 / (4 * 10.5e9) / 3600
    assert screen.reported == [
        f"estimated from the network's graph: {needed / 2**30:.1f} GiB of memory in batches of 8, "
        f"{macs / 1e9:.1f} billion multiply-adds per image, {hours:.0f} hours per epoch if 4 cores are as fast as "
        f"those with AVX-512 of docs/results/step, {3 * hours:.0f} hours in all; validation comes on top"
    ]
    assert screen.warned == []


def test_too_little_memory_is_a_warning(on_cpu, monkeypatch):
    choice, config, learner = on_cpu
    monkeypatch.setattr(device, "read_memory", lambda: 2**30)
    screen = Lines()
    report_estimates(config, learner, 10, choice, screen)
    assert len(screen.warned) == 1
    assert "as estimated, are more than the 1.0 GiB of this machine; lower train.batch_size" in screen.warned[0]
    for kind in ("metal", "mps", "gpu"):  # Apple's, whose memory is the machine's
        screen = Lines()
        report_estimates(config, learner, 10, choice._replace(kind=kind), screen)
        assert len(screen.warned) == 1
    card = choice._replace(kind="cuda")  # whose memory is another
    screen = Lines()
    report_estimates(config, learner, 10, card, screen)
    assert screen.warned == [] and " GiB of memory at least in batches of 8" in screen.reported[0]


def test_durations_are_short():
    times = [format_duration(seconds) for seconds in (0.1, 40, 4000, 7300, 450000)]
    assert times == ["1 second", "40 seconds", "67 minutes", "2 hours", "125 hours"]


def test_the_machine_has_memory():
    assert device.read_memory() is None or device.read_memory() > 2**28


@pytest.mark.parametrize(
    ("batch_size", "replicas", "data", "count"),
    [
        (8, 1, {"size": "24x32"}, 8),
        (8, 1, {"size": "24x32", "fit": "crop"}, 8),
        (8, 1, {"size": "12x32", "fit": "crop"}, 1),  # whole images of 24x32, larger than the crops
        (8, 1, {"size": "24x32", "val_size": "48x64"}, 1),
        (8, 1, {"size": "24x32", "val_size": "12x16"}, 32),
        (8, 4, {"size": "24x32"}, 2),
        (1, 1, {"size": "8x8", "val_size": "512x1024"}, 1),
    ],
)
def test_validation_takes_no_more_pixels_than_training(tiny_records, batch_size, replicas, data, count):
    assert count_validated(make_config(tiny_records, batch_size, **data), open_records(tiny_records), replicas) == count


def test_how_many_are_validated_at_once_can_be_set(tiny_records):
    config, records = make_config(tiny_records, size="12x16", fit="crop"), open_records(tiny_records)
    for asked, count in ((3, 3), (10**12, 5)):
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, val_batch_size=asked))
        assert count_validated(config, records, 4) == count
    words = describe_validations(config, records)
    assert words.startswith("validation after each epoch: 5 images of val at 24x32, 5 at a time; at the end the best")
    seldom = dataclasses.replace(config, train=dataclasses.replace(config.train, validation_freq=4))
    assert describe_validations(seldom, records).startswith("validation after every 4 epochs: 5 images")
    manifest = dataclasses.replace(records.manifest, size=None)
    words = describe_validations(config, dataclasses.replace(records, manifest=manifest))
    assert "at each image's own size, 1 at a time" in words


@pytest.mark.long
def test_scores_do_not_depend_on_how_many_are_validated_at_once(tiny_records, on_cpu):
    from tfseg.metrics.confusion import Scorer, score

    _, _, learner = on_cpu
    scorer = Scorer(learner.network, learner.loss_function)
    records = open_records(tiny_records)
    found = [
        score(scorer, make_eval_batches(records, "val", size=None, batch_size=count))["confusion_matrix"]
        for count in (1, 2, 5)
    ]
    assert found[0] == found[1] == found[2]
