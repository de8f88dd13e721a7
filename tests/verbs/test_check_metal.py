"""The command that checks a train step for Metal."""

import re
from pathlib import Path

import keras
import pytest

from tfseg import check_metal


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
