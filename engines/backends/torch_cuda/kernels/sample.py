"""Triton kernels of sampling and acceptance: one program a row (DIST-1, RNG-1, ANCHOR-1, POOL-1).

`asked` is Int32[HEADER + ROW n]. First what a call says once: guidance scale, temperature, top-k, top-p, the anchor's
strength, and nothing; those that are Float32 by their bits. Then of each row, `own` in what follows: its token of the
pass, its cell, its draft token, its first row of the pass, both halves of the seed, stream, and nothing. So one call
samples for several images.
"""

import triton
import triton.language as tl

from mulo_sd.engines.backends.torch_cuda.kernels.sample_kept import (
    is_kept,
    keys_of,
    last_kept,
    load_float,
    load_warm,
    zero_or_nan,
)
from mulo_sd.engines.backends.torch_cuda.kernels.sample_noise import gumbel, philox_words, rough_gumbel

HEADER = ROW = 8
_HEADER, _ROW = tl.constexpr(HEADER), tl.constexpr(ROW)


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
    return load_float(asked_ptr, 4) * alike


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
    own_ptr = asked_ptr + _HEADER + tl.program_id(0) * _ROW
    cell, draft = tl.load(own_ptr + 1), tl.load(own_ptr + 2)
    codes = tl.arange(0, block)
    warm = load_warm(logits_ptr, own_ptr, stride_b, stride_t, codes, asked_ptr, vocabulary, guided, heated)
    keys = keys_of(warm, codes, vocabulary)
    peak, last_key, last_code = last_kept(warm, keys, codes, asked_ptr, vocabulary, greedy, by_rank, by_weight)
    token = last_code
    if not greedy:
        rough = warm + rough_gumbel(philox_words(own_ptr, cell, tl.full((), 0, tl.int32), block))
        if width > 0:
            rough += _bonus(codes, draft, vectors_ptr, asked_ptr, vocabulary, width)
        kept = is_kept(keys, codes, last_key, last_code)
        rough = tl.where(kept, rough, float("-inf"))
        close = rough >= tl.max(rough, axis=0) - near
        token = tl.min(tl.where(close, codes, vocabulary - 1), axis=0)
        if tl.sum(close.to(tl.int32), axis=0) > 1:
            scale = tl.log(tl.sum(tl.where(kept, tl.exp(warm - peak), 0.0), axis=0))
            best = tl.full((), float("-inf"), tl.float32)
            for start in range(0, vocabulary, chunk):
                some = start + tl.arange(0, chunk)
                part = load_warm(logits_ptr, own_ptr, stride_b, stride_t, some, asked_ptr, vocabulary, guided, heated)
                noise = gumbel(philox_words(own_ptr, cell, start, chunk))
                if width > 0:
                    noise += _bonus(some, draft, vectors_ptr, asked_ptr, vocabulary, width)
                found = is_kept(keys_of(part, some, vocabulary), some, last_key, last_code)
                score = tl.where(found, (part - peak - scale) + noise, float("-inf"))
                top = tl.max(score, axis=0)
                first = tl.min(tl.where(score == top, some, vocabulary - 1), axis=0)
                token = tl.where(top > best, first, token)
                best = tl.maximum(top, best)
    sound = zero_or_nan(warm, codes, vocabulary) == 0.0
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
    own_ptr = asked_ptr + _HEADER + number * _ROW
    codes = tl.arange(0, block)
    warm = load_warm(logits_ptr, own_ptr, stride_b, stride_t, codes, asked_ptr, vocabulary, guided, heated)
    keys = keys_of(warm, codes, vocabulary)
    peak, last_key, last_code = last_kept(warm, keys, codes, asked_ptr, vocabulary, greedy, by_rank, by_weight)
    kept = is_kept(keys, codes, last_key, last_code)
    scale = tl.log(tl.sum(tl.where(kept, tl.exp(warm - peak), 0.0), axis=0))
    scale += zero_or_nan(warm, codes, vocabulary)
    log_probs = warm - peak - scale
    if pooled > 0:
        probs = tl.where(kept, tl.exp(log_probs), 0.0)
        entropy = -tl.sum(tl.where(probs > 0, probs * log_probs, 0.0), axis=0) + scale * 0.0
        draft = tl.load(own_ptr + 2)
        places = tl.arange(0, pooled_block)
        inside = places < pooled
        near = tl.load(neighbours_ptr + draft * pooled + places, mask=inside, other=vocabulary)
        part = load_warm(logits_ptr, own_ptr, stride_b, stride_t, near, asked_ptr, vocabulary, guided, heated)
        taken = is_kept(keys_of(part, near, vocabulary), near, last_key, last_code)
        total = tl.sum(tl.where(taken, tl.exp(part - peak - scale), 0.0), axis=0) + scale * 0.0
        tl.store(found_ptr + number, total)
        tl.store(found_ptr + tl.num_programs(0) + number, entropy)
    else:
        places = log_probs_ptr + number.to(tl.int64) * vocabulary + codes
        tl.store(places, tl.where(kept, log_probs, scale * 0.0 + float("-inf")), mask=codes < vocabulary)
