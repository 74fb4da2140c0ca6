"""Whether the sampler and the acceptance keep, draw and pool as the rules say, near-ties aside (DIST-1, RNG-1, POOL-1).

Both compute in float32 in every bundle and take logits as they are, so each decision is held to what float32 rounds off
(`export.kept_codes`). Values are compared over the codes that the graph kept, so that a near-tie at the edge of top-p
is no error of theirs. Rows are real ones first, then real ones with noise, then rows with many ties whose arithmetic is
exact: there nothing but a sum at the edge of top-p may differ.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mulo_sd.export.allowed import max_allowed
from mulo_sd.export.comparison import Runner, ToleranceError, outputs_of
from mulo_sd.export.evidence import Evidence
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.kept_codes import UNIT, Sampling, guided, kept_bounds, kept_exactly, slack_of
from mulo_sd.export.precision import EDGE_CODES, EDGE_ROW_RATE, LARGE_CODEBOOK_FACTOR, SMALL_CODEBOOK
from mulo_sd.reference.largest_error import largest_error

COMPARED_ROWS, COMPARED_ROWS_OF_LARGE = 512, 128
TIED_ROWS = 32
SEED = 20260112


@dataclass(frozen=True)
class _Rows:
    """Logits to sample from.

    Attributes:
        cond: Float32[n, V].
        uncond: Float32[n, V].
        noise: Float32[n, V], for the sampler.
        draft: Int[n], for the acceptance.
        exact: Whether float32 computes their guided logits exactly.
    """

    cond: Tensor
    uncond: Tensor
    noise: Tensor
    draft: Tensor
    exact: bool


def _settings(codes: int) -> list[Sampling]:
    few, many = min(50, max(codes // 4, 1)), min(200, max(codes // 2, 1))
    plain = Sampling()
    return [
        plain,
        replace(plain, top_k=few),
        replace(plain, top_p=0.9),
        replace(plain, temperature=0.7, top_k=many, top_p=0.8),
        replace(plain, temperature=0.0),
    ]


def _tied_settings(codes: int) -> list[Sampling]:
    few = min(50, max(codes // 4, 1))
    return [Sampling(top_k=few), Sampling(top_p=0.7), Sampling(temperature=2.0, top_k=few, top_p=0.6)]


def _real_rows(evidence: Evidence, generator: torch.Generator) -> _Rows:
    """Return rows of the target's passes, those of a verification first; noise makes more of them where few are."""
    passes = sorted(evidence.passes[0][1:] or evidence.passes[0], key=lambda item: len(item.tokens), reverse=True)
    recorded = [item.logits for item in passes if item.logits is not None]
    if not recorded:
        raise ValueError("evidence: expected passes with their logits, got one without")
    logits = torch.cat(recorded, dim=1)
    codes = logits.shape[-1]
    count = COMPARED_ROWS if codes <= SMALL_CODEBOOK else COMPARED_ROWS_OF_LARGE
    real = logits[:, : count // 2]
    again = torch.arange(count - real.shape[1]) % real.shape[1]
    spread = 0.5 * torch.randn(len(real), len(again), codes, generator=generator)
    rows = torch.cat([real, real[:, again] + spread], dim=1)
    return _with_draws(rows[0], rows[-1], generator, exact=False)


def _tied_rows(codes: int, generator: torch.Generator) -> _Rows:
    """Return rows of few distinct logits, halves, which guidance of 1.5 and powers of two leave exact."""
    cond, uncond = torch.randint(0, 12, (2, TIED_ROWS, codes), generator=generator) / 2
    return _with_draws(cond, uncond, generator, exact=True)


def _with_draws(cond: Tensor, uncond: Tensor, generator: torch.Generator, exact: bool) -> _Rows:
    uniform = torch.rand(cond.shape, generator=generator, dtype=torch.float64).clamp(min=1e-12)
    noise = (-(-uniform.log()).log()).float()
    noise[::2] = 0.0  # every second row is greedy: ties of equal codes go to the lower
    draft = torch.randint(cond.shape[-1], (len(cond),), generator=generator)
    draft[::2] = cond[::2].argmax(dim=-1)  # likely ones, too
    return _Rows(cond.contiguous(), uncond.contiguous(), noise, draft, exact)


def _inputs(
    specification: GraphSpecification, rows: _Rows, settings: Sampling, evidence: Evidence
) -> dict[str, Tensor]:
    every = {
        "cond_logits": rows.cond,
        "uncond_logits": rows.uncond,
        "noise": rows.noise,
        "draft_tokens": rows.draft,
        "neighbours": evidence.neighbours,
        "top_k": torch.tensor(settings.top_k),
        **{name: torch.tensor(getattr(settings, name)) for name in ("guidance_scale", "temperature", "top_p")},
    }
    return {name: every[name] for name in specification.input_names}


def sampling_error(run: Runner, specification: GraphSpecification, evidence: Evidence) -> float:
    """Return the largest error of a log-probability, pooled probability or entropy.

    Raises:
        ToleranceError: a code is kept, dropped or drawn against the rule, and rounding does not explain it.
        NotFiniteError: an output is not finite.
    """
    worst = [0.0]
    for rows, settings in _cases(evidence):
        outputs = outputs_of(run, specification, _inputs(specification, rows, settings, evidence))
        slack = slack_of(rows.cond, rows.uncond, settings)
        logits = guided(rows.cond, rows.uncond, settings)
        judged = _Judged(rows, settings, logits, torch.zeros_like(slack) if rows.exact else slack)
        worst.append(judged.error(outputs, evidence))
    return max(worst)


def _cases(evidence: Evidence) -> Iterator[tuple[_Rows, Sampling]]:
    generator = torch.Generator().manual_seed(SEED)
    rows, codes = _real_rows(evidence, generator), evidence.models.target.config.vocabulary
    for settings in _settings(codes):
        yield rows, settings
    tied = _tied_rows(codes, generator)
    for settings in _tied_settings(codes):
        yield tied, settings


@dataclass(frozen=True)
class _Judged:
    """Rows, one choice of settings, and what float64 makes of them."""

    rows: _Rows
    settings: Sampling
    logits: Tensor
    slack: Tensor

    def error(self, outputs: Mapping[str, Tensor], evidence: Evidence) -> float:
        log_probs = outputs["log_probs"]
        if log_probs.shape != self.logits.shape:
            raise ToleranceError(
                f"output log_probs: expected {list(self.logits.shape)} numbers, got {list(log_probs.shape)}"
            )
        kept = torch.isfinite(log_probs)
        self._check_kept(kept)
        expected = self.logits.masked_fill(~kept, -torch.inf).log_softmax(dim=-1)
        errors = [largest_error(log_probs[kept], expected[kept], "output log_probs")]
        if "tokens" in outputs:
            self._check_tokens(outputs["tokens"], expected)
        if "pooled_probs" in outputs:
            probs = expected.exp()
            pooled = probs.gather(1, evidence.neighbours[self.rows.draft]).sum(dim=-1)
            entropies = -(probs * expected.masked_fill(~kept, 0.0)).sum(dim=-1)
            errors.append(largest_error(outputs["pooled_probs"], pooled, "output pooled_probs"))
            errors.append(largest_error(outputs["entropies"], entropies, "output entropies"))
        return max(errors)

    def _check_kept(self, kept: Tensor) -> None:
        sure, possible = kept_bounds(self.logits, self.slack, self.settings)
        for wrong, what in ((sure & ~kept, "leaves out"), (kept & ~possible, "keeps")):
            if bool(wrong.any()):
                row, code = (int(value) for value in wrong.nonzero()[0])
                raise ToleranceError(
                    f"output log_probs: row {row} {what} code {code} against the rule ({self.settings}); "
                    f"{int(wrong.sum())} codes in all, and rounding explains none of them"
                )
        self._check_edges(
            (kept != kept_exactly(self.logits, self.settings)).sum(dim=-1), int((sure != possible).any(dim=-1).sum())
        )

    def _check_edges(self, others: Tensor, open_rows: int) -> None:
        """Hold the number of near-ties at the edge of top-p: few codes a row, and few rows.

        Args:
            others: Int[n], codes that are kept against exact arithmetic, or left out.
            open_rows: Whose edge rounding leaves open. A model that has learned little has many of them, since its
                codes weigh next to nothing each; a graph that differs in more than half of them errs to one side.
        """
        codes = self.logits.shape[-1]
        rate = EDGE_ROW_RATE * (1 if codes <= SMALL_CODEBOOK else LARGE_CODEBOOK_FACTOR)
        rows, allowed = int((others > 0).sum()), max(max_allowed(len(others), rate), open_rows // 2)
        if rows > allowed or int(others.max()) > EDGE_CODES:
            raise ToleranceError(
                f"output log_probs: {rows} of {len(others)} rows keep other codes at the edge ({self.settings}), up to "
                f"{int(others.max())} of them, expected at most {EDGE_CODES} in at most {allowed} rows"
            )

    def _check_tokens(self, tokens: Tensor, expected: Tensor) -> None:
        scores = expected + self.rows.noise.double()
        in_range = bool(((tokens >= 0) & (tokens < scores.shape[1])).all())
        if tokens.shape != scores.shape[:1] or not in_range:
            raise ToleranceError(
                f"output tokens: expected {len(scores)} codes in 0..{scores.shape[1] - 1}, got {list(tokens.shape)} in "
                f"{int(tokens.min())}..{int(tokens.max())}"
            )
        best = scores.max(dim=-1, keepdim=True)
        lead = best.values[:, 0] - scores.gather(1, tokens[:, None])[:, 0]
        # Normalisation shifts a row as a whole; log p and its sum with the noise are rounded.
        drawn = expected.gather(1, tokens[:, None])[:, 0]
        size = best.values[:, 0].abs() + drawn.abs() + self.rows.noise.abs().amax(dim=-1)
        slack = 2 * self.slack[:, 0] + 8 * UNIT * (size + self.logits.abs().amax(dim=-1))
        tied = (self.slack[:, 0] == 0) & (self.rows.noise == 0).all(dim=-1)  # equal logits are equal in any arithmetic
        wrong = (lead > slack) | (tied & (tokens != best.indices[:, 0]))
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise ToleranceError(
                f"output tokens: row {row} draws {int(tokens[row])} instead of {int(best.indices[row])}, which is "
                f"ahead by {float(lead[row]):.3g} nats, which rounding does not explain; {int(wrong.sum())} rows in all"
            )
