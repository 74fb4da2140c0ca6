"""The margins: whatever an error within their bound makes of a decision, they say that it may come out so."""

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from mulo_sd.conformance.engines import margins
from mulo_sd.reference.largest_error import NotFiniteError
from mulo_sd.reference.settings import Settings

CODES = 12


@given(
    seed=st.integers(0, 2**32 - 1),
    error=st.sampled_from([0.0, 0.01, 0.1, 0.5]),
    top_p=st.sampled_from([0.3, 0.8, 0.95, 1.0]),
    temperature=st.sampled_from([0.5, 1.0]),
    scale=st.sampled_from([1.0, 1.2, 3.0]),
)
def test_bounds_hold(seed: int, error: float, top_p: float, temperature: float, scale: float) -> None:
    """Kept codes, drawn tokens, probabilities, sums, entropies and repredictions of perturbed logits."""
    rng = np.random.default_rng(seed)
    settings = Settings(guidance_scale=scale, temperature=temperature, top_p=top_p)
    exact = rng.normal(0, 1.5, (2, 4, CODES)).astype(np.float32)
    rows = margins.uncertain(exact, np.full(4, error), settings)
    off = exact + rng.uniform(-error, error, exact.shape).astype(np.float32)
    bounds = margins.uncertain(off, np.zeros(4), settings)  # all but known
    # Between what is certain of the perturbed logits and what is possible with the exact ones.
    assert not (bounds.sure & ~rows.possible).any()
    assert not (rows.sure & ~bounds.possible).any()
    noise = rng.gumbel(size=(4, CODES))
    drawn = np.where(bounds.sure, bounds.logits + noise, -np.inf).argmax(axis=1)
    event("a near-tie" if (rows.tokens(noise).sum(axis=1) > 1).any() else "all decided")
    if (bounds.sure == bounds.possible).all():
        assert rows.tokens(noise)[np.arange(4), drawn].all()
        weights = np.exp(bounds.logits) * bounds.sure
        probs = weights / weights.sum(axis=1, keepdims=True)
        low, high = margins.rounded(*rows.probs())
        assert ((low <= probs) & (probs <= high)).all()
        near = np.stack([rng.permutation(CODES)[:3] for _ in range(4)])
        low, high = rows.pooled(near)
        pooled = np.take_along_axis(probs, near, axis=1).sum(axis=1)
        assert ((low <= pooled) & (pooled <= high)).all()
        low, high = rows.entropies()
        entropies = -(probs * np.log(np.where(probs > 0, probs, 1))).sum(axis=1)
        assert ((low <= entropies) & (entropies <= high)).all()
        one, other = (margins.uncertain(exact[:, row : row + 1], np.full(1, error), settings) for row in (0, 1))
        draw, token = float(rng.random()), int(drawn[0])
        kept = bool(draw * probs[0, token] < probs[1, token])
        assert kept in margins.repredictions_kept(draw, one, other, token)
        with np.errstate(divide="ignore"):
            residual = np.log(np.maximum(probs[1] - probs[0], 0)) + noise[0]
        assert margins.repredicted_tokens(one, other, noise[0])[residual.argmax()]


@pytest.mark.parametrize("top_p", [0.8, 1.0])
def test_bounds_are_narrow(top_p: float) -> None:
    """With a small error nearly nothing may come out otherwise: the bounds excuse no more than they must."""
    rng = np.random.default_rng(1)
    rows = 500
    logits = rng.normal(0, 1.5, (1, rows, CODES)).astype(np.float32)
    known = margins.uncertain(logits, np.full(rows, 1e-4), Settings(guidance_scale=1.0, top_p=top_p))
    assert (known.possible & ~known.sure).sum() <= 4
    assert rows <= known.tokens(rng.gumbel(size=(rows, CODES))).sum() <= rows + 4
    certain = (known.possible == known.sure).all(axis=1)
    for low, high in (known.probs(), known.entropies()):
        assert np.abs(high - low)[certain].max() < 5e-3


@pytest.mark.parametrize("side", ["logits", "errors"])
def test_nothing_follows_from_nan(side: str) -> None:
    """An error of NaN would be a bound that nothing exceeds."""
    logits, errors = np.zeros((2, 1, CODES), dtype=np.float32), np.zeros(1)
    (logits if side == "logits" else errors)[..., -1] = np.nan
    with pytest.raises(NotFiniteError, match=f"margins: {side}"):
        margins.uncertain(logits, errors, Settings())
