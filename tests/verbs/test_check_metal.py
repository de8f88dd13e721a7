"""The command that checks a train step for Metal."""

import re
from pathlib import Path

import keras
import pytest

from tfseg import check_metal
from tfseg.config.schema import Config, Data
from tfseg.diagnostics import metal
from tfseg.diagnostics.metal import KERNELS


def bilinear(filters, name):
    """What the decoder's layer would be with other upsampling."""

    def layer(inputs):
        x = keras.layers.UpSampling2D(2, interpolation="bilinear")(inputs[0])
        x = keras.layers.Concatenate()([x, *inputs[1:]]) if inputs[1:] else x
        return keras.layers.Conv2D(filters, 3, padding="same", name=name)(x)

    return layer


@pytest.mark.long
def test_the_command_fails_with_the_list(monkeypatch, capsys):
    from tfseg.models.decoders import unet

    path = Path(__file__).parents[2] / "configs/demo.yaml"
    arguments = ["--config", str(path), "--model.encoder", "tiny"]
    with pytest.raises(SystemExit) as stopped:
        check_metal.main(arguments)
    assert stopped.value.code == 0
    monkeypatch.setattr(unet, "UpsampledConv2D", bilinear)
    with pytest.raises(SystemExit) as stopped:
        check_metal.main(arguments)
    assert stopped.value.code == 1
    assert re.search(r"leaves the GPU: ResizeBilinearGrad \(.*\), 5 times, made by \S+:\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize("plugin", KERNELS)
def test_the_plugin_that_is_asked_for_is_looked_up(monkeypatch, plugin):
    asked = []

    def check_config(config, name):
        asked.append((config.run_dir, name))
        raise ValueError("seen")

    monkeypatch.setattr(check_metal, "check_config", check_config)
    with pytest.raises(ValueError, match="seen"):
        check_metal.main(["--config", str(Path(__file__).parents[2] / "configs/demo.yaml"), "--plugin", plugin])
    assert asked == [("none", plugin)]


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(
        ValueError, match=r"checked for Metal, but Keras runs on torch; set .* KERAS_BACKEND=tensorflow"
    ):
        metal.check_config(Config(Data("none"), "none"))
