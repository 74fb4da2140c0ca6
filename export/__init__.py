"""Compiles the models to ONNX and TensorRT engines, as a bundle."""

import mulo_sd  # noqa: F401  (Ctrl-C during the imports of a command)
