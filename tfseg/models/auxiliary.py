"""The auxiliary head, which learns beside the decoder and is dropped after training: PSPNet (Zhao et al. 2017).

It predicts the classes from the encoder's feature at stride 16 alone, and so gives the encoder a gradient by a short
way. It is the FCN head of mmsegmentation, a 3x3 and a 1x1 convolution, without its dropout.
"""

from collections.abc import Sequence

import keras
from keras import layers

from tfseg.config.tables import AUXILIARY_CHANNELS, AUXILIARY_STRIDE
from tfseg.models.blocks import convolve
from tfseg.models.encoders import STRIDES


def predict_coarsely(features: Sequence, num_classes: int):
    """Adds the head to an encoder.

    Args:
        features: of the encoder, at strides 2, 4, 8, 16 and 32, of padded images.
        num_classes: void included.

    Returns:
        Logits at stride 16: float32 (batch, padded height / 16, padded width / 16, num_classes).
    """
    x = convolve(features[STRIDES.index(AUXILIARY_STRIDE)], AUXILIARY_CHANNELS, name="auxiliary")
    return layers.Conv2D(num_classes, 1, dtype="float32", name="auxiliary_logits")(x)


def drop_head(model: keras.Model) -> keras.Model:
    """Returns the network without the auxiliary head, if it has one; all other layers are the same objects.

    Args:
        model: see `segmenter.build_network`.
    """
    if len(model.outputs) == 1:
        return model
    return keras.Model(model.input, model.outputs[0], name=model.name)
