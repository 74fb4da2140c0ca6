"""Compiles the models to ONNX and TensorRT engines, as a bundle."""
