"""Each law about a function fails where the function is wrong in the way that the law is there to find."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.conformance.rules import function_laws as laws
from mulo_sd.conformance.rules.planting import Check, over
from mulo_sd.conformance.strategies.codebooks import Codebook, Judgement
from mulo_sd.conformance.strategies.grids import Mask, Window
from mulo_sd.conformance.strategies.logits import Logits
from mulo_sd.conformance.strategies.toys import Toy
from mulo_sd.reference.acceptance import accept
from mulo_sd.reference.cache import KVCache, feed
from mulo_sd.reference.codebook import neighbours, pooled_probs
from mulo_sd.reference.grid import expand, islands, raster_positions
from mulo_sd.reference.noise import gumbel_noise, random_words
from mulo_sd.reference.sampling import guided_logits, keep_top_k, keep_top_p, sample, target_probs
from mulo_sd.reference.transformer import Transformer


def expand_before_t0(rejected: Tensor, radius: int, first_row: int, last_row: int) -> Tensor:
    """Forget u >= t0."""
    result = F.max_pool2d(rejected[None].double(), 2 * radius + 1, stride=1, padding=radius)[0] > 0
    result[:first_row] = result[last_row:] = False
    return result


def expand_over_row_ends(rejected: Tensor, radius: int, first_row: int, last_row: int) -> Tensor:
    """Go left and right along raster positions, over the end of a row."""
    result, width = torch.zeros_like(rejected).flatten(), rejected.shape[1]
    for t in raster_positions(rejected).tolist():
        for row in range(-radius, radius + 1):
            for u in range(t + row * width - radius, t + row * width + radius + 1):
                if max(first_row * width, int(raster_positions(rejected)[0])) <= u < last_row * width:
                    result[u] = True
    return result.reshape(rejected.shape)


def expand_beyond_window(rejected: Tensor, radius: int, first_row: int, last_row: int) -> Tensor:
    """Resample below the window."""
    return expand(rejected, radius, first_row)


def islands_of_four(mask: Tensor) -> list[Tensor]:
    """Join cells by their sides only."""
    apart = torch.zeros(2 * mask.shape[0], 2 * mask.shape[1], dtype=torch.bool)  # cells and the sides between them
    apart[::2, ::2] = mask
    apart[1:-1:2, ::2] = mask[:-1] & mask[1:]
    apart[::2, 1:-1:2] = mask[:, :-1] & mask[:, 1:]
    groups = [divmod_cells(island, mask.shape[1]) for island in islands(apart)]
    return [group for group in groups if len(group)]


def divmod_cells(island: Tensor, width: int) -> Tensor:
    """Return the cells among the cells and sides of `islands_of_four`."""
    rows, columns = island // (2 * width), island % (2 * width)
    cells = (rows % 2 == 0) & (columns % 2 == 0)
    return (rows // 2 * width + columns // 2)[cells]


def islands_over_row_ends(mask: Tensor) -> list[Tensor]:
    """Let the end of a row touch the start of the next."""
    flat = raster_positions(mask).tolist()
    return [torch.tensor(flat)] if flat else []


def nearest_without_self(codebook: Tensor, k: int) -> Tensor:
    """Let an equal code of a lower number come first."""
    return torch.cdist(codebook, codebook).argsort(dim=1, stable=True)[:, :k]


def ties_to_higher(codebook: Tensor, k: int) -> Tensor:
    """Break ties the other way."""
    distances = torch.cdist(codebook, codebook).fill_diagonal_(-1).flip(1)
    return len(codebook) - 1 - distances.argsort(dim=1, stable=True)[:, :k]


def pooled_backwards(target_probs: Tensor, draft_tokens: Tensor, near: Tensor) -> Tensor:
    """Add in another order."""
    return pooled_probs(target_probs, draft_tokens, near.flip(1))


def pooled_without_last(target_probs: Tensor, draft_tokens: Tensor, near: Tensor) -> Tensor:
    """Leave one neighbour out."""
    return pooled_probs(target_probs, draft_tokens, near[:, :-1])


def exactly_k(logits: Tensor, top_k: int) -> Tensor:
    """Drop ties with the k-th largest."""
    dropped = torch.ones_like(logits, dtype=torch.bool).scatter(-1, logits.topk(top_k or len(logits)).indices, False)
    return logits.masked_fill(dropped, -torch.inf)


def without_crossing(logits: Tensor, top_p: float) -> Tensor:
    """Drop the token that crosses the threshold, unless it is the only one."""
    ranked, order = logits.sort(descending=True, stable=True)
    dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, ranked.softmax(-1).cumsum(-1) > top_p)
    dropped[order[0]] = False
    return logits.masked_fill(dropped, -torch.inf)


def without_equality(logits: Tensor, top_p: float) -> Tensor:
    """Drop the token before which the sum equals the threshold, as well as those before which it exceeds it."""
    ranked, order = logits.sort(descending=True, stable=True)
    sums = ranked.softmax(-1).cumsum(-1)
    dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order[1:], sums[:-1] >= top_p)
    return logits.masked_fill(dropped, -torch.inf)


def wrong_probs(
    cond: Tensor,
    uncond: Tensor | None,
    scale: float,
    temperature: float,
    top_k: int,
    top_p: float,
    by_k: Callable[[Tensor, int], Tensor] = keep_top_k,
    by_p: Callable[[Tensor, float], Tensor] = keep_top_p,
    late: bool = False,
) -> Tensor:
    """Return DIST-1 with another filter, or with the temperature after the filters."""
    logits = guided_logits(cond.double(), uncond, scale)
    if late:
        return (by_p(by_k(logits, top_k), top_p) / temperature).softmax(-1)
    return by_p(by_k(logits / temperature, top_k), top_p).softmax(-1)


def unguided(cond: Tensor, uncond: Tensor | None, *settings: Any) -> Tensor:
    """Forget guidance."""
    return target_probs(cond, None, *settings)


def inverted_guidance(cond: Tensor, uncond: Tensor | None, *settings: Any) -> Tensor:
    """Extrapolate from the condition and not from its absence."""
    return target_probs(cond if uncond is None else uncond, None if uncond is None else cond, *settings)


def swapped_key(seed: int, *rest: Any) -> NDArray[np.uint64]:
    """Take the halves of the seed in the wrong order."""
    return random_words(seed // 2**32 + seed % 2**32 * 2**32, *rest)


def rows_at_once(seed: int, stream: int, positions: Sequence[int], count: int, attempt: int) -> NDArray[np.uint64]:
    """Number the blocks through all positions: noise that depends on the batch."""
    together = random_words(seed, stream, positions[:1], count * len(positions), attempt)
    return together.reshape(len(positions), count)


def no_attempt(seed: int, stream: int, positions: Sequence[int], count: int, attempt: int) -> NDArray[np.uint64]:
    """Draw the same noise again."""
    return random_words(seed, stream, positions, count)


def exponential_noise(*arguments: Any) -> Tensor:
    """Take one logarithm too few."""
    return torch.exp(-gumbel_noise(*arguments))


def last_largest(log_probs: Tensor, noise: Tensor) -> Tensor:
    """Break ties the other way."""
    return log_probs.shape[1] - 1 - (log_probs + noise).flip(1).argmax(dim=1)


def feed_one_by_one(model: Transformer, cache: KVCache, embeddings: Tensor, positions: Tensor) -> Tensor:
    """Attend before everything of the pass is written."""
    places = range(len(positions))
    return torch.cat([feed(model, cache, embeddings[:, [at]], positions[[at]]) for at in places], dim=1)


def feed_once(model: Transformer, cache: KVCache, embeddings: Tensor, positions: Tensor) -> Tensor:
    """Never write a position again."""
    key, value, written = cache.key.clone(), cache.value.clone(), cache.written.clone()
    logits = feed(model, cache, embeddings, positions)
    cache.key[:, :, :, written], cache.value[:, :, :, written] = key[:, :, :, written], value[:, :, :, written]
    return logits


def feed_seeing_all(model: Transformer, cache: KVCache, embeddings: Tensor, positions: Tensor) -> Tensor:
    """See what stands after the query."""
    cache.written[positions] = True

    def everywhere(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        cache.key[layer, :, :, positions], cache.value[layer, :, :, positions] = key, value
        seen = cache.written
        return F.scaled_dot_product_attention(query, cache.key[layer, :, :, seen], cache.value[layer, :, :, seen])

    logits: Tensor = model(embeddings, positions[None].expand(len(embeddings), -1), attend=everywhere)
    return logits


def nearest_pixels(images: Tensor, scale: int, up: bool, resize_filter: str) -> Tensor:
    """Repeat pixels, or take the first of each block."""
    if up:
        return images.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    return images[:, :, ::scale, ::scale]


def smooth_pixels(images: Tensor, scale: int, up: bool, resize_filter: str) -> Tensor:
    """Ignore the filter, and take the smoothest."""
    return laws.resize(images, scale, up, "bilinear" if up else "area")


WINDOW = Window(Mask(4, 4, frozenset({5, 8})), 1, 3, 1)
DIAGONAL = Mask(3, 3, frozenset({1, 3, 8}))
ROW_END = Mask(2, 4, frozenset({3, 4}))
EQUAL_CODES = Codebook(((1,), (1,), (0,), (2,), (0,)))
JUDGEMENT = Judgement(Codebook(((0,), (1,), (2,))), ((0.1, 0.2, 0.7),), (0,))
TIE = Logits((1.0, 2.0, 2.0, 0.0), None, 1.0, 1.0, 1, 1.0)
NUCLEUS = Logits((0.0, 3.0, 1.0, 2.0), (1.0, 0.0, 0.0, 0.0), 1.5, 2.0, 3, 0.9)
EQUAL = Logits((0.5, 0.5, 0.5, 0.5), None, 1.0, 1.0, 0, 0.5)
TOY = Toy(2, 2, 2, 2, 2, 1.5, 5)
PASSES = [{0: 1, 1: 2, 2: 3}, {1: 7}, {9: 4, 3: 0, 4: 2}]
RAMP = np.linspace(-1, 1, 48).reshape(1, 3, 4, 4) ** 3


def over_probs(logits: Logits) -> Check:
    """Return DIST-1's law on one example."""
    return lambda implementation: laws.probs_follow(logits, torch.float64, implementation)


PLANTED: list[tuple[Check, Callable[..., Any], Callable[..., Any]]] = [
    (
        over(laws.cells_are_in_raster_order, Mask(2, 3, frozenset({1, 3}))),
        raster_positions,
        lambda m: raster_positions(m.T),
    ),
    (over(laws.rejections_reach_their_neighbourhood, WINDOW), expand, expand_before_t0),
    (over(laws.rejections_reach_their_neighbourhood, WINDOW), expand, expand_over_row_ends),
    (over(laws.rejections_reach_their_neighbourhood, WINDOW), expand, expand_beyond_window),
    (over(laws.islands_are_components, DIAGONAL), islands, islands_of_four),
    (over(laws.islands_are_components, ROW_END), islands, islands_over_row_ends),
    (over(laws.neighbours_are_nearest, EQUAL_CODES, 2), neighbours, nearest_without_self),
    (over(laws.neighbours_are_nearest, EQUAL_CODES, 3), neighbours, ties_to_higher),
    (over(laws.pooling_adds_in_order, JUDGEMENT, 3), pooled_probs, pooled_backwards),
    (over(laws.pooling_adds_in_order, JUDGEMENT, 3), pooled_probs, pooled_without_last),
    (over(laws.acceptance_is_a_threshold, [0.25, 0.5], 0.25), accept, lambda pooled, tau: pooled > tau),
    (over(laws.acceptance_is_a_threshold, [1 + 2**-52], 1 + 2**-52), accept, lambda pooled, tau: pooled >= tau),
    (over_probs(TIE), target_probs, partial(wrong_probs, by_k=exactly_k)),
    (over_probs(NUCLEUS), target_probs, partial(wrong_probs, by_p=without_crossing)),
    (over_probs(EQUAL), target_probs, partial(wrong_probs, by_p=without_equality)),
    (over_probs(NUCLEUS), target_probs, partial(wrong_probs, late=True)),
    (over_probs(NUCLEUS), target_probs, unguided),
    (over_probs(NUCLEUS), target_probs, inverted_guidance),
    (over(laws.words_follow, 2**32 + 5, 0, [1], 4, 0), random_words, swapped_key),
    (over(laws.words_follow, 5, 0, [1, 2], 4, 0), random_words, rows_at_once),
    (over(laws.words_follow, 5, 0, [1], 4, 1), random_words, no_attempt),
    (over(laws.gumbel_follows, 5, 0, [1], 4, 0), gumbel_noise, exponential_noise),
    (over(laws.sample_is_first_largest, [[0.0, 1.0, 0.5]], [[1.0, 0.0, 0.5]]), sample, last_largest),
    (over(laws.passes_attend_to_what_is_written, TOY, PASSES), feed, feed_one_by_one),
    (over(laws.passes_attend_to_what_is_written, TOY, PASSES), feed, feed_once),
    (over(laws.passes_attend_to_what_is_written, TOY, PASSES), feed, feed_seeing_all),
    (over(laws.resizing_is_separable, RAMP, 2, True, "bicubic"), laws.resize, nearest_pixels),
    (over(laws.resizing_is_separable, RAMP, 2, True, "bilinear"), laws.resize, nearest_pixels),
    (over(laws.resizing_is_separable, RAMP, 2, True, "nearest"), laws.resize, smooth_pixels),
    (over(laws.resizing_is_separable, RAMP, 2, False, "area"), laws.resize, nearest_pixels),
    (over(laws.resizing_is_separable, RAMP, 2, False, "bicubic"), laws.resize, smooth_pixels),
]


@pytest.mark.parametrize(("law", "right", "wrong"), PLANTED, ids=lambda value: getattr(value, "__name__", None))
def test_planted_defects_are_found(law: Check, right: Callable[..., Any], wrong: Callable[..., Any]) -> None:
    """Each law holds for the reference's function, and for no function with the planted defect."""
    law(right)
    with pytest.raises(AssertionError):
        law(wrong)


def test_the_wrong_filters_are_otherwise_right() -> None:
    """What the planted defects share with the reference is right, so that the defect alone is found."""
    laws.probs_follow(NUCLEUS, torch.float64, wrong_probs)
