"""Who may ask: API keys from a file, compared in constant time."""

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

from mulo_sd.engines.files.text_files import TextFileError, lines_of, read_text
from mulo_sd.engines.ingress.errors import ApiError
from mulo_sd.engines.numbers import SettingsError

MAX_FILE_BYTES = 2**16
SHORTEST_KEY = 16


class Access:
    """The keys that open the service; none opens it to all. It keeps no key, only hashes."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        """Take the keys."""
        self._digests = [_digest(key) for key in keys]

    @property
    def needs_key(self) -> bool:
        """Whether there is a key at all."""
        return bool(self._digests)

    def check(self, authorization: str | None) -> None:
        """Check a request's header.

        Args:
            authorization: "Bearer KEY".

        Raises:
            ApiError: 401, where the key is missing or none of ours.
        """
        if not self._digests:
            return
        scheme, _, key = (authorization or "").partition(" ")
        digest = _digest(key.strip())
        # All of them, whichever fits: the time tells nothing.
        fits = [hmac.compare_digest(digest, known) for known in self._digests]
        if scheme.lower() != "bearer" or not any(fits):
            got = "none" if authorization is None else "another"
            message = f"authorization: expected 'Bearer KEY' with a key of this service, got {got}"
            headers = {"www-authenticate": "Bearer"}
            raise ApiError(401, message, code="invalid_api_key", headers=headers)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def read_keys(path: Path) -> Access:
    """Read a file of keys, one a line; empty lines and lines that begin with # are left out.

    Raises:
        SettingsError: it cannot be read, holds no key, or one that is too short. No message holds a key.
    """
    try:
        lines = [line.strip() for line in lines_of(read_text(path, MAX_FILE_BYTES, "keys"))]
    except TextFileError as error:
        raise SettingsError(f"api-key-file: {error}") from None
    keys = [(number, line) for number, line in enumerate(lines, start=1) if line and not line.startswith("#")]
    if not keys:
        raise SettingsError(f"api-key-file: {path}: expected a key a line, got none")
    for number, key in keys:
        if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
            raise SettingsError(
                f"api-key-file: {path}: line {number}: expected a key of {SHORTEST_KEY} or more visible ASCII "
                f"characters, got {len(key)}"
            )
    return Access([key for _, key in keys])
