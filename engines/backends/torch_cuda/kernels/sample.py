"""Triton kernels of sampling and acceptance: one program a row, which it holds in registers (DIST-1, RNG-1).

Nothing is sorted. A logit's bits, read as an integer of the same order, are its key. What top-k and top-p keep is told
by the last key that is kept, which is found by halving, and by the last of the codes that equal it.

`asked` is Int32[HEADER + 4 n]. First what a call says once: guidance scale, temperature, top-k, top-p, both halves of
the seed, stream, the anchor's strength; those that are Float32 by their bits. Then four numbers for each row: its row
of the logits, its cell, its draft token, and nothing.
"""

import triton
import triton.language as tl

HEADER = 8
# A float's key where it is minus infinity, and what is below all keys.
_NOTHING = tl.constexpr(-2139095041)
_BELOW = tl.constexpr(-2147483648)


@triton.jit
def _key(bits: tl.tensor) -> tl.tensor:
    """Return the key of a float32's bits, or the bits of a key."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _middle(low: tl.tensor, high: tl.tensor) -> tl.tensor:
    """Return the mean, rounded down; the sum may be more than 32 bits hold."""
    return (low & high) + ((low ^ high) >> 1)


@triton.jit
def _number(asked_ptr: tl.tensor, place: tl.constexpr) -> tl.tensor:
    """Load a float32 that lies among integers."""
    return tl.load(asked_ptr + place).to(tl.float32, bitcast=True)


@triton.jit
def _warm(
    logits_ptr: tl.tensor,
    row: tl.tensor,
    stride_b: tl.tensor,
    stride_t: tl.tensor,
    codes: tl.tensor,
    asked_ptr: tl.tensor,
    vocabulary: tl.constexpr,
    guided: tl.constexpr,
    heated: tl.constexpr,
) -> tl.tensor:
    """Return logits of codes, Float32[N], after guidance and temperature; no zero has a sign."""
    place = logits_ptr + row.to(tl.int64) * stride_t + codes
    inside = codes < vocabulary
    warm = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    if guided:
        uncond = tl.load(place + stride_b, mask=inside, other=0.0).to(tl.float32)
        warm = uncond + _number(asked_ptr, 0) * (warm - uncond)
    if heated:
        warm = tl.div_rn(warm, tl.broadcast_to(_number(asked_ptr, 1), warm.shape))
    return tl.where(warm == 0, 0.0, warm)


@triton.jit
def _keys(warm: tl.tensor, codes: tl.tensor, vocabulary: tl.constexpr) -> tl.tensor:
    """Return keys, Int32[N]; of what is no code, one that is never kept."""
    return tl.where(codes < vocabulary, _key(warm.to(tl.int32, bitcast=True)), _BELOW)


@triton.jit
def _kept(keys: tl.tensor, codes: tl.tensor, last_key: tl.tensor, last_code: tl.tensor) -> tl.tensor:
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
def _last_kept(
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
    peak = _key(largest).to(tl.float32, bitcast=True)
    last_key, last_code = tl.full((), _NOTHING, tl.int32), tl.full((), vocabulary, tl.int32)
    if greedy:
        last_key = largest
        last_code = tl.min(tl.where(keys == largest, codes, vocabulary), axis=0)
    else:
        if by_rank:
            last_key = _kth_largest(keys, largest, tl.load(asked_ptr + 2), vocabulary)
        if by_weight:
            weights = tl.where(keys >= last_key, tl.exp(warm - peak), 0.0)
            top_p = _number(asked_ptr, 3)
            last_key, last_code = _last_by_weight(keys, codes, weights, largest, last_key, top_p, vocabulary)
    return peak, last_key, last_code


@triton.jit
def _nothing(warm: tl.tensor, codes: tl.tensor, vocabulary: tl.constexpr) -> tl.tensor:
    """Return 0, or NaN where logits are none that can be drawn from: one is NaN or infinity, or all are minus that."""
    inside = codes < vocabulary
    wrong = tl.sum((inside & ((warm != warm) | (warm == float("inf")))).to(tl.int32), axis=0)
    drawn = tl.sum((inside & (warm > float("-inf"))).to(tl.int32), axis=0)
    return tl.where((wrong == 0) & (drawn > 0), 0.0, float("nan"))


@triton.jit
def _words(asked_ptr: tl.tensor, cell: tl.tensor, start: tl.tensor, count: tl.constexpr) -> tl.tensor:
    """Return Philox4x32-10's words of codes start..start + count, UInt32[count] (RNG-1)."""
    c0 = (start // 4 + tl.arange(0, count // 4)).to(tl.uint32)
    zero = c0 ^ c0
    c1, c2, c3 = zero + cell.to(tl.uint32), zero + tl.load(asked_ptr + 6).to(tl.uint32, bitcast=True), zero
    key_0 = tl.load(asked_ptr + 4).to(tl.uint32, bitcast=True)
    key_1 = tl.load(asked_ptr + 5).to(tl.uint32, bitcast=True)
    for _ in tl.static_range(10):
        product_0 = c0.to(tl.uint64) * 0xD2511F53
        product_1 = c2.to(tl.uint64) * 0xCD9E8D57
        c0 = (product_1 >> 32).to(tl.uint32) ^ c1 ^ key_0
        c2 = (product_0 >> 32).to(tl.uint32) ^ c3 ^ key_1
        c1, c3 = product_1.to(tl.uint32), product_0.to(tl.uint32)
        key_0 = (key_0.to(tl.uint64) + 0x9E3779B9).to(tl.uint32)
        key_1 = (key_1.to(tl.uint64) + 0xBB67AE85).to(tl.uint32)
    return tl.reshape(tl.join(tl.join(c0, c2), tl.join(c1, c3)), [count])  # in turn


@triton.jit
def _noise(words: tl.tensor) -> tl.tensor:
    """Return Gumbel noise, Float32[N], as RNG-1 computes it."""
    uniform = (words.to(tl.float64) + 0.5) * (1.0 / 4294967296.0)
    return (-tl.log(-tl.log(uniform))).to(tl.float32)


@triton.jit
def _rough_noise(words: tl.tensor) -> tl.tensor:
    """Return it to four places, without float64: of U near 1, where noise is large, log U comes from 1 - U."""
    uniform = (words.to(tl.float32) + 0.5) * (1.0 / 4294967296.0)
    rest = ((words ^ 0xFFFFFFFF).to(tl.float32) + 0.5) * (1.0 / 4294967296.0)
    series = rest * (1.0 + rest * (0.5 + rest * (1.0 / 3.0 + rest * 0.25)))
    spread = tl.where(rest < 0.02, series, -0.6931471805599453 * tl.log2(uniform))
    return -0.6931471805599453 * tl.log2(spread)


@triton.jit
def _bonus(
    codes: tl.tensor,
    draft: tl.tensor,
    vectors_ptr: tl.tensor,
    asked_ptr: tl.tensor,
    vocabulary: tl.constexpr,
    width: tl.constexpr,
) -> tl.tensor:
    """Return what is added to log p of codes, Float32[N], of vectors Float32[d, V] (ANCHOR-1)."""
    alike = codes.to(tl.float32) * 0.0
    for index in range(width):
        vectors = tl.load(vectors_ptr + index * vocabulary + codes, mask=codes < vocabulary, other=0.0)
        alike += tl.load(vectors_ptr + index * vocabulary + draft) * vectors
    return _number(asked_ptr, 7) * alike


@triton.jit
def sample_kernel(
    logits_ptr: tl.tensor,
    asked_ptr: tl.tensor,
    vectors_ptr: tl.tensor,
    tokens_ptr: tl.tensor,
    stride_b: tl.tensor,
    stride_t: tl.tensor,
    vocabulary: tl.constexpr,
    block: tl.constexpr,
    width: tl.constexpr,
    guided: tl.constexpr,
    heated: tl.constexpr,
    greedy: tl.constexpr,
    by_rank: tl.constexpr,
    by_weight: tl.constexpr,
    chunk: tl.constexpr,
    near: tl.constexpr,
) -> None:
    """Sample a token a row (RNG-1), towards its draft where `width` is not 0 (ANCHOR-1).

    What wins is found with rough noise, whose error is far less than `near`. Only where another code comes so near, in
    a sample of a thousand, all are compared by exact noise, whose logarithms in float64 take longer than all else.

    Args:
        logits_ptr: Float[B, T, V].
        asked_ptr: As above.
        vectors_ptr: Float32[d, V].
        tokens_ptr: Int32[n], written.
        stride_b: Between the conditional half and the other.
        stride_t: Between rows.
        vocabulary: V.
        block: V rounded up to a power of two.
        width: d; 0 is no anchor.
        guided: B is 2.
        heated: The temperature is not 1.
        greedy: It is 0.
        by_rank: Top-k is on.
        by_weight: Top-p is on.
        chunk: Codes that are compared at once by exact noise, a power of two.
        near: In nats.
    """
    row = tl.load(asked_ptr + 8 + tl.program_id(0) * 4)
    cell = tl.load(asked_ptr + 9 + tl.program_id(0) * 4)
    draft = tl.load(asked_ptr + 10 + tl.program_id(0) * 4)
    codes = tl.arange(0, block)
    warm = _warm(logits_ptr, row, stride_b, stride_t, codes, asked_ptr, vocabulary, guided, heated)
    keys = _keys(warm, codes, vocabulary)
    peak, last_key, last_code = _last_kept(warm, keys, codes, asked_ptr, vocabulary, greedy, by_rank, by_weight)
    token = last_code
    if not greedy:
        rough = warm + _rough_noise(_words(asked_ptr, cell, tl.full((), 0, tl.int32), block))
        if width > 0:
            rough += _bonus(codes, draft, vectors_ptr, asked_ptr, vocabulary, width)
        kept = _kept(keys, codes, last_key, last_code)
        rough = tl.where(kept, rough, float("-inf"))
        close = rough >= tl.max(rough, axis=0) - near
        token = tl.min(tl.where(close, codes, vocabulary - 1), axis=0)
        if tl.sum(close.to(tl.int32), axis=0) > 1:
            scale = tl.log(tl.sum(tl.where(kept, tl.exp(warm - peak), 0.0), axis=0))
            best = tl.full((), float("-inf"), tl.float32)
            for start in range(0, vocabulary, chunk):
                some = start + tl.arange(0, chunk)
                part = _warm(logits_ptr, row, stride_b, stride_t, some, asked_ptr, vocabulary, guided, heated)
                own = _noise(_words(asked_ptr, cell, start, chunk))
                if width > 0:
                    own += _bonus(some, draft, vectors_ptr, asked_ptr, vocabulary, width)
                found = _kept(_keys(part, some, vocabulary), some, last_key, last_code)
                score = tl.where(found, (part - peak - scale) + own, float("-inf"))
                top = tl.max(score, axis=0)
                first = tl.min(tl.where(score == top, some, vocabulary - 1), axis=0)
                token = tl.where(top > best, first, token)
                best = tl.maximum(top, best)
    sound = _nothing(warm, codes, vocabulary) == 0.0
    tl.store(tokens_ptr + tl.program_id(0), tl.where(sound, token, -1))


@triton.jit
def judge_kernel(
    logits_ptr: tl.tensor,
    asked_ptr: tl.tensor,
    neighbours_ptr: tl.tensor,
    found_ptr: tl.tensor,
    log_probs_ptr: tl.tensor,
    stride_b: tl.tensor,
    stride_t: tl.tensor,
    vocabulary: tl.constexpr,
    block: tl.constexpr,
    pooled: tl.constexpr,
    pooled_block: tl.constexpr,
    guided: tl.constexpr,
    heated: tl.constexpr,
    greedy: tl.constexpr,
    by_rank: tl.constexpr,
    by_weight: tl.constexpr,
) -> None:
    """Pool probability around a row's draft token, beside the entropy (POOL-1, LOCAL-3); or write log p.

    Args:
        logits_ptr: Float[B, T, V].
        asked_ptr: As above.
        neighbours_ptr: Int32[V, k].
        found_ptr: Float32[2, n], written where `pooled` is not 0.
        log_probs_ptr: Float32[n, V], written where it is.
        stride_b: Between the conditional half and the other.
        stride_t: Between rows.
        vocabulary: V.
        block: V rounded up to a power of two.
        pooled: k.
        pooled_block: k rounded up to a power of two.
        guided: B is 2.
        heated: The temperature is not 1.
        greedy: It is 0.
        by_rank: Top-k is on.
        by_weight: Top-p is on.
    """
    number = tl.program_id(0)
    row = tl.load(asked_ptr + 8 + number * 4)
    codes = tl.arange(0, block)
    warm = _warm(logits_ptr, row, stride_b, stride_t, codes, asked_ptr, vocabulary, guided, heated)
    keys = _keys(warm, codes, vocabulary)
    peak, last_key, last_code = _last_kept(warm, keys, codes, asked_ptr, vocabulary, greedy, by_rank, by_weight)
    kept = _kept(keys, codes, last_key, last_code)
    scale = tl.log(tl.sum(tl.where(kept, tl.exp(warm - peak), 0.0), axis=0))
    scale += _nothing(warm, codes, vocabulary)
    log_probs = warm - peak - scale
    if pooled > 0:
        probs = tl.where(kept, tl.exp(log_probs), 0.0)
        entropy = -tl.sum(tl.where(probs > 0, probs * log_probs, 0.0), axis=0)
        draft = tl.load(asked_ptr + 10 + number * 4)
        places = tl.arange(0, pooled_block)
        inside = places < pooled
        near = tl.load(neighbours_ptr + draft * pooled + places, mask=inside, other=vocabulary)
        part = _warm(logits_ptr, row, stride_b, stride_t, near, asked_ptr, vocabulary, guided, heated)
        taken = _kept(_keys(part, near, vocabulary), near, last_key, last_code)
        total = tl.sum(tl.where(taken, tl.exp(part - peak - scale), 0.0), axis=0) + scale * 0.0
        tl.store(found_ptr + number, total)
        tl.store(found_ptr + tl.num_programs(0) + number, entropy)
    else:
        places = log_probs_ptr + number.to(tl.int64) * vocabulary + codes
        tl.store(places, tl.where(kept, log_probs, scale * 0.0 + float("-inf")), mask=codes < vocabulary)
