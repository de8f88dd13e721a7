"""The network: encoder features -> decoder -> head, for images of any height and width.

The encoder's activations at strides 2, 4, 8, 16 and 32 feed a decoder, of which the head makes logits at full size.
"""

from collections.abc import Sequence
from pathlib import Path

import keras
from keras import layers, ops

from tfseg.config.tables import DECODER_CHANNELS
from tfseg.models import keras_hub
from tfseg.models.auxiliary import predict_coarsely
from tfseg.models.blocks import EnlargeLike
from tfseg.models.decoders import DECODERS
from tfseg.models.encoders import STRIDES, build_encoder, find_application
from tfseg.models.fuse import fuse


def build_network(
    num_classes: int,
    encoder: str = "efficientnetb3",
    weights: str | Path | None = "imagenet",
    decoder: str = "unet",
    decoder_channels: Sequence[int] | None = None,
    batch_norm_momentum: float = 0.99,
    skips: str = "expanded",
    tanh: bool = False,
    cpu: bool = False,
    fused: bool = True,
    auxiliary: bool = False,
    channels: int = 3,
) -> keras.Model:
    """Builds the network.

    Args:
        num_classes: classes, void included.
        encoder: its name, see `encoders.build_encoder`.
        weights: "imagenet", None for random ones, or the path of a file, see there.
        decoder: its name, see `decoders`. "keras_hub": encoder and weights are those of `kerashub.build_segmenter`.
        decoder_channels: its widths, see there; None: its own.
        batch_norm_momentum: of batch normalisation's moving statistics, in encoder and decoder. 0.99 remembers the
            random start for some 500 steps: a shorter run is validated, and exported, with statistics that lag.
        skips: which features of the encoder the decoder sees, "expanded" or "block", see `encoders.find_features`.
        tanh: whether to compute sigmoids by tanh, see `fuse.fuse`.
        cpu: whether to train on TensorFlow's CPU, see there.
        fused: whether layers may be ours; else they are those of Keras.
        auxiliary: whether to add the auxiliary head, for training; `auxiliary.drop_head` gives the network without it.
        channels: of the images; of others than 3, the encoder's first kernel is adapted, see `input_channels`.

    Returns:
        Model from pixels, float (batch, height, width, channels) in 0..255, to logits, float32 (batch, height, width,
        num_classes). Any height and width: padded inside to a multiple of 32, and cut back. With `auxiliary`, to a list
        of these and the auxiliary head's logits, see `auxiliary.predict_coarsely`.

    Raises:
        ValueError, OSError: as of `encoders.build_encoder`.
        ModuleNotFoundError: as of `kerashub.build_segmenter`.
    """
    pixels = keras.Input((None, None, channels), name="pixels")
    if decoder == keras_hub.DECODER:
        if channels != 3:
            raise ValueError(
                f"model.decoder {keras_hub.DECODER}: takes images of 3 channels, and these have {channels}; take "
                f"another decoder, {', '.join(DECODERS)}"
            )
        base, top = keras_hub.build_segmenter(encoder, weights, *(decoder_channels or [None]))
    else:
        base, top = build_encoder(encoder, weights, skips, channels), DECODERS[decoder]
    padded = PadToMultiple(STRIDES[-1], name="pad")(base.normalize(pixels))
    features = base.extract(padded)  # strides 2, 4, 8, 16, 32
    x = top.decode(features, decoder_channels or DECODER_CHANNELS[decoder])  # stride top.STRIDE
    logits = layers.Conv2D(num_classes, 3, padding="same", dtype="float32", name="logits")(x)
    if top.STRIDE > 1:
        logits = EnlargeLike(dtype="float32", name="enlarge")([logits, padded])
    logits = CropLike(dtype="float32", name="crop")([logits, pixels])
    outputs = [logits, predict_coarsely(features, num_classes)] if auxiliary else logits  # last: it draws last
    return fuse(keras.Model(pixels, outputs, name=f"{decoder}_{encoder}"), batch_norm_momentum, tanh, cpu, fused)


def check_names(encoder: str, decoder: str) -> None:
    """Raises ValueError or ModuleNotFoundError, as `build_network` would, unless there is such an encoder."""
    (keras_hub.find_segmenter if decoder == keras_hub.DECODER else find_application)(encoder)


@keras.saving.register_keras_serializable("tfseg")
class PadToMultiple(layers.Layer):
    """Pads (batch, height, width, channels) with zeros, below and right, to a multiple of `multiple`."""

    def __init__(self, multiple: int, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, x):
        # Not -size % multiple: as ONNX divides whole numbers, the rest of a negative one is negative.
        below, right = ((self.multiple - size % self.multiple) % self.multiple for size in ops.shape(x)[1:3])
        return ops.pad(x, [[0, 0], [0, below], [0, right], [0, 0]])

    def compute_output_shape(self, shape):
        batch, *size, channels = shape
        return (batch, *(None if n is None else n + -n % self.multiple for n in size), channels)

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable("tfseg")
class CropLike(layers.Layer):
    """Cuts the first of two tensors, below and right, to the height and width of the second."""

    def call(self, inputs):
        x, like = inputs
        _, height, width, _ = ops.shape(like)
        return x[:, :height, :width]

    def compute_output_shape(self, shapes):
        (batch, _, _, channels), (_, height, width, _) = shapes
        return (batch, height, width, channels)
