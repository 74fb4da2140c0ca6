"""A machine on which a bundle is to run, as a plain record: filled by hand, or with what this machine is."""

import importlib.util
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mulo_sd.engines.backends.nvidia_driver import Gpu, driver_version, gpus
from mulo_sd.engines.bundle.contract import PLAN_PACKAGES

SYSTEMS = {"win32": "windows", "darwin": "macos"}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# Packages that backends need, by the name that Python imports, and the distributions that bring them.
DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
    PLAN_PACKAGES["trt-rtx"]: ("tensorrt-rtx",),
    PLAN_PACKAGES["trt"]: ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "cuda.bindings": ("cuda-bindings",),
    "torch": ("torch",),
    "triton": ("triton",),
}
# Packages that come with and without CUDA: what `Host.packages` calls them with it, and the library that tells.
CUDA_LIBRARIES = {"onnxruntime": "onnxruntime for CUDA", "torch": "torch for CUDA"}
LIBRARIES = {
    "onnxruntime": ("capi/libonnxruntime_providers_cuda.so", "capi/onnxruntime_providers_cuda.dll"),
    "torch": ("lib/libtorch_cuda.so", "lib/torch_cuda.dll"),
}


@dataclass(frozen=True)
class Host:
    """A machine.

    Attributes:
        platform: System and processor, such as linux-x86_64.
        packages: Versions of the packages that it has, by the name that Python imports; an empty one is not known. Of
            those that come with and without CUDA, once more by their name in CUDA_LIBRARIES where they have it.
        gpus: The first is the one that draws. None: nobody knows, as of a container that runs elsewhere.
        driver: NVIDIA's; None where there is none or nobody knows.
    """

    platform: str
    packages: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] | None = None
    driver: str | None = None

    @classmethod
    def of_this_machine(cls) -> "Host":
        """Return this machine; no runtime is loaded and no GPU is taken."""
        packages = {name: package_version(name) for name in DISTRIBUTIONS}
        packages |= {called: packages[name] if _has_cuda(name) else None for name, called in CUDA_LIBRARIES.items()}
        there = {name: found for name, found in packages.items() if found is not None}
        return cls(platform_name(), there, gpus(), driver_version())


def platform_name() -> str:
    """Return system and processor, such as linux-x86_64, windows-x86_64 or linux-aarch64."""
    machine = platform.machine().lower()
    return f"{SYSTEMS.get(sys.platform, sys.platform)}-{MACHINES.get(machine, machine)}"


def _has_cuda(name: str) -> bool:
    """Whether an installed package has its library for CUDA; it is looked for and not loaded."""
    spec = _found(name)
    folders = [] if spec is None else spec.submodule_search_locations or []
    return any(Path(folder, library).is_file() for folder in folders for library in LIBRARIES[name])


def _found(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a package that is broken, or was put into place by a program
        return None


def package_version(name: str) -> str | None:
    """Return the version of an installed package, "" where it does not tell, None where it is not installed."""
    if _found(name) is None:
        return None
    for distribution in DISTRIBUTIONS[name]:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return ""
