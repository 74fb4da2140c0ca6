"""Heads, trees and blocks on an engine: the reference's tokens, passes and decisions, on a bundle's own graphs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mulo_sd import engines
from mulo_sd.engines.loop.decode import Decoder
from mulo_sd.reference import minimal
from mulo_sd.reference.decode import decode
from mulo_sd.reference.demo.models import condition as condition_of
from mulo_sd.reference.models import Condition
from mulo_sd.reference.trace import Pass

CHOSEN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("with holes", {"mode": "eagle", "draft_length": 7}),
    ("whole", {"mode": "cool-sd", "draft_length": 1, "guidance_scale": 1.0, "temperature": 0.7, "top_k": 9}),
    ("whole", {"mode": "eagle-tree"}),
    ("with holes", {"mode": "lantern", "tree_top": 3, "tree_depth": 9, "tree_nodes": 7, "lantern_neighbours": 5}),
    ("whole", {"mode": "lantern-plus"}),
    ("with holes", {"mode": "lantern-plus", "accept_by": "lossless", "top_k": 3}),
    ("with holes", {"mode": "specdec", "accept_by": "lossless", "block": 1}),
    ("whole", {"mode": "specdec", "accept_by": "top-beta-sampled", "block": 200}),
)
# Of records of what a pass made of drafts.
NUMBERS = ("chances", "draft_log_probs", "logits")


@pytest.fixture(scope="module")
def pipeline(minimal_bundle: Path) -> engines.Pipeline:
    return engines.load(minimal_bundle, backend="ort")


def conditions() -> dict[str, Condition]:
    """A whole prefix; one with holes, whose last token no image token sees."""
    whole = condition_of("a red circle and a blue star")
    shown = torch.ones(len(whole.cond), dtype=torch.bool)
    shown[[0, 1, 5, -1]] = False
    return {"whole": whole, "with holes": replace(whole, shown=shown)}


def assert_same(ours: object, theirs: Pass) -> None:
    """Compare what two passes fed, and what was made of their drafts."""
    assert vars(ours)["model"] == theirs.model
    for name in ("positions", "tokens"):
        assert vars(ours)[name].tolist() == vars(theirs)[name].tolist()
    for kind in ("speculated", "trees"):
        records, expected = vars(ours)[kind], vars(theirs)[kind]
        assert len(records) == len(expected)
        for record, right in zip(records, expected, strict=True):
            assert vars(record).keys() == vars(right).keys()
            for name, value in vars(right).items():
                if name in NUMBERS:
                    assert (value is None) == (vars(record)[name] is None)
                elif isinstance(value, torch.Tensor):
                    assert vars(record)[name].tolist() == value.tolist(), name
                else:
                    assert vars(record)[name] == value
            # A head that goes on from its own features adds to their differences.
            np.testing.assert_allclose(record.chances, right.chances.numpy(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("prefix", "chosen"), CHOSEN)
def test_engine_drafts_as_the_reference(prefix: str, chosen: dict[str, Any], pipeline: engines.Pipeline) -> None:
    condition, told = conditions()[prefix], list[tuple[int, int]]()
    settings = replace(minimal.SETTINGS, **chosen)
    theirs = decode(minimal.load(), condition, settings, seed=11)
    ours = Decoder(
        pipeline.bundle,
        pipeline.backend,
        engines.Condition(
            *(condition.cond.numpy(), None if condition.uncond is None else condition.uncond.numpy()),
            shown=None if condition.shown is None else condition.shown.numpy(),
        ),
        pipeline.settings(**(vars(minimal.SETTINGS) | chosen)),
        11,
        progress=lambda done, total: told.append((done, total)),
    ).decode()
    assert np.array_equal(ours.tokens, theirs.tokens.numpy())
    for own, right in zip(ours.trace.passes, theirs.trace.passes, strict=True):
        assert_same(own, right)
    cells = theirs.tokens.numel()
    assert told[-1] == (cells, cells)
    assert [total for _, total in told] == [cells] * len(told)


def test_only_a_head_has_the_target_keep_hidden_states(pipeline: engines.Pipeline) -> None:
    """Other modes run the target's plain graph."""
    condition = conditions()["whole"]
    for mode, graph in (("ar", "target"), ("specdec", "target"), ("eagle", "target_branched")):
        settings = pipeline.settings(mode=mode)
        assert condition.uncond is not None
        given = engines.Condition(condition.cond.numpy(), condition.uncond.numpy())
        decoder = Decoder(pipeline.bundle, pipeline.backend, given, settings, 1)
        assert decoder.states[0].entry.graph == graph
        assert decoder.states[0].hidden.shape[1] == (0 if graph == "target" else 76)


@pytest.mark.parametrize("mode", ["sjd", "eagle", "specdec"])
def test_a_draft_is_no_part_of_a_partial_image(mode: engines.Mode, pipeline: engines.Pipeline) -> None:
    """METHOD-2: what a pass did not decide is a guess, wherever it came from."""
    decoders: list[Decoder] = []
    shown: list[bool] = []

    def progress(done: int, total: int) -> None:
        state = decoders[0].states[0]
        known = np.flatnonzero((state.grid >= 0) & ~state.guessed)
        shown.append(known.tolist() == list(range(done)))

    pipeline.generate("a red circle", mode=mode, progress=progress, watch=decoders.append)
    assert len(shown) > 2
    assert all(shown)


@pytest.mark.parametrize("mode", ["sjd", "eagle", "eagle-tree", "specdec", "pjd"])
def test_the_share_of_drafts_that_stay(mode: engines.Mode, pipeline: engines.Pipeline) -> None:
    """A draft that is judged again counts again; a whole draft's share is that of its verification."""
    assert 0 < pipeline.generate("a red circle", seed=2, mode=mode).stats.acceptance_rate < 1
    assert pipeline.generate("a red circle", seed=2, mode="ar").stats.acceptance_rate == 1
