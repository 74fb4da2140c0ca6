"""Which draft tokens stay, and what replaces the others, one rule a file; twin of `reference.acceptances`."""

from collections.abc import Callable, Mapping

from mulo_sd.engines.rules.acceptances.accepted import Accepted, Codes, Probs, Tokens
from mulo_sd.engines.rules.acceptances.lossless import lossless
from mulo_sd.engines.settings import Settings

__all__ = ["ACCEPTANCES", "Accepted", "Acceptor"]

Acceptor = Callable[[Probs, Probs, Tokens, Tokens, Settings, Codes], Accepted]

# By the setting `accept_by`; "coupled" has no chances: a draft token stays where its cell's noise draws it (SWEEP-2).
ACCEPTANCES: Mapping[str, Acceptor] = {"lossless": lossless}
