"""Triton kernels of attention over slots: which slots a query sees is told by their ranks, and no mask is made.

Names of shapes: M rows (batch x tokens), T tokens a row, D is `dim`. A tile is block_m queries of one row of the
batch; slots come in blocks of block_n, of which `capacity` is a multiple. Slots behind those of the pass are dead:
their rank is larger than any position.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["length", "tiles", "listed_most"])
def visible_kernel(
    ranks_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    write_ptr: tl.tensor,
    blocks_ptr: tl.tensor,
    counts_ptr: tl.tensor,
    length: tl.tensor,
    tiles: tl.tensor,
    capacity: tl.tensor,
    listed_most: tl.tensor,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    chunk: tl.constexpr,
) -> None:
    """List the blocks of slots of which any query of a tile may see any, once for all heads and layers.

    ranks Int32[B, capacity], positions Int32[M], write Int32[B], blocks Int32[B, tiles, listed_most], counts
    Int32[B, tiles]. Programs: tiles, B.
    """
    tile, batch = tl.program_id(0), tl.program_id(1)
    query = tile * block_m + tl.arange(0, block_m)
    position = tl.load(positions_ptr + batch * length + query, mask=query < length, other=-1)
    farthest = tl.max(position, axis=0)
    used = (tl.load(write_ptr + batch) + length + block_n - 1) // block_n
    place = batch * tiles + tile
    count = tl.zeros([1], tl.int32)
    for first in range(0, used, chunk):
        block = first + tl.arange(0, chunk)
        slot = block[:, None] * block_n + tl.arange(0, block_n)[None, :]
        rank = tl.load(ranks_ptr + batch * capacity + slot, mask=slot < capacity, other=2147483647)
        seen = tl.where(tl.min(rank, axis=1) <= farthest, 1, 0)
        number = count + tl.cumsum(seen, axis=0) - 1
        tl.store(blocks_ptr + place * listed_most + number, block, mask=seen > 0)
        count += tl.sum(seen, axis=0)
    tl.store(counts_ptr + place + tl.arange(0, 1), count)


@triton.jit
def _store_mixed(
    mixed: tl.tensor,
    weight: tl.tensor,
    out_ptr: tl.tensor,
    places: tl.tensor,
    mask: tl.tensor,
) -> None:
    # A query behind the last one sees nothing, and is not stored.
    out = mixed / tl.where(weight > 0.0, weight, 1.0)[:, None]
    tl.store(out_ptr + places, out.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["length", "tiles", "listed_most"])
def flash_kernel(
    q_ptr: tl.tensor,
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    ranks_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    write_ptr: tl.tensor,
    blocks_ptr: tl.tensor,
    counts_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    stats_ptr: tl.tensor,
    arrived_ptr: tl.tensor,
    out_ptr: tl.tensor,
    length: tl.tensor,
    tiles: tl.tensor,
    capacity: tl.tensor,
    listed_most: tl.tensor,
    scale: tl.tensor,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    padded_dim: tl.constexpr,
    q_stride: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    listed: tl.constexpr,
    splits: tl.constexpr,
) -> None:
    """Attend over the filled slots; where `splits` is more than 1 in parts, which the last program to arrive joins.

    Who joins varies, in what order does not. q Float[M, q_stride], key and value Float[B, heads, capacity, head_dim],
    ranks Int32[B, capacity], positions Int32[M], blocks and counts as of `visible_kernel`, read where `listed`, sums
    Float32[B heads tiles splits, block_m, padded_dim], stats Float32[B heads tiles splits, 2, block_m], arrived
    Int32[B heads tiles], zeros before and after, out Float[M, D]. `scale` is of scores in base 2.
    Programs: tiles, B heads, splits.
    """
    # Of queries in the order of the grid the last see most: who starts first works longest.
    tile = tiles - 1 - tl.program_id(0)
    place, number = tl.program_id(1), tl.program_id(2)
    batch, head = place // heads, place % heads
    lane, channel = tl.arange(0, block_m), tl.arange(0, padded_dim)
    query = tile * block_m + lane
    live = query < length
    row = batch * length + query
    q_places = row.to(tl.int64)[:, None] * q_stride + head * head_dim + channel[None, :]
    out_places = row.to(tl.int64)[:, None] * (heads * head_dim) + head * head_dim + channel[None, :]
    out_mask = live[:, None] & (channel < head_dim)[None, :]
    q = tl.load(q_ptr + q_places, mask=out_mask, other=0.0)
    position = tl.load(positions_ptr + row, mask=live, other=-1)
    base = place.to(tl.int64) * capacity * head_dim
    slot_places = tl.arange(0, block_n)[:, None] * head_dim + channel[None, :]
    if listed:
        count = tl.load(counts_ptr + batch * tiles + tile)
        list_ptr = blocks_ptr + (batch * tiles + tile) * listed_most
        # One ahead, so that no load of keys waits for it.
        block = tl.load(list_ptr + number)
    else:
        count = (tl.load(write_ptr + batch) + length + block_n - 1) // block_n
        block = number
    largest = tl.full([block_m], float("-inf"), tl.float32)
    weight = tl.zeros([block_m], tl.float32)
    mixed = tl.zeros([block_m, padded_dim], tl.float32)
    for index in range(number, count, splits):
        rank = tl.load(ranks_ptr + batch * capacity + block * block_n + tl.arange(0, block_n))
        places = base + block * (block_n * head_dim) + slot_places
        if padded_dim == head_dim:
            key = tl.load(key_ptr + places)
            value = tl.load(value_ptr + places)
        else:
            key = tl.load(key_ptr + places, mask=(channel < head_dim)[None, :], other=0.0)
            value = tl.load(value_ptr + places, mask=(channel < head_dim)[None, :], other=0.0)
        block = tl.load(list_ptr + index + splits) if listed else index + splits
        scores = tl.dot(q, tl.trans(key), input_precision="ieee")
        scores = tl.where(rank[None, :] <= position[:, None], scores, float("-inf"))
        now = tl.maximum(largest, tl.max(scores, axis=1) * scale)
        # A query that sees nothing yet: any number will do, but the difference of two infinities.
        base_line = tl.where(now == float("-inf"), 0.0, now)
        probs = tl.exp2(scores * scale - base_line[:, None])
        shrink = tl.exp2(largest - base_line)
        weight = weight * shrink + tl.sum(probs, axis=1)
        mixed = tl.dot(probs.to(value.dtype), value, mixed * shrink[:, None], input_precision="ieee")
        largest = now
    if splits > 1:
        joint = place * tiles + tile
        part = joint * splits + number
        sum_places = lane[:, None] * padded_dim + channel[None, :]
        tl.store(sums_ptr + part * (block_m * padded_dim) + sum_places, mixed)
        tl.store(stats_ptr + part * (2 * block_m) + lane, largest)
        tl.store(stats_ptr + part * (2 * block_m) + block_m + lane, weight)
        tl.debug_barrier()  # all threads have stored before one of them tells so
        before = tl.atomic_add(arrived_ptr + joint, 1, sem="acq_rel", scope="gpu")
        if before == splits - 1:
            tl.debug_barrier()
            highest = tl.full([block_m], float("-inf"), tl.float32)
            total = tl.zeros([block_m], tl.float32)
            joined = tl.zeros([block_m, padded_dim], tl.float32)
            for other_number in tl.static_range(splits):
                other = joint * splits + other_number
                # Past the first-level cache, which other multiprocessors' stores do not reach.
                stats = stats_ptr + other * (2 * block_m) + lane
                its_largest = tl.load(stats, cache_modifier=".cg")
                its_weight = tl.load(stats + block_m, cache_modifier=".cg")
                sums = tl.load(sums_ptr + other * (block_m * padded_dim) + sum_places, cache_modifier=".cg")
                later = tl.maximum(highest, its_largest)
                ground = tl.where(later == float("-inf"), 0.0, later)
                shrunk, share = tl.exp2(highest - ground), tl.exp2(its_largest - ground)
                total = total * shrunk + its_weight * share
                joined = joined * shrunk[:, None] + sums * share[:, None]
                highest = later
            _store_mixed(joined, total, out_ptr, out_places, out_mask)
            tl.store(arrived_ptr + joint, 0)
    else:
        _store_mixed(mixed, weight, out_ptr, out_places, out_mask)
