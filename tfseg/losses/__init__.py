"""Masks and logits -> a loss: what Keras' `compile` takes, over functions that hold the mathematics."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfseg.losses.keras_losses import (
        CrossEntropyLoss,
        DiceLoss,
        FocalLoss,
        JaccardLoss,
        LovaszLoss,
        TverskyLoss,
    )
    from tfseg.losses.segmentation_loss import SegmentationLoss

__all__ = [
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "JaccardLoss",
    "LovaszLoss",
    "SegmentationLoss",
    "TverskyLoss",
]


def __getattr__(name: str):
    """Imports Keras no earlier than a loss is asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "segmentation_loss" if name == "SegmentationLoss" else "keras_losses"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
