"""Philox4x32-10, which random words are made of (RNG-1), in few and small numpy operations.

Of 16,384 codes a token's noise takes a quarter of a millisecond, and a GPU's pass one: so this is written for speed,
and `reference.noise` to be read. A product's two halves are views of it, every operation writes where an earlier one
has been read, and the counters go in pieces whose buffers stay in the processor's second cache.
"""

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 10
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_PIECE = 16384  # counters; 700 KB
# Halves of a product are taken by their place.
_DOUBLE_WORD, _WORD = np.dtype("<u8"), np.dtype("<u4")


def philox_words(
    seed: int, stream: int, positions: NDArray[np.int64], blocks: int, attempts: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """Return four random words for each counter (block, position, stream, attempt), UInt32[n, 4 * blocks] (RNG-1).

    Args:
        seed: 0..2^64 - 1; the key.
        stream: 0..2^32 - 1.
        positions: Int[n], each 0..2^32 - 1.
        blocks: Counters of a position, numbered from 0 on.
        attempts: Int[n], each 0..2^32 - 1.
    """
    key = seed % 2**32, seed // 2**32
    words = np.empty((len(positions), blocks, 4), dtype=_WORD)
    rows = min(max(_PIECE // max(blocks, 1), 1), len(positions))
    double_words = np.zeros((4, rows, blocks), dtype=_DOUBLE_WORD)
    others = np.empty((2, rows, blocks), dtype=_WORD)
    for start in range(0, len(positions), max(rows, 1)):
        piece = words[start : start + rows]
        counters = positions[start : start + rows, None], stream, attempts[start : start + rows, None]
        _fill(piece, key, counters, double_words[:, : len(piece)], others[:, : len(piece)])
    return words.reshape(len(positions), 4 * blocks)


def _fill(
    words: NDArray[np.uint32],
    key: tuple[int, int],
    counters: tuple[NDArray[np.int64], int, NDArray[np.int64]],
    double_words: NDArray[np.uint64],
    others: NDArray[np.uint32],
) -> None:
    """Write what a piece's counters become, UInt32[n, blocks, 4].

    Args:
        words: What is written.
        key: Of the first round.
        counters: Position, stream and attempt of a row, of which each fits or broadcasts to [n, 1].
        double_words: UInt64[4, n, blocks], overwritten: two counters, in the lower halves, and the products of both.
        others: UInt32[2, n, blocks], overwritten: the counters that are not multiplied.
    """
    halves = double_words.view(_WORD)
    (c0, c2, low_0, low_1), (_, _, high_0, high_1) = halves[..., ::2], halves[..., 1::2]
    c1, c3 = others
    c0[:], c2[:] = np.arange(words.shape[1]), counters[1]
    np.bitwise_xor(counters[0].astype(_WORD), np.uint32(key[0]), out=c1)
    np.bitwise_xor(counters[2].astype(_WORD), np.uint32(key[1]), out=c3)
    for number in range(1, _ROUNDS + 1):
        np.multiply(double_words[0], _MULTIPLIERS[0], out=double_words[2])
        np.multiply(double_words[1], _MULTIPLIERS[1], out=double_words[3])
        np.bitwise_xor(high_1, c1, out=c0)
        np.bitwise_xor(high_0, c3, out=c2)
        if number < _ROUNDS:
            next_0, next_1 = (
                np.uint32((word + number * step) % 2**32) for word, step in zip(key, _KEY_STEPS, strict=True)
            )
            np.bitwise_xor(low_1, next_0, out=c1)
            np.bitwise_xor(low_0, next_1, out=c3)
    words[..., 0], words[..., 1], words[..., 2], words[..., 3] = c0, low_1, c2, low_0
