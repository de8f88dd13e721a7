import json
from pathlib import Path

import numpy as np
import pytest
from helper_weights import (
    EFFICIENTNET_PYTORCH,
    TIMM,
    build_small_efficientnet,
    randomize,
    save_safetensors,
    to_pytorch,
)
from keras import ops

from tfseg.models.encoders import build_encoder
from tfseg.models.normalization import EFFICIENTNET_LITE, IMAGENET, INCEPTION
from tfseg.models.torch_weights import Origin, find_origin, find_timm_name, load_torch_weights


@pytest.fixture(scope="module")
def learnt():
    model = build_small_efficientnet()
    randomize(model)
    return model


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (TIMM, ""),
        (TIMM, "encoder.model."),
        (EFFICIENTNET_PYTORCH, ""),
        (EFFICIENTNET_PYTORCH, "encoder."),  # of a whole network of segmentation_models_pytorch
    ],
)
def test_every_naming_gives_every_layer_its_weights(learnt, names, prefix, tmp_path):
    tensors = {
        **to_pytorch(learnt, names, prefix),
        f"{prefix}bn1.num_batches_tracked": np.zeros(1, np.float32),
        f"{prefix}classifier.weight": np.zeros((5, 8), np.float32),
        "decoder.blocks.0.conv1.0.weight": np.zeros((4, 4, 3, 3), np.float32),
        "segmentation_head.0.weight": np.zeros((4, 4, 3, 3), np.float32),
    }
    if not prefix:
        tensors = {name: array for name, array in tensors.items() if not name.startswith(("decoder", "segmentation"))}
    model = build_small_efficientnet()
    load_torch_weights(model, save_safetensors(tensors, tmp_path / "tf_efficientnet_b0.in1k.safetensors"))
    for ours, theirs in zip(model.get_weights(), learnt.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_fits_in_part_is_refused(learnt, tmp_path):
    tensors = to_pytorch(learnt)
    path, model = tmp_path / "tf_efficientnet_b0.safetensors", build_small_efficientnet()
    before = model.get_weights()

    def refused(changed, words):
        with pytest.raises(ValueError, match=f"tf_efficientnet_b0.safetensors: does not hold the weights of .*{words}"):
            load_torch_weights(model, save_safetensors(changed, path))

    learnt_alone = {name: array for name, array in tensors.items() if "running" not in name}
    refused(learnt_alone, r": 1\d batch normalisations are without running_mean and running_var, stem_bn, .*state_dict")

    without = {name: array for name, array in tensors.items() if not name.startswith("blocks.1.1.bn")}
    refused(without, "3 of 26 layers are missing, block2b_expand_bn, block2b_bn, block2b_project_bn")
    wide = {**tensors, "blocks.0.0.conv_dw.weight": np.zeros((5, 1, 3, 3), np.float32)}
    refused(wide, "1 have other shapes, block1a_dwconv: block1a_dwconv has 3x3x5x1, expected 3x3x4x1")
    deep = {**tensors, "blocks.2.0.conv_dw.weight": np.zeros((5, 1, 3, 3), np.float32)}
    refused(deep, "1 belong to another network, block3a_dwconv")
    headless = {name: array for name, array in tensors.items() if not name.startswith(("conv_head", "bn2"))}
    refused(headless, "2 of 26 layers are missing, top_conv, top_bn, which model.skips block does not need")
    broken = {**tensors, "blocks.0.0.bn1.weight": np.full(4, np.nan, np.float32)}
    with pytest.raises(ValueError, match="safetensors: has numbers in block1a_bn that are not finite"):
        load_torch_weights(model, save_safetensors(broken, path))
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_other_networks_are_refused(learnt, tmp_path):
    path = save_safetensors({"layer1.0.conv1.weight": np.zeros(3, np.float32)}, tmp_path / "resnet.safetensors")
    with pytest.raises(ValueError, match=r"has no tensor conv_stem.weight .* begins with layer1\.0\.conv1\.weight"):
        load_torch_weights(learnt, path)
    tensors = {f"{part}.conv_stem.weight": np.zeros((4, 3, 3, 3), np.float32) for part in ("student", "teacher")}
    with pytest.raises(ValueError, match="has 2 tensors"):
        load_torch_weights(learnt, save_safetensors(tensors, path))
    with pytest.raises(ValueError, match="EfficientNet, and mobilenet is not"):
        tensors = {"conv_stem.weight": np.zeros((4, 3, 3, 3), np.float32)}
        load_torch_weights(build_encoder("mobilenet", None).network, save_safetensors(tensors, path))


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet.pth", "RESNET.PT", "resnet.pth.tar", "last.ckpt"])
def test_an_encoder_takes_files_of_pytorch(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(ValueError, match=f"{name}: is no file of PyTorch"):
        path.write_bytes(b"nothing")
        build_encoder("efficientnetb0", path)


@pytest.mark.long
def test_what_skips_leave_out_may_be_missing(tmp_path):
    encoder = build_encoder("efficientnetlite0", None, "block").network
    blocks = [layer.name.removesuffix("dwconv") for layer in encoder.layers if layer.name.endswith("dwconv")]
    names = {"": EFFICIENTNET_PYTORCH[""]}
    for index, block in enumerate(blocks):
        parts = EFFICIENTNET_PYTORCH["block2a_"].items()
        names[block] = {layer: part.replace("_blocks.1.", f"_blocks.{index}.") for layer, part in parts}
    tensors = to_pytorch(encoder, names, "encoder.")
    assert not any("_conv_head" in name for name in tensors)
    path = save_safetensors(tensors, tmp_path / "unet.safetensors")
    learnt = build_encoder("efficientnetlite0", path, "block").network
    for ours, theirs in zip(learnt.get_weights(), encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"top_conv, top_bn, which model\.skips block does not need"):
        build_encoder("efficientnetlite0", path)


# -- how a file's network computes --


@pytest.mark.parametrize(
    ("name", "prefix", "timm", "origin"),
    [
        ("tf_efficientnet_b3.ns_jft_in1k.safetensors", "", True, Origin()),
        ("tf_efficientnet_b3_ns-9d44bf68.pth", "", True, Origin()),
        ("tf_efficientnet_b3.ap_in1k.bin", "", True, Origin(True, INCEPTION)),
        ("tf_efficientnet_lite0.in1k.safetensors", "", True, Origin()),
        ("efficientnet_b3.ra2_in1k.safetensors", "", True, Origin(False, IMAGENET)),
        ("efficientnet_b0.ra4_e3600_r224_in1k.pth", "", True, Origin(False, INCEPTION)),
        ("efficientnet_lite0.ra_in1k.safetensors", "", True, Origin(False, IMAGENET)),
        ("models--timm--tf_efficientnet_b3.ap_in1k/snapshots/1/model.safetensors", "", True, Origin(True, INCEPTION)),
        ("efficientnet-b3-5fb5a3c3.pth", "", False, Origin()),
        ("adv-efficientnet-b3-cdd7c0f4.pth", "", False, Origin(True, INCEPTION)),
        ("tf_efficientnet_b3_ap-aad25bdd.pth", "", True, Origin(True, INCEPTION)),  # as timm named them before
        ("best.ckpt", "model.encoder.", True, Origin(False)),
        ("runs/efficientnet_b3/best.pth", "encoder.", False, Origin()),
        ("best.pth", "encoder.", True, Origin(False)),  # smp's timm-efficientnet-b3
        ("timm-efficientnet-b3-advprop.pth", "encoder.", True, Origin(False, INCEPTION)),
    ],
)
def test_the_origin_of_a_file(name, prefix, timm, origin, capsys):
    assert find_origin(Path(name), prefix, timm) == origin
    assert capsys.readouterr().err == ""


def test_a_guess_is_said(tmp_path, capsys):
    assert find_origin(tmp_path / "efficientnet_b3" / "model.safetensors") == Origin()
    assert "taken for weights that come from TensorFlow" in capsys.readouterr().err
    for name in (
        "timm-efficientnet-b0.advprop.safetensors",
        "models--smp-hub--timm-efficientnet-b0.advprop/x/a.safetensors",
    ):
        assert find_origin(tmp_path / name) == Origin(True, INCEPTION)


def test_the_file_beside_may_name_them(tmp_path):
    described = {"architecture": "efficientnet_b0", "pretrained_cfg": {"tag": "ra4_e3600_r224_in1k"}}
    (tmp_path / "config.json").write_text(json.dumps(described))
    assert find_timm_name(tmp_path / "model.safetensors") == "efficientnet_b0.ra4_e3600_r224_in1k"
    for other in ('{"architecture": "resnet18"}', "[]", "{", '{"architecture": 1, "pretrained_cfg": 2}'):
        (tmp_path / "config.json").write_text(other)
        assert find_timm_name(tmp_path / "model.safetensors") is None


@pytest.mark.parametrize(
    ("name", "file", "theirs", "epsilon"),
    [
        ("efficientnetb0", "tf_efficientnet_b0.ap_in1k", INCEPTION, 1e-3),
        ("efficientnetb0", "efficientnet_b0.ra_in1k", IMAGENET, 1e-5),
        ("efficientnetlite0", "efficientnet_lite0.ra_in1k", IMAGENET, 1e-5),
    ],
)
def test_weights_give_what_they_gave_in_their_own_network(learnt, name, file, theirs, epsilon, tmp_path):
    ours = EFFICIENTNET_LITE if name.endswith("lite0") else IMAGENET
    path = save_safetensors(to_pytorch(learnt), tmp_path / f"{file}.safetensors")
    model = build_small_efficientnet(name)
    load_torch_weights(model, path)
    own = build_small_efficientnet()
    own.set_weights(learnt.get_weights())
    for layer in own.layers:
        layer.epsilon = epsilon
    pixels = np.full((1, 16, 16, 3), (0.1, 0.5, 0.8), np.float32)  # of one colour, since only borders differ
    stems = []
    for network, (mean, std) in ((model, ours), (own, theirs)):
        x = network.get_layer("stem_conv")((pixels - np.float32(mean)) / np.float32(std))
        stems.append(ops.convert_to_numpy(network.get_layer("stem_bn")(x)))
    np.testing.assert_allclose(stems[0][:, :-1, :-1], stems[1][:, :-1, :-1], rtol=1e-3, atol=1e-3)
    for layer in ("block1a_bn", "top_bn"):
        x = np.linspace(0, 1, 4 if layer == "block1a_bn" else 8, dtype=np.float32).reshape(1, 1, 1, -1)
        a, b = (ops.convert_to_numpy(network.get_layer(layer)(x)) for network in (model, own))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


# -- against PyTorch's own networks, of which benchmarks/check_weights.py compares more --


@pytest.mark.parametrize("name", ["tf_efficientnet_b0", "efficientnet_b0"])
def test_an_encoder_computes_as_timms(name, tmp_path):
    torch, timm = pytest.importorskip("torch"), pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model(name, pad_type="same").eval()
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5) if key.endswith(("weight", "var")) else tensor.uniform_(-0.2, 0.2)
    torch.save(network.state_dict(), path := tmp_path / f"{name}.in1k.pth")
    images = np.random.default_rng(0).normal(size=(1, 96, 160, 3)).astype(np.float32)
    ours = ops.convert_to_numpy(build_encoder("efficientnetb0", path).extract(images)[-1])
    theirs = network.forward_features(torch.tensor(images.transpose(0, 3, 1, 2))).detach().numpy()
    np.testing.assert_allclose(ours, theirs.transpose(0, 2, 3, 1), atol=1e-3)
