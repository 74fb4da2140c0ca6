"""Triton kernels of a pass that feeds few tokens: five a layer, each reads its weights once.

Products are sums of element-wise products: each warp makes one output of a tile, and a program loads all of its weights
before it needs any input, so that they are on their way while the kernel before it ends. Of more than GEMV_ROWS rows a
library's products are faster. Sums are float32 and their order is fixed.

Names of shapes: M rows (batch x tokens), N outputs, K inputs; D is `dim`. `scaled` is x times the weight of the norm
that comes next, Float32[M, D]: whoever changes x writes it, so that all who read it need but multiply by what
normalises a row, which they find meanwhile.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

GEMV_ROWS = 4


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
def _products(
    tiles: tl.tensor,
    x_ptr: tl.tensor,
    rows: tl.constexpr,
    k: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
) -> tl.tensor:
    """Return a tuple of `rows` products of tiles and rows of x, Float[M, K]: Float32[1, N] each."""
    totals = ()
    for _ in tl.static_range(rows):
        totals = totals + (tl.zeros([block_n, block_k], tl.float32),)  # noqa: RUF005  (as above)
    for index in tl.static_range(k // block_k):
        # Spread over N where it is loaded: the layout of the weights, so that nothing is exchanged between threads.
        columns = tl.broadcast_to((index * block_k + tl.arange(0, block_k))[None, :], [block_n, block_k])
        w = tiles[index].to(tl.float32)
        added = ()
        for row in tl.static_range(rows):
            x = tl.load(x_ptr + row * k + columns).to(tl.float32)
            added = added + (totals[row] + w * x,)  # noqa: RUF005  (as above)
        totals = added
    products = ()
    for row in tl.static_range(rows):
        products = products + (tl.sum(totals[row], axis=1)[None, :],)  # noqa: RUF005  (as above)
    return products


@triton.jit
def _pairs(
    tiles: tl.tensor,
    other_tiles: tl.tensor,
    x_ptr: tl.tensor,
    rows: tl.constexpr,
    k: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
) -> tl.tensor:
    """The same for two sets of tiles, one set's products after the other's; x is loaded once for both."""
    totals = ()
    for _ in tl.static_range(2 * rows):
        totals = totals + (tl.zeros([block_n, block_k], tl.float32),)  # noqa: RUF005  (as above)
    for index in tl.static_range(k // block_k):
        columns = tl.broadcast_to((index * block_k + tl.arange(0, block_k))[None, :], [block_n, block_k])
        w, other = tiles[index].to(tl.float32), other_tiles[index].to(tl.float32)
        added = ()
        others = ()
        for row in tl.static_range(rows):
            x = tl.load(x_ptr + row * k + columns).to(tl.float32)
            added = added + (totals[row] + w * x,)  # noqa: RUF005  (as above)
            others = others + (totals[rows + row] + other * x,)  # noqa: RUF005  (as above)
        totals = added + others
    products = ()
    for row in tl.static_range(2 * rows):
        products = products + (tl.sum(totals[row], axis=1)[None, :],)  # noqa: RUF005  (as above)
    return products


@triton.jit
def _load_rows(
    x_ptr: tl.tensor, row: tl.tensor, rows: tl.constexpr, k: tl.constexpr, padded_k: tl.constexpr
) -> tl.tensor:
    """Load given rows of x, Float[M, K]: [R, padded_k] for Int[R], zeros where there is nothing."""
    column = tl.arange(0, padded_k)
    mask = (row < rows)[:, None] & (column < k)[None, :]
    return tl.load(x_ptr + row[:, None] * k + column[None, :], mask=mask, other=0.0)


@triton.jit
def _single_rows(x_ptr: tl.tensor, rows: tl.constexpr, k: tl.constexpr, padded_k: tl.constexpr) -> tl.tensor:
    """Load all rows, each by itself: a tuple of [1, padded_k]. What they are for comes later; they are on their way."""
    found = ()
    for index in tl.static_range(rows):
        row = _load_rows(x_ptr, tl.full([1], index, tl.int32), rows, k, padded_k)
        found = found + (row,)  # noqa: RUF005  (no unpacking in Triton)
    return found


@triton.jit
def _scale(x: tl.tensor, eps: tl.tensor, k: tl.constexpr) -> tl.tensor:
    """Return what normalises loaded rows: Float32[R, 1]."""
    wide = x.to(tl.float32)
    return tl.rsqrt(tl.sum(wide * wide, axis=1) / k + eps)[:, None]


@triton.jit
def _angles(
    table_ptr: tl.tensor,
    row: tl.tensor,
    outputs: tl.tensor,
    rows: tl.constexpr,
    head_dim: tl.constexpr,
) -> tl.tensor:
    """Load cos or sin, Float32[R, N], of rows and of the pairs of channels that outputs belong to."""
    places = row[:, None] * (head_dim // 2) + (outputs % head_dim // 2)[None, :]
    return tl.load(table_ptr + places, mask=(row < rows)[:, None] & (outputs >= 0)[None, :], other=0.0)


@triton.jit
def _slots(write_ptr: tl.tensor, row: tl.tensor, rows: tl.constexpr, length: tl.constexpr) -> tl.tensor:
    """Return the slots that rows are written to, Int[R]."""
    return tl.load(write_ptr + row // length, mask=row < rows, other=0) + row % length


@triton.jit
def _store_qkv(
    even: tl.tensor,
    odd: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    slot: tl.tensor,
    row: tl.tensor,
    outputs: tl.tensor,
    section: tl.tensor,
    q_ptr: tl.tensor,
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    capacity: tl.tensor,
    rows: tl.constexpr,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    rotary: tl.constexpr,
) -> None:
    """Rotate queries and keys, Float32[R, N] of even and odd channels, and write each to its place.

    All outputs, the even ones' Int[N], lie in one section: queries, keys or values.
    """
    dim: tl.constexpr = heads * head_dim
    mask = (row < rows)[:, None] & (outputs >= 0)[None, :]
    channel = outputs % dim
    if rotary and section < 2:
        unturned = even
        even = unturned * cos - odd * sin
        odd = unturned * sin + odd * cos
    first, second = even.to(q_ptr.dtype.element_ty), odd.to(q_ptr.dtype.element_ty)
    if section == 0:
        places = row[:, None] * dim + channel[None, :]
        tl.store(q_ptr + places, first, mask=mask)
        tl.store(q_ptr + places + 1, second, mask=mask)
    else:
        head = (row // length)[:, None] * heads + (channel // head_dim)[None, :]
        places = (head * capacity + slot[:, None]) * head_dim + (channel % head_dim)[None, :]
        if section == 1:
            tl.store(key_ptr + places, first, mask=mask)
            tl.store(key_ptr + places + 1, second, mask=mask)
        else:
            tl.store(value_ptr + places, first, mask=mask)
            tl.store(value_ptr + places + 1, second, mask=mask)


@triton.jit
def qkv_kernel(
    x_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    w_ptr: tl.tensor,
    q_ptr: tl.tensor,
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    cos_ptr: tl.tensor,
    sin_ptr: tl.tensor,
    write_ptr: tl.tensor,
    capacity: tl.tensor,
    eps: tl.tensor,
    rows: tl.constexpr,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    rotary: tl.constexpr,
    padded_k: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    pdl: tl.constexpr,
) -> None:
    """Norm, projection, rotation; keys and values go into their slots, queries to q, Float[M, D].

    x Float[M, D], w [3 D, D], key and value Float[B, heads, capacity, head_dim], cos and sin
    Float32[M, head_dim / 2], of each row's position, write Int32[B]. Programs: 3 D / (2 block_n), each of block_n even
    channels and as many odd ones.
    """
    dim: tl.constexpr = heads * head_dim
    outputs = (tl.program_id(0) * block_n + tl.arange(0, block_n)) * 2
    section = tl.program_id(0) * (2 * block_n) // dim
    if pdl:
        gdc_launch_dependents()
    evens, odds = _tiles(w_ptr, outputs, dim, block_k), _tiles(w_ptr, outputs + 1, dim, block_k)
    cosines, sines, slots = (), (), ()
    for index in tl.static_range(rows):
        row = tl.full([1], index, tl.int32)
        cos, sin = 1.0, 0.0
        if rotary:
            cos = _angles(cos_ptr, row, outputs, rows, head_dim)
            sin = _angles(sin_ptr, row, outputs, rows, head_dim)
        cosines, sines = cosines + (cos,), sines + (sin,)  # noqa: RUF005  (no unpacking in Triton)
        slots = slots + (_slots(write_ptr, row, rows, length),)  # noqa: RUF005  (as above)
    if pdl:
        gdc_wait()
    x = _single_rows(x_ptr, rows, dim, padded_k)
    products = _pairs(evens, odds, scaled_ptr, rows, dim, block_n, block_k)
    for index in tl.static_range(rows):
        row = tl.full([1], index, tl.int32)
        scale = _scale(x[index], eps, dim)
        _store_qkv(
            products[index] * scale, products[rows + index] * scale, cosines[index], sines[index], slots[index],
            row, outputs, section, q_ptr, key_ptr, value_ptr, capacity, rows, length, heads, head_dim, rotary,
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
    Float32[B heads splits, T, padded_dim], stats Float32[B heads splits, 2, T], arrived Int32[B heads], zeros before
    and after. Programs: splits, B heads.
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
def _add(
    y: tl.tensor,
    row: tl.tensor,
    outputs: tl.tensor,
    x_ptr: tl.tensor,
    norm_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    rows: tl.constexpr,
    n: tl.constexpr,
) -> None:
    places = row[:, None] * n + outputs[None, :]
    mask = (row < rows)[:, None] & (outputs < n)[None, :]
    # As torch does it: the product is rounded, then the sum.
    rounded = y.to(x_ptr.dtype.element_ty).to(tl.float32)
    x = (tl.load(x_ptr + places, mask=mask, other=0.0).to(tl.float32) + rounded).to(x_ptr.dtype.element_ty)
    tl.store(x_ptr + places, x, mask=mask)
    weight = tl.load(norm_ptr + outputs).to(tl.float32)
    tl.store(scaled_ptr + places, x.to(tl.float32) * weight[None, :], mask=mask)


@triton.jit
def add_kernel(
    a_ptr: tl.tensor,
    w_ptr: tl.tensor,
    x_ptr: tl.tensor,
    norm_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    rows: tl.constexpr,
    n: tl.constexpr,
    k: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    pdl: tl.constexpr,
) -> None:
    """X += a w^T, and scaled = x times norm: x Float[M, N], a Float[M, K], w Float[N, K]. Programs: N / block_n."""
    outputs = tl.program_id(0) * block_n + tl.arange(0, block_n)
    if pdl:
        gdc_launch_dependents()
    tiles = _tiles(w_ptr, outputs, k, block_k)
    if pdl:
        gdc_wait()
    products = _products(tiles, a_ptr, rows, k, block_n, block_k)
    for index in tl.static_range(rows):
        _add(products[index], tl.full([1], index, tl.int32), outputs, x_ptr, norm_ptr, scaled_ptr, rows, n)


@triton.jit
def _gate(
    y: tl.tensor,
    up: tl.tensor,
    row: tl.tensor,
    outputs: tl.tensor,
    h_ptr: tl.tensor,
    rows: tl.constexpr,
    n: tl.constexpr,
) -> None:
    gated = y * tl.sigmoid(y) * up
    mask = (row < rows)[:, None] & (outputs < n)[None, :]
    tl.store(h_ptr + row[:, None] * n + outputs[None, :], gated.to(h_ptr.dtype.element_ty), mask=mask)


@triton.jit
def swiglu_kernel(
    x_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    w_ptr: tl.tensor,
    h_ptr: tl.tensor,
    eps: tl.tensor,
    rows: tl.constexpr,
    n: tl.constexpr,
    k: tl.constexpr,
    padded_k: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    pdl: tl.constexpr,
) -> None:
    """H = silu(norm(x) w1^T) * norm(x) w3^T: x Float[M, K], w Float[2 N, K], h Float[M, N]. Programs: N / block_n."""
    outputs = tl.program_id(0) * block_n + tl.arange(0, block_n)
    if pdl:
        gdc_launch_dependents()
    gate_tiles, up_tiles = _tiles(w_ptr, outputs, k, block_k), _tiles(w_ptr, n + outputs, k, block_k)
    if pdl:
        gdc_wait()
    x = _single_rows(x_ptr, rows, k, padded_k)
    products = _pairs(gate_tiles, up_tiles, scaled_ptr, rows, k, block_n, block_k)
    for index in tl.static_range(rows):
        row = tl.full([1], index, tl.int32)
        scale = _scale(x[index], eps, k)
        _gate(products[index] * scale, products[rows + index] * scale, row, outputs, h_ptr, rows, n)


@triton.jit
def _store_rows(
    y: tl.tensor,
    row: tl.tensor,
    outputs: tl.tensor,
    out_ptr: tl.tensor,
    rows: tl.constexpr,
    n: tl.constexpr,
) -> None:
    mask = (row < rows)[:, None] & (outputs < n)[None, :]
    tl.store(out_ptr + row[:, None] * n + outputs[None, :], y, mask=mask)


@triton.jit
def head_kernel(
    x_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    w_ptr: tl.tensor,
    logits_ptr: tl.tensor,
    eps: tl.tensor,
    rows: tl.constexpr,
    n: tl.constexpr,
    k: tl.constexpr,
    padded_k: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    pdl: tl.constexpr,
) -> None:
    """Logits, Float32[M, N], of x, Float[M, K]; w Float[N, K]. Programs: N / (2 block_n)."""
    outputs = tl.program_id(0) * (2 * block_n) + tl.arange(0, block_n)
    if pdl:
        gdc_launch_dependents()
    tiles, other_tiles = _tiles(w_ptr, outputs, k, block_k), _tiles(w_ptr, outputs + block_n, k, block_k)
    if pdl:
        gdc_wait()
    x = _single_rows(x_ptr, rows, k, padded_k)
    products = _pairs(tiles, other_tiles, scaled_ptr, rows, k, block_n, block_k)
    for index in tl.static_range(rows):
        row = tl.full([1], index, tl.int32)
        scale = _scale(x[index], eps, k)
        _store_rows(products[index] * scale, row, outputs, logits_ptr, rows, n)
        _store_rows(products[rows + index] * scale, row, outputs + block_n, logits_ptr, rows, n)
