"""Cases that lie on an edge: ties in argmax, top-k, top-p and Gumbel-max, sums that just meet a limit (DIST-1, RNG-1).

Logits are small whole numbers, and equal codes are as many as a power of two: their probabilities, and the sums of
these, are exact in float32 however they are computed, so that nothing excuses another answer. One row is clear without
being exact: probabilities so small that half precision adds nothing.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.engines.probes.arithmetic_laws import expected_of, hold_log_probs
from mulo_sd.conformance.engines.probes.probe import scores_of
from mulo_sd.conformance.subject import Subject

# So far below the others that a code's probability is 0 in float32; not so far that log p is not finite.
NOTHING = -200.0
BELOW_HALF = float(np.nextafter(np.float32(0.5), np.float32(0)))
MANY = tuple(range(1, 17))
FOUR = (2, 7, 8, 11)


class Edge(NamedTuple):
    """A row of logits and what is kept of it.

    Attributes:
        what: The case, in words.
        logits: {code: logit}; others are NOTHING. None is all codes, each a little less likely than the one before.
        settings: That differ from guidance 1, temperature 1 and no filter.
        kept: The codes that keep a probability; None is all.
        uncond: {code: logit} of the null half; None is the same logits.
    """

    what: str
    logits: dict[int, float] | None
    settings: dict[str, Any]
    kept: tuple[int, ...] | None
    uncond: dict[int, float] | None = None


def _equal(codes: tuple[int, ...], logit: float = 0.0) -> dict[int, float]:
    return dict.fromkeys(codes, logit)


EDGES = (
    Edge("two largest logits, temperature 0", {3: 2.0, 5: 2.0, 7: 1.0}, {"temperature": 0.0}, (3,)),
    Edge(
        "two logits that guidance makes equal, temperature 0",
        {9: 3.0, 4: 4.0, 7: 2.0},
        {"temperature": 0.0, "guidance_scale": 2.0},
        (4,),
        {9: 1.0, 4: 3.0, 7: 2.0},
    ),
    Edge(
        "three logits equal the second largest, top-k 2", {1: 5.0, **_equal((4, 6, 9), 3.0)}, {"top_k": 2}, (1, 4, 6, 9)
    ),
    Edge("two largest logits, top-k 1", {6: 5.0, 2: 5.0, 1: 4.0}, {"top_k": 1}, (2, 6)),
    Edge("top-k as large as the vocabulary", None, {"top_k": "all"}, None),
    Edge("top-k larger than the vocabulary", None, {"top_k": "more"}, None),
    Edge("top-k 0", None, {}, None),
    Edge("top-p 1 where the largest have all of the sum", _equal(FOUR), {"top_p": 1.0}, None),
    Edge("four equal codes, top-p 0.5: the sum before the third meets it", _equal(FOUR), {"top_p": 0.5}, (2, 7, 8)),
    Edge("four equal codes, top-p next below 0.5", _equal(FOUR), {"top_p": BELOW_HALF}, (2, 7)),
    Edge("four equal codes, top-p 0.25: the sum before the second meets it", _equal(FOUR), {"top_p": 0.25}, (2, 7)),
    Edge("four equal codes, top-p all but 0", _equal(FOUR), {"top_p": 1e-6}, (2,)),
    Edge("two equal codes, top-p 0.5", _equal((5, 3)), {"top_p": 0.5}, (3, 5)),
    Edge("sixteen equal codes, top-p 0.75", _equal(MANY), {"top_p": 0.75}, MANY[:13]),
    Edge("four of five by top-k, then top-p 0.5", {**_equal(FOUR, 4.0), 1: 1.0}, {"top_k": 4, "top_p": 0.5}, (2, 7, 8)),
    Edge(
        "small probabilities after a large one, top-p 0.999",
        {0: 0.0, **_equal(MANY[:15], -9.0)},
        {"top_p": 0.999},
        (0, *MANY[:7]),
    ),
    Edge("temperature before top-p", _equal(FOUR, 8.0), {"temperature": 4.0, "top_p": 0.5}, (2, 7, 8)),
)


def _row(values: dict[int, float] | None, codes: int) -> NDArray[np.float32]:
    if values is None:
        return (np.arange(codes) / -64).astype(np.float32)
    row = np.full(codes, NOTHING, dtype=np.float32)
    for code, logit in values.items():
        row[code] = logit
    return row


def edges_are_decided_by_the_rules(subject: Subject) -> None:
    """DIST-1: ties and exact sums, alone and in the middle of other rows."""
    pipeline = subject.pipeline
    codes, rng = pipeline.bundle.manifest.target.vocabulary, np.random.default_rng(5)
    sizes = {"all": codes, "more": codes + 7}
    for edge in EDGES:
        changes = {name: sizes.get(value, value) for name, value in edge.settings.items()}
        settings = pipeline.settings(
            mode="ar", **({"guidance_scale": 1.0, "temperature": 1.0, "top_k": 0, "top_p": 1.0} | changes)
        )
        cond = _row(edge.logits, codes)
        uncond = cond if edge.uncond is None else _row(edge.uncond, codes)
        for rows, at in ((1, 0), (3, 1)):
            # The others are clear: whole numbers far apart.
            logits = np.tile(rng.permutation(codes).astype(np.float32) * 8, (2, rows, 1))
            logits[0, at], logits[1, at] = cond, uncond
            logits = logits if changes.get("guidance_scale", 1.0) != 1 else logits[:1]
            expected = expected_of(logits, settings)
            kept = tuple(np.flatnonzero(expected.probs[at]).tolist())
            # With probabilities of 0 the plain rule drops what NOTHING still has a logarithm for.
            expected_kept = tuple(range(codes)) if edge.kept is None else edge.kept
            for name, scores in scores_of(subject, logits):
                tokens, log_probs = scores.draw(
                    np.arange(rows), settings.distribution, np.zeros((rows, codes), dtype=np.float32)
                )
                got = tuple(np.flatnonzero(np.isfinite(log_probs[at])).tolist())
                assert got == expected_kept, (
                    f"{name}: {edge.what}: keeps codes {list(got)[:20]}, expected {list(expected_kept)[:20]}"
                )
                best = min(code for code in kept if expected.probs[at, code] == expected.probs[at].max())
                assert tokens[at] == best, f"{name}: {edge.what}: drew {tokens[at]} without noise, expected {best}"
                if edge.kept is not None:
                    hold_log_probs(f"{name}: {edge.what}", log_probs, expected)


def equal_scores_draw_the_lower_code(subject: Subject) -> None:
    """RNG-1: of two equal sums of log p and noise the lower code is drawn, and one unit more in the last place wins."""
    pipeline = subject.pipeline
    codes = pipeline.bundle.manifest.target.vocabulary
    settings = pipeline.settings(mode="ar", guidance_scale=1.0, temperature=1.0, top_k=0, top_p=1.0)
    logits, rows = np.zeros((1, 2, codes), dtype=np.float32), np.arange(2)
    for high in (1.0, 8.0):
        noise = np.full((2, codes), -1.0, dtype=np.float32)
        noise[:, [2, 5, codes - 1]] = high
        # After log p is added, some nats, it must still be more: four units in the last place of 8.
        noise[1, 5] = high + 4 * np.spacing(np.float32(8.0))
        for name, scores in scores_of(subject, logits):
            tokens, _ = scores.draw(rows, settings.distribution, noise)
            assert tokens.tolist() == [2, 5], (
                f"{name}: drew {tokens.tolist()} where codes 2, 5 and {codes - 1} tie, and where 5 leads by "
                f"{noise[1, 5] - high:.2g} nats; expected [2, 5]"
            )


def certain_codes_pool_to_one(subject: Subject) -> None:
    """POOL-1, LOCAL-3: at temperature 0 a neighbourhood has a probability of exactly 1 or 0, and the entropy is 0."""
    pipeline = subject.pipeline
    codes, near = pipeline.bundle.manifest.target.vocabulary, np.ascontiguousarray(pipeline.bundle.neighbours[:, :3])
    settings = pipeline.settings(mode="ar", guidance_scale=1.0, temperature=0.0, top_k=0, top_p=1.0)
    logits = np.random.default_rng(2).normal(0, 3, (1, 4, codes)).astype(np.float32)
    draft = logits[0].argmax(axis=1)
    draft[1] = next(code for code in range(codes) if draft[1] not in near[code])
    for name, scores in scores_of(subject, logits):
        judgement = scores.judge(np.arange(4), settings.distribution, draft, near)
        pooled, entropies = judgement.pooled_probs, judgement.entropies
        assert pooled.tolist() == [1, 0, 1, 1], f"{name}: pooled {pooled.tolist()}, expected [1, 0, 1, 1]"
        assert not entropies.any(), f"{name}: entropies {entropies.tolist()}, expected zeros"
