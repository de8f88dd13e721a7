"""Masks -> scores."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfseg.metrics.mean_iou import MeanIoU

__all__ = ["MeanIoU"]


def __getattr__(name: str):
    """Imports Keras no earlier than a metric is asked for (PEP 562)."""
    if name == "MeanIoU":
        from tfseg.metrics.mean_iou import MeanIoU

        return MeanIoU
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
