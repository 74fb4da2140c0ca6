"""What the published code answered, and the checkpoints that it answered for."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

MakeWeights = Callable[[Mapping[str, list[int]], int], dict[str, Tensor]]
FOLDER = Path(__file__).parent


def answers(name: str) -> dict[str, Tensor]:
    """Return a fixture's tensors."""
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        return {key: file.get_tensor(key) for key in list(file.keys())}


def arguments(name: str) -> dict[str, Any]:
    """Return the arguments of the published model."""
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        told: dict[str, Any] = json.loads(file.metadata()["args"])
    return told


def weights(name: str, make_weights: MakeWeights) -> dict[str, Tensor]:
    """Return the weights of the published model, by recipe."""
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        told = file.metadata()
    return make_weights(json.loads(told["keys"]), int(told["seed"]))


def save(tensors: Mapping[str, Tensor], path: Path, **beside: object) -> Path:
    """Write a file as it is published, and return its path."""
    torch.save({"model": dict(tensors), **beside}, path)
    return path
