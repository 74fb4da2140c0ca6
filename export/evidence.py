"""Real inputs for comparing graphs with the reference: passes of its models, and tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mulo_sd.engines.bundle.contract import BLOCK, HEAD, TARGET_BRANCHED
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.recorded import RecordedPass, branched_passes, head_passes, recorded_from
from mulo_sd.export.some_passes import some_passes
from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder
from mulo_sd.reference.decode import decode
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Pass
from mulo_sd.reference.transformer import Transformer, TransformerConfig

COMPARED_PASSES, SEED = 40, 20260112


@dataclass(frozen=True)
class Evidence:
    """Real inputs: what a reference decode did, and the tokens of real scenes.

    Attributes:
        models: The float32 reference.
        condition: The prefix decoded.
        passes: The first passes of each model, with logits.
        tokens: Of a real scene, on the grid of each model, Int[h, w].
        neighbours: Int[V, k].
        ta_tok: What makes features of Tar's semantic ids, if the bundle is to hold it.
    """

    models: Models
    condition: Condition
    passes: Sequence[list[Pass]]
    tokens: tuple[Tensor, ...]
    neighbours: Tensor
    ta_tok: TATokDecoder | None = None

    @property
    def fields(self) -> int:
        """How many ids, or numbers, a prefix token is made of."""
        return int(self.condition.cond.shape[1])

    def conditioned(self, specification: GraphSpecification) -> Transformer:
        """Return the transformer of a graph that takes a condition, or the prefix that is made of one.

        Raises:
            ValueError: it is a graph of none.
        """
        if specification.model_number is not None:
            return self.models.transformer(specification.model_number)
        if specification.name == TARGET_BRANCHED:
            return self.models.target
        if self.models.block is None or not specification.name.startswith(BLOCK):
            raise ValueError(f"graph {specification.name}: expected a transformer's")
        return self.models.block

    def config_of(self, specification: GraphSpecification) -> TransformerConfig:
        """Return the configuration of what a graph with a cache is made of."""
        if specification.name == HEAD and self.models.head is not None:
            return self.models.head.config
        return self.conditioned(specification).config

    def recorded(self, specification: GraphSpecification) -> list[RecordedPass]:
        """Return the passes of a graph with a cache that it is held against."""
        if specification.name in (TARGET_BRANCHED, HEAD):
            return self._branched[specification.name]
        if specification.name == BLOCK:
            return self._block
        number = specification.model_number or 0
        return recorded_from(self.models.transformer(number), self.condition, self.passes[number])

    @cached_property
    def _branched(self) -> dict[str, list[RecordedPass]]:
        """The passes of the target and of its head; made together, since a head reads what the target made."""
        generator, head = torch.Generator().manual_seed(SEED), self.models.head
        target, hidden = branched_passes(self.models.target, self.condition, generator)
        passes = {TARGET_BRANCHED: target}
        return passes if head is None else passes | {HEAD: head_passes(head, self.condition, hidden, generator)}

    @cached_property
    def _block(self) -> list[RecordedPass]:
        block, generator = self.models.block, torch.Generator().manual_seed(SEED)
        if block is None:
            raise ValueError("evidence: expected a block drafter for its graph, got none")
        with torch.inference_mode():
            passes = some_passes(block, len(self.passes), self.condition, generator)
            return recorded_from(block, self.condition, passes)


def gather_evidence(models: Models, condition: Condition, tokens: tuple[Tensor, ...], neighbours: Tensor) -> Evidence:
    """Decode one image with the reference, every model in its turn, and keep each one's first passes."""
    numbers = range(len(models.drafters) + 1)
    settings = Settings(drafters=tuple(numbers[1:]), tau=0.3, radius=1)
    trace = decode(models, condition, settings, seed=1, record_logits=True).trace
    passes = [[item for item in trace.passes if item.model == number][:COMPARED_PASSES] for number in numbers]
    return Evidence(models, condition, tuple(passes), tokens, neighbours)
