"""The rules once more, in plain Python over plain numbers: slow, obvious, and sharing no line with `reference`."""

import math
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache

WORD = 2**32


@cache
def philox_words(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x32-10 of one block, on Python integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, WORD)
        high1, low1 = divmod(0xCD9E8D57 * c2, WORD)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % WORD, (k1 + 0xBB67AE85) % WORD
    return c0, c1, c2, c3


def word(seed: int, stream: int, position: int, code: int, attempt: int = 0) -> int:
    """RNG-1's integer x of one code at one position."""
    return philox_words((code // 4, position, stream, attempt), (seed % WORD, seed // WORD))[code % 4]


def float32(value: float) -> float:
    """Round to the nearest float32."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def gumbel(seed: int, stream: int, position: int, code: int, attempt: int = 0) -> float:
    """RNG-1's noise g of one code at one position."""
    return float32(-math.log(-math.log((word(seed, stream, position, code, attempt) + 0.5) / WORD)))


def probs(
    cond: Sequence[float],
    uncond: Sequence[float] | None = None,
    guidance_scale: float = 1.0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> list[float]:
    """DIST-1 for one position; 0 where a filter dropped the token."""
    guided = list(cond)
    if uncond is not None:
        guided = [base + guidance_scale * (value - base) for value, base in zip(cond, uncond, strict=True)]
    if temperature == 0:
        winner = guided.index(max(guided))
        return [float(code == winner) for code in range(len(guided))]
    logits = [value / temperature for value in guided]
    kept = set(range(len(logits)))
    if 0 < top_k < len(logits):
        kth_largest = sorted(logits, reverse=True)[top_k - 1]
        kept = {code for code in kept if logits[code] >= kth_largest}
    if top_p < 1:
        likely_first = sorted(kept, key=lambda code: (-logits[code], code))
        ranked = softmax([logits[code] for code in likely_first])
        count, reached = 0, 0.0
        while reached <= top_p and count < len(likely_first):
            reached += ranked[count]
            count += 1
        kept = set(likely_first[:count])
    order = sorted(kept)
    result = [0.0] * len(logits)
    for code, prob in zip(order, softmax([logits[code] for code in order]), strict=True):
        result[code] = prob
    return result


def softmax(logits: Sequence[float]) -> list[float]:
    """Softmax of a list."""
    weights = [math.exp(value - max(logits)) for value in logits]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _scores(target_probs: Sequence[float], noise: Sequence[float]) -> list[float]:
    return [math.log(prob) + extra if prob > 0 else -math.inf for prob, extra in zip(target_probs, noise, strict=True)]


def sampled(target_probs: Sequence[float], noise: Sequence[float]) -> int:
    """RNG-1's Gumbel-max: the first code with the largest log-probability plus noise."""
    scores = _scores(target_probs, noise)
    return scores.index(max(scores))


def nearly_sampled(target_probs: Sequence[float], noise: Sequence[float], nats: float) -> set[int]:
    """Return the codes that RNG-1 may draw where each score is off by `nats` at most."""
    scores = _scores(target_probs, noise)
    return {code for code, score in enumerate(scores) if score >= max(scores) - 2 * nats}


def neighbourhood(codebook: Sequence[Sequence[Fraction | float | int]], code: int, k: int) -> list[int]:
    """POOL-1's B_k of one code: itself, then the nearest others, the lower first where two are equally near."""

    def distance(other: int) -> Fraction | float | int:
        return sum((a - b) ** 2 for a, b in zip(codebook[code], codebook[other], strict=True))

    others = sorted(
        (other for other in range(len(codebook)) if other != code), key=lambda other: (distance(other), other)
    )
    return [code, *others[: k - 1]]


def pooled(target_probs: Sequence[float], near: Sequence[int]) -> float:
    """POOL-1's sum over a neighbourhood, added in its order."""
    total = target_probs[near[0]]
    for code in near[1:]:
        total = total + target_probs[code]
    return total


def resampled(radii: Mapping[int, int], width: int, window: range) -> set[int]:
    """LOCAL-1's and LOCAL-3's R_X, read off the definition; `radii` holds each rejected cell's."""
    return {
        u
        for u in window
        if radii
        and u >= min(radii)
        and any(
            abs(u // width - t // width) <= reach and abs(u % width - t % width) <= reach for t, reach in radii.items()
        )
    }


def components(cells: set[int], width: int) -> list[list[int]]:
    """LOCAL-2's islands: groups merged for as long as two cells of different groups touch."""
    groups = [{cell} for cell in sorted(cells)]

    def touch(a: int, b: int) -> bool:
        return max(abs(a // width - b // width), abs(a % width - b % width)) <= 1

    merged = True
    while merged:
        merged = False
        for first in range(len(groups)):
            for second in range(first + 1, len(groups)):
                if any(touch(a, b) for a in groups[first] for b in groups[second]):
                    groups[first] |= groups.pop(second)
                    merged = True
                    break
            if merged:
                break
    return sorted(sorted(group) for group in groups)


def waits(cell: int, other: int, window: float, width: int) -> bool:
    """SCHED-1: whether a cell waits for another of its set."""
    (row, column), (other_row, other_column) = divmod(cell, width), divmod(other, width)
    return (row == other_row and other_column < column) or (other_row < row and other_column < column + window)


def earliest_steps(cells: set[int], window: float, width: int, by_island: bool) -> dict[int, int]:
    """SCHED-1, SCHED-2: each cell's earliest step, the longest chain of cells that wait for each other up to it."""
    step_of: dict[int, int] = {}
    for region in components(cells, width) if by_island else [sorted(cells)]:
        for index, cell in enumerate(region):  # nothing waits for a later raster position
            before = [step_of[other] for other in region[:index] if waits(cell, other, window, width)]
            step_of[cell] = max(before, default=-1) + 1
    return step_of


def schedule(cells: set[int], window: int | None, width: int, by_island: bool) -> list[list[int]]:
    """The cells of each step, ascending; None is an infinite window."""
    step_of = earliest_steps(cells, math.inf if window is None else window, width, by_island)
    steps: list[list[int]] = [[] for _ in range(max(step_of.values(), default=-1) + 1)]
    for cell in sorted(cells):
        steps[step_of[cell]].append(cell)
    return steps


def decided_by_sweep(guesses: Sequence[int], samples: Sequence[int]) -> int:
    """SWEEP-2: how many cells of a region a sweep decides: those with nothing but right guesses before them."""
    return sum(list(guesses[:before]) == list(samples[:before]) for before in range(len(samples)))


def first_guess(kind: str, tokens: Mapping[int, int], cell: int, width: int) -> int:
    """SWEEP-5: the first guess of a cell after cell 0 by "above" or "left", from tokens and guesses before it.

    METHOD-5: the token above, too, where a row begins before the one above it is finished.
    """
    is_above = cell >= width and (kind == "above" or cell - 1 not in tokens)
    return tokens[cell - width] if is_above else tokens[cell - 1]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors."""
    lengths = math.sqrt(math.fsum(a * a for a in one) * math.fsum(b * b for b in other))
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths


def entropy(target_probs: Sequence[float]) -> float:
    """The entropy of a distribution, in nats."""
    return math.fsum(-prob * math.log(prob) for prob in target_probs if prob > 0)


def mean_near(values: Sequence[Sequence[Fraction | float]], row: int, column: int, radius: int) -> Fraction | float:
    """The mean of the numbers of a window that lie within `radius` rows and columns of one of its cells."""
    rows = values[max(0, row - radius) : row + radius + 1]
    near = [value for line in rows for value in line[max(0, column - radius) : column + radius + 1]]
    return sum(near) / len(near)
