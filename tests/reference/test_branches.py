"""The cache of the reference: siblings of a tree, and rows side by side, see what a decode of their own would show."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mulo_sd.reference.branches import ALL_BITS, Branches
from mulo_sd.reference.cache import Fed, KVCache, feed, feed_branched
from mulo_sd.reference.models import Models
from mulo_sd.reference.parts import MAX_NODES
from mulo_sd.reference.transformer import Transformer

ATOL = 1e-12
PREFIX = 2


@pytest.fixture(scope="module")
def model(toy_models: Models) -> Transformer:
    """A toy in float64, with hidden states that differ from token to token."""
    config = replace(toy_models.target.config)
    double = Transformer(config).double().eval()
    double.load_state_dict(toy_models.target.state_dict())
    return double


class Decode:
    """A cache of one row with a prefix in it."""

    def __init__(self, model: Transformer) -> None:
        self.model, self.cache = model, KVCache(model.config, 1, torch.float64)
        prefix = model.prefix_embeddings(torch.ones(1, PREFIX, 3, dtype=torch.long))
        feed(model, self.cache, prefix, torch.arange(PREFIX))

    @torch.inference_mode()
    def feed(
        self,
        cells: Sequence[int],
        tokens: Sequence[int],
        parents: Sequence[int] | None = None,
        branches: Branches | None = None,
    ) -> Fed:
        """Feed tokens at cells, the last of them nodes with these parents."""
        embeddings = self.model.token_embeddings(torch.tensor([tokens]))
        nodes = None if parents is None else torch.tensor(parents)
        return feed_branched(self.model, self.cache, embeddings, torch.tensor(cells) + PREFIX, branches, nodes)


def same(fed: Fed, rows: Sequence[int], expected: Fed, expected_rows: Sequence[int]) -> bool:
    """Whether logits and hidden states of some rows agree."""
    pairs = zip(fed, expected, strict=True)
    return all(torch.allclose(ours[:, rows], theirs[:, expected_rows], atol=ATOL) for ours, theirs in pairs)


def chain(model: Transformer, tokens: Sequence[int]) -> Fed:
    """Feed tokens one after another from cell 0 on."""
    return Decode(model).feed(range(len(tokens)), tokens)


# Root 5; children 1 and 2 of it; 3 and 4 under 1, 6 under 2.
CELLS, TOKENS, PARENTS = [0, 1, 1, 2, 2, 2], [5, 1, 2, 3, 4, 6], [-1, -1, 0, 0, 1]


def test_a_tree_in_one_pass(model: Transformer) -> None:
    """Every path is what a decode of its tokens alone gives."""
    fed = Decode(model).feed(CELLS, TOKENS, PARENTS)
    for path in ([0, 1, 3], [0, 1, 4], [0, 2, 5]):
        assert same(fed, path, chain(model, [TOKENS[row] for row in path]), [0, 1, 2])


def test_a_tree_layer_by_layer(model: Transformer) -> None:
    """The same, where nodes live from pass to pass; and what follows the tree does not see it."""
    decode = Decode(model)
    decode.feed([0], [5])
    decode.feed([1, 1], [1, 2], [-1, -1])
    layer = decode.feed([2, 2, 2], [3, 4, 6], [0, 0, 1])
    assert same(layer, [2], chain(model, [5, 2, 6]), [2])
    assert same(layer, [1], chain(model, [5, 1, 4]), [2])
    after = decode.feed([1, 2], [2, 7])
    assert same(after, [0, 1], chain(model, [5, 2, 7]), [1, 2])
    again = decode.feed([3], [3], [-1])
    assert same(again, [0], chain(model, [5, 2, 7, 3]), [3])


def test_ordinary_tokens_see_no_nodes(model: Transformer) -> None:
    """Not even one that stands behind them, fed in the same pass."""
    decode = Decode(model)
    fed = decode.feed([0, 1, 4, 2, 3], [5, 1, 8, 9, 9], [-1, 0])
    plain = Decode(model).feed([0, 1, 4], [5, 1, 8])
    assert same(fed, [0, 1, 2], plain, [0, 1, 2])


def bits(*numbers: int) -> Tensor:
    """Return sets of bits."""
    return torch.tensor(numbers)


def test_rows_side_by_side(model: Transformer) -> None:
    """A row's draft is seen by its own row alone, until it is decided; what is decided is seen by all."""
    branches = Branches(bits(1, 1, 2, 2), bits(ALL_BITS, 1, ALL_BITS, 2))
    decode = Decode(model)
    fed = decode.feed([0, 1, 4, 5], [5, 1, 8, 9], branches=branches)
    assert same(fed, [0, 1], Decode(model).feed([0, 1], [5, 1]), [0, 1])
    assert same(fed, [2, 3], Decode(model).feed([0, 4, 5], [5, 8, 9]), [1, 2])
    below = Branches(bits(2), bits(2))
    assert same(decode.feed([5], [9], branches=below), [0], Decode(model).feed([0, 4, 5], [5, 8, 9]), [2])
    decode.cache.open(torch.tensor([1 + PREFIX]))
    seen = decode.feed([5], [9], branches=below)
    assert not same(seen, [0], fed, [3])
    everything = decode.feed([5], [9])
    assert same(everything, [0], seen, [0]), "nothing of other rows is left"


def test_what_is_refused(model: Transformer) -> None:
    with pytest.raises(ValueError, match=r"^tree: expected the parent of node 1 in -1\.\.0, got 1$"):
        Decode(model).feed([0, 1, 1], [1, 1, 1], [-1, 1])
    many = MAX_NODES + 1
    with pytest.raises(ValueError, match=f"^tree: expected at most {MAX_NODES} nodes, got {many}$"):
        Decode(model).feed([0] + many * [1], (many + 1) * [1], many * [-1])
