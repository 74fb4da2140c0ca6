"""Whether weights are numbers, and whether the bundle's precision can hold them."""

import torch
from torch import nn

from mulo_sd.export.arithmetic import graph_path
from mulo_sd.reference.weights import WeightsError, farthest_from_zero


def check_weights(module: nn.Module, dtype: torch.dtype, graph: str) -> None:
    """Check a graph's weights before anything is made of them; no copy is made.

    Args:
        module: In float32.
        dtype: What it is to be cast to.
        graph: Its name, for the message.

    Raises:
        WeightsError: a number is NaN, infinite, or beyond the precision's largest.
    """
    # A number above the largest by less than half a unit in the last place is rounded to it.
    largest = float(torch.finfo(dtype).max)
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if not value.is_floating_point() or not value.numel():
            continue
        worst = farthest_from_zero(value)
        if not bool(torch.isfinite(worst)):
            raise WeightsError(f"graph {graph}: {graph_path(name)}: expected finite numbers, got {float(worst)}")
        if not bool(torch.isfinite(worst.to(dtype))):
            other = "bf16 or fp32" if dtype == torch.float16 else "fp32"
            raise WeightsError(
                f"graph {graph}: {graph_path(name)}: expected numbers up to {largest:.5g}, the largest of "
                f"{str(dtype).removeprefix('torch.')}, got {float(worst):.5g}; build it with --precision {other}"
            )
