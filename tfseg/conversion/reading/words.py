"""What kinds of ground truth, and ways to read it, are called in tables and messages."""

from tfseg.conversion.reading import readings
from tfseg.io import masks

TITLES = {  # of `samples.FORMS`, but masks and layers
    "coco": "COCO's annotations",
    "labelme": "LabelMe's polygons",
    "yolo": "YOLO's segments",
    "cityscapes_polygons": "Cityscapes' polygons",
    "supervisely": "Supervisely's annotations",
    "label_studio": "Label Studio's annotations",
}
VALUE_READINGS = {  # of the kinds of masks
    masks.GREY: "grey values",
    masks.GREYS: "grey values of a palette",
    masks.COLORS: "indexes of a palette",
    readings.WIDE: "grey values of 16 bits",
    readings.FEW_BITS: "values of 1, 2 or 4 bits, not the greys that they show",
    readings.RGB_GREYS: "grey values of three equal channels",
    **{kind: f"values of the {kind}" for kind in readings.CHANNEL_KINDS.values()},
}
COLOR_READINGS = {
    readings.RGB_COLORS: "colours",
    readings.PALETTE_COLORS: "colours of a palette",
    readings.GREY_COLORS: "greys taken as colours",
}
LABEL_READINGS = {readings.LAYERS: "layers, a mask a class", **TITLES}
