"""Which operators of a .tflite file a LiteRT delegate would take, by its published tables."""
