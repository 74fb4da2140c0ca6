"""What a head, its trees and a block drafter are fed in a decode, and what becomes of their drafts (METHOD-6)."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mulo_sd.reference import minimal
from mulo_sd.reference.block import block_config, mask_code
from mulo_sd.reference.decode import Decoded, decode
from mulo_sd.reference.head import PREFIX_TOKEN, Head
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.noise import BLOCK, HEAD
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Pass

SETTINGS = replace(minimal.SETTINGS, guidance_scale=1.5)
HEADED: tuple[dict[str, Any], ...] = (
    {"mode": "eagle"},
    {"mode": "eagle-tree"},
    {"mode": "lantern-plus", "accept_by": "lossless"},
)
DRAFTED = (*HEADED, {"mode": "specdec", "accept_by": "lossless"}, {"mode": "specdec", "top_beta": 1, "top_tau": 0.0})


def drawn(models: Models, condition: Condition, seed: int = 3, **chosen: Any) -> Decoded:
    return decode(models, condition, replace(SETTINGS, **chosen), seed, record_logits=True)


def whole_pass(models: Models, condition: Condition, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the hidden states and logits of the target over a whole image, Float[2, P + N - 1, ...]."""
    target = models.target
    prefix = target.prefix_embeddings(condition.prefixes(target, 2.0))
    image = target.token_embeddings(tokens.flatten()[:-1])[None].expand(2, -1, -1)
    embeddings = torch.cat([prefix, image], dim=1)
    positions = torch.arange(embeddings.shape[1])[None].expand(2, -1)
    hidden = target.last_hidden(embeddings, positions)
    return hidden, target.output(hidden)


def passes_of(decoded: Decoded, model: int) -> list[Pass]:
    return [item for item in decoded.trace.passes if item.model == model]


@pytest.mark.parametrize("chosen", DRAFTED)
def test_greedy_drafts_draw_the_greedy_image(chosen: dict[str, Any], models: Models, condition: Condition) -> None:
    """Whatever is drafted: a cache, a mask or a hidden state that is wrong would show in p."""
    greedy = drawn(models, condition, mode="ar", temperature=0.0).tokens
    assert torch.equal(drawn(models, condition, temperature=0.0, **chosen).tokens, greedy)


@pytest.mark.parametrize("chosen", HEADED)
@torch.inference_mode()
def test_head_reads_all_that_is_decided(chosen: dict[str, Any], models: Models, condition: Condition) -> None:
    """Each position once from the target's own hidden states, the prefix's but the first included; then its own."""
    decoded = drawn(models, condition, **chosen)
    hidden, _ = whole_pass(models, condition, decoded.tokens)
    prefix_length, head = models.target.config.prefix_length, models.head
    assert isinstance(head, Head)
    tokens = torch.cat([torch.full((prefix_length,), PREFIX_TOKEN), decoded.tokens.flatten()[:-1]])[1:]
    positions = torch.arange(1, len(tokens) + 1)
    logits, _ = head(tokens.expand(2, -1), hidden[:, :-1], positions.expand(2, -1))
    read: list[int] = []
    for item in passes_of(decoded, HEAD):
        ordinary = len(item.positions) and int(item.positions[0]) == (read[-1] + 1 if read else 1)
        true = ordinary and torch.equal(item.tokens, tokens[item.positions - 1])
        if true and item.logits is not None:
            expected = logits[:, item.positions - 1]
            if torch.allclose(item.logits, expected, atol=2e-5):
                read += item.positions.tolist()
    cells = decoded.tokens.numel()
    assert read == list(range(1, read[-1] + 1))
    assert read[-1] >= prefix_length + cells - 1 - 6  # up to the last pass, which decides what is left


@pytest.mark.parametrize("chosen", HEADED[1:])
@torch.inference_mode()
def test_tree_is_scored_branch_by_branch(chosen: dict[str, Any], models: Models, condition: Condition) -> None:
    """The logits after each node are those of raster order, fed what is decided and its branch alone."""
    decoded, target = drawn(models, condition, **chosen), models.target
    prefix = target.prefix_embeddings(condition.prefixes(target, 2.0))
    looked_at = 0
    for item in passes_of(decoded, 0)[1::7]:
        (found,) = item.trees
        for node in (0, len(found.tokens) // 2, len(found.tokens) - 1):
            branch, place = [], node
            while place >= 0:
                branch.append(int(found.tokens[place]))
                place = int(found.parents[place])
            assert len(branch) == int(found.depths[node]) + 1
            tokens = torch.cat([decoded.tokens.flatten()[: found.cell], torch.tensor(branch[::-1])])
            embeddings = torch.cat([prefix, target.token_embeddings(tokens)[None].expand(2, -1, -1)], dim=1)
            positions = torch.arange(embeddings.shape[1])[None].expand(2, -1)
            expected = target(embeddings, positions)[:, -1]
            assert found.logits is not None
            torch.testing.assert_close(found.logits[:, node + 1], expected, rtol=0, atol=2e-5)
            looked_at += 1
    assert looked_at >= 6


@pytest.mark.parametrize("chosen", HEADED[1:])
def test_trees_are_trees(chosen: dict[str, Any], models: Models, condition: Condition) -> None:
    """Parents before children, one cell before them; siblings distinct; no cell behind the last; the walk a branch."""
    decoded = drawn(models, condition, **chosen)
    depth, nodes = (5, 57) if chosen["mode"] == "lantern-plus" else (SETTINGS.tree_depth, SETTINGS.tree_nodes)
    cells, cell = decoded.tokens.flatten(), 0
    for item in passes_of(decoded, 0):
        for tree in item.trees:
            assert tree.cell == cell
            assert len(tree.tokens) <= nodes
            for node, (parent, own) in enumerate(zip(tree.parents.tolist(), tree.depths.tolist(), strict=True)):
                assert parent < node
                assert own == (0 if parent < 0 else int(tree.depths[parent]) + 1) < min(depth, len(cells) - cell)
            pairs = list(zip(tree.parents.tolist(), tree.tokens.tolist(), strict=True))
            assert len(set(pairs)) == len(pairs)
            branch = tree.judged[tree.kept].tolist()
            assert [int(tree.parents[node]) for node in branch] == [-1, *branch][: len(branch)]
            assert tree.decided.tolist()[: len(branch)] == tree.tokens[branch].tolist()
            assert torch.equal(tree.decided, cells[cell : cell + len(tree.decided)])
            cell += len(tree.decided)
    assert cell == len(cells)


def test_tree_of_one_branch_is_a_chain(models: Models, condition: Condition) -> None:
    decoded = drawn(models, condition, mode="eagle-tree", tree_top=1, tree_depth=3)
    trees = [tree for item in passes_of(decoded, 0) for tree in item.trees]
    assert all(tree.parents.tolist() == list(range(-1, len(tree.tokens) - 1)) for tree in trees)
    assert {len(tree.tokens) for tree in trees[1:-3]} == {3}


@torch.inference_mode()
def test_blocks_are_drafted_in_one_pass(models: Models, condition: Condition) -> None:
    """Each block is what the drafter alone makes of all that is decided before it and of masks."""
    block = 5
    decoded = drawn(models, condition, mode="specdec", block=block)
    model = models.block
    assert model is not None
    assert model.config == block_config(models.target.config)
    mask, prefix_length = mask_code(model.config), model.config.prefix_length
    prefix = model.prefix_embeddings(condition.prefixes(model, SETTINGS.guidance_scale))
    cell, image = 0, decoded.tokens.flatten()
    drafting = passes_of(decoded, BLOCK)[1:]
    scoring = [item for item in passes_of(decoded, 0) if item.speculated]
    for drafted, scored in zip(drafting, scoring, strict=True):
        (found,) = scored.speculated
        count = int(found.drafted.sum())
        assert count == min(block, len(image) - cell)
        tokens = torch.cat([image[:cell], torch.full((count - 1,), mask)])
        embeddings = torch.cat([prefix, model.token_embeddings(tokens)[None].expand(2, -1, -1)], dim=1)
        logits = model(embeddings, torch.arange(embeddings.shape[1])[None].expand(2, -1))
        assert drafted.logits is not None
        rows = drafted.positions >= prefix_length + cell - 1
        expected = logits[:, drafted.positions[rows]]
        torch.testing.assert_close(drafted.logits[:, rows], expected, rtol=0, atol=2e-5)
        cell += int(found.decided.sum())
    assert cell == len(image)


def test_models_without_what_drafts_are_told(models: Models, condition: Condition) -> None:
    bare = Models(models.target, models.drafters, models.tokenizer)
    for mode, told in (("eagle", "head"), ("eagle-tree", "head"), ("lantern-plus", "head"), ("specdec", "block")):
        with pytest.raises(ValueError, match=f"expected models with a {told}"):
            decode(bare, condition, Settings(mode=mode), 0)  # type: ignore[arg-type]  # one of the modes
    other = minimal.load_oblong()
    with pytest.raises(ValueError, match="head: expected rows, columns, prefix and vocabulary 8, 8, 12, 48, got 4, 12"):
        replace(models, head=other.head)
    with pytest.raises(
        ValueError, match="block: expected rows, columns, prefix and vocabulary 8, 8, 12, 49, got 4, 12"
    ):
        replace(models, block=other.block)
