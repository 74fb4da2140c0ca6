"""CONF-3: where a free-running engine first leaves the reference, and whether a near-tie explains it."""

import numpy as np
from numpy.typing import NDArray

import engines
from conformance.engines import margins
from engines.trace import Trace
from reference.decode import Decoded
from reference.settings import Settings


def _source_logits(decoded: Decoded, number: int, row: int) -> NDArray[np.float32]:
    logits = decoded.trace.passes[number].logits
    if logits is None:
        raise ValueError("trace: expected logits, got a trace made without record_logits")
    row_logits: NDArray[np.float32] = logits[:, row : row + 1].numpy()
    return row_logits


def _explain_samples(
    trace: Trace, decoded: Decoded, number: int, settings: Settings, seed: int, tolerance: float
) -> bool:
    """Whether pass `number` sampled another token; raise if no near-tie explains the first one."""
    ours, theirs = trace.passes[number].sampled, decoded.trace.passes[number].sampled
    for (_, cell, token), (row, expected_cell, expected) in zip(ours, theirs, strict=False):
        assert cell == expected_cell, f"pass {number}: samples cell {cell}, the reference cell {expected_cell}"
        if token != expected:
            model = decoded.trace.passes[number].model
            margin = margins.sampling_margin(_source_logits(decoded, number, row), settings, seed, model, cell)
            allowed = margins.sampling_allowance(tolerance, settings)
            assert margin <= allowed, (
                f"pass {number}, cell {cell}: sampled {token}, the reference {expected} by {margin:.3g}; "
                f"the tolerance excuses {allowed:.3g}"
            )
            return True
    return False


def _explain_cycle(
    pipeline: engines.Pipeline, trace: Trace, decoded: Decoded, index: int, settings: Settings, tolerance: float
) -> bool:
    """Whether cycle `index` decided otherwise; raise if no near-tie explains it."""
    ours, theirs = trace.cycles[index], decoded.trace.cycles[index]
    if not np.array_equal(ours.up_sampled, theirs.up_sampled.numpy()):
        share = float((ours.up_sampled != theirs.up_sampled.numpy()).mean())
        assert share <= pipeline.bundle.manifest.graphs["up_sampler"].tolerance, f"cycle {index}: U_r differs"
        return True
    for pooled, kept, expected in zip(
        theirs.pooled_probs.numpy().ravel(), ours.kept.ravel(), theirs.kept.numpy().ravel(), strict=True
    ):
        if bool(kept) != bool(expected):
            allowed = margins.pooled_allowance(float(pooled), tolerance, settings)
            assert abs(pooled - settings.tau) <= allowed, (
                f"cycle {index}: pooled {pooled:.6g} against tau {settings.tau}; the tolerance excuses {allowed:.3g}"
            )
            return True
    return False


def explain_difference(
    pipeline: engines.Pipeline, trace: Trace, decoded: Decoded, settings: Settings, seed: int, tolerance: float
) -> None:
    """Find the first decision in which two traces differ and hold it to its margin.

    Raises:
        AssertionError: it was no near-tie, or no decision differs where the grids do.
    """
    verified = {cycle.verify_pass: index for index, cycle in enumerate(decoded.trace.cycles)}
    for number in range(min(len(trace.passes), len(decoded.trace.passes))):
        ours, theirs = trace.passes[number], decoded.trace.passes[number]
        if not np.array_equal(ours.tokens, theirs.tokens.numpy()):
            # Only D_r decides tokens outside samples, verification and U_r.
            assert ours.model == theirs.model == 1, f"pass {number}: other tokens are fed, and no decision differed"
            assert len(ours.tokens) == len(theirs.tokens)
            return
        if number in verified and _explain_cycle(pipeline, trace, decoded, verified[number], settings, tolerance):
            return
        if _explain_samples(trace, decoded, number, settings, seed, tolerance):
            return
    raise AssertionError("the token grids differ, but no decision does")
