"""Where training computes, and in which precision."""

import torch

CPU = torch.device("cpu")


def device_named(name: str) -> torch.device:
    """Return a device: "cpu", "cuda", or "auto", which takes a GPU where there is one.

    Raises:
        ValueError: a GPU is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device: expected cpu or auto on this machine, got cuda; torch finds no GPU here")
    return torch.device(name)


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return the context of a training pass: bfloat16 where it is precise enough, float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16)
