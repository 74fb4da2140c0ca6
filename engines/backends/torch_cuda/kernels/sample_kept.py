"""Triton functions of what top-k and top-p keep of a row, which a program holds in registers (DIST-1).

Nothing is sorted. A logit's bits, read as an integer of the same order, are its key. What top-k and top-p keep is told
by the last key that is kept, which is found by halving, and by the last of the codes that equal it. What `asked` and
`own` are, `sample` says.
"""

import triton
import triton.language as tl

# A float's key where it is minus infinity, and what is below all keys.
_NOTHING = tl.constexpr(-2139095041)
_BELOW = tl.constexpr(-2147483648)


@triton.jit
def key_of_bits(bits: tl.tensor) -> tl.tensor:
    """Return the key of a float32's bits, or the bits of a key."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _middle(low: tl.tensor, high: tl.tensor) -> tl.tensor:
    """Return the mean, rounded down; the sum may be more than 32 bits hold."""
    return (low & high) + ((low ^ high) >> 1)


@triton.jit
def load_float(asked_ptr: tl.tensor, place: tl.constexpr) -> tl.tensor:
    """Load a float32 that lies among integers."""
    return tl.load(asked_ptr + place).to(tl.float32, bitcast=True)


@triton.jit
def load_warm(
    logits_ptr: tl.tensor,
    own_ptr: tl.tensor,
    stride_b: tl.tensor,
    stride_t: tl.tensor,
    codes: tl.tensor,
    asked_ptr: tl.tensor,
    vocabulary: tl.constexpr,
    guided: tl.constexpr,
    heated: tl.constexpr,
) -> tl.tensor:
    """Return a row's logits of codes, Float32[N], after guidance and temperature; no zero has a sign."""
    place = logits_ptr + tl.load(own_ptr + 3).to(tl.int64) * stride_b + tl.load(own_ptr).to(tl.int64) * stride_t + codes
    inside = codes < vocabulary
    warm = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    if guided:
        uncond = tl.load(place + stride_b, mask=inside, other=0.0).to(tl.float32)
        warm = uncond + load_float(asked_ptr, 0) * (warm - uncond)
    if heated:
        warm = tl.div_rn(warm, tl.broadcast_to(load_float(asked_ptr, 1), warm.shape))
    return tl.where(warm == 0, 0.0, warm)


@triton.jit
def keys_of(warm: tl.tensor, codes: tl.tensor, vocabulary: tl.constexpr) -> tl.tensor:
    """Return keys, Int32[N]; of what is no code, one that is never kept."""
    return tl.where(codes < vocabulary, key_of_bits(warm.to(tl.int32, bitcast=True)), _BELOW)


@triton.jit
def is_kept(keys: tl.tensor, codes: tl.tensor, last_key: tl.tensor, last_code: tl.tensor) -> tl.tensor:
    """Return which codes are kept: above the last key, or equal to it and not behind the last code."""
    return (keys > last_key) | ((keys == last_key) & (codes <= last_code))


@triton.jit
def _kth_largest(keys: tl.tensor, largest: tl.tensor, top_k: tl.tensor, vocabulary: tl.constexpr) -> tl.tensor:
    """Return a key that the top_k largest reach, and those that equal the last of them, but no others."""
    low, high = tl.full((), _NOTHING, tl.int32), largest + 1  # reached by top_k at least, and by fewer
    count = tl.full((), vocabulary, tl.int32)
    while (high > low + 1) & (count != top_k):
        middle = _middle(low, high)
        reached = tl.sum((keys >= middle).to(tl.int32), axis=0)
        enough = reached >= top_k
        low, high = tl.where(enough, middle, low), tl.where(enough, high, middle)
        count = tl.where(enough, reached, count)
    return low


@triton.jit
def _last_by_weight(
    keys: tl.tensor,
    codes: tl.tensor,
    weights: tl.tensor,
    largest: tl.tensor,
    lowest: tl.tensor,
    top_p: tl.tensor,
    vocabulary: tl.constexpr,
) -> tl.tensor:
    """Return the last key and the last code that top-p keeps, of weights that are 0 below key `lowest`."""
    share = top_p * tl.sum(weights, axis=0)
    low, high = lowest - 1, largest  # above the one lies more than the share, above the other no more
    while high > low + 1:
        middle = _middle(low, high)
        less = tl.sum(tl.where(keys > middle, weights, 0.0), axis=0) <= share
        low, high = tl.where(less, low, middle), tl.where(less, middle, high)
    equal = keys == high
    above = tl.sum(tl.where(keys > high, weights, 0.0), axis=0)
    each = tl.max(tl.where(equal, weights, 0.0), axis=0)
    # Each of the equal ones is kept while those before it sum to no more than the share, and the first in any case.
    room = tl.minimum(tl.maximum(tl.floor((share - above) / each), 0.0), vocabulary).to(tl.int32) + 1
    # A search only where not all of them are kept.
    some = tl.sum(equal.to(tl.int32), axis=0) > room
    before, last = tl.where(some, -1, vocabulary - 2), tl.full((), vocabulary - 1, tl.int32)
    while last > before + 1:
        middle = (before + last) // 2
        enough = tl.sum((equal & (codes <= middle)).to(tl.int32), axis=0) >= room
        before, last = tl.where(enough, before, middle), tl.where(enough, middle, last)
    return high, last


@triton.jit
def last_kept(
    warm: tl.tensor,
    keys: tl.tensor,
    codes: tl.tensor,
    asked_ptr: tl.tensor,
    vocabulary: tl.constexpr,
    greedy: tl.constexpr,
    by_rank: tl.constexpr,
    by_weight: tl.constexpr,
) -> tl.tensor:
    """Return the largest logit, and the last key and the last code that are kept."""
    largest = tl.max(keys, axis=0)
    peak = key_of_bits(largest).to(tl.float32, bitcast=True)
    last_key, last_code = tl.full((), _NOTHING, tl.int32), tl.full((), vocabulary, tl.int32)
    if greedy:
        last_key = largest
        last_code = tl.min(tl.where(keys == largest, codes, vocabulary), axis=0)
    else:
        if by_rank:
            last_key = _kth_largest(keys, largest, tl.load(asked_ptr + 2), vocabulary)
        if by_weight:
            weights = tl.where(keys >= last_key, tl.exp(warm - peak), 0.0)
            top_p = load_float(asked_ptr, 3)
            last_key, last_code = _last_by_weight(keys, codes, weights, largest, last_key, top_p, vocabulary)
    return peak, last_key, last_code


@triton.jit
def zero_or_nan(warm: tl.tensor, codes: tl.tensor, vocabulary: tl.constexpr) -> tl.tensor:
    """Return 0, or NaN where logits are none that can be drawn from: one is NaN or infinity, or all are minus that."""
    inside = codes < vocabulary
    wrong = tl.sum((inside & ((warm != warm) | (warm == float("inf")))).to(tl.int32), axis=0)
    drawn = tl.sum((inside & (warm > float("-inf"))).to(tl.int32), axis=0)
    return tl.where((wrong == 0) & (drawn > 0), 0.0, float("nan"))
