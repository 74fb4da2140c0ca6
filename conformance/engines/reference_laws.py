"""A law of sweeps that has the reference decode beside the engine: step by step, until a sample parts them."""

from functools import lru_cache

import torch
from torch import Tensor

from mulo_sd.conformance.engines.engine_case import EngineCase
from mulo_sd.conformance.rules.branches import reach
from mulo_sd.reference.decode import Decoded, decode
from mulo_sd.reference.noise import HEAD
from mulo_sd.reference.parts import Order
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Pass, Sweep


@lru_cache(maxsize=128)
def _reference(case: EngineCase) -> Decoded:
    """Decode a case with the reference, once for all laws."""
    draft = None
    if case.draft is not None:
        draft = torch.tensor(case.draft).reshape(case.grid(case.settings.model_numbers[-1]))
    with torch.inference_mode():
        return decode(case.models, case.condition, case.settings, case.seed, draft)


def width_is_open(settings: Settings) -> bool:
    """Return whether a decode has sweeps whose width is the engine's own choice (SWEEP-6)."""
    mode = settings.decoding
    orders = [mode.coarsest, *([mode.resampling] if mode.drafts else []), *([Order()] if mode.is_exact else [])]
    return settings.sweep_width == "auto" and any(
        settings.named(order.by, "windows" if order.window else "sweeps") == "sweeps"
        and settings.named(order.limit, None) is None
        and not settings.named(order.by_island, False)
        for order in orders
    )


def _same(what: str, ours: Tensor, theirs: Tensor) -> None:
    assert torch.equal(ours, theirs), f"{what}: {ours.tolist()}, the reference's {theirs.tolist()}"


def _same_feeds(number: int, ours: Pass, theirs: Pass) -> None:
    what = f"pass {number}"
    assert ours.model == theirs.model, f"{what}: of model {ours.model}, the reference's of {theirs.model}"
    _same(f"{what} of model {ours.model}: feeds positions", ours.positions, theirs.positions)
    _same(f"{what} of model {ours.model}: feeds tokens", ours.tokens, theirs.tokens)


def _same_sweep(what: str, ours: Sweep, theirs: Sweep) -> bool:
    """Compare what a sweep samples, from which guesses and what it decides; return whether the samples are the same."""
    _same(f"{what}: samples cells", ours.cells, theirs.cells)
    _same(f"{what}: the guesses", ours.guesses, theirs.guesses)
    if not torch.equal(ours.samples, theirs.samples):
        return False
    _same(f"{what}: decides", ours.decided.int(), theirs.decided.int())
    return True


def _same_drafts(what: str, ours: Pass, theirs: Pass) -> bool:
    """Compare which windows and trees a pass judges; return whether what it makes of them is the same.

    Another draft, another verdict or another token is a matter of near-ties, and CONF-2's business.
    """
    counts = (len(ours.speculated), len(ours.trees)), (len(theirs.speculated), len(theirs.trees))
    assert counts[0] == counts[1], f"{what}: windows and trees of drafts {counts[0]}, the reference's {counts[1]}"
    for mine, other in zip(ours.speculated, theirs.speculated, strict=True):
        for name in ("cells", "drafted", "attempts"):
            _same(f"{what}: {name} of drafts", getattr(mine, name).int(), getattr(other, name).int())
        if not all(torch.equal(getattr(mine, name), getattr(other, name)) for name in ("guesses", "kept", "tokens")):
            return False
        _same(f"{what}: decides", mine.decided.int(), other.decided.int())
    for tree, right in zip(ours.trees, theirs.trees, strict=True):
        assert tree.cell == right.cell, f"{what}: a tree of cell {tree.cell}, the reference's of {right.cell}"
        names = ("tokens", "parents", "judged", "kept", "decided")
        if not all(torch.equal(getattr(tree, name), getattr(right, name)) for name in names):
            return False
    return True


def _drafts_otherwise(ours: Pass, theirs: Pass) -> bool:
    """Return whether a head or a block drafter is fed other drafts of its own, which were a near-tie's."""
    return ours.model == theirs.model >= HEAD and not torch.equal(ours.tokens, theirs.tokens)


def _judged_otherwise(case: EngineCase, decoded: Decoded, expected: Decoded, number: int) -> bool:
    """Return whether what was proposed or judged up to a pass differs: then it may feed something else."""
    for cycle, other in zip(decoded.trace.cycles, expected.trace.cycles, strict=False):
        if cycle.verify_pass <= number and not torch.equal(cycle.up_sampled, other.up_sampled):
            return True
        exact = case.settings.decoding.is_exact and cycle.model == 0  # which judges nothing
        if not exact and cycle.verify_pass < number and not torch.equal(cycle.resampled, other.resampled):
            return True
    return False


def _reached(case: EngineCase, decoded: Decoded) -> None:
    """Note what sweeps met."""
    for sweep in (sweep for made in decoded.trace.passes for sweep in made.sweeps):
        right, count = sweep.guesses == sweep.samples, int(sweep.decided.sum())
        reach("a guess comes true", bool((right & sweep.decided).any()))
        reach("a sweep decides some of its cells", 0 < count < len(sweep.decided))
        reach("a sweep decides wrong guesses behind others", bool((sweep.decided & ~right)[:-1].any()))


def sweeps_are_the_references(case: EngineCase, decoded: Decoded) -> None:
    """SWEEP-1 to SWEEP-6, KV-3: sweeps sample, guess, decide and feed what the reference's do, with the same samples.

    Where a sample, a proposal or a verdict differs, the rest is another decode; whether that was a near-tie is the
    business of CONF-2.
    Where the width is the engine's choice, its passes are its own.
    """
    if width_is_open(case.settings):
        return
    expected = _reference(case)
    _reached(case, decoded)
    ours, theirs = decoded.trace.passes, expected.trace.passes
    for number, (mine, right) in enumerate(zip(ours, theirs, strict=False)):
        if _judged_otherwise(case, decoded, expected, number):
            return
        if _drafts_otherwise(mine, right):
            return
        _same_feeds(number, mine, right)
        if not _same_drafts(f"pass {number}", mine, right):
            return
        for sweep in range(max(len(mine.sweeps), len(right.sweeps))):
            counts = len(mine.sweeps), len(right.sweeps)
            assert sweep < min(counts), f"pass {number}: {counts[0]} sweeps, the reference's {counts[1]}"
            if not _same_sweep(f"pass {number}", mine.sweeps[sweep], right.sweeps[sweep]):
                return
        if sorted(mine.sampled) != sorted(right.sampled):
            return
    assert len(ours) == len(theirs), f"{len(ours)} passes, the reference makes {len(theirs)}"
    for index, (cycle, other) in enumerate(zip(decoded.trace.cycles, expected.trace.cycles, strict=True)):
        if not torch.equal(cycle.up_sampled, other.up_sampled):
            return
        exact = case.settings.decoding.is_exact and cycle.model == 0
        for name in ("kept", "resampled", "tokens", *(("pooled_probs", "radii") if exact else ())):
            _same(f"cycle {index}: {name}", getattr(cycle, name), getattr(other, name))
    _same("the image", decoded.tokens, expected.tokens)
