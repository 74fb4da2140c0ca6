"""CONF-1 and CONF-2: fed the reference's passes, an engine gives its logits and takes its decisions."""

import numpy as np
import pytest
import torch

import engines
from conformance.engines import margins
from conformance.engines.reference_side import PROMPTS, ReferenceSide
from conformance.engines.replay import replay
from engines.noise import gumbel_noise, sample_stream
from engines.state import distribution_inputs
from reference.settings import Mode

SEED = 11
CASES: list[tuple[Mode, str]] = [("serial", PROMPTS[0]), ("serial", PROMPTS[1]), ("ar", PROMPTS[3])]
# Near-ties that precision excuses, as a share of all decisions; more are a failure.
MOST_NEAR_TIES = {"fp32": 0.002, "fp16": 0.06}
# A code of U_r or D_r near a tie of two codes.
MOST_OTHER_CODES = {"fp32": 0.001, "fp16": 0.02}


@pytest.mark.parametrize(("mode", "prompt"), CASES)
def test_logits(pipeline: engines.Pipeline, reference_side: ReferenceSide, mode: Mode, prompt: str) -> None:
    """CONF-1: fed the same passes, an engine's logits stay within the bundle's stated tolerance."""
    settings = reference_side.settings(pipeline, mode)
    decoded = reference_side.decode(prompt, SEED, settings, record_logits=True)
    graphs = pipeline.bundle.manifest.graphs
    compared = 0
    for item in replay(pipeline, decoded, reference_side.condition(prompt, SEED), batch=2):
        error = float(np.abs(item.engine_logits - item.reference_logits).max())
        graph = "drafter" if item.made.model else "target"
        assert error <= graphs[graph].tolerance, f"pass {item.number} of the {graph}: logits differ by {error:.3g}"
        compared += 1
    assert compared == len(decoded.trace.passes)


@pytest.mark.parametrize(("mode", "prompt"), CASES)
def test_sampled_tokens(pipeline: engines.Pipeline, reference_side: ReferenceSide, mode: Mode, prompt: str) -> None:
    """CONF-2: so fed, every token that it samples is the reference's, near-ties aside, and those are few."""
    settings = reference_side.settings(pipeline, mode)
    decoded = reference_side.decode(prompt, SEED, settings, record_logits=True)
    engine_settings = pipeline.settings(mode=mode)
    near_ties = total = 0
    for item in replay(pipeline, decoded, reference_side.condition(prompt, SEED), batch=2):
        for row, cell, token in item.made.sampled:
            logits = item.engine_logits[:, row : row + 1]
            noise = gumbel_noise(SEED, sample_stream(item.made.model), np.array([cell]), logits.shape[-1])
            inputs = distribution_inputs(logits, engine_settings) | {"noise": noise}
            sampled = int(pipeline.backend.run("sampler", inputs)["tokens"][0])
            error = float(np.abs(logits - item.reference_logits[:, row : row + 1]).max())
            margin = margins.sampling_margin(
                item.reference_logits[:, row : row + 1], settings, SEED, item.made.model, cell
            )
            allowed = margins.sampling_allowance(error, settings)
            near_ties += margin <= allowed
            total += 1
            assert sampled == token or margin <= allowed, (
                f"pass {item.number}, cell {cell}: sampled {sampled}, the reference {token} by {margin:.3g}, "
                f"where an error of {error:.3g} excuses {allowed:.3g}"
            )
    assert total >= 300
    assert near_ties <= MOST_NEAR_TIES[pipeline.bundle.manifest.precision] * total


@pytest.mark.parametrize("prompt", [prompt for mode, prompt in CASES if mode == "serial"])
def test_acceptance(pipeline: engines.Pipeline, reference_side: ReferenceSide, prompt: str) -> None:
    """CONF-2: so fed, every draft token is accepted or rejected as in the reference, near-ties aside."""
    settings = reference_side.settings(pipeline, "serial")
    decoded = reference_side.decode(prompt, SEED, settings, record_logits=True)
    engine_settings = pipeline.settings(mode="serial")
    table = np.ascontiguousarray(pipeline.bundle.neighbours[:, : settings.neighbours])
    replayed = {
        item.number: item for item in replay(pipeline, decoded, reference_side.condition(prompt, SEED), batch=2)
    }
    prefix, width = pipeline.bundle.manifest.target.prefix_length, decoded.tokens.shape[1]
    prefill = min(number for number, item in replayed.items() if item.made.model == 0)
    near_ties = rejected = total = 0
    for cycle in decoded.trace.cycles:
        item = replayed[cycle.verify_pass]
        first = cycle.first_row * width
        cells = np.arange(first, cycle.last_row * width)
        rows = np.searchsorted(item.made.positions.numpy(), prefix + cells - 1)
        engine, ours = item.engine_logits[:, rows], item.reference_logits[:, rows]
        if first == 0:  # cell 0 comes from the prefill
            engine, ours = engine.copy(), ours.copy()
            engine[:, 0] = replayed[prefill].engine_logits[:, -1]
            ours[:, 0] = replayed[prefill].reference_logits[:, -1]
        inputs = distribution_inputs(engine, engine_settings)
        inputs |= {"draft_tokens": cycle.up_sampled.numpy().ravel(), "neighbours": table}
        pooled = pipeline.backend.run("acceptance", inputs)["pooled_probs"]
        expected = cycle.pooled_probs.numpy().ravel()
        errors = np.abs(engine - ours).max(axis=(0, 2))
        for index, kept in enumerate(cycle.kept.numpy().ravel()):
            allowed = margins.pooled_allowance(float(expected[index]), float(errors[index]), settings)
            assert abs(pooled[index] - expected[index]) <= allowed
            near = abs(expected[index] - settings.tau) <= allowed
            near_ties += near
            rejected += not kept
            total += 1
            assert bool(pooled[index] >= np.float32(settings.tau)) == bool(kept) or near
    assert total == decoded.tokens.numel()
    assert rejected > 0
    assert near_ties <= MOST_NEAR_TIES[pipeline.bundle.manifest.precision] * total


@pytest.mark.parametrize("prompt", [prompt for mode, prompt in CASES if mode == "serial"])
def test_scaling(pipeline: engines.Pipeline, reference_side: ReferenceSide, prompt: str) -> None:
    """CONF-2: so fed, U_r and D_r choose the reference's codes, near-ties of two codes aside, and those are few."""
    settings = reference_side.settings(pipeline, "serial")
    decoded = reference_side.decode(prompt, SEED, settings, record_logits=True)
    low = torch.full((pipeline.bundle.manifest.drafter.grid_height,) * 2, -1)
    high = decoded.tokens
    other = total = 0
    for cycle in decoded.trace.cycles:
        low[cycle.draft_first_row : cycle.draft_first_row + len(cycle.draft_tokens)] = cycle.draft_tokens
        known = low[: cycle.draft_first_row + len(cycle.draft_tokens)].numpy()
        up = pipeline.backend.run("up_sampler", {"low_tokens": known})["high_tokens"]
        other += int((up[cycle.first_row : cycle.last_row] != cycle.up_sampled.numpy()).sum())
        total += cycle.up_sampled.numel()
        if cycle.down_sampled is not None:
            down = pipeline.backend.run("down_sampler", {"high_tokens": high[: cycle.last_row].numpy()})["low_tokens"]
            other += int((down[cycle.draft_first_row :] != cycle.down_sampled.numpy()).sum())
            total += cycle.down_sampled.numel()
            low[cycle.draft_first_row : len(down)] = cycle.down_sampled
    assert total > decoded.tokens.numel()
    assert other <= MOST_OTHER_CODES[pipeline.bundle.manifest.precision] * total
