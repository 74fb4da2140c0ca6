"""A model of mulo-sd. What it does lies in the package, which the environment of Triton's Python backend has."""

import triton_python_backend_utils

from mulo_sd.engines.triton.model import Model


class TritonPythonModel(Model):
    """What Triton's Python backend calls."""

    utils = triton_python_backend_utils
