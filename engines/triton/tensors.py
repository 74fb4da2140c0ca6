"""Tensors from and to Triton's Python backend, by DLPack.

Where the backend was built for numpy 1, its own arrays are silently wrong with numpy 2: every element is the first one.
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What the array interface calls a capsule that has been taken. The backend gives it a name of its own, of which numpy
# complains on standard error, once a tensor, when the capsule goes.
TAKEN = b"used_dltensor"
_set_name = ctypes.pythonapi.PyCapsule_SetName
_set_name.argtypes = [ctypes.py_object, ctypes.c_char_p]


def array_of(tensor: Any) -> NDArray[Any]:
    """Return a copy of an input's numbers."""
    return np.from_dlpack(tensor).copy()


def tensor_of(utils: Any, name: str, numbers: Any) -> Any:
    """Make an output.

    Args:
        utils: The module `triton_python_backend_utils`.
        name: Of the tensor.
        numbers: An array, or bytes; copied.
    """
    array = np.frombuffer(bytearray(numbers), np.uint8) if isinstance(numbers, bytes) else np.array(numbers, order="C")
    capsule = array.__dlpack__()
    tensor = utils.Tensor.from_dlpack(name, capsule)
    _set_name(capsule, TAKEN)
    return tensor
