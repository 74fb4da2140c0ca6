"""Triton functions of the noise that tokens are sampled with (RNG-1); `own` is what `sample` says of a row."""

import triton
import triton.language as tl


@triton.jit
def philox_words(own_ptr: tl.tensor, cell: tl.tensor, start: tl.tensor, count: tl.constexpr) -> tl.tensor:
    """Return Philox4x32-10's words of codes start..start + count, UInt32[count] (RNG-1)."""
    c0 = (start // 4 + tl.arange(0, count // 4)).to(tl.uint32)
    zero = c0 ^ c0
    c1, c2, c3 = zero + cell.to(tl.uint32), zero + tl.load(own_ptr + 6).to(tl.uint32, bitcast=True), zero
    key_0 = tl.load(own_ptr + 4).to(tl.uint32, bitcast=True)
    key_1 = tl.load(own_ptr + 5).to(tl.uint32, bitcast=True)
    for _ in tl.static_range(10):
        product_0 = c0.to(tl.uint64) * 0xD2511F53
        product_1 = c2.to(tl.uint64) * 0xCD9E8D57
        c0 = (product_1 >> 32).to(tl.uint32) ^ c1 ^ key_0
        c2 = (product_0 >> 32).to(tl.uint32) ^ c3 ^ key_1
        c1, c3 = product_1.to(tl.uint32), product_0.to(tl.uint32)
        key_0 = (key_0.to(tl.uint64) + 0x9E3779B9).to(tl.uint32)
        key_1 = (key_1.to(tl.uint64) + 0xBB67AE85).to(tl.uint32)
    return tl.reshape(tl.join(tl.join(c0, c2), tl.join(c1, c3)), [count])  # in turn


@triton.jit
def gumbel(words: tl.tensor) -> tl.tensor:
    """Return Gumbel noise, Float32[N], as RNG-1 computes it."""
    uniform = (words.to(tl.float64) + 0.5) * (1.0 / 4294967296.0)
    return (-tl.log(-tl.log(uniform))).to(tl.float32)


@triton.jit
def rough_gumbel(words: tl.tensor) -> tl.tensor:
    """Return it to four places, without float64: of U near 1, where noise is large, log U comes from 1 - U."""
    uniform = (words.to(tl.float32) + 0.5) * (1.0 / 4294967296.0)
    rest = ((words ^ 0xFFFFFFFF).to(tl.float32) + 0.5) * (1.0 / 4294967296.0)
    series = rest * (1.0 + rest * (0.5 + rest * (1.0 / 3.0 + rest * 0.25)))
    spread = tl.where(rest < 0.02, series, -0.6931471805599453 * tl.log2(uniform))
    return -0.6931471805599453 * tl.log2(spread)
