"""Triton kernels with which a pass of few rows begins and ends: embedding, and the head.

They are launched and chained as those of `few_layer` are, and names of shapes are the same; V codes.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from mulo_sd.engines.backends.torch_cuda.kernels.few_products import (
    add_products,
    load_squares,
    load_tiles,
    norm_scale,
    share,
    store_x,
    zero_totals,
)


@triton.jit
def embed_kernel(
    tokens_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    embeddings_ptr: tl.tensor,
    absolute_ptr: tl.tensor,
    norm_ptr: tl.tensor,
    x_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    squares_ptr: tl.tensor,
    rows: tl.constexpr,
    dim: tl.constexpr,
    absolute: tl.constexpr,
    programs: tl.constexpr,
    chained: tl.constexpr,
) -> None:
    """Write x, Float[M, D], of tokens and positions, Int32[M]; the first of a pass, it waits for nobody.

    embeddings Float[V, D], absolute Float[sequence, D], norm Float[D], the first layer's.
    """
    pid = tl.program_id(0)
    if chained:
        gdc_launch_dependents()
    block: tl.constexpr = triton.next_power_of_2((dim + programs - 1) // programs)
    first, end = share(dim, programs, pid)
    outputs = first + tl.arange(0, block)
    there = outputs < end
    weight = tl.load(norm_ptr + outputs, mask=there, other=0.0).to(tl.float32)
    for row in tl.static_range(rows):
        token = tl.load(tokens_ptr + row)
        x = tl.load(embeddings_ptr + token * dim + outputs, mask=there, other=0.0)
        if absolute:
            position = tl.load(positions_ptr + row)
            added = tl.load(absolute_ptr + position * dim + outputs, mask=there, other=0.0)
            x = (x.to(tl.float32) + added.to(tl.float32)).to(x.dtype)
        store_x(x, row, outputs, there, weight, x_ptr, scaled_ptr, squares_ptr, pid, dim, programs)


@triton.jit
def head_kernel(
    scaled_ptr: tl.tensor,
    squares_ptr: tl.tensor,
    w_ptr: tl.tensor,
    logits_ptr: tl.tensor,
    eps: tl.tensor,
    rows: tl.constexpr,
    dim: tl.constexpr,
    vocabulary: tl.constexpr,
    block_k: tl.constexpr,
    block: tl.constexpr,
    programs: tl.constexpr,
    chained: tl.constexpr,
) -> None:
    """Normalise and write logits, Float32[M, V]; w Float[V, D]."""
    steps: tl.constexpr = dim // block_k
    if chained:
        gdc_launch_dependents()
    first, end = share(vocabulary, programs, tl.program_id(0))
    if chained:
        gdc_wait()
    squares = load_squares(squares_ptr, rows, programs)
    scales = ()
    for row in tl.static_range(rows):
        scales = scales + (norm_scale(squares[row], dim, eps),)  # noqa: RUF005  (no unpacking in Triton)
    for start in range(first, end, block):
        code = start + tl.arange(0, block)
        there = code < end
        tiles = load_tiles(w_ptr, code, there, dim, block_k, 0, steps)
        totals = zero_totals(rows, block, block_k)
        totals, _ = add_products(totals, (), tiles, (), scaled_ptr, rows, dim, block, block_k, 0, steps, False)
        for row in tl.static_range(rows):
            logits = tl.sum(totals[row], axis=1) * scales[row]
            tl.store(logits_ptr + row * vocabulary + code, logits, mask=there)
