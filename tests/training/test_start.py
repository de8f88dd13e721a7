import dataclasses
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from helper_weights import build_small_efficientnet, randomize, save_safetensors, to_pytorch
from helpers import write_run
from keras import layers, ops

from tfseg.config.parse import parse_config
from tfseg.config.schema import Config, Data, Model, Train
from tfseg.models.segmenter import build_network
from tfseg.runs import run_dir
from tfseg.training import assembly, checkpoints, loop, run, start, start_files


def build(num_classes=3, decoder="unet", seed=None):
    network = build_network(num_classes, "tiny", None, decoder)
    if seed is not None:
        randomize(network, seed)
    return network


def read(network) -> dict[str, np.ndarray]:
    return {weight.path: ops.convert_to_numpy(weight) for weight in network.weights}


def taken(network, learnt) -> set[str]:
    """The paths of weights that are those of another network."""
    theirs = read(learnt)
    return {path for path, array in read(network).items() if np.array_equal(array, theirs.get(path))}


@pytest.fixture(scope="module")
def learnt():
    return build(seed=0)


@pytest.fixture(scope="module")
def weights_file(learnt, tmp_path_factory):
    path = tmp_path_factory.mktemp("learnt") / "net.weights.h5"
    learnt.save_weights(path)
    return path


@pytest.fixture(scope="module")
def learnt_run(tiny_records, tmp_path_factory):
    config = Config(Data(str(tiny_records)), str(tmp_path_factory.mktemp("runs") / "first"), model=Model("tiny", None))
    build(num_classes=5, seed=0).save_weights(write_run(config) / run_dir.BEST_WEIGHTS)
    return Path(config.run_dir)


def test_the_same_network_takes_all(learnt, weights_file):
    network = build()
    table = start.load_start(network, "tiny", str(weights_file))
    assert taken(network, learnt) == set(read(network))
    assert [line.split() for line in table[2:]] == [
        ["encoder", "25", "0", "0"],
        ["decoder", "50", "0", "0"],
        ["head", "2", "0", "0"],
    ]


def test_other_classes_get_another_head(learnt, weights_file):
    network = build(num_classes=5)
    before = read(network)
    table = start.load_start(network, "tiny", str(weights_file))
    assert set(before) - taken(network, learnt) == {"logits/kernel", "logits/bias"}
    np.testing.assert_array_equal(read(network)["logits/kernel"], before["logits/kernel"])
    assert table[-2].split() == ["head", "0", "2", "0"]
    changed = "logits/kernel 3x3x16x3 -> 3x3x16x5, logits/bias 3 -> 5"
    assert table[-1] == f"of another shape, so random: {changed}"


def test_a_head_of_as_many_other_classes_is_not_taken(learnt_run):
    network, theirs = build(num_classes=5), run_dir.read_labels(learnt_run)[0]
    before = read(network)
    table = start.load_start(network, "tiny", str(learnt_run), [*theirs[:-1], "canal"])
    assert {name for name, array in read(network).items() if (array == before[name]).all()} >= {"logits/kernel"}
    assert table[-2].split() == ["head", "0", "0", "2"]
    assert table[-1] == f"head of other classes, so random: there it is of {', '.join(theirs)}"
    table = start.load_start(network, "tiny", str(learnt_run), theirs)
    assert table[-1].split() == ["head", "2", "0", "0"]


def test_another_decoder_leaves_what_has_no_name_there(learnt, weights_file):
    network = build(decoder="pspnet")
    table = start.load_start(network, "tiny", str(weights_file))
    assert {f"stage{index}_conv/kernel" for index in range(5)} <= taken(network, learnt)
    assert table[2].split() == ["encoder", "25", "0", "0"]
    assert table[3].split() == ["decoder", "0", "0", "45"]
    assert table[4].split() == ["head", "0", "2", "0"]
    assert table[-2] == "of another shape, so random: logits/kernel 3x3x16x3 -> 3x3x512x3"  # the bias with it
    assert table[-1] == "left there: 50 weights of which this network has none of the name"


def test_less_than_the_encoder_is_refused(learnt, tmp_path):
    path = tmp_path / "a.weights.h5"
    learnt.save_weights(path)
    with h5py.File(path, "a") as file:
        encoder = next(group for group in file["layers"].values() if group["vars"].attrs["name"] == "tiny")
        del encoder["layers/conv2d/vars/0"]
        del encoder["layers/batch_normalization_4/vars/1"]
        encoder["layers/batch_normalization_4/vars/1"] = np.zeros(7)
    network = build()
    before = read(network)
    words = "2 of 25 weights of the encoder tiny do not fit: stage0_conv/kernel is not there, "
    with pytest.raises(ValueError, match=rf"a\.weights\.h5: {words}stage4_bn/beta has 7, expected 48$"):
        start.load_start(network, "tiny", str(path))
    for name, array in read(network).items():
        np.testing.assert_array_equal(array, before[name])


def test_numbers_that_are_not_finite_are_refused(learnt, tmp_path):
    network, path = build(seed=0), tmp_path / "a.weights.h5"
    network.get_layer("logits").bias.assign([0, np.nan, 0])
    network.save_weights(path)
    with pytest.raises(ValueError, match=r"a\.weights\.h5: has numbers in logits/bias that are not finite"):
        start.load_start(learnt, "tiny", str(path))


def test_another_encoder_is_refused(weights_file, tmp_path, tiny_records):
    x = keras.Input((None, None, 3))
    small = build_small_efficientnet()
    network = keras.Model(x, layers.Conv2D(3, 1, name="logits")(small(x)))
    with pytest.raises(ValueError, match=r"has the encoder tiny, and model\.encoder is efficientnetb0; make"):
        start.load_start(network, "efficientnetb0", str(weights_file))
    other = write_run(Config(Data(str(tiny_records)), str(tmp_path / "run"), model=Model("resnet50", None)))
    (other / run_dir.BEST_WEIGHTS).write_bytes(b"")
    config = Config(Data(str(tiny_records)), str(tmp_path / "other"), model=Model("tiny", None, start=str(other)))
    with pytest.raises(ValueError, match=r"run: has the encoder resnet50, and model\.encoder is tiny"):
        loop.train_run(config)
    assert not (tmp_path / "other").exists()


def test_a_file_of_pytorch_gives_the_encoder(tmp_path):
    learnt = build_small_efficientnet()
    randomize(learnt)
    tensors = {**to_pytorch(learnt), "decoder.weight": np.zeros(3, np.float32)}
    path = save_safetensors(tensors, tmp_path / "tf_efficientnet_b0.in1k.safetensors")
    x = keras.Input((None, None, 3))
    small = build_small_efficientnet()
    network = keras.Model(x, layers.Conv2D(3, 1, name="logits")(small(x)))
    table = start.load_start(network, "efficientnetb0", str(path))
    assert taken(small, learnt) == set(read(small))
    assert table[2].split() == ["encoder", str(len(small.weights)), "0", "0"]
    assert table[4].split() == ["head", "0", "0", "2"]


@pytest.mark.long
@pytest.mark.tensorflow
def test_a_saved_model(learnt, tmp_path):
    from tfseg.exporters.saved_model import Traced, save_module

    save_module(Traced(learnt), tmp_path / "model")
    network = build(num_classes=5)
    start.load_start(network, "tiny", str(tmp_path / "model"))
    assert set(read(network)) - taken(network, learnt) == {"logits/kernel", "logits/bias"}
    (tmp_path / "model/variables/variables.index").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="model: holds no variables that can be read"):
        start.load_start(network, "tiny", str(tmp_path / "model"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.weights.h5", b"nothing", "is no file of weights that Keras saved"),
        ("a.pth", b"nothing", "is no file of PyTorch"),
    ],
)
def test_damaged_files(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: {words}"):
        start.load_start(build(), "tiny", str(tmp_path / name))


def test_a_file_that_is_cut_short(weights_file, tmp_path):
    content = weights_file.read_bytes()
    for length in (100, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.weights.h5").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cut\.weights\.h5: is "):
            start.load_start(build(), "tiny", str(tmp_path / "cut.weights.h5"))


def test_files_without_the_names_of_layers(tmp_path, learnt):
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros(3)
    with pytest.raises(ValueError, match="holds no weights by the names of layers"):
        start.load_start(learnt, "tiny", str(tmp_path / "a.weights.h5"))
    with h5py.File(tmp_path / "b.weights.h5", "w") as file:
        file.create_group("layers/conv2d/vars").attrs["name"] = "stem"
        file.create_dataset("layers/conv2d/vars/0", (3,), "f4", external=[("/etc/hostname", 0, 12)])
    with pytest.raises(ValueError, match="keeps weights in other files"):
        start.load_start(learnt, "tiny", str(tmp_path / "b.weights.h5"))


def test_where_there_is_nothing_to_start_from(tmp_path, tiny_records):
    def config(path):
        return Config(Data(str(tiny_records)), str(tmp_path / "run"), model=Model("tiny", None, start=str(path)))

    with pytest.raises(FileNotFoundError, match=r"missing: no such file or folder; model\.start takes a run"):
        loop.train_run(config(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError, match="is no run and no SavedModel; "):
        loop.train_run(config(tiny_records))
    begun = write_run(Config(Data(str(tiny_records)), str(tmp_path / "begun"), model=Model("tiny", None)))
    with pytest.raises(FileNotFoundError, match="is a run that ended before its first epoch did"):
        loop.train_run(config(begun))
    (begun / run_dir.BEST_WEIGHTS).write_bytes(b"")
    for path in (begun, begun / run_dir.BEST_WEIGHTS):
        with pytest.raises(ValueError, match="is of the run_dir of this training itself"):
            start.check_start(dataclasses.replace(config(path), run_dir=str(begun)))


def test_layers_that_keras_numbers_have_the_same_names_in_each_process():
    paths = ["conv2d_94/kernel", "conv2d_101/kernel", "conv2d_101/bias", "batch_normalization/beta", "block1_conv2d/k"]
    assert start_files.number_anew(paths) == {
        "conv2d_94/kernel": "conv2d_0/kernel",
        "conv2d_101/kernel": "conv2d_1/kernel",
        "conv2d_101/bias": "conv2d_1/bias",
        "batch_normalization/beta": "batch_normalization_0/beta",
        "block1_conv2d/k": "block1_conv2d/k",
    }


@pytest.mark.long
def test_a_run_with_more_classes_starts_from_another(tmp_path, tiny_records, learnt_run, capsys, monkeypatch):
    learners = []
    monkeypatch.setattr(loop, "fit", lambda training, learner, *_: learners.append(learner))
    monkeypatch.setattr(run, "finish_run", lambda *_: {})
    values = {"data.records": tiny_records, "run_dir": tmp_path / "run", "data.size": "32x32", "train.batch_size": 4}
    values |= {"model.encoder": "tiny", "model.start": learnt_run}  # model.weights is imagenet, and not read
    config = parse_config([f"--{name}={value}" for name, value in values.items()])
    loop.train_run(config)
    assert "logits/kernel 3x3x16x5 -> 3x3x16x8" in capsys.readouterr().out
    assert run_dir.read_config(tmp_path / "run").model.start == str(learnt_run)
    network, before = learners[0].network, build(num_classes=5, seed=0)
    assert set(read(network)) - taken(network, before) == {"logits/kernel", "logits/bias"}

    # A checkpoint has the optimizer beside the network.
    learners[0].save_weights(path := tmp_path / "00000005.weights.h5")
    start.load_start(other := build(num_classes=8), "tiny", str(path))
    assert taken(other, network) == set(read(other))


def test_what_resumes_does_not_start_again(tmp_path, tiny_records, learnt_run, monkeypatch):
    class Built(Exception):
        pass

    def build_nothing(training, rollbacks, resumes):
        raise Built(resumes)

    monkeypatch.setattr(loop, "build", build_nothing)
    config = Config(Data(str(tiny_records)), str(tmp_path / "run"), model=Model("tiny", None, start=str(learnt_run)))
    for checkpoint in (None, checkpoints.Checkpoint(step=1, rollbacks=0, best=None, losses=[], seeds=[])):
        monkeypatch.setattr(checkpoints, "find_last", lambda _, found=checkpoint: found)
        with pytest.raises(Built, match=str(checkpoint is not None)):
            loop.train_run(config)


def test_rounding_needs_a_start(tmp_path, learnt_run):
    config = Config(Data("records"), str(tmp_path / "run"), train=Train(quantize="int8"))
    with pytest.raises(ValueError, match=r"train\.quantize: expected null without model\.start, got int8; train in"):
        start.check_start(config)
    start.check_start(dataclasses.replace(config, model=Model("tiny", None, start=str(learnt_run))))


def test_what_resumes_needs_nothing_of_what_it_began_with(tmp_path, monkeypatch):
    def build_learner(config, *_, **__):
        raise RuntimeError(f"weights {config.model.weights}")

    model = Model("efficientnetlite0", "gone.pth", start="gone too")
    config = Config(Data("records"), str(tmp_path / "run"), model=model)
    with pytest.raises(FileNotFoundError, match="gone too"):
        start.check_start(config)
    (write_run(config) / checkpoints.FOLDER).mkdir()
    checkpoints.record_path(tmp_path / "run", 5).write_text("{}")
    start.check_start(config)
    with pytest.raises(FileNotFoundError, match="gone too"):
        start.check_start(dataclasses.replace(config, overwrite=True))

    monkeypatch.setattr(assembly, "build_learner", build_learner)
    nothing: Any = None  # of what is not reached
    training = loop.Training(config, nothing, nothing, nothing, nothing, [], 1)
    for resumes, weights in ((False, r"gone\.pth"), (True, "None")):
        with pytest.raises(RuntimeError, match=f"weights {weights}"):
            loop.build(training, 0, resumes)
