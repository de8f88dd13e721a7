"""Files of safetensors, and a small network with the layers of EfficientNet, by their names in Keras and in PyTorch."""

import json

import keras
import numpy as np
from keras import layers


def save_safetensors(tensors: dict, path):
    """Writes arrays of float32 by name."""
    header, place = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [place, place + array.nbytes]}
        place += array.nbytes
    start = json.dumps(header).encode()
    data = [array.astype("<f4").tobytes() for array in tensors.values()]
    path.write_bytes(b"".join([len(start).to_bytes(8, "little"), start, *data]))
    return path


def build_small_efficientnet(name="efficientnetb0"):
    """A block that expands nothing, one of its stage that does, and one of the next stage; named as Keras does."""
    x = pixels = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = _add_block(x, "block1a_", 4, expand=False)
    x = _add_block(x, "block2a_", 6, expand=True)
    x = _add_block(x, "block2b_", 6, expand=True)
    x = layers.Conv2D(8, 1, use_bias=False, name="top_conv")(x)
    x = layers.BatchNormalization(name="top_bn")(x)
    return keras.Model(pixels, x, name=name)


def _add_block(x, name, channels, expand):
    if expand:
        x = layers.Conv2D(2 * x.shape[-1], 1, use_bias=False, name=f"{name}expand_conv")(x)
        x = layers.BatchNormalization(name=f"{name}expand_bn")(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}dwconv")(x)
    x = layers.BatchNormalization(name=f"{name}bn")(x)
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    mean = layers.Conv2D(2, 1, activation="swish", name=f"{name}se_reduce")(mean)
    x = layers.Multiply()([x, layers.Conv2D(x.shape[-1], 1, activation="sigmoid", name=f"{name}se_expand")(mean)])
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}project_conv")(x)
    return layers.BatchNormalization(name=f"{name}project_bn")(x)


TIMM = {
    "": {"stem_conv": "conv_stem", "stem_bn": "bn1", "top_conv": "conv_head", "top_bn": "bn2"},
    "block1a_": {
        **{"dwconv": "blocks.0.0.conv_dw", "bn": "blocks.0.0.bn1", "se_reduce": "blocks.0.0.se.conv_reduce"},
        **{"se_expand": "blocks.0.0.se.conv_expand", "project_conv": "blocks.0.0.conv_pw"},
        "project_bn": "blocks.0.0.bn2",
    },
    **{
        f"block2{letter}_": {
            **{"expand_conv": f"blocks.1.{index}.conv_pw", "expand_bn": f"blocks.1.{index}.bn1"},
            **{"dwconv": f"blocks.1.{index}.conv_dw", "bn": f"blocks.1.{index}.bn2"},
            **{"se_reduce": f"blocks.1.{index}.se.conv_reduce", "se_expand": f"blocks.1.{index}.se.conv_expand"},
            **{"project_conv": f"blocks.1.{index}.conv_pwl", "project_bn": f"blocks.1.{index}.bn3"},
        }
        for index, letter in enumerate("ab")
    },
}
EFFICIENTNET_PYTORCH = {
    "": {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"},
    **{
        block: {
            **{"expand_conv": f"_blocks.{index}._expand_conv", "expand_bn": f"_blocks.{index}._bn0"},
            **{"dwconv": f"_blocks.{index}._depthwise_conv", "bn": f"_blocks.{index}._bn1"},
            **{"se_reduce": f"_blocks.{index}._se_reduce", "se_expand": f"_blocks.{index}._se_expand"},
            **{"project_conv": f"_blocks.{index}._project_conv", "project_bn": f"_blocks.{index}._bn2"},
        }
        for index, block in enumerate(("block1a_", "block2a_", "block2b_"))
    },
}


def to_pytorch(model, names=TIMM, prefix="") -> dict:
    """The weights of such a network by their names in PyTorch, (out, in, height, width)."""
    tensors = {}
    for block, parts in names.items():
        for layer, part in parts.items():
            if block + layer in {layer.name for layer in model.layers}:
                weights = model.get_layer(block + layer).get_weights()
                kinds = ("weight", "bias", "running_mean", "running_var")
                for kind, array in zip(kinds, weights, strict=False):
                    if array.ndim == 4:
                        array = array.transpose((2, 3, 0, 1) if layer == "dwconv" else (3, 2, 0, 1))
                    tensors[f"{prefix}{part}.{kind}"] = array
    return tensors


def randomize(model, seed=0) -> None:
    """Gives every weight numbers from 0.5 to 1.5."""
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.5, 1.5, weight.shape).astype(np.float32) for weight in model.weights])
