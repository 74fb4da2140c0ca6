"""Triton kernel: few queries of a sequence attend over its slots, each head's in parts; and what joins the parts.

Names of shapes: M rows (B sequences x T tokens), D is `dim`, P programs. An item is one part of one head of one
sequence.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


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
    # An item that there is not has no slots.
    there = slot < tl.where(item < items, last, 0)
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
def join_parts(
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
def attend_kernel(
    query_ptr: tl.tensor,
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    ranks_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    write_ptr: tl.tensor,
    mixed_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    stats_ptr: tl.tensor,
    capacity: tl.tensor,
    scale: tl.tensor,
    batch: tl.constexpr,
    length: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    splits: tl.constexpr,
    block_s: tl.constexpr,
    programs: tl.constexpr,
    chained: tl.constexpr,
) -> None:
    """Attend over one layer's slots; one part a head goes to mixed, Float[M, D], several to sums and stats.

    query Float[M, D], key and value Float[B, heads, capacity, head_dim], ranks Int32[B, capacity], positions Int32[M],
    write Int32[B], sums Float32[B heads splits, T, padded_dim], stats Float32[B heads splits, T], logarithms of the
    parts' weights.
    """
    pid = tl.program_id(0)
    items: tl.constexpr = batch * heads * splits
    if chained:
        gdc_launch_dependents()
    rank, key, value, first, last, written = _slots_before(
        key_ptr, value_ptr, ranks_ptr, write_ptr, pid, capacity, items, length, heads, head_dim, padded_dim, splits,
        block_s,
    )  # fmt: skip
    if chained:
        gdc_wait()
    for item in range(pid, items, programs):
        _attend(
            item, rank, key, value, first, last, written, query_ptr, key_ptr, value_ptr, ranks_ptr, positions_ptr,
            mixed_ptr, sums_ptr, stats_ptr, capacity, scale, length, heads, head_dim, padded_dim, splits, block_s,
        )  # fmt: skip
        if items > programs:
            rank, key, value, first, last, written = _slots_before(
                key_ptr, value_ptr, ranks_ptr, write_ptr, item + programs, capacity, items, length, heads, head_dim,
                padded_dim, splits, block_s,
            )  # fmt: skip
