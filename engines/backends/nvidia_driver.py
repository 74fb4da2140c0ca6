"""What NVIDIA's driver tells of its GPUs, asked by ctypes: no package, no context and no memory on a device.

Wherever there is no driver, or it does not answer, the answer is none: this module raises nothing.
"""

import ctypes
import sys
from typing import NamedTuple

SUCCESS = 0
# Attributes of a device, as cuda.h numbers them.
MAJOR, MINOR = 75, 76
NAME_BYTES, VERSION_BYTES = 256, 96
LIBRARIES = {
    "cuda": "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1",
    "nvml": "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1",
}


class Gpu(NamedTuple):
    """A GPU: what it is called, and its compute capability, such as 8.9."""

    name: str
    compute_capability: str


def _library(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(LIBRARIES[name])
    except OSError:
        return None


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use, in CUDA's order (CUDA_VISIBLE_DEVICES); the first is the default."""
    cuda = _library("cuda")
    if cuda is None:
        return ()
    try:
        return tuple(_gpus_of(cuda))
    except AttributeError:  # a library without these functions
        return ()


def _gpus_of(cuda: ctypes.CDLL) -> list[Gpu]:
    count = ctypes.c_int()
    if cuda.cuInit(0) != SUCCESS or cuda.cuDeviceGetCount(ctypes.byref(count)) != SUCCESS:
        return []
    found: list[Gpu] = []
    for index in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(NAME_BYTES)
        numbers = ctypes.c_int(), ctypes.c_int()
        codes = [cuda.cuDeviceGet(ctypes.byref(device), index), cuda.cuDeviceGetName(name, NAME_BYTES, device)]
        for number, attribute in zip(numbers, (MAJOR, MINOR), strict=True):
            codes.append(cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device))
        if any(code != SUCCESS for code in codes):
            return found
        found.append(Gpu(name.value.decode(errors="replace"), f"{numbers[0].value}.{numbers[1].value}"))
    return found


def driver_version() -> str | None:
    """Return the driver's version, such as 580.159.04; None where it does not tell."""
    nvml = _library("nvml")
    if nvml is None:
        return None
    try:
        if nvml.nvmlInit_v2() != SUCCESS:
            return None
        text = ctypes.create_string_buffer(VERSION_BYTES)
        code = nvml.nvmlSystemGetDriverVersion(text, VERSION_BYTES)
        nvml.nvmlShutdown()
    except AttributeError:
        return None
    return text.value.decode(errors="replace") or None if code == SUCCESS else None
