"""Whether TensorRT for RTX runs here at all: a product's plan for older GPUs, for all, and for the newest it knows."""

import importlib
from typing import Any

import torch

from mulo_sd.conformance.tools.gpu.report import Asked, Report
from mulo_sd.engines.backends.base import BackendError
from mulo_sd.reference.largest_error import largest_error

# One product, which any plan has kernels for.
PRODUCT = '<ir_version: 10, opset_import: ["" : 21]> g (float16[64, 64] x) => (float16[64, 64] y) { y = MatMul(x, x) }'


def tensorrt(report: Report, asked: Asked) -> None:
    """Build a plan for each, and run it; what TensorRT says where it does not is told word for word."""
    import onnx

    trt: Any = importlib.import_module("tensorrt_rtx")
    from mulo_sd.export.plans import build_plan

    known = [name for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    newest = max(int(name[2:]) for name in known)
    capability = torch.cuda.get_device_capability() if asked.device == "cuda" else None
    report.add(version=trt.__version__, builds_for=known, capability=capability)
    path = report.path.with_name("product.onnx")
    onnx.save(onnx.parser.parse_model(PRODUCT), path)
    for target in ("8.0", "", f"{newest // 10}.{newest % 10}"):
        name = target or "all from 8.0 on"
        with report.step("plan", target=name):
            plan = build_plan("trt-rtx", path, {"x": (64, 64)}, ({},), False, [target] if target else [])
            report.add(target=name, built_bytes=len(plan.content), seconds=round(plan.build_seconds, 2))
            report.add(target=name, ran=True, error=_ran(trt, plan.content, asked.device))


def _ran(trt: Any, plan: bytes, device: str) -> float:
    """Run a plan of the product; return the largest error.

    Raises:
        BackendError: TensorRT's own words, where it does not load or run it.
    """
    words: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc]  # the runtime has no type stubs
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR, trt.ILogger.WARNING):
                words.append(message)

    logger = Logger()
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    context = None if engine is None else engine.create_execution_context()
    if context is None:
        made = "no engine" if engine is None else "no context"
        raise BackendError(f"{made}: {' / '.join(words) or 'TensorRT says nothing'}")
    x = torch.randn(64, 64, device=device, dtype=torch.float16)
    y = torch.empty_like(x)
    context.set_tensor_address("x", x.data_ptr())
    context.set_tensor_address("y", y.data_ptr())
    if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
        raise BackendError(f"not run: {' / '.join(words) or 'TensorRT says nothing'}")
    torch.cuda.synchronize()
    return largest_error(y, x.float() @ x.float(), "product")
