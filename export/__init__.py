"""Compiles the models to ONNX and TensorRT engines, as a bundle."""

import mulo_sd  # noqa: F401  (a command finds these packages beside it, whatever its folder holds)
