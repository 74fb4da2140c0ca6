"""Triton kernels of a pass that feeds few tokens: five a layer, each reads its weights once.

Up to GEMV_ROWS rows, products are sums of element-wise products, and a program holds all of its weights in registers
before it needs any input: loads of a kernel are on their way while the kernel before it ends. More rows, up to
DOT_ROWS, go through the matrix units. Sums are float32 and their order is fixed.

Names of shapes: M rows (batch x tokens), N outputs, K inputs; D is `dim`.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

GEMV_ROWS, DOT_ROWS = 4, 16


@triton.jit
def _tiles(w_ptr: tl.tensor, outputs: tl.tensor, k: tl.constexpr, block_k: tl.constexpr) -> tl.tensor:
    """Load rows `outputs`, Int[N], of a matrix [.., K]: a tuple of [N, block_k]."""
    tiles = ()
    for index in tl.static_range(k // block_k):
        columns = index * block_k + tl.arange(0, block_k)
        places = w_ptr + outputs[:, None] * k + columns[None, :]
        tiles = tiles + (tl.load(places, eviction_policy="evict_first"),)  # noqa: RUF005  (no unpacking in Triton)
    return tiles


@triton.jit
def _product(
    tiles: tl.tensor,
    x_ptr: tl.tensor,
    norm_ptr: tl.tensor,
    eps: tl.tensor,
    k: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    normed: tl.constexpr,
) -> tl.tensor:
    """Return one row, Float32[1, N]: tiles times x, Float[K], which is normalised first where `normed`."""
    total = tl.zeros([block_n, block_k], tl.float32)
    squares = tl.zeros([block_k], tl.float32)
    for index in tl.static_range(k // block_k):
        columns = index * block_k + tl.arange(0, block_k)
        x = tl.load(x_ptr + columns).to(tl.float32)
        if normed:
            squares += x * x
            x = x * tl.load(norm_ptr + columns).to(tl.float32)
        total += tiles[index].to(tl.float32) * x[None, :]
    y = tl.sum(total, axis=1)
    if normed:
        y = y * tl.rsqrt(tl.sum(squares, axis=0) / k + eps)
    return y[None, :]


@triton.jit
def _scales(x_ptr: tl.tensor, eps: tl.tensor, rows: tl.constexpr, k: tl.constexpr, block_k: tl.constexpr) -> tl.tensor:
    """Return what normalises each of 16 rows, Float32[16]."""
    row = tl.arange(0, 16)
    squares = tl.zeros([16], tl.float32)
    for start in tl.static_range(0, k, block_k):
        columns = start + tl.arange(0, block_k)
        x = tl.load(x_ptr + row[:, None] * k + columns[None, :], mask=(row < rows)[:, None], other=0.0)
        squares += tl.sum(x.to(tl.float32) * x.to(tl.float32), axis=1)
    return tl.rsqrt(squares / k + eps)


@triton.jit
def _dot(
    w_ptr: tl.tensor,
    outputs: tl.tensor,
    x_ptr: tl.tensor,
    norm_ptr: tl.tensor,
    scales: tl.tensor,
    rows: tl.constexpr,
    k: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    normed: tl.constexpr,
) -> tl.tensor:
    """Return 16 rows of products, Float32[16, N]; those from `rows` on are of zeros."""
    row = tl.arange(0, 16)
    total = tl.zeros([block_n, 16], tl.float32)
    for start in range(0, k, block_k):
        columns = start + tl.arange(0, block_k)
        w = tl.load(w_ptr + outputs[:, None] * k + columns[None, :], eviction_policy="evict_first")
        x = tl.load(x_ptr + row[:, None] * k + columns[None, :], mask=(row < rows)[:, None], other=0.0)
        if normed:
            weight = tl.load(norm_ptr + columns).to(tl.float32)
            x = (x.to(tl.float32) * scales[:, None] * weight[None, :]).to(w.dtype)
        total = tl.dot(w, tl.trans(x), total, input_precision="ieee")
    return tl.trans(total)


@triton.jit
def _store_qkv(
    y: tl.tensor,
    row: tl.tensor,
    outputs: tl.tensor,
    section: tl.tensor,
    q_ptr: tl.tensor,
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    cos_ptr: tl.tensor,
    sin_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    write_ptr: tl.tensor,
    capacity: tl.tensor,
    rows: tl.constexpr,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    rotary: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
) -> None:
    """Rotate queries and keys, Float32[M, N], and write each to its place; all of N lie in one section."""
    dim: tl.constexpr = heads * head_dim
    live = row < rows
    channel = outputs % dim
    if rotary and section < 2:
        position = tl.load(positions_ptr + row, mask=live, other=0)
        pair = (channel % head_dim) // 2
        # Both of a pair have the same angle; one of the two is taken.
        angle, _ = tl.split(tl.reshape(pair, [block_n // 2, 2]))
        places = position[:, None] * (head_dim // 2) + angle[None, :]
        cos = tl.load(cos_ptr + places, mask=live[:, None], other=0.0)
        sin = tl.load(sin_ptr + places, mask=live[:, None], other=0.0)
        even, odd = tl.split(tl.reshape(y, [block_m, block_n // 2, 2]))
        turned = tl.join(even * cos - odd * sin, even * sin + odd * cos)
        y = tl.reshape(turned, [block_m, block_n])
    if section == 0:
        tl.store(q_ptr + row[:, None] * dim + channel[None, :], y.to(q_ptr.dtype.element_ty), mask=live[:, None])
    else:
        batch = row // length
        slot = tl.load(write_ptr + batch, mask=live, other=0) + row % length
        head = batch[:, None] * heads + (channel // head_dim)[None, :]
        places = (head * capacity + slot[:, None]) * head_dim + (channel % head_dim)[None, :]
        stored = y.to(key_ptr.dtype.element_ty)
        if section == 1:
            tl.store(key_ptr + places, stored, mask=live[:, None])
        else:
            tl.store(value_ptr + places, stored, mask=live[:, None])


@triton.jit
def qkv_kernel(
    x_ptr: tl.tensor,
    norm_ptr: tl.tensor,
    w_ptr: tl.tensor,
    q_ptr: tl.tensor,
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    cos_ptr: tl.tensor,
    sin_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    write_ptr: tl.tensor,
    capacity: tl.tensor,
    eps: tl.tensor,
    rows: tl.constexpr,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    rotary: tl.constexpr,
    by_dot: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    pdl: tl.constexpr,
) -> None:
    """Norm, projection, rotation; keys and values go into their slots, queries to q, Float[M, D].

    x Float[M, D], w [3 D, D], key and value Float[B, heads, capacity, head_dim], cos and sin Float32[.., head_dim / 2],
    positions Int32[M], write Int32[B]. Programs: 3 D / block_n.
    """
    dim: tl.constexpr = heads * head_dim
    outputs = tl.program_id(0) * block_n + tl.arange(0, block_n)
    section = tl.program_id(0) * block_n // dim
    if pdl:
        gdc_launch_dependents()
    if by_dot:
        if pdl:
            gdc_wait()
        scales = _scales(x_ptr, eps, rows, dim, block_k)
        y = _dot(w_ptr, outputs, x_ptr, norm_ptr, scales, rows, dim, block_n, block_k, True)
        _store_qkv(
            y, tl.arange(0, 16), outputs, section, q_ptr, key_ptr, value_ptr, cos_ptr, sin_ptr, positions_ptr,
            write_ptr, capacity, rows, length, heads, head_dim, rotary, 16, block_n,
        )  # fmt: skip
    else:
        tiles = _tiles(w_ptr, outputs, dim, block_k)
        if pdl:
            gdc_wait()
        for row in tl.static_range(rows):
            y = _product(tiles, x_ptr + row * dim, norm_ptr, eps, dim, block_n, block_k, True)
            _store_qkv(
                y, tl.full([1], row, tl.int32), outputs, section, q_ptr, key_ptr, value_ptr, cos_ptr, sin_ptr,
                positions_ptr, write_ptr, capacity, rows, length, heads, head_dim, rotary, 1, block_n,
            )  # fmt: skip


@triton.jit
def attention_kernel(
    q_ptr: tl.tensor,
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    ranks_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    write_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    stats_ptr: tl.tensor,
    arrived_ptr: tl.tensor,
    out_ptr: tl.tensor,
    capacity: tl.tensor,
    scale: tl.tensor,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    splits: tl.constexpr,
    block_s: tl.constexpr,
    pdl: tl.constexpr,
) -> None:
    """Attend with few queries over the filled slots, in parts; the last program of a head to arrive joins them.

    Who joins varies, in what order does not. q and out Float[M, D], ranks Int32[B, capacity], sums
    Float32[B heads splits, T, padded_dim], stats Float32[B heads splits, 2, T], arrived Int32[B heads], zeros before and
    after. Programs: splits, B heads.
    """
    split, place = tl.program_id(0), tl.program_id(1)
    batch, head = place // heads, place % heads
    query, channel = tl.arange(0, 16), tl.arange(0, padded_dim)
    live, inside = query < length, channel < head_dim
    row = batch * length + query
    if pdl:
        gdc_launch_dependents()
        gdc_wait()
    filled = tl.load(write_ptr + batch) + length
    q_places = row[:, None] * (heads * head_dim) + head * head_dim + channel[None, :]
    q = tl.load(q_ptr + q_places, mask=live[:, None] & inside[None, :], other=0.0)
    position = tl.load(positions_ptr + row, mask=live, other=-1)
    largest = tl.full([16], float("-inf"), tl.float32)
    weight = tl.zeros([16], tl.float32)
    mixed = tl.zeros([16, padded_dim], tl.float32)
    base = place * capacity * head_dim
    for start in range(split * block_s, filled, splits * block_s):
        slot = start + tl.arange(0, block_s)
        there = slot < filled
        rank = tl.load(ranks_ptr + batch * capacity + slot, mask=there, other=2147483647)
        places = base + slot[:, None] * head_dim + channel[None, :]
        mask = there[:, None] & inside[None, :]
        key = tl.load(key_ptr + places, mask=mask, other=0.0)
        value = tl.load(value_ptr + places, mask=mask, other=0.0)
        scores = tl.dot(q, tl.trans(key), input_precision="ieee") * scale
        scores = tl.where(rank[None, :] <= position[:, None], scores, float("-inf"))
        now = tl.maximum(largest, tl.max(scores, axis=1))
        # A query that sees nothing yet: any number will do, but the difference of two infinities.
        base_line = tl.where(now == float("-inf"), 0.0, now)
        probs = tl.exp(scores - base_line[:, None])
        shrink = tl.exp(largest - base_line)
        weight = weight * shrink + tl.sum(probs, axis=1)
        mixed = tl.dot(probs.to(value.dtype), value, mixed * shrink[:, None], input_precision="ieee")
        largest = now
    part = place * splits + split
    sum_places = query[:, None] * padded_dim + channel[None, :]
    tl.store(sums_ptr + part * length * padded_dim + sum_places, mixed, mask=live[:, None])
    tl.store(stats_ptr + part * 2 * length + query, largest, mask=live)
    tl.store(stats_ptr + (part * 2 + 1) * length + query, weight, mask=live)
    tl.debug_barrier()  # all threads have stored before one of them tells so
    before = tl.atomic_add(arrived_ptr + place, 1, sem="acq_rel", scope="gpu")
    if before == splits - 1:
        tl.debug_barrier()
        number = tl.arange(0, splits)
        first = (place * splits + number) * 2 * length
        # Past the first-level cache, which other multiprocessors' stores do not reach.
        maxima = tl.load(
            stats_ptr + first[:, None] + query[None, :], mask=live[None, :], other=0.0, cache_modifier=".cg"
        )
        highest = tl.max(maxima, axis=0)
        total = tl.zeros([16], tl.float32)
        joined = tl.zeros([16, padded_dim], tl.float32)
        for index in tl.static_range(splits):
            other = place * splits + index
            stats = stats_ptr + other * 2 * length + query
            share = tl.exp(tl.load(stats, mask=live, other=0.0, cache_modifier=".cg") - highest)
            total += share * tl.load(stats + length, mask=live, other=0.0, cache_modifier=".cg")
            sums = tl.load(
                sums_ptr + other * length * padded_dim + sum_places,
                mask=live[:, None],
                other=0.0,
                cache_modifier=".cg",
            )
            joined += share[:, None] * sums
        out = joined / tl.where(live, total, 1.0)[:, None]
        tl.store(out_ptr + q_places, out.to(out_ptr.dtype.element_ty), mask=live[:, None] & inside[None, :])
        tl.store(arrived_ptr + place, 0)


@triton.jit
def _add(y: tl.tensor, row: tl.tensor, outputs: tl.tensor, x_ptr: tl.tensor, rows: tl.constexpr, n: tl.constexpr) -> None:
    places = x_ptr + row[:, None] * n + outputs[None, :]
    mask = (row < rows)[:, None]
    # As torch does it: the product is rounded, then the sum.
    rounded = y.to(x_ptr.dtype.element_ty).to(tl.float32)
    x = tl.load(places, mask=mask, other=0.0).to(tl.float32)
    tl.store(places, (x + rounded).to(x_ptr.dtype.element_ty), mask=mask)


@triton.jit
def add_kernel(
    a_ptr: tl.tensor,
    w_ptr: tl.tensor,
    x_ptr: tl.tensor,
    rows: tl.constexpr,
    n: tl.constexpr,
    k: tl.constexpr,
    by_dot: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    pdl: tl.constexpr,
) -> None:
    """x += a w^T: x Float[M, N], a Float[M, K], w Float[N, K]. Programs: N / block_n."""
    outputs = tl.program_id(0) * block_n + tl.arange(0, block_n)
    if pdl:
        gdc_launch_dependents()
    if by_dot:
        if pdl:
            gdc_wait()
        y = _dot(w_ptr, outputs, a_ptr, a_ptr, 0.0, rows, k, block_n, block_k, False)
        _add(y, tl.arange(0, 16), outputs, x_ptr, rows, n)
    else:
        tiles = _tiles(w_ptr, outputs, k, block_k)
        if pdl:
            gdc_wait()
        for row in tl.static_range(rows):
            y = _product(tiles, a_ptr + row * k, a_ptr, 0.0, k, block_n, block_k, False)
            _add(y, tl.full([1], row, tl.int32), outputs, x_ptr, rows, n)


@triton.jit
def _gate(y: tl.tensor, up: tl.tensor, row: tl.tensor, outputs: tl.tensor, h_ptr: tl.tensor, rows: tl.constexpr, n: tl.constexpr) -> None:
    gated = y * tl.sigmoid(y) * up
    places = h_ptr + row[:, None] * n + outputs[None, :]
    tl.store(places, gated.to(h_ptr.dtype.element_ty), mask=(row < rows)[:, None])


@triton.jit
def swiglu_kernel(
    x_ptr: tl.tensor,
    norm_ptr: tl.tensor,
    w_ptr: tl.tensor,
    h_ptr: tl.tensor,
    eps: tl.tensor,
    rows: tl.constexpr,
    n: tl.constexpr,
    k: tl.constexpr,
    by_dot: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    pdl: tl.constexpr,
) -> None:
    """h = silu(norm(x) w1^T) * norm(x) w3^T: x Float[M, K], w Float[2 N, K], h Float[M, N]. Programs: N / block_n."""
    outputs = tl.program_id(0) * block_n + tl.arange(0, block_n)
    if pdl:
        gdc_launch_dependents()
    if by_dot:
        if pdl:
            gdc_wait()
        scales = _scales(x_ptr, eps, rows, k, block_k)
        y = _dot(w_ptr, outputs, x_ptr, norm_ptr, scales, rows, k, block_n, block_k, True)
        up = _dot(w_ptr, n + outputs, x_ptr, norm_ptr, scales, rows, k, block_n, block_k, True)
        _gate(y, up, tl.arange(0, 16), outputs, h_ptr, rows, n)
    else:
        gate_tiles = _tiles(w_ptr, outputs, k, block_k)
        up_tiles = _tiles(w_ptr, n + outputs, k, block_k)
        if pdl:
            gdc_wait()
        for row in tl.static_range(rows):
            y = _product(gate_tiles, x_ptr + row * k, norm_ptr, eps, k, block_n, block_k, True)
            up = _product(up_tiles, x_ptr + row * k, norm_ptr, eps, k, block_n, block_k, True)
            _gate(y, up, tl.full([1], row, tl.int32), outputs, h_ptr, rows, n)


@triton.jit
def head_kernel(
    x_ptr: tl.tensor,
    norm_ptr: tl.tensor,
    w_ptr: tl.tensor,
    logits_ptr: tl.tensor,
    eps: tl.tensor,
    rows: tl.constexpr,
    n: tl.constexpr,
    k: tl.constexpr,
    by_dot: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    pdl: tl.constexpr,
) -> None:
    """Logits, Float32[M, N], of x, Float[M, K]; w Float[N, K]. Programs: N / block_n."""
    outputs = tl.program_id(0) * block_n + tl.arange(0, block_n)
    if pdl:
        gdc_launch_dependents()
    if by_dot:
        if pdl:
            gdc_wait()
        scales = _scales(x_ptr, eps, rows, k, block_k)
        y = _dot(w_ptr, outputs, x_ptr, norm_ptr, scales, rows, k, block_n, block_k, True)
        row = tl.arange(0, 16)
        tl.store(logits_ptr + row[:, None] * n + outputs[None, :], y, mask=(row < rows)[:, None])
    else:
        tiles = _tiles(w_ptr, outputs, k, block_k)
        if pdl:
            gdc_wait()
        for index in tl.static_range(rows):
            y = _product(tiles, x_ptr + index * k, norm_ptr, eps, k, block_n, block_k, True)
            tl.store(logits_ptr + index * n + outputs[None, :], y)
