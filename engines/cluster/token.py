"""The token of a Ray cluster, which its members and clients have in a file or a variable."""

import os
from pathlib import Path


def take_token() -> None:
    """Have Ray show the cluster our token, where there is one.

    A cluster asks for it unless it was told not to; a client shows it only when it is told to, by a variable that Ray
    reads when it is imported.
    """
    has_token = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if has_token or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
