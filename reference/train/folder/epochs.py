"""An endless order of pictures: each once an epoch, in another order every time, without a list of them."""

from hashlib import blake2b

ROUNDS = 6


class Epochs:
    """A permutation of `count` pictures for each epoch, by a Feistel network: any place of any epoch at once."""

    def __init__(self, count: int, seed: int) -> None:
        """Choose the orders.

        Args:
            count: At least 1.
            seed: 0..2^64 - 1.
        """
        self._count, self._seed = count, seed
        self._half = max(1, (max(count - 1, 1).bit_length() + 1) // 2)  # bits

    def _keys(self, epoch: int) -> bytes:
        return blake2b(f"{self._seed} {epoch}".encode()).digest()

    def _shuffled(self, place: int, keys: bytes) -> int:
        """Return where the network sends a number of 2 * half bits."""
        mask = (1 << self._half) - 1
        left, right = place >> self._half, place & mask
        for number in range(ROUNDS):
            key = keys[number * 8 : number * 8 + 8]
            mixed = int.from_bytes(blake2b(right.to_bytes(8, "big"), digest_size=8, key=key).digest(), "big")
            left, right = right, left ^ (mixed & mask)
        return (left << self._half) | right

    def place(self, index: int) -> int:
        """Return which picture an endless index shows, 0..count - 1."""
        epoch, place = divmod(index, self._count)
        keys = self._keys(epoch)
        place = self._shuffled(place, keys)
        while place >= self._count:  # a number behind the last picture goes round again, four times on average at most
            place = self._shuffled(place, keys)
        return place
