"""The interface of a backend: its graphs, passes, caches, pools and scores, and the traits that it declares.

A backend owns the weights, the keys and the values, and keeps the logits of a pass where it computed them. The loop
gives it numpy arrays and noise, and gets tokens and judgements. What a backend implements is `Backend`; `Scores` too
where its logits stay on a device; `CachePool` and `PartedScores` where several decodes share its passes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.modes import MODES
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource

# Arrays of int64 or float32, whatever the precision inside.
Tensors = Mapping[str, NDArray[Any]]
Tokens = NDArray[np.int64]
Floats = NDArray[np.float32]

# What a backend may support: the modes, guidance (two rows at once), more than one drafter, latent samplers.
CAPABILITIES = (*MODES, "guidance", "cascade", "latent")


class BackendError(RuntimeError):
    """A backend that cannot be used here; its message is one line that says why and what to do."""


def one_line(error: object) -> str:
    """Return the first line of an error's text, or its type's name where it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@dataclass(frozen=True)
class Traits:
    """What a backend declares of itself; the defaults are those of a backend that has the abstract methods alone.

    Attributes:
        capabilities: Names from CAPABILITIES; the conformance suite leaves the others out.
        scores: It has `score`: the logits of a pass stay where they are computed.
        scores_host_logits: It has `scores_of`: scores of logits from the host's memory.
        pools: It has `new_pool`: several decodes share passes. Then its scores are `PartedScores`.
        max_shared_tokens: Passes of more tokens gain nothing from being shared. A finite number also says that passes
            compute on the host's processors, where decodes would disturb each other: then they take turns.
        pads_passes: It writes padding behind a pass's tokens, so that slots there must be free.
        branches: It runs `target_branched` and `head`, whose inputs say who sees whom beside ranks and positions, and
            has `feed_with_hidden`; with `scores`, the scores of these graphs have `hidden` instead.
    """

    capabilities: frozenset[str] = frozenset(CAPABILITIES)
    scores: bool = False
    scores_host_logits: bool = False
    pools: bool = False
    max_shared_tokens: float = float("inf")
    pads_passes: bool = False
    branches: bool = False

    def __post_init__(self) -> None:
        """Check what was declared.

        Raises:
            BackendError: a trait is of another type, or two contradict each other.
        """
        names: object = self.capabilities
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise BackendError(f"traits: capabilities: expected a set of names, got {names!r:.80}")
        object.__setattr__(self, "capabilities", frozenset(map(str, names)))
        if unknown := sorted(self.capabilities - set(CAPABILITIES)):
            raise BackendError(
                f"traits: capabilities: expected some of {', '.join(CAPABILITIES)}, got {', '.join(unknown)}"
            )
        tokens: object = self.max_shared_tokens
        if not isinstance(tokens, int | float) or not tokens >= 0:
            raise BackendError(f"traits: max_shared_tokens: expected a number of tokens, got {tokens!r:.80}")
        if self.pools and not self.scores:
            raise BackendError("traits: expected scores beside pools, got scores=False")
        if self.scores_host_logits and not self.scores:
            raise BackendError("traits: expected scores beside scores_host_logits, got scores=False")


class KVCache(Protocol):
    """A handle to the keys and values of one decode with one model; only its backend looks inside."""

    batch: int


class CachePool(Protocol):
    """Keys and values of one model for several decodes, each of which takes rows."""

    def rows(self, first_row: int, count: int) -> KVCache:
        """Return a handle to some of the rows, in the same memory."""

    def clear(self, first_row: int, count: int) -> None:
        """Set some of the rows to zeros: whatever a decode left there is nothing to the next."""


class Draw(NamedTuple):
    """Tokens, Int[n], and the log p that they were drawn from, Float32[n, V]."""

    tokens: Tokens
    log_probs: Floats


class Fed(NamedTuple):
    """What a pass gives of T tokens: logits, Float32[B, T, V], and the hidden states they are made of, [B, T, dim]."""

    logits: Floats
    hidden: Floats


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a model thinks of n draft tokens; each field is an array whose first axis is n.

    An acceptance rule that needs another number adds a field here whose default is None. Backends that do not compute
    it stay as they are; the rule says in one line that a backend has left it out. What joins, checks and forwards
    judgements takes the fields as they are declared.

    Attributes:
        pooled_probs: Float32[n], the probability of each draft token's neighbourhood (POOL-1).
        entropies: Float32[n], of p, in nats (LOCAL-3).
    """

    pooled_probs: Floats
    entropies: Floats


class Scores(ABC):
    """The logits of one pass, Float32[B, T, V], kept where the backend computed them.

    They are valid until their cache has its next pass. A row is the number of a fed token; n rows, ascending, are asked
    at once. Where the logits of a row are not finite, its token is -1, and its probabilities and entropy are NaN: then
    the decode ends with `LogitsError`.
    """

    @abstractmethod
    def logits(self) -> Floats:
        """Return all of them in the host's memory, Float32[B, T, V]."""

    @abstractmethod
    def last(self) -> "Scores":
        """Return those of the last row as scores of one row, which outlive the next pass."""

    @abstractmethod
    def draw(self, rows: Tokens, distribution: Distribution, noise: Floats) -> Draw:
        """Sample one token a row by given noise, Float32[n, V] (RNG-1)."""

    @abstractmethod
    def sample(
        self, rows: Tokens, cells: Tokens, distribution: Distribution, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        """Sample one token a row, Int[n], by its cell's own noise, towards the anchor's draft (RNG-1, ANCHOR-1)."""

    @abstractmethod
    def judge(self, rows: Tokens, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens) -> Judgement:
        """Judge draft tokens, one a row (POOL-1, LOCAL-3).

        Args:
            rows: Int[n].
            distribution: What p is; `Distribution.raw` where temperature and filters are left out (DIST-2).
            draft_tokens: Int[n].
            neighbours: Int[V, k], the codes pooled around each code.
        """

    def hidden(self) -> Floats:
        """Return the hidden states that the logits were made of, in the host's memory, Float32[B, T, dim].

        Only of graphs that give them (`Traits.branches`).
        """
        raise NotImplementedError(f"{type(self).__name__}: hidden: of a graph that gives none, or not written")


class PartedScores(Scores):
    """Scores of a pass that several decodes share."""

    @abstractmethod
    def part(self, first_row: int, batch: int, fed: int) -> "PartedScores":
        """Return those of one decode: `batch` rows of the pass from `first_row` on, of the first `fed` tokens."""

    def sample_together(self, wanted: Sequence["Wanted"], distribution: Distribution) -> list[Tokens]:
        """Sample for several decodes; return the tokens of each, those that its part alone would sample.

        Args:
            wanted: Parts of these scores, all of as many rows, and of anchors all or none, of one strength and codes.
            distribution: Of all of them.
        """
        return [one.part.sample(one.rows, one.cells, distribution, one.noise, one.anchor) for one in wanted]


class Wanted(NamedTuple):
    """What one decode wants sampled of a pass that it shares.

    Attributes:
        part: Its scores, `part(first_row, batch, ...)`.
        first_row: Of the pass.
        batch: Rows of the pass; 2 is guidance.
        rows: Int[n], as `Scores.sample` takes them, like the next three.
        cells: Int[n].
        noise: Of its image.
        anchor: Towards its draft.
    """

    part: PartedScores
    first_row: int
    batch: int
    rows: Tokens
    cells: Tokens
    noise: NoiseSource
    anchor: Anchor | None


class Backend(ABC):
    """Runs the graphs of one bundle. All arrays are numpy, all randomness comes in as noise.

    Methods are called from several threads at once, each decode with a cache of its own. The four abstract ones are
    enough; `traits` declares which of the others there are.

    Attributes:
        name: For messages and reports, one line; every backend has one of its own.
        traits: What it declares of itself.
        device: What it runs on, for reports; None is the host's processor.
        threads: Of a pass on the host's processor; None is the runtime's choice.
        notes: What it does otherwise than it should, one line each.
    """

    name: str = ""
    traits: Traits = Traits()
    device: str | None = None
    threads: int | None = None
    notes: Sequence[str] = ()

    @abstractmethod
    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run a graph that keeps no state and return its outputs by name."""

    @abstractmethod
    def new_cache(self, graph: str, batch: int) -> KVCache:
        """Return empty keys and values for `batch` rows of a transformer's graph."""

    @abstractmethod
    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> Floats:
        """Run one pass of a transformer, writing keys and values into `cache`; return logits, Float32[B, T, V].

        Args:
            graph: The transformer's graph.
            cache: From `new_cache`; mutated.
            inputs: tokens Int[B, T], prefix Float32[B, T, dim], positions Int[B, T], slot_ranks Int[B, C] and
                write_index Int[B], as export.graphs.transformer defines them. Of `target_branched` and `head` also
                branches Int[B, T] and slot_branches Int[B, C] (`Traits.branches`); of `head` features
                Float32[B, T, dim] and no prefix.
        """

    @abstractmethod
    def keep_slots(self, graph: str, cache: KVCache, slots: Tokens) -> None:
        """Compact: move the given slots, ascending, to the front of the cache."""

    def feed_with_hidden(self, graph: str, cache: KVCache, inputs: Tensors) -> Fed:
        """Run one pass as `feed` does, of a graph that also gives hidden states (`Traits.branches`)."""
        if not self.traits.scores:
            raise NotImplementedError(f"backend {self.name}: feed_with_hidden: declared in its traits, but not written")
        scores = self.score(graph, cache, inputs)
        return Fed(scores.logits(), scores.hidden())

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> Scores:
        """Run one pass as `feed` does; return its logits as they lie (`Traits.scores`).

        With `Traits.pools` the cache may be rows of a pool, of several decodes; `write_index` differs by row.
        """
        raise NotImplementedError(f"backend {self.name}: score: declared in its traits, but not written")

    def scores_of(self, logits: Floats) -> Scores:
        """Return scores of logits in the host's memory, Float32[B, T, V] (`Traits.scores_host_logits`).

        With logits of its own making the conformance suite asks what no model's would: ties, sums that reach a limit
        exactly.
        """
        raise NotImplementedError(f"backend {self.name}: scores_of: declared in its traits, but not written")

    def new_pool(self, graph: str, rows: int) -> CachePool:
        """Return an empty pool for a transformer's graph (`Traits.pools`)."""
        raise NotImplementedError(f"backend {self.name}: new_pool: declared in its traits, but not written")

    def gains_by_sharing(self, graph: str) -> bool:
        """Whether several decodes should share passes of a transformer's graph (`Traits.pools`)."""
        return True

    def takes_shared(self, graph: str, rows: int, tokens: int) -> bool:
        """Whether a pass that decodes share may have so many rows of so many tokens (`Traits.pools`)."""
        return True

    def memory(self) -> dict[str, int]:
        """Return bytes by what they hold, keys and values as "caches"; empty where a backend does not count them."""
        return {}
