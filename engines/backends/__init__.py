"""Backends: what runs a bundle's graphs."""

from mulo_sd.engines.backends.base import Backend, BackendError, KVCache
from mulo_sd.engines.backends.choose import BACKENDS, make_backend

__all__ = ["BACKENDS", "Backend", "BackendError", "KVCache", "make_backend"]
