"""What computes a network, by the file of an export that it runs: TensorFlow, ONNX Runtime, OpenVINO, LiteRT."""
