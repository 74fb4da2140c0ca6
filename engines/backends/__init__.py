"""Backends: what runs a bundle's graphs."""

from engines.backends.base import Backend, BackendError, KVCache
from engines.backends.choose import BACKENDS, make_backend

__all__ = ["BACKENDS", "Backend", "BackendError", "KVCache", "make_backend"]
