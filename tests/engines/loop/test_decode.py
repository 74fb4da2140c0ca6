"""The engines' loop on untrained models of a few cells: the reference's passes and decisions, whatever the settings.

`TorchBackend` runs the modules that become a bundle's graphs, so that nothing has to be exported.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mulo_sd import engines
from mulo_sd.engines.loop.decode import Decoder
from mulo_sd.reference.decode import Decoded, decode
from mulo_sd.reference.settings import Settings
from tests.engines.loop.toys import CODES, FIELDS, PREFIX, Toy

GRIDS = ((8, 4), (4, 2), (2, 1))
windows = st.one_of(st.none(), st.integers(1, 5))
all_settings = st.builds(
    Settings,
    accept_on=st.sampled_from(["processed", "raw"]),
    mode=st.sampled_from(["ar", "zipar", "serial", "serial", "parallel", "parallel", "exact", "exact"]),
    guidance_scale=st.sampled_from([1.0, 1.5]),
    temperature=st.sampled_from([0.0, 0.7, 1.0, 1.5]),
    top_k=st.sampled_from([0, 0, 1, 5]),
    top_p=st.sampled_from([1.0, 0.8]),
    drafters=st.sampled_from([(1,), (2,), (1, 2)]),
    up_sampler=st.sampled_from(["bicubic", "bilinear", "nearest"]),
    down_sampler=st.sampled_from(["area", "bicubic"]),
    tau=st.sampled_from([0.0, 0.1, 0.3, 2.0]),
    radius=st.integers(0, 3),
    radius_nats=st.sampled_from([0.0, 0.7]),
    anchor=st.sampled_from([0.0, 2.0]),
    neighbours=st.sampled_from([1, 3]),
    draft_rows=st.integers(1, 4),
    look_ahead=st.integers(0, 2),
    refresh=st.booleans(),
    window=windows,
    adaptive_window=st.booleans(),
    draft_window=windows,
    islands=st.booleans(),
    island_window=windows,
    draft_by=st.sampled_from(["windows", "sweeps"]),
    resample_by=st.sampled_from(["windows", "sweeps"]),
    sweep_width=st.sampled_from([None, 1, 2, 3, 5, "auto"]),
    sweeps=windows,
    draft_sweeps=windows,
    first_guess=st.sampled_from(["above", "left", "opening"]),
)


def both(toy: Toy, chosen: Settings, seed: int, draft: torch.Tensor | None = None) -> tuple[Decoded, Any]:
    """Decode with the reference and with the engines."""
    theirs = decode(toy.models, toy.condition, chosen, seed, draft)
    condition = engines.Condition(*toy.condition.prefixes(toy.models.target, 2.0).numpy())
    told: list[tuple[int, int]] = []
    decoder = Decoder(
        *(toy.bundle, toy.backend, condition, engines.Settings(**dataclasses.asdict(chosen)), seed),
        progress=lambda done, total: told.append((done, total)),
    )
    ours = decoder.decode(None if draft is None else draft.numpy())
    assert told[-1] == (32, 32)
    assert told == sorted(told)
    return theirs, ours


def in_lists(sweep: Any) -> dict[str, list[int]]:
    """Return a sweep of either side in plain numbers."""
    return {name: value.tolist() for name, value in vars(sweep).items()}


def assert_equal(theirs: Decoded, ours: Any) -> None:
    """Compare tokens, and everything in the traces."""
    np.testing.assert_array_equal(ours.tokens, theirs.tokens.numpy())
    assert len(ours.trace.passes) == len(theirs.trace.passes)
    for mine, other in zip(ours.trace.passes, theirs.trace.passes, strict=True):
        assert mine.model == other.model
        assert mine.positions.tolist() == other.positions.tolist()
        assert mine.tokens.tolist() == other.tokens.tolist()
        assert mine.sampled == other.sampled
        assert [vars(item) for item in mine.repredicted] == [vars(item) for item in other.repredicted]
        assert [in_lists(sweep) for sweep in mine.sweeps] == [in_lists(sweep) for sweep in other.sweeps]
    assert len(ours.trace.cycles) == len(theirs.trace.cycles)
    for cycle, expected in zip(ours.trace.cycles, theirs.trace.cycles, strict=True):
        for name, value in vars(expected).items():
            if name == "pooled_probs":
                np.testing.assert_allclose(cycle.pooled_probs, value.numpy(), atol=1e-5)
            elif isinstance(value, torch.Tensor):
                np.testing.assert_array_equal(getattr(cycle, name), value.numpy(), err_msg=name)
            else:
                assert getattr(cycle, name) == value, name


@given(all_settings, st.integers(0, 2**64 - 1))
@settings(deadline=None, max_examples=40, derandomize=True)  # float32: a random run may meet a near-tie
def test_equals_the_reference(toy: Toy, chosen: Settings, seed: int) -> None:
    """Every mode, chain and setting: the same grid, passes and decisions."""
    event(f"{chosen.mode}, drafters {chosen.drafters}")
    theirs, ours = both(toy, chosen, seed)
    assert_equal(theirs, ours)


@given(all_settings.filter(lambda chosen: chosen.mode in ("serial", "parallel", "exact")), st.integers(0, 99))
@settings(deadline=None, max_examples=12, derandomize=True)
def test_given_draft(toy: Toy, chosen: Settings, seed: int) -> None:
    """A draft from outside takes the place of the coarsest drafter's, which makes no pass but its prefill."""
    height, width = GRIDS[chosen.drafters[-1]]
    draft = torch.from_numpy(np.random.default_rng(seed).integers(0, CODES, (height, width)))
    theirs, ours = both(toy, chosen, seed, draft)
    assert_equal(theirs, ours)
    assert ours.trace.nfe(chosen.drafters[-1]) == 1


def test_draft_of_another_shape(toy: Toy) -> None:
    """It is refused with both shapes."""
    condition = engines.Condition(*np.zeros((2, PREFIX, FIELDS), dtype=np.int64))
    decoder = Decoder(toy.bundle, toy.backend, condition, engines.Settings(), 0)
    with pytest.raises(ValueError, match=r"draft: expected 4 x 2 tokens, got \(8, 4\)"):
        decoder.decode(np.zeros((8, 4), dtype=np.int64))
