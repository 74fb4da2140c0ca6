"""What the rules say about single functions; a law takes the function, so that anyone's can be held to it."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.conformance.rules import oracles
from mulo_sd.conformance.rules.branches import reach
from mulo_sd.conformance.rules.oracle_model import Array, DictionaryModel, array, resized
from mulo_sd.conformance.strategies.codebooks import Codebook, Judgement
from mulo_sd.conformance.strategies.grids import Mask, Window
from mulo_sd.conformance.strategies.logits import Logits
from mulo_sd.conformance.strategies.toys import Toy, build
from mulo_sd.reference.cache import KVCache
from mulo_sd.reference.largest_error import largest_error
from mulo_sd.reference.scaling import enlarge, shrink
from mulo_sd.reference.transformer import Transformer

Feed = Callable[[Transformer, KVCache, Tensor, Tensor], Tensor]
TOLERANCE = 1e-9
GUIDED = 2.0  # any scale but 1: both halves


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
    likely_first = sorted(by_top_k, reverse=True)
    sums = [sum(likely_first[:count]) for count in range(1, len(likely_first))]
    reach("top-p is met exactly", logits.temperature > 0 and logits.top_p < 1 and logits.top_p in sums)
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
    model, prefixes = world.models.target, world.condition.prefixes(world.models.target, GUIDED)
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
        others = [position for position in range(model.config.sequence_length) if position not in positions.tolist()]
        assert torch.equal(cache.key[:, :, :, others], kept_key[:, :, :, others])
        assert torch.equal(cache.value[:, :, :, others], kept_value[:, :, :, others])
        for index, row in enumerate(rows):
            logits = row.feed({toy.prefix_length + cell: token for cell, token in pairs.items()})
            np.testing.assert_allclose(result[index].numpy(), np.stack(list(logits.values())), rtol=0, atol=TOLERANCE)
            for (layer, position), key in row.key.items():
                np.testing.assert_allclose(cache.key[layer, index, :, position].numpy(), key, rtol=0, atol=TOLERANCE)
                value = row.value[layer, position]
                np.testing.assert_allclose(
                    cache.value[layer, index, :, position].numpy(), value, rtol=0, atol=TOLERANCE
                )
    reach("keys stay as written before a change to their left", is_stale(toy, passes, rows[0]))


def is_stale(toy: Toy, passes: Sequence[Mapping[int, int]], row: DictionaryModel) -> bool:
    """Return whether some key differs from what all last tokens in one pass would give."""
    fresh = DictionaryModel(build(toy).models.target, build(toy).condition.cond)
    last = {toy.prefix_length + cell: token for pairs in passes for cell, token in pairs.items()}
    fresh.feed({**dict.fromkeys(range(toy.prefix_length), -1), **last})
    return any(largest_error(row.key[slot], key, "a key") > 1e-3 for slot, key in fresh.key.items())


def resize(images: Tensor, scale: int, up: bool, resize_filter: str) -> Tensor:
    """Resize as the reference does."""
    return enlarge(images, scale, resize_filter) if up else shrink(images, scale, resize_filter)


def resizing_is_separable(
    images: Array, scale: int, up: bool, resize_filter: str, resize: Callable[[Tensor, int, bool, str], Tensor]
) -> None:
    """SCALE-1, SCALE-2: a kernel along each axis, edges repeated, the result clamped."""
    result = array(resize(torch.from_numpy(images), scale, up, resize_filter))
    np.testing.assert_allclose(result, resized(images, scale, up, resize_filter), rtol=0, atol=TOLERANCE)
    reach(f"{'enlarged' if up else 'shrunk'} by {resize_filter}", scale > 1)
