"""Untrained models of a few cells, on both sides."""

from typing import NamedTuple

from mulo_sd.engines.bundle import Bundle
from mulo_sd.reference.models import Condition, Models
from tests.fakes.torch_backend import TorchBackend

CODES, PREFIX, FIELDS = 16, 2, 3


class Toy(NamedTuple):
    """The reference's side and the engines' side of one set of models; the bundle holds nothing but their sizes."""

    models: Models
    condition: Condition
    bundle: Bundle
    backend: TorchBackend
