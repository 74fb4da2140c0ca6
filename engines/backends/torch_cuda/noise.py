"""Counter-based noise on the device: the integers are the host's, to the bit (RNG-1)."""

import weakref

import torch
from torch import Tensor

from mulo_sd.engines.rules.noise import NoiseSource

_ROUNDS = 10
_LOW = 0xFFFFFFFF
_MULTIPLIER_0, _MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
_KEY_STEP_0, _KEY_STEP_1 = 0x9E3779B9, 0xBB67AE85
# Rows that are made at once: some hundred launches, and temporaries of 8 bytes for every number.
BLOCK = 256


def words(seed: int, stream: int, positions: Tensor, count: int) -> Tensor:
    """Return Philox4x32-10's words, Int64[n, count] in 0..2^32 - 1.

    Args:
        seed: 0..2^64 - 1.
        stream: RNG-2.
        positions: Int64[n], raster positions.
        count: How many a position.
    """
    shape = (len(positions), -(-count // 4))
    c0 = torch.arange(shape[1], dtype=torch.int64, device=positions.device).expand(shape)
    c1 = positions[:, None].expand(shape)
    c2 = torch.full(shape, stream, dtype=torch.int64, device=positions.device)
    c3 = torch.zeros_like(c2)
    key_0, key_1 = seed % 2**32, seed // 2**32
    for _ in range(_ROUNDS):
        # Of a product that exceeds int64 the bits are right; the mask drops what shifting repeats of its sign.
        product_0, product_1 = _MULTIPLIER_0 * c0, _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (
            ((product_1 >> 32) & _LOW) ^ c1 ^ key_0,
            product_1 & _LOW,
            ((product_0 >> 32) & _LOW) ^ c3 ^ key_1,
            product_0 & _LOW,
        )
        key_0, key_1 = (key_0 + _KEY_STEP_0) % 2**32, (key_1 + _KEY_STEP_1) % 2**32
    return torch.stack([c0, c1, c2, c3], dim=-1).reshape(shape[0], -1)[:, :count]


def gumbel_noise(seed: int, stream: int, positions: Tensor, vocabulary: int) -> Tensor:
    """Return Gumbel noise, Float32[n, vocabulary]; arguments as for `words`."""
    uniform = (words(seed, stream, positions, vocabulary).double() + 0.5) / 2.0**32
    return uniform.log_().neg_().log_().neg_().float()


class NoiseTable:
    """The noise of one stream of one image, Float32[cells, V], made when it is first asked for."""

    def __init__(self, source: NoiseSource, device: torch.device) -> None:
        self.seed, self.stream, self.cells = source.seed, source.stream, source.cells
        self.table = torch.empty(source.cells, source.vocabulary, dtype=torch.float32, device=device)
        self.made: set[int] = set()

    def through(self, first: int, last: int) -> Tensor:
        """Return the table, of which the rows of cells first..last, inclusive, are made."""
        for number in range(first // BLOCK, last // BLOCK + 1):
            if number not in self.made:
                start, end = number * BLOCK, min((number + 1) * BLOCK, self.cells)
                positions = torch.arange(start, end, dtype=torch.int64, device=self.table.device)
                self.table[start:end] = gumbel_noise(self.seed, self.stream, positions, self.table.shape[1])
                self.made.add(number)
        return self.table


class NoiseTables:
    """The tables of the sources that are in use; one goes with its source."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.tables: weakref.WeakKeyDictionary[NoiseSource, NoiseTable] = weakref.WeakKeyDictionary()

    def of(self, source: NoiseSource) -> NoiseTable:
        """Return the table of a source."""
        table = self.tables.get(source)
        if table is None:
            table = self.tables[source] = NoiseTable(source, self.device)
        return table
