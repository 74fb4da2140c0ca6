"""The token of a Ray cluster, which its members and clients have in a file or a variable."""

import os
from pathlib import Path


def take_token(address: str | None) -> None:
    """Have Ray ask for a token in a cluster that begins here, and show ours to one that is joined, where there is one.

    Ray reads the variable that says so when it is imported, and without it asks nobody: then whoever reaches its ports
    runs what they like. What the user said stays. Where a cluster begins, Ray makes a token if there is none.

    Args:
        address: Of the cluster that is joined; None begins one.
    """
    has_token = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if address is None or has_token or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
