"""Sampling and acceptance are computed in float32 (DIST-1, POOL-1, LOCAL-3), every output of them, whoever reads it.

A decode shows of these numbers which code was drawn and whether a sum reached tau: half precision in between hardly
ever changes either. Here each number is held against float64, relative to what float32 loses.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.conformance.engines.probes.probe import Floats, random_condition_of, scores_of
from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.backends.base import Judgement, Scores
from mulo_sd.engines.backends.host_scores import distribution_inputs, scorer
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.noise import NoiseSource

# Nats that float32 loses in log p, for each nat that the largest logit has beside its last digits: 16 units in the last
# place. Half precision loses 500 times as much.
NATS = 2e-6
# What adding up to some dozen probabilities loses, as a share of their sum.
SUM = 2e-6
ROWS = 12
# Guidance, temperature, top-k, top-p, whether p is raw.
CHOICES: tuple[dict[str, Any], ...] = (
    {"guidance_scale": 1.5, "temperature": 1.0, "top_k": 0, "top_p": 1.0},
    {"guidance_scale": 1.0, "temperature": 0.7, "top_k": 0, "top_p": 0.9},
    {"guidance_scale": 3.0, "temperature": 1.3, "top_k": 5, "top_p": 1.0},
    {"guidance_scale": 0.0, "temperature": 2.0, "top_k": 12, "top_p": 0.6},
    {"guidance_scale": -1.0, "temperature": 4.0, "top_k": 0, "top_p": 0.99},
)


class Expected(NamedTuple):
    """What p of some rows is, Float64[n, V], and how far log p in float32 may be off, nats."""

    probs: Floats
    nats: float


def expected_of(logits: NDArray[np.float32], settings: engines.Settings, raw: bool = False) -> Expected:
    """Return p of logits Float32[B, n, V] by the rules in plain Python."""
    wide = logits.astype(np.float64)
    temperature = 1.0 if raw else settings.temperature
    scale = settings.guidance_scale if len(wide) == 2 else 1.0
    filters = (0, 1.0) if raw else (settings.top_k, settings.top_p)
    rows = [
        oracles.probs(cond.tolist(), uncond.tolist(), oracles.float32(scale), oracles.float32(temperature), *filters)
        for cond, uncond in zip(wide[0], wide[-1], strict=True)
    ]
    largest = float(np.abs(wide).max()) * (abs(scale) + abs(1 - scale)) / (temperature or 1.0)
    return Expected(np.array(rows), NATS * (4 + largest))


def hold_log_probs(what: str, log_probs: Floats, expected: Expected) -> None:
    """Assert that log p is right in float32, and that the same codes are kept."""
    kept = expected.probs > 0
    assert log_probs.shape == kept.shape, f"{what}: log p of shape {log_probs.shape}, expected {kept.shape}"
    assert np.array_equal(np.isfinite(log_probs), kept), f"{what}: other codes are kept than DIST-1 keeps"
    off = np.abs(log_probs[kept] - np.log(expected.probs[kept]))
    assert off.max() <= expected.nats, (
        f"{what}: log p is off by {off.max():.3g} nats, where float32 loses at most {expected.nats:.3g}"
    )


def hold_judgement(what: str, judgement: Judgement, expected: Expected, near: NDArray[np.int64]) -> None:
    """Assert that pooled probabilities and entropies are right in float32.

    Args:
        what: Begins the message.
        judgement: Of n draft tokens.
        expected: p.
        near: Int[n, k], the codes pooled.
    """
    pooled, entropies = judgement.pooled_probs, judgement.entropies
    right = np.take_along_axis(expected.probs, near, axis=1).sum(axis=1)
    most = (2 * expected.nats + SUM) * right
    off = np.abs(pooled - right) - most
    row = int(off.argmax())
    assert off[row] <= 0, (
        f"{what}: pooled {pooled[row]:.9g}, expected {right[row]:.9g}, where float32 loses at most {most[row]:.2g}"
    )
    exact = np.array([oracles.entropy(row) for row in expected.probs.tolist()])
    most = 4 * expected.nats * (1 + exact)
    off = np.abs(entropies - exact) - most
    row = int(off.argmax())
    assert off[row] <= 0, (
        f"{what}: entropy {entropies[row]:.9g}, expected {exact[row]:.9g}, where float32 loses at most {most[row]:.2g}"
    )


def _chosen(subject: Subject) -> Iterator[engines.Settings]:
    for changes in CHOICES:
        yield subject.pipeline.settings(mode="ar", **changes)


def _clear(logits: NDArray[np.float32], settings: engines.Settings) -> NDArray[np.int64]:
    """Return the rows whose kept codes do not hang on rounding."""
    if settings.top_p >= 1:
        return np.arange(logits.shape[1])
    shares = [min(1.0, settings.top_p * by) for by in (1 - 1e-5, 1 + 1e-5)]
    distributions = [expected_of(logits, settings.changed(top_p=share)) for share in shares]
    return np.flatnonzero(((distributions[0].probs > 0) == (distributions[1].probs > 0)).all(axis=1))


def samplers_compute_in_float32(subject: Subject) -> None:
    """DIST-1, POOL-1, LOCAL-3: whatever samples and judges, on logits of any size, each of its outputs."""
    pipeline, rng = subject.pipeline, np.random.default_rng(7)
    codes = pipeline.bundle.manifest.target.vocabulary
    near = np.ascontiguousarray(pipeline.bundle.neighbours)
    for settings in _chosen(subject):
        logits = rng.normal(0, 3, (2, ROWS, codes)).astype(np.float32)
        logits = np.ascontiguousarray(logits[:, _clear(logits, settings)])
        draft: NDArray[np.int64] = rng.integers(0, codes, (logits.shape[1],))
        noise = rng.gumbel(0, 1, (len(draft), codes)).astype(np.float32)
        expected, rows = expected_of(logits, settings), np.arange(len(draft))
        for name, scores in scores_of(subject, logits):
            tokens, log_probs = scores.draw(rows, settings.distribution, noise)
            hold_log_probs(f"{name}: a draw", log_probs, expected)
            _hold_tokens(f"{name}: a draw", tokens, expected, noise)
            judgement = scores.judge(rows, settings.distribution, draft, near)
            hold_judgement(f"{name}: a judgement", judgement, expected, near[draft])
        judged = distribution_inputs(logits, settings.distribution) | {"draft_tokens": draft, "neighbours": near}
        hold_log_probs("acceptance", pipeline.backend.run("acceptance", judged)["log_probs"], expected)


def scores_compute_in_float32(subject: Subject) -> None:
    """DIST-1, POOL-1, LOCAL-3: what a pass's scores draw and judge, from the logits that they themselves tell."""
    pipeline, rng = subject.pipeline, np.random.default_rng(8)
    entry, near = pipeline.bundle.manifest.target, np.ascontiguousarray(pipeline.bundle.neighbours)
    for settings in _chosen(subject):
        logits, scores = _a_pass(subject, settings.guidance_scale != 1 and "guidance" in subject.capabilities)
        settings = settings if len(logits) == 2 else settings.changed(guidance_scale=1.0)
        rows = _clear(logits, settings)
        logits = np.ascontiguousarray(logits[:, rows])
        draft = rng.integers(0, entry.vocabulary, len(rows))
        noise = rng.gumbel(0, 1, (len(rows), entry.vocabulary)).astype(np.float32)
        expected = expected_of(logits, settings)
        tokens, log_probs = scores.draw(rows, settings.distribution, noise)
        hold_log_probs("a draw", log_probs, expected)
        _hold_tokens("a draw", tokens, expected, noise)
        for raw in (False, True):
            distribution = settings.distribution.raw() if raw else settings.distribution
            judgement = scores.judge(rows, distribution, draft, near)
            what = "a raw judgement" if raw else "a judgement"
            hold_judgement(what, judgement, expected_of(logits, settings, raw), near[draft])
        source = NoiseSource(2**64 - 5, 2, ROWS + 1, entry.vocabulary)
        own = source.rows(rows + 1)
        _hold_tokens("a sample", scores.sample(rows, rows + 1, settings.distribution, source, None), expected, own)


def _a_pass(subject: Subject, guided: bool) -> tuple[NDArray[np.float32], Scores]:
    """Feed the prefix and ROWS tokens; return the second pass's logits, Float32[B, ROWS, V], and its scores."""
    pipeline = subject.pipeline
    entry = pipeline.bundle.manifest.target
    session = TransformerSession(pipeline.backend, entry, random_condition_of(subject, 3, guided).numpy())
    session.score = scorer(pipeline.backend)
    session.prefill()
    tokens = np.random.default_rng(4).integers(0, entry.vocabulary, ROWS)
    scores = session.feed(np.arange(ROWS), tokens)
    return scores.logits().copy(), scores


def _hold_tokens(what: str, tokens: NDArray[np.int64], expected: Expected, noise: Floats) -> None:
    """Assert that tokens are those of Gumbel-max, wherever the best leads by more than float32 loses."""
    with np.errstate(divide="ignore"):
        perturbed = np.log(expected.probs) + noise
    best = np.sort(perturbed, axis=1)
    clear = best[:, -1] - best[:, -2] > 3 * expected.nats
    wrong = np.flatnonzero(clear & (tokens != perturbed.argmax(axis=1)))
    assert not len(wrong), f"{what}, row {wrong[0]}: drew {tokens[wrong[0]]}, expected {perturbed[wrong[0]].argmax()}"
