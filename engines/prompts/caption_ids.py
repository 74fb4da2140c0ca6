"""Captions as ids, for models of captioned pictures: byte-level BPE in a prefix of fixed length (GRID-2)."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# The first ids, in this order: 0 adds nothing to an embedding, 1 is the null condition, 2 fills a prefix up.
SPECIAL = ("<none>", "<null>", "<padding>")
NULL, PADDING = 1, 2


class CaptionIds:
    """Turns captions into prefixes.

    Args:
        tokenizer: Its ids 0, 1 and 2 are the special ones. No text has them, whatever it spells.
        length: Ids of a prefix; longer captions are cut.
    """

    def __init__(self, tokenizer: "Tokenizer", length: int) -> None:
        tokenizer.encode_special_tokens = True
        self.tokenizer, self.length = tokenizer, length

    @property
    def vocabulary(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def ids(self, caption: str) -> list[int]:
        """Return all ids of a caption, also those beyond a prefix."""
        return list(self.tokenizer.encode(caption).ids)

    def condition(self, caption: str) -> NDArray[np.int64]:
        """Return the prefix of a caption, Int[length, 1]."""
        return self.prefix(self.ids(caption))

    def prefix(self, ids: list[int]) -> NDArray[np.int64]:
        """Return ids, cut or filled up, as a prefix, Int[length, 1]."""
        ids = ids[: self.length]
        return np.array([*ids, *[PADDING] * (self.length - len(ids))], dtype=np.int64)[:, None]

    def null_condition(self) -> NDArray[np.int64]:
        """Return the prefix that asks for nothing, Int[length, 1]."""
        return np.full((self.length, 1), NULL, dtype=np.int64)

    def save(self, path: Path) -> None:
        """Write the tokenizer in the library's JSON."""
        self.tokenizer.save(str(path))
