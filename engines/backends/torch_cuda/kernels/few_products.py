"""What kernels of few rows share: products of a matrix with few rows of x, and the residual sum.

Every program makes its own share of the outputs of a matrix. Sums are float32 and their order is fixed: nothing is
added up atomically.

Names of shapes: M rows (batch x tokens, few), N outputs, K inputs, P programs. `scaled` is x times the weight of the
norm that comes next, Float32[M, D], and `squares`, Float32[M, P], the sums of squares of x by program: whoever changes
x writes both (`store_x`).
"""

import triton
import triton.language as tl

# Elements that a thread adds up by itself: 16 bytes of half precision.
VECTOR: tl.constexpr = tl.constexpr(8)


@triton.jit
def share(n: tl.constexpr, programs: tl.constexpr, pid: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Return the first of a program's outputs and the one after its last."""
    most: tl.constexpr = (n + programs - 1) // programs
    first = tl.minimum(pid * most, n)
    return first, tl.minimum(first + most, n)


@triton.jit
def load_tiles(
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
def zero_totals(rows: tl.constexpr, block_n: tl.constexpr, block_k: tl.constexpr) -> tl.tensor:
    """Return totals to begin with: a tuple of Float32[N, block_k / vector], a thread's own sums."""
    vector: tl.constexpr = min(VECTOR, block_k)
    totals = ()
    for _ in tl.static_range(rows):
        totals = totals + (tl.zeros([block_n, block_k // vector], tl.float32),)  # noqa: RUF005  (as above)
    return totals


@triton.jit
def add_products(
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
    vector: tl.constexpr = min(VECTOR, block_k)
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
def load_squares(squares_ptr: tl.tensor, rows: tl.constexpr, parts: tl.constexpr) -> tl.tensor:
    """Load the sums of squares of each row, which `norm_scale` is the first to need: a tuple of Float32[parts]."""
    part = tl.arange(0, triton.next_power_of_2(parts))
    of_rows = ()
    for row in tl.static_range(rows):
        squares = tl.load(squares_ptr + row * parts + part, mask=part < parts, other=0.0)
        of_rows = of_rows + (squares,)  # noqa: RUF005  (no unpacking in Triton)
    return of_rows


@triton.jit
def norm_scale(squares: tl.tensor, k: tl.constexpr, eps: tl.tensor) -> tl.tensor:
    """Return what normalises a row of x, a Float32 number."""
    return tl.rsqrt(tl.sum(squares, axis=0) / k + eps)


@triton.jit
def store_x(
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
def load_rows(x_ptr: tl.tensor, outputs: tl.tensor, there: tl.tensor, rows: tl.constexpr, n: tl.constexpr) -> tl.tensor:
    """Load some of each row of x: a tuple of Float[N]."""
    of_rows = ()
    for row in tl.static_range(rows):
        x = tl.load(x_ptr + row * n + outputs, mask=there, other=0.0)
        of_rows = of_rows + (x,)  # noqa: RUF005  (no unpacking in Triton)
    return of_rows


@triton.jit
def add_to_x(
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
        store_x(x, row, outputs, there, weight, x_ptr, scaled_ptr, squares_ptr, pid, n, parts)
