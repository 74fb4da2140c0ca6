"""What the rules say about the cycles of a decode: drafts, windows, verdicts and what is resampled.

As in decode_laws.py, a law is checked on a trace and raises AssertionError where it is broken.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from mulo_sd.conformance.rules import acceptance_oracles, oracles
from mulo_sd.conformance.rules.branches import NEAR_TIE, reach
from mulo_sd.conformance.rules.decode_case import DecodeCase
from mulo_sd.conformance.rules.decode_laws import judged, may_be_sampled, near_processed, processed, recorded, shown
from mulo_sd.conformance.rules.drawing import codebook_of, hangs_on_rounding, may_have_chance
from mulo_sd.conformance.rules.oracle_model import Array, rescaled_tokens
from mulo_sd.conformance.rules.replay import (
    cycles_together,
    passes_of,
    replaced_rows,
    resampled_cells,
    rounds_of,
    told_of,
)
from mulo_sd.conformance.rules.sweeping import Round
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.trace import Cycle


def cycles_in_order(case: DecodeCase, decoded: Decoded) -> None:
    """MODE-SERIAL, MODE-PARALLEL, CASCADE-1, SCHED-4: windows in order; R_X by its schedule, its first step free."""
    settings, height = case.settings, case.grid(0)[0]
    step = settings.draft_rows * case.models.scale_ratio(0, settings.drafters[0])
    edges = [*range(0, height, step), height] if settings.decoding.by_rows else [0, height]
    assert [(cycle.first_row, cycle.last_row) for cycle in decoded.trace.cycles_of(0)] == list(pairwise(edges))
    for cycle in decoded.trace.cycles_of(0):
        assert torch.equal(decoded.tokens[cycle.first_row : cycle.last_row], cycle.tokens)
    for cycle in decoded.trace.cycles:
        assert torch.equal(cycle.tokens[~cycle.resampled], cycle.up_sampled[~cycle.resampled])
    for number in settings.model_numbers[:-1]:
        for told, rounds in rounds_of(case, decoded, number):
            assert told is not None
            resampled_by_schedule(case, decoded, told, rounds)


def resampled_by_schedule(case: DecodeCase, decoded: Decoded, cycle: Cycle, rounds: list[Round]) -> None:
    """SCHED-1, SCHED-2, SCHED-4: the pass after each step is the next one's; the verification serves the first."""
    passes, width = decoded.trace.passes, case.grid(cycle.model)[1]
    own = [index for index, item in enumerate(passes) if item.model == cycle.model]
    sources = own[own.index(cycle.verify_pass) :]
    if case.settings.decoding.is_exact and cycle.model == 0 and rounds[0].cells == [0]:
        sources.insert(0, own[0])
    for source, item in zip(sources[: len(rounds)], rounds, strict=True):
        samples = {cell: token for _, cell, token in passes[source].sampled}
        if item.cells[0] == 0:
            samples |= {cell: token for _, cell, token in passes[own[0]].sampled}
        tokens = cycle.tokens.flatten()
        decided = {cell: int(tokens[cell - cycle.first_row * width]) for cell in item.decided}
        assert samples == item.samples | decided, (
            f"model {cycle.model}, rows {cycle.first_row} to {cycle.last_row}: pass {source} samples cells "
            f"{shown(samples)}, expected {shown(item.samples)}, and of them decides {shown(decided)}"
        )
        reach("several cells in a step", len(item.cells) > 1)
    reach("two cells or more are resampled", int(cycle.resampled.sum()) > 1)
    reach("a drafter resamples", bool(cycle.model and cycle.resampled.any()))


def whole_rows_are_drafted(case: DecodeCase, decoded: Decoded) -> None:
    """DRAFT-1, CASCADE-1: each cycle drafts the rows under its window and the look-ahead's, a level at a time."""
    models, look_ahead = case.models, case.settings.look_ahead
    for group in cycles_together(decoded):
        assert [cycle.model for cycle in group] == list(case.settings.model_numbers[-2::-1])
        for lower, cycle in pairwise(group):
            assert (lower.first_row, lower.last_row) == (
                cycle.draft_first_row,
                cycle.draft_first_row + len(cycle.draft_tokens),
            )
            assert torch.equal(lower.tokens, cycle.draft_tokens)
            reach("a draft is drafted")
        for cycle in group:
            ratio, height = models.scale_ratio(cycle.model, cycle.draft_model), case.grid(cycle.draft_model)[0]
            last = min(math.ceil(cycle.last_row / ratio) + look_ahead, height)
            drafted = (cycle.draft_first_row, cycle.draft_first_row + len(cycle.draft_tokens))
            assert drafted == (cycle.first_row // ratio, last), (
                f"model {cycle.draft_model}: drafts rows {drafted[0]} to {drafted[1]} for rows {cycle.first_row} to "
                f"{cycle.last_row} of model {cycle.model}, expected {cycle.first_row // ratio} to {last}"
            )
            assert cycle.draft_tokens.shape[1] == case.grid(cycle.draft_model)[1]
            reach("rows are drafted ahead", last > math.ceil(cycle.last_row / ratio))
            reach("a row is drafted for half of what lies over it", cycle.first_row % ratio > 0)
    edges = [cycle.last_row - cycle.first_row for cycle in decoded.trace.cycles_of(0)]
    reach("the last rows are fewer", edges[-1] < edges[0])
    drafts_are_sampled(case, decoded)


def drafts_are_sampled(case: DecodeCase, decoded: Decoded) -> None:
    """DRAFT-1: the coarsest drafter samples all cells of its rows by its schedule, or takes those given."""
    coarsest = case.settings.model_numbers[-1]
    drafted = [cycle for cycle in decoded.trace.cycles if cycle.draft_model == coarsest]
    if case.draft is not None:
        for cycle in drafted:
            start, tokens = cycle.draft_first_row * cycle.draft_tokens.shape[1], cycle.draft_tokens.flatten().tolist()
            assert tokens == list(case.draft[start : start + len(tokens)])
        assert not any(item.sampled for item in passes_of(decoded, coarsest))
        return
    told = told_of(case, decoded, coarsest)
    by_rows = [cycle for cycle, _, _ in told.speculations]
    assert all(
        told_cycle is cycle
        for told_cycle, cycle in zip(by_rows or [cycle for cycle, _ in told.rounds], drafted, strict=True)
    )
    prefill, *left = [[(cell, token) for _, cell, token in item.sampled] for item in passes_of(decoded, coarsest)]
    for _, rounds in told.rounds:
        for item in rounds:
            sampled = [prefill.pop(0)] if item.cells[0] == 0 else []
            sampled += left.pop(0) if item.cells != [0] else []
            assert sampled == [(cell, item.samples[cell]) for cell in item.cells]
            reach("several cells are drafted in a step", len(item.cells) > 1)
    assert not prefill
    assert not any(left)


def cycles_judged_at_once(case: DecodeCase, decoded: Decoded) -> list[Cycle]:
    """Return the cycles that one pass verifies, with resampling around rejections, and not pass by pass (METHOD-2)."""
    settings = case.settings
    return [
        cycle
        for cycle in decoded.trace.cycles
        if (settings.refine_by == "local" if cycle.model else settings.decoding.is_local)
    ]


def verification_judges(case: DecodeCase, decoded: Decoded) -> None:
    """VERIFY-1, POOL-1, ACCEPT-1, DIST-2: one pass scores every position; p pooled over B_k is held against tau."""
    settings = case.settings
    codes = torch.nn.functional.normalize(case.models.tokenizer.codebook, dim=-1).tolist()
    near = [oracles.neighbourhood(codes, code, settings.neighbours) for code in range(case.codes)]
    for cycle in cycles_judged_at_once(case, decoded):
        verified, prefill = decoded.trace.passes[cycle.verify_pass], passes_of(decoded, cycle.model)[0]
        assert verified.model == cycle.model
        row_of = {cell: row for row, cell in enumerate((verified.positions - case.prefix_length).tolist())}
        pooled = cycle.pooled_probs.flatten().tolist()
        for index, token in enumerate(cycle.up_sampled.flatten().tolist()):
            cell = cycle.first_row * case.grid(cycle.model)[1] + index
            logits = recorded(verified)[:, row_of[cell - 1]] if cell else recorded(prefill)[:, -1]
            used, other = judged(case, logits), processed(case, logits)
            sums = [oracles.pooled(probs, near[token]) for probs in used]
            off = min(abs(pooled[index] - value) for value in sums)
            assert off <= case.rounding.probs, (
                f"model {cycle.model}, cell {cell}: pooled {pooled[index]}, expected {sums[0]}"
            )
            reach("what acceptance looks at is not what is sampled from", used[0] != other)
            if cycle.model == 0 and settings.decoding.acceptance != "pooled":
                certain_draft_is_judged(
                    case, cell, token, bool(cycle.kept.flatten()[index]), near_processed(case, logits)
                )
        if cycle.model == 0 and settings.decoding.acceptance != "pooled":
            continue
        # An engine compares in float32.
        tau = oracles.float32(settings.tau) if case.rounding.nats else settings.tau
        expected = [value >= tau and settings.tau <= 1 for value in pooled]
        wrong = [index for index, kept in enumerate(cycle.kept.flatten().tolist()) if kept != expected[index]]
        assert not wrong, (
            f"model {cycle.model}, cell {cycle.first_row * case.grid(cycle.model)[1] + wrong[0]}: pooled "
            f"{pooled[wrong[0]]:.6g} against tau {settings.tau:.6g} is {'rejected' if expected[wrong[0]] else 'kept'}"
        )
        reach("some kept, some rejected", len(set(expected)) == 2)


def certain_draft_is_judged(case: DecodeCase, cell: int, token: int, kept: bool, likely: list[list[float]]) -> None:
    """METHOD-1: where corrections are local, any rule of acceptance judges each draft token by itself, as certain."""
    rule, what = (
        case.settings.decoding.acceptance or "",
        f"cell {cell}: draft {token} is {'kept' if kept else 'rejected'}",
    )
    if rule == "coupled":
        noise = [oracles.gumbel(case.seed, 0, cell, code) for code in range(case.codes)]
        is_own = token == oracles.sampled(likely[0], noise)
        assert kept == is_own or kept == may_be_sampled(case, likely, noise, token), what
        return
    certain = [float(code == token) for code in range(case.codes)]
    chances = [
        acceptance_oracles.accepted(rule, probs, certain, token, 0, 1, case.settings, codebook_of(case))[0]
        for probs in likely
    ]
    draw = (oracles.word(case.seed, 1, cell, 0) + 0.5) / oracles.WORD
    near = any(may_have_chance(draw, chance, case.rounding) for chance in chances)
    right = kept == (draw < chances[0]) or near or hangs_on_rounding(rule, likely[0], token, case)
    assert right, f"{what} at U {draw:.6g}, chance {chances[0]:.6g}"
    reach("a certain draft is judged by another rule")


def rejections_grow(case: DecodeCase, decoded: Decoded) -> None:
    """LOCAL-1, LOCAL-3: R_X of each cycle follows from its rejections and their radii."""
    for cycle in cycles_judged_at_once(case, decoded):
        width = case.grid(cycle.model)[1]
        window = range(cycle.first_row * width, cycle.last_row * width)
        judged = zip(window, cycle.kept.flatten().tolist(), cycle.radii.flatten().tolist(), strict=True)
        rejected = {cell: radius for cell, kept, radius in judged if not kept}
        expected = oracles.resampled(rejected, width, window)
        assert resampled_cells(cycle, width) == sorted(expected), (
            f"model {cycle.model}: R_X is {shown(resampled_cells(cycle, width))}, expected {shown(expected)} for "
            f"rejections {{cell: radius}} {dict(sorted(rejected.items())[:8])}"
        )
        assert drawn_in(decoded, cycle) == expected, "other cells are drawn than R_X"
        assert case.settings.radius_nats or (cycle.radii == case.settings.radius).all()
        reach("R_X is more than the rejected cells", expected > rejected.keys())
        reach("R_X is not the whole rest", bool(rejected) and len(expected) < window.stop - min(rejected))
        reach("radii differ", len(set(rejected.values())) > 1)


def drawn_in(decoded: Decoded, cycle: Cycle) -> set[int]:
    """Return the cells that are drawn from a cycle's verification and the passes after it."""
    passes = decoded.trace.passes
    own = [index for index, item in enumerate(passes) if item.model == cycle.model]
    later = [
        other.verify_pass for other in decoded.trace.cycles_of(cycle.model) if other.verify_pass > cycle.verify_pass
    ]
    made = [index for index in own if cycle.verify_pass <= index < min(later, default=len(passes))]
    if cycle.first_row == 0:
        made.append(own[0])  # the prefill serves cell 0
    return {cell for index in made for _, cell, _ in passes[index].sampled}


def scaling_uses_known_rows(case: DecodeCase, decoded: Decoded) -> None:
    """SCALE-1, SCALE-2: U_r of the rows known so far gives the window; D_r of the verified rows gives its new rows."""
    models = case.models
    for number in case.settings.model_numbers[1:]:
        replaced = replaced_rows(case, decoded, number)
        known = torch.empty(0, case.grid(number)[1], dtype=torch.long)
        for group, (first_row, rows) in zip(cycles_together(decoded), replaced, strict=True):
            cycle = next(cycle for cycle in group if cycle.draft_model == number)
            drafted = torch.cat([known[: cycle.draft_first_row], cycle.draft_tokens])
            assert len(drafted) == cycle.draft_first_row + len(cycle.draft_tokens)
            ratio, window = models.scale_ratio(cycle.model, number), slice(cycle.first_row, cycle.last_row)
            expected, margin = rescaled_tokens(models, drafted, ratio, True, case.settings.up_sampler)
            what = f"U_{ratio} to rows {cycle.first_row} to {cycle.last_row} of model {cycle.model}"
            agree(what, cycle.up_sampled, expected[window], margin[window], case.rounding.codes)
            known = torch.cat([known[:first_row], rows]) if rows.numel() else known
    ratio = models.scale_ratio(0, case.settings.drafters[0])
    for cycle in decoded.trace.cycles_of(0):
        if cycle.down_sampled is None:
            assert cycle.last_row == case.grid(0)[0]
            continue
        new = slice(cycle.draft_first_row, cycle.last_row // ratio)
        verified = decoded.tokens[: cycle.last_row]
        expected, margin = rescaled_tokens(models, verified, ratio, False, case.settings.down_sampler)
        what = f"D_{ratio} of the target's rows up to {cycle.last_row}"
        agree(what, cycle.down_sampled, expected[new], margin[new], case.rounding.codes)
        reach("verified rows differ from the draft", differs(cycle))


def agree(what: str, tokens: Tensor, expected: np.typing.NDArray[np.int64], margin: Array, clear: float) -> None:
    """Assert that tokens are the nearest codes, wherever the nearest leads by `clear`."""
    assert tokens.shape == expected.shape, f"{what}: {list(tokens.shape)} tokens, expected {list(expected.shape)}"
    same = tokens.numpy() == expected
    wrong = [tuple(cell) for cell in np.argwhere(~same & (margin >= clear)).tolist()]
    assert not wrong, (
        f"{what}: {len(wrong)} of {same.size} codes are not the nearest, the first in row {wrong[0][0]}, column "
        f"{wrong[0][1]}: {int(tokens[wrong[0]])}, expected {int(expected[wrong[0]])}"
    )
    reach("the nearest code is clear", bool((margin >= clear).any()))
    reach(NEAR_TIE, not same.all())


def differs(cycle: Cycle) -> bool:
    """Return whether D_r gave other tokens than the drafter had."""
    assert cycle.down_sampled is not None
    return not torch.equal(cycle.down_sampled, cycle.draft_tokens[: len(cycle.down_sampled)])


def radii_follow(case: DecodeCase, decoded: Decoded) -> None:
    """LOCAL-3: a rejection's radius follows from the entropy of p (as sampled from, DIST-2) around it in the window."""
    settings = case.settings
    for cycle in cycles_judged_at_once(case, decoded):
        verified, prefill = decoded.trace.passes[cycle.verify_pass], passes_of(decoded, cycle.model)[0]
        positions, (rows, width) = (verified.positions - case.prefix_length).tolist(), cycle.radii.shape
        entropies: list[list[float]] = [[] for _ in range(rows)]
        for index in range(rows * width):
            cell = cycle.first_row * width + index
            logits = recorded(verified)[:, positions.index(cell - 1)] if cell else recorded(prefill)[:, -1]
            entropies[index // width].append(oracles.entropy(processed(case, logits)))
        for index, radius in enumerate(cycle.radii.flatten().tolist()):
            near = float(oracles.mean_near(entropies, *divmod(index, width), settings.radius))
            bought = near / settings.radius_nats if settings.radius_nats else settings.radius
            off = max(case.rounding.probs, case.rounding.nats / (settings.radius_nats or 1))
            # A mean that buys a whole number of cells, but for rounding, may be rounded either way.
            allowed = {min(settings.radius, math.floor(max(0.0, bought + by))) for by in (-off, off)}
            assert radius in allowed, (
                f"model {cycle.model}, row {cycle.first_row + index // width}, column {index % width}: radius "
                f"{radius}, expected {min(allowed)} for a mean entropy of {near:.6g} nats around it"
            )
        reach("radii differ", len(set(cycle.radii.flatten().tolist())) > 1)
        reach("a radius is below the largest", int(cycle.radii.min()) < settings.radius)
