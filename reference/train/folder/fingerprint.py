"""Whether a folder is as it was: a hash of all names, sizes and times of change, and of what was asked for."""

import os
from hashlib import sha256

from mulo_sd.reference.train.folder.listing import Entry

MODULUS = 2**256


class Fingerprint:
    """A sum of hashes: files come in no order, a million of them are not sorted for it."""

    def __init__(self, *asked: object) -> None:
        self._first = repr(asked)
        self._sum = 0

    def add(self, entry: Entry) -> None:
        """Count a file; one that is neither picture nor caption does not matter."""
        if entry.kind != "other":
            line = os.fsencode(entry.name) + f"\0{entry.bytes}\0{entry.mtime_ns}".encode()
            self._sum = (self._sum + int.from_bytes(sha256(line).digest())) % MODULUS

    def hexdigest(self) -> str:
        return sha256(f"{self._first}\0{self._sum:x}".encode()).hexdigest()
