"""A backend around another, whose samples and judgements pass through its graphs, where a defect can be planted."""

from collections.abc import Mapping
from typing import Any, ClassVar

from mulo_sd.engines import Backend, WrappedBackend


class UnscoredBackend(WrappedBackend):
    """Another backend in everything but its own scores: whatever is sampled and judged passes through `run`."""

    label: ClassVar[str] = "mutant"
    changed_traits: ClassVar[Mapping[str, Any]] = {"scores": False, "scores_host_logits": False, "pools": False}

    def __init__(self, right: Backend) -> None:
        super().__init__(right)
        self.name = self.label
