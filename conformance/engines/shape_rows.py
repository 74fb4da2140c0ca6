"""What may come of sampling and judging many rows at once, by the reference's distribution in float64."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.engines import margins
from mulo_sd.conformance.engines.margins import Floats, Mask, Uncertain
from mulo_sd.engines.settings import Settings as EngineSettings
from mulo_sd.reference.settings import Settings

# Distributions by turns: DIST-1 with everything left out, with top-p, with temperature and top-k, and greedy.
VARIANTS: tuple[Mapping[str, Any], ...] = (
    {"temperature": 1.0, "top_k": 0, "top_p": 1.0},
    {"temperature": 1.0, "top_k": 0, "top_p": 0.9},
    {"temperature": 0.7, "top_k": 200, "top_p": 1.0},
    {"temperature": 0.0, "top_k": 0, "top_p": 1.0},
)


class Rows(NamedTuple):
    """Rows of p_u as far as float32 knows them, and whether greedy decoding takes their best code alone."""

    known: Uncertain
    greedy: bool

    def of(self, rows: NDArray[np.int64]) -> "Rows":
        """Return some of the rows."""
        known = self.known
        return Rows(Uncertain(*(part[rows] for part in vars(known).values())), self.greedy)

    def tokens(self, noise: Floats) -> Mask:
        """Return which codes may be drawn with noise Float[n, V], Bool[n, V]."""
        return self.known.possible if self.greedy else self.known.tokens(noise)


def rows_of(logits: NDArray[np.float32], settings: EngineSettings, raw: bool = False) -> Rows:
    """Return what is known of p_u of logits Float32[B, n, V], conditional first, of which only rounding is unknown.

    Args:
        logits: Of a pass.
        settings: With one of VARIANTS.
        raw: Without temperature and filters (DIST-2).
    """
    plain = Settings(guidance_scale=settings.guidance_scale, temperature=1.0, top_k=0, top_p=1.0)
    nothing = np.zeros(logits.shape[1])
    if raw or (settings.temperature == 1 and settings.top_k == 0):
        return Rows(margins.uncertain(logits, nothing, _with_top_p(plain, settings.top_p), raw), greedy=False)
    known = margins.uncertain(logits, nothing, plain, raw=True)
    temperature, kept = (1.0, 1) if settings.temperature == 0 else (settings.temperature, settings.top_k)
    warm, error = known.logits / temperature, known.error / temperature
    if not 0 < kept < warm.shape[1]:
        return Rows(Uncertain(warm, error, known.sure, known.possible), greedy=False)
    ranked = -np.partition(-warm, (kept - 1, kept), axis=1)
    sure = warm > ranked[:, [kept]] + 2 * error
    possible = warm >= ranked[:, [kept - 1]] - 2 * error
    return Rows(Uncertain(warm, error, sure & possible, possible), settings.temperature == 0)


def _with_top_p(settings: Settings, top_p: float) -> Settings:
    return Settings(guidance_scale=settings.guidance_scale, temperature=1.0, top_k=0, top_p=top_p)


def hold_samples(rows: Rows, noise: Floats, tokens: NDArray[np.int64], what: str) -> None:
    """Hold sampled tokens, Int[n], against what may be drawn.

    Raises:
        AssertionError: another code was drawn.
    """
    assert tokens.shape == (len(noise),), f"{what}: tokens of shape {tokens.shape}, expected [{len(noise)}]"
    inside = (tokens >= 0) & (tokens < noise.shape[1])
    may_be = rows.tokens(noise)[np.arange(len(noise)), np.where(inside, tokens, 0)] & inside
    if not may_be.all():
        row = int(np.flatnonzero(~may_be)[0])
        best = int((np.where(rows.known.possible[row], rows.known.logits[row], -np.inf) + noise[row]).argmax())
        raise AssertionError(
            f"{what}: {int((~may_be).sum())} tokens are no others' near-ties, the first in row {row}: "
            f"sampled {tokens[row]}, expected {best}"
        )


def hold_log_probs(rows: Rows, log_probs: Floats, what: str) -> None:
    """Hold log p, Float32[n, V], against the codes that may be kept and their probabilities.

    Raises:
        AssertionError: a code is kept or dropped that must not be, or its probability is another.
    """
    known, kept = rows.known, np.isfinite(log_probs)
    assert log_probs.shape == known.logits.shape, f"{what}: log p of shape {log_probs.shape}"
    for wrong, fault in ((known.sure & ~kept, "leaves out"), (kept & ~known.possible, "keeps")):
        assert not wrong.any(), f"{what}: row {np.argwhere(wrong)[0][0]} {fault} code {np.argwhere(wrong)[0][1]}"
    low, high = _greedy_bounds(known) if rows.greedy else margins.rounded(*known.probs())
    probs = np.exp(log_probs.astype(np.float64))
    wrong = ~((low <= probs) & (probs <= high))
    assert not wrong.any(), (
        f"{what}: row {np.argwhere(wrong)[0][0]}, code {np.argwhere(wrong)[0][1]}: p is {probs[wrong][0]:.6g}, "
        f"expected {low[wrong][0]:.6g} to {high[wrong][0]:.6g}"
    )


def _greedy_bounds(known: Uncertain) -> tuple[Floats, Floats]:
    alone = known.possible.sum(axis=1, keepdims=True) == 1
    return np.where(known.possible & alone, 1.0, 0.0), known.possible.astype(np.float64)


def hold_judgements(rows: Rows, near: NDArray[np.int64], pooled: Floats, entropies: Floats, what: str) -> None:
    """Hold pooled probabilities and entropies, Float32[n] each, against their bounds; `near` is Int[n, k].

    Raises:
        AssertionError: one lies outside.
    """
    if rows.greedy:
        low, high = (np.take_along_axis(bound, near, axis=1).sum(axis=1) for bound in _greedy_bounds(rows.known))
        bounds = {"pooled": (low - 1e-6, high + 1e-6), "entropy": (-1e-6 + 0 * low, 1e-6 + 0 * low)}
    else:
        bounds = {"pooled": rows.known.pooled(near), "entropy": rows.known.entropies()}
    for (name, (low, high)), values in zip(bounds.items(), (pooled, entropies), strict=True):
        assert values.shape == (len(near),), f"{what}: {name} of shape {values.shape}, expected [{len(near)}]"
        wrong = ~((low <= values) & (values <= high))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise AssertionError(
                f"{what}: {int(wrong.sum())} rows are off, the first row {row}: {name} {values[row]:.6g}, "
                f"expected {low[row]:.6g} to {high[row]:.6g}"
            )
