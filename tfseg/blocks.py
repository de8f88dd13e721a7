"""What encoders and decoders are built of: convolution, batch normalisation, ReLU."""

from keras import layers


def convolve(x, channels: int, name: str, strides: int = 1):
    """A 3x3 convolution with batch normalisation and ReLU."""
    x = layers.Conv2D(
        channels, 3, strides, "same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return normalize_and_rectify(x, name)


def normalize_and_rectify(x, name: str):
    """Batch normalisation and ReLU."""
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)
