"""A run -> SavedModel, LiteRT, ONNX, Core ML."""
