"""CONF-1 and CONF-2: fed the reference's passes, an engine gives its logits and takes its decisions."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.conformance.engines import margins
from mulo_sd.conformance.engines.cases import SEED
from mulo_sd.conformance.engines.differences import prediction_before
from mulo_sd.conformance.engines.drafts import down_samplings, drafted_rows
from mulo_sd.conformance.engines.probes import systematic
from mulo_sd.conformance.engines.probes.bias_laws import labelled
from mulo_sd.conformance.engines.probes.systematic import Rows
from mulo_sd.conformance.engines.reference_side import ReferenceSide
from mulo_sd.conformance.engines.replay import Logits, Replayed, reference_logits
from mulo_sd.conformance.engines.replayed_rows import anchor_bonus, reference_entropies
from mulo_sd.conformance.engines.tally import Tally
from mulo_sd.engines.backends.host_scores import distribution_inputs
from mulo_sd.engines.bundle.contract import down_sampler_graph, up_sampler_graph
from mulo_sd.engines.loop.execute import predict_again
from mulo_sd.engines.rules.acceptance import accept_drafts
from mulo_sd.engines.rules.grid import expand
from mulo_sd.engines.rules.noise import acceptance_stream, gumbel_noise, sample_stream, uniform_noise
from mulo_sd.engines.rules.radius import adaptive_radii
from mulo_sd.reference.radius import adaptive_radii as reference_radii

# How far ahead of the second-best the reference's code may be where U_r or D_r chooses another, and how many may.
CODE_MARGIN = {"fp32": 1e-4, "fp16": 2e-2}
MAX_OTHER_CODES = {"fp32": 0.001, "fp16": 0.02}


def sample(replayed: Replayed, logits: Logits, noise: NDArray[np.float32]) -> tuple[NDArray[np.int64], Logits]:
    """Sample with the engine's graph; return tokens Int[n] and log p Float32[n, V]."""
    inputs = distribution_inputs(logits, replayed.engine_settings.distribution) | {"noise": noise}
    outputs = replayed.pipeline.backend.run("sampler", inputs)
    return outputs["tokens"], outputs["log_probs"]


def judge(
    replayed: Replayed, logits: Logits, draft: NDArray[np.int64], near: NDArray[np.int64], raw: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pool with the engine's graph; return pooled probabilities and entropies, Float32[n]."""
    distribution = replayed.engine_settings.distribution
    inputs = distribution_inputs(logits, distribution.raw() if raw else distribution)
    outputs = replayed.pipeline.backend.run("acceptance", inputs | {"draft_tokens": draft, "neighbours": near})
    return outputs["pooled_probs"], outputs["entropies"]


def table(replayed: Replayed, count: int) -> NDArray[np.int64]:
    """Return the bundle's neighbours, Int[V, count] (POOL-1)."""
    return np.ascontiguousarray(replayed.pipeline.bundle.neighbours[:, :count])


class TestConf1:
    """CONF-1 Logits within tolerance.

    Fed the same passes (teacher-forced from the reference's trace), its logits stay within the stated tolerance.
    """

    def test_logits(self, replayed: Replayed) -> None:
        """Fed the same passes, an engine's logits stay within the bundle's stated tolerance, for every model."""
        manifest = replayed.pipeline.bundle.manifest
        passes = replayed.decoded.trace.passes
        assert len(passes) == len(replayed.engine_logits)
        for number, (made, logits) in enumerate(zip(passes, replayed.engine_logits, strict=True)):
            assert made.logits is not None
            graph = manifest.models[made.model].graph
            error = float(np.abs(logits - made.logits.numpy()).max())
            assert error <= manifest.graphs[graph].tolerance, (
                f"pass {number} of the {graph}: logits differ by {error:.3g}"
            )
        assert {made.model for made in passes} == set(replayed.settings.model_numbers)

    def test_no_error_is_systematic(self, replayed: Replayed) -> None:
        """CONF-1: logits are not off to one side, by code, row, position or gain, by more than rounding explains."""
        manifest, parts = replayed.pipeline.bundle.manifest, dict[int, list[Rows]]()
        for made, logits in zip(replayed.decoded.trace.passes, replayed.engine_logits, strict=True):
            entry = manifest.models[made.model]
            shape = (entry.prefix_length, entry.grid_width)
            rows = labelled(logits, reference_logits(made), made.positions.numpy(), *shape)
            parts.setdefault(made.model, []).append(rows)
        for model, groups in parts.items():
            systematic.hold(f"model {model}", systematic.each_position_once(systematic.joined(groups)))


class TestConf2:
    """CONF-2 Decisions under teacher forcing.

    Fed the same passes, every decision equals the reference's: accept or reject, the token sampled, the code chosen
    by U_r, D_r and the tokenizer, the sets of top-k and top-p. Exempt is a decision whose margin in the reference
    is smaller than that tolerance allows: |pooled - tau|, mean entropy over `radius_nats` against the next whole
    number, best against second-best perturbed log-probability, nearest against second-nearest code, |U - p|. Exempt
    cases are counted, and too many of them are a failure.
    """

    def test_sampled_tokens(self, replayed: Replayed) -> None:
        """Every token sampled and every code kept by top-p is the reference's, near-ties aside."""
        tally = Tally(replayed)
        for number, made in enumerate(replayed.decoded.trace.passes):
            if not made.sampled:
                continue
            cells = [cell for _, cell, _ in made.sampled]
            ours, theirs, errors = replayed.rows(number, cells)
            noise = gumbel_noise(SEED, sample_stream(made.model), np.array(cells), ours.shape[-1])
            noise += anchor_bonus(replayed, made.model, number, cells)
            tokens, log_probs = sample(replayed, ours, noise)
            known = margins.uncertain(theirs, errors, replayed.settings)
            may_be = known.tokens(noise)
            for index, (_, cell, token) in enumerate(made.sampled):
                what = f"pass {number}, cell {cell}: sampled {tokens[index]}, the reference {token}"
                near_tie = may_be[index].sum() > 1 and bool(may_be[index, tokens[index]])
                tally.add(int(tokens[index]) == token, near_tie, what)
            kept = np.isfinite(log_probs)
            assert not (known.sure & ~kept).any(), f"pass {number}: top-p leaves out a code that the reference keeps"
            assert not (kept & ~known.possible).any(), (
                f"pass {number}: top-p keeps a code that the reference leaves out"
            )
        assert tally.total >= 64
        tally.check()

    def test_acceptance(self, replayed: Replayed) -> None:
        """Every draft token is kept or rejected as in the reference, near-ties aside; of every verifying model."""
        settings = replayed.settings
        if not settings.decoding.drafts:
            assert not replayed.decoded.trace.cycles
            return
        tally, rejected, raw = Tally(replayed), 0, settings.accept_on == "raw"
        near = table(replayed, settings.neighbours)
        for cycle in replayed.decoded.trace.cycles:
            if settings.decoding.is_exact and cycle.model == 0:
                continue
            cells = replayed.cycle_cells(cycle)
            ours, theirs, errors = replayed.rows(cycle.verify_pass, cells)
            draft = cycle.up_sampled.numpy().ravel()
            pooled, entropies = judge(replayed, ours, draft, near)
            if raw:
                pooled, _ = judge(replayed, ours, draft, near, raw)
            low, high = margins.uncertain(theirs, errors, settings, raw).pooled(near[draft])
            assert ((low <= pooled) & (pooled <= high)).all(), f"pass {cycle.verify_pass}: pooled probabilities are off"
            kept, expected = accept_drafts(pooled, entropies, replayed.engine_settings), cycle.kept.numpy().ravel()
            nats = margins.uncertain(theirs, errors, settings).entropies()
            near_ties = margins.may_be_either((low, high), nats, settings)
            for index, cell in enumerate(cells):
                what = f"pass {cycle.verify_pass}, cell {cell}: pooled {pooled[index]:.6g}"
                tally.add(bool(kept[index]) == bool(expected[index]), bool(near_ties[index]), what)
            rejected += int((~expected).sum())
        verified = {cycle.model for cycle in replayed.decoded.trace.cycles}
        assert verified == set(settings.model_numbers[:-1])
        assert settings.decoding.is_exact or rejected > 0
        tally.check()

    def test_repredictions(self, replayed: Replayed) -> None:
        """Under SCHED-5 a row's first token stays or is drawn again as in the reference, near-ties aside."""
        settings, kept_tally, token_tally = replayed.settings, Tally(replayed), Tally(replayed)
        trace, codes = replayed.decoded.trace, replayed.pipeline.bundle.manifest.target.vocabulary
        for number, made in enumerate(trace.passes):
            for item in made.repredicted:
                cells = np.array([item.cell])
                noise = gumbel_noise(SEED, sample_stream(made.model), cells, codes, item.attempt)
                draw = float(uniform_noise(SEED, acceptance_stream(made.model), cells, attempt=item.attempt)[0, 0])
                before = prediction_before(trace, number, item.cell)
                old_rows, new_rows = replayed.rows(before, [item.cell]), replayed.rows(number, [item.cell])
                held, log_probs = (sample(replayed, rows[0], noise)[1][0] for rows in (old_rows, new_rows))
                token, kept = predict_again(item.held_token, held, log_probs, draw, noise[0])
                old, new = (margins.uncertain(rows[1], rows[2], settings) for rows in (old_rows, new_rows))
                answers = margins.repredictions_kept(draw, old, new, item.held_token)
                what = f"pass {number}, cell {item.cell}: {item}, the engine: kept {kept}, token {token}"
                kept_tally.add(kept == item.kept, len(answers) > 1, what)
                if not kept and not item.kept:
                    may_be = margins.repredicted_tokens(old, new, noise[0])
                    token_tally.add(token == item.token, may_be.sum() > 1 and bool(may_be[token]), what)
        assert (kept_tally.total > 10) == (token_tally.total > 1) == settings.adaptive_window
        kept_tally.check()
        token_tally.check()

    def test_radii(self, replayed: Replayed) -> None:
        """LOCAL-3 gives every cell the reference's radius, near-integers aside; LOCAL-1 resamples the same."""
        settings, tally = replayed.settings, Tally(replayed)
        near = table(replayed, 1)
        distinct = set()
        for cycle in replayed.decoded.trace.cycles:
            if settings.decoding.is_exact and cycle.model == 0:
                assert not cycle.radii.any()
                continue
            shape, cells = cycle.kept.shape, replayed.cycle_cells(cycle)
            ours, theirs, errors = replayed.rows(cycle.verify_pass, cells)
            _, entropies = judge(replayed, ours, cycle.up_sampled.numpy().ravel(), near)
            bounds = margins.uncertain(theirs, errors, settings).entropies()
            assert ((bounds[0] <= entropies) & (entropies <= bounds[1])).all(), f"pass {cycle.verify_pass}: entropies"
            radii = adaptive_radii(entropies.reshape(shape), settings.radius, settings.radius_nats)
            # As far as the engine's entropies are off, all errors around a cell in one direction: much less than the
            # bounds of 49 cells would allow.
            exact = reference_entropies(theirs, settings)
            off = np.abs(entropies - exact)
            low, high = (
                reference_radii(torch.from_numpy(bound.reshape(shape)), settings.radius, settings.radius_nats).numpy()
                for bound in np.maximum(margins.rounded(exact - off, exact + off), 0)
            )
            for index, cell in enumerate(cells):
                what = f"pass {cycle.verify_pass}, cell {cell}: radius {radii.flat[index]}"
                equal = radii.flat[index] == int(cycle.radii.flatten()[index])
                tally.add(equal, bool(low.flat[index] < high.flat[index]), what)
            distinct.update(np.unique(radii).tolist())
            resampled = expand(~cycle.kept.numpy(), cycle.radii.numpy())
            assert np.array_equal(resampled, cycle.resampled.numpy())
        assert len(distinct) <= 1 or settings.radius_nats > 0
        tally.check()

    def test_scaling(self, replayed: Replayed, reference_side: ReferenceSide) -> None:
        """U_r and D_r of every ratio choose the reference's codes, near-ties of two aside, and those are few."""
        models, settings, backend = reference_side.models, replayed.settings, replayed.pipeline.backend
        cycles = replayed.decoded.trace.cycles
        compared: list[tuple[NDArray[np.int64], NDArray[np.int64], margins.Floats]] = []
        for index, cycle in enumerate(cycles):
            low = drafted_rows(models, settings, cycles, index)
            ratio = models.scale_ratio(cycle.model, cycle.draft_model)
            expected, ahead = margins.code_margins(
                models.tokenizer,
                partial(models.up_sample, settings.up_sampler, low, ratio),
            )
            window = slice(cycle.first_row, cycle.last_row)
            assert np.array_equal(expected[window], cycle.up_sampled.numpy())
            graph = up_sampler_graph(ratio, settings.up_sampler)
            compared.append((backend.run(graph, {"low_tokens": low.numpy()})["high_tokens"], expected, ahead))
            if cycle.model != 0 or cycle.down_sampled is None:
                continue
            finished = [item for item in cycles[: index + 1] if item.model == 0]
            for item in down_samplings(models, settings, finished):
                expected, ahead = margins.code_margins(
                    models.tokenizer,
                    partial(models.down_sample, settings.down_sampler, item.high_rows, item.scale_ratio),
                )
                if item.draft_model == cycle.draft_model:
                    assert np.array_equal(expected[cycle.draft_first_row :], cycle.down_sampled.numpy())
                graph = down_sampler_graph(item.scale_ratio, settings.down_sampler)
                compared.append(
                    (backend.run(graph, {"high_tokens": item.high_rows.numpy()})["low_tokens"], expected, ahead)
                )
        other = total = 0
        for actual, expected, ahead in compared:
            different = actual != expected
            assert (ahead[different] <= CODE_MARGIN[replayed.precision]).all(), (
                f"codes ahead by {ahead[different].max()}"
            )
            other += int(different.sum())
            total += different.size
        assert (total >= replayed.decoded.tokens.numel()) == bool(cycles)
        assert other <= max(1, MAX_OTHER_CODES[replayed.precision] * total)
