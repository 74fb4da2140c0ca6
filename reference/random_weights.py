"""Random weights for models that nobody has trained."""

import torch
from torch import nn


def fill(module: nn.Module, generator: torch.Generator, sharpness: float) -> None:
    """Draw every weight of a module; a matrix keeps about the scale of its input.

    Args:
        module: Mutated; its rotary tables stay.
        generator: The only source of randomness.
        sharpness: About the standard deviation of the logits.
    """
    for name, parameter in [*module.named_parameters(), *module.named_buffers()]:
        if name in ("cos", "sin"):
            continue
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if name.endswith("norm.weight"):
            noise = 1 + 0.1 * noise
        elif name == "output.weight":
            noise *= sharpness / parameter.shape[1] ** 0.5
        elif name.endswith("bias"):
            noise *= 0.2
        elif name.endswith("weight") and "embed" not in name:
            noise *= 1.4 / parameter[0].numel() ** 0.5
        parameter.data.copy_(noise)
    module.eval().requires_grad_(False)
