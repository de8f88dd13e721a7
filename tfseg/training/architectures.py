"""Networks by name, for Python: U-Net, FPN, LinkNet, PSPNet and DeepLabV3+ on any encoder.

What suits the device, such as fused batch normalisation, is chosen by the device that Keras uses.
"""

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path

import keras

from tfseg.config.checks import check_count
from tfseg.config.tables import DECODER_CHANNELS
from tfseg.device import find_network_options
from tfseg.models import keras_hub
from tfseg.models.segmenter import build_network
from tfseg.training.keras_hooks import find_changed

ARCHITECTURES = tuple(name for name in DECODER_CHANNELS if name != keras_hub.DECODER)
SKIPS = ("expanded", "block")


def create_model(
    architecture: str,
    encoder: str = "efficientnetb3",
    *,
    classes: int | Sequence[str],
    encoder_weights: str | Path | None = "imagenet",
    decoder_channels: Sequence[int] | None = None,
    skips: str = "expanded",
    channels: int = 3,
    batch_norm_momentum: float = 0.99,
    fused: bool | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds a network by the name of its architecture; `Unet`, `FPN`, `Linknet`, `PSPNet` and `DeepLabV3Plus` do too.

    The encoder's features at strides 2, 4, 8, 16 and 32 feed the architecture's decoder, of which a 3x3 convolution
    makes the logits. The network normalises pixels itself, as the encoder's weights want it.

    Args:
        architecture: "unet", "fpn", "linknet", "pspnet" or "deeplabv3plus", in any case.
        encoder: the name of a network of `keras.applications`, in lower case, such as "efficientnetb3", "resnet50" or
            "mobilenetv2"; "efficientnetlite0" to "efficientnetlite4"; or "tiny", five convolutions for tests.
        classes: their number, void included, or their names.
        encoder_weights: "imagenet"; None for random ones; or the path of a file of weights. "imagenet" downloads them
            once; those of efficientnetlite0 to 2 come from an installed package.
        decoder_channels: the decoder's widths; None: the architecture's own.
        skips: of encoders with inverted bottlenecks, which of two features the decoder sees: "expanded", the wide one,
            or "block", the narrow one.
        channels: of the images; of others than 3, the encoder's first kernel is adapted.
        batch_norm_momentum: of the moving statistics of batch normalisation, 0..1. 0.99 remembers the random start for
            some 500 steps: for a shorter training take 0.97 or less.
        fused: whether layers may be tfseg's own, which take less time; else they are those of Keras. None: as far as
            the installed Keras is known.
        name: of the model; None: architecture and encoder.

    Returns:
        Model from pixels, uint8 or float (B, H, W, channels) in 0..255, to logits, float32 (B, H, W, classes).
        Any height and width: padded inside to a multiple of 32, and cut back. `keras.saving.load_model` loads a saved
        one where this function was imported before.

    Raises:
        ValueError: a name that is not known, a number out of its range, or weights that do not fit.
        OSError: the weights cannot be read, or not be downloaded.
        ModuleNotFoundError: the package of the weights is not installed.

    Example:
        >>> import numpy as np
        >>> from tfseg import create_model
        >>> model = create_model("unet", "tiny", classes=["void", "road"], encoder_weights=None)
        >>> model.name
        'unet_tiny'
        >>> tuple(model(np.zeros((1, 40, 50, 3), np.uint8)).shape)
        (1, 40, 50, 2)
    """
    decoder = str(architecture).lower()
    if decoder not in ARCHITECTURES:
        raise ValueError(f"architecture: expected one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
    if skips not in SKIPS:
        raise ValueError(f"skips: expected one of {', '.join(SKIPS)}, got {skips!r}")
    check_widths(decoder, decoder_channels)
    if not isinstance(batch_norm_momentum, Real) or not 0 <= batch_norm_momentum <= 1:
        raise ValueError(f"batch_norm_momentum: expected a number in 0..1, got {batch_norm_momentum!r}")
    model = build_network(
        count_classes(classes),
        str(encoder),
        encoder_weights,
        decoder,
        decoder_channels,
        batch_norm_momentum=batch_norm_momentum,
        skips=skips,
        channels=check_count("channels", channels),
        **find_network_options(not find_changed() if fused is None else fused),
    )
    return model if name is None else keras.Model(model.input, model.output, name=name)


def Unet(
    encoder: str = "efficientnetb3",
    *,
    classes: int | Sequence[str],
    encoder_weights: str | Path | None = "imagenet",
    decoder_channels: Sequence[int] | None = None,
    skips: str = "expanded",
    channels: int = 3,
    batch_norm_momentum: float = 0.99,
    fused: bool | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds a U-Net (Ronneberger et al. 2015): five doublings of size, each joined by the encoder's feature.

    Args:
        encoder: its name, such as "efficientnetb3" or "resnet50".
        classes: their number, void included, or their names.
        encoder_weights: "imagenet", None for random ones, or the path of a file.
        decoder_channels: five widths, from stride 16 to 1; None: (256, 128, 64, 32, 16).
        skips, channels, batch_norm_momentum, fused, name: as of `create_model`.

    Returns:
        Model from pixels, uint8 or float (B, H, W, channels) in 0..255, to logits, float32 (B, H, W, classes).

    Raises:
        ValueError, OSError, ModuleNotFoundError: as of `create_model`.

    Example:
        >>> from tfseg import Unet
        >>> Unet("tiny", classes=4, encoder_weights=None).output.shape
        (None, None, None, 4)
    """
    return create_model("unet", **locals())


def FPN(
    encoder: str = "efficientnetb3",
    *,
    classes: int | Sequence[str],
    encoder_weights: str | Path | None = "imagenet",
    decoder_channels: Sequence[int] | None = None,
    skips: str = "expanded",
    channels: int = 3,
    batch_norm_momentum: float = 0.99,
    fused: bool | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds a feature pyramid network (Lin et al. 2017) with the segmentation branch of Kirillov et al. 2019.

    Args:
        encoder: its name, such as "efficientnetb3" or "resnet50".
        classes: their number, void included, or their names.
        encoder_weights: "imagenet", None for random ones, or the path of a file.
        decoder_channels: of the pyramid's levels, and of the branches; None: (256, 128).
        skips, channels, batch_norm_momentum, fused, name: as of `create_model`.

    Returns:
        Model from pixels, uint8 or float (B, H, W, channels) in 0..255, to logits, float32 (B, H, W, classes).

    Raises:
        ValueError, OSError, ModuleNotFoundError: as of `create_model`.

    Example:
        >>> from tfseg import FPN
        >>> FPN("tiny", classes=4, encoder_weights=None).output.shape
        (None, None, None, 4)
    """
    return create_model("fpn", **locals())


def Linknet(
    encoder: str = "efficientnetb3",
    *,
    classes: int | Sequence[str],
    encoder_weights: str | Path | None = "imagenet",
    decoder_channels: Sequence[int] | None = None,
    skips: str = "expanded",
    channels: int = 3,
    batch_norm_momentum: float = 0.99,
    fused: bool | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds a LinkNet (Chaurasia and Culurciello 2017), whose light decoder adds the encoder's features.

    Args:
        encoder: its name, such as "efficientnetb3" or "resnet50".
        classes: their number, void included, or their names.
        encoder_weights: "imagenet", None for random ones, or the path of a file.
        decoder_channels: one width, of the last block; None: (32,).
        skips, channels, batch_norm_momentum, fused, name: as of `create_model`.

    Returns:
        Model from pixels, uint8 or float (B, H, W, channels) in 0..255, to logits, float32 (B, H, W, classes).

    Raises:
        ValueError, OSError, ModuleNotFoundError: as of `create_model`.

    Example:
        >>> from tfseg import Linknet
        >>> Linknet("tiny", classes=4, encoder_weights=None).output.shape
        (None, None, None, 4)
    """
    return create_model("linknet", **locals())


def PSPNet(
    encoder: str = "efficientnetb3",
    *,
    classes: int | Sequence[str],
    encoder_weights: str | Path | None = "imagenet",
    decoder_channels: Sequence[int] | None = None,
    skips: str = "expanded",
    channels: int = 3,
    batch_norm_momentum: float = 0.99,
    fused: bool | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds a PSPNet (Zhao et al. 2017), on the features at strides 8, 16 and 32 (after Wu et al. 2019).

    Args:
        encoder: its name, such as "efficientnetb3" or "resnet50".
        classes: their number, void included, or their names.
        encoder_weights: "imagenet", None for random ones, or the path of a file.
        decoder_channels: one width, of what is pooled and of the result; None: (512,).
        skips, channels, batch_norm_momentum, fused, name: as of `create_model`.

    Returns:
        Model from pixels, uint8 or float (B, H, W, channels) in 0..255, to logits, float32 (B, H, W, classes).

    Raises:
        ValueError, OSError, ModuleNotFoundError: as of `create_model`.

    Example:
        >>> from tfseg import PSPNet
        >>> PSPNet("tiny", classes=4, encoder_weights=None).output.shape
        (None, None, None, 4)
    """
    return create_model("pspnet", **locals())


def DeepLabV3Plus(
    encoder: str = "efficientnetb3",
    *,
    classes: int | Sequence[str],
    encoder_weights: str | Path | None = "imagenet",
    decoder_channels: Sequence[int] | None = None,
    skips: str = "expanded",
    channels: int = 3,
    batch_norm_momentum: float = 0.99,
    fused: bool | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds a DeepLabV3+ (Chen et al. 2018) with separable convolutions, its atrous ones at stride 32.

    Args:
        encoder: its name, such as "efficientnetb3" or "resnet50".
        classes: their number, void included, or their names.
        encoder_weights: "imagenet", None for random ones, or the path of a file.
        decoder_channels: of the decoder, and of the finer feature in it; None: (256, 48).
        skips, channels, batch_norm_momentum, fused, name: as of `create_model`.

    Returns:
        Model from pixels, uint8 or float (B, H, W, channels) in 0..255, to logits, float32 (B, H, W, classes).

    Raises:
        ValueError, OSError, ModuleNotFoundError: as of `create_model`.

    Example:
        >>> from tfseg import DeepLabV3Plus
        >>> DeepLabV3Plus("tiny", classes=4, encoder_weights=None).output.shape
        (None, None, None, 4)
    """
    return create_model("deeplabv3plus", **locals())


def count_classes(classes: int | Sequence[str]) -> int:
    """Returns how many classes a number or a list of names stands for.

    Raises:
        ValueError: it is neither, or none.
    """
    if isinstance(classes, str | bytes) or not isinstance(classes, Integral | Sequence):
        raise ValueError(f"classes: expected their number, or a list of their names, got {classes!r}")
    return check_count("classes", len(classes) if isinstance(classes, Sequence) else classes)


def check_widths(decoder: str, widths: Sequence[int] | None) -> None:
    """Raises ValueError unless a decoder has as many widths as it takes."""
    wanted = DECODER_CHANNELS[decoder] or ()
    if widths is None:
        return
    if not isinstance(widths, Sequence) or len(widths) != len(wanted):
        raise ValueError(
            f"decoder_channels: expected {len(wanted)} numbers for {decoder}, such as {wanted}, got {widths!r}"
        )
    for width in widths:
        check_count("decoder_channels", width)
