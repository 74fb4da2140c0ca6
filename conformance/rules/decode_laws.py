"""What the rules say about a whole decode, each checked on its trace; a law raises AssertionError where it is broken.

The tests apply them to the reference; tests of planted defects show that each can fail.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from conformance.rules import oracles
from conformance.rules.branches import reach
from conformance.rules.oracle_model import Array, DictionaryModel, from_scratch, rescaled_tokens
from conformance.rules.replay import PREFILL, moments_of, passes_of, resampled_cells
from conformance.strategies.decodes import Case
from conformance.strategies.toys import CODES
from reference.decode import Decoded
from reference.trace import Cycle, Pass

Law = Callable[[Case, Decoded], None]
TOLERANCE = 1e-9  # between two computations in float64
NEAR_TIE = 1e-5  # between two codes: features are compared in float32


def models_of(case: Case) -> range:
    """Return the numbers of the models that take part in a decode."""
    return range(1 if case.settings.mode == "ar" else 2)


def conditions(case: Case) -> list[Tensor]:
    """Return the prefixes of a decode's batch: the condition, and the null prefix where there is guidance."""
    condition = case.world.condition
    return [condition.cond] if case.settings.guidance_scale == 1 else [condition.cond, condition.uncond]


def processed(case: Case, logits: Tensor | list[Array]) -> list[float]:
    """Return p of one position by DIST-1, from its logits [B, V]."""
    settings, rows = case.settings, [row.tolist() for row in logits]
    uncond = rows[1] if len(rows) == 2 else None
    return oracles.probs(rows[0], uncond, settings.guidance_scale, settings.temperature, settings.top_k, settings.top_p)


def judged(case: Case, logits: Tensor) -> list[float]:
    """Return the distribution that acceptance looks at by DIST-2, from logits [B, V]."""
    if case.settings.accept_on == "processed":
        return processed(case, logits)
    rows = [row.tolist() for row in logits]
    return oracles.probs(rows[0], rows[1] if len(rows) == 2 else None, case.settings.guidance_scale)


def recorded(item: Pass) -> Tensor:
    """Return the logits of a pass, Float[B, T, V]."""
    assert item.logits is not None, "run the case with record_logits=True"
    return item.logits


def prefill_comes_first(case: Case, decoded: Decoded) -> None:
    """PREFILL: the first pass of each model feeds the condition, once, and gives p_0."""
    prefix = list(range(case.toy.prefix_length))
    for number in models_of(case):
        first, *later = passes_of(decoded, number)
        assert first.positions.tolist() == prefix
        assert first.tokens.tolist() == [PREFILL] * len(prefix)
        assert all(int(item.positions.min()) >= len(prefix) for item in later)
        for row, condition in enumerate(conditions(case)):
            expected = from_scratch(case.world.transformer(number), condition, [])[0]
            np.testing.assert_allclose(recorded(first)[row, -1].numpy(), expected, rtol=0, atol=TOLERANCE)


def passes_feed_exactly(case: Case, decoded: Decoded) -> None:
    """KV-3, KV-4: a pass feeds predecessors, what was decided since the last pass, the refreshed window; no more."""
    prefix = case.toy.prefix_length
    for number in models_of(case):
        for moment in moments_of(case, decoded, number):
            predecessors = {cell - 1 for cell in moment.cells if cell > 0}
            assert list(moment.fed(prefix)) == sorted(predecessors | moment.decided | moment.also)
            reach("a pass feeds a decided token that is nobody's predecessor", bool(moment.decided - predecessors))
            reach("a verification feeds a window again", bool(moment.also))


def nothing_seen_is_gone(case: Case, decoded: Decoded) -> None:
    """KV-1, KV-3, GRID-2: a pass reads the grid as it stands, and no query sees a token that the grid has not."""
    prefix = case.toy.prefix_length
    for number in models_of(case):
        held: dict[int, int] = {}
        for moment in moments_of(case, decoded, number):
            fed = moment.fed(prefix)
            assert fed == {cell: moment.grid[cell] for cell in fed}
            replaced = any(held.get(cell, token) != token for cell, token in fed.items())
            reach("a pass replaces the token of a position", replaced)
            held.update(fed)
            last_query = max(fed)
            seen = {cell: token for cell, token in held.items() if cell <= last_query}
            assert seen == {cell: moment.grid[cell] for cell in seen}
            assert set(range(last_query + 1)) <= held.keys()
            assert all(cell - 1 in fed for cell in moment.cells if cell > 0)


def logits_follow_from_passes(case: Case, decoded: Decoded) -> None:
    """KV-1, KV-2, GRID-2: logits come from the keys and values last written at the query's place and before it."""
    for number in models_of(case):
        for row, condition in enumerate(conditions(case)):
            oracle = DictionaryModel(case.world.transformer(number), condition)
            for item in passes_of(decoded, number):
                logits = oracle.feed(dict(zip(item.positions.tolist(), item.tokens.tolist(), strict=True)))
                expected = np.stack([logits[position] for position in item.positions.tolist()])
                np.testing.assert_allclose(recorded(item)[row].numpy(), expected, rtol=0, atol=TOLERANCE)


def samples_follow_from_logits(case: Case, decoded: Decoded) -> None:
    """GRID-2, DIST-2, RNG-1, RNG-2: each sampled token is the Gumbel-max of its p, with its stream's noise."""
    for number in models_of(case):
        drawn: list[int] = []
        for item in passes_of(decoded, number):
            for row, cell, token in item.sampled:
                assert int(item.positions[row]) == case.toy.prefix_length + cell - 1
                noise = [oracles.gumbel(case.seed, 2 * number, cell, code) for code in range(CODES)]
                assert token == oracles.sampled(processed(case, recorded(item)[:, row]), noise)
                drawn.append(cell)
        if number == 0:
            assert len(drawn) == len(set(drawn)), "the target drew the same noise twice"
        else:
            reach("the drafter draws the same noise again", len(drawn) > len(set(drawn)))


def serial_order(case: Case, decoded: Decoded) -> None:
    """MODE-SERIAL, SCHED-4: windows of whole rows in order; R_X in raster order, its first cell without a pass."""
    toy, settings = case.toy, case.settings
    step = settings.draft_rows * toy.scale_ratio
    edges = [*range(0, toy.target_height, step), toy.target_height]
    assert [(cycle.first_row, cycle.last_row) for cycle in decoded.trace.cycles_of(0)] == list(pairwise(edges))
    passes = decoded.trace.passes
    target = [index for index, item in enumerate(passes) if item.model == 0]
    for cycle in decoded.trace.cycles_of(0):
        assert torch.equal(decoded.tokens[cycle.first_row : cycle.last_row], cycle.tokens)
        assert torch.equal(cycle.tokens[~cycle.resampled], cycle.up_sampled[~cycle.resampled])
        place = target.index(cycle.verify_pass)
        sources = [cycle.verify_pass, *target[place + 1 :]]
        for source, cell in zip(sources, resampled_cells(cycle, toy.target_width), strict=False):
            samples = {where: token for _, where, token in passes[source if cell else target[0]].sampled}
            row, column = divmod(cell, toy.target_width)
            assert samples.get(cell) == int(decoded.tokens[row, column])
            assert len(samples) == 1
        reach("two cells or more are resampled", int(cycle.resampled.sum()) > 1)


def passes_are_counted(case: Case, decoded: Decoded) -> None:
    """PREFILL, MODE-AR, MODE-SERIAL: NFE of both models."""
    toy = case.toy
    if case.settings.mode == "ar":
        assert (decoded.nfe_target, decoded.nfe_drafter) == (toy.target_cells, 0)
        return
    resampled = [int(cycle.resampled.sum()) for cycle in decoded.trace.cycles_of(0)]
    assert decoded.nfe_target == 1 + sum(1 + max(0, count - 1) for count in resampled)
    drafted = sum(cycle.draft_tokens.numel() for cycle in decoded.trace.cycles_of(0))
    assert decoded.nfe_drafter == (drafted if case.draft is None else 1)  # cell 0 comes from the prefill
    reach("a cycle without rejection", 0 in resampled)
    reach("a cycle with rejection", any(resampled))


def whole_rows_are_drafted(case: Case, decoded: Decoded) -> None:
    """DRAFT-1: each cycle samples its rows and the look-ahead's, all cells in raster order, or takes those given."""
    toy, settings = case.toy, case.settings
    sampled = [token for item in passes_of(decoded, 1) for token in item.sampled]
    for index, cycle in enumerate(decoded.trace.cycles_of(0)):
        first = index * settings.draft_rows
        last = min(first + settings.draft_rows + settings.look_ahead, toy.height)
        tokens = cycle.draft_tokens.flatten().tolist()
        assert cycle.draft_first_row == first
        assert cycle.draft_tokens.shape == (last - first, toy.width)
        if case.draft is None:
            here, sampled = sampled[: len(tokens)], sampled[len(tokens) :]
            assert [(cell, token) for _, cell, token in here] == list(enumerate(tokens, start=first * toy.width))
        else:
            assert tokens == list(case.draft[first * toy.width : last * toy.width])
        reach("rows are drafted ahead", last > first + settings.draft_rows)
        reach("the last rows are fewer", first + settings.draft_rows > toy.height)
    assert not sampled


def verification_judges(case: Case, decoded: Decoded) -> None:
    """VERIFY-1, POOL-1, ACCEPT-1, DIST-2: one pass scores every position; p pooled over B_k is held against tau."""
    toy, settings = case.toy, case.settings
    codes = torch.nn.functional.normalize(case.world.models.tokenizer.codebook, dim=-1).tolist()
    near = [oracles.neighbourhood(codes, code, settings.neighbours) for code in range(CODES)]
    prefill, passes = passes_of(decoded, 0)[0], decoded.trace.passes
    for cycle in decoded.trace.cycles_of(0):
        verified = passes[cycle.verify_pass]
        assert verified.model == 0
        row_of = {cell: row for row, cell in enumerate((verified.positions - toy.prefix_length).tolist())}
        pooled = cycle.pooled_probs.flatten().tolist()
        for index, token in enumerate(cycle.up_sampled.flatten().tolist()):
            cell = cycle.first_row * toy.target_width + index
            logits = recorded(verified)[:, row_of[cell - 1]] if cell else recorded(prefill)[:, -1]
            used, other = judged(case, logits), processed(case, logits)
            assert abs(pooled[index] - oracles.pooled(used, near[token])) < TOLERANCE
            reach("what acceptance looks at is not what is sampled from", used != other)
        expected = [value >= settings.tau and settings.tau <= 1 for value in pooled]
        assert cycle.kept.flatten().tolist() == expected
        reach("some kept, some rejected", len(set(expected)) == 2)


def rejections_grow(case: Case, decoded: Decoded) -> None:
    """LOCAL-1: R_X of each cycle follows from its rejections."""
    width = case.toy.target_width
    for cycle in decoded.trace.cycles_of(0):
        window = range(cycle.first_row * width, cycle.last_row * width)
        rejected = {cell for cell, kept in zip(window, cycle.kept.flatten().tolist(), strict=True) if not kept}
        expected = oracles.resampled(rejected, case.settings.radius, width, window)
        assert resampled_cells(cycle, width) == sorted(expected)
        reach("R_X is more than the rejected cells", expected > rejected)
        reach("R_X is not the whole rest", bool(rejected) and len(expected) < window.stop - min(rejected))


def scaling_uses_known_rows(case: Case, decoded: Decoded) -> None:
    """SCALE-1, SCALE-2: U_r of the rows known so far gives the window; D_r of the verified rows gives its new rows."""
    toy, tokenizer = case.toy, case.world.models.tokenizer
    verified_low = torch.empty(0, toy.width, dtype=torch.long)
    for cycle in decoded.trace.cycles_of(0):
        known = torch.cat([verified_low, cycle.draft_tokens])
        expected, margin = rescaled_tokens(tokenizer, known, toy.scale_ratio, up=True)
        window = slice(cycle.first_row, cycle.last_row)
        agree(cycle.up_sampled, expected[window], margin[window])
        if cycle.down_sampled is None:
            assert cycle.last_row == toy.target_height
            continue
        new = slice(cycle.draft_first_row, cycle.last_row // toy.scale_ratio)
        expected, margin = rescaled_tokens(tokenizer, decoded.tokens[: cycle.last_row], toy.scale_ratio, up=False)
        agree(cycle.down_sampled, expected[new], margin[new])
        reach("verified rows differ from the draft", differs(cycle))
        verified_low = torch.cat([verified_low, cycle.down_sampled])


def agree(tokens: Tensor, expected: np.typing.NDArray[np.int64], margin: Array) -> None:
    """Assert that tokens are the nearest codes, wherever the nearest is clear."""
    assert tokens.shape == expected.shape
    assert ((tokens.numpy() == expected) | (margin < NEAR_TIE)).all()
    reach("the nearest code is clear", bool((margin >= NEAR_TIE).any()))


def differs(cycle: Cycle) -> bool:
    """Return whether D_r gave other tokens than the drafter had."""
    assert cycle.down_sampled is not None
    return not torch.equal(cycle.down_sampled, cycle.draft_tokens[: len(cycle.down_sampled)])
