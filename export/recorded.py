"""Passes of the reference to hold graphs against: what entered them, and what they gave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mulo_sd.reference.branches import ALL_BITS, Branches
from mulo_sd.reference.cache import Fed, KVCache, feed_branched
from mulo_sd.reference.head import PREFIX_TOKEN, Head
from mulo_sd.reference.models import Condition
from mulo_sd.reference.trace import Pass
from mulo_sd.reference.transformer import Transformer

# Guidance of which two rows are fed.
GUIDED = 2.0
# Ordinary tokens before a tree, and the parents of its nodes, layer by layer: siblings and cousins, and so many that
# their bits take more than half an int64. Rows that are drafted side by side have the bits from the first of rows on.
FIRST_TOKENS = 3
TREE = ((-1,) * 12, tuple(number // 2 for number in range(14)), tuple(12 + number // 2 for number in range(14)))
FIRST_ROW_BIT = 60
NO_POSITIONS = torch.zeros(0, dtype=torch.long)


@dataclass(frozen=True)
class RecordedPass:
    """A pass, B rows of T tokens.

    Attributes:
        positions: Int[T].
        tokens: Int[T]; -1 of the prefix, 0 where a head is fed it.
        embedded: The graph's inputs that are embeddings, Float[B, T, dim] each.
        expected: Its outputs, logits and where the graph gives them hidden states, Float[B, T, width] each.
        branches: Of ordinary tokens that stand on some.
        parents: Of the last tokens, which are nodes of a tree.
        opened: Positions that are decided before the pass (`KVCache.open`).
    """

    positions: Tensor
    tokens: Tensor
    embedded: Mapping[str, Tensor]
    expected: Mapping[str, Tensor]
    branches: Branches | None = None
    parents: Tensor | None = None
    opened: Tensor = field(default_factory=lambda: NO_POSITIONS)


def recorded_from(model: Transformer, condition: Condition, passes: Sequence[Pass]) -> list[RecordedPass]:
    """Return the passes of a trace, whose logits it must hold.

    Raises:
        ValueError: it does not.
    """
    prefix = model.prefix_embeddings(condition.prefixes(model, GUIDED))
    recorded = []
    for item in passes:
        if item.logits is None:
            raise ValueError("evidence: expected passes with their logits, got one without")
        is_prefix = int(item.tokens[0]) < 0
        embedded = (
            prefix[:, item.positions] if is_prefix else torch.zeros(len(prefix), len(item.tokens), prefix.shape[2])
        )
        recorded.append(RecordedPass(item.positions, item.tokens, {"prefix": embedded}, {"logits": item.logits}))
    return recorded


class _Recorder:
    """Makes passes of the target and records them.

    Attributes:
        passes: So far.
        hidden: Float[B, sequence, dim], of what was fed.
    """

    def __init__(self, model: Transformer, condition: Condition) -> None:
        self.model, self.passes = model, list[RecordedPass]()
        self.prefix = model.prefix_embeddings(condition.prefixes(model, GUIDED))
        batch, config = len(self.prefix), model.config
        self.cache = KVCache(config, batch, model.output.weight.dtype)
        self.hidden = torch.zeros(batch, config.sequence_length, config.dim)
        places = condition.places()
        self._feed(places, torch.full_like(places, -1), self.prefix[:, places], self.prefix[:, places])

    def feed(
        self,
        cells: Tensor,
        tokens: Tensor,
        branches: Branches | None = None,
        parents: Tensor | None = None,
        opened: Tensor = NO_POSITIONS,
    ) -> None:
        """Feed image tokens, Int[T] each."""
        embeddings = self.model.token_embeddings(tokens)[None].expand(len(self.prefix), -1, -1)
        prefix = torch.zeros_like(embeddings)
        positions = cells + self.model.config.prefix_length
        self._feed(positions, tokens, embeddings, prefix, branches, parents, opened)

    def _feed(
        self,
        positions: Tensor,
        tokens: Tensor,
        embeddings: Tensor,
        prefix: Tensor,
        branches: Branches | None = None,
        parents: Tensor | None = None,
        opened: Tensor = NO_POSITIONS,
    ) -> None:
        self.cache.open(opened)
        fed = feed_branched(self.model, self.cache, embeddings, positions, branches, parents)
        self.hidden[:, positions] = fed.hidden
        expected = {"logits": fed.logits, "hidden": fed.hidden}
        self.passes.append(RecordedPass(positions, tokens, {"prefix": prefix}, expected, branches, parents, opened))


def _draw(count: int, model: Transformer, generator: torch.Generator) -> Tensor:
    return torch.randint(model.config.vocabulary, (count,), generator=generator)


def _tree(first: int, cells: int) -> list[tuple[Tensor, Tensor]]:
    """Return a tree's layers behind cell `first` - 1 as far as the grid reaches: cells and parents, Int[m] each."""
    layers = [(torch.full((len(parents),), first + depth), torch.tensor(parents)) for depth, parents in enumerate(TREE)]
    return [layer for layer in layers if int(layer[0][0]) < cells]


@torch.inference_mode()
def branched_passes(
    target: Transformer, condition: Condition, generator: torch.Generator
) -> tuple[list[RecordedPass], Tensor]:
    """Feed a target trees, and rows side by side.

    Returns:
        The passes; Float[B, sequence, dim], the hidden states of what was fed last at each position, else 0.
    """
    recorder, width = _Recorder(target, condition), target.config.grid_width
    cells = target.config.grid_height * width
    first = torch.arange(min(FIRST_TOKENS, cells - 1))
    layers = _tree(len(first), cells)
    nodes, parents = (torch.cat(parts) for parts in zip(*layers, strict=True))
    recorder.feed(torch.cat([first, nodes]), _draw(len(first) + len(nodes), target, generator), None, parents)
    recorder.feed(first[-1:], _draw(1, target, generator))  # the nodes have died
    for layer in layers:
        recorder.feed(layer[0], _draw(len(layer[0]), target, generator), None, layer[1])
    rows = torch.arange(min(2 * width, cells))
    own = torch.ones_like(rows) << (FIRST_ROW_BIT + rows // width)
    decided = rows % width == 0
    branches = Branches(own, torch.where(decided, ALL_BITS, own))
    recorder.feed(rows, _draw(len(rows), target, generator), branches)
    last = rows[-1:]
    recorder.feed(last, _draw(1, target, generator), Branches(own[-1:], own[-1:]))
    opened = rows[: len(rows) // 2] + target.config.prefix_length
    recorder.feed(last, _draw(1, target, generator), Branches(own[-1:], own[-1:]), opened=opened)
    recorder.feed(last, _draw(1, target, generator))
    return recorder.passes, recorder.hidden


@torch.inference_mode()
def head_passes(head: Head, condition: Condition, hidden: Tensor, generator: torch.Generator) -> list[RecordedPass]:
    """Feed a head what a target made of a prefix and a few tokens, then a tree layer by layer, then more.

    Args:
        head: In float32.
        condition: Of the target's prefix.
        hidden: As `branched_passes` returns them.
        generator: Of tokens.
    """
    config, passes = head.config, list[RecordedPass]()
    cache, prefix_length = KVCache(config, len(hidden)), config.prefix_length
    cells = config.grid_height * config.grid_width

    def feed(positions: Tensor, tokens: Tensor, features: Tensor, parents: Tensor | None = None) -> Fed:
        spread = positions[None].expand(len(features), -1)
        attend = cache.attend(positions, parents=parents)
        logits, states = head(tokens[None].expand(len(features), -1), features, spread, attend)
        expected = {"logits": logits, "hidden": states}
        passes.append(RecordedPass(positions, tokens, {"features": features}, expected, parents=parents))
        return Fed(logits, states)

    def tokens_at(positions: Tensor) -> Tensor:
        drawn = torch.randint(config.vocabulary, positions.shape, generator=generator)
        return drawn.where(positions >= prefix_length, PREFIX_TOKEN)

    first = torch.cat([condition.places() + 1, torch.arange(1, min(FIRST_TOKENS, cells - 1)) + prefix_length])
    states = feed(first, tokens_at(first), hidden[:, first - 1]).hidden[:, -1:]
    living = torch.zeros(len(hidden), 0, config.dim)
    for layer, parents in _tree(int(first[-1]) + 1 - prefix_length, cells):
        before = torch.cat([living, states], dim=1)  # a parent of -1 is the last
        positions = layer + prefix_length
        fed = feed(positions, tokens_at(positions), before[:, parents], parents)
        living = torch.cat([living, fed.hidden], dim=1)
    last = first[-1:]
    feed(last, tokens_at(last), hidden[:, last - 1])
    return passes
