"""A pass of few rows as one Triton kernel: phases with a barrier of the whole device between them.

Every program makes its own share of the outputs of each matrix, and loads the first of its weights before it waits for
what they are multiplied with, so that memory streams through barriers. The same phases may be launched one by one.
Sums are float32 and their order is fixed: nothing is added up atomically.

Names of shapes: M rows (batch x tokens, few), B sequences, T tokens of each, N outputs, K inputs, D is `dim`, F is
`hidden`, P programs. `scaled` is x times the weight of the norm that comes next, Float32[M, D], and `squares`,
Float32[M, parts], the sums of squares of x by program: whoever changes x writes both.
"""

# ruff: noqa: SIM109  (Triton compares, but does not look into tuples)
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

# How programs wait for each other: not at all (one program, or one launch after another), by a counter, by PDL.
APART, COUNTED, CHAINED = 0, 1, 2
# What a launch does.
ALL, EMBED, QKV, ATTEND, OUT, SWIGLU, DOWN, HEAD = 0, 1, 2, 3, 4, 5, 6, 7
# Addresses of a layer in the table; those of the last norm and of the head are one more layer's first two.
ADDRESSES = 6

_APART: tl.constexpr = tl.constexpr(APART)
_COUNTED: tl.constexpr = tl.constexpr(COUNTED)
_CHAINED: tl.constexpr = tl.constexpr(CHAINED)
_ALL: tl.constexpr = tl.constexpr(ALL)
_EMBED: tl.constexpr = tl.constexpr(EMBED)
_QKV: tl.constexpr = tl.constexpr(QKV)
_ATTEND: tl.constexpr = tl.constexpr(ATTEND)
_OUT: tl.constexpr = tl.constexpr(OUT)
_SWIGLU: tl.constexpr = tl.constexpr(SWIGLU)
_DOWN: tl.constexpr = tl.constexpr(DOWN)
_HEAD: tl.constexpr = tl.constexpr(HEAD)
_ADDRESSES: tl.constexpr = tl.constexpr(ADDRESSES)
# Elements that a thread adds up by itself: 16 bytes of half precision.
_VECTOR: tl.constexpr = tl.constexpr(8)

# One thread tells that its program is done: all of its threads' writes come before (a barrier, then a release).
_ARRIVE: tl.constexpr = tl.constexpr("""
{
    .reg .pred first;
    .reg .u32 thread;
    mov.u32 thread, %tid.x;
    setp.eq.u32 first, thread, 0;
    @first red.release.gpu.global.add.u64 [$1], 1;
    mov.u32 $0, 0;
}
""")
# One thread looks until all have arrived, with an end: about a second, then it says so ($3) and waits no more ($4).
_WAIT: tl.constexpr = tl.constexpr("""
{
    .reg .pred other, done;
    .reg .u32 thread, tries, broken;
    .reg .u64 count;
    mov.u32 broken, $4;
    mov.u32 thread, %tid.x;
    setp.ne.u32 other, thread, 0;
    @other bra DONE;
    setp.ne.u32 done, broken, 0;
    selp.u32 tries, 999999, 0, done;
AGAIN:
    ld.acquire.gpu.global.u64 count, [$1];
    setp.ge.u64 done, count, $2;
    @done bra DONE;
    add.u32 tries, tries, 1;
    setp.lt.u32 done, tries, 1000000;
    @done bra AGAIN;
    mov.u32 broken, 1;
    st.global.u32 [$3], broken;
DONE:
    mov.u32 $0, broken;
}
""")
# One thread, the last, asks for all of a program's share: the request is one for a warp in any case.
_FETCH: tl.constexpr = tl.constexpr("""
{
    .reg .pred wanted;
    .reg .u32 thread, last;
    mov.u32 thread, %tid.x;
    mov.u32 last, %ntid.x;
    sub.u32 last, last, 1;
    setp.eq.u32 wanted, thread, last;
    setp.ne.and.u32 wanted, $2, 0, wanted;
    @wanted cp.async.bulk.prefetch.L2.global [$1], $2;
    mov.u32 $0, 0;
}
""")


@triton.jit
def _arrive(count_ptr: tl.tensor, way: tl.constexpr) -> None:
    if way == _COUNTED:
        tl.debug_barrier()
        tl.inline_asm_elementwise(
            _ARRIVE, "=r,l", [count_ptr.to(tl.int64)], dtype=tl.int32, is_pure=False, pack=1
        )  # fmt: skip


@triton.jit
def _wait(
    count_ptr: tl.tensor, target: tl.tensor, error_ptr: tl.tensor, broken: tl.tensor, way: tl.constexpr
) -> tl.tensor:
    """Wait until `target` arrivals were counted; return whether that did not come about, Int32, in one thread."""
    if way == _COUNTED:
        broken = tl.inline_asm_elementwise(
            _WAIT, "=r,l,l,l,r", [count_ptr.to(tl.int64), target, error_ptr.to(tl.int64), broken],
            dtype=tl.int32, is_pure=False, pack=1,
        )  # fmt: skip
        tl.debug_barrier()
    elif way == _CHAINED:
        gdc_wait()
    return broken


@triton.jit
def _fetch(ptr: tl.tensor, elements: tl.tensor, fetch: tl.constexpr) -> None:
    """Let L2 have so many elements, a multiple of 16 bytes, from a pointer on."""
    if fetch:
        size = elements * (ptr.dtype.element_ty.primitive_bitwidth // 8)
        tl.inline_asm_elementwise(
            _FETCH, "=r,l,r", [ptr.to(tl.int64), size], dtype=tl.int32, is_pure=False, pack=1
        )  # fmt: skip


@triton.jit
def _address(table_ptr: tl.tensor, layer: tl.tensor, which: tl.constexpr, like_ptr: tl.tensor) -> tl.tensor:
    """Return the pointer to one of a layer's tensors."""
    return tl.multiple_of(tl.load(table_ptr + layer * _ADDRESSES + which).to(like_ptr.dtype), 16)


@triton.jit
def _share(n: tl.constexpr, programs: tl.constexpr, pid: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Return the first of a program's outputs and the one after its last."""
    most: tl.constexpr = (n + programs - 1) // programs
    first = tl.minimum(pid * most, n)
    return first, tl.minimum(first + most, n)


@triton.jit
def _tiles(
    w_ptr: tl.tensor,
    outputs: tl.tensor,
    there: tl.tensor,
    k: tl.constexpr,
    block_k: tl.constexpr,
    first: tl.constexpr,
    last: tl.constexpr,
) -> tl.tensor:
    """Load rows `outputs`, Int[N], of a matrix [.., K], columns by blocks: a tuple of [N, block_k]."""
    tiles = ()
    for index in tl.static_range(first, last):
        columns = index * block_k + tl.arange(0, block_k)
        places = w_ptr + outputs[:, None] * k + columns[None, :]
        tile = tl.load(places, mask=there[:, None], other=0.0, eviction_policy="evict_first")
        tiles = tiles + (tile,)  # noqa: RUF005  (no unpacking in Triton)
    return tiles


@triton.jit
def _nothing(rows: tl.constexpr, block_n: tl.constexpr, block_k: tl.constexpr) -> tl.tensor:
    """Return totals to begin with: a tuple of Float32[N, block_k / vector], a thread's own sums."""
    vector: tl.constexpr = min(_VECTOR, block_k)
    totals = ()
    for _ in tl.static_range(rows):
        totals = totals + (tl.zeros([block_n, block_k // vector], tl.float32),)  # noqa: RUF005  (as above)
    return totals


@triton.jit
def _products(
    totals: tl.tensor,
    others: tl.tensor,
    tiles: tl.tensor,
    other_tiles: tl.tensor,
    x_ptr: tl.tensor,
    rows: tl.constexpr,
    k: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    first: tl.constexpr,
    last: tl.constexpr,
    paired: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Add products of tiles, and of others where `paired`, with rows of x, Float[M, K], which are loaded once."""
    vector: tl.constexpr = min(_VECTOR, block_k)
    for index in tl.static_range(first, last):
        # Spread over N where it is loaded: the layout of the weights, so that nothing is exchanged between threads.
        columns = tl.broadcast_to((index * block_k + tl.arange(0, block_k))[None, :], [block_n, block_k])
        w = tiles[index - first].to(tl.float32)
        if paired:
            other = other_tiles[index - first].to(tl.float32)
        added = ()
        added_others = ()
        for row in tl.static_range(rows):
            x = tl.load(x_ptr + row * k + columns).to(tl.float32)
            parts = tl.reshape(w * x, [block_n, block_k // vector, vector])
            added = added + (totals[row] + tl.sum(parts, axis=2),)  # noqa: RUF005  (as above)
            if paired:
                parts = tl.reshape(other * x, [block_n, block_k // vector, vector])
                added_others = added_others + (others[row] + tl.sum(parts, axis=2),)  # noqa: RUF005  (as above)
        totals = added
        if paired:
            others = added_others
    return totals, others


@triton.jit
def _squares(squares_ptr: tl.tensor, rows: tl.constexpr, parts: tl.constexpr) -> tl.tensor:
    """Load the sums of squares of each row: a tuple of Float32[padded parts]. They are on their way, `_norm` waits."""
    part = tl.arange(0, triton.next_power_of_2(parts))
    found = ()
    for row in tl.static_range(rows):
        squares = tl.load(squares_ptr + row * parts + part, mask=part < parts, other=0.0)
        found = found + (squares,)  # noqa: RUF005  (no unpacking in Triton)
    return found


@triton.jit
def _norm(squares: tl.tensor, k: tl.constexpr, eps: tl.tensor) -> tl.tensor:
    """Return what normalises a row of x, a Float32 number."""
    return tl.rsqrt(tl.sum(squares, axis=0) / k + eps)


@triton.jit
def _keep(
    x: tl.tensor,
    row: tl.constexpr,
    outputs: tl.tensor,
    there: tl.tensor,
    weight: tl.tensor,
    x_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    squares_ptr: tl.tensor,
    pid: tl.tensor,
    n: tl.constexpr,
    parts: tl.constexpr,
) -> None:
    """Write some of a row of x, Float[N], and what the next norm, of weights Float32[N], needs."""
    wide = x.to(tl.float32)
    tl.store(x_ptr + row * n + outputs, x, mask=there)
    tl.store(scaled_ptr + row * n + outputs, wide * weight, mask=there)
    tl.store(squares_ptr + row * parts + pid, tl.sum(tl.where(there, wide * wide, 0.0), axis=0))


@triton.jit
def _embed(
    tokens_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    embeddings_ptr: tl.tensor,
    absolute_ptr: tl.tensor,
    norm_ptr: tl.tensor,
    x_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    squares_ptr: tl.tensor,
    pid: tl.tensor,
    rows: tl.constexpr,
    dim: tl.constexpr,
    absolute: tl.constexpr,
    programs: tl.constexpr,
    block_n: tl.constexpr,
) -> None:
    first, end = _share(dim, programs, pid)
    outputs = first + tl.arange(0, block_n)
    there = outputs < end
    weight = tl.load(norm_ptr + outputs, mask=there, other=0.0).to(tl.float32)
    for row in tl.static_range(rows):
        token = tl.load(tokens_ptr + row)
        x = tl.load(embeddings_ptr + token * dim + outputs, mask=there, other=0.0)
        if absolute:
            position = tl.load(positions_ptr + row)
            added = tl.load(absolute_ptr + position * dim + outputs, mask=there, other=0.0)
            x = (x.to(tl.float32) + added.to(tl.float32)).to(x.dtype)
        _keep(x, row, outputs, there, weight, x_ptr, scaled_ptr, squares_ptr, pid, dim, programs)


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
    asked = there & (section == 0)
    tl.store(query_ptr + row * dim + channel, first, mask=asked)
    tl.store(query_ptr + row * dim + channel + 1, second, mask=asked)
    head = row // length * heads + channel // head_dim
    places = (head * capacity + slot) * head_dim + channel % head_dim
    tl.store(key_ptr + places, first, mask=there & (section == 1))
    tl.store(key_ptr + places + 1, second, mask=there & (section == 1))
    tl.store(value_ptr + places, first, mask=there & (section == 2))
    tl.store(value_ptr + places + 1, second, mask=there & (section == 2))


@triton.jit
def _extent(
    write_ptr: tl.tensor,
    item: tl.tensor,
    length: tl.constexpr,
    heads: tl.constexpr,
    splits: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Return the slots that an item, a head's part, is about: first, the one after its last, how many were filled."""
    written = tl.load(write_ptr + item // splits // heads)
    filled = written + length
    # A multiple of 16: parts begin where a sector does.
    size = (filled + splits * 16 - 1) // (splits * 16) * 16
    first = tl.minimum(item % splits * size, filled)
    return first, tl.minimum(first + size, filled), written


@triton.jit
def _slots_before(
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    ranks_ptr: tl.tensor,
    write_ptr: tl.tensor,
    item: tl.tensor,
    capacity: tl.tensor,
    items: tl.constexpr,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    splits: tl.constexpr,
    block_s: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Load an item's first block of ranks, keys and values, none of what this pass writes; and its extent."""
    held = tl.minimum(item, items - 1)
    first, last, written = _extent(write_ptr, held, length, heads, splits)
    slot, channel = first + tl.arange(0, block_s), tl.arange(0, padded_dim)
    pair = held // splits
    there = (slot < last) & (item < items)
    rank = tl.load(ranks_ptr + pair // heads * capacity + slot, mask=there, other=2147483647)
    places = (pair * capacity + slot)[:, None] * head_dim + channel[None, :]
    mask = (there & (slot < written))[:, None] & (channel < head_dim)[None, :]
    key = tl.load(key_ptr + places, mask=mask, other=0.0)
    value = tl.load(value_ptr + places, mask=mask, other=0.0)
    return rank, key, value, first, last, written


@triton.jit
def _weigh(
    largest: tl.tensor,
    weights: tl.tensor,
    mixed: tl.tensor,
    queries: tl.tensor,
    positions: tl.tensor,
    rank: tl.tensor,
    key: tl.tensor,
    value: tl.tensor,
    scale: tl.tensor,
    length: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Take in one block of slots: every place of a block has a softmax of its own, so that threads need not meet."""
    new_largest, new_weights, new_mixed = (), (), ()
    wide_key, wide_value = key.to(tl.float32), value.to(tl.float32)
    for token in tl.static_range(length):
        scores = tl.sum(queries[token] * wide_key, axis=1) * scale
        scores = tl.where(rank <= positions[token], scores, float("-inf"))
        now = tl.maximum(largest[token], scores)
        # A place that has seen nothing yet: any number will do, but the difference of two infinities.
        base = tl.where(now == float("-inf"), 0.0, now)
        probs, shrunk = tl.exp(scores - base), tl.exp(largest[token] - base)
        new_largest = new_largest + (now,)  # noqa: RUF005  (no unpacking in Triton)
        new_weights = new_weights + (weights[token] * shrunk + probs,)  # noqa: RUF005  (as above)
        added = mixed[token] * shrunk[:, None] + probs[:, None] * wide_value
        new_mixed = new_mixed + (added,)  # noqa: RUF005  (as above)
    return new_largest, new_weights, new_mixed


@triton.jit
def _attend(
    item: tl.tensor,
    rank: tl.tensor,
    key: tl.tensor,
    value: tl.tensor,
    first: tl.tensor,
    last: tl.tensor,
    written: tl.tensor,
    query_ptr: tl.tensor,
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    ranks_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    mixed_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    stats_ptr: tl.tensor,
    capacity: tl.tensor,
    scale: tl.tensor,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    splits: tl.constexpr,
    block_s: tl.constexpr,
) -> None:
    """Attend with a head's queries over a part of the slots; `_slots_before` has loaded the first block."""
    pair = item // splits
    batch, head = pair // heads, pair % heads
    slot, channel = first + tl.arange(0, block_s), tl.arange(0, padded_dim)
    inside = channel < head_dim
    queries, positions, largest, weights, mixed = (), (), (), (), ()
    for token in tl.static_range(length):
        row = batch * length + token
        # Spread over slots where it is loaded, as keys are.
        columns = tl.broadcast_to((row * heads * head_dim + head * head_dim + channel)[None, :], [block_s, padded_dim])
        query = tl.load(query_ptr + columns, mask=inside[None, :], other=0.0).to(tl.float32)
        queries = queries + (query,)  # noqa: RUF005  (no unpacking in Triton)
        positions = positions + (tl.load(positions_ptr + row),)  # noqa: RUF005  (as above)
        largest = largest + (tl.full([block_s], float("-inf"), tl.float32),)  # noqa: RUF005  (as above)
        weights = weights + (tl.zeros([block_s], tl.float32),)  # noqa: RUF005  (as above)
        mixed = mixed + (tl.zeros([block_s, padded_dim], tl.float32),)  # noqa: RUF005  (as above)
    # What this pass has written.
    late = ((slot >= written) & (slot < last))[:, None] & inside[None, :]
    places = (pair * capacity + slot)[:, None] * head_dim + channel[None, :]
    key = tl.where(late, tl.load(key_ptr + places, mask=late, other=0.0), key)
    value = tl.where(late, tl.load(value_ptr + places, mask=late, other=0.0), value)
    largest, weights, mixed = _weigh(
        largest, weights, mixed, queries, positions, rank, key, value, scale, length
    )  # fmt: skip
    for start in range(first + block_s, last, block_s):
        slot = start + tl.arange(0, block_s)
        there = slot < last
        rank = tl.load(ranks_ptr + batch * capacity + slot, mask=there, other=2147483647)
        places = (pair * capacity + slot)[:, None] * head_dim + channel[None, :]
        mask = there[:, None] & inside[None, :]
        key = tl.load(key_ptr + places, mask=mask, other=0.0)
        value = tl.load(value_ptr + places, mask=mask, other=0.0)
        largest, weights, mixed = _weigh(
            largest, weights, mixed, queries, positions, rank, key, value, scale, length
        )  # fmt: skip
    for token in tl.static_range(length):
        top = tl.max(largest[token], axis=0)
        base = tl.where(top == float("-inf"), 0.0, top)
        shares = tl.exp(largest[token] - base)
        total = tl.sum(weights[token] * shares, axis=0)
        out = tl.sum(mixed[token] * shares[:, None], axis=0) / tl.where(total == 0.0, 1.0, total)
        if splits == 1:
            places = (batch * length + token) * heads * head_dim + head * head_dim + channel
            tl.store(mixed_ptr + places, out.to(mixed_ptr.dtype.element_ty), mask=inside)
        else:
            tl.store(sums_ptr + (item * length + token) * padded_dim + channel, out)
            # Of nothing seen, the weight 0.
            stat = tl.where(total == 0.0, float("-inf"), base + tl.log(tl.where(total == 0.0, 1.0, total)))
            tl.store(stats_ptr + item * length + token, stat)


@triton.jit
def _join(
    sums_ptr: tl.tensor,
    stats_ptr: tl.tensor,
    own_ptr: tl.tensor,
    rows: tl.constexpr,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    splits: tl.constexpr,
    block_i: tl.constexpr,
) -> None:
    """Join all heads' parts; every program does so for itself, Float[M, D], and spares all one more barrier."""
    channel = tl.arange(0, padded_dim)
    inside = channel < head_dim
    for start in tl.static_range(0, rows * heads, block_i):
        index = start + tl.arange(0, block_i)
        there = index < rows * heads
        row, head = index // heads, index % heads
        item = (row // length * heads + head) * splits
        token = row % length
        stats, sums = (), ()
        for split in tl.static_range(splits):
            part = (item + split) * length + token
            stat = tl.load(stats_ptr + part, mask=there, other=0.0)
            places = part[:, None] * padded_dim + channel[None, :]
            stats = stats + (stat,)  # noqa: RUF005  (no unpacking in Triton)
            sums = sums + (tl.load(sums_ptr + places, mask=there[:, None], other=0.0),)  # noqa: RUF005  (as above)
        top = tl.full([block_i], float("-inf"), tl.float32)
        for split in tl.static_range(splits):
            top = tl.maximum(top, stats[split])
        top = tl.where(top == float("-inf"), 0.0, top)
        total = tl.zeros([block_i], tl.float32)
        joined = tl.zeros([block_i, padded_dim], tl.float32)
        for split in tl.static_range(splits):
            share = tl.exp(stats[split] - top)
            total += share
            joined += share[:, None] * sums[split]
        joined = joined / tl.where(total == 0.0, 1.0, total)[:, None]
        places = index[:, None] * head_dim + channel[None, :]
        tl.store(own_ptr + places, joined.to(own_ptr.dtype.element_ty), mask=there[:, None] & inside[None, :])
    tl.debug_barrier()


@triton.jit
def _own(x_ptr: tl.tensor, outputs: tl.tensor, there: tl.tensor, rows: tl.constexpr, n: tl.constexpr) -> tl.tensor:
    """Load some of each row of x: a tuple of Float[N]."""
    found = ()
    for row in tl.static_range(rows):
        x = tl.load(x_ptr + row * n + outputs, mask=there, other=0.0)
        found = found + (x,)  # noqa: RUF005  (no unpacking in Triton)
    return found


@triton.jit
def _add(
    totals: tl.tensor,
    own: tl.tensor,
    outputs: tl.tensor,
    there: tl.tensor,
    weight: tl.tensor,
    x_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    squares_ptr: tl.tensor,
    pid: tl.tensor,
    rows: tl.constexpr,
    n: tl.constexpr,
    parts: tl.constexpr,
) -> None:
    """X += products, as torch does it: the product is rounded, then the sum."""
    for row in tl.static_range(rows):
        product = tl.sum(totals[row], axis=1).to(own[row].dtype)
        x = (own[row].to(tl.float32) + product.to(tl.float32)).to(own[row].dtype)
        _keep(x, row, outputs, there, weight, x_ptr, scaled_ptr, squares_ptr, pid, n, parts)


@triton.jit(do_not_specialize=["first_layer", "last_layer"])
def pass_kernel(
    table_ptr: tl.tensor,
    tokens_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    ranks_ptr: tl.tensor,
    write_ptr: tl.tensor,
    embeddings_ptr: tl.tensor,
    absolute_ptr: tl.tensor,
    cos_ptr: tl.tensor,
    sin_ptr: tl.tensor,
    keys_ptr: tl.tensor,
    values_ptr: tl.tensor,
    x_ptr: tl.tensor,
    scaled_ptr: tl.tensor,
    squares_ptr: tl.tensor,
    query_ptr: tl.tensor,
    mixed_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    stats_ptr: tl.tensor,
    own_ptr: tl.tensor,
    hidden_ptr: tl.tensor,
    logits_ptr: tl.tensor,
    count_ptr: tl.tensor,
    error_ptr: tl.tensor,
    layer_stride: tl.tensor,
    capacity: tl.tensor,
    first_layer: tl.tensor,
    last_layer: tl.tensor,
    eps: tl.tensor,
    scale: tl.tensor,
    way: tl.constexpr,
    phase: tl.constexpr,
    programs: tl.constexpr,
    rows: tl.constexpr,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    hidden: tl.constexpr,
    vocabulary: tl.constexpr,
    rotary: tl.constexpr,
    absolute: tl.constexpr,
    splits: tl.constexpr,
    block_s: tl.constexpr,
    block_k: tl.constexpr,
    block_hidden: tl.constexpr,
    block_head: tl.constexpr,
    held_qkv: tl.constexpr,
    held_out: tl.constexpr,
    held_swiglu: tl.constexpr,
    held_down: tl.constexpr,
    fetch: tl.constexpr,
) -> None:
    """Run layers `first_layer` up to `last_layer`, or one phase of them: see `persistent.FewRows`, which makes buffers.

    Table Int64[layers + 1, 6], addresses; tokens and positions Int32[M], ranks Int32[B, capacity], write Int32[B];
    cos and sin Float32[sequence, head_dim / 2]; keys and values Float[layers, B, heads, capacity, head_dim], layers
    `layer_stride` apart; query, mixed and x Float[M, D], sums Float32[B heads splits, T, padded_dim], stats
    Float32[B heads splits, T], own Float[P, M, D], hidden Float[M, F], logits Float32[M, V], count Int64[1], error
    Int32[1]. All programs have to be resident at once where they wait by counting.
    """
    pid = tl.program_id(0)
    dim: tl.constexpr = heads * head_dim
    pairs: tl.constexpr = 3 * dim // 2
    items: tl.constexpr = rows // length * heads * splits
    block_pairs: tl.constexpr = triton.next_power_of_2((pairs + programs - 1) // programs)
    block_dim: tl.constexpr = triton.next_power_of_2((dim + programs - 1) // programs)
    block_gates: tl.constexpr = triton.next_power_of_2((hidden + programs - 1) // programs)
    steps: tl.constexpr = dim // block_k
    steps_hidden: tl.constexpr = hidden // block_hidden
    ahead: tl.constexpr = fetch and phase == _ALL
    # A launch of one phase fetches what it does not hold itself.
    beside: tl.constexpr = fetch and phase != _ALL
    broken = 0
    target = tl.full([], 0, tl.int64)
    if way == _CHAINED:
        gdc_launch_dependents()
    if way == _COUNTED:
        # Each pass counts as many arrivals as the last: what was counted before this one began is a multiple, and
        # nobody passes the first barrier before this program has arrived there.
        in_pass = (5 * (last_layer - first_layer) + 1).to(tl.int64) * programs
        target = tl.load(count_ptr, volatile=True) // in_pass * in_pass
    own_ptr += pid * rows * dim
    stride = layer_stride.to(tl.int64)  # times a layer, it may be more than 32 bits hold
    first_pair, end_pair = _share(pairs, programs, pid)
    first_dim, end_dim = _share(dim, programs, pid)
    first_gate, end_gate = _share(hidden, programs, pid)
    pair = first_pair + tl.arange(0, block_pairs)
    pair_there = pair < end_pair
    output = first_dim + tl.arange(0, block_dim)
    output_there = output < end_dim
    gate_output = first_gate + tl.arange(0, block_gates)
    gate_there = gate_output < end_gate

    if phase == _ALL or phase == _EMBED:
        if way == _CHAINED:
            gdc_wait()
        if ahead:
            w_ptr = _address(table_ptr, first_layer, 1, x_ptr)
            _fetch(w_ptr + first_pair * 2 * dim, (end_pair - first_pair) * 2 * dim, fetch)
        _embed(
            tokens_ptr, positions_ptr, embeddings_ptr, absolute_ptr, _address(table_ptr, first_layer, 0, x_ptr), x_ptr,
            scaled_ptr, squares_ptr, pid, rows, dim, absolute, programs, block_dim,
        )  # fmt: skip
        _arrive(count_ptr, way)
        target += programs

    if phase != _EMBED and phase != _HEAD:
        for layer in range(first_layer, last_layer):
            key_ptr, value_ptr = keys_ptr + layer * stride, values_ptr + layer * stride
            if phase == _ALL or phase == _QKV:
                w_ptr = _address(table_ptr, layer, 1, x_ptr)
                _fetch(w_ptr + first_pair * 2 * dim, (end_pair - first_pair) * 2 * dim, beside)
                evens = _tiles(w_ptr, pair * 2, pair_there, dim, block_k, 0, held_qkv)
                odds = _tiles(w_ptr, pair * 2 + 1, pair_there, dim, block_k, 0, held_qkv)
                cosines, sines, slots = (), (), ()
                for row in tl.static_range(rows):
                    cos, sin = 1.0, 0.0
                    if rotary:
                        place = tl.load(positions_ptr + row) * (head_dim // 2) + pair % (head_dim // 2)
                        cos = tl.load(cos_ptr + place, mask=pair_there, other=0.0)
                        sin = tl.load(sin_ptr + place, mask=pair_there, other=0.0)
                    cosines, sines = cosines + (cos,), sines + (sin,)  # noqa: RUF005  (no unpacking in Triton)
                    slots = slots + (tl.load(write_ptr + row // length) + row % length,)  # noqa: RUF005  (as above)
                next_ptr = _address(table_ptr, layer, 4, x_ptr)
                broken = _wait(count_ptr, target, error_ptr, broken, way)
                if ahead:
                    _fetch(next_ptr + first_gate * dim, (end_gate - first_gate) * dim, fetch)
                squares = _squares(squares_ptr, rows, programs)
                totals, others = _nothing(rows, block_pairs, block_k), _nothing(rows, block_pairs, block_k)
                totals, others = _products(
                    totals, others, evens, odds, scaled_ptr, rows, dim, block_pairs, block_k, 0, held_qkv, True
                )  # fmt: skip
                evens = _tiles(w_ptr, pair * 2, pair_there, dim, block_k, held_qkv, steps)
                odds = _tiles(w_ptr, pair * 2 + 1, pair_there, dim, block_k, held_qkv, steps)
                totals, others = _products(
                    totals, others, evens, odds, scaled_ptr, rows, dim, block_pairs, block_k, held_qkv, steps, True
                )  # fmt: skip
                for row in tl.static_range(rows):
                    scale_x = _norm(squares[row], dim, eps)
                    _store_qkv(
                        tl.sum(totals[row], axis=1) * scale_x, tl.sum(others[row], axis=1) * scale_x, row,
                        pair * 2, pair_there, cosines[row], sines[row], slots[row], query_ptr, key_ptr, value_ptr,
                        capacity, length, heads, head_dim, rotary,
                    )  # fmt: skip
                _arrive(count_ptr, way)
                target += programs

            if phase == _ALL or phase == _ATTEND:
                next_ptr = _address(table_ptr, layer, 4, x_ptr)
                rank, key, value, first, last, written = _slots_before(
                    key_ptr, value_ptr, ranks_ptr, write_ptr, pid, capacity, items, length, heads, head_dim,
                    padded_dim, splits, block_s,
                )  # fmt: skip
                broken = _wait(count_ptr, target, error_ptr, broken, way)
                if ahead:
                    _fetch(next_ptr + (hidden + first_gate) * dim, (end_gate - first_gate) * dim, fetch)
                for item in range(pid, items, programs):
                    _attend(
                        item, rank, key, value, first, last, written, query_ptr, key_ptr, value_ptr, ranks_ptr,
                        positions_ptr, mixed_ptr, sums_ptr, stats_ptr, capacity, scale, length, heads, head_dim,
                        padded_dim, splits, block_s,
                    )  # fmt: skip
                    if items > programs:
                        rank, key, value, first, last, written = _slots_before(
                            key_ptr, value_ptr, ranks_ptr, write_ptr, item + programs, capacity, items, length, heads,
                            head_dim, padded_dim, splits, block_s,
                        )  # fmt: skip
                _arrive(count_ptr, way)
                target += programs

            if phase == _ALL or phase == _OUT:
                w_ptr = _address(table_ptr, layer, 2, x_ptr)
                norm_ptr = _address(table_ptr, layer, 3, x_ptr)
                tiles = _tiles(w_ptr, output, output_there, dim, block_k, 0, held_out)
                next_ptr = _address(table_ptr, layer, 5, x_ptr)
                weight = tl.load(norm_ptr + output, mask=output_there, other=0.0).to(tl.float32)
                broken = _wait(count_ptr, target, error_ptr, broken, way)
                own = _own(x_ptr, output, output_there, rows, dim)
                if ahead:
                    _fetch(next_ptr + first_dim * hidden, (end_dim - first_dim) * hidden, fetch)
                a_ptr = mixed_ptr
                if splits > 1:
                    _join(
                        sums_ptr, stats_ptr, own_ptr, rows, length, heads, head_dim, padded_dim, splits,
                        64 if splits < 4 else 16,
                    )  # fmt: skip
                    a_ptr = own_ptr
                totals = _nothing(rows, block_dim, block_k)
                totals, others = _products(
                    totals, (), tiles, (), a_ptr, rows, dim, block_dim, block_k, 0, held_out, False
                )  # fmt: skip
                tiles = _tiles(w_ptr, output, output_there, dim, block_k, held_out, steps)
                totals, others = _products(
                    totals, (), tiles, (), a_ptr, rows, dim, block_dim, block_k, held_out, steps, False
                )  # fmt: skip
                _add(
                    totals, own, output, output_there, weight, x_ptr, scaled_ptr, squares_ptr, pid, rows, dim, programs
                )  # fmt: skip
                _arrive(count_ptr, way)
                target += programs

            if phase == _ALL or phase == _SWIGLU:
                w_ptr = _address(table_ptr, layer, 4, x_ptr)
                _fetch(w_ptr + first_gate * dim, (end_gate - first_gate) * dim, beside)
                _fetch(w_ptr + (hidden + first_gate) * dim, (end_gate - first_gate) * dim, beside)
                gates = _tiles(w_ptr, gate_output, gate_there, dim, block_k, 0, held_swiglu)
                ups = _tiles(w_ptr, hidden + gate_output, gate_there, dim, block_k, 0, held_swiglu)
                next_ptr = _address(table_ptr, layer + 1, 1, x_ptr)
                first, last, written = _extent(write_ptr, tl.minimum(pid, items - 1), length, heads, splits)
                broken = _wait(count_ptr, target, error_ptr, broken, way)
                if ahead and layer + 1 < last_layer:
                    _fetch(next_ptr + first_pair * 2 * dim, (end_pair - first_pair) * 2 * dim, fetch)
                    if pid < items:
                        start = (pid // splits * capacity + first) * head_dim + stride
                        size = (last - first) * head_dim
                        _fetch(key_ptr + start, size, fetch)
                        _fetch(value_ptr + start, size, fetch)
                squares = _squares(squares_ptr, rows, programs)
                totals, others = _nothing(rows, block_gates, block_k), _nothing(rows, block_gates, block_k)
                totals, others = _products(
                    totals, others, gates, ups, scaled_ptr, rows, dim, block_gates, block_k, 0, held_swiglu, True
                )  # fmt: skip
                gates = _tiles(w_ptr, gate_output, gate_there, dim, block_k, held_swiglu, steps)
                ups = _tiles(w_ptr, hidden + gate_output, gate_there, dim, block_k, held_swiglu, steps)
                totals, others = _products(
                    totals, others, gates, ups, scaled_ptr, rows, dim, block_gates, block_k, held_swiglu, steps, True
                )  # fmt: skip
                for row in tl.static_range(rows):
                    scale_x = _norm(squares[row], dim, eps)
                    y, up = tl.sum(totals[row], axis=1) * scale_x, tl.sum(others[row], axis=1) * scale_x
                    gated = y * tl.sigmoid(y) * up
                    tl.store(
                        hidden_ptr + row * hidden + gate_output, gated.to(hidden_ptr.dtype.element_ty), mask=gate_there
                    )  # fmt: skip
                _arrive(count_ptr, way)
                target += programs

            if phase == _ALL or phase == _DOWN:
                w_ptr = _address(table_ptr, layer, 5, x_ptr)
                norm_ptr = _address(table_ptr, layer + 1, 0, x_ptr)
                _fetch(w_ptr + first_dim * hidden, (end_dim - first_dim) * hidden, beside)
                tiles = _tiles(w_ptr, output, output_there, hidden, block_hidden, 0, held_down)
                next_ptr = _address(table_ptr, layer + 1, 2, x_ptr)
                weight = tl.load(norm_ptr + output, mask=output_there, other=0.0).to(tl.float32)
                broken = _wait(count_ptr, target, error_ptr, broken, way)
                own = _own(x_ptr, output, output_there, rows, dim)
                if ahead and layer + 1 < last_layer:
                    _fetch(next_ptr + first_dim * dim, (end_dim - first_dim) * dim, fetch)
                totals = _nothing(rows, block_dim, block_hidden)
                totals, others = _products(
                    totals, (), tiles, (), hidden_ptr, rows, hidden, block_dim, block_hidden, 0, held_down, False
                )  # fmt: skip
                tiles = _tiles(w_ptr, output, output_there, hidden, block_hidden, held_down, steps_hidden)
                totals, others = _products(
                    totals, (), tiles, (), hidden_ptr, rows, hidden, block_dim, block_hidden, held_down, steps_hidden,
                    False,
                )  # fmt: skip
                _add(
                    totals, own, output, output_there, weight, x_ptr, scaled_ptr, squares_ptr, pid, rows, dim, programs
                )  # fmt: skip
                _arrive(count_ptr, way)
                target += programs

    if phase == _ALL or phase == _HEAD:
        w_ptr = _address(table_ptr, last_layer, 1, x_ptr)
        first, end = _share(vocabulary, programs, pid)
        # Two blocks ahead: all would be more than L2 holds.
        _fetch(w_ptr + first * dim, tl.minimum(end - first, 2 * block_head) * dim, fetch)
        broken = _wait(count_ptr, target, error_ptr, broken, way)
        squares = _squares(squares_ptr, rows, programs)
        scales = ()
        for row in tl.static_range(rows):
            scales = scales + (_norm(squares[row], dim, eps),)  # noqa: RUF005  (no unpacking in Triton)
        for start in range(first, end, block_head):
            code = start + tl.arange(0, block_head)
            there = code < end
            further = tl.minimum(start + 2 * block_head, end)
            _fetch(w_ptr + further * dim, (tl.minimum(further + block_head, end) - further) * dim, fetch)
            tiles = _tiles(w_ptr, code, there, dim, block_k, 0, steps)
            totals = _nothing(rows, block_head, block_k)
            totals, others = _products(
                totals, (), tiles, (), scaled_ptr, rows, dim, block_head, block_k, 0, steps, False
            )  # fmt: skip
            for row in tl.static_range(rows):
                logits = tl.sum(totals[row], axis=1) * scales[row]
                tl.store(logits_ptr + row * vocabulary + code, logits, mask=there)
