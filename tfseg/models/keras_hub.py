"""KerasHub's segmenters by name, as encoder and decoder: SegFormer (Xie et al. 2021) and DeepLabV3+ (Chen et al. 2018).

KerasHub makes their layers and loads its presets into them; here the layers are connected. Its own SegFormer takes
square images of one size alone, since it finds height and width as the root of the number of places. Its layers have
no size: connected like this they give the same, for images of any height and width.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from tfseg.models.blocks import EnlargeLike
from tfseg.models.encoders import Encoder
from tfseg.models.normalization import IMAGENET_MEAN, IMAGENET_STD

DECODER = "keras_hub"  # the value of model.decoder that stands for those here

# Blocks and channels of the encoder's four stages, and channels of the decoder (Xie et al. 2021, table 6).
SEGFORMERS = {
    "segformer_b0": ((2, 2, 2, 2), (32, 64, 160, 256), 256),
    "segformer_b1": ((2, 2, 2, 2), (64, 128, 320, 512), 256),
    "segformer_b2": ((3, 4, 6, 3), (64, 128, 320, 512), 768),
    "segformer_b3": ((3, 4, 18, 3), (64, 128, 320, 512), 768),
    "segformer_b4": ((3, 8, 27, 3), (64, 128, 320, 512), 768),
    "segformer_b5": ((3, 6, 40, 3), (64, 128, 320, 512), 768),
}
# Blocks of the four stages of a ResNet with bottlenecks (He et al. 2016), and channels of the finer feature.
DEEPLABS = {"deeplab_v3_plus_resnet50": ((3, 4, 6, 3), 48)}


class Decoder(NamedTuple):
    """The decoder of one segmenter, to be used as one of `decoders`."""

    decode: Callable
    STRIDE: int = 4


def build_segmenter(name: str, weights: str | Path | None, channels: int | None) -> tuple[Encoder, Decoder]:
    """Builds encoder and decoder of a segmenter.

    Args:
        name: see `find_segmenter`.
        weights: None for random ones, or a preset of KerasHub: its name, its address, or the path of its folder.
        channels: of the decoder, see `SEGFORMERS` and `DEEPLABS`; None: its own.

    Raises:
        ValueError: there is no such segmenter or preset, or the preset is of another network.
        OSError: the preset cannot be read or, offline, not be downloaded.
        ModuleNotFoundError: KerasHub is not installed; its `name` is keras_hub.
    """
    find_segmenter(name)
    backbone = (make_segformer if name in SEGFORMERS else make_deeplab)(name, channels)
    scale, offset = 1 / (255 * np.array(IMAGENET_STD)), -np.array(IMAGENET_MEAN) / IMAGENET_STD
    if weights is not None:
        scale, offset = load_preset(backbone, name, str(weights))
    normalize = ScaleChannels(name="normalize", dtype="float32")  # see `encoders`
    normalize.build((None, None, None, 3))
    normalize.set_weights([scale, offset])
    if name in SEGFORMERS:
        network, decode = connect_transformer(backbone.image_encoder, name), decode_segformer
    else:
        features = [backbone.image_encoder.pyramid_outputs[f"P{level}"] for level in (2, 3, 4, 5)]
        network, decode = keras.Model(backbone.image_encoder.input, features, name=name), decode_deeplab
    decoder = Decoder(lambda features, _: decode(backbone, features))
    return Encoder(normalize, network), decoder


def find_segmenter(name: str) -> None:
    """Raises ValueError unless there is such a segmenter, and ModuleNotFoundError unless there is KerasHub."""
    if name not in {**SEGFORMERS, **DEEPLABS}:
        known = ", ".join([*SEGFORMERS, *DEEPLABS])
        raise ValueError(f"model.encoder: expected {known} with model.decoder {DECODER}, got {name!r}")
    import_keras_hub()


def import_keras_hub() -> ModuleType:
    """Imports KerasHub, which only those need who ask for its networks.

    Raises:
        ModuleNotFoundError: it is not installed, or not all that it needs; its `name` is keras_hub.
    """
    try:
        import keras_hub
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(str(error), name="keras_hub") from error
    return keras_hub


def make_segformer(name: str, channels: int | None) -> keras.Model:
    """Makes KerasHub's SegFormer without its head."""
    models = import_keras_hub().models
    blocks, widths, own_channels = SEGFORMERS[name]
    encoder = models.MiTBackbone(
        num_layers=4,
        layerwise_depths=blocks,
        hidden_dims=widths,
        layerwise_num_heads=(1, 2, 5, 8),
        layerwise_sr_ratios=(8, 4, 2, 1),
        layerwise_patch_sizes=(7, 3, 3, 3),
        layerwise_strides=(4, 2, 2, 2),
        max_drop_path_rate=0.1,
        image_shape=(64, 64, 3),  # it must have one
    )
    return models.SegFormerBackbone(encoder, projection_filters=channels or own_channels)


def make_deeplab(name: str, channels: int | None) -> keras.Model:
    """Makes KerasHub's DeepLabV3+ without its head."""
    models = import_keras_hub().models
    blocks, own_channels = DEEPLABS[name]
    encoder = models.ResNetBackbone(
        input_conv_filters=(64,),
        input_conv_kernel_sizes=(7,),
        stackwise_num_filters=(64, 128, 256, 512),
        stackwise_num_blocks=blocks,
        stackwise_num_strides=(1, 2, 2, 2),
        block_type="bottleneck_block",
    )
    return models.DeepLabV3Backbone(
        encoder,
        spatial_pyramid_pooling_key="P5",
        low_level_feature_key="P2",
        upsampling_size=8,
        dilation_rates=(6, 12, 18),
        projection_filters=channels or own_channels,
    )


def load_preset(backbone: keras.Model, name: str, preset: str) -> tuple[np.ndarray, np.ndarray]:
    """Gives a segmenter the weights of a preset.

    Returns:
        scale, offset: float (3,), what the preset wants done to pixels of 0..255.

    Raises:
        ValueError, OSError: as of `build_segmenter`.
    """
    keras_hub = import_keras_hub()
    known = sorted(key for key in keras_hub.models.ImageSegmenter.presets if key.startswith(f"{name}_"))
    if preset not in known and "://" not in preset and not Path(preset).is_dir():
        raise ValueError(
            f"model.weights: {name} has no preset {preset!r}; expected null, {', '.join(known)}, or a preset's folder"
        )
    try:
        source = type(backbone).from_preset(preset)
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # of many kinds: KerasHub's own, and those of what it downloads and reads with
        raise OSError(
            f"model.weights: could not load the preset {preset} of KerasHub ({' '.join(str(error).split())}); connect "
            "to the internet once, name the folder of a preset, or set model.weights to null"
        ) from error
    try:
        backbone.set_weights(source.get_weights())
    except ValueError as error:
        raise ValueError(
            f"model.weights: the preset {preset} is not of {name} with model.decoder_channels "
            f"[{backbone.projection_filters}], but with [{source.projection_filters}], or of another network"
        ) from error
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    return np.broadcast_to(scale, 3), np.broadcast_to(offset, 3)


def connect_transformer(encoder: keras.Model, name: str) -> keras.Model:
    """Connects the layers of a mix transformer for images of any size: pixels -> features at strides 4, 8, 16, 32."""
    norms = [layer for layer in encoder.layers if isinstance(layer, layers.LayerNormalization)]
    features = []
    x = start = keras.Input((None, None, 3))
    for stage, (blocks, norm) in enumerate(zip(encoder.layerwise_depths, norms, strict=True)):
        embedding = encoder.get_layer(f"patch_and_embed_{stage}")
        x = embedding.norm(embedding.proj(embedding.padding(x)))
        for index in range(blocks):
            block = encoder.get_layer(f"hierarchical_encoder_{stage}_{index}")
            x = layers.Add()([x, block.drop_path(attend(block.attn, block.norm1(x)))])
            x = layers.Add()([x, block.drop_path(mix(block.mlp, block.norm2(x)))])
        x = norm(x)
        features.append(x)
    return keras.Model(start, features, name=name)


def attend(attention, x):
    """Each place looks at all others, of which there are fewer by the square of `attention.sr_ratio`."""
    reduced = attention.norm(attention.sr(x)) if attention.sr_ratio > 1 else x
    weights = AttentionWeights(attention.num_heads)([attention.q(x), attention.k(reduced)])
    values = WeighValues()([attention.dropout(weights), attention.v(reduced), x])
    return attention.proj_drop(attention.proj(values))


def mix(mlp, x):
    """The feed-forward network of a block, which knows places by its convolution."""
    return mlp.fc2(ops.gelu(mlp.dwconv(mlp.fc1(x))))


def decode_segformer(segformer: keras.Model, features: list):
    """Features of stride 4 and more -> one of stride 4."""
    _, finest, *coarser = features
    first, *others = segformer.mlp_blocks
    enlarged = [EnlargeLike()([other(x), finest]) for other, x in zip(others, coarser, strict=True)]
    x = layers.Concatenate()([*enlarged[::-1], first(finest)])
    return layers.Dropout(0.1)(apply(segformer.linear_fuse.layers, x))


def decode_deeplab(deeplab: keras.Model, features: list):
    """Features of stride 4 and more -> one of stride 4."""
    _, finest, *_, coarsest = features
    pyramid = next(layer for layer in deeplab.layers if hasattr(layer, "aspp_parallel_channels"))
    *looks, whole = (apply(branch.layers, coarsest) for branch in pyramid.aspp_parallel_channels)
    x = layers.Concatenate()([*looks, EnlargeLike()([whole, coarsest])])
    x = apply(pyramid.projection.layers, x)
    finer = apply([deeplab.get_layer(f"decoder_{part}") for part in ("conv", "norm", "relu")], finest)
    x = layers.Concatenate()([EnlargeLike()([x, finer]), finer])
    return apply([deeplab.get_layer(f"segmentation_head_{part}") for part in ("conv", "norm", "relu")], x)


def apply(chain: list, x):
    """Passes a tensor through layers, one after the other."""
    for layer in chain:
        x = layer(x)
    return x


@keras.saving.register_keras_serializable("tfseg")
class ScaleChannels(layers.Layer):
    """Scales and shifts each channel, by numbers that are kept among the weights, since those of presets differ."""

    def build(self, shape):
        self.scale, self.offset = (
            self.add_weight(name=name, shape=(shape[-1],), trainable=False) for name in ("scale", "offset")
        )

    def call(self, x):
        return x * self.scale + self.offset


@keras.saving.register_keras_serializable("tfseg")
class AttentionWeights(layers.Layer):
    """How much each place of one image looks at each of another: (batch, heads, places, places), in sum 1."""

    def __init__(self, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def call(self, inputs):
        queries, keys = (split_heads(x, self.heads) for x in inputs)
        products = ops.matmul(queries, ops.transpose(keys, (0, 1, 3, 2)))
        return ops.softmax(products * queries.shape[-1] ** -0.5)

    def compute_output_shape(self, shapes):
        return (shapes[0][0], self.heads, *map(count_places, shapes))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable("tfseg")
class WeighValues(layers.Layer):
    """Sums what places hold, by the weights of their attention; the third input gives height and width."""

    def call(self, inputs):
        weights, values, like = inputs
        x = ops.matmul(weights, split_heads(values, weights.shape[1]))
        return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), ops.shape(like))

    def compute_output_shape(self, shapes):
        return shapes[2]


def split_heads(x, heads: int):
    """(batch, height, width, channels) -> (batch, heads, places, channels of each)."""
    _, height, width, channels = ops.shape(x)
    return ops.transpose(ops.reshape(x, (-1, height * width, heads, channels // heads)), (0, 2, 1, 3))


def count_places(shape: tuple) -> int | None:
    return None if None in shape[1:3] else shape[1] * shape[2]
