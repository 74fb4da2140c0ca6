"""Whole decodes of the preset `minimal`, whose ONNX files stand in for its plans."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.entries import PlanEntry

PROFILES: list[dict[str, int]] = [
    {"batch": 2, "fed": 1, "rows": 1},
    {"batch": 2, "fed": 32, "rows": 8},
    {"batch": 2, "fed": 76, "rows": 64},
    {"batch": 16, "fed": 8, "rows": 64},
    {"batch": 16, "fed": 64, "rows": 64},
]
SETTINGS: dict[str, dict[str, Any]] = {
    "ar": {"mode": "ar", "guidance_scale": 3.0, "top_k": 5},
    "parallel": {"mode": "parallel", "neighbours": 4, "tau": 0.2, "anchor": 2.0, "temperature": 0.8, "top_k": 9},
    "exact": {"mode": "exact", "neighbours": 4, "temperature": 0.7},
    "unguided": {"mode": "parallel", "neighbours": 4, "guidance_scale": 1.0, "adaptive_window": True},
}


class Plain(UnscoredBackend):
    """ONNX Runtime without scores of its own: the bundle's graphs sample and judge, as they do on the device."""

    label = "plain"

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(OnnxRuntimeBackend(bundle, 1))


def with_plans(bundle: Bundle, name: Any, profiles: list[dict[str, int]] = PROFILES) -> Bundle:
    """Return a bundle whose plans are its ONNX files, with profiles for all that has any."""
    graphs = {}
    for graph, entry in bundle.manifest.graphs.items():
        keys = [key for key in entry.dynamic if key in PROFILES[0]]
        ranges = tuple({key: (1, 1, largest[key]) for key in keys} for largest in profiles)
        plan = PlanEntry(backend=name, file=entry.onnx, build_seconds=0, version="0", profiles=ranges)
        graphs[graph] = entry.model_copy(update={"plans": (plan,)})
    return dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"graphs": graphs}))


def grids(backend: Any, bundle: Bundle, given: dict[str, Any]) -> list[NDArray[np.int64]]:
    """Return the tokens of two images."""
    pipeline = engines.Pipeline(bundle, backend)
    return [pipeline.generate("a red circle", seed=seed, **given).tokens for seed in (1, 2)]
