"""tfseg: high-throughput semantic segmentation on tf.data and TFRecord, from raw Cityscapes to a SavedModel."""

__version__ = "0.1.0"
