"""Compare the graphs over a cache with the float32 reference: feed recorded passes, and look at all that they give."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.engines.backends.array_scores import ArrayScores
from mulo_sd.engines.backends.base import Backend, KVCache, Tensors, Traits
from mulo_sd.engines.bundle.contract import HIDDEN, cache_head_dim, updated_cache
from mulo_sd.engines.bundle.manifest import PassesEntry
from mulo_sd.engines.passes.cached import NO_TOKENS, CachedPasses
from mulo_sd.engines.rules.branches import Branches
from mulo_sd.export.comparison import Runner, outputs_of
from mulo_sd.export.evidence import Evidence
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.recorded import RecordedPass
from mulo_sd.reference.largest_error import largest_error
from mulo_sd.reference.transformer import TransformerConfig

OUTPUTS = ("logits", HIDDEN)


class _Caches(KVCache):
    """Keys and values by input name."""

    def __init__(self, batch: int, values: dict[str, Tensor]) -> None:
        self.batch, self.values = batch, values


class _Runs(Backend):
    """One graph in any runtime, as the passes of an engine's decode drive it."""

    name = "comparison"
    traits = Traits(scores=True, branches=True)

    def __init__(self, run: Runner, specification: GraphSpecification, slots: int) -> None:
        self.runner, self.specification, self.slots = run, specification, slots

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Not called: the passes are recorded with what enters them."""
        raise NotImplementedError(graph)

    def new_cache(self, graph: str, batch: int) -> _Caches:
        """Return zeros."""
        example = self.specification.example
        names = [name for name in self.specification.input_names if name not in example]
        _, heads, slots, head_dim = example["caches"][0].shape
        zeros = torch.zeros(batch, heads, slots, head_dim, dtype=example["caches"][0].dtype)
        return _Caches(batch, {name: zeros.clone() for name in names})

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        """Run a pass; return its logits."""
        return self.score(graph, cache, inputs).all

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> ArrayScores:
        """Run a pass, and look at all that it gives."""
        assert isinstance(cache, _Caches)
        tensors = {name: torch.tensor(value) for name, value in inputs.items()}
        outputs = outputs_of(self.runner, self.specification, {**tensors, **cache.values})
        cache.values = {name: outputs[updated_cache(name)] for name in cache.values}
        return ArrayScores(*(outputs[name].numpy() for name in OUTPUTS if name in outputs))

    def keep_slots(self, graph: str, cache: KVCache, slots: NDArray[np.int64]) -> None:
        """Move slots to the front."""
        assert isinstance(cache, _Caches)
        for value in cache.values.values():
            value[:, :, : len(slots)] = value[:, :, torch.from_numpy(slots)]


def _entry(specification: GraphSpecification, config: TransformerConfig) -> PassesEntry:
    return PassesEntry(
        graph=specification.name,
        grid_height=config.grid_height,
        grid_width=config.grid_width,
        vocabulary=config.vocabulary,
        prefix_length=config.prefix_length,
        layers=config.layers,
        heads=config.heads,
        head_dim=cache_head_dim(config.head_dim),
        dim=config.dim,
        slots=specification.example["caches"][0].shape[2],
        weights_sha256="0" * 64,
    )


def pass_error(run: Runner, specification: GraphSpecification, evidence: Evidence) -> float:
    """Feed a graph's recorded passes through it; return the largest difference of a logit or a hidden state.

    Raises:
        ValueError: there are none.
    """
    passes = evidence.recorded(specification)
    if not passes:
        raise ValueError("evidence: expected passes, got none")
    entry = _entry(specification, evidence.config_of(specification))
    session = CachedPasses(_Runs(run, specification, entry.slots), entry, len(passes[0].expected["logits"]))
    return max(_error_of(session, item, number) for number, item in enumerate(passes))


def _error_of(session: CachedPasses, item: RecordedPass, number: int) -> float:
    """Feed one pass; return the largest difference of what it gives."""
    branches, parents = None, NO_TOKENS
    if item.branches is not None:
        branches = Branches(item.branches.queries.numpy(), item.branches.slots.numpy())
    if item.parents is not None:
        parents = item.parents.numpy()
    session.open(item.opened.numpy())
    embedded = {name: value.numpy() for name, value in item.embedded.items()}
    scores = session.run_pass(item.tokens.numpy(), item.positions.numpy(), embedded, branches, parents)
    outputs: Mapping[str, NDArray[np.float32]] = {"logits": scores.logits()}
    if HIDDEN in item.expected:
        outputs = {**outputs, HIDDEN: session.hidden_of(scores)}
    return max(
        largest_error(outputs[name], expected, f"output {name}, pass {number}")
        for name, expected in item.expected.items()
    )
