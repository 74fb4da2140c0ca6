"""Which GPUs and platforms a plan is built for: what the builder is told, and what the manifest says of it."""

import platform
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from mulo_sd.engines.backends.host import Host, platform_name
from mulo_sd.engines.bundle.contract import PLAN_PRODUCTS, PlanBackend
from mulo_sd.engines.bundle.entries import BuiltOn, PlanCompatibility

# TensorRT for RTX builds for GPUs from this on, newer ones than it knows included, unless it is told for which.
DEFAULT_OLDEST = 80
# Its plans run on both systems that it is published for, as its manual says; those of TensorRT where they were built.
RTX_PLATFORMS = ("linux-x86_64", "windows-x86_64")


class PlanError(RuntimeError):
    """A plan that cannot be built; its message says what TensorRT did not accept."""


def _known_targets(trt: ModuleType) -> dict[str, Any]:
    """Return what TensorRT for RTX calls each compute capability that it builds for, such as 8.9, the oldest first."""
    numbers = {int(name[2:]): value for name, value in trt.ComputeCapability.__members__.items() if name[:2] == "SM"}
    return {f"{number // 10}.{number % 10}": numbers[number] for number in sorted(numbers)}


def check_targets(trt: ModuleType, wanted: Sequence[str]) -> None:
    """Check that TensorRT for RTX builds for some compute capabilities.

    Raises:
        PlanError: not for one of them.
    """
    known = _known_targets(trt)
    for target in wanted:
        if target not in known:
            raise PlanError(f"compute capability: expected one of {', '.join(known)}, got {target!r:.40}")


def set_targets(trt: ModuleType, config: Any, wanted: Sequence[str]) -> None:
    """Tell TensorRT for RTX for which compute capabilities to build; none leaves its default.

    Raises:
        PlanError: it does not take one of them.
    """
    check_targets(trt, wanted)
    if wanted:
        config.num_compute_capabilities = len(wanted)
    for index, target in enumerate(wanted):
        # What it does not take it would silently leave out.
        if not config.set_compute_capability(_known_targets(trt)[target], index):
            raise PlanError(f"compute capability: TensorRT for RTX does not take {target}; choose another")


def compatibility_of(
    trt: ModuleType, backend: PlanBackend, config: Any, wanted: Sequence[str], host: Host
) -> PlanCompatibility | None:
    """Describe where a plan runs that was built here.

    Args:
        trt: The package that built it.
        backend: Whose plan it is.
        config: What it was built with.
        wanted: The compute capabilities that it was built for; none for the default.
        host: This machine.

    Returns:
        None where TensorRT found a GPU and the driver does not tell which.
    """
    gpu = host.gpus[0] if host.gpus else None
    built_on = BuiltOn(
        os=f"{platform.system()} {platform.release()}", driver=host.driver, gpu=None if gpu is None else gpu.name
    )
    if backend == "trt-rtx":
        default = [name for name in _known_targets(trt) if int(name.replace(".", "")) >= DEFAULT_OLDEST]
        return PlanCompatibility(
            product=PLAN_PRODUCTS[backend],
            platforms=tuple(dict.fromkeys((*RTX_PLATFORMS, platform_name()))),
            compute_capabilities=tuple(wanted or default),
            or_later=not wanted,
            built_on=built_on,
        )
    if gpu is None:
        return None
    content = {
        "product": PLAN_PRODUCTS[backend],
        "platforms": (platform_name(),),
        "compute_capabilities": (gpu.compute_capability,),
        "hardware_compatibility": config.hardware_compatibility_level.name.lower(),
        "built_on": built_on,
    }
    return PlanCompatibility.model_validate(content)
