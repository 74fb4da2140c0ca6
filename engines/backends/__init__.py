"""Backends: what runs a bundle's graphs."""

from mulo_sd.engines.backends.base import (
    Backend,
    BackendError,
    CachePool,
    Draw,
    Fed,
    Judgement,
    KVCache,
    PartedScores,
    Scores,
    Tensors,
    Traits,
)
from mulo_sd.engines.backends.choose import BACKENDS, make_backend
from mulo_sd.engines.backends.wrapped import WrappedBackend

__all__ = [
    "BACKENDS",
    "Backend",
    "BackendError",
    "CachePool",
    "Draw",
    "Fed",
    "Judgement",
    "KVCache",
    "PartedScores",
    "Scores",
    "Tensors",
    "Traits",
    "WrappedBackend",
    "make_backend",
]
