"""What the rules say about single functions; a law takes the function, so that anyone's can be held to it."""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conformance.rules import oracles
from conformance.rules.branches import reach
from conformance.rules.oracle_model import Array, DictionaryModel, array, resized
from conformance.strategies.codebooks import Codebook, Judgement
from conformance.strategies.grids import Mask, Window
from conformance.strategies.logits import Logits
from conformance.strategies.toys import Toy, build
from reference.cache import KVCache
from reference.scaling import enlarge, shrink
from reference.transformer import Transformer

Feed = Callable[[Transformer, KVCache, Tensor, Tensor], Tensor]
TOLERANCE = 1e-9


def cells_are_in_raster_order(mask: Mask, raster_positions: Callable[[Tensor], Tensor]) -> None:
    """GRID-1: u = row * W + column, ascending."""
    inside = mask.tensor
    expected = [
        row * mask.width + column for row in range(mask.height) for column in range(mask.width) if inside[row, column]
    ]
    assert raster_positions(inside).tolist() == expected
    reach("no cell", not expected)
    reach("several rows", len({u // mask.width for u in expected}) > 1)


def rejections_reach_their_neighbourhood(window: Window, expand: Callable[[Tensor, int, int, int], Tensor]) -> None:
    """LOCAL-1: R_X by its definition."""
    mask, radius = window.rejected, window.radius
    result = expand(mask.tensor, radius, window.first_row, window.last_row)
    expected = oracles.resampled(dict.fromkeys(mask.cells, radius), mask.width, window.cells)
    assert result.shape == (mask.height, mask.width)
    assert set(result.flatten().nonzero().flatten().tolist()) == expected
    reach("nothing is rejected", not mask.cells)
    reach("a neighbour is added", expected > mask.cells)
    first = min(mask.cells, default=0)
    before = {t: u for t in mask.cells for u in window.cells if u < first and near(t, u, mask.width, radius)}
    reach("a neighbour before t0 is left out", bool(before))
    around = {u for t in mask.cells for u in range(mask.height * mask.width) if near(t, u, mask.width, radius)}
    reach("a neighbour outside the window is left out", any(u >= first and u not in window.cells for u in around))


def near(t: int, u: int, width: int, radius: int) -> bool:
    """Return whether u is within `radius` rows and columns of t."""
    return abs(t // width - u // width) <= radius and abs(t % width - u % width) <= radius


def islands_are_components(mask: Mask, islands: Callable[[Tensor], list[Tensor]]) -> None:
    """LOCAL-2: 8-connected components, each ascending, by first position."""
    expected = oracles.components(set(mask.cells), mask.width)
    assert [island.tolist() for island in islands(mask.tensor)] == expected
    reach("two islands or more", len(expected) > 1)
    reach("an island of several cells", any(len(island) > 1 for island in expected))
    ends = {u for u in mask.cells if u % mask.width == mask.width - 1 and u + 1 in mask.cells}
    home = {u: index for index, island in enumerate(expected) for u in island}
    reach("a row's end and the next row's start are apart", any(home[u] != home[u + 1] for u in ends))
    corners = {u for u in mask.cells if u % mask.width and u + mask.width - 1 in mask.cells}
    sides = {u: {u - 1, u + mask.width} & mask.cells for u in corners}
    reach("two cells touch by a corner only", any(not cells for cells in sides.values()))


def neighbours_are_nearest(codebook: Codebook, k: int, neighbours: Callable[[Tensor, int], Tensor]) -> None:
    """POOL-1: B_k of every code."""
    expected = [oracles.neighbourhood(codebook.rows, code, k) for code in range(len(codebook.rows))]
    assert neighbours(codebook.tensor, k).tolist() == expected
    reach("two codes are equal", len(set(codebook.rows)) < len(codebook.rows))
    whole = [oracles.neighbourhood(codebook.rows, code, len(codebook.rows)) for code in range(len(codebook.rows))]
    for order in whole:
        ahead = [math.dist(codebook.rows[order[0]], codebook.rows[code]) for code in order[k - 1 : k + 1]]
        reach("the last neighbour is as near as the first left out", 1 < k < len(order) and ahead[0] == ahead[1])


def pooling_adds_in_order(
    judgement: Judgement, k: int, pooled_probs: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> None:
    """POOL-1: the sum over B_k, to the last bit."""
    near_codes = [
        oracles.neighbourhood(judgement.codebook.rows, code, k) for code in range(len(judgement.codebook.rows))
    ]
    result = pooled_probs(judgement.probs_tensor, judgement.draft_tensor, torch.tensor(near_codes))
    expected = [
        oracles.pooled(row, near_codes[token])
        for row, token in zip(judgement.target_probs, judgement.draft_tokens, strict=True)
    ]
    assert result.tolist() == expected
    for row, token, total in zip(judgement.target_probs, judgement.draft_tokens, expected, strict=True):
        reach("neighbours add to it", total > row[token])
        reach("another order gives another sum", total != oracles.pooled(row, near_codes[token][::-1]))


def acceptance_is_a_threshold(pooled: Sequence[float], tau: float, accept: Callable[[Tensor, float], Tensor]) -> None:
    """ACCEPT-1: pooled >= tau, and nothing where tau > 1."""
    expected = [tau <= 1 and value >= tau for value in pooled]
    assert accept(torch.tensor(pooled, dtype=torch.float64), tau).tolist() == expected
    reach("exactly tau is kept", any(value == tau <= 1 for value in pooled))
    reach("rejected although it exceeds tau > 1", any(value >= tau > 1 for value in pooled))
    reach("some kept, some rejected", len(set(expected)) == 2)


def probs_follow(logits: Logits, dtype: torch.dtype, target_probs: Callable[..., Tensor]) -> None:
    """DIST-1: the distribution, and which tokens keep any probability."""
    uncond = logits.uncond_tensor(dtype)
    result = target_probs(
        logits.cond_tensor(dtype), uncond, logits.guidance_scale, logits.temperature, logits.top_k, logits.top_p
    )
    expected = oracles.probs(*logits)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert [prob > 0 for prob in result.tolist()] == [prob > 0 for prob in expected]
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    np.testing.assert_allclose(result.double().numpy(), expected, rtol=0, atol=tolerance)

    everything = oracles.probs(*logits[:4])
    by_top_k = oracles.probs(*logits[:5])
    kept_by_top_k, kept = support(by_top_k), support(expected)
    reach("greedy", logits.temperature == 0)
    reach("top-k drops some", 0 < kept_by_top_k < support(everything))
    reach("top-k keeps a tie", logits.temperature > 0 and 0 < logits.top_k < kept_by_top_k < len(everything))
    reach("top-p drops some", kept < kept_by_top_k)
    reach("top-p keeps one", 1 == kept < kept_by_top_k)
    reach("guidance matters", oracles.probs(logits.cond, None, 1.0, *logits[3:]) != expected)


def support(target_probs: Sequence[float]) -> int:
    """Return how many tokens have any probability."""
    return sum(prob > 0 for prob in target_probs)


def words_follow(
    seed: int,
    stream: int,
    positions: Sequence[int],
    count: int,
    attempt: int,
    random_words: Callable[[int, int, Sequence[int], int, int], NDArray[np.uint64]],
) -> None:
    """RNG-1: the integers x."""
    expected = [[oracles.word(seed, stream, u, code, attempt) for code in range(count)] for u in positions]
    assert random_words(seed, stream, positions, count, attempt).tolist() == expected
    reach("more than one block", count > 4)
    reach("a part of a block", count % 4 != 0)
    reach("both halves of the key", seed >= 2**32)


def gumbel_follows(
    seed: int,
    stream: int,
    positions: Sequence[int],
    vocabulary: int,
    attempt: int,
    gumbel_noise: Callable[[int, int, Sequence[int], int, int], Tensor],
) -> None:
    """RNG-1: the noise g, but for the last bit of a float32."""
    result = gumbel_noise(seed, stream, positions, vocabulary, attempt)
    expected = [[oracles.gumbel(seed, stream, u, code, attempt) for code in range(vocabulary)] for u in positions]
    assert result.dtype == torch.float32
    np.testing.assert_array_max_ulp(result.numpy(), np.array(expected, dtype=np.float32), maxulp=1)


def sample_is_first_largest(
    log_probs: Sequence[Sequence[float]], noise: Sequence[Sequence[float]], sample: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """RNG-1: argmax of log p + g, ties to the lower code."""
    scores = [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(log_probs, noise, strict=True)]
    expected = [row.index(max(row)) for row in scores]
    assert sample(torch.tensor(log_probs, dtype=torch.float64), torch.tensor(noise)).tolist() == expected
    reach("a tie", any(row.count(max(row)) > 1 for row in scores))
    reach(
        "noise changes the choice",
        any(row.index(max(row)) != token for row, token in zip(log_probs, expected, strict=True)),
    )


def passes_attend_to_what_is_written(toy: Toy, passes: Sequence[Mapping[int, int]], feed: Feed) -> None:
    """KV-1, KV-2: the logits of passes over {cell: token}, after the prefix, and the keys and values they leave."""
    world = build(toy)
    model, prefixes = world.models.target, torch.stack([world.condition.cond, world.condition.uncond])
    cache = KVCache(model.config, 2, torch.float64)
    feed(model, cache, model.prefix_embeddings(prefixes), torch.arange(toy.prefix_length))
    rows = [DictionaryModel(model, prefix) for prefix in prefixes]
    for row in rows:
        row.feed_prefix()
    for pairs in passes:
        kept_key, kept_value = cache.key.clone(), cache.value.clone()
        positions = torch.tensor([toy.prefix_length + cell for cell in pairs])
        embeddings = model.token_embeddings(torch.tensor(list(pairs.values())))[None].expand(2, -1, -1)
        result = feed(model, cache, embeddings, positions)
        others = [place for place in range(model.config.sequence_length) if place not in positions.tolist()]
        assert torch.equal(cache.key[:, :, :, others], kept_key[:, :, :, others])
        assert torch.equal(cache.value[:, :, :, others], kept_value[:, :, :, others])
        for index, row in enumerate(rows):
            logits = row.feed({toy.prefix_length + cell: token for cell, token in pairs.items()})
            np.testing.assert_allclose(result[index].numpy(), np.stack(list(logits.values())), rtol=0, atol=TOLERANCE)
            for (layer, place), key in row.key.items():
                np.testing.assert_allclose(cache.key[layer, index, :, place].numpy(), key, rtol=0, atol=TOLERANCE)
                value = row.value[layer, place]
                np.testing.assert_allclose(cache.value[layer, index, :, place].numpy(), value, rtol=0, atol=TOLERANCE)
    reach("keys stay as written before a change to their left", is_stale(toy, passes, rows[0]))


def is_stale(toy: Toy, passes: Sequence[Mapping[int, int]], row: DictionaryModel) -> bool:
    """Return whether some key differs from what all last tokens in one pass would give."""
    fresh = DictionaryModel(build(toy).models.target, build(toy).condition.cond)
    last = {toy.prefix_length + cell: token for pairs in passes for cell, token in pairs.items()}
    fresh.feed({**dict.fromkeys(range(toy.prefix_length), -1), **last})
    return any(float(np.abs(row.key[place] - key).max()) > 1e-3 for place, key in fresh.key.items())


def default_resize(images: Tensor, scale: int, up: bool) -> Tensor:
    """Resize by the filters that are the settings' defaults."""
    return enlarge(images, scale, "bicubic") if up else shrink(images, scale, "area")


def resizing_is_separable(images: Array, scale: int, up: bool, resize: Callable[[Tensor, int, bool], Tensor]) -> None:
    """SCALE-1, SCALE-2: bicubic enlargement and the mean, along each axis."""
    result = array(resize(torch.from_numpy(images), scale, up))
    np.testing.assert_allclose(result, resized(images, scale, up), rtol=0, atol=TOLERANCE)
    reach("enlarged", up and scale > 1)
    reach("shrunk", not up and scale > 1)


def cells_run_in_their_earliest_step(
    mask: Mask, window: int | None, by_island: bool, steps: Callable[[Tensor, int | None, bool], list[Tensor]]
) -> None:
    """SCHED-1, SCHED-2: every cell once, in the earliest step that its waits allow; each step ascending."""
    expected = oracles.earliest_steps(set(mask.cells), math.inf if window is None else window, mask.width, by_island)
    result = [step.tolist() for step in steps(mask.tensor, window, by_island)]
    assert result == oracles.schedule(set(mask.cells), window, mask.width, by_island)
    reach("several cells in a step", any(len(step) > 1 for step in result))
    reach("a cell waits for the row above", window is not None and waits_across_rows(expected, mask.width))
    together = oracles.earliest_steps(set(mask.cells), math.inf if window is None else window, mask.width, False)
    reach("islands advance at the same time", by_island and expected != together)


def waits_across_rows(step_of: Mapping[int, int], width: int) -> bool:
    """Return whether the cells of some row run later than their places in the row alone would have it."""
    rows: dict[int, list[int]] = {}
    for cell in sorted(step_of):
        rows.setdefault(cell // width, []).append(step_of[cell])
    return any(found != list(range(len(found))) for found in rows.values())


def bonus_is_a_cosine(
    codebook: Codebook,
    draft_tokens: Sequence[int],
    strength: float,
    first_cell: int,
    cells: Sequence[int],
    bonus: Callable[[float, Tensor, Tensor, int, Sequence[int]], Tensor],
) -> None:
    """ANCHOR-1: strength * cosine(code, the draft's code), for every code."""
    vectors = torch.nn.functional.normalize(codebook.tensor, dim=-1)
    result = bonus(strength, vectors, torch.tensor(draft_tokens), first_cell, cells)
    near = [
        [oracles.cosine(code, codebook.rows[draft_tokens[cell - first_cell]]) for code in codebook.rows]
        for cell in cells
    ]
    np.testing.assert_allclose(result.numpy(), np.array(near) * strength, rtol=1e-6, atol=1e-12)
    reach("a code opposite to the draft", strength > 0 and any(min(row) < -0.99 for row in near))
    reach("cells in the middle", cells[0] > first_cell > 0)
    reach("nothing", strength == 0)


def radii_follow_entropies(
    quarters: Sequence[Sequence[int]],
    radius: int,
    radius_nats: float,
    adaptive_radii: Callable[[Tensor, int, float], Tensor],
) -> None:
    """LOCAL-3: the mean entropy nearby, divided by `radius_nats` and rounded down, at most `radius`; in quarters."""
    result = adaptive_radii(torch.tensor(quarters, dtype=torch.float64) / 4, radius, radius_nats).tolist()
    exact = [[Fraction(value, 4) for value in line] for line in quarters]
    expected = [[radius] * len(line) for line in quarters]
    if radius_nats:
        bought = Fraction(radius_nats)
        expected = [
            [
                min(radius, math.floor(oracles.mean_near(exact, row, column, radius) / bought))
                for column in range(len(line))
            ]
            for row, line in enumerate(quarters)
        ]
    assert result == expected
    found = {value for line in expected for value in line}
    reach("radii differ", len(found) > 1)
    reach("the largest bounds it", radius_nats > 0 and radius in found)
    reach("the same everywhere", radius_nats == 0)


def rejections_reach_as_far_as_their_own(
    window: Window, radii: Sequence[int], expand: Callable[[Tensor, Tensor, int, int], Tensor]
) -> None:
    """LOCAL-3: R_X where each cell has a radius of its own; `radii` is repeated over the grid."""
    mask = window.rejected
    cells = [radii[u % len(radii)] for u in range(mask.height * mask.width)]
    result = expand(
        mask.tensor, torch.tensor(cells).reshape(mask.height, mask.width), window.first_row, window.last_row
    )
    expected = oracles.resampled({u: cells[u] for u in mask.cells}, mask.width, window.cells)
    assert set(result.flatten().nonzero().flatten().tolist()) == expected
    alone = oracles.resampled({u: min(radii) for u in mask.cells}, mask.width, window.cells)
    most = oracles.resampled({u: max(radii) for u in mask.cells}, mask.width, window.cells)
    reach("between the smallest and the largest radius", alone < expected < most)


def predicting_again_gives_the_new_law(
    old_probs: Sequence[float],
    new_probs: Sequence[float],
    outcome: Callable[[Tensor, Tensor, int, float], Tensor | None],
) -> None:
    """SCHED-5: a token of law p_old is predicted again, and then has the law p_new.

    `outcome` takes p_old, p_new, the token and the acceptance draw U, and returns what a new token is drawn from,
    not normalised, or None where the token is kept. U is tried just below and just above p_new / p_old.
    """
    old, new = torch.tensor(old_probs, dtype=torch.float64), torch.tensor(new_probs, dtype=torch.float64)
    law = torch.zeros_like(new)
    for token in old.nonzero().flatten().tolist():
        accepted = min(1.0, float(new[token] / old[token]))
        below, above = accepted - 1e-9, accepted + 1e-9
        assert below < 0 or outcome(old, new, token, min(below, 1 - 1e-9)) is None
        law[token] += old[token] * accepted
        if above < 1:
            residual = outcome(old, new, token, above)
            assert residual is not None
            law += old[token] * (1 - accepted) * residual / residual.sum()
        reach("never rejected", accepted == 1)
        reach("sometimes rejected", 0 < accepted < 1)
        reach("always rejected", accepted == 0)
    np.testing.assert_allclose(law.numpy(), new.numpy(), rtol=0, atol=1e-12)
