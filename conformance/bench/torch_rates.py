"""What PyTorch reaches on this machine: product rates by precision, and a GPU's bandwidth. The one part with torch."""

from collections.abc import Callable
from typing import Any

import torch

from mulo_sd.conformance.bench.floors import MIB, PRODUCTS, Machine, best_seconds

CPU_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Large enough to fill every multiprocessor.
CUDA_SIDE = 8192
CUDA_BUFFERS = (64 * MIB, 1024 * MIB, 4096 * MIB)


# A precision that reaches less than this share of float32's rate has no kernels for this processor, only a loop that
# takes seconds for a product.
WORTHWHILE = 0.1


def cpu_rates(threads: int | None) -> dict[str, float]:
    """Return operations a second by precision; one that this processor has no kernels for is left out.

    Args:
        threads: None leaves PyTorch's own choice.
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    rates: dict[str, float] = {}
    try:
        for precision in ("fp32", "bf16", "fp16", "int8"):
            try:
                # The smallest product first: without kernels the largest would take half a minute.
                for number, (inner, columns) in enumerate(PRODUCTS):
                    rate = _cpu_rate(precision, 1024, inner, columns)
                    if number == 0 and precision != "fp32" and rate < WORTHWHILE * rates["fp32"]:
                        break
                    rates[precision] = max(rate, rates.get(precision, 0.0))
            except RuntimeError:  # no kernel at all
                continue
    finally:
        torch.set_num_threads(before)
    return rates


def _cpu_rate(precision: str, rows: int, inner: int, columns: int) -> float:
    """Return operations a second of a product, [rows, inner] x [inner, columns]."""
    dtype = torch.int8 if precision == "int8" else CPU_DTYPES[precision]
    left, right = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
    multiply: Callable[[], Any] = lambda: left @ right  # noqa: E731
    if precision == "int8":
        multiply = lambda: torch._int_mm(left, right)  # noqa: E731  # PyTorch has no public int8 product
    return 2.0 * rows * inner * columns / best_seconds(multiply, 0.15)


def measure_cuda(device: str) -> Machine:
    """Measure a GPU: copies count the bytes read and those written; products in every precision of its matrix units."""
    cuda = torch.device(device)

    def seconds(call: Callable[[], Any], times: int) -> float:
        def work() -> None:
            for _ in range(times):
                call()
            torch.cuda.synchronize(cuda)

        return best_seconds(work, 0.3) / times

    bandwidths = {}
    for size in CUDA_BUFFERS:
        source = torch.ones(size // 8, dtype=torch.float32, device=cuda)
        target = torch.empty_like(source)
        # Read and written together are the working set.
        bandwidths[size] = size / seconds(lambda a=source, b=target: b.copy_(a), 10)  # type: ignore[misc]
    del source, target
    rates = {}
    tf32 = torch.backends.cuda.matmul.allow_tf32
    for precision, dtype in {**CPU_DTYPES, "tf32": torch.float32}.items():
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        # Zeros draw less power, and so a higher clock, than numbers do.
        left, right = (torch.randn(CUDA_SIDE, CUDA_SIDE, device=cuda).to(dtype) for _ in range(2))
        rates[precision] = 2.0 * CUDA_SIDE**3 / seconds(lambda a=left, b=right: a @ b, 5)  # type: ignore[misc]
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.cuda.empty_cache()
    return Machine(torch.cuda.get_device_name(cuda), 0, bandwidths, rates)
