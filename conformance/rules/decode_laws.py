"""What the rules say about a whole decode, each checked on its trace; a law raises AssertionError where it is broken.

The tests apply them to the reference; tests of planted defects show that each can fail.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from torch import Tensor

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.rules.branches import NEAR_TIE, reach
from mulo_sd.conformance.rules.decode_case import DecodeCase
from mulo_sd.conformance.rules.moments import PREFILL
from mulo_sd.conformance.rules.oracle_model import Array, DictionaryModel, from_scratch
from mulo_sd.conformance.rules.replay import moments_of, passes_of, rounds_of, told_of
from mulo_sd.conformance.rules.sweeping import plan_of
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.trace import Pass, TreeSpeculation

MAX_SHOWN = 12
Law = Callable[[DecodeCase, Decoded], None]


def models_of(case: DecodeCase) -> tuple[int, ...]:
    """Return the numbers of the models that take part in a decode."""
    return case.settings.model_numbers


def conditions(case: DecodeCase) -> list[Tensor]:
    """Return the prefixes of a decode's batch: the condition, and the null prefix where there is guidance."""
    return list(case.condition.prefixes(case.models.target, case.settings.guidance_scale))


def processed(case: DecodeCase, logits: Tensor | list[Array], top_p_factor: float = 1.0) -> list[float]:
    """Return p of one position by DIST-1, from its logits [B, V]."""
    settings, rows = case.settings, [row.tolist() for row in logits]
    uncond, top_p = rows[1] if len(rows) == 2 else None, settings.top_p * top_p_factor
    return oracles.probs(rows[0], uncond, settings.guidance_scale, settings.temperature, settings.top_k, top_p)


def near_processed(case: DecodeCase, logits: Tensor) -> list[list[float]]:
    """Return what p may be: `processed`, and where rounding counts also with a code more or less kept by top-p."""
    nats = case.rounding.nats
    factors = (1.0, 1 - nats, 1 + nats) if nats and case.settings.top_p < 1 else (1.0,)
    return [processed(case, logits, factor) for factor in factors]


def judged(case: DecodeCase, logits: Tensor) -> list[list[float]]:
    """Return what the distribution that acceptance looks at by DIST-2 may be, from logits [B, V]."""
    if case.settings.accept_on == "processed":
        return near_processed(case, logits)
    rows = [row.tolist() for row in logits]
    return [oracles.probs(rows[0], rows[1] if len(rows) == 2 else None, case.settings.guidance_scale)]


def may_be_sampled(case: DecodeCase, likely: Sequence[Sequence[float]], noise: Sequence[float], token: int) -> bool:
    """Return whether RNG-1 draws a token from one of some distributions, near-ties included."""
    if token == oracles.sampled(likely[0], noise):
        return True
    near = any(token in oracles.nearly_sampled(probs, noise, case.rounding.nats) for probs in likely)
    reach(NEAR_TIE, near)
    return near


def shown(cells: Iterable[int]) -> str:
    """Return cells in order, the first few of many."""
    ordered = sorted(cells)
    text = ", ".join(map(str, ordered[:MAX_SHOWN]))
    return f"[{text}, and {len(ordered) - MAX_SHOWN} more]" if len(ordered) > MAX_SHOWN else f"[{text}]"


def recorded(item: Pass) -> Tensor:
    """Return the logits of a pass, Float[B, T, V]."""
    assert item.logits is not None, "run the case with record_logits=True"
    assert bool(item.logits.isfinite().all()), f"a pass of model {item.model}: expected finite logits"
    return item.logits


def prefill_comes_first(case: DecodeCase, decoded: Decoded) -> None:
    """PREFILL: the first pass of each model feeds the condition, once, and gives p_0."""
    prefix = list(range(case.prefix_length))
    for number in models_of(case):
        first, *later = passes_of(decoded, number)
        assert first.positions.tolist() == prefix
        assert first.tokens.tolist() == [PREFILL] * len(prefix)
        assert all(int(item.positions.min()) >= len(prefix) for item in later)
        for row, condition in enumerate(conditions(case)):
            expected = from_scratch(case.models.transformer(number), condition, [])[0]
            np.testing.assert_allclose(recorded(first)[row, -1].numpy(), expected, rtol=0, atol=case.rounding.logits)


def passes_feed_exactly(case: DecodeCase, decoded: Decoded) -> None:
    """KV-3, KV-4, SWEEP-3: a pass feeds predecessors, decided tokens not fed yet, guesses, the refreshed window."""
    prefix = case.prefix_length
    for number in models_of(case):
        for moment in moments_of(case, decoded, number):
            predecessors = {cell - 1 for cell in moment.cells if cell > 0}
            fed, expected = list(moment.fed(prefix)), sorted(predecessors | moment.decided | moment.also)
            assert fed == expected, (
                f"model {number}, the pass for cells {shown(moment.cells)}: feeds {shown(fed)}, "
                f"expected {shown(expected)}: predecessors {shown(predecessors)}, decided and not fed since "
                f"{shown(moment.decided)}, refreshed or guessed {shown(moment.also)}"
            )
            reach("a pass feeds a decided token that is nobody's predecessor", bool(moment.decided - predecessors))
            guesses = moment.also.intersection(moment.cells)
            reach("a pass feeds a guess that is nobody's predecessor", bool(guesses - predecessors))
            reach("a verification feeds a window again", bool(moment.also - guesses))


def nothing_seen_is_gone(case: DecodeCase, decoded: Decoded) -> None:
    """KV-1, KV-3, GRID-2, SCHED-3: a pass reads the grid as it stands; no query sees a token that the grid has not.

    The end of a row that is not there yet is the exception: there a stand-in is seen.
    """
    prefix = case.prefix_length
    for number in models_of(case):
        held: dict[int, int] = {}
        stand_ins: set[int] = set()  # places whose key and value are those of a token that stands in
        width = case.grid(number)[1]
        for moment in moments_of(case, decoded, number):
            fed = moment.fed(prefix)
            standing = {cell: moment.token(cell, width) for cell in fed}
            assert fed == standing, (
                f"model {number}, the pass for cells {shown(moment.cells)}: feeds other tokens than the grid holds, "
                f"at cells {shown(cell for cell in fed if fed[cell] != standing[cell])}"
            )
            replaced = any(held.get(cell, token) != token for cell, token in fed.items())
            reach("a pass replaces the token of a position", replaced)
            reach("a pass feeds a stand-in", any(cell not in moment.grid for cell in fed))
            reach("a true token takes a stand-in's place", bool(stand_ins & fed.keys() & moment.grid.keys()))
            held.update(fed)
            stand_ins = {cell for cell in stand_ins | fed.keys() if cell not in moment.grid}
            last_query = max(fed)
            existing = {cell: token for cell, token in moment.grid.items() if cell <= last_query}
            seen = {cell: token for cell, token in held.items() if cell <= last_query and cell not in stand_ins}
            if moment.rows is not None:  # a row sees its own drafts alone, as its logits tell
                existing, seen = (
                    {cell: token for cell, token in tokens.items() if cell not in moment.rows.unsettled}
                    for tokens in (existing, seen)
                )
            stale = [cell for cell in seen.keys() | existing.keys() if seen.get(cell) != existing.get(cell)]
            assert not stale, (
                f"model {number}, the pass for cells {shown(moment.cells)}: its queries see tokens that the grid no "
                f"longer holds, or miss some, at cells {shown(stale)}"
            )
            assert all((cell + 1) % width == 0 for cell in stand_ins)
            assert all(cell - 1 in fed for cell in moment.cells if cell > 0)


def logits_follow_from_passes(case: DecodeCase, decoded: Decoded) -> None:
    """KV-1, KV-2, GRID-2, METHOD-5, METHOD-6, MODE-UNMASKED: logits come from the keys and values that a query may see.

    Those are the ones last written at the query's place and before it; of rows side by side the drafts of its own, of
    a tree its ancestors, and as ZipAR is published zeros where nothing has been decoded.
    """
    prefix = case.prefix_length
    for number in models_of(case):
        views = [None, *(moment.rows for moment in moments_of(case, decoded, number))]
        for row, condition in enumerate(conditions(case)):
            oracle = DictionaryModel(case.models.transformer(number), condition)
            for item, view in zip(passes_of(decoded, number), views, strict=True):
                if view is None:
                    seen: tuple[dict[int, int], dict[int, int]] = {}, {}
                else:
                    oracle.open([prefix + cell for cell in view.settled])
                    seen = (
                        {prefix + cell - 1: row for cell, row in view.queried.items()},
                        {prefix + cell: row for cell, row in view.drafted.items()},
                    )
                logits = oracle.feed(dict(zip(item.positions.tolist(), item.tokens.tolist(), strict=True)), *seen)
                expected = np.stack([logits[position] for position in item.positions.tolist()])
                np.testing.assert_allclose(recorded(item)[row].numpy(), expected, rtol=0, atol=case.rounding.logits)
                if item is passes_of(decoded, number)[0] and case.settings.decoding.sees_zeros and number == 0:
                    oracle.show_zeros()
                for tree in item.trees:
                    tree_logits_follow(case, oracle, tree, row, expected[-1])


def tree_logits_follow(case: DecodeCase, oracle: DictionaryModel, tree: TreeSpeculation, row: int, last: Array) -> None:
    """METHOD-6: a node sees what stands before the tree, its ancestors and itself."""
    assert tree.logits is not None, "run the case with record_logits=True"
    nodes = oracle.tree(
        case.prefix_length + tree.cell, tree.tokens.tolist(), tree.parents.tolist(), tree.depths.tolist()
    )
    np.testing.assert_allclose(tree.logits[row].numpy(), np.stack([last, *nodes]), rtol=0, atol=case.rounding.logits)
    reach("a node has siblings", len(set(tree.parents.tolist())) < len(nodes))


def anchor_bonus(case: DecodeCase, decoded: Decoded, number: int, index: int, cell: int) -> list[float]:
    """ANCHOR-1: what is added to the noise of a token sampled from pass `index`; nothing where nothing is resampled."""
    cycles = decoded.trace.cycles_of(number)
    exact = case.settings.decoding.is_exact and number == 0
    if not cycles or exact or not case.settings.anchor:
        return [0.0] * case.codes
    cycle = [item for item in cycles if item.verify_pass <= index or item is cycles[0]][-1]
    codes = case.models.tokenizer.codebook.tolist()
    draft = codes[int(cycle.up_sampled.flatten()[cell - cycle.first_row * cycle.up_sampled.shape[1]])]
    return [oracles.float32(case.settings.anchor * oracles.cosine(code, draft)) for code in codes]


def samples_follow_from_logits(case: DecodeCase, decoded: Decoded) -> None:
    """GRID-2, DIST-2, RNG-1, RNG-2, ANCHOR-1: each sample is the Gumbel-max of its p, with its stream's noise."""
    drawn: dict[int, list[int]] = {number: [] for number in models_of(case)}
    for index, item in enumerate(decoded.trace.passes):
        for row, cell, token in item.sampled:
            assert int(item.positions[row]) == case.prefix_length + cell - 1
            noise = [oracles.gumbel(case.seed, 2 * item.model, cell, code) for code in range(case.codes)]
            bonus = anchor_bonus(case, decoded, item.model, index, cell)
            likely = near_processed(case, recorded(item)[:, row])
            drawn_towards = [oracles.float32(a + b) for a, b in zip(noise, bonus, strict=True)]
            assert may_be_sampled(case, likely, drawn_towards, token), (
                f"model {item.model}, cell {cell}, from pass {index}: sampled {token}, "
                f"expected {oracles.sampled(likely[0], drawn_towards)}"
            )
            reach("the anchor changes a token", token != oracles.sampled(likely[0], noise))
            decided = [sweep.decided[sweep.cells.tolist().index(cell)] for sweep in item.sweeps if cell in sweep.cells]
            if not decided or any(decided):
                drawn[item.model].append(cell)
    assert len(drawn[0]) == len(set(drawn[0])), "the target decided a cell twice"
    reach("the drafter draws the same noise again", any(len(cells) > len(set(cells)) for cells in drawn.values()))


def passes_are_counted(case: DecodeCase, decoded: Decoded) -> None:
    """PREFILL, MODE-AR, MODE-ZIPAR, MODE-SERIAL, MODE-PARALLEL, SWEEP-2, METHOD-2: NFE of each model."""
    settings = case.settings
    if not settings.decoding.drafts:
        undrafted_passes_are_counted(case, decoded)
        return
    *verifying, coarsest = models_of(case)
    for number in verifying:
        told = told_of(case, decoded, number)
        all_rounds = [rounds for _, rounds in told.rounds]
        if told.speculations:
            expected = 1 + told.judging_passes
        elif settings.decoding.is_exact and number == 0:
            expected = 1 + sum(item.cells != [0] for rounds in all_rounds for item in rounds)
        else:
            expected = 1 + sum(max(1, len(rounds)) for rounds in all_rounds)
            reach("a cycle without rejection", [] in all_rounds)
            reach("a cycle with rejection", any(all_rounds))
        assert decoded.trace.nfe(number) == expected, (
            f"model {number}: {decoded.trace.nfe(number)} passes, expected {expected}"
        )
    drafted = told_of(case, decoded, coarsest)
    needed = sum(item.cells != [0] for _, rounds in drafted.rounds for item in rounds)  # cell 0 comes from the prefill
    assert decoded.trace.nfe(coarsest) == 1 + needed + drafted.judging_passes
    assert decoded.nfe_drafter == sum(decoded.trace.nfe(number) for number in models_of(case)[1:])


def undrafted_passes_are_counted(case: DecodeCase, decoded: Decoded) -> None:
    """MODE-AR, MODE-ZIPAR, SWEEP-2: where the target alone decodes, steps of windows, or at most N sweeps."""
    settings, (height, width) = case.settings, case.grid(0)
    if settings.decoding.is_speculative:
        told = told_of(case, decoded, 0)
        assert decoded.nfe_target == 1 + told.judging_passes <= 1 + height * width
        assert {item.model for item in decoded.trace.passes} - {0} == told.drafting_models
        reach("a pass decides several tokens", decoded.nfe_target < height * width)
        return
    assert decoded.nfe_drafter == 0
    if plan_of(settings, "alone").by_sweeps:
        [(_, rounds)] = rounds_of(case, decoded, 0)
        assert decoded.nfe_target == 1 + sum(item.cells != [0] for item in rounds)
        assert len(rounds) <= height * width
        assert settings.sweep_width != 1 or decoded.nfe_target == height * width
        return
    shortest = width + (height - 1) * min(settings.window or width, width)
    adaptive = settings.adaptive_window
    assert decoded.nfe_target == shortest or (adaptive and shortest <= decoded.nfe_target <= height * width)
