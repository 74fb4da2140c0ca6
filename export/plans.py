"""TensorRT plans from ONNX files: TensorRT for RTX on any machine, full TensorRT where a GPU is."""

import importlib
import importlib.util
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

from mulo_sd.engines.backends.host import Host
from mulo_sd.engines.bundle.contract import PLAN_PACKAGES, SLOTS_DIMENSION, PlanBackend
from mulo_sd.engines.bundle.entries import PlanCompatibility
from mulo_sd.export.plan_targets import PlanError, check_targets, compatibility_of, set_targets
from mulo_sd.export.single_bits import without_bitwise_and


@dataclass(frozen=True)
class Plan:
    """A serialised engine."""

    content: bytes
    build_seconds: float
    version: str
    compatibility: PlanCompatibility | None


def is_installed(backend: PlanBackend) -> bool:
    """Whether the backend's Python package is there."""
    return importlib.util.find_spec(PLAN_PACKAGES[backend]) is not None


def check_can_build(backends: Sequence[PlanBackend], compute_capabilities: Sequence[str]) -> None:
    """Check before a long build that plans can be built for some compute capabilities.

    Raises:
        PlanError: none of the backends takes them, or TensorRT for RTX knows one of them not.
    """
    if not compute_capabilities:
        return
    if "trt-rtx" not in backends or not is_installed("trt-rtx"):
        chosen = ", ".join(backends) or "none"
        raise PlanError(
            f"compute capability: expected plans of backend trt-rtx beside it, and {PLAN_PACKAGES['trt-rtx']} "
            f"installed; got plans of: {chosen}"
        )
    check_targets(importlib.import_module(PLAN_PACKAGES["trt-rtx"]), compute_capabilities)


def _logger(trt: ModuleType) -> tuple[Any, list[str]]:
    errors: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]  # the runtime has no type stubs
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                errors.append(message)

    return Logger(), errors


def _make_attention_decomposable(trt: ModuleType, network: Any) -> None:
    """Let attention layers fall apart into plain ones: there is no fused kernel for float32."""
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if "ATTENTION_INPUT" in str(layer.type):
            layer.__class__ = trt.IAttentionInputLayer
            layer.attention.decomposable = True


def _for_tensorrt(onnx_file: Path, slots: int) -> bytes:
    """Return a graph without operators that TensorRT has not, whose caches have one size: the others are not in place.

    Large weights stay in the files beside it.
    """
    model = onnx.load_model(onnx_file, load_external_data=False)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == SLOTS_DIMENSION:
                dimension.dim_value = slots
    without_bitwise_and(model)
    content: bytes = model.SerializeToString()
    return content


def _profile(
    builder: Any, shapes: Mapping[str, Sequence[int | str]], ranges: Mapping[str, tuple[int, int, int]]
) -> Any:
    profile = builder.create_optimization_profile()
    for name, shape in shapes.items():
        if any(isinstance(size, str) for size in shape):
            choices = [
                tuple(size if isinstance(size, int) else ranges[size][which] for size in shape) for which in range(3)
            ]
            profile.set_shape(name, *choices)
    return profile


def build_plan(
    backend: PlanBackend,
    onnx_file: Path,
    shapes: Mapping[str, Sequence[int | str]],
    profiles: Sequence[Mapping[str, tuple[int, int, int]]],
    decomposable_attention: bool,
    compute_capabilities: Sequence[str] = (),
) -> Plan:
    """Build a plan.

    Args:
        backend: "trt-rtx" builds anywhere; "trt" needs an NVIDIA GPU.
        onnx_file: The graph.
        shapes: Every input's shape, dynamic dimensions by name.
        profiles: Of each, smallest, usual and largest value of every dynamic dimension. A runtime has kernels for
            every profile, and takes the first that holds the shapes.
        decomposable_attention: Needed in float32.
        compute_capabilities: Of the GPUs that "trt-rtx" builds for; none: its default, all from 8.0 on.

    Raises:
        PlanError: the package is missing or refuses the graph.
    """
    if not is_installed(backend):
        raise PlanError(
            f"backend {backend}: expected the package {PLAN_PACKAGES[backend]}, found none; install it first"
        )
    trt = importlib.import_module(PLAN_PACKAGES[backend])
    started = time.perf_counter()
    logger, errors = _logger(trt)
    builder = _builder(trt, backend, logger, errors)
    network = _empty_network(trt, builder)
    parser = trt.OnnxParser(network, logger)
    slots = max((ranges[SLOTS_DIMENSION][-1] for ranges in profiles if SLOTS_DIMENSION in ranges), default=None)
    if slots is not None:
        parsed = parser.parse(_for_tensorrt(onnx_file, slots), str(onnx_file))
        shapes = {
            name: [slots if size == SLOTS_DIMENSION else size for size in shape] for name, shape in shapes.items()
        }
    else:
        parsed = parser.parse_from_file(str(onnx_file))
    if not parsed:
        first = str(parser.get_error(0)) if parser.num_errors else "; ".join(errors[:1])
        raise PlanError(f"{onnx_file.name}: {backend} does not parse it: {first.splitlines()[0]}")
    if decomposable_attention:
        _make_attention_decomposable(trt, network)
    config = builder.create_builder_config()
    for ranges in profiles:
        config.add_optimization_profile(_profile(builder, shapes, ranges))
    if backend == "trt-rtx":
        set_targets(trt, config, compute_capabilities)
    content = builder.build_serialized_network(network, config)
    if content is None:
        reason = errors[-1].splitlines()[0] if errors else "it gives no reason"
        raise PlanError(f"{onnx_file.name}: {backend} does not build it: {reason}")
    seconds = time.perf_counter() - started
    compatibility = compatibility_of(trt, backend, config, compute_capabilities, Host.of_this_machine())
    return Plan(bytes(content), seconds, str(trt.__version__), compatibility)


def _builder(trt: ModuleType, backend: PlanBackend, logger: Any, errors: list[str]) -> Any:
    try:
        builder = trt.Builder(logger)
    except TypeError:  # how the binding says that its factory gave nothing
        builder = None
    if builder is None:
        raise PlanError(f"backend {backend}: its builder does not start here: {'; '.join(errors[:1]) or 'no GPU?'}")
    return builder


def _empty_network(trt: ModuleType, builder: Any) -> Any:
    """Return a network whose tensors have the types of the ONNX file, where TensorRT has to be told so."""
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return builder.create_network(flags)
