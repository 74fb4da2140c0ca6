"""Triton kernels of a layer of a pass of few rows, attention aside: its products, with what goes before and after.

Every kernel is launched with as many programs, P, each of which loads the first (`held` blocks) of its own share of the
weights before it waits for the kernel before it: chained (programmatic dependent launch), one starts while the one
before it ends, and memory streams through the change. What a kernel reads before it waits was written before the pass.

Names of shapes: M rows (B sequences x T tokens, few), D is `dim`, F is `hidden`, P programs; `scaled`, `squares` and
`norm`, the weights of the norm that comes next, as in `few_products`.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from mulo_sd.engines.backends.torch_cuda.kernels.few_attention import join_parts
from mulo_sd.engines.backends.torch_cuda.kernels.few_products import (
    add_products,
    add_to_x,
    load_rows,
    load_squares,
    load_tiles,
    norm_scale,
    share,
    zero_totals,
)


@triton.jit
def _store_qkv(
    even: tl.tensor,
    odd: tl.tensor,
    row: tl.constexpr,
    outputs: tl.tensor,
    there: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    slot: tl.tensor,
    query_ptr: tl.tensor,
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    capacity: tl.tensor,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    rotary: tl.constexpr,
) -> None:
    """Rotate queries and keys, Float32[N] of even and of odd channels, and write each to its place."""
    dim: tl.constexpr = heads * head_dim
    section, channel = outputs // dim, outputs % dim
    if rotary:
        unturned = even
        even = tl.where(section < 2, unturned * cos - odd * sin, unturned)
        odd = tl.where(section < 2, unturned * sin + odd * cos, odd)
    kind = query_ptr.dtype.element_ty
    first, second = even.to(kind), odd.to(kind)
    of_query = there & (section == 0)
    tl.store(query_ptr + row * dim + channel, first, mask=of_query)
    tl.store(query_ptr + row * dim + channel + 1, second, mask=of_query)
    head = row // length * heads + channel // head_dim
    places = (head * capacity + slot) * head_dim + channel % head_dim
    tl.store(key_ptr + places, first, mask=there & (section == 1))
    tl.store(key_ptr + places + 1, second, mask=there & (section == 1))
    tl.store(value_ptr + places, first, mask=there & (section == 2))
    tl.store(value_ptr + places + 1, second, mask=there & (section == 2))


@triton.jit
def qkv_kernel(
    scaled_ptr: tl.tensor,
    squares_ptr: tl.tensor,
    w_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    write_ptr: tl.tensor,
    cos_ptr: tl.tensor,
    sin_ptr: tl.tensor,
    query_ptr: tl.tensor,
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    capacity: tl.tensor,
    eps: tl.tensor,
    rows: tl.constexpr,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    rotary: tl.constexpr,
    block_k: tl.constexpr,
    held: tl.constexpr,
    programs: tl.constexpr,
    chained: tl.constexpr,
) -> None:
    """Normalise, project, rotate; keys and values go into their slots, queries to query, Float[M, D].

    w Float[3 D, D], positions Int32[M], write Int32[B], cos and sin Float32[sequence, head_dim / 2], key and value
    Float[B, heads, capacity, head_dim].
    """
    dim: tl.constexpr = heads * head_dim
    pairs: tl.constexpr = 3 * dim // 2
    block: tl.constexpr = triton.next_power_of_2((pairs + programs - 1) // programs)
    steps: tl.constexpr = dim // block_k
    if chained:
        gdc_launch_dependents()
    first, end = share(pairs, programs, tl.program_id(0))
    pair = first + tl.arange(0, block)
    there = pair < end
    if first < end:  # a block of its own, in which the compiler spills far fewer registers
        evens = load_tiles(w_ptr, pair * 2, there, dim, block_k, 0, held)
        odds = load_tiles(w_ptr, pair * 2 + 1, there, dim, block_k, 0, held)
        cosines, sines, slots = (), (), ()
        for row in tl.static_range(rows):
            cos, sin = 1.0, 0.0
            if rotary:
                place = tl.load(positions_ptr + row) * (head_dim // 2) + pair % (head_dim // 2)
                cos = tl.load(cos_ptr + place, mask=there, other=0.0)
                sin = tl.load(sin_ptr + place, mask=there, other=0.0)
            cosines, sines = cosines + (cos,), sines + (sin,)  # noqa: RUF005  (no unpacking in Triton)
            slots = slots + (tl.load(write_ptr + row // length) + row % length,)  # noqa: RUF005  (as above)
        if chained:
            gdc_wait()
        squares = load_squares(squares_ptr, rows, programs)
        totals, others = zero_totals(rows, block, block_k), zero_totals(rows, block, block_k)
        totals, others = add_products(
            totals, others, evens, odds, scaled_ptr, rows, dim, block, block_k, 0, held, True
        )  # fmt: skip
        evens = load_tiles(w_ptr, pair * 2, there, dim, block_k, held, steps)
        odds = load_tiles(w_ptr, pair * 2 + 1, there, dim, block_k, held, steps)
        totals, others = add_products(
            totals, others, evens, odds, scaled_ptr, rows, dim, block, block_k, held, steps, True
        )  # fmt: skip
        for row in tl.static_range(rows):
            scale = norm_scale(squares[row], dim, eps)
            _store_qkv(
                tl.sum(totals[row], axis=1) * scale, tl.sum(others[row], axis=1) * scale, row, pair * 2, there,
                cosines[row], sines[row], slots[row], query_ptr, key_ptr, value_ptr, capacity, length, heads, head_dim,
                rotary,
            )  # fmt: skip


@triton.jit
def out_kernel(
    mixed_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    stats_ptr: tl.tensor,
    own_ptr: tl.tensor,
    w_ptr: tl.tensor,
    norm_ptr: tl.tensor,
    x_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    squares_ptr: tl.tensor,
    rows: tl.constexpr,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    splits: tl.constexpr,
    block_k: tl.constexpr,
    held: tl.constexpr,
    programs: tl.constexpr,
    chained: tl.constexpr,
) -> None:
    """Join the parts of attention where there are several, project, and add to x, Float[M, D].

    mixed, sums and stats as `few_attention.attend_kernel` writes them, own Float[P, M, D], what each program joins,
    w Float[D, D], norm Float[D], that of the next product.
    """
    pid = tl.program_id(0)
    dim: tl.constexpr = heads * head_dim
    block: tl.constexpr = triton.next_power_of_2((dim + programs - 1) // programs)
    steps: tl.constexpr = dim // block_k
    if chained:
        gdc_launch_dependents()
    first, end = share(dim, programs, pid)
    output = first + tl.arange(0, block)
    there = output < end
    tiles = load_tiles(w_ptr, output, there, dim, block_k, 0, held)
    weight = tl.load(norm_ptr + output, mask=there, other=0.0).to(tl.float32)
    if chained:
        gdc_wait()
    own_x = load_rows(x_ptr, output, there, rows, dim)
    a_ptr = mixed_ptr
    if splits > 1:
        own_ptr += pid * rows * dim
        join_parts(
            sums_ptr, stats_ptr, own_ptr, rows, length, heads, head_dim, padded_dim, splits, 64 if splits < 4 else 16
        )  # fmt: skip
        a_ptr = own_ptr
    totals = zero_totals(rows, block, block_k)
    totals, _ = add_products(totals, (), tiles, (), a_ptr, rows, dim, block, block_k, 0, held, False)
    tiles = load_tiles(w_ptr, output, there, dim, block_k, held, steps)
    totals, _ = add_products(totals, (), tiles, (), a_ptr, rows, dim, block, block_k, held, steps, False)
    add_to_x(totals, own_x, output, there, weight, x_ptr, scaled_ptr, squares_ptr, pid, rows, dim, programs)


@triton.jit
def swiglu_kernel(
    scaled_ptr: tl.tensor,
    squares_ptr: tl.tensor,
    w_ptr: tl.tensor,
    hidden_ptr: tl.tensor,
    eps: tl.tensor,
    rows: tl.constexpr,
    dim: tl.constexpr,
    hidden: tl.constexpr,
    block_k: tl.constexpr,
    held: tl.constexpr,
    programs: tl.constexpr,
    chained: tl.constexpr,
) -> None:
    """Normalise, project to gates and ups, w Float[2 F, D], and write silu(gate) * up to hidden, Float[M, F]."""
    block: tl.constexpr = triton.next_power_of_2((hidden + programs - 1) // programs)
    steps: tl.constexpr = dim // block_k
    if chained:
        gdc_launch_dependents()
    first, end = share(hidden, programs, tl.program_id(0))
    output = first + tl.arange(0, block)
    there = output < end
    if first < end:  # as in qkv_kernel
        gates = load_tiles(w_ptr, output, there, dim, block_k, 0, held)
        ups = load_tiles(w_ptr, hidden + output, there, dim, block_k, 0, held)
        if chained:
            gdc_wait()
        squares = load_squares(squares_ptr, rows, programs)
        totals, others = zero_totals(rows, block, block_k), zero_totals(rows, block, block_k)
        totals, others = add_products(
            totals, others, gates, ups, scaled_ptr, rows, dim, block, block_k, 0, held, True
        )  # fmt: skip
        gates = load_tiles(w_ptr, output, there, dim, block_k, held, steps)
        ups = load_tiles(w_ptr, hidden + output, there, dim, block_k, held, steps)
        totals, others = add_products(
            totals, others, gates, ups, scaled_ptr, rows, dim, block, block_k, held, steps, True
        )  # fmt: skip
        for row in tl.static_range(rows):
            scale = norm_scale(squares[row], dim, eps)
            gate, up = tl.sum(totals[row], axis=1) * scale, tl.sum(others[row], axis=1) * scale
            gated = gate * tl.sigmoid(gate) * up
            tl.store(hidden_ptr + row * hidden + output, gated.to(hidden_ptr.dtype.element_ty), mask=there)


@triton.jit
def down_kernel(
    hidden_ptr: tl.tensor,
    w_ptr: tl.tensor,
    norm_ptr: tl.tensor,
    x_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    squares_ptr: tl.tensor,
    rows: tl.constexpr,
    dim: tl.constexpr,
    hidden: tl.constexpr,
    block_k: tl.constexpr,
    held: tl.constexpr,
    programs: tl.constexpr,
    chained: tl.constexpr,
) -> None:
    """Project hidden, Float[M, F], by w, Float[D, F], and add to x, Float[M, D]; norm Float[D], the next layer's."""
    pid = tl.program_id(0)
    block: tl.constexpr = triton.next_power_of_2((dim + programs - 1) // programs)
    steps: tl.constexpr = hidden // block_k
    if chained:
        gdc_launch_dependents()
    first, end = share(dim, programs, pid)
    output = first + tl.arange(0, block)
    there = output < end
    tiles = load_tiles(w_ptr, output, there, hidden, block_k, 0, held)
    weight = tl.load(norm_ptr + output, mask=there, other=0.0).to(tl.float32)
    if chained:
        gdc_wait()
    own_x = load_rows(x_ptr, output, there, rows, dim)
    totals = zero_totals(rows, block, block_k)
    totals, _ = add_products(totals, (), tiles, (), hidden_ptr, rows, hidden, block, block_k, 0, held, False)
    tiles = load_tiles(w_ptr, output, there, hidden, block_k, held, steps)
    totals, _ = add_products(totals, (), tiles, (), hidden_ptr, rows, hidden, block, block_k, held, steps, False)
    add_to_x(totals, own_x, output, there, weight, x_ptr, scaled_ptr, squares_ptr, pid, rows, dim, programs)
