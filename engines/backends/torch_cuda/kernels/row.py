"""Triton kernels between the products of a pass that feeds many tokens: each reads and writes a row once.

Products are the library's; what lies between them takes a kernel each instead of several of torch's own. Arithmetic is
float32, whatever is read and written.
"""

import triton
import triton.language as tl


@triton.jit
def norm_kernel(
    x_ptr: tl.tensor,
    y_ptr: tl.tensor,
    weight_ptr: tl.tensor,
    out_ptr: tl.tensor,
    eps: tl.tensor,
    n: tl.constexpr,
    padded_n: tl.constexpr,
    added: tl.constexpr,
) -> None:
    """Out = norm(x) times weight, and x += y before where `added`: x, y, out Float[M, N], weight Float[N].

    Programs: M.
    """
    column = tl.arange(0, padded_n)
    places = tl.program_id(0).to(tl.int64) * n + column
    inside = column < n
    x = tl.load(x_ptr + places, mask=inside, other=0.0)
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0).to(tl.float32)
    if added:
        y = tl.load(y_ptr + places, mask=inside, other=0.0)
        # As torch does it: the sum is rounded before it is normalised.
        x = (x.to(tl.float32) + y.to(tl.float32)).to(x_ptr.dtype.element_ty)
        tl.store(x_ptr + places, x, mask=inside)
    wide = x.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, axis=0) / n + eps)
    tl.store(out_ptr + places, (wide * scale * weight).to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def gate_kernel(both_ptr: tl.tensor, out_ptr: tl.tensor, n: tl.constexpr, block_n: tl.constexpr) -> None:
    """Out = silu(gate) * up, Float[M, N], of both, Float[M, 2 N], gate before up. Programs: M, N / block_n."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * block_n + tl.arange(0, block_n)
    inside = column < n
    gate = tl.load(both_ptr + row * (2 * n) + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(both_ptr + row * (2 * n) + n + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_ptr + row * n + column, (gate * tl.sigmoid(gate) * up).to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows", "length"])
def rotate_kernel(
    joint_ptr: tl.tensor,
    key_ptr: tl.tensor,
    value_ptr: tl.tensor,
    positions_ptr: tl.tensor,
    cos_ptr: tl.tensor,
    sin_ptr: tl.tensor,
    write_ptr: tl.tensor,
    rows: tl.tensor,
    length: tl.tensor,
    capacity: tl.tensor,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    rotary: tl.constexpr,
    block_r: tl.constexpr,
    block_c: tl.constexpr,
) -> None:
    """Rotate queries where they lie, and keys on their way into the cache; values go there as they are.

    joint Float[M, 3 D], queries, keys, values; key and value Float[B, heads, capacity, head_dim], positions
    Int32[M], cos and sin Float32[sequence, head_dim / 2], write Int32[B]. Programs: M / block_r, and as many as there
    are blocks of channels in all sections; those of the queries are left out where nothing is rotated.
    """
    dim: tl.constexpr = heads * head_dim
    chunks: tl.constexpr = (dim + block_c - 1) // block_c
    part = tl.program_id(1)
    section = part // chunks
    if not rotary:
        section += 1
    row = tl.program_id(0) * block_r + tl.arange(0, block_r)
    first = part % chunks * block_c
    channel = first + tl.arange(0, block_c)
    there = row < rows
    mask = there[:, None] & (channel < dim)[None, :]
    places = row.to(tl.int64)[:, None] * (3 * dim) + section * dim + channel[None, :]
    x = tl.load(joint_ptr + places, mask=mask, other=0.0)
    if rotary:
        pair = first + 2 * tl.arange(0, block_c // 2)
        position = tl.load(positions_ptr + row, mask=there, other=0)
        angles = position[:, None] * (head_dim // 2) + (pair % head_dim // 2)[None, :]
        # Values turn by nothing.
        turned = there[:, None] & (pair < tl.where(section < 2, dim, 0))[None, :]
        cos = tl.load(cos_ptr + angles, mask=turned, other=1.0)
        sin = tl.load(sin_ptr + angles, mask=turned, other=0.0)
        even, odd = tl.split(tl.reshape(x.to(tl.float32), [block_r, block_c // 2, 2]))
        both = tl.join(even * cos - odd * sin, even * sin + odd * cos)
        x = tl.reshape(both, [block_r, block_c]).to(joint_ptr.dtype.element_ty)
    if section == 0:
        tl.store(joint_ptr + places, x, mask=mask)
    else:
        batch = row // length
        slot = tl.load(write_ptr + batch, mask=there, other=0) + row % length
        head = batch.to(tl.int64)[:, None] * heads + (channel // head_dim)[None, :]
        own = (head * capacity + slot[:, None]) * head_dim + (channel % head_dim)[None, :]
        if section == 1:
            tl.store(key_ptr + own, x, mask=mask)
        else:
            tl.store(value_ptr + own, x, mask=mask)
